"""A first look at a contract: which of its sentences may hold a clause, by their words alone.

A model then reads these sentences and no others. benchmarks/first_look.py makes the weights of the words, and measures
what is lost. They are those of the 408 training contracts of CUAD (The Atticus Project, CC BY 4.0).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

FILE = Path(__file__).with_suffix(".json")
THRESHOLD = -3.3  # log-odds from which a sentence is read
NEIGHBOR = 0.2  # share of the log-odds of the sentences beside it that counts for a sentence, ...
USUAL = -3.0  # ... as far as they are not the usual ones
BEGINNING = 600  # characters of a contract that are always read: its title, its parties, its date

Span = tuple[int, int]


@lru_cache(maxsize=1)
def weights() -> tuple[float, dict[str, float]]:
    found = json.loads(FILE.read_text(encoding="utf-8"))
    return found["bias"], found["words"]


def words(sentence: str) -> frozenset[str]:
    """The words of a sentence and its pairs of neighboring words; every number is the same one."""
    found = ["#" if word.isdigit() else word for word in re.findall(r"[a-z]+|\d+", sentence.casefold())]
    return frozenset([*found, *map(" ".join, pairwise(found))])


def likely(text: str, sentences: Sequence[Span], threshold: float = THRESHOLD) -> list[bool]:
    """Of each sentence of a contract, whether it may hold a clause."""
    bias, weight = weights()
    own = [bias + sum(weight.get(word, 0.0) for word in words(text[a:b])) for a, b in sentences]
    beside = [USUAL, *own, USUAL]
    scores = [
        score + NEIGHBOR * (before + after - 2 * USUAL)
        for before, score, after in zip(beside, own, beside[2:], strict=False)
    ]
    return [a < BEGINNING or score > threshold for (a, _), score in zip(sentences, scores, strict=True)]


def windows(text: str, sentences: Sequence[Span], chars: int) -> list[list[Span]]:
    """The sentences of a contract that are read, in windows that no sentence is cut by.

    What is left holds twice as many clauses, so a window has half of the characters: of one that is denser than those
    that a model was trained on, it names too few. A window ends, if it can, where a sentence is left out behind it.
    """
    chosen, chars = likely(text, sentences), chars // 2
    found: list[list[Span]] = []
    size = 0
    for i, (start, end) in enumerate(sentences):
        if not chosen[i]:
            continue
        apart = i > 0 and not chosen[i - 1]
        if not found or size + end - start > chars or apart and size > chars * 2 // 3:
            found.append([])
            size = 0
        found[-1].append((start, end))
        size += end - start
    return found
