"""A file, or words and boxes, -> the text that a prompt contains.

One layout for all: gold OCR words, OCR of a photo and the text layer of a PDF go through the same `layout`, so a model
meets in use what it was trained on.
"""

from __future__ import annotations

import io
import math
import re
import threading
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels (OCR) or points (PDF)
Quad = Sequence[tuple[float, float]]  # four corners, from top left clockwise


class DocumentError(ValueError):
    """A document that cannot be read; the message says why in one sentence."""


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
class Frame:
    """How a page was straightened before its boxes were taken: turned counterclockwise, then its skew taken out.

    To draw the boxes on the turned picture, rotate them clockwise by `skew` about the picture's top left corner.
    """

    turn: int = 0  # degrees, in steps of 90
    skew: float = 0.0  # degrees


@dataclass(frozen=True)
class Limits:
    """What is read at most. Every limit that bites is reported, never silent."""

    max_file_mb: float = 20.0
    max_pages: int = 20
    max_text_chars: int = 200_000
    max_image_pixels: int = 60_000_000


@dataclass(frozen=True)
class Document:
    """A document as it was read. `words` is empty where the format has no boxes (text, DOCX)."""

    text: str
    pages: int = 1
    pages_skipped: int = 0
    words: list[Word] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    reader: str = "text"
    frames: dict[int, Frame] = field(default_factory=dict)  # of pages that were turned or de-skewed


# --- words to text -------------------------------------------------------------------------------------------


def words_from_quads(items: Iterable[tuple[str, Quad]], page: int = 1) -> list[Word]:
    """Words with upright boxes from words with four corners: the page's skew is taken out of the coordinates first."""
    items = [(text, list(quad)) for text, quad in items]
    skew = skew_of(items)
    cos, sin = math.cos(-skew), math.sin(-skew)
    words = []
    for text, quad in items:
        turned = [(x * cos - y * sin, x * sin + y * cos) for x, y in quad]
        xs, ys = [x for x, _ in turned], [y for _, y in turned]
        words.append(Word(text, (min(xs), min(ys), max(xs), max(ys)), page))
    return words


def skew_of(items: Iterable[tuple[str, Quad]]) -> float:
    """The median angle, in radians, of the top edges of the words that are long enough to have a clear one."""
    angles = []
    for _, ((x1, y1), (x2, y2), _, (x4, y4)) in items:
        width, height = math.hypot(x2 - x1, y2 - y1), math.hypot(x4 - x1, y4 - y1)
        if width > 1.5 * max(height, 1):
            angles.append(math.atan2(y2 - y1, x2 - x1))
    return median(angles) if angles else 0.0


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


# --- files ---------------------------------------------------------------------------------------------------


def file_type(data: bytes) -> str | None:
    """`pdf`, `image`, `docx` or `text`, by the first bytes; None for other binary data."""
    head = data[:1024]
    if b"%PDF-" in head:
        return "pdf"
    if head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*", b"BM", b"GIF8")):
        return "image"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image"
    if head.startswith(b"PK"):
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as z:
                return "docx" if "word/document.xml" in z.namelist() else None
        except zipfile.BadZipFile:
            return None
    utf16 = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    return "text" if utf16 or b"\x00" not in head else None


def read(source: Path | bytes, limits: Limits | None = None) -> Document:
    """Read a PDF, image, DOCX or text. Raises DocumentError if that cannot be done."""
    limits = limits or Limits()
    if isinstance(source, Path):
        try:
            size = source.stat().st_size
            if size > limits.max_file_mb * 1e6:
                raise DocumentError(f"the file has {size / 1e6:.1f} MB; the limit is {limits.max_file_mb:g} MB")
            data = source.read_bytes()
        except OSError as error:
            raise DocumentError(f"cannot be opened: {error.strerror}") from error
    else:
        data = source
    if len(data) > limits.max_file_mb * 1e6:
        raise DocumentError(f"the file has {len(data) / 1e6:.1f} MB; the limit is {limits.max_file_mb:g} MB")
    if not data.strip():
        raise DocumentError("the file is empty")
    readers = {"pdf": _read_pdf, "image": _read_image, "docx": _read_docx, "text": _read_text}
    kind = file_type(data)
    if kind is None:
        raise DocumentError("not a PDF, image, DOCX or text file")
    document = readers[kind](data, limits)
    if not document.text.strip():
        raise DocumentError("no text was found in it")
    if len(document.text) > limits.max_text_chars:
        kept = limits.max_text_chars
        note = f"the text has {len(document.text):,} characters; only the first {kept:,} were read"
        inside = [i for i, (_, end) in enumerate(document.spans) if end <= kept]
        return Document(
            document.text[:kept],
            document.pages,
            document.pages_skipped,
            [document.words[i] for i in inside],
            [document.spans[i] for i in inside],
            [*document.problems, note],
            document.reader,
            document.frames,
        )
    return document


