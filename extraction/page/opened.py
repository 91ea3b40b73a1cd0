"""A document in somebody's hands: what was found in it, the changes made to that, and the questions asked."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extraction import steps
from extraction.evidence.problems import Problem
from extraction.models import backends
from extraction.page import edits, view
from extraction.reading import documents
from extraction.reading.limits import Limits

if TYPE_CHECKING:
    from config import DataConfig


@dataclass
class Opened:
    """What one visitor has on the page: the file, and what was found in it with the changes made to that."""

    path: Path
    found: steps.Extraction
    edited: set[str] = field(default_factory=set)  # paths of values that were changed by hand
    bundle: Any = None  # the documents of the file, as `strip.Bundle` has them
    reading: bool = False  # whether the model is still at it: then nothing can be changed
    corrected: bool = False  # whether anything was changed by hand
    kept: Path | None = None  # where it was kept for training; see `keep`

    @property
    def document(self) -> documents.Document:
        return self.found.shown.document

    @property
    def result(self) -> dict:
        result = self.found.result()
        marked = [f | {"edited": True} if f["path"] in self.edited else f for f in result["fields"] or []]
        return result | {"fields": None if result["fields"] is None else marked}

    @property
    def evidence(self) -> list[dict]:
        """Where each answer stands, as a field."""
        return [a | {"path": f"answers[{i}]", "value": a["answer"] or ""} for i, a in enumerate(self.found.answers)]

    @property
    def fields(self) -> list[dict]:
        return [*(self.found.fields or []), *self.evidence]

    def edit(self, path: str, value: str) -> None:
        """Change one value by hand; places, checks and summary follow. No text: no value."""
        self._change(edits.with_value(self.found.record, path, value.strip() or None, self.found.task.schema))
        if value.strip():
            self.edited.add(path)

    def change_rows(self, path: str, act: str) -> None:
        """Add a row to a list, move one or remove it; see `edits.with_rows`."""
        record, rows, order = edits.with_rows(self.found.record, path, act, self.found.task.schema)
        self._change(record, moved=lambda before: edits.renumbered(before, rows, order))

    def _change(self, record: dict, moved: Callable = lambda path: path) -> None:
        """Take a changed record; `moved` tells where the value at a path stands now."""
        before = {moved(leaf.path): leaf for leaf in self.found.leaves}
        edited = {moved(path) for path in self.edited}
        self.found.change(record, before)
        self.corrected = True
        self.edited = {leaf.path for leaf in self.found.leaves if leaf.path in edited}

    def stop(self) -> None:
        """Keep what was found before the reading was stopped."""
        self.reading = False
        self.found.of_answers.append(
            Problem("answer", None, "the reading was stopped: parts of the text were not read")
        )

    def ask(self, question: str, backend: backends.Backend, data: DataConfig) -> None:
        """Add an answer to the result."""
        one = steps.ask_question(self.found.shown, question, data)
        (reading,) = steps.read(self.found.shown, [one], backend.complete([one.request(choose=True)]))
        self.found.take_answer(one, reading)

    def forget_answers(self) -> None:
        self.found.forget_answers()


def pages(opened: Opened, limits: Limits) -> int:
    """Up to which page of the file can be turned: those that were read, and those between them that could not be."""
    first, count = opened.document.numbers[0], opened.document.pages
    return min(first + count - 1, limits.max_pages)


def picture(opened: Opened, number: int, limits: Limits, active: str | None = None) -> dict:
    """What `view.picture` shows of a page, or why it cannot be shown."""
    count = pages(opened, limits)
    try:
        return view.picture(opened.path, number, count, opened.fields, limits, active)
    except documents.DocumentError as error:
        if opened.path.exists():
            return {"page": number, "pages": count, "note": f"This page cannot be shown: {error}."}
        return {"note": "The file was deleted from this machine in the meantime; upload it again to see its pages."}


def conversation(opened: Opened) -> dict:
    """The questions and answers, each with the line of the document that holds the answer, or a warning."""
    talk = []
    for place in opened.evidence:
        entry = {"question": place["question"], "answer": place["answer"] or "The document does not say."}
        entry |= {"field": place["path"], "quote": "", "note": ""}
        if place["grounding"] != "none":
            start, end = place["span"]
            text = opened.document.text
            line = text[text.rfind("\n", 0, start) + 1 : (text.find("\n", end) + 1 or len(text) + 1) - 1]
            entry["quote"] = " ".join(re.sub(r"\s{3,}", " … ", line.strip()).split())[:300]  # between two columns
            entry["note"] = f"page {place['boxes'][0]['page']}" if place["boxes"] else "from the text"
            if place["injected"]:
                entry["note"] += ", where the text looks like instructions to a machine: check it."
        elif place["answer"]:
            entry["note"] = "The document does not contain this answer word for word: check it."
        talk.append(entry)
    return {"talk": talk}
