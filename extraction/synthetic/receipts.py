"""Till receipts: header or none, items in one of many column orders, totals, payment, and what lies around them.

Labels follow what CORD's annotators did: a quantity keeps its mark ("1 x", "x2", "1Prs"), a unit price its "@", an
amount its currency sign, an extra its "+" or "-"; a discount keeps its sign.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from extraction.synthetic import parts
from extraction.synthetic.words import (
    ABOVE,
    BELOW,
    BESIDE,
    ENDINGS,
    EXTRAS,
    LABELS,
    MENU,
    PACKING,
    SLIP,
    STAFF,
    SYLLABLES,
)

# The phenomena, each with its share of receipts. They are drawn one by one, before anything is printed.
SHARES = {
    "header": 0.5,  # merchant, date, number
    "column heads": 0.12,
    "narrow": 0.12,  # paper so narrow that columns nearly touch
    "slipped": 0.07,  # values half a row above or below their labels
    "noise": 0.3,  # wrong characters, words joined and split
    "wrapped names": 0.15,
    "sub items": 0.2,
    "item discount": 0.07,
    "packing": 0.06,  # a last item for a bag or a cup, often for nothing
    "item codes": 0.07,
    "long": 0.05,  # 12 to 40 items
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
# Rows of an item: c code, q quantity, n name, u unit price, a amount, | the next row. The numbers are shares.
LAYOUTS = {
    "q n a": 34, "n q a": 12, "n a": 10, "n | q u a": 14, "q n u a": 7, "n q u a": 8, "q u a | n": 3,
    "q u | n a": 3, "n | a": 2, "n q | a": 2, "n | u q a": 3, "n | q a": 2, "n q | u a": 2,
}  # fmt: skip
QUANTITIES = ("{}",) * 20 + ("{}x", "{}X", "{} x", "{} X", "x{}", "x {}", "{}.00", "{}Prs", "{} pcs", "{} PC")
SUB_MARKS = ("",) * 7 + ("+", "+ ", "- ", "-", "* ", ">", "> ")


def receipt(draw: random.Random, faker: Any, country: parts.Country) -> tuple[parts.Page, dict]:
    """A page and the record of what is printed on it."""
    till = _Till(draw, faker, country)
    till.above()
    till.items()
    till.totals()
    till.below()
    return till.page, till.record


def label(draw: random.Random, language: str, name: str) -> str:
    return draw.choice(LABELS[language][name].split(","))


def dish(draw: random.Random, kind: str) -> str:
    """The name of something sold."""
    first, second = (coined(draw) if draw.random() < 0.12 else draw.choice(words) for words in MENU[kind])
    between = draw.choice((" ",) * 20 + ("/", "+", " + ", "-", ". ", ".", " & ", " N "))
    name = second if draw.random() < 0.2 else f"{first}{between}{second}"
    if draw.random() < 0.2:
        name += draw.choice(ENDINGS)
    if draw.random() < 0.12:  # tills shorten names
        name = " ".join(word[: draw.randint(3, 6)] for word in name.split())
    return name


def coined(draw: random.Random) -> str:
    """A word that no list has: of syllables, or as short as a till's own codes."""
    if draw.random() < 0.2:
        code = "".join(draw.choices("ABCDEFGHKLMNPRST", k=draw.randint(1, 3)))
        return code + draw.choice(("", "", str(draw.randint(1, 99))))
    return "".join(draw.choices(SYLLABLES, k=draw.randint(2, 4))).capitalize()