def _joined(layouts: list[Layout], **rest: Any) -> Document:
    """Pages one below the other, an empty line between them."""
    text, words, spans = "", [], []
    for page in layouts:
        start = len(text) + 2 if text else 0
        text = f"{text}\n\n{page.text}" if text else page.text
        words += page.words
        spans += [(a + start, b + start) for a, b in page.spans]
    return Document(text, words=words, spans=spans, **rest)


# PDFium is not thread-safe, not even across documents: one lock around every use.
_PDFIUM = threading.Lock()


def _read_pdf(data: bytes, limits: Limits) -> Document:
    import pypdfium2

    data = data[data.find(b"%PDF-") :]
    with _PDFIUM:
        try:
            pdf = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            encrypted = "password" in str(error).lower()
            raise DocumentError("the PDF is protected by a password" if encrypted else "the PDF is broken") from error
        try:
            count = len(pdf)
            if not count:
                raise DocumentError("the PDF has no pages")
            read = [_pdf_page(pdf, i) for i in range(min(count, limits.max_pages))]
        except pypdfium2.PdfiumError as error:
            raise DocumentError("the PDF is broken") from error
        finally:
            pdf.close()
    pages, frames = [], {}
    for number, (scanned, page) in enumerate(read, 1):
        if scanned:
            page, frames[number] = _ocr(page, number)
        pages.append(layout(page))
    used_ocr = any(scanned for scanned, _ in read)
    skipped = count - len(read)
    problems = [f"only the first {len(read)} of {count} pages were read"] if skipped else []
    reader = "pdf text and ocr" if used_ocr and not all(s for s, _ in read) else "ocr" if used_ocr else "pdf text"
    return _joined(pages, pages=count, pages_skipped=skipped, problems=problems, reader=reader, frames=frames)


def _pdf_page(pdf: Any, index: int) -> tuple[bool, Any]:
    """`(False, words)` of a page with a text layer, `(True, picture)` of one that needs OCR."""
    from pypdfium2 import raw

    page = pdf[index]
    words = _pdf_words(page, index + 1)
    characters = "".join(w.text for w in words)
    bad = sum(c == "\ufffd" or 0xE000 <= ord(c) <= 0xF8FF or ord(c) < 32 for c in characters)
    width, height = page.get_size()
    image_share = 0.0
    hidden = visible = paths = 0
    for item in page.get_objects(max_depth=4):
        if item.type == raw.FPDF_PAGEOBJ_IMAGE:
            left, bottom, right, top = item.get_bounds()
            image_share = max(image_share, (right - left) * (top - bottom) / max(width * height, 1))
        elif item.type == raw.FPDF_PAGEOBJ_TEXT:
            invisible = raw.FPDFTextObj_GetTextRenderMode(item.raw) == raw.FPDF_TEXTRENDERMODE_INVISIBLE
            hidden, visible = hidden + invisible, visible + (not invisible)
        elif item.type == raw.FPDF_PAGEOBJ_PATH:
            paths += 1
    garbled = len(characters) >= 30 and bad > 0.15 * len(characters)
    no_text = len(characters) < 15 and (image_share > 0.05 or paths > 20)
    stamp_on_scan = image_share >= 0.75 and len(characters) < 200 and hidden <= visible
    if not (garbled or no_text or stamp_on_scan):
        return False, words
    # The scale is bounded by the longer side, so that a page of any size makes a picture of bounded size.
    scale = min(200 / 72, 2000 / max(width, height, 1))
    return True, page.render(scale=scale).to_pil().convert("RGB")


