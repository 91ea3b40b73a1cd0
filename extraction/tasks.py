"""The tasks: fields, JSON schema, prompt, and how an answer is read. Nothing else builds a prompt or a schema.

Values are strings exactly as printed. A missing value is left out of an answer and is null in a result.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from extraction import sentences

# Bounds that every backend can enforce: they keep the longest answer, and so the time it takes, finite.
Short = Annotated[str, Field(max_length=80)]
Line = Annotated[str, Field(max_length=160)]
Long = Annotated[str, Field(max_length=500)]

# The 41 categories of CUAD v1, as published (Hendrycks et al. 2021, CC BY 4.0).
CLAUSES = (
    "Document Name",
    "Parties",
    "Agreement Date",
    "Effective Date",
    "Expiration Date",
    "Renewal Term",
    "Notice Period to Terminate Renewal",
    "Governing Law",
    "Most Favored Nation",
    "Non-Compete",
    "Exclusivity",
    "No-Solicit of Customers",
    "Competitive Restriction Exception",
    "No-Solicit of Employees",
    "Non-Disparagement",
    "Termination for Convenience",
    "Rofr/Rofo/Rofn",
    "Change of Control",
    "Anti-Assignment",
    "Revenue/Profit Sharing",
    "Price Restrictions",
    "Minimum Commitment",
    "Volume Restriction",
    "IP Ownership Assignment",
    "Joint IP Ownership",
    "License Grant",
    "Non-Transferable License",
    "Affiliate License-Licensor",
    "Affiliate License-Licensee",
    "Unlimited/All-You-Can-Eat-License",
    "Irrevocable or Perpetual License",
    "Source Code Escrow",
    "Post-Termination Services",
    "Audit Rights",
    "Uncapped Liability",
    "Cap on Liability",
    "Liquidated Damages",
    "Warranty Duration",
    "Insurance",
    "Covenant Not to Sue",
    "Third Party Beneficiary",
)


class Fields(BaseModel):
    """A part of a record. Fields stand in the order in which every model writes them."""

    model_config = ConfigDict(extra="forbid")


class Merchant(Fields):
    name: Line | None = None
    address: Line | None = None
    phone: Short | None = None
    tax_id: Short | None = None


class Customer(Fields):
    name: Line | None = None
    address: Line | None = None


class SubItem(Fields):
    description: Line | None = None
    number: Short | None = None
    quantity: Short | None = None
    unit_price: Short | None = None
    discount: Short | None = None
    amount: Short | None = None
    item_subtotal: Short | None = None
    vat_included: Short | None = None
    other: Short | None = None


class LineItem(SubItem):
    sub_items: Annotated[list[SubItem], Field(max_length=30)] | None = None


class VoidItem(Fields):
    description: Line | None = None
    amount: Short | None = None


class Receipt(Fields):
    merchant: Merchant | None = None
    invoice_number: Short | None = None
    date: Short | None = None
    due_date: Short | None = None
    time: Short | None = None
    currency: Short | None = None
    customer: Customer | None = None
    line_items: Annotated[list[LineItem], Field(max_length=100)] | None = None
    void_items: Annotated[list[VoidItem], Field(max_length=10)] | None = None
    subtotal: Short | None = None
    discount: Short | None = None
    service_charge: Short | None = None
    other_charge: Short | None = None
    tax: Short | None = None
    subtotal_other: Line | None = None
    tip: Short | None = None
    total: Short | None = None
    cash: Short | None = None
    change: Short | None = None
    card: Short | None = None
    e_money: Short | None = None
    item_type_count: Short | None = None
    item_count: Short | None = None
    total_other: Line | None = None
    summary: Long | None = None


MAX_QUOTES = 6  # of a category in one answer
Quotes = Annotated[list[Long], Field(max_length=MAX_QUOTES)]
Clauses = create_model("Clauses", __base__=Fields, **{name: (Quotes | None, None) for name in CLAUSES})


class Contract(Fields):
    clauses: Clauses | None = None  # left out where a window has none


# In the sentences form a clause is the number of a sentence of the window, or a run of them. A name or a date is no
# sentence: these categories, whose quotes are a tenth as long as those of the others, are quoted in both forms.
QUOTED = ("Document Name", "Parties", "Agreement Date", "Effective Date")
Numbers = Annotated[str, Field(max_length=7, pattern="^[0-9]{1,3}(-[0-9]{1,3})?$")]
Pointers = Annotated[list[Numbers], Field(max_length=MAX_QUOTES)]
NumberedClauses = create_model(
    "NumberedClauses",
    __base__=Fields,
    **{name: ((Quotes if name in QUOTED else Pointers) | None, None) for name in CLAUSES},
)


class NumberedContract(Fields):
    clauses: NumberedClauses | None = None


class KeyValue(Fields):
    key: Line
    value: Long


class Document(Fields):
    title: Line | None = None
    key_values: Annotated[list[KeyValue], Field(max_length=60)] | None = None
    summary: Long | None = None


class Answer(Fields):
    answer: Long | None = None  # left out where the document does not say


@dataclass(frozen=True)
class Task:
    """What is asked of the model: `name` is the row's task, `instructions` its system message."""

    name: str
    model: type[BaseModel]
    instructions: str

    @cached_property
    def schema(self) -> dict:
        """The JSON schema of an answer: only object, array and string, every string and array bounded."""
        full = self.model.model_json_schema()
        return _bounded(full, full.get("$defs", {}))


