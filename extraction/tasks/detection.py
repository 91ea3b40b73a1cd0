"""Which type of document a text is, by signs that do not depend on its language, and some words in nine languages."""

from __future__ import annotations

import re
from math import log

from extraction.tasks.schemas import CONTRACT, DOCUMENT, RECEIPT, Task

# An amount: with cents, with groups of three digits, or with a currency at it.
_AMOUNT = re.compile(
    r"(?<![\w.,/:-])[-−(]?(?:[A-Z]{0,3}[$€£¥₹]\s?|(?:EUR|USD|GBP|CHF|R[ps]\.?|RM|zł|Kč|kr)\s?)?"
    r"(?:\d{1,3}(?:[.,' ]\d{3})+(?:[.,]\d{2,3})?|\d+[.,]\d{2,3}|(?<=[$€£¥₹])\d+)"
    r"(?:\s?(?:[$€£¥₹%]|EUR|USD|GBP|CHF|zł|PLN|Kč|CZK|kr)|[-)A-Z])?(?![\w/:]|[.,]\d)"
)
# Rows and words of receipts and invoices.
_TOTAL = re.compile(
    r"(?i)\b(?:sub\W?total|compra|quantia|total\w*|amount due|balance due|summe|gesamt\w*|zwischensumme"
    r"|(?:rechnungs|end)?betrag|netto\w*|brutto\w*|montant|net à payer|totaal|te betalen|bedrag|importe|a pagar"
    r"|importo|da pagare|totale|imponibile|soma|valor|razem|suma|do zapłaty|celkem|k úhradě|částka|jumlah|grand"
    r"|ttl|cash|change|bargeld|gegeben|rückgeld|tunai|grandtotal|diskon|kembali\w*|bayar|contant|contanti|efectivo"
    r"|cambio|numerário|troco|gotówka|hotově|espèces|rendu)\b"
)
_HEAD = re.compile(
    r"(?i)\b(?:invoice|receipt|credit note|bill to|visa|mastercard|multibanco|tpa|terminal|rechnung\w*|quittung"
    r"|gutschrift|kassenbon|beleg|facture|reçu|avoir|ticket|factuur\w*|kassabon|bon|creditnota|factura|recibo"
    r"|abono|fattura|ricevuta|scontrino|fatura|faktura|paragon|rachunek|účtenka|doklad|nota|struk|kwitansi|faktur"
    r"|cashier|kasir|kassa|kasse|qty|quantity|menge|anzahl|quantité|qté|aantal|cantidad|cant|quantità|qtà"
    r"|quantidade|qtd|ilość|množství|unit price|einzelpreis|prix unitaire|prijs|precio|prezzo|preço|cena)\b"
)
_TAX = re.compile(
    r"(?i)\b(?:vat|gst|sales tax|tax|mwst|ust|mehrwertsteuer|umsatzsteuer|tva|btw|iva|i\.v\.a|dph|ptu|ppn|pb1|nip"
    r"|nif|nipc|p\.?\s?iva|cif|siret|siren|kvk|dič|ičo|ust-?idnr|steuernummer|trn|abn|npwp|iban|bic)\b"
)
_DATE = re.compile(r"(?<!\d)(?:\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.] ?\d\d?[-/.] ?\d{2,4})(?!\d)")
# Words of contracts, in English and in eight more languages, whose documents have fewer of them.
_LEGAL = re.compile(
    r"(?i)\b(?:agreements?|hereby|hereto|hereunder|hereof|thereof|herein\w*|whereas|shall|party|parties|licensee"
    r"|licensor|witnesseth|governing law|terminat(?:e|es|ed|ion)|indemnif\w+|exhibit|confidential information"
    r"|warrant\w*|covenants?|undersigned|in witness)\b"
)
_LEGAL_ELSEWHERE = re.compile(
    r"(?i)\b(?:vertrag\w*|vereinbarung\w*|partei(?:en)?|vertragspartei\w*|kündigung\w*|auftragnehmer\w*"
    r"|auftraggeber\w*|gerichtsstand|haftung|schriftform|verpflichtet|contrats?|les parties|résiliation|présent\w*"
    r"|article \d+|soussignée?s?|s'engagent?|overeenkomst\w*|partijen|opdrachtgever|opdrachtnemer|opzegging"
    r"|artikel|contratos?|acuerdo|partes|cláusula\w*|rescisión|obligaciones|contratto|accordo|parti|clausol[ae]"
    r"|recesso|articolo|obblighi|contraent[ei]|acordo|rescisão|obrigações|cláusulas?|contraentes?|umow\w+"
    r"|stron[ayę]?\w*|wypowiedzeni\w+|zobowiąz\w+|paragraf\w*|smlouv\w+|smluvní\w*|stran[ay]?|výpověd\w+|článek"
    r"|závaz\w+|perjanjian|pihak|pasal)\b|§\s?\d"
)


