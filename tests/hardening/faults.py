"""Part faults: every stage is killed, starved of disk, run twice at once, and handed damaged files.

Each stage of the line runs as a program on a tiny Qwen3 mixture of experts and a few bundled receipts. What a
disturbed run and the run after it leave is compared, file by file and bit by bit, with what an undisturbed run left;
only times of day and durations are left out of the comparison.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import config
from extraction import files, handoff
from tests.helpers import chat_server, tiny_moe

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
TIMES = ("seconds", "tokens_per_second", "timings", "created", "check", "commit", "seconds_per_row")
TIMES += ("seconds_per_document",)


# --- the line ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    name: str
    command: list[str]
    makes: Path  # a sealed folder, or a file of rows
    leaves: list[str] = field(default_factory=list)  # patterns beside it that a disturbed run may leave
    unequal: tuple[str, ...] = ()  # files that an undisturbed run makes differently each time


class Line:
    """A folder in which the stages run, one after the other, and what each of them makes undisturbed."""

    def __init__(self, root: Path, address: str, with_model: bool):
        self.root, self.options = root, []
        if with_model:
            with contextlib.redirect_stderr(io.StringIO()):
                tiny_moe.build(root / "base")
        items = {
            "data.datasets_dir": root / "raw" / "datasets",
            "data.training_dir": root / "rows" / "training",
            "output.dir": root / "output",
            "train.base_model": root / "base",
            "data.datasets": "cord",
            "data.max_documents": 6,
            "data.generate.receipt": 4,
            "data.generate.invoice": 0,
            "data.generate.letter": 2,
            "train.init_adapter": "null",
            "train.max_seq_length": 2048,
            "train.max_steps": 6,
            "train.eval_steps": 2,
            "train.eval_rows": 2,
            "train.learning_rate": "1e-3",
            "export.quantization": "Q8_0",
            "inference.quantization": "Q8_0",
            "inference.context_tokens": 2048,
            "inference.max_new_tokens": 16,
            "evaluate.bootstrap_samples": 100,
        }
        self.options = [part for key, value in items.items() for part in ("--set", f"{key}={value}")]
        self.cfg = config.read(config.parser(""), self.options)[1]
        documents = root / "documents"
        documents.mkdir()
        for number in range(12):
            (documents / f"{number:02}.txt").write_text(f"Corner Shop {number}\nTea    2.00\nTOTAL  {number}.00\n")
        self.results = root / "results" / "rows.jsonl"
        self.results.parent.mkdir()
        asked = [str(documents), "--model", address, "-o", str(self.results)]
        self.stages = {
            stage.name: stage
            for stage in (
                Stage("download_datasets", [], self.cfg.datasets_dir / "cord"),
                Stage("prepare_training_data", [], self.cfg.training_dir),
                Stage("train_moe", [], self.cfg.adapter_dir, ["checkpoints"], ("tensorboard/",)),
                Stage("export_gguf", [], self.cfg.gguf_dir),
                Stage("test_moe", ["--model", "gguf"], self.cfg.evaluation_dir / "gguf-Q8_0", [], ("report.",)),
                Stage("inference", asked, self.results),
            )
        }
        self.expected: dict[str, dict[str, str]] = {}  # by stage: file name and digest
        self.seconds: dict[str, tuple[float, float]] = {}  # by stage: until it began to write, and until its end

    def start(self, stage: Stage) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, f"{stage.name}.py", *stage.command, *self.options],
            cwd=config.ROOT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            preexec_fn=lambda: signal.signal(
                signal.SIGINT, signal.SIG_DFL
            ),  # it is ignored where we are in the background
        )

    def run(self, stage: Stage) -> tuple[int, str]:
        process = self.start(stage)
        said = process.communicate(timeout=600)[1]
        return process.returncode, said

    def clear(self, stage: Stage) -> None:
        """Take away what the stage made, and what is left of runs that were killed."""
        parent = stage.makes.parent
        hidden = [path for path in parent.glob(".*") if stage.makes.name in path.name] if parent.is_dir() else []
        for path in [stage.makes, *hidden, *(parent / name for name in stage.leaves)]:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def undisturbed(self, stage: Stage) -> None:
        """Run a stage and keep what it made, and how long it took, to compare with."""
        started, begun = time.monotonic(), None
        process = self.start(stage)
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.append(process.stderr.read()))
        reader.start()
        while process.poll() is None:
            time.sleep(0.01)
            if begun is None and stage.makes.parent.is_dir() and any(stage.makes.parent.iterdir()):
                names = [path.name for path in stage.makes.parent.iterdir()]
                if any(stage.makes.name in name or name in stage.leaves for name in names):
                    begun = time.monotonic() - started
        reader.join()
        if process.returncode:
            raise files.StageError(f"{stage.name} failed undisturbed: {said[0].strip()[-300:]}")
        self.seconds[stage.name] = begun or 0.0, time.monotonic() - started
        self.expected[stage.name] = self.found(stage)

    def found(self, stage: Stage) -> dict[str, str]:
        """Digest or text of each file that the stage made, without the times in it."""
        if stage.makes.is_file():
            rows = sorted(map(timeless, files.read_jsonl(stage.makes)), key=lambda row: row["file"])
            return {f"{number} {row['file']}": files.fingerprint(row) for number, row in enumerate(rows)}
        digests = {}
        for path in sorted(p for p in stage.makes.rglob("*") if p.is_file()):
            name = str(path.relative_to(stage.makes))
            if name.startswith(stage.unequal) or name == handoff.MANIFEST:
                continue
            if path.suffix == ".json":
                digests[name] = json.dumps(timeless(files.read_json(path)))  # the order of keys counts too
            elif path.suffix == ".jsonl":
                digests[name] = json.dumps([timeless(row) for row in files.read_jsonl(path)])
            else:
                digests[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        if stage.makes.is_dir():
            handoff.require(stage.makes, made_by=stage.name)
        return digests


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: timeless(inner) for key, inner in value.items() if key not in TIMES}
    return [timeless(inner) for inner in value] if isinstance(value, list) else value


def hashed(messages: list[dict], schema: dict) -> tuple[int, str]:
    """A model whose answer depends on the document alone."""
    return 200, json.dumps({"total": hashlib.sha256(messages[-1]["content"].encode()).hexdigest()[:6]})


# --- faults --------------------------------------------------------------------------------------------------


class Count:
    """How many of a kind were tried and survived, and what the others did."""

    def __init__(self) -> None:
        self.tried, self.survived, self.failures, self.how = 0, 0, [], Counter()
        self.one_at_a_time = threading.Lock()

    def add(self, problem: str | None, how: str = "", about: str = "") -> None:
        if problem:
            print(f"{about}: {problem}", file=sys.stderr, flush=True)
        with self.one_at_a_time:
            self.tried += 1
            self.how[how] += bool(how)
            if problem is None:
                self.survived += 1
            else:
                self.failures.append(f"{about}: {problem}")

    def as_dict(self) -> dict:
        return {"tried": self.tried, "survived": self.survived, "how": dict(self.how), "failures": self.failures}


def difference(line: Line, stage: Stage) -> str | None:
    """What is not as the undisturbed run left it."""
    try:
        found = line.found(stage)
    except files.StageError as error:
        return f"the result cannot be read: {error}"
    expected = line.expected[stage.name]
    if found == expected:
        return None
    names = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    return f"{len(names)} of {len(expected)} files or rows differ: {', '.join(names[:4])}"


def kills(line: Line, stage: Stage, tries: int, draw: random.Random) -> Count:
    """Kill the stage at random moments, half of them once it has begun to write, and run it again to its end."""
    count = Count()
    begun, whole = line.seconds[stage.name]
    for number in range(tries):
        line.clear(stage)
        number_of = SIGNALS[number % len(SIGNALS)]
        moment = draw.uniform(begun if number % 2 else 0.0, whole)
        process = line.start(stage)
        try:
            said = process.communicate(timeout=moment)[1]
        except subprocess.TimeoutExpired:
            process.send_signal(number_of)
            said = process.communicate(timeout=120)[1]
        ended = "before its end" if process.returncode else "after its end"
        problem = half_made(stage)
        status, said = line.run(stage)
        if status:
            problem = problem or f"the next run ended with {status}: {last_line(said)}"
        problem = problem or difference(line, stage) or left_over(stage)
        count.add(problem, f"{number_of.name} {ended}", f"{stage.name}, {number_of.name} after {moment:.2f} s")
    return count


def half_made(stage: Stage) -> str | None:
    """Whether there is a result that says it is whole and is not."""
    if not stage.makes.is_dir():
        return None
    try:
        manifest = handoff.manifest_of(stage.makes)
        found = handoff.damage(stage.makes, manifest) if manifest else "a folder without a manifest"
    except files.StageError as error:
        found = str(error)
    return found and f"a half-made result was left: {found}"


def left_over(stage: Stage) -> str | None:
    left = [path.name for path in stage.makes.parent.glob(".*") if stage.makes.name in path.name]
    left += [name for name in stage.leaves if (stage.makes.parent / name).exists()]
    return f"left behind: {', '.join(sorted(left))}" if left else None


def last_line(said: str) -> str:
    return (said.strip().splitlines() or ["nothing was said"])[-1][:300]


def refusal(status: int, said: str) -> str | None:
    """Why this was no refusal with one sentence and status 2, if it was none."""
    if status != 2:
        return f"status {status}: {last_line(said)}"
    if "Traceback" in said:
        return f"a traceback: {last_line(said)}"
    return None if sum(text.startswith("error: ") for text in said.splitlines()) == 1 else f"said: {last_line(said)}"


def at_once(line: Line, stage: Stage) -> Count:
    """Start the stage twice at the same moment: one does the work, the other refuses or finds it done."""
    count = Count()
    line.clear(stage)
    both = [line.start(stage) for _ in range(2)]
    said = [process.communicate(timeout=600)[1] for process in both]
    problem = None
    refused = [i for i in range(2) if both[i].returncode]
    if len(refused) > 1:
        problem = f"both refused: {last_line(said[0])}"
    for i in refused:
        problem = problem or refusal(both[i].returncode, said[i])
        if not problem and f"process {both[1 - i].pid} ({stage.name}.py) works on" not in said[i]:
            problem = f"it does not name the other: {last_line(said[i])}"
    problem = problem or difference(line, stage) or left_over(stage)
    count.add(problem, "refused" if refused else "found it done", f"{stage.name} twice")
    return count


# --- disks ---------------------------------------------------------------------------------------------------


def mounted(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True).returncode == 0


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """The folder, with what is in it, on a disk of its own with so many bytes left; False where none can be made."""
    with tempfile.TemporaryDirectory() as aside:
        shutil.copytree(folder, aside, dirs_exist_ok=True)
        used = sum(path.stat().st_size + 4096 for path in Path(aside).rglob("*"))
        if not mounted("-t", "tmpfs", "-o", f"size={used + size + 16384}", "tmpfs", str(folder)):
            yield False
            return
        try:
            shutil.copytree(aside, folder, dirs_exist_ok=True)
            yield True
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[bool]:
    """The folder without the right to write: by a mount where permissions do not bind us, as root."""
    if os.geteuid() != 0:
        folder.chmod(0o555)
        try:
            yield True
        finally:
            folder.chmod(0o755)
        return
    if not mounted("--bind", str(folder), str(folder)):
        yield False
        return
    try:
        yield mounted("-o", "remount,bind,ro", str(folder))
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def disks(line: Line, stage: Stage, share: float, full: Count, locked: Count) -> None:
    """Run the stage on a disk with too little room for what it makes, then on one that cannot be written to.

    Each time the next run, with nothing in its way, has to make what it should.
    """
    made = sum(path.stat().st_size for path in [stage.makes, *stage.makes.rglob("*")] if path.is_file())
    for count, trouble in (
        (full, lambda folder: small_disk(folder, int(made * share))),
        (locked, read_only),
    ):
        line.clear(stage)
        stage.makes.parent.mkdir(parents=True, exist_ok=True)
        with trouble(stage.makes.parent) as possible:
            if not possible:
                continue
            status, said = line.run(stage)
            problem = refusal(status, said) or half_made(stage)
        status, told = line.run(stage)
        if status:
            problem = problem or f"the next run ended with {status}: {last_line(told)}"
        about = f"{stage.name}, {share:.0%} of the room" if count is full else f"{stage.name}, read-only"
        count.add(problem or difference(line, stage), last_line(said), about)


# --- damaged files -------------------------------------------------------------------------------------------


def flip(path: Path, draw: random.Random) -> None:
    with open(path, "r+b") as f:
        place = draw.randrange(path.stat().st_size)
        f.seek(place)
        old = f.read(1)[0]
        f.seek(place)
        f.write(bytes([old ^ draw.randrange(1, 256)]))


def truncate(path: Path, draw: random.Random) -> None:
    os.truncate(path, draw.randrange(path.stat().st_size))


def remove(path: Path, draw: random.Random) -> None:
    path.unlink()


DAMAGES = {"one byte": flip, "truncated": truncate, "removed": remove}


def outcome(run: Callable[[], int]) -> tuple[int, str]:
    """Status and stderr of a stage's main in this process, as `run_stage` would end it."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            return run(), said.getvalue()
        except files.StageError as error:
            return error.status, f"{said.getvalue()}error: {error}\n"
        except Exception as error:  # a traceback, in a process of its own
            return 1, f"{said.getvalue()}Traceback\n{type(error).__name__}: {error}\n"


