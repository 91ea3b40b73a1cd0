"""Passages of a document that speak to a machine rather than to a person: orders, role markers, ready-made answers.

Whatever a document says, it is only a document. What is found here is left out of what a model reads, and said. No list
of patterns finds every order, so a model has to withstand those that are not found.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator

# Letters of other alphabets that look like Latin ones.
_LOOKALIKES = str.maketrans(
    "аеіјорсухѕһԁԛԝкмтвнгАВЕКМНОРСТУХІЈЅԌαεικνορτυχγΑΒΕΖΗΙΚΜΝΟΡΤΥΧıɑɡ",
    "aeijopcyxshdqwkmtbhrABEKMHOPCTYXIJSGaeiknoptuxyABEZHIKMNOPTYXiag",
)
_JUST_WORDS = r"(?:\s+[\w'-]+){0,5}?\s+"
_MODEL = r"(?:(?:large |language |ai |extraction |the )*(?:model|llm|ai|bot|assistant(?!\s\w))s?|chatgpt|gpt|qwen)"
_ROLE = r"(?:system|assistant|developer)"  # "System: Windows 11" and "Assistant: J. Doe" are no messages
_PATTERNS = [
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        # take no notice of the rest
        rf"\b(?:ignore|disregard|forget|override|bypass)\b{_JUST_WORDS}(?:above|previous|prior|preceding|earlier"
        r"|instructions?|prompts?|rules)\b",
        rf"\b(?:ignore|disregard|forget)\b{_JUST_WORDS}"
        r"(?:text|document|page|contract|receipt|invoice|task|everything|values?|fields?)\b",
        r"\b(?:ignoriere|vergiss|missachte|ignorez|oubliez|ignora|olvida|negeer)\b",
        r"\b(?:new|updated|revised)\s+(?:instructions?|prompt|task)\s*:|\bsystem\s+instructions?\b",
        # answer thus
        r"\b(?:answer|reply|respond|output)\s+(?:only|exactly|just|solely|instead)\b",
        r"\b(?:answer|reply|respond)\s+(?:with|in)\s+(?:ok|json|capital|only|exactly|the following|[\"'{\[])",
        r"\b(?:answer|reply|respond|output|return|print|write|say|emit)\b[^.\n]{0,40}[\s:](?:[{]|\[\s*[{]|json\b)",
        r"\bdo not (?:extract|answer|output|summari[sz]e)\b",
        r"\b(?:add|append|insert)\s+(?:an?|the|this)\s+(?:\w+\s+)?(?:item|entry|field|key)\s+(?:called|named|with|:)",
        # you, the model
        rf"^\W*{_ROLE}\s*(?:prompt|message|note|notice|override)\W*:",
        rf"^\W*{_MODEL}\s*,\s+(?:you|please|do|ignore|disregard|answer|reply|respond|output|print|write|set|use|extract)\b",
        rf"^\W*{_ROLE}\W*:(?=[^\n]*(?:{{|\b(?:is|are|was|were|has|have|must|shall|should|use|you|user)\b))",
        r"^\s*#{2,}\s*(?:instructions?|system|response|input|user|assistant)\b[^\n]*(?:\n[^\n]+)?",
        rf"\b(?:note|notice|attention|message|instructions?|important|dear|hey|hello)\W+(?:(?:to|for|any|all)\s+)*{_MODEL}\b",
        rf"\byou are\s+(?:now\s+)?(?:an?|the)\s+(?:\w+\s+){{0,2}}?{_MODEL}\b",
        # tokens of a chat template, also as a document's text has them in a prompt
        r"<\s?[|｜]\s?[\w▁ ]{1,40}\s?[|｜]\s?>|<\s?/?(?:think|tool_\w+|start_of_turn|end_of_turn|sys|s)>",
        r"(?:^|\s)/(?:no_)?think\b|\[\s?/?inst\]",
    )
]
_QUOTE = "[\"'“”„‘’]"
_SETS = r"\b(?:set|change|make|report|record|enter|extract|fill|write|put|treat|use)\b"
_APART = 300  # characters: two markers of a chat template this near make what is between them a message
_LONGEST = 4000  # characters of one passage
MOST_ROUNDS = 10  # of taking passages out


def find(text: str, names: Collection[str] = ()) -> list[tuple[int, int]]:
    """`[start, end)` of each passage, whole rows (or sentences, where rows are long), in order and apart.

    `names` are those of the fields that are asked for: what sets one of them, or answers with it as JSON, is found too.
    """
    plain, at = _folded(text)
    found = []
    for start, end in _hits(plain, names):
        a, b = at[start], at[end - 1] + 1
        begin, finish = _row(text, a)[0], _row(text, b - 1)[1]
        if "{" in text[begin:finish]:
            finish = max(finish, _row(text, _closed(text, text.index("{", begin)) - 1)[1])
        found.append((begin, _going_on(text, finish)))
    found += [_row(text, match.start()) for match in _DISGUISED.finditer(text)]
    return _joined(found, text)


def without(text: str, names: Collection[str] = ()) -> str:
    """The text without the passages that `find` finds in it, nor those that come to be where others were taken out."""
    for _ in range(MOST_ROUNDS):
        found = find(text, names)
        if not found:
            break
        starts, ends = [a for a, _ in found], [b for _, b in found]
        kept = (text[a:b].strip("\n") for a, b in zip([0, *ends], [*starts, None], strict=True))
        text = "\n".join(filter(None, kept))
    return text


def names_of(schema: dict) -> set[str]:
    """The names of all fields of a JSON schema."""
    found = set(schema.get("properties", ()))
    for inner in (*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])):
        for part in inner.get("anyOf", [inner]):
            found |= names_of(part)
    return found


# Signs that hide what a text says: letters that no font shows, a change of the direction of Latin letters, and words
# of two alphabets that look alike.
_DISGUISED = re.compile(r"[\U000e0020-\U000e007f\u202d\u202e]|[a-zA-Z][Ѐ-ӿ]\w|[Ѐ-ӿ][a-zA-Z]\w")


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


def _hits(plain: str, names: Collection[str]) -> Iterator[tuple[int, int]]:
    for pattern in _PATTERNS:
        yield from (match.span() for match in pattern.finditer(plain))
    if not names:
        return
    longest_first = sorted((name.lower() for name in names), key=len, reverse=True)
    keys = "|".join(map(re.escape, longest_first))
    said = "|".join(re.escape(name.replace("_", " ")) for name in longest_first)
    answer = rf"{_QUOTE}(?:{keys}){_QUOTE}\s*:\s*(?:{_QUOTE}|[\[{{\d-])"
    value = rf"(?:{_QUOTE}|[$€£]?\d)"  # without one, "change the address to which notices are sent" is an order
    order = rf"{_SETS}\s+(?:(?:the|field|every|all)\s+)*{_QUOTE}?(?:{said}){_QUOTE}?\s+(?:to|as|with|=)\s+{value}"
    use = rf"{_SETS}\s+{value}\S*\s+(?:as|for|to be)\s+(?:the\s+)?{_QUOTE}?(?:{said})\b"
    for pattern in (answer, order, use):
        yield from (match.span() for match in re.finditer(pattern, plain))


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
