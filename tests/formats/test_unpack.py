"""Files that hold documents: mails and archives, in each other too; nothing in them is left out in silence."""

import io
import struct
import zipfile
from email.message import EmailMessage
from pathlib import Path

import pytest
from PIL import Image

from extraction.formats import unpack
from extraction.reading import documents
from extraction.reading.limits import DocumentError, Limits
from tests.helpers.mails import built, mail
from tests.helpers.office import docx_of, paragraph, run, zipped
from tests.helpers.outlook import message

PDF = Path("data/samples/documents/invoice.pdf").read_bytes()
NOTE = "Dear customer,\nplease find our invoice attached."
RECEIPT = "<html><body><table><tr><td>Lamp<td>20.00</tr><tr><td>Total<td>25.00</tr></table></body></html>"


def parts(data: bytes, limits: Limits | None = None) -> list[unpack.Part]:
    return documents.parts("file", data, limits or Limits())


def names(data: bytes) -> list[str]:
    return [part.name for part in parts(data)]


def photo(size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise(size, 50).save(buffer, "PNG")
    return buffer.getvalue()


# --- mails ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("disposition", ["attachment", "inline"])
def test_the_file_of_a_mail_is_the_document_and_a_cover_letter_is_told(disposition):
    (part,) = parts(mail(NOTE, files=(("invoice.pdf", PDF, disposition),)))
    assert (part.name, part.kind, part.data) == ("file/invoice.pdf", "pdf", PDF)
    assert part.problems == [f'the text of the mail was not read as a document: "{" ".join(NOTE.split())}"']


def test_each_file_of_a_mail_is_a_document_also_where_two_have_one_name():
    data = mail(
        NOTE, files=(("a.pdf", PDF, "attachment"), ("a.pdf", PDF[:-1], "attachment"), ("b.txt", b"x", "inline"))
    )
    assert names(data) == ["file/a.pdf", "file/a (2).pdf", "file/b.txt"]


@pytest.mark.parametrize(
    ("text", "page"), [("see the HTML version", RECEIPT), ("", RECEIPT), ("Lamp 20.00\nTotal 25.00", "")]
)
def test_the_text_of_a_mail_without_files_is_the_document_with_what_its_head_says(text, page):
    (part,) = parts(mail(text, page, Date="Thu, 12 Mar 2026 10:00:00 +0000"))
    lines = documents.read_part(part, Limits()).text.split("\n")
    assert lines[:4] == [
        "From: billing@example.com", "To: x@example.com", "Date: Thu, 12 Mar 2026 10:00:00 +0000", "Subject: Invoice 77"
    ]  # fmt: skip
    assert [line.split() for line in lines[5:]] == [["Lamp", "20.00"], ["Total", "25.00"]]


def test_a_text_with_amounts_is_a_document_beside_the_files():
    data = mail(page=RECEIPT, files=(("terms.pdf", PDF, "attachment"),))
    assert names(data) == ["file", "file/terms.pdf"]


def test_what_is_no_document_is_told_and_so_are_logos():
    files = (
        ("invoice.pdf", PDF, "attachment"),
        ("logo.png", photo((120, 40)), "inline"),
        ("card.vcf", b"x", "attachment"),
    )
    message = built(
        page='<p>Hello</p><img src="cid:logo.png">', files=(*files, ("table.xlsx", b"PK\x05\x06" + bytes(18), ""))
    )
    (part,) = parts(message.as_bytes())
    assert part.name == "file/invoice.pdf"
    assert part.problems[0].startswith("the text of the mail was not read as a document")
    assert "1 small picture in the mail was not read: logo.png" in part.problems
    assert any(problem.startswith("not read, as no documents: card.vcf; table.xlsx (") for problem in part.problems)


def test_a_photo_within_the_text_is_a_document():
    data = mail(page='<p>Hello</p><img src="cid:p.png">', files=(("p.png", photo((600, 900)), "inline"),))
    assert [(part.name, part.kind) for part in parts(data)] == [("file/p.png", "image")]


def test_a_forwarded_mail_is_unpacked_too():
    message = built("see below")
    message.add_attachment(built(NOTE, files=(("invoice.pdf", PDF, "attachment"),), Subject="Your invoice"))
    assert names(message.as_bytes()) == ["file/Your invoice.eml/invoice.pdf"]


def test_an_encrypted_mail_says_so():
    message = EmailMessage()
    message["Subject"], message["From"] = "x", "y@example.com"
    message.set_content(
        b"\x30\x80secret", maintype="application", subtype="pkcs7-mime", params={"smime-type": "enveloped-data"}
    )
    with pytest.raises(DocumentError, match="there is no document in the mail; a part of the mail is encrypted"):
        parts(message.as_bytes())


@pytest.mark.parametrize("encoding", ["iso-8859-1", "utf-8", "windows-1250"])
def test_the_text_of_a_mail_is_in_its_encoding(encoding):
    head = f"MIME-Version: 1.0\nSubject: =?utf-8?q?Re=C3=A7u?=\nContent-Type: text/plain; charset={encoding}\n"
    data = f"{head}Content-Transfer-Encoding: 8bit\n\nKäse é 5,00\n".encode(encoding)
    assert documents.read(data).text == "Subject: Reçu\n\nKäse é 5,00"


def test_a_saved_page_is_read_like_a_mail():
    head = (
        "From: <Saved by Blink>\nSubject: Receipt\nMIME-Version: 1.0\nContent-Type: multipart/related; boundary=B\n\n"
    )
    body = f"--B\nContent-Type: text/html\nContent-Location: http://x\n\n{RECEIPT}\n--B\nContent-Type: text/css\n"
    assert "Lamp   20.00" in documents.read(f"{head}{body}Content-Location: a.css\n\np{{}}\n--B--".encode()).text


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.9])
def test_a_mail_that_was_cut_off_is_read_as_far_as_it_goes_or_refused(cut):
    whole = mail(NOTE, files=(("invoice.pdf", PDF, "attachment"),))
    assert parts(whole[: int(len(whole) * cut)])[0].name.startswith("file")


