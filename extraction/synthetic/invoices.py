"""A4 invoices: seller and customer, numbers and dates, a table with a header, totals, bank and terms."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

from extraction.synthetic import parts

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
QUALITIES = "Standard,Premium,monthly,per hour,per day,Black,White,Pro,on site,remote,Type A,Series 3,2-year,Set of 4"
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


def invoice(draw: random.Random, faker: Any, country: parts.Country) -> tuple[parts.Page, dict]:
    """A page and the record of what is printed on it."""
    page, record = parts.Page(draw, SHARES), {}
    money = parts.Money.of(draw, country)
    width = draw.randint(58, 70) if "narrow" in page.traits else draw.randint(76, 100)
    names = {name: draw.choice(text.split(",")) for name, text in LABELS[country.language].items() if name != "heads"}
    _seller(draw, faker, country, page, record, names, width)
    _parties(draw, faker, country, page, record, names, width)
    if "currency" in page.traits:
        record["currency"] = money.currency
        page.line((0, f"{draw.choice(('Currency', 'Currency:', 'All amounts in'))} {record['currency']}"))
    rate = draw.choice(country.rates)
    net = _table(draw, country, page, record, money, width, rate)
    _totals(draw, country, page, record, names, money, width, net, rate)
    if "bank" in page.traits:
        page.line((0, f"IBAN{draw.choice((' ', ': '))}{faker.iban()}"), (width - 30, f"BIC {faker.swift()}"))
    if "terms" in page.traits:
        for text in draw.sample(TERMS, k=draw.randint(1, 3)):
            page.line((draw.choice((0, 0, 10)), text.format(n=parts.digits(draw, draw.choice((5, 8, 10))))))
    if "injection" in page.traits:
        page.line((0, draw.choice(parts.INJECTIONS)))
    return page, record


def _seller(
    draw: random.Random,
    faker: Any,
    country: parts.Country,
    page: parts.Page,
    record: dict,
    names: dict[str, str],
    width: int,
) -> None:
    address = parts.address(faker, 3)
    seller = {"name": page.seen(parts.company(faker)), "address": " ".join(address)[:160]}
    title = [(width, names["title"], "right")] if draw.random() < 0.5 else []
    page.line((0, seller["name"]), *title)
    if draw.random() < 0.4:
        page.line((0, seller["address"]))
    else:
        for row in parts.wrap(seller["address"], 40):
            page.line((0, row))
    if "phone" in page.traits:
        seller["phone"] = parts.flattened(faker.phone_number())
        mail = [(width, faker.company_email(), "right")] if draw.random() < 0.4 else []
        page.line((0, f"{draw.choice(('Tel.', 'Phone:', 'T', 'Tel:'))} {seller['phone']}"), *mail)
    if "tax id" in page.traits:
        name, seller["tax_id"] = parts.tax_id(draw, country)
        page.line((0, f"{name}{draw.choice((':', '', ' :'))} {seller['tax_id']}"))
    if not title:
        page.centered(names["title"], width, draw.choice((1.0, 1.4)))
    record["merchant"] = seller


def _parties(
    draw: random.Random,
    faker: Any,
    country: parts.Country,
    page: parts.Page,
    record: dict,
    names: dict[str, str],
    width: int,
) -> None:
    """The customer, and number and dates: side by side or one after the other."""
    customer = {"name": page.seen(parts.company(faker) if draw.random() < 0.7 else parts.flattened(faker.name()))}
    address = parts.address(faker, 3)
    customer["address"] = " ".join(address)[:160]
    issued, style, mark = parts.any_date(draw), draw.choice(country.dates), draw.choice((":", ":", "", " :"))
    start = draw.choice(("INV-", f"{issued.year}-", "R", "F", "", f"{issued.year}/"))
    facts = [("invoice_number", start + parts.digits(draw, draw.randint(3, 7))), ("date", issued.strftime(style))]
    if "due date" in page.traits:
        days = draw.choice((7, 14, 30, 60))
        facts.append(("due_date", (issued + timedelta(days=days)).strftime(style)))
    if draw.random() < 0.4:
        draw.shuffle(facts)
    record |= {"customer": customer, **dict(facts)}
    left = [names["bill_to"] + mark, customer["name"], *parts.wrap(customer["address"], min(44, width - 34))]
    if "columns" not in page.traits:
        right = [f"{names[name]}{mark} {value}" for name, value in facts]
        for text in (*left, *right) if draw.random() < 0.5 else (*right, *left):
            page.line((0, text))
    else:
        labels_apart = draw.random() < 0.5
        for n in range(max(len(left), len(facts))):
            cells: list[tuple] = [(0, left[n])] if n < len(left) else []
            if n < len(facts):
                name, value = facts[n]
                if labels_apart:
                    cells += [(width - 32, names[name] + mark), (width, value, "right")]
                else:
                    cells += [(width - 32, f"{names[name]}{mark} {value}")]
            page.line(*cells)
    if "ship to" in page.traits:
        page.line((0, f"Ship to: {parts.company(faker)}, {' '.join(parts.address(faker, 2))}"[: width + 10]))


def _table(
    draw: random.Random,
    country: parts.Country,
    page: parts.Page,
    record: dict,
    money: parts.Money,
    width: int,
    rate: float,
) -> int:
    """Print the items; returns what they come to."""
    traits = page.traits
    start = 9 if "item codes" in traits else 0
    ends = {"quantity": width - 28, "unit_price": width - 14, "amount": width}
    heads = draw.choice(LABELS[country.language]["heads"].split(";")).split(",")
    cells = [(0, "No.")] if start else []
    cells += [(start, heads[0])]
    cells += [(end, head, "right") for end, head in zip(ends.values(), heads[1:], strict=True)]
    page.line(*cells)
    count = draw.randint(10, 24) if "long" in traits else draw.choice((1, 1, 2, 2, 3, 4, 5, 6, 8))
    wrapped = {draw.randrange(count)} if "wrapped names" in traits else set()
    reduced = {draw.randrange(count)} if "item discount" in traits else set()
    running, scale, net = draw.random() < 0.5, draw.choice((1, 4, 15)), 0
    record["line_items"] = []
    for number in range(count):
        quantity, price = draw.choice((1, 1, 2, 3, 5, 10, draw.randint(1, 40))), parts.prices(draw, country, money)
        price *= scale
        amount = price * quantity
        name = draw.choice(SERVICES)
        if draw.random() < 0.45:
            name += f" {draw.choice(QUALITIES.split(','))}"
        more = draw.choice(MORE) if number in wrapped else ""
        name, more = page.seen(name), page.seen(more)
        item = {"description": f"{name} {more}".strip()}
        if start:
            item["number"] = str(number + 1) if running else parts.digits(draw, draw.choice((4, 6)))
        item |= {"quantity": draw.choice(("{}", "{}", "{}", "{}.00", "{} h")).format(quantity)}
        item |= {"unit_price": page.seen_amount(money.show(price)), "amount": page.seen_amount(money.show(amount))}
        cells = [(0, item["number"])] if start else []
        cells.append((start, name))
        if "item tax" in traits:
            cells.append((width - 36, f"{rate:g}%", "right"))
        page.line(*cells, *((end, item[key], "right") for key, end in ends.items()))
        if more:
            page.line((start, more))
        if number in reduced:
            percent = draw.choice((5, 10, 20))
            off = parts.share_of(amount, percent)
            item["discount"] = money.show(-off)
            page.line((start + 2, f"Discount {percent}%"), (width, item["discount"], "right"))
            amount -= off
        record["line_items"].append(item)
        net += amount
    return net


def _totals(
    draw: random.Random,
    country: parts.Country,
    page: parts.Page,
    record: dict,
    names: dict[str, str],
    money: parts.Money,
    width: int,
    net: int,
    rate: float,
) -> None:
    """Subtotal, discount, freight, tax and total. The tax is the printed rate of what stands above it."""
    rows = [("subtotal", names["subtotal"], net)] if "tax" in page.traits or draw.random() < 0.5 else []
    due = net
    if "discount" in page.traits:
        percent = draw.choice((2, 3, 5, 10))
        off = parts.share_of(net, percent)
        rows.append(("discount", f"{names['discount']} {percent}%", -off))
        due -= off
    if "other charge" in page.traits:
        charge = parts.prices(draw, country, money)
        rows.append(("other_charge", names["other_charge"], charge))
        due += charge
    if "tax" in page.traits:
        tax = parts.share_of(due, rate)
        kind = draw.choice(country.taxes)
        rows.append(("tax", draw.choice((f"{kind} {rate:g}%", f"{rate:g}% {kind}", f"{kind} ({rate:g}%)", kind)), tax))
        due += tax
    rows.append(("total", names["total"], due))
    column, mark = draw.choice((width - 36, width - 30, 0)), draw.choice(("", "", ":"))
    for name, text, value in rows:
        record[name] = page.seen_amount(money.show(value))
        page.line((column, text + mark), (width, record[name], "right"))
