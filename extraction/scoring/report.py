"""What an evaluation shows: tables as Markdown, and one HTML file to browse its failures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from extraction import files

TEMPLATE = Path(__file__).with_name("report.html")
SHOWN = 2000  # failures that the page holds; a browser lists more of them only slowly


@dataclass(frozen=True)
class Table:
    """Text in rows under a header; an empty cell was not measured."""

    title: str
    header: list[str]
    rows: list[list[str]]


def markdown(table: Table) -> str:
    """The table in Markdown, under its title."""
    return f"## {table.title}\n\n{files.markdown_table(table.header, table.rows)}"


def page(title: str, heading: dict[str, Any], tables: Sequence[Table], failures: Sequence[dict], scored: int) -> str:
    """A page that needs neither other files nor a network.

    A failure is `{"id", "task", "text", "target", "prediction", "problem", "differences": [{"path", ...}]}`. Everything
    a document says is data: it stands in one JSON text in which no tag can begin, and the page's script shows it by
    textContent alone.
    """
    data = {
        "title": title,
        "heading": {name: str(value) for name, value in heading.items() if value is not None},
        "tables": [asdict(table) for table in tables],
        "failures": list(failures[:SHOWN]),
        "all_failures": len(failures),
        "scored": scored,
    }
    return TEMPLATE.read_text(encoding="utf-8").replace("{{DATA}}", json.dumps(data).replace("<", "\\u003c"))
