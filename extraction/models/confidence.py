"""How sure the model was of each value of its answer, and how often a value that sure is right.

The confidence of a value is made from the probabilities of the tokens that its text and its closing quote were
written with; tokens of the JSON around it do not count, nor those that the grammar left no choice about. A
calibration, fitted on the eval split, turns it into the share of such values that are right.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from extraction import files
from extraction.tasks import completions, records, schemas

FORMAT = 1  # goes up when a confidence is computed anew: those of another format are not comparable
FEWEST = 20  # right values, and wrong ones, that a task needs for a curve of its own: ten for each of two parameters
ISOTONIC = 1000  # values from which the isotonic curve beats Platt's (Niculescu-Mizil and Caruana 2005)

Scored = Sequence[tuple[float, bool]]  # (confidence, correct)

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"(?P<key>\s*:)?', re.DOTALL)


# --- tokens -> values ----------------------------------------------------------------------------------------


def token_spans(pieces: Sequence[bytes]) -> list[tuple[int, int]]:
    """[start, end) of each token in characters of the text; a token that has a part of a character covers it."""
    number = list(accumulate(byte & 0xC0 != 0x80 for byte in b"".join(pieces)))  # of the character a byte belongs to
    ends = list(accumulate(map(len, pieces)))
    starts = [0, *ends[:-1]]
    return [(number[a] - 1, number[b - 1]) if a < b else (0, 0) for a, b in zip(starts, ends, strict=True)]


def value_spans(text: str) -> dict[str, tuple[int, int]]:
    """Where in an answer each value of its record was written, by the value's path, up to its closing quote.

    Paths are those of the record that `tasks.parse` reads, in which empty entries have no number.
    """
    spans: list[tuple[int, int]] = []

    def numbered(match: re.Match) -> str:
        if match["key"] is not None or match.group() == '""':
            return match.group()
        spans.append((match.start() + 1, match.end()))
        return f'"{len(spans) - 1}"'

    try:
        record, _ = completions.close_json(_STRING.sub(numbered, text))
        return {leaf.path: spans[int(leaf.value)] for leaf in records.leaves(records.prune(record))}
    except ValueError:  # an answer that cannot be read has no values
        return {}


def of_values(text: str, pieces: Sequence[bytes], choices: Sequence[float | None]) -> dict[str, float] | None:
    """The confidence of each value of an answer, from the log-probability of each of its tokens.

    None stands for the log-probability of a token that was the only one allowed. None is given back where the pieces
    do not make the text, as those of a server that hides some of its tokens.
    """
    if len(pieces) != len(choices) or b"".join(pieces).decode("utf-8", errors="replace") != text:
        return None
    tokens = list(zip(token_spans(pieces), choices, strict=True))
    found = {}
    for path, (start, end) in value_spans(text).items():
        inside = [choice for (a, b), choice in tokens if a < end and b > start and choice is not None]
        found[path] = combined(inside)
    return found


def combined(choices: Sequence[float]) -> float:
    """The probability of the value among all that could have stood there: the product over its tokens."""
    return min(1.0, math.exp(sum(choices)))


def merged(task: schemas.Task, windows: Sequence[tuple[dict, Mapping[str, float] | None]]) -> dict[str, float]:
    """The confidences of the record that a document's windows were merged to, from each window's record and its own.

    A quote that several windows have has the highest of its confidences; lists are joined as the records' are.
    """
    found: dict[str, float] = {}
    if task is schemas.CONTRACT:
        best = best_quotes(windows)
        for leaf in records.leaves(records.merge_clauses(record for record, _ in windows)):
            if (leaf.key, leaf.value) in best:
                found[leaf.path] = best[leaf.key, leaf.value]
        return found
    before: dict[str, int] = {}  # entries that earlier windows put into a list
    for record, own in windows:
        for path, confidence in (own or {}).items():
            entry = re.match(r"(\w+)\[(\d+)\]", path)
            if entry:
                path = f"{entry[1]}[{int(entry[2]) + before.get(entry[1], 0)}]{path[entry.end() :]}"
            found.setdefault(path, confidence)
        for key, value in record.items():
            if isinstance(value, list):
                before[key] = before.get(key, 0) + len(value)
    return found


def best_quotes(windows: Iterable[tuple[dict, Mapping[str, float] | None]]) -> dict[tuple[str, str], float]:
    """The highest confidence of each (category, quote) of a contract's windows, quotes as `merge_clauses` has them."""
    best: dict[tuple[str, str], float] = {}
    for record, own in windows:
        for leaf in records.leaves(record):
            if own and leaf.path in own:
                key = leaf.key, " ".join(leaf.value.split())
                best[key] = max(own[leaf.path], best.get(key, 0.0))
    return best


# --- calibration ---------------------------------------------------------------------------------------------

Curve = list[list[float]]  # [confidence, share that is right], both rising


