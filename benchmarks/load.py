"""How many documents a server answers, and how long one waits, with several clients at once.

    python benchmarks/load.py http://127.0.0.1:8000/v1                      # 1, 4 and 16 clients
    python benchmarks/load.py http://127.0.0.1:8000/v1 --clients 8 --documents 200

Documents are receipts that the project's generator makes, the same for every number of clients, none twice. Prints a
Markdown table: documents a minute, seconds until the answer (median and 95th percentile), lost and unreadable answers.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import config  # noqa: E402
import inference  # noqa: E402
from extraction import documents, generate, handoff, tasks  # noqa: E402

SEED = 20_261_123  # no training set is made with it


def run(url: str, clients: int, texts: list[str], cfg: config.Config) -> dict:
    """Send each text once, with so many requests under way. Returns counts, and the seconds of each answer."""
    settings = cfg.inference
    backend = inference.HttpBackend(url, settings.max_new_tokens, settings.context_tokens, settings.timeout_seconds)

    def ask(text: str) -> tuple[float, str | None, bool]:
        request = inference.Request(tasks.messages(tasks.RECEIPT, text), tasks.RECEIPT.schema)
        started = time.monotonic()
        answer = backend.complete([request])[0]
        readable = answer.error is None and tasks.parse(tasks.RECEIPT, answer.text).record is not None
        return time.monotonic() - started, answer.error, readable

    started = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        answers = list(pool.map(ask, texts))
    return {
        "clients": clients,
        "documents": len(texts),
        "lost": sum(error is not None for _, error, _ in answers),
        "unreadable": sum(error is None and not readable for _, error, readable in answers),
        "per_minute": len(texts) / (time.monotonic() - started) * 60,
        "seconds": sorted(seconds for seconds, _, _ in answers),
    }


def table(results: list[dict]) -> str:
    heads = ("clients", "documents", "lost", "unreadable", "documents a minute", "median s", "95 % within s")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for r in results:
        slow = r["seconds"][min(len(r["seconds"]) - 1, int(0.95 * len(r["seconds"])))]
        cells = [r["clients"], r["documents"], r["lost"], r["unreadable"], f"{r['per_minute']:.1f}"]
        cells += [f"{statistics.median(r['seconds']):.1f}", f"{slow:.1f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="address of the server, ending in /v1; #NAME picks one of its models")
    parser.add_argument("--clients", type=int, action="append", help="requests at a time; may be given again")
    parser.add_argument("--documents", type=int, default=32)
    args = parser.parse_args(argv)
    cfg = config.PROFILES["cpu"]
    made = generate.documents("receipt", args.documents, seed=SEED)
    words = ([documents.Word(w[0], tuple(w[1:])) for w in document["words"]] for document in made)
    texts = [documents.layout(page).text for page in words]
    results = []
    for clients in args.clients or (1, 4, 16):
        results.append(run(args.url, clients, texts, cfg))
        print(f"{clients} clients: {results[-1]['per_minute']:.1f} documents a minute", file=sys.stderr)
    print(table(results))
    return 1 if any(r["lost"] for r in results) else 0


if __name__ == "__main__":
    handoff.run_stage(main)
