"""The metrics, by their published definitions, the intervals around them, and the reason why a field differs.

Each task has a function that turns one document's target and prediction into counts, and a metric is a function of a
list of such counts, so that one bootstrap over documents serves them all.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rapidfuzz.distance import Levenshtein

from extraction import cord
from extraction.tasks import records
from extraction.tasks.schemas import CLAUSES


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


def precision(counts: Sequence[Counts]) -> float:
    """TP / (TP + FP) over all documents; 1 where nothing was found."""
    tp, fp = (sum(getattr(c, name) for c in counts) for name in ("tp", "fp"))
    return tp / (tp + fp) if tp + fp else 1.0


def recall(counts: Sequence[Counts]) -> float:
    """TP / (TP + FN) over all documents; 1 where there was nothing to find."""
    tp, fn = (sum(getattr(c, name) for c in counts) for name in ("tp", "fn"))
    return tp / (tp + fn) if tp + fn else 1.0


def accuracy(counts: Sequence[Counts]) -> float:
    """Share of right decisions among all decisions."""
    right = sum(c.tp + c.tn for c in counts)
    return right / (right + sum(c.fp + c.fn for c in counts))


def total(counts: Iterable[Counts]) -> Counts:
    counts = list(counts)
    return Counts(*(sum(getattr(c, name) for c in counts) for name in ("tp", "fp", "fn", "tn")))


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


# --- receipts ------------------------------------------------------------------------------------------------


def scored(record: dict | None) -> dict:
    """The part of a record that is scored: everything that is not empty, without the summary."""
    return records.prune({key: value for key, value in (record or {}).items() if key != "summary"})


def by_field(target: dict, prediction: dict | None) -> dict[str, Counts]:
    """For each path: matches between the multisets of its values.

    A value of several lines counts as its lines, since a line break stands between the entries of a list of CORD.
    """
    values: dict[str, tuple[Counter, Counter]] = {}
    for side, record in enumerate((target, prediction)):
        for leaf in records.leaves(scored(record)):
            lines = [line.strip() for line in leaf.value.split("\n") if line.strip()]
            values.setdefault(leaf.field, (Counter(), Counter()))[side].update(lines)
    found = {}
    for path, (targets, predictions) in values.items():
        tp = (targets & predictions).total()
        found[path] = Counts(tp=tp, fp=predictions.total() - tp, fn=targets.total() - tp)
    return found


def field_counts(target: dict, prediction: dict | None) -> Counts:
    """Matches between the multisets of (path, value), as in Donut's JSONParseEvaluator.cal_f1 (Kim et al. 2022).

    Row membership is not part of it: two line items that swap their amounts still match. The summary is not scored.
    An unreadable prediction (None) misses every field.
    """
    return total(by_field(target, prediction).values())


def exact_record(target: dict, prediction: dict | None) -> float:
    """1.0 if every field is right and none is invented."""
    counts = field_counts(target, prediction)
    return float(counts.fp == counts.fn == 0)


def row_counts(target: dict, prediction: dict | None) -> Counts:
    """Row-bound line-item counts: a field of a row is right only in the row that it belongs to.

    The rows of the prediction are assigned to those of the target one to one, so that the most fields match; the
    order of rows does not matter, and sub-items are assigned the same way within their row. Rows are the line items
    and void items of a receipt and the labeled values of a document. Defined by this project, after the row alignment
    of ExtractBench (run-llama 2026); Donut's F1 gives 1 to quantities that two line items have swapped.
    """
    target, prediction = ({k: v for k, v in scored(r).items() if isinstance(v, list)} for r in (target, prediction))
    tp = _matches(target, prediction)
    return Counts(tp=tp, fp=_count(prediction) - tp, fn=_count(target) - tp)


def _count(record: dict) -> int:
    return sum(1 for _ in records.leaves(record))


def _matches(target: Any, prediction: Any) -> int:
    """How many leaves are the same when every list is matched row by row."""
    if isinstance(target, dict) and isinstance(prediction, dict):
        return sum(_matches(target[key], prediction[key]) for key in target.keys() & prediction.keys())
    if isinstance(target, list) and isinstance(prediction, list):
        return sum(_matches(target[i], prediction[j]) for i, j in assign(target, prediction, _row_likeness))
    if isinstance(target, dict | list) or isinstance(prediction, dict | list):
        return 0
    return int(str(target).strip() == str(prediction).strip())


def _row_likeness(target: Any, prediction: Any) -> float:
    """The number of equal leaves; a fraction for values that are alike decides between rows that match as well."""
    alike = 0.0
    if isinstance(target, dict) and isinstance(prediction, dict):
        for key in target.keys() & prediction.keys():
            if isinstance(target[key], str) and isinstance(prediction[key], str):
                alike += Levenshtein.normalized_similarity(target[key], prediction[key], score_cutoff=0.5)
    return _matches(target, prediction) + alike / 1000


def assign(targets: Sequence, predictions: Sequence, weight: Callable[[Any, Any], float]) -> list[tuple[int, int]]:
    """The one-to-one assignment with the largest sum of weights (Kuhn 1955), as pairs of indices.

    Pairs of weight 0 are left out.
    """
    from scipy.optimize import linear_sum_assignment

    if not targets or not predictions:
        return []
    weights = [[weight(a, b) for b in predictions] for a in targets]
    chosen = zip(*linear_sum_assignment(weights, maximize=True), strict=True)
    return [(int(i), int(j)) for i, j in chosen if weights[i][j] > 0]


def nted_accuracy(target: dict, prediction: dict | None) -> float:
    """1 - TED(prediction, target) / TED({}, target), and at least 0: Donut's JSONParseEvaluator.cal_acc.

    TED is the tree edit distance of Zhang and Shasha (1989). A leaf costs as many edits as it has characters, another
    node one. The tree is CORD's, and what CORD has no place for stands beside it. Order of rows matters here. Where
    both are empty Donut divides by zero; it is 1 here.
    """
    import zss  # imports numpy

    right, read = (_node("", _cord_tree(scored(record)), zss.Node) for record in (target, prediction))
    whole = _weight(right) - 1  # inserting all but the root, which {} has too
    if whole == 0 or abs(_weight(read) - _weight(right)) >= whole:  # a lower bound of the distance: no need for zss
        return float(whole == 0 and _weight(read) == 1)
    distance = zss.distance(right, read, zss.Node.get_children, _edit_cost, _edit_cost, _update_cost)
    return max(0.0, 1 - distance / whole)


def _cord_tree(record: dict) -> dict:
    """CORD's tree of a record; fields that CORD does not have stay as they are."""
    others = {key: value for key, value in record.items() if not cord.to_cord({key: value})}
    return {**cord.to_cord(record), **others}


