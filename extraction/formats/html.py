"""An HTML page -> its text as a browser lays it out: blocks as lines, tables as columns, nothing that is not shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from extraction.files import quoted
from extraction.formats import plain

_NOT_SHOWN = "script style head title template noscript iframe object audio video datalist".split()
_WIDEST, _LONGEST = 64, 1000  # columns and rows that one cell may take
_LARGE = 40_000  # square pixels; print can be read in a picture of that size


def read(data: bytes, declared: str | None = None) -> tuple[str, list[str]]:
    """The text, and what is to be said of it. `declared` is the encoding that came with the page."""
    head = data[:4096].replace(b"\x00", b"")
    label = re.search(rb"charset\s*=\s*[\"']?\s*([\w.:-]+)|<\?xml[^>]*encoding=[\"']([\w.:-]+)", head, re.I)
    said = (label[1] or label[2]).decode() if label else None
    return laid_out(plain.decoded(data, declared or said))


def laid_out(source: str) -> tuple[str, list[str]]:
    import lxml.html
    from inscriptis.css_profiles import STRICT_CSS_PROFILE
    from inscriptis.html_engine import Inscriptis
    from inscriptis.model.config import ParserConfig
    from lxml.etree import LxmlError

    source = re.sub(r"^\s*<\?xml[^>]*\?>", "", source.replace("\x00", ""))
    parser = lxml.html.HTMLParser(remove_comments=True, remove_pis=True, no_network=True, huge_tree=True)
    try:
        tree = lxml.html.document_fromstring(source, parser=parser)
    except (LxmlError, ValueError):  # nothing at all in it
        return "", []
    looks = Looks(tree)
    pictures = _pictures(tree)
    for element in list(tree.iter(*_NOT_SHOWN)):
        _drop(element)
    left_out = list(_unseen(tree, looks))
    _show_forms(tree)
    for sup in list(tree.iter("sup")):
        _lower(sup)
    for table in list(tree.iter("table")):
        _spread(table)
    try:
        text = Inscriptis(tree, ParserConfig(css=STRICT_CSS_PROFILE, display_images=False)).get_text()
    except RecursionError:  # thousands of elements in each other; nobody has written that
        text = "\n".join(piece.strip() for piece in tree.itertext() if piece.strip())
    problems = []
    if any(map(str.isalnum, said := " ".join(left_out))):
        problems.append(f"text that cannot be seen was left out: {quoted(said)}")
    if pictures:
        counted = "1 picture in the HTML page was" if pictures == 1 else f"{pictures} pictures in the HTML page were"
        problems.append(f"{counted} not read")
    return _tidy(text), problems


def _tidy(text: str) -> str:
    lines = [line.rstrip() for line in plain.printed(text.replace("\u00a0", " ")).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def _drop(element: Any) -> None:
    """Take an element out of its tree; the text behind it stays."""
    parent = element.getparent()
    if parent is None:
        return
    before = element.getprevious()
    if element.tail and before is not None:
        before.tail = (before.tail or "") + element.tail
    elif element.tail:
        parent.text = (parent.text or "") + element.tail
    parent.remove(element)


def _unseen(tree: Any, looks: Looks) -> Iterator[str]:
    """What nobody sees, taken out of the tree: elements that are not shown, and text in the color of its ground."""
    waiting = [(tree, looks.usual)]
    while waiting:
        element, around = waiting.pop()
        if not isinstance(element.tag, str):
            continue
        if around.unseen and element is not tree:
            yield element.tail or ""
            element.tail = None
        look = looks.of(element, around)
        if look is None:
            yield "".join(element.itertext())
            _drop(element)
            continue
        if look.unseen:
            yield element.text or ""
            element.text = None
        if look.raised:
            element.tag = "sup"
        waiting += [(child, look) for child in reversed(element)]


def _show_forms(tree: Any) -> None:
    """The values of form fields as text."""
    for field in list(tree.iter("input", "select", "datalist")):
        shown = ""
        if field.tag == "datalist":
            del field[:]
        elif field.tag == "select":
            options = list(field.iter("option"))
            picked = [option for option in options if option.get("selected") is not None] or options[:1]
            shown = ", ".join("".join(option.itertext()).strip() for option in picked)
            del field[:]
        elif field.get("type", "text").lower() in ("checkbox", "radio"):
            shown = "☐" if field.get("checked") is None else "☒"
        elif field.get("type", "text").lower() not in ("hidden", "password", "image"):
            shown = field.get("value") or ""
        field.tag, field.text = "span", shown


def _lower(sup: Any) -> None:
    """Superscript digits, that they do not join the number before them."""
    before = sup.getprevious()
    around = sup.getparent().text if before is None else (before.tail or "".join(before.itertext()))
    sup.text = plain.raised((around or "").rstrip(), sup.text) if sup.text else sup.text


def _spread(table: Any) -> None:
    """Cells of several columns or rows are followed by empty ones; one of the whole width parts its table."""
    rows = [row for row in table.iter("tr") if next(row.iterancestors("table")) is table]
    taken: dict[tuple[int, int], bool] = {}
    for y, row in enumerate(rows):
        x = 0
        for cell in row.xpath("td|th"):
            while taken.get((y, x)):
                cell.addprevious(cell.makeelement("td"))
                x += 1
            across, down = _span(cell, "colspan", _WIDEST), _span(cell, "rowspan", _LONGEST)
            for _ in range(across - 1):
                empty = cell.makeelement("td")
                empty.tail, cell.tail = cell.tail, None
                cell.addnext(empty)
            for below in range(y + 1, min(y + down, len(rows))):
                taken |= dict.fromkeys(((below, x + i) for i in range(across)), True)
            x += across
    _part(table, rows)


def _part(table: Any, rows: list[Any]) -> None:
    """A cell that is alone in its row, in a table of several columns, becomes a block: it must not widen a column."""
    cells = {row: row.xpath("td|th") for row in rows}
    width = max((len(found) for found in cells.values()), default=0)
    for row in rows:
        full = [cell for cell in cells[row] if len(cell) or (cell.text or "").strip()]
        if width > 1 and len(full) == 1 and full[0] is cells[row][0] and _span(full[0], "colspan", _WIDEST) >= width:
            after = table.makeelement("table")
            after.extend(list(row.itersiblings()))
            block = table.makeelement("div")
            block.text = full[0].text
            block.extend(list(full[0]))
            row.getparent().remove(row)
            block.tail, after.tail, table.tail = None, table.tail, None
            table.addnext(block)
            block.addnext(after)
            _part(after, rows[rows.index(row) + 1 :])
            return


def _span(cell: Any, name: str, most: int) -> int:
    value = (cell.get(name) or "1").strip()
    return max(1, min(int(value), most)) if value.isdecimal() and len(value) < 6 else 1


def _pictures(tree: Any) -> int:
    """How many pictures of the page are large enough for print."""
    large = 0
    for picture in tree.iter("img"):
        sides = [picture.get(side, "") for side in ("width", "height")]
        known = all(side.isdecimal() and len(side) < 6 for side in sides)
        inside = picture.get("src", "").startswith("data:") and len(picture.get("src")) > _LARGE
        large += inside or (known and int(sides[0]) * int(sides[1]) > _LARGE)
    return large


# --- how an element looks, as far as it matters for being seen ------------------------------------------------

_MOST_RULES = 5_000
_NAMED = {"white": (255, 255, 255), "black": (0, 0, 0), "snow": (255, 250, 250), "ivory": (255, 255, 240)}
_NAMED |= {"whitesmoke": (245, 245, 245), "ghostwhite": (248, 248, 255), "azure": (240, 255, 255)}
SEEN_CONTRAST = 24  # of 255, in the channel that differs most

Color = tuple[int, int, int] | None  # None: not known, so nothing is hidden by it


@dataclass(frozen=True)
class Look:
    color: Color = (0, 0, 0)
    ground: Color = (255, 255, 255)
    size: float = 16.0  # pixels
    transparent: bool = False
    raised: bool = False

    @property
    def unseen(self) -> bool:
        """Whether nobody sees text that looks so."""
        if self.transparent or self.size < 1.5:
            return True
        if self.color is None or self.ground is None:
            return False
        return max(abs(a - b) for a, b in zip(self.color, self.ground, strict=True)) < SEEN_CONTRAST


class Looks:
    """How the elements of a page look: by their attributes and the style sheets of the page."""

    usual = Look()

    def __init__(self, tree: Any):
        self._rules = _applied(tree)

    def of(self, element: Any, around: Look) -> Look | None:
        """How the element looks within one that looks so; None if it is not shown at all."""
        style = self._rules.get(element, {}) | _declarations(element.get("style", ""))
        if element.get("hidden") is not None or _is_gone(style):
            return None
        look = replace(around, raised=False)
        if element.tag == "a" and "color" not in style:
            look = replace(look, color=None)
        color = style.get("color") or element.get("color")
        if color:
            look = replace(look, color=_color(color), transparent=color.strip() == "transparent")
        ground = style.get("background-color") or style.get("background") or element.get("bgcolor")
        if element.get("background") or "url(" in style.get("background-image", "") or "gradient" in str(ground):
            look = replace(look, ground=None)
        elif ground and not re.search(r"transparent|none|inherit|initial|rgba\([^)]*,\s*0\s*\)", ground):
            look = replace(look, ground=_color(ground))
        size = _pixels(style.get("font-size", ""), look.size)
        if size is not None:
            look = replace(look, size=size)
        return replace(look, raised=True) if style.get("vertical-align") == "super" else look


def _is_gone(style: dict[str, str]) -> bool:
    if style.get("display") == "none" or style.get("visibility") in ("hidden", "collapse"):
        return True
    if style.get("mso-hide") == "all" or _number(style.get("opacity")) == 0:
        return True
    cut = style.get("overflow", style.get("overflow-y", "")) in ("hidden", "clip")
    if cut and 0 in (_number(style.get(side)) for side in ("max-height", "height", "max-width", "width")):
        return True
    away = [_number(style.get(side)) or 0 for side in ("left", "top", "right", "text-indent", "margin-left")]
    placed = style.get("position") in ("absolute", "fixed")
    clipped = placed and re.match(r"rect\(\s*[01](px)?[\s,]+[01]", style.get("clip", ""))
    return bool(clipped) or any(side < -500 for side in (away if placed else away[3:]))


def _applied(tree: Any) -> dict[Any, dict[str, str]]:
    """What the style sheets of the page say of each element that they speak of."""
    from cssselect import SelectorError, parse
    from cssselect.xpath import HTMLTranslator

    found: list[tuple[tuple, int, Any, dict[str, str]]] = []
    source = "\n".join(sheet.text_content() for sheet in tree.iter("style"))
    for order, (selectors, style) in enumerate(_rules(source)):
        if order > _MOST_RULES:
            break
        try:
            parsed = parse(selectors)
            paths = [(s.specificity(), HTMLTranslator().selector_to_xpath(s)) for s in parsed if not s.pseudo_element]
        except (SelectorError, RecursionError):  # what only a browser knows
            continue
        for weight, path in paths:
            found += [(weight, order, element, style) for element in tree.xpath(path)]
    found.sort(key=lambda rule: rule[:2])
    looks: dict[Any, dict[str, str]] = {}
    for _, _, element, style in found:
        looks[element] = looks.get(element, {}) | style
    return looks


def _rules(source: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Selectors and declarations, without what holds only for some screens."""
    source = re.sub(r"/\*.*?\*/|<!--|-->", "", source, flags=re.S)
    depth, start, selectors, skipped = 0, 0, "", 0
    for found in re.finditer(r"[{}]|@(?:import|charset)[^;{}]*;", source):
        sign = found.group()
        if sign == "{":
            if depth == skipped:
                selectors = source[start : found.start()].strip()
                if selectors.startswith("@"):
                    wide = re.fullmatch(r"@media\s+(all|screen|only screen)\s*", selectors)
                    skipped = depth + 1 if wide else -1 if skipped >= 0 else skipped
                    selectors = ""
            depth += 1
        elif sign == "}":
            depth = max(depth - 1, 0)
            if selectors and skipped >= 0:
                yield selectors, _declarations(source[start : found.start()])
            selectors = ""
            if depth == 0:
                skipped = 0
        start = found.end()


