"""Stage 4 of 7: model + test rows -> predictions, metrics, report.

Reads   data/training/test.jsonl, or --rows FILE of the same format, and the base model, adapter, GGUF build or a server
Writes  output/<profile>/evaluation/<model>/   predictions.jsonl, metrics.json, report.md, manifest.json
Next    python inference.py data/samples/documents/receipt_photo_1.jpg

    python test_moe.py --model base-gguf                    # after python export_gguf.py --base-only
    python test_moe.py --model gguf
    python test_moe.py --model http://127.0.0.1:8080/v1 --limit 20
    python test_moe.py --model gguf --rows my_rows.jsonl

The report shows every model scored on the same rows side by side. An interrupted run goes on where it stopped.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import config
import inference
from extraction import handoff, metrics, tasks

STAGE = "test_moe"
CHUNK = 32  # rows between two savings of the predictions
TITLES = {
    "field_f1": "field F1",
    "exact_record": "exact records",
    "clause_f1": "clause identification F1",
    "clause_accuracy": "clause identification accuracy",
    "span_f1": "span F1 (word Jaccard >= 0.5)",
    "anls": "ANLS",
    "exact_match": "exact match",
}


# --- rows ----------------------------------------------------------------------------------------------------


def read_rows(path: Path) -> list[dict]:
    """The rows of a file, checked. Raises StageError for one that lacks what scoring needs."""
    rows = list(handoff.read_jsonl(path))
    for number, row in enumerate(rows, start=1):
        missing = {"id", "task", "prompt", "target"} - set(row)
        if missing:
            raise handoff.StageError(f"{path}, row {number}: {sorted(missing)[0]!r} is missing")
        if row["task"] not in tasks.TASKS:
            raise handoff.StageError(f"{path}, row {number}: no task called {row['task']!r}")
    if not rows:
        raise handoff.StageError(f"{path} has no rows")
    return rows


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


def predict(rows: list[dict], backend: inference.Backend, partial: Path) -> list[dict]:
    """One prediction per row, in their order. Those already in `partial` are kept; new ones are added to it."""
    from tqdm import tqdm

    known = {}
    if partial.is_file():
        for line in partial.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
                known[entry["id"]] = entry
            except (json.JSONDecodeError, KeyError):
                continue  # the line that a killed run was writing
    left = [row for row in rows if row["id"] not in known]
    with tqdm(total=len(rows), initial=len(rows) - len(left), desc=backend.name, unit="row", disable=None) as bar:
        for start in range(0, len(left), CHUNK):
            chunk = left[start : start + CHUNK]
            asked = [inference.Request(row["prompt"], tasks.TASKS[row["task"]].schema) for row in chunk]
            answers = backend.complete(asked, bar.update)
            with open(partial, "a", encoding="utf-8") as f:
                for row, answer in zip(chunk, answers, strict=True):
                    known[row["id"]] = prediction(row, answer)
                    f.write(json.dumps(known[row["id"]], ensure_ascii=False) + "\n")
    return [known[row["id"]] for row in rows]


def prediction(row: dict, answer: inference.Completion) -> dict:
    """What is kept of an answer: the raw text, the record or the reason there is none, tokens and seconds."""
    task = tasks.TASKS[row["task"]]
    reading = tasks.Reading(None, answer.error) if answer.error else tasks.parse(task, answer.text)
    return {
        "id": row["id"],
        "document": row.get("document", row["id"]),
        "task": row["task"],
        "source": row.get("source"),
        "completion": answer.text,
        "record": reading.record,
        "problem": reading.problem,
        "target": row["target"],
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "seconds": round(answer.seconds, 3),
    }


# --- scores --------------------------------------------------------------------------------------------------


def score(predictions: list[dict], samples: int) -> dict[str, Any]:
    """Metrics of each task with intervals over documents, from predictions alone."""
    by_task: dict[str, list[dict]] = defaultdict(list)
    for entry in predictions:
        by_task[entry["task"]].append(entry)
    scored = {}
    for name, entries in sorted(by_task.items()):
        by_document: dict[str, list[dict]] = defaultdict(list)
        for entry in entries:
            by_document[entry["document"]].append(entry)
        found = {
            metric: metrics.estimate(combine, values, samples)
            for metric, (combine, values) in _values(name, list(by_document.values())).items()
        }
        scored[name] = {
            "n": len(entries),
            "documents": len(by_document),
            "unreadable": sum(entry["record"] is None for entry in entries),
            "cut_off": sum(entry["record"] is not None and entry["problem"] is not None for entry in entries),
            "metrics": found,
        }
    return scored


def _values(task: str, groups: list[list[dict]]) -> dict[str, tuple[Callable[[Sequence[Any]], float], list[Any]]]:
    """For each metric of a task: how per-document values are combined, and those values."""
    if task == "question":

        def each(metric: Callable) -> list[list[float]]:
            answers = [[(e["target"]["answers"], (e["record"] or {}).get("answer")) for e in group] for group in groups]
            return [[metric(accepted, answer) for accepted, answer in group] for group in answers]

        def flat_mean(values: Sequence[list[float]]) -> float:
            return metrics.mean([v for group in values for v in group])

        return {"anls": (flat_mean, each(metrics.anls)), "exact_match": (flat_mean, each(metrics.exact_match))}
    if task == "contract":  # a contract is the union of its windows
        pairs = [
            (tasks.merge_clauses(e["target"] for e in group), tasks.merge_clauses(e["record"] or {} for e in group))
            for group in groups
        ]
        clauses = [metrics.clause_counts(target, record) for target, record in pairs]
        return {
            "clause_f1": (metrics.f1, clauses),
            "clause_accuracy": (metrics.accuracy, clauses),
            "span_f1": (metrics.f1, [metrics.span_counts(target, record) for target, record in pairs]),
        }
    entries = [entry for group in groups for entry in group]
    return {
        "field_f1": (metrics.f1, [metrics.field_counts(e["target"], e["record"]) for e in entries]),
        "exact_record": (metrics.mean, [metrics.exact_record(e["target"], e["record"]) for e in entries]),
    }


def summarize(label: str, name: str, predictions: list[dict], samples: int) -> dict:
    """The content of metrics.json."""
    seconds = [entry["seconds"] for entry in predictions]
    generated = sum(entry["completion_tokens"] or 0 for entry in predictions)
    return {
        "model": name,
        "label": label,
        "tasks": score(predictions, samples),
        "seconds_per_document": {"median": metrics.percentile(seconds, 0.5), "p95": metrics.percentile(seconds, 0.95)},
        "tokens_per_second": round(generated / sum(seconds), 1) if sum(seconds) else None,
    }


# --- report --------------------------------------------------------------------------------------------------


def render_report(results: list[dict], heading: dict[str, Any]) -> str:
    """A Markdown report of models scored on the same rows, side by side."""
    lines = ["# Evaluation", ""]
    lines += [f"- {name}: {value}" for name, value in heading.items() if value is not None]
    lines += ["", "Values in percent with 95 % bootstrap intervals over documents; an empty cell was not measured.", ""]
    lines += ["| task | metric | " + " | ".join(r["label"] for r in results) + " |"]
    lines += ["|---|---|" + "---|" * len(results)]
    names = sorted({task for r in results for task in r["tasks"]})
    for task in names:
        metric_names = next(list(r["tasks"][task]["metrics"]) for r in results if task in r["tasks"])
        for metric in metric_names:
            cells = [_cell(r["tasks"].get(task, {}).get("metrics", {}).get(metric)) for r in results]
            lines.append(f"| {task} | {TITLES[metric]} | " + " | ".join(cells) + " |")
        for key, title in (("n", "rows"), ("documents", "documents"), ("unreadable", "unreadable answers")):
            cells = [str(r["tasks"][task][key]) if task in r["tasks"] else "" for r in results]
            lines.append(f"| {task} | {title} | " + " | ".join(cells) + " |")
    for title, get in (
        ("seconds per row, median", lambda r: f"{r['seconds_per_document']['median']:.2f}"),
        ("seconds per row, p95", lambda r: f"{r['seconds_per_document']['p95']:.2f}"),
        (
            "generated tokens per second",
            lambda r: "" if r["tokens_per_second"] is None else f"{r['tokens_per_second']}",
        ),
    ):
        lines.append(f"| all | {title} | " + " | ".join(map(get, results)) + " |")
    return "\n".join(lines) + "\n"


def _cell(found: dict | None) -> str:
    return "" if found is None else f"{100 * found['value']:.1f} ({100 * found['low']:.1f} - {100 * found['high']:.1f})"


def side_by_side(folder: Path, this: dict, rows_fingerprint: str) -> list[dict]:
    """The metrics of every model in the evaluation folder that was scored on the same rows, this one among them."""
    found = {this["label"]: this}
    for path in sorted(folder.glob("*/metrics.json")):
        manifest = handoff.manifest_of(path.parent)
        if manifest and manifest["settings"].get("rows") == rows_fingerprint:
            other = handoff.read_json(path)
            found.setdefault(other["label"], other)
    return sorted(found.values(), key=lambda r: (not r["label"].startswith("base"), r["label"]))


# --- the stage -----------------------------------------------------------------------------------------------


def label_of(model: str, cfg: config.Config) -> str:
    """The folder name of a model's results."""
    if model in ("gguf", "base-gguf"):
        return f"{model}-{cfg.inference.quantization}"
    return (
        model
        if model in ("base", "adapter")
        else re.sub(r"[^\w.-]+", "_", Path(model).name if "://" not in model else model)
    )