def _node(label: str, value: Any, make: Callable) -> Any:
    """A tree as Donut builds it: keys by length and name, a node above each object in a list or under a key."""
    node = make((label, None))
    if isinstance(value, dict):
        for key in sorted(value, key=lambda key: (len(key), key)):
            child = make((key, None))
            for item in value[key] if isinstance(value[key], list) else [value[key]]:
                inner = isinstance(item, dict)
                child.addkid(_node("<subtree>", item, make) if inner else make(("", str(item).strip())))
            node.addkid(child)
    return node


def _weight(node: Any) -> int:
    return _edit_cost(node) + sum(map(_weight, node.children))


def _edit_cost(node: Any) -> int:
    leaf = node.label[1]
    return 1 if leaf is None else len(leaf)


def _update_cost(a: Any, b: Any) -> int:
    first, second = a.label[1], b.label[1]
    if first is None and second is None:
        return int(a.label[0] != b.label[0])
    if first is None or second is None:
        return 1 + len(first or second or "")
    return Levenshtein.distance(first, second)


def anls_star(target: dict, prediction: dict | None) -> float:
    """ANLS* of two records (Peer et al. 2024, library anls-star): list entries are assigned so that they fit best,
    each leaf has the normalized Levenshtein similarity, 0 below 0.5, and the mean is over the leaves of both."""
    from anls_star import anls_score

    return float(anls_score(scored(target), scored(prediction)))


