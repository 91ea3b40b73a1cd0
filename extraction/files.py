"""Files: text, JSON, JSON Lines and CSV, written whole or not at all; hashes; and the error of an expected failure."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any


def json_text(value: Any, indent: int | None = None) -> str:
    """The value as JSON that can be written anywhere; bytes of a file name that are not UTF-8 become escapes."""
    return json.dumps(value, ensure_ascii=False, indent=indent).encode("utf-8", "backslashreplace").decode()


def shown(text: str) -> str:
    """The text on one line of a terminal: control and unprintable characters become escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def quoted(text: str) -> str:
    """The beginning of a text on one line, in quotation marks, without what cannot be printed."""
    text = " ".join("".join(c for c in text if c.isprintable() or c.isspace()).split())
    return f'"{text[:60]}{"..." if text[60:] else ""}"'


def csv_text(rows: Sequence[dict], first: Sequence[str] = (), last: Sequence[str] = ()) -> str:
    """A header of all columns in order of appearance, and the rows. UTF-8 with a byte order mark, for spreadsheets."""
    columns = list(dict.fromkeys([*first, *(name for row in rows for name in row if name not in last), *last]))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(safe_cell, columns))
    writer.writerows([safe_cell(row.get(name)) for name in columns] for row in rows)
    return "\ufeff" + out.getvalue()


def safe_cell(value: Any) -> str:
    """The value as text that no spreadsheet runs as a formula: text that begins like one gets an apostrophe in front.

    That holds for negative amounts too: "-5.00" becomes "'-5.00".
    """
    text = "" if value is None else value if isinstance(value, str) else json_text(value)
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    return f"'{text}" if text.lstrip()[:1] in ("=", "+", "-", "@", "＝", "＋", "－", "＠") and text.strip() else text


def markdown_table(heads: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table, in whose cells a bar would end the cell, and a line break the table."""
    lines = (heads, ["---"] * len(heads), *rows)
    cells = ([" ".join(str(cell).replace("|", "\\|").split()) for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


NO_SPACE = os.strerror(errno.ENOSPC)


class StageError(Exception):
    """An expected failure: one sentence that says what to do. `status` is the exit status."""

    def __init__(self, message: str, status: int = 2):
        super().__init__(message)
        self.status = status


class Missing(StageError):
    """A file that does not exist."""


def sha256(path: Path) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """16 hexadecimal digits that change when the JSON value does."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def plain(value: Any) -> Any:
    """The value as JSON gives it back: tuples become lists."""
    return json.loads(json.dumps(value, default=str))


# --- files ---------------------------------------------------------------------------------------------------


def write_bytes(path: Path, data: bytes) -> Path:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_text(path: Path, text: str) -> Path:
    # A file name may hold bytes that are no UTF-8; in JSON the backslash makes an escape of them.
    return write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, value: Any) -> Path:
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[dict]) -> Path:
    return write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise StageError(f"{path} is not valid JSON: {error}") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Missing(f"{path} does not exist") from error


def read_jsonl(path: Path) -> Iterator[dict]:
    """The rows of a JSON Lines file. Raises StageError naming the line that is not a JSON object."""
    if not path.is_file():
        raise Missing(f"{path} does not exist")
    with open(path, encoding="utf-8") as f:
        try:
            for number, line in enumerate(f, start=1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise StageError(f"{path}, line {number}: not a JSON object")
                    yield row
        except json.JSONDecodeError as error:
            raise StageError(f"{path}, line {number}: {error}") from error
        except UnicodeDecodeError as error:
            raise StageError(f"{path}: not UTF-8 text: {error}") from error


# --- folders -------------------------------------------------------------------------------------------------


def free_bytes(folder: Path) -> int:
    """Free space of the disk that holds the folder, or will once it is made."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free
