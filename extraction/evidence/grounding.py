"""Where each value of a record stands in its document: the span of its text, and boxes on its pages.

Numbers and dates are looked for by what they mean and must match exactly; text may differ a little. Leaves of one line
item are looked for on neighboring rows, single values beside their label, and a place is given to one value only.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import islice
from typing import Any

from rapidfuzz import fuzz

from extraction.evidence import values
from extraction.reading.documents import Document
from extraction.reading.words import Box
from extraction.tasks.custom import CustomTask
from extraction.tasks.records import Leaf
from extraction.tasks.schemas import CONTRACT, DOCUMENT, Task

FUZZY_SCORE = 85  # similarity in percent that text needs; lower ones let values of other documents in
FUZZY_WORD = 78  # similarity in percent that each word of such a text needs: one wrong letter in five
FUZZY_LENGTH = 5  # letters and digits; shorter text has to match exactly
MOST_PLACES = 1000  # that are looked at for one value: a text may say the same again and again
LABEL_REACH = 300  # characters between a label and its value, at most

NUMBERS = set(
    "quantity unit_price discount amount item_subtotal subtotal service_charge other_charge tax tip total cash change"
    " card e_money item_type_count item_count".split()
)
DATES = {"date", "due_date", "Agreement Date", "Effective Date", "Expiration Date"}

# Numbers are whole: not the 1 of "PB1", the 10 of "10%", the 5 of "-5", or a part of a date, a time, a longer number.
_NUMBER_BEFORE = rf"(?<![^\W\d_]{{2}})(?<![\d{values.MINUS[1:]}-])(?<!\d[.,/:])"
_NUMBER_AFTER = r"(?![.,/:-]?\d)(?!\s?%)"
_NUMBER = re.compile(_NUMBER_BEFORE + values.NUMBER.pattern + _NUMBER_AFTER)

# What is printed beside a value. Of several that match, the one nearest to the value counts, of two there the longer.
LABELS = {
    name: re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", re.IGNORECASE)
    for name, pattern in {
        "subtotal": r"sub[\s.,-]*(?:total|ttl|tot)|zwischensumme|netto?(?: amount)?|sous-total",
        "discount": r"disc\w*|diskon|potongan|rabatt|remise|promo|voucher",
        "service_charge": r"serv\w*(?: charge)?|svc\w*|s\.?chg",
        "tax": r"tax\w*|pb-?1|p\.?b\.?1|ppn|vat|gst|mwst\.?|ust\.?|tva|btw|iva|pajak(?: resto\w*)?",
        "tip": r"tips?|gratuity|trinkgeld",
        "total": r"(?:grand |net )?(?:total|ttl)(?: due| amount)?|jumlah|(?:amount|balance) due|summe|gesamt\w*",
        "cash": r"cash|tunai|bar|tender\w*|paid|payment|bayar|uang",
        "change": r"change\w*|kembali\w*|wechselgeld|rückgeld|cash back",
        "card": r"card|visa|master\w*|debit|credit|edc|kartu|bca",
        "e_money": r"e-?money|go-?pay|ovo|dana|flazz|e-?wallet",
        "item_count": r"(?:total )?(?:qty|quantity|items?|pcs|artikel)(?: total)?",
        "item_type_count": r"(?:total )?(?:menus?|types?)",
        "invoice_number": r"(?:invoice|receipt|bill|rechnungs?)[\s-]*(?:no|nr|number|nummer|#)?\.?|inv\.?",
        "date": r"(?:invoice |issue )?date|datum|tanggal|tgl\.?",
        "due_date": r"due (?:date|on|by)|pay by|payable by|fällig\w*",
        "time": r"time|uhrzeit|jam",
    }.items()
}


@dataclass(frozen=True)
class Place:
    """Where a value may stand: the printed pieces, [start, end) each, and how well they match, up to 1."""

    pieces: tuple[tuple[int, int], ...]
    grounding: str
    score: float

    @property
    def span(self) -> tuple[int, int]:
        return min(a for a, _ in self.pieces), max(b for _, b in self.pieces)

    def overlaps(self, passages: Sequence[tuple[int, int]]) -> bool:
        return any(a < end and start < b for a, b in self.pieces for start, end in passages)


class Taken:
    """Which characters of a text are given away."""

    def __init__(self, text: str, places: Iterable[Place] = ()):
        self.marks = bytearray(len(text))
        self.add(places)

    def add(self, places: Iterable[Place]) -> None:
        for place in places:
            for a, b in place.pieces:
                self.marks[a:b] = b"\1" * (b - a)

    def holds(self, place: Place) -> bool:
        """Is a character of the place among them?"""
        return any(self.marks.find(1, a, b) >= 0 for a, b in place.pieces)


def kind(leaf: Leaf, task: Task) -> str:
    """`number`, `date` or `text`: what is compared, and what can be normalized; of a user's own fields what the schema
    asks for, `integer` and `boolean` too, if the value can be that."""
    wanted = task.types.get(re.sub(r"\[\d+\]", "[]", leaf.path)) if isinstance(task, CustomTask) else None
    if wanted:
        of_kind = {"date": values.dates, "date-time": values.dates, "boolean": ("true", "false").count}
        fits = of_kind.get(wanted, values.readings)
        return wanted if fits(leaf.value) else "text"
    if leaf.key in NUMBERS and values.readings(leaf.value):
        return "number"
    if leaf.key in DATES and values.dates(leaf.value) and (task is CONTRACT or len(leaf.value) <= 30):
        return "date"
    if (task is DOCUMENT and leaf.key == "value") or isinstance(task, CustomTask):
        if [(0, len(leaf.value))] == [(a, b) for a, b, _ in values.dates(leaf.value)]:
            return "date"
        if values.readings(leaf.value) and re.search(r"[.,]\d\d\b|[$€£¥]|\b[A-Z]{3}\b", leaf.value):
            return "number"  # plain digits may be a number of an account or a telephone
    return "text"


def normalized(leaf: Leaf, what: str) -> float | str | None:
    """The number as float, the date as ISO; None for text and for a date that can be read in two ways."""
    if what == "boolean":
        return leaf.value == "true"
    if what == "integer":
        whole = values.amount(leaf.value)
        return int(whole) if whole is not None and whole == int(whole) else None
    if what == "number":
        return float(values.amount(leaf.value))
    if what in ("date", "date-time") and len(meant := values.only_date(leaf.value) or []) == 1:
        day, clock = meant[0].isoformat(), _clock(leaf.value) if what == "date-time" else None
        return day if what == "date" else clock and f"{day}T{clock}"
    return None


def _clock(text: str) -> str | None:
    """The time of day beside a date, as ISO: `2:05 pm`, `14.05`, `14h05`, `14:05:30`; None if it is not just one."""
    for start, end, _ in values.dates(text):
        text = text[:start] + "_" * (end - start) + text[end:]
    times = re.findall(r"(?<!\d)(\d{1,2})\s?[:.h]\s?(\d{2})(?:[:.](\d{2}))?(?!\d)\s*([ap]\.?m)?", text.casefold())
    if len(times) != 1:
        return None
    hour, minute, second, half = times[0]
    if half and not 1 <= int(hour) <= 12:
        return None
    hours = int(hour) % 12 + 12 * half.startswith("p") if half else int(hour)
    if hours > 23 or int(minute) > 59 or int(second or 0) > 59:
        return None
    return f"{hours:02}:{minute}:{second or '00'}"


# --- what a document prints ----------------------------------------------------------------------------------


class TextIndex:
    """The text of a document, indexed for finding values in it."""

    def __init__(self, document: Document):
        self.text = document.text
        self.words = sorted(zip(document.spans, document.words, strict=True), key=lambda pair: pair[0])
        self.row_starts = [0, *(m.end() for m in re.finditer("\n", self.text))]
        self.tokens = [m.span() for m in re.finditer(r"\S+", self.text)]
        self._labels: dict[int, str | None] = {}
        plain, self.at = [], []  # letters and digits alone, and where each of them stands
        for i, character in enumerate(self.text):
            for c in _plain(character):
                plain.append(c)
                self.at.append(i)
        self.plain = "".join(plain)

    def row(self, position: int) -> int:
        return bisect_right(self.row_starts, position) - 1

    @cached_property
    def numbers(self) -> list[tuple[int, int, list]]:
        """Every number as (start, end, readings), whole tokens where they hold one amount."""
        found = []
        for start, end in self.tokens:
            if whole := values.readings(self.text[start:end]):
                found.append((start, end, whole))
                continue
            for match in _NUMBER.finditer(self.text, start, end):
                found.append((*match.span(), values.readings(match.group())))
        return found

    @cached_property
    def dates(self) -> list[tuple[int, int, list[date]]]:
        return values.dates(self.text)

    @cached_property
    def row_tokens(self) -> list[list[tuple[str, tuple[int, int]]]]:
        """Per row, each token's letters and digits and its span."""
        rows: list[list] = [[] for _ in self.row_starts]
        for start, end in self.tokens:
            rows[self.row(start)].append((_plain(self.text[start:end]), (start, end)))
        return rows

    def places(self, value: str, what: str) -> list[Place]:
        """Every place where the value may stand. For numbers and dates: the same meaning, for text: the best kind."""
        exact = self._exact(value, what)
        if what in ("number", "integer"):
            wanted = values.amount(value)
            same = (((a, b),) for a, b, readings in self.numbers if wanted in readings[:1])
        elif what == "date" and len(value) <= 30:
            wanted = {d for _, _, readings in values.dates(value) for d in readings}
            same = (((a, b),) for a, b, readings in self.dates if wanted & set(readings))
        else:
            return exact or self._without_marks(value) or self._across_rows(value) or self._similar(value)
        taken = Taken(self.text, exact)
        others = (Place(pieces, "normalized", 0.7) for pieces in islice(same, MOST_PLACES))
        return exact + [place for place in others if not taken.holds(place)]

    def _exact(self, value: str, what: str) -> list[Place]:
        """The value as it is printed, runs of white space being equal; never a part of a longer number or word."""
        value = value.strip()
        if not value:
            return []
        pattern = r"\s+".join(map(re.escape, value.split()))
        before = r"(?<!\d)(?<!\d[.,])" if value[0].isdigit() else r"(?<!\w)" if value[0].isalpha() else ""
        after = r"(?![.,]?\d)" if value[-1].isdigit() else r"(?!\w)" if value[-1].isalpha() else ""
        if what in ("number", "integer"):
            before, after = before + _NUMBER_BEFORE, after + _NUMBER_AFTER
        found = []
        for match in islice(re.finditer(before + pattern + after, self.text), MOST_PLACES):
            a, b = match.span()
            alone = (a == 0 or self.text[a - 1].isspace()) and (b == len(self.text) or self.text[b].isspace())
            found.append(Place(((a, b),), "exact", 1.0 if alone else 0.8))
        return found

    def _without_marks(self, value: str) -> list[Place]:
        """The same letters and digits, whatever stands between them."""
        wanted, found = _plain(value), []
        start = self.plain.find(wanted) if wanted else -1
        while start >= 0 and len(found) < MOST_PLACES:
            end = start + len(wanted)
            if self._edge(start) and self._edge(end):
                found.append(Place(((self.at[start], self.at[end - 1] + 1),), "normalized", 0.9))
            start = self.plain.find(wanted, start + 1)
        return found

    def _edge(self, i: int) -> bool:
        """Does a word or a number begin or end between the letters or digits i - 1 and i?"""
        if i in (0, len(self.plain)) or self.at[i] - self.at[i - 1] > 1:
            return True
        return self.plain[i - 1].isdigit() != self.plain[i].isdigit()

    def _across_rows(self, value: str) -> list[Place]:
        """The words of the value in their order on up to four rows, with other columns between them."""
        wanted = [_plain(word) or word for word in value.split()]
        if len(wanted) < 2:
            return []
        found = []
        for first in range(len(self.row_starts)):
            near = (token for row in self.row_tokens[first : first + 4] for token in row)
            pieces = []
            for word in wanted:
                piece = next((span for plain, span in near if (plain or self.text[slice(*span)]) == word), None)
                if piece is None:
                    break
                pieces.append(piece)
            if len(pieces) == len(wanted) and self.row(pieces[0][0]) == first:
                found.append(Place(tuple(pieces), "normalized", 0.8))
                if len(found) == MOST_PLACES:
                    break
        return found

    def _similar(self, value: str) -> list[Place]:
        """The most similar text, if it is similar enough and has the same digits."""
        wanted = _plain(value)
        if len(wanted) < FUZZY_LENGTH or sum(map(str.isalpha, wanted)) < len(wanted) / 2:
            return []
        found = fuzz.partial_ratio_alignment(wanted, self.plain, score_cutoff=FUZZY_SCORE)
        if found is None or len(wanted) > len(self.plain):
            return []
        start, end = found.dest_start, found.dest_end
        while not self._edge(start):
            start -= 1
        while not self._edge(end):
            end += 1
        score = fuzz.ratio(wanted, self.plain[start:end])
        a, b = self.at[start], self.at[end - 1] + 1
        same_digits = set(re.findall(r"\d+", value)) <= set(re.findall(r"\d+", self.text[a:b]))
        words = [word for word in map(_plain, value.split()) if len(word) > 2]  # "Cake, Tea" is not "Cafe Tea"
        alike = all(fuzz.partial_ratio(word, self.plain[start:end]) >= FUZZY_WORD for word in words)
        return [Place(((a, b),), "fuzzy", score / 200)] if score >= FUZZY_SCORE and same_digits and alike else []

    def label(self, place: Place) -> str | None:
        """The field whose label stands nearest before the place on its row."""
        start = place.span[0]
        if start not in self._labels:
            self._labels[start] = self._label(start)
        return self._labels[start]

    def _label(self, start: int) -> str | None:
        before = self.text[max(self.row_starts[self.row(start)], start - LABEL_REACH) : start]
        ends = [(m.end(), m.end() - m.start(), name) for name, label in LABELS.items() for m in label.finditer(before)]
        return max(ends)[2] if ends else None

    def boxes(self, place: Place) -> list[dict]:
        """One box per page and row of the words that the place touches."""
        rows: dict[tuple[int, int], list[Box]] = {}
        for a, b in place.pieces:
            for (start, _), word in self.words[bisect_right(self.words, a, key=lambda pair: pair[0][1]) :]:
                if start >= b:
                    break
                rows.setdefault((word.page, self.row(start)), []).append(word.box)
        return [
            {
                "page": page,
                "left": min(box[0] for box in boxes),
                "top": min(box[1] for box in boxes),
                "right": max(box[2] for box in boxes),
                "bottom": max(box[3] for box in boxes),
            }
            for (page, _), boxes in sorted(rows.items())
        ]


