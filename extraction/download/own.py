"""A folder of one's own documents -> their texts and records: each document read once, each record checked."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from extraction import files
from extraction.download import labels
from extraction.evidence import grounding
from extraction.own_folder import METADATA, NOT_FOUND, SCHEMA, Folder, counts, records_of
from extraction.reading import documents, limits
from extraction.tasks import records, schemas
from extraction.tasks.custom import CustomTask

SPLITS = ("train", "validation", "test")  # folders whose documents are in that split, as in Donut's datasets
SHOWN = 10  # of a kind that the terminal lists


@dataclass(frozen=True)
class Labeled:
    """A document and what says its record: a file of its own, or a line of Donut's metadata."""

    path: Path
    split: str | None
    place: str  # of the record, for messages
    record: Path | str  # its file, or its ground truth


@dataclass
class Found:
    """What a folder of own documents gave. Sentences name files and fields, never what stands in a document."""

    rows: list[dict] = field(default_factory=list)
    left_out: Counter = field(default_factory=Counter)  # by reason
    said: list[str] = field(default_factory=list)  # a sentence for each document that was left out
    not_found: list[dict] = field(default_factory=list)  # values that their document does not print


# --- which document has which record -------------------------------------------------------------------------


def labeled(folder: Path, found: Found) -> list[Labeled]:
    """The documents that have a record. Raises StageError if it cannot be told which record is whose."""
    made = []
    for split, place in ((None, folder), *((name, folder / name) for name in SPLITS)):
        if place.is_dir():
            made += _labeled(place, split, found)
    if not made and not found.left_out:
        raise files.StageError(f"{folder} holds no document that the reader takes")
    return made


def _labeled(folder: Path, split: str | None, found: Found) -> Iterator[Labeled]:
    paths = {p.name: p for p in sorted(folder.iterdir()) if p.is_file() and counts(p)}
    names = [document.name for document in Folder(folder).documents()]
    lines = _metadata(folder / METADATA, paths)
    claims = {name: [record.name for record in records_of(paths[name])] for name in names}
    owners: dict[str, list[str]] = defaultdict(list)
    for name, its in claims.items():
        for record in its:
            owners[record].append(name)
    for record, several in owners.items():
        if len(several) > 1:
            raise files.StageError(
                f"{folder / record} may be the record of {' and of '.join(several)}: name it {several[0]}.json"
            )
    for name in names:
        its = [*claims[name], *([METADATA] if name in lines else [])]
        if len(its) > 1:
            raise files.StageError(f"{folder / name} has two records, {' and '.join(its)}: delete one")
        if not its:
            found.left_out["not labeled"] += 1
        elif its == [METADATA]:
            yield Labeled(paths[name], split, f"{METADATA}, {name}", lines[name])
        else:
            yield Labeled(paths[name], split, its[0], paths[its[0]])
    for name in paths:
        if name.endswith(".json") and name not in owners and name != SCHEMA:
            _leave_out(found, "a record whose document is missing", f"{name}: its document is missing")


def _metadata(path: Path, paths: dict[str, Path]) -> dict[str, str]:
    """Donut's ground truth by the names of the documents."""
    if path.name not in paths:
        return {}
    found: dict[str, str] = {}
    for number, row in enumerate(files.read_jsonl(path), start=1):
        name, truth = row.get("file_name"), row.get("ground_truth")
        if not isinstance(name, str) or not isinstance(truth, str):
            raise files.StageError(f"{path}, line {number}: no file_name or no ground_truth")
        if name in found:
            raise files.StageError(f"{path}, line {number}: a second record of {name}")
        if name not in paths:
            raise files.StageError(f"{path}, line {number}: there is no document {name}")
        found[name] = truth
    return found


# --- reading and checking ------------------------------------------------------------------------------------


