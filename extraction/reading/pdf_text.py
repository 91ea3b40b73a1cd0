"""The text layer of a PDF page -> its words with their corners, turned as they are printed."""

from __future__ import annotations

import ctypes
import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from extraction.reading.words import Box, Quad, Word, placed, rotated

GAP = 0.3  # of a character's height: a wider gap parts two words
COLUMN_GAP = 1.6  # of a character's height: text beyond it stands in another column
SMALL = 0.8  # of the height of the print beside it: a raised digit is smaller than that
HYPHENS = "\u2010\u2011\ufe63\uff0d"  # they look like the hyphen of the keyboard
SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
Placing = Callable[[float, float], tuple[float, float]]


@dataclass
class Glyph:
    """A character. `box` is upright once the page is turned by `-angle`; `before` is what parts it from the last one:
    nothing, "gap" (a blank that PDFium found), "blank" (one in the text) or "line"."""

    text: str
    box: Box
    angle: float
    before: str
    index: int

    @property
    def height(self) -> float:
        return self.box[3] - self.box[1]


@dataclass
class Piece:
    """A word of a text layer, before the page's turn is undone, and which characters of the layer it has."""

    text: str
    box: Box
    angle: float
    indices: list[int] = field(default_factory=list)

    @property
    def height(self) -> float:
        return self.box[3] - self.box[1]

    def word(self) -> Word:
        """PDFium gives a character beyond U+FFFF in two halves, which are put together here."""
        whole = self.text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return placed(whole, _quad(self.box, self.angle))


def pieces(page: Any, textpage: Any, most: int) -> list[Piece]:
    """The words of a page's first `most` characters; corners in points from its top left, as it is shown."""
    found = [piece for line in _lines(_glyphs(page, textpage, most)) for piece in _words(line)]
    return _with_raised(found)


def placing(page: Any) -> Placing:
    """The function from PDF coordinates to points from the top left of the page as it is shown, cropped and turned."""
    left, bottom, right, top = page.get_bbox()
    return {
        0: lambda x, y: (x - left, top - y),
        90: lambda x, y: (y - bottom, x - left),
        180: lambda x, y: (right - x, y - bottom),
        270: lambda x, y: (top - y, right - x),
    }[page.get_rotation()]


# --- characters ----------------------------------------------------------------------------------------------


def _glyphs(page: Any, textpage: Any, most: int) -> Iterator[Glyph]:
    from pypdfium2 import raw

    place, turn = placing(page), math.radians(page.get_rotation())
    area, x, y = raw.FS_RECTF(), ctypes.c_double(), ctypes.c_double()
    before = "line"
    handle = textpage.raw
    for i in range(min(textpage.count_chars(), most)):
        text = printed(raw.FPDFText_GetUnicode(handle, i), lambda i=i: _inked(textpage, i))
        if text.isspace():
            kind = "line" if text in "\r\n" else "gap" if raw.FPDFText_IsGenerated(handle, i) else "blank"
            before = before if before == "line" else kind
            continue
        if not text:
            continue
        raw.FPDFText_GetLooseCharBox(handle, i, area)
        (x1, y1), (x2, y2) = place(area.left, area.bottom), place(area.right, area.top)
        quarters = (raw.FPDFText_GetCharAngle(handle, i) + turn) / (math.pi / 2)
        if abs(quarters - round(quarters)) < 0.003:
            angle = round(quarters) % 4 * math.pi / 2
            if angle:
                (x1, y1), (x2, y2) = rotated(x1, y1, -angle), rotated(x2, y2, -angle)
            box = (x1, y1, x2, y2) if x1 <= x2 and y1 <= y2 else (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
        else:
            angle = quarters * math.pi / 2 % (2 * math.pi)
            raw.FPDFText_GetCharOrigin(handle, i, x, y)
            box = _slanted((min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)), place(x.value, y.value), angle)
        yield Glyph(text, box, angle, before, i)
        before = ""


