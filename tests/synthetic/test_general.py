"""Rows for the general instruction, for fields of a user's own and for questions, over records that are known."""

import json
import random
import re
from pathlib import Path

import config
import prepare_training_data as prepare
from benchmarks import general as benchmark
from extraction import files
from extraction.synthetic import general, nothing, own, questions
from extraction.tasks import completions, custom, records, schemas

RECORD = {
    "merchant": {"name": "Cafe Blue", "address": "1 Mill Road"},
    "date": "3 May 2024",
    "line_items": [
        {"description": "Tea", "quantity": "2", "amount": "4.00"},
        {"description": "Cake", "quantity": "1", "amount": "3.50"},
    ],
    "total": "7.50",
}


def test_a_contract_in_short_has_its_terms_as_printed_and_no_party_twice():
    clauses = {
        "Document Name": ["SUPPLY AGREEMENT"],
        "Parties": ["Acme Inc.", "Acme", "Blue Ltd"],
        "Governing Law": ["This Agreement is governed by the laws\nof Ohio."],
        "Audit Rights": ["..."],
    }
    record = general.contract_record(clauses)
    assert record == {
        "document_type": "contract",
        "title": "SUPPLY AGREEMENT",
        "parties": ["Acme Inc.", "Blue Ltd"],
        "governing_law": "This Agreement is governed by the laws of Ohio.",
    }
    assert completions.ordered(schemas.GENERAL, record) == record


def test_the_type_comes_first_and_any_record_fits_behind_it():
    for kind, record in (("receipt", RECORD), ("document", {"title": "Memo"}), ("none", {})):
        made = completions.ordered(schemas.GENERAL, {**record, "document_type": kind})
        assert next(iter(made)) == "document_type"


def test_texts_that_are_no_documents_are_of_many_kinds_and_none_of_them_is_one_of_the_benchmark():
    draw = random.Random(1)
    made = {nothing.text(draw) for _ in range(3000)}
    assert len(made) > 2000 and "" in made and any(name.endswith(".pdf") for name in made)
    assert all(len(text.split("\n")) <= 25 and not re.search("@(var|num|word)", text, re.I) for text in made)
    asked = [one["text"] for one in benchmark.no_documents()]
    assert not {" ".join(text.split()).casefold() for text in made if text.strip()} & {
        " ".join(text.split()).casefold() for text in asked
    }
    lines, of_benchmark = ({line.strip() for text in some for line in text.split("\n")} for some in (made, asked))
    assert not {line for line in lines & of_benchmark if len(line) > 3}


TABLE = [["", "June 30,", ""], ["(in  millions)", "2019", "2018"], ["Assets:", "", ""], ["Cash ", "$  5.1", "—"]]
TABLE += [["Debts", "(2 )", "1"], ["", "3.1", "1"], ["Debts", "(2 )", ""]]


def test_the_values_of_a_table_are_named_by_row_and_column():
    values = [("Cash, 2019", "$ 5.1"), ("Debts, 2019", "(2 )"), ("Debts, 2018", "1")]
    record = {"document_type": "document", "key_values": [{"key": key, "value": value} for key, value in values]}
    assert general.page_record(TABLE, len(TABLE)) == record
    assert general.page_record(TABLE, 4)["key_values"] == record["key_values"][:1]  # of the lines that are shown
    alone = general.page_record([["", "2019"], ["Cash:", "5"]], 2)
    assert alone["key_values"] == [{"key": "Cash", "value": "5"}]
    long = general.page_record([["", "A", "B", "C"], *([f"Row {n}", "1", "2", "3"] for n in range(9))], 10)
    assert [one["key"] for one in long["key_values"]][-1] == "Row 4, C"  # whole rows, at most 16 values