# --- contracts -----------------------------------------------------------------------------------------------


def by_category(target: dict, prediction: dict | None) -> dict[str, Counts]:
    """Clause identification: for each of CUAD's 41 categories, is it present in this contract, and was it found?"""
    target, prediction = (set((record or {}).get("clauses") or {}) for record in (target, prediction))
    decisions = {name: (name in target, name in prediction) for name in CLAUSES}
    return {
        name: Counts(int(there and seen), int(seen and not there), int(there and not seen), int(not there and not seen))
        for name, (there, seen) in decisions.items()
    }


def clause_counts(target: dict, prediction: dict | None) -> Counts:
    """The decisions of `by_category` added up. "Clause identification" is a metric of this project: F1 and accuracy
    of presence, which is easier than finding the span."""
    return total(by_category(target, prediction).values())


def span_counts(target: dict, prediction: dict | None) -> Counts:
    """Quotes assigned one to one within their category where their word Jaccard is at least 0.5.

    The threshold and the words are those of CUAD's evaluate.py (Hendrycks et al. 2021), which lets one quote match
    several targets and the other way round; here each counts once.
    """
    tp = fp = fn = 0
    for name in CLAUSES:
        targets, quotes = (((record or {}).get("clauses") or {}).get(name, []) for record in (target, prediction))
        hits = len(assign(targets, quotes, _span_likeness))
        tp, fp, fn = tp + hits, fp + len(quotes) - hits, fn + len(targets) - hits
    return Counts(tp, fp, fn)


def _span_likeness(target: str, prediction: str) -> float:
    """The Jaccard similarity if it makes a match, else 0; plus 1, so that more matches beat better ones."""
    similarity = jaccard(target, prediction)
    return 1 + similarity if similarity >= 0.5 else 0.0


def jaccard(a: str, b: str) -> float:
    """Shared words over all words, as sets. `. , ; :` and case do not count, `/` parts words: CUAD's get_jaccard."""
    first, second = (set(re.sub("[.,;:]", "", text).lower().replace("/", " ").split()) for text in (a, b))
    return len(first & second) / len(first | second) if first | second else 1.0


# --- confidences ---------------------------------------------------------------------------------------------

Scored = Sequence[tuple[float, bool]]  # (confidence, correct)


def right_values(task: str, target: dict, prediction: dict | None) -> dict[str, bool]:
    """Whether each value of the prediction is right, by its path with list positions. The summary is not judged.

    A value of a row is right only in the row that it belongs to, as for the row-bound score, a quote if its word
    Jaccard with one of its category, which no other quote was given, is at least 0.5, and an answer if it is one of
    those accepted, case and white space aside.
    """
    if task == "question":
        answer = (prediction or {}).get("answer")
        return {} if answer in (None, "") else {"answer": bool(exact_match(target["answers"], answer))}
    if task == "contract":
        found, targets = {}, target.get("clauses") or {}
        for name, quotes in ((prediction or {}).get("clauses") or {}).items():
            hits = {j for _, j in assign(targets.get(name, []), quotes, _span_likeness)}
            found |= {f"clauses.{name}[{j}]": j in hits for j in range(len(quotes))}
        return found
    whole = {key: value for key, value in (prediction or {}).items() if key != "summary"}
    return dict(_judged(scored(target), whole, ""))


