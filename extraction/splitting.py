"""Which pages of a file are a document of their own.

Between each two pages, signs speak for one document that goes on or for another one that begins: page numbers, rows
that repeat, numbers that both print, totals, the look of a first page, the form of the page. Few of them depend on a
language. What cannot be told is kept together, and said.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import median

from extraction.evidence import values
from extraction.reading import layout
from extraction.reading.documents import Document
from extraction.reading.words import Word
from extraction.tasks import detection, schemas

WAYS = ("auto", "never", "pages")
EDGE, HEAD = 4, 12  # rows at head or foot that print a page's number, and at the head that say what it is

_OF = re.compile(
    r"(?:^|\s\s|[^\W\d_]{1,12}\.?:?\s?)\W{0,3}(\d{1,3})\s?(?:/|of|von|de|di|da|van|sur|z|ze|af|av|dari)\s?(\d{1,3})\W{0,3}"
    r"(?=\s\s|$)",
    re.IGNORECASE,
)
_ALONE = re.compile(r"(?:[^\W\d_]{1,9}\.?:?\s)?[-–—\[(|~.\s]{0,4}(\d{1,3})[-–—\])|~.\s]{0,4}$")
_TITLE = re.compile(
    r"(?i)\b(?:invoice|receipt|credit note|statement|order|quotation|delivery note|rechnung|quittung|gutschrift"
    r"|lieferschein|angebot|facture|avoir|reçu|devis|factuur|creditnota|factura|recibo|abono|fattura|ricevuta|fatura"
    r"|faktura|paragon|faktur|kwitansi|struk|agreement|contract|vertrag|contrat|contrato|contratto|umowa|perjanjian"
    r"|smlouva)\b"
)
_ANNEX = re.compile(
    r"(?i)\W?(?:exhibit|schedule|annex|appendix|attachment|anlage|anhang|annexe|allegato|anexo|bijlage|lampiran|załącznik"
    r"|příloha)\b(?!\s?\d+[\w.(]\S)"  # Exhibit 10.1 of a filing is a document of its own
)
_PARAGRAPH = re.compile(r"(?:[^\W\d_]{3,12}\s)?(?:§\s?)?(\d{1,2}(?:\.\d{1,2}){0,3})\.?(?:\s|$)")
_MARK = re.compile(
    r"(?<![\w.,])(?=[\w./-]{0,40}\d{3})[A-Z0-9][\w./-]{4,60}\w|[\w.-]{1,64}@[\w.-]{1,64}\w", re.IGNORECASE
)
_AMOUNT = re.compile(r"\d{1,3}(?:[., ']\d{3}){0,4}[.,]\d{2}")


_ENDS_PRICED = re.compile(r"\d[.,]?\d{2,3}\W{0,3}[A-Z]?$")


@dataclass(frozen=True)
class Page:
    """A page of a document: its words, and its text without the pages around it."""

    number: int
    text: str
    words: Sequence[Word]

    @cached_property
    def rows(self) -> list[str]:
        return [row.strip() for row in self.text.split("\n") if row.strip()]

    @cached_property
    def body(self) -> list[str]:
        """Its rows without printed page numbers."""
        return [row for row in self.rows if not _ALONE.match(row) and not _OF.search(row)] or self.rows

    @cached_property
    def of(self) -> tuple[int, int] | None:
        """Its printed number and how many there are, as in "Page 2 of 3"."""
        for row in self.rows[:EDGE] + self.rows[max(EDGE, len(self.rows) - EDGE) :]:
            for found in _OF.finditer(row):
                if 1 <= int(found[1]) <= int(found[2]) <= 200:
                    return int(found[1]), int(found[2])
        return None

    @cached_property
    def alone(self) -> int | None:
        """Its printed number where that stands alone at head or foot."""
        return next((int(m[1]) for row in (self.rows[:2] + self.rows[-2:])[::-1] if (m := _ALONE.match(row))), None)

    @cached_property
    def marks(self) -> set[str]:
        """Numbers that tell one document or sender from another, and addresses of mail."""
        dated = [(start, end) for start, end, _ in values.dates(self.text)]
        return {
            found.group().casefold()
            for found in _MARK.finditer(self.text)
            if not _AMOUNT.fullmatch(found.group())
            and not any(start < found.end() and found.start() < end for start, end in dated)
        }

    @cached_property
    def vocabulary(self) -> set[str]:
        return set(re.findall(r"[^\W\d_]{5,}", self.text.casefold()))

    @cached_property
    def paragraphs(self) -> list[tuple[int, ...]]:
        """The numbers that paragraphs begin with: 4.2 is (4, 2)."""
        found = (_PARAGRAPH.match(row) for row in self.rows)
        return [tuple(map(int, m[1].split("."))) for m in found if m]

    @cached_property
    def listing(self) -> bool:
        """Whether it is a table of contents: most rows end with a page number, and those rise."""
        ends = [int(m[1]) for row in self.body if row[0].isalnum() and (m := re.search(r"[\s.](\d{1,3})$", row))]
        rising = sum(x <= y for x, y in zip(ends, ends[1:], strict=False))
        return len(ends) > max(5, 0.5 * len(self.body)) and rising >= 0.9 * (len(ends) - 1)

    @cached_property
    def total(self) -> bool:
        return detection.totals(self.text) > 0

    @cached_property
    def kind(self) -> str:
        return detection.detect(self.text).name

    @cached_property
    def height(self) -> float:
        return max(median(word.height for word in self.words), 1e-6)

    @cached_property
    def sides(self) -> tuple[float, float, float]:
        """The left, right and lowest edge of its print."""
        boxes = [word.box for word in self.words]
        return min(box[0] for box in boxes), max(box[2] for box in boxes), max(box[3] for box in boxes)


def pages_of(document: Document) -> list[Page]:
    """The pages of a document that have words."""
    members: dict[int, list[int]] = {}
    for i, word in enumerate(document.words):
        members.setdefault(word.page, []).append(i)
    found = []
    for number, its in sorted(members.items()):
        start, end = min(document.spans[i][0] for i in its), max(document.spans[i][1] for i in its)
        start = document.text.rfind("\n", 0, start) + 1
        found.append(Page(number, document.text[start:end], [document.words[i] for i in its]))
    return found


# --- signs ---------------------------------------------------------------------------------------------------

# How much each sign speaks for a new document: fitted by logistic regression on the bundles of two seeds of
# `python -m benchmarks.split` and on contracts of CUAD, and rounded; three that are rare there were set by hand.
_WEIGHTS = {
    "of": -1.1,
    "next number": -3.0,
    "other marks": 0.3,
    "repeated": -0.7,
    "changed": 1.0,
    "alike": -0.8,
    "carried": -1.5,
    "lower": -0.4,
    "goes on": -0.6,
    "ended": 0.7,
    "closing": 0.8,
    "numbered": -0.5,
    "title": 0.4,
    "capitals": 0.2,
    "date": 0.8,
    "short rows": 0.6,
    "begins": 0.5,
    "a total": 0.6,
    "b total": 0.4,
    "anew": 0.2,
    "kinds": 0.8,
    "a receipt": 0.4,
    "b receipt": 0.3,
    "contracts": -0.6,
    "short page": 0.6,
    "print": 0.9,
    "left": 1.1,
    "right": 1.2,
}
_START, _NEVER = -3.2, -9.0
CUT = 0.4  # from here on there are two documents
DOUBT, DOUBT_OF_TOTALS = 0.0, -2.5  # from here on there may be; the second where both pages have a total


def signs(a: Page, b: Page, lowest: float) -> dict[str, float]:
    """What speaks for or against a new document at page `b`; `lowest` is where print ends on the fullest page."""
    found = {"of": _counted(a.of, b.of), **_repeated(a, b), **_flow(a, b), **_first_page(b)}
    later = (b.alone or 0) > 1 and schemas.RECEIPT.name not in (a.kind, b.kind)  # tills print numbers of other things
    found["next number"] = float(later or b.alone == (a.alone or 1) + 1)  # a first page often prints none
    found["a total"], found["b total"] = float(a.total), float(b.total)
    found["anew"] = float(a.total) * max(found["title"], found["date"])
    found["begins"] = found["ended"] * max(found["title"], found["capitals"], found["date"])
    found["kinds"] = float(a.kind != b.kind)
    found["a receipt"], found["b receipt"] = (float(page.kind == schemas.RECEIPT.name) for page in (a, b))
    found["contracts"] = float(a.kind == b.kind == schemas.CONTRACT.name)
    found["short page"] = float(a.sides[2] < 0.8 * lowest)
    found["print"] = min(abs(a.height / b.height - 1), 0.3) / 0.3
    found["left"] = min(abs(a.sides[0] - b.sides[0]) / 40, 1)
    found["right"] = min(abs(a.sides[1] - b.sides[1]) / 100, 1)
    return found


def _counted(a: tuple[int, int] | None, b: tuple[int, int] | None) -> float:
    """1 where printed numbers go on, -1 where they begin anew, less where one page alone has them."""
    if a and b:
        return 1.0 if b == (a[0] + 1, a[1]) else -1.0 if b[0] == 1 else -0.5
    if b:
        return -0.5 if b[0] == 1 else 0.5
    return 0.0 if not a else -0.5 if a[0] == a[1] else 0.5


def _repeated(a: Page, b: Page) -> dict[str, float]:
    """Rows and numbers that both pages print; `changed`: rows with the same words and another number."""
    known = {_letters(row): _numbers(row) for row in a.rows}
    heads = [row for row in b.rows[:4] if sum(map(str.isalpha, row)) >= 6]
    first = {_letters(row): _numbers(row) for row in a.body[:HEAD] if not _AMOUNT.search(row)}
    labels = [row for row in b.body[:HEAD] if sum(map(str.isalpha, row)) >= 4 and len(_numbers(row)) == 1]
    shared_words = min(len(a.vocabulary), len(b.vocabulary))
    return {
        "other marks": float(bool(a.marks and b.marks) and not a.marks & b.marks),
        "repeated": min(sum(known.get(_letters(row)) == _numbers(row) for row in heads), 2) / 2,
        "changed": float(any(first.get(_letters(row), _numbers(row)) != _numbers(row) for row in labels)),
        "alike": len(a.vocabulary & b.vocabulary) / shared_words if shared_words > 5 else 0.2,
    }


def _letters(row: str) -> str:
    return re.sub(r"\W+", " ", re.sub(r"\d+", "#", row)).strip().casefold()


def _numbers(row: str) -> list[str]:
    return re.findall(r"\d{3,}", row)


def _flow(a: Page, b: Page) -> dict[str, float]:
    """Whether text, paragraphs and their numbers go on from one page to the next."""
    last, numbered = a.body[-1], 0.0
    if a.paragraphs and b.paragraphs:
        before, after = a.paragraphs[-1], b.paragraphs[0]
        numbered = float(before < after and after[0] - before[0] <= 1) - float(after[0] == 1 and before[0] > 1)
    foot, head = (_AMOUNT.findall("\n".join(rows)) for rows in (a.body[-3:], b.body[:6]))
    return {
        "carried": float(bool(foot and foot[-1:] == head[:1])),
        "lower": float(b.body[0][0].islower() or not re.search(r"[^\W\d_]", b.body[0])),
        "goes on": float(len(last.split()) > 5 and not re.search(r"[.:;!?)\"”]$", last)),
        "ended": float(bool(re.search(r"[.!?:;_\"”)]$", last)) or len(last.split()) <= 4),
        "closing": sum(len(row.split()) <= 5 for row in a.body[-4:]) / 4,
        "numbered": numbered,
    }


def _first_page(page: Page) -> dict[str, float]:
    short = [row for row in page.body[:8] if len(row.split()) <= 7]
    return {
        "title": float(any(_TITLE.search(row) for row in short)),
        "capitals": float(any(row.isupper() and sum(map(str.isalpha, row)) > 5 for row in short[:4])),
        "date": float(bool(values.dates("\n".join(page.rows[:HEAD])))),
        "short rows": sum(len(row.split()) <= 5 for row in page.rows[:6]) / 6,
    }


def score(a: Page, b: Page, lowest: float) -> float:
    """How much speaks for a new document at page `b`; nothing where it cannot be one."""
    if len(b.body) < 3:
        return _NEVER
    invoices = schemas.RECEIPT.name in (a.kind, b.kind)
    titles = [row for row in b.body[:8] if _TITLE.search(row) and not row[-1].isdigit()]
    contents = a.listing or (b.listing and not titles)
    annexed = not invoices and (contents or any(map(_ANNEX.match, b.rows[:3])))
    if annexed or _counted(a.of, b.of) == 1.0:
        return _NEVER
    return _START + sum(_WEIGHTS[name] * value for name, value in signs(a, b, lowest).items())


# --- documents -----------------------------------------------------------------------------------------------


def split(document: Document, way: str | Sequence[int] = "auto") -> list[Document]:
    """The documents in one that was read: as many as its pages are by the `way`, or beginning at the pages named.

    Places stay those of the file. What may be several documents and was kept together is named among the problems.
    """
    if way == "auto":
        found = _by_signs(document)
    elif way == "never":
        found = [_kept(document)]
    else:
        found = _parts(document, document.numbers[1:] if way == "pages" else sorted({*way} - {1}))
    return [replace(part, part=(n, len(found))) for n, part in enumerate(found, start=1)]


def _begins(document: Document) -> tuple[list[int], list[int]]:
    """The pages where another document begins, and those where one may begin."""
    pages, sure, unsure = pages_of(document), [], []
    lowest = max((page.sides[2] for page in pages), default=0.0)
    for a, b in zip(pages, pages[1:], strict=False):
        if document.invoice:  # the XML is of the whole file
            break
        value = score(a, b, lowest)
        if value > CUT:
            sure.append(b.number)
        elif value > (DOUBT_OF_TOTALS if a.total and b.total else DOUBT):
            unsure.append(b.number)
    return sure, unsure


def _by_signs(document: Document) -> list[Document]:
    sure, unsure = _begins(document)
    return [half for part in _parts(document, sure) for half in _beside(_doubted(part, unsure, "may be"))]


def _kept(document: Document) -> Document:
    """The whole document, with a sentence if it looks like several."""
    sure, unsure = _begins(document)
    kept = _doubted(document, sorted([*sure, *unsure]), "look like" if sure else "may be")
    return _noted(kept, _BESIDE) if _two_sides(kept) else kept


def _noted(document: Document, problem: str) -> Document:
    return replace(document, problems=[problem, *document.problems])


def _doubted(document: Document, begins: Sequence[int], how: str) -> Document:
    """The document, with a sentence that names its pages where another document may begin."""
    first, last = document.numbers[0], document.numbers[-1]
    starts = [first, *(number for number in begins if first < number <= last)]
    if len(starts) < 2:
        return document
    ends = [*(start - 1 for start in starts[1:]), last]
    *named, final = [str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True)]
    return _noted(document, f"pages {', '.join(named)} and {final} {how} {len(starts)} documents; they are read as one")


def _parts(document: Document, begins: Sequence[int]) -> list[Document]:
    """The document cut before these pages; a page that was skipped belongs to the part before it."""
    if not document.words:
        return [document]
    starts, found = [1, *begins], []
    ends = [*(start - 1 for start in begins), document.pages]
    members: dict[int, list[int]] = {}
    for i, word in enumerate(document.words):
        members.setdefault(sum(word.page >= start for start in starts), []).append(i)
    for n, (start, end) in enumerate(zip(starts, ends, strict=True), start=1):
        if n in members:
            found.append(_part(document, members[n], start, end))
    return found if len(found) > 1 else [document]


def _part(document: Document, its: list[int], start: int, end: int) -> Document:
    """The pages from `start` to `end` of a document, which have these of its words."""
    first, last = min(document.spans[i][0] for i in its), max(document.spans[i][1] for i in its)
    first = document.text.rfind("\n", 0, first) + 1
    numbers = [number for number in document.numbers if start <= number <= end]
    told = [(re.match(r"page (\d+)\b", problem), problem) for problem in document.problems]
    return replace(
        document,
        text=document.text[first:last],
        words=[document.words[i] for i in its],
        spans=[(a - first, b - first) for a, b in (document.spans[i] for i in its)],
        pages=end - start + 1,
        pages_skipped=end - start + 1 - len(numbers),
        numbers=numbers,
        problems=[problem for page, problem in told if page is None or start <= int(page[1]) <= end],
        invoice=document.invoice if start == 1 else None,
    )


# --- two receipts beside each other --------------------------------------------------------------------------

_BESIDE = "the page looks like two receipts side by side; they are read as one"


def _beside(document: Document) -> list[Document]:
    """The two receipts that stand side by side on the page of a document, or the document."""
    sides = _two_sides(document)
    if not sides:
        return [document]
    laid = [layout.page_layout([document.words[i] for i in side]) for side in sides]
    if not all(detection.totals(one.text) and detection.detect(one.text) is schemas.RECEIPT for one in laid):
        return [_noted(document, _BESIDE)]
    return [replace(document, text=one.text, words=one.words, spans=one.spans) for one in laid]


def _two_sides(document: Document) -> tuple[list[int], list[int]] | None:
    """The words on either side of a wide empty strip, if each side has rows of its own that end with an amount."""
    if len(document.numbers) != 1 or len(document.words) < 20:
        return None
    boxes = [word.box for word in layout.upright(document.words)]
    order = sorted(range(len(boxes)), key=lambda i: boxes[i][0])
    height, right, gaps = median(box[3] - box[1] for box in boxes), boxes[order[0]][2], []
    for n, i in enumerate(order):
        if boxes[i][0] - right > 1.5 * height:
            gaps.append((boxes[i][0] - right, n))
        right = max(right, boxes[i][2])
    for _, n in sorted(gaps, reverse=True)[:3]:
        sides = order[:n], order[n:]
        if all(_priced([document.words[k] for k in side]) > 2 for side in sides):
            return sides
    return None


def _priced(words: Sequence[Word]) -> int:
    """Rows with words and an amount at their end."""
    rows = layout.page_layout(words).text.split("\n")
    return sum(bool(_ENDS_PRICED.search(row) and re.search(r"[^\W\d_]{2}", row)) for row in rows)
