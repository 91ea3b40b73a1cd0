"""Bytes -> text: which encoding they are in, and what of it is print. And rows of cells as columns of text."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Sequence

from extraction.reading.limits import DocumentError

PADDING = 10_000_000  # characters that a table may take; a larger one is not worth its columns


def table(cells: Sequence[Sequence[str]]) -> str:
    """Rows of cells as text with aligned columns, for data that has a table and no boxes."""
    grid = [[" ".join(str(c).split()) for c in row] for row in cells]
    widths: list[int] = []
    for row in grid:
        widths += [0] * (len(row) - len(widths))
        for i, cell in enumerate(row):
            widths[i] = max(widths[i], len(cell))
    if len(grid) * sum(widths) > PADDING:  # one long cell in a column of many
        widths = [0] * len(widths)
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=False)).rstrip() for row in grid)


_BREAKS = dict.fromkeys(map(ord, "\v\f\x85\u2028\u2029"), "\n")
_PRINTED = dict.fromkeys(set(range(32)) - set(b"\n")) | _BREAKS


def read(data: bytes) -> str:
    """The text of a text file: its lines parted by line feeds alone, tabs as blanks, no control characters."""
    return printed(decoded(data)).strip("\n")


def printed(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").expandtabs().translate(_PRINTED)


def raised(before: str, text: str) -> str:
    """Superscript text as it reads on the line: 10 with a raised 48 is 10.48, any other raised digit stands apart."""
    if not (text[:1].isdigit() and before[-1:].isdigit()):
        return text
    whole = re.search(r"[\d.,' ]*$", before).group()
    return f".{text}" if re.fullmatch(r"\d\d", text) and not re.search(r"[.,]\d\d?$", whole) else f" {text}"


# --- encodings -----------------------------------------------------------------------------------------------


def decoded(data: bytes, declared: str | None = None) -> str:
    """The text in its encoding: by a mark at its start, else UTF-8, else the declared one, else the likeliest.

    A few bytes that are wrong in UTF-8 do not make another encoding of it; they are read as Windows reads them.
    """
    found = unicode(data[:1024])
    if not found and declared and re.match(r"iso-2022|hz|utf-?(7|16|32)", declared, re.I):  # these look like ASCII
        found = declared
    for encoding in filter(None, (found, "utf-8-sig")):
        try:
            return data.decode(encoding).removeprefix("\ufeff")
        except (UnicodeDecodeError, LookupError):
            continue
    text = _repaired(data)
    if text is not None:
        return text.removeprefix("\ufeff")
    try:
        if declared and not re.match(r"utf|us-ascii|ascii", declared, re.I):
            return data.decode("cp1252" if re.match(r"iso.?8859.?1$|latin.?1$", declared, re.I) else declared)
    except (UnicodeDecodeError, LookupError):
        pass
    return _older(data)


def unicode(head: bytes) -> str | None:
    """UTF-16 or UTF-32, by its mark at the start, or by the zeros of Latin letters in every second place."""
    for name, mark in (("utf-32", codecs.BOM_UTF32_LE), ("utf-32", codecs.BOM_UTF32_BE)):
        if head.startswith(mark):
            return name
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if min(even, odd) == 0 and max(even, odd) > max(1, 0.15 * len(head)):
        name = "utf-16-le" if odd else "utf-16-be"
        text = head[: len(head) // 2 * 2].decode(name, "replace")
        return name if all(c.isprintable() or c.isspace() for c in text) else None
    return None


def _repaired(data: bytes) -> str | None:
    """The text in UTF-8 if no more bytes are wrong in it than characters of several bytes are right."""
    text = data.decode("utf-8", "surrogateescape")
    wrong = sum("\udc80" <= c <= "\udcff" for c in text)
    right = sum(c > "\x7f" for c in text) - wrong
    if wrong > right:
        return None
    return re.sub("[\udc80-\udcff]", lambda m: bytes([ord(m[0]) - 0xDC00]).decode("cp1252", "replace"), text)


# Encodings of Latin letters, the most usual first, and what a language writes in them: its letters beside a to z, those
# of a to z that it does not use, and what never stands in its words. It is enough to tell apart what is one byte in two
# encodings: no language has the letters of "Pøíliš" or "z³oty", but Czech has those of "Příliš", Polish of "złoty".
_LATIN = ("cp1252", "cp1250", "iso8859_2", "cp1254", "cp1257", "cp850", "mac_roman")
_LANGUAGES = (
    ("äöüßé", "", ""),  # German
    (
        "àâæçéèêëîïôœùûüÿ",
        "kw",
        r"è(?!s\b|[bcdfghjlmnprstvxz]{1,2}e|[qg]u)|(?<![aeiouéy])[ëï]|\Bœ(?![uit])|ê[bdgjoz]|[jz]ê\b|ù\B|[aeiou]æ",
    ),  # French
    ("áéíñóúü", "kw", r"ñ(?![aeiouáéíóú])"),  # Spanish
    ("àèéìòù", "jkwxy", r"[ìùè]\B"),  # Italian
    ("áàâãçéêíóôõú", "kwy", r"õ(?!e)|ã(?![oe]|s?\b)|[^mçlhnu]ã\b|ê[bdgjoz]|[jz]ê\b"),  # Portuguese
    ("éëïóöü", "", r"(?<![aeiou])[ëï]"),  # Dutch
    ("åäöé", "", ""),  # Swedish, Finnish
    ("æøåé", "", r"[aeiouy]æ|æ[aeiouy]"),  # Danish, Norwegian
    ("áðéíóúýþæö", "cqw", r"\Bþ|\bð|\w{3}ý\b|[^aeiouyáéíóúýær]ð|[aeiouy]æ|ý[a-z]?[lrmz]ý"),  # Icelandic
    ("áčďéěíňóřšťúůýž", "qw", ""),  # Czech
    ("áäčďéíĺľňóôŕšťúýž", "qw", ""),  # Slovak
    ("ąćęłńóśźż", "qvx", ""),  # Polish
    ("áéíóöőúüű", "qw", ""),  # Hungarian
    ("čćđšž", "qwxy", ""),  # Croatian, Slovenian
    ("ăâîşţ", "kqwy", ""),  # Romanian
    ("çğıöşüâî", "qwx", ""),  # Turkish
    ("ąčęėįšųūž", "qwx", ""),  # Lithuanian
    ("āčēģīķļņšūž", "qwxy", ""),  # Latvian
)
_A_TO_Z = set("abcdefghijklmnopqrstuvwxyz")
_WRITTEN = [
    ((_A_TO_Z - set(without)) | set(letters), re.compile(never or r"(?!)")) for letters, without, never in _LANGUAGES
]


def _older(data: bytes) -> str:
    """The text in the first of the usual encodings in which the fewest of its words and signs are odd."""
    read = []
    for name in _LATIN:
        try:
            text = data.decode(name)
        except UnicodeDecodeError:
            continue
        shown = text[:20_000]
        words = "".join(c if c.isalpha() and c not in "ªº" else " " for c in shown).split()
        words = [word for word in words if not word.isascii()]
        read.append((_odd(shown, words), len(read), text, words))
    odd, _, text, words = min(read)
    letters = "".join(words)
    if odd and sum(c > "\x7f" for c in letters) >= 0.6 * len(letters):  # no Latin letters at all
        return _guessed(data)
    return text


def _odd(text: str, words: list[str]) -> int:
    """How many words are in no one language, or stand beside signs that do not stand beside letters."""
    mixed = sum(not (w.isupper() or w[1:].islower() or len(w) == 1) for w in words)
    lower = [w.lower().replace("i̇", "i") for w in words]
    foreign = min(sum(not set(w) <= letters or bool(never.search(w)) for w in lower) for letters, never in _WRITTEN)
    signs = 0
    for found in re.finditer(r"[^\x00-\x7f]", text):
        sign, before, after = found[0], text[: found.start()][-1:], text[found.end() : found.end() + 1]
        if sign.isalpha() and sign not in "ªº" or sign in "’‘–—…•\u00a0\u00ad":
            continue
        if unicodedata.category(sign) == "Cc":
            signs += 2
        elif sign in "²³¹":
            signs += after.isalpha() or (before.isalpha() and before != "m")
        elif sign in "ªº°”»›":
            signs += after.isalpha() and sign + after not in ("°C", "°F")
        elif sign in "¿¡“„«‹‚":
            signs += before.isalpha()
        elif sign in "©®™§†‡¶±µ·":
            signs += before.isalpha() and after.isalpha() and before != "l"
        else:  # signs of currencies and the like
            signs += before.isalpha() or after.isalpha() or sign not in "€£¥¢¤×÷¼½¾¬¦¯¨´"
    return mixed + foreign + signs


_UNICODE = ["utf_7", "utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be"]
_USUAL = ("cp1251", "cp1253", "shift_jis", "gb18030", "big5", "euc_kr")


def _guessed(data: bytes) -> str:
    import charset_normalizer

    matches = charset_normalizer.from_bytes(data, cp_exclusion=_UNICODE)
    best = matches.best()
    if best is None:
        raise DocumentError("the encoding of the text was not recognized")
    # A few letters can be right in many encodings: of those that fit as well, the most usual one is taken.
    ties = [m for m in matches if (m.chaos, m.coherence) == (best.chaos, best.coherence)]
    fitting = {name for match in ties for name in match.could_be_from_charset}
    return next((data.decode(name) for name in _USUAL if name in fitting), str(best))
