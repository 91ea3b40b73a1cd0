import json
import subprocess
import sys
from pathlib import Path

import pytest

from extraction import cord
from extraction.evidence import grounding, values
from extraction.reading import layout
from extraction.reading.documents import Document
from extraction.reading.words import Word
from extraction.scoring import places
from extraction.tasks import schemas
from extraction.tasks.records import Leaf, leaves

RECEIPT = """High Street Cafe
12 Long Lane, Aldermouth
14/05/2024 12:07
Tea            2   2.00    4.00
Cheese cake    1   4.00    4.00
with berries
Subtotal                   8.00
VAT                        0.80
TOTAL                      8.80
Cash                      10.00
Change                     1.20"""


def truths_of(split):
    rows = map(json.loads, Path("data/samples/cord.jsonl").read_text(encoding="utf-8").splitlines())
    return [json.loads(row["ground_truth"]) for row in rows if row["sample_split"] == split]


def place(record, text=RECEIPT, task=schemas.RECEIPT):
    """Path -> field, of a text without boxes."""
    return {f["path"]: f for f in grounding.ground(leaves(record), task, Document(text))}


def rows_of(fields, text=RECEIPT):
    return {path: text.count("\n", 0, f["span"][0]) for path, f in fields.items() if f["span"]}


def test_every_value_has_one_entry_with_its_path_in_the_order_of_the_record():
    record = {
        "merchant": {"name": "High Street Cafe", "phone": None},
        "line_items": [{"description": "Tea", "sub_items": [{"amount": "4.00"}]}],
        "total": "",
        "summary": "Receipt.",
    }
    paths = list(place(record))
    assert paths == ["merchant.name", "line_items[0].description", "line_items[0].sub_items[0].amount"]
    quotes = {"clauses": {"Governing Law": ["Ohio", "Iowa"]}}
    assert list(place(quotes, "Ohio Iowa", schemas.CONTRACT)) == [
        "clauses.Governing Law[0]",
        "clauses.Governing Law[1]",
    ]


def test_a_clause_that_was_pointed_at_stands_there_and_not_at_the_first_of_equal_ones():
    text = "It ends. Each party pays. It ends."
    found = [Leaf("clauses.Expiration Date[0]", "It ends.", 0.5, (26, 34))]
    (field,) = grounding.ground(found, schemas.CONTRACT, Document(text))
    assert (field["span"], field["grounding"], field["confidence"]) == ([26, 34], "exact", 0.5)


def test_words_that_are_alike_only_together_are_not_found():
    for text in ("Cafe\nTea", "Cafe   Tea"):
        assert place({"merchant": {"name": "Cake, Tea"}}, text)["merchant.name"]["grounding"] == "none"
    assert place({"merchant": {"name": "Harbot Bistro"}}, "Harbor Bistro")["merchant.name"]["grounding"] == "fuzzy"


def test_a_value_as_printed_is_exact_and_its_span_holds_it():
    field = place({"merchant": {"name": "High Street Cafe"}})["merchant.name"]
    assert field == {
        "path": "merchant.name",
        "value": "High Street Cafe",
        "normalized": None,
        "confidence": None,
        "grounding": "exact",
        "span": [0, 16],
        "boxes": [],
    }


@pytest.mark.parametrize(
    ("record", "path", "printed", "meant"),
    [
        ({"total": "8,80"}, "total", "8.80", 8.8),
        ({"cash": "$10.00"}, "cash", "10.00", 10.0),
        ({"date": "2024-05-14"}, "date", "14/05/2024", "2024-05-14"),
        ({"date": "May 14, 2024"}, "date", "14/05/2024", "2024-05-14"),
        ({"merchant": {"name": "HIGH-STREET CAFE"}}, "merchant.name", "High Street Cafe", None),
    ],
)
def test_the_same_value_in_another_form_is_found_by_its_meaning(record, path, printed, meant):
    field = place(record)[path]
    assert field["grounding"] == "normalized" and field["normalized"] == meant
    assert RECEIPT[slice(*field["span"])] == printed


