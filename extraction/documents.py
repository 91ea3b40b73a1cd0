"""A file, or words and boxes, -> the text that a prompt contains.

One layout for all: gold OCR words, OCR of a photo and the text layer of a PDF go through the same `layout`, so a model
meets in use what it was trained on. Files are read by `extraction.worker`, in a process of its own.
"""

from __future__ import annotations

import bisect
import math
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from extraction import text_files, worker
from extraction.limits import DocumentError, Limits
from extraction.ocr import Quad

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels of an image or points of a PDF page


@dataclass(frozen=True)
class Word:
    text: str
    box: Box
    page: int = 1


@dataclass(frozen=True)
class Layout:
    """`text` of a page, and where each word stands in it: `spans[i]` is `[start, end)` of the i-th word of `words`."""

    text: str
    words: list[Word]
    spans: list[tuple[int, int]]


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


# --- words to text -------------------------------------------------------------------------------------------


def words_from_quads(items: Iterable[tuple[str, Quad]], page: int = 1) -> list[Word]:
    """Words with upright boxes from words with four corners: the page's skew is taken out of the coordinates first.

    The skew is the median angle of the top edges of the words that are long enough to have a clear one. It is taken
    from the nearest quarter turn of them all, so a page that lies on its side or its head comes out upright, too.
    """
    items = [(text, list(quad)) for text, quad in items]
    angles = []
    for _, ((x1, y1), (x2, y2), _, (x4, y4)) in items:
        width, height = math.hypot(x2 - x1, y2 - y1), math.hypot(x4 - x1, y4 - y1)
        if width > 1.5 * max(height, 1):
            angles.append(math.atan2(y2 - y1, x2 - x1))
    quarter = math.pi / 2
    turn = quarter * round(math.atan2(sum(map(math.sin, angles)), sum(map(math.cos, angles))) / quarter)
    skew = turn + median(math.remainder(a - turn, 2 * math.pi) for a in angles) if angles else 0.0
    cos, sin = math.cos(-skew), math.sin(-skew)
    words = []
    for text, quad in items:
        turned = [(x * cos - y * sin, x * sin + y * cos) for x, y in quad]
        xs, ys = [x for x, _ in turned], [y for _, y in turned]
        words.append(Word(text, (min(xs), min(ys), max(xs), max(ys)), page))
    return words


def rows(words: Sequence[Word]) -> list[list[int]]:
    """Indices of the words, row by row from the top, each row from the left.

    A word joins the nearest of the last rows whose vertical center is within half the smaller height.
    """
    order = sorted(range(len(words)), key=lambda i: (_center(words[i]), words[i].box[0]))
    found: list[dict] = []
    for i in order:
        center, height = _center(words[i]), words[i].box[3] - words[i].box[1]
        near = [r for r in found[-4:] if abs(r["center"] - center) <= 0.5 * min(r["height"], height)]
        if near:
            row = min(near, key=lambda r: abs(r["center"] - center))
            row["members"].append(i)
            row["center"] += (center - row["center"]) / len(row["members"])
            bisect.insort(row["heights"], height)
            middle = len(row["heights"]) // 2
            row["height"] = (row["heights"][middle] + row["heights"][~middle]) / 2  # the median
        else:
            found.append({"center": center, "height": height, "heights": [height], "members": [i]})
    found.sort(key=lambda r: r["center"])
    return [sorted(r["members"], key=lambda i: words[i].box[0]) for r in found]


def _center(word: Word) -> float:
    return (word.box[1] + word.box[3]) / 2


