"""Stage 4 of 7: model + test rows -> predictions, metrics, report.

Reads   data/training/test.jsonl, or --rows FILE of the same format, and the base model, adapter, GGUF build or a server
Writes  output/<profile>/evaluation/<model>/   predictions.jsonl, metrics.json, report.md, report.html, manifest.json
Next    python inference.py data/samples/documents/receipt_photo_1.jpg

    python test_moe.py --model base-gguf                    # after python export_gguf.py --base-only
    python test_moe.py --model gguf --compare base-gguf     # and how far apart the two are, with an interval
    python test_moe.py --model http://127.0.0.1:8080/v1 --limit 20
    python test_moe.py --model gguf --rows my_rows.jsonl
    python test_moe.py --experts --limit 20                 # which experts read what: evaluation/experts/experts.png
    python test_moe.py --model gguf --calibrate             # fit its confidences on data/training/eval.jsonl

The report shows every model scored on the same rows side by side. An interrupted run goes on where it stopped, and
predictions that are already there are scored again rather than made again. Rows that say `"ocr": "own"` or `"domain":
"DocVQA"` (or other words) get a column of their own.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import config
import inference
from extraction import backends, confidence, experts, grounding, handoff, metrics, report, tasks

STAGE = "test_moe"
JUDGE = 4  # goes up when a metric is defined anew, so that finished predictions are scored again
CHUNK = 32  # rows between two savings of the predictions
CONFIDENCE = ("ece", "ece_before", "aurc")
RECORD_METRICS = ("field_f1", "row_f1", "nted", "anls_star", "exact_record", *CONFIDENCE)
PLACES = ("grounding_precision", "grounding_recall", "grounding_f1", "foreign_found")
METRICS = {  # what the report has a line for, measured or not
    "receipt": (*RECORD_METRICS, *PLACES),
    "document": RECORD_METRICS,
    "contract": ("clause_f1", "clause_accuracy", "span_f1", "aupr", "precision_at_80_recall", *CONFIDENCE),
    "question": ("anls", "exact_match", *CONFIDENCE),
}
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
    "grounding_precision": "grounding precision, words",
    "grounding_recall": "grounding recall, words",
    "grounding_f1": "grounding F1, words",
    "foreign_found": "values of another receipt called found",
}


# --- rows ----------------------------------------------------------------------------------------------------


def read_rows(path: Path) -> tuple[list[dict], dict[str, list[int]]]:
    """The rows of a file that can be scored, and the numbers of the other lines by what is wrong with them.

    Raises StageError if no row is left.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise handoff.StageError(f"{path} cannot be read: {error.strerror}") from error
    rows: dict[str, dict] = {}
    left_out: dict[str, list[int]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8-sig"))
            json.dumps(row, ensure_ascii=False).encode()  # half a surrogate pair cannot be written
            problem = problem_of(row)
        except UnicodeError:
            problem = "not UTF-8 text"
        except (ValueError, RecursionError):
            problem = "not JSON"
        if problem is None and row["id"] in rows:
            problem = "the id of an earlier row"
        if problem is None:
            if row["task"] == "contract":  # a category that is null or has no quote is not in the contract
                row["target"] = {"clauses": tasks.prune(row["target"]["clauses"] or {})}
            rows[row["id"]] = row
        else:
            left_out.setdefault(problem, []).append(number)
    if not rows:
        first = "; ".join(f"line {numbers[0]}: {problem}" for problem, numbers in left_out.items())
        raise handoff.StageError(f"{path} has no row that can be scored" + (f" ({first})" if first else ""))
    return list(rows.values()), left_out


def problem_of(row: Any) -> str | None:
    """Why a row cannot be scored, if it cannot."""
    if not isinstance(row, dict):
        return "not a JSON object"
    missing = {"id", "task", "prompt", "target"} - set(row)
    if missing:
        return f"{sorted(missing)[0]!r} is missing"
    for key in ("id", "task", "document", "source", "ocr", "domain", "form"):
        value = row.get(key)
        if not isinstance(value, str) and (value is not None or key in ("id", "task")):
            return f"{key!r} is not text"
    if row["task"] not in tasks.TASKS:
        return f"no task called {row['task']!r}"
    if row.get("form") and row["form"] not in tasks.CONTRACT_FORMS:
        return f"no form of contracts called {row['form']!r}"
    prompt = row["prompt"]
    if not isinstance(prompt, list) or not prompt or not all(map(_is_message, prompt)):
        return "the prompt is not a list of messages"
    return problem_of_target(row["task"], row["target"])


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), str) for key in ("role", "content"))