def test_text_with_an_error_is_fuzzy_and_numbers_are_never():
    name = place({"merchant": {"name": "High Streat Cafe"}})["merchant.name"]
    assert name["grounding"] == "fuzzy" and RECEIPT[slice(*name["span"])] == "High Street Cafe"
    address = place({"merchant": {"address": "13 Long Lane, Aldermouth"}})["merchant.address"]
    assert address["grounding"] == "none"  # another house


@pytest.mark.parametrize(
    "record",
    [
        {"total": "9.80"},
        {"total": "88.00"},
        {"cash": "0.00"},
        {"tax": "-0.80"},
        {"date": "2024-05-15"},
        {"merchant": {"name": "Corner Shop"}},
        {"line_items": [{"description": "Coffee"}]},
        {"merchant": {"address": "2 Long Lane, Aldermouth"}},
        {"line_items": [{"description": "berries cake"}]},
    ],
)
def test_a_value_that_the_document_does_not_print_is_none(record):
    ((_, field),) = place(record).items()
    assert (field["grounding"], field["span"], field["boxes"]) == ("none", None, [])


@pytest.mark.parametrize(
    ("text", "quantity"),
    [
        ("PB1  50", "1"),
        ("Tax 10%", "10"),
        ("No. 1,000", "1"),
        ("2.15", "2"),
        ("-5", "5"),
        ("27/04/2019", "27"),
        ("at 12:07", "12"),
    ],
)
def test_a_number_is_not_found_inside_another_one(text, quantity):
    assert place({"item_count": quantity}, text)["item_count"]["grounding"] == "none"


def test_leaves_of_a_line_item_stand_on_its_row_and_equal_amounts_get_different_places():
    items = [
        {"description": "Tea", "quantity": "2", "unit_price": "2.00", "amount": "4.00"},
        {"description": "Cheese cake with berries", "quantity": "1", "unit_price": "4.00", "amount": "4.00"},
    ]
    fields = place({"line_items": items})
    rows = rows_of(fields)
    assert {rows[f"line_items[0].{name}"] for name in items[0]} == {3}
    assert {rows[f"line_items[1].{name}"] for name in items[1]} == {4}
    spans = [tuple(f["span"]) for path, f in fields.items() if not path.endswith("description")]
    assert len(set(spans)) == len(spans)
    price, amount = (fields[f"line_items[1].{name}"]["span"] for name in ("unit_price", "amount"))
    assert price < amount


def test_a_third_equal_item_is_none_where_two_are_printed():
    text = "Tea   4.00\nTea   4.00\nTOTAL   12.00"
    fields = place({"line_items": [{"description": "Tea", "amount": "4.00"}] * 3}, text)
    assert [fields[f"line_items[{i}].amount"]["span"] for i in range(3)] == [[6, 10], [17, 21], None]
    assert fields["line_items[2].description"]["grounding"] == "none"


def test_a_number_far_from_its_item_is_not_its_own():
    text = "Tea   4.00\nCake   3.00\nPie   5.00\nBun   6.00\nJam   7.00\nTel 99"
    fields = place({"line_items": [{"description": "Tea", "quantity": "99", "amount": "4.00"}]}, text)
    assert fields["line_items[0].quantity"]["grounding"] == "none"


def test_single_values_stand_beside_their_label():
    text = "Tea   20,000\nTOTAL   20,000\nCASH   20,000\nSub Total   20,000\nTunai Kembali   0"
    record = {
        "line_items": [{"description": "Tea", "amount": "20,000"}],
        "subtotal": "20,000",
        "total": "20,000",
        "cash": "20,000",
        "change": "0",
    }
    rows = rows_of(place(record, text), text)
    wanted = {"subtotal": 3, "total": 1, "cash": 2, "change": 4, "line_items[0].amount": 0}
    assert {path: rows[path] for path in wanted} == wanted


def test_what_is_printed_once_may_be_two_values_but_not_of_two_items():
    fields = place({"total": "8.80", "card": "8.80"})
    assert fields["total"]["span"] == fields["card"]["span"]


