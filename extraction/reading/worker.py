"""`pages` in a process of its own, so that a page can be given up when it takes too long, takes too much
memory or crashes.

The process starts with the first document and stays, with its OCR engine loaded, until this one ends. A request is a
line of JSON and the bytes of a file; the answer is lines of JSON, the last one `{"end": true}` or `{"error": why}`.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO

from extraction.formats import unpack as unpack_
from extraction.formats.unpack import Part
from extraction.reading.limits import DocumentError, Limits

START_SECONDS = 180.0  # until a new process must have answered


class Died(Exception):
    """The process ended: by itself, because its time was up (`late`), or because it got no more memory (`full`)."""

    def __init__(self, late: bool = False, full: bool = False) -> None:
        self.late, self.full = late, full


class Worker:
    """One process and the way to talk with it."""

    def __init__(self) -> None:
        self.process: subprocess.Popen | None = None
        self.answers: queue.Queue = queue.Queue()

    def ask(self, request: dict, data: bytes) -> Iterator[dict]:
        """The messages that answer a request. Raises Died, after which the next request starts a new process."""
        if self.process is None or self.process.poll() is not None:
            self._start()
        try:
            self.process.stdin.write(json.dumps(request | {"bytes": len(data)}).encode() + b"\n" + data)
            self.process.stdin.flush()
        except OSError:
            self.stop()
            raise Died from None
        wait = START_SECONDS
        finished = False
        try:
            while not finished:
                try:
                    message = self.answers.get(timeout=wait)
                except queue.Empty:
                    raise Died(late=True) from None
                if message is None or "full" in message:
                    raise Died(full=message is not None)
                wait = message.get("wait", wait)
                finished = "end" in message or "error" in message
                if "error" in message:
                    raise DocumentError(message["error"])
                if not finished and "wait" not in message:
                    yield message
        finally:
            if not finished:  # an answer that nobody waits for any more must not meet the next request
                self.stop()

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            with contextlib.suppress(OSError):  # what was not written yet is lost with the process
                self.process.stdin.close()
        self.process = None

    def _start(self) -> None:
        self.stop()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "extraction.reading.worker"],
            cwd=Path(__file__).resolve().parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.answers = queue.Queue()
        threading.Thread(target=_receive, args=(self.process.stdout, self.answers), daemon=True).start()


def _receive(stream: BinaryIO, answers: queue.Queue) -> None:
    """Put what the process says into the queue, and None when it has ended."""
    with stream:
        for line in stream:
            if not line.endswith(b"\n"):  # it ended in the middle of a message
                break
            message = json.loads(line)
            if "bytes" in message:
                message["data"] = stream.read(message["bytes"])
                if len(message["data"]) < message["bytes"]:
                    break
            answers.put(message)
    answers.put(None)


class Pool:
    """At most so many processes as were allowed, each for one thread at a time; the last used one is taken first."""

    def __init__(self) -> None:
        self.most = 1
        self._workers: list[Worker] = []
        self._idle: list[Worker] = []
        self._changed = threading.Condition()

    def allow(self, count: int) -> None:
        with self._changed:
            self.most = count
            while self._idle and len(self._workers) > count:
                surplus = self._idle.pop(0)
                self._workers.remove(surplus)
                surplus.stop()
            self._changed.notify_all()

    @contextlib.contextmanager
    def worker(self) -> Iterator[Worker]:
        with self._changed:
            while not self._idle and len(self._workers) >= self.most:
                self._changed.wait()
            if not self._idle:
                self._workers.append(Worker())
                self._idle.append(self._workers[-1])
            taken = self._idle.pop()
        try:
            yield taken
        finally:
            with self._changed:
                self._idle.append(taken)
                self._changed.notify()

    def stop(self) -> None:
        for worker in self._workers:
            worker.stop()

    def running(self) -> list[int]:
        """The ids of the processes that are there now."""
        return [worker.process.pid for worker in self._workers if worker.process and worker.process.poll() is None]


_pool = Pool()
atexit.register(lambda: _pool.stop())


def allow(count: int) -> None:
    """Let so many documents be read at once."""
    _pool.allow(count)


def running() -> list[int]:
    """The ids of the processes that read, or wait for a document to read."""
    return _pool.running()


def _forget() -> None:
    """In a fork: the processes belong to the parent."""
    global _pool
    _pool = Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _told(limits: Limits) -> dict:
    """The limits alone, whatever else the settings have that they are part of."""
    return {field.name: getattr(limits, field.name) for field in fields(Limits)}


def read(data: bytes, kind: str, limits: Limits) -> Iterator[dict]:
    """The messages of `pages.read`. A page that takes too long or crashes is one with nothing but a problem."""
    first, count = 1, None
    request = {"do": "read", "kind": kind, "limits": _told(limits)}
    with _pool.worker() as worker:
        while True:
            try:
                for message in worker.ask(request | {"first": first}, data):
                    if "pages" in message:
                        if count is None:
                            count = message["pages"]
                            yield message
                    else:
                        first = message["page"] + 1
                        yield message
                return
            except Died as died:
                if count is None:
                    raise DocumentError(f"the file {_why(died, limits, 'takes too long to open', 'makes')}") from None
                why = _why(died, limits, f"took longer than {limits.page_seconds:g} s", "made")
                yield {"page": first, "problems": [f"page {first} {why} and was skipped"]}
                first += 1
                if first > min(count, limits.max_pages):
                    return


def _why(died: Died, limits: Limits, late: str, makes: str) -> str:
    if died.full:
        return f"needs more memory than the {limits.max_memory_mb:,} MB that it may take"
    return late if died.late else f"{makes} the reader crash"


def render(data: bytes, kind: str, page: int, side: int, limits: Limits) -> tuple[Any, tuple[float, float]]:
    """What `pages.render` returns."""
    from PIL import Image

    request = {"do": "render", "kind": kind, "page": page, "side": side, "limits": _told(limits)}
    with _pool.worker() as worker:
        try:
            (message,) = worker.ask(request, data)
        except Died as died:
            raise DocumentError(f"page {page} {_why(died, limits, 'takes too long to draw', 'makes')}") from None
    return Image.frombytes("RGB", message["image"], message["data"]), tuple(message["size"])


def unpack(name: str, data: bytes, kind: str, limits: Limits) -> list[Part]:
    """What `unpack.parts` returns."""
    request = {"do": "unpack", "kind": kind, "name": name, "limits": _told(limits)}
    with _pool.worker() as worker:
        try:
            messages = list(worker.ask(request, data))
        except Died as died:
            raise DocumentError(f"the file {_why(died, limits, 'takes too long to open', 'makes')}") from None
    return [Part(**message["part"], data=message.get("data", data)) for message in messages]


def _end_with_parent() -> None:
    """A parent that was killed leaves nobody behind who goes on with an endless page."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _bound_memory(limits: Limits) -> None:
    if sys.platform == "linux":  # elsewhere the limit is not kept, or there is none
        import resource

        most = resource.getrlimit(resource.RLIMIT_DATA)[1]
        wanted = limits.max_memory_mb * 1_000_000
        resource.setrlimit(resource.RLIMIT_DATA, (wanted if most < 0 else min(wanted, most), most))


