"""What stands below the items of a receipt: subtotal, discount, charges, taxes, total, and how it was paid."""

from __future__ import annotations

from dataclasses import dataclass, field

from extraction.synthetic import parts
from extraction.synthetic.till import Till
from extraction.synthetic.words import KINDS_OF_ITEMS


@dataclass
class Bill:
    """Amounts in the smallest unit of the currency, rates in percent."""

    due: int  # of the items
    discount_rate: int
    discount: int = 0
    service_rate: float = 0
    service: int = 0
    other: int = 0
    taxes: list[tuple[int, str, bool]] = field(default_factory=list)  # value, printed rate, whether below the total
    total: int = 0
    net: int | None = None  # the subtotal of a bill that prints one without the included tax
    tip: int = 0


class Totals(Till):
    """A till that prints what the items come to."""

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
        bill = self.bill()
        if has("sums of kinds"):
            self.sums_of_kinds()
        with_subtotal = has("subtotal") and bill.net is None
        if counted == "beside subtotal" and not with_subtotal:
            counted = "below"
        if counted == "beside subtotal":  # the number of items is all the label that the subtotal has
            record |= {"item_count": str(self.pieces), "subtotal": self.show(bill.due)}
            name = draw.choice(("ITEMS:", "Items:", "Item", "Qty", "Total Qty :"))
            self.pair(f"{name} {record['item_count']}", record["subtotal"])
        elif with_subtotal:
            self.row("subtotal", bill.due)
        self.changes(bill)
        total = self.rounding(bill.total + bill.tip) if has("rounding") else bill.total + bill.tip
        if counted == "below":
            self.count()
        self.total(total, counted)
        self.tax_rows([(value, rate) for value, rate, after in bill.taxes if after])
        if counted == "types":
            record["item_type_count"] = str(len(record["line_items"]))
            self.pair(self.label("item_type_count"), record["item_type_count"])
        if counted in ("row", "types"):
            self.count()
        self.payment(total)
        if counted == "end":
            self.count()

    def sums_of_kinds(self) -> None:
        """What each kind of item comes to: no items, and no field holds it."""
        names = self.draw.sample(KINDS_OF_ITEMS, self.draw.choice((2, 2, 3)))
        cuts = sorted(self.draw.randint(0, self.gross) for _ in names[1:])
        for name, low, high in zip(names, [0, *cuts], [*cuts, self.gross], strict=True):
            self.pair(name, self.show(high - low))

    def bill(self) -> Bill:
        """What is added to the items and taken off. A printed rate is exact."""
        draw, has = self.draw, self.has
        bill = Bill(due=self.gross, discount_rate=draw.choice((5, 10, 15, 20, 25)))
        if has("discount"):
            bill.discount = parts.share_of(bill.due, bill.discount_rate)
        if has("service charge"):
            bill.service_rate = draw.choice((5, 5, 7, 7.5, 10, 12.5))
            bill.service = parts.share_of(bill.due - bill.discount, bill.service_rate)
        if has("other charge"):
            bill.other = self.price() // 4
        bill.taxes, bill.total, bill.net = self.taxes(bill.due - bill.discount + bill.service + bill.other)
        if has("tip"):
            bill.tip = parts.share_of(bill.total, draw.choice((10, 15, 18)))
        return bill

    def changes(self, bill: Bill) -> None:
        """The rows between the first subtotal and the total."""
        draw, has = self.draw, self.has
        if has("discount"):
            rate = f"{bill.discount_rate}%" if draw.random() < 0.4 else ""
            self.row("discount", -bill.discount if draw.random() < 0.8 else bill.discount, rate)
        if has("service charge"):
            self.row("service_charge", bill.service, f"{bill.service_rate:g}%" if draw.random() < 0.4 else "")
        if has("other charge"):
            self.row("other_charge", bill.other)
        taxes = [(value, rate) for value, rate, after in bill.taxes if not after]
        with_net = bill.net is not None and has("subtotal")
        if with_net and draw.random() < 0.3:
            self.tax_rows(taxes)
            self.row("subtotal", bill.net)
        else:
            if with_net:
                self.row("subtotal", bill.net)
            self.tax_rows(taxes)
        if has("tip"):
            self.row("tip", bill.tip)

    def total(self, total: int, counted: str) -> None:
        if self.has("no total"):
            if counted == "beside total":
                self.count()
            return
        self.row("total", total, beside=str(self.pieces) if counted == "beside total" else "")
        if counted == "beside total":
            self.record["item_count"] = str(self.pieces)

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

    def rounding(self, total: int) -> int:
        """A row that takes the total to a round one; CORD files it under the other rows of the subtotal."""
        step = 5 if self.money.decimals and self.country.decimals else 100 * 10**self.money.decimals
        rounded = (total + step // 2) // step * step
        if rounded == 0:
            rounded = total
        self.record["subtotal_other"] = self.show(rounded - total)
        self.pair(self.label("rounding"), self.record["subtotal_other"])
        return rounded

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
