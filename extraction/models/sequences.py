"""Several answers at once by one llama.cpp model: each in a sequence of its own, a token of each in one batch.

The weights are then read from memory once for all of them. A prompt that begins like one whose tokens are still there
is evaluated from where they differ, in whichever sequence they are.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

TRIED = 4  # tokens that are evaluated with each number of threads; the first of them is slow
WORTH_A_COPY = 32  # tokens that another sequence shares beyond those of the free one


class Writing(Protocol):
    """An answer that is being written."""

    prompt: list[int]

    def take(self, scores: Any) -> int | None:
        """The next token by the scores of the vocabulary; None where the answer has ended, with it or before it."""

    def guess(self) -> list[int]:
        """Tokens that will probably follow; what is wrong costs time and changes nothing."""


@dataclass
class Job:
    """A prompt and its answer on the way."""

    writing: Writing
    slot: int | None = None
    pending: list[int] = field(default_factory=list)  # tokens that are to be evaluated next
    guessed: int = 0  # how many of them, at the end, are guesses
    cached: int = 0  # tokens of the prompt that were there
    prompt_seconds: float = 0.0
    seconds: float = 0.0  # its share of the time of the batches that it was in
    ended: bool = False
    error: BaseException | None = None


class Sequences:
    """The sequences of a llama.cpp context. Threads may call `run` at once: one of them works for all."""

    def __init__(self, llm: Any, count: int):
        import llama_cpp

        self.opened, self.vocabulary = context_of(llm, count), llm.n_vocab()
        self.context = self.opened.ctx
        self.memory = llama_cpp.llama_get_memory(self.context)
        # Of a recurrent model no token can be taken back, so nothing is guessed
        kinds = llama_cpp.llama_model_is_recurrent, llama_cpp.llama_model_is_hybrid
        self.can_go_back = not any(kind(llm._model.model) for kind in kinds)
        self.size = max(llm.n_batch, count)  # tokens that are evaluated at a time
        self.batch = llama_cpp.llama_batch_init(self.size, 0, 1)
        weakref.finalize(self, llama_cpp.llama_batch_free, self.batch)
        self.tokens: list[list[int]] = [[] for _ in range(count)]  # in the memory of each sequence
        self.jobs: list[Job] = []
        self.turn = threading.Lock()

    def measure_threads(self, cores: int) -> int:
        """Write with half of the cores or with all, whichever is faster now: cores that share their units, or that
        others use, only wait for each other. Returns which."""
        import llama_cpp

        job, seconds = Job(None, slot=0), {max(1, cores // 2): [], cores: []}
        for _ in range(TRIED if len(seconds) > 1 else 0):
            for threads, found in seconds.items():
                llama_cpp.llama_set_n_threads(self.context, threads, cores)
                started = time.monotonic()
                self._decode([(job, [0])])
                llama_cpp.llama_synchronize(self.context)
                found.append(time.monotonic() - started)
        self._clear()
        best = min(seconds, key=lambda threads: min(seconds[threads], default=0.0))
        llama_cpp.llama_set_n_threads(self.context, best, cores)
        return best

    def run(self, writings: Sequence[Writing], done: Callable[[int, Job], Any]) -> list[Job]:
        """The jobs of these answers when all are written; `done` is called with the number of each, in this thread."""
        mine = [Job(writing) for writing in writings]
        left = dict(enumerate(mine))
        with self.turn:
            self.jobs += mine
        try:
            while left:
                with self.turn:
                    while not any(job.ended for job in left.values()):
                        self._step()
                for number in [number for number, job in left.items() if job.ended]:
                    job = left.pop(number)
                    if job.error:
                        raise job.error
                    done(number, job)
        finally:
            with self.turn:
                self.jobs = [job for job in self.jobs if job not in left.values()]
        return mine

    def forget(self) -> None:
        """Nothing that was evaluated is used again."""
        with self.turn:
            self._clear()

    def _clear(self) -> None:
        import llama_cpp

        llama_cpp.llama_memory_clear(self.memory, True)
        self.tokens = [[] for _ in self.tokens]

    # --- a step ----------------------------------------------------------------------------------------------

    def _step(self) -> None:
        """Evaluate a batch: a piece of one prompt, or the next token of every answer."""
        try:
            waiting = next((job for job in self.jobs if job.slot is None), None)
            active = [job for job in self.jobs if job.slot is not None]
            free = {*range(len(self.tokens))} - {job.slot for job in active}
            prompt = next((job for job in active if len(self.tokens[job.slot]) < len(job.writing.prompt)), None)
            if prompt is None and waiting and free:  # only now: the prompts before it may begin like it
                prompt = waiting
                self._begin(prompt, sorted(free))
            self._evaluate([prompt] if prompt else active, alone=len(self.jobs) == 1)
        except BaseException as error:
            for job in self.jobs:
                job.ended, job.error = True, error
            self.jobs = []
            self._clear()
            raise

    def _begin(self, job: Job, free: list[int]) -> None:
        """Give a job the free sequence that begins most like its prompt, or a copy of another one that does."""
        import llama_cpp

        prompt = job.writing.prompt
        shared = [_shared(tokens, prompt) for tokens in self.tokens]
        slot, other = max(free, key=shared.__getitem__), shared.index(max(shared))
        if shared[other] >= shared[slot] + WORTH_A_COPY:
            llama_cpp.llama_memory_seq_cp(self.memory, other, slot, -1, -1)
            self.tokens[slot] = list(self.tokens[other])
        job.slot, job.pending = slot, []
        self._cut(slot, _shared(self.tokens[slot], prompt))
        job.cached = len(self.tokens[slot])
        job.pending = prompt[job.cached :]

    def _cut(self, slot: int, length: int) -> None:
        """Leave the first tokens of a sequence; none where its memory cannot be cut there."""
        import llama_cpp

        if length == len(self.tokens[slot]):
            return
        if not llama_cpp.llama_memory_seq_rm(self.memory, slot, length, -1):
            llama_cpp.llama_memory_seq_rm(self.memory, slot, -1, -1)
            length = 0
        del self.tokens[slot][length:]

    def _evaluate(self, jobs: list[Job], *, alone: bool) -> None:
        started = time.monotonic()
        parts = [(job, job.pending[: self.size]) for job in jobs]
        in_prompt = len(self.tokens[jobs[0].slot]) < len(jobs[0].writing.prompt)
        rows = self._decode(parts)
        for job, part in parts:
            del job.pending[: len(part)]
            if not job.pending:
                self._take(job, range(rows[job.slot] - job.guessed, rows[job.slot] + 1), alone=alone)
        seconds = (time.monotonic() - started) / sum(len(part) for _, part in parts)
        for job, part in parts:
            job.seconds += seconds * len(part)
            job.prompt_seconds += seconds * len(part) if in_prompt else 0.0

    def _decode(self, parts: list[tuple[Job, list[int]]]) -> dict[int, int]:
        """Evaluate tokens of each job behind those of its sequence; where its last one stands in the batch, by slot."""
        import llama_cpp

        at, last = 0, {}
        for job, part in parts:
            begin = len(self.tokens[job.slot])
            for i, token in enumerate(part):
                self.batch.token[at], self.batch.pos[at] = token, begin + i
                self.batch.n_seq_id[at], self.batch.seq_id[at][0] = 1, job.slot
                self.batch.logits[at] = i >= len(part) - 1 - job.guessed
                at += 1
            self.tokens[job.slot] += part
            last[job.slot] = at - 1
        self.batch.n_tokens = at
        code = llama_cpp.llama_decode(self.context, self.batch)
        if code:
            raise RuntimeError(f"llama_decode returned {code}")
        return last

    def _take(self, job: Job, rows: Sequence[int], *, alone: bool) -> None:
        """Take the next tokens by the scores of these rows of the batch, as far as the guesses were right."""
        import llama_cpp
        import numpy

        known = len(self.tokens[job.slot]) - job.guessed  # tokens before the guesses
        guesses = self.tokens[job.slot][known:]
        for number, row in enumerate(rows):
            found = llama_cpp.llama_get_logits_ith(self.context, row)
            token = job.writing.take(numpy.ctypeslib.as_array(found, shape=(self.vocabulary,)))
            if token is None:
                job.ended = True
                self.jobs.remove(job)
                self._cut(job.slot, known + number)
                return
            if number == len(guesses) or token != guesses[number]:
                self._cut(job.slot, known + number)
                break
        guess = job.writing.guess() if alone and self.can_go_back else []
        job.pending, job.guessed = [token, *guess], len(guess)


def _shared(tokens: list[int], prompt: list[int]) -> int:
    """How many tokens both begin with; the last of a prompt is needed for what follows it."""
    most = min(len(tokens), len(prompt) - 1)
    return next((i for i in range(most) if tokens[i] != prompt[i]), most)


def context_of(llm: Any, count: int) -> Any:
    """A context of `count` sequences for a `llama_cpp.Llama`, each as long as its own, which serves for one."""
    from llama_cpp import _internals

    if count == 1:
        return llm._ctx
    params = type(llm.context_params).from_buffer_copy(llm.context_params)
    params.n_ctx, params.n_seq_max = llm.n_ctx() * count, count
    return _internals.LlamaContext(model=llm._model, params=params, verbose=False)
