"""How well the places of values were found: words under the boxes of fields against those that were annotated."""

from __future__ import annotations

import re
from collections.abc import Iterable

from extraction.evidence.grounding import ground
from extraction.reading.documents import Document
from extraction.reading.layout import layout
from extraction.reading.words import Word
from extraction.scoring.metrics import Counts
from extraction.tasks.records import leaves, without_positions
from extraction.tasks.schemas import Task


def word_counts(gold: set[int], field: dict, document: Document) -> Counts:
    """The words whose center is in a box of the field, against those that were annotated for it."""
    found = covered(field, document)
    return Counts(tp=len(found & gold), fp=len(found - gold), fn=len(gold - found))


def covered(field: dict, document: Document) -> set[int]:
    """The indices of the words whose center is in a box of the field."""
    return {
        i
        for i, word in enumerate(document.words)
        for box in field["boxes"]
        if word.page == box["page"]
        and box["left"] <= (word.box[0] + word.box[2]) / 2 <= box["right"]
        and box["top"] <= (word.box[1] + word.box[3]) / 2 <= box["bottom"]
    }


def record_counts(words: list[dict], record: dict | None, task: Task) -> Counts:
    """(word, field) pairs that a record leads to, against those annotated: `words` are those of `words_of`.

    A value in the wrong row counts as right where it stands, so this is the score of places and not of rows.
    """
    document = _of_words(words)
    gold = {(i, word["field"]) for i, word in enumerate(words) if word["field"]}
    fields = ground(leaves(record), task, document)
    found = {(i, without_positions(f["path"])) for f in fields for i in covered(f, document)}
    return Counts(tp=len(found & gold), fp=len(found - gold), fn=len(gold - found))


def foreign_counts(words: list[dict], record: dict, task: Task) -> tuple[int, int]:
    """Of the values in another document's record that this one does not print: how many are called found, and how many
    there are."""
    document, texts = _of_words(words), [word["text"] for word in words]
    absent = [f for f in ground(leaves(record), task, document) if not printed(f["value"], texts)]
    return sum(f["grounding"] != "none" for f in absent), len(absent)


def _of_words(words: list[dict]) -> Document:
    laid = layout([Word(word["text"], tuple(word["box"])) for word in words])
    return Document(laid.text, words=laid.words, spans=laid.spans)


def printed(value: str, words: list[str]) -> bool:
    """Does a document of these words print the value: its words by letters and digits, or a number of the same digits?

    It does not use `ground`, because it judges that; ".00" makes no difference.
    """
    if letters_and_digits(value.split()) <= letters_and_digits(words):
        return True
    return sum(map(str.isalpha, value)) <= 3 and _digits(value) in {
        _digits(w) for w in words if len(w) <= len(value) + 4
    }


def letters_and_digits(words: Iterable[str]) -> set[str]:
    return {re.sub(r"[\W_]", "", word).casefold() for word in words}


def _digits(text: str) -> str:
    return re.sub(r"\D", "", re.sub(r"[.,]00?\b", "", text))
