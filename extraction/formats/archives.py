"""ZIP files: which of them are documents of Office programs, and what is in the others."""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
from collections.abc import Iterator
from typing import Any

from extraction.reading.limits import DocumentError, Limits

_OTHERS = {  # the first entry of these formats says what they are
    "vnd.oasis.opendocument.text": "an OpenDocument text; save it as DOCX or PDF",
    "vnd.oasis.opendocument.spreadsheet": "an OpenDocument spreadsheet; save it as PDF",
    "vnd.oasis.opendocument": "an OpenDocument file; save it as PDF",
    "epub+zip": "an EPUB book; save it as PDF",
}


def opened(data: bytes, limits: Limits) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except Exception as error:  # a name that is not in the encoding it claims, a version that does not exist, ...
        raise DocumentError(f"the {_name(data)} file is broken") from error
    if sum(entry.file_size for entry in archive.infolist()) > 5 * limits.max_file_mb * 1e6:
        raise DocumentError(f"the {_name(data)} file is too large when unpacked")
    return archive


def is_word(archive: zipfile.ZipFile, data: bytes) -> bool:
    """Whether it is a DOCX file. Raises DocumentError with a sentence for a file of another Office program."""
    names = set(archive.namelist())
    if "mimetype" in names:
        with archive.open("mimetype") as f:
            said = f.read(200).decode("ascii", "replace")
        for sign, sentence in _OTHERS.items():
            if sign in said:
                raise DocumentError(sentence)
    if "[content_types].xml" not in {name.casefold() for name in names}:
        return False
    try:
        program = Package(archive).program
    except MemoryError:
        raise
    except Exception as error:
        raise DocumentError(f"the {_name(data)} file is broken") from error
    if program is None and "_rels/.rels" in names:  # a file of an Office program without its main part
        raise DocumentError(f"the {_name(data)} file is broken")
    if program not in (None, "word"):
        raise DocumentError(program)
    return program == "word"


def _name(data: bytes) -> str:
    """What to call a file that cannot be opened; the names in it are not packed."""
    return "DOCX" if b"word/" in data else "ZIP"


def entries(archive: zipfile.ZipFile, limits: Limits) -> Iterator[tuple[str, bytes | str]]:
    """Each file in an archive: its name, and its bytes or why there are none."""
    for entry in archive.infolist():
        name = posixpath.normpath("/" + entry.filename.replace("\\", "/")).lstrip("/")
        base = posixpath.basename(name)
        if entry.is_dir() or base.startswith(".") or name.startswith("__MACOSX/") or base in ("Thumbs.db", ""):
            continue  # what systems put beside the files
        if entry.flag_bits & 1:
            yield name, "it is locked with a password; unpack it first"
            continue
        if entry.file_size > limits.max_file_mb * 1e6:
            yield name, f"it has {entry.file_size / 1e6:.1f} MB; the limit is {limits.max_file_mb:g} MB"
            continue
        try:
            yield name, archive.read(entry)
        except MemoryError:
            raise
        except Exception:  # zipfile and its unpackers let errors of every kind through
            yield name, "it is broken, or packed in a way that is not known"


# --- Office Open XML -----------------------------------------------------------------------------------------

_STRICT = re.compile(rb"http://purl\.oclc\.org/ooxml/(\w+)/(\w+)")
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_PROGRAMS = {  # what stands in the content type of the main part
    "wordprocessingml": "word",
    "ms-word": "word",
    "spreadsheetml": "an Excel file; save it as PDF",
    "ms-excel": "an Excel file; save it as PDF",
    "presentationml": "a PowerPoint file; save it as PDF",
    "ms-powerpoint": "a PowerPoint file; save it as PDF",
    "ms-visio": "a Visio file; save it as PDF",
}


class Package:
    """The parts of a file of an Office program: which one is the document, which ones belong to it, and their XML.

    Parts are found by relationships and content types, never by the names that one program happens to give them. XML is
    read without entities, without a network, and with the transitional names of what a strict file names otherwise.
    """

    def __init__(self, archive: zipfile.ZipFile):
        self._archive = archive
        self._names = {name.casefold(): name for name in archive.namelist()}
        types = self.xml("[Content_Types].xml")
        self._types = {}
        for entry in () if types is None else types:
            name = entry.get("PartName") or f"*.{entry.get('Extension')}"
            self._types[name.casefold().lstrip("/")] = (entry.get("ContentType") or "").casefold()
        named = [name for name, kind in self._types.items() if kind.endswith(".main+xml") and name in self._names]
        self.main = next(iter([*self.related("", "officeDocument"), *named]), None)

    @property
    def program(self) -> str | None:
        """`word`, or of what another program made a sentence; None if it is no such file."""
        if self.main is None:
            return None
        name = self.main.casefold()
        kind = self._types.get(name) or self._types.get(f"*.{name.rpartition('.')[2]}", "")
        return next((program for sign, program in _PROGRAMS.items() if sign in kind), None)

    def related(self, part: str, kind: str) -> list[str]:
        """The names of the parts that a part relates to in this way."""
        return [name for _, relation, name in self._relations(part) if relation == kind]

    def named(self, reference: Any) -> str | None:
        """The part of the main document that an element refers to."""
        wanted = reference.get(f"{_RELATION}id")
        return next((name for number, _, name in self._relations(self.main) if number == wanted), None)

    def _relations(self, part: str) -> list[tuple[str, str, str]]:
        """Of each part that a part relates to, its number, how it is related, and its name."""
        folder, _, name = part.rpartition("/")
        found = self.xml(posixpath.join(folder, "_rels", f"{name}.rels"))
        inside = [] if found is None else [entry for entry in found if entry.get("TargetMode") != "External"]
        return [
            (
                entry.get("Id") or "",
                (entry.get("Type") or "").rpartition("/")[2],
                _joined(folder, entry.get("Target") or ""),
            )
            for entry in inside
        ]

    def xml(self, name: str | None) -> Any:
        """The root of a part; None if it is not there."""
        from lxml import etree

        name = self._names.get((name or "").casefold())
        if name is None:
            return None
        data = _STRICT.sub(rb"http://schemas.openxmlformats.org/\1/2006/\2", self._archive.read(name))
        parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True)
        return etree.fromstring(data, parser)


def _joined(folder: str, target: str) -> str:
    return posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")
