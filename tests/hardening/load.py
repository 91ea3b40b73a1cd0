"""The page and `inference.py` under eight clients at once: memory, lost answers, the queue, the end.

The model is a script that answers over HTTP, so that what is measured is this project's own code. `benchmarks/load.py`
measures the opposite, a model server under load.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.helpers import chat_server

ROOT = Path(__file__).resolve().parent.parent.parent
CLIENTS = 8
SECONDS = {True: 8, False: 1800}  # of load on the page and on inference.py: short, whole
BURST = 40  # requests at once, twice what the page's queue holds
RATE = 8  # answers a second that the model server gives inference.py at most


# --- a model that costs nothing ------------------------------------------------------------------------------


def receipt(draw: random.Random, number: int) -> str:
    """A receipt whose total exists once."""
    lines = [f"{draw.choice(('Tea', 'Cake', 'Soup', 'Bread'))} {n}   {draw.randint(100, 999) / 100}" for n in range(8)]
    return f"Corner Shop {number}\n" + "\n".join(lines) + f"\nTOTAL   {number}.{number % 90 + 10}\nCASH   999999.00\n"


def read_total(messages: list[dict], schema: dict) -> tuple[int, str]:
    """The model: it copies what it is shown."""
    text = messages[-1]["content"]
    total = re.search(r"TOTAL\s+(\S+)", text)[1]
    if "answer" in schema["properties"]:
        return 200, json.dumps({"answer": total})
    items = re.findall(r"^(\w+ \d)   (\S+)$", text, re.M)
    rows = [{"description": name, "amount": amount} for name, amount in items]
    return 200, json.dumps({"merchant": {"name": "Corner Shop"}, "line_items": rows, "total": total})


# --- memory --------------------------------------------------------------------------------------------------


class Memory:
    """Resident memory of a process and all that it started, four times a second, and the most children at a time."""

    def __init__(self, process: subprocess.Popen):
        self.pid = process.pid
        self.samples: list[tuple[float, float]] = []  # seconds, MB
        self.children = 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        import psutil

        while not self.done.wait(0.25):
            try:
                parent = psutil.Process(self.pid)
                everyone = [parent, *parent.children(recursive=True)]
                used = sum(p.memory_info().rss for p in everyone)
            except psutil.NoSuchProcess:  # one of them has just ended
                continue
            self.children = max(self.children, len(everyone) - 1)
            self.samples.append((time.monotonic(), used / 1e6))

    def stop(self) -> None:
        self.done.set()
        self.thread.join()


def slope(samples: list[tuple[float, float]], warm_up: float = 0.25) -> tuple[float, float]:
    """MB an hour after a warm-up of that share of the time, and its standard error (least squares)."""
    times = [t for t, _ in samples]
    warm = [(t, mb) for t, mb in samples if t >= times[0] + (times[-1] - times[0]) * warm_up]
    mean_t, mean_mb = statistics.fmean(t for t, _ in warm), statistics.fmean(mb for _, mb in warm)
    spread = sum((t - mean_t) ** 2 for t, _ in warm)
    rise = sum((t - mean_t) * (mb - mean_mb) for t, mb in warm) / spread
    left = sum((mb - mean_mb - rise * (t - mean_t)) ** 2 for t, mb in warm)
    return rise * 3600, (left / max(len(warm) - 2, 1) / spread) ** 0.5 * 3600


def memory_of(memory: Memory, process_seconds: float) -> dict:
    rise, error = slope(memory.samples)
    late_rise, late_error = slope(memory.samples, 0.5)
    return {
        "seconds": round(process_seconds, 1),
        "samples": len(memory.samples),
        "peak_mb": round(max(mb for _, mb in memory.samples)),
        "slope_mb_per_hour": round(rise, 1),
        "slope_error": round(error, 1),
        "late_slope_mb_per_hour": round(late_rise, 1),
        "late_slope_error": round(late_error, 1),
        "children": memory.children,
    }


def alive_below(pids: list[int]) -> list[int]:
    """Those of the processes that are still there."""
    import psutil

    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def end(process: subprocess.Popen) -> dict:
    """Send SIGTERM: the exit status, how long it took, and the children that outlive it."""
    import psutil

    children = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    try:
        status = process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        status = None
    seconds = time.monotonic() - started
    deadline = time.monotonic() + 5
    while alive_below(children) and time.monotonic() < deadline:
        time.sleep(0.1)
    return {"status": status, "stop_seconds": round(seconds, 1), "children_left": len(alive_below(children))}


def environment(folder: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DOC_INTEL_", "GRADIO_"))}
    return kept | {"TMPDIR": str(folder), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


# --- the page ------------------------------------------------------------------------------------------------


def start_page(folder: Path, url: str) -> tuple[subprocess.Popen, str]:
    """The page's process, once it answers, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    command = [sys.executable, "app.py", "--port", str(port), "--model", url]
    with open(folder / "stdout", "w") as out, open(folder / "stderr", "w") as err:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(folder / "tmp"), stdout=out, stderr=err)
    deadline = time.monotonic() + 120
    while "page: http" not in (folder / "stdout").read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise RuntimeError(f"the page did not start: {(folder / 'stderr').read_text()}")
        time.sleep(0.1)
    return process, f"http://127.0.0.1:{port}"


