"""Rows for the general instruction, for fields of a user's own and for questions, over records that are known."""

import json
import random

from extraction.synthetic import general, own, questions
from extraction.tasks import completions, custom, schemas

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


def test_texts_that_are_no_documents_are_of_many_kinds():
    draw = random.Random(1)
    made = {general.nothing(draw) for _ in range(300)}
    assert len(made) > 150 and "" in made and any(name.endswith(".pdf") for name in made)


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
