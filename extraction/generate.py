"""Receipts, invoices and letters of our own making, each with its exact record.

They give a model what a few dozen published receipts cannot: store headers, dates, invoices, several languages,
currencies and number formats, long lists, and the noise of OCR. Everything printed is drawn from the lists below and
from faker's names and addresses; a record holds its values as they are printed, noise included.
"""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

KINDS = ("receipt", "invoice", "letter")
CHARACTER, ROW = 9.0, 22.0  # pixels

FOODS = (
    "Fried Rice,Noodle Soup,Chicken Satay,Beef Burger,Caesar Salad,Fish and Chips,Iced Tea,Latte,Cappuccino,Espresso,"
    "Mineral Water,Orange Juice,Mango Smoothie,Cheese Cake,Brownie,Croissant,Pancake,Waffle,Spring Roll,Dim Sum,"
    "Nasi Goreng,Mie Ayam,Ayam Bakar,Es Teh,Es Jeruk,Kopi Susu,Bakso,Soto,Rendang,Gado Gado,Pisang Goreng,Kerupuk,"
    "Ramen,Udon,Katsu Curry,Bibimbap,Kimchi,Tom Yum,Pad Thai,Pho,Taco,Burrito,Nachos,Pizza Margherita,Lasagna,Risotto,"
    "Tiramisu,Gelato,Schnitzel,Bratwurst,Brezel,Quiche,Tarte,Baguette,Tapas,Paella,Onion Rings,French Fries,Club Toast"
).split(",")
GOODS = (
    "Milk 1L,Bread Wholemeal,Butter,Eggs 12,Bananas,Apples,Tomatoes,Potatoes,Rice 5kg,Sugar,Olive Oil,Pasta,Shampoo,"
    "Soap,Toothpaste,Batteries AA,Light Bulb,Screws M4,Wood Glue,Paint White,Drill Bit,Notebook A5,Ball Pen,Paper A4,"
    "T-Shirt,Jeans,Socks,Umbrella,Vitamin C,Plaster,Face Mask,Phone Case,USB Cable,Charger,Dog Food,Plastic Bag,"
    "Greeting Card,Flowers,Magazine,Chewing Gum,Detergent,Paper Towels,Candles,Garden Hose,Unleaded 95,Diesel,Car Wash"
).split(",")
SERVICES = (
    "Consulting,Web Design,Hosting,Support Plan,License Fee,Installation,Maintenance,Training Day,Translation,"
    "Data Migration,Security Audit,Cleaning,Transport,Packaging,Graphic Design,Photography,Legal Advice,Bookkeeping,"
    "Desk Chair,Laptop Stand,Monitor 27in,Keyboard,Toner Black,Office Desk,Filing Cabinet,Projector,Switch 24 Port"
).split(",")
STYLES = (
    "Large,Small,Hot,Iced,Special,Jumbo,Spicy,Original,Classic,Double,Family,Kids,XL,Green,Red,Organic,Fresh,Premium"
).split(",")
EXTRAS = (
    "Extra Cheese,No Onion,Less Sugar,Less Ice,Add Egg,Well Done,Soy Milk,Large,Regular,Take Away,Spicy Level 2,"
    "Whipped Cream"
).split(",")
LABELS = {
    "en": {
        "subtotal": ("Subtotal", "Sub Total", "SUBTOTAL", "Sub-total", "Net", "Sub Ttl"),
        "discount": ("Discount", "DISC", "Disc 10%", "Promo", "Voucher discount", "Member Disc"),
        "service_charge": ("Service Charge", "Service", "SVC CHG 5%", "Serv. Charge", "Service 10%"),
        "tax": ("Tax", "TAX 10%", "VAT", "GST 6%", "Sales Tax", "VAT 20%", "TAX"),
        "tip": ("Tip", "Gratuity"),
        "total": (
            "Total",
            "TOTAL",
            "Grand Total",
            "GRAND TOTAL",
            "Amount Due",
            "Total Due",
            "TOTAL DUE",
            "Balance Due",
            "Total:",
        ),
        "cash": ("Cash", "CASH", "Cash Tendered", "Cash Paid", "CASH IDR", "Amount Tendered"),
        "change": ("Change", "CHANGE", "Change Due", "CHANGE DUE", "Your Change"),
        "card": ("VISA", "Mastercard", "Debit Card", "Card", "CREDIT CARD", "EDC BCA", "AMEX"),
        "e_money": ("GoPay", "OVO", "E-Money", "PayPal", "Apple Pay", "QRIS"),
        "item_count": ("Total Qty", "Qty", "Items", "Total Items", "ITEM COUNT", "Total Qty:"),
        "item_type_count": ("Total Item Types", "Lines", "No. of Lines"),
        "date": ("Date", "Date:", "DATE", ""),
        "invoice_number": ("Invoice No", "Invoice #", "Receipt No.", "Bill No:", "Ref", "Check #", "Invoice Number:"),
        "due_date": ("Due Date", "Due Date:", "Payment due", "Pay by", "Due"),
        "bill_to": ("Bill To", "Billed to:", "Customer", "Invoice to", "Sold To:"),
    },
    "id": {
        "subtotal": ("Subtotal", "Sub Total", "SUB TOTAL"),
        "discount": ("Diskon", "Potongan", "DISC"),
        "service_charge": ("Service", "Biaya Layanan", "Service Charge"),
        "tax": ("PB1", "PB1 10%", "Pajak", "PPN 10%", "Pajak Resto", "Pb 1"),
        "total": ("Total", "TOTAL", "Jumlah", "Grand Total", "Total Bayar", "TOTAL BELANJA"),
        "cash": ("Tunai", "TUNAI", "Bayar", "Cash"),
        "change": ("Kembali", "Kembalian", "KEMBALI"),
        "card": ("Kartu", "Debit BCA", "Kartu Kredit"),
        "e_money": ("GoPay", "OVO", "DANA"),
        "item_count": ("Jumlah Item", "Total Qty", "Total Item"),
        "date": ("Tanggal", "Tgl", "Tgl:"),
        "invoice_number": ("No. Struk", "No", "No. Nota"),
    },
    "de": {
        "subtotal": ("Zwischensumme", "Netto", "Summe netto"),
        "discount": ("Rabatt", "Nachlass"),
        "tax": ("MwSt 19%", "MwSt.", "USt. 7%", "19% MwSt"),
        "total": ("Summe", "SUMME", "Gesamt", "Gesamtbetrag", "Zu zahlen", "Rechnungsbetrag"),
        "cash": ("Bar", "Gegeben", "BAR"),
        "change": ("Rückgeld", "Zurück"),
        "card": ("EC-Karte", "Girocard", "Kreditkarte"),
        "item_count": ("Posten", "Artikel"),
        "date": ("Datum", "Datum:", "Rechnungsdatum"),
        "invoice_number": ("Rechnung Nr.", "Rechnungsnummer", "Beleg-Nr.", "Bon-Nr."),
        "due_date": ("Fällig am", "Zahlbar bis"),
        "bill_to": ("Rechnung an", "Kunde"),
    },
    "fr": {
        "subtotal": ("Sous-total", "Total HT"),
        "discount": ("Remise", "Réduction"),
        "tax": ("TVA 20%", "TVA", "TVA 10%"),
        "total": ("Total TTC", "TOTAL", "Net à payer", "Montant dû"),
        "cash": ("Espèces", "ESPECES"),
        "change": ("Rendu", "Monnaie"),
        "card": ("Carte Bancaire", "CB"),
        "item_count": ("Articles", "Nb articles"),
        "date": ("Date", "Le"),
        "invoice_number": ("Facture N°", "Ticket", "N° de facture"),
        "due_date": ("Échéance", "Date d'échéance"),
        "bill_to": ("Facturé à", "Client"),
    },
    "es": {
        "subtotal": ("Subtotal", "Base imponible"),
        "discount": ("Descuento", "Dto."),
        "tax": ("IVA 21%", "IVA", "I.V.A. 10%"),
        "total": ("Total", "TOTAL", "Importe total", "Total a pagar"),
        "cash": ("Efectivo", "Entregado"),
        "change": ("Cambio", "Su cambio"),
        "card": ("Tarjeta", "VISA"),
        "item_count": ("Artículos", "Uds."),
        "date": ("Fecha", "Fecha:"),
        "invoice_number": ("Factura", "Ticket N.º", "Factura n.º"),
        "due_date": ("Vencimiento", "Fecha de vencimiento"),
        "bill_to": ("Cliente", "Facturar a"),
    },
}
LOCALES = {"en": ("en_US", "en_GB", "en_AU"), "id": ("id_ID",), "de": ("de_DE",), "fr": ("fr_FR",), "es": ("es_ES",)}
DATES = ("%d/%m/%Y", "%m/%d/%Y", "%Y-%m-%d", "%d.%m.%Y", "%d-%m-%y", "%d %b %Y", "%B %d, %Y", "%d/%m/%y", "%b %d %Y")
CHATTER = (
    "Thank you,Please come again,THANK YOU FOR YOUR VISIT,WiFi: guest1234,www.example.com,Follow us,Have a nice day,"
    "No refund without receipt,Member points: 120,Prices include tax,Terima kasih,Vielen Dank,Merci,Gracias,"
    "Goods sold are not returnable,Customer copy,Closed bill,Powered by POS,Survey code 88213"
).split(",")
STAFF = "Cashier,Kasir,Server,Table,Pax,POS,Shift,Terminal,Guest,Order,Waiter,Station,Bedient von,Meja,Caja".split(",")
CONFUSIONS = {
    "O": "0",
    "0": "O",
    "l": "1",
    "1": "l",
    "S": "5",
    "B": "8",
    "e": "c",
    "n": "m",
    "i": "l",
    "a": "o",
    "G": "C",
}
FORM_KEYS = (
    "Name,Reference,Department,Subject,Phone,Fax,Email,Date of birth,Employee ID,Project,Account number,Contact person,"
    "Address,City,Country,Policy number,Start date,End date,Status,Approved by,Delivery date,Order number,"
    "Supplier,Position,Requested by,Cost center,Room,Case number,Priority,Category,Location,Version,Manager,Deadline"
).split(",")
TITLES = (
    "Memorandum,Application Form,Delivery Note,Registration Form,Meeting Minutes,Service Report,Purchase Order,"
    "Letter of Confirmation,Travel Request,Incident Report,Quality Certificate,Change Request,Status Report,Data Sheet,"
    "Inspection Record,Work Order,Membership Form,Request for Quotation,Shipping Advice,Expense Report"
).split(",")


