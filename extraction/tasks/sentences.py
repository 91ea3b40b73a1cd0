"""The sentences of a text, by rules alone: the units that a model points at by number.

They are a partition: every character belongs to exactly one sentence, blanks to the one before them. Where a rule errs
a sentence is longer or shorter and nothing else, so the rules are few: ends of sentences, empty lines, section marks,
bullets, headings, and the parts of enumerations.
"""

from __future__ import annotations

import re

UNITS = ("sentence", "clause")  # clause: a sentence is also parted at its semicolons and enumerated parts
UNIT = "clause"  # what is numbered; benchmarks/contracts.py says why

# Words whose period does not end a sentence; a single letter never does.
_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof hon st no nos art arts sec secs sect par para cl ex exh fig inc corp co ltd cos bros ave blvd "
    "rd ste dept assn intl vs al seq cf approx est tel vol pp pg rev jr sr jan feb mar apr jun jul aug sept sep oct "
    "nov dec".split()
)
# "(a)", "iv)", "2.1", "3.", "B.", "Section 3.", "ARTICLE IV"
_MARK = (
    r"(?:(?:(?i:section|article|exhibit|schedule|annex)\s+)(?:\d{1,2}(?:\.\d{1,2})*|[IVXL]+|[A-Z])\b[.:]?"
    r"|\(?(?:[a-zA-Z]|[ivxl]{1,5}|[IVXL]{1,5}|\d{1,2})\)|\d{1,2}(?:\.\d{1,2})+[.)]?|\d{1,2}[.)]|[A-Za-z]\.|[IVX]{1,5}\.)"
)
_BULLET = r"(?:[•●▪■◦‣∙·*]|[-–—](?=\s))"
_MARK_ONLY = re.compile(rf"\s*(?:{_MARK}|{_BULLET})?\s*")
_LINE_BEGINS = re.compile(rf"\n[ ]?(?=(?:{_MARK}|{_BULLET})(?:\s|$))|\n\n")
_HEADING = re.compile(r"\n+(?=[^a-z\n]*[A-Z]{3}[^a-z\n]*(?:\n|$))|(?:(?<=\n)|^)[^a-z\n]*[A-Z]{3}[^a-z\n]*\n+")
_SENTENCE_ENDS = re.compile(rf"(?<=[.!?])[)\]\"'”’]*\s+(?=[\"'“‘(\[]*[A-Z0-9_]|{_MARK}\s)")
_PART_ENDS = re.compile(rf"[;:,](?:\s+(?:and|or|and/or|but))?\s+(?=(?:{_MARK})\s)|;\s+")


def split(text: str, unit: str | None = None) -> list[tuple[int, int]]:
    """`[start, end)` of each sentence, in order; together they are the whole text. No text has no sentence."""
    starts = {match.end() for match in _SENTENCE_ENDS.finditer(text) if not _abbreviated(text, match.start())}
    starts |= {match.end() for match in _LINE_BEGINS.finditer(text) if not _goes_on(text, match)}
    starts |= {match.end() for match in _HEADING.finditer(text)}
    if (unit or UNIT) == "clause":
        starts |= {match.end() for match in _PART_ENDS.finditer(text)}
    found, begin = [], 0
    for start in sorted(starts):
        # neither a mark nor blanks are a sentence of their own
        if text[start:].strip() and not _MARK_ONLY.fullmatch(text, begin, start):
            found.append((begin, start))
            begin = start
    if begin < len(text):
        found.append((begin, len(text)))
    return found


def _abbreviated(text: str, end: int) -> bool:
    """Does the period before `end` belong to a word rather than to the sentence?"""
    if text[end - 1] != ".":
        return False
    word = re.search(r"[^\s(\[\"“]*$", text[max(end - 24, 0) : end - 1])[0].lower()
    return len(word) == 1 and word.isalpha() or word in _ABBREVIATIONS or bool(re.fullmatch(r"(?:[a-z]\.)+[a-z]", word))


def _goes_on(text: str, match: re.Match) -> bool:
    """An empty line inside a sentence, as where a page ends: no mark before it, and a small letter after it."""
    before, after = text[: match.start()].rstrip()[-1:], text[match.end() : match.end() + 1]
    return match[0] == "\n\n" and after.islower() and (before.isalnum() or before in ",-")


def covering(sentences: list[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """First and last of the neighboring sentences that are most nearly `[start, end)`: characters shared over all.

    Raises ValueError if no sentence shares a character with it.
    """
    touched = [i for i, (a, b) in enumerate(sentences) if a < end and b > start]

    def likeness(run: tuple[int, int]) -> float:
        a, b = sentences[run[0]][0], sentences[run[1]][1]
        return (min(b, end) - max(a, start)) / (max(b, end) - min(a, start))

    return max(((i, j) for i in touched for j in touched if j >= i), key=likeness)