RECEIPT = Task(
    "receipt",
    Receipt,
    "Extract the fields of this receipt or invoice as JSON. Copy values exactly as printed. Leave out what is missing.",
)
CONTRACT = Task(
    "contract",
    Contract,
    "Quote the clauses of this contract text as JSON, by category. Copy them exactly. Leave out categories that are "
    "missing. Categories: " + "; ".join(CLAUSES),
)
DOCUMENT = Task(
    "document",
    Document,
    "Extract the title and the labeled values of this document as JSON. Copy values exactly as printed.",
)
QUESTION = Task(
    "question",
    Answer,
    "Answer the question about this document as JSON, as short as the document prints it.",
)
NUMBERED_CONTRACT = Task(
    "contract",
    NumberedContract,
    f"Find the clauses of this contract text and give the numbers of their sentences as JSON, by category. Copy "
    f"{', '.join(QUOTED)} exactly. Leave out categories that are missing. Categories: " + "; ".join(CLAUSES),
)
TASKS = {task.name: task for task in (RECEIPT, CONTRACT, DOCUMENT, QUESTION)}
CONTRACT_FORMS = {"quotes": CONTRACT, "sentences": NUMBERED_CONTRACT}  # two ways to ask for the same record
DOCUMENT_TYPES = ("receipt", "contract", "document")


def in_form(task: Task, contract_form: str) -> Task:
    """The task as a model is asked for it: a contract in this form, any other task as it is."""
    return CONTRACT_FORMS[contract_form] if task is CONTRACT else task


def _bounded(schema: dict, definitions: dict) -> dict:
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rsplit("/", 1)[-1]]
    if "anyOf" in schema:  # pydantic's "or null": an absent field is left out instead
        schema = next(option for option in schema["anyOf"] if option.get("type") != "null")
        return _bounded(schema, definitions)
    kept = {key: schema[key] for key in ("type", "maxLength", "maxItems", "pattern", "required") if key in schema}
    if "properties" in schema:
        kept["properties"] = {name: _bounded(s, definitions) for name, s in schema["properties"].items()}
        kept["additionalProperties"] = False
    if "items" in schema:
        kept["items"] = _bounded(schema["items"], definitions)
    return kept


# --- the prompt ----------------------------------------------------------------------------------------------

# Chat templates of the two base models, without the parts that we never use: no default system prompt, no tools, no
# thinking. They go into the tokenizer before training and from there into every export, so that training, llama.cpp
# and Ollama render the same text. Qwen3's ends a prompt with an empty thinking block, as its own template does for
# enable_thinking=False; the tags are written in two parts because Ollama takes a template that contains them whole
# for one that can think, and then switches thinking on.
_CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_QWEN3 = _CHATML.replace(
    "'<|im_start|>assistant\\n' }}", "'<|im_start|>assistant\\n<th' + 'ink>\\n\\n</th' + 'ink>\\n\\n' }}"
)


def chat_template(model_type: str) -> str:
    """The Jinja chat template that a base model of this `config.json` model_type is trained and served with."""
    return _QWEN3 if model_type in ("qwen3", "qwen3_moe") else _CHATML