def problem_of_target(task: str, target: Any) -> str | None:
    """Why a target cannot be scored, if it cannot. A contract window without clauses is a target like any other."""
    if not isinstance(target, dict):
        return "the target is not an object"
    if task == "question":
        answers = target.get("answers")
        if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
            return "the target has no list of answers"
        return None if any(answer.strip() for answer in answers) else "empty target"
    if "clauses" not in target if task == "contract" else not metrics.scored(target):
        return "empty target"
    wrong = misfit(tasks.TASKS[task].schema, target, "target")
    return wrong and f"not a {task} record: {wrong}"


def misfit(schema: dict, value: Any, name: str) -> str | None:
    """What of a value does not have the form of a schema. Limits of length bind an answer, not what is printed."""
    if schema["type"] == "string":
        return None if isinstance(value, str) else f"{name} is not text"
    if schema["type"] == "array":
        if not isinstance(value, list):
            return f"{name} is not a list"
        return next(filter(None, (misfit(schema["items"], entry, f"an entry of {name}") for entry in value)), None)
    if not isinstance(value, dict):
        return f"{name} is not an object"
    for key, inner in value.items():
        if key not in schema["properties"]:
            return f"no field called {key!r}"
        wrong = None if inner is None else misfit(schema["properties"][key], inner, key)
        if wrong:
            return wrong
    return None


