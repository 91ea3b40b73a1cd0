"""A4 invoices: seller and customer, numbers and dates, a table with a header, totals, bank and terms."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

from extraction.synthetic import parts
from extraction.tasks.records import flat

# The phenomena, each with its share of invoices.
SHARES = {
    "columns": 0.5,  # customer on the left, numbers and dates on the right
    "phone": 0.5,
    "tax id": 0.55,
    "due date": 0.6,
    "currency": 0.25,
    "item codes": 0.25,
    "item tax": 0.25,  # a column with the rate of each item
    "item discount": 0.12,
    "wrapped names": 0.2,
    "long": 0.06,
    "narrow": 0.15,
    "noise": 0.2,
    "tax": 0.82,
    "discount": 0.12,
    "other charge": 0.15,
    "bank": 0.55,
    "terms": 0.6,
    "ship to": 0.12,  # an address that is not the customer's
    "injection": 0.015,
}
LABELS = {
    "en": {
        "title": "INVOICE,Invoice,TAX INVOICE,Commercial Invoice",
        "invoice_number": "Invoice No,Invoice #,Invoice Number,Inv. No.,Document No.,Reference",
        "date": "Date,Invoice Date,Issue date,Date of issue,Issued",
        "due_date": "Due Date,Payment due,Pay by,Due,Due on",
        "bill_to": "Bill To,Billed to,Customer,Invoice to,Sold To,Client",
        "heads": "Description,Qty,Unit price,Amount;Item,Quantity,Price,Total;Service,Units,Rate,Line total",
        "subtotal": "Subtotal,Sub-total,Net,Net total",
        "discount": "Discount,Less discount",
        "other_charge": "Shipping,Freight,Delivery,Handling",
        "total": "Total,TOTAL,Amount Due,Total Due,Invoice Total,Balance Due",
    },
    "id": {
        "title": "FAKTUR,INVOICE,Faktur Penjualan",
        "invoice_number": "No. Faktur,No. Invoice,Nomor",
        "date": "Tanggal,Tgl. Faktur,Tanggal Invoice",
        "due_date": "Jatuh Tempo,Tgl. Jatuh Tempo",
        "bill_to": "Kepada,Kepada Yth.,Pelanggan",
        "heads": "Uraian,Qty,Harga,Jumlah;Nama Barang,Jml,Harga Satuan,Total",
        "subtotal": "Subtotal,Jumlah,Sub Total",
        "discount": "Diskon,Potongan",
        "other_charge": "Ongkos Kirim,Biaya Kirim",
        "total": "Total,TOTAL,Total Tagihan,Grand Total",
    },
    "de": {
        "title": "RECHNUNG,Rechnung",
        "invoice_number": "Rechnung Nr.,Rechnungsnummer,Rechnungs-Nr.,Beleg-Nr.",
        "date": "Datum,Rechnungsdatum,Ausgestellt am",
        "due_date": "Fällig am,Zahlbar bis,Fälligkeit",
        "bill_to": "Rechnung an,Kunde,Rechnungsempfänger",
        "heads": "Bezeichnung,Menge,Einzelpreis,Betrag;Leistung,Anzahl,Preis,Gesamt",
        "subtotal": "Zwischensumme,Netto,Summe netto,Nettobetrag",
        "discount": "Rabatt,Nachlass,Skonto",
        "other_charge": "Versand,Lieferung,Fracht",
        "total": "Gesamtbetrag,Rechnungsbetrag,Gesamt,Zu zahlen,Summe brutto",
    },
    "fr": {
        "title": "FACTURE,Facture",
        "invoice_number": "Facture N°,N° de facture,Numéro",
        "date": "Date,Date de facture,Émise le",
        "due_date": "Échéance,Date d'échéance,À payer avant le",
        "bill_to": "Facturé à,Client,Destinataire",
        "heads": "Désignation,Qté,Prix unitaire,Montant;Description,Quantité,PU HT,Total HT",
        "subtotal": "Total HT,Sous-total,Montant HT",
        "discount": "Remise",
        "other_charge": "Livraison,Frais de port",
        "total": "Total TTC,Net à payer,Montant dû",
    },
    "es": {
        "title": "FACTURA,Factura",
        "invoice_number": "Factura,Factura n.º,N.º de factura",
        "date": "Fecha,Fecha de emisión",
        "due_date": "Vencimiento,Fecha de vencimiento",
        "bill_to": "Cliente,Facturar a",
        "heads": "Concepto,Cantidad,Precio,Importe;Descripción,Uds.,P. unitario,Total",
        "subtotal": "Subtotal,Base imponible",
        "discount": "Descuento,Dto.",
        "other_charge": "Envío,Portes",
        "total": "Total,Importe total,Total a pagar",
    },
    "it": {
        "title": "FATTURA,Fattura",
        "invoice_number": "Fattura n.,N. fattura,Numero",
        "date": "Data,Data fattura",
        "due_date": "Scadenza,Da pagare entro",
        "bill_to": "Cliente,Spett.le,Intestatario",
        "heads": "Descrizione,Q.tà,Prezzo,Importo",
        "subtotal": "Imponibile,Subtotale",
        "discount": "Sconto",
        "other_charge": "Trasporto,Spedizione",
        "total": "Totale,Totale fattura,Totale da pagare",
    },
    "nl": {
        "title": "FACTUUR,Factuur",
        "invoice_number": "Factuurnummer,Factuurnr.",
        "date": "Datum,Factuurdatum",
        "due_date": "Vervaldatum,Te betalen voor",
        "bill_to": "Factuur aan,Klant",
        "heads": "Omschrijving,Aantal,Prijs,Bedrag",
        "subtotal": "Subtotaal,Totaal excl. btw",
        "discount": "Korting",
        "other_charge": "Verzendkosten,Bezorging",
        "total": "Totaal,Te betalen,Totaal incl. btw",
    },
}
SERVICES = (
    "Consulting,Web Design,Hosting,Support Plan,License Fee,Installation,Maintenance,Training Day,Translation,Toner,"
    "Data Migration,Security Audit,Cleaning,Transport,Packaging,Graphic Design,Photography,Legal Advice,Bookkeeping,"
    "Desk Chair,Laptop Stand,Monitor 27in,Keyboard,Office Desk,Filing Cabinet,Projector,Switch 24 Port,Steel Bolt M8,"
    "Copper Pipe 15mm,Paint 10L,Cable 50m,Workshop,Proofreading,Catering,Room Hire,Carpet Tiles,LED Panel,Safety Gloves"
).split(",")
QUALITIES = (
    "Standard,Premium,monthly,per hour,per day,Black,White,Pro,on site,remote,Type A,Series 3,2-year,Set of 4"
).split(",")
MORE = (
    "including travel,for the month of May,as agreed by phone,order 4711,delivered on pallet,second floor,ex works,"
    "without installation,with three years of warranty,phase 2 of the project,see attached list"
).split(",")
TERMS = (
    "Payment within 30 days,Thank you for your business,Bank transfer only,Page 1 of 1,Payable without deduction,"
    "Goods remain our property until paid in full,Registered in England No. {n},Please quote the number above,"
    "Late payments bear interest of 5% a year,Questions? Call us on {n},VAT exempt under article 196,E. & O. E.,"
    "Delivery note {n},Your order {n},Customer no. {n},Terms: net 14 days"
).split(",")


def invoice(
    draw: random.Random, faker: Any, country: parts.Country, items: int | None = None
) -> tuple[parts.Page, dict]:
    """A page and the record of what is printed on it, with so many items if that is said."""
    made = Invoice(draw, faker, country, SHARES)
    made.seller()
    made.parties()
    if made.has("currency"):
        made.record["currency"] = country.currency
        made.page.line((0, f"{draw.choice(('Currency', 'Currency:', 'All amounts in'))} {country.currency}"))
    made.rate = draw.choice(country.rates)
    made.totals(made.table(items))
    made.below()
    return made.page, made.record


class Invoice(parts.Sheet):
    """One invoice while it is printed."""

    def __init__(self, *about: Any):
        super().__init__(*about)
        draw, labels = self.draw, LABELS[self.country.language]
        self.width = draw.randint(58, 70) if self.has("narrow") else draw.randint(76, 100)
        self.names = {name: draw.choice(text.split(",")) for name, text in labels.items() if name != "heads"}
        self.heads = labels["heads"].split(";")

    def seller(self) -> None:
        draw, page, width = self.draw, self.page, self.width
        address = parts.address(self.faker, 3)
        seller = {"name": page.seen(parts.company(self.faker)), "address": " ".join(address)[:160]}
        title = [(width, self.names["title"], "right")] if draw.random() < 0.5 else []
        page.line((0, seller["name"]), *title)
        for row in [seller["address"]] if draw.random() < 0.4 else parts.wrap(seller["address"], 40):
            page.line((0, row))
        if self.has("phone"):
            seller["phone"] = flat(self.faker.phone_number())
            mail = [(width, self.faker.company_email(), "right")] if draw.random() < 0.4 else []
            page.line((0, f"{draw.choice(('Tel.', 'Phone:', 'T', 'Tel:'))} {seller['phone']}"), *mail)
        if self.has("tax id"):
            name, seller["tax_id"] = parts.tax_id(draw, self.country)
            page.line((0, f"{name}{draw.choice((':', '', ' :'))} {seller['tax_id']}"))
        if not title:
            page.centered(self.names["title"], width, draw.choice((1.0, 1.4)))
        self.record["merchant"] = seller

    def parties(self) -> None:
        """The customer, and number and dates: side by side or one after the other."""
        draw, faker, page, width, names = self.draw, self.faker, self.page, self.width, self.names
        customer = {"name": page.seen(parts.company(faker) if draw.random() < 0.7 else flat(faker.name()))}
        customer["address"] = " ".join(parts.address(faker, 3))[:160]
        issued, style, mark = parts.any_date(draw), draw.choice(self.country.dates), draw.choice((":", ":", "", " :"))
        start = draw.choice(("INV-", f"{issued.year}-", "R", "F", "", f"{issued.year}/"))
        facts = [("invoice_number", start + parts.digits(draw, draw.randint(3, 7))), ("date", issued.strftime(style))]
        if self.has("due date"):
            days = draw.choice((7, 14, 30, 60))
            facts.append(("due_date", (issued + timedelta(days=days)).strftime(style)))
        if draw.random() < 0.4:
            draw.shuffle(facts)
        self.record |= {"customer": customer, **dict(facts)}
        left = [names["bill_to"] + mark, customer["name"], *parts.wrap(customer["address"], min(44, width - 34))]
        right = [f"{names[name]}{mark} {value}" for name, value in facts]
        if not self.has("columns"):
            for text in (*left, *right) if draw.random() < 0.5 else (*right, *left):
                page.line((0, text))
        else:
            labels_apart = draw.random() < 0.5
            for n in range(max(len(left), len(facts))):
                cells: list[tuple] = [(0, left[n])] if n < len(left) else []
                if n < len(facts) and labels_apart:
                    cells += [(width - 32, names[facts[n][0]] + mark), (width, facts[n][1], "right")]
                elif n < len(facts):
                    cells += [(width - 32, right[n])]
                page.line(*cells)
        if self.has("ship to"):
            page.line((0, f"Ship to: {parts.company(faker)}, {' '.join(parts.address(faker, 2))}"[: width + 10]))

    def table(self, items: int | None = None) -> int:
        """Print the items; returns what they come to."""
        draw, page, width = self.draw, self.page, self.width
        start = 9 if self.has("item codes") else 0
        ends = {"quantity": width - 28, "unit_price": width - 14, "amount": width}
        heads = draw.choice(self.heads).split(",")
        cells = [(0, "No.")] if start else []
        cells += [(start, heads[0])]
        cells += [(end, head, "right") for end, head in zip(ends.values(), heads[1:], strict=True)]
        page.line(*cells)
        count = draw.randint(10, 24) if self.has("long") else draw.choice((1, 1, 2, 2, 3, 4, 5, 6, 8))
        count = items or count
        wrapped = {draw.randrange(count)} if self.has("wrapped names") else set()
        reduced = {draw.randrange(count)} if self.has("item discount") else set()
        running, scale, net = draw.random() < 0.5, draw.choice((1, 4, 15)), 0
        self.record["line_items"] = []
        for number in range(count):
            quantity, price = draw.choice((1, 1, 2, 3, 5, 10, draw.randint(1, 40))), self.price()
            price *= scale
            amount = price * quantity
            name = draw.choice(SERVICES)
            if draw.random() < 0.45:
                name += f" {draw.choice(QUALITIES)}"
            more = draw.choice(MORE) if number in wrapped else ""
            name, more = page.seen(name), page.seen(more)
            item = {"description": f"{name} {more}".strip()}
            if start:
                item["number"] = str(number + 1) if running else parts.digits(draw, draw.choice((4, 6)))
            item |= {"quantity": draw.choice(("{}", "{}", "{}", "{}.00", "{} h")).format(quantity)}
            item |= {"unit_price": self.shown(price), "amount": self.shown(amount)}
            cells = [(0, item["number"])] if start else []
            cells.append((start, name))
            if self.has("item tax"):
                cells.append((width - 36, f"{self.rate:g}%", "right"))
            page.line(*cells, *((end, item[key], "right") for key, end in ends.items()))
            if more:
                page.line((start, more))
            if number in reduced:
                percent = draw.choice((5, 10, 20))
                off = parts.share_of(amount, percent)
                item["discount"] = self.money.show(-off)
                page.line((start + 2, f"Discount {percent}%"), (width, item["discount"], "right"))
                amount -= off
            self.record["line_items"].append(item)
            net += amount
        return net

    def totals(self, net: int) -> None:
        """Subtotal, discount, freight, tax and total. The tax is the printed rate of what stands above it."""
        draw, names, rate, due = self.draw, self.names, self.rate, net
        rows = [("subtotal", names["subtotal"], net)] if self.has("tax") or draw.random() < 0.5 else []
        if self.has("discount"):
            percent = draw.choice((2, 3, 5, 10))
            rows.append(("discount", f"{names['discount']} {percent}%", -parts.share_of(net, percent)))
            due += rows[-1][2]
        if self.has("other charge"):
            rows.append(("other_charge", names["other_charge"], self.price()))
            due += rows[-1][2]
        if self.has("tax"):
            kind, tax = draw.choice(self.country.taxes), parts.share_of(due, rate)
            rows.append(
                ("tax", draw.choice((f"{kind} {rate:g}%", f"{rate:g}% {kind}", f"{kind} ({rate:g}%)", kind)), tax)
            )
            due += tax
        rows.append(("total", names["total"], due))
        column, mark = draw.choice((self.width - 36, self.width - 30, 0)), draw.choice(("", "", ":"))
        for name, text, value in rows:
            self.record[name] = self.shown(value)
            self.page.line((column, text + mark), (self.width, self.record[name], "right"))

    def below(self) -> None:
        draw, page = self.draw, self.page
        if self.has("bank"):
            account = f"IBAN{draw.choice((' ', ': '))}{self.faker.iban()}"
            page.line((0, account), (self.width - 30, f"BIC {self.faker.swift()}"))
        if self.has("terms"):
            for text in draw.sample(TERMS, k=draw.randint(1, 3)):
                page.line((draw.choice((0, 0, 10)), text.format(n=parts.digits(draw, draw.choice((5, 8, 10))))))
        if self.has("injection"):
            page.line((0, draw.choice(parts.INJECTIONS)))

    def shown(self, value: int) -> str:
        return self.page.seen_amount(self.money.show(value))