def printed(code: int, inked: Callable[[], bool]) -> str:
    """What a character code of PDFium prints: a blank for what parts words, nothing for what leaves no ink."""
    if code > 0x10FFFF or code == 0:
        return "\ufffd" if code or inked() else ""
    if code in (0x02, 0xFFFE):  # PDFium's sign for a hyphen at the end of a line
        return "-"
    char = chr(code)
    if code < 0x80:
        return char
    if char == "\xad":  # a soft hyphen that is printed is a hyphen
        return "-" if inked() else ""
    if char in HYPHENS:
        return "-"
    if "\ufb00" <= char <= "\ufb06":  # fi, fl and the like as one character
        return unicodedata.normalize("NFKC", char)
    return char


def _inked(textpage: Any, index: int) -> bool:
    left, bottom, right, top = textpage.get_charbox(index)
    return right > left and top > bottom


def _slanted(around: Box, origin: tuple[float, float], angle: float) -> Box:
    """The box of a turned character, turned back, from the upright box around it and the start of its baseline.

    The middle of both boxes is one point, and the baseline starts at the character's left side.
    """
    middle = (around[0] + around[2]) / 2, (around[1] + around[3]) / 2
    cos, sin = math.cos(angle), math.sin(angle)
    width = max(2 * ((middle[0] - origin[0]) * cos + (middle[1] - origin[1]) * sin), 0.0)
    if abs(cos) > abs(sin):
        height = (around[3] - around[1] - width * abs(sin)) / abs(cos)
    else:
        height = (around[2] - around[0] - width * abs(cos)) / abs(sin)
    x, y = rotated(*middle, -angle)
    return x - width / 2, y - max(height, 0) / 2, x + width / 2, y + max(height, 0) / 2


def _quad(box: Box, angle: float) -> Quad:
    left, top, right, bottom = box
    return [rotated(x, y, angle) for x, y in ((left, top), (right, top), (right, bottom), (left, bottom))]


# --- words ---------------------------------------------------------------------------------------------------


def _lines(glyphs: Iterator[Glyph]) -> Iterator[list[Glyph]]:
    """Characters that follow each other in one direction, at one height."""
    line: list[Glyph] = []
    for glyph in glyphs:
        if line:
            last = line[-1]
            moved = glyph.box[1] > last.box[3] or glyph.box[3] < last.box[1] or glyph.box[0] < last.box[0]
            if moved or abs(math.remainder(glyph.angle - last.angle, 2 * math.pi)) > 0.02:
                yield line
                line = []
        line.append(glyph)
    if line:
        yield line


def _words(line: list[Glyph]) -> Iterator[Piece]:
    """The words of a line: characters up to a blank, a gap, or a change to raised print and back."""
    spaced = _letter_spaced(line)
    piece: Piece | None = None
    for i, glyph in enumerate(line):
        if piece:
            gap = glyph.box[0] - piece.box[2]
            parted = bool(glyph.before) or gap > GAP * piece.height
            parted, spacing = spaced.get(i, (parted, 0.0))
            if parted or glyph.box[0] < piece.box[0] or _raised(piece, glyph) or _lowered(piece, glyph):
                left, top, right, bottom = piece.box
                piece.box = left, top, right + spacing, bottom  # so that no word of its line seems to be far away
                yield piece
                piece = None
        if piece is None:
            piece = Piece("", glyph.box, line[0].angle)
        (a, b, c, d), (e, f, g, h) = piece.box, glyph.box
        piece.text += glyph.text
        piece.box = min(a, e), min(b, f), max(c, g), max(d, h)
        piece.indices.append(glyph.index)
    if piece:
        yield piece


