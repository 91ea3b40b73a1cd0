"""Hostile documents: each through the reader, a folder of all of them through `inference.py`, and the fuzzer.

python -m tests.hardening --part documents
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil

from extraction.reading import documents, worker
from extraction.reading.limits import DocumentError, Limits
from tests.hardening import fuzz, hostile_files
from tests.hardening.hostile_files import CANARY, READ, REFUSED, File
from tests.helpers import chat_server

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLE_SECONDS = 0.02  # between two looks at the memory of the processes
PARENT_MB = 1000  # what the process that must survive may take; without a document it takes some 100


def measure(short: bool, seed: int) -> dict:
    """What became of every hostile file, and what the fuzzer met. A failure is a sentence; none is the target."""
    page_seconds = 3 if short else 10
    with tempfile.TemporaryDirectory() as made_in:
        folder, canary = Path(made_in, "in"), Path(made_in, "canary.txt")
        folder.mkdir()
        canary.write_text(CANARY, encoding="utf-8")
        files = hostile_files.write(folder, hostile_files.files(short, seed, canary))
        listening = hostile_files.write_specials(folder)
        before = sorted(os.listdir(made_in)), sorted(os.listdir(folder))
        most = 20_000 if short else 200_000  # characters of a text: each thousand is a question to the model
        settings = {"page_seconds": page_seconds, "max_text_chars": most}
        with ThreadPoolExecutor(2 if short else 1) as passes:  # the short form does not mind that they slow each other
            reading = passes.submit(_read_each, folder, list(files), page_seconds)
            running = passes.submit(_command, folder, files, Path(made_in, "out.csv"), settings)
            read, command = reading.result(), running.result()
        specials = _specials(folder, files)
        failures = [*_failures(files, read), *command.pop("failures"), *specials.pop("failures")]
        after = sorted(name for name in os.listdir(made_in) if not name.startswith("out.")), sorted(os.listdir(folder))
        if after != before:
            failures.append("a file came to be that nobody asked for")
        for one in listening:
            one.close()
    fuzzed = fuzz.run_all(0 if short else 180, seed)
    failures += [failure for target in fuzzed.values() for failure in target["failures"]]
    return {
        "page_seconds": page_seconds,
        "groups": _groups(files, read),
        "command": command,
        "specials": specials,
        "fuzz": fuzzed,
        "tried": len(files),
        "survived": len(files) - len({failure.split(": ")[0] for failure in _failures(files, read)}),
        "failures": failures,
    }


# --- each file through the reader ----------------------------------------------------------------------------


def _read_each(folder: Path, names: list[str], page_seconds: float) -> dict[str, dict]:
    """What the reader says of each file. A file that kills the process that asks is one without an answer."""
    found: dict[str, dict] = {}
    left = list(names)
    while left:
        asked = json.dumps({"folder": str(folder), "names": left, "page_seconds": page_seconds})
        done = subprocess.run(
            [sys.executable, "-m", "tests.hardening.documents"],
            cwd=ROOT,
            input=asked,
            capture_output=True,
            text=True,
            errors="replace",
        )
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        found |= {answer["name"]: answer for answer in answers}
        if "Traceback" in done.stderr:
            found["stderr"] = {"name": "stderr", "became": "crash", "said": done.stderr[-500:]}
        left = left[len(answers) :]
        if left:
            found[left[0]] = {"name": left[0], "became": "crash", "said": f"status {done.returncode}"}
            left = left[1:]
    return found


def _answer() -> None:
    """In a process of its own: read the files that stdin names, a line of JSON for each."""
    asked = json.load(sys.stdin)
    limits = Limits(page_seconds=asked["page_seconds"])
    me = psutil.Process()

    def parts() -> Iterator[tuple[str, psutil.Process]]:
        yield "parent", me
        for process in worker.running():
            yield "worker", psutil.Process(process)

    for name in asked["names"]:
        started = time.monotonic()
        with _peaks(parts) as peaks:
            try:
                document = documents.read(Path(asked["folder"], name), limits)
                became, said = READ, "; ".join(document.problems)
                if CANARY in document.text:
                    became, said = "crash", "it read a file of the host"
            except DocumentError as error:
                became, said = REFUSED, str(error)
            except Exception as error:  # the fault that is looked for
                became, said = "crash", f"{type(error).__name__}: {error}"
        answer = {"name": name, "became": became, "said": said, "seconds": round(time.monotonic() - started, 2)}
        print(json.dumps(answer | peaks), flush=True)


@contextmanager
def _peaks(parts: Callable[[], Iterator[tuple[str, psutil.Process]]]) -> Iterator[dict[str, float]]:
    """The most memory, in MB, that the processes of each name had together while this is open."""
    most: dict[str, float] = {}
    ended = threading.Event()

    def look() -> None:
        while True:
            now: dict[str, float] = {}
            try:
                for name, process in parts():
                    now[name] = max(now.get(name, 0), process.memory_info().rss / 1e6)
            except psutil.Error:  # it has just ended
                pass
            most.update({name: max(most.get(name, 0), mb) for name, mb in now.items()})
            if ended.wait(SAMPLE_SECONDS):
                return

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield most
    finally:
        ended.set()
        looking.join()


def _failures(files: dict[str, File], read: dict[str, dict]) -> list[str]:
    """What should not have become of a file, a sentence each that begins with its name."""
    found = []
    for name, answer in read.items():
        wanted = files[name].becomes if name in files else "nothing"
        shown = json.dumps(name)
        if answer["became"] == "crash" or wanted not in (answer["became"], hostile_files.EITHER):
            found.append(f"{shown}: {answer['became']} and not {wanted}: {answer['said']}")
        elif not _is_sentence(answer["said"]):
            found.append(f"{shown}: no sentence: {answer['said']!r}")
        elif answer.get("parent", 0) > PARENT_MB:
            found.append(f"{shown}: the process that asked took {answer['parent']:.0f} MB")
    return found


def _is_sentence(said: str) -> bool:
    return said.isprintable() and len(said) < 2000 and "Traceback" not in said


def _groups(files: dict[str, File], read: dict[str, dict]) -> dict[str, dict]:
    """Per group: how many files, what became of them, the slowest and the most memory."""
    groups: dict[str, dict] = {}
    for name, file in files.items():
        answer = read[name]
        group = groups.setdefault(
            file.group, {"tried": 0, READ: 0, REFUSED: 0, "crash": 0, "seconds": 0.0, "parent": 0.0, "worker": 0.0}
        )
        group["tried"] += 1
        group[answer["became"]] += 1
        for most in ("seconds", "parent", "worker"):
            group[most] = round(max(group[most], answer.get(most, 0)), 1)
    return groups


# --- all of them through inference.py ------------------------------------------------------------------------


def _command(folder: Path, files: dict[str, File], out: Path, settings: dict) -> dict:
    """The folder through `inference.py` against a server that answers with what the document says, and once more."""
    with chat_server.running(repeat) as server:
        address = server.address
        command = [sys.executable, "inference.py", str(folder), "--model", address, "-o", str(out), "--format", "csv"]
        command += [f"--set=inference.{name}={value}" for name, value in settings.items()]
        started = time.monotonic()
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        parent = psutil.Process(process.pid)

        def parts() -> Iterator[tuple[str, psutil.Process]]:
            yield "parent", parent
            for child in parent.children(recursive=True):
                yield "worker", child

        with _peaks(parts) as peaks:
            said = process.communicate()[1].decode(errors="replace")
        seconds = time.monotonic() - started
        again = subprocess.run(command, cwd=ROOT, capture_output=True).stderr.decode(errors="replace")
    return {
        "status": process.returncode,
        "seconds": round(seconds, 1),
        "parent": round(peaks.get("parent", 0), 1),
        "worker": round(peaks.get("worker", 0), 1),
        **_rows(files, out, said, again, process.returncode, peaks.get("parent", 0)),
    }


def _rows(files: dict[str, File], out: Path, said: str, again: str, status: int, parent: float) -> dict:
    """What of the command's output is not as it must be."""
    if not out.is_file():
        return {"rows": 0, "errors": 0, "failures": [f"inference.py: it came to no end: {said[-500:]}"]}
    raw = Path(f"{out}.jsonl").read_text(encoding="utf-8")
    odd: list[str] = []
    rows = [json.loads(line, parse_constant=odd.append) for line in raw.split("\n") if line]
    names = [next((p for p in row["file"].split("/") if p in files), row["file"]) for row in rows]  # `a.zip/b.txt`
    errors = {name: row["error"] for name, row in zip(names, rows, strict=True) if "error" in row}
    failures = [f"{json.dumps(name)}: {names.count(name)} rows" for name in files if names.count(name) != 1]
    failures += [f"{json.dumps(name)}: a row of no file" for name in names if name not in files]
    failures += [
        f"{json.dumps(name)}: no sentence: {said!r}" for name, said in errors.items() if not _is_sentence(said)
    ]
    failures += [
        f"{json.dumps(name)}: inference.py did not make of it what it should"
        for name, file in files.items()
        if file.becomes == (READ if name in errors else REFUSED)
    ]
    with open(out, encoding="utf-8-sig", newline="") as f:
        lines = sum(1 for _ in csv.reader(f)) - 1
    for wrong, sentence in (
        (bool(odd), f"{odd} in JSON"),
        (lines != len(files), f"{lines} lines of CSV"),
        (status != 1, f"inference.py ended with status {status}"),
        ("Traceback" in said, f"a traceback: {said[-500:]}"),
        (len(said.splitlines()) > len(errors) + 3, "errors of more than a line each"),
        (any(not c.isprintable() and c != "\n" for c in said), "control characters on the terminal"),
        (CANARY in raw + said, "a file of the host was read"),
        ("0 documents in" not in again, f"resumed, it read again: {again[-200:]}"),
        (parent > PARENT_MB, f"inference.py took {parent:.0f} MB"),
    ):
        if wrong:
            failures.append(f"inference.py: {sentence}")
    return {"rows": len(rows), "errors": len(errors), "failures": failures}


