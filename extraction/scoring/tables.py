"""Scores -> the tables of a report, in Markdown and for report.html: models side by side, then one in detail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from extraction.scoring import differences, report

CONFIDENCE = ("ece", "ece_before", "aurc", "accepted", "accepted_wrong")
RECORD_METRICS = ("field_f1", "row_f1", "nted", "anls_star", "exact_record", *CONFIDENCE)
PLACES = ("grounding_precision", "grounding_recall", "grounding_f1", "foreign_found")
METRICS = {  # what the report has a line for, measured or not
    "receipt": (*RECORD_METRICS, *PLACES),
    "document": RECORD_METRICS,
    "contract": ("clause_f1", "clause_accuracy", "span_f1", "aupr", "precision_at_80_recall", *CONFIDENCE),
    "question": ("anls", "exact_match", *CONFIDENCE),
}
OWN_METRICS = tuple(name for name in RECORD_METRICS if name != "nted")  # of a user's own document type
TITLES = {
    "field_f1": "field F1",
    "row_f1": "row-bound line-item F1",
    "nted": "nTED accuracy",
    "anls_star": "ANLS*",
    "exact_record": "exact records",
    "clause_f1": "clause identification F1",
    "clause_accuracy": "clause identification accuracy",
    "span_f1": "span F1 (word Jaccard >= 0.5)",
    "aupr": "AUPR",
    "precision_at_80_recall": "precision at 80 % recall",
    "anls": "ANLS",
    "exact_match": "exact match",
    "ece": "expected calibration error",
    "ece_before": "expected calibration error before calibration",
    "aurc": "area under the risk-coverage curve",
    "accepted": "values that need no review",
    "accepted_wrong": "wrong among values that need no review",
    "grounding_precision": "grounding precision, words",
    "grounding_recall": "grounding recall, words",
    "grounding_f1": "grounding F1, words",
    "foreign_found": "values of another receipt called found",
}


def columns(result: dict) -> list[dict]:
    """The columns that a model takes in a report: one for each kind of text."""
    return [result, *result.get("other_text", [])]


def tables(results: list[dict], this: dict | None = None, left_out: dict | None = None) -> list[report.Table]:
    """Models side by side, then the details of this one."""
    models = [column for result in results for column in columns(result)]
    shown = [_scores(models)]
    for column in columns(this) if this else []:
        if "comparison" in column:
            shown.append(_comparison(column))
    shown.append(_reasons(models))
    for column in columns(this) if this else []:
        shown += _reliability(column) + _fields(column)
    if left_out:
        rows = [[reason, str(len(lines)), ", ".join(map(str, lines[:10]))] for reason, lines in left_out.items()]
        shown.append(report.Table("Lines of the rows file that are not scored", ["reason", "lines", "the first"], rows))
    return shown


def _scores(models: list[dict]) -> report.Table:
    rows = []

    def add(task: str, title: str, told: Callable[[dict], str]) -> None:
        rows.append([task, title, *(told(m["tasks"][task]) if task in m["tasks"] else "" for m in models)])

    for task in sorted({task for m in models for task in m["tasks"]}):
        for metric in METRICS.get(task, OWN_METRICS):
            add(task, TITLES[metric], lambda scored, metric=metric: cell(scored["metrics"].get(metric)))
        for key, title in (("n", "rows"), ("documents", "documents"), ("unreadable", "unreadable answers")):
            add(task, title, lambda scored, key=key: str(scored[key]))
        if task == "contract":
            add(task, "numbers of no sentence, dropped", lambda scored: str(scored.get("dropped_numbers", "")))
        for share in ("median", "p95"):
            add(task, f"seconds per document, {share}", lambda s, share=share: _seconds(s, "document", share))
    for per in ("document", "row"):
        for share in ("median", "p95"):
            rows.append(["all", f"seconds per {per}, {share}", *(_seconds(m, per, share) for m in models)])
    speeds = ["" if m["tokens_per_second"] is None else str(m["tokens_per_second"]) for m in models]
    rows.append(["all", "generated tokens per second", *speeds])
    return report.Table("Scores", ["task", "metric", *(m["label"] for m in models)], rows)


def _comparison(column: dict) -> report.Table:
    other = column["comparison"]["with"]
    rows = [
        [task, TITLES[metric], _percent(c["this"]), _percent(c["other"]), cell(c["difference"], "+")]
        for task, compared in column["comparison"]["tasks"].items()
        for metric, c in compared.items()
    ]
    header = ["task", "metric", column["label"], other, "difference (95 % interval, paired)"]
    return report.Table(f"{column['label']} compared with {other}, on the same rows", header, rows)


def _reasons(models: list[dict]) -> report.Table:
    rows = [
        [task, reason, *(str(m["tasks"].get(task, {}).get("reasons", {}).get(reason, "")) for m in models)]
        for task in sorted({task for m in models for task in m["tasks"]})
        for reason in differences.REASONS
    ]
    return report.Table("Fields that differ, by reason", ["task", "reason", *(m["label"] for m in models)], rows)


def _reliability(column: dict) -> list[report.Table]:
    rows = [
        [
            task,
            f"{_percent(b['from'])} - {_percent(b['to'])}",
            str(b["n"]),
            _percent(b["confidence"]),
            _percent(b["right"]),
        ]
        for task, scored in column["tasks"].items()
        for b in scored["reliability"]
    ]
    header = ["task", "confidence", "values", "mean confidence", "right"]
    return [report.Table(f"{column['label']}: how many values of each confidence are right", header, rows)] * bool(rows)


def _fields(column: dict) -> list[report.Table]:
    shown = []
    for task, scored in column["tasks"].items():
        what = "category" if task == "contract" else "field"
        rows = [
            [name, *(str(f[key]) for key in ("documents", "wanted", "right", "missed", "wrong")), cell(f["f1"])]
            for name, f in scored["fields"].items()
        ]
        if rows:
            header = [what, "documents", "in the target", "right", "missed", "wrong", "F1"]
            shown.append(report.Table(f"{column['label']}: {task}, by {what}", header, rows))
    return shown


def _percent(value: float, sign: str = "") -> str:
    return f"{100 * value:{sign}.1f}"


def cell(found: dict | None, sign: str = "") -> str:
    """`76.3 (70.3 - 83.4)`: an estimate in percent with its interval; nothing where nothing was measured."""
    if found is None:
        return ""
    between = " to " if sign else " - "
    return f"{_percent(found['value'], sign)} ({_percent(found['low'], sign)}{between}{_percent(found['high'], sign)})"


def _seconds(scored: dict, per: str, share: str) -> str:
    found = scored.get(f"seconds_per_{per}")
    return f"{found[share]:.2f}" if found else ""


def render_report(
    results: list[dict], heading: dict[str, Any], this: dict | None = None, left_out: dict | None = None
) -> str:
    """A Markdown report of models scored on the same rows, side by side, with the details of one of them."""
    lines = ["# Evaluation", ""]
    lines += [f"- {name}: {value}" for name, value in heading.items() if value is not None]
    lines += ["", "Values in percent with 95 % bootstrap intervals over documents; an empty cell was not measured.", ""]
    return "\n".join(lines) + "\n" + "\n".join(map(report.markdown, tables(results, this, left_out)))


def failures(rows: list[dict], predictions: list[dict]) -> list[dict]:
    """What report.html shows of each row that has a field that differs: unreadable answers, then most fields first."""
    found = []
    for row, entry in zip(rows, predictions, strict=True):
        found_differences = differences.differences(entry["task"], entry["target"], entry["record"])
        if found_differences or entry["record"] is None:
            found.append(
                {
                    **{key: entry[key] for key in ("id", "task", "source", "target", "problem", "completion")},
                    "text": row["prompt"][-1]["content"],
                    "prediction": entry["record"],
                    "differences": [vars(difference) for difference in found_differences],
                }
            )
    return sorted(found, key=lambda f: (f["prediction"] is not None, -len(f["differences"])))
