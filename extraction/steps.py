"""From a document to its result, step by step: what is shown to the model, what it is asked, what its answers make."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from extraction.evidence import checks, grounding, injections, printed, problems, typed
from extraction.evidence.problems import Problem
from extraction.files import StageError
from extraction.models import backends
from extraction.models.confidence import Calibration
from extraction.reading import layout
from extraction.reading.documents import Document
from extraction.tasks import completions, custom, first_look, prompts, records, schemas, sentences
from extraction.tasks.records import Leaf

if TYPE_CHECKING:
    from config import DataConfig


# --- what is asked -------------------------------------------------------------------------------------------


class Shown:
    """What a model reads of a document: its text without what addresses a machine and orders an answer."""

    def __init__(self, document: Document, task: schemas.Task):
        names = injections.names_of(task.schema) | {"answer"}
        self.document = document
        self.injected = injections.find(document.text, names)  # what stands only there may be an attacker's
        self.left_out = injections.orders(document.text, names)
        self.text = injections.without(document.text, names)
        self.running = layout.prose(self.text) if task is schemas.CONTRACT else self.text  # what is read in windows
        self.unread = (0, 0)  # sentences that the first look left out, of so many

    @cached_property
    def _printed(self) -> list[int]:
        """Where each printed character stands in the document; from there to here, only white space changes."""
        text, found, before = self.document.text, [], 0
        for start, end in [*self.left_out, (len(text), len(text))]:
            found += [i for i in range(before, start) if not text[i].isspace()]
            before = end
        return found

    def place(self, start: int, end: int) -> tuple[int, int] | None:
        """Where `[start, end)` of the running text stands in the document; None where that is not known."""
        first = _count_printed(self.running[:start])
        last = first + _count_printed(self.running[start:end]) - 1
        if last < first or len(self._printed) != _count_printed(self.running):  # more was left out in a second round
            return None
        return self._printed[first], self._printed[last] + 1


def _count_printed(text: str) -> int:
    return len("".join(text.split()))


@dataclass(frozen=True)
class Asked:
    """A request: its task and prompt, and the question, or where the window begins that it is about."""

    task: schemas.Task
    prompt: prompts.Prompt
    question: str | None = None
    start: int = 0

    def request(self, choose: bool) -> backends.Request:
        return request(self.task, self.prompt.messages, choose)


def ask(
    shown: Shown,
    task: schemas.Task,
    questions: Sequence[str],
    backend: backends.Backend,
    data: DataConfig,
    look_first: bool = False,
) -> list[Asked]:
    """The requests about a document: one for each window of it, then one for each question.

    A document with an electronic invoice is only asked the questions: its record is known. `look_first`: of a contract
    only the sentences that may hold a clause are shown.
    """
    if invoice_of(shown.document, task):
        asked = []
    elif look_first and task is schemas.CONTRACT:
        asked = [Asked(task, prompts.prompt(task, shown.running, spans=spans)) for spans in looked_at(shown, data)]
    else:
        spans = windows(shown.running, task, backend, data)
        asked = [Asked(task, prompts.prompt(task, shown.running[a:b]), start=a) for a, b in spans]
    return asked + [ask_question(shown, question, data) for question in questions]


def looked_at(shown: Shown, data: DataConfig) -> list[list[tuple[int, int]]]:
    """The sentences of a contract that may hold a clause, in windows; notes how many are left out."""
    parts = [
        (start, layout.windows(shown.running[start:end], data.window_chars, 0))  # one if it is no longer than a window
        for start, end in sentences.split(shown.running)
    ]
    every = [(start + a, start + b) for start, pieces in parts for a, b in pieces]
    found = first_look.windows(shown.running, every, data.window_chars)
    shown.unread = len(every) - sum(map(len, found)), len(every)
    return found


def request(task: schemas.Task, messages: list[dict[str, str]], choose: bool) -> backends.Request:
    """What a backend is asked. `choose`: amounts, dates and times can only be those that the prompt prints.

    The answer may grow with the document, by a token a character: a row of a list takes two to three times as many
    tokens as its print, since the names of its fields come with every row.
    """
    text = messages[-1]["content"]
    narrowed = printed.narrowed(task, text) if choose else task.schema
    narrowed = None if narrowed is task.schema else narrowed
    asked_about = "" if task in (schemas.CONTRACT, schemas.QUESTION) else text
    return backends.Request(messages, task.schema, narrowed, more=len(asked_about), asked_about=asked_about)


def invoice_of(document: Document, task: schemas.Task) -> dict | None:
    """The electronic invoice in a document, if an invoice is what is wanted."""
    return document.invoice if task is schemas.RECEIPT else None


def ask_question(shown: Shown, question: str, data: DataConfig) -> Asked:
    window = layout.best_window(shown.text, question, data.window_chars, data.window_overlap)
    return Asked(schemas.QUESTION, prompts.prompt(schemas.QUESTION, window, question), question)


def windows(text: str, task: schemas.Task, backend: backends.Backend, data: DataConfig) -> list[tuple[int, int]]:
    """The windows of a text that the task reads: contracts as in training, others only if they are too long."""
    if task is schemas.CONTRACT:
        return layout.windows(text, data.window_chars, data.window_overlap)
    limit = backend.prompt_limit - backend.count(task.instructions) - 32  # 32: the chat template's own tokens
    if limit < 64:
        raise StageError("the fields of the schema leave no room for a document; raise inference.context_tokens")
    tokens = backend.count(text)
    if tokens <= limit:
        return [(0, len(text))]
    return layout.windows(text, max(int(len(text) * limit / tokens * 0.8), 100), 0)


# --- what is answered ----------------------------------------------------------------------------------------


def read(shown: Shown, asked: Sequence[Asked], answers: Sequence[backends.Completion]) -> list[completions.Reading]:
    """What each answer says; a clause that was pointed at has its place in the document."""
    readings = []
    for one, answer in zip(asked, answers, strict=True):
        if answer.error:
            readings.append(completions.Reading(None, answer.error))
            continue
        asked_about = one.prompt.messages[-1]["content"]
        reading = completions.parse(one.task, answer.text, one.prompt.sentences, answer.confidences, asked_about)
        found = [
            replace(leaf, span=shown.place(one.start + leaf.span[0], one.start + leaf.span[1])) if leaf.span else leaf
            for leaf in reading.leaves or ()
        ]
        readings.append(reading if reading.leaves is None else replace(reading, leaves=tuple(found)))
    return readings


# --- the result ----------------------------------------------------------------------------------------------


@dataclass
class Extraction:
    """What was found in a document, with what has to be said of it; `result` is what goes outside."""

    name: str
    task: schemas.Task
    model: str
    shown: Shown
    record: dict | None = None
    leaves: list[Leaf] = field(default_factory=list)
    summary: str | None = None
    confidences: str | None = None  # what they mean
    fields: list[dict] | None = None
    accepted_from: float | None = None  # the confidence from which a value needs no review; None: not known
    checks: list[dict] | None = None
    of_answers: list[Problem] = field(default_factory=list)
    of_values: list[Problem] = field(default_factory=list)
    answers: list[dict] = field(default_factory=list)  # each with where it stands
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def invoice(self) -> dict | None:
        return invoice_of(self.shown.document, self.task)

    def take(
        self, asked: Sequence[Asked], readings: Sequence[completions.Reading], calibration: Calibration | None
    ) -> None:
        """Take what a model answered, or the electronic invoice; `calibration` says what confidences mean."""
        both = list(zip(asked, readings, strict=True))
        read = [reading.leaves for one, reading in both if one.question is None and reading.leaves is not None]
        for one, reading in both:
            self._note(one, reading)
        if self.invoice:
            read = [list(records.leaves(self.invoice["record"]))]
        if read:
            self._fill(records.merge(self.task, read), calibration)
        for one, reading in both:
            if one.question:
                self._answer(one.question, reading)

    def take_answer(self, one: Asked, reading: completions.Reading) -> None:
        """Take the answer to a question that was asked later."""
        self._note(one, reading)
        self._answer(one.question, reading)

    def forget_answers(self) -> None:
        asked = {entry["question"] for entry in self.answers}
        self.answers = []
        self.of_answers = [problem for problem in self.of_answers if problem.path not in asked]

    def _note(self, one: Asked, reading: completions.Reading) -> None:
        self.of_answers += problems.no_sentences(reading.dropped)
        if reading.problem:
            self.of_answers.append(Problem("answer", one.question, reading.problem))

    def _fill(self, found: list[Leaf], calibration: Calibration | None) -> None:
        if any(leaf.confidence is not None for leaf in found):
            self.confidences = "calibrated" if calibration else "not calibrated"
        if calibration:
            self.accepted_from = calibration.accepted_from(self.task.name, self.shown.document.reading)
            found = [_calibrated(leaf, self.task, calibration, self.shown.document.reading) for leaf in found]
        written = None
        if not isinstance(self.task, custom.CustomTask):
            written = next((leaf.value for leaf in found if leaf.path == "summary"), None)
            found = [leaf for leaf in found if leaf.path != "summary"]
        record = ({"clauses": {}} if self.task is schemas.CONTRACT else {}) | records.build(found)
        self.record = with_nulls(self.task.schema, record)
        if not isinstance(self.task, custom.CustomTask):
            self.record.pop("summary", None)
        # a document with instructions may have told the model what to say in it
        self._judge(found, None if self.shown.injected else written)

    def _answer(self, question: str, reading: completions.Reading) -> None:
        answer = (reading.record or {}).get("answer")
        place = {"grounding": "none", "span": None, "boxes": [], "injected": False}
        if answer:
            place = grounding.answer(answer, self.shown.document, self.shown.injected)
        self.answers = [*self.answers, {"question": question, "answer": answer, **place}]

    def change(self, record: dict, before: Mapping[str | None, Leaf]) -> None:
        """Take a record that a person changed. Of the leaves `before`, by their paths now, those of the same value
        are as sure as they were, and stand where they were pointed at."""
        found = []
        for leaf in records.leaves(record):
            same = before.get(leaf.path)
            kept = same is not None and same.value == leaf.value
            found.append(replace(same, path=leaf.path) if kept else leaf)
        self.record = record
        self._judge(found)

    def _judge(self, found: list[Leaf], summary: str | None = None) -> None:
        """Ground the values, check them against each other, sum them up, and say what has to be said of them."""
        record = records.build(found)
        required, chosen, types = [], set(), {}
        if isinstance(self.task, custom.CustomTask):  # of a user's own fields, nothing says what would sum them up
            required, types = self.task.missing(record), self.task.types
            chosen = {leaf.path for leaf in found if re.sub(r"\[\d+\]", "[]", leaf.path) in self.task.choices}
        else:
            self.summary = summary or records.summarize(self.task, record)
        self.leaves = found
        self.fields = grounding.ground(found, self.task, self.shown.document, self.shown.injected)
        if types:
            self.fields = typed.settle(self.fields, types, self.shown.document.text)
        self.fields = [entry | {"review": self._needs_review(entry)} for entry in self.fields]
        self.checks = checks.check(record, self.task)
        self.of_values = [*problems.missing(required), *problems.of_types(self.fields, types)]
        self.of_values += self._of_places(chosen)

    def _needs_review(self, entry: dict) -> bool | None:
        """Whether a person should look at a value: it stands nowhere, or the model was not sure enough of it. None if
        nothing tells how sure it has to be."""
        if entry["grounding"] == "none":
            return True
        if self.accepted_from is None or entry["confidence"] is None:
            return None
        return entry["confidence"] < self.accepted_from

    def _of_places(self, chosen: set[str]) -> Iterator[Problem]:
        if self.invoice is None:
            return problems.of_places(self.fields, self.shown.injected, chosen)
        if not self.shown.document.words:  # the XML alone
            return iter(())
        terms = [{"path": name, "value": self.invoice["terms"].get(name)} for name in ("iban", "amount_due")]
        printed = [t | grounding.answer(t["value"], self.shown.document) for t in terms if t["value"]]
        return problems.of_pages([*self.fields, *printed])

    def all_problems(self) -> list[Problem]:
        """What has to be said of the document, the answers, the values, and where the answers to questions stand."""
        document = self.shown.document
        found = [Problem("document", None, text) for text in document.problems]
        found += problems.of_first_look(*self.shown.unread)
        found += [
            *problems.of_passages(document.text, self.shown.injected, self.shown.left_out),
            *self.of_answers,
            *self.of_values,
        ]
        for entry in self.answers:
            if entry["answer"] and entry["grounding"] == "none":
                found.append(problems.not_found(entry["question"], entry["answer"]))
            elif entry["injected"]:
                found.append(problems.only_injected(entry["question"], entry["answer"]))
        return found

    def _typed(self) -> dict:
        """Of a user's own schema, the record once more with its types."""
        if self.record is None or not isinstance(self.task, custom.CustomTask):
            return {}
        return {"typed": typed.record(self.record, self.fields, self.task.types)}

    def result(self) -> dict[str, Any]:
        document = self.shown.document
        return {
            "file": self.name,
            "document_type": self.task.name,
            "source": "xml" if self.invoice else "model",
            "record": self.record,
            **self._typed(),
            "summary": self.summary,
            "answers": [{key: entry[key] for key in ("question", "answer")} for entry in self.answers],
            "fields": self.fields,
            "confidences": self.confidences,
            "terms": self.invoice["terms"] if self.invoice else None,
            "checks": self.checks,
            "problems": list(map(str, self.all_problems())),
            "pages": document.pages,
            "pages_skipped": document.pages_skipped,
            "page_numbers": document.numbers,
            "document": document.part[0],
            "documents": document.part[1],
            "model": self.model,
            "timings": self.timings,
        }


def _calibrated(leaf: Leaf, task: schemas.Task, calibration: Calibration, reading: str) -> Leaf:
    if leaf.confidence is None:
        return leaf
    return replace(leaf, confidence=calibration.share(task.name, leaf.confidence, reading))


def with_nulls(schema: dict, value: Any) -> Any:
    """The value with null for every property that the schema has and it has not."""
    if "properties" in schema and value is not None:
        return {name: with_nulls(inner, value.get(name)) for name, inner in schema["properties"].items()}
    if "items" in schema and value is not None:
        return [with_nulls(schema["items"], item) for item in value]
    return value
