"""A text or DOCX file -> its text. `worker` does this, too, in a process of its own: archives and XML can
unpack to any size, and guessing an encoding can take any time.
"""

from __future__ import annotations

import codecs
import io
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

from extraction.reading.limits import DocumentError, Limits

PADDING = 10_000_000  # characters that a table may take; a larger one is not worth its columns


def read(data: bytes, kind: str, limits: Limits) -> dict:
    """The one message of a file without pages: `{"pages", "text", "problems"}`, the text cut at its limit."""
    text, problems = _docx(data, limits) if kind == "docx" else (_text(data), [])
    kept = limits.max_text_chars
    if len(text) > kept:
        problems.append(f"the text has {len(text):,} characters; only the first {kept:,} were read")
    return {"pages": 1, "text": text[:kept], "problems": problems}


def table(cells: Sequence[Sequence[str]]) -> str:
    """Rows of cells as text with aligned columns, for data that has a table and no boxes."""
    grid = [[" ".join(str(c).split()) for c in row] for row in cells]
    widths: list[int] = []
    for row in grid:
        widths += [0] * (len(row) - len(widths))
        for i, cell in enumerate(row):
            widths[i] = max(widths[i], len(cell))
    if len(grid) * sum(widths) > PADDING:  # one long cell in a column of many
        widths = [0] * len(widths)
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=False)).rstrip() for row in grid)


def _docx(data: bytes, limits: Limits) -> tuple[str, list[str]]:
    """Headers, body and footers in reading order: paragraphs, tables, text boxes, and what stands in form fields.

    And what is to be said of it: text that nobody sees is left out, as it is of a PDF.
    """
    import docx

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as z:
            sizes = {item.filename: item.file_size for item in z.infolist()}
    except Exception as error:  # a name that is not in the encoding it claims, a version that does not exist, ...
        raise DocumentError("the DOCX file is broken") from error
    if "word/document.xml" not in sizes:
        raise DocumentError("not a PDF, image, DOCX or text file")
    if sum(sizes.values()) > 5 * limits.max_file_mb * 1e6:
        raise DocumentError("the DOCX file unpacks to more than it may")
    try:
        opened = docx.Document(io.BytesIO(data))
        unseen = _Unseen(opened.styles.element)
        headers, footers = [], []
        for section in opened.sections:
            first = section.different_first_page_header_footer
            for kept, parts in (
                (headers, [section.first_page_header] * first + [section.header]),
                (footers, [section.first_page_footer] * first + [section.footer]),
            ):
                texts = [
                    "\n".join(_docx_blocks(part._element, unseen)) for part in parts if not part.is_linked_to_previous
                ]
                kept += [text for text in texts if text.strip() and text not in kept]
        blocks = [*headers, *_docx_blocks(opened.element.body, unseen), *footers]
    except MemoryError:
        raise
    except Exception as error:  # python-docx lets errors of zipfile, lxml and its own through
        raise DocumentError("the DOCX file is broken") from error
    said = " ".join("".join(unseen.texts).split())
    problems = [f'text that cannot be seen was left out: "{said[:60]}{"..." if said[60:] else ""}"'] if said else []
    return "\n".join(blocks).strip(), problems


_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_DOCX_SIGNS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_DOCX_UNSEEN = {f"{_W}{name}" for name in ("del", "moveFrom", "instrText", "delText", "pPr", "rPr")}
_DOCX_UNSEEN.add("{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback")  # a text box once more


class _Unseen:
    """The runs of a DOCX that nobody sees: hidden, smaller than two points, or white on a ground that is not shaded."""

    def __init__(self, styles: Any):
        self.texts: list[str] = []
        found = ((style, style.find(f"{_W}rPr")) for style in styles.iter(f"{_W}style"))
        self.styles = {style.get(f"{_W}styleId") for style, looks in found if looks is not None and _invisible(looks)}

    def takes(self, run: Any) -> bool:
        """Whether it is such a run; its text is kept apart then."""
        looks, texts = run.find(f"{_W}rPr"), run.findall(f"{_W}t")
        if not texts:  # what a text box in it looks like is said inside the box
            return False
        if not (looks is not None and _invisible(looks)) and not self.styles & set(_styles(run)):
            return False
        if not _hidden(looks) and any(map(_shaded, (run, *run.iterancestors()))):
            return False  # white on a dark ground
        self.texts += [t.text or "" for t in texts]
        return True


def _styles(run: Any) -> Iterator[str | None]:
    """The names of the styles of a run and of its paragraph."""
    for element in (run, next(run.iterancestors(f"{_W}p"))):
        for kind in ("rPr/{}rStyle", "pPr/{}pStyle"):
            found = element.find(f"{_W}{kind.format(_W)}")
            if found is not None:
                yield found.get(f"{_W}val")


