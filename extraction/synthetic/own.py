"""Fields of a user's own over a record that is known: a random template, and the answer to it."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

# What users call the fields of a receipt or an invoice, by their paths in our record.
NAMES = {
    "merchant.name": "vendor,seller,store,shop,company,supplier,issuer,supplier_name,vendor_name,merchant,sender",
    "merchant.address": "address,vendor_address,store_address,seller_address,location,company_address",
    "merchant.phone": "phone,telephone,phone_number,tel,contact",
    "merchant.tax_id": "tax_id,vat_id,vat_number,tax_number,seller_tax_id",
    "invoice_number": "invoice_number,number,document_number,invoice_no,reference,invoice_id,bill_number",
    "date": "date,invoice_date,purchase_date,issued_on,day,issue_date,document_date",
    "due_date": "due_date,payment_due,due,pay_by,deadline",
    "time": "time,printed_at,purchase_time",
    "currency": "currency,currency_code",
    "customer.name": "customer,buyer,client,bill_to,recipient,customer_name",
    "customer.address": "customer_address,billing_address,buyer_address,ship_to",
    "subtotal": "subtotal,net,net_amount,amount_before_tax,sub_total",
    "discount": "discount,rebate,discount_amount",
    "service_charge": "service_charge,service,service_fee",
    "tax": "tax,vat,tax_amount,sales_tax,vat_amount",
    "tip": "tip,gratuity",
    "total": "total,amount,grand_total,total_amount,amount_due,sum,to_pay",
    "cash": "cash,cash_paid,paid_in_cash,tendered",
    "change": "change,change_given,change_returned",
    "card": "card,card_payment,paid_by_card",
    "item_count": "item_count,number_of_items,pieces",
}
ITEMS = "items,lines,products,positions,line_items,articles,goods,purchases,entries"
ITEM_NAMES = {
    "description": "name,item,product,article,description,label,title,what",
    "quantity": "quantity,qty,count,pieces,number",
    "unit_price": "unit_price,price,price_each,single_price,rate",
    "amount": "amount,total,line_total,price_total,sum,cost",
}
GROUPS = {"merchant": "seller,vendor,shop,issuer,from", "customer": "buyer,client,customer,to"}
REMARKS = {
    "merchant.name": "who sold it",
    "date": "the day it was issued, as printed",
    "total": "what had to be paid in all",
    "invoice_number": "the number of the document",
    "customer.name": "who bought it",
    "tax": "the tax, as an amount",
}


@dataclass(frozen=True)
class Words:
    """What fields are called, and how names are written; a benchmark takes others than training."""

    names: Mapping[str, str]
    items: str
    item_names: Mapping[str, str]
    groups: Mapping[str, str]
    remarks: Mapping[str, str]
    styles: tuple[str, ...]
    of_label: Callable[[str], str | None]


def _of_label(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_")


TRAINED = Words(NAMES, ITEMS, ITEM_NAMES, GROUPS, REMARKS, ("snake", "snake", "camel", "title", "dash"), _of_label)


def receipt_fields(record: dict, draw: random.Random, words: Words = TRAINED) -> tuple[dict, dict]:
    """A template of some fields of a receipt or invoice, a few of them not on it, and the answer."""
    style, template, answer = _style(draw, words.styles), {}, {}
    there = [path for path in words.names if _at(record, path) is not None]
    missing = [path for path in words.names if path not in there]
    wanted = draw.sample(there, min(len(there), draw.randint(1, 6))) + draw.sample(missing, draw.choice((0, 0, 1, 2)))
    draw.shuffle(wanted)
    grouped = {group for group in words.groups if draw.random() < 0.3}
    for path in wanted:
        group, _, leaf = path.partition(".")
        into, found = template, answer
        name = style(draw.choice(words.names[path].split(",")))
        if leaf and group in grouped:
            outer = style(words.groups[group].split(",")[len(record) % 3])
            if not isinstance(template.get(outer, {}), dict):
                continue
            into, found = template.setdefault(outer, {}), answer.setdefault(outer, {})
            name = style(leaf)
        if name in into:
            continue
        into[name] = words.remarks[path] if path in words.remarks and draw.random() < 0.2 else ""
        found[name] = _at(record, path)
    if record.get("line_items") and draw.random() < 0.6:
        _items(record["line_items"], draw, words, style, template, answer)
    return template, answer


def _items(items: list[dict], draw: random.Random, words: Words, style: Any, template: dict, answer: dict) -> None:
    fields = ["description"] + draw.sample(list(words.item_names)[1:], draw.randint(0, 3))
    draw.shuffle(fields)
    named = [style(draw.choice(words.item_names[field].split(","))) for field in fields]
    names = dict(zip(fields, named, strict=True))
    outer = style(draw.choice(words.items.split(",")))
    if len(set(names.values())) < len(names) or outer in template:
        return
    if len(fields) == 1 and draw.random() < 0.5:
        template[outer], answer[outer] = [""], [item["description"] for item in items if item.get("description")]
        return
    template[outer] = [dict.fromkeys(names.values(), "")]
    answer[outer] = [{name: item.get(field) for field, name in names.items()} for item in items]


def letter_fields(record: dict, draw: random.Random, words: Words = TRAINED) -> tuple[dict, dict] | None:
    """The same for labeled values. None if it has none that can be told apart by their labels."""
    style = _style(draw, words.styles)
    pairs = {}
    for pair in record.get("key_values") or []:
        name = words.of_label(pair["key"])
        if name and name not in pairs:
            pairs[name] = pair["value"]
    if not pairs:
        return None
    names = draw.sample(list(pairs), min(len(pairs), draw.randint(1, 6)))
    others = [
        name
        for name in ("invoice_number", "total", "vessel", "blood_type", "license_plate", "iban")
        if name not in pairs
    ]
    names += draw.sample(others, draw.choice((0, 0, 1)))
    draw.shuffle(names)
    template = {style(name): "" for name in names}
    answer = {style(name): pairs.get(name) for name in names}
    if record.get("title") and draw.random() < 0.4:
        template[style("title")], answer[style("title")] = "", record["title"]
    return template, answer


def _at(record: dict, path: str) -> str | None:
    value: Any = record
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None


def _style(draw: random.Random, styles: tuple[str, ...]) -> Any:
    """How names are written: shop_name, shopName, Shop name, shop-name, ShopName, SHOP_NAME."""
    kind = draw.choice(styles)

    def written(name: str) -> str:
        first, *others = name.split("_")
        if kind == "camel":
            return first + "".join(word.capitalize() for word in others)
        if kind == "title":
            return " ".join([first.capitalize(), *others])
        if kind == "pascal":
            return "".join(word.capitalize() for word in (first, *others))
        if kind == "upper":
            return name.upper()
        return name.replace("_", "-") if kind == "dash" else name

    return written


def ask(documents_: list[dict], share: float, seed: int) -> None:
    """Ask for fields of a user's own about this share of the generated documents."""
    for document in documents_:
        draw = random.Random(f"{seed}/{document['id']}/own")
        if document["source"] != "generated" or draw.random() >= share:
            continue
        first = document["rows"][0]
        made = (letter_fields if first["task"] == "document" else receipt_fields)(first["record"], draw)
        if made:
            template, record = made
            document["rows"].append(
                {"task": "custom", "text": first["text"], "template": json.dumps(template), "record": record}
            )