def _pdf_words(page: Any, number: int) -> list[Word]:
    """Words and boxes of a PDF page: characters joined until a blank, a line break or a gap."""
    textpage = page.get_textpage()
    height = page.get_height()
    words: list[Word] = []
    text, box = "", None
    for i, char in enumerate(textpage.get_text_range()[: textpage.count_chars()]):
        left, bottom, right, top = textpage.get_charbox(i, loose=True)
        here = (left, height - top, right, height - bottom)
        apart = box is not None and (
            here[0] - box[2] > 0.3 * (box[3] - box[1]) or here[0] < box[0] or here[1] > box[3] or here[3] < box[1]
        )
        if char.isspace() or apart:
            if text:
                words.append(Word(text, box, number))
            text, box = "", None
        if not char.isspace() and char not in "\x02\xad":
            text += char
            grown = (
                (min(box[0], here[0]), min(box[1], here[1]), max(box[2], here[2]), max(box[3], here[3]))
                if box
                else here
            )
            box = grown
    if text:
        words.append(Word(text, box, number))
    textpage.close()
    return words


def _read_image(data: bytes, limits: Limits) -> Document:
    from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > limits.max_image_pixels:
                size = f"{image.width} x {image.height}"
                raise DocumentError(f"the image has {size} pixels; the limit is {limits.max_image_pixels:,}")
            count = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
            image.draft("RGB", (3000, 3000))  # a JPEG is decoded at a smaller size where that is enough
            frames = ImageSequence.Iterator(image) if count > 1 else [image]
            pages, turned = [], {}
            for number, frame in zip(range(1, limits.max_pages + 1), frames, strict=False):
                if frame.width * frame.height > limits.max_image_pixels:
                    raise DocumentError(f"page {number} has more than {limits.max_image_pixels:,} pixels")
                upright = ImageOps.exif_transpose(frame.convert("RGB") if count > 1 else frame).convert("RGB")
                upright.thumbnail((3000, 3000))
                words, turned[number] = _ocr(upright, number)
                pages.append(layout(words))
    except Image.DecompressionBombError as error:
        raise DocumentError(f"the image has more than {limits.max_image_pixels:,} pixels") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        if isinstance(error, DocumentError):
            raise
        raise DocumentError("the image is broken or of an unknown kind") from error
    skipped = count - len(pages)
    problems = [f"only the first {len(pages)} of {count} pages were read"] if skipped else []
    return _joined(pages, pages=count, pages_skipped=skipped, problems=problems, reader="ocr", frames=turned)


def _read_docx(data: bytes, limits: Limits) -> Document:
    import docx
    from docx.table import Table

    with zipfile.ZipFile(io.BytesIO(data)) as z:
        if sum(item.file_size for item in z.infolist()) > 5 * limits.max_file_mb * 1e6:
            raise DocumentError("the DOCX file unpacks to more than it may")
    try:
        opened = docx.Document(io.BytesIO(data))
        parts = [
            table([[cell.text for cell in row.cells] for row in block.rows]) if isinstance(block, Table) else block.text
            for block in opened.iter_inner_content()
        ]
    except Exception as error:  # python-docx lets errors of zipfile, lxml and its own through
        raise DocumentError("the DOCX file is broken") from error
    return Document("\n".join(parts).strip(), reader="docx")


def _read_text(data: bytes, limits: Limits) -> Document:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        import charset_normalizer

        best = charset_normalizer.from_bytes(data).best()
        if best is None:
            raise DocumentError("the text is in no encoding that could be recognized") from None
        text = str(best)
    text = "".join(c for c in text.expandtabs() if c >= " " or c in "\n\r").replace("\r\n", "\n").replace("\r", "\n")
    return Document(text.strip("\n"), reader="text")


# --- pictures of pages ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Picture:
    """A page as it looks. `width` and `height` are the page's in the units of its words' boxes, not the image's."""

    image: Any
    width: float
    height: float


