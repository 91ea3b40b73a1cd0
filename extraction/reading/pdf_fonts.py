"""Whether the characters of a PDF font look like what they claim to be.

A font says itself which characters its shapes are, and some say it wrong, so that copied text is another than the
print. The shapes tell: "o" has neither a part above nor one below, "g" goes below the line, no digit but "1" is narrow.
"""

from __future__ import annotations

import ctypes
import difflib
import unicodedata
from collections.abc import Iterable
from statistics import median
from typing import Any

from extraction.reading.pdf_text import Piece
from extraction.reading.words import Word

LOW, TALL, BELOW, DOT = frozenset("acemnorsuvwxz"), frozenset("bdfhklABCDEFGHIKLMNOPRSTUVWXYZ"), frozenset("gpqy"), "."
SAMPLES = 6  # words that OCR reads to decide


def looks_wrong(textpage: Any, pieces: list[Piece], turn: float) -> bool:
    """Whether the shapes of a font, as far as it is used here, are those of other characters. Cheap, and only a hint.

    `turn` is the angle at which the page is shown: what stands upright within the file has it.
    """
    shapes = _shapes(textpage, pieces, turn)
    if not shapes:
        return False
    tall = max(0.55, *(top for _, top, _ in shapes.values()))
    wrong = told = 0
    for char, (bottom, top, _) in shapes.items():
        if char in LOW:
            right = bottom > -0.1 * tall and top < 0.9 * tall
        elif char in TALL:
            right = bottom > -0.1 * tall and top > 0.75 * tall
        elif char in BELOW:
            right = bottom < -0.1 * tall
        elif char == DOT:
            right = top < 0.4 * tall
        elif char.isdigit():
            right = bottom > -0.1 * tall and top > 0.6 * tall
        else:
            continue
        wrong, told = wrong + (not right), told + 1
    widths = {char: width for char, (_, _, width) in shapes.items() if char in "0123456789"}
    others = [width for char, width in widths.items() if char != "1"]
    if others and (min(others) < 0.88 * widths.get("1", 0) or min(others) < 0.65 * median(others)):
        return True
    return wrong >= 2 and wrong > 0.25 * told


def _shapes(textpage: Any, pieces: list[Piece], turn: float) -> dict[str, tuple[float, float, float]]:
    """For each character that is printed upright: where its ink begins and ends above the line, and its width."""
    from pypdfium2 import raw

    found: dict[str, tuple[float, float, float]] = {}
    x, y = ctypes.c_double(), ctypes.c_double()
    for piece in pieces:
        if piece.angle != turn or len(piece.text) != len(piece.indices):
            continue
        for char, index in zip(piece.text, piece.indices, strict=True):
            if char in found or not (char == DOT or char.isascii() and char.isalnum()):
                continue
            left, bottom, right, top = textpage.get_charbox(index)
            raw.FPDFText_GetCharOrigin(textpage, index, x, y)
            size = piece.height
            found[char] = (bottom - y.value) / size, (top - y.value) / size, (right - left) / size
    return found


def samples(words: Iterable[Word]) -> list[Word]:
    """A few words that OCR can compare: upright, in letters that it knows; numbers and others in turn."""
    fit = [w for w in words if not w.angle and 3 <= len(w.text) <= 20 and all(map(_comparable, w.text))]
    longest = sorted({word.text: word for word in fit}.values(), key=lambda w: -len(w.text))
    numbers = [word for word in longest if sum(map(str.isdigit, word.text)) > 1][: SAMPLES // 2]
    return [*numbers, *(word for word in longest if word not in numbers)][:SAMPLES]


def _comparable(char: str) -> bool:
    """Of the Latin letters, and what stands between them."""
    return not char.isalpha() or unicodedata.normalize("NFKD", char)[0].isascii()


def alike(claimed: str, read: str) -> float:
    """How much of a word OCR reads as the text layer has it, from 0 to 1."""
    a, b = ("".join(filter(str.isalnum, text.casefold())) for text in (claimed, read))
    return difflib.SequenceMatcher(None, a, b, autojunk=False).ratio() if a or b else 1.0
