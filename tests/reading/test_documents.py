import io
import math
import shutil
import struct
import subprocess
import sys
import threading
import zipfile
import zlib
from pathlib import Path

import numpy
import pikepdf
import pytest
from PIL import Image, ImageDraw, ImageFont

from extraction.reading import documents, layout, ocr, pages, worker
from extraction.reading.documents import DocumentError, Limits
from extraction.reading.layout import Word

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
    text = layout.layout(layout.words_from_quads(RECEIPT)).text
    tea, cake, total = text.split("\n")
    assert cake.startswith("Cheese cake ")
    assert tea.index("2.00") == cake.index("13.50") + 1 == total.index("15.50") + 1


@pytest.mark.parametrize("degrees", [-8, -3, 1, 2, 5, 8])
def test_a_skewed_page_keeps_its_rows(degrees):
    straight = layout.layout(layout.words_from_quads(RECEIPT)).text
    skewed = layout.layout(layout.words_from_quads(rotated(RECEIPT, degrees))).text
    assert [line.split() for line in skewed.split("\n")] == [line.split() for line in straight.split("\n")]


@pytest.mark.parametrize("degrees", [90, 180, -90, 93, 177, -178])
def test_a_page_that_lies_on_its_side_or_its_head_is_laid_out_upright(degrees):
    straight = layout.layout(layout.words_from_quads(RECEIPT)).text
    turned = layout.layout(layout.words_from_quads(rotated(RECEIPT, degrees))).text
    assert [line.split() for line in turned.split("\n")] == [line.split() for line in straight.split("\n")]


def test_a_page_on_its_head_is_laid_out_upright_though_its_words_lean_to_both_sides():
    """The angles lie about 179 and -179 degrees; their plain middle would be 0."""
    leaning = [rotated([item], 179.5 if i % 2 else -179.5)[0] for i, item in enumerate(RECEIPT)]
    straight = layout.layout(layout.words_from_quads(RECEIPT)).text
    turned = layout.layout(layout.words_from_quads(leaning)).text
    assert [line.split() for line in turned.split("\n")] == [line.split() for line in straight.split("\n")]


def test_each_span_of_a_layout_holds_its_word():
    found = layout.layout(layout.words_from_quads(RECEIPT))
    assert [found.text[a:b] for a, b in found.spans] == [w.text for w in found.words]


def test_an_empty_page_is_empty_text():
    assert layout.layout([]).text == ""
    assert layout.layout([Word("  ", (0, 0, 1, 1))]).text == ""


def test_prose_keeps_every_printed_character():
    text = "A  b\t c\r\n\r\n\r\n  d\n e  "
    assert layout.prose(text) == "A b c\n\nd\ne"
    assert "".join(layout.prose(text).split()) == "".join(text.split())


@pytest.mark.parametrize("length", [1, 50, 200, 1000, 7777])
def test_windows_cover_the_text_overlap_and_keep_their_size(length):
    text = ("Some words here. " * 1000)[:length]
    spans = layout.windows(text, 200, 40)
    assert spans[0][0] == 0 and spans[-1][1] == len(text)
    assert all(0 < b - a <= 200 for a, b in spans)
    assert all(
        later[0] <= earlier[1] and later[0] > earlier[0] for earlier, later in zip(spans, spans[1:], strict=False)
    )


def test_windows_of_text_without_blanks_come_to_an_end():
    assert layout.windows("x" * 1000, 200, 90)[-1][1] == 1000


def test_the_best_window_holds_what_is_asked_about():
    text = "filler words. " * 200 + "The warranty lasts nine months. " + "more filler. " * 200
    assert "nine months" in layout.best_window(text, "How long is the warranty?", 400, 80)


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


def docx_with(fill):
    import docx

    made = docx.Document()
    fill(made)
    buffer = io.BytesIO()
    made.save(buffer)
    return buffer.getvalue()


