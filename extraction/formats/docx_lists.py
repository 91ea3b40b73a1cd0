"""The numbers that Word prints before the paragraphs of a list; they are no text of the file."""

from __future__ import annotations

import re
from typing import Any

from extraction.formats.docx_looks import Looks, W

_ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"))
_ROMAN += ((10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))


class Lists:
    def __init__(self, numbering: Any, looks: Looks):
        self._looks = looks
        self._levels: dict[str, dict[int, Any]] = {}  # of each list by its number
        self._starts: dict[str, dict[int, int]] = {}  # where a list begins again
        self._counts: dict[str, dict[int, int]] = {}  # shared by the lists of one definition
        self._definition: dict[str, str] = {}
        if numbering is None:
            return
        definitions = {d.get(f"{W}abstractNumId"): d for d in numbering.iter(f"{W}abstractNum")}
        for entry in numbering.iter(f"{W}num"):
            number, base = entry.get(f"{W}numId"), _val(entry, "abstractNumId")
            shared = definitions[base].findall(f"{W}lvl") if base in definitions else ()
            levels = {_int(lvl.get(f"{W}ilvl")): lvl for lvl in shared}
            starts = {}
            for change in entry.iter(f"{W}lvlOverride"):
                at = _int(change.get(f"{W}ilvl"))
                if _val(change, "startOverride") is not None:
                    starts[at] = _int(_val(change, "startOverride"))
                if change.find(f"{W}lvl") is not None:
                    levels[at] = change.find(f"{W}lvl")
            self._levels[number], self._starts[number], self._definition[number] = levels, starts, base

    def mark(self, paragraph: Any) -> str:
        """What is printed before a paragraph, such as `2.1` or a bullet; its list counts on."""
        number, level = self._place(paragraph)
        levels = self._levels.get(number or "", {})
        lvl = levels.get(level)
        if lvl is None:
            return ""
        counts = self._counts.setdefault(self._definition[number], {})
        for at, start in self._starts.pop(number, {}).items():  # the first paragraph of this list
            counts[at] = start - 1
        counts[level] = counts.get(level, _int(_val(lvl, "start"), 1) - 1) + 1
        for deeper in [at for at in counts if at > level]:
            del counts[deeper]
        kind, shown = _val(lvl, "numFmt") or "decimal", _val(lvl, "lvlText") or ""
        if kind == "bullet":
            return shown if shown.isascii() and shown not in "o§" else "•"
        legal = lvl.find(f"{W}isLgl") is not None

        def printed(place: re.Match) -> str:
            at = int(place[1]) - 1
            inner = levels.get(at)
            begun = counts.get(at, 1 if inner is None else _int(_val(inner, "start"), 1))
            return _written(begun, "decimal" if legal or inner is None else _val(inner, "numFmt") or "decimal")

        return "" if kind == "none" and "%" in shown else re.sub(r"%(\d)", printed, shown)

    def _place(self, paragraph: Any) -> tuple[str | None, int]:
        """The list of a paragraph and its level in it, from itself or from its style."""
        own = paragraph.find(f"{W}pPr/{W}numPr")
        if own is not None and _val(own, "numId") is not None:
            return _val(own, "numId"), _int(_val(own, "ilvl"))
        name = self._looks.style_of(paragraph)
        for style in self._looks.chain(name):
            found = style.find(f"{W}pPr/{W}numPr")
            if found is None or _val(found, "numId") is None:
                continue
            levels = self._levels.get(_val(found, "numId"), {})
            linked = (at for at, lvl in levels.items() if _val(lvl, "pStyle") == name)
            return _val(found, "numId"), next(linked, _int(_val(found, "ilvl")))
        return None, 0


def _written(number: int, kind: str) -> str:
    if kind in ("upperLetter", "lowerLetter") and number > 0:
        letter = chr(ord("a") + (number - 1) % 26) * min((number - 1) // 26 + 1, 10)
        return letter.upper() if kind == "upperLetter" else letter
    if kind in ("upperRoman", "lowerRoman") and 0 < number < 4000:
        text = ""
        for value, sign in _ROMAN:
            text += sign * (number // value)
            number %= value
        return text.upper() if kind == "upperRoman" else text
    return f"{number:02}" if kind == "decimalZero" else str(number)


def _val(element: Any, name: str) -> str | None:
    found = element.find(f"{W}{name}")
    return None if found is None else found.get(f"{W}val")


def _int(value: str | None, usual: int = 0) -> int:
    return int(value) if value is not None and re.fullmatch(r"-?\d{1,6}", value) else usual
