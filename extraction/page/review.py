"""The Review tab: the drafts of a folder of one's own documents, the least sure first, until a person accepts each.

Every change is written into the draft at once, so that nothing is lost when the browser is closed. What somebody else
has saved meanwhile is never overwritten unasked: both versions are shown, and the person chooses.
"""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extraction import drafts, files, own_folder, steps
from extraction.drafts import Draft, Waiting
from extraction.own_folder import Folder
from extraction.page import jobs, view, widgets
from extraction.page.opened import Opened, pages, picture
from extraction.reading import documents
from extraction.reading.limits import Limits
from extraction.tasks import custom, records, schemas

if TYPE_CHECKING:
    import gradio as gr

QUEUE_TEMPLATE = '<div class="queue"></div>'
TYPE = "to review"  # the document type of a batch that goes into the queue
HOLD = 600  # seconds that a document is kept from others who ask for the next one
AHEAD = 6  # documents that have been read and are remembered
OUTPUTS = ("turn", "status", "queue", "view", "table", "text", "clash", "versions")


@dataclass(frozen=True)
class Turn:
    """What one person has in hand: the document, the version of its draft, and both as they are on the page."""

    document: Path
    draft: Draft  # `version` is that which was opened or saved last
    opened: Opened | None  # None: the document cannot be read
    note: str = ""
    theirs: Draft | None = None  # what somebody else has saved meanwhile
    unsaved: bool = False  # a change could not be written down


