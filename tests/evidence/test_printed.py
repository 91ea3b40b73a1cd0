"""What a text prints of amounts, dates and times, and the schema in which only that can be answered."""

import json

import pytest

from extraction.evidence import printed
from extraction.reading import layout
from extraction.reading.words import Word
from extraction.synthetic import generate
from extraction.tasks import custom, records, schemas


@pytest.mark.parametrize(
    ("kind", "line", "value"),
    [
        ("amount", "1 Kopi Susu        Rp 45.500,-", "Rp 45.500,-"),
        ("amount", "@ RM 11.20  x2", "@ RM 11.20"),
        ("amount", "3 1 999,50", "1 999,50"),
        ("amount", "Remise - $ 1.58", "- $ 1.58"),
        ("amount", "Total: 12. 50 EUR.", "12. 50 EUR"),
        ("amount", "GRAND TOTAL $3O.00", "$3O.00"),
        ("amount", "Gutschrift 1.234,50-", "1.234,50-"),
        ("amount", "VAT (20%)", "20%"),
        ("date", "Caja: 29    Mar 20, 2022", "Mar 20, 2022"),
        ("date", "Berlin, den 3. März 2026", "3. März 2026"),
        ("date", "DATE 14 /05 / 2O25", "14 /05 / 2O25"),
        ("date", "20260314 17:20", "20260314"),
        ("date", "2026年3月14日", "2026年3月14日"),
        ("date", "15 de marzo de 2026", "15 de marzo de 2026"),
        ("time", "14/05/2025  06:53 PM", "06:53 PM"),
        ("time", "kl. 14.30", "14.30"),
    ],
)
def test_a_printed_value_is_listed_as_it_is_printed(kind, line, value):
    assert value in printed.printed(kind, line)


@pytest.mark.parametrize("kind", ["receipt", "invoice"])
def test_nearly_every_amount_date_and_time_of_generated_documents_can_be_chosen(kind):
    listed = missed = 0
    for made in generate.documents(kind, 60, seed=7):
        text = layout.layout([Word(text, box) for text, *box in made["words"]]).text
        definitions = printed.narrowed(schemas.RECEIPT, text).get("$defs", {})
        for leaf in records.leaves(made["record"]):
            of = printed.kinds(schemas.RECEIPT).get(leaf.path.rpartition(".")[2])
            if of in definitions:
                listed += 1
                missed += leaf.value not in definitions[of]["enum"]
    assert listed > 200 and missed <= listed / 200


def test_fields_of_a_users_own_are_chosen_by_their_types():
    schema = {
        "type": "object",
        "properties": {
            "due": {"type": "string", "format": "date"},
            "rows": {"type": "array", "items": {"type": "object", "properties": {"price": {"type": "number"}}}},
            "name": {"type": "string"},
        },
    }
    task = custom.parse(json.dumps(schema), "x")
    found = printed.narrowed(task, "Lamp 4.50\nDue 12 May 2026")
    rows = found["properties"]["rows"]["items"]["properties"]
    assert {"$ref": "#/$defs/amount"} in rows["price"]["anyOf"]
    assert {"$ref": "#/$defs/date"} in found["properties"]["due"]["anyOf"]
    assert found["properties"]["name"] == task.schema["properties"]["name"]
    assert "4.50" in found["$defs"]["amount"]["enum"] and "12 May 2026" in found["$defs"]["date"]["enum"]


def test_of_what_a_text_does_not_print_a_receipt_has_no_field():
    fields = printed.narrowed(schemas.RECEIPT, "CAFE\nTea 2.00\nTOTAL 2.00")["properties"]
    assert fields["total"] == {"$ref": "#/$defs/amount"}
    assert not {"date", "due_date"} & set(fields)
    none = printed.narrowed(schemas.RECEIPT, "Thank you, come again")
    assert {"merchant", "line_items", "item_count"} <= set(none["properties"])
    assert "total" not in none["properties"] and "amount" not in json.dumps(none)
    own = custom.parse('{"type": "object", "properties": {"days": {"type": "number"}}}', "schema")
    assert printed.narrowed(own, "within thirty days") is own.schema
    assert printed.narrowed(schemas.CONTRACT, "Due 12 May 2026, 4.50") is schemas.CONTRACT.schema