def _plain(text: str) -> str:
    """Letters and digits, without case and presentation forms."""
    return "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum())


# --- which place belongs to which value ----------------------------------------------------------------------

ROWS_ABOVE, ROWS_BELOW = 1, 3  # how far from the row of a line item its leaves may stand


def ground(
    found: Iterable[Leaf], task: Task, document: Document, injected: Sequence[tuple[int, int]] = ()
) -> list[dict]:
    """The `fields` of a result: each value with its normalized form, span and boxes, if it was found.

    A place within one of the `injected` passages of the text is taken only where there is no other.
    """
    found = [leaf for leaf in found if leaf.path != "summary"]
    page = TextIndex(document)
    kinds = {leaf.path: kind(leaf, task) for leaf in found}
    places = {
        leaf.path: [Place((leaf.span,), "exact", 1.0)]
        if leaf.span  # the model pointed there
        else trusted(page.places(leaf.value, kinds[leaf.path]), injected)
        for leaf in found
    }
    if task is CONTRACT:
        chosen = _quotes(found, places)
    else:
        chosen = _items(page, found, places)
        chosen |= _singles(page, [leaf for leaf in found if leaf.item is None], places, chosen)
    return [_field(page, leaf, kinds[leaf.path], chosen.get(leaf.path)) for leaf in found]


