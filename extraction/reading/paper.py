"""Which words of a photo are not of the paper that it shows: print or writing of what lies under it or beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from extraction.reading.words import Word

SURE = 0.95  # the score of print that tells where the paper's text stands
EDGE = 0.015  # of the photo's width: what reaches it goes on outside of the photo


def beside(words: Sequence[Word], width: float) -> set[int]:
    """Indices of the words that stand at the edge of a photo, beside all of the paper's print, and are unlike it.

    Unlike: larger by far, or hardly read. A receipt that fills the photo has rows up to its edge, so each sign alone
    is not enough.
    """
    if not math.isfinite(width):
        return set()
    upright = [word for word in words if word.score is not None and abs(word.angle) < 0.3]
    sure = [word for word in upright if word.score >= SURE and not _at_edge(word, width)]
    if len(sure) < 8:
        return set()
    height = median(word.height for word in sure)
    left, right = min(word.box[0] for word in sure), max(word.box[2] for word in sure)
    found = set()
    for i, word in enumerate(words):
        middle = (word.box[0] + word.box[2]) / 2
        outside = _at_edge(word, width) and not left <= middle <= right
        if word.score is not None and outside and (word.height > 1.4 * height or word.score < 0.9):
            found.add(i)
    return found


def _at_edge(word: Word, width: float) -> bool:
    return word.box[0] < EDGE * width or word.box[2] > (1 - EDGE) * width
