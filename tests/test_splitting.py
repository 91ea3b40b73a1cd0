"""Bundles of several documents in one PDF, made here, and documents that are never taken apart."""

import dataclasses
import time

import pytest
from PIL import Image, ImageDraw, ImageFont

from benchmarks import bundles
from extraction import splitting
from extraction.reading import documents, layout
from extraction.reading.words import Word
from tests.helpers.papers import encoded, pdf_of

TEA = ["Corner Shop Ltd", "8 Quarry Road, Wexbridge", "INVOICE", "Invoice No: CS-20417", "Date: 04 May 2026"]
TEA += ["Description   Qty   Amount", "Green tea   2   12.00", "Cake   1   3.50", "Total   15.50", "IBAN GB33BUKB2020"]
LAMPS = ["Northlight Lamps", "12 Mill Road, Leeds", "Rechnung", "Rechnung Nr. 77123", "Datum 09.03.2026"]
LAMPS += ["Bezeichnung   Menge   Betrag", "Lampe   2   88,00", "Schirm   4   12,50", "Gesamtbetrag   226,00"]


def page(rows, size=11, left=60, top=780, foot=""):
    """The content stream of a page; runs of blanks begin a column."""
    placed = [
        f"BT /F {size} Tf {left + 170 * n} {top - 1.7 * size * i} Td ({cell.strip()}) Tj ET "
        for i, row in enumerate(rows)
        for n, cell in enumerate(row.split("   "))
    ]
    return "".join(placed) + (f"BT /F 9 Tf 280 20 Td ({foot}) Tj ET" if foot else "")


def numbers(parts):
    return [part.numbers for part in parts]


def test_two_invoices_in_a_file_are_two_documents_with_their_own_text_and_places():
    document = documents.read(pdf_of(page(TEA), page(LAMPS, 9, 90)))
    tea, lamps = splitting.split(document)
    assert numbers([tea, lamps]) == [[1], [2]] and [tea.part, lamps.part] == [(1, 2), (2, 2)]
    assert "CS-20417" in tea.text and "CS-20417" not in lamps.text
    assert {word.page for word in lamps.words} == {2}
    assert all(lamps.text[a:b] == word.text for word, (a, b) in zip(lamps.words, lamps.spans, strict=True))


def test_an_invoice_of_the_same_seller_is_told_by_its_number_and_a_second_page_by_what_it_goes_on_with():
    other = [row.replace("20417", "20418").replace("04 May", "11 May") for row in TEA]
    assert numbers(splitting.split(documents.read(pdf_of(page(TEA), page(other))))) == [[1], [2]]
    items = [f"Tea number {n}   1   2.00" for n in range(30)]
    first, second = [*TEA[:6], *items, "Carried forward   60.00"], ["Carried forward   60.00", *items[:9], *TEA[-3:]]
    assert numbers(splitting.split(documents.read(pdf_of(page(first), page(second))))) == [[1, 2]]


@pytest.mark.parametrize("foot", ["Page {} of 3", "Seite {} von 3", "{}/3"])
def test_printed_page_numbers_keep_pages_together_whatever_they_look_like(foot):
    pages = [page(rows, foot=foot.format(n)) for n, rows in enumerate((TEA, LAMPS, TEA), start=1)]
    assert numbers(splitting.split(documents.read(pdf_of(*pages)))) == [[1, 2, 3]]


def test_what_cannot_be_told_is_kept_together_and_its_pages_are_named():
    """Two pages with totals of which the second has no head."""
    rest = ["Green tea and milk   2   12.00", "Cake of the house   1   3.50", "Bread   1   2.50", "Total   18.00"]
    (kept,) = splitting.split(documents.read(pdf_of(page(TEA), page(rest))))
    assert kept.problems == ["pages 1 and 2 may be 2 documents; they are read as one"]


def test_each_page_or_the_pages_that_are_named_or_none_begin_a_document():
    document = documents.read(pdf_of(page(TEA), page(LAMPS, 9, 90), page(TEA)))
    assert numbers(splitting.split(document, "pages")) == [[1], [2], [3]]
    assert numbers(splitting.split(document, [3])) == [[1, 2], [3]]
    (whole,) = splitting.split(document, "never")
    assert whole.problems == ["pages 1, 2 and 3 look like 3 documents; they are read as one"]
    assert whole.text == document.text


def test_a_page_that_was_skipped_and_what_was_said_of_a_page_stay_with_their_document():
    document = documents.read(pdf_of(page(TEA), page(LAMPS, 9, 90), page(LAMPS, 9, 90)))
    told = ["page 2 is broken and was skipped", "page 3: odd"]
    kept = [i for i, word in enumerate(document.words) if word.page != 2]
    document = dataclasses.replace(
        document, numbers=[1, 3], pages_skipped=1, problems=told, words=[document.words[i] for i in kept],
        spans=[document.spans[i] for i in kept],
    )  # fmt: skip
    first, second = splitting.split(document, [3])
    assert (first.pages, first.pages_skipped, first.problems) == (2, 1, told[:1])
    assert (second.pages, second.pages_skipped, second.problems) == (1, 0, told[1:])


def test_two_receipts_side_by_side_on_a_photo_are_two_documents():
    image = Image.new("RGB", (1500, 700), "white")
    font = ImageFont.load_default(30)
    shops = ("CORNER SHOP", "Tea 2.00", "Cake 3.50", "TOTAL 5.50", "CASH 10.00", "CHANGE 4.50")
    inns = ("LANTERN INN", "Soup 6.20", "Bread 1.80", "TOTAL 8.00", "CASH 20.00", "CHANGE 12.00")
    for left, rows in ((60, shops), (900, inns)):
        for i, row in enumerate(rows):
            name, _, amount = row.rpartition(" ")
            ImageDraw.Draw(image).text((left, 60 + 90 * i), name, fill="black", font=font)
            ImageDraw.Draw(image).text((left + 360, 60 + 90 * i), amount, fill="black", font=font)
    document = documents.read(encoded(image))
    one, other = splitting.split(document)
    assert "5.50" in one.text and "8.00" not in one.text and "8.00" in other.text and "5.50" not in other.text
    assert numbers([one, other]) == [[1], [1]]
    assert splitting.split(document, "never")[0].problems == [
        "the page looks like two receipts side by side; they are read as one"
    ]


def test_no_sample_document_and_no_contract_of_twenty_pages_is_cut():
    maker = bundles.Maker(7)
    whole = [bundles.pdf([maker.contract(longest=20)])[0] for _ in range(2)]
    files = maker.files
    for source in [*whole, *files]:
        document = documents.read(source)
        assert splitting.split(document) == [document]


@pytest.mark.parametrize("row", ["a-" * 20_000, "a@" * 20_000])
def test_a_row_of_any_length_ends_at_once(row):
    words = [Word(row, (0, 20 * i, 500, 20 * i + 10), page) for page in (1, 2) for i in range(3)]
    laid = [layout.layout([word for word in words if word.page == page]) for page in (1, 2)]
    shift = len(laid[0].text) + 2
    document = documents.Document(
        f"{laid[0].text}\n\n{laid[1].text}",
        pages=2,
        words=words,
        spans=[*laid[0].spans, *((a + shift, b + shift) for a, b in laid[1].spans)],
        numbers=[1, 2],
    )
    started = time.monotonic()
    splitting.split(document)
    assert time.monotonic() - started < 10