class _Till:
    """One receipt while it is printed: the page, the record so far, and the habits of the till."""

    def __init__(self, draw: random.Random, faker: Any, country: parts.Country):
        self.draw, self.faker, self.country = draw, faker, country
        self.page, self.record = parts.Page(draw, SHARES), {}
        self.has = self.page.traits.__contains__
        self.money = parts.Money.of(draw, country)
        self.width = draw.randint(17, 25) if self.has("narrow") else draw.randint(27, 46)
        self.case = draw.choice((str.upper, str.upper, str, str, str.lower))
        self.minus = draw.choice(("-{}", "-{}", "-{}", "({})", "{}-", "- {}"))
        self.colon = draw.choice(("", "", "", ":", ":", " :", "."))
        self.gross = self.pieces = 0

    def label(self, name: str) -> str:
        mark = self.colon if name != "date" else ""
        return self.page.seen(self.words(name)) + mark

    def words(self, name: str) -> str:
        return label(self.draw, self.country.language, name).format(
            currency=self.money.currency, n=parts.digits(self.draw, 2)
        )

    def show(self, value: int) -> str:
        money = self.money
        if self.has("mixed marks") and self.draw.random() < 0.3:
            other = {",": ".", ".": ","}
            thousands, point = (other.get(mark, mark) for mark in (money.thousands, money.point))
            money = replace(money, thousands=thousands, point=point)
        return self.page.seen_amount(money.show(value, self.minus))

    # --- above the items ---

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

    def rule(self) -> None:
        if self.draw.random() < 0.5:  # OCR and annotators skip most of them
            self.page.line((0, self.draw.choice("-=*_.") * (self.width - self.draw.randint(0, 4))))

    def merchant(self) -> None:
        draw, page, faker, width = self.draw, self.page, self.faker, self.width
        merchant: dict = {}
        if draw.random() < 0.88:
            kind = draw.choice("Cafe,Kitchen,Store,Mart,Grill,Bakery,Resto,Coffee,Bistro,Market,Deli,Warung".split(","))
            name = draw.choice(
                (
                    parts.company(faker),
                    f"{faker.last_name()}'s {kind}",
                    f"{kind} {faker.last_name()}",
                    faker.last_name(),
                )
            )
            merchant["name"] = page.seen(draw.choice((str, str.upper))(name))
            scale = draw.choice((1.0, 1.0, 1.5))
            for row in parts.wrap(merchant["name"], max(int(width / scale), 12)):
                page.centered(row, width, scale)
        if draw.random() < 0.65:
            rows = [page.seen(row) for row in parts.address(faker, 3)]
            merchant["address"] = " ".join(rows)[:160]
            for row in parts.wrap(merchant["address"], max(width, 30)):
                page.centered(row, width)
        phone = parts.flattened(faker.phone_number())
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
        """Number, date and time, between rows about table and staff."""
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

    # --- the items ---

    def items(self) -> None:
        draw = self.draw
        layouts = list(LAYOUTS)
        self.layout = draw.choices(layouts, weights=list(LAYOUTS.values()))[0]
        if self.has("item codes"):
            self.layout = draw.choice(("c n a", "c n | q u a", "c n | q a", "q c n a"))
        self.only_several = draw.random() < 0.08  # quantity and unit price only where there are several
        self.quantity = draw.choice(QUANTITIES)
        self.at = draw.choice(("@", "@", "@ ")) if draw.random() < 0.12 else ""
        self.indent = draw.choice((0, 1, 2, 4, 8))
        self.tabbed = draw.random() < 0.3  # names in one column, however wide the quantity
        self.close = draw.random() < 0.6  # "2x 4.000" rather than a column for unit prices
        kinds = [self.country.language] * 3 if self.country.language in MENU else []
        self.kind = draw.choice([*kinds, "cafe", "kitchen", *(() if self.has("sub items") else ("shop",))])
        self.sub_mark, self.sub_form = draw.choice(SUB_MARKS), draw.choice(("n", "n", "n a", "q n", "q n a"))
        if self.has("column heads"):
            self.column_heads()
        count = draw.randint(12, 40) if self.has("long") else draw.choice((1,) * 6 + (2, 2, 2, 3, 3, 4, 5, 6, 8, 10))
        special = {
            name: {draw.randrange(count)} | {n for n in range(count) if draw.random() < 0.3}
            for name in ("wrapped names", "sub items", "item discount")
            if self.has(name)
        }
        self.record["line_items"] = []
        for number in range(count):
            item = self.item(number in special.get("wrapped names", ()))
            if number in special.get("sub items", ()) and not (self.has("long") and number > 12):
                extras = draw.choice((1, 1, 1, 2, 2, 3, draw.randint(4, 10)))  # many in a set meal
                item["sub_items"] = [self.sub_item() for _ in range(extras)]
            if number in special.get("item discount", ()):
                self.item_discount(item)
            self.record["line_items"].append(item)
        if self.has("packing"):
            self.record["line_items"].append(self.item(packing=True))

    def column_heads(self) -> None:
        names = {
            "c": ("Code", "No"),
            "q": ("Qty", "QTY", "Jml"),
            "n": ("Item", "Description", "Nama", "ITEM", "Menu"),
            "u": ("Price", "Harga", "@", "Unit"),
            "a": ("Amount", "Total", "Jumlah", "TOTAL"),
        }
        letters = [letter for letter in self.layout.split() if letter != "|"]
        self.cells({letter: self.draw.choice(names[letter]) for letter in letters}, " ".join(letters))

    def item(self, wrapped: bool = False, packing: bool = False) -> dict:
        """Print one item; returns the record of just what was printed."""
        draw, page = self.draw, self.page
        price = 0 if draw.random() < 0.03 else parts.prices(draw, self.country, self.money)
        quantity = draw.choices((1, 2, 3, draw.randint(4, 30)), weights=(72, 17, 5, 6))[0]
        if packing:
            price = draw.choice((0, 0, price // 10))
        layout = self.layout
        if self.only_several and quantity == 1:
            layout = "c n a" if "c" in layout else "n a"
        name = draw.choice(PACKING) if packing else dish(draw, self.kind)
        if wrapped:
            name += f" {dish(draw, self.kind)}"  # never an extra: those below an item are its own
        name = page.seen(self.case(name))
        values = {
            "c": draw.choice(("", "", "#")) + parts.digits(draw, draw.choice((3, 4, 6, 8, 13))),
            "q": self.quantity.format(quantity),
            "n": name,
            "u": self.at + self.show(price),
            "a": self.show(price * quantity),
        }
        words = name.split()
        cut = len(words) - len(words) // 2
        for number, row in enumerate(layout.split(" | ")):
            if wrapped and "n" in row and cut < len(words):
                first, second = " ".join(words[:cut]), " ".join(words[cut:])
                if draw.random() < 0.6:  # amount beside the first part
                    left = self.cells(values | {"n": first}, row, number > 0, slips=False)
                    page.line((left, second))
                else:
                    without = row.replace(" a", "").replace(" u", "") if row.endswith("n a") else ""
                    if without:
                        left = self.cells(values | {"n": first}, without, number > 0, slips=False)
                        page.line((left, second), (self.width, values["a"], "right"), slips=False)
                    else:
                        left = self.cells(values | {"n": first}, row, number > 0, slips=False)
                        page.line((left, second))
            else:
                self.cells(values, row, number > 0)
        self.gross += price * quantity
        self.pieces += quantity
        names = {"n": "description", "c": "number", "q": "quantity", "u": "unit_price", "a": "amount"}
        return {names[letter]: values[letter] for letter in layout.split() if letter != "|"}

    def cells(self, values: dict[str, str], row: str, below: bool = False, slips: bool = True) -> float:
        """Print a row of an item; returns the column of its name."""
        width, placed, letters = self.width, [], row.split()
        column = float(self.indent if below and letters[0] != "n" else 0)
        name_column = 0.0
        joined = "noise" in self.page.traits and self.draw.random() < 0.05
        for i, letter in enumerate(letters):
            text = values[letter]
            if letter == "a":
                placed.append((width, text, "right"))
            elif letter == "u" and self.close and row.startswith("q u"):
                placed.append((column, text))
            elif letter == "u":
                placed.append((width - 9 if "a" in letters[i:] else width, text, "right") if i else (column, text))
            elif letter == "q" and i and "n" in letters[:i]:
                placed.append((width - (18 if "u" in letters else 10), text, "right"))
            else:
                if letter == "n" and joined and placed and row.startswith("q n"):  # 1TEA
                    placed[-1] = (placed[-1][0], placed[-1][1] + text)
                else:
                    placed.append((column, text))
                if letter == "n":
                    name_column = column
                column += max(len(text) + 1, 4 if letter == "q" and self.tabbed and not joined else 0)
        self.page.line(*placed, slips=slips)
        return name_column

    def sub_item(self) -> dict:
        """An extra below its item. One with a price adds to the bill, as CORD has it."""
        draw = self.draw
        sub = {"description": self.page.seen(self.sub_mark + self.case(draw.choice(EXTRAS)))}
        cells: list[tuple] = [(2 + self.indent / 2, sub["description"])]
        if "q" in self.sub_form:
            sub["quantity"] = draw.choice(("1", "1", "2", ".5"))
            cells = [(2, sub["quantity"]), (4, sub["description"])]
        if "a" in self.sub_form:
            price = 0 if draw.random() < 0.5 else parts.prices(draw, self.country, self.money) // 5
            sub["amount"] = self.show(price)
            self.gross += price
            cells.append((self.width, sub["amount"], "right"))
        self.page.line(*cells)
        return sub

    def item_discount(self, item: dict) -> None:
        """A row below the item that takes a share of its amount off."""
        draw = self.draw
        amount = value_of(item["amount"], self.money)
        percent = draw.choice((5, 10, 15, 20, 25, 50))
        off = parts.share_of(amount, percent)
        texts = (
            f"Disc {percent}%",
            f"Discount {percent}%",
            "Promo",
            "Item disc",
            "Diskon",
            f"({percent}%)",
            "DISC ITEM",
        )
        item["discount"] = self.show(-off) if off else self.show(0)
        self.page.line((2, draw.choice(texts)), (self.width, item["discount"], "right"))
        self.gross -= off

    # --- below the items ---

    def totals(self) -> None:
        """The rows below the items, in the order tills print them, and what was paid."""
        draw, has, record = self.draw, self.has, self.record
        self.first_total = int(self.page.row)
        self.align = draw.choice(("left", "left", "left", "right", "middle"))
        self.rule()
        places = ("above", "below", "row", "end", "beside total", "beside subtotal", "types")
        counted = draw.choice(places) if has("item count") else ""
        if counted == "above":
            self.count()
        off = service = other = tip = 0
        due = self.gross
        percent = draw.choice((5, 10, 15, 20, 25))
        if has("discount"):
            off = parts.share_of(due, percent)
        if has("service charge"):
            rate = draw.choice((5, 5, 7, 7.5, 10, 12.5))
            service = parts.share_of(due - off, rate)
        if has("other charge"):
            other = parts.prices(draw, self.country, self.money) // 4
        base = due - off + service + other
        tax_rows, total, printed_subtotal = self.taxes(base)
        if has("tip"):
            tip = parts.share_of(total, draw.choice((10, 15, 18)))
        if counted == "beside subtotal" and not (has("subtotal") and printed_subtotal is None):
            counted = "below"
        if counted == "beside subtotal":  # the number of items is all the label that the subtotal has
            record |= {"item_count": str(self.pieces), "subtotal": self.show(due)}
            name = draw.choice(("ITEMS:", "Items:", "Item", "Qty", "Total Qty :"))
            self.pair(f"{name} {record['item_count']}", record["subtotal"])
        elif has("subtotal") and printed_subtotal is None:
            self.row("subtotal", due)
        if has("discount"):
            shown = f"{percent}%" if draw.random() < 0.4 else ""
            self.row("discount", -off if draw.random() < 0.8 else off, shown)
        if has("service charge"):
            self.row("service_charge", service, f"{rate:g}%" if draw.random() < 0.4 else "")
        if has("other charge"):
            self.row("other_charge", other)
        above = [(value, text) for value, text, after in tax_rows if not after]
        if printed_subtotal is not None and has("subtotal") and draw.random() < 0.3:
            self.tax_rows(above)
            self.row("subtotal", printed_subtotal)
        else:
            if printed_subtotal is not None and has("subtotal"):
                self.row("subtotal", printed_subtotal)
            self.tax_rows(above)
        if has("tip"):
            self.row("tip", tip)
        total += tip
        if has("rounding"):
            total = self.rounding(total)
        if counted == "below":
            self.count()
        if not has("no total"):
            self.row("total", total, beside=str(self.pieces) if counted == "beside total" else "")
            if counted == "beside total":
                record["item_count"] = str(self.pieces)
        elif counted == "beside total":
            self.count()
        self.tax_rows([(value, text) for value, text, after in tax_rows if after])
        if counted in ("row", "types"):
            if counted == "types":
                record["item_type_count"] = str(len(record["line_items"]))
                self.pair(self.label("item_type_count"), record["item_type_count"])
            self.count()
        self.payment(total)
        if counted == "end":
            self.count()

    def taxes(self, base: int) -> tuple[list[tuple[int, str, bool]], int, int | None]:
        """Tax rows `(value, rate, below the total)`, the total, and the net subtotal of a bill that prints one.

        A printed rate is the rate of the tax: of what is charged before it, or of the net where the tax is included.
        """
        draw = self.draw
        if not self.has("tax"):
            return [], base, None
        rate = draw.choice(self.country.rates)
        shown = f"{rate:g}%" if draw.random() < 0.5 else ""
        if draw.random() < (0.85 if self.country.tax_included else 0.1):
            net = int(base / (1 + rate / 100) + 0.5)
            gross_only = self.gross == base and draw.random() < 0.35
            return [(base - net, shown, not gross_only)], base, net if gross_only else None
        if self.has("split tax"):
            half = parts.share_of(base, rate / 2)
            shown = f"{rate / 2:g}%" if shown else ""
            return [(half, shown, False)] * 2, base + 2 * half, None
        value = parts.share_of(base, rate) if draw.random() < 0.97 else 0
        return [(value, shown if value else "", False)], base + value, None

    def tax_rows(self, rows: list[tuple[int, str]]) -> None:
        names = self.draw.sample(("CGST", "SGST", "VAT A", "PST", "City Tax"), k=2) if len(rows) > 1 else []
        values = []
        for number, (value, rate) in enumerate(rows):
            name = names[number] if names else self.draw.choice(self.country.taxes)
            values.append(self.show(value))
            self.pair(self.page.seen(name) + self.colon if not rate else self.rated(name, rate), values[-1])
        if values:
            self.record["tax"] = "\n".join(values)

    def rated(self, name: str, rate: str) -> str:
        """A label with its rate, as exact as the rate is."""
        number = rate.rstrip("%")
        forms = [f"{name} {rate}", f"{name} ({rate})", f"{rate} {name}", f"{name} {number} %", f"{name} {number}"]
        if float(f"{float(number):.2f}") == float(number):
            forms += [f"{name} {float(number):.2f}%", f"{name} {float(number):.2f} %"]
        return self.draw.choice(forms)

    def rounding(self, total: int) -> int:
        """A row that takes the total to a round one; CORD files it under the other rows of the subtotal."""
        step = 5 if self.money.decimals and self.country.decimals else 100 * 10**self.money.decimals
        rounded = (total + step // 2) // step * step
        if rounded == 0:
            rounded = total
        self.record["subtotal_other"] = self.show(rounded - total)
        self.pair(self.label("rounding"), self.record["subtotal_other"])
        return rounded

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

    def count(self) -> None:
        """How many pieces were sold, as tills say it; the value is the number alone, as CORD mostly has it."""
        draw, count = self.draw, str(self.pieces)
        form = draw.randrange(5)
        if form == 0:
            count = draw.choice((count, f"{count}.00"))
            unit = draw.choice(("xITEMS", "Items", "Items,", "item(s)", "Item", "pcs"))
            self.page.line((draw.randint(0, 12), f"{count} {unit}"))
        elif form == 1:
            self.page.line((draw.randint(0, 8), f"{draw.choice(('ITEMS', 'Qty', 'Items', 'Jml'))}: {count}"))
        else:
            self.pair(self.label("item_count"), count)
        self.record["item_count"] = count

    def payment(self, total: int) -> None:
        draw = self.draw
        if self.has("voucher"):
            part = total if draw.random() < 0.15 else max(total // draw.choice((2, 3, 4)), 1)
            self.record["total_other"] = self.show(part)
            self.pair(self.label("voucher"), self.record["total_other"])
            if draw.random() < 0.25:
                self.page.line((draw.randint(0, 3), parts.digits(draw, 12)))
            if part == total:
                self.row("change", 0)
                return
            total -= part
        paid = draw.random()
        if paid < 0.68:
            steps = [10**power for power in range(1, max(len(str(max(total, 1))), 2) + 1)]
            step = draw.choice(steps[-3:])
            given = total if draw.random() < 0.25 else (total // step + 1) * step
            if self.has("paid in a row"):
                for name, value in (("cash", given), ("change", given - total)):
                    self.record[name] = self.show(value)
                cells = [f"{self.label(name)} {self.record[name]}" for name in ("cash", "change")]
                self.page.line((0, cells[0]), (max(self.width, 40), cells[1], "right"), slips=False)
                return
            self.row("cash", given)
            if given != total or draw.random() < 0.6:
                self.row("change", -(given - total) if draw.random() < 0.04 else given - total)
        elif paid < 0.82:
            self.row("card", total)
            if draw.random() < 0.2:
                self.row("change", 0)
        elif paid < 0.9:
            self.row("e_money", total)
            if draw.random() < 0.3:
                self.row("change", 0)

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


def value_of(shown: str, money: parts.Money) -> int:
    """The value of a printed amount, in the smallest unit; a letter that OCR put for a zero counts as one."""
    figures = "".join(c for c in shown.replace(money.prefix, "", 1).replace("O", "0") if c.isdigit())
    return int(figures or 0) * (-1 if "-" in shown or "(" in shown else 1)
