"""Seconds per document: where they go on this machine, and what they would be at rates measured elsewhere.

    python -m benchmarks.inference                             # the GGUF build of the cpu profile
    python -m benchmarks.inference --model FILE.gguf --repeat 5
    python -m benchmarks.inference --rates prompt=1200,generation=60
    python -m benchmarks.inference --profile gpu --rates prompt=1200,generation=60 --rows data/training/test.jsonl

Reads one document of each type from data/samples, `--repeat` times with a fresh prompt cache, and prints Markdown
tables: seconds and rates of each part (median, fastest and slowest), what choosing a token costs beside evaluating it,
how many tokens compact JSON saves, and what the cache of a prompt's beginning saves. Other work on the machine makes
seconds longer, but hardly CPU seconds.

With --rates nothing is run: the tokens of the test rows and these rates, in tokens a second, give seconds per document.
"""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import config
import inference
from extraction import cord, files, stage
from extraction.models import backends, choice
from extraction.scoring import metrics
from extraction.tasks import schemas

CONTRACT_CHARS = 6500  # several windows of the cpu profile; the whole contract has 17
QUESTIONS = ("What is the date?", "Who wrote this?")


# --- documents -----------------------------------------------------------------------------------------------


Chosen = tuple[str, Path | bytes, str, tuple[str, ...]]  # name, where it is or its bytes, document type, questions


def chosen(cfg: config.Config) -> list[Chosen]:
    """One document of each type."""
    folder = cfg.samples_dir / "documents"
    contract = inference.read(folder / "contract_1.pdf", cfg)
    return [
        ("receipt, text", receipt_text(cfg).encode(), "receipt", ()),
        ("receipt, photo", folder / "receipt_photo_1.jpg", "receipt", ()),
        ("invoice, PDF", folder / "invoice.pdf", "receipt", ()),
        ("contract, begins like contract_1.pdf", contract.text[:CONTRACT_CHARS].encode(), "contract", ()),
        ("letter, two questions", folder / "letter.txt", "document", QUESTIONS),
    ]


