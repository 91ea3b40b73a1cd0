"""Many documents: which files, a reading process for each worker, and a bar that shows how far they are."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from extraction.files import StageError, shown
from extraction.formats import kinds
from extraction.reading import documents, worker
from extraction.reading.documents import DocumentError


def find_inputs(names: Sequence[str]) -> tuple[list[str], int]:
    """The documents that the arguments name, each once, folders searched; and how many files of unknown kind there are.

    Raises StageError for a path that does not exist or that is neither a file nor a folder.
    """
    found, skipped = [], 0
    for name in names:
        path = Path(name)
        try:
            is_file, is_there = path.is_file(), path.exists()
        except OSError as error:  # a name that is too long for a file, a folder that may not be entered
            raise StageError(f"{shown(name)} cannot be opened: {error.strerror}") from error
        if name == "-" or is_file:
            found.append(name if name == "-" else str(path))
        elif path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
            wanted = [str(p) for p in inside if p.suffix.lower() in kinds.SUFFIXES]
            found += wanted
            skipped += len(inside) - len(wanted)
        elif is_there:
            raise StageError(f"{shown(name)} is neither a file nor a folder")
        else:
            raise StageError(f"{shown(name)} does not exist")
    return list(dict.fromkeys(found)), skipped


def content(name: str, limits: documents.Limits) -> bytes:
    """The bytes of a document, or of standard input for `-`."""
    if name != "-":
        return documents.content(Path(name), limits)
    most = int(limits.max_file_mb * 1e6)
    data = sys.stdin.buffer.read(most + 1)
    if len(data) > most:
        raise DocumentError(f"standard input has more than {limits.max_file_mb:g} MB, which is the limit")
    return data


class Workers:
    """`count` documents in hand at once, each read in a process of its own: PDFium and OCR run beside the model and
    beside each other, and a file that kills its reader costs no other."""

    def __init__(self, count: int):
        self.count = count
        worker.allow(count)

    def rows(self, names: Sequence[str], make: Callable[[str], Iterator[dict]]) -> Iterator[dict]:
        """What `make` gives for each file, as it is finished; with one worker in the order of the names."""
        from concurrent.futures import ThreadPoolExecutor, as_completed

        if self.count == 1:
            for name in names:
                yield from make(name)
            return
        with ThreadPoolExecutor(self.count) as threads:
            try:
                for future in as_completed([threads.submit(lambda name=name: list(make(name))) for name in names]):
                    yield from future.result()
            finally:
                threads.shutdown(wait=False, cancel_futures=True)


class Bar:
    """The progress of a run on a terminal: documents, or the windows of a single one."""

    def __init__(self, documents_: int):
        from tqdm import tqdm

        self.single = documents_ == 1
        self.lock = threading.Lock()
        self.bar = tqdm(
            total=None if self.single else documents_,
            unit=" prompts" if self.single else " documents",
            disable=None,  # no terminal, no bar
            leave=False,
        )

    def prompts(self, name: str, answered: int, of: int) -> None:
        with self.lock:
            if self.single:
                self.bar.total = of
                self.bar.set_description(shown(Path(name).name), refresh=False)
                self.bar.update(answered - self.bar.n)
                self.bar.refresh()
            elif of > 1:
                self.bar.set_postfix_str(f"{shown(Path(name).name)} {answered}/{of}")

    def document(self) -> None:
        if not self.single:
            self.bar.update()

    def write(self, text: str, file: Any) -> None:
        self.bar.write(text, file=file)
        file.flush()
