"""Which kind a file is: by its bytes, never by its name, and not by letters that prose may begin with."""

import io
import zipfile

import pytest
from PIL import Image

from extraction.formats import kinds
from extraction.reading import documents
from extraction.reading.limits import DocumentError
from tests.helpers.office import zipped


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "AVIF"])
def test_pictures_are_recognized(kind):
    assert kinds.kind_of(picture(kind)) == "image"


@pytest.mark.parametrize(
    "text",
    ["BMW Autohaus\nTotal 177.31", "BM", "PK Logistics Ltd\nTotal 9.00", "PK\nTotal", "GIF89a is a format. Total 9.00",
     "GIF8 Gifts Ltd", "%PDF- is how a PDF begins", "%PDF-1.7 is a version of it", "Rar! said the bear", "7z Zone Ltd",
     "BZh Bank", "II* Imports", "RIFF Music Ltd", "Dear Sir,\nthe file begins with %PDF-1.4, it says",
     "From: Lund Papper\nTo: us\nDate: 12.03.2026\nSubject: order\n\nTotal 9.00", "Total: 9.00\n\nThank you",
     "Total\x00 9.00 " + 20 * "and so on ",
     "<no tag> 5 < 6", "# Title\n<p align=center>\nText in Markdown", "ftyp heic"],
)  # fmt: skip
def test_prose_that_begins_like_a_format_is_text(text):
    assert kinds.kind_of(text.encode()) == "text"
    assert documents.read(text.encode()).text.split() == text.replace("\x00", "").split()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", "pdf"),
        (b"%PDF-1.7\nnothing", "pdf"),
        (b"junk before it %PDF-1.4 1 0 obj << >> endobj", "pdf"),
        (zipped({"a.pdf": b"%PDF-1.7\n1 0 obj"}, zipfile.ZIP_STORED), "zip"),
        (b"MIME-Version: 1.0\nSubject: y\n\nText", "mail"),
        (b"From me@x Thu Jan  1 00:00:00 2026\nMessage-ID: <1>\nSubject: a\n b\n\nText", "mail"),
        (b"<!DOCTYPE html><p>x", "html"),
        (b"\xef\xbb\xbf\n<!-- a --><html lang=de>x", "html"),
        (b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "x" "y"><html/>', "html"),
        ("<html><body>x".encode("utf-16"), "html"),
        (b"<table><tr><td>x</td></tr></table>\n", "html"),
        (b'<Invoice xmlns="x">1</Invoice>', "text"),
    ],
)
def test_other_kinds_are_recognized(data, kind):
    assert kinds.kind_of(data) == kind


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"Rar!\x1a\x07\x00", "a RAR archive; unpack it first"), (b"7z\xbc\xaf\x27\x1c..", "a 7-Zip archive"),
     (b"\x1f\x8b\x08\x00", "a GZIP archive"), (b"BZh91AY&SY..", "a BZIP2 archive"),
     (bytes(257) + b"ustar\x00", "a TAR archive"), (b"%!PS-Adobe-3.0", "a PostScript file")],
)  # fmt: skip
def test_what_must_be_unpacked_or_saved_otherwise_says_so(data, said):
    with pytest.raises(DocumentError, match=said):
        kinds.kind_of(data)
