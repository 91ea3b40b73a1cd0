"""Stage 5 of 7: one document -> one record.

Reads   documents (PDF, image, DOCX, mail, HTML, ZIP, text, XML of invoices; files, folders, or - for stdin), and a
        model: the GGUF build that export_gguf.py made, the adapter, the base model, or an OpenAI-compatible server
Writes  JSON on stdout (one document), JSON Lines (several, or with -o FILE, which can be resumed), CSV or a table
Next    python app.py

    python inference.py data/samples/documents/receipt_photo_1.jpg
    python inference.py contract.pdf --ask "Who are the parties?" --ask "Which law governs?"
    python inference.py invoices/ -o results.jsonl --workers 2
    python inference.py invoices/ -o results.csv --format csv
    python inference.py invoice.pdf --schema my_schema.json
    python inference.py note.pdf --type delivery_note        # a document type of your own; docs/own.md
    python inference.py invoice.pdf --model http://127.0.0.1:11434/v1#doc-intel
    python inference.py scans/ --label data/own/notes

Run again, -o FILE resumes after the last finished row: a file with the same bytes and settings is not read again, and
neither is one that failed, unless with --retry-errors. A format that cannot be resumed keeps its rows in FILE.jsonl
beside it. CSV has a line per document in FILE.csv and one per line item in FILE.items.csv; a cell that a spreadsheet
would take for a formula, so any that begins with = + - or @, gets an apostrophe before it.

A PDF or TIFF of several documents gives a row for each, with the same file and its page_numbers; --split pages takes
each page for a document, --split never the whole file. What cannot be told apart is kept together and named.

--label FOLDER copies the documents into a folder of your own, whose schema.json says the fields (or --schema, --type),
and writes a draft of the record beside each; a person accepts it: python app.py --review FOLDER. Run again, it goes on;
what was accepted or corrected is left alone.

--schema takes a template such as {"vendor": "", "items": [{"name": "", "price": ""}]}, or a JSON schema;
docs/inference.md says what it may hold. Strings have at most 500 characters, arrays at most 100 entries.

Exit status: 0 all documents were read, 1 some failed, 2 wrong use, 3 no model, 4 the only document is unreadable,
130 interrupted. With --check: 1 if something is missing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import config
from extraction import files, handoff, splitting, stage, steps
from extraction.models import backends, choice
from extraction.reading import documents
from extraction.runs import environment, label, results, workers
from extraction.tasks import custom, detection, own_types, records, schemas

UNSEEN = ("threads", "at_once", "gpu_layers", "timeout_seconds", "api_key_env")  # settings that change no row


# --- one document --------------------------------------------------------------------------------------------


def read(source: Path | bytes | documents.Part, cfg: config.Config) -> documents.Document:
    """The document within the limits of the settings. Raises documents.DocumentError if it cannot be read."""
    if isinstance(source, documents.Part):
        return documents.read_part(source, cfg.inference)
    return documents.read(source, cfg.inference)


def extract(
    source: Path | bytes | documents.Document,
    backend: backends.Backend,
    cfg: config.Config,
    *,
    name: str = "-",
    document_type: str = "auto",
    questions: Sequence[str] = (),
    own: schemas.Task | None = None,
    progress: Callable[[int, int], Any] | None = None,
) -> dict:
    """The result object of one document: record, summary, answers, fields with their places, checks, problems.

    A file is read as one document; `splitting.split` finds those in it.
    `own` is a task to extract against instead of those of the document types. `progress` is called with the number of
    answers so far and in all. Raises documents.DocumentError if the document cannot be read.
    """
    task = own or own_types.task(document_type, own_types.of(backend))
    return examine(source, backend, cfg, name, task, questions, progress).result()


def examine(
    source: Path | bytes | documents.Part | documents.Document,
    backend: backends.Backend,
    cfg: config.Config,
    name: str,
    task: schemas.Task | None = None,
    questions: Sequence[str] = (),
    progress: Callable[[int, int], Any] | None = None,
    partly: Callable[[steps.Extraction], Any] | None = None,
) -> steps.Extraction:
    """What `extract` gives the result of. The task is found by the document's words unless it is given.

    `partly` is called with what was found so far, after each answer but the last.
    """
    started = time.monotonic()
    whole = isinstance(source, documents.Document)
    document = source if whole else splitting.split(read(source, cfg), "never")[0]
    read_seconds = time.monotonic() - started
    task = task or (schemas.RECEIPT if document.invoice else detection.detect(document.text))
    shown = steps.Shown(document, task)
    asked = steps.ask(shown, task, questions, backend, cfg.data, cfg.inference.first_look)
    answers: dict[int, backends.Completion] = {}

    def found() -> steps.Extraction:
        made = steps.Extraction(name, task, backend.name, shown)
        some = [asked[i] for i in sorted(answers)]
        readings = steps.read(shown, some, [answers[i] for i in sorted(answers)])
        made.take(some, readings, getattr(backend, "calibration", None))
        return made

    def done(number: int, answer: backends.Completion) -> None:
        answers[number] = answer
        if progress:
            progress(len(answers), len(asked))
        if partly and len(answers) < len(asked):
            partly(found())

    if progress:
        progress(0, len(asked))
    answers = dict(enumerate(backend.complete([one.request(cfg.inference.choose) for one in asked], done)))
    extraction = found()
    seconds = time.monotonic() - started
    extraction.timings = {"read": round(read_seconds, 3), "model": round(seconds - read_seconds, 3)}
    return extraction


# --- many documents ------------------------------------------------------------------------------------------


class Run:
    """Documents -> rows. Each of several workers reads in a process of its own while the model answers another one."""

    def __init__(self, args: Any, cfg: config.Config, own: custom.CustomTask | None):
        self.args, self.cfg, self.own = args, cfg, own
        self.model = choice.choose(cfg, args.model)
        if own is None and args.type not in schemas.DOCUMENT_TYPES:
            self.own = own = own_types.task(args.type, self.model.types())
        calibration = self.model.calibration()
        decoding = {k: v for k, v in asdict(cfg.inference).items() if k not in UNSEEN}
        self.settings = files.fingerprint(
            {
                "type": args.type,
                "split": args.split,
                "questions": args.ask,
                "schema": own.definition if own else None,
                "model": args.model,
                "identity": self.model.fingerprint,
                "calibration": calibration and files.fingerprint(calibration.curves),
                "windows": [cfg.data.window_chars, cfg.data.window_overlap],
                **decoding,
            }
        )
        self.done: dict[tuple[str, str], dict[int, dict]] = {}  # by file and key: rows by the document's number
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
        for row in rows:
            if row["key"] and not (retry_errors and "error" in row):
                self.done.setdefault((row["file"], row["key"]), {})[row.get("document", 1)] = row

    def backend(self) -> backends.Backend:
        with self._opening:
            self._backend = self._backend or self.model.open(self.args.workers)
            return self._backend

    def rows(self, name: str, progress: Callable[[str, int, int], Any]) -> Iterator[dict]:
        """The row of each document in a file, of which a mail or an archive has several; none of an earlier run."""
        limits, key = self.cfg.inference, None
        try:
            data = workers.content(name, limits)
            key = self.key(data)
            parts = [] if self.has(name, key) else documents.parts(name, data, limits)
        except documents.DocumentError as error:
            if isinstance(error, documents.TooLarge):  # of its bytes nothing is known
                key = self.key(str(error).encode())
            if not (key and self.has(name, key)):
                yield {"file": name, "error": str(error), "reason": "unreadable", "key": key}
            return
        for part in parts:
            key = self.key(part.data or data)
            if part.data is data or not self.has(part.name, key):
                for row in self.part(part, key, progress):
                    yield {**row, "key": key}

    def has(self, name: str, key: str) -> bool:
        """Whether an earlier run has the rows of all documents in a file; they are counted then."""
        rows = self.done.get((name, key), {})
        whole = bool(rows) and len(rows) == max(row.get("documents", 1) for row in rows.values())
        self.reused += rows.values() if whole else []
        return whole

    def part(self, part: documents.Part, key: str, progress: Callable[[str, int, int], Any]) -> Iterator[dict]:
        """The result of each document on the pages of a file, or why there is none; none of an earlier run."""
        try:
            if part.error:  # said without a model having been loaded
                raise documents.DocumentError(part.error)
            self.backend()
            started = time.monotonic()
            found = splitting.split(documents.read_part(part, self.cfg.inference), self.args.split)
            seconds = (time.monotonic() - started) / len(found)
        except documents.DocumentError as error:
            yield {"file": part.name, "error": str(error), "reason": "unreadable"}
            return
        except files.StageError:
            raise
        except Exception as error:  # a bug, shown as one; the other documents are still read
            yield _failed(part.name, error)
            return
        earlier = self.done.get((part.name, key), {})
        for document in found:
            number, of = document.part
            if number in earlier and earlier[number].get("documents", 1) == of:
                self.reused.append(earlier[number])
            else:
                yield self.row(part.name, document, seconds, progress)

    def row(
        self, name: str, document: documents.Document, seconds: float, progress: Callable[[str, int, int], Any]
    ) -> dict:
        """The result of a document that was read in so many seconds, or why there is none."""
        try:
            # transformers answers one document at a time; llama.cpp and a server are asked about several
            with self._answering if self.model.in_transformers else contextlib.nullcontext():
                result = extract(
                    document,
                    self.backend(),
                    self.cfg,
                    name=name,
                    document_type=self.args.type,
                    questions=self.args.ask,
                    own=self.own,
                    progress=lambda answered, of: progress(name, answered, of),
                )
        except files.StageError:
            raise
        except Exception as error:
            return _failed(name, error) | {"document": document.part[0], "documents": document.part[1]}
        result["timings"]["read"] = round(seconds, 3)
        if result["record"] is None:
            result |= {"error": f"no record: {'; '.join(result['problems'][:3])}", "reason": "no record"}
        return result


def _failed(name: str, error: Exception) -> dict:
    stage.show_bug(error)
    return {"file": name, "error": f"failed with {type(error).__name__}", "reason": "bug"}


# --- the command ---------------------------------------------------------------------------------------------


def show_environment(args: Any, cfg: config.Config) -> int:
    asked = choice.choose(cfg, args.model)
    requirements = environment.needed(config.ROOT, args.model)
    lines = [*environment.packages(requirements), environment.ocr(environment.install(requirements))]
    for name in ("gguf",) if config.BUNDLE.is_file() else ("gguf", "base-gguf", "adapter"):
        model = choice.choose(cfg, name)
        lines.append(environment.built(name, model.folder, model.made_by))
    lines.append(environment.opened(asked.shown, asked.open, environment.install(requirements)))
    print(results.table(lines, ("what", "state", "detail", "to mend it"), widest=120))
    return int(any(state == environment.MISSING for _, state, _, _ in lines))


def checked(p: Any, args: Any) -> None:
    """Ends the program with status 2 for options that do not go together."""
    if not (args.inputs or args.check or args.label):
        p.error("name a FILE, a folder, or - for stdin")
    if args.results and not args.label:
        p.error("--results goes with --label")
    if args.label and args.split != "auto":
        p.error("--label writes a draft for each file: leave out --split")
    if args.label and (args.output or args.format or args.ask or args.omit_null or args.retry_errors):
        p.error("--label writes drafts: leave out -o, --format, --ask, --omit-null and --retry-errors")
    if args.label and "-" in args.inputs:
        p.error("--label needs files: a document from stdin has no name")
    if args.workers < 1:
        p.error(f"--workers must be at least 1, got {args.workers}")
    if args.label and args.type not in ("auto", *schemas.DOCUMENT_TYPES):
        p.error(
            f"--label: --type {args.type} is none of {', '.join(schemas.DOCUMENT_TYPES)}; name a file with --schema"
        )
    if args.schema and args.type != "auto":
        p.error("--schema replaces the document type: leave out --type")
    if args.format == "csv" and not args.output:
        p.error("--format csv writes two files, so it needs -o FILE.csv")
    if args.output and any(name != "-" and Path(name).resolve() == args.output.resolve() for name in args.inputs):
        p.error(f"-o {args.output} is one of the documents to read")


def main(argv: list[str] | None = None) -> int:
    p = config.parser(__doc__)
    p.add_argument("inputs", nargs="*", metavar="FILE", help="files, folders, or - for stdin")
    kinds = ", ".join(schemas.DOCUMENT_TYPES)
    p.add_argument("--type", default="auto", help=f"document type: auto (default), {kinds}, or one that you trained")
    p.add_argument(
        "--split", choices=splitting.WAYS, default="auto", help="are several documents looked for on a file's pages?"
    )
    p.add_argument("--schema", type=Path, metavar="FILE", help="fields of your own: a JSON schema or a template")
    p.add_argument("--ask", action="append", default=[], metavar="TEXT", help="a question; repeat it")
    p.add_argument("--model", default="gguf", metavar="MODEL", help=choice.NAMES)
    p.add_argument("-o", "--output", type=Path, metavar="FILE", help="where to write; an interrupted run is resumed")
    p.add_argument(
        "--format", choices=("json", "jsonl", "csv", "table"), help="default: json for one document on stdout"
    )
    p.add_argument("--retry-errors", action="store_true", help="with -o: read documents again that failed before")
    p.add_argument("--overwrite", action="store_true", help="with -o: begin a new file; with --label: new drafts")
    p.add_argument("--label", type=Path, metavar="FOLDER", help="write drafts of records there, for training")
    p.add_argument("--results", type=Path, metavar="FILE", help="with --label: take the results of an earlier run")
    p.add_argument("--omit-null", action="store_true", help="leave out what was not found")
    p.add_argument("--workers", type=int, default=1, metavar="N", help="documents at once, and requests to a server")
    p.add_argument("--timings", action="store_true", help="seconds per document on stderr, read and model apart")
    p.add_argument("--check", action="store_true", help="is everything there: packages, OCR, model; then stop")
    args, cfg = config.read(p, argv)
    checked(p, args)
    if args.check:
        return show_environment(args, cfg)
    if args.label:
        return label_documents(args, cfg)
    own = custom.read(args.schema) if args.schema else None
    run = Run(args, cfg, own)
    names, skipped = workers.find_inputs(args.inputs)
    if skipped:
        print(f"{skipped} files of other kinds were skipped", file=sys.stderr)
    if not names:
        raise files.StageError("there is no document to read")
    with handoff.alone(args.output) if args.output else contextlib.nullcontext():
        return read_all(run, names)


def label_documents(args: Any, cfg: config.Config) -> int:
    """Drafts of records in a folder of one's own documents."""
    folder = label.folder_of(args.label, args.type, args.schema)
    known = label.earlier(args.results, folder.task) if args.results else {}
    names = workers.find_inputs(args.inputs)[0] or [row["file"] for row in known.values()]
    own = folder.task if isinstance(folder.task, custom.CustomTask) else None
    args.type, args.split = "auto" if own else folder.task.name, "never"  # a draft is of a whole file
    run = Run(args, cfg, own)
    with handoff.alone(args.label):
        labeling = label.Labeling(folder, again=args.overwrite)
        names = labeling.take(names, cfg.inference)
        bar = workers.Bar(len(names))
        try:
            make = lambda name: labeling.rows(name, lambda one: run.rows(one, bar.prompts), known)  # noqa: E731
            for row in run.workers.rows(names, make):
                labeling.add(row)
                bar.document()
        finally:
            bar.bar.close()
    return labeling.end(cfg.command("app", "--review", args.label))


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
