"""A file, or words and boxes, -> the text that a prompt contains.

One layout for all: gold OCR words, OCR of a photo and the text layer of a PDF go through the same `layout`, so a model
meets in use what it was trained on. Files are read by `extraction.reading.worker`, in a process of its own.
"""

from __future__ import annotations

import math
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from extraction.files import quoted
from extraction.formats import kinds
from extraction.formats.unpack import Part
from extraction.reading import worker
from extraction.reading.layout import joined, page_layout
from extraction.reading.limits import DocumentError, Limits, TooLarge
from extraction.reading.words import Word, placed


@dataclass(frozen=True)
class Document:
    """A document as it was read. `words` is empty where the format has no boxes (text, DOCX, HTML).

    Boxes are where the words stand on the page as `render` draws it, skew and all. `pages_skipped` counts what was over
    the limit, too slow or broken. `ocr` is the OCR engine, if one was used. `invoice` is the electronic invoice that
    the file is or that is attached to it, as `einvoice.read` gives it. `numbers` are those of the pages that were read,
    `part` says which of how many documents in its file it is, `image` that the file is an image.
    """

    text: str
    pages: int = 1
    pages_skipped: int = 0
    words: list[Word] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    reader: str = "text"
    ocr: str | None = None
    invoice: dict | None = None
    numbers: list[int] = field(default_factory=lambda: [1])
    part: tuple[int, int] = (1, 1)
    image: bool = False

    @property
    def reading(self) -> str:
        """`text`, or of what an OCR read it: `scan`, the pages of a PDF, or `photo`, an image file."""
        return "text" if self.ocr is None else "photo" if self.image else "scan"


@dataclass(frozen=True)
class Picture:
    """A page as it looks. `width` and `height` are the page's in the units of its words' boxes, not the image's."""

    image: Any
    width: float
    height: float


# --- files ---------------------------------------------------------------------------------------------------


def read(source: Path | bytes, limits: Limits | None = None) -> Document:
    """Read a document. Of a mail or an archive with several the first is read, and the others are told.

    Raises DocumentError if that cannot be done.
    """
    limits = limits or Limits()
    name = source.name if isinstance(source, Path) else "file"
    first, *others = parts(name, content(source, limits), limits)
    document = read_part(first, limits)
    if not others:
        return document
    names = ", ".join(part.name.partition("/")[2] for part in others[:5]) + (", ..." if others[5:] else "")
    shown = first.name.partition("/")[2] or "its text"
    told = f"the file holds {len(others) + 1} documents; this is {shown}, the others are {names}"
    return replace(document, problems=[told, *document.problems])


def parts(name: str, data: bytes, limits: Limits) -> list[Part]:
    """The documents in a file: itself, or those in a mail or an archive, with names such as `mail.eml/invoice.pdf`.

    Raises DocumentError for a file that holds none.
    """
    kind = kinds.kind_of(data)
    return worker.unpack(name, data, kind, limits) if kind in kinds.CONTAINERS else [Part(name, data, kind)]


def read_part(part: Part, limits: Limits) -> Document:
    """Read one document. Raises DocumentError if that cannot be done."""
    if part.error:
        raise DocumentError(part.error)
    if part.kind in kinds.PAGES:
        document = _read_pages(part.data, part.kind, limits)
    else:
        (message,) = worker.read(part.data, part.kind, limits)
        document = Document(message["text"], problems=message["problems"], reader=part.kind, invoice=message["invoice"])
    if not document.text.strip():
        raise DocumentError("; ".join(["no text was found in it", *document.problems]))
    document = replace(document, problems=[*part.problems, *document.problems])
    return document if len(document.text) <= limits.max_text_chars else _cut(document, limits.max_text_chars)


def _cut(document: Document, kept: int) -> Document:
    inside = [i for i, (_, end) in enumerate(document.spans) if end <= kept]
    note = f"the text has {len(document.text):,} characters; only the first {kept:,} were read"
    return replace(
        document,
        text=document.text[:kept],
        words=[document.words[i] for i in inside],
        spans=[document.spans[i] for i in inside],
        problems=[*document.problems, note],
    )


def render(source: Path | bytes, page: int, side: int, limits: Limits | None = None) -> Picture | None:
    """The picture of a page, its longer side `side` pixels at most; None of a format that has no pages (text, DOCX).

    Raises DocumentError if the file is gone or the page cannot be drawn.
    """
    limits = limits or Limits()
    part = parts("file", content(source, limits), limits)[0]
    if part.kind not in kinds.PAGES:
        return None
    image, (width, height) = worker.render(part.data, part.kind, page, side, limits)
    return Picture(image, width, height)


def content(source: Path | bytes, limits: Limits) -> bytes:
    """The bytes of a file. Raises DocumentError if it cannot be opened, or has too many."""
    if not isinstance(source, Path):
        _bound(len(source), limits)
        return source
    try:
        about = source.stat()
        if not stat.S_ISREG(about.st_mode):  # a pipe or a device may never come to an end
            raise DocumentError("it is not a regular file")
        _bound(about.st_size, limits)
        return source.read_bytes()
    except OSError as error:
        raise DocumentError(f"cannot be opened: {error.strerror}") from error


def _bound(size: int, limits: Limits) -> None:
    if size > limits.max_file_mb * 1e6:
        shown = math.ceil(size / 1e5) / 10  # never rounded down to the limit
        raise TooLarge(f"the file has {shown:.1f} MB; the limit is {limits.max_file_mb:g} MB")


def _read_pages(data: bytes, kind: str, limits: Limits) -> Document:
    """The pages of a PDF or an image, one below the other, an empty line between them."""
    layouts, numbers, readers, problems, engine, count, invoice = [], [], [], [], None, 0, None
    for message in worker.read(data, kind, limits):
        count, invoice = message.get("pages", count), message.get("invoice", invoice)
        problems += [problem for problem in message["problems"] if problem not in problems]
        if "words" in message:
            readers += message["readers"]
            numbers.append(message["page"])
            engine = engine or message["ocr"]
            words = [placed(text, corners, message["page"], score) for text, corners, score in message["words"]]
            layouts.append(page_layout(words, message.get("width", math.inf)))
            if layouts[-1].aside:
                said = "print at another angle or beside the paper stands below its rows"
                problems.append(f"page {message['page']}: {said}: {quoted(' / '.join(layouts[-1].aside))}")
    if count > limits.max_pages:
        problems.append(f"only the first {limits.max_pages} of {count} pages were read")
    if not layouts:
        raise DocumentError("; ".join(problems))
    whole = joined(layouts, "\n\n")
    return Document(
        whole.text,
        pages=count,
        pages_skipped=count - len(layouts),
        words=whole.words,
        spans=whole.spans,
        problems=problems,
        reader=" and ".join(sorted(set(readers), reverse=True)),
        ocr=engine,
        invoice=invoice,
        numbers=numbers,
        image=kind == "image",
    )
