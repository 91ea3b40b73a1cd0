"""What a quantization type costs: the distance of its predictions from the unquantized ones, speed and memory.

    python -m extraction.export.quality JOB      # one file, in a process of its own; export_gguf.py starts it

The distance is the Kullback-Leibler divergence of the next token's distribution, as llama-perplexity computes it, here
on the answers of rows that no model was trained on.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

from extraction import files
from extraction.export import llama_source

GENERATED = 64  # tokens that are generated to time generation


def measure(paths: list[Path], rows: list[dict], work: Path, threads: int) -> list[dict]:
    """For each GGUF file a dict with its size, memory, speed and distance to the first of the files.

    `rows` are `{"prompt": token ids, "answer": token ids}`; only answers are compared. GiB and tokens per second.
    """
    found = []
    for path in paths:
        job = {
            "file": str(path),
            "reference": str(work / "reference.npy"),
            "is_reference": path == paths[0],
            "rows": rows,
            "threads": threads,
            "result": str(work / "result.json"),
        }
        command = [sys.executable, "-m", "extraction.export.quality", files.write_json(work / "job.json", job)]
        root = Path(__file__).resolve().parents[2]
        llama_source.run(command, f"{path.name} could not be measured", cwd=root)
        found.append({"file": path.name, "bytes": path.stat().st_size, **files.read_json(work / "result.json")})
    return found


def run_job(job: dict) -> dict:
    """The measurement of one file. The others are compared with the first file's distributions."""
    import llama_cpp
    import numpy

    options = {"n_threads": job["threads"], "n_threads_batch": job["threads"], "n_batch": 512, "verbose": False}
    longest = max(len(row["prompt"]) + len(row["answer"]) for row in job["rows"])
    llm = llama_cpp.Llama(job["file"], n_ctx=longest + GENERATED, **options)
    llm.eval(job["rows"][0]["prompt"])
    started = time.perf_counter()
    for _ in range(GENERATED):
        llm.eval([llm.sample(temp=0)])
    generating = time.perf_counter() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 2**30  # before logits are kept
    llm.close()

    llm = llama_cpp.Llama(job["file"], n_ctx=longest, logits_all=True, **options)
    distributions, surprise, read, reading = [], 0.0, 0, 0.0
    for row in job["rows"]:
        ids = row["prompt"] + row["answer"]
        llm.reset()
        started = time.perf_counter()
        llm.eval(ids)
        reading += time.perf_counter() - started
        read += len(ids)
        logits = numpy.array(llm.scores[len(row["prompt"]) - 1 : len(ids) - 1], dtype=numpy.float64)
        likelihoods = log_softmax(logits)
        surprise -= float(numpy.take_along_axis(likelihoods, numpy.array(row["answer"])[:, None], axis=1).sum())
        distributions.append(likelihoods.astype(numpy.float32))
    llm.close()
    found = numpy.concatenate(distributions)
    result = {
        "prompt_tokens_per_second": round(read / reading, 1),
        "generated_tokens_per_second": round(GENERATED / generating, 1),
        "memory_gib": round(memory, 2),
        "tokens": len(found),
        "loss": round(surprise / len(found), 6),  # of the answers' tokens, in nats
    }
    if job["is_reference"]:
        numpy.save(job["reference"], found)
        return result | {"divergence": None, "same_next_token": None}
    return result | compare(numpy.load(job["reference"], mmap_mode="r"), found)


def log_softmax(logits: Any) -> Any:
    import numpy

    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - numpy.log(numpy.exp(shifted).sum(axis=1, keepdims=True))


def compare(reference: Any, found: Any) -> dict:
    """Of log-probabilities `(tokens, vocabulary)`: mean divergence in nats, and the share of equal likeliest tokens."""
    import numpy

    divergences = (numpy.exp(reference) * (reference - found)).sum(axis=1)
    same = (reference.argmax(axis=1) == found.argmax(axis=1)).mean()
    return {"divergence": round(float(divergences.mean()), 6), "same_next_token": round(float(same), 4)}


def table(results: list[dict]) -> str:
    """A Markdown table; the first line is what the others are compared with."""
    heads = ("file", "MB", "memory, GiB", "prompt tokens/s", "generated tokens/s", "KL divergence", "same next token")
    rows = []
    for r in results:
        reference = r["divergence"] is None
        cells = [r["file"], f"{r['bytes'] / 1e6:,.0f}", r["memory_gib"], r["prompt_tokens_per_second"]]
        cells += [r["generated_tokens_per_second"], "compared with" if reference else f"{r['divergence']:.4f}"]
        cells.append("" if reference else f"{r['same_next_token']:.1%}")
        rows.append(cells)
    return files.markdown_table(heads, rows)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before llama_cpp: threads that wait must not spin
    given = files.read_json(Path(sys.argv[1]))
    files.write_json(Path(given["result"]), run_job(given))
