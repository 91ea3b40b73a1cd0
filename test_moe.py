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
    python test_moe.py --model gguf --calibrate --rows as_read.jsonl    # and on these rows of benchmarks.as_read

The report shows every model scored on the same rows side by side. An interrupted run goes on where it stopped, and
predictions that are already there are scored again rather than made again. Rows that say `"ocr": "own"` or `"domain":
"DocVQA"` (or other words) get a column of their own.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import config
from extraction import files, handoff, stage, steps
from extraction.models import backends, choice, confidence, processes
from extraction.scoring import experts, metrics, report, scores, tables
from extraction.tasks import completions, custom, prompts, records, schemas

STAGE = "test_moe"
JUDGE = 4  # goes up when a metric is defined anew, so that finished predictions are scored again
CHUNK = 32  # rows between two savings of the predictions, or a batch if that has more
TEXTS = {False: "gold OCR words and published texts (not our own OCR)"}  # what the test rows show; with own documents:
TEXTS[True] = f"{TEXTS[False]}; own documents as they are read in use"


# --- rows ----------------------------------------------------------------------------------------------------


def read_rows(path: Path) -> tuple[list[dict], dict[str, list[int]]]:
    """The rows of a file that can be scored, and the numbers of the other lines by what is wrong with them.

    Raises StageError if no row is left.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise files.StageError(f"{path} cannot be read: {error.strerror}") from error
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
                row["target"] = {"clauses": records.prune(row["target"]["clauses"] or {})}
            rows[row["id"]] = row
        else:
            left_out.setdefault(problem, []).append(number)
    if not rows:
        first = "; ".join(f"line {numbers[0]}: {problem}" for problem, numbers in left_out.items())
        raise files.StageError(f"{path} has no row that can be scored" + (f" ({first})" if first else ""))
    return list(rows.values()), left_out


def problem_of(row: Any) -> str | None:
    """Why a row cannot be scored, if it cannot."""
    if not isinstance(row, dict):
        return "not a JSON object"
    missing = {"id", "task", "prompt", "target"} - set(row)
    if missing:
        return f"{sorted(missing)[0]!r} is missing"
    for key in ("id", "task", "document", "source", "ocr", "domain", "reading", "form"):
        value = row.get(key)
        if not isinstance(value, str) and (value is not None or key in ("id", "task")):
            return f"{key!r} is not text"
    try:
        task = task_of(row)
    except files.StageError as error:
        return str(error)
    if row["task"] == "contract" and row.get("form") != schemas.CONTRACT_FORM:
        return (
            "a contract answered with quotes, as in an earlier version; python prepare_training_data.py makes new rows"
        )
    prompt = row["prompt"]
    if not isinstance(prompt, list) or not prompt or not all(map(_is_message, prompt)):
        return "the prompt is not a list of messages"
    return problem_of_target(task, row["target"])


def task_of(row: dict) -> schemas.Task:
    """The task of a row: one of ours, or that of the schema it carries. Raises StageError for another."""
    name = row["task"]
    if "template" in row and name not in schemas.TASKS:
        if not isinstance(row["template"], str):
            raise files.StageError("'template' is not text")
        return custom.task_of(row)
    if name not in schemas.TASKS:
        raise files.StageError(f"no task called {name!r}")
    return schemas.TASKS[name]


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), str) for key in ("role", "content"))


def problem_of_target(task: schemas.Task, target: Any) -> str | None:
    """Why a target cannot be scored, if it cannot. A contract window without clauses is a target like any other."""
    if not isinstance(target, dict):
        return "the target is not an object"
    if task is schemas.QUESTION:
        answers = target.get("answers")
        if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
            return "the target has no list of answers"
        return None if any(answer.strip() for answer in answers) else "empty target"
    if "clauses" not in target if task is schemas.CONTRACT else not metrics.scored(target):
        return "empty target"
    wrong = misfit(task.schema, target, "target")
    return wrong and f"not a {task.name} record: {wrong}"


def misfit(schema: dict, value: Any, name: str) -> str | None:
    """What of a value does not have the form of a schema. Limits of length bind an answer, not what is printed."""
    if "anyOf" in schema or schema["type"] == "string":  # of own fields, texts may be null
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


def predict(rows: list[dict], backend: backends.Backend, partial: Path, cfg: config.Config) -> list[dict]:
    """One prediction per row, in their order. Those already in `partial` are kept; new ones are added to it."""
    from tqdm import tqdm

    known = saved(partial)
    left = [row for row in rows if row["id"] not in known]
    size = max(CHUNK, cfg.evaluate.batch_size) * cfg.evaluate.processes
    with tqdm(total=len(rows), initial=len(rows) - len(left), desc=backend.name, unit="row", disable=None) as bar:
        for start in range(0, len(left), size):
            chunk = left[start : start + size]
            asked = [steps.request(task_of(row), row["prompt"], cfg.inference.choose) for row in chunk]
            answers = backend.complete(asked, lambda *_: bar.update())
            with open(partial, "a", encoding="utf-8") as f:
                for row, answer in zip(chunk, answers, strict=True):
                    known[row["id"]] = prediction(row, answer)
                    f.write(json.dumps(checked(known[row["id"]]), ensure_ascii=False) + "\n")
    return [known[row["id"]] for row in rows]


def checked(entry: dict) -> dict:
    return {**entry, "check": files.fingerprint(entry)}


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
        if check == files.fingerprint(entry):
            known[entry["id"]] = entry
    files.write_jsonl(partial, map(checked, known.values()))
    return known


def prediction(row: dict, answer: backends.Completion) -> dict:
    """What is kept of an answer: the raw text, the record or the reason there is none, tokens and seconds."""
    task = task_of(row)
    shown = prompts.numbered(task, row["prompt"])
    reading = (
        completions.Reading(None, answer.error)
        if answer.error
        else completions.parse(task, answer.text, shown, answer.confidences, row["prompt"][-1]["content"])
    )
    sure = {leaf.path: round(leaf.confidence, 6) for leaf in reading.leaves or () if leaf.confidence is not None}
    return {
        "id": row["id"],
        "document": row.get("document") or row["id"],
        "task": row["task"],
        "source": row.get("source"),
        "ocr": row.get("ocr") or "",
        "domain": row.get("domain") or "",
        "reading": row.get("reading"),
        "words": row.get("words"),
        "completion": answer.text,
        "record": reading.record,
        "problem": reading.problem,
        "dropped": len(reading.dropped),
        "target": row["target"],
        "token_confidences": None if answer.confidences is None else sure,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "seconds": round(answer.seconds, 3),
    }


# --- report --------------------------------------------------------------------------------------------------


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
            other = files.read_json(path)
            found.setdefault(other["label"], other)
    return sorted(found.values(), key=lambda r: (not r["label"].startswith("base"), r["label"]))


# --- experts -------------------------------------------------------------------------------------------------


def study_experts(cfg: config.Config, rows: list[dict], types: dict[str, str], force: bool) -> int:
    """Write experts.json and experts.png: the routing of the rows' documents with and without the adapter."""
    from tqdm import tqdm

    folder, model = cfg.evaluation_dir / "experts", choice.choose(cfg, "adapter")
    settings = {
        "rows": files.fingerprint(rows),
        "model": model.fingerprint,
        "samples": cfg.evaluate.bootstrap_samples,
    }
    if not force and settings["model"] is not None and handoff.is_current(folder, stage=STAGE, settings=settings):
        print(f"[4/7] {folder} is already there")
        return 0
    backend = model.open()
    with tqdm(total=len(rows), desc="routing", unit="row", disable=None) as bar:
        found = experts.study(backend.model, backend.tokenizer, rows, types, cfg.evaluate.bootstrap_samples, bar.update)
    found = {"name": backend.name, **found}
    out = handoff.begin(folder)
    files.write_json(out / "experts.json", found)
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