class Review:
    def __init__(self, path: Path, limits: Limits):
        self.path, self.limits = path, limits
        self.reader = ThreadPoolExecutor(1)
        self.read: dict[tuple[str, str], Future] = {}
        self.held: dict[str, tuple[str, float]] = {}  # by document: which visitor has it open, since when
        self.parts: dict[str, Any] = {}

    @property
    def folder(self) -> Folder:
        return Folder(self.path)  # made anew each time: its schema may have been changed

    # --- batches -----------------------------------------------------------------------------------------

    def fields(self) -> tuple[str, str | None, str]:
        """What is asked of a document of a batch: its document type, or a schema as text; and of the whole file."""
        task = self.folder.task
        if isinstance(task, custom.CustomTask):
            return "auto", (self.path / own_folder.SCHEMA).read_text(encoding="utf-8-sig"), "never"
        return task.name, None, "never"

    def put(self, path: Path, result: dict) -> str:
        """Make the result of a batch a draft of the queue. Gives what its row says."""
        if "error" in result or result["file"] != path.name:
            return "not in the queue: " + result.get("error", "its file holds several documents")
        try:
            folder = self.folder
            with folder.alone():
                document = own_folder.add(folder, path.name, path.read_bytes())
            if folder.is_labeled(document) or drafts.read(document):
                return "not in the queue: it has a record or a draft already"
            drafts.save(folder, document, drafts.of_result(result, document, folder.task), result["model"])
        except files.StageError as error:
            return f"not in the queue: {error}"
        return "read, waits for review"

    # --- a document and its draft ----------------------------------------------------------------------------

    def ahead(self, document: Path, sha256: str) -> Future:
        """Begin to read a document, or find that it has been read."""
        key = document.name, sha256
        failed = key in self.read and self.read[key].done() and self.read[key].exception()
        if key not in self.read or failed:
            for old in list(self.read)[: max(len(self.read) - AHEAD, 0)]:
                del self.read[old]
            self.read[key] = self.reader.submit(documents.read, document, self.limits)
        return self.read[key]

    def open(self, waiting: Waiting, visitor: str) -> Turn:
        """Take a document in hand. Raises StageError or DocumentError if that cannot be done."""
        document, task = waiting.document, self.folder.task
        draft = drafts.read(document)
        if draft is None:
            raise files.StageError(f"{document.name}: its draft is gone; label it again")
        if not document.is_file():
            raise files.StageError(f"{document.name} is gone; its draft is kept")
        self.held = {name: held for name, held in self.held.items() if held[0] != visitor}
        self.held[document.name] = visitor, time.monotonic()
        digest, notes = files.sha256(document), []
        if digest != draft.document:
            notes.append("The document was replaced after this draft was made: check every value.")
        if draft.schema != own_folder.asked(task):
            gone = ", ".join(sorted(set(draft.record) - set(task.schema["properties"]))) or "nothing"
            notes.append(f"Made for another schema; left out of it: {gone}. Check every value.")
        draft = replace(draft, document=digest, schema=own_folder.asked(task))
        shown = steps.Shown(self.ahead(document, digest).result(), task)
        found = steps.Extraction(document.name, task, draft.model, shown)
        found.change(editable(task, draft.record), {leaf.path: leaf for leaf in draft.leaves})
        opened = Opened(document, found, set(draft.edited) & {leaf.path for leaf in found.leaves})
        return Turn(document, draft, opened, " ".join([*notes, *draft.problems]))

    def following(self, now: Path | None, visitor: str) -> Waiting | None:
        """What comes next: the least sure that nobody has skipped or has open; then what was skipped, in turn."""
        ready = [w for w in drafts.queue(self.folder) if w.draft and w.document.is_file()]
        free = [w for w in ready if not self._held(w.document, visitor)] or ready
        fresh = [w for w in free if not w.draft.skipped and w.document != now]
        names = [w.document for w in free]
        if fresh or not free:
            return fresh[0] if fresh else None
        return free[(names.index(now) + 1) % len(free) if now in names else 0]

    def _held(self, document: Path, visitor: str) -> bool:
        by, since = self.held.get(document.name, (visitor, 0.0))
        return by != visitor and time.monotonic() - since < HOLD

    def save(self, turn: Turn, by: str) -> Turn:
        """Write down what is on the page."""
        opened = turn.opened
        changed = turn.draft.with_result(opened.result, opened.found.leaves, sorted(opened.edited))
        try:
            saved = drafts.save(self.folder, turn.document, changed, by, based_on=turn.draft.version)
        except drafts.Changed as error:
            return replace(turn, draft=changed, theirs=error.draft, note=str(error), unsaved=True)
        except files.StageError as error:
            return replace(turn, draft=changed, note=f"Not saved yet: {error}", unsaved=True)
        return replace(turn, draft=saved, note="", unsaved=False)

    # --- what a click does; each gives a value for every output ----------------------------------------------

    def go_on(self, turn: Turn | None, visitor: str, said: str = "") -> dict:
        """The next document."""
        waiting = self.following(turn.document if turn else None, visitor)
        if waiting is None:
            left = "" if drafts.queue(self.folder) else f" Next: python download_datasets.py --own {self.path}"
            return self.shown(None, said + ("Nothing is left to review." + left))
        return self.taken(waiting, visitor, said)

    def taken(self, waiting: Waiting, visitor: str, said: str = "") -> dict:
        try:
            turn = self.open(waiting, visitor)
        except (documents.DocumentError, files.StageError) as error:
            draft = waiting.draft
            turn = Turn(waiting.document, draft, None, f"{waiting.document.name}: {error}") if draft else None
            return self.shown(turn, said + (turn.note if turn else str(error)))
        if ahead := self.following(waiting.document, visitor):
            self.ahead(ahead.document, ahead.draft.document)
        return self.shown(turn, said)

    def begin(self, turn: Turn | None, event: Any, by: str, visitor: str) -> dict:
        return self.go_on(None, visitor)

    def choose(self, turn: Turn | None, event: Any, by: str, visitor: str) -> dict:
        """Open a document of the queue."""
        wanted = [w for w in drafts.queue(self.folder) if w.document.name == event.file]
        return self.taken(wanted[0], visitor) if wanted else self.shown(turn, f"{event.file} does not wait any more.")

    def edit(self, turn: Turn | None, event: Any, by: str, visitor: str) -> dict:
        return self._changed(turn, event, by, lambda opened: opened.edit(str(event.field), str(event.value)))

    def change_rows(self, turn: Turn | None, event: Any, by: str, visitor: str) -> dict:
        return self._changed(turn, event, by, lambda opened: opened.change_rows(str(event.row), str(event.act)))

    def _changed(self, turn: Turn | None, event: Any, by: str, change: Callable[[Opened], None]) -> dict:
        if turn is None or turn.opened is None or event.of != turn.document.name:  # a key was faster than the network
            return self.shown(turn, f"The change of {event.of} came too late and was not saved.")
        change(turn.opened)
        lit = getattr(event, "field", None)
        return self.shown(self.save(turn, by), active=lit)

    def accept(self, turn: Turn | None, event: Any, by: str, visitor: str) -> dict:
        if turn is None or turn.opened is None:
            return self.go_on(turn, visitor)
        opened = turn.opened
        draft = turn.draft.with_result(opened.result, opened.found.leaves, sorted(opened.edited))
        try:
            drafts.accept(self.folder, turn.document, draft, by, based_on=turn.draft.version)
        except drafts.Changed as error:
            return self.shown(replace(turn, theirs=error.draft, note=str(error)))
        except files.StageError as error:
            return self.shown(replace(turn, note=f"Not accepted: {error}"))
        record = own_folder.record_of(turn.document).name
        return self.go_on(turn, visitor, f"{turn.document.name} is accepted (to take it back, delete {record}). ")

    def skip(self, turn: Turn | None, event: Any, by: str, visitor: str) -> dict:
        if turn and turn.unsaved:
            return self.shown(turn, f"Skipping would lose your changes. {turn.note}")
        said = ""
        try:
            if turn:
                drafts.skip(self.folder, turn.document, based_on=turn.draft.version)
        except files.StageError as error:
            said = f"{error}. "
        return self.go_on(turn, visitor, said)

    def take_theirs(self, turn: Turn | None, event: Any, by: str, visitor: str) -> dict:
        """Give up one's own changes for those of somebody else."""
        if turn is None or turn.theirs is None or self.folder.is_labeled(turn.document):
            return self.go_on(turn, visitor)
        return self.taken(Waiting(turn.document, turn.theirs), visitor)

    def keep_mine(self, turn: Turn | None, event: Any, by: str, visitor: str) -> dict:
        """Write one's own version over that of somebody else, which was shown."""
        if turn is None or turn.theirs is None or turn.opened is None:
            return self.shown(turn)
        if record := self.folder.label(turn.document):
            return self.shown(turn, f"The document is accepted: delete {record} first if that was wrong.")
        mine = replace(turn, draft=replace(turn.draft, version=turn.theirs.version), theirs=None)
        return self.shown(self.save(mine, by))

    def turn_page(self, turn: Turn | None, event: Any, by: str, visitor: str) -> dict:
        count = pages(turn.opened, self.limits) if turn and turn.opened else 0
        if not isinstance(event.page, int) or not 1 <= event.page <= count:
            return {}
        return {self.parts["view"]: picture(turn.opened, event.page, self.limits, event.field)}

    # --- what is shown ---------------------------------------------------------------------------------------

    def shown(self, turn: Turn | None, said: str = "", active: str | None = None) -> dict:
        import gradio as gr

        opened = turn.opened if turn else None
        result = opened.result if opened else {"fields": [], "checks": [], "problems": []}
        lit = next((f for f in opened.fields if f["path"] == active and f["boxes"]), None) if opened else None
        page = lit["boxes"][0]["page"] if lit else 1
        seen = picture(opened, page, self.limits, active) if opened else {"note": said or "Nothing is left to review."}
        clash = turn.theirs if turn else None
        own = opened is not None and isinstance(opened.found.task, custom.CustomTask)  # ours have too many columns
        values = {
            "turn": turn,
            "status": " ".join(filter(None, [said.strip(), turn.note if turn and turn.note not in said else ""])),
            "queue": self.queue(turn),
            "view": seen,
            "table": view.table(result, self.folder.task.schema, empty=own)
            | {"of": turn.document.name if turn else None},
            "text": gr.Textbox(opened.document.text if opened else "", visible=bool(opened) and "note" in seen),
            "clash": gr.Column(visible=clash is not None),
            "versions": differences(turn.draft, clash) if clash else [],
        }
        return {self.parts[name]: value for name, value in values.items()}

    def queue(self, turn: Turn | None) -> dict:
        folder = self.folder
        waiting = drafts.queue(folder)
        entries = [
            {
                "file": w.document.name,
                "says": w.said or says(w.draft),
                "open": turn is not None and w.document == turn.document,
                "ready": w.draft is not None and w.document.is_file(),
            }
            for w in waiting
        ]
        accepted, count = len(folder.labeled()), len(folder.documents())
        without = count - accepted - sum(entry["ready"] for entry in entries)
        return {"accepted": accepted, "count": count, "without": max(without, 0), "entries": entries}