def repeat(messages: list[dict], schema: dict) -> tuple[int, str]:
    """A model whose answers repeat what the document says, in the fields of the schema."""
    text, fields = messages[-1]["content"].strip(), schema.get("properties", {})
    answers = {
        "merchant": {"name": text[:160]},
        "total": text[-20:],
        "clauses": {"Parties": [text[:400]]},
        "title": text[:160],
        "key_values": [{"key": text[:20], "value": text[-400:]}],
    }
    return 200, json.dumps({name: value for name, value in answers.items() if name in fields})


def _specials(folder: Path, files: dict[str, File]) -> dict:
    """Each thing that is no file as the argument: refused with a sentence, at once."""
    names = sorted(path.name for path in folder.iterdir() if path.name not in files and not path.is_dir())
    names += ["no such file.pdf", "n" * 300, "new\nline"]

    def failure(name: str) -> str | None:
        command = [sys.executable, "inference.py", str(folder / name), "--model", "http://127.0.0.1:9/v1"]
        try:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60)
        except subprocess.TimeoutExpired:
            return f"{json.dumps(name)}: as an argument, no end"
        said = done.stderr.decode(errors="replace")
        if done.returncode == 2 and len(said.splitlines()) == 1:
            return None
        return f"{json.dumps(name)}: as an argument, status {done.returncode}: {said[-300:]}"

    with ThreadPoolExecutor(2) as threads:
        failures = list(filter(None, threads.map(failure, names)))
    return {"tried": len(names), "refused": len(names) - len(failures), "failures": failures}


