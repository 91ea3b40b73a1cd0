import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy
import pytest
from PIL import Image

from extraction.reading import documents
from extraction.reading.documents import DocumentError, Limits
from tests.helpers.office import docx_of, zipped
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


def png_header(width, height):
    """A PNG that claims a size and has next to no data."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\x00" * 100)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b" \n\t ", "empty"),
        (b"\x00\x01\x02\x03", "not a PDF, image, DOCX, mail, HTML, ZIP or text file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an old Office file; save it as DOCX or PDF"),
        (b"{\\rtf1\\ansi Hello}", "an RTF file; save it as DOCX or PDF"),
        (b"%PDF-1.7\nnothing", "the PDF is broken"),
        (encoded(Image.new("RGB", (300, 300), "white"), "JPEG")[:300], "broken"),
        (encoded(Image.new("RGB", (300, 300), "white")), "no text was found"),
        (png_header(60_000, 60_000), "pixels"),
        (zipped({"a.exe": b"MZ\0"}), "there is no document in the archive; not read, as no documents: a.exe"),
        (docx_of("<broken"), "the DOCX file is broken"),
        (zipped({"word/document.xml": b"a" * 200_000_000}), "too large when unpacked"),
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


def test_a_heic_photo_as_phones_send_it_is_read():
    import pillow_heif

    pillow_heif.register_heif_opener()
    assert joined(documents.read(encoded(picture(["TOTAL 15.50"], (400, 120)), "HEIF"))) == "TOTAL 15.50"


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
    noise = numpy.random.default_rng(0).integers(0, 256, (400, 400), dtype=numpy.uint8)
    Image.fromarray(noise).save(whole, "TIFF", compression="tiff_adobe_deflate")
    broken = bytearray(whole.getvalue())
    broken[20_000:20_400] = bytes(byte ^ 0x5A for byte in broken[20_000:20_400])
    (tmp_path / "broken.tiff").write_bytes(broken)
    code = "import pathlib, sys; from extraction.reading import documents; documents.read(pathlib.Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "broken.tiff"], capture_output=True, text=True)
    assert "the image is broken" in done.stderr
    assert "ZIPDecode" not in done.stderr
