"""What a printed amount or date means, in the customs that documents use. Nothing is guessed: what can be read in two
ways has two readings."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from datetime import date
from decimal import Decimal
from functools import cache

# --- amounts -------------------------------------------------------------------------------------------------

# A soft hyphen that is printed is a hyphen. Dashes that are longer stand for "nothing" (as in "5.—") or part text.
MINUS = "-\u00ad\u2010\u2011\u2012\u2013\u2212\u207b\ufe63\uff0d"
_DASH = f"{MINUS}\u2014"
NUMBER = re.compile(r"(?:(?<![\w.,])[.,]\d{1,3}(?![.,]?\d)|\d+(?:(?:[.,] ?|['’ \u00a0\u202f])\d+)*)")
# Signs and codes of currencies that are printed at an amount, and the codes that each may stand for.
_DOLLARS = set("USD CAD AUD NZD SGD HKD TWD MXN ARS CLP COP UYU DOP JMD BND".split())
_CODES = (
    "EUR GBP CHF JPY CNY INR IDR MYR THB PHP VND KRW SEK NOK DKK ISK PLN CZK HUF RON BGN BRL PEN TRY ILS ZAR AED SAR"
    " QAR KWD BHD OMR JOD TND IQD LYD"
).split()
THREE_DECIMALS = {"KWD", "BHD", "OMR", "JOD", "TND", "IQD", "LYD"}
_SIGNS = (
    "us$:USD u$:USD u$s:USD r$:BRL a$:AUD au$:AUD c$:CAD,NIO ca$:CAD can$:CAD cad$:CAD hk$:HKD nt$:TWD s$:SGD sg$:SGD"
    " nz$:NZD mx$:MXN mex$:MXN ar$:ARS cl$:CLP clp$:CLP col$:COP co$:COP rd$:DOP j$:JMD tt$:TTD b$:BND ec$:XCD fj$:FJD"
    " bds$:BBD n$:NAD €:EUR £:GBP ¥:JPY,CNY 円:JPY ₹:INR rs:INR rp:IDR rm:MYR ฿:THB ₩:KRW zł:PLN kč:CZK ft:HUF lei:RON"
    " kr:SEK,NOK,DKK,ISK fr:CHF sfr:CHF kd:KWD ro:OMR bd:BHD jd:JOD dt:TND ld:LYD"
)
CURRENCIES = {"$": _DOLLARS} | {code.casefold(): {code} for code in [*_CODES, *_DOLLARS]}
CURRENCIES |= {sign: set(codes.split(",")) for sign, codes in (pair.split(":") for pair in _SIGNS.split())}
_NO_MINOR = {"JPY", "CNY", "KRW", "IDR", "INR"}  # a dash behind a whole amount closes it: ¥1,000-
_MARK = re.compile(r"[^\W\d_]{0,3}\$[sd]?|[€£¥円₹฿₩]|[^\W\d_]+", re.IGNORECASE)
_CREDIT = re.compile(r"(?<![^\W\d_])(?:(cr)|dr)(?![^\W\d_])\.?", re.IGNORECASE)
_CREDIT_GERMAN = re.compile(r"(?<![^\W\d_])(?:(H)|S)(?![^\W\d_])")  # "Haben" and "Soll"; elsewhere a class of tax
# Powers of ten. A word that may mean something else has none: "2.5M" may be meters, "5 mil" are 5,000 or a name.
_POWERS = {"万": 4, "億": 8, "千": 3, "mil": None, "mm": None} | {
    word: power
    for power, words in {
        3: "k tsd tys rb ribu thousand",
        5: "lakh lakhs lac",
        6: "mio mln mn million millions juta jt",
        7: "crore crores",
        9: "mrd mld bn",
    }.items()
    for word in words.split()
}


def amount(text: str, codes: Collection[str] = ()) -> Decimal | None:
    """The amount of a text that holds one number and at most a currency or unit beside it, its sign kept.

    `1,234.50`, `1.234,50`, `Rp 45.500,-`, `(12.00)`, `12.00-`, `12.00 CR`, `1X`, `3,2 Mio EUR`. Three digits behind a
    single separator are thousands, except in a currency with three decimals that the text names, or that is among the
    `codes` known of the document. None for percentages, dates, and whatever else is not one amount.
    """
    return next(iter(readings(text, codes)), None)


def readings(text: str, codes: Collection[str] = ()) -> list[Decimal]:
    """All amounts that the text may mean, the likeliest first: `1.250` is 1250, or 1.25 of something sold by weight."""
    numbers = list(NUMBER.finditer(text))
    if len(numbers) != 1:
        return []
    number, before, after = numbers[0].group(), text[: numbers[0].start()], text[numbers[0].end() :]
    glued = re.search(r"[^\W\d_]{2,}$", before)
    if "%" in after or (glued and not _known(glued.group())):  # as in "PB1"
        return []
    if re.match(r"[OoI|](?![^\W\d_])", after):  # a digit that an OCR took for a letter: 1,54O
        return []
    named, mark = currency(f"{before} {after}") or set(codes), _credit(text)
    if mark:
        after = after.replace(mark.group(), " ", 1)
    power, after = _multiplier(before, after)
    after = _MARK.sub(lambda m: " " if _known(m.group()) else m.group(), after).strip()
    words = _MARK.sub(lambda m: " " if _known(m.group()) else m.group(), before) + after
    if power is None or (mark and named == {"INR"}):  # "5 Cr" are five crores or a credit
        return []
    if sum(c.isalpha() for c in words) > 4:
        return []
    found = [value.scaleb(power) for value in _unsigned(number, bool(named) and named <= THREE_DECIMALS)]
    if any(c in MINUS for c in before) or ("(" in before and ")" in after) or (mark and mark[1]):
        return [-value for value in found]
    if after and not after.strip(_DASH):
        return _with_dash(found, after, named)
    return [-value for value in found] if after[:1] in set(MINUS) else found


def _with_dash(found: list[Decimal], dash: str, named: set[str]) -> list[Decimal]:
    """An amount with a dash behind it: `12.00-` is negative, `¥1,000-` is a whole price, `1,000-` may be either."""
    whole = [value for value in found if value.as_tuple().exponent >= 0]
    if whole and (len(dash) > 1 or dash == "\u2014" or (named and named <= _NO_MINOR)):
        return whole
    return [-value for value in found] + whole


def _credit(text: str) -> re.Match | None:
    """The mark that makes an amount a credit (its first group) or a debit: `12.00 CR`, `12,00 H`."""
    return _CREDIT.search(text) or (_CREDIT_GERMAN.search(text) if re.search(r",\d\d(?!\d)", text) else None)


def unlikely(text: str) -> list[Decimal]:
    """The readings that the text has if a mark of credit or debit at it means the opposite, or nothing."""
    return [-value for value in readings(text)] if _credit(text) else []


def _multiplier(before: str, after: str) -> tuple[int | None, str]:
    """The power of ten of a multiplier behind the number, None if it cannot be told, and the rest of the text."""
    found = re.match(r"\s*([千万億]|[^\W\d_]+\b)\.?", after)
    word, glued = (found[1] if found else ""), not after[:1].isspace()
    if word in ("M", "m", "B", "b"):
        money = glued and currency(before)
        if word == "M" and money:
            return 6, after[found.end() :]
        return (None if money or (glued and word in "Mm") else 0), after  # "1,29 B" has a class of tax
    if word.casefold() not in _POWERS or (word in "Kk" and not glued):
        return (None if word in ("K", "k") else 0), after
    return _POWERS[word.casefold()], after[found.end() :]


def _known(mark: str) -> bool:
    return mark.casefold() in CURRENCIES


def _unsigned(number: str, three_decimals: bool) -> list[Decimal]:
    number = re.sub(r"(?<=[.,]) ", "", number)
    if not number[0].isdigit():
        return [Decimal(f"0.{number[1:]}")]
    marks, groups = re.findall(r"\D", re.sub(r"[’ \u00a0\u202f]", "'", number)), re.split(r"\D", number)
    if not marks:
        return [Decimal(number)]
    whole = [Decimal("".join(groups))] if len(set(marks)) == 1 and _thousands(groups) else []
    decimal = Decimal(f"{''.join(groups[:-1])}.{groups[-1]}")
    if len(marks) == 1 and marks[0] != "'":
        return [decimal, *whole] if three_decimals else [*whole, decimal]
    if len(set(marks)) == 2 and marks[-1] not in [*marks[:-1], "'"] and _thousands(groups[:-1]):
        return [decimal]
    return whole


def _thousands(groups: list[str]) -> bool:
    """1,234,567 and, as in India, 12,34,567."""
    first, *middle, last = groups
    return 1 <= len(first) <= 3 and first[0] != "0" and len(last) == 3 and all(len(g) in (2, 3) for g in middle)


def currency(text: str) -> set[str]:
    """The codes that the currency printed at an amount, or alone, may stand for; empty where none is known."""
    text = re.sub(r"\b([^\W\d_])\.([^\W\d_])\b\.?", r"\1\2", text)  # K.D.
    found = [CURRENCIES[mark.casefold()] for mark in _MARK.findall(text) if _known(mark)]
    return set.intersection(*found) if found else set()


# --- dates ---------------------------------------------------------------------------------------------------

# Each month's number, its names and what they are cut to, as the Unicode CLDR has them for English, German, French,
# Dutch, Spanish, Italian, Portuguese, Polish, Czech, Slovak, Danish, Swedish, Norwegian, Finnish, Hungarian, Romanian,
# Turkish and Indonesian. (Babel has them, too, with 22 MB of memory for whatever else it knows of these languages.)
_MONTHS = """
    1 january jan januar janvier janv januari enero ene gennaio gen janeiro stycznia sty styczeń ledna led leden januára
    január tammikuuta tammi tammikuu ianuarie ian ocak oca
    2 february feb februar février févr februari febrero febbraio fevereiro fev lutego lut luty února úno únor februára
    február helmikuuta helmi helmikuu febr februarie şubat şub
    3 march mar märz mär mars maart mrt marzo março marca marzec března bře březen marec marts maaliskuuta maalis
    maaliskuu március márc martie mart maret mrz
    4 april apr avril avr abril abr aprile kwietnia kwi kwiecień dubna dub duben apríla apríl huhtikuuta huhti huhtikuu
    április ápr aprilie nisan nis
    5 may mai mei mayo maggio mag maio maja maj května kvě květen mája máj toukokuuta touko toukokuu május mayıs
    6 june jun juni juin junio giugno giu junho czerwca cze czerwiec června čvn červen júna jún kesäkuuta kesä kesäkuu
    június iunie iun haziran haz
    7 july jul juli juillet juil julio luglio lug julho lipca lip lipiec července čvc červenec júla júl heinäkuuta heinä
    heinäkuu július iulie iul temmuz tem
    8 august aug août augustus agosto ago sierpnia sie sierpień srpna srp srpen augusta augusti elokuuta elo elokuu
    augusztus ağustos ağu agustus agu agt
    9 september sep sept septembre septiembre settembre set setembro września wrz wrzesień září zář septembra syyskuuta
    syys syyskuu szeptember szept septembrie eylül eyl
    10 october oct oktober okt octobre octubre ottobre ott outubro out października paź październik října říj říjen
    októbra október lokakuuta loka lokakuu octombrie ekim eki
    11 november nov novembre noviembre novembro listopada lis listopad listopadu novembra marraskuuta marras marraskuu
    noiembrie kasım kas
    12 december dec dezember dez décembre déc diciembre dic dicembre dezembro grudnia gru grudzień prosince pro prosinec
    decembra desember des joulukuuta joulu joulukuu decembrie aralık ara