def _declarations(text: str) -> dict[str, str]:
    pairs = (piece.partition(":") for piece in text.lower().split(";"))
    return {name.strip(): value.replace("!important", "").strip() for name, _, value in pairs if value.strip()}


def _color(value: str) -> Color:
    """The first color in a value."""
    digits = re.search(r"#([0-9a-f]{6}|[0-9a-f]{3})\b|^([0-9a-f]{6})$", value.strip().lower())
    if digits:
        text = digits[1] or digits[2]
        return tuple(bytes.fromhex(text if len(text) == 6 else "".join(2 * c for c in text)))
    parts = re.search(r"rgba?\(\s*(\d+)[\s,]+(\d+)[\s,]+(\d+)", value)
    if parts:
        return tuple(min(int(part[:4]), 255) for part in parts.groups())
    return next((_NAMED[word] for word in re.findall(r"[a-z]+", value.lower()) if word in _NAMED), None)


def _number(value: str | None) -> float | None:
    found = re.match(r"-?(\d{1,6}(\.\d{0,6})?|\.\d{1,6})", value or "")
    return float(found.group()) if found else None


def _pixels(value: str, around: float) -> float | None:
    number = _number(value)
    if number is None:
        return None
    unit = re.sub(r"^[-\d.]+", "", value).strip()[:3]
    return number * {"px": 1, "pt": 1.33, "em": around, "rem": 16, "%": around / 100}.get(unit, 1)
