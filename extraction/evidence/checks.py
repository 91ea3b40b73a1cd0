"""Does a record agree with itself? Arithmetic, dates, check digits and currency, by rules that each give a verdict.

A rule is applied where the record has the values it speaks of. It holds if it does under one custom of writing that
fits all values, and with each of them; it fails only if nothing that documents do explains the values. Anything between
is `cannot tell`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, localcontext
from functools import lru_cache
from itertools import accumulate, product

from extraction.evidence import values
from extraction.tasks.custom import CustomTask
from extraction.tasks.records import leaves
from extraction.tasks.schemas import CONTRACT, RECEIPT, Task

HOLDS, FAILS, UNKNOWN = "holds", "fails", "cannot tell"
NOT_READ = (UNKNOWN, "not every value is one amount")


def check(record: dict | None, task: Task) -> list[dict]:
    """The `checks` of a result: `{"rule", "verdict"}` each, with a `detail` where that says more."""
    record = record or {}
    rules: dict[str, Sequence[Callable[[dict], Iterator[dict]]]] = {
        RECEIPT.name: (_sums, _dates, _tax_id, _ibans, _currency),
        CONTRACT.name: (_term,),
    }
    usual = (_ibans,) if isinstance(task, CustomTask) else (_written_dates, _ibans)  # what own fields mean is not known
    with localcontext(prec=500):  # no digit of a number that a record can have is rounded away
        return [verdict for rule in rules.get(task.name, usual) for verdict in rule(record)]


def _verdict(rule: str, verdict: bool | None | str, detail: str | None = None) -> dict:
    said = {True: HOLDS, False: FAILS, None: UNKNOWN}.get(verdict, verdict)
    return {"rule": rule, "verdict": said} | ({"detail": detail} if detail else {})


# --- the customs of writing that a record may follow ---------------------------------------------------------

AMOUNTS = (
    "subtotal discount service_charge other_charge tax subtotal_other tip total cash change card e_money total_other"
).split()
OF_ITEMS = ("unit_price", "discount", "amount")


@dataclass(frozen=True)
class Custom:
    """One way to read all amounts of a record."""

    decimal: frozenset[str]  # the marks, of "." and ",", that three digits behind are decimals
    signs: bool  # a dash behind a whole amount is a minus
    usual: bool  # a credit is negative and a debit positive
    codes: frozenset[str]  # what currencies the record may be in

    def read(self, text: str) -> Decimal | None:
        """The amount of a text; None if it has not one."""
        options = _options(text, self.codes, self.usual)
        if len(options) < 2:
            return options[0] if options else None
        decimal = bool(self.decimal & set(values.NUMBER.search(text).group()))
        fit = [o for o in options if (o.as_tuple().exponent < 0) == decimal] or options
        return next((o for o in fit if (o < 0) == self.signs), fit[0])


@lru_cache(maxsize=10_000)  # a record is read under each custom
def _options(text: str, codes: frozenset[str], usual: bool) -> list[Decimal]:
    return (not usual and values.unlikely(text)) or values.readings(text, codes)


def _customs(record: dict) -> list[Custom]:
    """The customs that fit what can be read in one way only; all of them if none does. The likeliest is the first."""
    rows = [row for _, row in line_items(record.get("line_items"), "")] + (record.get("void_items") or [])
    places = [(record, AMOUNTS), *((row, OF_ITEMS) for row in rows)]
    texts = [values_of[name] for values_of, names in places for name in names if values_of.get(name)]
    named = [codes for text in (record.get("currency") or "", *texts) if (codes := values.currency(text))]
    codes = frozenset(named[0] if named else ())
    options = {text: values.readings(text, codes) for text in texts}
    decimal, thousands = set(), set()
    for text, found in options.items():
        if len(found) == 1:
            *marks, last = re.findall("[.,]", values.NUMBER.search(text).group()) or [""]
            (decimal if found[0].as_tuple().exponent < 0 else thousands).add(last)
            thousands |= set(marks)
    either = any({o < 0 for o in found} == {True, False} for found in options.values())
    credits = any(map(values.unlikely, texts))
    sets = [frozenset(marks) for marks in ("", ".", ",", ".,")]
    if codes and codes <= values.THREE_DECIMALS:
        sets.reverse()
    fit = [marks for marks in sets if decimal - {""} <= marks and not thousands & marks] or sets
    signs, usual = ((True, False) if either else (True,)), ((True, False) if credits else (True,))
    return [Custom(m, s, u, codes) for u, s, m in product(usual, signs, fit)]


def _sums(record: dict) -> Iterator[dict]:
    """What the rules about amounts say, each under the custom that suits it best."""
    found: dict[str, list[tuple[bool, str, str | None]]] = {}
    for custom in _customs(record):
        for rule in (_rows, _items, _total, _paid):
            for name, (verdict, detail) in rule(record, custom.read):
                found.setdefault(name, []).append((custom.usual, verdict, detail))
    for name, verdicts in found.items():
        held = [detail for usual, verdict, detail in verdicts if verdict == HOLDS and usual]
        unknown = [detail for _, verdict, detail in verdicts if verdict != FAILS]
        if held:
            yield _verdict(name, HOLDS)
        elif unknown:
            yield _verdict(name, UNKNOWN, unknown[0] or "it fits if a mark of credit or debit means the opposite")
        else:
            yield _verdict(name, FAILS, verdicts[0][2])


# --- amounts -------------------------------------------------------------------------------------------------

Read = Callable[[str], Decimal | None]
PARTLY = "not every value is one amount"
Found = tuple[str, tuple[str, str | None]]  # rule, verdict and detail


def _unit(amount: Decimal) -> Decimal:
    """One unit of the last printed place; none of a whole number: nothing says that it was rounded."""
    return Decimal(1).scaleb(amount.as_tuple().exponent) if amount.as_tuple().exponent else Decimal(0)


def _amounts(record: dict, read: Read, *names: str) -> list[Decimal] | None:
    """The amounts of those of the fields that the record has; None if one of them cannot be read."""
    found = [read(record[name]) for name in names if record.get(name)]
    return None if None in found else found


def line_items(items: list[dict] | None, path: str) -> Iterator[tuple[str, dict]]:
    for i, item in enumerate(items or []):
        yield f"{path}[{i}]", item
        yield from line_items(item.get("sub_items"), f"{path}[{i}].sub_items")


def _rows(record: dict, read: Read) -> Iterator[Found]:
    for path, row in line_items(record.get("line_items"), "line_items"):
        if row.get("quantity") and row.get("unit_price") and row.get("amount"):
            yield f"{path}: quantity x unit price = amount", _row(record, row, read)


def _row(record: dict, row: dict, read: Read) -> tuple[str, str | None]:
    quantities = values.readings(row["quantity"])  # 1.250 of something sold by weight, whatever the amounts' custom
    price, stated, off = read(row["unit_price"]), read(row["amount"]), _amounts(row, read, "discount")
    if not quantities or price is None or stated is None or off is None:
        return NOT_READ
    verdicts = [_product(record, row, read, (quantity, price, stated, off)) for quantity in quantities]
    return min(verdicts, key=lambda verdict: (HOLDS, UNKNOWN, FAILS).index(verdict[0]))


def _product(record: dict, row: dict, read: Read, amounts: tuple) -> tuple[str, str | None]:
    quantity, price, stated, off = amounts
    found = quantity * price
    less = [found - abs(d) if found > 0 else found + abs(d) for d in off] or [found]
    places = Decimal(1).scaleb(stated.as_tuple().exponent)
    if any(f == stated or (_unit(f) < places and abs(f - stated) <= places / 2) for f in less):
        return HOLDS, None
    parts = [read(sub["amount"]) for sub in row.get("sub_items") or [] if sub.get("amount")]
    rate = _amounts(record, read, "tax", "subtotal") or []
    slack = abs(quantity) * _unit(price) / 2 + abs(price) * _unit(quantity) / 2 + _unit(stated) / 2
    close = slack if abs(quantity) != 1 or _unit(price) > places else 0
    explained = [
        ("it fits if a factor was rounded", any(abs(f - stated) <= close for f in less) and close),
        ("it fits if the discount is not in the amount", off and found == stated),
        ("it fits if the amount has its sub-items", parts and None not in parts and found + sum(parts) == stated),
        ("it fits if the price is for 10", stated and found == stated * 10),
        (
            "it fits if the price is for 100 or 1,000, less a discount",
            stated and any(Decimal("0.75") <= found / stated / k <= Decimal("1.25") for k in (100, 1000)),
        ),
        (
            "it fits if the amount has the tax",
            len(rate) == 2 and rate[1] and abs(found * (1 + rate[0] / rate[1]) - stated) <= slack,
        ),
        ("the row has other terms", row.get("other")),
        ("it fits but for the sign", abs(found) == abs(stated) and _is_credit(record, read)),
    ]
    for detail, fits in explained:
        if fits:
            return UNKNOWN, detail
    return FAILS, f"{quantity:f} x {price:f} = {found:f}, not {stated:f}"


def _is_credit(record: dict, read: Read) -> bool:
    """May an amount stand for what is given back? If the record is one of a credit, or adds up with it."""
    totals = _amounts(record, read, "subtotal", "total") or []
    whole = [read(item.get("amount") or "") for item in record.get("line_items") or []]
    return any(t < 0 for t in totals) or (None not in whole and sum(whole) in totals)


def _item_sums(record: dict, read: Read) -> list[tuple[Decimal, str | None]] | None:
    """What the items may add up to, and why if not all that is printed is in it; None if one has no amount."""
    items = record.get("line_items") or []
    every = [row for _, row in line_items(items, "")]
    subs = [row for path, row in line_items(items, "") if "sub_items" in path]
    whole = [read(item.get("amount") or "") for item in items]
    parts = [read(row["amount"]) for row in subs if row.get("amount")]
    void = [read(row["amount"]) for row in record.get("void_items") or [] if row.get("amount")]
    off = [read(row["discount"]) for row in every if row.get("discount")]
    if not items or None in whole:
        return None
    if None in (*parts, *void, *off):
        return [(sum(whole, Decimal(0)), PARTLY)]
    kinds = {
        "sub-items": sum(parts, Decimal(0)),
        "void items": -sum(map(abs, void), Decimal(0)),
        "discounts": -sum((abs(d) for d in off), Decimal(0)) * (-1 if sum(whole) < 0 else 1),
    }
    reduced = [row for row in every if row.get("discount")]
    if all(row.get("quantity") and row.get("unit_price") and _row(record, row, read)[0] == HOLDS for row in reduced):
        kinds["discounts"] = Decimal(0)  # each is in its amount
    there = {name: value for name, value in kinds.items() if value}
    sums = []
    for used in sorted(product((True, False), repeat=len(there)), key=lambda used: -sum(used)):
        left = [name for name, is_used in zip(there, used, strict=True) if not is_used]
        value = sum(whole, Decimal(0)) + sum(v for v, is_used in zip(there.values(), used, strict=True) if is_used)
        sums.append((value, f"it fits if the {' and '.join(left)} are in the amounts" if left else None))
    return sums


def _apart(sums: list[tuple[Decimal, str | None]], detail: str | None) -> tuple[str, str | None]:
    """The verdict where no sum of the items fits: nothing can be told if some of what they hold cannot be read."""
    return (UNKNOWN, PARTLY) if sums[0][1] == PARTLY else (FAILS, detail)


def _heads(record: dict, read: Read) -> Decimal:
    """The sum of those items that are what several items right before or behind them add up to."""
    whole = [read(item.get("amount") or "") or Decimal(0) for item in record["line_items"]]
    runs = ((amount, (whole[i + 1 :], whole[:i][::-1])) for i, amount in enumerate(whole) if amount)
    heads = (amount for amount, beside in runs if any(amount in list(accumulate(run))[1:] for run in beside))
    return sum(heads, Decimal(0))


def _first(options: Iterable[tuple[Decimal, str | None]], stated: Decimal) -> tuple[str, str | None] | None:
    """The verdict by the first of the options that is the stated amount: it holds if there is nothing to explain."""
    for value, detail in options:
        if value == stated:
            return (UNKNOWN, detail) if detail else (HOLDS, None)
    return None


def _nearly(value: Decimal, stated: Decimal, terms: Iterable[Decimal]) -> tuple[str, str] | None:
    """The verdict if the rounding of the printed places, or of what is paid in coins, makes up for the difference."""
    off = abs(value - stated)
    if off <= sum(map(_unit, [*terms, stated])) / 2:
        return UNKNOWN, "it fits but for the last printed place"
    for coin, least in ((Decimal("0.05"), 0), (Decimal(1), 0), (Decimal(100), 10_000)):
        if off < coin and stated % coin == 0 and abs(stated) >= least and value % coin:
            return UNKNOWN, "it fits if the total was rounded to coins"
    return None


def _items(record: dict, read: Read) -> Iterator[Found]:
    if not (record.get("line_items") and record.get("subtotal")):
        return
    rule = "sum of line items = subtotal"
    sums, stated = _item_sums(record, read), read(record["subtotal"])
    if sums is None or stated is None:
        yield rule, (UNKNOWN, "not every line item and the subtotal have an amount")
        return
    others = _amounts(record, read, "tax", "discount", "service_charge", "other_charge", "tip", "subtotal_other") or []
    around = [
        (s + sign * part, "it fits if tax, discount or service is already part of one of them")
        for s, _ in sums
        for part in _subsets(list(map(abs, others)))
        for sign in (1, -1)
    ]
    terms = [amount for row in record["line_items"] if (amount := read(row["amount"])) is not None]
    total = read(record.get("total") or "")
    around += [(stated, "it fits if the items have the tax") for s, _ in sums if s == total and abs(stated) < abs(s)]
    around += [(s - _heads(record, read), "it fits if some items are sums of others") for s, _ in sums]
    verdict = _first([*sums, *around], stated) or next(filter(None, (_nearly(s, stated, terms) for s, _ in sums)), None)
    yield rule, verdict or _apart(sums, f"the line items add up to {sums[0][0]:f}, not {stated:f}")


def _total(record: dict, read: Read) -> Iterator[Found]:
    if not record.get("total") or not (record.get("subtotal") or record.get("line_items")):
        return
    rule = "subtotal + tax + service - discount = total"
    stated, given = read(record["total"]), _amounts(record, read, "subtotal")
    bases = [(given[0], None)] if given else _item_sums(record, read) if given is not None else None
    tax, off = _amounts(record, read, "tax"), _amounts(record, read, "discount")
    more = _amounts(record, read, "service_charge", "other_charge", "tip")
    if stated is None or bases is None or None in (tax, off, more):
        yield rule, NOT_READ
        return
    verdict, detail = _added_up(record, read, stated, bases, (tax, more, off))
    yield rule, _apart(bases, detail) if verdict == FAILS else (verdict, detail)


def _added_up(record: dict, read: Read, stated: Decimal, bases: list, parts: tuple) -> tuple[str, str | None]:
    tax, more, off = parts
    sign = -1 if bases[0][0] < 0 else 1  # of a credit note everything is negative, and what reduces it positive
    added = [*tax, *more, *(-sign * abs(d) for d in off)]
    rounding = _amounts(record, read, "subtotal_other") or []
    whole = [(base + sum(added), detail) for base, detail in bases]
    rounded = [(value + rest, detail) for value, detail in whole for rest in rounding]
    if rounding:
        whole = [(value, detail or "it fits without what else is printed between them") for value, detail in whole]
    some = [
        (base + part + rest, "it fits if some of tax, service and discount are already in the subtotal")
        for base, _ in bases
        for part in [*_subsets(added), *_subsets([sign * abs(a) for a in added])]
        for rest in (0, *rounding)
    ]
    paid = _amounts(record, read, "cash", "card", "e_money", "total_other") or []
    before = [(value - abs(p), "it fits if a part was paid before, or given away") for value, _ in whole for p in paid]
    verdict = _first([*rounded, *whole, *some, *before], stated)
    if verdict is None and not rounding:
        near = (_nearly(value, stated, [bases[0][0], *added]) for value, _ in [*whole, *some])
        verdict = next(filter(None, near), None)
    if verdict is None and not (record.get("subtotal") and record.get("tax")):
        verdict = UNKNOWN, "a tax or a subtotal may be missing from the record"
    said = " + ".join(f"{part:f}" for part in (bases[0][0], *added)).replace("+ -", "- ")
    return verdict or (FAILS, f"{said} = {whole[0][0]:f}, not {stated:f}")


def _subsets(parts: Sequence[Decimal]) -> Iterator[Decimal]:
    for use in product((True, False), repeat=len(parts)):
        yield sum((p for p, used in zip(parts, use, strict=True) if used), Decimal(0))


def _paid(record: dict, read: Read) -> Iterator[Found]:
    if not (record.get("cash") and record.get("total")):
        return
    rule = "cash - change = total"
    paid, stated = _amounts(record, read, "cash", "card", "e_money"), read(record["total"])
    change, others = _amounts(record, read, "change"), _amounts(record, read, "total_other", "tip") or []
    if paid is None or change is None or stated is None:
        yield rule, NOT_READ
        return
    back = sum(map(abs, change))
    rest = sum(paid) - back
    options = [
        (rest, None),
        (paid[0] - back, "it fits if only the cash was paid"),
        *((rest + sign * abs(o), "it fits if another payment or a tip is in it") for o in others for sign in (1, -1)),
    ]
    verdict = _first(options, stated) or _nearly(rest, stated, [])
    if verdict is None and not change and rest > stated:
        verdict = UNKNOWN, "no change is in the record"
    yield rule, verdict or (FAILS, f"{sum(paid):f} - {back:f} = {rest:f}, not {stated:f}")


# --- dates ---------------------------------------------------------------------------------------------------


def _in_order(rule: str, first: str, second: str) -> dict:
    begins, ends = values.only_date(first), values.only_date(second)
    if not begins or not ends:
        return _verdict(rule, None, "not both can be read as dates")
    orders = {a <= b for a, b in product(begins, ends)}
    if len(orders) == 2:
        return _verdict(rule, None, "day, month and year can be read in several orders")
    if orders == {False} and any(re.search(r"(?<!\d)\d\d?\.\d\d?\.\d\d(?!\d)", text) for text in (first, second)):
        return _verdict(rule, None, "a year of two digits can be the first number or the last")
    return _verdict(rule, orders.pop(), f"{begins[0]} and {ends[0]}" if orders == {False} else None)


def _dates(record: dict) -> Iterator[dict]:
    read = {}
    for name in ("date", "due_date"):
        if record.get(name):
            read[name] = record[name]
            yield _real(name, values.only_date(record[name]), record[name])
    if len(read) == 2:
        yield _in_order("date <= due date", read["date"], read["due_date"])


def _real(path: str, readings: list[date] | None, text: str) -> dict:
    """Not written as a date: cannot tell. Written as one that no calendar has: fails."""
    verdict = None if readings is None else bool(readings)
    return _verdict(f"{path} is a date of the calendar", verdict, None if verdict else repr(text))


def _written_dates(record: dict) -> Iterator[dict]:
    for i, pair in enumerate(record.get("key_values") or []):
        readings = values.only_date(pair.get("value") or "")
        if readings is not None and len(pair["value"]) <= 30:
            yield _real(f"key_values[{i}].value", readings, pair["value"])


def _term(record: dict) -> Iterator[dict]:
    clauses = record.get("clauses") or {}
    begins = clauses.get("Effective Date") or clauses.get("Agreement Date")
    ends = clauses.get("Expiration Date")
    if begins and ends:
        yield _in_order("effective date <= expiration date", *("\n".join(quotes) for quotes in (begins, ends)))


# --- numbers with check digits, and the currency --------------------------------------------------------------


def _ibans(record: dict) -> Iterator[dict]:
    """Of what is called an IBAN, or is printed like one: the length of its own country, in groups of four."""
    from stdnum import iban, numdb

    keys = {f"key_values[{i}].value": pair.get("key") or "" for i, pair in enumerate(record.get("key_values") or [])}
    for path, text in ((leaf.path, leaf.value) for leaf in leaves(record)):
        rule, name = f"{path}: IBAN check digits", path.rsplit(".", 1)[-1]
        labeled = re.search(r"(?<![^\W_])iban(?![^\W_])", f"{name} {keys.get(path, '')} {text}", re.IGNORECASE)
        number = re.sub(r"^\W*iban\W*|[\s.-]", "", text, flags=re.IGNORECASE)
        form = numdb.get("iban").info(number)[0][1].get("bban") if re.fullmatch(r"[A-Z]{2}\d{2}\w+", number) else None
        length = form and 4 + sum(map(int, re.findall(r"\d+", form)))
        if name in ("tax_id", "invoice_number") or not (labeled or length == len(number)):
            continue
        valid = length == len(number) and iban.is_valid(number, check_country=False)
        if valid or (length == len(number) and (labeled or re.search(r"[A-Z]{2}\d\d \w{4} \w{4} ", text))):
            yield _verdict(rule, valid)
        elif labeled and re.sub(r"(?i)\W|iban", "", text):
            yield _verdict(rule, None, "it has not the form of an IBAN")


# Countries whose VAT numbers begin with their letters, and the letters that may follow them.
_VAT = {code: "" for code in "BE BG CY CZ DE DK EE EL FI GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK XI".split()}
_VAT |= {"AT": "U", "ES": "[A-Z]?", "FR": "[A-Z]{0,2}", "GB": "(?:GD|HA)?", "CH": "E"}


def _tax_id(record: dict) -> Iterator[dict]:
    text = (record.get("merchant") or {}).get("tax_id")
    if not text:
        return
    from stdnum import get_cc_module
    from stdnum.ch import uid
    from stdnum.exceptions import InvalidChecksum, ValidationError

    rule = "merchant.tax_id: VAT check digits"
    forms = "|".join(f"{code}[ .-]?{letters}(?=[ .-]?\\d)" for code, letters in _VAT.items())
    found = re.search(rf"(?<![A-Z0-9])(?={forms})([A-Z]{{2}})[ .-]?([A-Z0-9][A-Z0-9 .-]{{5,}})$", text.strip())
    swiss = re.search(r"(?<![A-Z0-9])CHE[ .-]?(?:\d[ .]?){9}(?!\d)", text)
    if not found and not swiss:  # "SIRET", "HRB" and "TRN" are not letters of countries
        yield _verdict(rule, None, "it does not begin with a country whose check digits are known")
        return
    try:
        if swiss:
            uid.validate(swiss.group())
        else:
            get_cc_module({"el": "gr", "xi": "gb"}.get(found[1].lower(), found[1].lower()), "vat").validate(found[2])
        yield _verdict(rule, True)
    except InvalidChecksum:
        yield _verdict(rule, False)
    except ValidationError:
        yield _verdict(rule, None, "it has not the form of a VAT number of its country")


def _currency(record: dict) -> Iterator[dict]:
    named = record.get("currency")
    rows = [row for _, row in line_items(record.get("line_items"), "")]
    texts = [row.get(name) for row in rows for name in OF_ITEMS]
    texts += [record.get(name) for name in (*AMOUNTS[:6], "total")]
    marks = {text: codes for text in [named, *texts] if text and (codes := values.currency(text))}
    if named:
        marks = {named: values.currency(named)} | marks
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
