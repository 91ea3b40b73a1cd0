"""What is to be read of a PDF page, and how: which words of its text layer count, and which parts need OCR.

Much of it is decided by looking: PDFium draws the page, and what the text layer claims is compared with the ink.
"""

from __future__ import annotations

import ctypes
import math
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from extraction.files import quoted
from extraction.reading import pdf_fonts, pdf_text
from extraction.reading.pdf import picture
from extraction.reading.words import Box, Word

WHOLE = 0.5  # of a page: where parts for OCR take more, all of it is read
MANY = 6  # parts, from where all of the page is read in one
PRINT = (3.0, 60.0)  # points: the height of letters that are drawn as shapes
TICKED, UNTICKED = "☒", "☐"
SEEN_CONTRAST = 24  # of 255, between the lightest and the darkest dot of a word that a reader can see
SEEN_HEIGHT = 2.0  # points; print that is smaller is too small to see, unless the whole page is


@dataclass
class Plan:
    """`words` are read from the text layer, `parts` (boxes in points) by OCR.

    `behind` are words that OCR reads better, `invisible` the work of another OCR on a picture, and `unseen` words that
    leave no ink: they serve if OCR reads nothing.
    `doubtful` are words, by their font, that look otherwise than they claim: OCR of a few of them decides.
    """

    size: tuple[float, float]
    characters: int
    words: list[Word] = field(default_factory=list)
    parts: list[Box] = field(default_factory=list)
    behind: list[Word] = field(default_factory=list)
    invisible: list[Word] = field(default_factory=list)
    unseen: list[Word] = field(default_factory=list)
    doubtful: dict[Any, list[Word]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def read_all(self) -> None:
        self.parts = [(0.0, 0.0, *self.size)]

    @property
    def all_by_ocr(self) -> bool:
        return self.parts == [(0.0, 0.0, *self.size)]


@dataclass(frozen=True)
class Print:
    """A word of the text layer with its font and whether it is drawn at all."""

    word: Word
    piece: pdf_text.Piece
    font: int
    invisible: bool


def plan(pdf: Any, number: int, most: int) -> Plan:
    """What to read of a page. Words beyond the first `most` characters are left out."""
    from pypdfium2 import raw

    page = pdf[number - 1]
    ticks, notes = _annotations(pdf, page)
    if raw.FPDFPage_Flatten(page, raw.FLAT_NORMALDISPLAY) == raw.FLATTEN_SUCCESS:
        page = pdf[number - 1]  # what was filled into a form is text of the page now
    textpage = page.get_textpage()
    printed = _layer(page, textpage, most)
    found = Plan(page.get_size(), textpage.count_chars())
    found.parts, drawings = _parts(page, [print_.word.box for print_ in printed])
    printed = [p for p in printed if len(p.word.text) > 2 or not any(inside(p.word.box, tick.box) for tick in ticks)]
    _judge(found, printed, textpage, number, math.radians(page.get_rotation()))
    textpage.close()
    if not printed and not ticks and (found.parts or drawings > 20):  # print may be drawn in a way of its own
        found.read_all()
    _leave_out_unseen(found, pdf, number)
    found.words += ticks
    text = "".join("".join(print_.word.text for print_ in printed).split())
    for note in notes:
        if "".join(note.split()) not in text:
            found.problems.append(f"page {number}: a note that is not part of the print was left out: {quoted(note)}")
    return found


def _judge(found: Plan, printed: list[Print], textpage: Any, number: int, turn: float) -> None:
    """Which words of the layer count: those that are drawn, in a font whose characters are what they claim to be."""
    odd = "".join(print_.word.text for print_ in printed)
    garbled = len(odd) >= 30 and sum(map(_is_odd, odd)) > 0.15 * len(odd)
    fonts: dict[int, list[Print]] = {}
    for print_ in printed:
        if print_.invisible and any(inside(print_.word.box, part) for part in found.parts):
            found.invisible.append(print_.word)
        else:
            fonts.setdefault(print_.font, []).append(print_)
    for font, members in fonts.items():
        words = [print_.word for print_ in members]
        unknown = sum(len(w.text) for w in words if len(w.text) > 1 and 2 * sum(map(_is_odd, w.text)) > len(w.text))
        if garbled or unknown >= 3:
            found.behind += words
            found.read_all()
            found.problems.append(f"page {number}: the text layer has characters without a meaning; it was read by OCR")
        elif pdf_fonts.looks_wrong(textpage, [print_.piece for print_ in members], turn):
            found.doubtful[font] = words
        else:
            found.words += words
    over = [word for word in found.words if any(inside(word.box, part) for part in found.parts)]
    if sum(len(word.text) for word in over) >= 200 and found.all_by_ocr:  # perhaps the work of another OCR
        found.doubtful[number, "over a picture"] = over
        found.words = [word for word in found.words if word not in over]


def _is_odd(char: str) -> bool:
    return char == "\ufffd" or unicodedata.category(char) in ("Co", "Cn", "Cc")


def inside(box: Box, around: Box) -> bool:
    """Whether the middle of a box is in another."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return around[0] <= x <= around[2] and around[1] <= y <= around[3]


# --- the text layer ------------------------------------------------------------------------------------------


def _layer(page: Any, textpage: Any, most: int) -> list[Print]:
    from pypdfium2 import raw

    found = []
    for piece in pdf_text.pieces(page, textpage, most):
        drawn = raw.FPDFText_GetTextObject(textpage, piece.indices[0])
        font = ctypes.cast(raw.FPDFTextObj_GetFont(drawn), ctypes.c_void_p).value or 0
        invisible = raw.FPDFTextObj_GetTextRenderMode(drawn) == raw.FPDF_TEXTRENDERMODE_INVISIBLE
        found.append(Print(piece.word(), piece, font, invisible))
    return found


def _leave_out_unseen(found: Plan, pdf: Any, number: int) -> None:
    """Words without ink do not count. If they are most of the page, its print is something else, for OCR to read."""
    hidden = unseen(pdf, number, found.words)
    if not hidden:
        return
    found.unseen = [word for i, word in enumerate(found.words) if i in hidden]
    found.words = [word for i, word in enumerate(found.words) if i not in hidden]
    if len(found.unseen) > len(found.words):
        found.read_all()
    else:
        found.problems.append(unseen_note(number, found.unseen, "was left out"))
        found.unseen = []


def unseen_note(number: int, words: Iterable[Word], what: str) -> str:
    return f"page {number}: text that cannot be seen on it {what}: {quoted(' '.join(word.text for word in words))}"


def unseen(pdf: Any, number: int, words: list[Word]) -> set[int]:
    """Indices of the words that leave no ink on the page: invisible, in the color of what is behind them or covered,
    off the page, or too small to see. A word over a picture, as in the text layer of a scan, has the picture's ink."""
    import numpy

    if not words:
        return set()
    image = picture(pdf, number, 1200, dots=100, grey=True)
    width, height = pdf[number - 1].get_size()
    scale = image.width / max(width, 1)
    smallest = min(SEEN_HEIGHT, max(width, height) / 300)
    dots, found = numpy.asarray(image).astype(numpy.int16), set()
    for i, word in enumerate(words):
        left, top, right, bottom = word.box
        # Half of the height of the print stays: the ink of the rows beside it is not that of this word.
        (x1, y1), (x2, y2), *_ = word.corners
        if abs(y1 - y2) < abs(x1 - x2):
            top, bottom = top + (bottom - top) / 4, bottom - (bottom - top) / 4
        else:
            left, right = left + (right - left) / 4, right - (right - left) / 4
        (x1, x2), (y1, y2) = ((max(0, int(c * scale)) for c in side) for side in ((left, right), (top, bottom)))
        box = dots[y1 : y2 + 1, x1 : x2 + 1]
        ink = box.max() - box.min() if box.size else 0
        if any(map(str.isalnum, word.text)) and (ink < SEEN_CONTRAST or word.height < smallest):
            found.add(i)
    return found


# --- pictures and drawn print --------------------------------------------------------------------------------


def _parts(page: Any, words: list[Box]) -> tuple[list[Box], int]:
    """The parts of a page that are pictures or letters drawn as shapes, and how many shapes it has."""
    from pypdfium2 import raw

    place = pdf_text.placing(page)
    width, height = page.get_size()
    boxes: list[Box] = []
    shapes: list[tuple[Box, int]] = []
    drawings = 0
    for item in page.get_objects(max_depth=6):
        if item.type == raw.FPDF_PAGEOBJ_PATH:
            drawings += 1
        if item.type not in (raw.FPDF_PAGEOBJ_IMAGE, raw.FPDF_PAGEOBJ_PATH) or drawings > 5000:
            continue
        left, bottom, right, top = _bounds(item)
        (x1, y1), (x2, y2) = place(left, bottom), place(right, top)
        box = max(min(x1, x2), 0), max(min(y1, y2), 0), min(max(x1, x2), width), min(max(y1, y2), height)
        across, down = box[2] - box[0], box[3] - box[1]
        if item.type == raw.FPDF_PAGEOBJ_IMAGE:
            if across > 12 and down > PRINT[0]:
                boxes.append(box)
        elif PRINT[0] < down < PRINT[1] and across > 0 and (segments := raw.FPDFPath_CountSegments(item)) >= 6:
            shapes.append((box, segments))
    if sum(segments for _, segments in shapes) >= 100:
        boxes += [box for box, _ in shapes if not any(inside(box, word) for word in words)]
    parts = _joined(boxes)
    if len(parts) > MANY or sum((b[2] - b[0]) * (b[3] - b[1]) for b in parts) > WHOLE * width * height:
        parts = [(0.0, 0.0, width, height)]
    return parts, drawings


def _bounds(item: Any) -> tuple[float, float, float, float]:
    """Left, bottom, right and top on the page; PDFium gives those of an object in a form within that form."""
    bounds, form = item.get_bounds(), item.container
    while form is not None:
        bounds, form = form.get_matrix().on_rect(*bounds), form.container
    return bounds


def _joined(boxes: list[Box], slack: float = 6.0) -> list[Box]:
    """Boxes that touch or nearly touch become one: strips of one scan, letters of one line."""
    parts: list[Box] = []
    for box in sorted(boxes, key=lambda b: (b[1], b[0])):
        grown = True
        while grown:
            grown = False
            for other in parts:
                apart = max(box[0] - other[2], other[0] - box[2], box[1] - other[3], other[1] - box[3])
                if apart <= slack:
                    parts.remove(other)
                    box = min(box[0], other[0]), min(box[1], other[1]), max(box[2], other[2]), max(box[3], other[3])
                    grown = True
                    break
        parts.append(box)
    return parts


# --- forms and notes -----------------------------------------------------------------------------------------


def _annotations(pdf: Any, page: Any) -> tuple[list[Word], list[str]]:
    """The page's check boxes and radio buttons as signs, and the texts of notes that have no appearance."""
    from pypdfium2 import raw

    place, ticks, notes = pdf_text.placing(page), [], []
    for annotation in _each_annotation(page):
        if raw.FPDFAnnot_GetFlags(annotation) & (raw.FPDF_ANNOT_FLAG_HIDDEN | raw.FPDF_ANNOT_FLAG_NOVIEW):
            continue
        kind = raw.FPDFAnnot_GetSubtype(annotation)
        field_type = raw.FPDFAnnot_GetFormFieldType(pdf.formenv, annotation) if kind == raw.FPDF_ANNOT_WIDGET else 0
        if field_type in (raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON):
            area = raw.FS_RECTF()
            raw.FPDFAnnot_GetRect(annotation, area)
            (x1, y1), (x2, y2) = place(area.left, area.bottom), place(area.right, area.top)
            sign = TICKED if raw.FPDFAnnot_IsChecked(pdf.formenv, annotation) else UNTICKED
            ticks.append(Word(sign, (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))))
        elif kind in (raw.FPDF_ANNOT_FREETEXT, raw.FPDF_ANNOT_TEXT, raw.FPDF_ANNOT_STAMP):
            notes.append(_string(raw.FPDFAnnot_GetStringValue, annotation, b"Contents"))
        elif field_type in (raw.FPDF_FORMFIELD_TEXTFIELD, raw.FPDF_FORMFIELD_COMBOBOX):
            notes.append(_string(raw.FPDFAnnot_GetFormFieldValue, pdf.formenv, annotation))
    return ticks, [note for note in notes if note.strip()]


def _each_annotation(page: Any) -> Iterator[Any]:
    from pypdfium2 import raw

    for index in range(raw.FPDFPage_GetAnnotCount(page)):
        annotation = raw.FPDFPage_GetAnnot(page, index)
        if annotation:
            try:
                yield annotation
            finally:
                raw.FPDFPage_CloseAnnot(annotation)


def _string(get: Any, *arguments: Any) -> str:
    """A text of PDFium, which tells its length in bytes first."""
    from pypdfium2 import raw

    length = get(*arguments, None, 0)
    buffer = ctypes.create_string_buffer(max(length, 2))
    get(*arguments, ctypes.cast(buffer, ctypes.POINTER(raw.FPDF_WCHAR)), length)
    return buffer.raw[: max(length - 2, 0)].decode("utf-16-le", "replace")
