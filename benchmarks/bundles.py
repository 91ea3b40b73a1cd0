"""Bundles for benchmarks.split: documents of one to four pages, one behind the other in a PDF.

Invoices, receipts and letters come from the project's generator, receipts from CORD too, contracts and reports from the
texts of CUAD and TAT-QA; pages of the sample PDFs are taken as they are. A document of several pages may print page
numbers, its letterhead, its number, or nothing at all on its later pages; invoices in a row may have one seller.
"""

from __future__ import annotations

import ctypes
import io
import json
import random
import re
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks import shared
from extraction import cord
from extraction.reading import layout
from extraction.reading.words import Word
from extraction.synthetic import invoices, letters, parts, receipts
from extraction.synthetic.parts import COUNTRIES
from extraction.tasks.records import flat

A4, ROLL = (595.0, 842.0), (230.0, 0.0)  # points; a receipt is as long as it needs to be
KINDS = {"invoice": 5, "receipt": 3, "letter": 4, "contract": 3, "report": 1, "cord": 1, "sample": 1}
NUMBERED = ("Page {n} of {of}", "Page {n}/{of}", "{n} / {of}", "Seite {n} von {of}", "Page {n}", "- {n} -", "{n}")

SUMS = (
    "Carried forward",
    "Übertrag",
    "Zwischensumme",
    "Subtotal",
    "Report",
    "Suma y sigue",
    "Transporteren",
    "Riporto",
)

Row = list[tuple[str, float, float, float, float]]  # words with their boxes


@dataclass
class Source:
    """A document: its pages as words, or as pages of a sample PDF; `total` of one that has one."""

    kind: str
    pages: list[list[tuple]] = field(default_factory=list)
    size: tuple[float, float] = A4
    total: str | None = None
    file: str | None = None
    count: int = 0
    rows: list[Row] = field(default_factory=list)
    record: dict = field(default_factory=dict)
    look: tuple[float, float] | None = None


# --- documents -----------------------------------------------------------------------------------------------


def rows_of(words: list[tuple]) -> list[Row]:
    placed = [Word(word[0], tuple(word[1:])) for word in words]
    return [[words[i] for i in row] for row in layout.rows(placed)]


def text_of(row: Row) -> str:
    return " ".join(word[0] for word in row)