def test_a_date_that_can_be_read_two_ways_is_not_normalized():
    field = place({"date": "05/06/2024"}, "Date 05/06/2024")["date"]
    assert field["grounding"] == "exact" and field["normalized"] is None


def test_values_of_other_documents_are_normalized_only_where_they_say_what_they_are():
    pairs = [("Fee", "1.500,00"), ("Price", "EUR 12"), ("Account", "70315"), ("Start", "04 May 2026")]
    text = "\n".join(f"{k}: {v}" for k, v in pairs)
    record = {"key_values": [{"key": k, "value": v} for k, v in pairs]}
    fields = place(record, text, schemas.DOCUMENT)
    assert [fields[f"key_values[{i}].value"]["normalized"] for i in range(4)] == [1500.0, 12.0, None, "2026-05-04"]


def test_quotes_of_a_contract_are_found_across_lines_and_may_overlap():
    text = "This Agreement\nis governed by  the laws of Ohio.\nIt is governed by the laws of Iowa, not Ohio."
    quote = "This Agreement is governed by the laws of Ohio."
    record = {"clauses": {"Governing Law": [quote, "It is governed by the laws of Iowa"], "Insurance": [quote, "Ohio"]}}
    fields = place(record, text, schemas.CONTRACT)
    assert [f["grounding"] for f in fields.values()] == ["exact"] * 4
    assert fields["clauses.Insurance[1]"]["span"] == [43, 47]
    assert fields["clauses.Insurance[0]"]["span"] == fields["clauses.Governing Law[0]"]["span"] == [0, 48]


def test_a_value_over_two_rows_has_a_box_for_each_without_the_columns_between():
    words = [
        Word("Cheese", (0, 0, 60, 20), 2),
        Word("4.00", (300, 0, 340, 20), 2),
        Word("cake", (0, 40, 40, 60), 2),
        Word("TOTAL", (0, 80, 50, 100), 2),
        Word("4.00", (300, 80, 340, 100), 2),
    ]
    laid = layout.layout(words)
    document = Document(laid.text, words=laid.words, spans=laid.spans)
    record = {"line_items": [{"description": "Cheese cake", "amount": "4.00"}], "total": "4.00"}
    boxes = {f["path"]: f["boxes"] for f in grounding.ground(leaves(record), schemas.RECEIPT, document)}
    assert boxes["line_items[0].description"] == [
        {"page": 2, "left": 0, "top": 0, "right": 60, "bottom": 20},
        {"page": 2, "left": 0, "top": 40, "right": 40, "bottom": 60},
    ]
    assert [b["top"] for b in boxes["total"]] == [80] and [b["top"] for b in boxes["line_items[0].amount"]] == [0]


def test_an_empty_record_and_a_value_without_letters_do_no_harm():
    assert grounding.ground(leaves(None), schemas.RECEIPT, Document("")) == []
    assert place({"total": "4.00", "merchant": {"name": "***"}}, "")["total"]["grounding"] == "none"
    assert place({"merchant": {"name": "***"}}, "a *** b")["merchant.name"]["span"] == [2, 5]


# --- CORD ----------------------------------------------------------------------------------------------------


def test_on_cord_spans_hold_their_values_boxes_lie_on_the_page_and_numbers_share_no_place():
    for truth in truths_of("train"):
        document, _ = cord.gold_words(truth)
        right, bottom = (max(w.box[i] for w in document.words) for i in (2, 3))
        left, top = (min(w.box[i] for w in document.words) for i in (0, 1))
        places = []
        for field in grounding.ground(leaves(cord.from_cord(truth["gt_parse"])), schemas.RECEIPT, document):
            printed = " ".join(document.text[slice(*field["span"])].split())
            if field["grounding"] == "exact":
                assert printed == " ".join(field["value"].split())
            elif field["normalized"] is not None:
                assert float(values.amount(printed)) == field["normalized"]
            else:
                assert set(field["value"].casefold().split()) <= set(printed.casefold().split())
            assert field["boxes"]
            for box in field["boxes"]:
                assert box["page"] == 1
                assert left <= box["left"] < box["right"] <= right and top <= box["top"] < box["bottom"] <= bottom
            places.append((field["normalized"], *field["span"]))
        numbers = [p for p in places if p[0] is not None]
        assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_on_cord_the_words_are_those_that_were_annotated(split):
    from extraction.scoring import metrics

    counts = []
    for truth in truths_of(split):
        document, gold = cord.gold_words(truth)
        fields = grounding.ground(leaves(cord.from_cord(truth["gt_parse"])), schemas.RECEIPT, document)
        assert {f["path"] for f in fields} == set(gold)
        counts += [places.word_counts(gold[f["path"]], f, document) for f in fields]
    assert metrics.f1(counts) >= 0.95