def _judged(target: Any, prediction: Any, path: str) -> Iterator[tuple[str, bool]]:
    if isinstance(prediction, dict):
        of = target if isinstance(target, dict) else {}
        for key, value in prediction.items():
            yield from _judged(of.get(key), value, f"{path}.{key}" if path else key)
    elif isinstance(prediction, list):
        of = target if isinstance(target, list) else []
        rows = {j: of[i] for i, j in assign(of, prediction, _row_likeness)}
        for j, value in enumerate(prediction):
            yield from _judged(rows.get(j), value, f"{path}[{j}]")
    elif prediction not in (None, ""):
        yield path, target is not None and str(target).strip() == str(prediction).strip()


def cuad_scored(target: dict, predictions: Sequence[tuple[str, str, float]]) -> tuple[list[tuple[float, bool]], int]:
    """The quotes (category, quote, confidence) of one contract judged as CUAD's compute_precision_recall does.

    Gives (confidence, correct), and the number of quotes to be found. A target is found with the
    highest confidence of the quotes that match it; a quote that matches no target is wrong. For "Parties" a quote
    that contains the target matches too.
    """
    judged: list[tuple[float, bool]] = []
    targets = target.get("clauses") or {}
    for name in CLAUSES:
        quotes: dict[str, float] = {}
        for category, quote, confidence in predictions:
            if category == name and quote:
                quotes[quote] = max(confidence, quotes.get(quote, 0.0))
        right = set()
        for clause in targets.get(name, []):
            matching = [q for q in quotes if jaccard(clause, q) >= 0.5 or (name == "Parties" and clause in q)]
            right.update(matching)
            if matching:
                judged.append((max(quotes[q] for q in matching), True))
        judged += [(confidence, False) for quote, confidence in quotes.items() if quote not in right]
    return judged, sum(map(len, targets.values()))


def precision_recall(judged: Scored, targets: int) -> list[tuple[float, float]]:
    """(recall, precision) as the confidence threshold goes down: CUAD's get_precisions_recalls.

    Thresholds are 0.99, 0.98, ... 0.01, 0.001 and 0, and a confidence must exceed them. Precision is the best at
    this recall or a higher one (process_precisions). The curve begins with precision 1 at recall 0.
    """
    if targets < 1:
        raise ValueError("recall needs at least one clause that is there to be found")
    points = [(0.0, 1.0)]
    for threshold in [n / 100 for n in range(99, 0, -1)] + [0.001, 0.0]:
        kept = [correct for confidence, correct in judged if confidence > threshold]
        points.append((sum(kept) / targets, sum(kept) / len(kept) if kept else 0.0))
    best, curve = 0.0, []
    for recall, precision in reversed(points):
        best = max(best, precision)
        curve.append((recall, best))
    return curve[::-1]


def aupr(curve: Sequence[tuple[float, float]]) -> float:
    """Area under a precision-recall curve by trapezoids, up to the highest recall there is: CUAD's get_aupr."""
    steps = zip(curve, curve[1:], strict=False)
    return sum((recall - before) * (precision + higher) / 2 for (before, higher), (recall, precision) in steps)


def precision_at_recall(curve: Sequence[tuple[float, float]], recall: float = 0.8) -> float:
    """Precision at the first point with at least this recall, 0 if there is none: CUAD's get_prec_at_recall."""
    return next((precision for reached, precision in curve if reached >= recall), 0.0)


def expected_calibration_error(judged: Scored, bins: int = 10) -> float:
    """Mean gap between confidence and share of right answers over equal bins of confidence, weighted by their size
    (Guo et al. 2017)."""
    if not judged:
        raise ValueError("calibration needs at least one confidence")
    gaps = (b["n"] * abs(b["confidence"] - b["right"]) for b in reliability(judged, bins))
    return sum(gaps) / len(judged)


