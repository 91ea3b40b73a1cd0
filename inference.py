"""Stage 5 of 7: one document -> one record.

Reads   documents (PDF, image, DOCX, text; files, folders, or - for stdin), and a model: the GGUF build that
        export_gguf.py made, or the adapter, the base model, or an OpenAI-compatible server
Writes  JSON on stdout (one document) or JSON Lines (several, or with -o FILE, which can be resumed)
Next    python app.py

    python inference.py data/samples/documents/receipt_photo_1.jpg
    python inference.py contract.pdf --question "Who are the parties?" --question "Which law governs?"
    python inference.py invoices/ -o results.jsonl
    python inference.py invoice.pdf --model http://127.0.0.1:11434/v1#doc-intel

Exit status: 0 all documents were read, 1 some failed, 2 wrong use, 3 no model, 4 the only document is unreadable,
130 interrupted.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import config
from extraction import checks, confidence, documents, grounding, handoff, models, tasks

SUFFIXES = {".pdf", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".docx", ".txt", ".text", ".md"}


# --- backends ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """What a backend is asked: chat messages, and the JSON schema that the answer must keep."""

    messages: list[dict[str, str]]
    schema: dict


@dataclass(frozen=True)
class Completion:
    """A backend's answer. `error` says why there is no text; token counts are None where a server hides them.

    `confidences` has that of each value of the answer by its path; None where a server hides log-probabilities.
    """

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float = 0.0
    error: str | None = None
    confidences: dict[str, float] | None = None


def grammar(schema: dict) -> str:
    """The llguidance grammar of a schema: compact JSON, no blanks between tokens of the syntax."""
    import llguidance

    return llguidance.LLMatcher.grammar_from_json_schema(schema, defaults={"whitespace_flexible": False})


class OneByOne:
    """A backend that answers requests one after the other."""

    calibration: confidence.Calibration | None = None

    def complete(self, requests: Sequence[Request], done: Callable[[], Any] = lambda: None) -> list[Completion]:
        """The answers in the order of the requests; `done` is called after each."""
        answers = []
        for request in requests:
            answers.append(self._complete(request))
            done()
        return answers


class LlamaBackend(OneByOne):
    """A GGUF file in this process, by llama.cpp. A prompt that begins like the one before reuses its cache."""

    def __init__(self, path: Path, context_tokens: int, max_new_tokens: int, threads: int):
        # On two cores a second spinning thread costs more than it brings once anything else runs; see the README.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        import llama_cpp
        import llguidance.llamacpp

        self.name = path.name
        self.max_new_tokens = max_new_tokens
        cores = threads or os.cpu_count() or 1
        try:
            self.llm = llama_cpp.Llama(
                str(path),
                n_ctx=context_tokens,
                n_threads=max(1, cores // 2),
                n_threads_batch=cores,
                verbose=False,
            )
        except ValueError as error:
            raise handoff.StageError(f"{path} cannot be loaded by llama.cpp: {error}", status=3) from error
        template = self.llm.metadata.get("tokenizer.chat_template")
        if template is None:
            raise handoff.StageError(f"{path} has no chat template; build it with python export_gguf.py", status=3)
        self.render = _renderer(template)
        self.tokenizer = llguidance.llamacpp.lltokenizer_from_vocab(self.llm._model.vocab)
        self.grammars: dict[str, str] = {}

    def count(self, text: str) -> int:
        return len(self.llm.tokenize(text.encode(), add_bos=False, special=False))

    @property
    def prompt_limit(self) -> int:
        """Tokens that a prompt may have."""
        return self.llm.n_ctx() - self.max_new_tokens

    def _complete(self, request: Request) -> Completion:
        import llguidance
        from llama_cpp import LogitsProcessorList

        started = time.monotonic()
        prompt = self.llm.tokenize(self.render(request.messages).encode(), add_bos=False, special=True)
        if len(prompt) > self.prompt_limit:
            return Completion("", len(prompt), 0, 0.0, f"the prompt has {len(prompt)} tokens, {self.prompt_limit} fit")
        key = json.dumps(request.schema)
        if key not in self.grammars:
            self.grammars[key] = grammar(request.schema)
        matcher = llguidance.LLMatcher(self.tokenizer, self.grammars[key])
        allowed = _AllowedTokens([matcher], self.tokenizer.vocab_size)
        ending = self.llm.token_eos()
        tokens: list[int] = []
        for token in self.llm.generate(
            prompt, temp=0.0, repeat_penalty=1.0, logits_processor=LogitsProcessorList([allowed.numpy])
        ):
            if token == ending:
                break
            tokens.append(token)
            matcher.consume_token(token)
            if matcher.is_stopped() or len(tokens) == self.max_new_tokens:
                break
        text = self.llm.detokenize(tokens).decode("utf-8", errors="replace")
        pieces = [self.tokenizer.decode_bytes([token]) for token in tokens]
        sure = confidence.of_values(text, pieces, allowed.choices[0][: len(tokens)])
        return Completion(text, len(prompt), len(tokens), time.monotonic() - started, confidences=sure)


class TransformersBackend:
    """The base model, with or without the adapter, by transformers; several prompts are decoded together."""

    calibration: confidence.Calibration | None = None

    def __init__(self, cfg: config.Config, adapter: Path | None):
        import torch
        from transformers import AutoModelForCausalLM

        models.quiet()
        built = cfg.train.base_model == models.UPCYCLED
        source = cfg.base_dir if built else models.resolve(cfg.train.base_model)
        self.device = cfg.train.device
        dtype = torch.bfloat16 if self.device == "cuda" else torch.float32
        self.model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype).to(self.device).eval()
        if adapter is not None:
            from peft import PeftModel

            self.model = PeftModel.from_pretrained(self.model, adapter).eval()
        self.name = f"{cfg.train.base_model}{' + adapter' if adapter else ''}"
        self.tokenizer = models.tokenizer(cfg.train.base_model, cfg.base_dir)
        self.tokenizer.padding_side = "left"
        self.max_new_tokens = cfg.inference.max_new_tokens
        self.context_tokens = cfg.inference.context_tokens
        self.batch_size = cfg.evaluate.batch_size
        import llguidance.hf

        self.matcher_tokenizer = llguidance.hf.from_tokenizer(self.tokenizer)

    def count(self, text: str) -> int:
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    @property
    def prompt_limit(self) -> int:
        """Tokens that a prompt may have."""
        return self.context_tokens - self.max_new_tokens

    def complete(self, requests: Sequence[Request], done: Callable[[], Any] = lambda: None) -> list[Completion]:
        """In batches of prompts of similar length; answers stand in the order of the requests."""
        rendered = [
            self.tokenizer.apply_chat_template(r.messages, tokenize=False, add_generation_prompt=True) for r in requests
        ]
        order = sorted(range(len(requests)), key=lambda i: len(rendered[i]))
        answers: dict[int, Completion] = {}
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            found = self._batch([rendered[i] for i in batch], [requests[i].schema for i in batch])
            for i, answer in zip(batch, found, strict=True):
                answers[i] = answer
                done()
        return [answers[i] for i in range(len(requests))]

    def _batch(self, prompts: list[str], schemas: list[dict]) -> list[Completion]:
        import llguidance
        import torch
        from transformers import LogitsProcessorList

        started = time.monotonic()
        encoded = self.tokenizer(prompts, add_special_tokens=False, padding=True, return_tensors="pt").to(self.device)
        lengths = encoded["attention_mask"].sum(dim=1).tolist()
        width = encoded["input_ids"].shape[1]
        if width > self.prompt_limit:
            error = f"a prompt of this batch has {width} tokens, {self.prompt_limit} fit"
            if len(prompts) > 1:  # one prompt that is too long must not cost the others their answers
                return [c for p, s in zip(prompts, schemas, strict=True) for c in self._batch([p], [s])]
            return [Completion("", width, 0, 0.0, error)]
        matchers = [llguidance.LLMatcher(self.matcher_tokenizer, grammar(schema)) for schema in schemas]
        allowed = _AllowedTokens(matchers, self.matcher_tokenizer.vocab_size, width)
        with torch.inference_mode():
            output = self.model.generate(
                **encoded,
                max_new_tokens=self.max_new_tokens,
                do_sample=False,
                pad_token_id=self.tokenizer.pad_token_id,
                eos_token_id=self.tokenizer.eos_token_id,
                logits_processor=LogitsProcessorList([allowed.torch]),
            )
        seconds = (time.monotonic() - started) / len(prompts)
        answers = []
        for row, length, choices in zip(output[:, width:].tolist(), lengths, allowed.choices, strict=True):
            end = row.index(self.tokenizer.eos_token_id) if self.tokenizer.eos_token_id in row else len(row)
            text = self.tokenizer.decode(row[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False)
            pieces = [self.matcher_tokenizer.decode_bytes([token]) for token in row[:end]]
            sure = confidence.of_values(text, pieces, choices[:end])
            answers.append(Completion(text, int(length), end, seconds, confidences=sure))
        return answers


class _AllowedTokens:
    """A logits processor that leaves only the tokens which the grammar of each sequence allows next.

    `choices` keeps the log-probability of each token of each sequence among those that were allowed, None where it
    was the only one. Decoding is greedy, so the token is the likeliest of them: one number a step is all that stays.
    """

    def __init__(self, matchers: list[Any], vocabulary: int, prompt_width: int = 0):
        import llguidance.numpy

        self.matchers = matchers
        self.fill = llguidance.numpy.fill_next_token_bitmask
        self.bits = llguidance.numpy.allocate_token_bitmask(len(matchers), vocabulary)
        self.seen = prompt_width
        self.choices: list[list[float | None]] = [[] for _ in matchers]

    def _mask(self, size: int) -> Any:
        import numpy

        for i, matcher in enumerate(self.matchers):
            self.fill(matcher, self.bits, i)
        allowed = numpy.unpackbits(self.bits.view(numpy.uint8), axis=1, bitorder="little").astype(bool)
        padded = numpy.zeros((len(self.matchers), size), dtype=bool)  # rows of the output layer without a token
        width = min(size, allowed.shape[1])
        padded[:, :width] = allowed[:, :width]
        return padded

    def numpy(self, tokens: Any, scores: Any) -> Any:
        """For llama.cpp, whose caller feeds the matcher."""
        import numpy

        mask = self._mask(scores.shape[-1])[0]
        left = scores[mask]
        likelihood = -float(numpy.log(numpy.exp(left - left.max()).sum())) if left.size > 1 else None
        self.choices[0].append(likelihood)
        scores[~mask] = -float("inf")
        return scores

    def torch(self, ids: Any, scores: Any) -> Any:
        """For transformers: new tokens of the batch are fed to the matchers here."""
        import torch

        for row, matcher in zip(ids[:, self.seen :].tolist(), self.matchers, strict=True):
            for token in row:
                if not matcher.is_stopped():
                    matcher.consume_token(token)
        self.seen = ids.shape[1]
        mask = self._mask(scores.shape[-1])
        scores = scores.masked_fill(~torch.from_numpy(mask).to(scores.device), -float("inf"))
        likelihoods = (scores.amax(dim=-1) - scores.float().logsumexp(dim=-1)).tolist()
        for kept, likelihood, allowed in zip(self.choices, likelihoods, mask.sum(axis=1), strict=True):
            kept.append(likelihood if allowed > 1 else None)
        return scores


class HttpBackend(OneByOne):
    """An OpenAI-compatible server: Ollama, llama-server, vLLM. `url` ends in /v1; `#name` picks the model."""

    def __init__(self, url: str, max_new_tokens: int, context_tokens: int, timeout: float):
        address, _, self.model = url.partition("#")
        self.url = address.rstrip("/")
        self.name = self.model or self.url
        self.max_new_tokens = max_new_tokens
        self.prompt_limit = context_tokens - max_new_tokens
        self.timeout = timeout

    def count(self, text: str) -> int:
        return len(text) // 2  # on the safe side: amounts take about two characters a token

    def _complete(self, request: Request) -> Completion:
        import requests

        body = {
            "messages": request.messages,
            "temperature": 0,
            "max_tokens": self.max_new_tokens,
            "stream": False,
            "logprobs": True,
            "chat_template_kwargs": {"enable_thinking": False},
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": request.schema},
            },
        } | ({"model": self.model} if self.model else {})
        started = time.monotonic()
        for attempt in range(4):
            try:
                reply = requests.post(f"{self.url}/chat/completions", json=body, timeout=self.timeout)
            except requests.ConnectionError as error:
                raise handoff.StageError(f"no server answers at {self.url}", status=3) from error
            except requests.Timeout:
                return Completion("", error=f"no answer from {self.url} within {self.timeout:g} s")
            if reply.status_code != 429 and reply.status_code < 500:
                break
            time.sleep(2**attempt / 2)
        if reply.status_code != 200:
            return Completion("", error=f"{self.url} answered with status {reply.status_code}")
        try:
            content = reply.json()
            text = content["choices"][0]["message"]["content"] or ""
        except (ValueError, KeyError, IndexError, TypeError):
            return Completion("", error=f"{self.url} answered with something that is not a chat completion")
        usage = content.get("usage") or {}
        seconds = time.monotonic() - started
        sure = _told_confidences(text, content["choices"][0].get("logprobs"))
        return Completion(text, usage.get("prompt_tokens"), usage.get("completion_tokens"), seconds, confidences=sure)


def _told_confidences(text: str, logprobs: Any) -> dict[str, float] | None:
    """The confidences from a server's log-probabilities, which are those of its model before any grammar; None where
    it tells none, or where they are of other tokens than those of the text."""
    try:
        told = [
            (token.get("bytes") or token["token"].encode(), float(token["logprob"])) for token in logprobs["content"]
        ]
        pieces, choices = [bytes(piece) for piece, _ in told], [choice for _, choice in told]
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    size = len(text.encode())
    while pieces and sum(map(len, pieces[:-1])) >= size:  # the marker that ended the answer
        pieces.pop(), choices.pop()
    return confidence.of_values(text, pieces, choices)


Backend = LlamaBackend | TransformersBackend | HttpBackend


def _renderer(template: str) -> Callable[[list[dict[str, str]]], str]:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    compiled = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template)
    return lambda messages: compiled.render(messages=messages, add_generation_prompt=True)


def open_backend(cfg: config.Config, model: str = "gguf") -> Backend:
    """The backend for `gguf` (the default build), `base-gguf`, `adapter`, `base`, a .gguf file, or a server's URL.

    Raises StageError (status 3) naming the command that makes what is missing.
    """
    try:
        backend = _open_backend(cfg, model)
        backend.calibration = calibration_of(cfg, model)
        return backend
    except handoff.StageError as error:
        raise handoff.StageError(str(error), status=3) from error


def _open_backend(cfg: config.Config, model: str) -> Backend:
    again = "" if cfg.profile == "cpu" else f" --profile {cfg.profile}"
    run = cfg.inference
    if model.startswith(("http://", "https://")):
        return HttpBackend(model, run.max_new_tokens, run.context_tokens, run.timeout_seconds)
    if model in ("base", "adapter"):
        train = f"python train_moe.py{again}"
        if cfg.train.base_model == models.UPCYCLED:
            handoff.require(cfg.base_dir, made_by=train, check_contents=False)
        if model == "base":
            return TransformersBackend(cfg, None)
        handoff.require(cfg.adapter_dir, made_by=train)
        return TransformersBackend(cfg, cfg.adapter_dir)
    if model in ("gguf", "base-gguf"):
        export = f"python export_gguf.py{again}{' --base-only' if model == 'base-gguf' else ''}"
        folder = cfg.gguf_dir if model == "gguf" else cfg.base_gguf_dir
        manifest = handoff.require(folder, made_by=export, check_contents=False)
        name = next((n for n in manifest["files"] if n.endswith(f"-{run.quantization}.gguf")), None)
        if name is None:
            wanted = f"{export} --set export.quantization={run.quantization}"
            raise handoff.StageError(f"{folder} has no {run.quantization} build. Run: {wanted}")
        path = folder / name
    else:
        path = Path(model)
        if path.suffix != ".gguf" or not path.is_file():
            raise handoff.StageError(f"--model {model}: not gguf, base-gguf, adapter, base, a .gguf file or a URL")
    return LlamaBackend(path, run.context_tokens, run.max_new_tokens, run.threads)


def identity(cfg: config.Config, model: str) -> str | None:
    """What changes when the model does; None for a server, of which we cannot know, and for a model that is missing."""
    folders = {"base": cfg.base_dir, "adapter": cfg.adapter_dir}
    folders |= {"gguf": cfg.gguf_dir, "base-gguf": cfg.base_gguf_dir}
    if model not in folders:
        return handoff.sha256(Path(model)) if Path(model).is_file() else None
    if model == "base" and cfg.train.base_model != models.UPCYCLED:
        return cfg.train.base_model
    manifest = handoff.manifest_of(folders[model])
    return manifest["fingerprint"] if manifest else None


def model_form(cfg: config.Config, model: str) -> tuple[Path, Callable[[], str]] | None:
    """Where the calibration of a model's confidences is kept, beside the model, and what tells the fingerprint of its
    weights; None for a server and for a base model from the hub, which have no such place."""
    if model in ("adapter", "base"):
        folder = cfg.adapter_dir if model == "adapter" else cfg.base_dir
        if handoff.manifest_of(folder) is None or (model == "base" and cfg.train.base_model != models.UPCYCLED):
            return None
        return folder / "confidence.json", lambda: handoff.manifest_of(folder)["fingerprint"]
    if "://" in model:
        return None
    if model not in ("gguf", "base-gguf"):
        return Path(f"{model}.confidence.json"), lambda: handoff.sha256(Path(model))
    folder = cfg.gguf_dir if model == "gguf" else cfg.base_gguf_dir
    files = (handoff.manifest_of(folder) or {"files": {}})["files"]
    name = next((n for n in files if n.endswith(f"-{cfg.inference.quantization}.gguf")), None)
    return name and (folder / f"{name}.confidence.json", lambda: files[name]["sha256"])


def calibration_of(cfg: config.Config, model: str) -> confidence.Calibration | None:
    """The calibration that was fitted for a model as it is now, if there is one."""
    form = model_form(cfg, model)
    return confidence.load(form[0], form[1]()) if form and form[0].is_file() else None


# --- one document --------------------------------------------------------------------------------------------


def extract(
    source: Path | bytes,
    backend: Backend,
    cfg: config.Config,
    *,
    name: str = "-",
    document_type: str = "auto",
    questions: Sequence[str] = (),
    progress: bool = False,
) -> dict:
    """The result object of one document: record, summary, answers, fields with their places, checks, problems.

    Raises documents.DocumentError if the document cannot be read.
    """
    started = time.monotonic()
    limits = documents.Limits(
        max_file_mb=cfg.inference.max_file_mb,
        max_pages=cfg.inference.max_pages,
        max_text_chars=cfg.inference.max_text_chars,
        max_image_pixels=cfg.inference.max_image_pixels,
    )
    document = documents.read(source, limits)
    read_seconds = time.monotonic() - started
    task = tasks.detect(document.text) if document_type == "auto" else tasks.TASKS[document_type]
    problems = list(document.problems)

    texts = split(document.text, task, backend, cfg)
    asked = [(task, text, None) for text in texts]
    for question in questions:
        text = documents.best_window(document.text, question, cfg.data.window_chars, cfg.data.window_overlap)
        asked.append((tasks.QUESTION, text, question))
    answers = _complete(backend, asked, progress, name)
    readings = []
    for (asked_task, _, question), answer in zip(asked, answers, strict=True):
        reading = tasks.Reading(None, answer.error) if answer.error else tasks.parse(asked_task, answer.text)
        if reading.problem:
            problems.append(f"{question}: {reading.problem}" if question else reading.problem)
        readings.append(reading)

    windows = [(r.record, a.confidences) for r, a in zip(readings, answers, strict=True) if r.record is not None]
    windows = windows[: sum(r.record is not None for r in readings[: len(texts)])]
    records = [record for record, _ in windows]
    record = merge(task, records) if records else None
    summary = fields = verdicts = meaning = None
    if record is not None:
        summary = record.pop("summary", None) or tasks.summarize(task, record)
        fields = grounding.ground(record, task, document)
        confidences = confidence.merged(task, windows)
        calibration = getattr(backend, "calibration", None)
        if calibration:
            confidences = calibration(task.name, confidences)
        if confidences:
            meaning = "calibrated" if calibration else "not calibrated"
        for field in fields:
            sure = confidences.get(field["path"])
            field["confidence"] = None if sure is None else round(sure, 4)
        verdicts = checks.check(record, task)
        problems += [not_found(field) for field in fields if field["grounding"] == "none"]
    result = {
        "file": name,
        "document_type": task.name,
        "record": None
        if record is None
        else {k: v for k, v in with_nulls(task.schema, record).items() if k != "summary"},
        "summary": summary,
        "answers": [
            {"question": question, "answer": (reading.record or {}).get("answer")}
            for question, reading in zip(questions, readings[len(texts) :], strict=True)
        ],
        "fields": fields,
        "confidences": meaning,
        "checks": verdicts,
        "problems": problems,
        "pages": document.pages,
        "pages_skipped": document.pages_skipped,
        "model": backend.name,
        "timings": {"read": round(read_seconds, 3), "model": round(time.monotonic() - started - read_seconds, 3)},
    }
    return result


def not_found(field: dict) -> str:
    value = " ".join(field["value"].split())
    return f'{field["path"]}: "{value[:60]}{"..." if value[60:] else ""}" was not found in the document'


def split(text: str, task: tasks.Task, backend: Backend, cfg: config.Config) -> list[str]:
    """The text in the windows that the task reads: contracts as in training, others only if they are too long."""
    if task is tasks.CONTRACT:
        text = documents.prose(text)
        spans = documents.windows(text, cfg.data.window_chars, cfg.data.window_overlap)
        return [text[a:b] for a, b in spans]
    limit = backend.prompt_limit - backend.count(task.instructions) - 32  # 32: the chat template's own tokens
    tokens = backend.count(text)
    if tokens <= limit:
        return [text]
    chars = max(int(len(text) * limit / tokens * 0.8), 100)
    return [text[a:b] for a, b in documents.windows(text, chars, 0)]


def merge(task: tasks.Task, records: list[dict]) -> dict:
    """One record from those of a document's windows: lists are joined, of single values the first stays."""
    if task is tasks.CONTRACT:
        return tasks.merge_clauses(records)
    merged: dict = {}
    for record in records:
        for key, value in record.items():
            if isinstance(value, list):
                merged[key] = merged.get(key, []) + value
            else:
                merged.setdefault(key, value)
    if len(records) > 1:
        merged.pop("summary", None)  # it spoke of one window
    return merged