def test_a_docx_keeps_paragraphs_and_tables_in_order():
    def fill(made):
        made.add_paragraph("Before")
        table = made.add_table(rows=1, cols=2)
        table.rows[0].cells[0].text, table.rows[0].cells[1].text = "Total", "9.00"
        made.add_paragraph("After")

    assert documents.read(docx_with(fill)).text.split() == ["Before", "Total", "9.00", "After"]


def test_a_docx_has_its_letterhead_first_and_its_footer_last():
    def fill(made):
        made.add_paragraph("Body")
        made.sections[0].header.paragraphs[0].text = "Northlight Lamps"
        made.sections[0].footer.paragraphs[0].text = "VAT GB219384786"

    assert documents.read(docx_with(fill)).text.split("\n") == ["Northlight Lamps", "Body", "VAT GB219384786"]


def test_a_docx_is_read_as_it_is_seen():
    """Form fields and insertions are seen; deletions, field codes and a text box's second version are not."""
    from docx.oxml import parse_xml

    spaces = (
        'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
        'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    )
    box = "<w:txbxContent><w:p><w:r><w:t>boxed</w:t></w:r></w:p></w:txbxContent>"
    blocks = [
        f"<w:sdt {spaces}><w:sdtContent><w:p><w:r><w:t>form field</w:t></w:r></w:p></w:sdtContent></w:sdt>",
        f"<w:p {spaces}><w:ins><w:r><w:t>new</w:t></w:r></w:ins><w:del><w:r><w:delText>old</w:delText></w:r></w:del>"
        "<w:r><w:instrText>PAGE</w:instrText><w:tab/><w:t>12</w:t></w:r></w:p>",
        f"<w:p {spaces}><w:r><mc:AlternateContent><mc:Choice>{box}</mc:Choice><mc:Fallback>{box}</mc:Fallback>"
        "</mc:AlternateContent></w:r></w:p>",
    ]

    def fill(made):
        for number, block in enumerate(blocks):
            made.element.body.insert(number, parse_xml(block))

    assert documents.read(docx_with(fill)).text.split("\n")[:3] == ["form field", "new\t12", "boxed"]


@pytest.mark.parametrize("how", ["vanish", "white", "tiny", "style"])
def test_text_of_a_docx_that_nobody_sees_is_left_out_and_said(how):
    from docx.enum.style import WD_STYLE_TYPE
    from docx.shared import Pt, RGBColor

    def fill(made):
        line = made.add_paragraph("Total 9.00")
        run = line.add_run(" or pay 8,888.88")
        if how == "vanish":
            run.font.hidden = True
        elif how == "white":
            run.font.color.rgb = RGBColor(255, 255, 255)
        elif how == "tiny":
            run.font.size = Pt(1)
        else:
            style = made.styles.add_style("Quiet", WD_STYLE_TYPE.CHARACTER)
            style.font.hidden = True
            run.style = style
        made.add_paragraph("Thank you")

    read = documents.read(docx_with(fill))
    assert read.text.split() == ["Total", "9.00", "Thank", "you"]
    assert read.problems == ['text that cannot be seen was left out: "or pay 8,888.88"']


def test_white_text_on_a_dark_ground_and_small_print_of_a_docx_are_read():
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn
    from docx.shared import Pt, RGBColor

    def fill(made):
        made.add_paragraph().add_run("fine print").font.size = Pt(5)
        cell = made.add_table(1, 1).rows[0].cells[0]
        run = cell.paragraphs[0].add_run("HEADING")
        run.font.color.rgb = RGBColor(255, 255, 255)
        ground = OxmlElement("w:shd")
        ground.set(qn("w:fill"), "1F3864")
        cell._tc.get_or_add_tcPr().append(ground)
        shown = made.add_paragraph().add_run("shown")
        shown.font.hidden = False

    read = documents.read(docx_with(fill))
    assert read.text.split() == ["fine", "print", "HEADING", "shown"]
    assert not read.problems


def test_tables_within_tables_of_a_docx_are_read_once():
    def fill(made):
        inner = made.add_table(rows=1, cols=2).rows[0].cells[1].add_table(rows=1, cols=2)
        inner.rows[0].cells[0].text, inner.rows[0].cells[1].text = "deep", "7"

    assert documents.read(docx_with(fill)).text.split() == ["deep", "7"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_text_is_read_in_its_encoding(encoding):
    text = "Rechnung für Käse und Brötchen, Summe 12,50 €, vielen Dank für Ihren Einkauf bei uns."
    assert documents.read(text.encode(encoding)).text == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Käse 5 €", "cp1252"),
        ("Facture n° 3, déjà payée, 12 €", "cp1252"),
        ("Größe", "latin-1"),
        ("Faktura nr 5, zażółć gęślą jaźń, suma 12 zł", "iso8859-2"),
        ("Счёт номер пять, сумма сто рублей, спасибо за покупку", "cp1251"),
        ("領収書 合計 千円 ありがとうございました", "shift_jis"),
    ],
)
def test_short_text_in_an_older_encoding_is_recognized(text, encoding):
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
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an old Office file; save it as DOCX or PDF"),
        (b"{\\rtf1\\ansi Hello}", "an RTF file; save it as DOCX or PDF"),
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
        "old office",
        "rtf",
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


