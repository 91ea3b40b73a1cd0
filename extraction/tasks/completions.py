"""A completion: a record as the model writes it, and how what a model wrote is read."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from extraction.tasks.records import prune
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
    """What a completion said. `record` is None if it is unreadable, and then `problem` says why.

    `dropped` are the sentence numbers that the prompt does not have. `written` has, of an answer that points at
    sentences, the path in the answer of each clause of the record, by the clause's own.
    """

    record: dict | None
    problem: str | None = None
    dropped: tuple[str, ...] = ()
    written: dict[str, str] | None = None

    def of_record(self, of_answer: dict[str, Any] | None) -> dict[str, Any] | None:
        """What is known of the answer's values by their paths, such as their confidences, by those of the record."""
        if self.written is None or of_answer is None:
            return of_answer
        return {path: of_answer[written] for path, written in self.written.items() if written in of_answer}


def parse(task: Task, text: str, shown: str = "") -> Reading:
    """Read a completion: JSON, closed if it was cut off, checked against the task's fields.

    `shown` is the user message that was answered; where an answer points at its sentences, the record quotes them.
    """
    try:
        value, cut = close_json(text)
    except ValueError as error:
        return Reading(None, f"not JSON: {error}")
    try:
        record = ordered(task, value if cut is None else _without_unfinished(task, value))
    except ValidationError as error:
        first = error.errors()[0]
        return Reading(None, f"not a {task.name} record: {'.'.join(map(str, first['loc']))}: {first['msg']}")
    problem = f"the answer was cut off in {cut}; what follows is missing" if cut is not None else None
    if task is CONTRACT:
        return _quoted(record, shown, problem)
    return Reading(record, problem)


def _quoted(record: dict, shown: str, problem: str | None) -> Reading:
    """The contract record that quotes the sentences pointed at, without the numbers that lead nowhere."""
    lines = [line.partition("] ")[2] for line in shown.split("\n")]
    clauses: dict[str, list[str]] = {}
    dropped: list[str] = []
    written: dict[str, str] = {}
    for name, values in record.get("clauses", {}).items():
        for index, value in enumerate(values):
            quote = value
            if name not in QUOTED:
                first, _, last = value.partition("-")
                first, last = int(first), int(last or first)
                quote = " ".join(lines[first - 1 : last]) if 1 <= first <= last <= len(lines) else None
            if quote is None:
                dropped.append(f"{name}: {value}")
            elif quote not in clauses.setdefault(name, []):
                written[f"clauses.{name}[{len(clauses[name])}]"] = f"clauses.{name}[{index}]"
                clauses[name].append(quote)
    return Reading(prune({"clauses": clauses}), problem, tuple(dropped), written)


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


class _CutOff(Exception):
    """The text ended at this path."""


def close_json(text: str) -> tuple[Any, str | None]:
    """The value of a JSON text that may stop anywhere, and the path where it stopped (None if it is complete).

    A value that was begun and not finished is dropped rather than kept in part: half an amount is a wrong amount.
    Raises ValueError for text that is not the beginning of a JSON value, or of one that is nested too deep.
    """
    root: list[Any] = []
    try:
        end = _read(text, _space(text, 0), root, "answer")
    except _CutOff as cut:
        if not root:
            raise ValueError("it is empty") from None
        return root[0], str(cut)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if text[_space(text, end) :]:
        raise ValueError("more text follows the JSON value")
    return root[0], None


def _space(text: str, i: int) -> int:
    while i < len(text) and text[i] in " \t\r\n":
        i += 1
    return i


_NUMBER_BEGUN = re.compile(r"-?\d*\.?\d*(?:[eE][-+]?\d*)?")


def _read(text: str, i: int, into: list, path: str) -> int:
    """Append the value at `text[i]` to `into`, containers before they are complete. Returns the index behind it."""
    opening = text[i : i + 1]
    if opening == "{":
        value: dict = {}
        into.append(value)
        return _read_members(text, i + 1, path, "}", value)
    if opening == "[":
        items: list = []
        into.append(items)
        return _read_members(text, i + 1, path, "]", items)
    if path != "answer" and opening and _NUMBER_BEGUN.fullmatch(text, i):
        raise _CutOff(path)  # a number that ends with the text may have had more digits
    try:
        value, end = json.JSONDecoder().raw_decode(text, i)
    except json.JSONDecodeError as error:
        rest = text[i:]
        if opening in ("", '"') or any(word.startswith(rest) for word in ("true", "false", "null")):
            raise _CutOff(path) from None
        raise ValueError(f"{error.msg} at character {error.pos}") from None
    into.append(value)
    return end


def _read_members(text: str, i: int, path: str, closing: str, container: dict | list) -> int:
    i = _space(text, i)
    if text[i : i + 1] == closing:
        return i + 1
    while True:
        if isinstance(container, dict):
            key_holder: list = []
            if text[i : i + 1] not in ("", '"'):
                raise ValueError(f"a key was expected at character {i}")
            i = _space(text, _read(text, i, key_holder, path))
            key = key_holder[0]
            if i == len(text):
                raise _CutOff(f"{path}.{key}")
            if text[i] != ":":
                raise ValueError(f"':' was expected at character {i}")
            holder: list = _Member(container, key)
            i = _read(text, _space(text, i + 1), holder, f"{path}.{key}")
        else:
            i = _read(text, i, container, f"{path}[{len(container)}]")
        i = _space(text, i)
        if i == len(text):
            raise _CutOff(path)
        if text[i] == closing:
            return i + 1
        if text[i] != ",":
            raise ValueError(f"',' was expected at character {i}")
        i = _space(text, i + 1)


class _Member:
    """One key of an object, to be appended to like a list."""

    def __init__(self, owner: dict, key: str):
        self.owner, self.key = owner, key

    def append(self, value: Any) -> None:
        self.owner[self.key] = value