def _letter_spaced(line: list[Glyph]) -> dict[int, tuple[bool, float]]:
    """Whether a word begins at a character of letter-spaced print, by its place in the line, and the spacing.

    The gap that parts words there is one that is wider than the run's own. Characters that were typed with a blank
    between them are such print if they are letters; digits then are numbers of their own.
    """
    found: dict[int, tuple[bool, float]] = {}
    wide = sum(b.box[0] - a.box[2] > 0.12 * b.height for a, b in zip(line, line[1:], strict=False))
    if wide < 2 or 4 * wide < len(line):
        return found
    start = 0
    for i in range(1, len(line) + 1):
        if i < len(line) and line[i].box[0] - line[i - 1].box[2] <= COLUMN_GAP * line[i].height:
            continue
        run, first, start = line[start:i], start, i
        gaps = [b.box[0] - a.box[2] for a, b in zip(run, run[1:], strict=False)]
        letters = sum(glyph.text.isalpha() for glyph in run)
        if len(run) < (3 if letters == len(run) else 4):
            continue
        usual, height = median(gaps), median(glyph.height for glyph in run)
        if not 0.12 * height < usual < (0.9 if letters else 0.7) * height:
            continue
        typed = sum(glyph.before == "blank" for glyph in run[1:]) > len(gaps) / 2
        if typed and letters < 0.6 * len(run):
            continue
        for place, (gap, glyph) in enumerate(zip(gaps, run[1:], strict=True), start=first + 1):
            wide = gap > (1.5 * usual if typed else usual + 0.2 * height)
            found[place] = wide or (glyph.before == "blank" and not typed), usual
    return found


# --- raised digits -------------------------------------------------------------------------------------------


def _raised(base: Piece | Glyph, small: Piece | Glyph) -> bool:
    """A smaller digit that stands higher: cents, or the number of a footnote."""
    if not small.text[0].isdigit() or small.height > SMALL * base.height:
        return False
    return base.box[3] - small.box[3] > 0.2 * base.height and small.box[1] < base.box[1] + 0.4 * base.height


def _lowered(small: Piece, base: Glyph) -> bool:
    """The print that goes on after a raised digit."""
    return (
        small.text.isdigit() and small.height < SMALL * base.height and base.box[3] - small.box[3] > 0.2 * base.height
    )


WITHOUT_CENTS = re.compile(r"(?:\W{0,2}|[A-Z]{2}[A-Z$]?)(?!(?:19|20)\d\d$)(?:\d{1,3}(?:([.,' ])\d{3})+|\d+)")
UNITS = {"m", "mm", "cm", "dm", "km", "ft", "in", "yd"}


def _with_raised(found: list[Piece]) -> list[Piece]:
    """Two raised digits behind a whole number are its cents; others are written as raised digits, and stand apart."""
    near: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, piece in enumerate(found):
        near[round(piece.angle * 100), int(piece.box[2] // 12)].append(i)
    gone: set[int] = set()
    for i, small in enumerate(found):
        if len(small.text) > 3 or not small.text.isdigit():
            continue
        bucket = int(small.box[0] // 12)
        around = (j for shift in (-1, 0, 1) for j in near.get((round(small.angle * 100), bucket + shift), ()))
        bases = [j for j in around if j not in gone and _raised(found[j], small) and _adjoins(found[j], small)]
        if not bases:
            continue
        j = max(bases, key=lambda j: found[j].box[2])
        base, whole = found[j], WITHOUT_CENTS.fullmatch(found[j].text)
        (a, b, c, d), (e, f, g, h) = base.box, small.box
        joined = (min(a, e), min(b, f), max(c, g), max(d, h)), base.angle, base.indices + small.indices
        if whole and len(small.text) == 2:
            found[j] = Piece(f"{base.text}{',' if whole[1] == '.' else '.'}{small.text}", *joined)
            gone.add(i)
        elif base.text in UNITS:
            found[j] = Piece(base.text + small.text.translate(SUPERSCRIPT), *joined)
            gone.add(i)
        else:
            found[i] = replace(small, text=small.text.translate(SUPERSCRIPT))
    return [piece for i, piece in enumerate(found) if i not in gone]


def _adjoins(base: Piece, small: Piece) -> bool:
    return -0.2 * base.height < small.box[0] - base.box[2] < 0.6 * base.height
