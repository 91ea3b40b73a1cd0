"""A completion: a record as the model writes it, and how what a model wrote is read."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from extraction.tasks.prompts import Sentence
from extraction.tasks.records import Leaf, build, flat, leaves, prune
from extraction.tasks.schemas import CONTRACT, QUOTED, Task


def completion(record: dict) -> str:
    """An answer as the model is trained to write it: compact JSON, empty values left out."""
    return json.dumps(prune(record), ensure_ascii=False, separators=(",", ":"))


def ordered(task: Task, record: dict) -> dict:
    """The record with its fields in the order of the schema, as constrained decoding will want them.

    Raises pydantic.ValidationError if it is not a record of this task.
    """
    return prune(task.model.model_validate(record).model_dump())


# --- reading an answer ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reading:
    """What a completion said: its values, or None if it is unreadable, and then `problem` says why.

    `dropped` are the numbers of sentences that the prompt does not have, each with its category.
    """

    leaves: tuple[Leaf, ...] | None
    problem: str | None = None
    dropped: tuple[tuple[str, str], ...] = ()

    @cached_property
    def record(self) -> dict | None:
        return None if self.leaves is None else build(self.leaves)


def parse(
    task: Task,
    text: str,
    sentences: Sequence[Sentence] = (),
    confidences: Mapping[str, float] | None = None,
    prompt: str = "",
) -> Reading:
    """Read a completion: JSON, closed if it was cut off, checked against the task's fields.

    `sentences` are those of the prompt that was answered. `confidences` are those of the answer's values, by their
    paths as they were written. With `prompt`, the text that was asked about, entries of a list that the answer repeats
    more often than it prints their values are left out.
    """
    try:
        value, cut = close_json(text)
    except ValueError as error:
        return Reading(None, f"not JSON: {error}")
    try:
        value = value if cut is None else _without_unfinished(task, value)
        too_long = _shortened(task, value)
        record = ordered(task, value)
    except ValidationError as error:
        first = error.errors()[0]
        return Reading(None, f"not a {task.name} record: {'.'.join(map(str, first['loc']))}: {first['msg']}")
    said = [f"the answer was cut off in {cut}; what follows is missing"] if cut is not None else []
    problem = "; ".join([*said, *too_long]) or None
    # the same values in the same order, but in the record an empty entry of a list has no number
    written = {kept.path: leaf.path for kept, leaf in zip(leaves(prune(value)), leaves(value), strict=True)}
    sure = confidences or {}
    found = [replace(leaf, confidence=sure.get(written[leaf.path])) for leaf in leaves(record)]
    if task is CONTRACT:
        found, dropped = _pointed_at(found, sentences)
        return Reading(tuple(found), problem, dropped)
    if prompt:
        found, repeated = _without_repeats(found, prompt)
        said = [f"entries that repeat others were left out: {count} of {name}" for name, count in repeated.items()]
        problem = "; ".join([problem, *said] if problem else said) or None
    return Reading(tuple(found), problem)


def _without_repeats(found: Sequence[Leaf], prompt: str) -> tuple[list[Leaf], Counter[str]]:
    """The leaves without those entries of lists that come more often than their values are printed, and how many of
    each list that were.

    A small model that loses its place writes the same entry until its tokens are used up. Two that are alike may be
    there: they stay if the text has each of their values twice. A value that is printed otherwise does not count.
    """
    places: dict[str, str | None] = {"": ""}  # of the entries by their paths; None: left out
    repeated, kept = Counter(), Counter()
    for path, _, is_repeat in _entries(found, prompt):
        name = path.partition("[")[0]
        places[path] = None if is_repeat else f"{name}[{kept[name]}]"
        (repeated if is_repeat else kept)[name] += 1
    stay = [(leaf, _entry(leaf)) for leaf in found if places[_entry(leaf)] is not None]
    return [replace(leaf, path=places[path] + leaf.path.removeprefix(path)) for leaf, path in stay], repeated


def _entry(leaf: Leaf) -> str:
    """The path of the entry of a list that a leaf belongs to, or nothing."""
    return leaf.path[: leaf.path.find("]") + 1]


def _entries(found: Iterable[Leaf], prompt: str) -> Iterator[tuple[str, tuple, bool]]:
    """Of each entry of a list its path, its values, and whether it comes more often than the prompt prints them."""
    printed, entries, seen = flat(prompt).casefold(), defaultdict(list), Counter()
    for leaf in found:
        if _entry(leaf):
            entries[_entry(leaf)].append(leaf)
    for path, of in entries.items():
        values = tuple((leaf.path.removeprefix(path), leaf.value) for leaf in of)
        same = path.partition("[")[0], values
        seen[same] += 1
        counts = [printed.count(flat(value).casefold()) for _, value in values]
        yield path, values, seen[same] > min(filter(None, counts), default=1)


CIRCLE = 12  # repeats in a row


def circling(text: str, prompt: str) -> tuple[str, int] | None:
    """The list that an unfinished answer writes in circles, and how many entries it may have if it is closed now.

    Up to the last entry, which may be unfinished, it ends in repeats that `parse` leaves out: at least `CIRCLE`, and on
    average three of each. After fewer the model may still find its place: in 539 answers, 20 of them with repeats, new
    entries followed up to eight repeats in a row, all different, and never three of each.
    """
    if text.count(text[-24:]) < 3:  # nearly every answer returns here; the rest takes milliseconds
        return None
    try:
        value, _ = close_json(text)
    except ValueError:
        return None
    found = [(path.partition("[")[0], values, is_repeat) for path, values, is_repeat in _entries(leaves(value), prompt)]
    name = found[-1][0] if found else ""
    run = [values for _, values, _ in takewhile(lambda one: one[0] == name and one[2], reversed(found[:-1]))]
    if len(run) < max(CIRCLE, 3 * len(set(run))):
        return None
    for step in name.split("."):
        value = value[step]
    return name, len(value) + 1


def _pointed_at(found: Sequence[Leaf], sentences: Sequence[Sentence]) -> tuple[list[Leaf], tuple[tuple[str, str], ...]]:
    """The clauses whose sentences were pointed at, each once, and the numbers that lead nowhere."""
    clauses: dict[str, dict[str, Leaf]] = {}
    dropped = []
    for leaf in found:
        quote, span = leaf.value, None
        if leaf.key not in QUOTED:
            first, _, last = leaf.value.partition("-")
            first, last = int(first), int(last or first)
            if not 1 <= first <= last <= len(sentences):
                dropped.append((leaf.key, leaf.value))
                continue
            run = sentences[first - 1 : last]
            quote = " ".join(sentence.text for sentence in run)
            span = (run[0].span[0], run[-1].span[1]) if run[0].span else None
        of = clauses.setdefault(leaf.key, {})
        if quote:
            of.setdefault(quote, replace(leaf, path=f"clauses.{leaf.key}[{len(of)}]", value=quote, span=span))
    return [leaf for of in clauses.values() for leaf in of.values()], tuple(dropped)


def _shortened(task: Task, value: Any) -> list[str]:
    """Cut what is longer than the task's fields may be, in the value itself; returns what was cut, and where.

    A server may count a string's characters otherwise than we do. Raises ValidationError if it does not fit then.
    """
    told: list[str] = []
    while True:
        try:
            task.model.model_validate(value)
            return told
        except ValidationError as error:
            found = [e for e in error.errors() if e["type"] in ("string_too_long", "too_long")]
            if not found:
                raise
        for one in found:
            inside, (*way, last), most = value, one["loc"], one["ctx"]["max_length"]
            for step in way:
                inside = inside[step]
            kind = "characters" if isinstance(inside[last], str) else "entries"
            path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in one["loc"])
            told.append(f"{path.removeprefix('.')} had {len(inside[last])} {kind} and was cut to {most}")
            inside[last] = inside[last][:most]


def _without_unfinished(task: Task, value: Any) -> Any:
    """The value of an answer that was cut off, without the entry of a list that lacks a field it must have."""
    try:
        task.model.model_validate(value)
    except ValidationError as error:
        for found in error.errors():
            *way, index = found["loc"][:-1] or [None]
            if found["type"] == "missing" and isinstance(index, int):
                entries = value
                for step in way:
                    entries = entries[step]
                if index == len(entries) - 1:
                    del entries[index]
    return value


# --- JSON that may stop anywhere -----------------------------------------------------------------------------

_HALF_A_NUMBER = re.compile(r"[-\d][\d.eE+-]*$")  # one at the end of a text may have had more digits
_ESCAPE = re.compile(r"\\(?:u[dD][89aAbB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|u[\da-fA-F]{4}|.)", re.DOTALL)
_HALVES = re.compile("[\ud800-\udfff]")  # of a surrogate pair: no text
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+\\?(?P<closed>")?|[\[\]{},:]|[^\s"\[\]{},:]+', re.DOTALL)


def close_json(text: str) -> tuple[Any, str | None]:
    """The value of a JSON text that may stop anywhere, and the path where it stopped (None if it is complete).

    A value that was begun and not finished is dropped rather than kept in part: half an amount is a wrong amount.
    Raises ValueError for text that is not the beginning of a JSON object or list, or of one that is nested too deep.
    """
    try:
        return json.loads(text, parse_int=str, parse_float=str), None  # a number is taken as it is written: 10.50
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except ValueError as error:
        if not text.strip():
            raise ValueError("it is empty") from None
        if getattr(error, "msg", "") == "Extra data":
            raise ValueError("more text follows the JSON value") from None
    whole = _HALVES.sub("\ufffd", _ESCAPE.sub(_whole_character, _HALF_A_NUMBER.sub("", text)))
    if not isinstance(from_json(whole, allow_partial=True), dict | list):
        raise ValueError("it has neither an object nor a list")
    return from_json(_TOKEN.sub(_number_as_text, whole), allow_partial=True), _scan(text)[1]


def _whole_character(match: re.Match) -> str:
    """An escape as it is, but for half of a surrogate pair: `json` reads one, `from_json` refuses it."""
    return r"\ufffd" if re.fullmatch(r"\\u[dD][89a-fA-F][\da-fA-F]{2}", match.group()) else match.group()


def _number_as_text(match: re.Match) -> str:
    return f'"{match.group()}"' if re.fullmatch(r"-?\d[\d.eE+-]*", match.group()) else match.group()


def value_spans(text: str) -> dict[str, tuple[int, int]]:
    """Where in an answer each of its texts was written, by the path it was written at, up to its closing quote."""
    try:
        return _scan(text)[0]
    except ValueError:  # a key that is no JSON text
        return {}


def _scan(text: str) -> tuple[dict[str, tuple[int, int]], str]:
    """`[start, end)` of each text among the values of a JSON text by its path, and the path that the text stops in."""
    found: dict[str, tuple[int, int]] = {}
    opened: list[list] = []  # of each container: key or number of the value begun in it, and entries so far of a list

    def path() -> str:
        return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step, _ in opened if step is not None)

    for match in _TOKEN.finditer(text):
        token = match.group()
        if token in ("{", "["):
            opened.append([None, None] if token == "{" else [0, 0])
        elif token == ",":
            if opened and opened[-1][1] is not None:
                opened[-1][0] = opened[-1][1]
        elif opened and opened[-1] == [None, None] and token != "}":  # a key
            if match["closed"]:
                opened[-1][0] = json.loads(token, strict=False)
        elif token != ":" and (match.end() < len(text) or match["closed"] or token in ("}", "]")):
            if token in ("}", "]"):
                opened = opened[:-1]
            elif match["closed"]:
                found[path().removeprefix(".")] = match.start() + 1, match.end()
            if opened:
                entries = opened[-1][1]
                opened[-1] = [None, None if entries is None else entries + 1]
    return found, f"answer{path()}"
