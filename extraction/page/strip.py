"""The documents of one file on the page: a choice between them, and a strip of its pages where a person moves what
belongs together."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extraction import splitting, steps
from extraction.page import view
from extraction.page.opened import Opened
from extraction.reading import documents
from extraction.reading.limits import Limits
from extraction.tasks import schemas

if TYPE_CHECKING:
    import gradio as gr

SIDE = 150  # pixels of the longer side of a thumbnail
TEMPLATE = '<div class="strip"></div>'
WAYS = [("Found by their looks", "auto"), ("One document", "never"), ("Each page", "pages")]


@dataclass
class Bundle:
    """A file as it was read, and what was found in each document of it. `task` is what was asked for, None: any."""

    path: Path
    name: str
    whole: documents.Document
    task: schemas.Task | None = None
    read_seconds: float = 0.0
    members: list[Opened] = field(default_factory=list)
    chosen: int = 0
    _drawn: dict[int, str] = field(default_factory=dict)

    @property
    def opened(self) -> Opened:
        return self.members[self.chosen]

    def read(self, way: str | Sequence[int], examine: Callable[[documents.Document], steps.Extraction]) -> None:
        """Examine the documents that there are by the `way`; one that was there before is kept with its changes.

        Until all have been examined, those of before stay as they are.
        """
        before = {_identity(one.document): one for one in self.members}
        there = splitting.split(self.whole, way)
        made = [before.get(_identity(one)) or Opened(self.path, examine(one), bundle=self) for one in there]
        for one, document in zip(made, there, strict=True):
            one.found.shown.document = replace(one.document, part=document.part)
        self.members, self.chosen = made, 0

    def choose(self, number: int) -> bool:
        """Take up the document of this number; False if there is none."""
        there = 1 <= number <= len(self.members)
        self.chosen = number - 1 if there else self.chosen
        return there

    def begins(self, asked: Any) -> list[int] | None:
        """The pages that a browser says documents begin at, or None if it says something else."""
        numbers = self.whole.numbers
        return asked if isinstance(asked, list) and all(page in numbers[1:] for page in asked) else None

    def thumbnail(self, page: int, limits: Limits) -> str:
        """The picture of a page as a URL; empty of one that cannot be drawn."""
        if page not in self._drawn:
            try:
                drawn, written = documents.render(self.path, page, SIDE, limits), io.BytesIO()
                drawn.image.save(written, "JPEG", quality=60)
                self._drawn[page] = f"data:image/jpeg;base64,{base64.b64encode(written.getvalue()).decode()}"
            except documents.DocumentError:
                self._drawn[page] = ""
        return self._drawn[page]


def _identity(document: documents.Document) -> tuple:
    return tuple(document.numbers), document.text, *document.problems


def value(bundle: Bundle | None, limits: Limits, with_pages: bool = False) -> dict | None:
    """The value of the strip. The pages of a file with one document are drawn only when they are asked for."""
    if bundle is None or not bundle.whole.words or (len(bundle.whole.numbers) < 2 and len(bundle.members) < 2):
        return None
    several = len(bundle.members) > 1
    numbers = bundle.whole.numbers
    return {
        "chosen": bundle.chosen + 1,
        "documents": [
            {"pages": one.document.numbers, "title": view.headline(one.result)["title"]} for one in bundle.members
        ],
        "pages": [{"page": n, "src": bundle.thumbnail(n, limits)} for n in numbers] if several or with_pages else [],
        "count": len(numbers),
    }


def switch() -> gr.Radio:
    """How documents are looked for in a file."""
    import gradio as gr

    return gr.Radio(WAYS, value="auto", label="Several documents in one file", elem_id="split")
