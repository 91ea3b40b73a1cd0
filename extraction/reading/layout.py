"""Words with boxes -> text in which columns stay columns; and a long text -> its windows.

One layout for all: gold OCR words, OCR of a photo and the text layer of a PDF go through the same `layout`, so a model
meets in use what it was trained on.
"""

from __future__ import annotations

import bisect
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from extraction.reading import columns, directions, paper
from extraction.reading.words import Word


@dataclass(frozen=True)
class Layout:
    """`text` of a page, and where each word stands in it: `spans[i]` is `[start, end)` of the i-th word of `words`.

    `aside` is what is of no row, at another angle or beside the paper: it stands in the last lines.
    """

    text: str
    words: list[Word]
    spans: list[tuple[int, int]]
    aside: list[str] = field(default_factory=list)


# --- words to text -------------------------------------------------------------------------------------------


def upright(words: Iterable[Word]) -> list[Word]:
    """The words with upright boxes: the page's skew is taken out of the coordinates first.

    The skew is the median angle of the top edges of the words that are long enough to have a clear one. It is taken
    from the nearest quarter turn of them all, so a page that lies on its side or its head comes out upright, too.
    """
    words = list(words)
    angles = [word.angle for word in words if word.width > 1.5 * max(word.height, 1)]
    quarter = math.pi / 2
    turn = quarter * round(math.atan2(sum(map(math.sin, angles)), sum(map(math.cos, angles))) / quarter)
    skew = turn + median(math.remainder(a - turn, 2 * math.pi) for a in angles) if angles else 0.0
    cos, sin = math.cos(-skew), math.sin(-skew)
    found = []
    for word in words:
        turned = [(x * cos - y * sin, x * sin + y * cos) for x, y in word.corners]
        xs, ys = [x for x, _ in turned], [y for _, y in turned]
        found.append(replace(word, box=(min(xs), min(ys), max(xs), max(ys))))
    return found


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
            bisect.insort(row["heights"], height)
            middle = len(row["heights"]) // 2
            row["height"] = (row["heights"][middle] + row["heights"][~middle]) / 2  # the median
        else:
            found.append({"center": center, "height": height, "heights": [height], "members": [i]})
    found.sort(key=lambda r: r["center"])
    return [sorted(r["members"], key=lambda i: words[i].box[0]) for r in found]


def _center(word: Word) -> float:
    return (word.box[1] + word.box[3]) / 2


def layout(words: Sequence[Word]) -> Layout:
    """The words of one page as text in which columns stay columns.

    Horizontal positions become character columns by one width for the whole page, and words are padded with spaces
    to their column. The width is that of a narrow character (lower quartile, but at least 1/120 of the page): with a
    wider one, rows of narrow print would run over their columns. Words that nearly touch are one phrase: one blank.
    Text that runs in columns stands column by column, each from the left.
    """
    words = [replace(w, text=" ".join(w.text.split())) for w in words if w.text.strip()]
    if not words:
        return Layout("", [], [])
    left = min(w.box[0] for w in words)
    page_width = max(w.box[2] for w in words) - left
    widths = sorted((w.box[2] - w.box[0]) / len(w.text) for w in words)
    character = max(widths[len(widths) // 4], page_width / 120, 1e-6)
    spans: list[tuple[int, int]] = [(0, 0)] * len(words)
    lines, offset = [], 0
    whole = rows(words)
    for block in columns.blocks(words, whole):
        if len(block) < len(whole):
            left = min(words[i].box[0] for row in block for i in row)
        for row in block:
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
    scores = [math.fsum(weight[w] for w in asked if w in bag) for bag in bags]  # in any order the same
    a, b = spans[scores.index(max(scores))]
    return text[a:b]


def page_layout(words: Iterable[Word], width: float = math.inf) -> Layout:
    """The layout of a page's words once its skew is taken out; the boxes stay where the words stand on the page.

    Below the rows stands what is printed sideways, laid out as if it were upright, and then what is printed at another
    angle or beside the paper of a photo of this width, each phrase once: `aside`.
    """
    words = [replace(word, text=" ".join(word.text.split())) for word in words if word.text.strip()]
    beside = paper.beside(words, width)
    there = [i for i in range(len(words)) if i not in beside]
    straight, others = directions.groups([words[i] for i in there])
    straight = [[there[i] for i in members] for members in straight]
    others = [there[i] for i in others] + sorted(beside)
    parts = []
    for members in straight:
        laid = layout(upright(words[i] for i in members))
        there = [replace(new, box=words[i].box) for new, i in zip(laid.words, members, strict=True)]
        parts.append(replace(laid, words=there))
    aside = []
    for phrase in _phrases([words[i] for i in others]):
        text = " ".join(word.text for word in phrase)
        if text not in aside:
            aside.append(text)
            ends = list(itertools.accumulate(len(word.text) + 1 for word in phrase))
            spans = [(end - 1 - len(word.text), end - 1) for word, end in zip(phrase, ends, strict=True)]
            parts.append(Layout(text, phrase, spans))
    return replace(joined(parts, "\n"), aside=aside)


def joined(parts: Iterable[Layout], mark: str) -> Layout:
    """Layouts one below the other, with a mark between them."""
    text, words, spans = "", [], []
    for part in parts:
        text = text and text + mark
        words += part.words
        spans += [(a + len(text), b + len(text)) for a, b in part.spans]
        text += part.text
    return Layout(text, words, spans)


def _phrases(words: list[Word]) -> Iterator[list[Word]]:
    """Words of any angle that follow each other on one line."""
    phrase: list[Word] = []
    for word in words:
        if phrase:
            last = phrase[-1]
            (x1, y1), (x2, y2) = last.corners[1], word.corners[0]
            far = math.hypot(x2 - x1, y2 - y1) > 1.5 * last.height
            if far or abs(math.remainder(word.angle - last.angle, 2 * math.pi)) > math.radians(6):
                yield phrase
                phrase = []
        phrase.append(word)
    if phrase:
        yield phrase
