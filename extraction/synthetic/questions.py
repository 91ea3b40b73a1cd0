"""Questions that a record, a table or a contract's labels answer, and questions that they do not."""

from __future__ import annotations

import random
import re

# The path of the field that answers them, and how people ask.
RECEIPT_QUESTIONS = {
    "total": ("What is the total?", "How much is the total amount?", "What was the total amount to pay?"),
    "merchant.name": ("Who is the merchant?", "Which company issued this document?", "What is the name of the shop?"),
    "date": ("What is the date?", "When was this issued?", "On which date was this printed?"),
    "cash": ("How much cash was paid?", "What amount was given in cash?"),
    "change": ("How much change was returned?", "What is the change?"),
    "tax": ("How much is the tax?", "What is the tax amount?"),
    "subtotal": ("What is the subtotal?",),
    "invoice_number": ("What is the invoice number?", "What is the number of this document?"),
    "due_date": ("When is the payment due?", "What is the due date?"),
}
ITEM_QUESTIONS = {
    "amount": ("How much is the {}?", "What was paid for {}?", "What is the amount for {}?"),
    "quantity": ("How many {} were bought?", "What is the quantity of {}?"),
    "unit_price": ("What is the unit price of {}?", "How much does one {} cost?"),
}
# Fields that are looked for where they are not. The record of a generated document holds every one that it prints.
ABSENT = {
    "tip": "How much was the tip?",
    "cash": "How much cash was paid?",
    "change": "How much change was returned?",
    "due_date": "When is the payment due?",
    "time": "At what time was it printed?",
    "service_charge": "How much is the service charge?",
    "card": "How much was paid by card?",
}
# The cells of a table by the names of their row and column, one or several of a row.
CELL_QUESTIONS = (
    "What was the {row} in {column}?",
    "What is the {row} for {column}?",
    "How much was the {row} in {column}?",
    "What were the {row} in {column}?",
)
CELLS_QUESTIONS = ("What was the {row} in {columns} respectively?", "What is the {row} for {columns} respectively?")
# Of a contract's categories, those whose quotes are short enough to be an answer.
TERM_QUESTIONS = {
    "Document Name": ("What is the title of this agreement?", "What kind of agreement is this?"),
    "Agreement Date": ("On which date was this agreement made?", "What is the date of the agreement?"),
    "Effective Date": ("When does this agreement take effect?", "What is the effective date?"),
    "Expiration Date": ("When does this agreement end?", "When does the term expire?"),
    "Governing Law": ("Which law governs this agreement?", "What does it say about governing law?"),
    "Renewal Term": ("How is the agreement renewed?", "What is the renewal term?"),
    "Notice Period to Terminate Renewal": ("What notice is needed to stop the renewal?", "How long is the notice?"),
    "Cap on Liability": ("How is liability limited?", "What is the cap on liability?"),
    "Warranty Duration": ("How long does the warranty last?", "What is the warranty period?"),
    "Audit Rights": ("Who may audit the records?", "What rights of audit are there?"),
    "Insurance": ("What insurance has to be kept?", "Which insurance is required?"),
}
LONGEST_TERM = 300  # characters
YEAR = re.compile(r"\b(?:19|20)\d\d\b")
AMOUNT = re.compile(r"[($€£-]*\s?\d[\d.,]*\s?%?\)?")


def about_an_item(record: dict, draw: random.Random) -> dict | None:
    """A question about one line item whose description is the only one of its kind."""
    items = record.get("line_items") or []
    names = [item.get("description") for item in items]
    asked = [
        (item["description"], field, item[field])
        for item in items
        for field in ITEM_QUESTIONS
        if item.get("description") and names.count(item["description"]) == 1 and isinstance(item.get(field), str)
    ]
    if not asked:
        return None
    name, field, value = draw.choice(asked)
    return {"question": draw.choice(ITEM_QUESTIONS[field]).format(name), "answers": [value]}


