"""Which words of a page are printed in one direction: its rows, a table that lies on its side, a watermark across."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from extraction.reading.words import Word

QUARTER = math.pi / 2
EXACT = math.radians(6)  # between the directions of rows and of other print, where no OCR guesses the corners
GUESSED = math.radians(20)  # and where it does: rows of crumpled paper lean to both sides


def groups(words: Sequence[Word]) -> tuple[list[list[int]], list[int]]:
    """Indices of words: of the page's rows, then of print at a quarter turn to them; and of print at other angles.

    The rows are those along the edges of the page, if there are any to speak of: a watermark may have more words.
    """
    long = [i for i, word in enumerate(words) if word.width > 1.5 * word.height]
    along = [i for i in long if abs(math.remainder(words[i].angle, QUARTER)) < math.radians(12)]
    certain = sum(len(words[i].text) for i in along if words[i].score is None)
    if certain < 20 and _length(words, along) < max(0.1 * _length(words, long), 1):
        return [list(range(len(words)))], []  # all of the page is turned, or there is nothing to tell it by
    by_quarter: dict[int, list[int]] = {}
    for i in along:
        by_quarter.setdefault(round(words[i].angle / QUARTER) % 4, []).append(i)
    angles = {quarter: _angle(words, members, quarter) for quarter, members in by_quarter.items()}
    order = sorted(by_quarter, key=lambda quarter: -_length(words, by_quarter[quarter]))
    found: dict[int, list[int]] = {quarter: [] for quarter in order}
    others, main = [], order[0]
    for i, word in enumerate(words):
        slack = EXACT if word.score is None else GUESSED
        near = min(order, key=lambda quarter: abs(math.remainder(word.angle - angles[quarter], 2 * math.pi)))
        if abs(math.remainder(word.angle - angles[near], 2 * math.pi)) <= slack:
            found[near].append(i)
        elif word.width > 1.5 * word.height or word.score is None:
            others.append(i)
        else:
            found[main].append(i)  # too short to have a clear angle
    return [found[quarter] for quarter in order], others


def _length(words: Sequence[Word], members: list[int]) -> int:
    return sum(len(words[i].text) for i in members)


def _angle(words: Sequence[Word], members: list[int], quarter: int) -> float:
    return quarter * QUARTER + median(math.remainder(words[i].angle - quarter * QUARTER, 2 * math.pi) for i in members)
