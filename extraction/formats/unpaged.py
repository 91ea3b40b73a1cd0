"""A file without pages -> its text. This, too, is done in the process of the reader: archives and XML can unpack to any
size, and guessing an encoding can take any time."""

from __future__ import annotations

from extraction.formats import archives, docx, einvoice, html, plain
from extraction.reading.limits import Limits

KINDS = ("docx", "einvoice", "html", "text")


def read(data: bytes, kind: str, limits: Limits) -> dict:
    """The one message of such a file: `{"pages", "text", "problems", "invoice"}`, the text cut at its limit.

    `invoice` is what `einvoice.read` makes of an electronic invoice, None of anything else.
    """
    problems: list[str] = []
    invoice = einvoice.read(data) if kind == "einvoice" else None
    if kind == "docx":
        text, problems = docx.read(archives.opened(data, limits))
    elif invoice:
        text = einvoice.text(invoice)
    elif kind == "html":
        text, problems = html.read(data)
    else:
        text = plain.read(data)
    kept = limits.max_text_chars
    if len(text) > kept:
        problems.append(f"the text has {len(text):,} characters; only the first {kept:,} were read")
    return {"pages": 1, "text": text[:kept], "problems": problems, "invoice": invoice}