@dataclass
class Page:
    """Words placed in rows of character columns, with the small disorder of a scan."""

    draw: random.Random
    words: list[tuple] = field(default_factory=list)
    row: int = 0

    def line(self, *cells: tuple[float, str]) -> None:
        """One row: `(column, text)` cells."""
        for column, text in cells:
            for word, offset in _split(text):
                left = (column + offset) * CHARACTER + self.draw.uniform(-2, 2)
                top = self.row * ROW + self.draw.uniform(-2, 2)
                box = (left, top, left + len(word) * CHARACTER, top + ROW * 0.75)
                self.words.append((word, *(round(x, 1) for x in box)))
        self.row += 1

    def right(self, column: float, text: str) -> tuple[float, str]:
        """A cell that ends at the column."""
        return column - len(text), text


def _split(text: str) -> Iterator[tuple[str, int]]:
    position = 0
    for word in text.split(" "):
        if word:
            yield word, position
        position += len(word) + 1


@dataclass(frozen=True)
class Money:
    """How a document prints amounts. Values are in the smallest unit that is printed."""

    decimals: int
    thousands: str
    point: str
    prefix: str = ""
    suffix: str = ""

    def show(self, value: int) -> str:
        sign, value = ("-" if value < 0 else ""), abs(value)
        whole, rest = divmod(value, 10**self.decimals)
        digits = f"{whole:,}".replace(",", self.thousands)
        return (
            f"{self.prefix}{sign}{digits}"
            + (f"{self.point}{rest:0{self.decimals}d}" if self.decimals else "")
            + self.suffix
        )


