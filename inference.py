"""Stage 5 of 7: one document -> one record.

Reads   documents (PDF, image, DOCX, text; files, folders, or - for stdin), and a model: the GGUF build that
        export_gguf.py made, or the adapter, the base model, or an OpenAI-compatible server
Writes  JSON on stdout (one document), JSON Lines (several, or with -o FILE, which can be resumed), CSV or a table
Next    python app.py

    python inference.py data/samples/documents/receipt_photo_1.jpg
    python inference.py contract.pdf --ask "Who are the parties?" --ask "Which law governs?"
    python inference.py invoices/ -o results.jsonl --workers 2
    python inference.py invoices/ -o results.csv --format csv
    python inference.py invoice.pdf --schema my_schema.json
    python inference.py invoice.pdf --model http://127.0.0.1:11434/v1#doc-intel

Run again, -o FILE goes on where it stopped: a file with the same bytes and settings is not read again, and neither is
one that failed, unless with --retry-errors. A format that cannot be resumed keeps its rows in FILE.jsonl beside it. CSV
has a line per document in FILE.csv and one per line item in FILE.items.csv; a cell that a spreadsheet would take for a
formula, so any that begins with = + - or @, gets an apostrophe before it.

--schema takes a template such as {"vendor": "", "items": [{"name": "", "price": ""}]}, or a JSON schema of objects,
arrays, strings, enums and null. Strings have at most 500 characters, arrays at most 100 entries.

Exit status: 0 all documents were read, 1 some failed, 2 wrong use, 3 no model, 4 the only document is unreadable,
130 interrupted. With --check: 1 if something is missing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import config
from extraction import files, handoff, stage
from extraction.evidence import checks, grounding, injections
from extraction.models import backends, choice, confidence
from extraction.reading import documents, layout
from extraction.runs import environment, results, workers
from extraction.tasks import completions, custom, detection, prompts, records, schemas

SHOWN_ORDERS = 3  # passages of a document that are shown among its problems


# --- one document --------------------------------------------------------------------------------------------


def read(source: Path | bytes, cfg: config.Config) -> documents.Document:
    """The document within the limits of the settings. Raises documents.DocumentError if it cannot be read."""
    return documents.read(source, cfg.inference)


def extract(
    source: Path | bytes | documents.Document,
    backend: backends.Backend,
    cfg: config.Config,
    *,
    name: str = "-",
    document_type: str = "auto",
    questions: Sequence[str] = (),
    own: custom.OwnTask | None = None,
    progress: Callable[[int, int], Any] | None = None,
) -> dict:
    """The result object of one document: record, summary, answers, fields with their places, checks, problems.

    `own` is a task to extract against instead of those of the document types. `progress` is called with the number of
    answers so far and in all. Raises documents.DocumentError if the document cannot be read.
    """
    started = time.monotonic()
    document = source if isinstance(source, documents.Document) else read(source, cfg)
    read_seconds = time.monotonic() - started
    task = own or (detection.detect(document.text) if document_type == "auto" else schemas.TASKS[document_type])
    problems = list(document.problems)
    doubtful = doubtful_passages(document, task)
    problems += left_out(document, doubtful)
    text = trusted_text(document, task)

    texts = split(text, task, backend, cfg)
    asked = [(task, text, None) for text in texts]
    asked += [(schemas.QUESTION, window_for(text, question, cfg), question) for question in questions]
    answers = _complete(backend, asked, progress)
    readings = []
    for (asked_task, text, question), answer in zip(asked, answers, strict=True):
        shown = prompts.messages(asked_task, text, question)[-1]["content"]
        reading = (
            completions.Reading(None, answer.error)
            if answer.error
            else completions.parse(asked_task, answer.text, shown)
        )
        problems += [f"{number}: there is no such sentence" for number in reading.dropped]
        if reading.problem:
            problems.append(f"{question}: {reading.problem}" if question else reading.problem)
        readings.append(reading)

    of_windows = list(zip(readings, answers, strict=True))[: len(texts)]
    windows = [(r.record, r.of_record(a.confidences)) for r, a in of_windows if r.record is not None]
    parts = [record for record, _ in windows]
    record = merge(task, parts) if parts else None
    summary = fields = verdicts = meaning = None
    if record is not None:
        if own is None:  # of a user's own fields, nothing says what would sum them up
            written = record.pop("summary", None)  # a model may have been told what to say in it
            summary = records.summarize(task, record) if doubtful or not written else written
        fields = grounding.ground(record, task, document, doubtful)
        confidences = confidence.merged(task, windows)
        calibration = getattr(backend, "calibration", None)
        if calibration:
            confidences = calibration(task.name, confidences)
        if confidences:
            meaning = "calibrated" if calibration else "not calibrated"
        for field in fields:
            sure = confidences.get(field["path"])
            field["confidence"] = None if sure is None else round(sure, 4)
        verdicts = checks.check(record, task)
        problems += [f"{path}: the schema requires it, the answer does not have it" for path in missing(own, record)]
        chosen = own.choices if own else ()
        problems += of_places(fields, doubtful, chosen)
    for question, reading in zip(questions, readings[len(texts) :], strict=True):
        if answer := (reading.record or {}).get("answer"):
            places = grounding.answer(answer, document, doubtful)
            if not places:
                problems.append(not_found({"path": question, "value": answer}))
            problems += [ordered(question, answer) for place in places if place.overlaps(doubtful)]
    result = {
        "file": name,
        "document_type": task.name,
        "record": None
        if record is None
        else {k: v for k, v in with_nulls(task.schema, record).items() if k != "summary" or own},
        "summary": summary,
        "answers": [
            {"question": question, "answer": (reading.record or {}).get("answer")}
            for question, reading in zip(questions, readings[len(texts) :], strict=True)
        ],
        "fields": fields,
        "confidences": meaning,
        "checks": verdicts,
        "problems": problems,
        "pages": document.pages,
        "pages_skipped": document.pages_skipped,
        "model": backend.name,
        "timings": {"read": round(read_seconds, 3), "model": round(time.monotonic() - started - read_seconds, 3)},
    }
    return result


def missing(own: custom.OwnTask | None, record: dict) -> list[str]:
    return own.missing(record) if own else []


def general(path: str) -> str:
    """`items[].price` for `items[3].price`."""
    return re.sub(r"\[\d+\]", "[]", path)


def not_found(field: dict) -> str:
    return f"{field['path']}: {shortly(field['value'])} was not found in the document"


def doubtful_passages(document: documents.Document, task: schemas.Task) -> list[tuple[int, int]]:
    """Where the document seems to give orders to a machine: what stands only there may be an attacker's."""
    return injections.find(document.text, injections.names_of(task.schema) | {"answer"})


