"""What follows from a record alone: its leaves, its paths, its summary, and the record of several windows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

from extraction.tasks import custom
from extraction.tasks.schemas import CLAUSES, CONTRACT, DOCUMENT, RECEIPT, Task


@dataclass(frozen=True)
class Leaf:
    """One value of a record, made when an answer is read and carried to the output.

    `path` has list positions. `span` is where the model pointed, `[start, end)`, for a clause given by its sentences.
    """

    path: str
    value: str
    confidence: float | None = None
    span: tuple[int, int] | None = None

    @cached_property
    def field(self) -> str:
        """The path without list positions."""
        return without_positions(self.path)

    @cached_property
    def key(self) -> str:
        """The name of the field alone: `price` for `line_items[3].price`."""
        return self.field.rsplit(".", 1)[-1]

    @cached_property
    def item(self) -> str | None:
        """The path of the object in a list that it belongs to."""
        end = self.path.rfind("].") + 1
        return self.path[:end] or None


def leaves(record: Any, confidences: Mapping[str, float] | None = None) -> Iterator[Leaf]:
    """The values of a record that are there, in its order, with their confidences by path."""
    sure = confidences or {}
    return (Leaf(path, value, sure.get(path)) for path, value in _values(record, ""))


def _values(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _values(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _values(inner, f"{path}[{i}]")
    elif value not in (None, ""):
        yield path, str(value)


_STEP = re.compile(r"\[(\d+)\]|[^.\[\]]+")


def build(found: Iterable[Leaf]) -> dict:
    """The record that has these leaves; a place in a list that has none is closed up."""
    record: dict = {}
    for leaf in found:
        steps = [int(step[1]) if step[1] else step[0] for step in _STEP.finditer(leaf.path)]
        part: Any = record
        for step, following in pairwise(steps):
            part = _part(part, step, [] if isinstance(following, int) else {})
        _part(part, steps[-1], leaf.value)
    return prune(record)


def _part(of: dict | list, step: str | int, new: Any) -> Any:
    """The part of an object or a list at a key or number, which is `new` if there was none."""
    if isinstance(of, dict):
        return of.setdefault(step, new)
    of.extend([None] * (step + 1 - len(of)))
    if of[step] is None:
        of[step] = new
    return of[step]


def without_positions(path: str) -> str:
    """`line_items.price` for `line_items[3].price`."""
    return re.sub(r"\[\d+\]", "", path)


def prune(value: Any) -> Any:
    """The value without empty strings, nulls, empty lists and empty objects inside."""
    if isinstance(value, dict):
        kept = {key: prune(v) for key, v in value.items()}
        return {key: v for key, v in kept.items() if v not in (None, "", [], {})}
    if isinstance(value, list):
        return [v for v in map(prune, value) if v not in (None, "", [], {})]
    return value


# --- what follows from a record ------------------------------------------------------------------------------


def summarize(task: Task, record: dict) -> str:
    """At most two sentences that say nothing but what stands in the record."""
    if task is RECEIPT:
        merchant = (record.get("merchant") or {}).get("name")
        head = "Invoice" if record.get("invoice_number") else "Receipt"
        items = record.get("line_items") or []
        parts = [head, f" {record['invoice_number']}" if record.get("invoice_number") else ""]
        parts.append(f" from {merchant}" if merchant else "")
        parts.append(f" of {record['date']}" if record.get("date") else "")
        parts.append(f" with {len(items)} line item{'' if len(items) == 1 else 's'}" if items else "")
        parts.append(f", total {record['total']}" if record.get("total") else "")
        return flat("".join(parts)) + "."
    if task is CONTRACT:
        clauses = record.get("clauses") or {}

        def first(name: str) -> str:
            return flat((clauses.get(name) or [""])[0])[:120].rstrip(" .,;")

        title = first("Document Name") or "Contract"
        date = first("Agreement Date") or first("Effective Date")
        parties = [flat(p)[:80].rstrip(" .,;") for p in (clauses.get("Parties") or [])][:2]
        head = title + (f" of {date}" if date else "") + (f" between {' and '.join(parties)}" if parties else "")
        kinds = f"{len(clauses)} kind{'' if len(clauses) == 1 else 's'} of clauses found"
        return f"{head}. {kinds}" + (f", governing law: {first('Governing Law')}." if first("Governing Law") else ".")
    if task is DOCUMENT:
        pairs = [p for p in record.get("key_values") or [] if p.get("key") and p.get("value")]  # empty ones were pruned
        named = ", ".join(f"{flat(p['key']).rstrip(' :')}: {flat(p['value'])}" for p in pairs[:2])
        title = flat(record.get("title") or "Document").rstrip(".")
        return (f"{title}. {named}" if named else title)[:480].rstrip(" .,;") + "."
    raise ValueError(f"no summary for {task.name}")


def flat(text: str) -> str:
    """The text on one line, its words parted by one blank."""
    return " ".join(text.split())


# --- several windows -----------------------------------------------------------------------------------------


def merge(task: Task, windows: Iterable[Iterable[Leaf]]) -> list[Leaf]:
    """The leaves of a document from those of its windows: lists are joined, of single values the first stays."""
    windows = [list(window) for window in windows]
    if task is CONTRACT:
        return _clauses(leaf for window in windows for leaf in window)
    merged: dict[str, Leaf] = {}
    before: Counter[str] = Counter()  # entries of each list in earlier windows
    for window in windows:
        entries: Counter[str] = Counter()
        for leaf in window:
            path, entry = leaf.path, _ENTRY.match(leaf.path)
            if entry:
                name, number = entry[1], int(entry[2])
                path = f"{name}[{number + before[name]}]{path[entry.end() :]}"
                entries[name] = max(entries[name], number + 1)
            merged.setdefault(path, replace(leaf, path=path))
        before += entries
    if len(windows) > 1 and not isinstance(task, custom.CustomTask):
        merged.pop("summary", None)  # it spoke of one window
    return list(merged.values())


_ENTRY = re.compile(r"([^\[]*)\[(\d+)\]")


def _clauses(found: Iterable[Leaf]) -> list[Leaf]:
    """The clauses of a contract. Of equal quotes of a category the surest stays; one inside a longer one is dropped."""
    quotes: dict[str, dict[str, Leaf]] = {}
    for leaf in found:
        same, quote = quotes.setdefault(leaf.key, {}), flat(leaf.value)
        if quote and (quote not in same or (leaf.confidence or 0) > (same[quote].confidence or 0)):
            same[quote] = leaf
    merged = []
    for name in CLAUSES:
        same = quotes.get(name, {})
        kept = [q for q in same if not any(q != other and q in other for other in same)]
        merged += [replace(same[q], path=f"clauses.{name}[{i}]", value=q) for i, q in enumerate(kept)]
    return merged
