"""A PDF -> the words of its pages with their corners, or a picture where a page has to be read by OCR."""

from __future__ import annotations

import io
import math
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from extraction.reading.limits import DocumentError
from extraction.reading.ocr import Quad

# PDFium is not thread-safe, not even across documents: one lock for as long as one is open.
_PDFIUM = threading.Lock()
REPAIRED = "the PDF was damaged and has been repaired; parts of it may be missing"


@contextmanager
def opened(data: bytes) -> Iterator[tuple[Any, list[str]]]:
    """The document and what is to be said about it. A broken one is repaired if that can be done."""
    import pypdfium2

    problems = []
    with _PDFIUM:
        try:
            pdf = pypdfium2.PdfDocument(data[data.find(b"%PDF-") :])
        except pypdfium2.PdfiumError as error:
            if "password" in str(error).lower():
                raise DocumentError("the PDF is protected by a password") from error
            try:
                pdf = pypdfium2.PdfDocument(_repaired(data))
            except pypdfium2.PdfiumError:
                raise DocumentError("the PDF is broken") from error
            problems.append(REPAIRED)
        try:
            if not len(pdf):
                raise DocumentError("the PDF is broken" if problems else "the PDF has no pages")
            pdf.init_forms()  # so that what was filled into a form is drawn
            yield pdf, problems
        finally:
            pdf.close()


def _repaired(data: bytes) -> bytes:
    try:
        import pikepdf
    except ImportError as error:
        raise DocumentError("the PDF is broken; pip install pikepdf might repair it") from error
    buffer = io.BytesIO()
    try:
        with pikepdf.open(io.BytesIO(data)) as pdf:
            pdf.save(buffer)
    except pikepdf.PasswordError as error:
        raise DocumentError("the PDF is protected by a password") from error
    except (pikepdf.PdfError, ValueError) as error:
        raise DocumentError("the PDF is broken") from error
    return buffer.getvalue()


def page(pdf: Any, number: int, most: int) -> tuple[list[tuple[str, Quad]], bool, int]:
    """The words of a page's text layer, whether it should be read by OCR instead, and how many characters it has.

    Words beyond the first `most` characters are left out.

    It should if the layer is garbled or as good as empty, is a stamp on a scan, or is the hidden work of another OCR.
    """
    from pypdfium2 import raw

    opened_page = pdf[number - 1]
    if raw.FPDFPage_Flatten(opened_page, raw.FLAT_NORMALDISPLAY) == raw.FLATTEN_SUCCESS:
        opened_page = pdf[number - 1]  # what was filled into a form is text of the page now
    words, count = _words(opened_page, most)
    characters = "".join(text for text, _ in words)
    bad = sum(c == "\ufffd" or unicodedata.category(c) in ("Co", "Cn", "Cc") for c in characters)
    width, height = opened_page.get_size()
    image_share = 0.0
    hidden = visible = paths = 0
    for item in opened_page.get_objects(max_depth=4):
        if item.type == raw.FPDF_PAGEOBJ_IMAGE:
            left, bottom, right, top = item.get_bounds()
            image_share = max(image_share, (right - left) * (top - bottom) / max(width * height, 1))
        elif item.type == raw.FPDF_PAGEOBJ_TEXT:
            invisible = raw.FPDFTextObj_GetTextRenderMode(item.raw) == raw.FPDF_TEXTRENDERMODE_INVISIBLE
            hidden, visible = hidden + invisible, visible + (not invisible)
        elif item.type == raw.FPDF_PAGEOBJ_PATH:
            paths += 1
    garbled = len(characters) >= 30 and bad > 0.15 * len(characters)
    no_text = len(characters) < 15 and (image_share > 0.05 or paths > 20)  # outlined letters are paths
    stamp_on_scan = image_share >= 0.75 and len(characters) < 200 and hidden <= visible
    hidden_layer = image_share >= 0.75 and hidden > visible
    return words, garbled or no_text or stamp_on_scan or hidden_layer, count


def picture(pdf: Any, number: int, side: float, dots: float = math.inf) -> Any:
    """The page as an image with `side` pixels on its longer side, or fewer if that is more than `dots` an inch."""
    opened_page = pdf[number - 1]
    # The longer side bounds the scale, so that a page of any size makes a picture of bounded size.
    scale = min(dots / 72, side / max(*opened_page.get_size(), 1))
    return opened_page.render(scale=scale).to_pil().convert("RGB")


