"""The page of a document with its fields as boxes, and the table of the fields, as linked parts of a web page.

A click on a row lights its box up, a click on a box selects its row, both within the browser; only turning a page and
changing a value ask Python. The parts are drawn by view.js from a value that this module makes.

Gradio puts the values of an HTML template into JavaScript that it runs, where `${...}` in a document would be code. So
the templates below are constant, and the script sets text as text, never as HTML.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from extraction import files
from extraction.evidence import checks
from extraction.reading import documents
from extraction.reading.limits import Limits

SIDE = 1600  # pixels of the longer side of a page's picture
THUMBNAIL = 220  # pixels of the longer side of an example's
PICTURE_TEMPLATE = '<div class="picture"></div>'
TALK_TEMPLATE = '<div class="talk" role="log" aria-label="Questions and answers"></div>'
TABLE_TEMPLATE = '<div class="fields"></div>'
EXAMPLES_TEMPLATE = '<div class="examples" role="group" aria-label="Examples"></div>'
EXPORTS = ("json", "csv", "jsonl")
CSV_HEADER = ["file", "document_type", "field", "value", "normalized", "grounding", "confidence", "page", "edited"]
BATCH_HEADER = ["File", "Status", "Summary", "Fields", "Not found", "Checks that fail", "Seconds"]
FOUND = {  # grounding -> how the page says it
    "exact": "as printed",
    "normalized": "another form",
    "fuzzy": "similar",
    "none": "not found",
}


_OWN_FILE = {"queue": "review.js", "strip": "strip.js"}
_STYLES = ("view.css", "review.css", "strip.css")


@cache
def script(part: str) -> str:
    """The JavaScript of a part of view.js, or of the `queue` or the `strip`."""
    names = ["view.js", *([_OWN_FILE[part]] if part in _OWN_FILE else [])]
    return "\n".join([*(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in names), f"{part}();\n"])


@cache
def style() -> str:
    return "".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in _STYLES)


def picture(
    source: Path, page: int, pages: int, fields: Sequence[dict], limits: Limits, active: str | None = None
) -> dict:
    """The value of the picture: one page, and the boxes of the fields.

    `active` is the field that is lit up. Of a format that has no pages there is a sentence instead of a picture.
    """
    drawn = documents.render(source, page, SIDE, limits)
    value = {"page": page, "pages": pages, "active": active, **boxes(fields)}
    if drawn is None:
        return value | {"pages": 0, "note": "This format has no pages to show; its text is in the tab Text."}
    return value | {"src": _jpeg(drawn.image, 80), "width": drawn.width, "height": drawn.height}


def boxes(fields: Sequence[dict]) -> dict:
    """The boxes of all pages, and on which page each field begins; with `more`, for the page that is there."""
    found: list[dict] = []
    places: dict[str, int] = {}
    for field in fields:
        for box in field["boxes"]:
            places.setdefault(field["path"], box["page"])
            label = f"{spoken(field['path'])}: {field['value']}"
            area = {side: round(box[side], 2) for side in ("left", "top", "right", "bottom")}
            what = {"field": field["path"], "page": box["page"], "label": label, "found": field["grounding"]}
            found.append({**what, **area})
    return {"boxes": found, "places": places}


def example(source: Path, label: str, limits: Limits) -> dict:
    """A document that can be tried, with its first page made small, or its first lines where it has no pages."""
    drawn = documents.render(source, 1, THUMBNAIL, limits)
    value = {"file": source.name, "label": label}
    if drawn is None:
        return value | {"text": source.read_text(encoding="utf-8", errors="replace")[:400]}
    return value | {"src": _jpeg(drawn.image, 70)}


def _jpeg(image: Any, quality: int) -> str:
    written = io.BytesIO()
    image.convert("RGB").save(written, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(written.getvalue()).decode()


def plain(value: float | str | None) -> str:
    """A number without a decimal point that it does not need."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


def table(result: dict, schema: dict, *, empty: bool = False) -> dict:
    """The value of the table: `of` which document, a row for each field, how they are grouped; see `groups`."""
    rows = []
    for field in result["fields"] or []:
        own = [check for check in result["checks"] or [] if concerned(check["rule"]) == field["path"]]
        rows.append(
            {
                "field": field["path"],
                "value": field["value"],
                "normalized": plain(field["normalized"]),
                "found": field["grounding"],
                "says": FOUND[field["grounding"]],
                "confidence": None if field["confidence"] is None else round(100 * field["confidence"]),
                "page": field["boxes"][0]["page"] if field["boxes"] else None,
                "edited": field.get("edited", False),
                "checks": [{"verdict": check["verdict"], "says": said(check)} for check in own],
            }
        )
    of = f"{result.get('file')} {result.get('page_numbers')}"
    made = groups(result.get("record") or {}, schema, empty)
    return {"of": of, "rows": rows, "groups": made, "head": headline(result)}


