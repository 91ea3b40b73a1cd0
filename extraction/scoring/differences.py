"""Why a field of a prediction differs from the target."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from extraction.evidence import values
from extraction.scoring.metrics import _row_likeness, _span_likeness, assign, exact_match, scored
from extraction.tasks.schemas import CLAUSES

REASONS = ("misread", "not found", "invented", "wrong row", "wrong format")


@dataclass(frozen=True)
class Difference:
    """A field in which prediction and target differ. A value is None on the side that lacks it."""

    path: str
    target: str | None
    prediction: str | None
    reason: str  # one of REASONS


def differences(task: str, target: dict, prediction: dict | None) -> list[Difference]:
    """Every field that differs, with the likely reason.

    not found     the prediction has nothing there
    invented      the target has nothing there
    wrong row     the value belongs to another row (of a contract: to another category)
    wrong format  the same amount, date or words, in another form than in the document
    misread       anything else

    Rows are assigned as for the row-bound score; quotes of a contract differ if their word Jaccard is below 0.5.
    """
    record = prediction or {}
    if task == "question":
        answers, answer = target["answers"], record.get("answer")
        if answer is not None and exact_match(answers, answer):
            return []
        nearest = max(answers, key=lambda a: _same_value(a, answer or ""), default=None)
        entries = [("answer", nearest, answer)]
    elif task == "contract":
        entries = list(_quotes(target.get("clauses") or {}, record.get("clauses") or {}))
    else:
        entries = [entry for entry in _paired_leaves(scored(target), scored(prediction), "") if entry[1] != entry[2]]
    elsewhere: tuple[Counter, Counter] = (Counter(), Counter())  # what is left over of target and prediction
    for path, *sides in entries:
        for side, value in enumerate(sides):
            if value is not None:
                elsewhere[side][_group(task, path), value] += 1
    return [Difference(path, a, b, _reason(_group(task, path), a, b, elsewhere)) for path, a, b in entries]


def _group(task: str, path: str) -> str:
    """Where a value may have moved: the same field of other rows, or any category of clauses."""
    return "clauses" if task == "contract" else re.sub(r"\[\d+\]", "", path)


def _reason(group: str, target: str | None, prediction: str | None, elsewhere: tuple[Counter, Counter]) -> str:
    if target is not None and prediction is not None and _same_value(target, prediction):
        return "wrong format"
    for value, others in ((prediction, elsewhere[0]), (target, elsewhere[1])):
        if value is not None and others[group, value] > 0:
            return "wrong row"
    if prediction is None:
        return "not found"
    return "invented" if target is None else "misread"


def _paired_leaves(target: Any, prediction: Any, path: str) -> Iterator[tuple[str, str | None, str | None]]:
    """(path, target, prediction) of every leaf of either; a row that only one of them has keeps its own number."""
    if isinstance(target, dict | None) and isinstance(prediction, dict | None):
        first, second = target or {}, prediction or {}
        for key in [*first, *(key for key in second if key not in first)]:
            yield from _paired_leaves(first.get(key), second.get(key), f"{path}.{key}" if path else key)
    elif isinstance(target, list | None) and isinstance(prediction, list | None):
        first, second = target or [], prediction or []
        pairs = dict(assign(first, second, _row_likeness))
        for i, row in enumerate(first):
            yield from _paired_leaves(row, second[pairs[i]] if i in pairs else None, f"{path}[{i}]")
        for j in sorted(set(range(len(second))) - set(pairs.values())):
            yield from _paired_leaves(None, second[j], f"{path}[{j}]")
    else:
        yield path, *(None if value is None else str(value).strip() for value in (target, prediction))


def _quotes(target: dict, prediction: dict) -> Iterator[tuple[str, str | None, str | None]]:
    """The quotes of each category that match none, paired in their order."""
    for name in CLAUSES:
        targets, quotes = list(target.get(name, [])), list(prediction.get(name, []))
        pairs = assign(targets, quotes, _span_likeness)
        missed = [quote for i, quote in enumerate(targets) if i not in {i for i, _ in pairs}]
        extra = [quote for j, quote in enumerate(quotes) if j not in {j for _, j in pairs}]
        for number in range(max(len(missed), len(extra))):
            yield f"clauses.{name}", *(side[number] if number < len(side) else None for side in (missed, extra))


def _same_value(a: str, b: str) -> bool:
    """Whether two texts print the same amount, the same date, or the same letters and digits."""
    for read in (values.amount, _date):
        first, second = read(a), read(b)
        if first is not None and second is not None:
            return first == second
    first, second = ("".join(filter(str.isalnum, text.casefold())) for text in (a, b))
    return first == second != ""


def _date(text: str) -> date | None:
    """The date that a text is, if it can be read in one way only."""
    found = [readings for start, end, readings in values.dates(text) if (start, end) == (0, len(text))]
    return found[0][0] if found and len(found[0]) == 1 else None
