"""Documents of our own making: exact records, the same for the same seed, and many kinds of them."""

import json
import re
from collections import Counter

import pytest

from extraction import documents, generate, metrics, tasks

KINDS = ("receipt", "invoice", "letter")


@pytest.fixture(scope="module")
def made():
    return {"receipt": list(generate.documents("receipt", 500, 11))} | {
        kind: list(generate.documents(kind, 200, 11)) for kind in ("invoice", "letter")
    }


def flat(text):
    return " ".join(text.split())


def number(shown):
    """The value of an amount: what follows the last point or comma is a fraction if it has two digits."""
    digits = re.sub(r"\D", "", shown)
    decimals = 2 if re.search(r"[.,]\d{2}\D*$", shown) else 0
    return (-1 if "-" in shown else 1) * int(digits) / 10**decimals


@pytest.mark.parametrize("kind", KINDS)
def test_every_record_is_one_of_its_task(made, kind):
    task = tasks.DOCUMENT if kind == "letter" else tasks.RECEIPT
    for n, document in enumerate(made[kind]):
        assert set(document) == {"id", "kind", "words", "record"}
        assert (document["id"], document["kind"]) == (f"generated/{kind}/{n:05d}", kind)
        assert tasks.ordered(task, document["record"]) == tasks.prune(document["record"])
        assert "summary" not in document["record"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_value_is_printed_as_the_record_has_it(made, kind):
    for document in made[kind]:
        printed = flat(" ".join(word[0] for word in document["words"]))
        for path, value in metrics.leaves(document["record"]):
            assert flat(value) in printed, (document["id"], path, value)


@pytest.mark.parametrize("kind", KINDS)
def test_the_layout_tears_values_of_hardly_any_document(made, kind):
    torn = 0
    for document in made[kind]:
        words = [documents.Word(text, tuple(box)) for text, *box in document["words"]]
        shown = flat(documents.layout(words).text)
        torn += not all(flat(value) in shown for _, value in metrics.leaves(document["record"]))
    assert torn <= len(made[kind]) // 100


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_have_an_extent_and_words_have_text(made, kind):
    for document in made[kind]:
        for text, left, top, right, bottom in document["words"]:
            assert text.strip() and left < right and top < bottom


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(kind):
    def written(seed):
        return [json.dumps(document, ensure_ascii=False) for document in generate.documents(kind, 20, seed)]

    first = written(3)
    assert written(3) == first
    assert not set(written(4)) & set(first)


@pytest.mark.parametrize("kind", KINDS)
def test_a_document_does_not_depend_on_how_many_are_made(kind):
    assert list(generate.documents(kind, 12, 3))[:5] == list(generate.documents(kind, 5, 3))
    assert list(generate.documents(kind, 0, 3)) == []


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="contract"):
        next(generate.documents("contract", 1, 3))


def test_receipts_differ_in_what_they_print_and_in_what_they_call_it(made):
    fields, shapes, names, words = set(), set(), set(), set()
    for document in made["receipt"]:
        record = document["record"]
        paths = {path for path, _ in metrics.leaves(record)}
        fields |= paths
        shapes.add(frozenset(paths))
        names |= {item["description"] for item in record["line_items"]}
        values = {word for _, value in metrics.leaves(record) for word in value.split()}
        words |= {text for text, *_ in document["words"] if text not in values and not re.search(r"\d", text)}
    assert len(fields) >= 25
    assert len(shapes) > 250
    assert len(names) > 1000
    assert len(words) > 400


def test_receipts_come_with_and_without_a_header_and_with_short_and_long_lists(made):
    records = [document["record"] for document in made["receipt"]]
    assert 0.2 < sum("merchant" not in record for record in records) / len(records) < 0.7
    lengths = Counter(len(record["line_items"]) for record in records)
    assert lengths[1] and max(lengths) >= 12


def test_amounts_add_up(made):
    counted = 0
    for document in made["receipt"]:
        record = document["record"]
        items = sum(number(item["amount"]) + number(item.get("discount", "0")) for item in record["line_items"])
        if "subtotal" in record:
            assert number(record["subtotal"]) == pytest.approx(items, abs=0.011), document["id"]
            due = items - abs(number(record.get("discount", "0")))
            due += sum(number(record.get(name, "0")) for name in ("service_charge", "tax", "tip"))
            assert number(record["total"]) == pytest.approx(due, abs=0.011), document["id"]
            counted += 1
        if "cash" in record and "change" in record:
            back = number(record["cash"]) - number(record["total"])
            assert number(record["change"]) == pytest.approx(back, abs=0.011), document["id"]
    assert counted > len(made["receipt"]) // 2


def test_what_surrounds_a_document_is_in_no_field(made):
    around = re.compile(r"XXXX|IBAN|www\.|WiFi|thank you|refund|survey|within 30 days|page 1 of 1", re.IGNORECASE)
    for kind in KINDS:
        shown = " ".join(word[0] for document in made[kind] for word in document["words"])
        for document in made[kind]:
            assert not [leaf for leaf in metrics.leaves(document["record"]) if around.search(leaf[1])]
        if kind != "letter":
            assert around.search(shown)  # there is something to leave out


def test_invoices_name_seller_number_and_date_and_letters_their_keys(made):
    for document in made["invoice"]:
        record = document["record"]
        assert record["merchant"]["name"] and record["invoice_number"] and record["date"] and record["total"]
    for document in made["letter"]:
        keys = [pair["key"] for pair in document["record"]["key_values"]]
        assert document["record"]["title"] and len(keys) >= 3
        assert not [key for key in keys if key.endswith(":")]
