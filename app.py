"""Stage 7 of 7: a page in the browser around stage 5.

Reads   documents that are uploaded to the page, and a model: the GGUF build that export_gguf.py made, or the
        adapter, the base model, or an OpenAI-compatible server
Writes  nothing that stays: uploads and results are deleted when the page is stopped, at the latest a day later;
        with --review, the drafts and records of that folder; in data/own/, corrected documents that a person ticks

    python app.py
    python app.py --port 8080 --model adapter
    python app.py --review data/own/notes
    DOC_INTEL_USER=ann DOC_INTEL_PASSWORD=... python app.py --host 0.0.0.0

The page answers on this machine only. Any other --host needs a user and a password in the environment, as above.
Exit status: 2 wrong use or a port that is taken, 3 no model, 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import config
import inference
from extraction import files, stage, steps
from extraction.models import backends, choice
from extraction.page import jobs, keep, review, server, strip, view, widgets
from extraction.page.opened import Opened, conversation, pages, picture
from extraction.reading import documents
from extraction.tasks import custom, own_types

if TYPE_CHECKING:
    import gradio as gr

PURPOSE = "Reads receipts, invoices, contracts and other documents: their fields, a summary, answers to your questions."
DARK = (
    "() => { document.body.classList.toggle('dark'); document.body.style.background = 'var(--body-background-fill)' }"
)
HOUR = 3600  # seconds
EXPORTS_KEPT = 10  # of a batch: a download begins before the next document is read
OUTPUTS = "status view table fields_tab verdicts checks_tab summary text json chat strip".split()
OUTPUTS += [f"save_{name}" for name in view.EXPORTS]


# --- a document in somebody's hands --------------------------------------------------------------------------


def open_document(
    path: Path,
    document_type: str,
    backend: backends.Backend,
    cfg: config.Config,
    schema: str | None = None,
    part: documents.Part | None = None,
    tell: Callable[[Any], Any] | None = None,
    way: str | Sequence[int] = "auto",
    before: strip.Bundle | None = None,
) -> strip.Bundle:
    """Read a document, or one of those in a file, and extract its record, or that of a schema; of several documents on
    its pages one after the other. `before` has what was read of the file, to be divided in another `way`.

    `tell` is called with the document once it is read, then with lines that say how far the model is, and with what
    it has found so far; that has the documents of `before`, which stay as they are until all have been examined.
    Raises DocumentError if the document cannot be read, StageError if the schema cannot be used.
    """
    if before is None:
        task = own_types.task(document_type, own_types.of(backend))
        if schema and schema.strip():
            task = custom.parse(schema, "the schema")
        started = time.monotonic()
        before = strip.Bundle(path, part.name if part else path.name, inference.read(part or path, cfg), task)
        before.read_seconds = time.monotonic() - started
        if tell:
            tell(before.whole)
    known = before if before.members else None

    def examine(document: documents.Document) -> steps.Extraction:
        number, of = document.part
        at, countdown = (f"document {number} of {of}, " if of > 1 else ""), jobs.Countdown()
        on_the_way: dict[str, Callable] = {}
        if tell:
            on_the_way["progress"] = lambda done, all_: tell(at + countdown.line(done, all_))
            on_the_way["partly"] = lambda found: tell(Opened(path, found, bundle=known, reading=True))
        found = inference.examine(document, backend, cfg, before.name, before.task, **on_the_way)
        found.timings["read"] = round(before.read_seconds / of, 3)
        return found

    before.read(way, examine)
    return before


# --- what the page shows of it -------------------------------------------------------------------------------


def status_line(result: dict) -> str:
    read, pages = result["pages"] - result["pages_skipped"], result["pages"]
    counted = f"{read} of {pages} pages" if read < pages else f"{pages} page{'' if pages == 1 else 's'}"
    if result.get("documents", 1) > 1:
        counted = f"document {result['document']} of {result['documents']}, {counted}"
    seconds = result["timings"]
    times = f"reading {seconds['read']:.1f} s, model {seconds['model']:.1f} s" if seconds else "stopped"
    return f"{result['file']}  ·  {result['document_type']}  ·  {counted}  ·  {result['model']}  ·  {times}"


# --- the page ------------------------------------------------------------------------------------------------


def build_page(
    backend: backends.Backend, cfg: config.Config, to_review: Path | None = None, keep_in: Path | None = None
) -> gr.Blocks:
    """The page, not launched yet. `backend` is asked by one visitor at a time. `to_review` is a folder of drafts, and
    corrected documents may be kept in a folder of `keep_in`."""
    import gradio as gr

    page = server.page_class()(title="Doc intelligence", analytics_enabled=False, delete_cache=(HOUR, 24 * HOUR))
    handlers = Handlers(backend, cfg, page.GRADIO_CACHE)
    handlers.review = review.Review(to_review, cfg.inference) if to_review else None
    with page:
        with gr.Row():
            gr.Markdown("# Doc intelligence", elem_id="title")
            dark = gr.Button("Dark / light", size="sm", scale=0, min_width=120, elem_id="dark")
        dark.click(None, js=DARK, api_visibility="private")
        gr.Markdown(PURPOSE)
        with gr.Tabs(selected="review" if to_review else None):
            with gr.Tab("One document"):
                _document_tab(handlers, cfg, keep_in)
            with gr.Tab("Batch"):
                _batch_tab(handlers, cfg)
            if handlers.review:
                with gr.Tab("Review", id="review"):
                    review.tab(handlers.review, page)
    return page.queue(default_concurrency_limit=1, max_size=cfg.app.queue_size)


def _document_tab(handlers: Handlers, cfg: config.Config, keep_in: Path | None) -> None:
    import gradio as gr

    opened = gr.State(None, time_to_live=24 * HOUR)  # of each visitor their own
    source, photo, kind, schema, split, button, stop, tried = widgets.given(cfg, own_types.of(handlers.backend))
    made = widgets.shown()
    handlers.question = question = made["question"]
    handlers.document = {"opened": opened, **{name: made[name] for name in OUTPUTS}}
    shown, outputs = handlers.document, list(handlers.document.values())
    read = {"fn": handlers.extract, "inputs": [source, kind, photo, schema, split], "outputs": outputs}
    read |= {"show_progress_on": [shown["status"]], "concurrency_id": "model"}
    read |= {"trigger_mode": "multiple"}  # what was stopped must not keep the next from beginning
    running = [button.click(**read, api_name="extract")]
    private = {"api_visibility": "private"}
    if tried:
        picked = tried.pick(widgets.with_event(handlers.pick), opened, [source, kind, photo], **private)
        running.append(picked.then(**read, **private))
    program = {"fn": handlers.results, "outputs": gr.Textbox(visible=False), "concurrency_id": "model"}
    gr.Button(visible=False).click(**program, inputs=[source, kind, schema], api_name="results")
    gr.Button(visible=False).click(**program, inputs=[source, kind, schema, split], api_name="results_split")
    again = {"fn": widgets.with_event(handlers.again, stream=True), "inputs": opened, "outputs": outputs}
    again |= {"show_progress_on": [shown["status"]], "concurrency_id": "model", **private}
    running.append(shown["strip"].again(**again))
    stop.click(handlers.stop, opened, outputs, cancels=running, **private)
    clear = {"js": "() => null", **private}  # what was given last is what is read
    source.upload(None, outputs=photo, **clear)
    photo.input(None, outputs=source, **clear)
    quiet = {**private, "show_progress": "hidden"}
    shown["strip"].choose(widgets.with_event(handlers.choose), opened, outputs, **quiet)
    shown["strip"].pages(widgets.with_event(handlers.show_pages), opened, shown["strip"], **quiet)
    shown["view"].turn(widgets.with_event(handlers.turn), opened, shown["view"], **quiet)
    one_by_one = {**quiet, "trigger_mode": "multiple", "concurrency_id": "change"}  # however fast somebody types
    changed = [
        shown["table"].edit(widgets.with_event(handlers.edit), opened, outputs, **one_by_one),
        shown["table"].rows(widgets.with_event(handlers.change_rows), opened, outputs, **one_by_one),
    ]
    if keep_in:
        keep.box(keep_in, opened, schema, [*running, *changed])
    shown["chat"].forget(handlers.forget_answers, opened, outputs, **quiet)
    question.submit(
        handlers.ask, [opened, question], [*outputs, question], api_name="ask", concurrency_id="model",
        show_progress_on=[shown["chat"]],
    )  # fmt: skip


def _batch_tab(handlers: Handlers, cfg: config.Config) -> None:
    import gradio as gr

    queue = handlers.review and [(f"Drafts to review in {handlers.review.path.name}", review.TYPE)]
    sources, kind, start, stop, rows, jsonl, fields = widgets.batch(cfg, own_types.of(handlers.backend), queue or [])

    def run(chosen: list[str] | None, document_type: str, progress: Any = gr.Progress()) -> Iterator[tuple]:  # noqa: B008
        yield from handlers.batch(chosen, document_type, progress)

    running = start.click(
        run, [sources, kind], [rows, jsonl, fields], api_name="batch", concurrency_id="batch",
        show_progress_on=[rows],
    )  # fmt: skip
    stop.click(None, cancels=[running], api_visibility="private")


class Handlers:
    """What happens on a click. `document` names the outputs of the first tab; every answer sets all of them, so that
    nothing of the document before stays beside this one."""

    def __init__(self, backend: backends.Backend, cfg: config.Config, cache: str):
        self.backend = backend
        self.cfg = cfg
        self.cache = Path(cache)
        self.one_at_a_time = threading.Lock()  # beside the queues: no backend may be entered twice
        self.document: dict[str, Any] = {}
        self.review: review.Review | None = None  # where drafts wait
        self.question: Any = None  # the box a question is typed into, emptied by its answer

    def _read(
        self,
        path: Path,
        document_type: str,
        schema: str | None = None,
        part: documents.Part | None = None,
        tell: Callable[[Any], Any] | None = None,
        way: str | Sequence[int] = "auto",
        before: strip.Bundle | None = None,
    ) -> strip.Bundle:
        with self.one_at_a_time, jobs.in_one_sentence():
            return open_document(path, document_type, self.backend, self.cfg, schema, part, tell, way, before)

    def pick(self, opened: Opened | None, event: gr.EventData) -> dict | tuple:
        """An example, put where a visitor's own document would be."""
        import gradio as gr
        from gradio.processing_utils import save_file_to_cache

        if event.file not in widgets.EXAMPLES:
            return gr.skip()
        folder = self.cfg.samples_dir / "documents"
        return save_file_to_cache(folder / event.file, str(self.cache)), "auto", None

    def stop(self, opened: Opened | None) -> dict:
        """What was found before stays; of a file that is divided anew, all its documents of before."""
        if opened is None or not opened.reading:
            return {self.document["status"]: "Stopped."}
        if opened.bundle:
            said = f"{opened.bundle.name}: stopped, its documents are what they were"
            return self._shown(opened.bundle.opened, said)
        opened.stop()
        return self._shown(opened, status_line(opened.result))

    def _so_far(self, path: Path, said: documents.Document | Opened | str) -> dict:
        """The document as soon as it is read, then how far the model is, and what it has found."""
        import gradio as gr

        if isinstance(said, str):
            return {self.document["status"]: f"{path.name}: {said}"}
        if isinstance(said, Opened):
            found = view.table(said.result, said.found.task.schema) | {"reading": True}
            shown = {"opened": said, "view": view.boxes(said.fields) | {"more": True}, "table": found}
            shown["fields_tab"] = gr.Tab(view.counted("Fields", len(found["rows"])))
            return {self.document[name]: value for name, value in shown.items()}
        shown = self._shown(None, f"{path.name}: asking the model ...")
        with contextlib.suppress(documents.DocumentError):  # its pages cannot be drawn
            shown[self.document["view"]] = view.picture(path, 1, said.pages, [], limits=self.cfg.inference)
        return shown | {self.document["text"]: said.text}

    def extract(
        self, uploaded: str | None, document_type: str, photo: str | None, schema: str | None, way: str = "auto"
    ) -> Iterator[dict]:
        uploaded = uploaded or photo
        if not uploaded:
            yield self._shown(None, "Choose a document first.", failed=True)
            return
        path = Path(uploaded)
        yield self._shown(None, f"Reading {path.name} ...")
        yield from self._made(path, lambda tell: self._read(path, document_type, schema, tell=tell, way=way))

    def again(self, opened: Opened | None, event: gr.EventData) -> Iterator[dict]:
        """Read the documents of a file that begin at the pages which a person named."""
        bundle = opened and opened.bundle
        begins = bundle and bundle.begins(event.begins)
        if begins is None:
            yield {self.document["status"]: "Extract a document first."}
            return
        yield from self._made(
            bundle.path, lambda tell: self._read(bundle.path, "auto", tell=tell, way=begins, before=bundle), bundle
        )

    def _made(
        self, path: Path, read: Callable[[Callable[[Any], Any]], strip.Bundle], before: strip.Bundle | None = None
    ) -> Iterator[dict]:
        """What is shown while a file is read, and of its first document then; if that fails, of those `before`."""
        job = jobs.Job(read)
        try:
            for said in job.said():
                yield self._so_far(path, said)
            opened = job.result().opened
        except (documents.DocumentError, files.StageError) as error:
            sentence = f"{path.name}: {error}"
            print(sentence, file=sys.stderr)
            yield self._shown(before and before.opened, sentence, failed=True)
            return
        finally:
            job.stop()
        yield self._shown(opened, status_line(opened.result))

    def choose(self, opened: Opened | None, event: gr.EventData) -> dict:
        """Show another document of the file, from its first page or at the one that was clicked."""
        if opened is None or opened.bundle is None or not opened.bundle.choose(event.document):
            return {}
        chosen = opened.bundle.opened
        page = event.page if event.page in chosen.document.numbers else None
        return self._shown(chosen, status_line(chosen.result), page=page)

    def show_pages(self, opened: Opened | None, event: gr.EventData) -> dict | None:
        return strip.value(opened and opened.bundle, self.cfg.inference, with_pages=True)

    def edit(self, opened: Opened | None, event: gr.EventData) -> dict:
        if opened is None or opened.reading or opened.result["record"] is None:
            return {}
        try:
            with jobs.in_one_sentence():
                opened.edit(str(event.field), str(event.value))
        except files.StageError as error:
            return {self.document["status"]: str(error)}
        edited = next((f for f in opened.fields if f["path"] == event.field), None)
        return self._shown(opened, status_line(opened.result), edited)

    def change_rows(self, opened: Opened | None, event: gr.EventData) -> dict:
        if opened is None or opened.reading or opened.result["record"] is None:
            return {}
        try:
            with jobs.in_one_sentence():
                opened.change_rows(str(event.row), str(event.act))
        except files.StageError as error:
            return {self.document["status"]: str(error)}
        return self._shown(opened, status_line(opened.result))

    def turn(self, opened: Opened | None, event: gr.EventData) -> dict | None:
        import gradio as gr

        if not opened or not isinstance(event.page, int) or not 1 <= event.page <= pages(opened, self.cfg.inference):
            return gr.skip()
        return self._picture(opened, event.page, event.field)

    def ask(self, opened: Opened | None, question: str) -> dict:
        if opened is None or opened.reading or not question.strip():
            ready = opened is not None and not opened.reading
            return {self.document["status"]: "Type a question first." if ready else "Extract a document first."}
        try:
            with self.one_at_a_time, jobs.in_one_sentence():
                opened.ask(question.strip(), self.backend, self.cfg.data)
        except files.StageError as error:
            return {self.document["status"]: str(error)}
        return self._shown(opened, status_line(opened.result), opened.evidence[-1]) | {self.question: ""}

    def forget_answers(self, opened: Opened | None) -> dict:
        if opened is None:
            return {}
        opened.forget_answers()
        return self._shown(opened, status_line(opened.result))

    def _picture(self, opened: Opened, number: int, active: str | None = None) -> dict:
        return picture(opened, number, self.cfg.inference, active)

    def _shown(
        self,
        opened: Opened | None,
        line: str,
        lit: dict | None = None,
        page: int | None = None,
        failed: bool = False,
    ) -> dict:
        """A value for every output of the first tab; `lit` is the field whose box is lit up, on its page.

        If it `failed`, the line says why.
        """
        import gradio as gr

        result = opened.result if opened else {"fields": [], "checks": [], "problems": []}
        exports = view.exports(result) if opened else {}
        first = opened.document.numbers[0] if opened else 1
        number = lit["boxes"][0]["page"] if lit and lit["boxes"] else page or first
        seen = {"note": line, "failed": True} if failed else None
        if opened:
            seen = self._picture(opened, number, lit and lit["path"])
        values = {
            "opened": opened,
            "strip": strip.value(opened and opened.bundle, self.cfg.inference),
            "status": line,
            "view": seen,
            "table": view.table(result, opened.found.task.schema if opened else {}),
            "fields_tab": gr.Tab(view.counted("Fields", len(result["fields"] or []))),
            "verdicts": view.verdicts(result),
            "checks_tab": gr.Tab(view.counted("Checks", view.needing_a_look(result))),
            "summary": result.get("summary") or "",
            "text": opened.document.text if opened else "",
            "json": exports.get("json"),
            "chat": conversation(opened) if opened else None,
        }
        stem = Path(result.get("file", "")).stem
        saved = self._saved({f"{stem}.{name}": text for name, text in exports.items()}) if exports else None
        for name in view.EXPORTS:
            path = str(saved / f"{stem}.{name}") if saved else None
            values[f"save_{name}"] = gr.DownloadButton(value=path, interactive=bool(opened))
        return {self.document[name]: value for name, value in values.items()}

    def _saved(self, texts: dict[str, str]) -> Path:
        """A new folder with files to download: one that somebody may be downloading is never written to."""
        folder = self.cache / secrets.token_hex(16)
        folder.mkdir(parents=True)
        for name, text in texts.items():
            files.write_text(folder / name, text)
        return folder

    def batch(self, sources: list[str] | None, document_type: str, progress: gr.Progress) -> Iterator[tuple]:
        import gradio as gr

        if not sources:
            yield [["", "Choose documents first.", *[""] * 5]], gr.skip(), gr.skip()
            return
        to_queue = self.review if document_type == review.TYPE else None
        asked = to_queue.fields() if to_queue else (document_type,)
        rows, results, exported = [], [], []
        for uploaded in progress.tqdm(sources, desc="Documents", unit="documents"):
            for result in self._results(Path(uploaded), *asked):
                rows.append(view.batch_row(result))
                if to_queue:
                    rows[-1][1] = to_queue.put(Path(uploaded), result)
                results.append(result)
                lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in results)
                exported.append(self._saved({"results.jsonl": lines, "results.csv": view.csv_text(results)}))
                if len(exported) > EXPORTS_KEPT:
                    shutil.rmtree(exported.pop(0), ignore_errors=True)
                paths = exported[-1] / "results.jsonl", exported[-1] / "results.csv"
                yield rows, *(gr.DownloadButton(value=str(file), interactive=True) for file in paths)

    def results(self, uploaded: str | None, document_type: str, schema: str | None, way: str = "auto") -> str:
        """For programs: the result of each document in a file, or why there is none, as JSON."""
        import gradio as gr

        if not uploaded:
            raise gr.Error("there is no file: upload one first", print_exception=False)
        return json.dumps(list(self._results(Path(uploaded), document_type, schema, way)), ensure_ascii=False)

    def _results(self, path: Path, document_type: str, schema: str | None = None, way: str = "auto") -> Iterator[dict]:
        """The result of each document in a file, or why there is none; one must not take the others with it."""
        try:
            with jobs.in_one_sentence():
                parts = documents.parts(path.name, documents.content(path, self.cfg.inference), self.cfg.inference)
        except (documents.DocumentError, files.StageError) as error:
            yield {"file": path.name, "error": str(error)}
            return
        for part in parts:
            try:
                yield from (one.result for one in self._read(path, document_type, schema, part, way=way).members)
            except (documents.DocumentError, files.StageError) as error:
                yield {"file": part.name, "error": str(error)}