def compared_with(args: Any, cfg: config.Config, rows: list[dict]) -> tuple[str, list[dict], dict]:
    """Label, predictions and manifest of the evaluated model to compare with.

    Raises StageError if it was not scored on just these rows.
    """
    model = choice.choose(cfg, args.compare)
    chosen = [*(["--rows", args.rows] if args.rows else []), *(["--limit", args.limit] if args.limit else [])]
    command = cfg.command("test_moe", "--model", model.shown, *chosen)
    folder = cfg.evaluation_dir / model.label
    manifest = handoff.require(folder, made_by=command)
    predictions = list(files.read_jsonl(folder / "predictions.jsonl"))
    same = [entry["id"] for entry in predictions] == [row["id"] for row in rows]
    if manifest["settings"].get("rows") != files.fingerprint(rows) or not same:
        raise files.StageError(f"--compare {model.label}: it was scored on other rows. Run: {command}")
    return model.label, predictions, manifest


def training_result(folder: Path) -> dict | None:
    """What training wrote beside an adapter, if that is there as it was written."""
    manifest, name = handoff.manifest_of(folder), "training_result.json"
    if manifest is None or name not in manifest["files"]:
        return None
    if damaged := handoff.damage(folder, {"files": {name: manifest["files"][name]}}):
        print(f"warning: the report says nothing about the training: {damaged}", file=sys.stderr)
        return None
    return files.read_json(folder / name)


