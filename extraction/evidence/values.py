"""What a printed amount or date means, in the customs that documents use. Nothing is guessed: what can be read in two
ways has two readings."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal

# --- amounts -------------------------------------------------------------------------------------------------

NUMBER = re.compile(r"\d+(?:(?:[.,] ?|['’ \u00a0\u202f])\d+)*")
_MINUS = "-−–"
# Signs and codes of currencies that are printed at an amount, and the codes that each may stand for.
_DOLLARS = {"USD", "CAD", "AUD", "NZD", "SGD", "HKD", "TWD", "MXN"}
_CODES = "EUR GBP CHF JPY CNY INR IDR MYR THB PHP VND KRW SEK NOK DKK PLN CZK HUF BRL TRY ZAR AED".split()
CURRENCIES: dict[str, set[str]] = {code.casefold(): {code} for code in [*_CODES, *_DOLLARS]} | {
    "$": _DOLLARS,
    "us$": {"USD"},
    "s$": {"SGD"},
    "€": {"EUR"},
    "£": {"GBP"},
    "¥": {"JPY", "CNY"},
    "₹": {"INR"},
    "rs": {"INR"},
    "rp": {"IDR"},
    "rm": {"MYR"},
    "฿": {"THB"},
    "₩": {"KRW"},
    "zł": {"PLN"},
    "kr": {"SEK", "NOK", "DKK"},
    "fr": {"CHF"},
}


def amount(text: str) -> Decimal | None:
    """The amount of a text that holds one number and at most a currency or unit beside it, its sign kept.

    `1,234.50`, `1.234,50`, `Rp 45.500,-`, `(12.00)`, `12.00-`, `1X`. Three digits behind a single separator are
    thousands. None for percentages, dates, and whatever else is not one amount.
    """
    return next(iter(readings(text)), None)


def readings(text: str) -> list[Decimal]:
    """All amounts that the text may mean, the likeliest first: `1.250` is 1250, or 1.25 of something sold by weight."""
    numbers = list(NUMBER.finditer(text))
    if len(numbers) != 1:
        return []
    before, after = text[: numbers[0].start()], text[numbers[0].end() :].strip()
    if "%" in after or sum(c.isalpha() for c in before + after) > 4:
        return []
    code = re.search(r"[^\W\d_]{2,}$", before)
    if code and code.group().casefold() not in CURRENCIES:  # as in "PB1"
        return []
    negative = any(c in _MINUS for c in before) or after[:1] in set(_MINUS) or ("(" in before and ")" in after)
    return [-value if negative else value for value in _unsigned(numbers[0].group())]


def _unsigned(number: str) -> list[Decimal]:
    number = re.sub(r"(?<=[.,]) ", "", number)
    marks, groups = re.findall(r"\D", re.sub(r"[’ \u00a0\u202f]", "'", number)), re.split(r"\D", number)
    if not marks:
        return [Decimal(number)]
    whole = [Decimal("".join(groups))] if len(set(marks)) == 1 and _thousands(groups) else []
    decimal = Decimal(f"{''.join(groups[:-1])}.{groups[-1]}")
    if len(marks) == 1 and marks[0] != "'":
        return [*whole, decimal]
    if len(set(marks)) == 2 and marks[-1] not in [*marks[:-1], "'"] and _thousands(groups[:-1]):
        return [decimal]
    return whole


def _thousands(groups: list[str]) -> bool:
    """1,234,567 and, as in India, 12,34,567."""
    first, *middle, last = groups
    return 1 <= len(first) <= 3 and first[0] != "0" and len(last) == 3 and all(len(g) in (2, 3) for g in middle)


def currency(text: str) -> set[str]:
    """The codes that the currency printed at an amount, or alone, may stand for; empty where none is known."""
    marks = [m.casefold() for m in re.findall(r"(?:US|S)?\$|[€£¥₹฿₩]|[^\W\d_]+", text, re.IGNORECASE)]
    found = [CURRENCIES[mark] for mark in marks if mark in CURRENCIES]
    return set.intersection(*found) if found else set()


# --- dates ---------------------------------------------------------------------------------------------------

# The first letters of a month in English, German, French, Spanish, Dutch, and Indonesian.
_MONTHS = {
    letters: number
    for number, names in enumerate(
        "jan ene|feb fév fev|mar mär mrt maa|apr avr abr|may mai mei|jun juin|jul juil|aug ago agu aoû aou|sep"
        "|oct okt|nov|dec dez déc dic des".split("|"),
        start=1,
    )
    for letters in names.split()
}
_MONTH = rf"(?P<name>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})[^\W\d_]{{0,6}}\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?\.?"
_YEAR = r"(?P<year>\d{4}|['’]?\d{2})"
DATE = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?<!\d)(?P<year>\d{4})(?P<mark>[-/.])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})(?!\d)",
        r"(?<![\d.,/])(?P<day>\d{1,2})(?P<mark>[-/.])(?P<month>\d{1,2})(?P=mark)(?P<year>\d{4}|\d{2})"
        r"(?![.,/]?\d(?!\d:)|-\d{3})",
        rf"(?<!\d){_DAY}(?:\s*(?:day\s+)?of\s+|[\s/.-]*){_MONTH}(?:\s+of\s+|[\s/.,-]*){_YEAR}(?!\d)",
        rf"(?<![^\W\d_]){_MONTH}[\s/.-]*{_DAY},?[\s/.-]+{_YEAR}(?!\d)",
    )
]


def dates(text: str) -> list[tuple[int, int, list[date]]]:
    """Every printed date as (start, end, readings): two readings for `05/06/2024`, none for `31/02/2024`."""
    found: list[tuple[int, int, list[date]]] = []
    for pattern in DATE:
        for match in pattern.finditer(text):
            if all(match.end() <= start or match.start() >= end for start, end, _ in found):
                found.append((*match.span(), _calendar(match.groupdict(), pattern is DATE[0])))
    return sorted(found)


def _calendar(parts: dict[str, str], year_first: bool) -> list[date]:
    year, day = int(parts["year"].lstrip("'’")), int(parts["day"])
    if len(parts["year"].lstrip("'’")) == 2:
        year += 2000 if year < 70 else 1900
    if "name" in parts:
        orders = [(_MONTHS[parts["name"].casefold()], day)]
    else:
        month = int(parts["month"])
        orders = [(month, day)]
        if not year_first and (parts["mark"] != "." or month > 12):  # 2024-05-06 and 06.05.2024 are read in one way
            orders.append((day, month))
    real = []
    for month, of_month in orders:
        try:
            real.append(date(year, month, of_month))
        except ValueError:
            continue
    return list(dict.fromkeys(real))
