"""Long work of the page in a thread: what it says on the way, its result or its error, and a way to stop it."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from extraction import files, stage
from extraction.reading import documents


class Stopped(Exception):
    """Nobody waits for the work any more."""


class Job:
    """Work that has begun. It calls `tell` with whatever should be shown meanwhile, and ends there once stopped."""

    def __init__(self, work: Callable[[Callable[[Any], None]], Any]):
        self._said: queue.SimpleQueue[tuple[Any] | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._value: Any = None
        self._error: BaseException | None = None
        threading.Thread(target=self._run, args=(work,), daemon=True).start()

    def _run(self, work: Callable[[Callable[[Any], None]], Any]) -> None:
        try:
            self._value = work(self._tell)
        except BaseException as error:
            self._error = error
        finally:
            self._said.put(None)

    def _tell(self, said: Any) -> None:
        if self._stopped.is_set():
            raise Stopped
        self._said.put((said,))

    def said(self) -> Iterator[Any]:
        """What the work says, until it ends."""
        while entry := self._said.get():
            yield entry[0]

    def result(self) -> Any:
        """What the work made; only after `said` has ended. Raises what the work raised."""
        if self._error:
            raise self._error
        return self._value

    def stop(self) -> None:
        self._stopped.set()


class Countdown:
    """How far some work is, as a sentence: parts done, and how long the rest takes at the speed so far."""

    def __init__(self) -> None:
        self.started = time.monotonic()

    def line(self, done: int, of: int) -> str:
        if of < 2:
            return "asking the model ..."
        if not done:
            return f"{of} parts to read ..."
        left = (time.monotonic() - self.started) / done * (of - done)
        return f"{done} of {of} parts read, about {left:.0f} s left"


@contextlib.contextmanager
def in_one_sentence() -> Iterator[None]:
    """Turn a bug into a StageError: Gradio would print its message, which may hold text of the document."""
    try:
        yield
    except (documents.DocumentError, files.StageError, Stopped):
        raise
    except Exception as error:
        stage.show_bug(error)
        raise files.StageError(f"failed with {type(error).__name__}") from None