@dataclass(frozen=True)
class Evaluation:
    """A model and the rows that it is scored on; `other` is an evaluated model to compare with."""

    cfg: config.Config
    model: choice.Choice
    rows: list[dict]
    source: Path  # the file of the rows
    left_out: dict[str, list[int]]
    other: tuple[str, list[dict], dict] | None

    @property
    def folder(self) -> Path:
        return self.cfg.evaluation_dir / self.model.label

    @property
    def partial(self) -> Path:
        """Where predictions are saved until all are made."""
        return self.cfg.evaluation_dir / f".{self.model.label}.{files.fingerprint(self.predicting)}.jsonl"

    @cached_property
    def predicting(self) -> dict:
        """What the predictions depend on."""
        return {
            "rows": files.fingerprint(self.rows),
            "model": self.model.fingerprint,
            "decoding": "greedy, constrained by the task's JSON schema"
            + (", amounts, dates and times chosen from the prompt" if self.cfg.inference.choose else ""),
            "max_new_tokens": self.cfg.inference.max_new_tokens,
            "context_tokens": self.cfg.inference.context_tokens,
            "batch_size": self.cfg.evaluate.batch_size,
            "confidences": confidence.FORMAT,
            "repeated entries": "left out",
        }

    @cached_property
    def calibration(self) -> confidence.Calibration | None:
        return self.model.calibration()

    @property
    def settings(self) -> dict:
        """What scores and report depend on."""
        return {
            **self.predicting,
            "bootstrap_samples": self.cfg.evaluate.bootstrap_samples,
            "judge": JUDGE,
            "left_out": self.left_out,
            "calibration": self.calibration and files.fingerprint(asdict(self.calibration)),
            "compared_with": self.other and [self.other[0], self.other[2]["files"]["predictions.jsonl"]["sha256"]],
        }

    def finished(self) -> tuple[str, list[dict]] | None:
        """Model name and predictions of an earlier run that would come out the same."""
        manifest = handoff.manifest_of(self.folder)
        wanted = files.plain(self.predicting)
        if manifest is None or any(manifest["settings"].get(name) != value for name, value in wanted.items()):
            return None
        if not handoff.is_current(self.folder, stage=STAGE, settings=manifest["settings"]):
            return None
        name = files.read_json(self.folder / "metrics.json")["model"]
        return name, list(files.read_jsonl(self.folder / "predictions.jsonl"))

    def predict(self, backend: backends.Backend, *, anew: bool) -> tuple[str, list[dict]]:
        """Model name and a prediction for each row; those of an interrupted run are kept unless `anew`."""
        if anew:
            self.partial.unlink(missing_ok=True)
        return backend.name, predict(self.rows, backend, self.partial, self.cfg)

    def score(self, name: str, predictions: list[dict]) -> dict:
        """The metrics of the predictions."""
        samples = self.cfg.evaluate.bootstrap_samples
        result = scores.summarize(self.model.label, name, predictions, samples, self.other and self.other[:2])
        return {**result, "left_out": self.left_out}

    def heading(self) -> dict[str, Any]:
        """What stands at the top of the report."""
        own, training = self.source.parent != self.cfg.training_dir, training_result(self.cfg.adapter_dir)
        said = f"{len(self.rows)} of {self.source if own else self.source.name}, fingerprint {self.predicting['rows']}"
        return {
            "profile": self.cfg.profile,
            "rows": said if own else f"{said}; not among the training rows beside them",
            "text": None if own else TEXTS[any("template" in row for row in self.rows)],
            "decoding": f"{self.predicting['decoding']}, {self.predicting['max_new_tokens']} new tokens at "
            "most, and one more for each character of a document with lists",
            "confidences": "calibrated on the eval rows" if self.calibration else "not calibrated",
            "eval loss": training
            and f"adapter {training['eval_loss']:.3f}, base model {training['base_eval_loss']:.3f}, "
            f"on {training['eval_rows']} eval rows",
        }

    def seal(self, out: Path, predictions: list[dict], result: dict) -> None:
        """Write predictions, metrics and reports, and close the folder that `out` was begun for."""
        files.write_jsonl(out / "predictions.jsonl", predictions)
        files.write_json(out / "metrics.json", result)
        heading = self.heading()
        models = side_by_side(self.cfg.evaluation_dir, result, self.predicting["rows"])
        files.write_text(out / "report.md", tables.render_report(models, heading, result, self.left_out))
        shown, failed = tables.tables(models, result, self.left_out), tables.failures(self.rows, predictions)
        page = report.page(f"Evaluation of {self.model.label}", heading, shown, failed, len(self.rows))
        files.write_text(out / "report.html", page)
        handoff.seal(out, stage=STAGE, settings=self.settings)
        self.partial.unlink(missing_ok=True)


