"""Questions that are made of tables and of contracts."""

import random

from extraction.synthetic import questions

TABLE = [
    ["", "Year ended June 30,", ""],
    ["(in thousands)", "2019", "2018"],
    ["Revenue", "", ""],
    ["Net sales", "$1,250", "$1,100"],
    ["Other income", "(16)", "31"],
]
BY_CELL = {
    ("net sales", "2019"): "$1,250",
    ("net sales", "2018"): "$1,100",
    ("other income", "2019"): "(16)",
    ("other income", "2018"): "31",
}


def test_what_is_asked_about_a_table_stands_in_the_cells_that_the_question_names():
    kinds = set()
    for seed in range(200):
        for asked in questions.about_a_table(TABLE, random.Random(seed)):
            question = asked["question"]
            row = "net sales" if "net sales" in question else "other income"
            years = [part.strip("?,.") for part in question.split() if part.strip("?,.").isdigit()]
            assert row in question
            expected = ", ".join(BY_CELL[row, year] for year in years if (row, year) in BY_CELL)
            assert asked["answers"] == ([expected] if expected else [])
            kinds.add((len(years), bool(expected)))
    assert kinds == {(1, True), (2, True), (1, False)}  # a cell, two cells, a year that no column has


def test_columns_and_rows_that_share_their_name_with_another_are_not_asked_for():
    twice = [["", "2019", "2019"], ["Net sales", "1", "2"]]
    assert questions.about_a_table(twice, random.Random(1)) == []
    assert questions.about_a_table([["", "2019"], ["Sales", "1"], ["Sales", "2"]], random.Random(1)) == []


def test_a_contract_is_asked_about_a_term_it_holds_and_about_one_it_does_not():
    quotes = {"Governing Law": ["the laws of\nOntario"], "Insurance": ["a", "b"]}
    found = [asked for seed in range(50) for asked in questions.about_a_contract(quotes, random.Random(seed))]
    assert {tuple(asked["answers"]) for asked in found} == {("the laws of Ontario",), ()}
    law = set(questions.TERM_QUESTIONS["Governing Law"])
    assert all((asked["question"] in law) == bool(asked["answers"]) for asked in found)
    assert not {asked["question"] for asked in found} & set(questions.TERM_QUESTIONS["Insurance"])