def with_nulls(schema: dict, value: Any) -> Any:
    """The value with null for every property that the schema has and it has not."""
    if "properties" in schema and value is not None:
        return {name: with_nulls(inner, value.get(name)) for name, inner in schema["properties"].items()}
    if "items" in schema and value is not None:
        return [with_nulls(schema["items"], item) for item in value]
    return value


def _complete(backend: Backend, asked: list[tuple], progress: bool, name: str) -> list[Completion]:
    from tqdm import tqdm

    requests = [Request(tasks.messages(task, text, question), task.schema) for task, text, question in asked]
    shown = progress and len(requests) > 2 and sys.stderr.isatty()
    with tqdm(total=len(requests), desc=name, unit="window", disable=not shown, leave=False) as bar:
        return backend.complete(requests, bar.update)


# --- the command ---------------------------------------------------------------------------------------------


def find_inputs(names: Sequence[str]) -> tuple[list[str], int]:
    """The documents that the arguments name, folders searched, and how many files of unknown kind were passed over.

    Raises StageError for a path that does not exist.
    """
    found, skipped = [], 0
    for name in names:
        path = Path(name)
        if name == "-" or path.is_file():
            found.append(name)
        elif path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
            found += [str(p) for p in inside if p.suffix.lower() in SUFFIXES]
            skipped += sum(p.suffix.lower() not in SUFFIXES for p in inside)
        else:
            raise handoff.StageError(f"{name} does not exist")
    return found, skipped


