"""Which type of document a text is."""

from __future__ import annotations

import re

from extraction.tasks.schemas import CONTRACT, DOCUMENT, RECEIPT, Task

_AMOUNT = re.compile(r"(?<![\d/.-])\d{1,3}(?:[.,]\d{3})+(?:[.,]\d{2})?\b|(?<![\d/.-])\d+[.,]\d{2}(?![\d/.-])")
_RECEIPT_WORDS = re.compile(
    r"\b(?:sub\s?-?total|total|cash|change|tunai|kembali|qty|tax|vat|ppn|invoice|receipt|amount due|bill to"
    r"|balance due)\b",
    re.IGNORECASE,
)
_CONTRACT_WORDS = re.compile(
    r"\b(?:agreement|hereby|hereto|hereunder|thereof|herein|whereas|shall|party|parties|licensee|licensor|witnesseth"
    r"|governing law|terminat(?:e|ion)|indemnif\w+|exhibit)\b",
    re.IGNORECASE,
)


def detect(text: str) -> Task:
    """The document type of a text, by its words: receipts are short and full of amounts, contracts of legal words."""
    words = max(len(text.split()), 1)
    contract = len(_CONTRACT_WORDS.findall(text)) / words
    amounts, receipt_words = len(_AMOUNT.findall(text)), len(_RECEIPT_WORDS.findall(text))
    if words >= 60 and contract > 0.03:
        return CONTRACT
    if words <= 600 and (receipt_words + amounts) / words > 0.06 and (amounts or receipt_words >= 2):
        prose = len(re.findall(r"[a-z]{3}[.;]\s+[A-Z]", text))
        if prose <= 2:
            return RECEIPT
    return DOCUMENT
