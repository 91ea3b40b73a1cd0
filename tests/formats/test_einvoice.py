"""An electronic invoice gives its exact record, whatever its syntax, and hostile XML a sentence."""

import io
from pathlib import Path

import pytest

from extraction.evidence import checks
from extraction.formats import einvoice
from extraction.reading import documents
from extraction.reading.limits import DocumentError
from extraction.tasks import completions, schemas
from tests.helpers.einvoices import cii, ubl


def with_attachments(files):
    """The sample invoice as a PDF with attached files."""
    import pikepdf

    written = io.BytesIO()
    with pikepdf.open(Path("data/samples/documents/invoice.pdf")) as pdf:
        for name, data in files.items():
            pdf.attachments[name] = data
        pdf.save(written)
    return written.getvalue()


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
    assert items[0]["other"] == "charge 9.00"


@pytest.mark.parametrize(
    ("xml", "before", "basis"),
    [
        (ubl(), b"</cbc:PriceAmount>", b"<cbc:BaseQuantity>100</cbc:BaseQuantity>"),
        (cii(), b"</ram:ChargeAmount>", b"<ram:BasisQuantity>100</ram:BasisQuantity>"),
    ],
    ids=["UBL", "CII"],
)
def test_a_price_for_a_hundred_is_not_called_wrong(xml, before, basis):
    record = einvoice.read(xml.replace(before, before + basis))["record"]
    assert [item["other"] for item in record["line_items"]] == ["price for 100"] * 2
    record["line_items"][0]["amount"] = "123.45"
    verdicts = {check["rule"]: check for check in checks.check(record, schemas.RECEIPT)}
    found = verdicts["line_items[0]: quantity x unit price = amount"]
    assert (found["verdict"], found["detail"]) == ("cannot tell", "the row has other terms")


@pytest.mark.parametrize("xml", [ubl(), cii(), cii(old=True)], ids=["UBL", "CII", "ZUGFeRD 1.0"])
def test_a_file_of_xml_is_read_as_the_invoice_it_is(xml):
    document = documents.read(xml)
    assert document.invoice["record"] == RECORD
    assert document.reader == "einvoice"
    for printed in ("NL-20417", "Desk lamp", "271.20", "GB33BUKB20201555555555"):
        assert printed in document.text


@pytest.mark.parametrize("name", ["factur-x.xml", "ZUGFeRD-invoice.xml", "other.XML"])
def test_an_invoice_attached_to_a_pdf_comes_with_its_pages(name):
    document = documents.read(with_attachments({"terms.txt": b"x", name: cii()}))
    assert document.invoice["record"] == RECORD
    assert "Northlight" in document.text and document.words


def test_an_attachment_that_is_no_invoice_changes_nothing():
    document = documents.read(with_attachments({"order.xml": b"<order><ID>7</ID></order>"}))
    assert document.invoice is None and document.problems == []


def test_a_hostile_attachment_is_named_and_the_pages_are_read():
    hostile = ubl(doctype="<!DOCTYPE Invoice [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>", number="&x;")
    document = documents.read(with_attachments({"factur-x.xml": hostile}))
    assert document.invoice is None and "Northlight" in document.text
    assert document.problems == [
        "the attached factur-x.xml was not read: its XML has a document type declaration, which is refused"
    ]


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
