"""Does a record agree with itself? Arithmetic, dates, check digits and currency, by rules that each give a verdict.

A rule is applied where the record has the values it speaks of. `cannot tell` means that one of them cannot be read, or
that more than one custom fits; it is never a quiet `holds`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from itertools import product
from typing import Any

from extraction.evidence import values
from extraction.tasks.schemas import CONTRACT, RECEIPT, Task

HOLDS, FAILS, UNKNOWN = "holds", "fails", "cannot tell"


def check(record: dict | None, task: Task) -> list[dict]:
    """The `checks` of a result: `{"rule", "verdict"}` each, with a `detail` where that says more."""
    record = record or {}
    rules: dict[str, Sequence[Callable[[dict], Iterator[dict]]]] = {
        RECEIPT.name: (_rows, _items, _total, _paid, _dates, _tax_id, _ibans, _currency),
        CONTRACT.name: (_term,),
        "custom": (_ibans,),  # what a user's own fields mean is not known
    }
    return [verdict for rule in rules.get(task.name, (_written_dates, _ibans)) for verdict in rule(record)]


def _verdict(rule: str, verdict: bool | None | str, detail: str | None = None) -> dict:
    said = {True: HOLDS, False: FAILS, None: UNKNOWN}.get(verdict, verdict)
    return {"rule": rule, "verdict": said} | ({"detail": detail} if detail else {})


# --- amounts -------------------------------------------------------------------------------------------------


def _equal(found: Decimal, stated: Decimal) -> bool:
    """Equal but for one unit in the last place that is printed."""
    return abs(found - stated) <= Decimal(1).scaleb(stated.as_tuple().exponent)


def _amounts(record: dict, *names: str) -> list[Decimal] | None:
    """The amounts of those of the fields that the record has; None if one of them cannot be read."""
    found = [values.amount(record[name]) for name in names if record.get(name)]
    return None if None in found else found


def _rows(record: dict) -> Iterator[dict]:
    for path, row in _line_items(record.get("line_items"), "line_items"):
        if not (row.get("quantity") and row.get("unit_price") and row.get("amount")):
            continue
        rule = f"{path}: quantity x unit price = amount"
        # 1.250 may be 1250, or 1.25 of something sold by weight.
        factors = [values.readings(row[name]) for name in ("quantity", "unit_price", "amount")]
        off = _amounts(row, "discount")
        if not all(factors) or off is None:
            yield _verdict(rule, None, "not every value is one amount")
            continue
        off = [0, abs(off[0])] if off else [0]
        fits = any(_equal(abs(q * p) - less, abs(a)) for q, p, a in product(*factors) for less in off)
        quantity, price, stated = (options[0] for options in factors)
        yield _verdict(rule, fits, None if fits else f"{quantity} x {price} = {quantity * price}, not {stated}")


def _line_items(items: list[dict] | None, path: str) -> Iterator[tuple[str, dict]]:
    for i, item in enumerate(items or []):
        yield f"{path}[{i}]", item
        yield from _line_items(item.get("sub_items"), f"{path}[{i}].sub_items")


def _item_sums(record: dict) -> list[Decimal] | None:
    """What the items may add up to: with or without sub-items and discounts of their own; None if one has no amount."""
    items = record.get("line_items") or []
    whole = [values.amount(item.get("amount") or "") for item in items]
    if not items or None in whole:
        return None
    every = [row for _, row in _line_items(items, "")]
    subs = [values.amount(row["amount"]) for row in every if row.get("amount") and row not in items]
    off = [values.amount(row["discount"]) for row in every if row.get("discount")]
    total = sum(whole, Decimal(0))
    sums = [total]
    if subs and None not in subs:
        sums.append(total + sum(subs))
    if off and None not in off:
        sums += [s - sum(map(abs, off)) for s in list(sums)]
    return sums


def _items(record: dict) -> Iterator[dict]:
    if not (record.get("line_items") and record.get("subtotal")):
        return
    rule = "sum of line items = subtotal"
    sums, stated = _item_sums(record), values.amount(record["subtotal"])
    if sums is None or stated is None:
        yield _verdict(rule, None, "not every line item and the subtotal have an amount")
    elif any(_equal(s, stated) for s in sums):
        yield _verdict(rule, True)
    else:
        adjusted = _amounts(record, "tax", "discount", "service_charge")
        around = [s + sign * abs(a) for s in sums for a in adjusted or [] for sign in (1, -1)]
        if any(_equal(s, stated) for s in around):
            yield _verdict(rule, None, "it fits if tax, discount or service is already part of one of them")
        else:
            yield _verdict(rule, False, f"the line items add up to {sums[0]}, not {stated}")


def _total(record: dict) -> Iterator[dict]:
    if not record.get("total") or not (record.get("subtotal") or record.get("line_items")):
        return
    rule = "subtotal + tax + service - discount = total"
    stated = values.amount(record["total"])
    bases = _amounts(record, "subtotal") or _item_sums(record)
    tax, off = _amounts(record, "tax"), _amounts(record, "discount")
    more = _amounts(record, "service_charge", "other_charge", "tip")
    if stated is None or bases is None or None in (tax, off, more):
        yield _verdict(rule, None, "not every value is one amount")
        return
    tax, off, extra = sum(tax, Decimal(0)), sum(map(abs, off), Decimal(0)), sum(more, Decimal(0))
    rounding = _amounts(record, "subtotal_other") or []
    if any(_equal(base + tax + extra - off + rest, stated) for base in bases for rest in (0, *rounding)):
        yield _verdict(rule, True)
    elif tax and any(_equal(base + extra - off + rest, stated) for base in bases for rest in (0, *rounding)):
        yield _verdict(rule, True, "the tax is included in the subtotal")
    else:
        parts = [*([tax] if tax else []), *(v for v in more if v), *([-off] if off else [])]
        subsets = [sum((p for p, used in zip(parts, use, strict=True) if used), Decimal(0)) for use in _choices(parts)]
        if any(_equal(base + part, stated) for base in bases for part in subsets):
            yield _verdict(rule, None, "it fits if some of tax, service and discount are already in the subtotal")
        elif not record.get("subtotal") or not record.get("tax"):
            yield _verdict(rule, None, "a tax or a subtotal may be missing from the record")
        else:
            yield _verdict(rule, False, f"{bases[0]} + {tax} + {extra} - {off} = {bases[0] + tax + extra - off}")


def _choices(parts: Sequence[Any]) -> Iterator[tuple[bool, ...]]:
    return product((False, True), repeat=len(parts))


def _paid(record: dict) -> Iterator[dict]:
    if not (record.get("cash") and record.get("total")):
        return
    rule = "cash - change = total"
    paid, stated = _amounts(record, "cash", "card", "e_money"), values.amount(record["total"])
    change = _amounts(record, "change")
    if paid is None or change is None or stated is None:
        yield _verdict(rule, None, "not every value is one amount")
        return
    rest = sum(paid) - sum(map(abs, change))
    if any(_equal(r, stated) for r in (rest, paid[0] - sum(map(abs, change)))):
        yield _verdict(rule, True)
    elif not change and rest > stated:
        yield _verdict(rule, None, "no change is in the record")
    elif any(_equal(abs(rest - stated), abs(other)) for other in _amounts(record, "total_other") or []):
        yield _verdict(rule, None, "it fits if total_other is another payment or was given away")
    else:
        yield _verdict(rule, False, f"{sum(paid)} - {sum(map(abs, change))} = {rest}, not {stated}")


# --- dates ---------------------------------------------------------------------------------------------------


def _only_date(text: str) -> list[date] | None:
    """The readings of the one date of a text, none if the calendar has no such day; None if it is not one date."""
    found = values.dates(text)
    meant = {tuple(readings) for _, _, readings in found}
    return list(meant.pop()) if len(meant) == 1 else None


def _in_order(rule: str, first: list[date] | None, second: list[date] | None) -> dict:
    if not first or not second:
        return _verdict(rule, None, "not both can be read as dates")
    orders = {a <= b for a, b in product(first, second)}
    if len(orders) == 2:
        return _verdict(rule, None, "day and month can be read either way")
    return _verdict(rule, orders.pop(), f"{first[0]} and {second[0]}" if orders == {False} else None)


def _dates(record: dict) -> Iterator[dict]:
    read = {}
    for name in ("date", "due_date"):
        if record.get(name):
            read[name] = _only_date(record[name])
            yield _real(name, read[name], record[name])
    if len(read) == 2:
        yield _in_order("date <= due date", read["date"], read["due_date"])


def _real(path: str, readings: list[date] | None, text: str) -> dict:
    """Not written as a date: cannot tell. Written as one that no calendar has: fails."""
    verdict = None if readings is None else bool(readings)
    return _verdict(f"{path} is a date of the calendar", verdict, None if verdict else repr(text))


def _written_dates(record: dict) -> Iterator[dict]:
    for i, pair in enumerate(record.get("key_values") or []):
        readings = _only_date(pair.get("value") or "")
        if readings is not None and len(pair["value"]) <= 30:
            yield _real(f"key_values[{i}].value", readings, pair["value"])


def _term(record: dict) -> Iterator[dict]:
    clauses = record.get("clauses") or {}
    begins = clauses.get("Effective Date") or clauses.get("Agreement Date")
    ends = clauses.get("Expiration Date")
    if begins and ends:
        yield _in_order("effective date <= expiration date", *(_only_date("\n".join(q)) for q in (begins, ends)))


# --- numbers with check digits, and the currency --------------------------------------------------------------


def _strings(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _strings(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _strings(inner, f"{path}[{i}]")
    elif isinstance(value, str):
        yield path, value


def _ibans(record: dict) -> Iterator[dict]:
    from stdnum import iban

    for path, text in _strings(record):
        labeled = re.search(r"\biban\b", text, re.IGNORECASE)
        number = re.sub(r"^\W*iban\W*|[\s-]", "", text, flags=re.IGNORECASE)
        if re.fullmatch(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}", number) and path.rsplit(".", 1)[-1] != "tax_id":
            yield _verdict(f"{path}: IBAN check digits", iban.is_valid(number, check_country=False))
        elif labeled and number:
            yield _verdict(f"{path}: IBAN check digits", None, "it has not the form of an IBAN")


def _tax_id(record: dict) -> Iterator[dict]:
    text = (record.get("merchant") or {}).get("tax_id")
    if not text:
        return
    from stdnum import get_cc_module

    rule = "merchant.tax_id: VAT check digits"
    number = re.search(r"(?<![A-Z0-9])([A-Z]{2})[ -]?(?=[A-Z0-9 .-]*\d)([A-Z0-9][A-Z0-9 .-]{5,})$", text.strip())
    country = {"EL": "gr"}.get(number[1], number[1].lower()) if number else None
    module = country and get_cc_module(country, "vat")
    if module is None:
        yield _verdict(rule, None, "it does not begin with a country whose check digits are known")
    else:
        yield _verdict(rule, module.is_valid(number[1] + number[2]) or module.is_valid(number[2]))


def _currency(record: dict) -> Iterator[dict]:
    named = record.get("currency")
    marks = {
        text: values.currency(text)
        for path, text in _strings({k: v for k, v in record.items() if k not in ("merchant", "customer")})
        if path == "currency" or (values.amount(text) is not None and values.currency(text))
    }
    if not marks:
        return
    rule = "all amounts are in one currency"
    if named and not marks[named]:
        yield _verdict(rule, None, f"{named!r} is not a currency that is known here")
    elif len(marks) == 1:
        yield _verdict(rule, None, "only one value names a currency")
    else:
        agree = set.intersection(*marks.values())
        unlike = {frozenset(codes): text for text, codes in reversed(marks.items())}  # one example of each
        yield _verdict(rule, bool(agree), None if agree else ", ".join(reversed(unlike.values())))
