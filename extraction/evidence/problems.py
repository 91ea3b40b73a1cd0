"""What has to be said of a result: each problem with its kind, so that it can be made anew; a sentence outside."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from extraction.evidence import injections
from extraction.files import quoted

SHOWN = 3  # kept passages of a document that are shown


@dataclass(frozen=True)
class Problem:
    """`kind` is document, left out, answer, sentence, missing, type, not found, injected, differs; `path`: of what."""

    kind: str
    path: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


def of_passages(
    text: str, injected: Sequence[tuple[int, int]], left_out: Sequence[tuple[int, int]]
) -> Iterator[Problem]:
    """The passages of a document that a model does not read, with the values in them, and those that it reads
    although they look like instructions."""
    said = "text that looks like instructions to a machine was"
    for start, end in left_out:
        held = ", ".join(injections.values_in(text[start:end]))
        told = f"{said} left out: {quoted(text[start:end])}" + (f"; values in it: {held}" if held else "")
        yield Problem("left out", None, told)
    kept = [passage for passage in injected if not within(passage, left_out)]
    for start, end in kept[:SHOWN]:
        yield Problem("injected", None, f"{said} kept: {quoted(text[start:end])}")
    if kept[SHOWN:]:
        yield Problem("injected", None, f"{said} kept in {len(kept) - SHOWN} more passages")


def of_first_look(unread: int, of: int) -> Iterator[Problem]:
    """The sentences of a contract that no model has read."""
    if unread:
        said = f"{unread} of {of} sentences hold no clause by their words, so the model has not read them"
        yield Problem("document", None, f"{said}; inference.first_look=false reads all")


def no_sentences(dropped: Iterable[tuple[str, str]]) -> Iterator[Problem]:
    """Numbers of sentences in an answer that the prompt does not have, by category."""
    for name, number in dropped:
        yield Problem("sentence", name, f"points at sentence {number}, which does not exist")


def of_places(
    fields: Iterable[dict], injected: Sequence[tuple[int, int]], chosen: Collection[str] = ()
) -> Iterator[Problem]:
    """The values that stand nowhere in the document, unless they were `chosen`, or only in an injected passage."""
    fields = list(fields)
    for field in fields:
        if field["grounding"] == "none" and field["path"] not in chosen:
            yield not_found(field["path"], field["value"])
    for field in fields:
        if field["span"] and within(field["span"], injected):
            yield only_injected(field["path"], field["value"])


def not_found(path: str, value: str) -> Problem:
    return Problem("not found", path, f"{quoted(value)} was not found in the document")


# What a page prints as the invoice's XML has it. Addresses are put together, currencies are printed as signs.
COMPARED = {"invoice_number", "date", "due_date", "name", "tax_id", "description", "quantity", "unit_price", "amount"}
COMPARED |= {"subtotal", "discount", "other_charge", "tax", "total", "iban", "amount_due"}


def of_pages(fields: Iterable[dict]) -> Iterator[Problem]:
    """Where the pages of an electronic invoice do not print what its XML says."""
    for field in fields:
        if field["grounding"] == "none" and field["path"].rpartition(".")[2] in COMPARED:
            said = f"the invoice's XML says {quoted(field['value'])}, which its pages do not print"
            yield Problem("differs", field["path"], said)


def only_injected(path: str, value: str) -> Problem:
    said = "stands only in text that looks like instructions to a machine"
    return Problem("injected", path, f"{quoted(value)} {said}")


def of_types(fields: Iterable[dict], types: Mapping[str, str]) -> Iterator[Problem]:
    """Values that are not of the type that a schema wants at their path, whose list positions are left out."""
    for field in fields:
        wanted = types.get(re.sub(r"\[\d+\]", "[]", field["path"]))
        if wanted and field["normalized"] is None:
            yield Problem("type", field["path"], f"{quoted(field['value'])} cannot be read as one {wanted}")


def missing(paths: Iterable[str]) -> Iterator[Problem]:
    """Values that a schema requires."""
    for path in paths:
        yield Problem("missing", path, "the schema requires it, the answer does not have it")


def within(span: Sequence[int], passages: Iterable[tuple[int, int]]) -> bool:
    return any(start < span[1] and span[0] < end for start, end in passages)