class Maker:
    """Makes documents; the same ones for the same seed."""

    def __init__(self, seed: int):
        from faker import Faker

        self.draw = random.Random(f"bundles/{seed}")
        self.fakers = {c.locale: Faker(c.locale) for c in COUNTRIES.values()}
        for faker in self.fakers.values():
            faker.seed_instance(self.draw.getrandbits(32))
        contracts = json.loads(shared.read(shared.SAMPLES / "cuad.json"))["data"]
        self.contracts = [entry["paragraphs"][0]["context"] for entry in contracts]
        self.reports = json.loads(shared.read(shared.SAMPLES / "tatqa.json"))
        self.truths = shared.truths(shared.SAMPLES / "cord.jsonl")
        self.files = sorted((shared.SAMPLES / "documents").glob("*.pdf"))
        self.next = seed * 31
        self.look: tuple[float, float] | None = None  # height of print and left margin, if a bundle has only one

    def country(self, names: tuple[str, ...] = tuple(COUNTRIES)) -> parts.Country:
        return COUNTRIES[self.draw.choice(names)]

    def document(self, kind: str, like: Source | None = None) -> Source:
        made = getattr(self, kind)(like) if kind == "invoice" else getattr(self, kind)()
        made.kind = kind
        return made

    def invoice(self, like: Source | None = None) -> Source:
        """An invoice; of the same seller as another one if that is given."""
        draw, pages = self.draw, self.draw.choice((1, 1, 1, 2, 2, 3, 4))
        each, look = (like.record["each"], like.look) if like else (draw.randint(28, 42), self.look)
        items = None if pages == 1 else draw.randint(each * (pages - 1) - 14, each * pages - 34)
        country = like.record["country"] if like else self.country()
        page, record = invoices.invoice(draw, self.fakers[country.locale], country, items)
        rows = rows_of(page.words)
        if like:
            rows = rescaled(rows, _height(like.rows) / _height(rows))
            rows = like.rows[: like.record["body"]] + below(rows[_body(rows, record) :], like.rows, like.record["body"])
        record |= {"country": country, "body": _body(rows, record), "each": each}
        made = Source("invoice", total=record.get("total"), rows=rows, record=record, look=look or self.any_look())
        first = next((i for i, row in enumerate(rows) if _holds(row, record["line_items"][0])), 1)
        number = next((text_of(row) for row in rows if record["invoice_number"] in text_of(row)), "")
        heads = [text_of(rows[0])], [text_of(rows[0]), number], [number], []
        head = draw.choice(heads)
        heads = rows[first - 1] if draw.random() < 0.6 else None
        made.pages = self.paged(rows, each, head, heads, look=made.look, carried=draw.random() < 0.25)
        return made

    def any_look(self) -> tuple[float, float]:
        return self.draw.uniform(8.5, 11.5), self.draw.uniform(36, 66)

    def receipt(self) -> Source:
        country = self.country()
        page, record = receipts.receipt(self.draw, self.fakers[country.locale], country)
        made = Source("receipt", total=record.get("total"), size=self.draw.choice((A4, ROLL)))
        made.pages = self.paged(rows_of(page.words), 90, [], None, narrow=True)
        return made

    def cord(self) -> Source:
        truth = self.draw.choice(self.truths)
        words = cord.gold_words(truth)[0].words
        rows = rows_of([(w.text, *w.box) for w in words])
        left, top = min(w[1] for r in rows for w in r), min(w[2] for r in rows for w in r)
        rows = [[(w[0], w[1] - left, w[2] - top, w[3] - left, w[4] - top) for w in row] for row in rows]
        total = truth["gt_parse"].get("total") or {}
        total = total.get("total_price") if isinstance(total, dict) else None
        return Source("cord", pages=self.paged(rows, 200, [], None, narrow=True), total=total)

    def letter(self) -> Source:
        draw, country, each = self.draw, self.country(("US", "GB", "AU", "SG")), self.draw.randint(34, 48)
        page = letters.letter(draw, self.fakers[country.locale], country)[0]
        rows = rows_of(page.words)
        wanted = draw.choice((1, 1, 2, 3, 4))
        while page.row < each * (wanted - 1) + 6 and wanted > 1:
            page.paragraph(self.running(draw.randint(40, 120)), 80)
            page.row += 1
        page.paragraph(self.running(20), 80)
        page.line((0, draw.choice(("Kind regards,", "Yours sincerely,", "Best regards"))))
        page.line((0, flat(self.fakers[country.locale].name())))
        head = draw.choice(([], [], [text_of(rows[0])]))
        return Source("letter", pages=self.paged(rows_of(page.words), each, head, None))

    def running(self, words: int) -> str:
        """Running text of reports."""
        paragraphs = self.draw.choice(self.reports)["paragraphs"]
        text = " ".join(p["text"] for p in paragraphs).split()
        return " ".join(text[:words]) if len(text) >= words // 2 else self.running(words)

    def contract(self, longest: int = 4) -> Source:
        """A contract of at most so many pages; those of more than four have no end that was put there."""
        draw, each, width = self.draw, self.draw.randint(40, 52), self.draw.randint(76, 96)
        text, page = self.contracts[self.next % len(self.contracts)], parts.Page(self.draw, {})
        self.next += 1  # no contract twice in a bundle
        wanted = draw.choice((1, 2, 3, 3)) if longest == 4 else longest
        most = (wanted - 1) * (each - 6) + draw.randint(each // 3, each - 16)
        for paragraph in re.split(r"\s{3,}|\n\s*\n", text):
            short = len(paragraph) < 60 and page.row < 12
            if short:
                page.centered(paragraph.strip(), width)
                page.row += 1
            else:
                for start in range(0, len(paragraph), 700):
                    page.paragraph(paragraph[start : start + 700], width)
                    page.row += 0.6
            if page.row > most:
                break
        ended = [word for word in page.words if word[2] < page.top + most * page.pitch]
        page.words[:], page.row = ended, most + 1
        page.paragraph("IN WITNESS WHEREOF, the parties have executed this Agreement as of the date above.", width)
        for label in ("By: ____________________", "Name:", "Title:"):
            page.line((0, label), (width // 2, label))
        return Source("contract", pages=self.paged(rows_of(page.words), each, [], None)[:longest])

    def report(self) -> Source:
        draw, page = self.draw, parts.Page(self.draw, {})
        for entry in draw.sample(self.reports, k=draw.choice((1, 2, 3))):
            for row in entry["table"]["table"][:25]:
                page.line((0, row[0][:40]), *((40 + 14 * n, c, "right") for n, c in enumerate(row[1:6], start=1)))
            page.row += 1
            for paragraph in entry["paragraphs"]:
                page.paragraph(paragraph["text"], 100)
                page.row += 0.6
        return Source("report", pages=self.paged(rows_of(page.words), draw.randint(44, 54), [], None)[:4])

    def sample(self) -> Source:
        file = self.draw.choice(self.files)
        return Source("sample", file=str(file), count=self.draw.randint(1, 4))

    def paged(
        self,
        rows: list[Row],
        each: int,
        head: list[str],
        heads: Row | None,
        narrow: bool = False,
        look: tuple[float, float] | None = None,
        carried: bool = False,
    ) -> list[list[tuple]]:
        """Rows on pages of at most `each` rows, in points: each page from its top, numbered and headed or not."""
        draw = self.draw
        right = max(word[3] for row in rows for word in row)
        size, margin = look or self.look or self.any_look()
        scale = min((190 if narrow else 560 - margin) / right, size / _height(rows))
        margin = 20 if narrow else margin
        pitch = 740 / (each + 4) / scale if not narrow else 0
        tops = [min(word[2] for word in row) for row in rows]
        broken, page, start = [], [], tops[0]
        usual = sorted(b - a for a, b in zip(tops, tops[1:], strict=False))[len(tops) // 2] if len(tops) > 2 else 20.0
        stretch = min(pitch / usual, 1.6) if pitch else 1.0
        for row, top in zip(rows, tops, strict=True):
            if (top - start) / usual > each - (6 if broken else 0):
                broken.append(page)
                page, start = [], top
            page += [(w[0], w[1], (w[2] - top) + (top - start) * stretch, w[3], w[4] - top + (top - start) * stretch)
                     for w in row]  # fmt: skip
        broken.append(page)
        style = draw.choice((None, *NUMBERED)) if len(broken) > 1 or draw.random() < 0.15 else None
        at_foot, made, sums = draw.random() < 0.7, [], draw.choice(SUMS)
        for n, words in enumerate(broken, start=1):
            lines = head if n > 1 else []
            number = style and style.format(n=n, of=len(broken))
            y, placed = 40.0, []
            if number and not at_foot:
                placed += _printed(number, 480, y, 9)
                y += 20
            for text in lines:
                placed += _printed(text, margin, y, 10)
                y += 15
            if n > 1 and carried:
                placed += _printed(f"{sums} {n - 1}{n:,}67.{n}0", 300, y, 10)
                y += 15
            if n > 1 and heads:
                top = min(w[2] for w in heads)
                placed += [(w[0], margin + w[1] * scale, y + (w[2] - top) * scale, margin + w[3] * scale,
                            y + (w[4] - top) * scale) for w in heads]  # fmt: skip
                y += 16
            placed += [(t, margin + a * scale, y + 8 + b * scale, margin + c * scale, y + 8 + d * scale)
                       for t, a, b, c, d in words]  # fmt: skip
            if carried and n < len(broken):
                placed += _printed(f"{sums} {n}{n + 1:,}67.{n + 1}0", 300, max(w[4] for w in placed) + 8, 10)
            if number and at_foot:
                placed += _printed(number, 290, 815, 9)
            made.append(placed)
        return made

    def bundle(self) -> list[Source]:
        """Two to six documents in any order."""
        draw, found = self.draw, []
        self.look = self.any_look() if draw.random() < 0.3 else None
        for kind in draw.choices(list(KINDS), weights=list(KINDS.values()), k=draw.randint(2, 6)):
            like = next((s for s in found[::-1] if s.kind == "invoice" and s.rows), None)
            found.append(self.document(kind, like if draw.random() < 0.4 else None))
        draw.shuffle(found)
        return found


def _body(rows: list[Row], record: dict) -> int:
    """The row where what is of the seller ends and what is of this invoice begins."""
    marks = [record["customer"]["name"], record["invoice_number"], record["date"]]
    at = next(i for i, row in enumerate(rows) if any(mark in text_of(row) for mark in marks))
    return max(at - 1, 1)


def _height(rows: list[Row]) -> float:
    return statistics.median(word[4] - word[2] for row in rows for word in row)


def rescaled(rows: list[Row], by: float) -> list[Row]:
    return [[(word[0], *(by * side for side in word[1:])) for word in row] for row in rows]


def below(rows: list[Row], others: list[Row], count: int) -> list[Row]:
    """Rows moved so that they stand below the first `count` of others."""
    bottom = max(word[4] for row in others[:count] for word in row) + 6
    top = min(word[2] for word in rows[0])
    return [[(w[0], w[1], w[2] - top + bottom, w[3], w[4] - top + bottom) for w in row] for row in rows]


def _holds(row: Row, item: dict) -> bool:
    words = text_of(row)
    return item["unit_price"] in words and item["amount"] in words


def _printed(text: str, x: float, y: float, size: float) -> list[tuple]:
    placed = []
    for word in text.split():
        width = 0.52 * size * len(word)
        placed.append((word, x, y, x + width, y + size))
        x += width + 0.5 * size
    return placed


# --- PDFs ----------------------------------------------------------------------------------------------------


def pdf(sources: list[Source]) -> tuple[bytes, list[int]]:
    """The bundle as a PDF, and how many pages each document has in it."""
    import pypdfium2
    import pypdfium2.raw as raw

    made, counts = pypdfium2.PdfDocument.new(), []
    for source in sources:
        before = len(made)
        if source.file:
            with pypdfium2.PdfDocument(source.file) as opened:
                made.import_pages(opened, list(range(min(source.count, len(opened)))))
        for words in source.pages:
            width, height = source.size
            page = made.new_page(width, height or max(word[4] for word in words) + 40)
            for word in words:
                _put(raw, made, page, word)
            page.gen_content()
        counts.append(len(made) - before)
    buffer = io.BytesIO()
    made.save(buffer)
    return buffer.getvalue(), counts


def _put(raw: Any, made: Any, page: Any, word: tuple) -> None:
    text, left, top, right, bottom = word
    size = max((bottom - top) * 0.95, 1)
    item = raw.FPDFPageObj_NewTextObj(made, b"Helvetica", size)
    encoded = (text + "\0").encode("utf-16-le")
    raw.FPDFText_SetText(item, ctypes.cast(encoded, ctypes.POINTER(ctypes.c_ushort)))
    edges = [ctypes.c_float() for _ in range(4)]
    raw.FPDFPageObj_GetBounds(item, *edges)
    natural = edges[2].value - edges[0].value
    stretch = (right - left) / natural if natural > 0 else 1.0
    raw.FPDFPageObj_Transform(item, stretch, 0, 0, 1, left, page.get_height() - bottom + 0.2 * size)
    raw.FPDFPage_InsertObject(page, item)


def bundles(count: int, seed: int) -> Iterator[list[Source]]:
    maker = Maker(seed)
    for _ in range(count):
        yield maker.bundle()