def layout(words: Sequence[Word]) -> Layout:
    """The words of one page as text in which columns stay columns.

    Horizontal positions become character columns by one width for the whole page, and words are padded with spaces
    to their column. The width is that of a narrow character (lower quartile, but at least 1/120 of the page): with a
    wider one, rows of narrow print would run over their columns. Words that nearly touch are one phrase: one blank.
    """
    words = [Word(" ".join(w.text.split()), w.box, w.page) for w in words if w.text.strip()]
    if not words:
        return Layout("", [], [])
    left = min(w.box[0] for w in words)
    page_width = max(w.box[2] for w in words) - left
    widths = sorted((w.box[2] - w.box[0]) / len(w.text) for w in words)
    character = max(widths[len(widths) // 4], page_width / 120, 1e-6)
    spans: list[tuple[int, int]] = [(0, 0)] * len(words)
    lines, offset = [], 0
    for row in rows(words):
        line, right = "", left
        for i in row:
            box = words[i].box
            gap = round((box[0] - left) / character) - len(line)
            if line and (gap < 1 or box[0] - right < 0.6 * (box[3] - box[1])):
                gap = 1
            line += " " * gap
            spans[i] = (offset + len(line), offset + len(line) + len(words[i].text))
            line += words[i].text
            right = box[2]
        lines.append(line)
        offset += len(line) + 1
    return Layout("\n".join(lines), list(words), spans)


def prose(text: str) -> str:
    """Running text without its layout: runs of blanks become one, more than one empty line becomes one."""
    text = re.sub(r"[^\S\n]+", " ", text.replace("\r\n", "\n").replace("\r", "\n"))
    return re.sub(r" ?\n ?", "\n", re.sub(r"\n(?: ?\n)+", "\n\n", text)).strip()


def windows(text: str, chars: int, overlap: int) -> list[tuple[int, int]]:
    """`[start, end)` of overlapping windows of at most `chars` characters that cover the text.

    A window ends, if it can, at the end of a paragraph, else a sentence, else a word, of its last third.
    """
    found, start = [], 0
    while True:
        end = min(start + chars, len(text))
        if end < len(text):
            floor = start + chars * 2 // 3
            for mark in ("\n\n", ". ", "\n", " "):
                cut = text.rfind(mark, floor, end)
                if cut > 0:
                    end = cut + len(mark)
                    break
        found.append((start, end))
        if end == len(text):
            return found
        after = max(end - overlap, start + 1)
        blank = re.search(r"\s", text[after:end])
        start = after + blank.end() if blank and after + blank.end() < end else after


def best_window(text: str, question: str, chars: int, overlap: int) -> str:
    """The window of a long text that shares the most, and the rarest, words with a question."""
    spans = windows(text, chars, overlap)
    bags = [set(re.findall(r"\w+", text[a:b].casefold())) for a, b in spans]
    asked = set(re.findall(r"\w+", question.casefold()))
    weight = {w: math.log(1 + len(bags) / (1 + sum(w in bag for bag in bags))) for w in asked}
    scores = [sum(weight[w] for w in asked if w in bag) for bag in bags]
    a, b = spans[scores.index(max(scores))]
    return text[a:b]


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
            readers.append(message["reader"])
            engine = engine or message["ocr"]
            layouts.append(page_layout(message["words"], message["page"]))
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


def page_layout(items: Iterable[tuple[str, Quad]], page: int = 1) -> Layout:
    """The layout of a page's words once its skew is taken out; the boxes stay where the words stand on the page."""
    items = [(text, quad) for text, quad in items if text.strip()]
    laid = layout(words_from_quads(items, page))
    boxes = []
    for _, quad in items:
        xs, ys = [x for x, _ in quad], [y for _, y in quad]
        boxes.append((min(xs), min(ys), max(xs), max(ys)))
    return replace(laid, words=[replace(word, box=box) for word, box in zip(laid.words, boxes, strict=True)])


def _joined(layouts: list[Layout], **rest: Any) -> Document:
    """Pages one below the other, an empty line between them."""
    text, words, spans = "", [], []
    for page in layouts:
        start = len(text) + 2 if text else 0
        text = f"{text}\n\n{page.text}" if text else page.text
        words += page.words
        spans += [(a + start, b + start) for a, b in page.spans]
    return Document(text, words=words, spans=spans, **rest)
