"""What the benchmarks share: arguments, rows of files, Markdown tables of results, and a llama-server of their own."""

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
from pathlib import Path
from typing import Any

import config

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