def select(rows: list[dict], per_task: int | None) -> list[dict]:
    """At most `per_task` rows of each task, evenly spaced, so that every run takes the same ones."""
    if per_task is None:
        return rows
    by_task: dict[str, list[dict]] = defaultdict(list)
    for row in rows:
        by_task[row["task"]].append(row)
    chosen = []
    for group in by_task.values():
        count = min(per_task, len(group))
        chosen += [group[i * len(group) // count] for i in range(count)]
    return chosen


# --- predictions ---------------------------------------------------------------------------------------------


def predict(rows: list[dict], backend: backends.Backend, partial: Path) -> list[dict]:
    """One prediction per row, in their order. Those already in `partial` are kept; new ones are added to it."""
    from tqdm import tqdm

    known = saved(partial)
    left = [row for row in rows if row["id"] not in known]
    with tqdm(total=len(rows), initial=len(rows) - len(left), desc=backend.name, unit="row", disable=None) as bar:
        for start in range(0, len(left), CHUNK):
            chunk = left[start : start + CHUNK]
            asked = [backends.Request(row["prompt"], task_of(row).schema) for row in chunk]
            answers = backend.complete(asked, bar.update)
            with open(partial, "a", encoding="utf-8") as f:
                for row, answer in zip(chunk, answers, strict=True):
                    known[row["id"]] = prediction(row, answer)
                    f.write(json.dumps(checked(known[row["id"]]), ensure_ascii=False) + "\n")
    return [known[row["id"]] for row in rows]


def checked(entry: dict) -> dict:
    return {**entry, "check": handoff.fingerprint(entry)}


def saved(partial: Path) -> dict[str, dict]:
    """The predictions that an interrupted run left, by id. A line that was cut off or damaged leaves the file too."""
    if not partial.is_file():
        return {}
    known = {}
    for line in partial.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
            check = entry.pop("check")
        except (json.JSONDecodeError, AttributeError, KeyError, TypeError):
            continue
        if check == handoff.fingerprint(entry):
            known[entry["id"]] = entry
    handoff.write_jsonl(partial, map(checked, known.values()))
    return known


def task_of(row: dict) -> tasks.Task:
    """The task of a row. One of a contract may say in which form the clauses are answered; else they are quoted."""
    return tasks.in_form(tasks.TASKS[row["task"]], row.get("form") or "quotes")


def check_form(rows: list[dict], trained: str | None, model: str) -> None:
    """Raises StageError if contracts are asked for in another form than the model was trained with."""
    asked = {row.get("form") or "quotes" for row in rows if row["task"] == "contract"}
    if trained is not None and asked - {trained}:
        raise handoff.StageError(
            f"the rows ask for contracts with data.contract_form={sorted(asked - {trained})[0]}, {model} was trained "
            f"with {trained}. Run: python prepare_training_data.py --set data.contract_form={trained}"
        )


def prediction(row: dict, answer: backends.Completion) -> dict:
    """What is kept of an answer: the raw text, the record or the reason there is none, tokens and seconds."""
    task, shown = task_of(row), row["prompt"][-1]["content"]
    reading = tasks.Reading(None, answer.error) if answer.error else tasks.parse(task, answer.text, shown)
    sure = reading.of_record(answer.confidences)
    return {
        "id": row["id"],
        "document": row.get("document") or row["id"],
        "task": row["task"],
        "source": row.get("source"),
        "ocr": row.get("ocr") or "",
        "domain": row.get("domain") or "",
        "words": row.get("words"),
        "completion": answer.text,
        "record": reading.record,
        "problem": reading.problem,
        "dropped": len(reading.dropped),
        "target": row["target"],
        "token_confidences": sure and {k: round(v, 6) for k, v in sure.items()},
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "seconds": round(answer.seconds, 3),
    }


def with_confidences(predictions: list[dict], calibration: confidence.Calibration | None) -> list[dict]:
    """The predictions with what their token confidences mean by a calibration, or with those themselves."""
    if calibration is None:
        return [{**entry, "confidences": entry.get("token_confidences"), "calibrated": False} for entry in predictions]
    return [
        {**entry, "confidences": calibration(entry["task"], entry.get("token_confidences")), "calibrated": True}
        for entry in predictions
    ]


def judged(entries: list[dict], kind: str = "confidences") -> list[tuple[float, bool]]:
    """(confidence, right) of every value that the entries have a confidence for."""
    return [
        (entry[kind][path], right)
        for entry in entries
        if entry.get(kind)
        for path, right in metrics.right_values(entry["task"], entry["target"], entry["record"]).items()
        if path in entry[kind]
    ]


# --- scores --------------------------------------------------------------------------------------------------


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
        differences = [d for e in entries for d in metrics.differences(task, e["target"], e["record"])]
        reasons = Counter(d.reason for d in differences)
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
            "reasons": {reason: reasons[reason] for reason in metrics.REASONS},
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
        "nted": (flat_mean, each(metrics.nted_accuracy)),
        "anls_star": (flat_mean, each(metrics.anls_star)),
        "exact_record": (flat_mean, each(metrics.exact_record)),
        **_trust(groups),
        **_places(tasks.TASKS[task], groups),
    }


def _places(task: tasks.Task, groups: list[list[dict]]) -> dict[str, tuple[Callable, list]]:
    """Where the values of the records are said to stand, against the words annotated for each field; and as a control,
    the next document's target on this document's words."""
    if not all(entry.get("words") for group in groups for entry in group):
        return {}
    counts = [
        metrics.total(grounding.record_counts(entry["words"], entry["record"], task) for entry in group)
        for group in groups
    ]
    found = {f"grounding_{m.__name__}": (m, counts) for m in (metrics.precision, metrics.recall, metrics.f1)}
    if len(groups) > 1:
        foreign = [
            grounding.foreign_counts(group[0]["words"], following[0]["target"], task)
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
    return found


def _ranked(groups: list[list[dict]], pairs: list[tuple[dict, dict]]) -> dict[str, tuple[Callable, list]]:
    """AUPR and precision at 80 % recall of the quotes of contracts; a quote that was not given has confidence 0."""
    if not any(entry.get("confidences") for group in groups for entry in group):
        return {}
    documents = []
    for group, (target, record) in zip(groups, pairs, strict=True):
        best = confidence.best_quotes([(entry["record"] or {}, entry.get("confidences")) for entry in group])
        quotes = [(name, quote, best.get((name, quote), 0.0)) for name, qs in record["clauses"].items() for quote in qs]
        documents.append(metrics.cuad_scored(target, quotes))

    def on_curve(metric: Callable) -> Callable:
        def combine(chosen: Sequence[tuple[list, int]]) -> float:
            wanted = sum(number for _, number in chosen)
            values = [value for scored, _ in chosen for value in scored]
            return metric(metrics.precision_recall(values, wanted)) if wanted else float(not values)

        return combine

    at_80 = on_curve(metrics.precision_at_recall)
    return {"aupr": (on_curve(metrics.aupr), documents), "precision_at_80_recall": (at_80, documents)}


def _contract(windows: list[dict]) -> tuple[dict, dict]:
    """Target and record of a contract, from those of its windows."""
    return tuple(tasks.merge_clauses(entry[side] or {} for entry in windows) for side in ("target", "record"))


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
    """What sets the text of a row apart from that of the test rows; no figure is of rows of several kinds."""
    domain, ocr = entry.get("domain"), entry.get("ocr")
    return (*([f"out of domain: {domain}"] if domain else []), *([f"{ocr} OCR"] if ocr else []))


# --- report --------------------------------------------------------------------------------------------------


def columns(result: dict) -> list[dict]:
    """The columns that a model takes in a report: one for each kind of text."""
    return [result, *result.get("other_text", [])]


def tables(results: list[dict], this: dict | None = None, left_out: dict | None = None) -> list[report.Table]:
    """Models side by side; then what is known of this one alone."""
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

    def add(task: str, title: str, cell: Callable[[dict], str]) -> None:
        rows.append([task, title, *(cell(m["tasks"][task]) if task in m["tasks"] else "" for m in models)])

    for task in sorted({task for m in models for task in m["tasks"]}):
        for metric in METRICS[task]:
            add(task, TITLES[metric], lambda scored, metric=metric: _cell(scored["metrics"].get(metric)))
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
        [task, TITLES[metric], _percent(c["this"]), _percent(c["other"]), _cell(c["difference"], "+")]
        for task, compared in column["comparison"]["tasks"].items()
        for metric, c in compared.items()
    ]
    header = ["task", "metric", column["label"], other, "difference (95 % interval, paired)"]
    return report.Table(f"{column['label']} compared with {other}, on the same rows", header, rows)


def _reasons(models: list[dict]) -> report.Table:
    rows = [
        [task, reason, *(str(m["tasks"].get(task, {}).get("reasons", {}).get(reason, "")) for m in models)]
        for task in sorted({task for m in models for task in m["tasks"]})
        for reason in metrics.REASONS
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
            [name, *(str(f[key]) for key in ("documents", "wanted", "right", "missed", "wrong")), _cell(f["f1"])]
            for name, f in scored["fields"].items()
        ]
        if rows:
            header = [what, "documents", "in the target", "right", "missed", "wrong", "F1"]
            shown.append(report.Table(f"{column['label']}: {task}, by {what}", header, rows))
    return shown


def _percent(value: float, sign: str = "") -> str:
    return f"{100 * value:{sign}.1f}"


def _cell(found: dict | None, sign: str = "") -> str:
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
        differences = metrics.differences(entry["task"], entry["target"], entry["record"])
        if differences or entry["record"] is None:
            found.append(
                {
                    **{key: entry[key] for key in ("id", "task", "source", "target", "problem", "completion")},
                    "text": row["prompt"][-1]["content"],
                    "prediction": entry["record"],
                    "differences": [vars(difference) for difference in differences],
                }
            )
    return sorted(found, key=lambda f: (f["prediction"] is not None, -len(f["differences"])))


def side_by_side(folder: Path, this: dict, rows_fingerprint: str) -> list[dict]:
    """The metrics of every model in the evaluation folder that was scored on the same rows, this one among them."""
    found = {this["label"]: this}
    for path in sorted(folder.glob("*/metrics.json")):
        manifest = handoff.manifest_of(path.parent)
        if manifest and all(
            manifest["settings"].get(k) == v for k, v in (("rows", rows_fingerprint), ("judge", JUDGE))
        ):
            if damaged := handoff.damage(path.parent, manifest):
                print(f"warning: {path.parent} is left out of the report: {damaged}", file=sys.stderr)
                continue
            other = handoff.read_json(path)
            found.setdefault(other["label"], other)
    return sorted(found.values(), key=lambda r: (not r["label"].startswith("base"), r["label"]))


# --- experts -------------------------------------------------------------------------------------------------


def study_experts(cfg: config.Config, rows: list[dict], types: dict[str, str], force: bool) -> int:
    """Write experts.json and experts.png: the routing of the rows' documents with and without the adapter."""
    from tqdm import tqdm

    folder = cfg.evaluation_dir / "experts"
    settings = {
        "rows": handoff.fingerprint(rows),
        "model": inference.identity(cfg, "adapter"),
        "samples": cfg.evaluate.bootstrap_samples,
    }
    if not force and settings["model"] is not None and handoff.is_current(folder, stage=STAGE, settings=settings):
        print(f"[4/7] {folder} is already there")
        return 0
    backend = inference.open_backend(cfg, "adapter")
    with tqdm(total=len(rows), desc="routing", unit="row", disable=None) as bar:
        found = experts.study(backend.model, backend.tokenizer, rows, types, cfg.evaluate.bootstrap_samples, bar.update)
    found = {"name": backend.name, **found}
    out = handoff.begin(folder)
    handoff.write_json(out / "experts.json", found)
    experts.draw(found, out / "experts.png")
    handoff.seal(out, stage=STAGE, settings=settings)
    print(f"[4/7] routing of {len(rows)} rows in {folder}")
    for pair in found["adapter"]["divergence"]:
        for state in ("base", "adapter"):
            c = found[state]["divergence"][pair]
            print(
                f"      {pair}, {state}: divergence {c['mean']:.4f} bits; with types shuffled "
                f"{c['null']['low']:.4f} - {c['null']['high']:.4f} (95 %), p {c['p']:.3f}"
            )
    return 0


# --- the stage -----------------------------------------------------------------------------------------------


def label_of(model: str, cfg: config.Config) -> str:
    """The folder name of a model's results."""
    model = backends.without_login(model)
    if model in ("gguf", "base-gguf"):
        return f"{model}-{cfg.inference.quantization}"
    return (
        model
        if model in ("base", "adapter")
        else re.sub(r"[^\w.-]+", "_", Path(model).name if "://" not in model else model)
    )


def compared_with(other: str, cfg: config.Config, ids: list[str], rows_fingerprint: str, command: str) -> tuple:
    """Label, predictions and manifest of an evaluated model to compare with.

    Raises StageError if it was not scored on just these rows.
    """
    label = label_of(other, cfg)
    folder = cfg.evaluation_dir / label
    manifest = handoff.require(folder, made_by=command)
    predictions = list(handoff.read_jsonl(folder / "predictions.jsonl"))
    if manifest["settings"].get("rows") != rows_fingerprint or [entry["id"] for entry in predictions] != ids:
        raise handoff.StageError(f"--compare {label}: it was scored on other rows. Run: {command}")
    return label, predictions, manifest


def training_result(folder: Path) -> dict | None:
    """What training wrote beside an adapter, if that is there as it was written."""
    manifest, name = handoff.manifest_of(folder), "training_result.json"
    if manifest is None or name not in manifest["files"]:
        return None
    if damaged := handoff.damage(folder, {"files": {name: manifest["files"][name]}}):
        print(f"warning: the report says nothing about the training: {damaged}", file=sys.stderr)
        return None
    return handoff.read_json(folder / name)


def finished(folder: Path, predicting: dict) -> tuple[str, list[dict]] | None:
    """Model name and predictions of an earlier run that would come out the same."""
    manifest = handoff.manifest_of(folder)
    if manifest is None or any(manifest["settings"].get(k) != v for k, v in handoff.plain(predicting).items()):
        return None
    if not handoff.is_current(folder, stage=STAGE, settings=manifest["settings"]):
        return None
    return handoff.read_json(folder / "metrics.json")["model"], list(handoff.read_jsonl(folder / "predictions.jsonl"))


def calibrate(args: Any, cfg: config.Config) -> int:
    """Fit what a model's confidences mean on the eval rows, all without --limit, and keep it beside the model."""
    rows, _ = read_rows(cfg.training_dir / "eval.jsonl")
    check_form(rows, inference.trained_form(cfg, args.model), args.model)
    rows = select(rows, args.limit)
    backend = inference.open_backend(cfg, args.model)
    form = inference.model_form(cfg, args.model)
    if form is None:
        raise handoff.StageError(f"--calibrate: {args.model} has no folder beside which a calibration could be kept")
    path, weights = form[0], form[1]()
    fingerprint = handoff.fingerprint(rows)
    made_by = handoff.fingerprint([fingerprint, weights, confidence.FORMAT, handoff.plain(vars(cfg.inference))])
    partial = cfg.evaluation_dir / f".calibration.{made_by}.jsonl"
    if args.force:
        partial.unlink(missing_ok=True)
    predictions = predict(rows, backend, partial)
    by_document: dict[str, list[dict]] = defaultdict(list)
    for entry in predictions:
        by_document[entry["document"]].append(entry)
    documents = [by_document[name] for name in sorted(by_document)]
    values = _by_task(documents)
    if not values:
        raise handoff.StageError(f"--calibrate: {backend.name} gave no value with a confidence for the eval rows")
    confidence.save(path, confidence.fit(values), weights, values, fingerprint)
    partial.unlink(missing_ok=True)

    print(f"[4/7] confidences of {len(rows)} eval rows calibrated: {path}")
    held_out = _held_out(documents)
    for task, before in values.items():
        after = f"{metrics.expected_calibration_error(held_out[task]):.3f}" if held_out[task] else "not measured"
        error = f"{metrics.expected_calibration_error(before):.3f}"
        print(
            f"      {task}: {len(before)} values; calibration error {error}, and by a curve of other documents {after}"
        )
    return 0


def _by_task(documents: list[list[dict]]) -> dict[str, list[tuple[float, bool]]]:
    """The judged token confidences of each task that has any."""
    found: dict[str, list] = defaultdict(list)
    for group in documents:
        for entry in group:
            found[entry["task"]] += judged([entry], "token_confidences")
    return {task: values for task, values in sorted(found.items()) if values}


def _held_out(documents: list[list[dict]], folds: int = 5) -> dict[str, list[tuple[float, bool]]]:
    """Calibrated confidences, each by a curve that was fitted without its fifth of the documents."""
    found: dict[str, list] = defaultdict(list)
    for fold in range(min(folds, len(documents))):
        others = _by_task([group for i, group in enumerate(documents) if i % folds != fold])
        if not others:  # all the values are in this fold: there is nothing to fit on
            continue
        curves = confidence.fit(others)
        for group in documents[fold::folds]:
            for entry in with_confidences(group, curves):
                found[entry["task"]] += judged([entry])
    return found


def main(argv: list[str] | None = None) -> int:
    p = config.parser(__doc__)
    p.add_argument(
        "--model", default="gguf", help="gguf (default), base-gguf, adapter, base, FILE.gguf or URL of a server"
    )
    p.add_argument("--compare", metavar="OTHER", help="an evaluated model: adds the paired difference to it")
    p.add_argument("--rows", type=Path, metavar="FILE", help="score these rows instead of data/training/test.jsonl")
    p.add_argument(
        "--limit", type=int, metavar="N", help="rows per task (default: evaluate.rows_per_task; all to calibrate)"
    )
    p.add_argument("--experts", action="store_true", help="instead: what base model and adapter route where")
    p.add_argument("--calibrate", action="store_true", help="fit the model's confidences on data/training/eval.jsonl")
    p.add_argument("--force", action="store_true", help="predict again even if nothing changed")
    args, cfg = config.read(p, argv)
    if args.limit is not None and args.limit < 1:
        p.error("--limit must be at least 1")
    if args.experts and (args.compare or args.model not in ("gguf", "adapter")):
        p.error("--experts compares the adapter with its base model; leave out --model and --compare")
    if args.calibrate and (args.rows or args.compare):
        p.error("--calibrate takes the eval rows: give no --rows and no --compare with it")
    again = "" if cfg.profile == "cpu" else f" --profile {cfg.profile}"

    path = args.rows or cfg.training_dir / "test.jsonl"
    if args.rows is None:
        handoff.require(cfg.training_dir, made_by=f"python prepare_training_data.py{again}")
    if args.calibrate:
        with handoff.alone(cfg.evaluation_dir / "calibration"):
            return calibrate(args, cfg)
    rows, left_out = read_rows(path)
    for problem, lines in left_out.items():
        print(f"warning: {len(lines)} lines of {path} are not scored: {problem} (line {lines[0]})", file=sys.stderr)
    types = experts.document_types(rows)
    rows = select(rows, args.limit or cfg.evaluate.rows_per_task)
    model = "adapter" if args.experts else args.model
    check_form(rows, inference.trained_form(cfg, model), model)
    if args.experts:
        return study_experts(cfg, rows, types, args.force)
    rows_fingerprint = handoff.fingerprint(rows)
    other = None
    if args.compare:
        chosen = (f" --rows {args.rows}" if args.rows else "") + (f" --limit {args.limit}" if args.limit else "")
        command = f"python test_moe.py --model {backends.without_login(args.compare)}{chosen}{again}"
        other = compared_with(args.compare, cfg, [row["id"] for row in rows], rows_fingerprint, command)
    label = label_of(args.model, cfg)
    predicting = {
        "rows": rows_fingerprint,
        "model": inference.identity(cfg, args.model),
        "decoding": "greedy, constrained by the task's JSON schema",
        "max_new_tokens": cfg.inference.max_new_tokens,
        "context_tokens": cfg.inference.context_tokens,
        "batch_size": cfg.evaluate.batch_size,
        "confidences": confidence.FORMAT,
    }
    calibration = inference.calibration_of(cfg, args.model)
    settings = {
        **predicting,
        "bootstrap_samples": cfg.evaluate.bootstrap_samples,
        "judge": JUDGE,
        "left_out": left_out,
        "calibration": calibration and handoff.fingerprint(calibration.curves),
        "compared_with": other and [other[0], other[2]["files"]["predictions.jsonl"]["sha256"]],
    }
    folder = cfg.evaluation_dir / label
    reusable = not args.force and settings["model"] is not None
    if reusable and handoff.is_current(folder, stage=STAGE, settings=settings):
        print(f"[4/7] {folder} is already there")
        return 0

    partial = cfg.evaluation_dir / f".{label}.{handoff.fingerprint(predicting)}.jsonl"
    known = finished(folder, predicting) if reusable else None
    backend = None if known else inference.open_backend(cfg, args.model)
    out = handoff.begin(folder)
    if backend:
        if not reusable:
            partial.unlink(missing_ok=True)
        known = backend.name, predict(rows, backend, partial)
    name, predictions = known
    predictions = with_confidences(predictions, calibration)
    handoff.write_jsonl(out / "predictions.jsonl", predictions)
    result = summarize(label, name, predictions, cfg.evaluate.bootstrap_samples, other and other[:2])
    result["left_out"] = left_out
    handoff.write_json(out / "metrics.json", result)
    training = training_result(cfg.adapter_dir)
    heading = {
        "profile": cfg.profile,
        "rows": f"{len(rows)} of {path.name}, fingerprint {rows_fingerprint}; not among the training rows beside them"
        if not args.rows
        else f"{len(rows)} of {path}, fingerprint {rows_fingerprint}",
        "text": "gold OCR words and published texts (not our own OCR)" if not args.rows else None,
        "decoding": f"{settings['decoding']}, at most {cfg.inference.max_new_tokens} new tokens",
        "confidences": "calibrated on the eval rows" if calibration else "not calibrated",
        "eval loss": training
        and f"adapter {training['eval_loss']:.3f}, base model {training['base_eval_loss']:.3f}, "
        f"on {training['eval_rows']} eval rows",
    }
    results = side_by_side(cfg.evaluation_dir, result, rows_fingerprint)
    handoff.write_text(out / "report.md", render_report(results, heading, result, left_out))
    shown = tables(results, result, left_out)
    failed = failures(rows, predictions)
    page = report.page(f"Evaluation of {label}", heading, shown, failed, len(rows))
    handoff.write_text(out / "report.html", page)
    handoff.seal(out, stage=STAGE, settings=settings)
    partial.unlink(missing_ok=True)

    print(f"[4/7] {len(rows)} rows scored{'' if backend else ', predictions of an earlier run'}: {folder}")
    for column in columns(result):
        for task, entry in column["tasks"].items():
            title = task if column["label"] == label else f"{task} ({column['label']})"
            values = ", ".join(f"{TITLES[name]} {_cell(value)}" for name, value in entry["metrics"].items())
            print(f"      {title}: {values}; n {entry['n']}, unreadable {entry['unreadable']}")
    print(f"Report: {folder / 'report.md'}, and report.html beside it to look through what failed")
    print(f"Next: python inference.py data/samples/documents/receipt_photo_1.jpg{again}")
    if any(entry["record"] is None for entry in predictions):
        print("warning: some answers could not be read; predictions.jsonl says why", file=sys.stderr)
    return 0


if __name__ == "__main__":
    handoff.run_stage(main)
