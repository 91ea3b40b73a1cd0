"""What a person changes in a record changes there and nowhere else."""

import pytest

from extraction.page import edits
from extraction.tasks import schemas

SCHEMA = schemas.RECEIPT.schema

RECORD = {
    "total": "9.25",
    "line_items": [
        {"description": "Tea", "amount": "4.50", "sub_items": [{"description": "Milk"}, {"description": "Honey"}]},
        {"description": "Cake", "amount": "4.75"},
    ],
}


def test_a_row_is_added_with_the_keys_of_the_others_and_no_values():
    changed, rows, order = edits.with_rows(RECORD, "line_items", "add", SCHEMA)
    assert changed["line_items"][2] == {"description": None, "amount": None, "sub_items": None}
    assert (rows, order) == ("line_items", [0, 1, None])
    assert len(RECORD["line_items"]) == 2


def test_a_row_is_removed_and_the_paths_of_the_rest_follow():
    changed, rows, order = edits.with_rows(RECORD, "line_items[0]", "remove", SCHEMA)
    assert [row["description"] for row in changed["line_items"]] == ["Cake"]
    assert edits.renumbered("line_items[1].amount", rows, order) == "line_items[0].amount"
    assert edits.renumbered("line_items[0].amount", rows, order) is None
    assert edits.renumbered("total", rows, order) == "total"


@pytest.mark.parametrize(("path", "act"), [("line_items[0]", "down"), ("line_items[1]", "up")])
def test_a_row_changes_places_with_its_neighbor(path, act):
    changed, rows, order = edits.with_rows(RECORD, path, act, SCHEMA)
    assert [row["description"] for row in changed["line_items"]] == ["Cake", "Tea"]
    assert edits.renumbered("line_items[0].sub_items[1].description", rows, order) == (
        "line_items[1].sub_items[1].description"
    )


def test_a_row_at_the_end_stays_there():
    assert edits.with_rows(RECORD, "line_items[1]", "down", SCHEMA)[0] == RECORD


def test_rows_inside_a_row_are_rows_too():
    changed, *_ = edits.with_rows(RECORD, "line_items[0].sub_items[0]", "remove", SCHEMA)
    assert changed["line_items"][0]["sub_items"] == [{"description": "Honey"}]


@pytest.mark.parametrize(
    ("path", "act"),
    [
        ("line_items[7]", "remove"),
        ("total", "add"),
        ("nothing[0]", "up"),
        ("line_items", "remove"),
        ("total[0]", "eat"),
    ],
)
def test_a_row_that_is_not_there_is_refused(path, act):
    with pytest.raises(ValueError, match="no such"):
        edits.with_rows(RECORD, path, act, SCHEMA)


def test_a_value_is_changed_at_its_path_and_nowhere_else():
    changed = edits.with_value(RECORD, "line_items[0].amount", "4.00", SCHEMA)
    assert changed["line_items"][0]["amount"] == "4.00" and changed["line_items"][1] == RECORD["line_items"][1]
    quotes = {"clauses": {"Parties": ["Ann", "Bob"]}}
    assert edits.with_value(quotes, "clauses.Parties[0]", None, schemas.CONTRACT.schema) == {
        "clauses": {"Parties": ["Bob"]}
    }


@pytest.mark.parametrize("before", [None, []])
def test_the_first_row_of_a_list_has_the_fields_of_the_schema(before):
    changed, rows, order = edits.with_rows({"void_items": before}, "void_items", "add", SCHEMA)
    assert changed == {"void_items": [{"description": None, "amount": None}]}
    assert (rows, order) == ("void_items", [None])
    changed = edits.with_value(changed, "void_items[0].amount", "4.00", SCHEMA)
    assert edits.with_rows(changed, "void_items", "add", SCHEMA)[0]["void_items"][0]["amount"] == "4.00"


def test_an_object_or_a_list_of_values_that_the_record_has_not_is_made_for_its_first_value():
    record = {"customer": None, "merchant": None, "total": "9.25"}
    changed = edits.with_value(record, "customer.name", "Ann", SCHEMA)
    assert changed == record | {"customer": {"name": "Ann", "address": None}}
    contract = {"clauses": {"Parties": None, "Governing Law": None}}
    for at, name in enumerate(("Ann", "Bob")):
        contract = edits.with_value(contract, f"clauses.Parties[{at}]", name, schemas.CONTRACT.schema)
    assert contract == {"clauses": {"Parties": ["Ann", "Bob"], "Governing Law": None}}
