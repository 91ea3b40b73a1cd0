"""What the page is made of: what a visitor gives, and what is shown of a document. app.py says what a click does.

A document's text goes into text boxes, plain cells and the parts of view.js alone: what shows HTML or Markdown would
run or fetch it, gr.Chatbot even without Markdown. JSON is shown as text, because gr.JSON would take each
{"path": ...} of the fields for a file, and gr.Code has colors that are hard to read.
"""

from __future__ import annotations

import contextlib
import html
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import config
from extraction.formats import kinds
from extraction.page import strip, view
from extraction.page.opened import Opened
from extraction.reading import documents
from extraction.reading.limits import Limits

if TYPE_CHECKING:
    import gradio as gr

DOCUMENT_TYPES = [
    ("Auto", "auto"),
    ("Receipt or invoice", "receipt"),
    ("Contract", "contract"),
    ("Other", "document"),
]
EXAMPLES = {
    "invoice.pdf": "Invoice",
    "receipt_photo_1.jpg": "Receipt",
    "receipt_photo_2.jpg": "Long receipt",
    "contract_1.pdf": "Contract",
    "letter.txt": "Letter",
}
EXPORTED = {"json": "JSON ↓", "csv": "CSV, Excel ↓", "jsonl": "JSONL ↓"}
TEMPLATE = '{"vendor": "", "items": [{"name": "", "price": ""}]}'


def limits_line(limits: config.InferenceConfig) -> str:
    pages = "first page" if limits.max_pages == 1 else f"first {limits.max_pages} pages"
    formats = "PDF, image, DOCX, mail, HTML, ZIP or text"
    return f"{formats}, at most {limits.max_file_mb:g} MB; of a long document the {pages} are read."


def examples(folder: Path, limits: Limits) -> list[dict]:
    """What `view.example` makes of the sample documents that are there and can be read."""
    made = []
    for name, label in EXAMPLES.items():
        with contextlib.suppress(documents.DocumentError):
            made.append(view.example(folder / name, label, limits))
    return made


def theme() -> gr.themes.Base:
    """Gradio's own, with the contrast between text and background that people need (WCAG AA); see page.css too.

    Bold text has the weight 700, since Gradio's font files of 600 hold the letters A and B alone.
    """
    import gradio as gr
    from gradio.themes.utils import fonts

    plain = [fonts.LocalFont("Source Sans Pro", weights=(400, 700)), "ui-sans-serif", "system-ui", "sans-serif"]
    mono = [fonts.LocalFont("IBM Plex Mono", weights=(400, 700)), "ui-monospace", "Consolas", "monospace"]
    return gr.themes.Default(font=plain, font_mono=mono).set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
        color_accent="*primary_700",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_200",
        block_title_text_color="*neutral_600",
        block_title_text_color_dark="*neutral_200",
        link_text_color_dark="*secondary_300",
        link_text_color_visited_dark="*secondary_300",
        link_text_color_hover_dark="*secondary_200",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
    )


def document_types(own: Iterable[str]) -> list[tuple[str, str]]:
    """What can be chosen: with the document types that the model was trained on besides ours."""
    return [*DOCUMENT_TYPES, *((name, name) for name in own)]


def given(cfg: config.Config, own: Iterable[str] = ()) -> tuple:
    """What a visitor gives: file, photo, document type, fields of their own, how the file is divided; the buttons; the
    examples."""
    import gradio as gr

    tried = None
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
        if made := examples(cfg.samples_dir / "documents", cfg.inference):
            with gr.Column(scale=3, min_width=300):
                gr.Markdown("Or try one of these", elem_id="try")
                tried = page_part("examples", view.EXAMPLES_TEMPLATE, "examples", made)
    return source, photo, kind, schema, split, button, stop, tried