def documents(kind: str, count: int, seed: int) -> Iterator[dict]:
    """`count` documents of a kind: `{"id", "kind", "words": [(text, left, top, right, bottom)], "record"}`.

    The n-th document is the same for the same seed, however many are made. Raises ValueError for an unknown kind.
    """
    makers = {"receipt": _receipt, "invoice": _invoice, "letter": _letter}
    if kind not in makers:
        raise ValueError(f"no kind of document called {kind!r}")
    from faker import Faker

    fakers = {locale: Faker(locale) for locales in LOCALES.values() for locale in locales}
    for number in range(count):
        draw = random.Random(f"{seed}/{kind}/{number}")
        language = draw.choices(list(LOCALES), weights=(50, 25, 9, 8, 8))[0]
        faker = fakers[draw.choice(LOCALES[language])]
        faker.seed_instance(draw.getrandbits(32))
        page = Page(draw)
        record = makers[kind](draw, faker, language, page)
        yield {"id": f"generated/{kind}/{number:05d}", "kind": kind, "words": page.words, "record": record}


# --- parts ---------------------------------------------------------------------------------------------------


def _money(draw: random.Random, language: str) -> Money:
    if language == "id" or (language == "en" and draw.random() < 0.25):
        return Money(0, draw.choice((",", ",", ".", ".", "")), "", draw.choice(("", "", "", "", "Rp ", "Rp. ", "Rp")))
    if language in ("de", "fr", "es"):
        return Money(2, ".", ",", "", draw.choice(("", "", " €", " EUR")))
    return Money(2, ",", ".", draw.choice(("", "", "", "$", "$", "£", "RM", "€", "US$ ")))


