"""Stage 7 of 7: a page in the browser around stage 5.

Reads   documents that are uploaded to the page, and a model: the GGUF build that export_gguf.py made, or the
        adapter, the base model, or an OpenAI-compatible server
Writes  nothing that stays: uploads and results are deleted when the page is stopped, at the latest a day later

    python app.py
    python app.py --port 8080 --model adapter
    DOC_INTEL_USER=ann DOC_INTEL_PASSWORD=... python app.py --host 0.0.0.0

The page answers on this machine only. Any other --host needs a user and a password in the environment, as above.
Exit status: 2 wrong use or a port that is taken, 3 no model, 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import html
import ipaddress
import json
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import config
import inference
from extraction import documents, handoff

if TYPE_CHECKING:
    import gradio as gr

Extract = Callable[[Path, str, list[str]], dict]  # document, document type, questions -> result object

DOCUMENT_TYPES = [
    ("Auto", "auto"),
    ("Receipt or invoice", "receipt"),
    ("Contract", "contract"),
    ("Other document", "document"),
]
EXAMPLES = {  # file in data/samples/documents -> questions that are asked of it
    "receipt_photo_1.jpg": "",
    "receipt_photo_2.jpg": "How much was paid in total?",
    "invoice.pdf": "",
    "contract_1.pdf": "Which law governs this agreement?",
    "letter.txt": "Who wrote this letter?",
}
PURPOSE = "Reads receipts, invoices, contracts and other documents: their fields, a summary, answers to your questions."
HOUR = 3600  # seconds


# --- a result as the page shows it ---------------------------------------------------------------------------


def fields(value: Any, path: str = "") -> list[list[str]]:
    """The fields of a record as rows of path and value, positions included: `["line_items[0].amount", "2.00"]`."""
    if isinstance(value, dict):
        return [row for key, inner in value.items() for row in fields(inner, f"{path}.{key}" if path else key)]
    if isinstance(value, list):
        return [row for i, inner in enumerate(value) for row in fields(inner, f"{path}[{i}]")]
    return [] if value in (None, "") else [[path, str(value)]]


def status_line(result: dict) -> str:
    read, pages = result["pages"] - result["pages_skipped"], result["pages"]
    counted = f"{read} of {pages} pages" if read < pages else f"{pages} page{'' if pages == 1 else 's'}"
    seconds = result["timings"]
    times = f"reading {seconds['read']:.1f} s, model {seconds['model']:.1f} s"
    return f"{result['file']}  ·  {result['document_type']}  ·  {counted}  ·  {result['model']}  ·  {times}"


def limits_line(limits: config.InferenceConfig) -> str:
    pages = "first page" if limits.max_pages == 1 else f"first {limits.max_pages} pages"
    return f"PDF, image, DOCX or text, at most {limits.max_file_mb:g} MB; of a long document the {pages} are read."


def example_rows(folder: Path) -> list[list[str]]:
    return [[str(folder / name), "auto", text] for name, text in EXAMPLES.items() if (folder / name).is_file()]


def counted(name: str, rows: list) -> str:
    return f"{name} ({len(rows)})" if rows else name


def view(line: str, result: dict | None, cache: str) -> list:
    """A value for every output, in the page's order, so that nothing of the document before stays beside this one."""
    import gradio as gr
    from gradio.processing_utils import save_bytes_to_cache

    result = result or {}
    rows = fields(result.get("record"))
    answers = [[a["question"], a["answer"] or "not found"] for a in result.get("answers", [])]
    problems = [[problem] for problem in result.get("problems", [])]
    path = text = None
    if result:
        text = json.dumps(result, indent=2, ensure_ascii=False)
        path = save_bytes_to_cache(text.encode(), f"{Path(result['file']).stem}.json", cache)
    return [
        line,
        result.get("summary") or "",
        gr.Tab(counted("Fields", rows)),
        rows,
        text,
        gr.Tab(counted("Answers", answers)),
        answers,
        gr.Tab(counted("Problems", problems)),
        problems,
        gr.DownloadButton(value=path, interactive=bool(result)),
    ]


# --- the page ------------------------------------------------------------------------------------------------


