"""CORD: its tree of a receipt <-> our record, and which of its words belong to which field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from extraction.reading.documents import Document
from extraction.reading.layout import layout, upright
from extraction.reading.words import placed
from extraction.tasks.records import leaves, without_positions


def gold_words(truth: dict) -> tuple[Document, dict[str, set[int]]]:
    """The words of a CORD receipt as a document, and per field of its record the indices of the annotated words.

    CORD annotates words by category and group, not by leaf: a leaf takes the annotated lines of its category whose
    words, in order, are its value. Labels (`is_key`) are not part of a value.
    """
    tree, lines = truth["gt_parse"], truth["valid_line"]
    printed = [
        placed(word["text"], [(word["quad"][f"x{n}"], word["quad"][f"y{n}"]) for n in (1, 2, 3, 4)])
        for line in lines
        for word in line["words"]
    ]
    laid = layout(upright(printed))
    annotated, index = [], 0
    for line in lines:
        mine = [(index + k, w["text"]) for k, w in enumerate(line["words"]) if not w["is_key"]]
        annotated.append((line["category"], line["group_id"], mine))
        index += len(line["words"])
    gold: dict[str, set[int]] = {}
    groups: dict[str, int] = {}
    for leaf, (category, entries) in zip(leaves(from_cord(tree)), _cord_leaves(tree), strict=True):
        item = leaf.path.split("]")[0]
        for entry in entries:
            same = [a for a in annotated if a[0] == category and " ".join(t for _, t in a[2]) == entry]
            if not same:  # a value that CORD joined otherwise than it annotated it
                continue
            best = next((a for a in same if a[1] == groups.get(item)), same[0])
            annotated.remove(best)
            groups.setdefault(item, best[1])
            gold.setdefault(leaf.path, set()).update(i for i, _ in best[2])
    return Document(laid.text, words=laid.words, spans=laid.spans), gold


def _cord_leaves(tree: Any, category: str = "") -> Iterator[tuple[str, list[str]]]:
    """Category and entries of each value, in the order of the tree, which is the order of our record."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _cord_leaves(value, f"{category}.{key}" if category else key)
    elif isinstance(tree, list) and isinstance(tree[0], dict):
        for value in tree:
            yield from _cord_leaves(value, category)
    else:
        yield category, tree if isinstance(tree, list) else [tree]


def words_of(document: Document, gold: dict[str, set[int]]) -> list[dict]:
    """The words of a document of one page with the field, without list positions, that each was annotated for."""
    fields = {i: without_positions(path) for path, indices in gold.items() for i in indices}
    return [
        {"text": word.text, "box": [round(side, 3) for side in word.box], "field": fields.get(i)}
        for i, word in enumerate(document.words)
    ]


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