# --- PDF -----------------------------------------------------------------------------------------------------

HELVETICA = {"/Type": "/Font", "/Subtype": "/Type1", "/BaseFont": "/Helvetica"}


def names(value):
    """A plain dictionary as one of PDF, text that begins with a slash as a name."""
    if isinstance(value, dict):
        return pikepdf.Dictionary({key: names(inner) for key, inner in value.items()})
    return pikepdf.Name(value) if isinstance(value, str) and value.startswith("/") else value


def pdf_of(*contents, size=(600, 800), image=None, finish=None, **saving):
    """A PDF with a page for each content stream. `image` is there as /I; `finish` changes the document at the end."""
    made = pikepdf.new()
    for content in contents:
        page = made.add_blank_page(page_size=size)
        page.obj.Resources = names({"/Font": {"/F": HELVETICA}})
        if image:
            stream = pikepdf.Stream(made, image.convert("L").tobytes())
            kind = {"/Type": "/XObject", "/Subtype": "/Image", "/ColorSpace": "/DeviceGray", "/BitsPerComponent": 8}
            for key, value in {**kind, "/Width": image.width, "/Height": image.height}.items():
                stream[key] = names(value)
            page.obj.Resources.XObject = pikepdf.Dictionary(I=stream)
        page.obj.Contents = pikepdf.Stream(made, content.encode())
    if finish:
        finish(made)
    buffer = io.BytesIO()
    made.save(buffer, **saving)
    return buffer.getvalue()


def line(text, x=100, y=700, matrix="1 0 0 1", mode=0):
    return f"BT /F 14 Tf {mode} Tr {matrix} {x} {y} Tm ({text}) Tj ET "


def joined(document):
    return " ".join(document.text.split())


def ink_outside_of_boxes(document, source, page=1):
    """The share of the dark pixels of a page that are in no word's box, each box grown by 3 % of the page's width."""
    drawn = documents.render(source, page, 800)
    dark = numpy.asarray(drawn.image.convert("L")) < 100
    assert dark.any()
    scale = drawn.image.width / drawn.width
    covered = numpy.zeros_like(dark)
    slack = 0.015 * drawn.image.width
    for word in document.words:
        if word.page == page:
            left, top, right, bottom = (scale * side for side in word.box)
            left, top = max(0, int(left - slack)), max(0, int(top - slack))
            covered[top : int(bottom + slack), left : int(right + slack)] = True
    assert covered.mean() < 0.5  # boxes that are everywhere would prove nothing
    return (dark & ~covered).sum() / dark.sum()


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
@pytest.mark.parametrize("crop", [None, [50, 400, 500, 780]])
def test_words_of_a_pdf_stand_where_it_shows_them(angle, crop):
    def finish(made):
        made.pages[0].obj.Rotate = angle
        if crop:
            made.pages[0].obj.CropBox = pikepdf.Array(crop)

    data = pdf_of(line("Green tea 2.00") + line("TOTAL 15.50", y=650), finish=finish)
    document = documents.read(data)
    assert joined(document) == "Green tea 2.00 TOTAL 15.50"
    assert ink_outside_of_boxes(document, data) == 0