def main(argv: list[str] | None = None) -> int:
    p = config.parser(__doc__)
    p.add_argument(
        "--model", default="gguf", help="gguf (default), base-gguf, adapter, base, FILE.gguf or URL of a server"
    )
    p.add_argument("--rows", type=Path, metavar="FILE", help="score these rows instead of data/training/test.jsonl")
    p.add_argument("--limit", type=int, metavar="N", help="rows per task (default: evaluate.rows_per_task)")
    p.add_argument("--force", action="store_true", help="predict again even if nothing changed")
    args, cfg = config.read(p, argv)
    if args.limit is not None and args.limit < 1:
        p.error("--limit must be at least 1")
    again = "" if cfg.profile == "cpu" else f" --profile {cfg.profile}"

    path = args.rows or cfg.training_dir / "test.jsonl"
    if args.rows is None:
        handoff.require(cfg.training_dir, made_by=f"python prepare_training_data.py{again}")
    rows = select(read_rows(path), args.limit or cfg.evaluate.rows_per_task)
    rows_fingerprint = handoff.fingerprint(rows)
    label = label_of(args.model, cfg)
    settings = {
        "rows": rows_fingerprint,
        "model": inference.identity(cfg, args.model),
        "decoding": "greedy, constrained by the task's JSON schema",
        "max_new_tokens": cfg.inference.max_new_tokens,
        "context_tokens": cfg.inference.context_tokens,
        **asdict(cfg.evaluate),
    }
    folder = cfg.evaluation_dir / label
    if not args.force and settings["model"] and handoff.is_current(folder, stage=STAGE, settings=settings):
        print(f"[4/7] {folder} is already there")
        return 0

    backend = inference.open_backend(cfg, args.model)
    out = handoff.begin(folder)
    partial = cfg.evaluation_dir / f".{label}.{handoff.fingerprint(settings)}.jsonl"
    if args.force or settings["model"] is None:
        partial.unlink(missing_ok=True)
    predictions = predict(rows, backend, partial)
    handoff.write_jsonl(out / "predictions.jsonl", predictions)
    result = summarize(label, backend.name, predictions, cfg.evaluate.bootstrap_samples)
    handoff.write_json(out / "metrics.json", result)
    trained = cfg.adapter_dir / "training_result.json"
    training = handoff.read_json(trained) if trained.is_file() else None
    heading = {
        "profile": cfg.profile,
        "rows": f"{len(rows)} of {path.name}, fingerprint {rows_fingerprint}; not among the training rows beside them"
        if not args.rows
        else path,
        "text": "gold OCR words and published texts (not our own OCR)" if not args.rows else None,
        "decoding": f"{settings['decoding']}, at most {cfg.inference.max_new_tokens} new tokens",
        "eval loss": training
        and f"adapter {training['eval_loss']:.3f}, base model {training['base_eval_loss']:.3f}, "
        f"on {training['eval_rows']} eval rows",
    }
    report = render_report(side_by_side(cfg.evaluation_dir, result, rows_fingerprint), heading)
    handoff.write_text(out / "report.md", report)
    handoff.seal(out, stage=STAGE, settings=settings)
    partial.unlink(missing_ok=True)

    print(f"[4/7] {len(rows)} rows scored: {folder}")
    for task, entry in result["tasks"].items():
        shown = ", ".join(f"{TITLES[name]} {_cell(value)}" for name, value in entry["metrics"].items())
        print(f"      {task}: {shown}; n {entry['n']}, unreadable {entry['unreadable']}")
    print(f"Report: {folder / 'report.md'}")
    print(f"Next: python inference.py data/samples/documents/receipt_photo_1.jpg{again}")
    if any(entry["unreadable"] for entry in result["tasks"].values()):
        print("warning: some answers could not be read; predictions.jsonl says why", file=sys.stderr)
    return 0


if __name__ == "__main__":
    handoff.run_stage(main)
