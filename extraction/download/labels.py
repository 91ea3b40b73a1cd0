"""A record that a person wrote -> what a model is to answer: read, held against the schema, in words as printed."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from extraction.evidence import values
from extraction.tasks import completions, schemas
from extraction.tasks.custom import CustomTask

NO_FIT = "record does not fit the schema"


class Wrong(ValueError):
    """What is wrong with a record, in words that name fields and never a value; `reason` is what it is counted as."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


def read(source: Path | str) -> Any:
    """The record of a file, or the `gt_parse` of Donut's ground truth. Raises Wrong."""
    try:
        text = source.read_text(encoding="utf-8-sig") if isinstance(source, Path) else source
        value = json.loads(text, parse_float=Decimal)
    except OSError as error:
        raise Wrong("record cannot be read", f"cannot be opened: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise Wrong("record is not JSON", f"not valid JSON, line {error.lineno}: {error.msg}") from error
    except (ValueError, RecursionError):  # not UTF-8, half a character, a number of more than 4,300 digits
        raise Wrong("record is not JSON", "not valid JSON") from None
    if isinstance(source, Path):
        return value
    if not isinstance(value, dict) or not isinstance(value.get("gt_parse"), dict):
        raise Wrong("record is not JSON", "its ground_truth has no gt_parse")
    return value["gt_parse"]


def fitting(task: schemas.Task, value: Any, text: str) -> dict:
    """The record in words as the document prints them, without nulls. Raises Wrong with the path that does not fit.

    A number, or a date as `2026-03-04`, is replaced by what the document prints for it.
    """
    if not isinstance(value, dict):
        raise Wrong(NO_FIT, "the record is not an object")
    record = _fit(task.definition, value, "", text) if isinstance(task, CustomTask) else _ordered(task, value)
    if not record:
        raise Wrong("record is empty", "the record has no value")
    return record


def _ordered(task: schemas.Task, value: dict) -> dict:
    try:
        return completions.ordered(task, {name: inner for name, inner in value.items() if name != "summary"})
    except ValidationError as error:
        path = ".".join(map(str, error.errors()[0]["loc"]))
        raise Wrong(NO_FIT, f"{path} does not fit the fields of a {task.name}") from None


def _fit(node: dict, value: Any, path: str, text: str) -> Any:
    if node["type"] == "object":
        return _object(node, value, path, text)
    if node["type"] == "array":
        if isinstance(value, dict):  # as in Donut's records, where a list of one entry is that entry
            value = [value]
        if not isinstance(value, list):
            raise Wrong(NO_FIT, f"{path} is not a list")
        if len(value) > node["maxItems"]:
            raise Wrong(NO_FIT, f"{path} has {len(value)} entries; at most {node['maxItems']} are allowed")
        kept = (_fit(node["items"], entry, f"{path}[{i}]", text) for i, entry in enumerate(value) if entry is not None)
        return [entry for entry in kept if entry not in ("", {}, [])]
    if "enum" in node:
        said = json.dumps(value) if isinstance(value, bool) else str(value)
        if said not in node["enum"]:
            raise Wrong(NO_FIT, f"{path} is none of its {len(node['enum'])} choices")
        return said
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise Wrong(NO_FIT, f"{path} is not text")
    if isinstance(value, str):
        return _text(node, value, path, text)
    return _printed_number(value, text, path)


def _object(node: dict, value: Any, path: str, text: str) -> dict:
    if not isinstance(value, dict):
        raise Wrong(NO_FIT, f"{path} is not an object")
    made = {}
    for name, inner in value.items():
        at = f"{path}.{name}" if path else name
        if name not in node["properties"]:
            raise Wrong(NO_FIT, f"the schema has no field {at}")
        fitted = None if inner is None else _fit(node["properties"][name], inner, at, text)
        if fitted not in (None, "", {}, []):
            made[name] = fitted
    if missing := next((name for name in node["required"] if name not in value), None):
        raise Wrong(NO_FIT, f"{f'{path}.{missing}' if path else missing} is required and missing")
    return {name: made[name] for name in node["properties"] if name in made}


def _text(node: dict, value: str, path: str, text: str) -> str:
    value = value.strip()
    if len(value) > node["maxLength"]:
        raise Wrong(NO_FIT, f"{path} has {len(value)} characters; at most {node['maxLength']} are allowed")
    if node.get("as") != "date" or value in text:
        return value
    meant = {day for _, _, days in values.dates(value) for day in days}
    same = {text[a:b] for a, b, days in values.dates(text) if len(meant) == 1 and days[:1] == list(meant)}
    return same.pop() if len(same) == 1 else value


def _printed_number(value: int | Decimal, text: str, path: str) -> str:
    """What the document prints for a number, if that is one thing."""
    found = {m.group() for m in values.NUMBER.finditer(text) if value in values.readings(m.group())}
    if str(value) in found:
        return str(value)
    if len(found) != 1:
        raise Wrong("number is not printed", f"{path} is a number that is not printed: write it as the document has it")
    return found.pop()
