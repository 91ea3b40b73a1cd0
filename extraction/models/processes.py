"""One model opened in several processes, for machines with many cores: each answers part of the requests."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import get_context
from types import MappingProxyType

from extraction import files
from extraction.models import backends, confidence
from extraction.models.choice import Choice
from extraction.tasks.custom import CustomTask


def open_model(model: Choice, count: int) -> backends.Backend:
    """The model in `count` processes that share the cores, or in this one; a server is asked `count` at a time.

    Raises StageError as `Choice.open` does.
    """
    return model.open(count) if count == 1 or model.is_server else Processes(model, count)


class Processes:
    """A backend whose requests are answered by several processes, each with the model in its own memory."""

    def __init__(self, model: Choice, count: int):
        self.calibration: confidence.Calibration | None = model.calibration()
        self.types: Mapping[str, CustomTask] = MappingProxyType(model.types())
        cfg = model.cfg
        self.batch = cfg.evaluate.batch_size if model.in_transformers else cfg.inference.at_once  # answered together
        threads = cfg.inference.threads or max(1, (os.cpu_count() or 1) // count)
        mine = replace(model, cfg=replace(cfg, inference=replace(cfg.inference, threads=threads)))
        # A process that was forked beside threads of llama.cpp or torch can hang
        self.pool = ProcessPoolExecutor(count, get_context("spawn"), initializer=_start, initargs=(mine,))
        self.name, self.prompt_limit = self._result(self.pool.submit(_about))

    def count(self, text: str) -> int:
        return self._result(self.pool.submit(_count, text))

    def complete(
        self, requests: Sequence[backends.Request], done: backends.Done = lambda *_: None
    ) -> list[backends.Completion]:
        starts = range(0, len(requests), self.batch)
        waiting = {self.pool.submit(_answer, requests[i : i + self.batch]): i for i in starts}
        answers: dict[int, backends.Completion] = {}
        for future in as_completed(waiting):
            for number, answer in enumerate(self._result(future), start=waiting[future]):
                answers[number] = answer
                done(number, answer)
        return [answers[i] for i in range(len(requests))]

    def _result(self, future):
        try:
            return future.result()
        except BrokenProcessPool as error:
            raise files.StageError(
                "a process with the model ended by itself, perhaps for want of memory; fewer processes take less",
                status=3,
            ) from error


_opened: backends.Backend | files.StageError  # of a process of the pool


def _start(model: Choice) -> None:
    global _opened
    try:
        _opened = model.open()
    except files.StageError as error:  # said where it is waited for: an error here would only break the pool
        _opened = error


def _model() -> backends.Backend:
    if isinstance(_opened, files.StageError):
        raise _opened
    return _opened


def _about() -> tuple[str, int]:
    return _model().name, _model().prompt_limit


def _count(text: str) -> int:
    return _model().count(text)


def _answer(requests: Sequence[backends.Request]) -> list[backends.Completion]:
    return _model().complete(requests)
