"""Many documents: which files, a reading process for each worker, and a bar that shows how far they are."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from extraction.files import StageError, shown
from extraction.reading import documents
from extraction.reading.documents import DocumentError


def find_inputs(names: Sequence[str], suffixes: Collection[str]) -> tuple[list[str], int]:
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
            found += [str(p) for p in inside if p.suffix.lower() in suffixes]
            skipped += sum(p.suffix.lower() not in suffixes for p in inside)
        elif is_there:
            raise StageError(f"{shown(name)} is neither a file nor a folder")
        else:
            raise StageError(f"{shown(name)} does not exist")
    return list(dict.fromkeys(found)), skipped


def read_bytes(name: str, limit_mb: float) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read(int(limit_mb * 1e6) + 1)
    try:
        with open(name, "rb") as f:
            return f.read(int(limit_mb * 1e6) + 1)
    except OSError as error:
        raise DocumentError(f"cannot be opened: {error.strerror}") from error


def _end_with_parent() -> None:
    """In a reading process: Ctrl-C is the parent's to answer, and a parent that was killed leaves nobody behind."""
    import multiprocessing

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Workers:
    """`count` documents in hand at once. With more than one, each is read in a process of its worker's own.

    So PDFium and OCR run beside the model and beside each other, and a file that kills its reader costs no other.
    """

    def __init__(self, count: int, limits: documents.Limits):
        self.count, self.limits = count, limits
        self._own = threading.local()

    def rows(self, names: Sequence[str], make: Callable[[str], dict | None]) -> Iterator[dict]:
        """What `make` gives for each document, as it is finished; with one worker in the order of the names."""
        from concurrent.futures import ThreadPoolExecutor, as_completed

        if self.count == 1:
            yield from filter(None, map(make, names))
            return
        with ThreadPoolExecutor(self.count) as threads:
            try:
                for future in as_completed([threads.submit(make, name) for name in names]):
                    if row := future.result():
                        yield row
            finally:
                threads.shutdown(wait=False, cancel_futures=True)

    def read(self, data: bytes) -> documents.Document:
        if self.count == 1:
            return documents.read(data, self.limits)
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor
        from concurrent.futures.process import BrokenProcessPool

        if not hasattr(self._own, "pool"):
            spawn = multiprocessing.get_context("spawn")  # a fork would copy the model's threads half
            self._own.pool = ProcessPoolExecutor(1, mp_context=spawn, initializer=_end_with_parent)
        try:
            return self._own.pool.submit(documents.read, data, self.limits).result()
        except BrokenProcessPool:
            del self._own.pool
            raise DocumentError("the reading process ended: too little memory?") from None


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