def test_a_head_above_several_columns_is_part_of_their_names_if_they_need_it():
    two = [["", "Sales", "", "Costs", ""], ["", "2019", "2018", "2019", "2018"], ["", "", "(in millions)", "", ""]]
    assert [*general.column_names(two, [1, 2, 3, 4]).values()] == [
        "Sales 2019",
        "Sales 2018",
        "Costs 2019",
        "Costs 2018",
    ]
    assert [*general.column_names([["", "", "Years", ""], ["", "1", "2", "%x"]], [1, 2, 3]).values()] == [
        "1",
        "2",
        "%x",
    ]
    uneven = [["", "2019", "", "Change"], ["", "m", "m", "m"]]
    assert general.column_names(uneven, [1, 2, 3]) == {}
    assert general.page_record([*uneven, ["Cash", "1", "2", "3"]], 3)["key_values"] == []


def test_a_page_of_a_report_has_only_values_that_its_text_prints():
    found = []
    for number, context in enumerate(files.read_json(Path("data/samples/tatqa.json"))):
        document = prepare.tatqa_page(str(number), context, config.DataConfig(), prepare.Sources(), "train")
        row = general.page_window(document, random.Random(number))
        printed = " ".join(row["text"].split())
        for leaf in records.leaves(row["record"]):
            if leaf.path.endswith("key"):
                assert all(word in printed for word in leaf.value.replace(",", " ").split())
            else:
                assert leaf.path == "document_type" or leaf.value in printed
        found.append(set(row["record"]))
    assert {"document_type", "title", "key_values"} in found and {"document_type"} in found
    assert sum("key_values" in names for names in found) > 0.75 * len(found)


def test_a_contract_is_asked_about_at_its_beginning_and_later_for_the_terms_that_stand_in_the_window():
    kinds = set()
    for number, entry in enumerate(files.read_json(Path("data/samples/cuad.json"))["data"]):
        text, spans = prepare.contract_spans(entry["paragraphs"][0])
        for row in general.contract_windows({"text": text, "clauses": spans}, random.Random(number)):
            start, shown = text.index(row["text"]), " ".join(row["text"].split())
            assert start == 0 or text[start - 1].isspace()
            assert len(row["text"]) <= 5500
            assert all(leaf.path == "document_type" or leaf.value in shown for leaf in records.leaves(row["record"]))
            kinds.add((start > 0, len(row["record"]) > 1))
    assert kinds == {(False, True), (True, True), (True, False)}


def test_a_random_template_is_taken_and_its_answer_fits_it():
    for seed in range(300):
        template, answer = own.receipt_fields(RECORD, random.Random(seed))
        task = custom.parse(json.dumps(template), "made")
        assert completions.parse(task, json.dumps(answer)).record is not None
        assert list(answer) == list(template)


def test_what_a_template_asks_for_and_the_record_lacks_is_null():
    answers = [own.receipt_fields(RECORD, random.Random(seed))[1] for seed in range(200)]
    assert any(None in answer.values() for answer in answers)
    values = {value for answer in answers for value in answer.values() if isinstance(value, str)}
    assert values <= {"Cafe Blue", "1 Mill Road", "3 May 2024", "7.50"}


def test_labels_of_a_letter_become_fields():
    record = {"title": "Memo", "key_values": [{"key": "Delivery date", "value": "1 May"}]}
    made = [own.letter_fields(record, random.Random(seed)) for seed in range(50)]
    names = {
        name.lower().replace(" ", "").replace("-", "").replace("_", "") for template, _ in made for name in template
    }
    assert "deliverydate" in names
    assert own.letter_fields({"title": "Memo"}, random.Random(1)) is None


def test_a_question_about_an_item_is_answered_by_its_own_row():
    for seed in range(50):
        asked = questions.about_an_item(RECORD, random.Random(seed))
        item = next(item for item in RECORD["line_items"] if item["description"] in asked["question"])
        assert asked["answers"][0] in item.values()
    assert (
        questions.about_an_item({"line_items": [{"description": "Tea", "amount": "1"}] * 2}, random.Random(1)) is None
    )


def test_a_question_without_an_answer_asks_for_what_is_not_there():
    full = dict.fromkeys(questions.ABSENT, "1")
    assert questions.without_answer(full, random.Random(1)) is None
    asked = questions.without_answer({name: "1" for name in questions.ABSENT if name != "tip"}, random.Random(1))
    assert asked == {"question": "How much was the tip?", "answers": []}