@pytest.mark.parametrize("matrix", ["0 1 -1 0", "0 -1 1 0", "-1 0 0 -1"])
def test_a_pdf_page_whose_text_runs_up_down_or_upside_down_is_read_in_order(matrix):
    across = {"0 1 -1 0": (20, 0), "0 -1 1 0": (-20, 0), "-1 0 0 -1": (0, 20)}[matrix]
    lines = ["Green tea 2.00", "Cheese cake 13.50", "TOTAL 15.50"]
    data = pdf_of("".join(line(t, 300 + i * across[0], 400 + i * across[1], matrix) for i, t in enumerate(lines)))
    document = documents.read(data)
    assert [" ".join(row.split()) for row in document.text.split("\n")] == lines
    assert ink_outside_of_boxes(document, data) == 0


def test_what_was_filled_into_a_pdf_form_is_read():
    def finish(made):
        form = pikepdf.Stream(made, b"BT /F 14 Tf 2 5 Td (Fernhill Bakery) Tj ET")
        kind = {"/Type": "/XObject", "/Subtype": "/Form", "/Resources": {"/Font": {"/F": HELVETICA}}}
        for key, value in kind.items():
            form[key] = names(value)
        form.BBox = pikepdf.Array([0, 0, 200, 20])
        field = names({"/Type": "/Annot", "/Subtype": "/Widget", "/FT": "/Tx", "/F": 4})
        field.T, field.V = pikepdf.String("customer"), pikepdf.String("Fernhill Bakery")
        field.Rect, field.AP = pikepdf.Array([150, 640, 350, 660]), pikepdf.Dictionary(N=form)
        field = made.make_indirect(field)
        made.pages[0].obj.Annots = pikepdf.Array([field])
        made.Root.AcroForm = pikepdf.Dictionary(Fields=pikepdf.Array([field]))

    assert joined(documents.read(pdf_of(line("Bill to"), finish=finish))) == "Bill to Fernhill Bakery"


SCAN = picture(["Green tea 2.00", "Cheese cake 13.50", "TOTAL 15.50"], (600, 800))
FULL_PAGE = "q 600 0 0 800 0 0 cm /I Do Q "


@pytest.mark.parametrize(
    ("content", "reader"),
    [
        (FULL_PAGE, "ocr"),
        (FULL_PAGE + line("Scanned by a scanner", y=20), "ocr"),
        (FULL_PAGE + line("words of another OCR, with many mistakes, " * 8, y=20, mode=3), "ocr"),
        ("q 100 0 0 100 0 0 cm /I Do Q " + line("An invoice with a logo"), "pdf text"),
        (
            FULL_PAGE + "".join(line("letter on a printed background " * 2, 20, 700 - 20 * n) for n in range(9)),
            "pdf text",
        ),
    ],
    ids=["scan", "stamp on a scan", "hidden layer of a scan", "logo", "background"],
)
def test_a_pdf_page_is_read_by_ocr_where_its_text_layer_is_not_what_it_shows(content, reader):
    data = pdf_of(content, image=SCAN)
    document = documents.read(data)
    assert document.reader == reader
    assert ("TOTAL 15.50" in joined(document)) == (reader == "ocr")
    if content == FULL_PAGE:
        assert ink_outside_of_boxes(document, data) < 0.02


