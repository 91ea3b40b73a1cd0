"""An electronic invoice gives its exact record, whatever its syntax, and hostile XML a sentence."""

import pytest

from extraction.reading import einvoice
from extraction.reading.limits import DocumentError
from extraction.tasks import completions, schemas
from tests.helpers.einvoices import cii, ubl

RECORD = {
    "merchant": {
        "name": "Northlight Lamps Ltd",
        "address": "12 Mill Road, LS1 4AP Leeds, GB",
        "tax_id": "GB123456789",
    },
    "invoice_number": "NL-20417",
    "date": "2026-03-09",
    "due_date": "2026-04-08",
    "currency": "GBP",
    "customer": {"name": "Bold Bros Ltd", "address": "3 Quay, LS1 4AP Leeds, GB"},
    "line_items": [
        {"description": "Desk lamp", "quantity": "2", "unit_price": "88.00", "amount": "176.00"},
        {"description": "Shade, linen", "quantity": "4", "unit_price": "12.50", "amount": "50.00"},
    ],
    "subtotal": "226.00",
    "tax": "45.20",
    "total": "271.20",
}


@pytest.mark.parametrize("xml", [ubl(), cii(), cii(old=True)], ids=["UBL", "CII", "ZUGFeRD 1.0"])
def test_both_syntaxes_give_the_same_record_and_terms(xml):
    found = einvoice.read(xml)
    assert found["record"] == RECORD
    terms = found["terms"]
    assert terms["iban"] == "GB33BUKB20201555555555"
    assert terms["payment_terms"] == "30 days net"
    assert terms["notes"] == ["Thank you."]
    assert terms["amount_due"] == "271.20"
    assert terms["taxes"] == [{"category": "S", "percent": "20", "base": "226.00", "amount": "45.20"}]
    assert [line["unit"] for line in terms["lines"]] == ["C62", "C62"]


def test_the_record_is_a_receipt_record():
    assert completions.ordered(schemas.RECEIPT, einvoice.read(cii())["record"]) == RECORD


def test_a_credit_note_has_its_lines():
    assert einvoice.read(ubl(root="CreditNote"))["record"]["line_items"] == RECORD["line_items"]


def test_the_allowance_of_a_line_is_its_discount():
    allowance = (
        b"<cac:AllowanceCharge><cbc:ChargeIndicator>false</cbc:ChargeIndicator><cbc:Amount>3.00</cbc:Amount>"
        b"</cac:AllowanceCharge><cac:AllowanceCharge><cbc:ChargeIndicator>true</cbc:ChargeIndicator>"
        b"<cbc:Amount>9.00</cbc:Amount></cac:AllowanceCharge><cac:Item>"
    )
    items = einvoice.read(ubl().replace(b"<cac:Item>", allowance, 1))["record"]["line_items"]
    assert [item.get("discount") for item in items] == ["3.00", None]


def test_xml_that_is_no_invoice_is_not_one():
    assert einvoice.read(b"<order><ID>7</ID></order>") is None
    assert einvoice.read(b"<Invoice><Foo/></Invoice>") is None


BOMB = "<!DOCTYPE b [<!ENTITY a 'ha'>" + "".join(
    f"<!ENTITY {chr(98 + i)} '{f'&{chr(97 + i)};' * 10}'>" for i in range(9)
)


@pytest.mark.parametrize(
    ("xml", "why"),
    [
        (ubl(doctype="<!DOCTYPE Invoice [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>", number="&x;"), "document type"),
        (ubl(doctype="<!DOCTYPE Invoice SYSTEM 'http://127.0.0.1:1/x.dtd'>"), "document type"),
        (ubl(doctype=f"{BOMB}]>", number="&j;"), "broken"),
        (ubl()[:-30], "broken"),
        (b"<a>" * 5000 + b"</a>" * 5000, "broken"),
        (b"<Invoice>" + b" " * (einvoice.MAX_XML_BYTES + 1) + b"</Invoice>", "limit"),
    ],
    ids=["external entity", "external DTD", "bomb", "cut off", "deep", "large"],
)
def test_hostile_xml_is_refused_in_a_sentence(xml, why):
    with pytest.raises(DocumentError, match=why):
        einvoice.read(xml)