def signs(text: str) -> dict[str, float]:
    """What speaks for one type or another. Shares are of the rows, or of the words."""
    rows = [row.strip() for row in text.split("\n") if row.strip()] or [""]
    words = max(len(text.split()), 1)
    amounts = [_AMOUNT.findall(row) for row in rows]
    # a row of an invoice has a column of amounts at its end; one of a report has a column for each year
    ends = sum(bool(re.search(r"\d[\d.,]*[-)A-Z%€]?$", row)) for row in rows)
    column = sum(1 <= len(found) <= 4 and len(row.split()) <= 16 for row, found in zip(rows, amounts, strict=True))
    prose = sum(len(row.split()) for row in rows if len(row.split()) > 12 or re.search(r"[^\W\d_]{3}[.;:]$", row))
    return {
        "words": log(words),
        "amounts": column / len(rows),
        "ends": ends / len(rows),
        "totals": min(totals(text), 4) / 4,
        "head": min(len(set(map(str.casefold, _HEAD.findall(text[:20_000])))), 4) / 4,
        "tax": min(len(set(map(str.casefold, _TAX.findall(text[:20_000])))), 3) / 3,
        "dates": min(len(_DATE.findall(text[:20_000])), 2) / 2,
        "prose": prose / words,
        "legal": min(len(_LEGAL.findall(text)) / words, 0.08) / 0.08,
        "elsewhere": min(len(_LEGAL_ELSEWHERE.findall(text)) / words, 0.08) / 0.08,
    }


def totals(text: str) -> int:
    """How many rows of a text name a sum."""
    rows = (row for row in text.split("\n") if len(row.split()) <= 10)
    return sum(bool(_TOTAL.search(row) and re.search(r"\d{2}", row)) for row in rows)


# How much each sign speaks for a receipt or invoice and for a contract, against any other document: fitted by logistic
# regression on `python -m benchmarks.types --tuning`, and rounded. Legal words of all languages count the same.
_WEIGHTS = {
    RECEIPT.name: (
        0.7,
        {"words": -0.7, "amounts": 1.9, "ends": 1.7, "totals": 1.9, "head": 2.8, "tax": 2.5}
        | {"dates": 0.5, "prose": -1.5},
    ),
    CONTRACT.name: (
        -4.0,
        {"words": 0.4, "amounts": -0.6, "ends": -0.9, "totals": -0.8, "dates": 0.4, "prose": 0.9}
        | {"legal": 3.3, "elsewhere": 3.3},
    ),
}
LEAST = 3  # words of three letters or more, and numbers, that a document has


def scores(text: str) -> dict[str, float]:
    """How much speaks for each type; another document has 0, and a text that is no document has none."""
    if len(re.findall(r"[^\W\d_]{3,}|\d+", text[:20_000])) < LEAST:
        return {}
    found = signs(text)
    return {DOCUMENT.name: 0.0} | {
        name: start + sum(weight * found[sign] for sign, weight in weights.items())
        for name, (start, weights) in _WEIGHTS.items()
    }


def detect(text: str) -> Task:
    """The document type of a text: what most speaks for."""
    found = scores(text)
    best = max(found, key=found.__getitem__, default=DOCUMENT.name)
    return {task.name: task for task in (RECEIPT, CONTRACT, DOCUMENT)}[best]