def shown() -> dict[str, Any]:
    """What is shown of a document, by name, and the box for a question."""
    import gradio as gr

    parts: dict[str, Any] = {"strip": page_part("strip", strip.TEMPLATE, "strip")}
    with gr.Row(equal_height=True):
        parts["status"] = gr.Textbox(
            label="Status",
            show_label=False,
            container=False,
            placeholder="No document yet",
            max_lines=4,
            scale=8,
            min_width=300,
            elem_id="status",
        )
        for name in view.EXPORTS:
            parts[f"save_{name}"] = gr.DownloadButton(
                EXPORTED[name], size="md", scale=1, min_width=96, interactive=False, elem_id=f"save_{name}"
            )
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            parts["view"] = page_part("picture", view.PICTURE_TEMPLATE, "view")
        with gr.Column(scale=1, min_width=300), gr.Tabs():
            with gr.Tab("Fields") as parts["fields_tab"]:
                parts["table"] = page_part("fields", view.TABLE_TEMPLATE, "fields")
            with gr.Tab("Checks") as parts["checks_tab"]:
                parts["verdicts"] = plain_table(["Verdict", "What", "Why"], "checks")
            with gr.Tab("Summary"):
                parts["summary"] = text_box("Summary", 4, "summary")
            with gr.Tab("Text"):
                parts["text"] = text_box("Text", 24, "text")
            with gr.Tab("JSON"):
                parts["json"] = text_box("JSON", 24, "json")
            with gr.Tab("Ask"):
                parts["chat"] = page_part("talk", view.TALK_TEMPLATE, "chat")
                parts["question"] = gr.Textbox(
                    label="Question", show_label=False, placeholder="Which law governs this agreement?", max_length=500,
                    submit_btn="Ask", elem_id="question",
                )  # fmt: skip
    return parts


def batch(cfg: config.Config, own: Iterable[str] = (), more: Sequence[tuple[str, str]] = ()) -> tuple:
    """Documents and their type, `more` than usual, the buttons, the table of what was read, and its exports."""
    import gradio as gr

    with gr.Row():
        with gr.Column(scale=3, min_width=300):
            sources = gr.File(
                label="Documents", file_count="multiple", file_types=sorted(kinds.SUFFIXES), height=180,
                elem_id="documents",
            )  # fmt: skip
        with gr.Column(scale=3, min_width=300):
            types = [*document_types(own), *more]
            kind = gr.Radio(types, value="auto", label="Document type", elem_id="batch_type")
            with gr.Row():
                start = gr.Button("Extract all", variant="primary", elem_id="batch")
                stop = gr.Button("Stop", elem_id="stop")
            gr.Markdown(limits_line(cfg.inference) + " Results appear as they are made; a failure is a row, too.")
    rows = plain_table(view.BATCH_HEADER, "batch_rows")
    with gr.Row():
        jsonl = gr.DownloadButton(EXPORTED["jsonl"], size="md", interactive=False, elem_id="batch_jsonl")
        fields = gr.DownloadButton(EXPORTED["csv"], size="md", interactive=False, elem_id="batch_csv")
    return sources, kind, start, stop, rows, jsonl, fields


def page_part(name: str, template: str, elem_id: str, value: Any = None) -> gr.HTML:
    """A part of view.js."""
    import gradio as gr

    return gr.HTML(
        value,
        html_template=template,
        css_template=view.style(),
        js_on_load=view.script(name),
        apply_default_css=False,
        elem_id=elem_id,
    )


def text_box(label: str, lines: int, elem_id: str) -> gr.Textbox:
    """Text to read and to copy."""
    import gradio as gr

    return gr.Textbox(
        label=label, show_label=False, lines=lines, max_lines=lines, buttons=["copy"], interactive=False,
        elem_id=elem_id,
    )  # fmt: skip


def plain_table(headers: list[str], name: str) -> gr.HTML:
    """A table of plain text that can be read and copied, not edited. Its value is a list of rows."""
    about = (
        f'tabindex="0" role="region" aria-label="{", ".join(headers)}" data-head="{html.escape(json.dumps(headers))}"'
    )
    return page_part("rows", f'<div class="rows" {about}></div>', name, [])


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
