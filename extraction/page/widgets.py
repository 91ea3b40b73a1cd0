"""What the page is made of: what a visitor gives, and what is shown of a document. app.py says what a click does.

A document's text goes into text boxes, plain cells and the parts of view.js alone: what shows HTML or Markdown would
run or fetch it, gr.Chatbot even without Markdown. JSON is shown as code, because gr.JSON would take each
{"path": ...} of the fields for a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import config
from extraction.formats import kinds
from extraction.page import strip, view
from extraction.page.opened import Opened

if TYPE_CHECKING:
    import gradio as gr

DOCUMENT_TYPES = [
    ("Auto", "auto"),
    ("Receipt or invoice", "receipt"),
    ("Contract", "contract"),
    ("Other", "document"),
]
EXAMPLES = ["receipt_photo_1.jpg", "receipt_photo_2.jpg", "invoice.pdf", "contract_1.pdf", "letter.txt"]
TEMPLATE = '{"vendor": "", "items": [{"name": "", "price": ""}]}'


def limits_line(limits: config.InferenceConfig) -> str:
    pages = "first page" if limits.max_pages == 1 else f"first {limits.max_pages} pages"
    formats = "PDF, image, DOCX, mail, HTML, ZIP or text"
    return f"{formats}, at most {limits.max_file_mb:g} MB; of a long document the {pages} are read."


def example_rows(folder: Path) -> list[list[str]]:
    return [[str(folder / name), "auto"] for name in EXAMPLES if (folder / name).is_file()]


def document_types(own: Iterable[str]) -> list[tuple[str, str]]:
    """What can be chosen: with the document types that the model was trained on besides ours."""
    return [*DOCUMENT_TYPES, *((name, name) for name in own)]


def given(cfg: config.Config, own: Iterable[str] = ()) -> tuple:
    """What a visitor gives: file, photo, document type, fields of their own, how the file is divided; the buttons; the
    examples."""
    import gradio as gr

    examples = None
    with gr.Row():
        with gr.Column(scale=3, min_width=300), gr.Tabs():
            with gr.Tab("File"):
                suffixes = sorted(kinds.SUFFIXES)
                source = gr.File(label="Document", file_types=suffixes, height=140, elem_id="document")
            with gr.Tab("Camera or clipboard"):
                photo = gr.Image(
                    sources=["webcam", "clipboard"], type="filepath", format="png", height=220, label="Photo",
                    buttons=[], elem_id="photo",
                )  # fmt: skip
        with gr.Column(scale=4, min_width=300):
            kind = gr.Radio(document_types(own), value="auto", label="Document type", elem_id="type")
            with gr.Row():
                button = gr.Button("Extract", variant="primary", scale=4, elem_id="extract")
                stop = gr.Button("Stop", scale=1, min_width=80, elem_id="stop_one")
            gr.Markdown(limits_line(cfg.inference), elem_id="limits")
            split = strip.switch()
            with gr.Accordion("Fields of your own, instead of a document type", open=False):
                schema = gr.Textbox(
                    label="A template of the record, or its JSON schema", placeholder=TEMPLATE, lines=3, max_lines=12,
                    max_length=20_000, elem_id="schema",
                )  # fmt: skip
        if rows := example_rows(cfg.samples_dir / "documents"):
            with gr.Column(scale=2, min_width=220):
                examples = gr.Examples(
                    rows,
                    [source, kind],
                    label="Or try one of these",
                    example_labels=[Path(row[0]).name for row in rows],
                    elem_id="examples",
                    api_visibility="private",
                )
    return source, photo, kind, schema, split, button, stop, examples


def shown() -> dict[str, Any]:
    """What is shown of a document, by name, and the box for a question."""
    import gradio as gr

    parts: dict[str, Any] = {"strip": page_part("strip", strip.TEMPLATE, "strip")}
    with gr.Row(equal_height=True):
        parts["status"] = gr.Textbox(
            show_label=False, container=False, placeholder="No document yet", max_lines=4, scale=8, elem_id="status"
        )
        for name in view.EXPORTS:
            parts[f"save_{name}"] = gr.DownloadButton(
                f"{name.upper()} ↓", size="md", scale=1, min_width=70, interactive=False, elem_id=f"save_{name}"
            )
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            parts["view"] = page_part("picture", view.PICTURE_TEMPLATE, "view")
        with gr.Column(scale=1, min_width=300), gr.Tabs():
            with gr.Tab("Fields") as parts["fields_tab"]:
                parts["table"] = page_part("fields", view.TABLE_TEMPLATE, "fields")
            with gr.Tab("Checks") as parts["checks_tab"]:
                parts["verdicts"] = plain_table(["Verdict", "What", "Why"], ["20%", "45%", "35%"], "checks")
            with gr.Tab("Summary"):
                parts["summary"] = gr.Textbox(show_label=False, lines=4, buttons=["copy"], elem_id="summary")
            with gr.Tab("Text"):
                parts["text"] = gr.Textbox(show_label=False, lines=24, max_lines=24, buttons=["copy"], elem_id="text")
            with gr.Tab("JSON"):
                parts["json"] = gr.Code(
                    language="json", interactive=False, show_label=False, max_lines=28, elem_id="json"
                )
            with gr.Tab("Ask"):
                parts["chat"] = page_part("talk", view.TALK_TEMPLATE, "chat")
                parts["question"] = gr.Textbox(
                    show_label=False, placeholder="Which law governs this agreement?", max_length=500,
                    submit_btn="Ask", elem_id="question",
                )  # fmt: skip
    return parts


def batch(cfg: config.Config, own: Iterable[str] = ()) -> tuple:
    """Documents and their type, the buttons, the table of what was read, and its exports."""
    import gradio as gr

    with gr.Row():
        with gr.Column(scale=3, min_width=300):
            sources = gr.File(
                label="Documents", file_count="multiple", file_types=sorted(kinds.SUFFIXES), height=180,
                elem_id="documents",
            )  # fmt: skip
        with gr.Column(scale=3, min_width=300):
            kind = gr.Radio(document_types(own), value="auto", label="Document type", elem_id="batch_type")
            with gr.Row():
                start = gr.Button("Extract all", variant="primary", elem_id="batch")
                stop = gr.Button("Stop", elem_id="stop")
            gr.Markdown(limits_line(cfg.inference) + " Results appear as they are made; a failure is a row, too.")
    widths = ["20%", "22%", "28%", "7%", "8%", "8%", "7%"]
    rows = plain_table(view.BATCH_HEADER, widths, "batch_rows")
    with gr.Row():
        jsonl = gr.DownloadButton("JSONL ↓", size="md", interactive=False, elem_id="batch_jsonl")
        fields = gr.DownloadButton("CSV ↓", size="md", interactive=False, elem_id="batch_csv")
    return sources, kind, start, stop, rows, jsonl, fields


def page_part(name: str, template: str, elem_id: str) -> gr.HTML:
    """A part of view.js."""
    import gradio as gr

    return gr.HTML(
        html_template=template,
        css_template=view.style(),
        js_on_load=view.script(name),
        apply_default_css=False,
        elem_id=elem_id,
    )


def plain_table(headers: list[str], widths: list[str], name: str) -> gr.Dataframe:
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
        max_height=620,
        show_label=False,
        elem_id=name,
    )


def with_event(handle: Callable[[Opened | None, Any], Any], stream: bool = False) -> Callable:
    """The handler as Gradio wants it: it finds the event's parameter by its annotation, which must be the class, and
    what is a generator by its code."""
    import gradio as gr

    def handler(opened, event):
        return handle(opened, event)

    def streaming(opened, event):
        yield from handle(opened, event)

    made = streaming if stream else handler
    made.__annotations__ = {"event": gr.EventData}
    return made