def page_under_load(folder: Path, seconds: float, seed: int) -> dict:
    """Clients that upload, read and ask without a pause; then all at once; then the page is stopped while they do."""
    os.environ |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    from gradio_client import Client, handle_file

    (folder / "tmp").mkdir(parents=True)
    draw, numbers = random.Random(f"load/{seed}"), itertools.count(1)
    counted, problems, waits = Counter(), [], []
    lock = threading.Lock()
    stopping = threading.Event()

    def document() -> tuple[Path, str]:
        with lock:
            number = next(numbers)
            path = folder / f"receipt_{number}.txt"
            path.write_text(receipt(draw, number))
        return path, f"{number}.{number % 90 + 10}"

    def read_one(client: Client, ask: bool = False) -> None:
        """One document, and perhaps a question about it; what comes back must be of this document."""
        path, total = document()
        started = time.monotonic()
        with lock:
            counted["asked"] += 1
        try:
            found = client.submit(handle_file(path), "auto", None, "", api_name="/extract").result(timeout=120)
            right = found[0].startswith(path.name) and f'"{total}"' in found[6]
            if right and ask:
                right = f'"{total}"' in client.submit("How much?", api_name="/ask").result(timeout=120)[6]
            outcome = "answered" if right else "wrong"
        except Exception as error:  # whatever a client is told, or not told
            outcome = "refused" if "full" in str(error).lower() else "lost"
            if outcome == "lost" and not stopping.is_set():
                problems.append(f"{type(error).__name__}: {str(error)[:200]}")
        with lock:
            counted["at the stop" if stopping.is_set() else outcome] += 1
            waits.append(time.monotonic() - started)
        path.unlink()

    def visit(client: Client, until: float) -> None:
        for number in itertools.count():
            if time.monotonic() >= until or stopping.is_set():
                return
            read_one(client, ask=number % 4 == 3)

    def new_client() -> Client:
        return Client(address, verbose=False, analytics_enabled=False, download_files=str(folder / "downloads"))

    with chat_server.running(read_total) as server:
        url = server.address
        process, address = start_page(folder, url)
        try:
            clients = [new_client() for _ in range(CLIENTS)]
            memory, started = Memory(process), time.monotonic()
            with ThreadPoolExecutor(CLIENTS) as pool:
                list(pool.map(lambda client: visit(client, started + seconds), clients))
            memory.stop()
            steady = dict(counted)
            load = memory_of(memory, time.monotonic() - started)
            seconds_each = statistics.median(waits)
            with ThreadPoolExecutor(BURST) as pool:
                list(pool.map(lambda n: read_one(clients[n % CLIENTS]), range(BURST)))
            burst = {name: counted[name] - steady.get(name, 0) for name in ("answered", "refused", "lost", "wrong")}
            with ThreadPoolExecutor(CLIENTS) as pool:
                for client in clients:
                    pool.submit(visit, client, time.monotonic() + 20)
                time.sleep(1)
                stopping.set()
                threading.excepthook = lambda bug: None  # the clients' own threads find that the page has gone
                stopped = end(process)
        finally:
            threading.excepthook = threading.__excepthook__
            process.kill()
    said = (folder / "stderr").read_text()
    return {
        **load,
        "clients": CLIENTS,
        "asked": steady["asked"],
        **{name: steady.get(name, 0) for name in ("answered", "refused", "wrong", "lost")},
        "median_seconds": round(seconds_each, 2),
        "burst": burst,
        **stopped,
        "files_left": sum(path.is_file() for path in (folder / "tmp").rglob("*")),
        "tracebacks": said.count("Traceback"),
        "problems": problems[:5],
    }


# --- inference.py --------------------------------------------------------------------------------------------


