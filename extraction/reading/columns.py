"""Columns of text on a page: a contract in two columns is read column by column, a table row by row.

Both have gaps that run down the page. The lines of a column of text fill it and go on in the next line in the middle of
a sentence, with a small letter; the cells of a table do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from extraction.reading.words import Word

Rows = list[list[int]]  # indices of words, row by row from the top
LINES = 5  # that a column of text has at least
MOST_LINES = 500  # of a page of text
BINS = 200  # places across the page where a gap may begin


def blocks(words: Sequence[Word], rows: Rows) -> list[Rows]:
    """The rows of a page in the order of reading: blocks of rows that stand above, beside and below each other.

    A page without columns of text is one block.
    """
    parts = _split(words, rows)
    if parts is None:
        return [rows]
    return [block for part in parts if part for block in blocks(words, part)]


def _split(words: Sequence[Word], rows: Rows) -> list[Rows] | None:
    """The rows above two columns of text, the columns, and the rows below them; None if there are no such columns."""
    best: list[Rows] | None = None
    most = LINES - 1
    for first, last, gap in _gaps(words, rows):
        band = _without_strays(words, rows[first : last + 1], gap)
        first = rows.index(band[0]) if band else first
        left = [row for row in ([i for i in row if words[i].box[0] < gap] for row in band) if row]
        right = [row for row in ([i for i in row if words[i].box[0] >= gap] for row in band) if row]
        lines = min(len(left), len(right))
        if lines > most and all(_running(words, side) or _split(words, side) for side in (left, right)):
            best, most = [rows[:first], *_cells(words, left, right), rows[first + len(band) :]], lines
    return best


def _gaps(words: Sequence[Word], rows: Rows) -> Iterator[tuple[int, int, float]]:
    """Gaps down the page: the first and the last row, and a place across that no word of these rows covers."""
    if not LINES <= len(rows) <= MOST_LINES:
        return
    boxes = [words[i].box for row in rows for i in row]
    left, right = min(box[0] for box in boxes), max(box[2] for box in boxes)
    step = max((right - left) / BINS, 1e-6)
    wide = max(round(0.8 * median(box[3] - box[1] for box in boxes) / step), 1)
    if wide > BINS:  # words taller than the page is wide have no columns
        return
    free = []
    for row in rows:
        mask = 0
        for i in row:
            start, end = int((words[i].box[0] - left) / step), int((words[i].box[2] - left) / step) + 1
            mask |= ((1 << (end - start)) - 1) << start
        open_ = ~mask
        for shift in range(1, wide):  # so many places beside each other are free
            open_ &= ~(mask >> shift)
        free.append(open_)
    told = set()
    for place in range(BINS // 8, BINS - BINS // 8):
        first = None
        for number in range(len(rows) + 1):
            if number < len(rows) and free[number] >> place & 1:
                first = number if first is None else first
            elif first is not None:
                if number - first >= LINES and (first, number) not in told:
                    told.add((first, number))
                    yield first, number - 1, left + (place + wide / 2) * step
                first = None


def _without_strays(words: Sequence[Word], band: Rows, gap: float) -> Rows:
    """The rows without those at both ends that stand on one side alone and far from the others, as a page's number."""

    def stray(row: list[int], beside: list[int]) -> bool:
        sides = {words[i].box[0] < gap for i in row}
        apart = abs(_middle(words, row) - _middle(words, beside))
        return len(sides) == 1 and apart > max(1.8 * pitch, 2 * height)

    middles = [_middle(words, row) for row in band]
    steps = [b - a for a, b in zip(middles, middles[1:], strict=False) if b - a > 0]
    pitch = median(steps) if steps else 0.0
    height = median(words[i].box[3] - words[i].box[1] for row in band for i in row)
    while len(band) > LINES and stray(band[0], band[1]):
        band = band[1:]
    while len(band) > LINES and stray(band[-1], band[-2]):
        band = band[:-1]
    return band


def _middle(words: Sequence[Word], row: list[int]) -> float:
    return median((words[i].box[1] + words[i].box[3]) / 2 for i in row)


def _running(words: Sequence[Word], rows: Rows) -> bool:
    """Whether rows are running text: they begin below each other, fill their column, and sentences go on."""
    left, right = min(words[i].box[0] for row in rows for i in row), max(words[i].box[2] for row in rows for i in row)
    texts = [[words[i].text for i in row] for row in rows]
    starts = sorted(words[row[0]].box[0] for row in rows)
    usual, height = starts[len(starts) // 3], median(words[row[0]].box[3] - words[row[0]].box[1] for row in rows)
    below = sum(abs(start - usual) < height for start in starts) / len(starts)
    filled = median((words[row[-1]].box[2] - words[row[0]].box[0]) / max(right - left, 1e-6) for row in rows)
    lettered = sum(any(map(str.isalpha, word)) for text in texts for word in text) / sum(map(len, texts))
    going_on = sum(text[0][0].islower() for text in texts[1:]) / max(len(texts) - 1, 1)
    length = median(sum(map(len, text)) for text in texts)
    full = below > 0.5 and filled > 0.65 and length >= 16 and median(map(len, texts)) >= 3
    return full and lettered > 0.75 and going_on > 0.2


def _cells(words: Sequence[Word], left: Rows, right: Rows) -> list[Rows]:
    """The two columns; or their paragraphs in turn where they begin side by side, as in a contract of two languages."""
    starts, others = _starts(words, left), _starts(words, right)
    height = median(words[i].box[3] - words[i].box[1] for row in left for i in row)
    shared = [y for y in starts if any(abs(y - other) < 0.5 * height for other in others)]
    if len(shared) < 3 or len(shared) < 0.8 * max(len(starts), len(others)):
        return [left, right]
    found = []
    for low, high in zip([float("-inf"), *shared[1:]], [*shared[1:], float("inf")], strict=True):
        for side in (left, right):
            found.append([row for row in side if low <= _middle(words, row) + 0.5 * height < high])
    return found


def _starts(words: Sequence[Word], rows: Rows) -> list[float]:
    """Where paragraphs begin: after a gap that is wider than between lines."""
    middles = [_middle(words, row) for row in rows]
    steps = [b - a for a, b in zip(middles, middles[1:], strict=False)]
    usual = median(steps) if steps else 0.0
    return [middles[0], *(b for a, b in zip(middles, middles[1:], strict=False) if b - a > 1.3 * usual)]
