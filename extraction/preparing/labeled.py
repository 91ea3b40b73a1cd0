"""A user's own documents, as stage 1 has laid them out -> documents of stage 2, by split, with the public ones."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from extraction import files
from extraction.models.rows import OWN, take_turns
from extraction.own_folder import SCHEMA
from extraction.preparing.sources import SPLITS, Sources
from extraction.tasks import own_types, records
from extraction.tasks.schemas import TASKS

if TYPE_CHECKING:
    from config import DataConfig


def add(folder: Path, name: str, data: DataConfig, sources: Sources) -> None:
    """The labeled documents of one type. Of those in no folder of a split, some are watched and some only scored.

    A value that its document does not print is no part of what is trained, and stays in a record that is scored.
    Raises StageError if there are too few documents.
    """
    rows = list(files.read_jsonl(folder / "documents.jsonl"))
    schema = files.read_json(folder / SCHEMA)
    for split, row in _split(rows, name, data):
        record, unseen = row["record"], set(row["not_found"])
        if split != "test" and unseen:
            record = records.build(leaf for leaf in records.leaves(record) if leaf.path not in unseen)
            sources.leave_out(OWN + name, split, "value that is not found in its document", len(unseen))
        if isinstance(schema, str):  # a document type of ours
            made = {"task": schema, "record": record | {"summary": records.summarize(TASKS[schema], record)}}
        else:
            made = {"task": name, "template": json.dumps(schema, ensure_ascii=False), "record": record}
        made["text"] = row["text"]
        sources.add(split, {"id": row["id"], "source": OWN + name, "text": row["text"], "rows": [made]})


def _split(rows: list[dict], name: str, data: DataConfig) -> Iterator[tuple[str, dict]]:
    """Each document with its split: that of its folder, or one that depends on its name and the seed alone.

    With `data.own_documents` only so many are learned from, those that are watched among them; the test stays. Of fewer
    than ten (`data.eval_fraction`) none is watched: one of five would be missed more than it could tell.
    """
    rows = sorted(rows, key=lambda row: hashlib.sha256(f"{data.seed}/{row['file']}".encode()).digest())
    tested, watched, rest = ([row for row in rows if row["split"] == split] for split in ("test", "validation", None))
    if not tested:
        count = max(1, round(len(rest) * data.own_test_fraction))
        tested, rest = rest[:count], rest[count:]
    rest = ([row for row in rows if row["split"] == "train"] + rest)[: data.own_documents]
    if not watched:
        count = int(len(rest) * data.eval_fraction)
        watched, rest = rest[:count], rest[count:]
    if not (tested and rest):
        raise files.StageError(
            f"{name} has {len(rows)} labeled documents; at least 2 are needed: to train on, and to test"
        )
    for split, part in zip(SPLITS, (rest, watched, tested), strict=True):
        yield from ((split, row) for row in part)


def with_replay(rows: list[dict], split: str, data: DataConfig, sources: Sources) -> list[dict]:
    """The rows of a split with `data.replay` public training rows for each own one, so that nothing is forgotten. With
    none of them no public row is watched either; the test stays whole.

    Tasks take turns, and rows without an answer take turns of their own: from a handful of contract windows that all
    have clauses, or all none, a model learns to answer just that.
    """
    own = [row for row in rows if row["source"].startswith(OWN)]
    if data.replay is None or not own or split == "test" or (split == "eval" and data.replay):
        return rows
    public = [row for row in rows if not row["source"].startswith(OWN)]
    random.Random(data.seed).shuffle(public)
    kept = round(data.replay * len(own))
    if len(public) > kept:
        sources.leave_out("public rows", split, "beyond data.replay", len(public) - kept)
    return own + take_turns(public, lambda row: (row["task"], row["completion"][0]["content"] == "{}"))[:kept]


def write_schemas(out: Path, datasets: Path, names: Iterable[str]) -> None:
    """Write the schemas of the own document types, which go along with what is trained on the rows."""
    found = {name: files.read_json(datasets / name / SCHEMA) for name in names}
    own = {name: schema for name, schema in found.items() if not isinstance(schema, str)}
    if own:
        files.write_json(out / own_types.SCHEMAS, own)


def summary(splits: dict[str, list[dict]]) -> list[str]:
    """A line for each own document type: how many of its documents are in each split."""
    found: dict[str, Counter] = defaultdict(Counter)
    for split, rows in splits.items():
        for row in rows:
            if row["source"].startswith(OWN):
                found[row["source"]][split] += 1
    return [f"{name}: {', '.join(f'{counts[split]} {split}' for split in SPLITS)}" for name, counts in found.items()]
