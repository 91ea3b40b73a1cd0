"""How fast GGUF builds answer on this machine's card, whole and within a smaller one: llama-server, timed by itself.

    python -m benchmarks.card FILE.gguf --server build/bin/llama-server                 # all of the card
    python -m benchmarks.card Q4.gguf Q3.gguf --server ... --card all --card 15.99 --threads 8 --threads 16
    python -m benchmarks.card FILE.gguf --server ... --in-process     # and as inference.py runs it
    python -m benchmarks.card 8_of_48.gguf --layers 48 --server ...  # of `export.py --layers 8`

Prompts are random tokens, of 512 and 2,048, none cached; then 128 tokens are generated after the last. A card in GiB is
real: a second process holds the rest of its memory, and experts of as many layers as needed are computed on the CPU,
beginning with the number that `extraction/models/fit.py` advises. llama.cpp has to be built with CUDA for cards to
count.
With --in-process each build is then timed as inference.py loads it, in a process of its own.
With --layers the decoder layers of a file are repeated first: some layers give a build of the whole shape.

Writes  output/benchmarks/card.jsonl   a row per line
        output/benchmarks/card.md      the table
        output/benchmarks/NAME.gguf    with --layers: the file that was measured
"""

from __future__ import annotations

import json
import multiprocessing
import random
import statistics
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import shared, training
from extraction import files, stage
from extraction.models import backends, fit

PROMPTS = (512, 2048)
GENERATED = 128


