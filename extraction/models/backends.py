"""What answers a prompt: llama.cpp or transformers in this process; a server is asked by http.py.

Each backend has `complete(requests)`, `count(text)` in tokens, and the `prompt_limit` of tokens that a prompt may have.
Answers are bound to the JSON schema of their request while they are written.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from extraction import files
from extraction.models import base_model, confidence, contexts, gpu
from extraction.tasks import completions
from extraction.tasks.custom import CustomTask


@dataclass(frozen=True)
class Request:
    """What a backend is asked: chat messages, and the JSON schema that the answer must keep.

    `narrowed` is that schema with fewer values, of which the answer has one; how sure the model was is then measured
    among all that `schema` allows. The answer may have `more` tokens than the settings say. With the text that was
    `asked_about`, a list is closed once the model only repeats entries, more often than the text prints their values.
    """

    messages: list[dict[str, str]]
    schema: dict
    narrowed: dict | None = None
    more: int = 0
    asked_about: str = ""

    @property
    def enforced(self) -> dict:
        return self.narrowed or self.schema


@dataclass(frozen=True)
class Completion:
    """A backend's answer. `error` says why there is no text; token counts are None where a server hides them.

    `confidences` has that of each value of the answer by its path; None where a server hides log-probabilities.
    Of the prompt, `cached_tokens` were already evaluated, and the others took `prompt_seconds`, where that is known.
    """

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float = 0.0
    error: str | None = None
    confidences: dict[str, float] | None = None
    cached_tokens: int = 0
    prompt_seconds: float | None = None


Done = Callable[[int, Completion], Any]


class Backend(Protocol):
    """What answers prompts."""

    name: str
    calibration: confidence.Calibration | None
    types: Mapping[str, CustomTask]  # own document types that the model was trained on
    prompt_limit: int  # tokens that a prompt may have

    def count(self, text: str) -> int: ...

    def complete(self, requests: Sequence[Request], done: Done = ...) -> list[Completion]:
        """The answers in the order of the requests; `done` is called with the number of each and the answer."""


def grammar(schema: dict) -> str:
    """The llguidance grammar of a schema: compact JSON, no blanks between tokens of the syntax."""
    return _grammar(json.dumps(schema))


@lru_cache(maxsize=32)
def _grammar(schema: str) -> str:
    import llguidance

    return llguidance.LLMatcher.grammar_from_json_schema(schema, defaults={"whitespace_flexible": False})


class OneByOne:
    """A backend that answers requests one after the other."""

    calibration: confidence.Calibration | None = None
    types: Mapping[str, CustomTask] = MappingProxyType({})

    def complete(self, requests: Sequence[Request], done: Done = lambda *_: None) -> list[Completion]:
        answers = []
        for i, request in enumerate(requests):
            answers.append(self._complete(request))
            done(i, answers[i])
        return answers


class LlamaBackend:
    """A GGUF file in this process, by llama.cpp. Several threads may ask it; a prompt that begins like an earlier one
    reuses its cache."""

    calibration: confidence.Calibration | None = None
    types: Mapping[str, CustomTask] = MappingProxyType({})

    def __init__(
        self,
        path: Path,
        context_tokens: int,
        max_new_tokens: int,
        threads: int,
        gpu_layers: int | None = None,
        at_once: int = 1,
    ):
        # On two cores a second spinning thread costs more than it brings once anything else runs; see the README.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        import llama_cpp
        import llguidance.llamacpp

        self.name = path.name
        self.max_new_tokens = max_new_tokens
        cores = threads or os.cpu_count() or 1
        where = gpu.place(path, at_once * context_tokens, gpu_layers)
        gpu.say(where)
        try:
            with gpu.experts_on_cpu(where.experts_on_cpu):
                self.llm = llama_cpp.Llama(
                    str(path),
                    n_ctx=context_tokens,
                    n_batch=gpu.GPU_BATCH if where.layers else gpu.BATCH,
                    n_gpu_layers=where.layers,
                    flash_attn=bool(where.layers),
                    n_threads=max(1, cores // 2),
                    n_threads_batch=cores,
                    verbose=False,
                )
        except ValueError as error:
            message = f"{path} cannot be loaded by llama.cpp: {error}"
            if where.layers:
                message += ". If it does not fit on the GPU: --set inference.gpu_layers=N puts fewer layers there"
            raise files.StageError(message, status=3) from error
        template = self.llm.metadata.get("tokenizer.chat_template")
        if template is None:
            raise files.StageError(f"{path} has no chat template; build it with python export_gguf.py", status=3)
        self.render = renderer(template)
        self.tokenizer = llguidance.llamacpp.lltokenizer_from_vocab(self.llm._model.vocab)
        self.contexts = contexts.Contexts(self.llm, at_once, cores)

    def count(self, text: str) -> int:
        return len(self.llm.tokenize(text.encode(), add_bos=False, special=False))

    @property
    def prompt_limit(self) -> int:
        """Tokens that a prompt may have."""
        return self.llm.n_ctx() - self.max_new_tokens

    def complete(self, requests: Sequence[Request], done: Done = lambda *_: None) -> list[Completion]:
        answers: dict[int, Completion] = {}
        asked: dict[int, Answer] = {}
        for i, request in enumerate(requests):
            prompt = self.llm.tokenize(self.render(request.messages).encode(), add_bos=False, special=True)
            if len(prompt) <= self.prompt_limit:
                most = min(self.max_new_tokens + request.more, self.llm.n_ctx() - len(prompt))
                asked[i] = Answer(prompt, request, self.tokenizer, self.llm.token_eos(), most)
            else:
                error = f"the prompt has {len(prompt)} tokens, {self.prompt_limit} fit"
                answers[i] = Completion("", len(prompt), 0, 0.0, error)
                done(i, answers[i])
        numbers = list(asked)

        def finish(number: int, job: contexts.Job) -> None:
            i = numbers[number]
            answers[i] = self._completion(asked[i], job)
            done(i, answers[i])

        self.contexts.run(list(asked.values()), finish)
        return [answers[i] for i in range(len(requests))]

    def _completion(self, answer: Answer, job: contexts.Job) -> Completion:
        text = self.llm.detokenize(answer.tokens).decode("utf-8", errors="replace")
        pieces = [self.tokenizer.decode_bytes([token]) for token in answer.tokens]
        return Completion(
            text,
            len(answer.prompt),
            len(answer.tokens),
            job.seconds,
            confidences=confidence.of_values(text, pieces, answer.allowed.choices[0][: len(answer.tokens)]),
            cached_tokens=job.cached,
            prompt_seconds=job.prompt_seconds,
        )


class Answer:
    """An answer that llama.cpp writes, bound to the schema of its request."""

    def __init__(self, prompt: list[int], request: Request, tokenizer: Any, ending: int, most: int):
        self.prompt, self.ending, self.most = prompt, ending, most
        self.allowed = AllowedTokens([request], tokenizer)
        self.tokens: list[int] = []

    def take(self, scores: Any) -> int | None:
        token = self.allowed.likeliest(scores)
        if token == self.ending:
            return None
        self.tokens.append(token)
        self.allowed.consume(0, token)
        return None if self.allowed.matchers[0].is_stopped() or len(self.tokens) == self.most else token


class TransformersBackend:
    """The base model, with or without the adapter, by transformers; several prompts are decoded together."""

    calibration: confidence.Calibration | None = None
    types: Mapping[str, CustomTask] = MappingProxyType({})

    def __init__(
        self,
        name: str,
        source: str | Path,
        adapter: Path | None,
        tokenizer: Any,
        *,
        device: str,
        context_tokens: int,
        max_new_tokens: int,
        batch_size: int,
    ):
        import llguidance.hf
        import torch
        from transformers import AutoModelForCausalLM

        base_model.quiet()
        self.name = f"{name}{' + adapter' if adapter else ''}"
        self.device = device
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        self.model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype).to(device).eval()
        if adapter is not None:
            from peft import PeftModel

            self.model = PeftModel.from_pretrained(self.model, adapter).eval()
        self.merged = adapter is None
        self.tokenizer = tokenizer
        self.tokenizer.padding_side = "left"
        self.max_new_tokens = max_new_tokens
        self.context_tokens = context_tokens
        self.batch_size = batch_size
        self.matcher_tokenizer = llguidance.hf.from_tokenizer(self.tokenizer)

    def count(self, text: str) -> int:
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    @property
    def prompt_limit(self) -> int:
        """Tokens that a prompt may have."""
        return self.context_tokens - self.max_new_tokens

    def complete(self, requests: Sequence[Request], done: Done = lambda *_: None) -> list[Completion]:
        """In batches of prompts of similar length; answers stand in the order of the requests."""
        if not self.merged:  # PEFT would add the adapter to the weights anew at every token
            self.model.merge_adapter()
            self.merged = True
        rendered = [
            self.tokenizer.apply_chat_template(r.messages, tokenize=False, add_generation_prompt=True) for r in requests
        ]
        order = sorted(range(len(requests)), key=lambda i: len(rendered[i]))
        answers: dict[int, Completion] = {}
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            found = self._batch([rendered[i] for i in batch], [requests[i] for i in batch])
            for i, answer in zip(batch, found, strict=True):
                answers[i] = answer
                done(i, answer)
        return [answers[i] for i in range(len(requests))]

    def _batch(self, prompts: list[str], asked: list[Request]) -> list[Completion]:
        import torch
        from transformers import LogitsProcessorList

        started = time.monotonic()
        encoded = self.tokenizer(prompts, add_special_tokens=False, padding=True, return_tensors="pt").to(self.device)
        lengths = encoded["attention_mask"].sum(dim=1).tolist()
        width = encoded["input_ids"].shape[1]
        if width > self.prompt_limit:
            error = f"a prompt of this batch has {width} tokens, {self.prompt_limit} fit"
            if len(prompts) > 1:  # one prompt that is too long must not cost the others their answers
                return [c for p, a in zip(prompts, asked, strict=True) for c in self._batch([p], [a])]
            return [Completion("", width, 0, 0.0, error)]
        allowed = AllowedTokens(asked, self.matcher_tokenizer, width)
        most = [min(self.max_new_tokens + request.more, self.context_tokens - width) for request in asked]
        with torch.inference_mode():
            output = self.model.generate(
                **encoded,
                max_new_tokens=max(most),
                do_sample=False,
                pad_token_id=self.tokenizer.pad_token_id,
                eos_token_id=self.tokenizer.eos_token_id,
                logits_processor=LogitsProcessorList([allowed.torch]),
            )
        seconds = (time.monotonic() - started) / len(prompts)
        answers = []
        rows = zip(output[:, width:].tolist(), lengths, allowed.choices, most, strict=True)
        for row, length, choices, limit in rows:
            end = row.index(self.tokenizer.eos_token_id) if self.tokenizer.eos_token_id in row else len(row)
            end = min(end, limit)
            text = self.tokenizer.decode(row[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False)
            pieces = [self.matcher_tokenizer.decode_bytes([token]) for token in row[:end]]
            sure = confidence.of_values(text, pieces, choices[:end])
            answers.append(Completion(text, int(length), end, seconds, confidences=sure))
        return answers


class AllowedTokens:
    """Leaves only the tokens which the grammar of each sequence allows next.

    `choices` keeps the log-probability of each token of each sequence among those that were allowed, None where it
    was the only one. Decoding is greedy, so the token is the likeliest of them: one number a step is all that stays.
    A sequence is narrowed if its request is, or if one of its lists was closed. Its probabilities are then those among
    what the grammar of its `wide` matcher allows; otherwise both are one matcher.
    """

    def __init__(self, requests: Sequence[Request], tokenizer: Any, prompt_width: int = 0):
        import llguidance.numpy
        import numpy

        self.requests, self.tokenizer = requests, tokenizer
        self.matchers = [self.matcher(request.enforced) for request in requests]
        self.wide = [
            self.matcher(request.schema) if request.narrowed else matcher
            for request, matcher in zip(requests, self.matchers, strict=True)
        ]
        self.fill = llguidance.numpy.fill_next_token_bitmask
        self.bits = llguidance.numpy.allocate_token_bitmask(len(requests), tokenizer.vocab_size)
        every = numpy.arange(256, dtype=numpy.uint8)[:, None]
        self.eight = numpy.unpackbits(every, axis=1, bitorder="little").view(numpy.int64)  # the booleans of each octet
        self.seen = prompt_width
        self.written: list[list[int]] = [[] for _ in requests]
        self.closed: list[dict[str, int]] = [{} for _ in requests]  # lists, and how many entries they may have
        self.choices: list[list[float | None]] = [[] for _ in requests]

    def matcher(self, schema: dict) -> Any:
        import llguidance

        return llguidance.LLMatcher(self.tokenizer, grammar(schema))

    @property
    def narrowed(self) -> list[int]:
        return [i for i, matcher in enumerate(self.wide) if matcher is not self.matchers[i]]

    def octets(self, matchers: list[Any]) -> Any:
        """Which tokens the grammar of each matcher allows next, a bit each; good until the next call."""
        import numpy

        for i, matcher in enumerate(matchers):
            self.fill(matcher, self.bits, i)
        return self.bits[: len(matchers)].view(numpy.uint8)

    def mask(self, matchers: list[Any], size: int) -> Any:
        """The same as booleans: matchers by `size` tokens."""
        import numpy

        allowed = numpy.unpackbits(self.octets(matchers), axis=1, bitorder="little").astype(bool)
        padded = numpy.zeros((len(matchers), size), dtype=bool)  # rows of the output layer without a token
        width = min(size, allowed.shape[1])
        padded[:, :width] = allowed[:, :width]
        return padded

    def consume(self, sequence: int, token: int) -> None:
        """The token that was taken for a sequence."""
        matcher, wide, written = self.matchers[sequence], self.wide[sequence], self.written[sequence]
        if matcher.is_stopped():
            return
        for one in (matcher,) if wide is matcher else (matcher, wide):
            one.consume_token(token)
        written.append(token)
        if len(written) % 64 == 0 and self.requests[sequence].asked_about:
            self.close_circle(sequence)

    def close_circle(self, sequence: int) -> None:
        """Closes the list that a sequence writes in circles. The fields that follow the list are still written."""
        request, written, closed = self.requests[sequence], self.written[sequence], self.closed[sequence]
        text = self.tokenizer.decode_bytes(written).decode("utf-8", errors="ignore")
        found = completions.circling(text, request.asked_about)
        if found and found[0] not in closed:
            closed[found[0]] = found[1]
            self.matchers[sequence] = self.matcher(bounded(request.enforced, closed))
            self.matchers[sequence].consume_tokens(written)

    def likeliest(self, scores: Any) -> int:
        """The token of the highest score among those allowed, for llama.cpp, whose caller has it consumed."""
        import numpy

        allowed = numpy.flatnonzero(self.mask(self.matchers, scores.shape[-1])[0])
        best = int(allowed[scores[allowed].argmax()])
        if self.narrowed:
            allowed = numpy.flatnonzero(self.mask(self.wide, scores.shape[-1])[0])
        self.choices[0].append(log_share(scores[allowed], scores[best]))
        return best

    def torch(self, ids: Any, scores: Any) -> Any:
        """A logits processor for transformers: new tokens of the batch are fed to the matchers here."""
        for sequence, row in enumerate(ids[:, self.seen :].tolist()):
            for token in row:
                self.consume(sequence, token)
        self.seen = ids.shape[1]
        allowed = wide = self.unpacked(self.matchers, scores)
        if self.narrowed:
            wide = allowed.clone()
            wide[self.narrowed] = self.unpacked([self.wide[i] for i in self.narrowed], scores)
        among = scores.masked_fill(~wide, -float("inf")).float().logsumexp(dim=-1)
        scores = scores.masked_fill(~allowed, -float("inf"))
        likelihoods = (scores.amax(dim=-1) - among).tolist()
        for kept, likelihood, count in zip(self.choices, likelihoods, wide.sum(dim=1).tolist(), strict=True):
            kept.append(likelihood if count > 1 else None)
        return scores

    def unpacked(self, matchers: list[Any], scores: Any) -> Any:
        """The mask on the device of the scores. The bits go there: on a GPU, booleans would take most of a step."""
        import torch

        octets = torch.from_numpy(self.octets(matchers)).to(scores.device)
        allowed = torch.from_numpy(self.eight).to(scores.device).take(octets.long()).view(torch.bool)
        return torch.nn.functional.pad(allowed, (0, scores.shape[-1] - allowed.shape[1]))


def bounded(schema: dict, entries: Mapping[str, int]) -> dict:
    """The schema with at most so many entries in the lists with these paths."""
    schema = deepcopy(schema)
    for path, most in entries.items():
        node = schema
        for name in path.split("."):
            node = node["properties"][name]
        node["maxItems"] = most
    return schema


def log_share(scores: Any, one: float) -> float | None:
    """The log-probability of a token with the score `one` among these scores; None where it is the only one."""
    import numpy

    return -float(numpy.log(numpy.exp(scores - one).sum())) if scores.size > 1 else None


def renderer(template: str) -> Callable[[list[dict[str, str]]], str]:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    compiled = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template)
    return lambda messages: compiled.render(messages=messages, add_generation_prompt=True)


def try_out(path: Path) -> None:
    """Raises StageError for a GGUF file that llama.cpp cannot load.

    llama.cpp checks sizes, counts and offsets of the header, but numbers that make no sense, such as a million layers,
    end its process. So a file that this project did not make is loaded in a process of its own first.
    """
    code = "import sys, llama_cpp; llama_cpp.Llama(sys.argv[1], n_ctx=256, verbose=False)"
    tried = subprocess.run([sys.executable, "-P", "-c", code, str(path)], capture_output=True)
    if tried.returncode:
        raise files.StageError(f"{path} cannot be loaded by llama.cpp: it is damaged, or no model that it knows")