def concerned(rule: str) -> str:
    """The path of the value that a rule judges: what stands behind its equals sign, or the date that it names."""
    place, _, formula = rule.rpartition(": ")
    if " = " in formula:
        result = formula.rpartition(" = ")[2]
        return f"{place}.{result}" if place else result
    return rule.partition(" is ")[0]


def said(check: dict) -> str:
    return f"{check['rule']}: {check['verdict']}" + (f" ({check['detail']})" if check.get("detail") else "")


# --- how fields are grouped ----------------------------------------------------------------------------------

LABELS = {"tax_id": "Tax ID", "e_money": "E-money", "merchant": "Seller", "clauses": "Clauses", "key_values": "Values"}
TOTALS = (
    "subtotal discount service_charge other_charge tax subtotal_other tip total cash change card e_money"
    " item_type_count item_count total_other"
).split()
NUMBERS = {*TOTALS, "quantity", "unit_price", "amount", "item_subtotal", "price"} - {"subtotal_other", "total_other"}


def label(key: str) -> str:
    """`Invoice number` for `invoice_number`; a name with capitals or spaces, such as a clause's, stays as it is."""
    return LABELS.get(key) or (key.replace("_", " ").capitalize() if key == key.lower() else key)


def spoken(path: str) -> str:
    """A path as people say it: `Line items 1, Amount` for `line_items[0].amount`."""
    steps = re.findall(r"([^.\[\]]+)(?:\[(\d+)\])?", path)
    return ", ".join(f"{label(key)} {int(index) + 1}" if index else label(key) for key, index in steps)


def groups(record: dict, schema: dict, empty: bool = False) -> list[dict]:
    """The record as groups of what people look at together, in its order, with what is still empty.

    A group has `name` and either `fields`, each with label and path, or it is a table of a list of objects: `list` is
    the list's path, `columns` the keys (`empty` those that no entry has, unless all are wanted), `entries` the objects
    (`at`: the path), nested ones deeper. What is empty is what the `schema` of the record has.
    """
    single: dict[str, list[dict]] = {"": []}
    tables = []
    for key, value in record.items():
        inner = schema.get("properties", {}).get(key, {})
        if _is_table(value):
            tables.append(_table(key, value, inner.get("items", {}), empty))
        elif isinstance(value, dict):
            single[label(key)] = _fields(value, inner, key)
        else:
            single.setdefault("Totals" if key in TOTALS else "", []).extend(_fields({key: value}, schema))
    totals = single.pop("Totals", [])
    made = [{"name": name, "fields": fields} for name, fields in single.items() if fields]
    return [*made, *tables, *([{"name": "Totals", "fields": totals}] if totals else [])]


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(entry, dict) for entry in value)


def _fields(record: dict, schema: dict, path: str = "") -> list[dict]:
    """Label and path (`field`) of each single value, empty ones too; of a list one for each entry and one for the next.

    A list of objects that has none is one, too, its `list` is true.
    """
    found = []
    for key, value in record.items():
        at = f"{path}.{key}" if path else key
        inner = schema.get("properties", {}).get(key, {})
        if value is None and "properties" in inner:
            value = dict.fromkeys(inner["properties"])
        if isinstance(value, dict):
            found += [{**entry, "label": f"{label(key)}: {entry['label']}"} for entry in _fields(value, inner, at)]
        elif not value and "properties" in inner.get("items", {}):
            found.append({"label": label(key), "field": at, "number": False, "list": True})
        elif isinstance(value, list) or "items" in inner:
            paths = [f"{at}[{i}]" for i in range(len(value or []) + ("items" in inner))]
            found += [{"label": label(key), "field": one, "number": False} for one in paths]
        else:
            found.append({"label": label(key), "field": at, "number": key in NUMBERS})
    return found


def _table(name: str, entries: list[dict], schema: dict, empty: bool) -> dict:
    rows = list(_entries(name, entries, 0))
    nested = {key for key, inner in schema.get("properties", {}).items() if "properties" in inner or "items" in inner}
    used = dict.fromkeys(key for row in rows for key, value in row["values"].items() if empty or value is not None)
    keys = [*used, *dict.fromkeys(key for row in rows for key in row["values"] if key not in {*used, *nested})]
    columns = [{"key": k, "label": label(k), "number": k in NUMBERS, "empty": k not in used} for k in keys]
    return {
        "name": label(name),
        "list": name,
        "columns": columns,
        "entries": [{"at": row["path"], "level": row["level"], "has": sorted(row["values"])} for row in rows],
    }