def says(draft: Draft) -> str:
    """What is said of a draft in the queue."""
    checks = round(draft.doubt)
    parts = ["skipped" if draft.skipped else "", "corrected" if draft.state == drafts.CORRECTED else ""]
    parts.append(f"{checks} to check" if checks else "sure")
    return ", ".join(filter(None, parts))


def editable(task: schemas.Task, record: dict) -> dict:
    """The record with every field of the task, and of each empty list one empty entry to write into."""
    return _with_rows(task.schema, steps.with_nulls(task.schema, record))


def _with_rows(schema: dict, value: Any) -> Any:
    if "properties" in schema and isinstance(value, dict):
        return {name: _with_rows(inner, value.get(name)) for name, inner in schema["properties"].items()}
    if schema.get("type") == "array" and "properties" in schema["items"]:
        return [_with_rows(schema["items"], steps.with_nulls(schema["items"], entry)) for entry in value or [{}]]
    return value


def differences(mine: Draft, theirs: Draft) -> list[list[str]]:
    """A row for each field that differs: its path, my value, theirs."""
    both = [{leaf.path: leaf.value for leaf in records.leaves(draft.record)} for draft in (mine, theirs)]
    paths = dict.fromkeys([*both[0], *both[1]])
    rows = [[path, both[0].get(path, ""), both[1].get(path, "")] for path in paths]
    return [row for row in rows if row[1] != row[2]] or [["no field differs", "", ""]]