def of_places(fields: Sequence[dict], doubtful: Sequence[tuple[int, int]], chosen: Collection[str] = ()) -> list[str]:
    """What is to be said of the values that stand nowhere, or only in a doubtful passage."""
    said = [not_found(f) for f in fields if f["grounding"] == "none" and general(f["path"]) not in chosen]
    return said + [ordered(f["path"], f["value"]) for f in fields if f["span"] and within(f["span"], doubtful)]


def ordered(path: str, value: str) -> str:
    return f"{path}: {shortly(value)} stands only where the document seems to give orders to a machine"


def trusted_text(document: documents.Document, task: schemas.Task) -> str:
    """What a model reads of a document: its text without what seems to give orders to a machine."""
    return injections.without(document.text, injections.names_of(task.schema) | {"answer"})


def left_out(document: documents.Document, doubtful: Sequence[tuple[int, int]]) -> list[str]:
    """What is to be said of the passages that a model does not read."""
    told = "text that seems to give orders to a machine was left out: "
    said = [told + shortly(document.text[start:end]) for start, end in doubtful[:SHOWN_ORDERS]]
    return said + ([f"{told}{len(doubtful) - SHOWN_ORDERS} more passages"] if doubtful[SHOWN_ORDERS:] else [])


def shortly(text: str) -> str:
    text = " ".join("".join(c for c in text if c.isprintable() or c.isspace()).split())
    return f'"{text[:60]}{"..." if text[60:] else ""}"'