def _price(draw: random.Random, money: Money) -> int:
    if money.decimals:
        return draw.choice((draw.randint(50, 999), draw.randint(500, 9999), draw.randint(100, 3000)))
    return draw.choice((500, 1000, 1000, 90)) * draw.randint(3, 120) + draw.choice((0, 0, 0, draw.randint(1, 99)))


def _name(draw: random.Random, names: list[str]) -> str:
    name = draw.choice(names)
    if draw.random() < 0.35:
        name = f"{draw.choice(STYLES)} {name}" if draw.random() < 0.5 else f"{name} {draw.choice(STYLES)}"
    if draw.random() < 0.1:
        name += draw.choice((" (L)", " 330 ml", " 2pcs", "/R", " - M", " *", " 16OZ", " 500g"))
    if draw.random() < 0.15:  # tills shorten names
        name = " ".join(w[: draw.randint(3, 6)] for w in name.split())
    return name


def _noisy(draw: random.Random, text: str, rate: float) -> str:
    """The text with some characters read wrongly."""
    return "".join(CONFUSIONS.get(c, c) if draw.random() < rate else c for c in text)


def _cased(draw: random.Random, text: str, style: str) -> str:
    return {"upper": text.upper(), "lower": text.lower(), "as is": text}[style]


def _label(draw: random.Random, language: str, name: str) -> str:
    return draw.choice(LABELS[language].get(name) or LABELS["en"][name])


def _date(draw: random.Random) -> date:
    return date(2012, 1, 1) + timedelta(days=draw.randrange(365 * 15))


def _flat(text: str) -> str:
    return " ".join(text.split())


def _centered(page: Page, text: str, width: int) -> None:
    page.line((max((width - len(text)) / 2, 0), text))


# --- receipts ------------------------------------------------------------------------------------------------


