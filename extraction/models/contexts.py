"""Several answers at once by one llama.cpp model: contexts that share its weights, each with a thread of its own.

With one thread for each of two answers, two cores do more than with both for one: neither waits for the other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, Protocol


class Writing(Protocol):
    """An answer that is being written."""

    prompt: list[int]

    def take(self, scores: Any) -> int | None:
        """The next token by the scores of the vocabulary; None where the answer has ended, with it or before it."""


@dataclass
class Job:
    """A prompt and its answer on the way."""

    writing: Writing
    cached: int = 0  # tokens of the prompt that were there
    prompt_seconds: float = 0.0
    seconds: float = 0.0
    is_wanted: bool = True


class Contexts:
    """The contexts of a llama.cpp model. Threads may call `run` at once."""

    def __init__(self, llm: Any, count: int, cores: int):
        self.llm = llm  # not freed while a thread here still works with it
        self.cores, self.count = cores, count
        self.free = [Context(llm, is_first=i == 0) for i in range(count)]
        self.pool = ThreadPoolExecutor(count)
        self.lock = threading.Lock()
        self.left = 0  # answers that are not finished

    def run(self, writings: Sequence[Writing], done: Callable[[int, Job], Any]) -> list[Job]:
        """The jobs of these answers when all are written; `done` is called with the number of each, in this thread."""
        jobs = [Job(writing) for writing in writings]
        with self.lock:
            self.left += len(jobs)
        futures = {self.pool.submit(self._answer, job): number for number, job in enumerate(jobs)}
        try:
            for future in as_completed(futures):
                future.result()
                done(futures[future], jobs[futures[future]])
        finally:
            for job in jobs:
                job.is_wanted = False
        return jobs

    def forget(self) -> None:
        """Nothing that was evaluated is used again."""
        for context in self.free:
            context.cut(0)

    def _answer(self, job: Job) -> None:
        with self.lock:
            context = max(self.free, key=lambda context: context.shared(job.writing.prompt))
            self.free.remove(context)
            together = min(self.left, self.count)
        share = max(1, self.cores // together)
        try:
            if job.is_wanted:
                # On two cores a second thread that writes costs more than it brings once anything else runs
                context.answer(job, max(1, self.cores // 2) if together == 1 else share, share)
            # Each of several answers was written in a part of the time that passed
            job.seconds, job.prompt_seconds = job.seconds / together, job.prompt_seconds / together
        finally:
            with self.lock:
                self.free.append(context)
                self.left -= 1


class Context:
    """A context of a model, and the tokens in its memory."""

    def __init__(self, llm: Any, *, is_first: bool):
        import llama_cpp
        from llama_cpp import _internals

        # The first is the one that the model was opened with
        self.opened = llm._ctx if is_first else _internals.LlamaContext(model=llm._model, params=llm.context_params)
        self.context, self.vocabulary, self.piece = self.opened.ctx, llm.n_vocab(), llm.n_batch
        self.memory = llama_cpp.llama_get_memory(self.context)
        self.tokens: list[int] = []

    def shared(self, prompt: list[int]) -> int:
        """How many tokens of a prompt are there; its last one is needed for what follows it."""
        most = min(len(self.tokens), len(prompt) - 1)
        return next((i for i in range(most) if self.tokens[i] != prompt[i]), most)

    def cut(self, length: int) -> None:
        """Leave the first tokens; none where the memory cannot be cut there, as that of a recurrent model."""
        import llama_cpp

        if not llama_cpp.llama_memory_seq_rm(self.memory, -1, length, -1):
            length = 0
        if not length:
            llama_cpp.llama_memory_clear(self.memory, True)
        del self.tokens[length:]

    def answer(self, job: Job, threads: int, prompt_threads: int) -> None:
        """Evaluate the prompt and have the answer written, with so many threads each."""
        import llama_cpp

        started = time.monotonic()
        llama_cpp.llama_set_n_threads(self.context, threads, prompt_threads)
        prompt = job.writing.prompt
        self.cut(self.shared(prompt))
        job.cached = len(self.tokens)
        scores = self._scores(prompt[job.cached :])
        job.prompt_seconds = time.monotonic() - started
        while job.is_wanted and (token := job.writing.take(scores)) is not None:
            scores = self._scores([token])
        job.seconds = time.monotonic() - started

    def _scores(self, tokens: list[int]) -> Any:
        """What the model gives each token of its vocabulary behind these; not kept beyond the next call."""
        import llama_cpp
        import numpy

        for start in range(0, len(tokens), self.piece):
            piece = tokens[start : start + self.piece]
            array = (llama_cpp.llama_token * len(piece))(*piece)  # a batch only points at it
            code = llama_cpp.llama_decode(self.context, llama_cpp.llama_batch_get_one(array, len(piece)))
            if code:
                self.cut(0)
                raise RuntimeError(f"llama_decode returned {code}")
            self.tokens += piece
        found = llama_cpp.llama_get_logits_ith(self.context, -1)
        return numpy.ctypeslib.as_array(found, shape=(self.vocabulary,))
