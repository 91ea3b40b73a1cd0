"""A DOCX file -> its text as it is seen: headers, body, footnotes and footers in reading order, tables as columns.

Text that nobody sees is left out and told, as of a PDF; so are pictures, which are not read.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import Any

from extraction.files import quoted
from extraction.formats import plain
from extraction.formats.archives import Package
from extraction.formats.docx_lists import Lists
from extraction.formats.docx_looks import Looks, W
from extraction.reading.limits import DocumentError

_M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_SIGNS = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_UNSEEN = {f"{W}{name}" for name in ("del", "moveFrom", "instrText", "delText", "pPr", "rPr", "sectPr", "rt")}
_UNSEEN.add("{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback")  # a text box once more
_WIDEST = 64  # columns that one cell may take
_PICTURE = 1_300_000_000_000  # square EMU: some 5 by 2 cm, larger than most logos


def read(archive: zipfile.ZipFile) -> tuple[str, list[str]]:
    """The text, and what is to be said of it. Raises DocumentError if the file is broken."""
    try:
        document = _Word(Package(archive))
        return document.text(), document.problems()
    except (DocumentError, MemoryError):
        raise
    except Exception as error:  # zipfile and lxml let errors of every kind through
        raise DocumentError("the DOCX file is broken") from error


class _Word:
    def __init__(self, package: Package):
        self.package = package
        self.main = package.xml(package.main)
        ground = self.main.find(f"{W}background")
        shade = None if ground is None else (ground.get(f"{W}color") or "").upper()
        self.looks = Looks(self._part("styles"), None if shade in (None, "", "AUTO") else shade)
        self.lists = Lists(self._part("numbering"), self.looks)
        self.left_out: list[str] = []
        self.pictures = self.others = 0

    def _part(self, kind: str) -> Any:
        return self.package.xml(next(iter(self.package.related(self.package.main, kind)), None))

    def text(self) -> str:
        body = self.main.find(f"{W}body")
        headers, footers = self._around("headerReference"), self._around("footerReference")
        blocks = [*headers, *self._blocks(body)]
        for kind in ("footnote", "endnote"):
            notes = self._part(f"{kind}s")
            for note in () if notes is None else notes.iter(f"{W}{kind}"):
                if note.get(f"{W}type") in (None, "normal"):
                    blocks += self._blocks(note)
        return "\n".join([*blocks, *footers]).expandtabs().strip()

    def problems(self) -> list[str]:
        problems = []
        if said := "".join(self.left_out).strip():
            problems.append(f"text that cannot be seen was left out: {quoted(said)}")
        if self.pictures:
            counted = "1 picture in the DOCX file was" if self.pictures == 1 else f"{self.pictures} pictures in it were"
            problems.append(f"{counted} not read; save it as PDF to have the print in them read")
        if self.others:
            problems.append("a part of the DOCX file that is in another format was not read; save it as PDF")
        return problems

    def _around(self, kind: str) -> list[str]:
        """The headers or the footers of all sections, each text once."""
        settings = self._part("settings")
        even = settings is not None and settings.find(f"{W}evenAndOddHeaders") is not None
        found: list[str] = []
        for section in self.main.iter(f"{W}sectPr"):
            named = {r.get(f"{W}type"): r for r in section.findall(f"{W}{kind}")}
            shown = ["first"] * (section.find(f"{W}titlePg") is not None) + ["default"] + ["even"] * even
            for reference in (named[name] for name in shown if name in named):
                part = self.package.xml(self.package.named(reference))
                text = "" if part is None else "\n".join(self._blocks(part))
                if text.strip() and text not in found:
                    found.append(text)
        return found

    # --- blocks ----------------------------------------------------------------------------------------------

    def _blocks(self, parent: Any) -> Iterator[str]:
        """The text of each paragraph and table below an element, whatever the elements between them are."""
        for element in parent:
            if element.tag == f"{W}p":
                yield from self._paragraph(element)
            elif element.tag == f"{W}tbl":
                yield plain.table(list(self._rows(element)))
            elif element.tag == f"{W}altChunk":
                self.others += 1
            elif element.tag not in _UNSEEN and isinstance(element.tag, str):
                yield from self._blocks(element)

    def _paragraph(self, element: Any) -> Iterator[str]:
        boxes: list[Any] = []
        pieces: list[str] = []
        self._inline(element, pieces, boxes)
        text = "".join(pieces).strip("\n")
        mark = self.lists.mark(element) if text.strip() else ""
        if text.strip() or not boxes:
            yield f"{mark} {text}" if mark else text
        for box in boxes:
            yield from self._blocks(box)

    def _rows(self, table: Any) -> Iterator[list[str]]:
        """The cells of each row; a cell of several columns is followed by empty ones."""
        for row in table.iter(f"{W}tr"):
            if next(row.iterancestors(f"{W}tbl")) is not table:  # of a table within a cell
                continue
            if row.find(f"{W}trPr/{W}del") is not None:
                continue
            before = row.find(f"{W}trPr/{W}gridBefore")
            cells = [""] * _columns(before, 0)
            for cell in row.iter(f"{W}tc"):
                if next(cell.iterancestors(f"{W}tr")) is not row:
                    continue
                above = cell.find(f"{W}tcPr/{W}vMerge")
                beside = cell.find(f"{W}tcPr/{W}hMerge")
                merged = any(m is not None and m.get(f"{W}val") != "restart" for m in (above, beside))
                cells.append("" if merged else "\n".join(self._blocks(cell)))
                cells += [""] * (_columns(cell.find(f"{W}tcPr/{W}gridSpan"), 1) - 1)
            yield cells

    # --- within a paragraph ----------------------------------------------------------------------------------

    def _inline(self, parent: Any, into: list[str], boxes: list[Any]) -> None:
        """The text of a paragraph as it is seen, deletions and field codes left out; its text boxes go into `boxes`."""
        for element in parent:
            if not isinstance(element.tag, str) or element.tag in _UNSEEN:
                continue
            name = element.tag.removeprefix(W)
            if name == "r":
                self._run(element, into, boxes)
            elif name == "txbxContent":
                boxes.append(element)
            elif name == "fldChar":
                into.append(_form_field(element))
            elif element.tag == f"{_M}oMath":
                into.append(_equation(element))
            elif name in _SIGNS:
                into.append(_SIGNS[name])
            elif name == "sym":
                into.append(_symbol(element.get(f"{W}font") or "", int(element.get(f"{W}char") or "0", 16)))
            elif name == "t" or element.tag.endswith("/drawingml/2006/main}t"):
                into.append(element.text or "")
            else:
                if element.tag.endswith("}blip"):
                    self.pictures += _is_large(element)
                self._inline(element, into, boxes)

    def _run(self, run: Any, into: list[str], boxes: list[Any]) -> None:
        shown = run.findall(f"{W}t")
        if shown and self.looks.unseen(run):  # what a text box in it looks like is said inside the box
            self.left_out += [piece.text or "" for piece in shown]
            return
        pieces: list[str] = []
        self._inline(run, pieces, boxes)
        text = "".join(pieces)
        font = self.looks.font(run) if text else ""
        if font in _SYMBOLS:
            text = "".join(_symbol(font, ord(c)) if c > " " else c for c in text)
        elif text[:1].isdigit() and self.looks.raised(run):
            text = plain.raised("".join(into[-3:]), text)
        into.append(text)


def _columns(element: Any, usual: int) -> int:
    value = "" if element is None else element.get(f"{W}val") or ""
    return min(int(value), _WIDEST) if value.isdecimal() else usual


def _is_large(blip: Any) -> bool:
    """Whether a picture takes enough of the page for print in it to be read."""
    inline = next((e for e in blip.iterancestors() if e.tag.endswith(("}inline", "}anchor"))), None)
    extent = None if inline is None else inline.find("{*}extent")
    sides = ("0", "0") if extent is None else (extent.get("cx") or "0", extent.get("cy") or "0")
    return all(map(str.isdecimal, sides)) and int(sides[0]) * int(sides[1]) > _PICTURE


def _form_field(begin: Any) -> str:
    """The box of a check box, or the choice of a list, that stand in the settings of a form field alone."""
    box, choice = begin.find(f"{W}ffData/{W}checkBox"), begin.find(f"{W}ffData/{W}ddList")
    if box is not None:
        state = box.find(f"{W}checked")
        state = box.find(f"{W}default") if state is None else state
        return "☒" if state is not None and state.get(f"{W}val") not in ("0", "false", "off") else "☐"
    if choice is not None:
        entries = [entry.get(f"{W}val") or "" for entry in choice.findall(f"{W}listEntry")]
        picked = choice.find(f"{W}result")
        at = _columns(choice.find(f"{W}default") if picked is None else picked, 0)
        return entries[at] if at < len(entries) else ""
    return ""


def _equation(element: Any) -> str:
    """An equation on one line: fractions with a slash, roots with their sign, exponents behind a ^."""
    name = element.tag.removeprefix(_M) if isinstance(element.tag, str) else ""

    def part(which: str) -> str:
        found = element.find(f"{_M}{which}")
        text = "" if found is None else _equation(found)
        return text if len(text) < 2 or text.isalnum() or name not in ("f", "sSup") else f"({text})"

    if name == "t":
        return element.text or ""
    if name == "f":
        return f"{part('num')}/{part('den')}"
    if name == "sSup":
        return f"{part('e')}^{part('sup')}"
    if name == "rad":
        return f"√({part('e')})"
    inner = "".join(map(_equation, element))
    if name == "d":
        return f"({inner})"
    if name == "nary":
        sign = element.find(f"{_M}naryPr/{_M}chr")
        return ("∫" if sign is None else sign.get(f"{_M}val") or "") + inner
    return "" if name.endswith("Pr") else inner


_BOXES = {0xFE: "☑", 0xFD: "☒", 0x78: "☒", 0xA8: "☐", 0x6F: "☐", 0x71: "☐", 0x72: "☐", 0xFC: "✓", 0xFB: "✗"}
_SYMBOLS = {
    "Wingdings": _BOXES | {0xE0: "→", 0xF0: "→", 0x28: "☎", 0x2A: "✉", 0xA7: "▪", 0x6E: "■", 0x6C: "●"},
    "Wingdings 2": {0x52: "☑", 0x54: "☒", 0x53: "☒", 0x51: "☒", 0xA3: "☐", 0x2A: "☐", 0x50: "✓", 0x4F: "✗"},
    "Webdings": {0x61: "✓", 0x63: "☐", 0x72: "✗", 0x67: "■"},
    "Symbol": {0xA0: "€", 0xB4: "×", 0xB1: "±", 0xA3: "≤", 0xB3: "≥", 0xB0: "°", 0x2D: "−", 0xB8: "÷", 0xB9: "≠"}
    | {0xBB: "≈", 0xD3: "©", 0xD2: "®", 0xD4: "™", 0x6D: "μ", 0x53: "Σ", 0x44: "Δ", 0x70: "π", 0x57: "Ω"},
}


def _symbol(font: str, code: int) -> str:
    """A character of a font of signs; one that means nothing here is a bullet."""
    if font in _SYMBOLS and (0xF000 <= code <= 0xF0FF or code < 0x100):
        return _SYMBOLS[font].get(code & 0xFF) or (chr(code & 0xFF) if font == "Symbol" and code & 0xFF < 0x40 else "•")
    return "•" if 0xE000 <= code <= 0xF8FF or not 0x20 <= code < 0x110000 else chr(code)