def receipt_text(cfg: config.Config) -> str:
    """Of CORD's receipts for eval in the samples, the one of median length."""
    rows = files.read_jsonl(cfg.samples_dir / "cord.jsonl")
    truths = [json.loads(row["ground_truth"]) for row in rows if row["sample_split"] == "validation"]
    texts = [cord.gold_words(truth)[0].text for truth in truths]
    return sorted(texts, key=len)[len(texts) // 2]


# --- measuring -----------------------------------------------------------------------------------------------


def measure(
    backend: backends.LlamaBackend, cfg: config.Config, repeat: int, documents: list[Chosen], cached: bool = True
) -> list[dict]:
    """The runs of each document. With `cached` False no prompt uses the cache of the one before it."""
    answers: list[backends.Completion] = []
    answer = backend.complete

    def complete(requests: Sequence[backends.Request], done: Callable = lambda *_: None) -> list[backends.Completion]:
        if cached:
            answers.extend(answer(requests, done))
        else:
            for request in requests:
                backend.contexts.forget()
                answers.extend(answer([request], done))
        return answers

    backend.complete = complete
    found = []
    try:
        for name, source, document_type, questions in documents:
            runs = []
            for _ in range(repeat):
                answers.clear()
                backend.contexts.forget()
                started = time.monotonic()
                document = inference.read(source, cfg)
                read, cpu = time.monotonic() - started, time.process_time()
                inference.extract(document, backend, cfg, document_type=document_type, questions=questions)
                for failed in (a for a in answers if a.error):
                    raise files.StageError(f"{name}: {failed.error}; raise inference.context_tokens")
                runs.append(
                    {
                        "read": read,
                        "cpu": time.process_time() - cpu,
                        "model": sum(a.seconds for a in answers),
                        "prompt": sum(a.prompt_seconds for a in answers),
                        "prompt_tokens": sum(a.prompt_tokens for a in answers),
                        "cached_tokens": sum(a.cached_tokens for a in answers),
                        "tokens": sum(a.completion_tokens for a in answers),
                        "all": time.monotonic() - started,
                    }
                )
            texts = [a.text for a in answers]
            found.append({"name": name, "runs": runs, "texts": texts, "schemas": schemas_of(document_type, answers)})
    finally:
        backend.complete = answer
    return found


def schemas_of(document_type: str, answers: Sequence[backends.Completion]) -> list[dict]:
    """The schema of each answer: those of the document's windows come first, then its questions."""
    asked = len(QUESTIONS) if document_type == "document" else 0
    task = schemas.TASKS[document_type]
    return [task.schema] * (len(answers) - asked) + [schemas.QUESTION.schema] * asked


def choosing(backend: backends.LlamaBackend, answers: Iterable[tuple[str, dict]]) -> dict[str, float]:
    """Milliseconds of CPU per token that each part of choosing it takes, as the answers are written once more.

    The scores are random: what is measured does not depend on them.
    """
    import numpy

    scores = numpy.random.default_rng(0).normal(size=backend.llm.n_vocab()).astype(numpy.float32)
    spent: dict[str, float] = defaultdict(float)
    count = 0

    def timed(name: str, do: Callable[..., Any], *arguments: Any) -> None:
        started = time.thread_time()
        do(*arguments)
        spent[name] += time.thread_time() - started

    for text, schema in answers:
        allowed = backends.AllowedTokens([backends.Request([], schema)], backend.tokenizer)
        matcher = allowed.matchers[0]
        for token in backend.tokenizer.tokenize_str(text):
            timed("llguidance says which are allowed", allowed.fill, matcher, allowed.bits, 0)  # the next time it knows
            left = scores[allowed.mask([matcher], len(scores))[0]]
            timed("the likeliest of them, with its log-probability", allowed.likeliest, scores)
            timed("of it the log-probability, for the confidence", backends.log_share, left, left[0])
            timed("llguidance takes the token", matcher.consume_token, token)
            timed("without a grammar: the likeliest of all", scores.argmax)
            count += 1
    return {name: seconds / max(count, 1) * 1000 for name, seconds in spent.items()}


def writings(tokenizer: Any, answers: Iterable[str]) -> dict[str, int]:
    """Tokens of the same answers in three ways of writing JSON. Answers that were cut off are left out."""
    tokens = dict.fromkeys(("compact, as the model writes it", "a blank after each comma and colon", "indented"), 0)
    for text in answers:
        try:
            record = json.loads(text)
        except json.JSONDecodeError:
            continue
        for name, style in zip(tokens, ({"separators": (",", ":")}, {}, {"indent": 2}), strict=True):
            tokens[name] += len(tokenizer.tokenize_str(json.dumps(record, ensure_ascii=False, **style)))
    return tokens


# --- rates of another machine --------------------------------------------------------------------------------


def rates_of(text: str) -> dict[str, float]:
    """`prompt=1200,generation=60` as numbers. Raises StageError for anything else."""
    try:
        pairs = [part.split("=") for part in text.split(",")]
        rates = {name: float(value) for name, value in pairs}
        if set(rates) == {"prompt", "generation"} and len(pairs) == 2 and min(rates.values()) > 0:
            return rates
    except ValueError:
        pass
    raise files.StageError(f"--rates {text}: write --rates prompt=TOKENS_A_SECOND,generation=TOKENS_A_SECOND")


def seconds_of_rows(rows: Iterable[dict], rates: dict[str, float]) -> dict[str, dict[str, list[float]]]:
    """By task: prompt tokens, answer tokens and seconds of each document. A contract is all its windows; each question
    is one of its own."""
    tokens: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        unit = row["id"] if row["task"] == "question" else row["document"]
        tokens[row["task"], unit][0] += row["tokens"]["prompt"]
        tokens[row["task"], unit][1] += row["tokens"]["completion"]
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (task, _), (prompt, answer) in tokens.items():
        seconds = prompt / rates["prompt"] + answer / rates["generation"]
        for name, value in (("prompt", prompt), ("answer", answer), ("seconds", seconds)):
            found[task][name].append(value)
    return found


# --- tables --------------------------------------------------------------------------------------------------


def spread(values: Sequence[float], digits: int = 2) -> str:
    low, middle, high = (f"{f(values):.{digits}f}" for f in (min, statistics.median, max))
    return middle if low == high else f"{middle} ({low}-{high})"


def table_of_documents(found: list[dict]) -> str:
    rows = []
    for entry in found:
        runs, first = entry["runs"], entry["runs"][0]
        evaluated = first["prompt_tokens"] - first["cached_tokens"]
        rows.append(
            [
                entry["name"],
                len(entry["texts"]),
                spread([r["read"] for r in runs]),
                f"{first['prompt_tokens']}, {first['cached_tokens']} cached",
                spread([evaluated / r["prompt"] for r in runs], 0),
                first["tokens"],
                spread([r["tokens"] / (r["model"] - r["prompt"]) for r in runs], 0),
                spread([r["prompt"] for r in runs]),
                spread([r["model"] - r["prompt"] for r in runs]),
                spread([r["cpu"] for r in runs]),
                spread([r["all"] for r in runs]),
            ]
        )
    heads = ("document", "prompts", "read s", "prompt tokens", "a second", "tokens written", "a second")
    return files.markdown_table((*heads, "prompt s", "writing s", "CPU s", "all s"), rows)


def table_of_rates(found: dict[str, dict[str, list[float]]]) -> str:
    heads = ("task", "documents", "prompt tokens", "answer tokens", "median s", "95 % within s")
    rows = []
    for task, values in sorted(found.items()):
        middle = (f"{statistics.median(values[name]):,.0f}" for name in ("prompt", "answer"))
        slow = (f"{metrics.percentile(values['seconds'], share):.2f}" for share in (0.5, 0.95))
        rows.append([task, len(values["seconds"]), *middle, *slow])
    return files.markdown_table(heads, rows)


def main(argv: list[str] | None = None) -> int:
    parser = config.parser(__doc__)
    parser.add_argument("--model", default="gguf", help="gguf (default), base-gguf or FILE.gguf")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="runs of each document (default: 3)")
    parser.add_argument("--rates", metavar="prompt=P,generation=G", help="tokens a second, measured elsewhere")
    parser.add_argument("--rows", type=Path, metavar="FILE", help="rows for --rates (default: the test rows)")
    args, cfg = config.read(parser, argv)
    if args.repeat < 1:
        parser.error(f"--repeat must be at least 1, got {args.repeat}")
    if args.rates:
        rates = rates_of(args.rates)
        path = args.rows or cfg.training_dir / "test.jsonl"
        if not path.is_file():
            raise files.StageError(f"{path} is not there yet. Run: python prepare_training_data.py")
        print(table_of_rates(seconds_of_rows(files.read_jsonl(path), rates)))
        print("Reading a document is not in it, nor what the cache of a prompt's beginning saves.")
        return 0
    if args.model not in ("gguf", "base-gguf") and not args.model.endswith(".gguf"):
        parser.error(f"--model {args.model}: only a GGUF build is measured here: gguf, base-gguf or FILE.gguf")
    backend = choice.choose(cfg, args.model).open()
    documents = chosen(cfg)
    found = measure(backend, cfg, args.repeat, documents)
    print(f"{backend.name}, {args.repeat} runs of each document: median (fastest-slowest)\n")
    print(table_of_documents(found))

    pairs = [pair for entry in found for pair in zip(entry["texts"], entry["schemas"], strict=True)]
    costs = choosing(backend, pairs)
    writing = statistics.median((r["model"] - r["prompt"]) / r["tokens"] * 1000 for e in found for r in e["runs"])
    rows = [[name, f"{cost:.3f}"] for name, cost in costs.items()]
    rows.append(["beside them: writing a token, time passed", f"{writing:.1f}"])
    print(files.markdown_table(("choosing a token, CPU", "ms per token"), rows))

    lengths = writings(backend.tokenizer, [text for text, _ in pairs])
    compact = min(lengths.values())
    rows = [[name, length, f"{length / max(compact, 1):.2f}"] for name, length in lengths.items()]
    print(files.markdown_table(("JSON of these answers", "tokens", "of the compact"), rows))

    several = [(entry, document) for entry, document in zip(found, documents, strict=True) if len(entry["texts"]) > 1]
    without = measure(backend, cfg, args.repeat, [document for _, document in several], cached=False)
    rows = []
    for (shared, _), alone in zip(several, without, strict=True):
        prompt = [[r["prompt"] for r in entry["runs"]] for entry in (alone, shared)]
        same = "the same" if shared["texts"] == alone["texts"] else "others"
        tokens = [r["prompt_tokens"] - r["cached_tokens"] for r in (alone["runs"][0], shared["runs"][0])]
        rows.append([shared["name"], *tokens, *map(spread, prompt), same])
    heads = ("several prompts", "tokens evaluated, no cache", "cache", "prompt s, no cache", "cache", "answers")
    print(files.markdown_table(heads, rows), end="")
    return 0


if __name__ == "__main__":
    stage.run_stage(main)
