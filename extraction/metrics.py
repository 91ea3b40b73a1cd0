"""The metrics, by their published definitions, and the intervals around them.

Each task has a function that turns one document's target and prediction into counts, and a metric is a function of a
list of such counts, so that one bootstrap over documents serves them all.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rapidfuzz.distance import Levenshtein

from extraction.tasks import CLAUSES


@dataclass(frozen=True)
class Counts:
    """True positives, false positives, false negatives and true negatives of one document."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0


def f1(counts: Sequence[Counts]) -> float:
    """Micro F1, TP / (TP + (FP + FN) / 2); 1 where there was nothing to find and nothing was found."""
    tp = sum(c.tp for c in counts)
    wrong = sum(c.fp + c.fn for c in counts)
    return tp / (tp + wrong / 2) if tp + wrong else 1.0


def accuracy(counts: Sequence[Counts]) -> float:
    """Share of right decisions among all decisions."""
    right = sum(c.tp + c.tn for c in counts)
    return right / (right + sum(c.fp + c.fn for c in counts))


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


# --- receipts ------------------------------------------------------------------------------------------------


def leaves(record: Any, path: str = "") -> list[tuple[str, str]]:
    """The fields of a record as (path, value); list positions are not part of a path.

    `{"line_items": [{"amount": "2.00"}]}` has the one leaf `("line_items.amount", "2.00")`.
    """
    if isinstance(record, dict):
        return [leaf for key, value in record.items() for leaf in leaves(value, f"{path}.{key}" if path else key)]
    if isinstance(record, list):
        return [leaf for value in record for leaf in leaves(value, path)]
    return [] if record in (None, "") else [(path, str(record).strip())]


def field_counts(target: dict, prediction: dict | None) -> Counts:
    """Matches between the multisets of (path, value), as in Donut's JSONParseEvaluator (Kim et al. 2022).

    Row membership is not part of it: two line items that swap their amounts still match. The summary is not scored.
    An unreadable prediction (None) misses every field.
    """
    wanted, found = (
        Counter(leaves({k: v for k, v in (r or {}).items() if k != "summary"})) for r in (target, prediction)
    )
    tp = sum((wanted & found).values())
    return Counts(tp=tp, fp=sum(found.values()) - tp, fn=sum(wanted.values()) - tp)


def exact_record(target: dict, prediction: dict | None) -> float:
    """1.0 if every field is right and none is invented."""
    counts = field_counts(target, prediction)
    return float(counts.fp == counts.fn == 0)


# --- contracts -----------------------------------------------------------------------------------------------


def clause_counts(target: dict, prediction: dict | None) -> Counts:
    """Clause identification: for each of CUAD's 41 categories, is it present in this contract, and was it found?"""
    wanted, found = set(target.get("clauses") or {}), set((prediction or {}).get("clauses") or {})
    tp, fp, fn = len(wanted & found), len(found - wanted), len(wanted - found)
    return Counts(tp, fp, fn, len(CLAUSES) - tp - fp - fn)


def span_counts(target: dict, prediction: dict | None) -> Counts:
    """Quotes matched one to one within their category at a word Jaccard of at least 0.5, as in CUAD's evaluate.py.

    White space and case are normalized first.
    """
    tp = fp = fn = 0
    for name in CLAUSES:
        wanted = list((target.get("clauses") or {}).get(name, []))
        found = list(((prediction or {}).get("clauses") or {}).get(name, []))
        hits = 0
        for quote in found:
            match = next((w for w in wanted if jaccard(w, quote) >= 0.5), None)
            if match is not None:
                wanted.remove(match)
                hits += 1
        tp, fp, fn = tp + hits, fp + len(found) - hits, fn + len(wanted)
    return Counts(tp, fp, fn)


def jaccard(a: str, b: str) -> float:
    """Shared words over all words, as sets."""
    first, second = set(a.casefold().split()), set(b.casefold().split())
    return len(first & second) / len(first | second) if first | second else 1.0


# --- question answering --------------------------------------------------------------------------------------


def anls(answers: Sequence[str], prediction: str | None, threshold: float = 0.5) -> float:
    """Average normalized Levenshtein similarity of one question: the best over the accepted answers, 0 below 0.5.

    Biten et al. 2019 (ST-VQA). Case and white space are normalized.
    """
    if prediction is None:
        return 0.0
    found = _flat(prediction)
    best = max((1 - Levenshtein.normalized_distance(_flat(a), found) for a in answers), default=0.0)
    return best if best >= threshold else 0.0


def exact_match(answers: Sequence[str], prediction: str | None) -> float:
    return float(prediction is not None and _flat(prediction) in map(_flat, answers))


def _flat(text: str) -> str:
    return " ".join(text.casefold().split())


# --- intervals -----------------------------------------------------------------------------------------------


def estimate(
    metric: Callable[[Sequence[Any]], float], values: Sequence[Any], samples: int = 1000, seed: int = 0
) -> dict[str, float]:
    """`{"value", "low", "high"}`: the metric, and its 95 % percentile bootstrap interval over documents."""
    if not values:
        raise ValueError("a metric needs at least one document")
    draw = random.Random(seed)
    drawn = sorted(metric(draw.choices(values, k=len(values))) for _ in range(samples))
    low, high = drawn[int(0.025 * samples)], drawn[min(int(0.975 * samples), samples - 1)]
    return {"value": metric(values), "low": low, "high": high}


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
