"""What kind of file some bytes are: found once, by the bytes and never by a name. And the names that a folder is
searched for."""

from __future__ import annotations

import re

from extraction.formats import plain
from extraction.reading.limits import DocumentError

PAGES = ("pdf", "image")  # kinds with pages that can be drawn
CONTAINERS = ("mail", "outlook", "zip")  # kinds that may hold several documents; a DOCX file is a ZIP file, too
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".avif", ".heic"}
IMAGE_SUFFIXES |= {".heif"}
TEXT_SUFFIXES = {".txt", ".text", ".md", ".html", ".htm", ".xhtml"}
SUFFIXES = IMAGE_SUFFIXES | TEXT_SUFFIXES
SUFFIXES |= {".xml", ".pdf", ".docx", ".docm", ".dotx", ".dotm", ".eml", ".msg", ".mht", ".mhtml", ".zip"}

_IMAGE_BRANDS = {b"avif", b"avis", b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}
_REFUSED = (
    (b"{\\rtf", "an RTF file; save it as DOCX or PDF"),
    (b"%!PS", "a PostScript file; save it as PDF"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript file; save it as PDF"),
    (b"Rar!\x1a\x07", "a RAR archive; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it first"),
    (b"\x1f\x8b", "a GZIP archive; unpack it first"),
    (b"\xfd7zXZ\x00", "an XZ archive; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive; unpack it first"),
    (b"MSCF\x00\x00\x00\x00", "a CAB archive; unpack it first"),
)
_OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OUTLOOK = "__properties_version1.0".encode("utf-16-le")  # the name of a stream that every Outlook message has
UNKNOWN = "not a PDF, image, DOCX, mail, HTML, ZIP or text file"


def kind_of(data: bytes) -> str:
    """`pdf`, `image`, `zip`, `mail`, `outlook`, `einvoice`, `html` or `text`. Raises DocumentError for anything else.

    Letters that a format begins with are not enough where prose may begin with them.
    """
    if not data.strip():
        raise DocumentError("the file is empty")
    head = data[:1024]
    if _is_image(data):
        return "image"
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"):
        return "zip"
    if head.startswith(_OLD_OFFICE):
        if _OUTLOOK in data:
            return "outlook"
        raise DocumentError("an old Office file; save it as DOCX or PDF")
    for start, said in _REFUSED:
        if head.startswith(start):
            raise DocumentError(said)
    if re.match(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", head):
        raise DocumentError("a BZIP2 archive; unpack it first")
    if data[257:262] == b"ustar":
        raise DocumentError("a TAR archive; unpack it first")
    if _is_pdf(data):
        return "pdf"
    if b"\x00" in head and not plain.unicode(head) and not _is_prose(head):
        raise DocumentError(UNKNOWN)
    if _is_mail(data):
        return "mail"
    if _INVOICE.search(data[:65_536]):
        return "einvoice"
    return "html" if _is_html(data) else "text"


# The root of an electronic invoice: UBL, CII, or ZUGFeRD 1.0.
_INVOICE = re.compile(
    rb"<([\w-]+:)?(Invoice|CreditNote|CrossIndustryInvoice|CrossIndustryDocument)\s[^<>]*"
    rb"urn:(oasis:names:specification:ubl|un:unece:uncefact|ferd)"
)


def _is_image(data: bytes) -> bool:
    if data.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*")):
        return True
    if data.startswith((b"GIF87a", b"GIF89a")):  # what follows in an image is two numbers, in prose letters
        return not data[6:11].isascii() or any(byte < 32 for byte in data[6:11])
    if data.startswith(b"BM"):
        return int.from_bytes(data[14:18], "little") in (12, 16, 40, 52, 56, 64, 108, 124)  # the size of its header
    return (data[:4] == b"RIFF" and data[8:12] == b"WEBP") or (data[4:8] == b"ftyp" and data[8:12] in _IMAGE_BRANDS)


def _is_prose(head: bytes) -> bool:
    """Text with a zero byte or two that some program left in it."""
    others = sum(byte < 32 and byte not in b"\t\n\v\f\r\x1a\x1b\x00" for byte in head)
    return not others and head.count(0) <= len(head) // 100


def _is_pdf(data: bytes) -> bool:
    """A header within the first bytes, as readers take it, and what follows it in a PDF rather than in prose."""
    head = data[:1024]
    if not re.search(rb"%PDF-\d", head):
        return False
    alone = re.match(rb"\s*%PDF-\d\.\d\s*([\r\n]|$)", head)
    return bool(alone or re.search(rb"\d\s+\d+\s+obj\b", data) or re.search(rb"[\x00-\x08]", head))


_MACHINES = {b"mime-version", b"message-id", b"received", b"return-path", b"content-type", b"delivered-to"}
_MACHINES |= {b"content-transfer-encoding", b"dkim-signature", b"x-mailer"}  # nobody writes these by hand
_PEOPLE = {b"from", b"to", b"cc", b"subject", b"date", b"sender", b"reply-to"}


def _is_mail(data: bytes) -> bool:
    """Lines of a header up to an empty one, as programs write them: a letter may begin with From: and Date:, too."""
    head = data[:65_536].removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    head = re.sub(rb"\A>?From [^\r\n]*\r?\n", b"", head)  # the first line of a mail in a mailbox
    header = re.split(rb"\r?\n\r?\n", head, maxsplit=1)[0]
    names = set()
    for line in re.split(rb"\r?\n", header):
        if names and line[:1] in (b" ", b"\t"):
            continue
        name = re.match(rb"([!-9;-~]+)[ \t]*:", line)
        if not name:
            return False
        names.add(name[1].lower())
    return bool(names & _MACHINES) and len(names & (_PEOPLE | _MACHINES)) > 1


_TAGS = rb"html|head|body|title|table|div|p|h[1-6]|style|script|font|center|meta|span|a|br|b|ul|ol|article|section"


def _is_html(data: bytes) -> bool:
    """A page, or a part of one that begins and ends with a tag."""
    head = data[:4096].replace(b"\x00", b"").removeprefix(b"\xef\xbb\xbf").removeprefix(b"\xff\xfe").lstrip()
    head = re.sub(rb"\A(<\?xml[^>]*>|<!--.*?-->|\s+)*", b"", head, flags=re.S)
    if re.match(rb"<(!doctype\s+html|html|head|body)\b", head, re.I):
        return True
    return bool(re.match(rb"<(%b)\b[^<>]*>" % _TAGS, head, re.I)) and data.rstrip(b"\x00\r\n\t ").endswith(b">")
