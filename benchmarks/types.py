"""Is the type of a document found by its text? A table of confusions: what it is, against what it is taken for.

    python -m benchmarks.types
    python -m benchmarks.types --data FOLDER          with more: einvoices, cuad, contractnli, tatqa, funsd_train, ...
    python -m benchmarks.types --data FOLDER --tuning the documents that the weights were made with

Invoices and receipts are made from records in nine languages (labels, terms, whole amounts, as they are customary
there), by the project's generator, and taken from CORD; contracts from CUAD; other documents are the generator's
letters, pages of TAT-QA and forms of FUNSD. The documents of a --tuning run are others than those of the measurement.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks import shared
from extraction import cord, files
from extraction.reading import layout
from extraction.reading.words import Word
from extraction.synthetic import generate
from extraction.tasks import detection

# Invoice, number, date, item, count, price, amount, net, tax, total, terms; two ways to say each.
LABELS = {
    "en": ("Invoice|Invoice", "No.|Number", "Date|Dated", "Item|Description", "Qty|Count", "Price|Unit price",
           "Amount|Line total", "Net|Subtotal", "VAT|Sales tax", "Total due|Amount payable",
           "Please pay within 14 days. Goods remain our property until paid. Thank you for your order.|"
           "Payment is due in 30 days. Late payments bear interest. Prices include delivery."),
    "de": ("Rechnung|Rechnung", "Nr.|Rechnungsnummer", "Datum|vom", "Bezeichnung|Artikel", "Menge|Anzahl",
           "Preis|Einzelpreis", "Betrag|Gesamt", "Netto|Zwischensumme", "MwSt.|Umsatzsteuer", "Gesamtbetrag|Endbetrag",
           "Zahlbar innerhalb 14 Tagen ohne Abzug. Die Ware bleibt bis zur Zahlung unser Eigentum. Vielen Dank.|"
           "Bitte überweisen Sie den Betrag. Es gelten unsere Bedingungen. Gerichtsstand ist Köln."),
    "fr": ("Facture|Facture", "N°|Numéro", "Date|Le", "Désignation|Article", "Qté|Quantité", "P.U.|Prix unitaire",
           "Montant|Total", "Total HT|Sous-total", "TVA|T.V.A.", "Total TTC|Net à payer",
           "Payable à 30 jours. Pas d'escompte. En cas de retard, une indemnité de 40 euros est due.|"
           "Merci de votre confiance. Règlement par virement. La marchandise reste notre propriété."),
    "nl": ("Factuur|Factuur", "Nr.|Factuurnummer", "Datum|Van", "Omschrijving|Artikel", "Aantal|Stuks",
           "Prijs|Stukprijs", "Bedrag|Totaal", "Subtotaal|Netto", "Btw|BTW 21%", "Totaal|Te betalen",
           "Gelieve binnen 14 dagen te betalen. Na die tijd rekenen wij rente. Dank u wel.|"
           "Wij danken u voor uw bestelling. De goederen blijven ons eigendom. Vragen? Bel ons."),
    "es": ("Factura|Factura", "N.º|Número", "Fecha|De fecha", "Concepto|Descripción", "Cant.|Cantidad",
           "Precio|Precio unitario", "Importe|Total", "Base imponible|Subtotal", "IVA|I.V.A.", "Total|Total a pagar",
           "Pago a 30 días. Los precios no incluyen el transporte. Gracias por su compra.|"
           "Forma de pago: transferencia. Rogamos indiquen el número. Reciban un saludo."),
    "it": ("Fattura|Fattura", "N.|Numero", "Data|Del", "Descrizione|Articolo", "Qtà|Quantità", "Prezzo|Prezzo unitario",
           "Importo|Totale", "Imponibile|Subtotale", "IVA|Imposta", "Totale|Da pagare",
           "Pagamento a 30 giorni. La merce resta nostra fino al saldo. Grazie.|"
           "Si prega di pagare con bonifico. In caso di ritardo si applicano interessi. Cordiali saluti."),
    "pt": ("Fatura|Fatura", "N.º|Número", "Data|De", "Descrição|Artigo", "Qtd|Quantidade", "Preço|Preço unitário",
           "Valor|Total", "Subtotal|Base", "IVA|Imposto", "Total a pagar|Total",
           "Pagamento a 30 dias. Os bens foram colocados à disposição. Obrigado.|"
           "Agradecemos a sua preferência. Em caso de atraso são devidos juros. Processado por computador."),
    "pl": ("Faktura|Faktura", "Nr|Numer", "Data|Z dnia", "Nazwa|Opis", "Ilość|Szt.", "Cena|Cena netto", "Kwota|Wartość",
           "Razem netto|Netto", "VAT|PTU", "Do zapłaty|Suma",
           "Termin płatności 14 dni. Towar pozostaje własnością sprzedawcy. Dziękujemy.|"
           "Prosimy o przelew. W razie zwłoki naliczamy odsetki. Zapraszamy ponownie."),
    "cs": ("Faktura|Faktura", "Č.|Číslo", "Datum|Ze dne", "Popis|Položka", "Množství|Ks", "Cena|Jedn. cena",
           "Částka|Celkem", "Základ|Mezisoučet", "DPH|Daň", "Celkem k úhradě|Celkem",
           "Splatnost 14 dní. Zboží zůstává do zaplacení naším majetkem. Děkujeme.|"
           "Prosíme o převod. Při prodlení účtujeme úrok. Těšíme se na Vás."),
}  # fmt: skip


def printed(gold: dict, number: int, way: int) -> str:
    """An e-invoice as a page in one of the languages, with whole amounts and with terms now and then."""
    language = list(LABELS)[number % len(LABELS)]
    head, no, date, item, count, price, amount, net, tax, total, terms = (
        label.split("|")[way] for label in LABELS[language]
    )

    def money(value: str | None) -> str:
        if value is None:
            return ""
        if number % 4 == 3:
            return str(round(float(value)))
        shown = f"{float(value):,.2f}"
        return shown if language == "en" else shown.translate(str.maketrans(",.", ".,"))

    day = gold.get("issue_date") or "2024-03-15"
    rows = [gold["seller"].get("name") or "Muster", gold["seller"].get("street") or "", head]
    rows += [f"{no} {gold['invoice_number']}", f"{date} {day}", f"{item}   {count}   {price}   {amount}"]
    rows += [
        "   ".join(
            [
                line.get("name") or "-",
                line.get("quantity") or "1",
                *map(money, (line.get("unit_price"), line["amount"])),
            ]
        )
        for line in gold["lines"]
    ]
    rows += [f"{net}   {money(gold.get('line_total'))}", f"{tax} 19 %   {money(gold.get('tax_total'))}"]
    rows += [f"{total}   {money(gold.get('grand_total'))}", *([terms] if number % 3 else terms.split(". "))]
    if number % 2:  # terms of both kinds, as running text before and behind
        rows = [*rows[:3], *textwrap.wrap(LABELS[language][-1].replace("|", " "), 70), *rows[3:], LABELS[language][-1]]
    if gold.get("iban"):
        rows.append(f"IBAN {gold['iban']}")
    return "\n".join(filter(None, rows))


def documents(data: Path | None, tuning: bool) -> Iterator[tuple[str, str, str]]:
    """(set, type, text) of each document."""
    part, samples = int(tuning), shared.SAMPLES
    folder = data or Path("nowhere")
    for kind, task in (("receipt", "receipt"), ("invoice", "receipt"), ("letter", "document")):
        for made in generate.documents(kind, 60, 101 + part):
            text = layout.layout([Word(w[0], tuple(w[1:])) for w in made["words"]]).text
            yield f"generated: {kind}", task, text
    for truth in shared.truths(samples / "cord.jsonl")[part::2]:
        yield "CORD", "receipt", cord.gold_words(truth)[0].text
    for i, row in enumerate(shared.rows(folder / "einvoices/invoices.jsonl.gz")[part::2]):
        for way in range(3):
            yield "e-invoices, nine languages", "receipt", printed(row["gold"], 4 * i + way, part)
    contracts = json.loads(shared.read(samples / "cuad.json"))["data"]
    if (folder / "cuad").exists():
        contracts = json.loads(shared.read(folder / "cuad/CUADv1_490.json.gz"))["data"]
    for entry in contracts[part::2][:60]:
        yield "CUAD", "contract", entry["paragraphs"][0]["context"]
    pages = json.loads(shared.read(samples / "tatqa.json"))
    for i, page in enumerate(pages[part::2][:60]):
        table = ["   ".join(row) for row in page["table"]["table"]] if i % 2 and "table" in page else []
        yield "TAT-QA", "document", "\n".join([*table, *(p["text"] for p in page["paragraphs"])])
    for path in sorted((folder / "funsd_train/annotations").glob("*.json"))[part::2][:60]:
        words = [
            word for block in json.loads(shared.read(path))["form"] for word in block["words"] if word["text"].strip()
        ]
        yield "FUNSD", "document", layout.layout([Word(w["text"], tuple(w["box"])) for w in words]).text
    for block in (Path(__file__).with_name("texts.txt").read_text(encoding="utf-8").split("## ")[1:])[part::2]:
        (task, _), text = block.split("\n", 1)[0].split(), block.split("\n", 1)[1]
        yield f"our own {task}s, nine languages", task, text
    for row in shared.rows(folder / "receipts_silver/zenodo_6371710.jsonl.gz")[100 * part : 100 * part + 100]:
        yield "Portuguese receipts", "receipt", row["text"]
    if not tuning:  # sets that nothing was tuned on
        for row in shared.rows(folder / "receipts_silver/expressexpense_srd.jsonl.gz"):
            yield "restaurant receipts", "receipt", row["text"]
        if (folder / "contractnli").exists():
            for entry in json.loads(shared.read(folder / "contractnli/dev_54.json.gz"))["documents"]:
                yield "ContractNLI", "contract", entry["text"]


def main() -> int:
    p = shared.parser(__doc__)
    p.add_argument("--data", type=Path, help="a folder with the folders named above")
    p.add_argument("--tuning", action="store_true")
    p.add_argument("--show", action="store_true", help="print the beginning of each document that is taken for another")
    args = p.parse_args()
    confusions: dict[tuple[str, str], Counter] = {}
    for name, task, text in documents(args.data, args.tuning):
        found = detection.detect(text).name
        confusions.setdefault((name, task), Counter())[found] += 1
        if args.show and found != task:
            print(name, found, detection.signs(text), repr(text[:300]), file=sys.stderr)
    types = ("receipt", "contract", "document")
    rows = [
        [name, task, *(counts[other] for other in types), f"{counts[task] / counts.total():.1%}"]
        for (name, task), counts in confusions.items()
    ]
    for task in types:
        of_task = sum((counts for (_, its), counts in confusions.items() if its == task), Counter())
        right, every = of_task[task], of_task.total()
        rows.append(["**all**", task, "", "", "", f"{right} of {every} ({right / every:.1%})"])
    heads = ["documents", "are", *(f"taken for {name}" for name in types), "right"]
    print(files.markdown_table(heads, rows), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