def key_of(data: bytes, options: dict) -> str:
    """What a finished line of an output file is recognized by: the document's bytes and the options."""
    return hashlib.sha256(data + json.dumps(options, sort_keys=True).encode()).hexdigest()[:24]


def finished(path: Path, retry_failed: bool) -> dict[str, dict]:
    """The lines of an earlier run by key. A last line that was cut off is left out."""
    lines: dict[str, dict] = {}
    if path.is_file():
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line = json.loads(text)
            except json.JSONDecodeError:
                continue
            if isinstance(line, dict) and "key" in line and not (retry_failed and "error" in line):
                lines[line["key"]] = line
    return lines


def read_bytes(name: str, limit_mb: float) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read(int(limit_mb * 1e6) + 1)
    try:
        with open(name, "rb") as f:
            return f.read(int(limit_mb * 1e6) + 1)
    except OSError as error:
        raise documents.DocumentError(f"cannot be opened: {error.strerror}") from error


def results(names: Iterable[str], args: Any, cfg: config.Config, done: dict[str, dict]) -> Iterator[dict]:
    """A result, or an error, for each document not in `done`. The model is loaded when the first one needs it."""
    backend = None
    options = {
        "type": args.type,
        "questions": args.question,
        "model": args.model,
        "identity": identity(cfg, args.model),
    }
    for name in names:
        key = None
        try:
            data = read_bytes(name, cfg.inference.max_file_mb)
            key = key_of(data, options)
            if key in done:
                continue
            if documents.file_type(data) is None or not data.strip():
                documents.read(data)  # says why without a model having been loaded
            backend = backend or open_backend(cfg, args.model)
            result = extract(
                data,
                backend,
                cfg,
                name=name,
                document_type=args.type,
                questions=args.question,
                progress=True,
            )
            yield {**result, "key": key}
        except documents.DocumentError as error:
            yield {"file": name, "error": str(error), "key": key}


