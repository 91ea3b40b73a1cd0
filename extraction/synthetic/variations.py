"""Variations of real training documents: the same layout with other numbers, and on receipts other item names.

From a few dozen receipts a model learns amounts by heart; with other numbers it has to read. Every text is changed by
the same rules, so what was printed in the document still is, and a record stays exact.
"""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Callable
from typing import Any

NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
NAME = re.compile(r"[^\W\d_]{3,}")
YEAR = re.compile(r"(?:19|20)\d\d")
Change = Callable[[str], str]


def numbers(draw: random.Random) -> Change:
    """A function that gives a text with other numbers of the same form; equal numbers stay equal, others differ.

    Numbers of one or two digits stay (they count, or are days), so do years, and zeros at the ends of a number. The
    first and last digit that change become no zeros, so a form has as many new numbers as old ones.
    """
    changed: dict[str, str] = {}

    def other(number: str) -> str:
        if number not in changed and (len(number) < 3 or YEAR.fullmatch(number)):
            changed[number] = number
        while number not in changed:
            first, last = len(number) - len(number.lstrip("0.,")), len(number.rstrip("0.,")) - 1
            digits = [draw.choice("123456789" if i in (first, last) else "0123456789") for i in range(len(number))]
            new = "".join(
                d if c.isdigit() and first <= i <= last else c
                for i, (d, c) in enumerate(zip(digits, number, strict=True))
            )
            if new not in changed.values():
                changed[number] = new
        return changed[number]

    return lambda text: NUMBER.sub(lambda match: other(match.group()), text)


def names(pool: list[str], draw: random.Random) -> Change:
    """A function that gives a text with other words of the pool, in the same case; equal words stay equal."""
    changed: dict[str, str] = {}

    def other(word: str) -> str:
        if word not in changed:
            new = draw.choice(pool)
            changed[word] = new.upper() if word.isupper() else new.lower() if word.islower() else new.capitalize()
        return changed[word]

    return lambda text: NAME.sub(lambda match: other(match.group()), text)


def item_words(truths: list[dict]) -> list[str]:
    """The words of all item names of CORD receipts, each as often as it is printed."""
    texts = [
        w["text"] for t in truths for line in t["valid_line"] if _names_item(line["category"]) for w in line["words"]
    ]
    return [word for text in texts for word in NAME.findall(text)]


def of_cord(truth: dict, pool: list[str], draw: random.Random) -> dict:
    """A CORD receipt like this one, with other numbers and item names in the words and in the tree."""
    renumber, rename = numbers(draw), names(pool, draw)

    def changed(value: Any, is_name: bool = False) -> Any:
        if isinstance(value, dict):
            return {key: changed(inner, key == "nm") for key, inner in value.items()}
        if isinstance(value, list):
            return [changed(inner, is_name) for inner in value]
        return renumber(rename(value) if is_name else value) if isinstance(value, str) else value

    made = copy.deepcopy(truth)
    made["gt_parse"] = changed(truth["gt_parse"])
    for line in made["valid_line"]:
        for word in line["words"]:
            word["text"] = changed(word["text"], _names_item(line["category"]) and not word["is_key"])
    return made


def _names_item(category: str) -> bool:
    return category.endswith(".nm")


def of_tatqa(context: dict, draw: random.Random) -> dict:
    """A TAT-QA page like this one with other numbers in table, paragraphs, questions and answers."""
    renumber = numbers(draw)

    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: inner if key in ("uid", "order") else changed(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [changed(inner) for inner in value]
        return renumber(value) if isinstance(value, str) else value

    return changed(context)
