"""A user's JSON schema or template -> its definition: bounded, without references, of what every backend enforces.

Of JSON Schema are taken: objects with named properties, arrays, strings, numbers, booleans, enum, const and null; $ref
within the schema; anyOf, oneOf and allOf of one type or null, as pydantic writes them. Values are copied as text; `as`
in a definition says which type the schema asks for. All else is refused with the path where it stands.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

MAX_LENGTH, USUAL_LENGTH = 500, 200  # characters of a string, at most and where the schema does not say
MAX_ITEMS = 100  # entries of an array, and where the schema does not say
MAX_CHOICES, MAX_FIELDS, MAX_DEPTH = 100, 200, 6

TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
KEYWORDS = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "maxItems"},
    "string": {"maxLength", "format"},
    "number": {"format"},
    "integer": {"format"},
    "boolean": set(),
    "enum": {"enum"},
}
REMARKS = {"$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "examples", "default"}
REMARKS |= {"deprecated", "readOnly", "writeOnly"}  # they bind nothing
_MARKS = {"type", "$ref", "enum", "const", "properties", "items", "anyOf", "oneOf", "allOf"}
_FORMATS = {"date": "date", "date-time": "date-time"}  # which are dates; others, such as email, bind nothing


class Refused(ValueError):
    """A sentence that names the path."""


def read(value: Any) -> dict:
    """The definition of a schema or a template. Raises Refused for what is not taken."""
    value = _unwrapped(value)
    made = _Schema(value).read(value, "", 0, ()) if _is_schema(value) else _template(value, "", 0)
    if made["type"] != "object":
        raise Refused("the outermost value must be an object")
    return made


def _refuse(path: str, why: str) -> Refused:
    return Refused(f"{path or 'at the top'}: {why}")


def _unwrapped(value: Any) -> Any:
    """The schema within the request of an API: `response_format`, `json_schema`, or the parameters of a function."""
    for _ in range(3):
        for name in ("response_format", "json_schema", "function", "schema", "parameters", "input_schema"):
            if isinstance(value, dict) and isinstance(value.get(name), dict) and _wraps(value, name):
                value = value[name]
                break
        else:
            break
    return value


def _wraps(value: dict, name: str) -> bool:
    others = set(value) - {name}
    inner = value[name]
    deeper = any(isinstance(inner.get(other), dict) for other in ("json_schema", "schema", "parameters"))
    return (deeper or _is_schema(inner)) and others <= {"name", "strict", "description", "type"}


def _is_schema(value: Any) -> bool:
    """Whether it is JSON Schema rather than a template of the record: by what only a schema has."""
    if not isinstance(value, dict):
        return False
    if any(isinstance(value.get(name), kind) for name, kind in (("$schema", str), ("$ref", str))):
        return True
    if any(isinstance(value.get(name), dict) and value[name] for name in ("$defs", "definitions")):
        return True
    if "type" in value and _is_type(value["type"]):
        return True
    several = [value.get(name) for name in ("anyOf", "oneOf", "allOf")]
    if any(isinstance(options, list) and options and all(map(_is_node, options)) for options in several):
        return True
    properties = value.get("properties")
    if not isinstance(properties, dict) or not all(isinstance(inner, dict) for inner in properties.values()):
        return False
    return any(map(_is_node, properties.values()))  # one that is none is refused, with its path


def _is_node(value: Any) -> bool:
    """Whether it reads like a part of a schema."""
    if not isinstance(value, dict) or not set(value) & _MARKS:
        return False
    return "type" not in value or _is_type(value["type"])


def _is_type(kind: Any) -> bool:
    kinds = kind if isinstance(kind, list) else [kind]
    return bool(kinds) and all(isinstance(name, str) and name in TYPES for name in kinds)


class _Schema:
    """The reading of one JSON schema; `root` is what its references point into."""

    def __init__(self, root: dict):
        self.root, self.nodes = root, 0

    def read(self, node: Any, path: str, depth: int, opened: tuple[str, ...]) -> dict:
        """The node with its bounds filled in. `opened` are the references on the way to it."""
        self.nodes += 1
        if depth > MAX_DEPTH:
            raise _refuse(path, f"nested deeper than {MAX_DEPTH}")
        if self.nodes > 10 * MAX_FIELDS:
            raise _refuse(path, f"the schema has more than {MAX_FIELDS} fields")
        node, opened = self._single(node, path, opened)
        kind = self._kind(node, path)
        for keyword in node:
            if keyword not in KEYWORDS[kind] | REMARKS | {"type"}:
                raise _refuse(path, f"{keyword!r} is not taken for {kind}")
        readers = {"object": self._object, "array": self._array, "enum": self._enum, "boolean": self._boolean}
        read = readers.get(kind, self._value)
        return _remark(node.get("description")) | read(node, path, depth, opened)

    def _single(self, node: Any, path: str, opened: tuple[str, ...]) -> tuple[dict, tuple[str, ...]]:
        """The node without references and without anyOf, oneOf and allOf, which may only add null to one type."""
        for _ in range(20):
            if not isinstance(node, dict):
                raise _refuse(path, "a schema is an object")
            if "$ref" in node:
                reference = node["$ref"]
                if reference in opened:
                    raise _refuse(path, f"{reference} refers to itself, so the record would have no end")
                opened = (*opened, reference)
                node = self._at(reference, path) | {key: value for key, value in node.items() if key != "$ref"}
                continue
            name = next((name for name in ("anyOf", "oneOf", "allOf") if name in node), None)
            if name is None:
                return node, opened
            options = [_constant(option) for option in node[name]] if isinstance(node[name], list) else []
            real = [option for option in options if option != {"type": "null"}]
            only = real[0] if len(real) == 1 else _union(real)
            if only is None or not isinstance(only, dict):
                raise _refuse(path, f"{name} is taken only for one type or null")
            node = only | {key: value for key, value in node.items() if key != name}
        raise _refuse(path, "its references have no end")

    def _at(self, reference: Any, path: str) -> dict:
        if not isinstance(reference, str) or not reference.startswith("#"):
            shown = json.dumps(reference)[:80]
            raise _refuse(path, f"$ref {shown} is not taken, only references within the schema (#/...)")
        found = self.root
        for step in filter(None, unquote(reference[1:]).split("/")):
            found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        if not isinstance(found, dict):
            raise _refuse(path, f"$ref {reference[:80]} points at nothing")
        return found

    def _kind(self, node: dict, path: str) -> str:
        node.setdefault("enum", [node.pop("const")]) if "const" in node else None
        kind = node.get("type")
        if isinstance(kind, list):
            real = [name for name in kind if name != "null"]
            numbers = {"number", "integer"} & set(map(str, real))
            kind = real[0] if len(real) == 1 else "number" if numbers and set(real) <= {*numbers, "string"} else kind
        if "enum" in node and kind in (None, "string", "number", "integer"):
            return "enum"
        if kind is None and isinstance(node.get("properties"), dict):
            return "object"
        if kind is None and "items" in node:
            return "array"
        if not isinstance(kind, str) or kind not in KEYWORDS:
            said = f"type {json.dumps(kind)}" if "type" in node else "a schema without type or enum"
            raise _refuse(path, f"{said} is not taken, only object, array, string, number, boolean, enum and null")
        return kind

    def _object(self, node: dict, path: str, depth: int, opened: tuple[str, ...]) -> dict:
        properties, required = node.get("properties"), node.get("required", [])
        if not isinstance(properties, dict) or not properties:
            raise _refuse(path, "an object needs properties")
        if node.get("additionalProperties", False) is not False:
            raise _refuse(path, "additionalProperties is not taken: every field must be named")
        if not isinstance(required, list) or not all(isinstance(name, str) and name in properties for name in required):
            raise _refuse(path, "required must list names of its properties")
        inner = {name: self.read(node, _named(path, name), depth + 1, opened) for name, node in properties.items()}
        return {"type": "object", "properties": inner, "required": required, "additionalProperties": False}

    def _array(self, node: dict, path: str, depth: int, opened: tuple[str, ...]) -> dict:
        if "items" not in node:
            raise _refuse(path, "an array needs items")
        bound = _bound(node, "maxItems", path, MAX_ITEMS, MAX_ITEMS)
        return {"type": "array", "items": self.read(node["items"], f"{path}[]", depth + 1, opened), "maxItems": bound}

    def _value(self, node: dict, path: str, *_: Any) -> dict:
        """A string, or what is copied as one: its type, and that it is a date, is for what is made of it."""
        made = {"type": "string", "maxLength": _bound(node, "maxLength", path, MAX_LENGTH, USUAL_LENGTH)}
        kinds = node["type"] if isinstance(node["type"], list) else [node["type"]]
        wanted = next((kind for kind in ("number", "integer") if kind in kinds), _FORMATS.get(str(node.get("format"))))
        return made | ({"as": wanted} if wanted else {})

    def _boolean(self, *_: Any) -> dict:
        return {"type": "string", "enum": ["true", "false"], "as": "boolean"}

    def _enum(self, node: dict, path: str, *_: Any) -> dict:
        return choice(node["enum"], path)


def _constant(option: Any) -> Any:
    """A constant as a choice of one."""
    return {"enum": [option["const"]]} if isinstance(option, dict) and "const" in option else option


def _union(options: list) -> dict | None:
    """One type for several: a number that may be written as text, or the choices of all."""
    if not options or not all(isinstance(option, dict) for option in options):
        return None
    if all("enum" in option and isinstance(option["enum"], list) for option in options):
        return {"enum": [value for option in options for value in option["enum"]]}
    kinds = {option.get("type") if isinstance(option.get("type"), str) else None for option in options}
    if kinds <= {"number", "integer", "string"} and kinds & {"number", "integer"}:  # how pydantic writes a Decimal
        return {"type": "number"}
    return {"type": "string"} if kinds == {"string"} else None


def choice(values: Any, path: str) -> dict:
    """A choice between texts, or between numbers, which are texts then."""
    choices = [value for value in values if value is not None] if isinstance(values, list) else []
    numbers = bool(choices) and all(type(value) in (int, float) for value in choices)
    choices = [json.dumps(value) for value in choices] if numbers else choices
    if not choices or not all(isinstance(value, str) and 0 < len(value) <= MAX_LENGTH for value in choices):
        raise _refuse(path, f"enum must list texts of 1 to {MAX_LENGTH} characters")
    if len(choices) > MAX_CHOICES:
        raise _refuse(path, f"enum has {len(choices)} choices; at most {MAX_CHOICES} are allowed")
    return {"type": "string", "enum": list(dict.fromkeys(choices))} | ({"as": "number"} if numbers else {})


def _remark(text: Any) -> dict:
    return {"description": " ".join(text.split())[:200]} if isinstance(text, str) and text.strip() else {}


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
    """The definition of a record that is shown with empty values."""
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
            return choice(value, path)
        return {"type": "array", "items": _template((value or [""])[0], f"{path}[]", depth + 1), "maxItems": MAX_ITEMS}
    raise _refuse(path, f"{json.dumps(value)} is not taken in a template, only objects, lists, texts and null")
