"""How sure the model was of each value of its answer, and how often a value that sure is right.

The confidence of a value is made from the probabilities of the tokens that its text and its closing quote were
written with; tokens of the JSON around it do not count, nor those that the grammar left no choice about. A
calibration, fitted on the eval split, turns it into the share of such values that are right.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

from extraction import files
from extraction.tasks import completions

FORMAT = 1  # goes up when a confidence is computed anew: those of another format are not comparable
FEWEST = 20  # right values, and wrong ones, that a task needs for a curve of its own: ten for each of two parameters
NEVER = 2.0  # a confidence that no value has
ISOTONIC = 1000  # values from which the isotonic curve beats Platt's (Niculescu-Mizil and Caruana 2005)

Scored = Sequence[tuple[float, bool]]  # (confidence, correct)


# --- tokens -> values ----------------------------------------------------------------------------------------


def token_spans(pieces: Sequence[bytes]) -> list[tuple[int, int]]:
    """[start, end) of each token in characters of the text; a token that has a part of a character covers it."""
    number = list(accumulate(byte & 0xC0 != 0x80 for byte in b"".join(pieces)))  # of the character a byte belongs to
    ends = list(accumulate(map(len, pieces)))
    starts = [0, *ends[:-1]]
    return [(number[a] - 1, number[b - 1]) if a < b else (0, 0) for a, b in zip(starts, ends, strict=True)]


def of_values(text: str, pieces: Sequence[bytes], choices: Sequence[float | None]) -> dict[str, float] | None:
    """The confidence of each value of an answer by the path it was written at, from the log-probability of its tokens.

    None stands for the log-probability of a token that was the only one allowed. None is given back where the pieces
    do not make the text, as those of a server that hides some of its tokens.
    """
    if len(pieces) != len(choices) or b"".join(pieces).decode("utf-8", errors="replace") != text:
        return None
    tokens = list(zip(token_spans(pieces), choices, strict=True))
    found = {}
    for path, (start, end) in completions.value_spans(text).items():
        inside = [choice for (a, b), choice in tokens if a < end and b > start and choice is not None]
        found[path] = combined(inside)
    return found


def combined(choices: Sequence[float]) -> float:
    """The probability of the value among all that could have stood there: the product over its tokens."""
    return min(1.0, math.exp(sum(choices)))


# --- calibration ---------------------------------------------------------------------------------------------

Curve = list[list[float]]  # [confidence, share that is right], both rising


def isotonic(judged: Scored) -> Curve:
    """The rising curve nearest to the outcomes (Ayer et al. 1955, Zadrozny and Elkan 2002): a point for each pool of
    neighbors, its mean confidence and its share of right values."""
    if not judged:
        raise ValueError("calibration needs at least one confidence")
    from scipy.optimize import isotonic_regression

    ordered = sorted(judged)
    together = [list(group) for _, group in groupby(ordered, key=itemgetter(0))]  # equal ones get one share
    weights = [len(group) for group in together]
    found = isotonic_regression([sum(right for _, right in group) / len(group) for group in together], weights=weights)
    pools = [[n for n in range(a, b)] for a, b in pairwise(found.blocks.tolist())]
    return [
        [
            sum(weights[n] * together[n][0][0] for n in pool) / sum(weights[n] for n in pool),
            float(found.x[pool[0]]),
        ]
        for pool in pools
    ]


def platt(judged: Scored) -> Curve:
    """Points of the sigmoid of a line in the confidence's logit that fits the outcomes best (Platt 1999), with his
    targets, which keep a few values from making a share of 0 or 1. It has two parameters where `isotonic` has many."""
    if not judged:
        raise ValueError("calibration needs at least one confidence")
    import numpy
    from scipy.optimize import minimize
    from scipy.special import expit, logit

    right = sum(correct for _, correct in judged)
    high, low = (right + 1) / (right + 2), 1 / (len(judged) - right + 2)
    x = logit(numpy.clip([confidence for confidence, _ in judged], 1e-6, 1 - 1e-6))
    target = numpy.where([correct for _, correct in judged], high, low)

    def loss(line: numpy.ndarray) -> tuple[float, list[float]]:
        z = line[0] * x + line[1]
        gap = expit(z) - target
        return float(numpy.sum(numpy.logaddexp(0, z) - target * z)), [float(gap @ x), float(gap.sum())]

    slope, offset = minimize(loss, [1.0, 0.0], jac=True, method="L-BFGS-B").x
    if slope <= 0:  # surer was not righter: all that is known is the share of right values
        return [[0.5, float(target.mean())]]
    return [[float(expit(z / 2)), float(expit(slope * z / 2 + offset))] for z in range(-28, 29)]


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
    """Curves by task, by task and kind of reading, and one over all under `all` for those that had too few values.

    `accept` has by the same names the confidence from which a value needs no review if the share of wrong
    values among those that are accepted may be `promise`; None where too few values were sure enough.
    """

    curves: dict[str, Curve]
    promise: float | None = None
    accept: Mapping[str, float | None] = field(default_factory=dict)

    def __call__(
        self, task: str, confidences: Mapping[str, float] | None, reading: str | None = None
    ) -> dict[str, float] | None:
        """What the confidences of a record's values mean: the share of values as sure as that which were right."""
        if confidences is None:
            return None
        return {path: self.share(task, confidence, reading) for path, confidence in confidences.items()}

    def share(self, task: str, confidence: float, reading: str | None = None) -> float:
        return at(_nearest(self.curves, task, reading), confidence)

    def accepted_from(self, task: str, reading: str | None = None) -> float | None:
        """The confidence from which a value of this task needs no review; above 1 if none is sure enough, None where
        no share of wrong values was promised."""
        if self.promise is None:
            return None
        found = _nearest(self.accept, task, reading)
        return NEVER if found is None else found


