"""Till receipts: header or none, items in one of many column orders, totals, payment, and what lies around them.

Labels follow what CORD's annotators did: a quantity keeps its mark ("1 x", "x2", "1Prs"), a unit price its "@", an
amount its currency sign, an extra its "+" or "-"; a discount keeps its sign.
"""

from __future__ import annotations

import random
from typing import Any

from extraction.synthetic import parts
from extraction.synthetic.receipt_items import Items
from extraction.synthetic.receipt_totals import Totals
from extraction.synthetic.words import ABOVE, BELOW, BESIDE, SLIP, STAFF
from extraction.tasks.records import flat

# The phenomena, each with its share of receipts. They are drawn one by one, before anything is printed.
SHARES = {
    "header": 0.5,  # merchant, date, number
    "column heads": 0.12,
    "narrow": 0.12,  # paper so narrow that columns nearly touch
    "slipped": 0.07,  # values half a row above or below their labels
    "noise": 0.3,  # wrong characters, words joined and split
    "wrapped names": 0.15,
    "sub items": 0.2,
    "sizes": 0.3,  # of those with sub items: below most items its size, with the quantity again where it is above one
    "item discount": 0.07,
    "packing": 0.06,  # a last item for a bag or a cup, often for nothing
    "item codes": 0.07,
    "long": 0.05,  # 12 to 40 items
    "sums of kinds": 0.06,  # above the subtotal: what food and drinks come to, which are no items
    "subtotal": 0.67,
    "discount": 0.12,
    "service charge": 0.14,
    "other charge": 0.06,
    "tax": 0.55,
    "split tax": 0.03,  # two taxes on two rows
    "tip": 0.03,
    "rounding": 0.06,
    "item count": 0.24,
    "no total": 0.02,
    "two totals": 0.08,  # "TOTAL" names the subtotal and "GRAND TOTAL" the total, in English and Indonesian
    "values below": 0.03,  # of the totals: each in the row below its label
    "mixed marks": 0.06,  # some amounts with a comma, others with a point, as OCR and tills mix them
    "paid in a row": 0.03,  # cash and change side by side
    "voucher": 0.03,
    "currency": 0.04,  # a row that names it
    "junk above": 0.2,
    "junk below": 0.4,
    "junk beside": 0.08,
    "card slip": 0.08,
    "injection": 0.015,
}


def receipt(draw: random.Random, faker: Any, country: parts.Country) -> tuple[parts.Page, dict]:
    """A page and the record of what is printed on it."""
    till = Receipt(draw, faker, country, SHARES)
    till.above()
    till.items()
    till.totals()
    till.below()
    return till.page, till.record


class Receipt(Items, Totals):
    """A till that prints the whole of it."""

    def above(self) -> None:
        draw, page = self.draw, self.page
        if self.has("header"):
            self.merchant()
            self.facts()
        if self.has("junk above"):
            page.centered(draw.choice(ABOVE), self.width)
        if self.has("injection"):
            page.line((0, draw.choice(parts.INJECTIONS)))
        if self.has("currency"):
            text = draw.choice(("Currency: {}", "All amounts in {}", "Currency {}", "Prices in {}"))
            page.line((0, text.format(self.money.currency)))
            self.record["currency"] = self.money.currency
        if self.has("header") and draw.random() < 0.6:
            self.rule()

    def merchant(self) -> None:
        draw, page, faker, width = self.draw, self.page, self.faker, self.width
        merchant: dict = {}
        if draw.random() < 0.88:
            kind = draw.choice("Cafe,Kitchen,Store,Mart,Grill,Bakery,Resto,Coffee,Bistro,Market,Deli,Warung".split(","))
            names = (parts.company(faker), f"{faker.last_name()}'s {kind}", f"{kind} {faker.last_name()}")
            name = draw.choice((*names, faker.last_name()))
            merchant["name"] = page.seen(draw.choice((str, str.upper))(name))
            scale = draw.choice((1.0, 1.0, 1.5))
            for row in parts.wrap(merchant["name"], max(int(width / scale), 12)):
                page.centered(row, width, scale)
        if draw.random() < 0.65:
            rows = [page.seen(row) for row in parts.address(faker, 3)]
            merchant["address"] = " ".join(rows)[:160]
            for row in parts.wrap(merchant["address"], max(width, 30)):
                page.centered(row, width)
        phone = flat(faker.phone_number())
        if draw.random() < 0.45:
            merchant["phone"] = phone
            page.centered(draw.choice(("Tel: ", "Tel. ", "Phone ", "Telp. ", "", "T: ", "Ph ")) + phone, width)
            if draw.random() < 0.15:
                page.centered(f"{draw.choice(('Fax', 'Fax:', 'WA'))} {parts.digits(draw, 9)}", width)
        if draw.random() < 0.22:
            name, merchant["tax_id"] = parts.tax_id(draw, self.country)
            page.centered(f"{name}{draw.choice((':', ' :', ''))} {merchant['tax_id']}", width)
        if merchant:
            self.record["merchant"] = merchant

    def facts(self) -> None:
        """Number, date and time, among rows about table and staff."""
        draw, faker = self.draw, self.faker
        facts: list[str] = []
        if draw.random() < 0.5:
            start = draw.choice(("", "", "A-", "INV", "#", "POS1-", "T"))
            self.record["invoice_number"] = self.page.seen(start + parts.digits(draw, draw.randint(3, 9)))
            facts.append(f"{self.label('invoice_number')} {self.record['invoice_number']}")
        if draw.random() < 0.75:
            self.record["date"] = parts.any_date(draw).strftime(draw.choice(self.country.dates))
            shown = f"{self.label('date')} {self.record['date']}".strip()
            if draw.random() < 0.65:
                self.record["time"] = parts.clock(draw)
                if draw.random() < 0.7:
                    shown += f"{draw.choice((' ', ' ', '  ', ' - '))}{self.record['time']}"
                else:
                    facts.append(f"{draw.choice(('', 'Time ', 'Jam '))}{self.record['time']}")
            facts.append(shown)
        for _ in range(draw.choice((0, 1, 2, 3))):
            who = draw.choice((faker.first_name(), str(draw.randint(1, 60))))
            facts.append(self.page.seen(f"{draw.choice(STAFF)}{draw.choice((':', ' :', ''))} {who}"))
        draw.shuffle(facts)
        while facts:
            row = facts.pop()
            if facts and len(row) + len(facts[-1]) + 2 < self.width and draw.random() < 0.6:
                self.page.line((0, row), (self.width, facts.pop(), "right"), slips=False)
            else:
                self.page.line((0, row))

    def below(self) -> None:
        draw, page = self.draw, self.page
        bottom = page.row
        if self.has("card slip"):
            for text in draw.sample(SLIP, k=draw.randint(2, 6)):
                page.line((draw.choice((0, 0, 4)), text.format(n=parts.digits(draw, draw.choice((4, 6, 8))))))
        if self.has("junk below"):
            for text in draw.sample(BELOW, k=draw.choice((1, 1, 2, 3))):
                page.centered(text.format(n=parts.digits(draw, draw.choice((4, 6, 9, 11)))), self.width)
        if self.has("junk beside"):
            edge = max((word[3] for word in page.words), default=0) / page.character
            for text in draw.sample(BESIDE, k=draw.choice((1, 2))):
                # Off the rows only where no value goes on from one row to the next.
                row = draw.choice((draw.randint(0, int(bottom)), draw.randint(self.first_total, int(bottom)) + 0.5))
                page.beside(draw.choice((-12.0, edge + 2)), row, text)
