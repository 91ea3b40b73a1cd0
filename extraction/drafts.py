"""What a model suggests as the record of one's own document, and what people have made of it so far.

A draft lies beside its document in `<document>.draft.json`. It never counts as a label: that is the record which
`accept` writes. Each save names the version that it was made from, so that nobody's work is replaced unseen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from extraction import files, own_folder, steps
from extraction.evidence import checks
from extraction.own_folder import Folder
from extraction.tasks import schemas
from extraction.tasks.records import Leaf

DRAFTED, CORRECTED, ACCEPTED = "drafted", "corrected", "accepted"


@dataclass(frozen=True)
class Draft:
    """`values` are the leaves of the record with what the model was sure of, `doubt` is how many of them to check."""

    document: str  # SHA-256 of the document it was made for
    schema: str  # what was asked; see own_folder.asked
    record: dict
    values: list[dict]
    doubt: float
    model: str
    problems: list[str] = field(default_factory=list)
    edited: list[str] = field(default_factory=list)  # paths of the values that a person has changed
    state: str = DRAFTED
    skipped: bool = False  # somebody went on without deciding
    version: int = 1
    by: str = ""
    at: str = ""

    @property
    def leaves(self) -> list[Leaf]:
        return [Leaf(v["path"], v["value"], v["confidence"], v["span"] and tuple(v["span"])) for v in self.values]

    @property
    def untouched(self) -> bool:
        """Whether it is as the model made it."""
        return self.state == DRAFTED

    def with_result(self, result: dict, leaves: Sequence[Leaf], edited: Sequence[str]) -> Draft:
        """The draft after a person has changed the record."""
        values = [asdict(leaf) for leaf in leaves]
        return replace(
            self, record=result["record"], values=values, doubt=doubt(result), edited=sorted(edited), state=CORRECTED
        )


class Changed(files.StageError):
    """Somebody else has saved the draft meanwhile; `draft` is what lies there now, None if it is gone."""

    def __init__(self, draft: Draft | None):
        if draft is None:
            said = "The draft was deleted after you opened it"
        else:
            what = "accepted this document" if draft.state == ACCEPTED else "saved this draft"
            said = f"{draft.by} {what} at {draft.at[11:19]} UTC, after you opened it"
        super().__init__(f"{said}. Nothing was overwritten")
        self.draft = draft


def doubt(result: dict) -> float:
    """How many values a person has to expect to be wrong: the less the model is sure, the more; one for each value that
    the document does not print, and one for each sum that fails."""
    found = result["fields"] or []
    unsure = sum(1 - f["confidence"] for f in found if f["confidence"] is not None and f["grounding"] != "none")
    lost = sum(f["grounding"] == "none" for f in found)
    fails = sum(check["verdict"] == checks.FAILS for check in result["checks"] or [])
    return round(unsure + lost + fails + (not found), 2)


def of_result(result: dict, document: Path, task: schemas.Task) -> Draft:
    """The draft that a result is. One without a record is an empty draft, to be filled in by hand."""
    contract = task is schemas.CONTRACT  # of a clause the model has pointed at the place
    values = [
        {"path": f["path"], "value": f["value"], "confidence": f["confidence"], "span": f["span"] if contract else None}
        for f in result["fields"] or []
    ]
    record = steps.with_nulls(task.schema, result["record"] or {})
    record.pop("summary", None)
    return Draft(
        files.sha256(document),
        own_folder.asked(task),
        record,
        values,
        doubt(result),
        result["model"],
        [] if result["record"] else result["problems"],
        by=result["model"],
    )


# --- files ---------------------------------------------------------------------------------------------------


def read(document: Path) -> Draft | None:
    """The draft of a document. Raises StageError for a file that holds none."""
    path = own_folder.draft_of(document)
    try:
        value = files.read_json(path)
    except files.Missing:
        return None
    except OSError as error:
        raise files.StageError(f"{path.name} cannot be opened: {error.strerror}") from error
    except files.StageError:
        raise _broken(path) from None
    if not _is_draft(value):
        raise _broken(path)
    return Draft(**value)


def _is_draft(value: Any) -> bool:
    like = Draft("", "", {}, [], 0.0, "")
    if not isinstance(value, dict) or set(value) != {f.name for f in fields(Draft)}:
        return False
    if any(not isinstance(value[name], type(usual)) for name, usual in asdict(like).items() if name != "doubt"):
        return False
    return isinstance(value["doubt"], int | float) and all(
        isinstance(v, dict) and {"path", "value", "confidence", "span"} == set(v) for v in value["values"]
    )


def _broken(path: Path) -> files.StageError:
    return files.StageError(f"{path.name} is no draft: mend it, or delete it and label the document again")


def save(folder: Folder, document: Path, draft: Draft, by: str, *, based_on: int | None = None) -> Draft:
    """Write a draft that was made from the version `based_on`, None if there was none. Gives it with its new version.

    Raises Changed if another version lies there now, StageError if it cannot be written; then nothing has changed.
    """
    with folder.alone():
        return _save(document, draft, by, based_on)


def _save(document: Path, draft: Draft, by: str, based_on: int | None) -> Draft:
    now = read(document)
    if (now and now.version) != based_on:
        raise Changed(now)
    saved = replace(draft, version=(based_on or 0) + 1, by=by, at=datetime.now(UTC).isoformat(timespec="seconds"))
    files.write_json(own_folder.draft_of(document), asdict(saved))
    return saved


def skip(folder: Folder, document: Path, *, based_on: int) -> None:
    """Note that somebody went on. That is no new version; of a draft that was changed meanwhile nothing is noted."""
    with folder.alone():
        now = read(document)
        if now and now.version == based_on and not now.skipped:
            files.write_json(own_folder.draft_of(document), asdict(replace(now, skipped=True)))


def accept(folder: Folder, document: Path, draft: Draft, by: str, *, based_on: int) -> Draft:
    """Label the document with the record of the draft. Raises what `save` raises, and StageError for a record that
    does not fit the schema, or for a document that is no longer what the draft was made for."""
    folder.check(draft.record)
    with folder.alone():
        if own_folder.asked(folder.task) != draft.schema:
            raise files.StageError("the schema was changed meanwhile: open the document again and check it")
        if not document.is_file() or files.sha256(document) != draft.document:
            raise files.StageError(f"{document.name} is gone or was replaced: label it again")
        now = read(document)
        if (now and now.version) != based_on or folder.is_labeled(document):
            raise Changed(now)
        own_folder.write_record(document, draft.record)
        return _save(document, replace(draft, state=ACCEPTED), by, based_on)


# --- the queue -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Waiting:
    """A document that waits for a decision; `said` is why its draft cannot be taken as it is."""

    document: Path
    draft: Draft | None
    said: str = ""


def queue(folder: Folder) -> list[Waiting]:
    """What has not been accepted and has a draft: the least sure first, then what was skipped, then what is broken."""
    asked = own_folder.asked(folder.task)
    made = []
    for path in sorted(folder.path.glob(f"[!.]*{own_folder.DRAFT}")):
        document = path.with_name(path.name.removesuffix(own_folder.DRAFT))
        if folder.is_labeled(document):
            continue
        try:
            draft = read(document)
        except files.StageError as error:
            made.append(Waiting(document, None, str(error)))
            continue
        if draft is None:  # deleted since the folder was listed
            continue
        said = "" if draft.schema == asked else "made for another schema"
        made.append(Waiting(document, draft, said if document.is_file() else "its document is gone"))
    return sorted(made, key=lambda w: (w.draft is None or not w.document.is_file(), _order(w.draft), w.document.name))


def _order(draft: Draft | None) -> tuple:
    return (draft.skipped, -draft.doubt) if draft else ()