def reliability(judged: Scored, bins: int = 10) -> list[dict[str, float]]:
    """For each bin of confidence that has values: their number, mean confidence and share of right ones."""
    filled: dict[int, list[tuple[float, bool]]] = {}
    for confidence, correct in judged:
        filled.setdefault(min(int(confidence * bins), bins - 1), []).append((confidence, correct))
    return [
        {
            "from": number / bins,
            "to": (number + 1) / bins,
            "n": len(group),
            "confidence": mean([confidence for confidence, _ in group]),
            "right": mean([correct for _, correct in group]),
        }
        for number, group in sorted(filled.items())
    ]


def risk_coverage(judged: Scored) -> list[tuple[float, float]]:
    """(coverage, risk): the share of answers kept, surest first, and the share of wrong ones among them
    (Geifman and El-Yaniv 2017). Answers of the same confidence are kept or dropped together."""
    curve, kept, wrong = [], 0, 0
    for confidence in sorted({c for c, _ in judged}, reverse=True):
        group = [correct for c, correct in judged if c == confidence]
        kept, wrong = kept + len(group), wrong + group.count(False)
        curve.append((kept / len(judged), wrong / kept))
    return curve


def accepted(judged: Sequence[tuple[bool, bool]]) -> float:
    """The share of values that need no review, of pairs (needs none, right)."""
    return mean([kept for kept, _ in judged])


def wrong_among_accepted(judged: Sequence[tuple[bool, bool]]) -> float:
    """The share of wrong values among those that need no review; 0 if there are none."""
    return mean([not right for kept, right in judged if kept] or [False])


def area_under_risk_coverage(curve: Sequence[tuple[float, float]]) -> float:
    """Mean risk over coverage; 0 is best (Geifman, Uziel and El-Yaniv 2019)."""
    before = [0.0, *(coverage for coverage, _ in curve)]
    return sum((coverage - start) * risk for start, (coverage, risk) in zip(before, curve, strict=False))


# --- question answering --------------------------------------------------------------------------------------


def anls(answers: Sequence[str], prediction: str | None, threshold: float = 0.5) -> float:
    """Average normalized Levenshtein similarity of one question: the best over the accepted answers, 0 below 0.5.

    Biten et al. 2019 (ST-VQA). Case and white space are normalized, and lengths are those of the normalized texts. A
    similarity of exactly 0.5 counts, as in the code that DocVQA results are made with.
    """
    if prediction is None:
        return 0.0
    found = _flat(prediction)
    best = max((1 - Levenshtein.normalized_distance(_flat(a), found) for a in answers), default=0.0)
    return best if best >= threshold else 0.0


def exact_match(answers: Sequence[str], prediction: str | None) -> float:
    """1.0 if the prediction is one of the accepted answers, case and white space aside."""
    return float(prediction is not None and _flat(prediction) in map(_flat, answers))


def _flat(text: str) -> str:
    return " ".join(text.casefold().split())


# --- intervals -----------------------------------------------------------------------------------------------


Metric = Callable[[Sequence[Any]], float]


def estimate(metric: Metric, values: Sequence[Any], samples: int = 1000) -> dict[str, float]:
    """`{"value", "low", "high"}`: the metric, and its 95 % percentile bootstrap interval over documents."""
    if not values:
        raise ValueError("a metric needs at least one document")
    draw = random.Random(0)
    drawn = sorted(metric(draw.choices(values, k=len(values))) for _ in range(samples))
    low, high = drawn[int(0.025 * samples)], drawn[min(int(0.975 * samples), samples - 1)]
    return {"value": metric(values), "low": low, "high": high}


def paired(metric: Metric, first: Sequence[Any], second: Sequence[Any], samples: int = 1000) -> dict[str, float]:
    """`{"value", "low", "high"}`: the metric of the first model minus that of the second, on the same documents.

    The interval is the 95 % percentile of the paired bootstrap (Efron and Tibshirani 1993): each sample draws
    documents, and both models are scored on those.
    """
    together = list(zip(first, second, strict=True))
    return estimate(lambda drawn: metric([a for a, _ in drawn]) - metric([b for _, b in drawn]), together, samples)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