def build_page(extract: Extract, cfg: config.Config) -> gr.Blocks:
    """The page, not launched yet. `extract` is called for one document at a time."""
    import gradio as gr

    one_at_a_time = threading.Lock()  # beside the queue: no backend may be entered twice

    # A document's text goes into text boxes and plain cells alone: what shows HTML or Markdown would run or fetch it.
    page = gr.Blocks(title="Doc intelligence", analytics_enabled=False, delete_cache=(HOUR, 24 * HOUR))
    with page:
        gr.Markdown(f"# Doc intelligence\n{PURPOSE}")
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                suffixes = sorted(inference.SUFFIXES)
                source = gr.File(label="Document", file_types=suffixes, height=150, elem_id="document")
                gr.Markdown(limits_line(cfg.inference), elem_id="limits")
                kind = gr.Radio(DOCUMENT_TYPES, value="auto", label="Document type", elem_id="type")
                asked = gr.Textbox(label="Questions, one per line (optional)", lines=2, elem_id="questions")
                button = gr.Button("Extract", variant="primary", elem_id="extract")
                rows = example_rows(cfg.samples_dir / "documents")
                if rows:
                    examples = gr.Examples(
                        rows,
                        [source, kind, asked],
                        label="Or try one of these",
                        example_labels=[Path(row[0]).name for row in rows],
                        elem_id="examples",
                        api_visibility="private",
                    )
            with gr.Column(scale=3, min_width=420):
                status = gr.Textbox(
                    label="Status", placeholder="No document yet", lines=1, max_lines=4, elem_id="status"
                )
                summary = gr.Textbox(label="Summary", lines=2, max_lines=6, buttons=["copy"], elem_id="summary")
                with gr.Tabs():
                    with gr.Tab("Fields") as fields_tab:
                        field_table = table(["Field", "Value"], ["40%", "60%"], "fields", show_search="search")
                    with gr.Tab("JSON"):  # as code: gr.JSON would take each {"path": ...} of the fields for a file
                        shown = gr.Code(
                            language="json", interactive=False, show_label=False, max_lines=28, elem_id="json"
                        )
                    with gr.Tab("Answers") as answers_tab:
                        answer_table = table(["Question", "Answer"], ["50%", "50%"], "answers")
                    with gr.Tab("Problems") as problems_tab:
                        problem_table = table(["Problem"], ["100%"], "problems")
                download = gr.DownloadButton("Download JSON", interactive=False, elem_id="download")

        def read(uploaded: str | None, document_type: str, questions: str) -> Iterator[list]:
            if not uploaded:
                gr.Warning("Choose a document first.")
                yield view("", None, cache)
                return
            path = Path(uploaded)
            yield view(f"Reading {path.name} ...", None, cache)
            try:
                with one_at_a_time:
                    result = extract(path, document_type, [q.strip() for q in questions.splitlines() if q.strip()])
            except (documents.DocumentError, handoff.StageError) as error:
                sentence = f"{path.name}: {error}"
                print(sentence, file=sys.stderr)
                gr.Warning(html.escape(sentence))  # a toast shows HTML
                yield view(sentence, None, cache)
                return
            yield view(status_line(result), result, cache)

        cache = page.GRADIO_CACHE
        outputs = [status, summary, fields_tab, field_table, shown, answers_tab, answer_table]
        outputs += [problems_tab, problem_table, download]
        wiring = {"fn": read, "inputs": [source, kind, asked], "outputs": outputs, "show_progress_on": [status]}
        button.click(**wiring, api_name="extract", concurrency_id="model")
        if rows:
            examples.load_input_event.then(**wiring, api_visibility="private", concurrency_id="model")
    return page.queue(default_concurrency_limit=1, max_size=20)


def table(headers: list[str], widths: list[str], name: str, **options: Any) -> gr.Dataframe:
    """A table of plain text that can be read and copied, not edited."""
    import gradio as gr

    width = len(headers)
    return gr.Dataframe(
        headers=headers,
        column_count=width,
        column_widths=widths,
        datatype="str",
        type="array",
        interactive=False,
        wrap=True,
        max_height=560,
        show_label=False,
        elem_id=name,
        **options,
    )


# --- the server ----------------------------------------------------------------------------------------------


def login(host: str) -> tuple[str, str] | None:
    """User and password from the environment. Raises StageError for an address that others reach without them."""
    user, password = os.environ.get("DOC_INTEL_USER", ""), os.environ.get("DOC_INTEL_PASSWORD", "")
    if user and password:
        return user, password
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if not local or user or password:
        raise handoff.StageError(f"--host {host} needs DOC_INTEL_USER and DOC_INTEL_PASSWORD, both, in the environment")
    return None


def check_port(host: str, port: int) -> None:
    """Raises StageError if no server can be started there."""
    if not 1 <= port <= 65535:
        raise handoff.StageError(f"--port must be between 1 and 65535, got {port}")
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        why = error.strerror or str(error)
        raise handoff.StageError(
            f"no page can be opened at {host}:{port}: {why}. Try --port {port % 65535 + 1}"
        ) from error


def set_environment(host: str, folder: str) -> None:
    """What Gradio takes from the environment, set before it is imported."""
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": folder}
    for name in ("NO_PROXY", "no_proxy"):  # Gradio asks its own server whether it is up, never through a proxy
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "localhost,127.0.0.1,::1", host]))


def launch(page: gr.Blocks, cfg: config.Config, host: str, port: int, auth: tuple[str, str] | None = None) -> None:
    """Start the server in a thread: no network, nothing kept, no file served that the page did not make."""
    page.launch(
        server_name=f"[{host}]" if ":" in host else host,
        server_port=port,
        auth=auth,
        max_file_size=int(cfg.inference.max_file_mb * 1e6),
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        ssr_mode=False,
        mcp_server=False,
        run_history=False,
        enable_monitoring=False,
        footer_links=[],
    )


def main(argv: list[str] | None = None) -> int:
    p = config.parser(__doc__)
    p.add_argument("--model", default="gguf", metavar="MODEL", help="gguf (default), adapter, base, FILE.gguf or URL")
    p.add_argument("--host", metavar="ADDRESS", help="default: app.host, 127.0.0.1")
    p.add_argument("--port", type=int, metavar="N", help="default: app.port, 7860")
    args, cfg = config.read(p, argv)
    host, port = args.host or cfg.app.host, cfg.app.port if args.port is None else args.port
    auth = login(host)
    check_port(host, port)
    backend = inference.open_backend(cfg, args.model)

    def extract(path: Path, document_type: str, questions: list[str]) -> dict:
        return inference.extract(path, backend, cfg, name=path.name, document_type=document_type, questions=questions)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the folder is removed then, too
    with tempfile.TemporaryDirectory(prefix="doc-intel-", ignore_cleanup_errors=True) as folder:
        set_environment(host, folder)
        page = build_page(extract, cfg)
        try:
            launch(page, cfg, host, port, auth)
            print(f"Doc intelligence page: http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
            print("Stop it with Ctrl-C", flush=True)
            while True:
                time.sleep(HOUR)
        finally:
            page.close(verbose=False)


if __name__ == "__main__":
    handoff.run_stage(main)