# --- running it ----------------------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> int:
    p = config.parser(__doc__)
    p.add_argument("--model", default="gguf", metavar="MODEL", help="gguf (default), adapter, base, FILE.gguf or URL")
    p.add_argument("--host", metavar="ADDRESS", help="default: app.host, 127.0.0.1")
    p.add_argument("--port", type=int, metavar="N", help="default: app.port, 7860")
    p.add_argument("--review", type=Path, metavar="FOLDER", help="drafts to review: what inference.py --label wrote")
    args, cfg = config.read(p, argv)
    if args.review:
        review.check(args.review)
    host, port = args.host or cfg.app.host, cfg.app.port if args.port is None else args.port
    auth = server.login(host)
    server.check_port(host, port)
    backend = choice.choose(cfg, args.model).open()
    with tempfile.TemporaryDirectory(prefix="doc-intel-", ignore_cleanup_errors=True) as folder:
        server.set_environment(host, folder)
        keeps = auth is None if cfg.app.keep is None else cfg.app.keep
        page = build_page(backend, cfg, args.review, cfg.keep_dir if keeps else None)
        try:
            server.launch(page, host, port, max_file_mb=cfg.inference.max_file_mb, auth=auth)
            print(f"Doc intelligence page: http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
            print("Stop it with Ctrl-C", flush=True)
            while True:
                time.sleep(HOUR)
        finally:
            page.close(verbose=False)


if __name__ == "__main__":
    stage.run_stage(main)
