"""A file, or words and boxes, -> the text that a prompt contains.

One layout for all: gold OCR words, OCR of a photo and the text layer of a PDF go through the same `layout`, so a model
meets in use what it was trained on. Files are read by `extraction.reading.worker`, in a process of its own.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from extraction.reading import text_files, worker
from extraction.reading.layout import Layout, page_layout
from extraction.reading.limits import DocumentError, Limits
from extraction.reading.words import Word, placed


@dataclass(frozen=True)
class Document:
    """A document as it was read. `words` is empty where the format has no boxes (text, DOCX).

    Boxes are where the words stand on the page as `render` draws it, skew and all. `pages_skipped` counts what was over
    the limit, too slow or broken. `ocr` is the OCR engine, if one was used.
    """

    text: str
    pages: int = 1
    pages_skipped: int = 0
    words: list[Word] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    reader: str = "text"
    ocr: str | None = None


@dataclass(frozen=True)
class Picture:
    """A page as it looks. `width` and `height` are the page's in the units of its words' boxes, not the image's."""

    image: Any
    width: float
    height: float


IMAGE_BRANDS = {b"avif", b"avis", b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"}  # of HEIC and AVIF

# --- files ---------------------------------------------------------------------------------------------------


def file_type(data: bytes) -> str | None:
    """`pdf`, `image`, `docx` or `text`, by the first bytes and never by a name; None for other binary data."""
    head = data[:1024]
    if b"%PDF-" in head:
        return "pdf"
    if head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*", b"BM", b"GIF8")):
        return "image"
    if (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or (head[4:8] == b"ftyp" and head[8:12] in IMAGE_BRANDS):
        return "image"
    if head.startswith(b"PK"):  # names in an archive are not packed; it is opened in the reader's process only
        return "docx" if b"word/document.xml" in data else None
    if head.startswith(b"{\\rtf"):
        return None
    return "text" if b"\x00" not in head or text_files.unicode(head) else None


def _other_kind(data: bytes) -> str:
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        return "an old Office file; save it as DOCX or PDF"
    if data.startswith(b"{\\rtf"):
        return "an RTF file; save it as DOCX or PDF"
    return "not a PDF, image, DOCX or text file"


def read(source: Path | bytes, limits: Limits | None = None) -> Document:
    """Read a PDF, image, DOCX or text. Raises DocumentError if that cannot be done."""
    limits = limits or Limits()
    data = _bytes(source, limits)
    if not data.strip():
        raise DocumentError("the file is empty")
    kind = file_type(data)
    if kind is None:
        raise DocumentError(_other_kind(data))
    if kind in ("docx", "text"):
        (message,) = worker.read(data, kind, limits)
        document = Document(message["text"], problems=message["problems"], reader=kind)
    else:
        document = _read_pages(data, kind, limits)
    if not document.text.strip():
        raise DocumentError("; ".join(["no text was found in it", *document.problems]))
    if len(document.text) > limits.max_text_chars:
        kept = limits.max_text_chars
        note = f"the text has {len(document.text):,} characters; only the first {kept:,} were read"
        inside = [i for i, (_, end) in enumerate(document.spans) if end <= kept]
        return replace(
            document,
            text=document.text[:kept],
            words=[document.words[i] for i in inside],
            spans=[document.spans[i] for i in inside],
            problems=[*document.problems, note],
        )
    return document


def render(source: Path | bytes, page: int, side: int, limits: Limits | None = None) -> Picture | None:
    """The picture of a page, its longer side `side` pixels at most; None of a format that has no pages (text, DOCX).

    Raises DocumentError if the file is gone or the page cannot be drawn.
    """
    data = _bytes(source, limits or Limits())
    kind = file_type(data)
    if kind not in ("pdf", "image"):
        return None
    image, (width, height) = worker.render(data, kind, page, side, limits or Limits())
    return Picture(image, width, height)


def _bytes(source: Path | bytes, limits: Limits) -> bytes:
    too_large = "the file has {:.1f} MB; the limit is {:g} MB"
    if isinstance(source, Path):
        try:
            about = source.stat()
            if not stat.S_ISREG(about.st_mode):  # a pipe or a device may never come to an end
                raise DocumentError("it is no regular file")
            size = about.st_size
            if size > limits.max_file_mb * 1e6:
                raise DocumentError(too_large.format(size / 1e6, limits.max_file_mb))
            return source.read_bytes()
        except OSError as error:
            raise DocumentError(f"cannot be opened: {error.strerror}") from error
    if len(source) > limits.max_file_mb * 1e6:
        raise DocumentError(too_large.format(len(source) / 1e6, limits.max_file_mb))
    return source


def _read_pages(data: bytes, kind: str, limits: Limits) -> Document:
    """The pages of a PDF or an image, one below the other, an empty line between them."""
    layouts, readers, problems, engine, count = [], [], [], None, 0
    for message in worker.read(data, kind, limits):
        count = message.get("pages", count)
        problems += [problem for problem in message["problems"] if problem not in problems]
        if "words" in message:
            readers += message["readers"]
            engine = engine or message["ocr"]
            words = [placed(text, corners, message["page"], score) for text, corners, score in message["words"]]
            layouts.append(page_layout(words))
            if layouts[-1].aside:
                said = " / ".join(layouts[-1].aside)
                note = f'"{said[:60]}{"..." if said[60:] else ""}"'
                problems.append(f"page {message['page']}: print at another angle stands below its rows: {note}")
    if count > limits.max_pages:
        problems.append(f"only the first {limits.max_pages} of {count} pages were read")
    if not layouts:
        raise DocumentError("; ".join(problems))
    return _joined(
        layouts,
        pages=count,
        pages_skipped=count - len(layouts),
        problems=problems,
        reader=" and ".join(sorted(set(readers), reverse=True)),
        ocr=engine,
    )


def _joined(layouts: list[Layout], **rest: Any) -> Document:
    """Pages one below the other, an empty line between them."""
    text, words, spans = "", [], []
    for page in layouts:
        start = len(text) + 2 if text else 0
        text = f"{text}\n\n{page.text}" if text else page.text
        words += page.words
        spans += [(a + start, b + start) for a, b in page.spans]
    return Document(text, words=words, spans=spans, **rest)
