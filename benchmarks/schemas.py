"""Are fields of a user's own found, under names that were never trained on? Random schemas over generated documents.

    python -m benchmarks.schemas
    python -m benchmarks.schemas --documents 10
    for i in 1 2 3 4; do python -m benchmarks.schemas --part $i/4 & done; wait; python -m benchmarks.schemas

Each of 100 documents (40 receipts, 40 invoices, 20 letters, of another seed than the training data) gets a random
choice of fields, some of which it does not have. Held out from training are all names of fields, lists and groups, all
remarks, the ways in which names are written (ShopName, SHOP_NAME), and JSON schemas with types, which every second
document gets in place of a template. As a control, the same documents are asked with the names that training used.

Leaf F1 is that of (path, value). An echo is a value that is the name or the remark of a field and not on the document.
Written to output/<profile>/benchmarks/schemas/: the results, schemas.json and schemas.md.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any

import config
import inference
from benchmarks import shared
from extraction import files, stage
from extraction.models import choice
from extraction.reading import documents, layout
from extraction.reading.words import Word
from extraction.scoring import metrics
from extraction.synthetic import generate, own
from extraction.tasks import custom, records

SEED = 7002
SHARES = {"receipt": 0.4, "invoice": 0.4, "letter": 0.2}
NAMES = {
    "merchant.name": "retailer,business,trader,provider_name",
    "merchant.address": "retailer_address,business_address,premises",
    "merchant.phone": "hotline,business_phone,number_to_call",
    "merchant.tax_id": "tax_registration,fiscal_code,registration_for_tax",
    "invoice_number": "invoice_ref,doc_no,billing_number",
    "date": "dated,date_of_issue,billing_date",
    "due_date": "payable_until,last_day_to_pay,pay_before",
    "time": "clock_time,time_of_sale,hour",
    "currency": "money_unit,iso_currency,currency_symbol",
    "customer.name": "purchaser,billed_party,bought_by",
    "customer.address": "purchaser_address,billed_address,address_of_buyer",
    "subtotal": "sum_before_tax,interim_sum,goods_value",
    "discount": "price_cut,reduction,money_off",
    "service_charge": "surcharge_for_service,service_cost,serving_fee",
    "tax": "tax_sum,duty,tax_charged",
    "tip": "tip_amount,extra_for_staff",
    "total": "final_amount,overall_sum,final_price",
    "cash": "money_handed_over,cash_received,banknotes",
    "change": "money_back,returned_cash,change_due",
    "card": "card_amount,charged_to_card,paid_with_card",
    "item_count": "units_in_all,article_count,how_many_items",
}
ITEM_NAMES = {
    "description": "article_name,product_title,designation",
    "quantity": "units,how_many,ordered",
    "unit_price": "cost_per_unit,single_cost,each",
    "amount": "row_total,sum_of_row,price_in_all",
}
LABELS = {
    "full name": "person",
    "contact person": "who_to_ask",
    "approved by": "approver",
    "requested by": "requester",
    "prepared by": "preparer",
    "phone": "phone_line",
    "fax": "fax_line",
    "email": "mail_address",
    "address": "street",
    "city": "town",
    "date": "written_on",
    "start date": "begins_on",
    "end date": "ends_on",
    "delivery date": "delivered_on",
    "deadline": "latest_by",
    "valid until": "expires_on",
    "date of birth": "born_on",
    "reference": "our_sign",
    "account number": "bank_account",
    "employee id": "staff_number",
    "policy number": "insurance_policy",
    "order number": "purchase_order",
    "case number": "file_number",
    "serial no.": "serial_code",
    "cost center": "cost_unit",
    "postal code": "zip_code",
    "number of pages": "page_count",
    "number of hours": "hours_worked",
    "weight": "mass",
    "total cost": "overall_cost",
    "payment method": "way_to_pay",
    "subject": "about",
    "priority": "urgency",
    "status": "state_of_it",
}
HELD_OUT = own.Words(
    NAMES,
    "basket,order_lines,things_bought,item_table",
    ITEM_NAMES,
    {"merchant": "retailer_details,business_details,provider", "customer": "purchaser_details,payer,receiver"},
    {
        "merchant.name": "the firm that issued this",
        "date": "when it was written",
        "total": "everything added up",
        "invoice_number": "how the document is called in the books",
        "customer.name": "the person or firm that pays",
        "tax": "what goes to the state",
    },
    ("pascal", "upper"),
    lambda label: LABELS.get(label.lower()),
)
NUMBERS = {"subtotal", "discount", "service_charge", "tax", "tip", "total", "cash", "change", "card", "unit_price"}
NUMBERS |= {"amount"}


def cases(count: int) -> Iterator[dict]:
    """`{"name", "kind", "document", "names", "schema", "record"}`, twice for each document, by either sort of names."""
    for kind, share in SHARES.items():
        made = generate.documents(kind, 4 * count, SEED)  # more, since of some letters no field has another name
        wanted = round(share * count)
        while wanted:
            found, wanted = next(made), wanted - 1
            laid = layout.layout([Word(w[0], tuple(w[1:])) for w in found["words"]])
            both = {}
            for names, words in (("held out", HELD_OUT), ("trained", own.TRAINED)):
                draw = random.Random(f"{SEED}/{found['id']}")
                fields = own.letter_fields if kind == "letter" else own.receipt_fields
                if pair := fields(found["record"], draw, words):
                    template, record = pair
                    typed = names == "held out" and wanted % 2
                    both[names] = (as_schema(template) if typed else template), record
            if len(both) < 2:
                wanted += 1
                continue
            for names, (schema, record) in both.items():
                yield {
                    "name": f"{found['id']}, {names}",
                    "kind": kind,
                    "document": documents.Document(laid.text, words=laid.words, spans=laid.spans),
                    "names": names,
                    "schema": schema,
                    "record": records.prune(record),
                }


def as_schema(template: Any, name: str = "") -> dict:
    """The template as a JSON schema with types; a text in it becomes the description."""
    if isinstance(template, dict):
        inner = {key: as_schema(value, key) for key, value in template.items()}
        return {"type": "object", "properties": inner, "required": list(inner)}
    if isinstance(template, list):
        return {"type": "array", "items": as_schema(template[0], name)}
    path = PATHS.get(plain(name), "")
    typed: dict = {"type": ["number", "null"]} if path.rpartition(".")[2] in NUMBERS else {"type": ["string", "null"]}
    if path in ("date", "due_date"):
        typed["format"] = "date"
    return {**typed, **({"description": template} if template else {})}


def plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


PATHS = {plain(name): path for path, names in {**NAMES, **ITEM_NAMES}.items() for name in names.split(",")}


def echoes(case: dict, record: dict | None) -> int:
    """Values that are the name or the remark of a field and not what is asked for."""
    said = {plain(match) for match in re.findall(r'"((?:[^"\\]|\\.)+)"', json.dumps(case["schema"]))}
    right = {plain(leaf.value) for leaf in records.leaves(case["record"])}
    values = {plain(leaf.value) for leaf in records.leaves(records.prune(record or {}))}
    return len((values & said) - right - {""})


def lines_of(found: list[tuple[dict, dict | None]], samples: int) -> list[dict]:
    """A line for each kind of document, and for all, by the names of fields."""
    lines = []
    for names in ("held out", "trained"):
        for kind in ("all", *SHARES):
            some = [(c, r) for c, r in found if c["names"] == names and kind in ("all", c["kind"])]
            if not some:
                continue
            counts = [metrics.field_counts(case["record"], record) for case, record in some]
            lines.append(
                {
                    "names": names,
                    "documents": kind,
                    "n": len(some),
                    "leaf_f1": metrics.estimate(metrics.f1, counts, samples),
                    "exact": metrics.estimate(
                        metrics.mean, [metrics.exact_record(c["record"], r) for c, r in some], samples
                    ),
                    "echoes": sum(echoes(case, record) for case, record in some),
                    "unreadable": sum(record is None for _, record in some),
                }
            )
    return lines


def table(lines: list[dict]) -> str:
    heads = ("names of the fields", "documents", "n", "leaf F1", "exact records", "schema echoes", "unreadable")
    rows = [
        (
            line["names"],
            line["documents"],
            line["n"],
            shared.percent(line["leaf_f1"]),
            shared.percent(line["exact"]),
            line["echoes"],
            line["unreadable"],
        )
        for line in lines
    ]
    return files.markdown_table(heads, rows)


def main(argv: list[str] | None = None) -> int:
    p = config.parser(__doc__)
    p.add_argument("--model", default="gguf", metavar="MODEL", help=choice.NAMES)
    p.add_argument("--documents", type=int, default=100, metavar="N", help="with a schema each (default: 100)")
    shared.add_part(p)
    args, cfg = config.read(p, argv)
    asked = {case["name"]: case for case in cases(args.documents)}
    model = choice.choose(cfg, args.model)
    backend = model.open()

    def answered(name: str) -> dict:
        case = asked[name]
        task = custom.parse(json.dumps(case["schema"]), f"the schema of {name}")
        result = inference.extract(case["document"], backend, cfg, own=task)
        return {key: result[key] for key in ("record", "problems")} | {"seconds": result["timings"]["model"]}

    schemas = [[name, case["schema"]] for name, case in asked.items()]
    made_by = files.fingerprint([model.fingerprint, schemas, cfg.inference.choose, cfg.inference.context_tokens])
    out = cfg.output_dir / "benchmarks" / "schemas"
    results = shared.work(list(asked), answered, out, made_by, args.part)
    if not results:
        return 0
    found = [(asked[name], result["record"]) for name, result in results.items()]
    lines = lines_of(found, cfg.evaluate.bootstrap_samples)
    shared.tell(out, backend.name, "fields of a user's own", lines, table(lines))
    return 0


if __name__ == "__main__":
    stage.run_stage(main)
