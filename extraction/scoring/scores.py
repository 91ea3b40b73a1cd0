"""Predictions of a model -> its scores: metrics with intervals, by task, field and kind of text; differences of two."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from extraction.models import confidence
from extraction.scoring import differences, metrics, places
from extraction.tasks import records, schemas


def with_confidences(predictions: list[dict], calibration: confidence.Calibration | None) -> list[dict]:
    """The predictions with calibrated confidences, or with the token confidences where there is no calibration."""
    if calibration is None:
        return [{**entry, "confidences": entry.get("token_confidences"), "calibrated": False} for entry in predictions]
    return [
        {
            **entry,
            "confidences": calibration(entry["task"], entry.get("token_confidences"), entry.get("reading")),
            "calibrated": True,
            "accepted_from": calibration.accepted_from(entry["task"], entry.get("reading")),
        }
        for entry in predictions
    ]


def judged(entries: list[dict], kind: str = "confidences") -> list[tuple[float, bool]]:
    """(confidence, right) of every value that has a confidence."""
    return [
        (entry[kind][path], right)
        for entry in entries
        if entry.get(kind)
        for path, right in metrics.right_values(entry["task"], entry["target"], entry["record"]).items()
        if path in entry[kind]
    ]


def by_task(predictions: list[dict]) -> dict[str, list[list[dict]]]:
    """The predictions of each task, those of one document together."""
    grouped: dict[str, dict[str, list[dict]]] = defaultdict(lambda: defaultdict(list))
    for entry in predictions:
        grouped[entry["task"]][entry["document"]].append(entry)
    return {task: list(documents.values()) for task, documents in sorted(grouped.items())}


def score(predictions: list[dict], samples: int) -> dict[str, Any]:
    """Metrics of each task with intervals over documents, from predictions alone."""
    scored = {}
    for task, groups in by_task(predictions).items():
        entries = [entry for group in groups for entry in group]
        found_differences = [d for e in entries for d in differences.differences(task, e["target"], e["record"])]
        reasons = Counter(d.reason for d in found_differences)
        scored[task] = {
            "n": len(entries),
            "documents": len(groups),
            "unreadable": sum(entry["record"] is None for entry in entries),
            "dropped_numbers": sum(entry.get("dropped", 0) for entry in entries),
            "cut_off": sum(entry["record"] is not None and entry["problem"] is not None for entry in entries),
            "seconds_per_document": spread([sum(entry["seconds"] for entry in group) for group in groups]),
            "metrics": {
                metric: metrics.estimate(combine, values, samples)
                for metric, (combine, values) in _values(task, groups).items()
            },
            "fields": by_field(task, groups, samples),
            "reasons": {reason: reasons[reason] for reason in differences.REASONS},
            "reliability": metrics.reliability(judged(entries)),
        }
    return scored


def compare(predictions: list[dict], others: list[dict], samples: int) -> dict[str, dict]:
    """For each metric of each task: this model, the other one, and the paired difference, on the same rows."""
    theirs = by_task(others)
    compared: dict[str, dict] = {}
    for task, groups in by_task(predictions).items():
        other_values = _values(task, theirs[task])
        compared[task] = {}
        for metric, (combine, values) in _values(task, groups).items():
            if metric not in other_values:  # confidences that only one of the two has
                continue
            other = other_values[metric][1]
            compared[task][metric] = {
                "this": combine(values),
                "other": combine(other),
                "difference": metrics.paired(combine, values, other, samples),
            }
    return compared


def _values(task: str, groups: list[list[dict]]) -> dict[str, tuple[Callable[[Sequence[Any]], float], list[Any]]]:
    """For each metric of a task: how per-document values are combined, and those values."""
    if task == "contract":  # a contract is the union of its windows
        pairs = [_contract(group) for group in groups]
        clauses = [metrics.clause_counts(target, record) for target, record in pairs]
        return {
            "clause_f1": (metrics.f1, clauses),
            "clause_accuracy": (metrics.accuracy, clauses),
            "span_f1": (metrics.f1, [metrics.span_counts(target, record) for target, record in pairs]),
            **_ranked(groups, pairs),
            **_trust(groups),
        }

    def flat_mean(values: Sequence[list[float]]) -> float:
        return metrics.mean([v for group in values for v in group])

    def each(metric: Callable) -> list[list[float]]:
        if task == "question":
            return [[metric(e["target"]["answers"], (e["record"] or {}).get("answer")) for e in g] for g in groups]
        return [[metric(e["target"], e["record"]) for e in group] for group in groups]

    if task == "question":
        return {
            "anls": (flat_mean, each(metrics.anls)),
            "exact_match": (flat_mean, each(metrics.exact_match)),
            **_trust(groups),
        }
    rows = list(map(metrics.total, each(metrics.row_counts)))  # not measured where no target has rows
    return {
        "field_f1": (metrics.f1, list(map(metrics.total, each(metrics.field_counts)))),
        **({"row_f1": (metrics.f1, rows)} if any(c.tp + c.fn for c in rows) else {}),
        **({"nted": (flat_mean, each(metrics.nted_accuracy))} if task in schemas.TASKS else {}),  # of CORD's tree
        "anls_star": (flat_mean, each(metrics.anls_star)),
        "exact_record": (flat_mean, each(metrics.exact_record)),
        **_trust(groups),
        **_places(task, groups),
    }


def _places(name: str, groups: list[list[dict]]) -> dict[str, tuple[Callable, list]]:
    """The places of the records' values against the words annotated for each field; as a control, the next
    document's target on this document's words."""
    if not all(entry.get("words") for group in groups for entry in group):
        return {}
    task = schemas.TASKS[name]
    counts = [
        metrics.total(places.record_counts(entry["words"], entry["record"], task) for entry in group)
        for group in groups
    ]
    found = {f"grounding_{m.__name__}": (m, counts) for m in (metrics.precision, metrics.recall, metrics.f1)}
    if len(groups) > 1:
        foreign = [
            places.foreign_counts(group[0]["words"], following[0]["target"], task)
            for group, following in zip(groups, groups[1:] + groups[:1], strict=True)
        ]
        found["foreign_found"] = (_share, foreign)
    return found


def _share(parts: Sequence[tuple[int, int]]) -> float:
    return sum(part for part, _ in parts) / max(sum(whole for _, whole in parts), 1)


def _trust(groups: list[list[dict]]) -> dict[str, tuple[Callable, list]]:
    """What confidences are worth: calibration error and risk-coverage of the values that a model gave."""

    def over_all(metric: Callable) -> Callable:
        def combine(documents: Sequence[list]) -> float:
            values = [value for document in documents for value in document]
            return metric(values) if values else 0.0  # a bootstrap sample of documents without a value

        return combine

    def aurc(values: metrics.Scored) -> float:
        return metrics.area_under_risk_coverage(metrics.risk_coverage(values))

    found = {}
    values = [judged(group) for group in groups]
    if any(values):
        found["ece"] = over_all(metrics.expected_calibration_error), values
        found["aurc"] = over_all(aurc), values
    if any(values) and all(entry.get("calibrated") for group in groups for entry in group):
        before = [judged(group, "token_confidences") for group in groups]
        found["ece_before"] = over_all(metrics.expected_calibration_error), before
    sure = groups[0][0].get("accepted_from")
    if any(values) and sure is not None:
        accepted = [[(confidence >= sure, right) for confidence, right in document] for document in values]
        found["accepted"] = over_all(metrics.accepted), accepted
        found["accepted_wrong"] = over_all(metrics.wrong_among_accepted), accepted
    return found


def _ranked(groups: list[list[dict]], pairs: list[tuple[dict, dict]]) -> dict[str, tuple[Callable, list]]:
    """AUPR and precision at 80 % recall of the quotes of contracts; a quote that was not given has confidence 0."""
    if not any(entry.get("confidences") for group in groups for entry in group):
        return {}
    documents = []
    for group, (target, _) in zip(groups, pairs, strict=True):
        read = [records.leaves(entry["record"], entry.get("confidences")) for entry in group]
        quotes = [(q.key, q.value, q.confidence or 0.0) for q in records.merge(schemas.CONTRACT, read)]
        documents.append(metrics.cuad_scored(target, quotes))

    def on_curve(metric: Callable) -> Callable:
        def combine(chosen: Sequence[tuple[list, int]]) -> float:
            targets = sum(number for _, number in chosen)
            values = [value for scored, _ in chosen for value in scored]
            return metric(metrics.precision_recall(values, targets)) if targets else float(not values)

        return combine

    at_80 = on_curve(metrics.precision_at_recall)
    return {"aupr": (on_curve(metrics.aupr), documents), "precision_at_80_recall": (at_80, documents)}


def _contract(windows: list[dict]) -> tuple[dict, dict]:
    """Target and record of a contract, from those of its windows."""
    return tuple(
        records.build(records.merge(schemas.CONTRACT, [records.leaves(entry[side]) for entry in windows]))
        for side in ("target", "record")
    )


def by_field(task: str, groups: list[list[dict]], samples: int) -> dict[str, dict]:
    """Counts and F1 of each field, or of each category of clauses, over the documents that it occurs in."""
    found: dict[str, list[metrics.Counts]] = defaultdict(list)
    for group in groups:
        if task == "contract":
            parts = metrics.by_category(*_contract(group)).items()
        elif task == "question":
            continue
        else:
            parts = [part for e in group for part in metrics.by_field(e["target"], e["record"]).items()]
        of_document: dict[str, list[metrics.Counts]] = defaultdict(list)
        for name, counts in parts:
            if counts.tp + counts.fp + counts.fn:
                of_document[name].append(counts)
        for name, counts in of_document.items():
            found[name].append(metrics.total(counts))
    table = {}
    for name, counts in sorted(found.items(), key=lambda item: (-len(item[1]), item[0])):
        all_of_it = metrics.total(counts)
        table[name] = {
            "documents": len(counts),
            "wanted": all_of_it.tp + all_of_it.fn,
            "right": all_of_it.tp,
            "missed": all_of_it.fn,
            "wrong": all_of_it.fp,
            "f1": metrics.estimate(metrics.f1, counts, samples),
        }
    return table


def spread(seconds: list[float]) -> dict[str, float]:
    return {"median": metrics.percentile(seconds, 0.5), "p95": metrics.percentile(seconds, 0.95)}


def summarize(
    label: str, name: str, predictions: list[dict], samples: int, other: tuple[str, list[dict]] | None = None
) -> dict:
    """The content of metrics.json: the scores of the rows of one kind of text, and those of others under `other_text`.

    `other` is the label and the predictions of a model to compare with.
    """
    parts = []
    for text in sorted(set(map(kind_of_text, predictions))):
        chosen = [i for i, entry in enumerate(predictions) if kind_of_text(entry) == text]
        entries = [predictions[i] for i in chosen]
        seconds = [entry["seconds"] for entry in entries]
        generated = sum(entry["completion_tokens"] or 0 for entry in entries)
        parts.append(
            {
                "model": name,
                "label": ", ".join([label, *text]),
                "tasks": score(entries, samples),
                "seconds_per_row": spread(seconds),
                "seconds_per_document": spread(
                    [sum(e["seconds"] for e in group) for groups in by_task(entries).values() for group in groups]
                ),
                "tokens_per_second": round(generated / sum(seconds), 1) if sum(seconds) else None,
            }
        )
        if other:
            compared = compare(entries, [other[1][i] for i in chosen], samples)
            parts[-1]["comparison"] = {"with": other[0], "tasks": compared}
    return {**parts[0], "other_text": parts[1:]}


def kind_of_text(entry: dict) -> tuple[str, ...]:
    """How the text of a row differs from that of the test rows; no figure mixes kinds."""
    domain, ocr, reading = entry.get("domain"), entry.get("ocr"), entry.get("reading")
    said = (f"out of domain: {domain}" if domain else "", f"{ocr} OCR" if ocr else "", reading or "")
    return tuple(filter(None, said))