@pytest.mark.parametrize(("text", "html"), [("Lamp  20.00", ""), ("", "<table><tr><td>Lamp<td>20.00</table>")])
def test_a_message_of_outlook_is_read_like_a_mail(text, html):
    (part,) = parts(message(text, html))
    assert part.data.decode() == 'From: "Ann" <ann@example.com>\nSubject: Invoice 77\n\nLamp  20.00'
    (part,) = parts(message(text, html, files=(("invoice.pdf", PDF * 3),)))
    assert (part.name, part.kind, part.data) == ("file/invoice.pdf", "pdf", PDF * 3)
    assert part.problems == ['the text of the mail was not read as a document: "Lamp 20.00"']
    with pytest.raises(DocumentError, match="the mail is broken|there is no document"):
        parts(message(text, html)[:2000])


# --- archives ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_each_document_in_an_archive_is_one(packing):
    word = docx_of(paragraph(run("Agreement")))
    data = zipped({"invoice.pdf": PDF, "in/contract.docx": word, "in/": b"", "__MACOSX/._a.pdf": b"x"}, packing)
    found = parts(data)
    assert [(part.name, part.kind) for part in found] == [
        ("file/invoice.pdf", "pdf"),
        ("file/in/contract.docx", "docx"),
    ]
    assert found[0].problems == []
    assert documents.read_part(found[1], Limits()).text == "Agreement"


def test_the_first_document_of_a_file_is_read_and_the_others_are_told():
    read = documents.read(zipped({"a.txt": "Total 9.00", "b.txt": "Total 8.00"}))
    assert read.text == "Total 9.00"
    assert read.problems == ["the file holds 2 documents; this is a.txt, the others are b.txt"]


def test_archives_in_each_other_are_unpacked_but_not_without_end():
    data = zipped({"a.txt": "Total 9.00"})
    for depth in range(5):
        data = zipped({f"{depth}.zip": data, f"{depth}.txt": "x"})
    found = parts(data)
    assert [part.name.rpartition("/")[2] for part in found] == ["2.zip", "2.txt", "3.txt", "4.txt"] or len(found) > 3
    assert [part.error for part in found if part.error] == [
        "archives and mails are in each other more than 3 times; unpack them"
    ]


def test_an_archive_with_a_mail_and_a_mail_with_an_archive():
    inner = mail(NOTE, files=(("docs.zip", zipped({"a.txt": "x", "b.txt": "y"}), "attachment"),))
    assert names(zipped({"m.eml": inner})) == ["file/m.eml/docs.zip/a.txt", "file/m.eml/docs.zip/b.txt"]


def test_no_more_than_so_many_documents_are_read_of_one_file_and_that_is_told():
    found = parts(zipped({f"{n}.txt": "x" for n in range(unpack.MOST_DOCUMENTS + 20)}))
    assert len(found) == unpack.MOST_DOCUMENTS
    assert found[0].problems == ["the archive holds more than is read of one file; unpack it to have the rest read"]


def test_a_bomb_is_refused_before_it_is_unpacked():
    bomb = zipped({"a.txt": bytes(120_000_000)})
    with pytest.raises(DocumentError, match="the ZIP file is too large when unpacked"):
        parts(bomb)
    found = parts(zipped({f"{n}.zip": zipped({"a.zip": bomb}) for n in range(30)}))
    assert {part.error for part in found} == {"the ZIP file is too large when unpacked"}


def test_a_document_that_is_too_large_locked_or_broken_has_its_reason():
    data = bytearray(zipped({"a.pdf": PDF, "b.txt": "x" * 2_000_000, "c.txt": "y", "d.doc": b"z"}, zipfile.ZIP_STORED))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(mark) + offset] |= 1  # the flag of an encrypted entry
    at = data.find(b"c.txty")
    data[at + 5 : at + 6] = b"!"  # its checksum is that of "y"
    found = {part.name: part.error for part in parts(bytes(data), Limits(max_file_mb=1))}
    assert found == {
        "file/a.pdf": "it is locked with a password; unpack it first",
        "file/b.txt": "it has 2.0 MB; the limit is 1 MB",
        "file/c.txt": "it is broken, or packed in a way that is not known",
    }


def test_an_archive_that_lies_about_its_sizes_gives_no_more_than_it_says():
    lying = bytearray(zipped({"a.txt": "a" * 50_000_000}))
    entry = lying.rfind(b"PK\x01\x02")
    lying[entry + 24 : entry + 28] = struct.pack("<I", 1000)
    assert parts(bytes(lying))[0].error == "it is broken, or packed in a way that is not known"


def test_an_empty_archive_and_one_without_documents_say_so():
    with pytest.raises(DocumentError, match="there is no document in the archive"):
        parts(zipped({}))
    with pytest.raises(DocumentError, match="not read, as no documents: a.css; b.exe"):
        parts(zipped({"a.css": "p{}", "b.exe": b"MZ\x00"}))