def trusted(places: list[Place], injected: Sequence[tuple[int, int]]) -> list[Place]:
    """The places outside of injected passages, all of them where there is none."""
    return [place for place in places if not place.overlaps(injected)] or places


def answer(value: str, document: Document, injected: Sequence[tuple[int, int]] = ()) -> dict:
    """Where an answer to a question stands; of one that lists several values, where each of them does, if all do."""
    page = TextIndex(document)

    def of(text: str) -> list[Place]:
        return trusted(page.places(text, kind(Leaf("value", text), DOCUMENT)), injected)

    places = of(value)[:1]
    if not places:
        parts = [of(part) for part in value.split(", ")]
        places = [found[0] for found in parts] if all(parts) else []
    return {
        "grounding": places[0].grounding if places else "none",
        "span": list(places[0].span) if places else None,
        "boxes": [box for place in places for box in page.boxes(place)],
        "injected": any(place.overlaps(injected) for place in places),
    }


def _field(page: TextIndex, leaf: Leaf, what: str, place: Place | None) -> dict:
    return {
        "path": leaf.path,
        "value": leaf.value,
        "normalized": normalized(leaf, what),
        "confidence": None if leaf.confidence is None else round(leaf.confidence, 4),
        "grounding": place.grounding if place else "none",
        "span": list(place.span) if place else None,
        "boxes": page.boxes(place) if place else [],
    }


