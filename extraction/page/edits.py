"""Changes that a person makes to a record on the page: one value, or the rows of a list."""

from __future__ import annotations

import copy
import re
from typing import Any

from extraction import steps

ACTS = ("add", "remove", "up", "down")


def with_value(value: Any, at: str, new: Any, schema: dict, path: str = "") -> Any:
    """The record with the value at a path, such as `line_items[0].amount`, replaced; None leaves a list of values.

    Objects and lists on the way to it that the record has not are made if the schema has them; what comes right behind
    a list's last value is added to it.
    """
    if path == at:
        return new
    inner = schema.get("properties", {})
    if value is None and inner and at.startswith(f"{path}."):
        value = dict.fromkeys(inner)
    if isinstance(value, dict):
        paths = {key: f"{path}.{key}" if path else key for key in value}
        return {key: with_value(v, at, new, inner.get(key, {}), paths[key]) for key, v in value.items()}
    if isinstance(value, list) or (value is None and "items" in schema and at.startswith(f"{path}[")):
        entries = [*(value or []), *([None] if at == f"{path}[{len(value or [])}]" else [])]
        entries = [with_value(v, at, new, schema.get("items", {}), f"{path}[{i}]") for i, v in enumerate(entries)]
        return [entry for entry in entries if entry is not None]
    return value


def with_rows(record: dict, path: str, act: str, schema: dict) -> tuple[dict, str, list[int | None]]:
    """The record with a row added to the list at `path`, or the row at `path` moved or removed.

    Also the path of the list, and for each of its rows now which it was before (None: a new one). The first row of a
    list has the fields of the schema. Raises ValueError for a path that is not there, or an act that is none of `ACTS`.
    """
    if act not in ACTS:
        raise ValueError(f"no such act: {act}")
    changed = copy.deepcopy(record)
    where, index = (path, None) if act == "add" else _split(path)
    entry = _entry_schema(schema, where)
    if act == "add" and "properties" in entry and _at(changed, where) is None:
        changed = with_value(changed, where, [], schema)
    rows = _at(changed, where)
    if not isinstance(rows, list) or (index is not None and index >= len(rows)):
        raise ValueError(f"no such row: {path}")
    order: list[int | None] = list(range(len(rows)))
    if act == "add":
        order.append(None)
    elif act == "remove":
        del order[index]
    else:
        other = index + (1 if act == "down" else -1)
        if 0 <= other < len(rows):
            order[index], order[other] = order[other], order[index]
    rows[:] = [_blank(rows, entry) if i is None else rows[i] for i in order]
    return changed, where, order


def renumbered(path: str, rows: str, order: list[int | None]) -> str | None:
    """The path that a value has now after the rows of a list were put in this order; None if its row is gone."""
    entry = re.match(re.escape(rows) + r"\[(\d+)\]", path)
    if entry is None:
        return path
    before = int(entry[1])
    return f"{rows}[{order.index(before)}]{path[entry.end() :]}" if before in order else None


def _split(path: str) -> tuple[str, int]:
    entry = re.fullmatch(r"(.+)\[(\d+)\]", path)
    if entry is None:
        raise ValueError(f"no such row: {path}")
    return entry[1], int(entry[2])


def _at(record: Any, path: str) -> Any:
    for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        try:
            record = record[int(index) if index else name]
        except (KeyError, IndexError, TypeError):
            raise ValueError(f"no such row: {path}") from None
    return record


def _entry_schema(schema: dict, path: str) -> dict:
    """What the schema says of the entries of the list at a path, nothing if it has no such list."""
    for name in re.findall(r"[^.\[\]]+|\[", path):
        schema = schema.get("items", {}) if name == "[" else schema.get("properties", {}).get(name, {})
    return schema.get("items", {})


def _blank(rows: list, schema: dict) -> Any:
    """A row of the same keys without values; the first one has those of the schema."""
    if not rows or not isinstance(rows[0], dict):
        return steps.with_nulls(schema, {}) if "properties" in schema else None
    keys = dict.fromkeys(key for row in rows for key in row)
    return {key: None for key in keys}