def _invisible(looks: Any) -> bool:
    color, size = (looks.find(f"{_W}{name}") for name in ("color", "sz"))
    white = color is not None and (color.get(f"{_W}val") or "").upper() in ("FFFFFF", "FEFEFE")
    tiny = size is not None and (size.get(f"{_W}val") or "").isdigit() and int(size.get(f"{_W}val")) < 4  # half-points
    return white or tiny or _hidden(looks)


def _hidden(looks: Any) -> bool:
    switch = looks.find(f"{_W}vanish") if looks is not None else None
    return switch is not None and switch.get(f"{_W}val") not in ("0", "false", "off")


def _shaded(element: Any) -> bool:
    """Whether a run, paragraph, cell or table has a ground that is not white."""
    for place in ("rPr", "pPr", "tcPr", "tblPr"):
        looks = element.find(f"{_W}{place}")
        if looks is None:
            continue
        ground, marker = looks.find(f"{_W}shd"), looks.find(f"{_W}highlight")
        fill = (ground.get(f"{_W}fill") if ground is not None else None) or "auto"
        if fill.upper() not in ("AUTO", "FFFFFF"):
            return True
        if marker is not None and marker.get(f"{_W}val") not in ("none", "white"):
            return True
    return False


def _docx_blocks(parent: Any, unseen: _Unseen) -> Iterator[str]:
    """The text of each paragraph and table below an element, whatever the elements between them are."""
    for element in parent:
        if element.tag == f"{_W}p":
            boxes: list[Any] = []
            text = "".join(_docx_inline(element, boxes, unseen)).strip("\n")
            if text.strip() or not boxes:
                yield text
            for box in boxes:
                yield from _docx_blocks(box, unseen)
        elif element.tag == f"{_W}tbl":
            cells = []
            for row in element.iter(f"{_W}tr"):
                if next(row.iterancestors(f"{_W}tbl")) is element:  # not of a table within a cell
                    found = (c for c in row.iter(f"{_W}tc") if next(c.iterancestors(f"{_W}tr")) is row)
                    cells.append(["\n".join(_docx_blocks(cell, unseen)) for cell in found])
            yield table(cells)
        elif element.tag not in _DOCX_UNSEEN and isinstance(element.tag, str):
            yield from _docx_blocks(element, unseen)


def _docx_inline(parent: Any, boxes: list[Any], unseen: _Unseen) -> Iterator[str]:
    """The text of a paragraph as it is seen, deletions and field codes left out; its text boxes go into `boxes`."""
    for element in parent:
        name = element.tag.removeprefix(_W) if isinstance(element.tag, str) else ""
        if element.tag in _DOCX_UNSEEN or (name == "r" and unseen.takes(element)):
            continue
        if name == "txbxContent":
            boxes.append(element)
        elif name == "t":
            yield element.text or ""
        elif name in _DOCX_SIGNS:
            yield _DOCX_SIGNS[name]
        else:
            yield from _docx_inline(element, boxes, unseen)


_CONTROL = dict.fromkeys(set(range(32)) - set(b"\n\r"))


def _text(data: bytes) -> str:
    text = _decoded(data).expandtabs().translate(_CONTROL)
    return text.replace("\r\n", "\n").replace("\r", "\n").strip("\n")


def unicode(head: bytes) -> str | None:
    """UTF-16 or UTF-32, by its mark at the start, or by the zeros of Latin letters in every second place."""
    for name, mark in (("utf-32", codecs.BOM_UTF32_LE), ("utf-32", codecs.BOM_UTF32_BE)):
        if head.startswith(mark):
            return name
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if min(even, odd) == 0 and max(even, odd) > 0.15 * len(head):
        name = "utf-16-le" if odd else "utf-16-be"
        text = head[: len(head) // 2 * 2].decode(name, "replace")
        return name if all(c.isprintable() or c.isspace() for c in text) else None
    return None


_UNICODE = ["utf_7", "utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be"]
_USUAL = ("cp1252", "cp1250", "iso8859_2", "cp1251")


def _decoded(data: bytes) -> str:
    for encoding in (unicode(data[:1024]), "utf-8-sig"):
        try:
            if encoding:
                return data.decode(encoding).removeprefix("\ufeff")
        except UnicodeDecodeError:
            continue
    import charset_normalizer

    matches = charset_normalizer.from_bytes(data, cp_exclusion=_UNICODE)
    best = matches.best()
    if best is None:
        raise DocumentError("the text is in no encoding that could be recognized")
    # A few letters can be right in many encodings: of those that fit as well, the most usual one is taken.
    ties = [m for m in matches if (m.chaos, m.coherence) == (best.chaos, best.coherence)]
    fitting = {name for match in ties for name in match.could_be_from_charset}
    return next((data.decode(name) for name in _USUAL if name in fitting), str(best))
