"""Users' schemas: what is read as JSON Schema, what is a template, and what is refused with a sentence."""

import decimal
import enum
import json
from datetime import date, datetime
from typing import Literal

import pydantic
import pytest

from extraction.files import StageError
from extraction.tasks import custom
from extraction.tasks.definitions import MAX_FIELDS

TEXT = {"type": "string", "maxLength": 200}
FLAT = {"type": "object", "properties": {"vendor": TEXT, "total": TEXT}, "required": [], "additionalProperties": False}
PROPERTIES = {"vendor": {"type": "string"}, "total": {"type": "string"}}


def task(value) -> custom.CustomTask:
    return custom.parse(json.dumps(value), "my.json")


@pytest.mark.parametrize(
    "value",
    [
        {"properties": PROPERTIES},
        {"type": "object", "properties": PROPERTIES},
        {"type": ["object", "null"], "properties": PROPERTIES},
        {"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "properties": PROPERTIES}}},
        {"$ref": "#/definitions/A~1b", "definitions": {"A/b": {"properties": PROPERTIES}}},
        {"allOf": [{"$ref": "#/$defs/A"}], "$defs": {"A": {"type": "object", "properties": PROPERTIES}}},
        {"anyOf": [{"type": "object", "properties": PROPERTIES}, {"type": "null"}]},
        {"name": "invoice", "schema": {"type": "object", "properties": PROPERTIES}},
        {"name": "invoice", "strict": True, "schema": {"properties": PROPERTIES}},
        {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "properties": PROPERTIES}}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": {"properties": PROPERTIES}},
            }
        },
        {"type": "function", "function": {"name": "x", "parameters": {"type": "object", "properties": PROPERTIES}}},
        {"name": "x", "description": "y", "input_schema": {"type": "object", "properties": PROPERTIES}},
    ],
)
def test_a_schema_is_read_as_one_however_it_comes(value):
    assert task(value).definition == FLAT


@pytest.mark.parametrize(
    "value",
    [
        {"name": "", "schema": ""},
        {"type": "", "properties": "", "items": [""]},
        {"type": "invoice", "properties": {"house": "", "land": ""}},
        {"schema": {"version": ""}, "total": ""},
        {"properties": {"house": {"rooms": ""}}},
        {"enum": "", "const": "", "$comment": ""},
    ],
)
def test_a_template_may_have_fields_with_the_names_of_keywords(value):
    assert list(task(value).definition["properties"]) == list(value)


class Line(pydantic.BaseModel):
    name: str
    price: decimal.Decimal | None = pydantic.Field(None, description="net of tax")


class State(enum.StrEnum):
    OPEN = "open"
    PAID = "paid"


class Invoice(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    vendor: str = pydantic.Field(description="who sells", max_length=80)
    number: str | int
    issued: date | None
    sent: datetime | None = None
    total: float
    count: int | None = None
    paid: bool
    state: State
    kind: Literal["invoice", "credit note"]
    fixed: Literal["x"] = "x"
    level: Literal[1, 2] = 1
    mail: str | None = pydantic.Field(None, json_schema_extra={"format": "email"})
    first: Line
    lines: list[Line] = []


def test_what_pydantic_writes_is_read_with_its_references_and_types():
    read = task(Invoice.model_json_schema())
    properties = read.definition["properties"]
    assert properties["vendor"] == {"description": "who sells", "type": "string", "maxLength": 80}
    assert properties["lines"]["items"] == properties["first"]
    assert properties["first"]["properties"]["price"] == {"description": "net of tax", **TEXT, "as": "number"}
    assert properties["state"]["enum"] == ["open", "paid"] and properties["fixed"]["enum"] == ["x"]
    assert read.types == {
        "number": "number", "issued": "date", "sent": "date-time", "total": "number", "count": "integer",
        "paid": "boolean", "level": "number", "first.price": "number", "lines[].price": "number",
    }  # fmt: skip
    assert read.definition["required"][:4] == ["vendor", "number", "issued", "total"]
    assert '"as"' not in json.dumps(read.schema) and "$ref" not in json.dumps(read.schema)


class Node(pydantic.BaseModel):
    name: str
    inner: list["Node"] = []


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (Node.model_json_schema(), "inner[]: #/$defs/Node refers to itself, so the record would have no end"),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}, "at the top: #/$defs/A refers to itself"),
        ({"$ref": "#/$defs/B", "$defs": {"A": {}}}, "at the top: $ref #/$defs/B points at nothing"),
        ({"properties": {"a": {"$ref": "http://x/y.json"}}}, 'a: $ref "http://x/y.json" is not taken'),
        ({"type": "array", "items": {"type": "string"}}, "the outermost value must be an object"),
        ([{"name": ""}], "the outermost value must be an object"),
        ({"type": "string"}, "the outermost value must be an object"),
        ({"properties": {"a": {"type": "strng"}, "b": {"type": "string"}}}, 'a: type "strng" is not taken'),
        ({"properties": {"a": {"type": "number", "minimum": 0}}}, "a: 'minimum' is not taken for number"),
        ({"properties": {"a": {"anyOf": [{"type": "string"}, {"type": "object"}]}}}, "a: anyOf is taken only for one"),
        ({"properties": {"a": {"type": "object", "additionalProperties": {"type": "string"}}}}, "a: an object needs"),
        ({"properties": {"a": {"type": "array", "prefixItems": []}}}, "a: 'prefixItems' is not taken for array"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_its_path(value, sentence):
    with pytest.raises(StageError) as error:
        task(value)
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_references_that_grow_without_end_are_refused_at_once():
    many = {f"f{i}": {"$ref": "#/$defs/{}"} for i in range(12)}
    levels = {str(n): {"type": "object", "properties": {
        name: {"$ref": f"#/$defs/{n + 1}"} for name in many}} for n in range(5)}  # fmt: skip
    with pytest.raises(StageError, match=f"more than {MAX_FIELDS} fields"):
        task({"$ref": "#/$defs/0", "$defs": {**levels, "5": {"type": "string"}}})
