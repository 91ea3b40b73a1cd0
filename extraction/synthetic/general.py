"""What the general instruction is trained on: any text, its type first and then its record; and texts that are none."""

from __future__ import annotations

import random
import re
from typing import Any

from extraction.reading import layout
from extraction.synthetic import nothing
from extraction.tasks import completions, schemas

# CUAD's categories that a short record of a contract holds, by field.
CONTRACT_TERMS = {
    "title": "Document Name",
    "parties": "Parties",
    "agreement_date": "Agreement Date",
    "effective_date": "Effective Date",
    "expiration_date": "Expiration Date",
    "renewal_term": "Renewal Term",
    "notice_period": "Notice Period to Terminate Renewal",
    "governing_law": "Governing Law",
}
MAX_PARTIES = 8
LONGEST = 300  # characters of a term; a longer clause is cut at a word
WINDOW = (1200, 5500)  # characters of a contract or report that are asked about, at least and at most
OVERLAP = 300  # characters that half of the windows share with the one before them
SHORTEST = 400  # characters of a window behind the first
MAX_VALUES = 16  # of a page
LONGEST_KEY = 160  # characters
LONGEST_TITLE = 100
AMOUNT = re.compile(r"\W*(?:\d[\d.,]*\s?(?:pts|bps|x)?|[-–—])\W*")
YEAR = re.compile(r"\W*(?:19|20)\d\d\W*")


def contract_record(clauses: dict[str, list[str]]) -> dict:
    """The short record of a contract, from the quotes of its clauses."""
    record: dict[str, Any] = {"document_type": "contract"}
    for field, category in CONTRACT_TERMS.items():
        quotes = [" ".join(quote.split()) for quote in clauses.get(category, [])]
        if not quotes:
            continue
        if field == "parties":
            named = [quote for quote in dict.fromkeys(quotes) if len(quote) <= 160]
            record[field] = [quote for quote in named if not any(quote != o and quote in o for o in named)][
                :MAX_PARTIES
            ]
        else:
            best = quotes[0]
            record[field] = best if len(best) <= LONGEST else best[:LONGEST].rsplit(None, 1)[0]
    return record


def page_record(table: list[list[str]], lines: int) -> dict:
    """The values of the first lines of a table, in the order of reading, each under the name of its row, and of its
    column if there are several. There are none where the columns cannot be told apart by name."""
    cells = [[" ".join(cell.split()) for cell in row] for row in table]
    width = max(map(len, cells), default=0)
    cells = [row + [""] * (width - len(row)) for row in cells]
    first = next((n for n, row in enumerate(cells) if row[0] and any(map(_is_amount, row[1:]))), len(cells))
    rows = [row for row in cells[first:lines] if row[0]]
    columns = [i for i in range(1, width) if any(_says(row[i]) for row in cells[first:] if row[0])]
    names = column_names(cells[:first], columns)
    values: list[dict] = []
    for row in rows:
        label = row[0].rstrip(": ")
        found = [
            {"key": f"{label}, {names[i]}" if len(names) > 1 else label, "value": row[i]}
            for i in columns
            if names and _says(row[i])
        ]
        if len(values) + len(found) > MAX_VALUES:
            break
        values += [one for one in found if len(one["key"]) <= LONGEST_KEY and one not in values]
    return {"document_type": "document", "key_values": values}


def column_names(head: list[list[str]], columns: list[int]) -> dict[int, str]:
    """What the columns are called, if each has a name that no other has: by the lowest line of the head that names
    them all, else by the lowest cell of each, else by all lines, where one cell may stand above several columns."""
    lines = [{i: row[i] for i in columns} for row in head]
    lowest = {i: next((line[i] for line in reversed(lines) if line[i]), "") for i in columns}
    spread = [_spread(line) for line in lines]
    whole = {i: " ".join(dict.fromkeys(line[i] for line in spread if line)) for i in columns}
    for names in (*reversed(lines), lowest, whole):
        if len(columns) == 1 or all(map(_says, names.values())) and len({*names.values()}) == len(columns):
            return names
    return {}


def _spread(line: dict[int, str]) -> dict[int, str]:
    """A line of the head in which each cell stands above as many columns; nothing if it does not part them evenly."""
    cells = [*line.values()]
    step = len(cells) // max(sum(map(bool, cells)), 1) or 1
    if any(bool(cell) != (n % step == 0) for n, cell in enumerate(cells)):
        return {}
    return {i: cells[n - n % step] for n, i in enumerate(line)}


def _is_amount(cell: str) -> bool:
    return AMOUNT.fullmatch(cell) is not None and not YEAR.fullmatch(cell)


def _says(cell: str) -> bool:
    return any(map(str.isalnum, cell))


def ask(documents_: list[dict], share: float, seed: int) -> None:
    """Ask about this share of the training documents by the general instruction too, and of texts that are none."""
    for document in documents_:
        draw = random.Random(f"{seed}/{document['id']}/general")
        if not document["rows"] or draw.random() >= share:
            continue
        first = document["rows"][0]
        if first["task"] in ("receipt", "document"):
            record = {key: value for key, value in first["record"].items() if key != "summary"}
            added = [{"text": first["text"], "record": {"document_type": first["task"], **record}}]
        elif "clauses" in document:
            added = contract_windows(document, draw)
        elif "table" in document:
            added = [page_window(document, draw)]
        else:
            continue
        if draw.random() < 0.3:
            added.append({"text": nothing.text(draw), "record": {"document_type": "none"}})
        document["rows"] += [{"task": "general", **row} for row in added]


def contract_windows(document: dict, draw: random.Random) -> list[dict]:
    """The beginning of a contract, any later window of it, and one of those that hold a term."""
    spans = layout.windows(document["text"], draw.randint(*WINDOW), draw.choice((0, OVERLAP)))
    made = [contract_in_short(document, *span) for span in spans if span[0] == 0 or span[1] - span[0] >= SHORTEST]
    later = made[1:]
    with_term = [row for row in later if len(row["record"]) > 1]
    chosen = [draw.choice(windows) for windows in (later, with_term) if windows]
    return made[:1] + [row for row in later if row in chosen]


def contract_in_short(document: dict, start: int, end: int) -> dict:
    """A window of a contract, and the short record of what stands in it."""
    text = document["text"]
    shown: dict[str, list[str]] = {}
    for category, first, last in document["clauses"]:
        if start <= first and last <= end:
            shown.setdefault(category, []).append(text[first:last])
    return {"text": text[start:end].strip(), "record": contract_record(shown)}


def page_window(document: dict, draw: random.Random) -> dict:
    """A page of a report from its table on, with the values that are shown, and the heading behind it as the title.
    Of every fourth page with enough text a window behind the table is taken, which has the type alone."""
    text, table = document["text"], document["table"]
    spans = layout.windows(text, draw.randint(*WINDOW), 0)
    lines = text.split("\n")
    behind = [span for span in spans if text.count("\n", 0, span[0]) > len(table)]
    start, end = draw.choice(behind) if behind and draw.random() < 0.25 else spans[0]
    shown = text[start:end]
    if start:
        return {"text": shown.strip(), "record": {"document_type": "document"}}
    complete = shown.count("\n") + (end == len(text))
    record = page_record(table, complete)
    heading = lines[len(table) + 1] if len(table) + 1 < complete else ""
    if 0 < len(heading) <= LONGEST_TITLE and heading[-1] not in ".,:;":
        record["title"] = heading
    return {"text": shown.rstrip(), "record": completions.ordered(schemas.GENERAL, record)}