def damaged_files(
    line: Line, readers: dict[str, list[tuple[str, list[str]]]], flips: int, draw: random.Random
) -> Count:
    """Damage each file of each sealed folder in each way, and run the stages that read the folder.

    Who reads has to refuse with a sentence: status 2, or 3 where a model cannot be opened.
    """
    import importlib

    count = Count()
    for made_by, stages in readers.items():
        folder = line.stages[made_by].makes
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            whole = path.read_bytes()
            for kind, damage in DAMAGES.items():
                for _ in range(flips if kind == "one byte" else 1):
                    for reader, arguments in stages:
                        damage(path, draw)
                        changed = path.read_bytes() if path.exists() else None
                        main = importlib.import_module(reader).main
                        status, said = outcome(lambda m=main, a=arguments: m([*a, *line.options]))
                        path.write_bytes(whole)
                        problem = (
                            None if status in (2, 3) and "Traceback" not in said else f"status {status}: {said[-200:]}"
                        )
                        if problem and same_meaning(path.name, whole, changed):
                            problem = None  # another kind of white space
                        about = f"{path.relative_to(line.root)} {kind}, read by {reader}"
                        count.add(problem, kind, about)
    return count


def same_meaning(name: str, before: bytes, after: bytes | None) -> bool:
    """Whether a manifest, which is JSON and cannot hold its own hash, still says the same."""
    if name != handoff.MANIFEST or after is None:
        return False
    try:
        return json.loads(before) == json.loads(after)
    except ValueError:
        return False