def test_word_counts_take_the_words_in_the_boxes():
    document = Document("a b", words=[Word("a", (0, 0, 10, 10)), Word("b", (20, 0, 30, 10))], spans=[(0, 1), (2, 3)])
    box = {"page": 1, "left": 0, "top": 0, "right": 12, "bottom": 10}
    counts = places.word_counts({0, 1}, {"boxes": [box]}, document)
    assert (counts.tp, counts.fp, counts.fn) == (1, 0, 1)
    assert places.word_counts({0}, {"boxes": [box | {"page": 2}]}, document).tp == 0


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_words_of_a_row_lay_out_as_the_receipt_and_lead_its_own_record_to_them(split):
    from extraction.scoring import metrics

    truths = truths_of(split)
    counts, foreign = [], []
    for truth, other in zip(truths, truths[1:] + truths[:1], strict=True):
        document, gold = cord.gold_words(truth)
        words = json.loads(json.dumps(cord.words_of(document, gold)))
        record = cord.from_cord(truth["gt_parse"])
        assert places._of_words(words).text == document.text
        counts.append(places.record_counts(words, record, schemas.RECEIPT))
        nothing = places.record_counts(words, None, schemas.RECEIPT)
        assert (nothing.tp, nothing.fp, nothing.fn) == (0, 0, counts[-1].tp + counts[-1].fn)
        foreign.append(places.foreign_counts(words, cord.from_cord(other["gt_parse"]), schemas.RECEIPT))
    assert metrics.f1(counts) >= 0.95
    found, absent = map(sum, zip(*foreign, strict=True))
    assert absent > 50 and found / absent <= 0.02


def test_a_word_counts_for_the_field_that_it_was_annotated_for_in_whichever_row():
    words = [
        {"text": text, "box": [x, y, x + 9 * len(text), y + 10], "field": field}
        for text, x, y, field in (
            ("Tea", 0, 0, "line_items.description"),
            ("2.00", 90, 0, "line_items.amount"),
            ("Cake", 0, 20, "line_items.description"),
            ("3.50", 90, 20, "line_items.amount"),
            ("TOTAL", 0, 40, None),
            ("5.50", 90, 40, "total"),
        )
    ]
    cake_first = {"line_items": [{"description": "Cake", "amount": "3.50"}, {"description": "Tea", "amount": "2.00"}]}
    counts = places.record_counts(words, {**cake_first, "total": "5.50"}, schemas.RECEIPT)
    assert (counts.tp, counts.fp, counts.fn) == (5, 0, 0)
    counts = places.record_counts(words, {"total": "3.50", "merchant": {"name": "TOTAL"}}, schemas.RECEIPT)
    assert (counts.tp, counts.fp, counts.fn) == (0, 2, 5)
    assert places.foreign_counts(words, {"total": "5.50", "tax": "7.77", "cash": "9.00"}, schemas.RECEIPT) == (0, 2)


def test_the_benchmark_keeps_its_limits():
    command = [sys.executable, "-m", "benchmarks.grounding", "--split", "validation"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    figures = dict(line.strip().rsplit(maxsplit=1) for line in printed.splitlines() if line.startswith("  "))
    assert float(figures["f1"]) >= 0.95
    assert float(figures["wrongly found"]) <= 0.02 and float(figures["misread and found"]) <= 0.02