def within(span: Sequence[int], passages: Sequence[tuple[int, int]]) -> bool:
    return any(start < span[1] and span[0] < end for start, end in passages)


def window_for(text: str, question: str, cfg: config.Config) -> str:
    return layout.best_window(text, question, cfg.data.window_chars, cfg.data.window_overlap)


def split(text: str, task: schemas.Task, backend: backends.Backend, cfg: config.Config) -> list[str]:
    """The text in the windows that the task reads: contracts as in training, others only if they are too long."""
    if task is schemas.CONTRACT:
        text = layout.prose(text)
        spans = layout.windows(text, cfg.data.window_chars, cfg.data.window_overlap)
        return [text[a:b] for a, b in spans]
    limit = backend.prompt_limit - backend.count(task.instructions) - 32  # 32: the chat template's own tokens
    if limit < 64:
        raise files.StageError("the fields of the schema leave no room for a document; raise inference.context_tokens")
    tokens = backend.count(text)
    if tokens <= limit:
        return [text]
    chars = max(int(len(text) * limit / tokens * 0.8), 100)
    return [text[a:b] for a, b in layout.windows(text, chars, 0)]


def merge(task: schemas.Task, parts: list[dict]) -> dict:
    """One record from those of a document's windows: lists are joined, of single values the first stays."""
    if task is schemas.CONTRACT:
        return records.merge_clauses(parts)
    merged: dict = {}
    for record in parts:
        _join(merged, record)
    if len(parts) > 1 and not isinstance(task, custom.OwnTask):
        merged.pop("summary", None)  # it spoke of one window
    return merged


def _join(merged: dict, record: dict) -> None:
    for key, value in record.items():
        if isinstance(value, list):
            merged[key] = merged.get(key, []) + value
        elif isinstance(value, dict):
            _join(merged.setdefault(key, {}), value)
        else:
            merged.setdefault(key, value)


def with_nulls(schema: dict, value: Any) -> Any:
    """The value with null for every property that the schema has and it has not."""
    if "properties" in schema and value is not None:
        return {name: with_nulls(inner, value.get(name)) for name, inner in schema["properties"].items()}
    if "items" in schema and value is not None:
        return [with_nulls(schema["items"], item) for item in value]
    return value


def _complete(
    backend: backends.Backend, asked: list[tuple], progress: Callable[[int, int], Any] | None
) -> list[backends.Completion]:
    requests = requested(asked)
    answered = 0

    def done(*_: Any) -> None:
        nonlocal answered
        answered += 1
        if progress:
            progress(answered, len(requests))

    if progress:
        progress(0, len(requests))
    return backend.complete(requests, done)


def requested(asked: list[tuple]) -> list[backends.Request]:
    return [backends.Request(prompts.messages(task, text, question), task.schema) for task, text, question in asked]


# --- many documents ------------------------------------------------------------------------------------------