def test_a_hidden_layer_serves_where_ocr_finds_nothing():
    white = Image.new("L", (600, 800), "white")
    document = documents.read(pdf_of(FULL_PAGE + line("what another OCR found", mode=3), image=white))
    assert (joined(document), document.reader, document.ocr) == ("what another OCR found", "pdf text", None)


def test_a_pdf_of_both_kinds_says_so():
    scanned = pdf_of(line("A page with a text layer"), FULL_PAGE, image=SCAN)
    document = documents.read(scanned)
    assert document.reader == "pdf text and ocr"
    assert document.ocr.startswith("rapidocr 3")
    assert {word.page for word in document.words} == {1, 2}


LETTER = pdf_of(*[line(f"Page number {n} of the letter") for n in (1, 2, 3)])


@pytest.mark.parametrize(
    "data",
    [LETTER[: len(LETTER) * 9 // 10], LETTER[:-40], b"junk" * 200 + LETTER[:-60]],
    ids=["a tenth is missing", "end is missing", "junk before it"],
)
def test_a_truncated_pdf_is_repaired_and_that_is_said(data):
    document = documents.read(data)
    assert "Page number 1 of the letter" in joined(document)
    assert document.problems == ["the PDF was damaged and has been repaired; parts of it may be missing"]


def test_junk_before_a_pdf_is_no_damage():
    document = documents.read(b"junk" * 200 + LETTER)
    assert (document.pages, document.problems) == (3, [])


@pytest.mark.parametrize("revision", [4, 6])
def test_an_encrypted_pdf_is_refused_unless_it_opens_without_a_password(revision):
    def locked(user):
        return pikepdf.Encryption(user=user, owner="owner", R=revision, aes=True)

    with pytest.raises(DocumentError, match="protected by a password"):
        documents.read(pdf_of(line("secret"), encryption=locked("secret")))
    assert joined(documents.read(pdf_of(line("open"), encryption=locked("")))) == "open"


def test_pages_of_a_pdf_over_the_limit_are_reported():
    document = documents.read(LETTER, Limits(max_pages=2))
    assert "number 2" in joined(document) and "number 3" not in joined(document)
    assert (document.pages, document.pages_skipped) == (3, 1)
    assert document.problems == ["only the first 2 of 3 pages were read"]


def test_a_page_of_any_size_makes_a_picture_of_bounded_size():
    data = pdf_of(
        line("huge"), finish=lambda made: made.pages[0].obj.__setitem__("/MediaBox", pikepdf.Array([0, 0, 2e6, 1e6]))
    )
    drawn = documents.render(data, 1, 500)
    assert max(drawn.image.size) <= 501
    assert drawn.width == 2 * drawn.height


# --- images --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"])
def test_images_of_every_kind_are_read(kind):
    image = picture(["TOTAL 15.50"], (400, 120))
    assert joined(documents.read(encoded(image, kind))) == "TOTAL 15.50"


HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(500)


def test_a_heic_photo_is_read_if_the_package_for_it_is_there(monkeypatch):
    assert documents.file_type(HEIC) == "image"
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    assert joined(documents.read(encoded(picture(["TOTAL 15.50"], (400, 120)), "HEIF"))) == "TOTAL 15.50"


def test_a_heic_photo_names_the_package_that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(DocumentError, match="pip install pillow-heif"):
        list(pages.read(HEIC, "image", Limits()))


def test_a_transparent_picture_is_read_on_white_and_one_of_16_bit_in_its_range():
    ink = picture(["TOTAL 15.50"], (400, 120)).convert("L")
    clear = Image.new("RGBA", ink.size, (0, 0, 0, 0))
    clear.paste((0, 0, 0, 255), mask=ink.point(lambda v: 255 - v))
    deep = Image.fromarray(numpy.asarray(ink).astype("uint16") * 200 + 5000)
    assert joined(documents.read(encoded(clear))) == "TOTAL 15.50"
    assert joined(documents.read(encoded(deep))) == "TOTAL 15.50"


@pytest.mark.parametrize("angle", [0, 4, 90, 180, 270])
def test_boxes_stand_where_the_picture_shows_the_words(angle):
    image = picture(["Green tea 2.00", "Cheese cake 13.50", "TOTAL 15.50", "CASH 20.00"], (500, 330))
    data = encoded(image.rotate(angle, expand=True, fillcolor="white"))
    document = documents.read(data)
    assert "TOTAL 15.50" in joined(document)
    assert ink_outside_of_boxes(document, data) < 0.05


def test_boxes_of_a_large_photo_are_in_pixels_of_its_upright_size():
    image = picture(["Green tea 2.00", "TOTAL 15.50"], (500, 330)).resize((4000, 2640))
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(image.rotate(90, expand=True), "JPEG", exif=exif)
    document = documents.read(data)
    assert (documents.render(data, 1, 800).width, documents.render(data, 1, 800).height) == image.size
    assert max(word.box[2] for word in document.words) > 1500
    assert ink_outside_of_boxes(document, data) < 0.02


def test_a_long_receipt_is_read_in_pieces_and_no_line_is_lost_or_doubled():
    lines = [f"item {n:03} {n * 37 % 100}.50" for n in range(90)]
    image = picture(lines, (420, 60 * len(lines) + 60))
    assert image.height > 12 * image.width
    document = documents.read(encoded(image))
    assert [" ".join(row.split()) for row in document.text.split("\n")] == lines
    numbered = [word for word in document.words if len(word.text) == 3 and word.text.isdigit()]
    assert len(numbered) == len(lines)
    assert all(abs(word.box[1] - (30 + 60 * int(word.text))) < 20 for word in numbered)


def test_a_name_does_not_make_a_kind(tmp_path):
    for name, data in (
        ("photo.pdf", encoded(picture(["TOTAL 15.50"]))),
        ("text.jpg", LETTER),
        ("data.docx", b"TOTAL 15.50"),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        reader = documents.read(path).reader
        assert reader == {"photo.pdf": "ocr", "text.jpg": "pdf text", "data.docx": "text"}[name]


def test_boxes_of_a_small_picture_are_in_its_own_pixels():
    lines = ["Cheese cake 13.50", "Green tea 2.00", "Service 5 pct 0.78", "TOTAL 16.28"]
    image = picture(lines, (460, 330)).resize((153, 110), Image.Resampling.LANCZOS)
    document = documents.read(encoded(image))
    assert [" ".join(row.split()) for row in document.text.split("\n")] == lines
    assert max(word.box[2] for word in document.words) <= 153


def test_pages_of_a_tiff_with_too_many_pixels_are_skipped_and_reported():
    frames = [picture(["page number one"], (400, 120)), Image.new("RGB", (900, 900)), picture(["the last"], (400, 120))]
    data = encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    document = documents.read(data, Limits(max_image_pixels=500_000))
    assert "number one" in joined(document) and "the last" in joined(document)
    assert (document.pages, document.pages_skipped) == (3, 1)
    assert document.problems == ["page 2 was skipped: it has 900 x 900 pixels; the limit is 500,000"]


# --- the process that reads ----------------------------------------------------------------------------------


def test_a_page_that_takes_too_long_is_reported_and_the_others_are_read():
    dense = picture(
        [" ".join(f"{n * 7919 % 9973:04}" for n in range(r * 40, r * 40 + 40)) for r in range(50)], (3000, 3000)
    )
    quick = line("A page with a text layer")
    data = pdf_of(quick, FULL_PAGE, quick, image=dense)
    documents.read(encoded(picture(["warm"], (400, 120))))  # loading the engine has its own, longer limit
    document = documents.read(data, Limits(page_seconds=0.25))
    assert {word.page for word in document.words} == {1, 3}
    assert (document.pages, document.pages_skipped) == (3, 1)
    assert document.problems == ["page 2 took longer than 0.25 s and was skipped"]


def test_a_document_of_which_no_page_is_quick_enough_is_an_error():
    with pytest.raises(DocumentError, match="page 1 took longer than 0.001 s"):
        documents.read(pdf_of(FULL_PAGE, image=SCAN), Limits(page_seconds=0.001))


def test_a_page_that_makes_the_process_die_is_reported(monkeypatch):
    """The process is killed when it has delivered the first page, as the system does with one that takes all memory."""
    receive = worker.Worker.ask

    def ask(self, request, data):
        for message in receive(self, request, data):
            yield message
            if request["first"] == 1 and message.get("page") == 1:
                self.process.kill()
                self.process.wait()
                while not self.answers.empty():
                    self.answers.get()
                self.answers.put(None)

    monkeypatch.setattr(worker.Worker, "ask", ask)
    document = documents.read(LETTER)
    assert {word.page for word in document.words} == {1, 3}
    assert document.problems == ["page 2 made the reader crash and was skipped"]


def test_a_process_that_died_between_two_documents_is_started_again():
    documents.read(LETTER)
    worker._worker.process.kill()
    worker._worker.process.wait()
    assert documents.read(LETTER).pages == 3


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is one of Linux")
def test_the_process_may_take_only_so_much_memory():
    import resource

    documents.read(LETTER)
    assert resource.prlimit(worker._worker.process.pid, resource.RLIMIT_DATA)[0] == Limits().max_memory_mb * 1_000_000


def test_documents_that_are_read_at_the_same_time_do_not_mix():
    made = {n: pdf_of(*[line(f"document {n}")] * 3) for n in range(8)}
    found = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: documents.read(made[n])})) for n in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {n: set(joined(document).split()) for n, document in found.items()} == {
        n: {"document", str(n)} for n in made
    }