def batch_under_load(folder: Path, seconds: float, seed: int) -> dict:
    """A folder of documents with eight workers, stopped by SIGTERM four seconds before its end and run again."""
    (folder / "tmp").mkdir(parents=True)
    (folder / "documents").mkdir()
    draw, count = random.Random(f"load/{seed}"), int(seconds * RATE)
    for number in range(1, count + 1):
        (folder / "documents" / f"receipt_{number}.txt").write_text(receipt(draw, number))
    rows = folder / "rows.jsonl"
    with chat_server.running(read_total, RATE) as server:
        url = server.address
        command = [sys.executable, "inference.py", str(folder / "documents"), "-o", str(rows)]
        command += ["--workers", str(CLIENTS), "--model", url]

        def start() -> subprocess.Popen:
            with open(folder / "stderr", "a") as err:
                return subprocess.Popen(command, cwd=ROOT, env=environment(folder / "tmp"), stderr=err)

        started = time.monotonic()
        process = start()
        memory = Memory(process)
        while process.poll() is None and lines_of(rows) < count - 4 * RATE:
            time.sleep(0.2)
        memory.stop()
        ran = time.monotonic() - started
        stopped = end(process)
        at_stop = lines_of(rows)
        status = start().wait(timeout=seconds * 3 + 120)
    read = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    wrong = 0
    for row in read:
        number = int(re.search(r"\d+", Path(row["file"]).stem)[0])
        wrong += (row.get("record") or {}).get("total") != f"{number}.{number % 90 + 10}"
    files = Counter(row["file"] for row in read)
    return {
        **memory_of(memory, ran),
        "clients": CLIENTS,
        "asked": count,
        "answered": len(read) - wrong,
        "wrong": wrong,
        "lost": count - len(files),
        "duplicated": sum(n - 1 for n in files.values()),
        "rows_at_the_stop": at_stop,
        "status_after_resuming": status,
        **stopped,
        "files_left": sum(path.is_file() for path in (folder / "tmp").rglob("*")),
        "tracebacks": (folder / "stderr").read_text().count("Traceback"),
        "problems": [row["error"] for row in read if "error" in row][:5],
    }


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


# --- the part ------------------------------------------------------------------------------------------------


def measure(short: bool, seed: int, seconds: float | None = None) -> dict:
    """Counts and memory of the page and of inference.py under load for so many seconds (8 or 1,800), both at once."""
    seconds = seconds or SECONDS[short]
    started = time.monotonic()
    temporary = tempfile.TemporaryDirectory(prefix="hardening-", ignore_cleanup_errors=True)
    with temporary as folder, ThreadPoolExecutor(2) as both:
        page = both.submit(page_under_load, Path(folder) / "page", seconds, seed)
        batch = both.submit(batch_under_load, Path(folder) / "batch", seconds, seed)
        found = {"page": page.result(), "inference": batch.result()}
    return found | {"seconds": round(time.monotonic() - started, 1), "cores": len(os.sched_getaffinity(0))}


def table(found: dict) -> str:
    page, batch = found["page"], found["inference"]
    heads = ("", "page", "`inference.py --workers 8`")
    rows = [
        ("under load, s", f"{page['seconds']:.0f}", f"{batch['seconds']:.0f}"),
        ("documents", page["asked"], batch["asked"]),
        ("answered with their own values", page["answered"], batch["answered"]),
        ("lost, wrong", f"{page['lost']}, {page['wrong']}", f"{batch['lost']}, {batch['wrong']}"),
        ("refused although the queue has room; duplicated", page["refused"], batch["duplicated"]),
        (
            "memory after a quarter of the time, MB an hour",
            *(f"{m['slope_mb_per_hour']:+.1f} ± {m['slope_error']:.1f}" for m in (page, batch)),
        ),
        (
            "memory in the second half, MB an hour",
            *(f"{m['late_slope_mb_per_hour']:+.1f} ± {m['late_slope_error']:.1f}" for m in (page, batch)),
        ),
        ("highest memory of all processes, MB", page["peak_mb"], batch["peak_mb"]),
        ("SIGTERM: exit status, seconds", *(f"{m['status']}, {m['stop_seconds']}" for m in (page, batch))),
        ("processes, temporary files left", *(f"{m['children_left']}, {m['files_left']}" for m in (page, batch))),
    ]
    burst = page["burst"]
    return (
        "\n".join(
            [
                "## Load",
                "",
                f"The page with {CLIENTS} clients and, at the same time, `inference.py` with {CLIENTS} workers on "
                f"{found['cores']} cores, against models that answer from a script. Then {BURST} requests to it at "
                f"the same moment: {burst['answered']} answered, {burst['refused']} told that the queue is full, "
                f"{burst['lost']} lost. Both are stopped by SIGTERM while they work; inference.py went on from "
                f"{batch['rows_at_the_stop']} rows afterwards. ± is the standard error of the least-squares slope.",
                "",
                "| " + " | ".join(heads) + " |",
                "|---" * len(heads) + "|",
                *("| " + " | ".join(map(str, row)) + " |" for row in rows),
                *(f"\n- {problem}" for part in (page, batch) for problem in part["problems"]),
            ]
        )
        + "\n"
    )
