"""What follows from a record alone: its leaves, its paths, its summary, and the record of several windows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from extraction.tasks.schemas import CLAUSES, CONTRACT, DOCUMENT, RECEIPT, Task


@dataclass(frozen=True)
class Leaf:
    """One value of a record. `item` is the path of the object in a list that it belongs to."""

    path: str
    key: str
    item: str | None
    value: str


def leaves(record: Any, path: str = "", item: str | None = None) -> Iterator[Leaf]:
    """The values of a record that are there, with list positions in their paths."""
    if isinstance(record, dict):
        for key, value in record.items():
            yield from leaves(value, f"{path}.{key}" if path else key, item)
    elif isinstance(record, list):
        for i, value in enumerate(record):
            inner = f"{path}[{i}]"
            yield from leaves(value, inner, inner if isinstance(value, dict) else item)
    elif record not in (None, ""):
        yield Leaf(path, re.sub(r"\[\d+\]$", "", path).rsplit(".", 1)[-1], item, str(record))


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
        return _flat("".join(parts)) + "."
    if task is CONTRACT:
        clauses = record.get("clauses") or {}

        def first(name: str) -> str:
            return _flat((clauses.get(name) or [""])[0])[:120].rstrip(" .,;")

        title = first("Document Name") or "Contract"
        date = first("Agreement Date") or first("Effective Date")
        parties = [_flat(p)[:80].rstrip(" .,;") for p in (clauses.get("Parties") or [])][:2]
        head = title + (f" of {date}" if date else "") + (f" between {' and '.join(parties)}" if parties else "")
        kinds = f"{len(clauses)} kind{'' if len(clauses) == 1 else 's'} of clauses found"
        return f"{head}. {kinds}" + (f", governing law: {first('Governing Law')}." if first("Governing Law") else ".")
    if task is DOCUMENT:
        pairs = [p for p in record.get("key_values") or [] if p.get("key") and p.get("value")]  # empty ones were pruned
        named = ", ".join(f"{_flat(p['key']).rstrip(' :')}: {_flat(p['value'])}" for p in pairs[:2])
        title = _flat(record.get("title") or "Document").rstrip(".")
        return (f"{title}. {named}" if named else title)[:480].rstrip(" .,;") + "."
    raise ValueError(f"no summary for {task.name}")


def _flat(text: str) -> str:
    return " ".join(text.split())


def merge_clauses(windows: Iterable[dict]) -> dict:
    """One contract record from those of its windows: a quote inside a longer one of its category is dropped."""
    found: dict[str, list[str]] = {}
    for record in windows:
        for name, quotes in (record.get("clauses") or {}).items():
            found.setdefault(name, []).extend(quotes)
    merged = {}
    for name in CLAUSES:
        flat = list(dict.fromkeys(map(_flat, found.get(name, []))))
        kept = [q for q in flat if q and not any(q != other and q in other for other in flat)]
        if kept:
            merged[name] = kept
    return {"clauses": merged}
