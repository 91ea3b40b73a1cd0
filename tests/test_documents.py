import io
import math
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from extraction import documents
from extraction.documents import DocumentError, Limits, Word

SAMPLES = Path("data/samples/documents")


def cell(text, left, top, width=None, height=20):
    width = width or 10 * len(text)
    return (text, [(left, top), (left + width, top), (left + width, top + height), (left, top + height)])


RECEIPT = [
    cell("Tea", 0, 0),
    cell("2.00", 300, 0),
    cell("Cheese", 0, 40),
    cell("cake", 70, 41),
    cell("13.50", 290, 42),
    cell("TOTAL", 0, 80),
    cell("15.50", 290, 80),
]


def rotated(items, degrees):
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [(text, [(x * cos - y * sin, x * sin + y * cos) for x, y in quad]) for text, quad in items]


def test_columns_stay_columns_and_phrases_stay_phrases():
    text = documents.layout(documents.words_from_quads(RECEIPT)).text
    tea, cake, total = text.split("\n")
    assert cake.startswith("Cheese cake ")
    assert tea.index("2.00") == cake.index("13.50") + 1 == total.index("15.50") + 1


@pytest.mark.parametrize("degrees", [-8, -3, 1, 2, 5, 8])
def test_a_skewed_page_keeps_its_rows(degrees):
    straight = documents.layout(documents.words_from_quads(RECEIPT)).text
    skewed = documents.layout(documents.words_from_quads(rotated(RECEIPT, degrees))).text
    assert [line.split() for line in skewed.split("\n")] == [line.split() for line in straight.split("\n")]


def test_each_span_of_a_layout_holds_its_word():
    found = documents.layout(documents.words_from_quads(RECEIPT))
    assert [found.text[a:b] for a, b in found.spans] == [w.text for w in found.words]


def test_an_empty_page_is_empty_text():
    assert documents.layout([]).text == ""
    assert documents.layout([Word("  ", (0, 0, 1, 1))]).text == ""


def test_prose_keeps_every_printed_character():
    text = "A  b\t c\r\n\r\n\r\n  d\n e  "
    assert documents.prose(text) == "A b c\n\nd\ne"
    assert "".join(documents.prose(text).split()) == "".join(text.split())


@pytest.mark.parametrize("length", [1, 50, 200, 1000, 7777])
def test_windows_cover_the_text_overlap_and_keep_their_size(length):
    text = ("Some words here. " * 1000)[:length]
    spans = documents.windows(text, 200, 40)
    assert spans[0][0] == 0 and spans[-1][1] == len(text)
    assert all(0 < b - a <= 200 for a, b in spans)
    assert all(
        later[0] <= earlier[1] and later[0] > earlier[0] for earlier, later in zip(spans, spans[1:], strict=False)
    )


def test_windows_of_text_without_blanks_come_to_an_end():
    assert documents.windows("x" * 1000, 200, 90)[-1][1] == 1000


def test_the_best_window_holds_what_is_asked_about():
    text = "filler words. " * 200 + "The warranty lasts nine months. " + "more filler. " * 200
    assert "nine months" in documents.best_window(text, "How long is the warranty?", 400, 80)


def picture(lines, size=(700, 300)):
    image = Image.new("RGB", size, "white")
    font = ImageFont.load_default(28)
    for number, line in enumerate(lines):
        ImageDraw.Draw(image).text((40, 30 + 60 * number), line, fill="black", font=font)
    return image


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_a_picture_is_read_by_ocr_with_rows_in_order():
    document = documents.read(encoded(picture(["Green tea 2.00", "Cheese cake 13.50", "TOTAL 15.50"])))
    lines = [" ".join(line.split()) for line in document.text.split("\n")]
    assert lines == ["Green tea 2.00", "Cheese cake 13.50", "TOTAL 15.50"]
    assert document.reader == "ocr"
    assert [document.text[a:b] for a, b in document.spans] == [w.text for w in document.words]


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_a_turned_picture_is_turned_back(angle):
    image = picture(["Green tea 2.00", "Cheese cake 13.50", "TOTAL 15.50", "CASH 20.00"])
    text = documents.read(encoded(image.rotate(angle, expand=True))).text
    assert "TOTAL 15.50" in " ".join(text.split())


