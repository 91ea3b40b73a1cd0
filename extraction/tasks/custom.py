"""Fields of a user's own: a JSON schema or a template -> a task that is asked, bound and read like the others.

A template shows the record: `{"vendor": "", "items": [{"name": "", "price": ""}]}`. A text in it describes its field,
and a list of several texts is a choice between them. Of JSON Schema are taken: object, array, string, enum and null.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, create_model

from extraction.files import StageError
from extraction.tasks.schemas import Fields, Task

NAME = "custom"
MAX_LENGTH, USUAL_LENGTH = 500, 200  # characters of a string, at most and where the schema does not say
MAX_ITEMS = 100  # entries of an array, and where the schema does not say
MAX_CHOICES, MAX_FIELDS, MAX_DEPTH = 100, 200, 6

KEYWORDS = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "maxItems"},
    "string": {"maxLength"},
    "enum": {"enum"},
}
REMARKS = {"$schema", "$id", "$comment", "title", "description", "examples", "default"}  # they bind nothing


class _Refused(ValueError):
    """A sentence that names the path."""


class CustomFields(Fields):
    model_config = ConfigDict(extra="forbid", serialize_by_alias=True)


@dataclass(frozen=True)
class CustomTask(Task):
    """`definition` is the bounded schema. The model is led through every field and writes null for what is missing."""

    definition: dict = field(compare=False)

    @cached_property
    def schema(self) -> dict:
        """What constrained decoding enforces."""
        return _enforced(self.definition)

    @cached_property
    def choices(self) -> set[str]:
        """Paths whose values are chosen rather than copied."""
        return {path for path, node in _walk(self.definition) if "enum" in node}

    def missing(self, record: dict) -> list[str]:
        """Paths that the schema requires and the record does not have."""
        return list(_missing(self.definition, record, ""))


def read(path: Path) -> CustomTask:
    """The task of a schema file. Raises StageError with one sentence that names what is not taken, and where."""
    try:
        return parse(path.read_text(encoding="utf-8-sig"), str(path))
    except UnicodeDecodeError:
        raise StageError(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise StageError(f"{path} cannot be opened: {error.strerror}") from error


def parse(text: str, name: str) -> CustomTask:
    """The task of a schema or template as JSON text; `name` is what an error speaks of."""
    try:
        value = json.loads(text)
        definition = _schema(value, "", 0) if _is_schema(value) else _template(value, "", 0)
        if definition["type"] != "object":
            raise _Refused("the outermost value must be an object")
        count = sum(1 for _ in _walk(definition))
        if count > MAX_FIELDS:
            raise _Refused(f"it has {count} fields; at most {MAX_FIELDS} are allowed")
    except RecursionError:
        raise StageError(f"{name}: it is nested too deep") from None
    except _Refused as error:
        raise StageError(f"{name}: {error}") from error
    except ValueError as error:  # also a number of more than 4,300 digits
        raise StageError(f"{name} is not valid JSON: {error}") from error
    return CustomTask(NAME, _model(definition), _instructions(definition), definition)


# --- what is taken -------------------------------------------------------------------------------------------


def _refuse(path: str, why: str) -> _Refused:
    return _Refused(f"{path or 'at the top'}: {why}")


def _is_schema(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    return "$schema" in value or (value.get("type") == "object" and isinstance(value.get("properties"), dict))


def _schema(node: Any, path: str, depth: int) -> dict:
    """The node with its bounds filled in, reduced to what every backend can enforce."""
    if depth > MAX_DEPTH:
        raise _refuse(path, f"nested deeper than {MAX_DEPTH}")
    if not isinstance(node, dict):
        raise _refuse(path, "a schema is an object")
    if "anyOf" in node:  # how pydantic writes "or null"
        options = node["anyOf"] if isinstance(node["anyOf"], list) else []
        real = [option for option in options if option != {"type": "null"}]
        if len(real) != 1 or len(options) != 2 or not isinstance(real[0], dict):
            raise _refuse(path, "anyOf is taken only for one type or null")
        node = {key: value for key, value in node.items() if key != "anyOf"} | real[0]
    kind = node.get("type")
    if isinstance(kind, list):
        real = [name for name in kind if name != "null"]
        kind = real[0] if len(real) == 1 else kind
    if "enum" in node and kind in (None, "string"):
        kind = "enum"
    if not isinstance(kind, str) or kind not in KEYWORDS:
        hint = "; numbers and dates are strings, as printed" if kind in ("number", "integer", "boolean") else ""
        said = f"type {json.dumps(kind)}" if "type" in node else "a schema without type or enum"
        raise _refuse(path, f"{said} is not taken, only object, array, string, enum and null{hint}")
    for keyword in node:
        if keyword != "type" and keyword not in KEYWORDS[kind] | REMARKS:
            raise _refuse(path, f"{keyword!r} is not taken for {kind}")
    return _remark(node.get("description")) | _READERS[kind](node, path, depth)


def _remark(text: Any) -> dict:
    return {"description": " ".join(text.split())[:200]} if isinstance(text, str) and text.strip() else {}


def _object(node: dict, path: str, depth: int) -> dict:
    properties, required = node.get("properties"), node.get("required", [])
    if not isinstance(properties, dict) or not properties:
        raise _refuse(path, "an object needs properties")
    if node.get("additionalProperties", False) is not False:
        raise _refuse(path, "additionalProperties is not taken: every field must be named")
    if not isinstance(required, list) or not all(isinstance(name, str) and name in properties for name in required):
        raise _refuse(path, "required must list names of its properties")
    inner = {name: _schema(node, _named(path, name), depth + 1) for name, node in properties.items()}
    return {"type": "object", "properties": inner, "required": required, "additionalProperties": False}


def _array(node: dict, path: str, depth: int) -> dict:
    if "items" not in node:
        raise _refuse(path, "an array needs items")
    bound = _bound(node, "maxItems", path, MAX_ITEMS, MAX_ITEMS)
    return {"type": "array", "items": _schema(node["items"], f"{path}[]", depth + 1), "maxItems": bound}


def _string(node: dict, path: str, depth: int) -> dict:
    return {"type": "string", "maxLength": _bound(node, "maxLength", path, MAX_LENGTH, USUAL_LENGTH)}


def _enum(node: dict, path: str, depth: int) -> dict:
    values = node["enum"] if isinstance(node["enum"], list) else []
    choices = [value for value in values if value is not None]
    if not choices or not all(isinstance(value, str) and 0 < len(value) <= MAX_LENGTH for value in choices):
        raise _refuse(path, f"enum must list texts of 1 to {MAX_LENGTH} characters")
    if len(choices) > MAX_CHOICES:
        raise _refuse(path, f"enum has {len(choices)} choices; at most {MAX_CHOICES} are allowed")
    return {"type": "string", "enum": list(dict.fromkeys(choices))}


_READERS = {"object": _object, "array": _array, "string": _string, "enum": _enum}


def _bound(node: dict, keyword: str, path: str, highest: int, usual: int) -> int:
    bound = node.get(keyword, usual)
    if type(bound) is not int or not 1 <= bound <= highest:
        raise _refuse(path, f"{keyword} must be a whole number from 1 to {highest}, got {json.dumps(bound)}")
    return bound


def _named(path: str, name: str) -> str:
    if not 0 < len(name) <= 80 or not name.isprintable() or set(name) & set('.[]"\\'):
        raise _refuse(path, f'{name[:80]!r} cannot be the name of a field: 1 to 80 characters without . [ ] " \\')
    return f"{path}.{name}" if path else name


def _template(value: Any, path: str, depth: int) -> dict:
    """The schema of a record that is shown with empty values."""
    if depth > MAX_DEPTH:
        raise _refuse(path, f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, str) or value is None:
        return {**_remark(value), "type": "string", "maxLength": USUAL_LENGTH}
    if isinstance(value, dict):
        if not value:
            raise _refuse(path, "an object needs fields")
        inner = {name: _template(shown, _named(path, name), depth + 1) for name, shown in value.items()}
        return {"type": "object", "properties": inner, "required": [], "additionalProperties": False}
    if isinstance(value, list):
        if len(value) > 1:
            return _enum({"enum": value}, path, depth)
        return {"type": "array", "items": _template((value or [""])[0], f"{path}[]", depth + 1), "maxItems": MAX_ITEMS}
    raise _refuse(path, f"{json.dumps(value)} is not taken in a template, only objects, lists, texts and null")


# --- the task ------------------------------------------------------------------------------------------------


def _walk(node: dict, path: str = "") -> Iterator[tuple[str, dict]]:
    """Every node below this one with its path; entries of an array have `[]` in theirs."""
    if node["type"] == "object":
        for name, inner in node["properties"].items():
            at = f"{path}.{name}" if path else name
            yield at, inner
            yield from _walk(inner, at)
    elif node["type"] == "array":
        yield from _walk(node["items"], f"{path}[]")


def _missing(node: dict, value: Any, path: str) -> Iterator[str]:
    if node["type"] == "object":
        for name, inner in node["properties"].items():
            at = f"{path}.{name}" if path else name
            if name in (value or {}):
                yield from _missing(inner, value[name], at)
            elif name in node["required"]:
                yield at
    elif node["type"] == "array":
        for i, entry in enumerate(value):
            yield from _missing(node["items"], entry, f"{path}[{i}]")


def _enforced(node: dict) -> dict:
    if node["type"] == "object":
        return {
            "type": "object",
            "properties": {name: _or_null(_enforced(inner)) for name, inner in node["properties"].items()},
            "required": list(node["properties"]),
            "additionalProperties": False,
        }
    if node["type"] == "array":
        return {"type": "array", "items": _enforced(node["items"]), "maxItems": node["maxItems"]}
    return {key: value for key, value in node.items() if key != "description"}


def _or_null(node: dict) -> dict:
    return {"anyOf": [node, {"type": "null"}]} if node["type"] == "string" else node


def _model(node: dict) -> Any:
    """The pydantic type of a node. Fields have numbers for names, since a user's may be no names in Python."""
    if node["type"] == "array":
        return Annotated[list[_model(node["items"])], Field(max_length=node["maxItems"])]
    if "enum" in node:
        return Literal[tuple(node["enum"])]
    if node["type"] == "string":
        return Annotated[str, Field(max_length=node["maxLength"])]
    named = enumerate(node["properties"].items())
    return create_model(
        "Own",
        __base__=CustomFields,
        **{f"field_{i}": (_model(inner) | None, Field(default=None, alias=name)) for i, (name, inner) in named},
    )


def _instructions(definition: dict) -> str:
    remarks = [f"{path}: {node['description']}" for path, node in _walk(definition) if "description" in node]
    shown = json.dumps(_shown(definition), ensure_ascii=False, separators=(",", ":"))
    return "\n".join(
        [
            "Extract these fields of this document as JSON. Copy values exactly as printed. "
            f"Write null for what is missing. Fields: {shown}",
            *remarks,
        ]
    )


def _shown(node: dict) -> Any:
    if node["type"] == "object":
        return {name: _shown(inner) for name, inner in node["properties"].items()}
    if node["type"] == "array":
        return [_shown(node["items"])]
    return " | ".join(node["enum"]) if "enum" in node else ""