class Run:
    """Documents -> rows. Each of several workers reads in a process of its own while the model answers another one."""

    def __init__(self, args: Any, cfg: config.Config, own: custom.OwnTask | None):
        self.args, self.cfg, self.own = args, cfg, own
        self.model = choice.choose(cfg, args.model)
        calibration = self.model.calibration()
        decoding = {k: v for k, v in asdict(cfg.inference).items() if k not in ("threads", "timeout_seconds")}
        self.settings = files.fingerprint(
            {
                "type": args.type,
                "questions": args.ask,
                "schema": own.definition if own else None,
                "model": args.model,
                "identity": self.model.fingerprint,
                "calibration": calibration and files.fingerprint(calibration.curves),
                "windows": [cfg.data.window_chars, cfg.data.window_overlap],
                **decoding,
            }
        )
        self.done: dict[tuple[str, str], dict] = {}
        self.reused: list[dict] = []
        self._backend: backends.Backend | None = None
        self._opening = threading.Lock()
        self._answering = threading.Lock()
        self.workers = workers.Workers(args.workers)

    def key(self, data: bytes) -> str:
        """What a row is recognized by: the settings, the model, and the document's bytes."""
        return f"{self.settings}-{hashlib.sha256(data).hexdigest()[:24]}"

    def remember(self, rows: Sequence[dict], *, retry_errors: bool) -> None:
        """Rows of an earlier run, which are not made again; those that failed are if that is wanted."""
        kept = (row for row in rows if row["key"] and not (retry_errors and "error" in row))
        self.done = {(row["file"], row["key"]): row for row in kept}

    def backend(self) -> backends.Backend:
        with self._opening:
            self._backend = self._backend or self.model.open()
            return self._backend

    def rows(self, name: str, progress: Callable[[str, int, int], Any]) -> Iterator[dict]:
        """The row of each document in a file, of which a mail or an archive has several; none of an earlier run."""
        limits, key = self.cfg.inference, None
        try:
            data = workers.content(name, limits)
            key = self.key(data)
            parts = [] if self.has(name, key) else documents.parts(name, data, limits)
        except documents.DocumentError as error:
            yield {"file": name, "error": str(error), "reason": "unreadable", "key": key}
            return
        for part in parts:
            key = self.key(part.data or data)
            if len(parts) == 1 or not self.has(part.name, key):
                yield self.row(part, key, progress)

    def has(self, name: str, key: str) -> bool:
        """Whether an earlier run has the row; it is counted then."""
        if (name, key) in self.done:
            self.reused.append(self.done[name, key])
        return (name, key) in self.done

    def row(self, part: documents.Part, key: str, progress: Callable[[str, int, int], Any]) -> dict:
        """The result of a document, or why there is none."""
        name = part.name
        try:
            if part.error:  # said without a model having been loaded
                raise documents.DocumentError(part.error)
            backend = self.backend()
            started = time.monotonic()
            document = documents.read_part(part, self.cfg.inference)
            seconds = time.monotonic() - started
            # A model in this process answers one document at a time; a server is asked about several.
            with contextlib.nullcontext() if isinstance(backend, backends.HttpBackend) else self._answering:
                result = extract(
                    document,
                    backend,
                    self.cfg,
                    name=name,
                    document_type=self.args.type,
                    questions=self.args.ask,
                    own=self.own,
                    progress=lambda answered, of: progress(name, answered, of),
                )
            result["timings"]["read"] = round(seconds, 3)
            if result["record"] is None:
                result |= {"error": f"no record: {'; '.join(result['problems'][:3])}", "reason": "no record"}
            return {**result, "key": key}
        except documents.DocumentError as error:
            return {"file": name, "error": str(error), "reason": "unreadable", "key": key}
        except files.StageError:
            raise
        except Exception as error:  # a bug, shown as one; the other documents are read all the same
            stage.show_bug(error)
            return {"file": name, "error": f"failed with {type(error).__name__}", "reason": "bug", "key": key}


# --- the command ---------------------------------------------------------------------------------------------


def show_environment(args: Any, cfg: config.Config) -> int:
    asked = choice.choose(cfg, args.model)
    lines = [*environment.packages(config.ROOT / "requirements.txt"), environment.ocr()]
    for name in ("gguf", "base-gguf", "adapter"):
        model = choice.choose(cfg, name)
        lines.append(environment.built(name, model.folder, model.made_by))
    lines.append(environment.opened(asked.shown, asked.open))
    print(results.table(lines, ("what", "state", "detail", "to mend it"), widest=120))
    return int(any(state == environment.MISSING for _, state, _, _ in lines))


