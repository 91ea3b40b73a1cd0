"""A mail or an archive -> the documents in it, each with a name and bytes of its own.

An attached mail or archive is unpacked, too. What is not taken for a document is told among the problems of the first
one, and what should be one and cannot be read has an error instead of bytes: nothing is left out in silence.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field, replace

from extraction.files import quoted, shown
from extraction.formats import archives, kinds, mail
from extraction.reading.limits import DocumentError, Limits

MOST_DOCUMENTS, MOST_DEPTH = 100, 3  # in one file, and of mails and archives in each other
_LONG = 1500  # characters of a mail's text beside attached documents: a cover letter is shorter
_AMOUNT = re.compile(r"\d[\d.,]*[.,]\d\d(?![.,]?\d)")


@dataclass(frozen=True)
class Part:
    """A document in a file, or the file itself."""

    name: str
    data: bytes = b""
    kind: str = ""
    problems: list[str] = field(default_factory=list)
    error: str | None = None


def parts(name: str, data: bytes, kind: str, limits: Limits) -> list[Part]:
    """The documents in a mail or archive. Raises DocumentError if there are none."""
    return _parts(name, data, kind, limits, 0, [5 * limits.max_file_mb * 1e6, MOST_DOCUMENTS])


def _parts(name: str, data: bytes, kind: str, limits: Limits, depth: int, left: list[float]) -> list[Part]:
    if kind == "zip":
        archive = archives.opened(data, limits)
        if archives.is_word(archive, data):
            return [Part(name, data, "docx")]
        said, text, files = [], "", archives.entries(archive, limits)
        what = "archive"
    else:
        opened = mail.read(data, kind)
        said, text, files = opened.problems, opened.text, iter(opened.files)
        what = "mail"
    found: list[Part] = []
    others: list[str] = []
    for inner, content in files:
        left[0] -= len(content)
        if left[1] <= 0 or left[0] < 0:
            said.append(f"the {what} holds more than is read of one file; unpack it to have the rest read")
            break
        found += _part(_unique(f"{name}/{inner}", found), content, limits, depth, left, others)
    if others:
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        said.append(f"not read, as no documents: {'; '.join(map(shown, others[:5]))}{more}")
    if kind != "zip":
        found = _with_text(name, opened.header, text, found, said)
    if not found:
        raise DocumentError("; ".join([f"there is no document in the {what}", *said]))
    return [replace(found[0], problems=[*said, *found[0].problems]), *found[1:]]


def _part(
    name: str, content: bytes | str, limits: Limits, depth: int, left: list[float], others: list[str]
) -> list[Part]:
    """The documents that one file in another one is or holds; what is none goes into `others`."""
    base = posixpath.basename(name)
    named = posixpath.splitext(base)[1].lower() in kinds.SUFFIXES
    try:
        if isinstance(content, str):
            raise DocumentError(content)
        if len(content) > limits.max_file_mb * 1e6:
            raise DocumentError(f"it has {len(content) / 1e6:.1f} MB; the limit is {limits.max_file_mb:g} MB")
        kind = kinds.kind_of(content)
        if kind in ("text", "html") and not named and "." in base:
            others.append(base)  # a style sheet, a program, a table
            return []
        if kind in kinds.CONTAINERS:
            if depth == MOST_DEPTH:
                raise DocumentError(f"archives and mails are in each other more than {MOST_DEPTH} times; unpack them")
            return _parts(name, content, kind, limits, depth + 1, left)
    except DocumentError as error:
        if not named:
            others.append(f"{base} ({error})")
            return []
        left[1] -= 1
        return [Part(name, error=str(error))]
    left[1] -= 1
    return [Part(name, content, kind)]


def _with_text(name: str, header: str, text: str, found: list[Part], said: list[str]) -> list[Part]:
    """The documents of a mail with its own text before them, if that is one: it has amounts, or is long, or alone."""
    if not text.strip():
        return found
    alone = not any(part.error is None for part in found)
    if alone or len(set(_AMOUNT.findall(text))) > 1 or len(_AMOUNT.findall(text)) > 2 or len(text) > _LONG:
        return [Part(name, f"{header}\n\n{text}".strip("\n").encode(), "text"), *found]
    said.insert(0, f"the text of the mail was not read as a document: {quoted(text)}")
    return found


def _unique(name: str, found: list[Part]) -> str:
    taken = {part.name for part in found}
    stem, suffix = posixpath.splitext(name)
    numbers = (f"{stem} ({n}){suffix}" for n in range(2, MOST_DOCUMENTS + 3))
    return name if name not in taken else next(other for other in numbers if other not in taken)