def _entries(path: str, entries: list[dict], level: int) -> Iterator[dict]:
    for i, entry in enumerate(entries):
        at = f"{path}[{i}]"
        single = {key: value for key, value in entry.items() if not isinstance(value, dict | list)}
        yield {"path": at, "level": level, "values": single}
        for key, value in entry.items():
            if _is_table(value):
                yield from _entries(f"{at}.{key}", value, level + 1)


def headline(result: dict) -> dict:
    """What one wants to know first: `title`, what the checks say (`sums`), how many values need a look (`review`)."""
    record = result.get("record") or {}
    parts: list[str] = []
    if result.get("document_type") == "receipt":
        number = record.get("invoice_number")
        parts = [f"Invoice {number}" if number else "Receipt", (record.get("merchant") or {}).get("name") or ""]
        total, currency = record.get("total"), record.get("currency")
        worth_naming = total and currency and currency not in total
        parts.append(f"{currency} {total}" if worth_naming else total or "")
    elif result.get("document_type") == "contract":
        clauses = record.get("clauses") or {}
        parts = [*(clauses.get("Document Name") or ["Contract"])[:1], " and ".join((clauses.get("Parties") or [])[:2])]
    elif record:
        parts = [record.get("title") or "Document"]
    verdicts_made = [check["verdict"] for check in result.get("checks") or []]
    fails = verdicts_made.count(checks.FAILS)
    sums = f"{fails} check{'' if fails == 1 else 's'} fail{'s' if fails == 1 else ''}" if fails else "checks hold"
    review = sum(bool(field.get("review")) for field in result.get("fields") or [])
    return {
        "title": ", ".join(" ".join(part.split())[:80] for part in parts if part),
        "sums": sums if verdicts_made and (fails or checks.HOLDS in verdicts_made) else "",
        "fails": bool(fails),
        "review": review,
    }


# --- checks, exports and the batch ---------------------------------------------------------------------------


def counted(name: str, count: int) -> str:
    return f"{name} ({count})" if count else name


def verdicts(result: dict) -> list[list[str]]:
    """Checks and warnings as rows of verdict, what was checked, and why; what needs a look comes first."""
    order = [checks.FAILS, checks.UNKNOWN, checks.HOLDS]
    made = sorted(result["checks"] or [], key=lambda check: order.index(check["verdict"]))
    rows = [[check["verdict"], check["rule"], check.get("detail", "")] for check in made]
    fails = sum(row[0] == checks.FAILS for row in rows)
    return rows[:fails] + [["warning", problem, ""] for problem in result["problems"]] + rows[fails:]


def needing_a_look(result: dict) -> int:
    return sum(row[0] in (checks.FAILS, "warning") for row in verdicts(result))


def csv_text(results: Sequence[dict]) -> str:
    """A row for each field, made safe for spreadsheets."""
    rows = []
    for result in results:
        for field in result.get("fields") or []:
            pages = [box["page"] for box in field["boxes"]]
            row = [result["file"], result["document_type"], field["path"], field["value"], field["normalized"]]
            row += [field["grounding"], field["confidence"], min(pages, default=None)]
            rows.append(dict(zip(CSV_HEADER, [*row, "edited" if field.get("edited") else ""], strict=True)))
            if result.get("documents", 1) > 1:  # in one file
                rows[-1]["document"] = result["document"]
    return files.csv_text(rows, first=CSV_HEADER)


def exports(result: dict) -> dict[str, str]:
    """The result as the content of a file of each kind."""
    return {
        "json": json.dumps(result, indent=2, ensure_ascii=False) + "\n",
        "csv": csv_text([result]),
        "jsonl": json.dumps(result, ensure_ascii=False) + "\n",
    }


def batch_row(result: dict) -> list[str]:
    name = result["file"]
    if result.get("documents", 1) > 1:
        name += f", document {result['document']} of {result['documents']}"
    if "error" in result:
        return [name, f"failed: {result['error']}", "", "", "", "", ""]
    missing = sum(field["grounding"] == "none" for field in result["fields"] or [])
    fails = sum(check["verdict"] == checks.FAILS for check in result["checks"] or [])
    seconds = sum(result["timings"].values())
    count = len(result["fields"] or [])
    return [name, "read", result["summary"] or "", str(count), str(missing), str(fails), f"{seconds:.1f}"]