def without_answer(record: dict, draw: random.Random) -> dict | None:
    """A question about what a generated receipt or invoice does not print; its answers are none."""
    paths = [name for name in ABSENT if not record.get(name)]
    return {"question": ABSENT[draw.choice(paths)], "answers": []} if paths else None


def about_a_table(table: list[list[str]], draw: random.Random) -> list[dict]:
    """A question about a cell, one about two cells of a row, and one about a year that no column has.

    Only rows of amounts are asked for, by a name that no other row has, and columns by a name that no other one has.
    """
    rows = [row for row in table if row and row[0].strip() and any(map(_is_amount, row[1:]))]
    names = [row[0].strip() for row in rows]
    rows = [row for row, name in zip(rows, names, strict=True) if names.count(name) == 1 and len(name) > 3]
    head = table[: next((i for i, row in enumerate(table) if row in rows), 0)]
    width = max(map(len, table), default=0)
    years_of = next((line for line in head if len(line) == width and all(map(YEAR.search, line[1:]))), None)
    columns = {}
    for i in range(1, width):
        above = [" ".join(row[i].split()) for row in head if i < len(row) and row[i].strip()]
        columns[i] = YEAR.search(years_of[i])[0] if years_of else above[-1] if above else ""
    known = {i for i, name in columns.items() if name and list(columns.values()).count(name) == 1}
    asked = [(row, [i for i in sorted(known) if i < len(row) and _is_amount(row[i])]) for row in rows]
    asked = [(row, places) for row, places in asked if places]
    if not asked:
        return []
    row, places = draw.choice(asked)
    i = draw.choice(places)
    found = [(draw.choice(CELL_QUESTIONS), columns[i], [row[i].strip()], row)]
    several = [(row, places) for row, places in asked if len(places) > 1]
    if several:
        row, places = draw.choice(several)
        pair = draw.sample(places, 2) if draw.random() < 0.3 else sorted(draw.sample(places, 2))
        names = " and ".join(columns[i] for i in pair)
        found.append((draw.choice(CELLS_QUESTIONS), names, [", ".join(row[i].strip() for i in pair)], row))
    years = {name for name in columns.values() if YEAR.fullmatch(name)}
    missing = str(draw.randint(1990, 2035))
    if years and not any(missing in cell for line in table for cell in line) and draw.random() < 0.3:
        found.append((draw.choice(CELL_QUESTIONS), missing, [], draw.choice(asked)[0]))
    return [{"question": _of_cell(form, row[0], name), "answers": answers} for form, name, answers, row in found]


def _is_amount(cell: str) -> bool:
    return AMOUNT.fullmatch(cell.strip()) is not None and not YEAR.fullmatch(cell.strip())


def _of_cell(form: str, row: str, column: str) -> str:
    name = " ".join(row.split()).rstrip(":")
    if name[1:2].islower():  # but not an abbreviation
        name = name[0].lower() + name[1:]
    return form.format(row=name, column=column, columns=column)


def about_a_contract(quotes: dict[str, list[str]], draw: random.Random) -> list[dict]:
    """A question about a term of which a window holds one short quote, and one about a term that it does not hold."""
    there = [name for name in TERM_QUESTIONS if len(quotes.get(name, [])) == 1 and len(quotes[name][0]) <= LONGEST_TERM]
    missing = [name for name in TERM_QUESTIONS if name not in quotes]
    asked = [(draw.choice(there), True)] if there else []
    if missing and draw.random() < (0.5 if there else 0.1):
        asked.append((draw.choice(missing), False))
    return [
        {"question": draw.choice(TERM_QUESTIONS[name]), "answers": [" ".join(quotes[name][0].split())] if held else []}
        for name, held in asked
    ]


def more(record: dict, text: str, share: float, seed: str) -> list[dict]:
    """For this share of the generated documents: rows that ask about an item, and about what is not printed."""
    draw = random.Random(f"{seed}/more")
    if draw.random() >= share:
        return []
    asked = (about_an_item(record, draw), without_answer(record, draw))
    return [{"task": "question", "text": text, **found} for found in asked if found]
