"""A file, or words and boxes, -> the text that a prompt contains.

One layout for all: gold OCR words, OCR of a photo and the text layer of a PDF go through the same `layout`, so a model
meets in use what it was trained on. PDF and images are read by `extraction.worker`, in a process of its own.
"""

from __future__ import annotations

import codecs
import io
import math
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from extraction import worker
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
            row["height"] = median(words[j].box[3] - words[j].box[1] for j in row["members"])
        else:
            found.append({"center": center, "height": height, "members": [i]})
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


def table(cells: Sequence[Sequence[str]]) -> str:
    """Rows of cells as text with aligned columns, for data that has a table and no boxes."""
    width = max((len(row) for row in cells), default=0)
    grid = [[" ".join(str(c).split()) for c in row] + [""] * (width - len(row)) for row in cells]
    widths = [max((len(row[i]) for row in grid), default=0) for i in range(width)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in grid)


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
    if head.startswith(b"PK"):
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as z:
                return "docx" if "word/document.xml" in z.namelist() else None
        except zipfile.BadZipFile:
            return None
    if head.startswith(b"{\\rtf"):
        return None
    return "text" if b"\x00" not in head or _unicode(head) else None


def _unicode(head: bytes) -> str | None:
    """UTF-16 or UTF-32, by its mark at the start, or by the zeros of Latin letters in every second place."""
    for name, mark in (("utf-32", codecs.BOM_UTF32_LE), ("utf-32", codecs.BOM_UTF32_BE)):
        if head.startswith(mark):
            return name
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if min(even, odd) == 0 and max(even, odd) > 0.15 * len(head):
        name = "utf-16-le" if odd else "utf-16-be"
        text = head[: len(head) // 2 * 2].decode(name, "replace")
        return name if all(c.isprintable() or c.isspace() for c in text) else None
    return None


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
    if kind == "docx":
        document = _read_docx(data, limits)
    elif kind == "text":
        document = _read_text(data)
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
            size = source.stat().st_size
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


def _read_docx(data: bytes, limits: Limits) -> Document:
    """Headers, body and footers in reading order: paragraphs, tables, text boxes, and what stands in form fields."""
    import docx

    with zipfile.ZipFile(io.BytesIO(data)) as z:
        if sum(item.file_size for item in z.infolist()) > 5 * limits.max_file_mb * 1e6:
            raise DocumentError("the DOCX file unpacks to more than it may")
    try:
        opened = docx.Document(io.BytesIO(data))
        headers, footers = [], []
        for section in opened.sections:
            first = section.different_first_page_header_footer
            for kept, parts in (
                (headers, [section.first_page_header] * first + [section.header]),
                (footers, [section.first_page_footer] * first + [section.footer]),
            ):
                texts = ["\n".join(_docx_blocks(part._element)) for part in parts if not part.is_linked_to_previous]
                kept += [text for text in texts if text.strip() and text not in kept]
        blocks = [*headers, *_docx_blocks(opened.element.body), *footers]
    except Exception as error:  # python-docx lets errors of zipfile, lxml and its own through
        raise DocumentError("the DOCX file is broken") from error
    return Document("\n".join(blocks).strip(), reader="docx")


_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_DOCX_SIGNS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_DOCX_UNSEEN = {f"{_W}{name}" for name in ("del", "moveFrom", "instrText", "delText", "pPr", "rPr")}
_DOCX_UNSEEN.add("{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback")  # a text box once more


def _docx_blocks(parent: Any) -> Iterator[str]:
    """The text of each paragraph and table below an element, whatever the elements between them are."""
    for element in parent:
        if element.tag == f"{_W}p":
            boxes: list[Any] = []
            text = "".join(_docx_inline(element, boxes)).strip("\n")
            if text.strip() or not boxes:
                yield text
            for box in boxes:
                yield from _docx_blocks(box)
        elif element.tag == f"{_W}tbl":
            cells = []
            for row in element.iter(f"{_W}tr"):
                if next(row.iterancestors(f"{_W}tbl")) is element:  # not of a table within a cell
                    found = (c for c in row.iter(f"{_W}tc") if next(c.iterancestors(f"{_W}tr")) is row)
                    cells.append(["\n".join(_docx_blocks(cell)) for cell in found])
            yield table(cells)
        elif element.tag not in _DOCX_UNSEEN and isinstance(element.tag, str):
            yield from _docx_blocks(element)


def _docx_inline(parent: Any, boxes: list[Any]) -> Iterator[str]:
    """The text of a paragraph as it is seen, deletions and field codes left out; its text boxes go into `boxes`."""
    for element in parent:
        name = element.tag.removeprefix(_W) if isinstance(element.tag, str) else ""
        if element.tag in _DOCX_UNSEEN:
            continue
        if name == "txbxContent":
            boxes.append(element)
        elif name == "t":
            yield element.text or ""
        elif name in _DOCX_SIGNS:
            yield _DOCX_SIGNS[name]
        else:
            yield from _docx_inline(element, boxes)


def _read_text(data: bytes) -> Document:
    text = _decoded(data)
    text = "".join(c for c in text.expandtabs() if c >= " " or c in "\n\r").replace("\r\n", "\n").replace("\r", "\n")
    return Document(text.strip("\n"), reader="text")


_UNICODE = ["utf_7", "utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be"]
_USUAL = ("cp1252", "cp1250", "iso8859_2", "cp1251")


def _decoded(data: bytes) -> str:
    for encoding in (_unicode(data[:1024]), "utf-8-sig"):
        try:
            if encoding:
                return data.decode(encoding).removeprefix("\ufeff")
        except UnicodeDecodeError:
            continue
    import charset_normalizer

    matches = charset_normalizer.from_bytes(data, cp_exclusion=_UNICODE)
    best = matches.best()
    if best is None:
        raise DocumentError("the text is in no encoding that could be recognized")
    # A few letters can be right in many encodings: of those that fit as well, the most usual one is taken.
    ties = [m for m in matches if (m.chaos, m.coherence) == (best.chaos, best.coherence)]
    fitting = {name for match in ties for name in match.could_be_from_charset}
    return next((data.decode(name) for name in _USUAL if name in fitting), str(best))