def _items(page: TextIndex, found: list[Leaf], places: dict[str, list[Place]]) -> dict[str, Place]:
    """The places of the leaves of list items: items in their order, each about the row where most of it stands."""
    items: dict[str, list[Leaf]] = {}
    for leaf in found:
        if leaf.item is not None:
            items.setdefault(leaf.item, []).append(leaf)
    chosen: dict[str, Place] = {}
    taken = Taken(page.text)
    previous = -1
    for members in items.values():
        members = sorted(members, key=lambda leaf: leaf.key not in ("description", "key"))
        free: dict[str, dict[int, list[Place]]] = {leaf.path: {} for leaf in members}  # leaf -> row -> places
        for leaf in members:
            for place in places[leaf.path]:
                if not taken.holds(place):
                    free[leaf.path].setdefault(page.row(place.span[0]), []).append(place)
        rows = set().union(*free.values())
        if not rows:
            continue
        anchor = max(rows, key=lambda row: (_fit(page, members, free, row, previous), -row))
        mine: dict[str, Place] = {}
        for leaf in members:
            near = _near(free[leaf.path], anchor)
            if not near and leaf.key not in NUMBERS:  # a remark may stand apart from its item, a number may not
                near = [p for row in free[leaf.path].values() for p in row]
            of_item = Taken(page.text, mine.values())
            options = [p for p in near if not of_item.holds(p)] or near
            if options:
                mine[leaf.path] = max(options, key=lambda p: (_worth(page, p, anchor), -p.span[0]))
        chosen |= _in_reading_order(members, mine)
        taken.add(mine.values())
        previous = anchor
    return chosen


