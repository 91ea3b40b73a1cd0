"""Training rows as the model sees them: rendered with its chat template, and as tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain, zip_longest
from operator import itemgetter
from typing import Any

OWN = "own/"  # what the sources of own documents begin with


def render_row(tokenizer: Any, row: dict) -> tuple[str, str]:
    """The prompt and the answer with its end, as text."""
    prompt = tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
    return prompt, row["completion"][0]["content"] + tokenizer.eos_token


def encode_row(tokenizer: Any, row: dict) -> tuple[list[int], list[int]]:
    """The tokens of prompt and answer. They are tokenized apart, as in use, where the answer is yet to come."""
    prompt, answer = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in render_row(tokenizer, row))
    return prompt, answer


def take_turns(rows: Iterable[dict], kind: Callable[[dict], object] = itemgetter("task")) -> list[dict]:
    """The rows with tasks, or other kinds, in turn: any number of the first ones holds as many of each as there are."""
    by_kind: dict[object, list[dict]] = {}
    for row in rows:
        by_kind.setdefault(kind(row), []).append(row)
    return in_turn(by_kind.values())


def in_turn(lists: Iterable[list[dict]]) -> list[dict]:
    """The first of each list, then the second of each, and so on, until all have ended."""
    return [row for row in chain.from_iterable(zip_longest(*lists)) if row is not None]