def messages(task: Task, text: str, question: str | None = None) -> list[dict[str, str]]:
    """The chat messages that ask for this task. `text` is a document's text or one window of it.

    The document comes first and the question last, so that several questions share the longest possible prefix.
    """
    if task is NUMBERED_CONTRACT:
        text = "\n".join(f"[{n}] {_flat(text[a:b])}" for n, (a, b) in enumerate(sentences.split(text), start=1))
    text = _no_markers(text)
    if task is QUESTION:
        if not question:
            raise ValueError("a question is needed")
        text = f"{text}\n\nQuestion: {_no_markers(question)}"
    return [{"role": "system", "content": task.instructions}, {"role": "user", "content": text}]


# What tokenizers of chat models take for a token of their own: <|im_end|>, DeepSeek's <｜...｜>, tags such as <think>,
# </tool_call> and <file_sep>, Llama's <<SYS>> and Mistral's [INST]; also in signs that normalization would turn into
# these, and with characters between them that no one sees. A blank behind the sign that is matched takes that away.
_UNSEEN = "\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f"
_MARKER = re.compile(
    rf"[<＜﹤](?=[{_UNSEEN}]*(?:[|｜]|[/／]?[{_UNSEEN}]*[^\W\d][\w{_UNSEEN}-]*[>＞﹥]))"
    rf"|[|｜](?=[{_UNSEEN}]*[>＞﹥])"
    rf"|[\[［](?=[{_UNSEEN}]*[/／]?[{_UNSEEN}]*(?:INST|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|IMG)[{_UNSEEN}]*[\]］])"
)
# Characters that no text has, control characters and planes of Unicode that nothing is assigned to: SmolLM2's tokenizer
# has no token for some of their bytes and takes <|endoftext|> in its place.
_NO_TEXT = re.compile("[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff\U00040000-\U000dffff]")


def _no_markers(text: str) -> str:
    """A document must not be able to close its own message: `<|im_end|>` in its text loses its meaning.

    Only blanks are put in, so nothing that stood apart can become a marker.
    """
    return _MARKER.sub(lambda sign: sign[0] + " ", _NO_TEXT.sub("\ufffd", text))


def completion(record: dict) -> str:
    """An answer as the model is trained to write it: compact JSON, empty values left out."""
    return json.dumps(prune(record), ensure_ascii=False, separators=(",", ":"))


def prune(value: Any) -> Any:
    """The value without empty strings, nulls, empty lists and empty objects inside."""
    if isinstance(value, dict):
        kept = {key: prune(v) for key, v in value.items()}
        return {key: v for key, v in kept.items() if v not in (None, "", [], {})}
    if isinstance(value, list):
        return [v for v in map(prune, value) if v not in (None, "", [], {})]
    return value


def ordered(task: Task, record: dict) -> dict:
    """The record with its fields in the order of the schema, as constrained decoding will want them.

    Raises pydantic.ValidationError if it is not a record of this task.
    """
    return prune(task.model.model_validate(record).model_dump())


# --- reading an answer ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reading:
    """What a completion said. `record` is None if it is unreadable, and then `problem` says why.

    `dropped` are the sentence numbers that the prompt does not have. `written` has, of an answer that points at
    sentences, the path in the answer of each clause of the record, by the clause's own.
    """

    record: dict | None
    problem: str | None = None
    dropped: tuple[str, ...] = ()
    written: dict[str, str] | None = None

    def of_record(self, of_answer: dict[str, Any] | None) -> dict[str, Any] | None:
        """What is known of the answer's values by their paths, such as their confidences, by those of the record."""
        if self.written is None or of_answer is None:
            return of_answer
        return {path: of_answer[written] for path, written in self.written.items() if written in of_answer}


def parse(task: Task, text: str, shown: str = "") -> Reading:
    """Read a completion: JSON, closed if it was cut off, checked against the task's fields.

    `shown` is the user message that was answered; where an answer points at its sentences, the record quotes them.
    """
    try:
        value, cut = close_json(text)
    except ValueError as error:
        return Reading(None, f"not JSON: {error}")
    try:
        record = ordered(task, value if cut is None else _without_unfinished(task, value))
    except ValidationError as error:
        first = error.errors()[0]
        return Reading(None, f"not a {task.name} record: {'.'.join(map(str, first['loc']))}: {first['msg']}")
    problem = f"the answer was cut off in {cut}; what follows is missing" if cut is not None else None
    if task is NUMBERED_CONTRACT:
        return _quoted(record, shown, problem)
    return Reading(record, problem)