def _in_reading_order(members: list[Leaf], mine: dict[str, Place]) -> dict[str, Place]:
    """The same places, but those of equal values in the order of the fields: a unit price comes before its amount."""
    equal: dict[Any, list[str]] = {}
    for leaf in members:
        if leaf.path in mine:
            equal.setdefault(values.amount(leaf.value) if leaf.key in NUMBERS else leaf.path, []).append(leaf.path)
    return {
        path: place
        for paths in equal.values()
        for path, place in zip(paths, sorted((mine[p] for p in paths), key=lambda place: place.span), strict=True)
    }


def _near(rows: dict[int, list[Place]], row: int) -> list[Place]:
    return [place for r in range(row - ROWS_ABOVE, row + ROWS_BELOW + 1) for place in rows.get(r, [])]


def _worth(page: TextIndex, place: Place, row: int) -> float:
    """How well a place suits an item on this row; the row of a total does not suit."""
    distance = page.row(place.span[0]) - row
    return place.score - 0.2 * abs(distance) - (0.1 if distance < 0 else 0) - (0.5 if page.label(place) else 0)


def _fit(page: TextIndex, members: list[Leaf], free: dict[str, dict], row: int, previous: int) -> float:
    """How much of an item stands about this row, with a little for keeping the order of the items."""
    total = 0.0
    for leaf in members:
        best = max((_worth(page, p, row) for p in _near(free[leaf.path], row)), default=0.0)
        total += best * min(len(_plain(leaf.value)), 8)
    return total - (2.0 if row < previous else 0.05 * (row - previous))


def _singles(page: TextIndex, singles: list[Leaf], places: dict[str, list[Place]], items: dict[str, Place]) -> dict:
    """The places of values that stand alone: beside their label first, in the order of the record."""
    taken = Taken(page.text, items.values())
    pairs = []
    for order, leaf in enumerate(singles):
        for place in places[leaf.path]:
            label = page.label(place)
            fits = 0 if leaf.key not in LABELS or label is None else 1 if label == leaf.key else -1
            pairs.append((-place.score - fits, order, place.span[0], leaf, place))
    chosen: dict[str, Place] = {}
    for *_, leaf, place in sorted(pairs, key=lambda pair: pair[:3]):
        if leaf.path not in chosen and not taken.holds(place):
            chosen[leaf.path] = place
            taken.add([place])
    for leaf in singles:  # a document may print once what the record says twice, such as a total that is also the cash
        if leaf.path not in chosen and places[leaf.path]:
            chosen[leaf.path] = max(places[leaf.path], key=lambda p: p.score)
    return chosen


def _quotes(found: list[Leaf], places: dict[str, list[Place]]) -> dict[str, Place]:
    """Clauses may overlap and share a place; equal quotes take the places that there are in their order."""
    chosen: dict[str, Place] = {}
    used: set[Place] = set()
    for leaf in found:
        free = [p for p in places[leaf.path] if p not in used] or places[leaf.path]
        if free:
            chosen[leaf.path] = max(free, key=lambda p: p.score)
            used.add(chosen[leaf.path])
    return chosen