def _receipt(draw: random.Random, faker: Any, language: str, page: Page) -> dict:
    """A till receipt: header or none, items in one of six column orders, totals, payment, chatter."""
    money, width = _money(draw, language), draw.randint(30, 46)
    case, noise = draw.choice(("upper", "as is", "as is", "lower")), draw.choice((0, 0, 0, 0.02, 0.05))
    record: dict = {}
    if draw.random() < 0.6:
        _header(draw, faker, language, page, record, width, noise)
    names = FOODS if draw.random() < 0.65 else GOODS
    count = draw.choices((draw.randint(1, 3), draw.randint(3, 8), draw.randint(8, 16)), weights=(45, 42, 13))[0]
    layout = draw.randrange(7)
    quantity_style = draw.choice(("{}", "{}", "{}", "{}x", "x{}", "{}.00", "{} x"))
    if draw.random() < 0.12:
        page.line((0, "Item"), (width - 12, "Qty"), page.right(width, draw.choice(("Amount", "Price", "Total"))))
    items, subtotal, pieces = [], 0, 0
    for _ in range(count):
        name = _noisy(draw, _cased(draw, _name(draw, names), case), noise)
        quantity = draw.choices((1, 2, 3, draw.randint(4, 30)), weights=(70, 18, 6, 6))[0]
        price = 0 if draw.random() < 0.03 else _price(draw, money)
        item = _item_rows(draw, page, layout, name, quantity_style.format(quantity), price, quantity, money, width)
        if draw.random() < 0.14:
            item["sub_items"] = _sub_items(draw, page, money, case, width)
        if price and draw.random() < 0.06:
            off = -max(1, price * quantity // 10)
            page.line(
                (2, draw.choice(("Disc", "Discount 10%", "Promo", "Item disc"))), page.right(width, money.show(off))
            )
            item["discount"] = money.show(off)
            subtotal += off
        items.append(item)
        subtotal += price * quantity
        pieces += quantity
    record["line_items"] = items
    _totals(draw, page, language, record, money, subtotal, pieces, len(items), width, noise)
    for _ in range(draw.choice((0, 0, 1, 2))):
        _centered(page, draw.choice(CHATTER), width)
    return record


def _header(draw: random.Random, faker: Any, language: str, page: Page, record: dict, width: int, noise: float) -> None:
    merchant = {}
    if draw.random() < 0.85:
        name = _flat(faker.company())
        name = draw.choice(
            (name, name.upper(), f"{faker.last_name()}'s {draw.choice(('Cafe', 'Kitchen', 'Store', 'Mart', 'Grill'))}")
        )
        merchant["name"] = _noisy(draw, name, noise)
        _centered(page, merchant["name"], width)
    if draw.random() < 0.6:
        parts = [_noisy(draw, _flat(p), noise) for p in faker.address().split("\n")[:2]]
        for part in parts:
            _centered(page, part, width)
        merchant["address"] = " ".join(parts)[:160]
    if draw.random() < 0.4:
        merchant["phone"] = _flat(faker.phone_number())
        _centered(page, draw.choice(("Tel: ", "Phone ", "Telp. ", "", "Tel ")) + merchant["phone"], width)
    if draw.random() < 0.2:
        merchant["tax_id"] = "".join(draw.choices(string.digits, k=draw.randint(8, 12)))
        page.line((0, f"{draw.choice(('Tax ID', 'GST No', 'NPWP', 'VAT No', 'ABN'))}: {merchant['tax_id']}"))
    if merchant:
        record["merchant"] = merchant
    if draw.random() < 0.35:
        record["invoice_number"] = draw.choice(("", "A-", "INV", "#")) + str(draw.randint(100, 999999))
        page.line((0, f"{_label(draw, language, 'invoice_number')} {record['invoice_number']}"))
    for _ in range(draw.choice((0, 1, 2))):
        page.line(
            (
                0,
                _noisy(
                    draw, f"{draw.choice(STAFF)}: {draw.choice((faker.first_name(), str(draw.randint(1, 40))))}", noise
                ),
            )
        )
    if draw.random() < 0.7:
        record["date"] = _date(draw).strftime(draw.choice(DATES))
        shown = f"{_label(draw, language, 'date')} {record['date']}".strip()
        if draw.random() < 0.6:
            record["time"] = f"{draw.randint(7, 23):02d}:{draw.randint(0, 59):02d}" + draw.choice(
                ("", ":17", ":05", "")
            )
            page.line((0, shown), page.right(width, record["time"])) if draw.random() < 0.4 else page.line(
                (0, f"{shown} {record['time']}")
            )
        else:
            page.line((0, shown))
    if draw.random() < 0.5:
        page.line((0, draw.choice("-=*_") * (width - 2)))


def _item_rows(
    draw: random.Random,
    page: Page,
    layout: int,
    name: str,
    shown: str,
    price: int,
    quantity: int,
    money: Money,
    width: int,
) -> dict:
    """Print one item in the receipt's column order; returns its record with just what was printed."""
    amount, unit = money.show(price * quantity), money.show(price)
    last = page.right(width, amount)
    if layout == 0:  # 2 Tea 4.00
        page.line((0, shown), (len(shown) + 1, name), last)
        return {"description": name, "quantity": shown, "amount": amount}
    if layout == 1:  # Tea 2 4.00
        page.line((0, name), (max(width - 16, len(name) + 2), shown), last)
        return {"description": name, "quantity": shown, "amount": amount}
    if layout == 2:  # Tea / 2 x 2.00 4.00
        page.line((0, name))
        page.line((2, f"{shown} {unit}" if "x" in shown else f"{shown} {draw.choice(('x', '@', 'X'))} {unit}"), last)
        return {"description": name, "quantity": shown, "unit_price": unit, "amount": amount}
    if layout == 3:  # Tea 4.00
        page.line((0, name), last)
        return {"description": name, "amount": amount}
    if layout == 4:  # 2 Tea 2.00 4.00
        column = max(width - 2 * len(amount) - 4, len(shown) + len(name) + 3)
        end = max(width, column + len(unit) + len(amount) + 3)
        page.line((0, shown), (len(shown) + 1, name), (column, unit), page.right(end, amount))
        return {"description": name, "quantity": shown, "unit_price": unit, "amount": amount}
    if layout == 5:  # 4711 Tea / 2 2.00 4.00
        number = str(draw.randint(100, 99999999))
        page.line((0, number), (len(number) + 1, name))
        page.line((4, shown), (12, unit), last)
        return {"number": number, "description": name, "quantity": shown, "unit_price": unit, "amount": amount}
    page.line((0, name))  # Tea / 2 2.00 4.00
    page.line((draw.choice((2, 6)), shown), (12, unit), last)
    return {"description": name, "quantity": shown, "unit_price": unit, "amount": amount}


def _sub_items(draw: random.Random, page: Page, money: Money, case: str, width: int) -> list[dict]:
    mark, priced = draw.choice(("", "", "- ", "* ", "+ ")), draw.random() < 0.4
    subs = []
    for _ in range(draw.randint(1, 3)):
        sub = {"description": _cased(draw, draw.choice(EXTRAS), case)}
        cells = [(3, mark + sub["description"])]
        if priced:
            sub["amount"] = money.show(0)
            cells.append(page.right(width, sub["amount"]))
        page.line(*cells)
        subs.append(sub)
    return subs


def _totals(
    draw: random.Random,
    page: Page,
    language: str,
    record: dict,
    money: Money,
    subtotal: int,
    pieces: int,
    lines: int,
    width: int,
    noise: float,
) -> None:
    """The rows below the items, in the order tills print them, and what was paid."""
    indent = draw.choice((0, 0, 2, 8, "right"))

    def row(name: str, value: str) -> None:
        label = _noisy(draw, _label(draw, language, name), noise)
        column = max(width - len(value) - len(label) - 3, 0) if indent == "right" else indent
        page.line((column, label), page.right(max(width, column + len(label) + len(value) + 2), value))
        record[name] = value

    if draw.random() < 0.3:
        page.line((0, draw.choice("-=") * (width - 1)))
    counted = draw.random()
    if counted < 0.12:
        row("item_count", str(pieces))
    total = subtotal
    if draw.random() < 0.7:
        row("subtotal", money.show(subtotal))
    if draw.random() < 0.15:
        off = max(1, subtotal // draw.choice((5, 10, 20)))
        row("discount", money.show(draw.choice((-1, 1)) * off))
        total -= off
    for name, chance, share in (("service_charge", 0.2, 20), ("tax", 0.55, 10), ("tip", 0.04, 8)):
        if draw.random() < chance:
            value = total // share
            row(name, money.show(value))
            total += value
    row("total", money.show(total))
    if 0.12 < counted < 0.22:
        row("item_count", str(pieces))
    elif counted > 0.97:
        row("item_type_count", str(lines))
    paid = draw.random()
    if paid < 0.6:
        step = 10 ** max(len(str(max(total, 1))) - 1, 1)
        given = total if draw.random() < 0.25 else (total // step + 1) * step
        row("cash", money.show(given))
        if given != total or draw.random() < 0.5:
            row("change", money.show(given - total))
    elif paid < 0.8:
        row("card", money.show(total))
        if draw.random() < 0.4:
            page.line((0, f"XXXX XXXX XXXX {draw.randint(1000, 9999)}"))
    elif paid < 0.87:
        row("e_money", money.show(total))


# --- invoices ------------------------------------------------------------------------------------------------


def _invoice(draw: random.Random, faker: Any, language: str, page: Page) -> dict:
    """An A4 invoice: seller, customer, numbers and dates, a table with a header, totals, terms."""
    language = "en" if language == "id" else language
    money = (
        Money(2, ".", ",", "", draw.choice(("", " €")))
        if language != "en"
        else Money(2, ",", ".", draw.choice(("", "$", "£")))
    )
    width = draw.randint(78, 92)
    seller = {
        "name": _flat(faker.company()),
        "address": ", ".join(_flat(p) for p in faker.address().split("\n")[:2])[:160],
    }
    customer = {"name": _flat(faker.company() if draw.random() < 0.7 else faker.name())}
    customer["address"] = ", ".join(_flat(p) for p in faker.address().split("\n")[:2])[:160]
    record: dict = {"merchant": seller, "customer": customer}
    title = {"en": "INVOICE", "de": "RECHNUNG", "fr": "FACTURE", "es": "FACTURA"}[language]
    page.line((0, seller["name"]), page.right(width, title)) if draw.random() < 0.5 else page.line((0, seller["name"]))
    page.line((0, seller["address"]))
    if draw.random() < 0.5:
        seller["phone"] = _flat(faker.phone_number())
        page.line((0, f"{draw.choice(('Tel.', 'Phone:', 'T'))} {seller['phone']}"))
    if draw.random() < 0.4:
        seller["tax_id"] = draw.choice(("DE", "FR", "GB", "ES", "")) + "".join(draw.choices(string.digits, k=9))
        page.line((0, f"{draw.choice(('VAT ID', 'Tax No.', 'USt-IdNr.', 'TVA', 'VAT'))}: {seller['tax_id']}"))
    issued = _date(draw)
    style = draw.choice(DATES)
    facts = [("invoice_number", draw.choice(("INV-", "2024-", "R", "F", "")) + str(draw.randint(1000, 999999)))]
    facts.append(("date", issued.strftime(style)))
    if draw.random() < 0.6:
        facts.append(("due_date", (issued + timedelta(days=draw.choice((7, 14, 30, 60)))).strftime(style)))
    if draw.random() < 0.4:
        draw.shuffle(facts)
    left = [_label(draw, language, "bill_to"), customer["name"], customer["address"]]
    right = [f"{_label(draw, language, name) or 'Date'} {value}" for name, value in facts]
    record |= dict(facts)
    if draw.random() < 0.55 and len(customer["address"]) < width - 36:
        for n in range(3):  # side by side
            page.line((0, left[n]), *([(width - 32, right[n])] if n < len(right) else []))
    else:
        for text in (*left, *right) if draw.random() < 0.5 else (*right, *left):
            page.line((0, text))
    if draw.random() < 0.3:
        record["currency"] = draw.choice(("EUR", "USD", "GBP"))
        page.line((0, f"{draw.choice(('Currency', 'Currency:', 'All amounts in'))} {record['currency']}"))
    with_tax, numbered = draw.random() < 0.3, draw.random() < 0.25
    columns = {"description": 8 if numbered else 0, "quantity": width - 40, "unit_price": width - 16, "amount": width}
    heads = (
        draw.choice(("Description", "Item", "Position")),
        draw.choice(("Qty", "Quantity", "Units")),
        draw.choice(("Unit price", "Price", "Rate")),
        draw.choice(("Amount", "Total", "Line total")),
    )
    page.line(
        (columns["description"], heads[0]),
        page.right(columns["quantity"], heads[1]),
        page.right(columns["unit_price"], heads[2]),
        page.right(columns["amount"], heads[3]),
    )
    items, subtotal = [], 0
    for _ in range(
        draw.choices((draw.randint(1, 4), draw.randint(4, 9), draw.randint(10, 20)), weights=(60, 32, 8))[0]
    ):
        quantity, price = draw.choice((1, 1, 2, 3, 5, 10, draw.randint(1, 40))), _price(draw, money)
        item = {"description": _name(draw, SERVICES), "quantity": str(quantity)}
        if numbered:
            item = {"description": item["description"], "number": str(draw.randint(1, 9999)), "quantity": str(quantity)}
        item |= {"unit_price": money.show(price), "amount": money.show(price * quantity)}
        cells = [(columns["description"], item["description"]), page.right(columns["quantity"], item["quantity"])]
        cells += [page.right(columns[name], item[name]) for name in ("unit_price", "amount")]
        if with_tax:
            cells.append(page.right(width - 30, draw.choice(("19%", "20%", "7%"))))
        page.line(*([(0, item["number"])] if numbered else []), *cells)
        items.append(item)
        subtotal += price * quantity
    record["line_items"] = items
    tax = subtotal * draw.choice((7, 10, 19, 20, 21)) // 100 if draw.random() < 0.8 else 0
    rows = [("subtotal", subtotal)] if tax or draw.random() < 0.5 else []
    rows += ([("tax", tax)] if tax else []) + [("total", subtotal + tax)]
    for name, value in rows:
        record[name] = money.show(value)
        page.line((width - 36, _label(draw, language, name)), page.right(width, record[name]))
    for text in draw.sample(
        (
            f"IBAN {faker.iban()}",
            "Payment within 30 days",
            "Thank you for your business",
            "Bank transfer only",
            "Page 1 of 1",
        ),
        k=draw.randint(0, 3),
    ):
        page.line((0, text))
    return record


# --- letters and forms ---------------------------------------------------------------------------------------


def _letter(draw: random.Random, faker: Any, language: str, page: Page) -> dict:
    """A letter or form: a title, labeled values, prose around them."""
    title = draw.choice(TITLES)
    title = draw.choice((title, title.upper(), f"{title} {draw.randint(2015, 2026)}"))
    if draw.random() < 0.4:
        page.line((0, _flat(faker.company())))
    page.line((draw.choice((0, 12, 24)), title))
    if draw.random() < 0.4:
        _paragraph(faker, page)
    values = {
        "Name": faker.name, "Contact person": faker.name, "Approved by": faker.name, "Requested by": faker.name,
        "Manager": faker.name, "Phone": faker.phone_number, "Fax": faker.phone_number, "Email": faker.email,
        "Address": faker.street_address, "City": faker.city, "Country": faker.country, "Supplier": faker.company,
        "Location": faker.city, "Subject": lambda: faker.sentence(4).rstrip("."),
    }  # fmt: skip
    style, mark = draw.choice(DATES), draw.choice((":", ":", ":", "", " :"))
    aligned = draw.choice((0, 0, 22))
    pairs = []
    for key in draw.sample(FORM_KEYS, k=draw.randint(3, 10)):
        if "date" in key.casefold() or key == "Deadline":
            value = _date(draw).strftime(style)
        elif key in values:
            value = _flat(values[key]())
        elif key in ("Status", "Priority", "Category", "Department", "Position"):
            value = draw.choice(
                ("open", "High", "Sales", "Research", "approved", "Low", "Finance", "Engineer", "Clerk", "B")
            )
        else:
            value = draw.choice(("", "No. ", "A", "PR-", "K")) + str(draw.randint(1, 99999))
        if not mark and not aligned:
            mark = ":"
        column = max(aligned, len(key) + 2)
        page.line((0, key + mark), (column + (1 if mark == " :" else 0), value))
        pairs.append({"key": key, "value": value})
    for _ in range(draw.randint(0, 2)):
        _paragraph(faker, page)
    return {"title": title, "key_values": pairs}


def _paragraph(faker: Any, page: Page) -> None:
    words, line = faker.text(max_nb_chars=260).split(), ""
    for word in words:
        if len(line) + len(word) > 76:
            page.line((0, line))
            line = ""
        line = f"{line} {word}".strip()
    page.line((0, line))