def render(source: Path, page: int, side: int, turn: int = 0) -> Picture | None:
    """The picture of a page, its longer side `side` pixels at most; None of a format that has no pages (text, DOCX).

    `turn` is that of the frame of the page. For documents that `read` accepted; DocumentError if the file is gone.
    """
    try:
        data = source.read_bytes()
    except OSError as error:
        raise DocumentError(f"cannot be opened: {error.strerror}") from error
    kind = file_type(data)
    if kind == "pdf":
        import pypdfium2

        with _PDFIUM, pypdfium2.PdfDocument(data[data.find(b"%PDF-") :]) as pdf:
            scanned, picture = _pdf_page(pdf, page - 1)  # OCR has its boxes in pixels of this picture
            width, height = picture.size if scanned else pdf[page - 1].get_size()
            if not scanned:
                picture = pdf[page - 1].render(scale=side / max(width, height)).to_pil().convert("RGB")
    elif kind == "image":
        from PIL import Image, ImageOps

        with Image.open(io.BytesIO(data)) as image:
            image.draft("RGB", (3000, 3000))
            if page > 1:
                image.seek(page - 1)
            picture = ImageOps.exif_transpose(image).convert("RGB")
        picture.thumbnail((3000, 3000))  # as it was read
        width, height = picture.size
    else:
        return None
    picture.thumbnail((side, side))
    if turn % 180:
        width, height = height, width
    return Picture(picture.rotate(turn, expand=True), width, height)


# --- OCR -----------------------------------------------------------------------------------------------------

_OCR = threading.Lock()
PRINT_SCORE = 0.8  # lines below it are smudges and handwriting rather than print


@lru_cache(maxsize=1)
def _engine() -> Any:
    from rapidocr import RapidOCR

    return RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.use_cls": False,  # the 180-degree classifier turns short lines of upright pages around
            "Global.return_word_box": False,
            "Det.limit_type": "max",
            "Det.limit_side_len": 1600,
            "EngineConfig.onnxruntime.intra_op_num_threads": 2,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )


def _ocr(image: Any, page: int) -> tuple[list[Word], Frame]:
    """Words and boxes of a picture by RapidOCR; a page that lies on its side or its head is turned first."""
    turn = 0
    lines = _recognize(image)
    tall = [abs(q[3][1] - q[0][1]) > 1.5 * abs(q[1][0] - q[0][0]) for _, q, _ in lines]
    if tall and sum(tall) > 0.5 * len(tall):
        turn = 90
        image = image.rotate(90, expand=True)
        lines = _recognize(image)
    if lines and _mean_score(lines) < 0.85:
        turned = _recognize(image.rotate(180, expand=True))
        if turned and _mean_score(turned) > _mean_score(lines):
            turn, lines = turn + 180, turned
    printed = [(text, quad) for text, quad, score in lines if score >= PRINT_SCORE]
    pieces = [piece for text, quad in printed for piece in _split(text, quad)]
    return words_from_quads(pieces, page), Frame(turn, math.degrees(skew_of(pieces)))


def _recognize(image: Any) -> list[tuple[str, Quad, float]]:
    """Lines of text with their corners and the engine's score."""
    import numpy

    with _OCR:
        result = _engine()(numpy.asarray(image)[:, :, ::-1])  # the engine reads BGR
    if result.boxes is None:
        return []
    quads = [[(float(x), float(y)) for x, y in box] for box in result.boxes]
    return list(zip(result.txts, quads, map(float, result.scores), strict=True))


def _mean_score(lines: list[tuple[str, Quad, float]]) -> float:
    return sum(score for _, _, score in lines) / len(lines)


def _split(text: str, quad: Quad) -> list[tuple[str, Quad]]:
    """The words of a recognized line, each with its share of the line's box by characters."""
    top_left, top_right, bottom_right, bottom_left = quad

    def between(a: tuple[float, float], b: tuple[float, float], share: float) -> tuple[float, float]:
        return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share

    pieces = []
    for match in re.finditer(r"\S+", text):
        start, end = match.start() / len(text), match.end() / len(text)
        corners = [
            between(top_left, top_right, start),
            between(top_left, top_right, end),
            between(bottom_left, bottom_right, end),
            between(bottom_left, bottom_right, start),
        ]
        pieces.append((match.group(), corners))
    return pieces
