"""Is everything there that reading a document needs? Each line says what, in which state, and what mends it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from extraction import files, handoff
from extraction.reading import documents

OK, MISSING, UNUSED = "ok", "missing", "not made"  # the last: absent, and not needed for the model that was named

Line = tuple[str, str, str, str]  # what, state, detail, the command that mends it


def needed(root: Path, model: str) -> Path:
    """The file with the packages that reading with a model needs: fewer for a GGUF build or a server."""
    reading = root / "requirements-inference.txt"
    return reading if reading.is_file() and model not in ("adapter", "base") else root / "requirements.txt"


def install(requirements: Path) -> str:
    return f"pip install -r {requirements.name}"


def packages(requirements: Path) -> Iterator[Line]:
    """Python, and the pinned packages: one line for those that are as pinned, one for each that is not."""
    version = ".".join(map(str, sys.version_info[:3]))
    new_enough = sys.version_info >= (3, 11)
    yield "Python", OK if new_enough else MISSING, version, "" if new_enough else "install Python 3.11 or newer"
    mended_by = install(requirements)
    pinned = re.findall(r"^([\w.-]+)==([\w.]+)", requirements.read_text(encoding="utf-8"), re.M)
    right = 0
    for name, wanted in pinned:
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = None
        if found is not None and found.split("+")[0] == wanted:  # a build for CPUs is 2.13.0+cpu
            right += 1
        else:
            yield name, MISSING, f"{found or 'not installed'}; {wanted} is pinned", mended_by
    yield (
        "packages",
        OK if right == len(pinned) else MISSING,
        f"{right} of {len(pinned)} as pinned",
        ("" if right == len(pinned) else mended_by),
    )


def ocr(mended_by: str) -> Line:
    """Reads a picture of a line of print that is drawn here."""
    import io

    printed = "TOTAL 12.50"
    try:
        from PIL import Image, ImageDraw, ImageFont

        picture = Image.new("RGB", (640, 160), "white")
        ImageDraw.Draw(picture).text((40, 50), printed, fill="black", font=ImageFont.load_default(48))
        data = io.BytesIO()
        picture.save(data, "PNG")
        read = documents.read(data.getvalue()).text.strip()
    except ImportError as error:
        return "OCR", MISSING, str(error), mended_by
    except documents.DocumentError as error:
        return "OCR", MISSING, f"a picture of {printed!r}: {error}", mended_by
    right = re.sub(r"\s", "", read) == re.sub(r"\s", "", printed)
    return "OCR", OK if right else MISSING, f"read {read!r} from a picture of it", "" if right else mended_by


def built(name: str, folder: Path, command: str) -> Line:
    """A form of the model that a stage makes."""
    manifest = handoff.manifest_of(folder)
    if manifest is None:
        return f"model {name}", UNUSED, str(folder), command
    try:
        handoff.require(folder, made_by=command)
    except files.StageError as error:
        return f"model {name}", UNUSED, str(error), f"{command} --force"
    paths = [file for file in manifest["files"] if file.endswith((".gguf", ".safetensors"))]
    return f"model {name}", OK, ", ".join(paths), ""


def opened(name: str, open_it: Callable[[], Any], mended_by: str) -> Line:
    """The model that was asked for, opened as for a document; a server is asked which models it has."""
    try:
        backend = open_it()
        if hasattr(backend, "url"):
            return _server(name, backend)
    except ImportError as error:
        return f"--model {name}", MISSING, str(error), mended_by
    except files.StageError as error:
        said, _, command = str(error).partition(". Run: ")
        return f"--model {name}", MISSING, said, command
    return f"--model {name}", OK, f"{backend.name} opened", ""


def _server(name: str, backend: Any) -> Line:
    import requests

    try:
        models = backend.models()
    except (requests.RequestException, ValueError, KeyError, TypeError):
        return f"--model {name}", MISSING, "it does not list its models", "look at the server, or name another --model"
    wanted = name.partition("#")[2]
    if wanted and wanted not in models and f"{wanted}:latest" not in models:
        return f"--model {name}", MISSING, f"it has no {wanted}, but {', '.join(models)}", f"ollama create {wanted}"
    return f"--model {name}", OK, f"answers, with {', '.join(models)}", ""
