"""Document types of a user's own: the folders of their documents, and the schemas that go along with a model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from extraction import files
from extraction.own_folder import SCHEMA, Folder, counts
from extraction.tasks import custom, schemas

SCHEMAS = "schemas.json"  # beside rows, adapters and GGUF builds: the schemas by the names of their types
RESERVED = {*schemas.TASKS, schemas.GENERAL.name, custom.NAME, "auto", "none", "all"}


def folders(root: Path) -> dict[str, Path]:
    """The folders of own documents by name: `root` itself if it holds a schema, else those in it that do.

    Raises StageError if there is none, or if a name cannot be that of a document type.
    """
    if not root.is_dir():
        raise files.StageError(f"{root} is no folder: make it, with {SCHEMA} and your documents in it")
    found = [root] if (root / SCHEMA).is_file() else sorted(p.parent for p in root.glob(f"[!.]*/{SCHEMA}"))
    if not found:
        raise files.StageError(f"neither {root} nor a folder in it holds {SCHEMA}")
    for folder in found:
        if not re.fullmatch(r"[A-Za-z][\w-]{0,39}", folder.resolve().name, re.ASCII):
            said = "take a letter, then up to 39 letters, digits, _ or -"
            raise files.StageError(f"{folder}: {folder.resolve().name!r} cannot be a document type: {said}")
    return {folder.resolve().name: folder for folder in found}


def task_of(folder: Path) -> schemas.Task:
    """What is asked of the documents in a folder, by its schema, or by the document type that stands in its place."""
    task = Folder(folder).task
    if isinstance(task, custom.CustomTask) and folder.resolve().name in RESERVED:
        said = f"none of {', '.join(sorted(RESERVED))} can be the name of a document type of your own"
        raise files.StageError(f"{folder}: {said}")
    if task is schemas.CONTRACT:
        raise files.StageError(f"{folder}: contracts of your own cannot be trained on; move the folder elsewhere")
    return task


def contents(folder: Path) -> str:
    """A fingerprint of the documents and records of a folder; drafts and hidden files do not count."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and counts(p))
    return files.fingerprint({str(p.relative_to(folder)): files.sha256(p) for p in paths})


# --- what a model knows --------------------------------------------------------------------------------------


def load(folder: Path | None) -> dict[str, custom.CustomTask]:
    """The own document types of the rows, the adapter or the GGUF build in a folder, by name."""
    path = folder and folder / SCHEMAS
    if path is None or not path.is_file():
        return {}
    stored = files.read_json(path)
    return {name: custom.parse(json.dumps(schema), f"{path}, {name}", name) for name, schema in stored.items()}


def save(folder: Path, *sources: Path | None) -> None:
    """Write the schemas of several folders together; of two with one name the later counts."""
    stored: dict = {}
    for source in sources:
        if source is not None and (source / SCHEMAS).is_file():
            stored |= files.read_json(source / SCHEMAS)
    if stored:
        files.write_json(folder / SCHEMAS, stored)


def of(backend: object) -> Mapping[str, custom.CustomTask]:
    """The own document types of a model that was opened."""
    return getattr(backend, "types", {})


def task(name: str, own: Mapping[str, custom.CustomTask]) -> schemas.Task | None:
    """The task of a document type that was named; None for `auto`. Raises StageError for an unknown name."""
    if name == "auto":
        return None
    if name in own:
        return own[name]
    if name in schemas.DOCUMENT_TYPES:
        return schemas.TASKS[name]
    raise files.StageError(f"there is no document type {name!r}; this model knows {', '.join(known(own))}")


def known(own: Iterable[str]) -> list[str]:
    return ["auto", *schemas.DOCUMENT_TYPES, *own]
