"""How a run of a DOCX file looks, as far as it matters for being seen: its own looks, those of its styles, and the
ground it stands on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_SHAPES = ("wsp", "shape", "rect", "roundrect", "oval")  # what a text box stands in, as DrawingML or as VML
_WHITE = "FFFFFF"
_UNKNOWN = "unknown"  # a ground of some other color
SEEN_CONTRAST = 24  # of 255, in the channel that differs most


class Looks:
    def __init__(self, styles: Any, background: str | None):
        found = [] if styles is None else styles.iter(f"{W}style")
        self._styles = {style.get(f"{W}styleId"): style for style in found}
        usual = (name for name, s in self._styles.items() if s.get(f"{W}default") and s.get(f"{W}type") == "paragraph")
        self._usual = next(usual, None)  # the style of paragraphs that name none
        self._background = background or _WHITE
        self._of_styles = cache(self._of_styles)
        self._ground_of_style = cache(self._ground_of_style)

    def unseen(self, run: Any) -> bool:
        """Whether nobody sees the run: it is hidden, smaller than two points, or in the color of its ground."""
        if self._value(run, "vanish") not in (None, "0", "false", "off"):
            return True
        size = self._value(run, "sz")
        if size and size.isdigit() and int(size) < 4:  # half-points
            return True
        color = _color(self._value(run, "color"))
        if color is None or min(color) < 200 and self._background == _WHITE and not _shaded_at_all(run):
            return False  # nearly all runs: dark print
        ground = self._ground(run)
        behind = _color(ground)
        return behind is not None and max(abs(a - b) for a, b in zip(color, behind, strict=True)) < SEEN_CONTRAST

    def font(self, run: Any) -> str:
        fonts = run.find(f"{W}rPr/{W}rFonts")
        return "" if fonts is None else fonts.get(f"{W}ascii") or fonts.get(f"{W}hAnsi") or ""

    def raised(self, run: Any) -> bool:
        return self._value(run, "vertAlign") == "superscript"

    def chain(self, name: str | None) -> Iterator[Any]:
        """A style and those it is based on."""
        seen = set()
        while name in self._styles and name not in seen:
            seen.add(name)
            yield self._styles[name]
            base = self._styles[name].find(f"{W}basedOn")
            name = None if base is None else base.get(f"{W}val")

    def style_of(self, paragraph: Any) -> str | None:
        return _named(paragraph, "pPr", "pStyle") or self._usual

    def _value(self, run: Any, name: str) -> str | None:
        own = run.find(f"{W}rPr/{W}{name}")
        if own is not None:
            return own.get(f"{W}val", "true")
        paragraph = next(run.iterancestors(f"{W}p"), None)
        style = None if paragraph is None else self.style_of(paragraph)
        return self._of_styles(_named(run, "rPr", "rStyle"), style, name)

    def _of_styles(self, run_style: str | None, paragraph_style: str | None, name: str) -> str | None:
        for style in (run_style, paragraph_style):
            for element in self.chain(style):
                found = element.find(f"{W}rPr/{W}{name}")
                if found is not None:
                    return found.get(f"{W}val", "true")
        return None

    def _ground(self, run: Any) -> str:
        """The color behind a run, from the nearest thing that has one."""
        for element in (run, *run.iterancestors()):
            name = element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
            own = _shade(element.find(f"{W}{name}Pr")) if name in ("r", "p", "tc", "tbl") else None
            if own is None and name == "tc" and _shade(element.getparent().find(f"{W}tblPrEx")):
                own = _UNKNOWN
            style = {"r": ("rPr", "rStyle"), "p": ("pPr", "pStyle"), "tbl": ("tblPr", "tblStyle")}.get(name)
            if own is None and style:
                own = self._ground_of_style(_named(element, *style) or (self._usual if name == "p" else None))
            if own is None and name == "p" and element.find(".//*[@behindDoc='1']") is not None:
                own = _UNKNOWN  # a picture or a shape
            if own is None and name in _SHAPES:
                own = _fill(element)
            if own is not None:
                return own
        return self._background

    def _ground_of_style(self, name: str | None) -> str | None:
        """The ground that a style gives; of a table's, whatever of its rows or columns it is for."""
        for element in self.chain(name):
            for looks in element.iter(f"{W}rPr", f"{W}pPr", f"{W}tcPr", f"{W}tblPr"):
                found = _shade(looks)
                if found:
                    return found if element.get(f"{W}type") != "table" else _UNKNOWN
        return None


def _named(element: Any, looks: str, kind: str) -> str | None:
    found = element.find(f"{W}{looks}/{W}{kind}")
    return None if found is None else found.get(f"{W}val")


def _shaded_at_all(run: Any) -> bool:
    """Whether the run itself, its paragraph or its cell names a ground: dark print on a dark one is not seen either."""
    for element in (run, *run.iterancestors(f"{W}p", f"{W}tc")):
        looks = element.find(f"{W}{element.tag.removeprefix(W)}Pr")
        if looks is not None and _shade(looks):
            return True
    return False


def _shade(looks: Any) -> str | None:
    """The color of the shading or of the marker; None if there is none."""
    if looks is None:
        return None
    marker, shade = looks.find(f"{W}highlight"), looks.find(f"{W}shd")
    if marker is not None and marker.get(f"{W}val") not in (None, "none"):
        return _WHITE if marker.get(f"{W}val") == "white" else _UNKNOWN
    if shade is None:
        return None
    fill, pattern = (shade.get(f"{W}fill") or "auto").upper(), shade.get(f"{W}val") or "clear"
    if pattern not in ("clear", "nil", "none"):  # a pattern, or solid: in another color than the fill
        return _UNKNOWN
    return None if fill == "AUTO" else fill


def _fill(shape: Any) -> str | None:
    """The color that fills a shape; None if it is not filled."""
    if shape.get("filled") in ("f", "false") or shape.find(f"*/{_A}noFill") is not None:
        return None
    if shape.get("fillcolor"):
        return shape.get("fillcolor").partition(" ")[0].lstrip("#").upper()
    solid = shape.find(f"*/{_A}solidFill")
    if solid is not None:
        color = solid.find(f"{_A}srgbClr")
        return _UNKNOWN if color is None or len(color) else color.get("val", "").upper()
    drawn = any(shape.find(f"*/{_A}{name}Fill") is not None for name in ("grad", "patt", "blip"))
    reference = shape.find(f".//{_A}fillRef")
    return _UNKNOWN if drawn or (reference is not None and reference.get("idx") != "0") else None


def _color(value: str | None) -> tuple[int, int, int] | None:
    try:
        return tuple(bytes.fromhex(value or ""))[:3] if len(value or "") == 6 else None
    except ValueError:  # "auto", or the name of a color
        return None
