"""The typed record of a user's own schema, beside the one in words: numbers, whole numbers, dates, booleans.

What can be read in two ways is read as neither: `1,250` is a number only where the document shows how it writes others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from extraction.evidence import values


def settle(fields: list[dict], types: Mapping[str, str], text: str) -> list[dict]:
    """The fields of a result; a number that has two readings gets the one that the document's other numbers point at,
    or none."""
    mark = decimal_mark(text)
    return [
        field | {"normalized": _number(field["value"], mark)}
        if types.get(_place(field["path"])) == "number" and field["normalized"] is not None
        else field
        for field in fields
    ]


def decimal_mark(text: str) -> str | None:
    """The mark before the decimals of a text's numbers, by those that can be read in one way only."""
    found = set()
    for match in values.NUMBER.finditer(text):
        marks = re.findall(r"[.,]", match.group())
        readings = values.readings(match.group())
        if marks and len(readings) == 1:
            decimals = len(set(marks)) == 2 or len(re.split(r"[.,]", match.group())[-1]) != 3
            found.add(marks[-1] if decimals else "".join({".", ","} - set(marks)))
    return found.pop() if len(found) == 1 else None


def _number(text: str, mark: str | None) -> float | None:
    readings = values.readings(text)
    if len(readings) < 2:
        return float(readings[0]) if readings else None
    printed = re.findall(r"[.,]", values.NUMBER.search(text).group())
    if mark is None or len(printed) != 1:
        return None
    whole, decimal = sorted(readings, key=abs, reverse=True)[:2]
    return float(decimal if printed == [mark] else whole)


def record(made: Any, fields: list[dict], types: Mapping[str, str]) -> Any:
    """The record with typed values, null for what is missing or cannot be read as its type."""
    known = {f["path"]: f["normalized"] if _place(f["path"]) in types else f["value"] for f in fields}
    return _typed(made, "", known)


def _typed(value: Any, path: str, known: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {name: _typed(inner, f"{path}.{name}" if path else name, known) for name, inner in value.items()}
    if isinstance(value, list):
        return [_typed(inner, f"{path}[{i}]", known) for i, inner in enumerate(value)]
    return known.get(path)


def _place(path: str) -> str:
    return re.sub(r"\[\d+\]", "[]", path)