def damaged_results(line: Line, draw: random.Random, tries: int) -> Count:
    """Damage a row of a half-finished results file: the run that goes on refuses, or reads that document again."""
    count, stage = Count(), line.stages["inference"]
    status, said = line.run(stage)
    whole = stage.makes.read_bytes()
    for _ in range(tries):
        for kind, damage in (("one byte", flip), ("truncated", truncate)):
            damage(stage.makes, draw)
            status, said = line.run(stage)
            problem = refusal(status, said) if status else difference(line, stage)
            stage.makes.write_bytes(whole)
            count.add(problem, "refused" if status else "made again", f"results file, {kind}")
    return count


def damaged_checkpoints(line: Line, draw: random.Random, tries: int) -> Count:
    """Stop training by Ctrl-C, damage a file of the newest checkpoint, and train on: the adapter has to be the same."""
    count, stage = Count(), line.stages["train_moe"]
    folder = line.cfg.checkpoints_dir
    for _ in range(tries):
        line.clear(stage)
        process = line.start(stage)
        reader = threading.Thread(target=process.stderr.read)
        reader.start()
        while process.poll() is None and not (folder / "checkpoint-4" / handoff.MANIFEST).is_file():
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        reader.join()
        newest = max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
        path = draw.choice(sorted(p for p in newest.iterdir() if p.is_file() and p.stat().st_size))
        flip(path, draw)
        status, said = line.run(stage)
        problem = f"status {status}: {last_line(said)}" if status else difference(line, stage)
        if not problem and "is skipped" not in said and path.name != handoff.MANIFEST:
            problem = "the damage was not named"
        count.add(problem, "skipped", f"{newest.name}/{path.name}, one byte")
    return count