def lay_out(folder: Path, name: str, task: schemas.Task, run: limits.Limits, known: dict[str, dict]) -> Found:
    """Read the labeled documents and check their records. `known` are texts of an earlier run by the document's hash.

    Raises StageError if no document is left.
    """
    from tqdm import tqdm

    found = Found()
    for one in tqdm(labeled(folder, found), desc=name, unit="document", disable=None):
        shown = one.path.relative_to(folder).as_posix()
        try:
            value = labels.read(one.record)
            text, digest = _text(one.path, run, known)
            record = labels.fitting(task, value, text)
        except limits.DocumentError as error:
            _leave_out(found, "cannot be read", f"{shown}: {error}")
            continue
        except labels.Wrong as error:
            _leave_out(found, error.reason, f"{one.place}: {error}")
            continue
        places = grounding.ground(list(records.leaves(record)), task, documents.Document(text))
        unseen = [f for f in places if f["grounding"] == "none" and not _chosen(f["path"], task)]
        found.not_found += [{"document": shown, "path": f["path"], "value": f["value"]} for f in unseen]
        row = {"id": f"own/{name}/{shown}", "file": shown, "split": one.split, "sha256": digest, "text": text}
        found.rows.append({**row, "record": record, "not_found": [f["path"] for f in unseen]})
    if not found.rows:
        why = f" ({found.said[0]})" if found.said else ": write their records beside them"
        if found.left_out[labels.NO_FIT] > 1:
            why += f"; {misfits(found)}"
        raise files.StageError(f"{folder} has no labeled document that can be used{why}")
    return found


def misfits(found: Found) -> str:
    """What is said of records that do not fit the schema."""
    count = found.left_out[labels.NO_FIT]
    said = "1 record does" if count == 1 else f"{count} records do"
    return f"{said} not fit {SCHEMA}: if it was changed after they were made, change them too; nothing was deleted"


def _text(path: Path, run: limits.Limits, known: dict[str, dict]) -> tuple[str, str]:
    """The text of a document as the reader gives it, and the hash of the bytes. Raises DocumentError."""
    data = documents.content(path, run)
    digest = hashlib.sha256(data).hexdigest()
    if digest in known:
        return known[digest]["text"], digest
    parts = documents.parts(path.name, data, run)
    if len(parts) > 1:
        raise limits.DocumentError(f"it holds {len(parts)} documents; label each of them as a file of its own")
    return documents.read_part(parts[0], run).text, digest


def _chosen(path: str, task: schemas.Task) -> bool:
    return isinstance(task, CustomTask) and re.sub(r"\[\d+\]", "[]", path) in task.choices


def _leave_out(found: Found, reason: str, said: str) -> None:
    found.left_out[reason] += 1
    found.said.append(said)


def limits_of(run: limits.Limits) -> dict[str, Any]:
    """The limits of reading, on which a document's text depends."""
    return {name: value for name, value in asdict(run).items() if name in limits.Limits.__dataclass_fields__}


def texts(folder: Path, run: dict[str, Any], manifest: dict | None) -> dict[str, dict]:
    """The texts that an earlier run has read within the same limits, by the hash of the document."""
    if manifest is None or manifest["settings"].get("limits") != files.plain(run):
        return {}
    return {row["sha256"]: row for row in files.read_jsonl(folder / "documents.jsonl")}


def write(found: Found, folder: Path, staging: Path) -> None:
    """Write what was found: rows and schema for stage 2, and the values that are not printed beside the documents."""
    files.write_jsonl(staging / "documents.jsonl", found.rows)
    schema = files.read_json(folder / SCHEMA)
    files.write_text(staging / SCHEMA, json.dumps(schema, ensure_ascii=False) + "\n")
    path = folder / NOT_FOUND
    if found.not_found:
        files.write_json(path, found.not_found)
    else:
        path.unlink(missing_ok=True)


def say(found: Found, folder: Path) -> None:
    """What was left out and what is wrong with the labels, on the terminal."""
    for sentence in found.said[:SHOWN]:
        print(f"left out: {files.shown(sentence)}", file=sys.stderr)
    if found.said[SHOWN:]:
        print(f"left out: {len(found.said) - SHOWN} more", file=sys.stderr)
    if found.left_out[labels.NO_FIT]:
        print(misfits(found), file=sys.stderr)
    for entry in found.not_found[:SHOWN]:
        print(f"check: {files.shown(entry['document'])}: {entry['path']} is not printed in it", file=sys.stderr)
    if found.not_found:
        count = f"{len(found.not_found)} values are" if len(found.not_found) > 1 else "1 value is"
        print(f"{count} not found in the documents' text: {folder / NOT_FOUND}", file=sys.stderr)