def _quoted(record: dict, shown: str, problem: str | None) -> Reading:
    """The contract record that quotes the sentences pointed at, without the numbers that lead nowhere."""
    lines = [line.partition("] ")[2] for line in shown.split("\n")]
    clauses: dict[str, list[str]] = {}
    dropped: list[str] = []
    written: dict[str, str] = {}
    for name, values in record.get("clauses", {}).items():
        for index, value in enumerate(values):
            quote = value
            if name not in QUOTED:
                first, _, last = value.partition("-")
                first, last = int(first), int(last or first)
                quote = " ".join(lines[first - 1 : last]) if 1 <= first <= last <= len(lines) else None
            if quote is None:
                dropped.append(f"{name}: {value}")
            elif quote not in clauses.setdefault(name, []):
                written[f"clauses.{name}[{len(clauses[name])}]"] = f"clauses.{name}[{index}]"
                clauses[name].append(quote)
    return Reading(prune({"clauses": clauses}), problem, tuple(dropped), written)


def _without_unfinished(task: Task, value: Any) -> Any:
    """The value of an answer that was cut off, without the entry of a list that lacks a field it must have."""
    try:
        task.model.model_validate(value)
    except ValidationError as error:
        for found in error.errors():
            *way, index = found["loc"][:-1] or [None]
            if found["type"] == "missing" and isinstance(index, int):
                entries = value
                for step in way:
                    entries = entries[step]
                if index == len(entries) - 1:
                    del entries[index]
    return value


class _CutOff(Exception):
    """The text ended at this path."""


def close_json(text: str) -> tuple[Any, str | None]:
    """The value of a JSON text that may stop anywhere, and the path where it stopped (None if it is complete).

    A value that was begun and not finished is dropped rather than kept in part: half an amount is a wrong amount.
    Raises ValueError for text that is not the beginning of a JSON value, or of one that is nested too deep.
    """
    root: list[Any] = []
    try:
        end = _read(text, _space(text, 0), root, "answer")
    except _CutOff as cut:
        if not root:
            raise ValueError("it is empty") from None
        return root[0], str(cut)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if text[_space(text, end) :]:
        raise ValueError("more text follows the JSON value")
    return root[0], None


def _space(text: str, i: int) -> int:
    while i < len(text) and text[i] in " \t\r\n":
        i += 1
    return i


_NUMBER_BEGUN = re.compile(r"-?\d*\.?\d*(?:[eE][-+]?\d*)?")


def _read(text: str, i: int, into: list, path: str) -> int:
    """Append the value at `text[i]` to `into`, containers before they are complete. Returns the index behind it."""
    opening = text[i : i + 1]
    if opening == "{":
        value: dict = {}
        into.append(value)
        return _read_members(text, i + 1, path, "}", value)
    if opening == "[":
        items: list = []
        into.append(items)
        return _read_members(text, i + 1, path, "]", items)
    if path != "answer" and opening and _NUMBER_BEGUN.fullmatch(text, i):
        raise _CutOff(path)  # a number that ends with the text may have had more digits
    try:
        value, end = json.JSONDecoder().raw_decode(text, i)
    except json.JSONDecodeError as error:
        rest = text[i:]
        if opening in ("", '"') or any(word.startswith(rest) for word in ("true", "false", "null")):
            raise _CutOff(path) from None
        raise ValueError(f"{error.msg} at character {error.pos}") from None
    into.append(value)
    return end


def _read_members(text: str, i: int, path: str, closing: str, container: dict | list) -> int:
    i = _space(text, i)
    if text[i : i + 1] == closing:
        return i + 1
    while True:
        if isinstance(container, dict):
            key_holder: list = []
            if text[i : i + 1] not in ("", '"'):
                raise ValueError(f"a key was expected at character {i}")
            i = _space(text, _read(text, i, key_holder, path))
            key = key_holder[0]
            if i == len(text):
                raise _CutOff(f"{path}.{key}")
            if text[i] != ":":
                raise ValueError(f"':' was expected at character {i}")
            holder: list = _Member(container, key)
            i = _read(text, _space(text, i + 1), holder, f"{path}.{key}")
        else:
            i = _read(text, i, container, f"{path}[{len(container)}]")
        i = _space(text, i)
        if i == len(text):
            raise _CutOff(path)
        if text[i] == closing:
            return i + 1
        if text[i] != ",":
            raise ValueError(f"',' was expected at character {i}")
        i = _space(text, i + 1)