def checked(p: Any, args: Any) -> None:
    """Ends the program with status 2 for options that do not go together."""
    if not args.inputs and not args.check:
        p.error("name a FILE, a folder, or - for stdin")
    if args.workers < 1:
        p.error(f"--workers must be at least 1, got {args.workers}")
    if args.schema and args.type != "auto":
        p.error("--schema replaces the document type: leave out --type")
    if args.format == "csv" and not args.output:
        p.error("--format csv writes two files, so it needs -o FILE.csv")
    if args.output and any(name != "-" and Path(name).resolve() == args.output.resolve() for name in args.inputs):
        p.error(f"-o {args.output} is one of the documents to read")


def main(argv: list[str] | None = None) -> int:
    p = config.parser(__doc__)
    p.add_argument("inputs", nargs="*", metavar="FILE", help="files, folders, or - for stdin")
    p.add_argument("--type", choices=("auto", *schemas.DOCUMENT_TYPES), default="auto", help="document type")
    p.add_argument("--schema", type=Path, metavar="FILE", help="fields of your own: a JSON schema or a template")
    p.add_argument("--ask", action="append", default=[], metavar="TEXT", help="a question; repeat it")
    p.add_argument("--model", default="gguf", metavar="MODEL", help=choice.NAMES)
    p.add_argument("-o", "--output", type=Path, metavar="FILE", help="where to write; an interrupted run is resumed")
    p.add_argument(
        "--format", choices=("json", "jsonl", "csv", "table"), help="default: json for one document on stdout"
    )
    p.add_argument("--retry-errors", action="store_true", help="with -o: read documents again that failed before")
    p.add_argument("--overwrite", action="store_true", help="with -o: begin a new file")
    p.add_argument("--omit-null", action="store_true", help="leave out what was not found")
    p.add_argument(
        "--workers", type=int, default=1, metavar="N", help="documents at once; each row is written when done"
    )
    p.add_argument("--timings", action="store_true", help="seconds per document on stderr, read and model apart")
    p.add_argument("--check", action="store_true", help="is everything there: packages, OCR, model; then stop")
    args, cfg = config.read(p, argv)
    checked(p, args)
    if args.check:
        return show_environment(args, cfg)
    own = custom.read(args.schema) if args.schema else None
    names, skipped = workers.find_inputs(args.inputs)
    if skipped:
        print(f"{skipped} files of other kinds were skipped", file=sys.stderr)
    if not names:
        raise files.StageError("there is no document to read")
    run = Run(args, cfg, own)
    with handoff.alone(args.output) if args.output else contextlib.nullcontext():
        return read_all(run, names)


def read_all(run: Run, names: Sequence[str]) -> int:
    args, started = run.args, time.monotonic()
    form = args.format or ("jsonl" if args.output or len(names) > 1 else "json")
    bar = workers.Bar(len(names))
    if args.output:
        sink = results.ToFile(args.output, form, overwrite=args.overwrite)
        run.remember(sink.earlier, retry_errors=args.retry_errors)
    else:
        sink = results.ToStdout(form, len(names), lambda text: bar.write(text, sys.stdout))
    made: list[dict] = []
    try:
        for row in run.workers.rows(names, lambda name: run.rows(name, bar.prompts)):
            row = {**records.prune(row), "key": row["key"]} if args.omit_null else row
            made.append({name: row[name] for name in ("timings", "error", "reason") if name in row})
            bar.document()
            if "error" in row:
                why = "no record, its row says why" if "problems" in row else row["error"]  # they may quote the text
                bar.write(files.shown(f"error: {row['file']}: {why}"), sys.stderr)
            sink.add(row)
    finally:
        bar.bar.close()
    sink.end()
    if args.timings:
        print(results.timings_table(made, time.monotonic() - started), file=sys.stderr)
    failed = [row for row in (*made, *run.reused) if "error" in row]
    if args.output:
        print(f"{len(made)} documents in {args.output}, {len(run.reused)} from an earlier run, {len(failed)} failed",
              file=sys.stderr)  # fmt: skip
    if not failed:
        return 0
    return 4 if len(made) + len(run.reused) == 1 and failed[0].get("reason") == "unreadable" else 1


if __name__ == "__main__":
    try:
        stage.run_stage(main)
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
