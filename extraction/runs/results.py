"""The rows of a run: a JSON Lines file that a later run goes on with, and the same rows as CSV and as a table.

A row is a result or `{"file": ..., "error": ...}`. Of a file there is a row for each document in it, by its number; of
several rows of one document in a JSON Lines file the last counts.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from extraction import files
from extraction.files import csv_text, json_text


def earlier(path: Path) -> list[dict]:
    """The rows that an earlier run wrote. A last line that was cut off is left out, and cut off in the file too.

    Raises StageError for a file that no run wrote, which is not to be written over, and for a row that was changed.
    """
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line) if line.strip() else None
        except json.JSONDecodeError as error:
            if number == len(lines) and '{"file"'.startswith(line[:7]):  # the run was killed while writing it
                break
            raise _foreign(path, number) from error
        if row is None:
            continue
        if not isinstance(row, dict) or not {"file", "key", "check"} <= set(row):
            raise _foreign(path, number)
        if row.pop("check") != files.fingerprint(row):
            raise files.StageError(
                f"{path}, line {number}: it was changed after it was written. Delete the line, or name another file"
            )
        rows.append(row)
    if lines[-1]:
        write_rows(path, rows)
    return rows


def line(row: dict) -> str:
    """A row as it stands in a JSON Lines file that can be resumed."""
    return json_text({**row, "check": files.fingerprint(row)}) + "\n"


def write_rows(path: Path, rows: Sequence[dict]) -> Path:
    return files.write_text(path, "".join(map(line, rows)))


def _foreign(path: Path, number: int) -> files.StageError:
    return files.StageError(f"{path}, line {number}: not a row of an earlier run. Name another file, or --overwrite it")


def keep_last_of_each(path: Path) -> None:
    """Leave of several rows of a document only the last, and of a file those that were made with its last row.

    They stand where the first row of the file stood; a row at a time is in memory.
    """
    lines: dict[str, dict[int, tuple[int, int]]] = {}
    made_with: dict[str, tuple] = {}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(path, "rb") as source, open(temporary, "wb") as target:
            start = 0
            for line in source:
                row = json.loads(line)
                name, this = row["file"], (row.get("key"), row.get("documents", 1))
                its = lines.setdefault(name, {})
                if made_with.setdefault(name, this) != this:
                    made_with[name] = this
                    its.clear()
                its[row.get("document", 1)] = start, len(line)
                start += len(line)
            for _, (start, size) in (entry for its in lines.values() for entry in sorted(its.items())):
                source.seek(start)
                target.write(source.read(size))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


# --- where rows go -------------------------------------------------------------------------------------------


class ToStdout:
    """Rows on stdout as they are made; a JSON array of several documents when all are made."""

    def __init__(self, form: str, files_: int, write: Callable[[str], Any]):
        self.form, self.single, self.write = form, files_ == 1, write
        self.rows: list[dict] = []

    def add(self, row: dict) -> None:
        shown = {name: value for name, value in row.items() if name != "key"}
        if self.form == "table":
            self.write(document_table(row) + "\n")
        elif self.form == "jsonl":
            self.write(json_text(shown))
        else:
            self.rows.append(shown)

    def end(self) -> None:
        if self.form == "json":  # one file may hold several documents
            self.write(json_text(self.rows[0] if self.single and len(self.rows) == 1 else self.rows, indent=2))


class ToFile:
    """Rows in a JSON Lines file that a later run goes on with; at the end the target too, if it has another format."""

    def __init__(self, target: Path, form: str, *, overwrite: bool):
        self.target, self.form = target, form
        self.path = target if form == "jsonl" else target.with_name(f"{target.name}.jsonl")
        try:
            self.earlier = [] if overwrite else earlier(self.path)
            write_rows(self.path, self.earlier)  # finds out now whether the file can be written
        except OSError as error:
            raise files.StageError(f"cannot write {self.path}: {error.strerror}") from error

    def add(self, row: dict) -> None:
        with open(self.path, "a", encoding="utf-8") as f:
            f.write(line(row))

    def end(self) -> None:
        """Leave out the rows that newer ones replace, and write the file in the format that was asked for."""
        keep_last_of_each(self.path)
        if self.form == "jsonl":
            return
        plain = [{k: v for k, v in row.items() if k not in ("key", "check")} for row in files.read_jsonl(self.path)]
        if self.form == "csv":
            print(f"entries of lists: {write_csv(plain, self.target)}", file=sys.stderr)
        elif self.form == "json":
            files.write_json(self.target, plain)
        else:
            files.write_text(self.target, "".join(document_table(row) + "\n\n" for row in plain))


# --- CSV -----------------------------------------------------------------------------------------------------


def write_csv(rows: Sequence[dict], path: Path) -> Path:
    """One line per document, fields in dotted columns; returns the second file, with one line per list entry.

    An entry of a list of objects, such as a line item, is found there by the document's file name, its number in the
    file, and its own path.
    """
    documents, items = [], []
    several = any(row.get("documents", 1) > 1 for row in rows)  # in one file: their numbers tell them apart
    taken = ("file", "document", "path") if several else ("file", "path")
    for row in rows:
        fields, entries = _flat(row.get("record") or {})
        named = {"file": row["file"], **({"document": row.get("document", 1)} if several else {})}
        pages = {"page_numbers": ", ".join(map(str, row.get("page_numbers") or []))} if several else {}
        documents.append(
            {**named, **pages, "document_type": row.get("document_type"), "summary": row.get("summary")}
            | {f"record.{name}": value for name, value in fields.items()}
            | _answers(row.get("answers") or [])
            | {"problems": "\n".join(row.get("problems") or []), "error": row.get("error")}
        )
        items += [{**named, "path": at} | _beside(values, taken) for at, values in entries]
    second = path.with_name(f"{path.stem}.items{path.suffix}")
    files.write_text(path, csv_text(documents, last=("problems", "error")))
    files.write_text(second, csv_text(items, first=taken))
    return second


def _answers(answers: Sequence[dict]) -> dict[str, Any]:
    """A column for each answer, also where a question was asked twice."""
    columns: dict[str, Any] = {}
    for answer in answers:
        name = f"answer: {answer['question']}"
        numbered = (f"{name} ({n})" for n in range(2, len(answers) + 2))
        columns[next(free for free in (name, *numbered) if free not in columns)] = answer["answer"]
    return columns


def _beside(values: dict[str, Any], taken: Sequence[str]) -> dict[str, Any]:
    """The values of an entry under names that are not those `taken` by the columns beside them."""
    return {f"record.{n}" if n in taken or n.startswith("record.") else n: value for n, value in values.items()}


def _flat(value: dict, path: str = "") -> tuple[dict[str, Any], list[tuple[str, dict]]]:
    """The single values by dotted path, and the entries of lists of objects, each with its path."""
    fields: dict[str, Any] = {}
    entries: list[tuple[str, dict]] = []
    for name, inner in value.items():
        at = f"{path}.{name}" if path else name
        if isinstance(inner, dict):
            below, more = _flat(inner, at)
            fields |= below
            entries += more
        elif isinstance(inner, list) and inner and all(isinstance(entry, dict) for entry in inner):
            for i, entry in enumerate(inner):
                below, more = _flat(entry)
                entries.append((f"{at}[{i}]", below))
                entries += [(f"{at}[{i}].{deeper}", values) for deeper, values in more]
        elif isinstance(inner, list):
            simple = all(isinstance(entry, str) for entry in inner)
            fields[at] = "\n".join(inner) if simple else json_text(inner)
        elif inner is not None:  # a column for a field that some document has
            fields[at] = inner
    return fields, entries


# --- a table to look at --------------------------------------------------------------------------------------


def table(rows: Sequence[Sequence[Any]], header: Sequence[str] = (), widest: int = 70) -> str:
    """Columns of text, as wide as they need to be. What would move the cursor of a terminal is left out."""
    shown = [[_printable(cell, widest) for cell in row] for row in ([header] if header else []) + list(rows)]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]
    if header:
        lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _printable(cell: Any, widest: int) -> str:
    text = " ".join("".join(c if c.isprintable() else " " for c in str("" if cell is None else cell)).split())
    return text if len(text) <= widest else f"{text[: widest - 3]}..."


def document_table(row: dict) -> str:
    """One row for people: the values with where they come from, answers, checks, problems."""
    error = f"error: {row['error']}" if "error" in row else None
    pages = ", ".join(map(str, row["page_numbers"])) if row.get("documents", 1) > 1 else ""
    name = f"{row['file']}, page{'s' if ',' in pages else ''} {pages}" if pages else row["file"]
    lines = [table([[name, row.get("document_type"), row.get("summary"), error]], widest=200)]
    sections: list[list[list[Any]]] = [
        [[f"{f['path']}", f["value"], f["grounding"]] for f in row.get("fields") or []],
        [[f"{a['question']}", a["answer"] or "not found"] for a in row.get("answers") or []],
        [[f"{c['rule']}", c["verdict"], c.get("detail")] for c in row.get("checks") or []],
        [[f"problem: {problem}"] for problem in row.get("problems") or []],
    ]
    lines += ["  " + line for section in sections if section for line in table(section, widest=100).split("\n")]
    return "\n".join(lines)


def timings_table(rows: Sequence[dict], wall: float) -> str:
    """Seconds per document of the rows made in this run, read and model apart."""
    lines = []
    for part in ("read", "model"):
        seconds = sorted(row["timings"][part] for row in rows if "timings" in row)
        if seconds:
            p95 = seconds[min(int(0.95 * len(seconds)), len(seconds) - 1)]
            lines.append([part, len(seconds), *(f"{s:.2f}" for s in (seconds[len(seconds) // 2], p95, sum(seconds)))])
    lines.append(["whole run", len(rows), "", "", f"{wall:.2f}"])
    return table(lines, ("seconds", "documents", "median", "p95", "sum"))