# --- the part ------------------------------------------------------------------------------------------------

SHORT = ("download_datasets", "inference")  # the stages that need no model of their own
READERS = {
    "download_datasets": [("prepare_training_data", [])],
    "prepare_training_data": [("train_moe", []), ("test_moe", ["--model", "gguf"])],
    "train_moe": [("export_gguf", []), ("test_moe", ["--model", "adapter"])],
    "export_gguf": [("test_moe", ["--model", "gguf", "--force"])],
    "test_moe": [("test_moe", ["--model", "http://127.0.0.1:9/v1", "--compare", "gguf"])],
}
TRIES = {
    "download_datasets": 9,
    "prepare_training_data": 3,
    "train_moe": 3,
    "export_gguf": 3,
    "test_moe": 3,
    "inference": 9,
}


def measure(short: bool, seed: int) -> dict:
    """Counts of every kind of fault. The short form leaves out the stages that load or train a model."""
    draw = random.Random(seed)
    found: dict[str, Any] = {"kills": {}, "at_once": {}, "undisturbed_seconds": {}}
    full, locked = Count(), Count()
    with tempfile.TemporaryDirectory(prefix="faults-") as work, chat_server.running(hashed) as server:
        server.delay, address = 0.15, server.address
        line = Line(Path(work).resolve(), address, with_model=not short)

        def disturb(name: str) -> dict[str, Any]:
            stage, moments = line.stages[name], random.Random(f"{seed}/{name}")
            print(f"faults of {name} ...", file=sys.stderr, flush=True)
            line.undisturbed(stage)
            killed = kills(line, stage, 3 if short else TRIES[name], moments).as_dict()
            twice = at_once(line, stage).as_dict()
            disks(line, stage, moments.uniform(0.1, 0.8), full, locked)
            return {"undisturbed_seconds": round(line.seconds[name][1], 1), "kills": killed, "at_once": twice}

        names = list(SHORT if short else line.stages)
        # In the short form no stage needs what another makes
        with ThreadPoolExecutor(len(SHORT) if short else 1) as lanes:
            for name, became in zip(names, lanes.map(disturb, names), strict=True):
                for kind, value in became.items():
                    found[kind][name] = value
        chosen = {name: READERS[name] for name in READERS if not short or name in SHORT}
        found["files"] = damaged_files(line, chosen, 1 if short else 3, draw).as_dict()
        found["results"] = damaged_results(line, draw, 1 if short else 4).as_dict()
        if not short:
            found["checkpoints"] = damaged_checkpoints(line, draw, 2).as_dict()
    found["full_disk"], found["read_only"] = full.as_dict(), locked.as_dict()
    found["peak_mib"] = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
    return found


