"""Amounts, dates and times that can only be chosen: a request's schema lists those that its text prints.

A small model writes an amount letter by letter, and now and then one that is nowhere on the page. Of these kinds a
text prints few, so the schema of a request names them, and decoding can end in no other value. What is listed is
wide rather than exact: a printed value that is missing here could not be answered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from extraction.evidence import grounding, values
from extraction.tasks.custom import CustomTask
from extraction.tasks.schemas import RECEIPT, Task

AMOUNT, DATE, TIME = "amount", "date", "time"
# A count is often not printed at all ("1" for one line), so counts are written, not chosen.
_COUNTS = {"quantity", "item_count", "item_type_count"}
_RECEIPT = dict.fromkeys(grounding.NUMBERS - _COUNTS, AMOUNT) | {"date": DATE, "due_date": DATE, "time": TIME}
_TYPES = {"number": AMOUNT, "integer": AMOUNT, "date": DATE}  # a date with its time is no value of a list
MOST = 4000  # values of one kind; a text with more leaves the kind free
LONGEST = 40  # characters of one value

_DIGIT = r"[\dOoIl|SBZ]"  # and what an OCR makes of digits
_GROUPS = re.compile(
    rf"(?<![^\W_]){_DIGIT}{{1,4}}(?:\s?[-/.,:'’]\s?|\s){_DIGIT}{{1,2}}(?:\s?[-/.,'’]\s?|\s){_DIGIT}{{2,4}}"
)
_DAYS = re.compile(r"(?<!\d)(?:\d{8}|\d{6})(?!\d)")
_NAME = re.compile(r"(?<![^\W\d_])[^\W\d_]{3,12}(?![^\W\d_])")
_DAY_OR_YEAR = r"['’´]?\d{1,4}(?:st|nd|rd|th|er|º|°)?"
_BEFORE = re.compile(rf"(?<!\d){_DAY_OR_YEAR}(?:[\s./-]|de |of )*$")
_BEHIND = re.compile(rf"((?:[\s.,/-]|de )*{_DAY_OR_YEAR}(?!\d))((?:[\s.,/-]|de )*{_DAY_OR_YEAR}(?![\d:]))?")
_CLOCK = re.compile(r"(?<!\d)\d{1,2}\s?[:.hH]\s?\d{2}(?:\s?[:.]\s?\d{2})?(?!\d)")
_HALF = re.compile(r"\s?[ap]\.?\s?m\b\.?", re.IGNORECASE)
_EDGES = ".,;:()[]{}*#=|"


def narrowed(task: Task, text: str) -> dict:
    """The task's schema for this text: a field for an amount, a date or a time is an `enum` of what the text prints.

    Of a kind that the text does not print, a receipt has no field, and a field of a user's own stays a string: a number
    may be spelled out. More than `MOST` values of a kind are not listed.
    """
    by_path = kinds(task)
    lists = {kind: found for kind in sorted(set(by_path.values())) if len(found := printed(kind, text)) <= MOST}
    narrow = {path: kind for path, kind in by_path.items() if lists.get(kind) or (task is RECEIPT and kind in lists)}
    if not narrow:
        return task.schema
    definitions = {kind: {"type": "string", "enum": found} for kind, found in lists.items() if found}
    return {**_replaced(task.schema, "", narrow, set(definitions)), "$defs": definitions}


def kinds(task: Task) -> dict[str, str]:
    """The kind of the values of each path, or last name of a path, that has one."""
    if isinstance(task, CustomTask):
        return {path: _TYPES[name] for path, name in task.types.items() if name in _TYPES}
    return _RECEIPT if task is RECEIPT else {}


def _replaced(node: dict, path: str, kinds: dict[str, str], listed: set[str]) -> dict:
    """The node with the values of its kind; empty where no value of that kind is listed."""
    kind = kinds.get(path) or kinds.get(path.rpartition(".")[2])
    if kind and node.get("type") == "string":
        return {"$ref": f"#/$defs/{kind}"} if kind in listed else {}
    if "anyOf" in node:
        return {**node, "anyOf": [_replaced(option, path, kinds, listed) for option in node["anyOf"]]}
    if "items" in node:
        return {**node, "items": _replaced(node["items"], f"{path}[]", kinds, listed)}
    if "properties" not in node:
        return node
    inner = {n: _replaced(s, f"{path}.{n}" if path else n, kinds, listed) for n, s in node["properties"].items()}
    return {**node, "properties": {name: made for name, made in inner.items() if made}}


@lru_cache(maxsize=8)
def printed(kind: str, text: str) -> list[str]:
    """What the text prints of a kind, as printed, each value once; with and without the marks beside it."""
    found = {AMOUNT: _amounts, DATE: _dates, TIME: _times}[kind](text)
    return list(dict.fromkeys(value for value in found if value and len(value) <= LONGEST))


def _amounts(text: str) -> Iterator[str]:
    for line in map(" ".join, map(str.split, text.splitlines())):
        words = [match.span() for match in re.finditer(r"\S+", line)]
        numbers = [_whole(line, span) for match in values.NUMBER.finditer(line) for span in _from_each_blank(match)]
        for start, end in dict.fromkeys([*words, *numbers]):
            if not any(map(str.isdigit, line[start:end])):
                continue
            yield from (forms := list(dict.fromkeys(_forms(line[start:end]))))
            fore = _marks(line[:start].split()[::-1])
            heads = ["", *(" ".join(fore[:n][::-1]) + " " for n in range(1, len(fore) + 1))]
            behind = _marks(line[end:].split())[:1]
            tails = ["", *(f" {mark}" for word in behind for mark in (word, word.rstrip(_EDGES)))]
            yield from (head + form + tail for head in heads for form in forms for tail in tails)


def _from_each_blank(number: re.Match) -> Iterator[tuple[int, int]]:
    """A number that may have blanks inside, or a number and others before it: "3 1 234,56"."""
    yield number.span()
    yield from ((number.start() + blank.end(), number.end()) for blank in re.finditer(" ", number.group()))


def _whole(line: str, span: tuple[int, int]) -> tuple[int, int]:
    """A number with what is glued to it."""
    end = line.find(" ", span[1])
    return line.rfind(" ", 0, span[0]) + 1, len(line) if end < 0 else end


def _marks(words: list[str]) -> list[str]:
    """The first one or two of these words, if they may belong to the number beside them."""
    return [word for word in words[: 2 if words and _beside(words[0]) else 0] if _beside(word)]


def _forms(word: str) -> Iterator[str]:
    """A word with digits, without the marks at its edges, and each number in it with what is glued to it."""
    yield word
    yield word.strip(_EDGES)
    yield word.rstrip(_EDGES)
    for number in values.NUMBER.finditer(word):
        before, after = word[: number.start()], word[number.end() :]
        sign = before[-1:] if before[-1:] in tuple(values.MINUS) else ""
        for head in dict.fromkeys(("", sign, before, before.lstrip(_EDGES))):
            for tail in dict.fromkeys(("", after, after.rstrip(_EDGES), after[:1])):
                yield head + number.group() + tail


def _beside(word: str) -> bool:
    """Whether a word may belong to the number beside it: a sign, a currency, a mark of credit, a percent sign."""
    bare = word.strip(_EDGES)
    return not any(map(str.isdigit, bare)) and (len(bare) <= 3 or bool(values.currency(bare)))


def _dates(text: str) -> Iterator[str]:
    for line in map(" ".join, map(str.split, text.splitlines())):
        for start, end, _ in values.dates(line):
            yield line[start:end]
            yield line[start:end] + line[end : end + 1]  # 日, or a period
        for pattern in (_GROUPS, _DAYS):
            yield from (match.group() for match in pattern.finditer(line) if _digits(match.group()) >= 3)
        for name in _NAME.finditer(line):
            if name.group().casefold() in values.months():
                yield from _around(line, *name.span())


def _around(line: str, start: int, end: int) -> Iterator[str]:
    """The dates around the name of a month, with and without a number before it, and one or two behind it."""
    before, behind = _BEFORE.search(line[:start]), _BEHIND.match(line, end)
    ends = [end, *((behind.end(1), behind.end()) if behind else ())]
    for first in dict.fromkeys([before.start() if before else start, start]):
        yield from (line[first:last] for last in ends if _digits(line[first:last]))


def _times(text: str) -> Iterator[str]:
    text = " ".join(text.split())
    clocks = list(_CLOCK.finditer(text))
    colons = [match for match in clocks if "." not in match.group()]  # else an amount looks like a time
    for match in colons or clocks:
        yield match.group()
        if half := _HALF.match(text, match.end()):
            yield match.group() + half.group()
            yield match.group() + half.group().rstrip(".")


def _digits(text: str) -> int:
    return sum(map(str.isdigit, text))
