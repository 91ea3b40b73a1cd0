"""Do the checks call right records right, and wrong ones not? Gold records, and copies with one amount changed.

    python -m benchmarks.checks
    python -m benchmarks.checks --cord FOLDER_OR_FILE --einvoices FILE --show

Right records are those of the project's generator (300 of each kind), of CORD's samples, and where given of more of
CORD and of e-invoices (`gold` records). Of each, every amount that a rule speaks of is changed in three ways in turn:
its last digit, its first digit, and a tenth more. A broken copy is "called right" if all rules about the changed value
that held before still hold. Not counted as broken is what rounding hides: 1.2341 kg at 5.00 cost as much as 1.2342 kg.
"""

from __future__ import annotations

import copy
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from benchmarks import shared
from extraction import cord, files
from extraction.evidence import checks, values
from extraction.synthetic import generate
from extraction.tasks import schemas

RULES = {  # what a rule is about
    "quantity x unit price = amount": {"quantity", "unit_price", "amount", "discount"},
    "sum of line items = subtotal": {"amount", "subtotal"},
    "subtotal + tax + service - discount = total": {"subtotal", "tax", "service_charge", "tip", "discount", "total"},
    "cash - change = total": {"cash", "card", "e_money", "change", "total"},
}


def of_cord(path: Path) -> list[dict]:
    found = [path] if path.is_file() else sorted(path.glob("*.jsonl*"))
    return [cord.from_cord(truth["gt_parse"]) for file in found for truth in shared.truths(file)]


def of_einvoice(gold: dict) -> dict:
    """The record of an e-invoice: what reduces or raises the sum of its lines is a discount or another charge."""
    record = {
        "merchant": {"name": gold["seller"].get("name"), "tax_id": gold["seller"].get("vat_id")},
        "invoice_number": gold["invoice_number"],
        "date": dashed(gold.get("issue_date")),
        "due_date": dashed(gold.get("due_date")),
        "currency": gold["currency"],
        "line_items": [
            {"description": line.get("name")} | {key: line.get(key) for key in ("quantity", "unit_price", "amount")}
            for line in gold["lines"]
        ],
        "subtotal": gold.get("line_total"),
        "tax": gold.get("tax_total"),
        "total": gold.get("grand_total"),
    }
    if gold.get("line_total") and gold.get("tax_exclusive"):
        less = Decimal(gold["line_total"]) - Decimal(gold["tax_exclusive"])
        if less:
            record["discount" if less > 0 else "other_charge"] = str(abs(less))
    return record


def dashed(day: str | None) -> str | None:
    return re.sub(r"^(\d{4})(\d\d)(\d\d)$", r"\1-\2-\3", day) if day else None


def broken(record: dict) -> Iterator[tuple[str, str, dict]]:
    """(field, rule's row, copy) with one amount changed each."""
    places = [(record, name, "") for name in set.union(*RULES.values()) if name != "amount"]
    places += [
        (row, name, path) for path, row in checks.line_items(record.get("line_items"), "line_items") for name in row
    ]
    for holder, name, path in places:
        if name not in set.union(*RULES.values()) or not isinstance(holder.get(name), str):
            continue
        if not values.readings(holder[name]) or not values.amount(holder[name]):
            continue
        printed = holder[name]
        for changed in dict.fromkeys(changes(printed)):
            if changed != printed and values.amount(changed) not in (None, values.amount(printed)):
                holder[name] = changed
                yield name, path, copy.deepcopy(record)
        holder[name] = printed


def changes(text: str) -> Iterator[str]:
    """The last digit, the first digit raised by one; and the whole digits by a tenth."""
    digits = [match.start() for match in re.finditer(r"\d", text)]
    for at in (digits[-1], digits[0]):
        yield text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :]
    raised = str(round(int("".join(text[at] for at in digits)) * 1.1)).zfill(len(digits))
    for at, digit in zip(reversed(digits), reversed(raised), strict=False):
        text = text[:at] + digit + text[at + 1 :]
    yield text


def row_at(record: dict, path: str) -> dict:
    return dict(checks.line_items(record.get("line_items"), "line_items"))[path]


def is_hidden(right: dict, wrong: dict) -> bool:
    """Is the amount the same with the changed factor, at the places that are printed?"""
    places = abs(Decimal(values.amount(right["amount"]).as_tuple().exponent))
    products = [
        [
            quantity * price
            for quantity in values.readings(row["quantity"])
            for price in values.readings(row["unit_price"])
        ]
        for row in (right, wrong)
    ]
    return any(abs(a - b) <= Decimal(1).scaleb(-int(places)) for a in products[0] for b in products[1])


def about(rule: str, name: str, path: str) -> bool:
    """Is a rule about this field of the record or of the line item at a path?"""
    at, _, said = rule.rpartition(": ")
    if name not in RULES.get(said, ()) or (at and at != path) or (path and said not in list(RULES)[:2]):
        return False
    return not (path and not at and name != "amount")


def measure(records: list[dict], show: bool) -> dict:
    verdicts, copies, missed = Counter(), 0, 0
    for i, record in enumerate(records):
        right = checks.check(record, schemas.RECEIPT)
        for verdict in right:
            verdicts[verdict["verdict"]] += 1
            if show and verdict["verdict"] == checks.FAILS:
                print("fails", i, verdict, json.dumps(record, ensure_ascii=False), file=sys.stderr)
        held = {v["rule"] for v in right if v["verdict"] == checks.HOLDS}
        for name, path, wrong in broken(copy.deepcopy(record)):
            rules = [rule for rule in held if about(rule, name, path)]
            if not rules:
                continue
            if name in ("quantity", "unit_price") and is_hidden(row_at(record, path), row_at(wrong, path)):
                continue
            copies += 1
            now = {v["rule"]: v["verdict"] for v in checks.check(wrong, schemas.RECEIPT)}
            if all(now[rule] == checks.HOLDS for rule in rules):
                missed += 1
                if show:
                    print("missed", i, name, path, rules, json.dumps(wrong, ensure_ascii=False), file=sys.stderr)
    return {
        "records": len(records),
        "hold": verdicts[checks.HOLDS],
        "cannot tell": verdicts[checks.UNKNOWN],
        "fail": verdicts[checks.FAILS],
        "broken copies": copies,
        "called right": missed,
    }


def main() -> int:
    p = shared.parser(__doc__)
    p.add_argument("--cord", type=Path, action="append", default=[], help="more rows of CORD: a file, or a folder")
    p.add_argument("--einvoices", type=Path, help="rows with the `gold` records of e-invoices")
    p.add_argument("--count", type=int, default=300, help="generated documents of each kind")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--show", action="store_true", help="print each rule that fails and each broken copy called right")
    args = p.parse_args()
    sets = {
        f"generated: {kind}": [
            made["record"]
            for made in generate.documents(kind, args.count, args.seed)
            if "noise" not in made["traits"] and "injection" not in made["traits"]
        ]
        for kind in generate.KINDS
        if kind != "letter"
    }
    for path in (shared.SAMPLES / "cord.jsonl", *args.cord):
        sets[f"CORD: {path.name}"] = of_cord(path)
    if args.einvoices:
        sets["e-invoices"] = [of_einvoice(row["gold"]) for row in shared.rows(args.einvoices)]
    measured = {name: measure(records, args.show) for name, records in sets.items()}
    rows = ([name, *row.values()] for name, row in measured.items())
    print(files.markdown_table(["set", *next(iter(measured.values()))], rows), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
