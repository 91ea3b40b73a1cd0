"""Fields of a user's own: a JSON schema or a template -> a task that is asked, bound and read like the others.

A template shows the record: `{"vendor": "", "items": [{"name": "", "price": ""}]}`. A text in it describes its field,
and a list of several texts is a choice between them. What of JSON Schema is taken, `definitions` says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, create_model

from extraction.files import StageError
from extraction.tasks import definitions
from extraction.tasks.schemas import Fields, Task

NAME = "custom"  # of a task that was given with a call; a document type of the user's own has its folder's name


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
        return {path for path, node in _values(self.definition) if "enum" in node}

    @cached_property
    def types(self) -> dict[str, str]:
        """By path, `number`, `integer`, `date`, `date-time` or `boolean` for the values that are to be one."""
        return {path: node["as"] for path, node in _values(self.definition) if "as" in node}

    def whole(self, record: dict) -> dict:
        """The record as the model writes it: every field in the order of the schema, null for a missing value."""
        return _whole(self.definition, record)

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


def task_of(row: dict) -> CustomTask:
    """The task of a training row that carries its schema."""
    return _parsed(row["template"], row["task"])


@cache
def _parsed(text: str, called: str) -> CustomTask:
    return parse(text, f"the schema of {called}", called)


def parse(text: str, name: str, called: str = NAME) -> CustomTask:
    """The task of a schema or template as JSON text; `name` is what an error speaks of."""
    try:
        definition = definitions.read(json.loads(text))
        count = sum(1 for _ in _walk(definition))
        if count > definitions.MAX_FIELDS:
            raise definitions.Refused(f"it has {count} fields; at most {definitions.MAX_FIELDS} are allowed")
    except RecursionError:
        raise StageError(f"{name}: it is nested too deep") from None
    except definitions.Refused as error:
        raise StageError(f"{name}: {error}") from error
    except ValueError as error:  # also a number of more than 4,300 digits
        raise StageError(f"{name} is not valid JSON: {error}") from error
    return CustomTask(called, _model(definition), _instructions(definition), definition)


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


def _values(node: dict, path: str = "") -> Iterator[tuple[str, dict]]:
    """Every value below this node with its path, those of lists of values too."""
    if node["type"] == "object":
        for name, inner in node["properties"].items():
            yield from _values(inner, f"{path}.{name}" if path else name)
    elif node["type"] == "array":
        yield from _values(node["items"], f"{path}[]")
    else:
        yield path, node


def _whole(node: dict, value: Any) -> Any:
    if node["type"] == "object":
        return {name: _whole(inner, (value or {}).get(name)) for name, inner in node["properties"].items()}
    if node["type"] == "array":
        return [_whole(node["items"], entry) for entry in value or []]
    return value


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
    return {key: value for key, value in node.items() if key not in ("description", "as")}


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