"""
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th|er|re|ère|ème|e|º|°|ª|\.)?"
_NAME = r"(?P<name>(?<![^\W\d_])[^\W\d_]{3,12}(?![^\W\d_]))\.?"
_YEAR = r"(?P<year>\d{4}|['’]?\d{2}(?![:.h]\d))(?!\d)"  # "15 Mar 10:30" ends in a time
_OF = r"(?:\s*(?:day\s+)?(?:(?:of|de|del|di|do|da)\s+|d['’])|[\s/.-]*)"
_PATTERNS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?<!\d)(?P<year>\d{4})(?P<between>[-/.]|\. )(?P<month>\d{1,2})(?P=between)(?P<day>\d{1,2})(?!\d)",
        r"(?<!\d)(?P<year>\d{4})\s?[年년]\s?(?P<month>\d{1,2})\s?[月월]\s?(?P<day>\d{1,2})(?!\d)",
        r"(?<![\d.,/])(?P<day>\d{1,2})(?P<mark>[-/.]|\. )(?P<month>\d{1,2})(?P=mark)(?P<year>\d{4}|\d{2}(?!:\d))"
        r"(?![.,/]?\d(?!\d:)|-\d{3})",
        rf"(?<!\d){_DAY}{_OF}{_NAME}(?:\s+(?:of|de|del)\s+|[\s/.,-]*){_YEAR}",
        rf"{_NAME}[\s/.-]*{_DAY}(?:,?[\s/.-]+(?=\d{{4}})|[\s,/-]+){_YEAR}",
        rf"(?<!\d)(?P<year>\d{{4}})[\s/.,-]+{_NAME}[\s/.-]*(?P<day>\d{{1,2}})(?!\d)",
    )
]


@cache
def months() -> dict[str, set[int]]:
    """The months that a name may mean, or three or more letters that it begins with, in the languages known here."""
    whole: dict[str, set[int]] = {}
    begun: dict[str, set[int]] = {}
    for name in _MONTHS.split():
        if name.isdecimal():
            number = int(name)
            continue
        plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
        for spelling in {name, plain}:
            whole.setdefault(spelling, set()).add(number)
            for end in range(3, len(spelling)):
                begun.setdefault(spelling[:end], set()).add(number)
    return begun | whole


def dates(text: str) -> list[tuple[int, int, list[date]]]:
    """Every printed date as (start, end, readings): two readings for `05/06/2024`, none for `31/02/2024`."""
    found: list[tuple[int, int, list[date]]] = []
    for pattern in _PATTERNS:
        position = 0
        while match := pattern.search(text, position):
            parts = match.groupdict()
            if "name" in parts and parts["name"].casefold() not in months():
                position = match.start() + 1
                continue
            position = match.end()
            if all(match.end() <= start or match.start() >= end for start, end, _ in found):
                found.append((*match.span(), _calendar(parts)))
    return sorted(found)


def only_date(text: str) -> list[date] | None:
    """The readings of the one date of a text, none if the calendar has no such day; None if it is not one date."""
    meant = {tuple(readings) for _, _, readings in dates(text)}
    return list(meant.pop()) if len(meant) == 1 else None


def _calendar(parts: dict[str, str]) -> list[date]:
    """The days that a date may mean, the likeliest first. A year of two digits may stand first: 24-03-15."""
    day, month, year, mark = (parts.get(name) or "" for name in ("day", "month", "year", "mark"))
    orders = [(year, number, day) for number in sorted(months()[parts["name"].casefold()])] if "name" in parts else []
    if month:
        orders.append((year, month, day))
        if mark and (mark in "-/" or int(month) > 12):  # 2024-05-06 and 06.05.2024 are read in one way
            orders.append((year, day, month))
        if mark and mark in "-/" and len(year) == 2:
            orders.append((day, month, year))
    real = []
    for y, m, d in orders:
        try:
            real.append(date(_full_year(y.lstrip("'’")), int(m), int(d)))
        except ValueError:
            continue
    return list(dict.fromkeys(real))


def _full_year(year: str) -> int:
    return int(year) if len(year) == 4 else int(year) + (2000 if int(year) < 70 else 1900)