def group(task: str, reading: str | None) -> str:
    """The name of a task's values; of a document's that was read as text of a PDF, as a scan or as a photo apart."""
    return f"{task}, {reading}" if reading else task


def _nearest(table: Mapping[str, Any], task: str, reading: str | None) -> Any:
    return table.get(group(task, reading), table.get(task, table.get("all")))


def fit(judged: Mapping[str, Scored]) -> Calibration:
    """The calibration for the judged values of each group: isotonic where there are many, else Platt's."""
    curves = {}
    for task, values in judged.items():
        right = sum(correct for _, correct in values)
        if min(right, len(values) - right) >= FEWEST:
            curves[task] = _curve(values)
    return Calibration({"all": _curve([value for values in judged.values() for value in values]), **curves})


def _curve(judged: Scored) -> Curve:
    return isotonic(judged) if len(judged) >= ISOTONIC else platt(judged)


def threshold(judged: Scored, promise: float) -> float | None:
    """The lowest confidence from which at most the promised share of values is wrong; None if there is none.

    One more wrong value is counted than there were, since a few values say little about the next ones: the correction
    of conformal risk control (Angelopoulos et al. 2022).
    """
    lowest, kept, wrong = None, 0, 0
    for sure, group in groupby(sorted(judged, reverse=True), key=itemgetter(0)):
        outcomes = [right for _, right in group]
        kept, wrong = kept + len(outcomes), wrong + outcomes.count(False)
        if wrong + 1 <= promise * (kept + 1):
            lowest = sure
    return lowest


def thresholds(judged: Mapping[str, Scored], promise: float) -> dict[str, float | None]:
    """`threshold` for each group that has values enough to tell, and under `all` for the values of all tasks."""
    every = [value for values in judged.values() for value in values]
    enough = {task: values for task, values in judged.items() if len(values) >= 1 / promise}
    return {task: threshold(values, promise) for task, values in {**enough, "all": every}.items()}


def save(path: Path, calibration: Calibration, model: str, judged: Mapping[str, Scored], rows: str) -> Path:
    """Write a calibration with what it was fitted on: the fingerprints of the model and of the rows."""
    values = {task: len(found) for task, found in judged.items()}
    stored = {"format": FORMAT, "model": model, "rows": rows, "values": values, "curves": calibration.curves}
    stored |= {"promise": calibration.promise, "accept": dict(calibration.accept)}
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
        promise, accept = stored.get("promise"), stored.get("accept") or {}
        if not all(value is None or 0 <= value <= 1 for value in (promise, *accept.values())):
            raise ValueError("a threshold is not between 0 and 1")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise files.StageError(f"{path} is not a calibration. Delete it, or run test_moe.py --calibrate") from error
    return Calibration(curves, promise, accept)