def failures(found: dict) -> list[str]:
    """Everything that was lost, duplicated or not noticed."""
    counts = [*found["kills"].values(), *found["at_once"].values()]
    counts += [found[name] for name in ("files", "results", "checkpoints", "full_disk", "read_only") if name in found]
    return [failure for count in counts for failure in count["failures"]]


def table(found: dict) -> str:
    """The part's section of the report."""

    def row(what: str, counts: list[dict], then: str) -> str:
        tried, survived = (sum(count[key] for count in counts) for key in ("tried", "survived"))
        return f"| {what} | {tried or 'not tried'} | {survived if tried else ''} | {then} |"

    lines = [
        "## Faults",
        "",
        f"These stages ran as programs on a tiny mixture of experts: {', '.join(found['kills'])}. After a fault",
        "the stage ran again, and its result was compared bit by bit with that of an undisturbed run (without",
        "times; TensorBoard's event files and the rendered reports, which hold durations, are not compared).",
        "",
        "| fault | tried | survived | survived means |",
        "|---|---|---|---|",
    ]
    same = "no half-made result, and the next run ends with the same bits"
    for name, count in found["kills"].items():
        lines.append(row(f"`{name}` killed (SIGKILL, SIGTERM, SIGINT in turn)", [count], same))
    lines += [
        row("two runs at once", list(found["at_once"].values()), "the second stops and names the first; the same bits"),
        row("disk full", [found["full_disk"]], "one sentence, status 2; the next run ends with the same bits"),
        row("folder read-only", [found["read_only"]], "one sentence, status 2; the next run ends with the same bits"),
    ]
    how = ", ".join(f"{number} {kind}" for kind, number in found["files"]["how"].items())
    lines.append(
        row(
            f"a file of a hand-off damaged ({how})", [found["files"]], "the stage that reads it refuses with a sentence"
        )
    )
    lines.append(row("the results file of `inference.py -o` damaged", [found["results"]], "refused, or read again"))
    if "checkpoints" in found:
        lines.append(row("a training checkpoint damaged", [found["checkpoints"]], "skipped and named; the same bits"))
    failed = failures(found)
    lines += ["", "Lost, duplicated or unnoticed: " + (f"{len(failed)}." if failed else "0.")]
    lines += [f"- {failure}" for failure in failed]
    lines += [f"Peak memory of a stage {found['peak_mib']:,} MiB. Loss of power and failing disks were not tried."]
    return "\n".join(lines)
