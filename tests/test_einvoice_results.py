"""An electronic invoice gives its exact record, and what its pages print otherwise is named."""

import io

import pytest

import config
import inference
from extraction.models import backends
from tests.helpers.einvoices import LINES, cii, ubl

CFG = config.PROFILES["cpu"]


class Backend(backends.OneByOne):
    """Knows the answer to any question, and nothing else."""

    name, prompt_limit = "stand-in", 4000

    def count(self, text):
        return len(text) // 3

    def _complete(self, request):
        assert "answer" in request.schema["properties"], "the record is known"
        return backends.Completion('{"answer":"271.20"}')


def pdf(xml, **changes):
    """An invoice as a page that prints what `xml` says, but for the changes, with the XML attached."""
    import pikepdf
    from PIL import Image, ImageDraw, ImageFont

    printed = {"number": "NL-20417", "iban": "GB33 BUKB 2020 1555 5555 55", "total": "271.20"} | changes
    lines = ["Northlight Lamps Ltd", "VAT GB123456789", "Bold Bros Ltd", f"Invoice {printed['number']}"]
    lines += ["Date 9 March 2026", "Due 8 April 2026"]
    lines += [f"{name}    {count}    {price}    {amount}" for name, count, price, amount in LINES]
    lines += ["Subtotal 226.00", "VAT 20 % 45.20", f"Total GBP {printed['total']}", f"IBAN {printed['iban']}"]
    image = Image.new("RGB", (1240, 1100), "white")
    for i, line in enumerate(lines):
        ImageDraw.Draw(image).text((90, 60 + 80 * i), line, fill="black", font=ImageFont.load_default(size=36))
    page, written = io.BytesIO(), io.BytesIO()
    image.save(page, "PDF", resolution=150)
    with pikepdf.open(page) as opened:
        opened.attachments["factur-x.xml"] = xml
        opened.save(written)
    return written.getvalue()


@pytest.mark.parametrize("xml", [ubl(), cii()], ids=["UBL", "CII"])
def test_a_file_of_xml_is_its_record_without_a_model_and_answers_questions(xml):
    result = inference.extract(xml, Backend(), CFG, questions=["What is the total?"])
    assert (result["document_type"], result["source"]) == ("receipt", "xml")
    assert result["record"]["total"] == "271.20"
    assert [item["amount"] for item in result["record"]["line_items"]] == ["176.00", "50.00"]
    assert result["terms"]["iban"] == "GB33BUKB20201555555555"
    assert result["answers"] == [{"question": "What is the total?", "answer": "271.20"}]
    assert result["problems"] == []
    sums = {check["verdict"] for check in result["checks"] if " = " in check["rule"]}
    assert sums == {"holds"}


def test_a_page_that_prints_what_the_xml_says_has_no_problem_and_boxes_for_its_values():
    result = inference.extract(pdf(cii()), Backend(), CFG)
    assert result["source"] == "xml" and result["problems"] == []
    places = {field["path"]: field for field in result["fields"]}
    assert places["total"]["boxes"] and places["line_items[1].amount"]["boxes"]


@pytest.mark.parametrize(
    ("printed", "path"),
    [
        ({"total": "217.20"}, "total"),
        ({"number": "NL-20471"}, "invoice_number"),
        ({"iban": "GB94 BARC 1020 1530 0934 59"}, "iban"),
    ],
)
def test_every_difference_between_paper_and_xml_is_named(printed, path):
    result = inference.extract(pdf(cii(), **printed), Backend(), CFG)
    named = [problem for problem in result["problems"] if problem.startswith(f"{path}: the invoice's XML says ")]
    assert len(named) == 1
    assert result["record"]["total"] == "271.20"


def test_another_type_or_fields_of_ones_own_ask_the_model():
    with pytest.raises(AssertionError, match="the record is known"):
        inference.extract(ubl(), Backend(), CFG, document_type="document")
