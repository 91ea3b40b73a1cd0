"""How many documents a server answers, and how long a client waits, with several clients at once.

    python -m benchmarks.load http://127.0.0.1:8000/v1                      # 1, 4 and 16 clients
    python -m benchmarks.load http://127.0.0.1:8000/v1 --clients 8 --documents 200
    python -m benchmarks.load --server llama-server --model FILE.gguf --clients 16 --documents 200 --kill

Documents are synthetic receipts, the same for every number of clients, none twice. Prints a
Markdown table: documents a minute, seconds until the answer (median and 95th percentile), lost and unreadable answers.

With --server and --model it starts llama-server itself; --kill kills it (SIGKILL) when half of the documents are
answered, and starts another five seconds later.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import config
from benchmarks import shared
from extraction import files, stage
from extraction.models import backends, http
from extraction.reading import layout
from extraction.reading.words import Word
from extraction.scoring import metrics
from extraction.synthetic import generate
from extraction.tasks import completions, prompts, schemas

SEED = 20_261_123  # no training set is made with it
SLOTS = 4  # of a llama-server that is started here


def run(url: str, clients: int, texts: list[str], cfg: config.Config, half: Callable[[], None] | None = None) -> dict:
    """Send each text once, with this many requests open at a time. Returns counts and the seconds of each answer.

    Calls `half` in a thread when half of the texts are answered.
    """
    answered = itertools.count(1)
    settings = cfg.inference
    backend = http.HttpBackend(url, settings.max_new_tokens, settings.context_tokens, settings.timeout_seconds)

    def ask(text: str) -> tuple[float, str | None, bool]:
        request = backends.Request(prompts.messages(schemas.RECEIPT, text), schemas.RECEIPT.schema)
        started = time.monotonic()
        answer = backend.complete([request])[0]
        if next(answered) == (len(texts) + 1) // 2 and half:
            threading.Thread(target=half).start()
        readable = answer.error is None and completions.parse(schemas.RECEIPT, answer.text).record is not None
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
    rows = []
    for r in results:
        times = f"{statistics.median(r['seconds']):.1f}", f"{metrics.percentile(r['seconds'], 0.95):.1f}"
        rows.append([*(r[name] for name in heads[:4]), f"{r['per_minute']:.1f}", *times])
    return files.markdown_table(heads, rows)


def main(argv: list[str] | None = None) -> int:
    parser = shared.parser(__doc__)
    parser.add_argument("url", nargs="?", help="address of the server, ending in /v1; #NAME picks one of its models")
    parser.add_argument("--clients", type=int, action="append", help="requests at a time; may be given again")
    parser.add_argument("--documents", type=int, default=32)
    parser.add_argument(
        "--timeout", type=float, metavar="S", help="seconds until an answer counts as lost (default: 120)"
    )
    parser.add_argument("--server", type=Path, metavar="PROGRAM", help="a llama-server to start, with --model")
    parser.add_argument("--model", type=Path, metavar="FILE.gguf")
    parser.add_argument("--kill", action="store_true", help="end that server in the middle, and start it again")
    args = parser.parse_args(argv)
    if bool(args.url) == bool(args.server) or bool(args.server) != bool(args.model) or (args.kill and not args.server):
        parser.error("give the address of a server, or --server PROGRAM and --model FILE.gguf (and --kill)")
    for path in (args.server, args.model):
        if path and not path.is_file():
            raise files.StageError(f"{path} does not exist")
    cfg = config.PROFILES["cpu"]
    if args.timeout is not None:
        cfg = config.override(cfg, f"inference.timeout_seconds={args.timeout}")
    made = generate.documents("receipt", args.documents, seed=SEED)
    words = ([Word(w[0], tuple(w[1:])) for w in document["words"]] for document in made)
    texts = [layout.layout(page).text for page in words]
    results = []
    server = None
    if args.server:
        server = shared.Server(args.server, args.model, "-np", SLOTS, "-c", cfg.inference.context_tokens * SLOTS)
    try:
        if server and not server.answers():
            raise files.StageError(f"{args.server} did not start with {args.model}")
        for clients in args.clients or (1, 4, 16):
            half = server.kill_and_revive if args.kill else None
            results.append(run(f"{server.url}/v1" if server else args.url, clients, texts, cfg, half))
            print(f"{clients} clients: {results[-1]['per_minute']:.1f} documents a minute", file=sys.stderr)
    finally:
        if server:
            server.end()
    if args.kill:
        print(f"The server was killed {server.kills} times, each time with half of the documents answered.\n")
    print(table(results), end="")
    return 1 if any(r["lost"] or r["unreadable"] for r in results) else 0


if __name__ == "__main__":
    stage.run_stage(main)