def main(argv: list[str] | None = None) -> int:
    p = config.parser(__doc__)
    p.add_argument("inputs", nargs="+", metavar="FILE", help="files, folders, or - for stdin")
    p.add_argument("--type", choices=("auto", *tasks.DOCUMENT_TYPES), default="auto", help="document type")
    p.add_argument("--question", action="append", default=[], metavar="TEXT", help="may be given several times")
    p.add_argument(
        "--model", default="gguf", metavar="MODEL", help="gguf (default), base-gguf, adapter, base, FILE.gguf or URL"
    )
    p.add_argument("-o", "--output", type=Path, metavar="FILE", help="JSON Lines; an interrupted run is resumed")
    p.add_argument("--retry-failed", action="store_true", help="with -o: read documents again that failed before")
    p.add_argument("--overwrite", action="store_true", help="with -o: begin a new file")
    p.add_argument("--omit-null", action="store_true", help="leave out what was not found")
    args, cfg = config.read(p, argv)
    names, skipped = find_inputs(args.inputs)
    if skipped:
        print(f"{skipped} files of other kinds were passed over", file=sys.stderr)
    if not names:
        raise handoff.StageError("there is no document to read")

    done: dict[str, dict] = {}
    if args.output:
        done = {} if args.overwrite else finished(args.output, args.retry_failed)
        try:  # what stays of an earlier run; this also finds out now whether the file can be written
            handoff.write_jsonl(args.output, done.values())
        except OSError as error:
            raise handoff.StageError(f"cannot write {args.output}: {error.strerror}") from error
    written = failed = 0
    for result in results(names, args, cfg, done):
        failed += "error" in result
        written += 1
        if "error" in result:
            print(f"error: {result['file']}: {result['error']}", file=sys.stderr)
        if args.omit_null:
            result = tasks.prune(result)
        if args.output:
            with open(args.output, "a", encoding="utf-8") as f:
                f.write(json.dumps(result, ensure_ascii=False) + "\n")
        elif len(names) > 1:
            print(json.dumps({k: v for k, v in result.items() if k != "key"}, ensure_ascii=False), flush=True)
        elif "error" not in result:
            print(json.dumps({k: v for k, v in result.items() if k != "key"}, ensure_ascii=False, indent=2))
    if args.output:
        print(
            f"{written} documents in {args.output}, {len(done)} from an earlier run, {failed} failed", file=sys.stderr
        )
    if not failed:
        return 0
    return 4 if len(names) == 1 else 1


if __name__ == "__main__":
    try:
        handoff.run_stage(main)
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
