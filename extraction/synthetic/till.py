"""A till and its habits: what the rows of a receipt have in common, however it is filled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from extraction.synthetic import parts
from extraction.synthetic.words import LABELS


class Till(parts.Sheet):
    """One receipt while it is printed, and the habits of the till."""

    def __init__(self, *about: Any):
        super().__init__(*about)
        draw = self.draw
        self.width = draw.randint(17, 25) if self.has("narrow") else draw.randint(27, 46)
        self.case = draw.choice((str.upper, str.upper, str, str, str.lower))
        self.minus = draw.choice(("-{}", "-{}", "-{}", "({})", "{}-", "- {}"))
        self.colon = draw.choice(("", "", "", ":", ":", " :", "."))
        self.gross = self.pieces = 0

    def label(self, name: str) -> str:
        mark = self.colon if name != "date" else ""
        return self.page.seen(self.words(name)) + mark

    def words(self, name: str) -> str:
        return self.draw.choice(LABELS[self.country.language][name].split(",")).format(
            currency=self.money.currency, n=parts.digits(self.draw, 2)
        )

    def show(self, value: int) -> str:
        money = self.money
        if self.has("mixed marks") and self.draw.random() < 0.3:
            other = {",": ".", ".": ","}
            thousands, point = (other.get(mark, mark) for mark in (money.thousands, money.point))
            money = replace(money, thousands=thousands, point=point)
        return self.page.seen_amount(money.show(value, self.minus))

    def rule(self) -> None:
        if self.draw.random() < 0.5:  # OCR and annotators skip most of them
            self.page.line((0, self.draw.choice("-=*_.") * (self.width - self.draw.randint(0, 4))))

    def rated(self, name: str, rate: str) -> str:
        """A label with its rate, as exact as the rate is."""
        number = rate.rstrip("%")
        forms = [f"{name} {rate}", f"{name} ({rate})", f"{rate} {name}", f"{name} {number} %", f"{name} {number}"]
        if float(f"{float(number):.2f}") == float(number):
            forms += [f"{name} {float(number):.2f}%", f"{name} {float(number):.2f} %"]
        return self.draw.choice(forms)

    def row(self, name: str, value: int, rate: str = "", beside: str = "") -> None:
        draw, shown = self.draw, self.show(value)
        text = self.words(name)
        two = {"two totals", "subtotal"} <= self.page.traits and not self.has("no total")
        if two and self.country.language in ("en", "id"):
            names = {"subtotal": "TOTAL,Total,TTL", "total": "GRAND TOTAL,Grand Total,GRANDTOTAL,Grand Ttl"}
            text = draw.choice(names[name].split(",")) if name in names else text
        text = self.rated(text, rate) if rate else self.page.seen(text) + self.colon
        self.record[name] = shown
        self.pair(f"{beside}{draw.choice((' ', '  ', ''))}{text}" if beside else text, shown)

    def pair(self, text: str, shown: str) -> None:
        """A label and its value, where this till prints them."""
        draw, width = self.draw, self.width
        end = width
        if self.align == "right":
            cells = [(max(width - 12, 8), text, "right"), (end, shown, "right")]
        else:
            start = {"left": 0, "middle": max(width // 3 - 2, 0)}[self.align] + draw.choice((0, 0, 0, 1))
            cells = [(start, text), (end, shown, "right")]
        scale = 1.15 if draw.random() < 0.04 else 1.0
        if self.has("values below"):
            self.page.line(cells[0], slips=False)
            self.page.line(cells[1], slips=False)
        elif draw.random() < 0.025:  # no column at all
            self.page.line((cells[0][0], f"{text} {shown}") if self.align != "right" else (0, f"{text} {shown}"))
        else:
            self.page.line(*cells, scale=scale)
