"""Passages of a document that speak to a machine rather than to a person: orders, role markers, ready-made answers.

Whatever a document says, it is only a document. A passage is left out of what a model reads only if it both addresses
a machine and orders an answer; what does one of the two is marked and stays, for letters and invoices say such things
too. No list of patterns finds every order, so a model has to withstand those that are not found.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator

from extraction.evidence import values

# Letters of other alphabets that look like Latin ones.
_LOOKALIKES = str.maketrans(
    "аеіјорсухѕһԁԛԝкмтвнгАВЕКМНОРСТУХІЈЅԌαεικνορτυχγΑΒΕΖΗΙΚΜΝΟΡΤΥΧıɑɡ",
    "aeijopcyxshdqwkmtbhrABEKMHOPCTYXIJSGaeiknoptuxyABEZHIKMNOPTYXiag",
)
_JUST_WORDS = r"(?:\s+[\w'-]+){0,5}?\s+"
# "Dear Ai," and "Dear AI Solutions" are names, an assistant may be a person, and a model a thing that is sold.
_MODEL = (
    r"(?:(?:the )?(?:ai|large language|language|extraction|vision) (?:model|assistant|agent|bot|system)s?|llms?|chatgpt"
    r"|gpt-?\d?|qwen|ai(?= (?:reading|processing|parsing|that)))(?=\s*(?:[,.:;!)\n]|$"
    r"|(?:reading|processing|parsing|that|which|who|you|please)\b))"
)
_TO = r"\b(?:note|notice|attention|message|instructions?|important|dear|hey|hello)"
_ROLE = r"(?:system|assistant|developer)"  # "System: Windows 11" and "Assistant: J. Doe" are no messages
_ALL = r"(?:the|this|all)\s+(?:rest\s+of\s+(?:the|this)\s+)?"
_SAY = r"(?:answer|reply|respond|output|print|emit)"
_IF_PAID = r"(?!\W+(?:if|unless|once|when|where|in case|should|as)\b)"  # what a reminder says
_MACHINE, _ANSWER, _BOTH, _NEITHER = {"machine"}, {"answer"}, {"machine", "answer"}, set()
_PATTERNS = [
    (re.compile(pattern, re.MULTILINE), signs)
    for signs, patterns in (
        # you, the model
        (
            _MACHINE,
            rf"""
            ^\W*{_ROLE}\s*(?:prompt|message|note|notice|override)\W*:
            ^\W*{_MODEL}\s*,\s+(?:{_SAY}|you|please|do|ignore|disregard|write|set|use|extract)\b
            ^\W*{_ROLE}\W*:(?=[^\n]*(?:{{|\b(?:is|are|was|were|has|have|must|shall|should|use|you|user)\b))
            {_TO}\W+(?:(?:to|for|any|all)\s+)*{_MODEL}
            \byou\s+are\s+(?:now\s+)?(?:an?|the)\s+(?:\w+\s+){{0,2}}?{_MODEL}
            \bsystem\s+prompts?\b
            [{{[]\s*["'“”„‘’]\w+["'“”„‘’]\s*:
            """,
        ),
        # answer thus, and take no notice of the rest
        (
            _ANSWER,
            rf"""
            \b(?:answer|reply|respond|output)\s+(?:only|exactly|just|solely|instead)\b
            \b(?:answer|reply|respond)\s+(?:with|in)\s+(?:ok|json|capital|only|exactly|the following|["'{{[])
            \b{_SAY}\b[^.\n]{{0,40}}[\s:](?:[{{]|\[\s*[{{]|json\b)
            \bdo not (?:extract|answer|output|summari[sz]e)\b
            \b(?:add|append|insert)\s+(?:an?|the|this)\s+(?:\w+\s+)?(?:item|entry|field|key)\s+(?:called|named|with|:)
            \b(?:ignore|disregard|forget)\b{_JUST_WORDS}(?:above|instructions?|prompts?)\b{_IF_PAID}
            \b(?:override|bypass)\b{_JUST_WORDS}(?:instructions?|prompts?)\b
            \b(?:ignore|disregard|forget)\s+{_ALL}(?:text|document|page|task|receipt|values?|fields?)\b{_IF_PAID}
            \b(?:ignore|disregard|forget)\s+everything\b
            \b(?:ignoriere|vergiss|missachte|oubliez|olvida)\s+(?:alle|alles|tout|toutes|todo|todas)\b
            """,
        ),
        # a message of a chat: a header, or the tokens of a template, also as a document's text has them in a prompt
        (
            _BOTH,
            r"""
            ^\s*\#{2,}\s*(?:instructions?|system|response|input|user|assistant)\s*:\s*$(?:\n[^\n]+)?
            <\s?[|｜]\s?[\w▁ ]{1,40}\s?[|｜]\s?>|<\s?/?(?:think|tool_\w+|start_of_turn|end_of_turn)>
            (?:^|\s)/no_think\b|\[\s?inst\][^\[]*\[\s?/inst\]
            """,
        ),
        (
            _NEITHER,
            r"^\s*#{3,}\s*(?:system|response|assistant)\s*$(?:\n[^\n]+)?|^\W*(?:new|updated|revised)\s+(?:instructions?|prompt)\s*:|\[\s?/?inst\]|(?:^|\s)/think\b",
        ),
    )
    for pattern in filter(None, map(str.strip, patterns.split("\n")))
]
_QUOTE = "[\"'“”„‘’]"
_SETS = r"\b(?:set|change|make|report|record|enter|extract|fill|write|put|treat|use)\b"
_APART = 300  # characters: two markers of a chat template this near make what is between them a message
_LONGEST = 4000  # characters of one passage
MOST_ROUNDS = 10  # of taking passages out


def find(text: str, names: Collection[str] = ()) -> list[tuple[int, int]]:
    """`[start, end)` of each passage to be marked, whole rows (or sentences, where rows are long), in order and apart.

    `names` are those of the fields that are asked for: what sets one of them, or answers with it as JSON, is found too.
    """
    found = [(start, end) for start, end, _ in _passages(text, names)]
    return _joined(found + [_row(text, match.start()) for match in _DISGUISED.finditer(text)], text)


def orders(text: str, names: Collection[str] = ()) -> list[tuple[int, int]]:
    """Those of the passages that address a machine and order an answer, and letters that no one can see."""
    found: list[tuple[int, int, set[str]]] = []
    for start, end, signs in sorted(_passages(text, names), key=lambda passage: passage[:2]):
        if _DISGUISED.search(text, start, end):
            signs = signs | _MACHINE
        if found and start < found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1]), found[-1][2] | signs
        else:
            found.append((start, end, signs))
    whole = [(start, end) for start, end, signs in found if signs >= _BOTH]
    return _joined(whole + [match.span() for match in _SHAPELESS.finditer(text)], text)


def without(text: str, names: Collection[str] = ()) -> str:
    """The text without its `orders`, nor those that come to be where others were taken out."""
    for _ in range(MOST_ROUNDS):
        found = orders(text, names)
        if not found:
            break
        starts, ends = [a for a, _ in found], [b for _, b in found]
        kept = (text[a:b].strip("\n") for a, b in zip([0, *ends], [*starts, None], strict=True))
        text = "\n".join(filter(None, kept))
    return text


def values_in(passage: str) -> list[str]:
    """The dates and numbers that a passage prints, in their order."""
    found = [(start, end) for start, end, _ in values.dates(passage)]
    numbers = [match.span() for match in values.NUMBER.finditer(passage)]
    found += [(a, b) for a, b in numbers if all(b <= start or a >= end for start, end in found)]
    return [passage[start:end] for start, end in sorted(found)]


def names_of(schema: dict) -> set[str]:
    """The names of all fields of a JSON schema."""
    found = set(schema.get("properties", ()))
    for inner in (*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])):
        for part in inner.get("anyOf", [inner]):
            found |= names_of(part)
    return found


# Signs that hide what a text says: letters that no font shows, a change of the direction of Latin letters, and words
# of two alphabets that look alike.
_SHAPELESS = re.compile(r"(?<!\U0001f3f4)(?<![\U000e0020-\U000e007f])[\U000e0020-\U000e007f]+")  # but not of flags
_DISGUISED = re.compile(rf"{_SHAPELESS.pattern}|[\u202d\u202e]|[a-zA-Z][Ѐ-ӿ]\w|[Ѐ-ӿ][a-zA-Z]\w")


def _folded(text: str) -> tuple[str, list[int] | range]:
    """The text in small Latin letters, without characters that no one sees, and where each of them stands."""
    if text.isascii():
        return text.lower(), range(len(text))
    plain, at = [], []
    for i, character in enumerate(text.translate(_LOOKALIKES)):
        if "\U000e0020" <= character <= "\U000e007e":
            character = chr(ord(character) - 0xE0000)
        elif not character.isascii():
            if unicodedata.category(character) in ("Cf", "Mn"):
                continue
            character = unicodedata.normalize("NFKC", character)
        for c in character.lower():
            plain.append(c)
            at.append(i)
    return "".join(plain), at


def _passages(text: str, names: Collection[str]) -> Iterator[tuple[int, int, set[str]]]:
    """Every passage that has a sign of a machine that is addressed, or of an answer that is ordered, with its signs."""
    plain, at = _folded(text)
    # Everyone says what a total is; said to a machine it is an order.
    said = "|".join(re.escape(name.replace("_", " ")) for name in names)
    stated = re.compile(rf"\b(?i:{said})\s+(?:is|are|was)\s*[:=]?\s*[\"'“\d$€£A-Z]") if said else None
    for start, end, signs in _hits(plain, names):
        a, b = at[start], at[end - 1] + 1
        begin, finish = _row(text, a)[0], _row(text, b - 1)[1]
        if "{" in text[begin:finish]:
            finish = max(finish, _row(text, _closed(text, text.index("{", begin)) - 1)[1])
        finish = _going_on(text, finish)
        if signs == _MACHINE and stated and stated.search(text, begin, finish):
            signs = _BOTH
        yield begin, finish, signs


def _hits(plain: str, names: Collection[str]) -> Iterator[tuple[int, int, set[str]]]:
    for pattern, signs in _PATTERNS:
        yield from ((*match.span(), signs) for match in pattern.finditer(plain))
    if not names:
        return
    longest_first = sorted((name.lower() for name in names), key=len, reverse=True)
    keys = "|".join(map(re.escape, longest_first))
    said = "|".join(re.escape(name.replace("_", " ")) for name in longest_first)
    answer = rf"{_QUOTE}(?:{keys}){_QUOTE}\s*:\s*(?:{_QUOTE}|[\[{{\d-])"
    value = rf"(?:{_QUOTE}|[$€£]?\d)"  # without one, "change the address to which notices are sent" is an order
    order = rf"{_SETS}\s+(?:(?:the|field|every|all)\s+)*{_QUOTE}?(?:{said}){_QUOTE}?\s+(?:to|as|with|=)\s+{value}"
    use = rf"{_SETS}\s+{value}\S*\s+(?:as|for|to be)\s+(?:the\s+)?{_QUOTE}?(?:{said})\b"
    for pattern, signs in (
        (rf"\{{\s*{answer}", _BOTH),  # the answer itself, in the form that only a machine is asked for
        (answer, _ANSWER),
        (order, _ANSWER),
        (use, _ANSWER),
    ):
        yield from ((*match.span(), signs) for match in re.finditer(pattern, plain))


def _row(text: str, position: int) -> tuple[int, int]:
    """The row at a position; of a row that is as long as a paragraph, the sentence."""
    start, end = text.rfind("\n", 0, position) + 1, text.find("\n", position)
    end = len(text) if end < 0 else end
    if end - start <= 300:
        return start, end
    ends = [match.end() for match in re.finditer(r"[.!?]\s+", text[start:end])]
    before = [start + e for e in ends if start + e <= position]
    after = [start + e for e in ends if start + e > position]
    return (before[-1] if before else start), (after[0] if after else end)


def _closed(text: str, opening: int) -> int:
    """The end of the braces that open here; where they do not close, the end of the row."""
    depth = 0
    for i in range(opening, min(opening + _LONGEST, len(text))):
        depth += (text[i] == "{") - (text[i] == "}")
        if depth == 0:
            return i + 1
    return _row(text, opening)[1]


def _going_on(text: str, end: int) -> int:
    """The end of the last row that continues the one that ends here: it ended in a colon, or stopped in a sentence."""
    while end < len(text):
        last = text[:end].rstrip()[-1:] if end < _LONGEST else text[end - _LONGEST : end].rstrip()[-1:]
        start, stop = _row(text, min(end + 1, len(text) - 1))
        following = text[start:stop].strip()
        if not following or not (last in ":,=" or (following[0].islower() and last not in ".!?}")):
            return end
        end = stop
    return end


def _joined(found: list[tuple[int, int]], text: str) -> list[tuple[int, int]]:
    """The passages in order: those that touch as one, and chat template tokens with what they enclose."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(found):
        between = text[joined[-1][1] : start] if joined else ""
        enclosed = _TOKEN.search(text[slice(*joined[-1])]) and _TOKEN.search(text[start:end]) if joined else None
        if joined and (not between.strip() or (enclosed and len(between) <= _APART)):
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


_TOKEN = re.compile(r"[<＜]\W{0,4}[|｜]|</?(?:think|tool)|\[/?INST")
