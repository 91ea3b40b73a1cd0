"""What the benchmarks share: arguments, rows of files, work in parts, pages read once, and a llama-server."""

from __future__ import annotations

import argparse
import gzip
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import config
from extraction import files
from extraction.models import backends
from extraction.reading import documents
from extraction.reading.words import Word

OUTPUT = config.ROOT / "output" / "benchmarks"
SAMPLES = config.ROOT / "data" / "samples"


def parser(doc: str) -> argparse.ArgumentParser:
    """Of a benchmark that takes no settings: its module docstring is its help page."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def read(path: Path) -> str:
    """The text of a file, which may be packed by gzip."""
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")


def rows(path: Path) -> list[dict]:
    """The rows of a JSON Lines file; none of a file that is not there."""
    return [json.loads(line) for line in read(path).splitlines()] if path.exists() else []


def truths(path: Path) -> list[dict]:
    """The annotations of the receipts in a file of CORD."""
    return [json.loads(row["ground_truth"]) for row in rows(path)]


# --- work in parts -------------------------------------------------------------------------------------------


NONE = "0/1"  # the part of a process that makes no answer and scores those that are there


def add_part(p: argparse.ArgumentParser) -> None:
    said = f"make every N-th answer only: N processes share the work; {NONE}: none, score what is there"
    p.add_argument("--part", default="1/1", metavar="I/N", help=said)


def work(names: Sequence[str], make: Callable[[str], dict], folder: Path, made_by: str, part: str) -> dict[str, dict]:
    """What `make` gives for each name, in their order, as far as it was made by now; kept in `folder`.

    With the part `2/8` only every eighth is made, beginning with the second; those of other parts are taken where they
    are finished, and while some are missing nothing is given back. An interrupted run goes on where it stopped.
    `made_by` says what an answer depends on.
    """
    from tqdm import tqdm

    try:
        first, of = map(int, part.split("/"))
        if not (1 <= first <= of or part == NONE):
            raise ValueError
    except ValueError:
        raise files.StageError(f"--part {part}: write --part I/N, such as 2/8") from None
    folder.mkdir(parents=True, exist_ok=True)
    known = kept(folder, made_by)
    mine = names[first - 1 :: of] if first else ()
    for name in tqdm([name for name in mine if name not in known], unit="answer", disable=None):
        known[name] = make(name)
        with open(folder / f"{first}-of-{of}.jsonl", "a", encoding="utf-8") as f:
            f.write(json.dumps({"name": name, "made_by": made_by, **known[name]}, ensure_ascii=False) + "\n")
    known |= kept(folder, made_by)
    found = {name: known[name] for name in names if name in known}
    if len(found) < len(names):
        print(f"{len(found)} of {len(names)} answers are there")
        return found if part == NONE else {}
    return found


def kept(folder: Path, made_by: str) -> dict[str, dict]:
    """The answers in a folder by name. A line that is being written, or was cut off, is left out."""
    found = {}
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if entry["made_by"] == made_by:
                found[entry["name"]] = entry
    return found


def tell(folder: Path, model: str, what: str, lines: list[dict], shown: str) -> None:
    """Print a table, and write it and the lines that it shows into the folder, in files of its name."""
    files.write_json(folder / f"{folder.name}.json", {"model": model, "lines": lines})
    files.write_text(folder / f"{folder.name}.md", shown)
    print(f"{model}, {what}\n{shown}", end="")


def percent(estimate: dict) -> str:
    """An estimate with its interval."""
    return f"{100 * estimate['value']:.1f} ({100 * estimate['low']:.1f} - {100 * estimate['high']:.1f})"


# --- pages that were read ------------------------------------------------------------------------------------


def read_once(path: Path, limits: documents.Limits, folder: Path | None) -> documents.Document:
    """The document as our reader reads it; with a folder it is kept there, and taken from there the next time, also
    where the file itself is missing."""
    if folder is None:
        return documents.read(path, limits)
    kept_as = folder / f"{path.name}.json"
    if not kept_as.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        files.write_json(kept_as, asdict(documents.read(path, limits)))
    found = files.read_json(kept_as)
    return documents.Document(
        **{**found, "words": [Word(**{**word, "box": tuple(word["box"])}) for word in found["words"]]}
    )


# --- models --------------------------------------------------------------------------------------------------


class Free:
    """An answer without a grammar, of at most so many tokens."""

    def __init__(self, prompt: list[int], ending: int, most: int):
        self.prompt, self.ending, self.most = prompt, ending, most
        self.tokens: list[int] = []

    def take(self, scores: Any) -> int | None:
        token = int(scores.argmax())
        if token == self.ending:
            return None
        self.tokens.append(token)
        return None if len(self.tokens) == self.most else token


def free(backend: backends.LlamaBackend, messages: list[dict[str, str]], most: int) -> str:
    """An answer without a grammar, as a chat program gets it: the likeliest tokens, at most so many."""
    llm = backend.llm
    prompt = llm.tokenize(backend.render(messages).encode(), add_bos=False, special=True)
    answer = Free(prompt, llm.token_eos(), min(most, llm.n_ctx() - len(prompt)))
    backend.contexts.run([answer], lambda *_: None)
    return llm.detokenize(answer.tokens).decode("utf-8", errors="replace")


class Server:
    """A llama-server at a free port of this machine, which can be killed and restarted at the same address."""

    def __init__(self, program: Path, model: Path, *options: object, log: Any = subprocess.DEVNULL) -> None:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        self.command = [str(part) for part in (program, "-m", model, "--port", port, *options)]
        self.url, self.log, self.kills = f"http://127.0.0.1:{port}", log, 0
        self.start()

    def start(self) -> None:
        environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log, env=environment)

    def answers(self, seconds: float = 120) -> bool:
        """Whether it answers within these seconds."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=2) as reply:
                    return reply.status == 200
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        return False

    def end(self) -> None:
        self.process.kill()
        self.process.wait()

    def kill_and_revive(self, pause: float = 5.0) -> None:
        self.end()
        self.kills += 1
        time.sleep(pause)
        self.start()