class _Member:
    """One key of an object, to be appended to like a list."""

    def __init__(self, owner: dict, key: str):
        self.owner, self.key = owner, key

    def append(self, value: Any) -> None:
        self.owner[self.key] = value


# --- CORD ----------------------------------------------------------------------------------------------------

_ITEM_NAMES = {
    "nm": "description",
    "num": "number",
    "cnt": "quantity",
    "unitprice": "unit_price",
    "discountprice": "discount",
    "price": "amount",
    "itemsubtotal": "item_subtotal",
    "vatyn": "vat_included",
    "etc": "other",
}
_VOID_NAMES = {"nm": "description", "price": "amount"}
_TOTAL_NAMES = {
    ("sub_total", "subtotal_price"): "subtotal",
    ("sub_total", "discount_price"): "discount",
    ("sub_total", "service_price"): "service_charge",
    ("sub_total", "othersvc_price"): "other_charge",
    ("sub_total", "tax_price"): "tax",
    ("sub_total", "etc"): "subtotal_other",
    ("total", "total_price"): "total",
    ("total", "cashprice"): "cash",
    ("total", "changeprice"): "change",
    ("total", "creditcardprice"): "card",
    ("total", "emoneyprice"): "e_money",
    ("total", "menutype_cnt"): "item_type_count",
    ("total", "menuqty_cnt"): "item_count",
    ("total", "total_etc"): "total_other",
}


def from_cord(gt_parse: dict) -> dict:
    """The receipt record of a CORD `gt_parse` tree. `to_cord` gives the tree back unchanged.

    A value that CORD holds as a list becomes one string with a line per entry. Raises ValueError for a key that
    CORD does not document.
    """
    record: dict = {}
    for group, content in gt_parse.items():
        if group == "menu":
            record["line_items"] = _entries(content, _from_item)
        elif group == "void_menu":
            record["void_items"] = _entries(content, lambda entry: _renamed(entry, _VOID_NAMES))
        elif group in ("sub_total", "total"):
            for name, value in content.items():
                if (group, name) not in _TOTAL_NAMES:
                    raise ValueError(f"unknown CORD field {group}.{name}")
                record[_TOTAL_NAMES[group, name]] = _text(value)
        else:
            raise ValueError(f"unknown CORD field {group}")
    return record


def to_cord(record: dict) -> dict:
    """The CORD tree of a receipt record; fields that CORD does not have are left out."""
    tree: dict = {}
    if record.get("line_items"):
        tree["menu"] = _single([_to_item(item) for item in record["line_items"]])
    if record.get("void_items"):
        names = {ours: theirs for theirs, ours in _VOID_NAMES.items()}
        tree["void_menu"] = _single([_renamed(item, names, _value) for item in record["void_items"]])
    for (group, theirs), ours in _TOTAL_NAMES.items():
        if record.get(ours):
            tree.setdefault(group, {})[theirs] = _value(record[ours])
    return tree


def _entries(content: dict | list, convert: Any) -> list[dict]:
    return [convert(entry) for entry in (content if isinstance(content, list) else [content])]


def _from_item(entry: dict) -> dict:
    item = _renamed({k: v for k, v in entry.items() if k != "sub"}, _ITEM_NAMES)
    if "sub" in entry:
        item["sub_items"] = _entries(entry["sub"], lambda sub: _renamed(sub, _ITEM_NAMES))
    return item


def _to_item(item: dict) -> dict:
    names = {ours: theirs for theirs, ours in _ITEM_NAMES.items()}
    entry = _renamed({k: v for k, v in item.items() if k != "sub_items"}, names, _value)
    if item.get("sub_items"):
        entry["sub"] = _single([_renamed(sub, names, _value) for sub in item["sub_items"]])
    return entry


def _renamed(entry: dict, names: dict[str, str], convert: Any = None) -> dict:
    unknown = set(entry) - set(names)
    if unknown:
        raise ValueError(f"unknown CORD field {sorted(unknown)[0]}")
    return {names[key]: (convert or _text)(value) for key, value in entry.items() if value is not None}


def _text(value: Any) -> str:
    """A list becomes lines; a list of one keeps a line break at its end, so that it can be told from a string."""
    if isinstance(value, list):
        return "\n".join(map(str, value)) + ("\n" if len(value) == 1 else "")
    return str(value)


def _value(text: str) -> str | list[str]:
    return text.removesuffix("\n").split("\n") if "\n" in text else text