def isotonic(judged: Scored) -> Curve:
    """The rising curve nearest to the outcomes, by pooling adjacent violators (Ayer et al. 1955, Zadrozny and Elkan
    2002): a point for each pool, its mean confidence and its share of right values."""
    if not judged:
        raise ValueError("calibration needs at least one confidence")
    by_confidence: dict[float, list[bool]] = {}
    for confidence, correct in judged:
        by_confidence.setdefault(confidence, []).append(correct)
    pools: list[list[float]] = []  # right, values, sum of confidences
    for confidence in sorted(by_confidence):
        outcomes = by_confidence[confidence]
        pools.append([sum(outcomes), len(outcomes), confidence * len(outcomes)])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] >= pools[-1][0] / pools[-1][1]:
            last = pools.pop()
            pools[-1] = [a + b for a, b in zip(pools[-1], last, strict=True)]
    return [[total / n, right / n] for right, n, total in pools]


def platt(judged: Scored) -> Curve:
    """Points of the sigmoid of a line in the confidence's logit that fits the outcomes best (Platt 1999), with his
    targets, which keep a few values from making a share of 0 or 1. It has two parameters where `isotonic` has many."""
    if not judged:
        raise ValueError("calibration needs at least one confidence")
    right = sum(correct for _, correct in judged)
    high, low = (right + 1) / (right + 2), 1 / (len(judged) - right + 2)
    data = [(_logit(confidence), high if correct else low) for confidence, correct in judged]
    slope, offset = 1.0, 0.0
    for _ in range(100):  # Newton's method, in steps that cannot jump over the minimum of this convex loss
        to_slope = to_offset = mixed = 0.0
        second = third = 1e-3  # so that there is a step where all confidences are the same
        for x, wanted in data:
            share = _sigmoid(slope * x + offset)
            weight, gap = max(share * (1 - share), 1e-6), share - wanted
            to_slope, to_offset = to_slope + gap * x, to_offset + gap
            second, mixed, third = second + weight * x * x, mixed + weight * x, third + weight
        determinant = second * third - mixed * mixed
        by_slope = (third * to_slope - mixed * to_offset) / determinant
        by_offset = (second * to_offset - mixed * to_slope) / determinant
        longest = max(abs(by_slope), abs(by_offset))
        shorter = min(1.0, 0.5 / longest) if longest else 0.0
        slope, offset = slope - shorter * by_slope, offset - shorter * by_offset
        if longest < 1e-6:
            break
    if slope <= 0:  # surer was not righter: all that is known is the share of right values
        return [[0.5, sum(wanted for _, wanted in data) / len(data)]]
    return [[_sigmoid(x / 2), _sigmoid(slope * x / 2 + offset)] for x in range(-28, 29)]


def _logit(confidence: float) -> float:
    inside = min(max(confidence, 1e-6), 1 - 1e-6)
    return math.log(inside / (1 - inside))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-max(-35.0, min(35.0, x))))


def at(curve: Curve, confidence: float) -> float:
    """The curve's value, by lines between its points, and level beyond its ends."""
    if confidence <= curve[0][0]:
        return curve[0][1]
    for (x, y), (following, higher) in zip(curve, curve[1:], strict=False):
        if confidence <= following:
            return y + (higher - y) * (confidence - x) / (following - x)
    return curve[-1][1]


@dataclass(frozen=True)
class Calibration:
    """Curves by task, and one over all tasks under `all` for those that had too few values for their own."""

    curves: dict[str, Curve]

    def __call__(self, task: str, confidences: Mapping[str, float] | None) -> dict[str, float] | None:
        """What the confidences of a record's values mean: the share of values as sure as that which were right."""
        if confidences is None:
            return None
        curve = self.curves.get(task, self.curves["all"])
        return {path: at(curve, confidence) for path, confidence in confidences.items()}


def fit(judged: Mapping[str, Scored]) -> Calibration:
    """The calibration for the judged values of each task: isotonic where there are many, else Platt's."""
    curves = {}
    for task, values in judged.items():
        right = sum(correct for _, correct in values)
        if min(right, len(values) - right) >= FEWEST:
            curves[task] = _curve(values)
    return Calibration({"all": _curve([value for values in judged.values() for value in values]), **curves})


def _curve(judged: Scored) -> Curve:
    return isotonic(judged) if len(judged) >= ISOTONIC else platt(judged)


def save(path: Path, calibration: Calibration, model: str, judged: Mapping[str, Scored], rows: str) -> Path:
    """Write a calibration with what it was fitted on: the fingerprints of the model and of the rows."""
    values = {task: len(found) for task, found in judged.items()}
    stored = {"format": FORMAT, "model": model, "rows": rows, "values": values, "curves": calibration.curves}
    return files.write_json(path, {**stored, "check": files.fingerprint(stored)})


def load(path: Path, model: str) -> Calibration | None:
    """The calibration stored at this path, if there is one and it was fitted for this model.

    Raises StageError for a file that is not a calibration.
    """
    if not path.is_file():
        return None
    stored = files.read_json(path)
    try:
        if files.fingerprint({k: v for k, v in stored.items() if k != "check"}) != stored["check"]:
            raise ValueError("it was changed after it was made")
        if stored["format"] != FORMAT or stored["model"] != model:
            return None
        curves = {task: [[float(x), float(y)] for x, y in curve] for task, curve in stored["curves"].items()}
        if not curves["all"] or not all(0 <= y <= 1 for curve in curves.values() for _, y in curve):
            raise ValueError("a share is not between 0 and 1")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise files.StageError(f"{path} is not a calibration. Delete it, or run test_moe.py --calibrate") from error
    return Calibration(curves)
