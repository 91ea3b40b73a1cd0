"""Synthetic receipts, invoices and letters, each with its exact record.

They show what a few dozen published receipts cannot: store headers, dates, invoices, several languages, currencies and
number formats, long lists, and the disorder of scans. Everything printed comes from lists in this folder and from
faker's names and addresses; a record holds its values as printed, noise included.

A document is made as words with boxes, so that its text comes from the same layout code as that of a real one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from extraction.synthetic import invoices, letters, receipts
from extraction.synthetic.parts import COUNTRIES, holds

__all__ = ["KINDS", "SHARES", "documents", "holds"]

MAKERS = {"receipt": receipts.receipt, "invoice": invoices.invoice, "letter": letters.letter}
KINDS = tuple(MAKERS)
SHARES = {"receipt": receipts.SHARES, "invoice": invoices.SHARES, "letter": letters.SHARES}


def documents(kind: str, count: int, seed: int) -> Iterator[dict]:
    """`count` documents of a kind: `{"id", "kind", "words", "record", "questions", "traits"}`.

    `words` are `(text, left, top, right, bottom)`, `questions` are `{"question", "answer"}`, and `traits` names the
    phenomena that the document shows. The n-th document is the same for the same seed, however many are made.
    Raises ValueError for an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"no kind of document called {kind!r}")
    from faker import Faker

    weights = [country.share for country in COUNTRIES.values()]
    fakers: dict[str, Faker] = {}
    for number in range(count):
        draw = random.Random(f"{seed}/{kind}/{number}")
        # Prose and labels of letters are English, so are their names and formats.
        names = ("US", "GB", "AU", "SG") if kind == "letter" else tuple(COUNTRIES)
        country = COUNTRIES[draw.choices(names, weights=None if kind == "letter" else weights)[0]]
        if country.locale not in fakers:
            fakers[country.locale] = Faker(country.locale)
        faker = fakers[country.locale]
        faker.seed_instance(draw.getrandbits(32))
        page, record, *questions = MAKERS[kind](draw, faker, country)
        yield {
            "id": f"generated/{kind}/{number:05d}",
            "kind": kind,
            "words": page.words,
            "record": record,
            "questions": questions[0] if questions else [],
            "traits": sorted(page.traits),
        }
