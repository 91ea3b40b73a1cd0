"""A word and where it stands on its page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels of an image or points of a PDF page
Quad = Sequence[tuple[float, float]]  # four corners, clockwise from where the reading of the text begins


@dataclass(frozen=True)
class Word:
    """`box` is upright and holds the word. `quad` has the corners of one that may be turned.

    `score` is the confidence of the OCR from 0 to 1; None of print that no OCR has read.
    """

    text: str
    box: Box
    page: int = 1
    quad: Quad | None = None
    score: float | None = None

    @property
    def corners(self) -> Quad:
        left, top, right, bottom = self.box
        return self.quad or [(left, top), (right, top), (right, bottom), (left, bottom)]

    @property
    def angle(self) -> float:
        """Of its reading direction, in radians clockwise from left to right."""
        (x1, y1), (x2, y2), *_ = self.corners
        return math.atan2(y2 - y1, x2 - x1)

    @property
    def width(self) -> float:
        return math.dist(self.corners[0], self.corners[1])

    @property
    def height(self) -> float:
        return math.dist(self.corners[0], self.corners[3])


def placed(text: str, quad: Quad, page: int = 1, score: float | None = None) -> Word:
    """A word by its corners."""
    xs, ys = [x for x, _ in quad], [y for _, y in quad]
    return Word(text, (min(xs), min(ys), max(xs), max(ys)), page, quad, score)


def rotated(x: float, y: float, angle: float) -> tuple[float, float]:
    """A point turned clockwise about the top left corner; exact for quarter turns."""
    quarters = angle / (math.pi / 2)
    if abs(quarters - round(quarters)) < 1e-9:
        return [(x, y), (-y, x), (-x, -y), (y, -x)][round(quarters) % 4]
    cos, sin = math.cos(angle), math.sin(angle)
    return x * cos - y * sin, x * sin + y * cos
