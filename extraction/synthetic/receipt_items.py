"""The items of a receipt: in one of many column orders, with extras, discounts and names over two rows."""

from __future__ import annotations

import random

from extraction.synthetic import parts
from extraction.synthetic.till import Till
from extraction.synthetic.words import ENDINGS, EXTRAS, MENU, PACKING, SIZES, SYLLABLES

# Rows of an item: c code, q quantity, n name, u unit price, a amount, | the next row. The numbers are shares.
LAYOUTS = {
    "q n a": 34, "n q a": 12, "n a": 10, "n | q u a": 14, "q n u a": 7, "n q u a": 8, "q u a | n": 3,
    "q u | n a": 3, "n | a": 2, "n q | a": 2, "n | u q a": 3, "n | q a": 2, "n q | u a": 2,
}  # fmt: skip
QUANTITIES = ("{}",) * 20 + ("{}x", "{}X", "{} x", "{} X", "x{}", "x {}", "{}.00", "{}Prs", "{} pcs", "{} PC")
SIZE_FORMS = ("{}", "({})", "*{}*", "=*{}*=", "- {}", "** {} **", "<{}>", "={}=")
SUB_MARKS = ("",) * 7 + ("+", "+ ", "- ", "-", "* ", ">", "> ")


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


def value_of(shown: str, money: parts.Money) -> int:
    """The value of a printed amount, in the smallest unit; a letter that OCR put for a zero counts as one."""
    figures = "".join(c for c in shown.replace(money.prefix, "", 1).replace("O", "0") if c.isdigit())
    return int(figures or 0) * (-1 if "-" in shown or "(" in shown else 1)


class Items(Till):
    """A till that prints what was sold."""

    def items(self) -> None:
        draw = self.draw
        layouts = list(LAYOUTS)
        self.layout = draw.choices(layouts, weights=list(LAYOUTS.values()))[0]
        if self.has("item codes"):
            self.layout = draw.choice(("c n a", "c n | q u a", "c n | q a", "q c n a"))
        self.only_several = draw.random() < 0.08  # quantity and unit price only where there are several
        self.quantity = draw.choice(QUANTITIES)
        self.sizes = self.has("sub items") and self.has("sizes")
        if self.sizes and not self.has("item codes"):
            self.layout, self.quantity = "q n u a", "{}"
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
        if self.sizes:
            special["sub items"] |= {n for n in range(count) if draw.random() < 0.7}
            self.size_form = draw.choice(SIZE_FORMS)
        self.record["line_items"] = []
        for number in range(count):
            item = self.item(number in special.get("wrapped names", ()))
            if number in special.get("sub items", ()) and not (self.has("long") and number > 12):
                extras = draw.choice((1, 1, 1, 2, 2, 3, draw.randint(4, 10)))  # many in a set meal
                item["sub_items"] = [self.size(item)] if self.sizes else [self.sub_item() for _ in range(extras)]
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
        price = 0 if draw.random() < 0.03 else self.price()
        quantity = draw.choices((1, 2, 3, draw.randint(4, 30)), weights=(72, 17, 5, 6))[0]
        if packing:
            price = draw.choice((0, 0, price // 10))
        layout = self.layout
        if self.only_several and quantity == 1:
            layout = "c n a" if "c" in layout else "n a"
        elif self.sizes and quantity == 1:
            layout = layout.replace(" u a", " a")
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
                first, second = " ".join(words[:cut]), [(" ".join(words[cut:]),)]
                beside = draw.random() < 0.6  # the amount beside the first part
                if not beside and row.endswith("n a"):
                    row = row.replace(" a", "").replace(" u", "")
                    second.append((self.width, values["a"], "right"))
                left = self.cells(values | {"n": first}, row, number > 0, slips=False)
                page.line((left, *second[0]), *second[1:], slips=len(second) == 1)
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
            price = 0 if draw.random() < 0.5 else self.price() // 5
            sub["amount"] = self.show(price)
            self.gross += price
            cells.append((self.width, sub["amount"], "right"))
        self.page.line(*cells)
        return sub

    def size(self, item: dict) -> dict:
        """The size of an item below it, with the item's quantity again where that is above one."""
        sub = {"description": self.page.seen(self.size_form.format(self.case(self.draw.choice(SIZES))))}
        quantity = item.get("quantity", "1")
        column = max(len(quantity) + 1, 4 if self.tabbed else 0)
        cells: list[tuple] = [(column + self.indent / 4, sub["description"])]
        if quantity != "1":
            sub["quantity"] = quantity
            cells.insert(0, (0, quantity))
        self.page.line(*cells)
        return sub

    def item_discount(self, item: dict) -> None:
        """A row below the item that takes a share of its amount off."""
        draw = self.draw
        amount = value_of(item["amount"], self.money)
        percent = draw.choice((5, 10, 15, 20, 25, 50))
        off = parts.share_of(amount, percent)
        texts = f"Disc {percent}%,Discount {percent}%,Promo,Item disc,Diskon,({percent}%),DISC ITEM".split(",")
        item["discount"] = self.show(-off) if off else self.show(0)
        self.page.line((2, draw.choice(texts)), (self.width, item["discount"], "right"))
        self.gross -= off
