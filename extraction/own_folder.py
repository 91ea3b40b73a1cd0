"""A folder of one's own documents as a dataset.

data/own/notes/schema.json           the fields: a template, a JSON schema, or the name of a document type in quotes
data/own/notes/01.pdf                a document
data/own/notes/01.pdf.json           its record, which a person has accepted: the document is labeled (or 01.json)
data/own/notes/01.pdf.draft.json     what a model suggests for it; see `drafts`
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from extraction import files
from extraction.formats import kinds
from extraction.tasks import custom, records, schemas

SCHEMA = "schema.json"
RECORD, DRAFT = ".json", ".draft.json"
METADATA = "metadata.jsonl"  # records as in Donut's datasets, a line for each document
NOT_FOUND = "values_not_found.json"  # what stage 1 could not find in the documents
MISFITS = {
    "string_too_long": "it is too long",
    "too_long": "it has too many entries",
    "literal_error": "it is none of its choices",
    "extra_forbidden": "there is no such field",
}


@dataclass(frozen=True)
class Folder:
    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def task(self) -> schemas.Task:
        """What the schema asks for. Raises StageError with one sentence if it is missing or cannot be used."""
        path = self.path / SCHEMA
        if not path.is_file():
            raise files.Missing(f"{path} is missing: it says which fields the documents have")
        try:
            named = files.read_json(path)
        except files.StageError:  # said better below
            named = None
        if isinstance(named, str):
            if named not in schemas.DOCUMENT_TYPES:
                raise files.StageError(f"{path}: no document type is called {named!r}, only {_types()}")
            return schemas.TASKS[named]
        return custom.read(path)

    def documents(self) -> list[Path]:
        """The documents in it, labeled or not, in the order of their names."""
        if not self.path.is_dir():
            raise files.Missing(f"{self.path} is no folder")
        found = (p for p in self.path.iterdir() if counts(p) and p.suffix.lower() not in (RECORD, ".jsonl"))
        return sorted(
            p for p in found if p.is_file() and (p.suffix.lower() in kinds.SUFFIXES or record_of(p).is_file())
        )

    def label(self, document: Path) -> str:
        """Where its record is, empty if it has none."""
        in_metadata = [f"its line in {METADATA}"] if document.name in self._in_metadata else []
        return next(iter([*(path.name for path in records_of(document)), *in_metadata]), "")

    def is_labeled(self, document: Path) -> bool:
        return bool(self.label(document))

    @cached_property
    def _in_metadata(self) -> set[str]:
        path = self.path / METADATA
        return {str(row.get("file_name")) for row in files.read_jsonl(path)} if path.is_file() else set()

    def labeled(self) -> list[Path]:
        """The documents with a record that a person has accepted."""
        return [document for document in self.documents() if self.is_labeled(document)]

    def check(self, record: dict) -> None:
        """Raises StageError naming the first field of a record that does not fit the schema, never its value."""
        import pydantic

        kept, task = records.prune(record), self.task
        if not kept:
            raise files.StageError("the record has no value")
        try:
            if task is not schemas.CONTRACT:  # its model answers with numbers of sentences, its record has quotes
                task.model.model_validate(kept)
        except pydantic.ValidationError as error:
            first = error.errors(include_input=False, include_url=False, include_context=False)[0]
            path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])[1:]
            raise files.StageError(
                f"{path} does not fit the schema: {MISFITS.get(first['type'], 'wrong type')}"
            ) from None
        if isinstance(task, custom.CustomTask) and (missing := task.missing(kept)):
            raise files.StageError(f"{missing[0]} is required and has no value")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else changes records and drafts meanwhile, no other thread either.

        A change that cannot be written down is a StageError.
        """
        import filelock

        try:
            with filelock.FileLock(self.path / ".lock", timeout=20):
                yield
        except filelock.Timeout:
            raise files.StageError(f"another program has held {self.path} for 20 seconds; try again") from None
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise files.StageError(f"cannot write to {self.path}: {why}. Nothing was changed") from error


def _types() -> str:
    return ", ".join(schemas.DOCUMENT_TYPES)


def counts(path: Path) -> bool:
    """Whether a file belongs to the data set: drafts, hidden files and what stage 1 has found out do not."""
    return not path.name.startswith(".") and not path.name.endswith(DRAFT) and path.name != NOT_FOUND


def records_of(document: Path) -> list[Path]:
    """The files that hold its record: by its whole name, as it is written here, or by its name without ending."""
    names = dict.fromkeys((record_of(document).name, document.stem + RECORD))
    found = [document.with_name(name) for name in names if name != SCHEMA]
    return [path for path in found if counts(path) and path.is_file()]


def record_of(document: Path) -> Path:
    """The file that its record is written to."""
    return document.with_name(document.name + RECORD)


def draft_of(document: Path) -> Path:
    return document.with_name(document.name + DRAFT)


def asked(task: schemas.Task) -> str:
    """What changes when the fields do that a task asks for."""
    return files.fingerprint(task.definition if isinstance(task, custom.CustomTask) else task.name)


def read_record(document: Path) -> dict:
    """The record of a labeled document as it was accepted. Raises StageError for a file that holds none."""
    path = next(iter(records_of(document)), record_of(document))
    record = files.read_json(path)
    if not isinstance(record, dict):
        raise files.StageError(f"{path} holds no record: a JSON object is wanted")
    return record


def write_record(document: Path, record: dict) -> Path:
    """Label a document. Fields without a value are left out."""
    return files.write_json(record_of(document), records.prune(record))


def add(folder: Folder, name: str, data: bytes) -> Path:
    """Put a document into the folder. Raises StageError if another one there has its name."""
    target = folder.path / name
    if target.is_file():
        if target.read_bytes() == data:
            return target
        raise files.StageError(f"{folder.path} holds another document called {name}: rename one of the two")
    return files.write_bytes(target, data)