# --- the tab -------------------------------------------------------------------------------------------------


def check(folder: Path) -> None:
    """Raises StageError if there is nothing to review there."""
    drafts.queue(Folder(folder))
    if not any(folder.glob(f"[!.]*{own_folder.DRAFT}")):
        raise files.StageError(f"{folder} holds no draft. Run: python inference.py DOCUMENTS --label {folder}")


def tab(review: Review, page: gr.Blocks) -> None:
    """Build the tab in a page, which shows the first document when it is opened."""
    import gradio as gr

    made = review.parts
    made["turn"] = gr.State(None, time_to_live=24 * 3600)
    with gr.Row(equal_height=True, elem_id="review_bar"):
        made["status"] = gr.Textbox(
            show_label=False, container=False, placeholder=f"Drafts in {review.path.name}", max_lines=4, scale=8,
            elem_id="review_status",
        )  # fmt: skip
        skip = gr.Button("Skip (S)", scale=1, min_width=110, elem_id="skip")
        accept = gr.Button("Accept (A)", variant="primary", scale=1, min_width=110, elem_id="accept")
    with gr.Column(visible=False, elem_id="clash") as made["clash"]:
        made["versions"] = widgets.plain_table(["Field", "Yours", "Theirs"], "versions")
        with gr.Row():
            theirs = gr.Button("Take theirs", elem_id="theirs")
            mine = gr.Button("Save mine instead", elem_id="mine")
    with gr.Row():
        with gr.Column(scale=2, min_width=220):
            made["queue"] = widgets.page_part("queue", QUEUE_TEMPLATE, "queue")
        with gr.Column(scale=5, min_width=300):
            made["view"] = widgets.page_part("picture", view.PICTURE_TEMPLATE, "review_view")
            made["text"] = gr.Textbox(show_label=False, lines=20, max_lines=20, visible=False, elem_id="review_text")
        with gr.Column(scale=5, min_width=300):
            made["table"] = widgets.page_part("fields", view.TABLE_TEMPLATE, "review_fields")
    outputs = [made[name] for name in OUTPUTS]
    given = {"inputs": made["turn"], "outputs": outputs, "api_visibility": "private", "concurrency_id": "review"}
    given |= {"show_progress": "hidden", "trigger_mode": "multiple"}
    clicks = {skip: review.skip, accept: review.accept, theirs: review.take_theirs, mine: review.keep_mine}
    for button, handle in clicks.items():  # a key that is pressed twice must not accept what nobody has seen
        button.click(_handler(handle), **given | {"trigger_mode": "once"})
    made["queue"].choose(_handler(review.choose, event=True), **given)
    made["table"].edit(_handler(review.edit, event=True), **given)
    made["table"].rows(_handler(review.change_rows, event=True), **given)
    made["view"].turn(_handler(review.turn_page, event=True), **given)
    page.load(_handler(review.begin), **given)


def _handler(handle: Callable, event: bool = False) -> Callable:
    """A handler as Gradio wants it: it finds event and request by their annotations, which must be the classes."""
    import gradio as gr

    def quiet(turn, said, request):
        who = getattr(request, "username", None) or _account()
        try:
            with jobs.in_one_sentence():
                return handle(turn, said, who, request.session_hash)
        except (documents.DocumentError, files.StageError) as error:
            return {handle.__self__.parts["status"]: str(error)}

    def plain(turn, request):
        return quiet(turn, None, request)

    def with_event(turn, said, request):
        return quiet(turn, said, request)

    plain.__annotations__ = {"request": gr.Request}
    with_event.__annotations__ = {"said": gr.EventData, "request": gr.Request}
    return with_event if event else plain


def _account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"