def say_scores(evaluation: Evaluation, result: dict, predictions: list[dict], *, again: bool) -> None:
    """The lines on the terminal after an evaluation, and the next command."""
    folder, label = evaluation.folder, evaluation.model.label
    print(f"[4/7] {len(predictions)} rows scored{', predictions of an earlier run' if again else ''}: {folder}")
    for column in tables.columns(result):
        for task, entry in column["tasks"].items():
            title = task if column["label"] == label else f"{task} ({column['label']})"
            values = ", ".join(
                f"{tables.TITLES[name]} {tables.cell(value)}" for name, value in entry["metrics"].items()
            )
            print(f"      {title}: {values}; n {entry['n']}, unreadable {entry['unreadable']}")
        for task, compared in column.get("comparison", {"tasks": {}})["tasks"].items():
            name, found = next(iter(compared.items()))
            print(
                f"      {task}: {tables.TITLES[name]} {100 * found['other']:.1f} of {column['comparison']['with']}, "
                f"{100 * found['this']:.1f} of {column['label']}: {tables.cell(found['difference'], '+')}, paired"
            )
    print(f"Report: {folder / 'report.md'}, and report.html beside it to look through what failed")
    print(f"Next: {evaluation.cfg.command('inference', 'data/samples/documents/receipt_photo_1.jpg')}")
    if any(entry["record"] is None for entry in predictions):
        print("warning: some answers could not be read; predictions.jsonl says why", file=sys.stderr)


def evaluate(args: Any, cfg: config.Config, rows: list[dict], source: Path, left_out: dict[str, list[int]]) -> int:
    """Predict, score and seal, as far as that has not been done."""
    other = compared_with(args, cfg, rows) if args.compare else None
    evaluation = Evaluation(cfg, choice.choose(cfg, args.model), rows, source, left_out, other)
    anew = args.force or evaluation.predicting["model"] is None  # nobody knows what a server holds
    if not anew and handoff.is_current(evaluation.folder, stage=STAGE, settings=evaluation.settings):
        print(f"[4/7] {evaluation.folder} is already there")
        return 0
    known = None if anew else evaluation.finished()
    backend = None if known else processes.open_model(evaluation.model, cfg.evaluate.processes)
    out = handoff.begin(evaluation.folder)
    name, predictions = known or evaluation.predict(backend, anew=anew)
    predictions = scores.with_confidences(predictions, evaluation.calibration)
    result = evaluation.score(name, predictions)
    evaluation.seal(out, predictions, result)
    say_scores(evaluation, result, predictions, again=known is not None)
    return 0


