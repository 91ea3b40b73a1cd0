"""Questions that a receipt's record answers, and questions that it does not."""

from __future__ import annotations

import random

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


def more(record: dict, text: str, share: float, seed: str) -> list[dict]:
    """For this share of the generated documents: rows that ask about an item, and about what is not printed."""
    draw = random.Random(f"{seed}/more")
    if draw.random() >= share:
        return []
    asked = (about_an_item(record, draw), without_answer(record, draw))
    return [{"task": "question", "text": text, **found} for found in asked if found]