SEEN_CONTRAST = 24  # of 255, between the lightest and the darkest dot of a word that a reader can see
SEEN_HEIGHT = 2.0  # points; print that is smaller is too small to see, unless the whole page is


def unseen(pdf: Any, number: int, words: list[tuple[str, Quad]]) -> list[int]:
    """Indices of the words that leave no ink on the page: invisible, in the color of what is behind them or covered,
    off the page, or too small to see. A word over a picture, as in the text layer of a scan, has the picture's ink."""
    import numpy

    image = picture(pdf, number, 1200, dots=100)
    width, height = pdf[number - 1].get_size()
    scale = image.width / max(width, 1)
    smallest = min(SEEN_HEIGHT, max(width, height) / 300)
    dots, found = numpy.asarray(image.convert("L")).astype(int), []
    for i, (text, quad) in enumerate(words):
        (left, right), (top, bottom) = ((min(c), max(c)) for c in zip(*quad, strict=True))
        # Half of the height of the print stays: the ink of the rows beside it is not that of this word.
        if abs(quad[0][1] - quad[1][1]) < abs(quad[0][0] - quad[1][0]):
            top, bottom = top + (bottom - top) / 4, bottom - (bottom - top) / 4
        else:
            left, right = left + (right - left) / 4, right - (right - left) / 4
        (x1, x2), (y1, y2) = ((max(0, int(c * scale)) for c in side) for side in ((left, right), (top, bottom)))
        box = dots[y1 : y2 + 1, x1 : x2 + 1]
        ink = box.max() - box.min() if box.size else 0
        if any(map(str.isalnum, text)) and (ink < SEEN_CONTRAST or math.dist(quad[0], quad[3]) < smallest):
            found.append(i)
    return found


def _words(opened_page: Any, most: int) -> tuple[list[tuple[str, Quad]], int]:
    """Characters joined until a blank, a line break, a gap or a turn; corners in points from the page's top left."""
    from pypdfium2 import raw

    textpage = opened_page.get_textpage()
    place = _placing(opened_page)
    words: list[tuple[str, Quad]] = []
    text, box, quarter = "", None, 0

    def end_word() -> None:
        nonlocal text, box
        if text:
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
            left, top, right, bottom = box
            corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
            words.append((text, [_turned(x, y, quarter) for x, y in corners]))
        text, box = "", None

    count = textpage.count_chars()
    for i in range(min(count, most)):
        char = chr(raw.FPDFText_GetUnicode(textpage, i))
        if char.isspace() or char in "\x00\xad":
            if char.isspace():
                end_word()
            continue
        if char in "\x02\ufffe":  # PDFium's sign for a hyphen at the end of a line
            char = "-"
        elif "\ufb00" <= char <= "\ufb06":  # fi, fl and the like as one character
            char = unicodedata.normalize("NFKC", char)
        left, bottom, right, top = textpage.get_charbox(i, loose=True)
        corners = [place(left, bottom), place(right, top)]
        direction = (
            round(raw.FPDFText_GetCharAngle(textpage, i) / (math.pi / 2)) + opened_page.get_rotation() // 90
        ) % 4
        (x1, y1), (x2, y2) = (_turned(x, y, -direction) for x, y in corners)
        here = min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
        if box and (
            direction != quarter
            or here[0] - box[2] > 0.3 * (box[3] - box[1])
            or here[0] < box[0]
            or here[1] > box[3]
            or here[3] < box[1]
        ):
            end_word()
        text, quarter = text + char, direction
        box = (min(box[0], here[0]), min(box[1], here[1]), max(box[2], here[2]), max(box[3], here[3])) if box else here
    end_word()
    textpage.close()
    return words, count


def _turned(x: float, y: float, quarters: int) -> tuple[float, float]:
    """A point turned clockwise about the top left corner by so many quarters."""
    return [(x, y), (-y, x), (-x, -y), (y, -x)][quarters % 4]


def _placing(opened_page: Any) -> Any:
    """The function from PDF coordinates to points from the top left of the page as it is shown, cropped and turned."""
    left, bottom, right, top = opened_page.get_bbox()
    return {
        0: lambda x, y: (x - left, top - y),
        90: lambda x, y: (y - bottom, x - left),
        180: lambda x, y: (right - x, y - bottom),
        270: lambda x, y: (top - y, right - x),
    }[opened_page.get_rotation()]
