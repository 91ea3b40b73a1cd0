import io
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy
import pytest
from PIL import Image

from extraction.reading import documents, pages
from extraction.reading.documents import DocumentError, Limits
from tests.helpers.papers import LETTER, encoded, ink_outside_of_boxes, joined, picture

SAMPLES = Path("data/samples/documents")


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


def test_what_a_library_prints_of_a_broken_picture_is_not_shown(tmp_path):
    whole = io.BytesIO()
    Image.effect_noise((400, 400), 80).save(whole, "TIFF", compression="tiff_adobe_deflate")
    broken = bytearray(whole.getvalue())
    broken[20_000:20_400] = bytes(byte ^ 0x5A for byte in broken[20_000:20_400])
    (tmp_path / "broken.tiff").write_bytes(broken)
    code = "import pathlib, sys; from extraction.reading import documents; documents.read(pathlib.Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "broken.tiff"], capture_output=True, text=True)
    assert "the image is broken" in done.stderr
    assert "ZIPDecode" not in done.stderr