# --- the table -----------------------------------------------------------------------------------------------


def table(found: dict) -> str:
    command, specials, fuzzed = found["command"], found["specials"], found["fuzz"]
    lines = [
        "## Hostile documents",
        "",
        f"{found['tried']} hostile files, each through the reader, and all as one folder through"
        f" `inference.py` (its model a scripted server), {found['page_seconds']} seconds for a page."
        f" {found['survived']} of {found['tried']} gave what they should: text, or one sentence that says why not."
        " Memory is the peak of the asking and of the reading process for a file of the group.",
        "",
        "| files | tried | read | refused | crashes | slowest, s | asking, MB | reading, MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, group in found["groups"].items():
        cells = [name, *(group[key] for key in ("tried", READ, REFUSED, "crash", "seconds", "parent", "worker"))]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += [
        "",
        f"`inference.py` on the folder: {command['rows']} rows, {command['errors']} of them errors, in"
        f" {command['seconds']} s; it took at most {command['parent']:.0f} MB, its reader {command['worker']:.0f} MB."
        f" {specials['refused']} of {specials['tried']} things that are no file (pipes, sockets, devices, links in a"
        " circle, names that cannot be) were refused with a sentence.",
        "",
        "| fuzzed | executions | crashes | slowest, s |",
        "|---|---|---|---|",
    ]
    for name, target in fuzzed.items():
        lines.append(f"| {name} | {target['executions']:,} | {len(target['failures'])} | {target['slowest']} |")
    lines += ["", *(f"- {failure}" for failure in found["failures"])]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    _answer()
