"""What a person changes in a record changes there and nowhere else."""

import pytest

from extraction.page import edits

RECORD = {
    "total": "9.25",
    "line_items": [
        {"description": "Tea", "amount": "4.50", "sub_items": [{"description": "Milk"}, {"description": "Honey"}]},
        {"description": "Cake", "amount": "4.75"},
    ],
}


def test_a_row_is_added_with_the_keys_of_the_others_and_no_values():
    changed, rows, order = edits.with_rows(RECORD, "line_items", "add")
    assert changed["line_items"][2] == {"description": None, "amount": None, "sub_items": None}
    assert (rows, order) == ("line_items", [0, 1, None])
    assert len(RECORD["line_items"]) == 2


def test_a_row_is_removed_and_the_paths_of_the_rest_follow():
    changed, rows, order = edits.with_rows(RECORD, "line_items[0]", "remove")
    assert [row["description"] for row in changed["line_items"]] == ["Cake"]
    assert edits.renumbered("line_items[1].amount", rows, order) == "line_items[0].amount"
    assert edits.renumbered("line_items[0].amount", rows, order) is None
    assert edits.renumbered("total", rows, order) == "total"


@pytest.mark.parametrize(("path", "act"), [("line_items[0]", "down"), ("line_items[1]", "up")])
def test_a_row_changes_places_with_its_neighbor(path, act):
    changed, rows, order = edits.with_rows(RECORD, path, act)
    assert [row["description"] for row in changed["line_items"]] == ["Cake", "Tea"]
    assert edits.renumbered("line_items[0].sub_items[1].description", rows, order) == (
        "line_items[1].sub_items[1].description"
    )


def test_a_row_at_the_end_stays_there():
    assert edits.with_rows(RECORD, "line_items[1]", "down")[0] == RECORD


def test_rows_inside_a_row_are_rows_too():
    changed, *_ = edits.with_rows(RECORD, "line_items[0].sub_items[0]", "remove")
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
        edits.with_rows(RECORD, path, act)


def test_a_value_is_changed_at_its_path_and_nowhere_else():
    changed = edits.with_value(RECORD, "line_items[0].amount", "4.00")
    assert changed["line_items"][0]["amount"] == "4.00" and changed["line_items"][1] == RECORD["line_items"][1]
    quotes = {"clauses": {"Parties": ["Ann", "Bob"]}}
    assert edits.with_value(quotes, "clauses.Parties[0]", None) == {"clauses": {"Parties": ["Bob"]}}
