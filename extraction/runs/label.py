"""Labeling with the model's help: the documents of a folder of one's own, and a draft beside each."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from extraction import drafts, files, own_folder
from extraction.own_folder import Folder
from extraction.reading import documents
from extraction.runs import results
from extraction.tasks import custom, schemas

BY = "inference.py"
CONTRACTS = "contracts of your own cannot be trained on: there is nothing to label them for"
OUTCOMES = ("drafts made", "drafts from an earlier run", "drafts with corrections", "accepted", "failed")


def folder_of(path: Path, document_type: str, schema: Path | None) -> Folder:
    """The folder to label in, made if it is not there, with the fields that were asked for.

    Raises StageError if it has none, or others.
    """
    folder, target = Folder(path), path / own_folder.SCHEMA
    if document_type == schemas.CONTRACT.name:
        raise files.StageError(CONTRACTS)
    given = None if document_type == "auto" else f'"{document_type}"\n'
    if schema:
        custom.read(schema)
        given = schema.read_text(encoding="utf-8-sig")
    if not target.is_file():
        if given is None:
            raise files.StageError(f"{target} is missing: write it, or name the fields with --schema FILE or --type")
        path.mkdir(parents=True, exist_ok=True)
        files.write_text(target, given)
    elif given is not None:
        wanted = custom.read(schema) if schema else schemas.TASKS[document_type]
        if own_folder.asked(wanted) != own_folder.asked(folder.task):
            raise files.StageError(f"{target} asks for other fields than --{'schema' if schema else 'type'}")
    if folder.task is schemas.CONTRACT:
        raise files.StageError(CONTRACTS)
    return folder


def earlier(path: Path, task: schemas.Task) -> dict[str, dict]:
    """The results of an earlier run, by the hash of their document, that have the fields of a task."""
    found = {}
    for row in results.earlier(path):
        whole = row.get("documents", 1) == 1  # a draft is of a whole file
        if whole and row.get("record") and row["key"] and set(row["record"]) <= set(task.schema["properties"]):
            found[row["key"].partition("-")[2]] = row
    return found


class Labeling:
    """Which documents of a folder get a draft, and what became of each."""

    def __init__(self, folder: Folder, again: bool = False):
        self.folder, self.again = folder, again  # again: drafts that nobody has touched are made anew
        self.count: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self.said: list[str] = []  # a sentence for each document that failed

    def fail(self, name: str, why: object) -> None:
        self.count["failed"] += 1
        self.said.append(files.shown(f"error: {name}: {why}"))

    def take(self, names: Sequence[str], limits: documents.Limits) -> list[str]:
        """The documents that are to get a draft, after those outside of the folder were copied into it."""
        wanted = [str(p) for p in self.folder.documents()] if not names else []
        for name in names:
            try:
                wanted.append(str(self._copied(Path(name), limits)))
            except (documents.DocumentError, files.StageError) as error:
                self.fail(name, error)
        return [name for name in dict.fromkeys(wanted) if self._is_due(Path(name))]

    def _copied(self, path: Path, limits: documents.Limits) -> Path:
        if path.parent.resolve() == self.folder.path.resolve():
            return self.folder.path / path.name
        return own_folder.add(self.folder, path.name, documents.content(path, limits))

    def _is_due(self, document: Path) -> bool:
        if self.folder.is_labeled(document):
            self.count["accepted"] += 1
            return False
        try:
            draft = drafts.read(document)
        except files.StageError as error:
            self.fail(document.name, error)
            return False
        if draft is None:
            return True
        if draft.untouched:
            asked = draft.schema == own_folder.asked(self.folder.task) and draft.document == files.sha256(document)
            self.count["drafts from an earlier run"] += asked and not self.again
            return self.again or not asked
        self.count["drafts with corrections"] += 1  # a person's work is never replaced
        return False

    def rows(self, name: str, made: Callable[[str], Iterator[dict]], known: dict[str, dict]) -> Iterator[dict]:
        """The row of a document: of an earlier run, or made now. A file of several documents is an error."""
        if known:
            digest = hashlib.sha256(Path(name).read_bytes()).hexdigest()[:24]
            if digest in known:
                yield known[digest] | {"file": name}
                return
        rows = list(made(name))
        if len(rows) > 1:
            why = f"it holds {len(rows)} documents; label each of them as a file of its own"
            rows = [{"file": name, "error": why}]
        yield rows[0] | {"file": name}

    def add(self, row: dict) -> None:
        """Make the draft of a row. Raises StageError if no more can be written."""
        document = Path(row["file"])
        if "error" in row and "problems" not in row:
            self.fail(document.name, row["error"])
            return
        try:
            before = drafts.read(document)
            draft = drafts.of_result(row, document, self.folder.task)
            drafts.save(self.folder, document, draft, BY, based_on=before and before.version)
            self.count["drafts made"] += 1
        except drafts.Changed as error:
            self.fail(document.name, error)

    def end(self, command: str) -> int:
        """Say what was made; the exit status."""
        for sentence in self.said:
            print(sentence, file=sys.stderr)
        made = ", ".join(f"{what}: {count}" for what, count in self.count.items() if count)
        print(f"{self.folder.path}: {made or 'no document'}")
        if self.count["drafts made"] or self.count["drafts from an earlier run"]:
            print(f"Next: {command}")
        return int(bool(self.count["failed"]))
