"""A folder that reads documents by itself: page, command, GGUF build. Also a Hugging Face Space and an Ollama model."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from extraction import files, handoff
from extraction.models import choice
from extraction.tasks import own_types

if TYPE_CHECKING:
    from config import Config

PARTS = ("app.py", "inference.py", "config.py", "LICENSE", "data/samples/NOTICE.md", "data/samples/documents")
ROOMS = ("evidence", "formats", "models", "page", "reading", "runs", "tasks")
LARGE = "*.gguf filter=lfs diff=lfs merge=lfs -text\n"  # a Space takes larger files than 10 MB by Git LFS alone


def write(root: Path, cfg: Config, arguments: list[str], folder: Path) -> Path:
    """Write the bundle of the sealed GGUF build of the settings, in place of an earlier one. Returns the GGUF in it.

    `root` is the repository, `arguments` are those that its commands read first. Raises StageError for a folder
    that holds anything else, and if there is no build.
    """
    folder = folder.resolve()
    empty = folder.is_dir() and not any(folder.iterdir())
    if folder.exists() and not empty and not (folder / "bundle.args").is_file():
        raise files.StageError(f"{folder} is there already and is no bundle: name a new folder")
    model = choice.choose(cfg, "gguf")
    manifest = handoff.require(model.folder, made_by=model.made_by)
    if model.file is None:
        kind = cfg.inference.quantization
        raise files.StageError(f"there is no {kind} build. Run: {model.made_by} --set export.quantization={kind}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as work:
        made, old = Path(work, "new"), Path(work, "old")
        made.mkdir()
        _copy_model(model, manifest, made)
        _copy_code(root, made)
        files.write_text(made / "bundle.args", "".join(f"{line}\n" for line in arguments))
        about = (made / "README.md").read_text(encoding="utf-8")
        megabytes = model.file.stat().st_size / 1e6
        files.write_text(made / "README.md", about.format(gguf=model.file.name, megabytes=megabytes, card=card(cfg)))
        if folder.exists():
            if added := _added(folder, made):
                raise files.StageError(f"{folder} holds {added[0]}, which is no part of a bundle: name a new folder")
            os.replace(folder, old)
        os.replace(made, folder)
    return folder / model.file.name


def _added(folder: Path, made: Path) -> list[str]:
    """What stands in an earlier bundle and was not written there: it would be lost."""
    written = {path.name for path in made.iterdir()} | set((handoff.manifest_of(folder) or {"files": ()})["files"])
    return sorted({path.name for path in folder.iterdir()} - written - {"__pycache__"})


def _copy_model(model: choice.Choice, manifest: dict, made: Path) -> None:
    """The build, its calibration, the schemas it knows, their manifest, and the Modelfiles."""
    shutil.copy2(model.file, made)
    if model.calibration():
        shutil.copy2(model.calibration_file, made)
    inputs = {name: {"fingerprint": fingerprint} for name, fingerprint in manifest["inputs"].items()}
    handoff.write_manifest(made, stage=manifest["stage"], settings=manifest["settings"], inputs=inputs)
    for path in model.folder.glob("Modelfile*"):
        text = re.sub(r"^FROM .*$", f"FROM ./{model.file.name}", path.read_text(encoding="utf-8"), flags=re.M)
        files.write_text(made / path.name, text)
    if (model.folder / own_types.SCHEMAS).is_file():
        shutil.copy2(model.folder / own_types.SCHEMAS, made)


def _copy_code(root: Path, made: Path) -> None:
    for name in (*PARTS, *(f"extraction/{room}" for room in ROOMS)):
        target = made / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (root / name).is_dir():
            shutil.copytree(root / name, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copy2(root / name, target)
    for path in [*(root / "extraction").glob("*.py"), *(root / "deploy" / "bundle").iterdir()]:
        shutil.copy2(path, made / path.relative_to(root) if path.suffix == ".py" else made)
    shutil.copy2(root / "requirements-inference.txt", made / "requirements.txt")
    files.write_text(made / ".gitattributes", LARGE)


def card(cfg: Config) -> str:
    """What is known of the model: the card of the adapter that training began with, or of the one it made."""
    start = cfg.init_adapter_dir
    for path in (start and start.parent / "README.md", cfg.adapter_dir / "README.md"):
        if path and path.is_file():
            text = path.read_text(encoding="utf-8")
            return re.sub(r"^#", "##", text, flags=re.M)
    return f"Fine-tuned from {cfg.train.base_model}.\n"