def test_the_orientation_tag_of_a_photo_is_followed():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side
    turned = picture(["Green tea 2.00", "TOTAL 15.50"]).rotate(90, expand=True)
    text = documents.read(encoded(turned, "JPEG", exif=exif, quality=95)).text
    assert "TOTAL 15.50" in " ".join(text.split())


def test_all_pages_of_a_tiff_are_read_and_the_skipped_ones_reported():
    pages = [picture([f"page number {n}"]) for n in (1, 2, 3)]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    document = documents.read(data, Limits(max_pages=2))
    assert "number 1" in document.text and "number 2" in document.text and "number 3" not in document.text
    assert (document.pages, document.pages_skipped) == (3, 1)
    assert document.problems == ["only the first 2 of 3 pages were read"]


def test_a_pdf_with_text_is_read_without_ocr():
    document = documents.read(SAMPLES / "contract_1.pdf")
    assert document.reader == "pdf text"
    assert len(document.text.split()) > 500
    assert [document.text[a:b] for a, b in document.spans] == [w.text for w in document.words]


def test_a_scanned_pdf_is_read_by_ocr():
    data = encoded(picture(["Green tea 2.00", "TOTAL 15.50"]), "PDF", resolution=100)
    document = documents.read(data)
    assert document.reader == "ocr"
    assert "TOTAL 15.50" in " ".join(document.text.split())


def test_a_docx_keeps_paragraphs_and_tables_in_order():
    import docx

    made = docx.Document()
    made.add_paragraph("Before")
    table = made.add_table(rows=1, cols=2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "Total", "9.00"
    made.add_paragraph("After")
    buffer = io.BytesIO()
    made.save(buffer)
    text = documents.read(buffer.getvalue()).text
    assert text.split() == ["Before", "Total", "9.00", "After"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_text_is_read_in_its_encoding(encoding):
    text = "Rechnung für Käse und Brötchen, Summe 12,50 €, vielen Dank für Ihren Einkauf bei uns."
    assert documents.read(text.encode(encoding)).text == text


def png_header(width, height):
    """A PNG that claims a size and has next to no data."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\x00" * 100)) + chunk(b"IEND", b"")


def zipped(name, content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b" \n\t ", "empty"),
        (b"\x00\x01\x02\x03", "not a PDF, image, DOCX or text file"),
        (b"%PDF-1.7\nnothing", "the PDF is broken"),
        (encoded(Image.new("RGB", (300, 300), "white"), "JPEG")[:300], "broken"),
        (encoded(Image.new("RGB", (300, 300), "white")), "no text was found"),
        (png_header(60_000, 60_000), "pixels"),
        (zipped("a.txt", "x"), "not a PDF, image, DOCX or text file"),
        (zipped("word/document.xml", "<broken"), "the DOCX file is broken"),
        (zipped("word/document.xml", "a" * 200_000_000), "unpacks to more"),
    ],
    ids=[
        "empty",
        "blank",
        "binary",
        "broken pdf",
        "cut jpeg",
        "white page",
        "huge png",
        "zip",
        "broken docx",
        "zip bomb",
    ],
)
def test_what_cannot_be_read_is_one_sentence(data, reason):
    with pytest.raises(DocumentError, match=reason):
        documents.read(data)


def test_a_file_over_the_limit_is_refused_and_a_long_text_is_cut_with_a_note(tmp_path):
    path = tmp_path / "long.txt"
    path.write_text("word " * 1000)
    with pytest.raises(DocumentError, match="the limit is 0.001 MB"):
        documents.read(path, Limits(max_file_mb=0.001))
    document = documents.read(path, Limits(max_text_chars=100))
    assert len(document.text) == 100
    assert "only the first 100" in document.problems[0]


def test_a_missing_file_says_why(tmp_path):
    with pytest.raises(DocumentError, match="No such file"):
        documents.read(tmp_path / "absent.pdf")