def calibrate(args: Any, cfg: config.Config) -> int:
    """Fit what a model's confidences mean on the eval rows and those of --rows, and keep it beside the model."""
    rows, _ = read_rows(cfg.training_dir / "eval.jsonl")
    rows += read_rows(args.rows)[0] if args.rows else []
    model = choice.choose(cfg, args.model)
    rows = select(rows, args.limit)
    backend = processes.open_model(model, cfg.evaluate.processes)
    if model.calibration_file is None:
        raise files.StageError(f"--calibrate: {model.shown} has no folder beside which a calibration could be kept")
    path, weights = model.calibration_file, model.weights
    fingerprint = files.fingerprint(rows)
    made_by = files.fingerprint([fingerprint, weights, confidence.FORMAT, files.plain(vars(cfg.inference))])
    partial = cfg.evaluation_dir / f".calibration.{made_by}.jsonl"
    if args.force:
        partial.unlink(missing_ok=True)
    predictions = predict(rows, backend, partial, cfg)
    by_document: dict[str, list[dict]] = defaultdict(list)
    for entry in predictions:
        by_document[entry["document"]].append(entry)
    documents = [by_document[name] for name in sorted(by_document)]
    values = _by_task(documents)
    if not values:
        raise files.StageError(f"--calibrate: {backend.name} gave no value with a confidence for the eval rows")
    held_out, promise = _held_out(documents), cfg.evaluate.wrong_share
    accept = confidence.thresholds(held_out, promise)
    fitted = replace(confidence.fit(values), promise=promise, accept=accept)
    confidence.save(path, fitted, weights, values, fingerprint)
    partial.unlink(missing_ok=True)

    print(f"[4/7] confidences of {len(rows)} eval rows calibrated: {path}")
    for task, before in values.items():
        after = f"{metrics.expected_calibration_error(held_out[task]):.3f}" if held_out[task] else "not measured"
        error = f"{metrics.expected_calibration_error(before):.3f}"
        print(
            f"      {task}: {len(before)} values; calibration error {error}, and by a curve of other documents {after}"
        )
        sure = fitted.accepted_from(task)
        kept = [right for value, right in held_out[task] if value >= sure]
        print(
            f"      {task}: {len(kept)} of {len(held_out[task])} values need no review if {promise:.0%} of these may "
            f"be wrong; {kept.count(False)} of them are"
        )
    return 0


def _by_task(documents: list[list[dict]]) -> dict[str, list[tuple[float, bool]]]:
    """The judged token confidences of each task that has any, those of each kind of reading apart."""
    found: dict[str, list] = defaultdict(list)
    for group in documents:
        for entry in group:
            found[confidence.group(entry["task"], entry.get("reading"))] += scores.judged([entry], "token_confidences")
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
            for entry in scores.with_confidences(group, curves):
                found[confidence.group(entry["task"], entry.get("reading"))] += scores.judged([entry])
    return found


def main(argv: list[str] | None = None) -> int:
    p = config.parser(__doc__)
    p.add_argument("--model", default="gguf", metavar="MODEL", help=choice.NAMES)
    p.add_argument("--compare", metavar="OTHER", help="an evaluated model: adds the paired difference to it")
    p.add_argument("--rows", type=Path, metavar="FILE", help="score these rows, not data/training/test.jsonl")
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
    if args.calibrate and args.compare:
        p.error("--calibrate compares nothing: leave out --compare")

    path = args.rows or cfg.training_dir / "test.jsonl"
    if args.rows is None:
        prepare = cfg.command("prepare_training_data")
        schemas.check_form(handoff.require(cfg.training_dir, made_by=prepare), cfg.training_dir, prepare)
    if args.calibrate:
        with handoff.alone(cfg.evaluation_dir / "calibration"):
            return calibrate(args, cfg)
    rows, left_out = read_rows(path)
    for problem, lines in left_out.items():
        print(f"warning: {len(lines)} lines of {path} are not scored: {problem} (line {lines[0]})", file=sys.stderr)
    types = experts.document_types(rows)
    if args.limit:
        rows = select(rows, args.limit)
    else:  # of own documents there are few, and they are what is asked about
        kept = {row["id"] for row in select([r for r in rows if "template" not in r], cfg.evaluate.rows_per_task)}
        rows = [row for row in rows if "template" in row or row["id"] in kept]
    if args.experts:
        return study_experts(cfg, rows, types, args.force)
    return evaluate(args, cfg, rows, path, left_out)


if __name__ == "__main__":
    stage.run_stage(main)
