"""The page of a document with its fields as boxes, and the table of the fields, as two linked parts of a web page.

A click on a row lights its box up, a click on a box selects its row, both within the browser; only turning a page and
changing a value ask Python. The parts are drawn by view.js from a value that this module makes.

Gradio puts the values of an HTML template into JavaScript that it runs, where `${...}` in a document would be code. So
the templates below are constant, and the script sets text as text, never as HTML.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from extraction import files
from extraction.evidence import checks
from extraction.reading import documents

SIDE = 1600  # pixels of the longer side of a page's picture
PICTURE_TEMPLATE = '<div class="picture"></div>'
TALK_TEMPLATE = '<div class="talk" role="log" aria-label="Questions and answers"></div>'
TABLE_TEMPLATE = '<div class="fields"></div>'
EXPORTS = ("json", "csv", "jsonl")
CSV_HEADER = ["file", "document_type", "field", "value", "normalized", "grounding", "confidence", "page", "edited"]
BATCH_HEADER = ["File", "Status", "Summary", "Fields", "Not found", "Checks that fail", "Seconds"]
FOUND = {  # grounding -> how the page says it
    "exact": "as printed",
    "normalized": "another form",
    "fuzzy": "similar",
    "none": "not found",
}


@cache
def script(part: str) -> str:
    """The JavaScript of `picture`, `fields` or `talk`."""
    return Path(__file__).with_name("view.js").read_text(encoding="utf-8") + f"\n{part}();\n"


@cache
def style() -> str:
    return Path(__file__).with_name("view.css").read_text(encoding="utf-8")


def picture(source: Path, page: int, pages: int, fields: Sequence[dict], active: str | None = None) -> dict:
    """The value of the picture: one page, the boxes on it, and on which page each field begins.

    `active` is the field that is lit up. Of a format that has no pages there is a sentence instead of a picture.
    """
    drawn = documents.render(source, page, SIDE)
    value = {"page": page, "pages": pages, "active": active, "boxes": [], "places": {}}
    if drawn is None:
        return value | {"pages": 0, "note": "This format has no pages to show; its text is in the tab Text."}
    for field in fields:
        for box in field["boxes"]:
            value["places"].setdefault(field["path"], box["page"])
            if box["page"] == page:
                label = f"{field['path']}: {field['value']}"
                area = {side: round(box[side], 2) for side in ("left", "top", "right", "bottom")}
                value["boxes"].append({"field": field["path"], "label": label, "found": field["grounding"], **area})
    written = io.BytesIO()
    drawn.image.save(written, "JPEG", quality=80)
    source_url = "data:image/jpeg;base64," + base64.b64encode(written.getvalue()).decode()
    return value | {"src": source_url, "width": drawn.width, "height": drawn.height}


def plain(value: float | str | None) -> str:
    """A number without a decimal point that it does not need."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


def table(fields: Sequence[dict]) -> dict:
    """The value of the table: a row for each field."""
    return {
        "rows": [
            {
                "field": field["path"],
                "value": field["value"],
                "normalized": plain(field["normalized"]),
                "found": field["grounding"],
                "says": FOUND[field["grounding"]],
                "confidence": None if field["confidence"] is None else round(100 * field["confidence"]),
                "page": field["boxes"][0]["page"] if field["boxes"] else None,
                "edited": field.get("edited", False),
            }
            for field in fields
        ]
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
    return files.csv_text(rows, first=CSV_HEADER)


def exports(result: dict) -> dict[str, str]:
    """The result as the content of a file of each kind."""
    return {
        "json": json.dumps(result, indent=2, ensure_ascii=False) + "\n",
        "csv": csv_text([result]),
        "jsonl": json.dumps(result, ensure_ascii=False) + "\n",
    }


def batch_row(result: dict) -> list[str]:
    missing = sum(field["grounding"] == "none" for field in result["fields"] or [])
    fails = sum(check["verdict"] == checks.FAILS for check in result["checks"] or [])
    seconds = sum(result["timings"].values())
    count = len(result["fields"] or [])
    return [result["file"], "read", result["summary"] or "", str(count), str(missing), str(fails), f"{seconds:.1f}"]