def ask(url: str, tokens: list[int], generate: int) -> dict:
    """llama-server's own timings of one answer."""
    body = {"prompt": tokens, "n_predict": generate, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
    request = urllib.request.Request(
        f"{url}/completion", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as reply:
        return json.load(reply)["timings"]


def measure(path: Path, server: Path, card: float | None, threads: int, context: int, repeat: int, tries: int) -> dict:
    """Rates of one build in tokens a second: medians of `repeat` runs, after a first one that is not counted."""
    advised = fit.advise(fit.sizes(path), context, card).layers_on_cpu if card else 0
    row = {"file": path.name, "card": card, "threads": threads, "context": context, "advised_layers_on_cpu": advised}
    draw = random.Random(1)
    for layers in range(advised, advised + tries):
        options = ["-c", context, "-np", "1", "-ngl", "999", "--n-cpu-moe", layers, "-t", threads]
        options += ["--fit", "off", "--no-warmup", "-b", "2048"]
        with training.card_of(card), open(log_path(), "w", encoding="utf-8") as log:
            begun = time.monotonic()
            running = shared.Server(server, path, *options, log=log)
            try:
                if not running.answers(180):
                    continue
                loaded = time.monotonic() - begun
                prompts, generation = {}, []
                for size in PROMPTS:
                    times = [ask(running.url, draw.choices(range(1000, 40_000), k=size), 1) for _ in range(repeat + 1)]
                    prompts[str(size)] = round(statistics.median(t["prompt_per_second"] for t in times[1:]), 1)
                tokens = draw.choices(range(1000, 40_000), k=512)
                times = [ask(running.url, tokens, GENERATED) for _ in range(repeat)]
                generation = [round(t["predicted_per_second"], 1) for t in times]
            except (urllib.error.URLError, OSError, KeyError) as error:  # out of memory while it computes
                row["error"] = f"with {layers} layers: {error}"
                continue
            finally:
                running.end()
        row.pop("error", None)
        row |= {"layers_on_cpu": layers, "load_seconds": round(loaded, 1), "prompt": prompts}
        return row | {"generation": statistics.median(generation), "generations": generation}
    lines = [x for x in log_path().read_text(encoding="utf-8", errors="replace").splitlines() if "error" in x.lower()]
    return row | {"error": row.get("error") or (lines or ["the server did not start"])[-1][:300]}


@dataclass
class Greedy:
    """So many tokens behind a prompt, the likeliest of all each time, as `contexts` takes an answer."""

    prompt: list[int]
    left: int

    def take(self, scores: Any) -> int | None:
        token, self.left = int(scores.argmax()), self.left - 1
        return None if self.left < 1 else token


def in_process(path: Path, context: int, threads: int, repeat: int) -> dict:
    """Rates of a build that is loaded, and whose tokens are evaluated, as inference.py does it."""
    begun = time.monotonic()
    backend = backends.LlamaBackend(path, context, 16, threads)
    loaded, draw = time.monotonic() - begun, random.Random(1)

    def rates(size: int, generate: int) -> tuple[float, float]:
        backend.contexts.forget()
        prompt = draw.choices(range(1000, min(40_000, backend.llm.n_vocab())), k=size)
        (job,) = backend.contexts.run([Greedy(prompt, generate + 1)], lambda *_: None)
        return size / job.prompt_seconds, generate / max(job.seconds - job.prompt_seconds, 1e-9)

    prompts = {str(size): [rates(size, 0)[0] for _ in range(repeat + 1)][1:] for size in PROMPTS}
    written = [round(rates(512, GENERATED)[1], 1) for _ in range(repeat)]
    found = {"load_seconds": round(loaded, 1), "generation": statistics.median(written), "generations": written}
    return found | {"prompt": {size: round(statistics.median(found), 1) for size, found in prompts.items()}}


def measure_in_process(path: Path, card: float | None, threads: int, context: int, repeat: int) -> dict:
    """The same rates in a process of its own, so that its memory is free afterwards."""
    row = {"file": f"{path.name}, in process", "card": card, "threads": threads, "context": context}
    row["advised_layers_on_cpu"] = fit.advise(fit.sizes(path), context, card).layers_on_cpu if card else 0
    spawned = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    with training.card_of(card), spawned as process:
        try:
            return row | process.submit(in_process, path, context, threads, repeat).result(timeout=600)
        except (files.StageError, RuntimeError, OSError) as error:  # RuntimeError: the process ended
            return row | {"error": str(error)[:300]}


def repeated(source: Path, layers: int, path: Path) -> Path:
    """Write to `path` the GGUF file `source` with this many decoder layers, each a copy of one of its own."""
    import gguf

    reader = gguf.GGUFReader(source)
    kind = reader.fields["general.architecture"].contents()
    count = f"{kind}.block_count"
    there = reader.fields[count].contents()
    writer = gguf.GGUFWriter(path, kind)
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":  # the writer's own
            value, of_list = layers if name == count else field.contents(), field.types[0] == gguf.GGUFValueType.ARRAY
            writer.add_key_value(name, value, field.types[0], field.types[-1] if of_list else None)
    for tensor in reader.tensors:
        if not tensor.name.startswith("blk."):
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    for layer in range(layers):
        begin = f"blk.{layer * there // layers}."
        for tensor in reader.tensors:
            if tensor.name.startswith(begin):
                name = f"blk.{layer}.{tensor.name.removeprefix(begin)}"
                writer.add_tensor(name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def log_path() -> Path:
    shared.OUTPUT.mkdir(parents=True, exist_ok=True)
    return shared.OUTPUT / "llama-server.log"


def table(rows: list[dict]) -> str:
    heads = ["build", "card, GiB", "layers of experts on the CPU", "advised", "CPU threads"]
    heads += [f"prompt of {size}, tokens/s" for size in PROMPTS] + ["generation, tokens/s"]
    lines = []
    for r in rows:
        cells = [r["file"], r["card"] or "all", r.get("layers_on_cpu", ""), r["advised_layers_on_cpu"], r["threads"]]
        if "error" in r:
            cells += [r["error"], "", ""]
        else:
            cells += [f"{r['prompt'][str(size)]:,.0f}" for size in PROMPTS] + [f"{r['generation']:.1f}"]
        lines.append(cells)
    return files.markdown_table(heads, lines)


def card_size(text: str) -> float | None:
    return None if text == "all" else float(text)


def main(argv: list[str] | None = None) -> int:
    parser = shared.parser(__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.gguf")
    parser.add_argument("--server", type=Path, required=True, help="llama-server, built for this card")
    parser.add_argument(
        "--card", type=card_size, action="append", help="all, or GiB; may be given again (default: all)"
    )
    parser.add_argument("--threads", type=int, action="append", help="may be given again (default: 8)")
    parser.add_argument("--in-process", action="store_true", help="also measure as inference.py runs a build")
    parser.add_argument("--layers", type=int, metavar="N", help="repeat each file's decoder layers to N first")
    parser.add_argument("--context", type=int, default=8192)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, default=shared.OUTPUT)
    args = parser.parse_args(argv)
    for path in (*args.files, args.server):
        if not path.is_file():
            raise files.StageError(f"{path} does not exist")
    args.output.mkdir(parents=True, exist_ok=True)
    if args.layers:
        args.files = [repeated(path, args.layers, args.output / path.name) for path in args.files]
    results = args.output / "card.jsonl"
    rows = shared.rows(results)
    for card in args.card or [None]:
        for path in args.files:
            for threads in (args.threads or [8])[: None if card else 1]:  # without experts on the CPU one will do
                found = [measure(path, args.server, card, threads, args.context, args.repeat, tries=6)]
                if args.in_process:
                    found.append(measure_in_process(path, card, threads, args.context, args.repeat))
                print(json.dumps(found), file=sys.stderr, flush=True)
                rows += found
                files.write_jsonl(results, rows)
                files.write_text(args.output / "card.md", table(rows))
    print(table(rows), end="")
    return 0


if __name__ == "__main__":
    stage.run_stage(main)
