"""Corrections that teach: a document and the record that a person has corrected on the page become a labeled document.

Nothing is kept unless the person ticks a box; what the box wrote goes away when the tick is taken back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extraction import files, own_folder
from extraction.own_folder import Folder
from extraction.page import jobs
from extraction.page.opened import Opened
from extraction.tasks import custom, schemas

if TYPE_CHECKING:
    import gradio as gr


def folder_for(root: Path, task: schemas.Task, schema: str | None) -> Folder:
    """The folder of labeled documents with the fields of a task, made if it is not there. `schema` is that of the
    person's own fields, as text."""
    if not isinstance(task, custom.CustomTask):
        return _made(root / task.name, json.dumps(task.name))
    asked = own_folder.asked(task)
    for path in sorted(root.glob(f"*/{own_folder.SCHEMA}")):
        try:
            if own_folder.asked(Folder(path.parent).task) == asked:
                return Folder(path.parent)
        except files.StageError:  # a fault of another folder
            continue
    if not schema or own_folder.asked(custom.parse(schema, "the schema")) != asked:
        raise files.StageError("the fields were changed after the document was read: extract it again")
    return _made(root / f"fields_{asked[:6]}", schema)


def _made(path: Path, schema: str) -> Folder:
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not (path / own_folder.SCHEMA).is_file():
            files.write_text(path / own_folder.SCHEMA, schema + "\n")
    except OSError as error:
        raise _cannot(path, error) from error
    return Folder(path)


def keep(opened: Opened, root: Path, schema: str | None) -> Path:
    """Write the document and its record, again after another correction. Gives where the document lies now.

    Raises StageError with one sentence if that cannot be done.
    """
    folder = folder_for(root, opened.found.task, schema)
    folder.check(opened.found.record)
    try:
        data = opened.path.read_bytes()
        with folder.alone():
            target = opened.kept or _free(folder.path / opened.path.name, data)
            if not target.is_file():
                files.write_bytes(target, data)
            own_folder.write_record(target, opened.found.record)
    except OSError as error:
        raise _cannot(folder.path, error) from error
    return target


def _free(path: Path, data: bytes) -> Path:
    """The path, or one beside it if another document, or a label of it, has the name: photos are all called image.png.

    A label that somebody made of the same document is not replaced either.
    """
    if not path.exists() and not own_folder.records_of(path):
        return path
    other = path.with_name(f"{path.stem}-{hashlib.sha256(data).hexdigest()[:8]}{path.suffix}")
    if path.is_file() and path.read_bytes() == data or other.exists():
        raise files.StageError(f"{path.parent} holds this document already: correct its record there")
    return other


def forget(kept: Path) -> None:
    """Delete what was kept. Raises StageError if it cannot be."""
    try:
        with Folder(kept.parent).alone():
            own_folder.record_of(kept).unlink(missing_ok=True)
            kept.unlink(missing_ok=True)
    except OSError as error:
        raise _cannot(kept.parent, error) from error


def _cannot(path: Path, error: OSError) -> files.StageError:
    return files.StageError(f"cannot write to {path}: {error.strerror or type(error).__name__}. Nothing was kept")


def teaches(opened: Opened) -> bool:
    """Whether it was corrected and can be trained on: a contract cannot, nor one of several documents in a file."""
    return opened.corrected and opened.found.task is not schemas.CONTRACT and opened.document.part[1] == 1


# --- the box -------------------------------------------------------------------------------------------------


def box(root: Path, opened: gr.State, schema: gr.Textbox, changes: Sequence[Any]) -> None:
    """The box to tick, shown once somebody has corrected something; `changes` are the events after which to look."""
    import gradio as gr

    label = "Keep this document and its corrected record on this machine, for training"
    ticked = gr.Checkbox(label=label, value=False, visible=False, elem_id="keep")
    note = gr.Textbox(show_label=False, container=False, visible=False, max_lines=3, elem_id="kept")
    outputs = [ticked, note]

    def look(now: Opened | None, is_ticked: bool, text: str) -> dict:
        if now is None or not teaches(now):
            return {ticked: gr.Checkbox(False, visible=False), note: gr.Textbox("", visible=False)}
        return tick(now, True, text) if is_ticked else {ticked: gr.Checkbox(False, visible=True)}

    def tick(now: Opened | None, is_ticked: bool, text: str) -> dict:
        if now is None:
            return {}
        try:
            with jobs.in_one_sentence():
                said = _ticked(now, root, text) if is_ticked else _taken_back(now)
        except files.StageError as error:
            return {ticked: gr.Checkbox(now.kept is not None), note: gr.Textbox(str(error), visible=True)}
        return {ticked: gr.Checkbox(is_ticked, visible=True), note: gr.Textbox(said, visible=True)}

    private = {"api_visibility": "private", "show_progress": "hidden"}
    for change in changes:
        change.then(look, [opened, ticked, schema], outputs, **private)
    ticked.input(tick, [opened, ticked, schema], outputs, **private)


def _ticked(opened: Opened, root: Path, schema: str) -> str:
    opened.kept = keep(opened, root, schema)
    return f"Kept: {opened.kept} and {own_folder.record_of(opened.kept).name}"


def _taken_back(opened: Opened) -> str:
    if opened.kept is None:
        return ""
    forget(opened.kept)
    opened.kept = None
    return "No longer kept."