def _single(entries: list[dict]) -> dict | list[dict]:
    return entries[0] if len(entries) == 1 else entries


# --- what follows from a record ------------------------------------------------------------------------------


def summarize(task: Task, record: dict) -> str:
    """At most two sentences that say nothing but what stands in the record."""
    if task is RECEIPT:
        merchant = (record.get("merchant") or {}).get("name")
        head = "Invoice" if record.get("invoice_number") else "Receipt"
        items = record.get("line_items") or []
        parts = [head, f" {record['invoice_number']}" if record.get("invoice_number") else ""]
        parts.append(f" from {merchant}" if merchant else "")
        parts.append(f" of {record['date']}" if record.get("date") else "")
        parts.append(f" with {len(items)} line item{'' if len(items) == 1 else 's'}" if items else "")
        parts.append(f", total {record['total']}" if record.get("total") else "")
        return _flat("".join(parts)) + "."
    if task is CONTRACT:
        clauses = record.get("clauses") or {}

        def first(name: str) -> str:
            return _flat((clauses.get(name) or [""])[0])[:120].rstrip(" .,;")

        title = first("Document Name") or "Contract"
        date = first("Agreement Date") or first("Effective Date")
        parties = [_flat(p)[:80].rstrip(" .,;") for p in (clauses.get("Parties") or [])][:2]
        head = title + (f" of {date}" if date else "") + (f" between {' and '.join(parties)}" if parties else "")
        kinds = f"{len(clauses)} kind{'' if len(clauses) == 1 else 's'} of clauses found"
        return f"{head}. {kinds}" + (f", governing law: {first('Governing Law')}." if first("Governing Law") else ".")
    if task is DOCUMENT:
        pairs = [p for p in record.get("key_values") or [] if p.get("key") and p.get("value")]  # empty ones were pruned
        named = ", ".join(f"{_flat(p['key']).rstrip(' :')}: {_flat(p['value'])}" for p in pairs[:2])
        title = _flat(record.get("title") or "Document").rstrip(".")
        return (f"{title}. {named}" if named else title)[:480].rstrip(" .,;") + "."
    raise ValueError(f"no summary for {task.name}")


def _flat(text: str) -> str:
    return " ".join(text.split())


def merge_clauses(windows: Iterable[dict]) -> dict:
    """One contract record from those of its windows: a quote inside a longer one of its category is dropped."""
    found: dict[str, list[str]] = {}
    for record in windows:
        for name, quotes in (record.get("clauses") or {}).items():
            found.setdefault(name, []).extend(quotes)
    merged = {}
    for name in CLAUSES:
        flat = list(dict.fromkeys(map(_flat, found.get(name, []))))
        kept = [q for q in flat if q and not any(q != other and q in other for other in flat)]
        if kept:
            merged[name] = kept
    return {"clauses": merged}


_AMOUNT = re.compile(r"(?<![\d/.-])\d{1,3}(?:[.,]\d{3})+(?:[.,]\d{2})?\b|(?<![\d/.-])\d+[.,]\d{2}(?![\d/.-])")
_RECEIPT_WORDS = re.compile(
    r"\b(?:sub\s?-?total|total|cash|change|tunai|kembali|qty|tax|vat|ppn|invoice|receipt|amount due|bill to"
    r"|balance due)\b",
    re.IGNORECASE,
)
_CONTRACT_WORDS = re.compile(
    r"\b(?:agreement|hereby|hereto|hereunder|thereof|herein|whereas|shall|party|parties|licensee|licensor|witnesseth"
    r"|governing law|terminat(?:e|ion)|indemnif\w+|exhibit)\b",
    re.IGNORECASE,
)


def detect(text: str) -> Task:
    """The document type of a text, by its words: receipts are short and full of amounts, contracts of legal words."""
    words = max(len(text.split()), 1)
    contract = len(_CONTRACT_WORDS.findall(text)) / words
    amounts, receipt_words = len(_AMOUNT.findall(text)), len(_RECEIPT_WORDS.findall(text))
    if words >= 60 and contract > 0.03:
        return CONTRACT
    if words <= 600 and (receipt_words + amounts) / words > 0.06 and (amounts or receipt_words >= 2):
        prose = len(re.findall(r"[a-z]{3}[.;]\s+[A-Z]", text))
        if prose <= 2:
            return RECEIPT
    return DOCUMENT