def serve() -> None:
    """Answer requests until there are no more."""
    import signal
    import warnings

    from extraction.reading import pages

    warnings.simplefilter("ignore")  # what a library thinks of a stranger's file is not for the terminal
    _end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asks
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)  # Python's own errors are shown ...
    with open(os.devnull, "wb") as nowhere:  # ... what native libraries print of a broken file is not: it is told
        for number in (1, 2):
            os.dup2(nowhere.fileno(), number)

    def send(message: dict, data: bytes = b"") -> None:
        sink.write(json.dumps(message).encode() + b"\n" + data)
        sink.flush()

    for line in source:
        request = json.loads(line)
        data = source.read(request["bytes"])
        limits = Limits(**request["limits"])
        _bound_memory(limits)
        try:
            if request["do"] == "render":
                send({"wait": limits.page_seconds})
                image, size = pages.render(data, request["kind"], request["page"], request["side"], limits)
                drawn = image.tobytes()
                send({"image": image.size, "size": size, "bytes": len(drawn)}, drawn)
            elif request["do"] == "unpack":
                send({"wait": limits.page_seconds})
                for part in unpack_.parts(request["name"], data, request["kind"], limits):
                    told = {key: value for key, value in vars(part).items() if key != "data"}
                    if part.data is data:  # a DOCX file, which need not go back
                        send({"part": told})
                    else:
                        send({"part": told, "bytes": len(part.data)}, part.data)
            else:
                for message in pages.read(data, request["kind"], limits, request["first"]):
                    send(message)
            send({"end": True})
        except DocumentError as error:
            send({"error": str(error)})
        except MemoryError:
            send({"full": True})
            os._exit(1)  # what is left of its memory may be in pieces


if __name__ == "__main__":
    from extraction import stage

    stage.show_bugs_without_text()  # a library's message may quote the file
    with contextlib.suppress(BrokenPipeError):  # who asked has gone
        serve()