# --- OCR engines ---------------------------------------------------------------------------------------------


@pytest.fixture
def fresh_engine():
    ocr.engine.cache_clear()
    yield
    ocr.engine.cache_clear()


@pytest.mark.skipif(not shutil.which("tesseract"), reason="needs tesseract, which .ci/run installs")
def test_tesseract_reads_where_rapidocr_is_missing_and_the_document_says_so(monkeypatch, fresh_engine):
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    data = encoded(picture(["Green tea 2.00", "Cheese cake 13.50", "TOTAL 15.50"]))
    (page,) = [message for message in pages.read(data, "image", Limits()) if "words" in message]
    assert page["ocr"].startswith("tesseract ")
    assert [text for text, _ in page["words"]][-2:] == ["TOTAL", "15.50"]
    (problem,) = page["problems"]
    assert problem.startswith("read by tesseract, which misreads more, because RapidOCR is not installed")


def test_no_ocr_engine_at_all_is_one_sentence(monkeypatch, fresh_engine):
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(DocumentError, match="no OCR engine is installed: pip install rapidocr onnxruntime"):
        ocr.engine("auto")
    with pytest.raises(DocumentError, match="apt-get install tesseract-ocr"):
        ocr.engine("tesseract")


def test_an_engine_that_was_asked_for_and_is_missing_is_not_replaced(monkeypatch, fresh_engine):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(DocumentError, match="OCR by openvino is not installed"):
        ocr.engine("openvino")


def test_what_a_library_prints_of_a_broken_picture_is_not_shown(tmp_path):
    whole = io.BytesIO()
    Image.effect_noise((400, 400), 80).save(whole, "TIFF", compression="tiff_adobe_deflate")
    broken = bytearray(whole.getvalue())
    broken[20_000:20_400] = bytes(byte ^ 0x5A for byte in broken[20_000:20_400])
    (tmp_path / "broken.tiff").write_bytes(broken)
    code = "import sys; from pathlib import Path; from extraction import documents; documents.read(Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "broken.tiff"], capture_output=True, text=True)
    assert "the image is broken" in done.stderr
    assert "ZIPDecode" not in done.stderr
