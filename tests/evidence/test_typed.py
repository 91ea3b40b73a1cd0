"""Typed values beside the printed ones: what can be read in two ways is a problem and no guess."""

import json

import pytest

from extraction import steps
from extraction.evidence import typed
from extraction.reading.documents import Document
from extraction.tasks import custom, records

SCHEMA = {
    "$defs": {
        "Line": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "count": {"type": "integer"},
                "weights": {"type": "array", "items": {"anyOf": [{"type": "number"}, {"type": "null"}]}},
            },
        }
    },
    "type": "object",
    "properties": {
        "day": {"type": "string", "format": "date"},
        "arrived": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
        "total": {"type": ["number", "null"]},
        "state": {"enum": ["open", "done"]},
        "checked": {"type": "boolean"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
    },
}
TASK = custom.parse(json.dumps(SCHEMA), "schema")  # lists of values have types, too


def result_of(text, record):
    found = steps.Extraction("x", TASK, "model", steps.Shown(Document(text), TASK))
    found.record = record
    found.change(steps.with_nulls(TASK.schema, record), {leaf.path: leaf for leaf in records.leaves(record)})
    return found.result()


def test_the_result_has_what_is_printed_and_the_typed_record_beside_it():
    text = "4 March 2026, arrived 05.03.2026 2:05 pm, total 1,250 kg\nNails  2,000  0.75  1,100.5\n"
    record = {"day": "4 March 2026", "arrived": "05.03.2026 2:05 pm", "total": "1,250", "state": "done"}
    record |= {"checked": "true", "lines": [{"name": "Nails", "count": "2,000", "weights": ["0.75", "1,100.5"]}]}
    result = result_of(text, record)
    assert result["record"] == steps.with_nulls(TASK.schema, record)
    assert result["typed"] == {
        "day": "2026-03-04",
        "arrived": "2026-03-05T14:05:00",
        "total": 1250.0,
        "state": "done",
        "checked": True,
        "lines": [{"name": "Nails", "count": 2000, "weights": [0.75, 1100.5]}],
    }
    assert not [p for p in result["problems"] if "cannot be read" in p]


def test_what_cannot_be_read_as_its_type_is_null_and_a_problem():
    text = "05/06/2026 arrived 5 March 2026 total 1,250 and nails, a few of 1.5 kg and 2,5 kg\n"
    record = {"day": "05/06/2026", "arrived": "5 March 2026", "total": "1,250", "lines": [{"count": "a few"}]}
    result = result_of(text, record)
    assert result["record"]["total"] == "1,250" and result["typed"]["lines"][0]["count"] is None
    assert [result["typed"][name] for name in ("day", "arrived", "total", "state")] == [None] * 4
    said = {p.partition(":")[0] for p in result["problems"] if "cannot be read as one" in p}
    assert said == {"day", "arrived", "total", "lines[0].count"}


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("1,456.5 on 12.04.2026", "."),
        ("2.000,5", ","),
        ("1,234,567", "."),
        ("12.50", "."),
        ("1,000", None),
        ("3,5 and 2.5", None),
        ("no number", None),
    ],
)
def test_the_mark_before_decimals_is_known_by_the_numbers_that_have_one_reading(text, mark):
    assert typed.decimal_mark(text) == mark
