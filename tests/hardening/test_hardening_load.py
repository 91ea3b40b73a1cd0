"""The page and inference.py under eight clients: nothing lost, a bounded queue, a clean end. The short form."""

import json
import random
import signal
import subprocess
import sys
import threading
import weakref
from types import SimpleNamespace

import pytest

import inference
from extraction.models import choice
from extraction.runs import results
from tests.hardening import load


@pytest.fixture(scope="module")
def found():
    return load.measure(short=True, seed=0)


def test_every_visitor_gets_the_answer_to_the_own_document(found):
    page = found["page"]
    assert page["asked"] >= load.CLIENTS
    assert (page["answered"], page["wrong"], page["lost"], page["refused"]) == (page["asked"], 0, 0, 0), page[
        "problems"
    ]


def test_who_comes_to_a_full_queue_is_told_so_and_everybody_else_is_answered(found):
    burst = found["page"]["burst"]
    assert burst["refused"] > 0
    assert burst == {"answered": load.BURST - burst["refused"], "refused": burst["refused"], "lost": 0, "wrong": 0}


def test_a_folder_read_by_eight_workers_and_stopped_has_each_document_once(found):
    batch = found["inference"]
    assert batch["status_after_resuming"] == 0
    assert (batch["answered"], batch["lost"], batch["duplicated"], batch["wrong"]) == (batch["asked"], 0, 0, 0)
    assert 0 < batch["rows_at_the_stop"] < batch["asked"]


@pytest.mark.parametrize("part", ["page", "inference"])
def test_sigterm_under_load_ends_it_cleanly(found, part):
    ended = found[part]
    assert ended["status"] == 143, ended["stop_seconds"]  # None if it took more than a minute
    assert (ended["children_left"], ended["files_left"], ended["tracebacks"]) == (0, 0, 0)


def test_the_page_and_its_reader_stay_small(found):
    assert 0 < found["page"]["peak_mb"] < 275  # 300 and more if Gradio's plots, or names in all languages, are loaded


def test_the_table_is_that_of_these_counts(found):
    shown = load.table(found)
    assert shown.startswith("## Load\n")
    assert f"| documents | {found['page']['asked']} | {found['inference']['asked']} |" in shown


# --- the means -----------------------------------------------------------------------------------------------


def test_the_slope_is_that_of_the_memory_after_the_warm_up():
    warming = [(float(t), 100.0 + 50 * t) for t in range(25)]
    rising = [(float(t), 1400.0 + (t - 25) * 2 / 3600) for t in range(25, 101)]
    assert load.slope(warming + rising) == (pytest.approx(2.0, abs=1e-6), pytest.approx(0.0, abs=1e-6))


def test_the_standard_error_covers_a_slope_that_is_not_there():
    draw = random.Random(1)
    rise, error = load.slope([(float(t), 500 + draw.gauss(0, 1)) for t in range(400)])
    assert error == pytest.approx(3600 * (12 / 300**3) ** 0.5, rel=0.1)  # the formula for even spacing, sigma 1
    assert abs(rise) < 3 * error


def test_memory_is_that_of_a_process_and_its_children():
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'x = [1] * 25_000_000; input()'])"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    memory = load.Memory(process)
    try:
        deadline = threading.Event()
        for _ in range(150):
            if memory.samples and memory.samples[-1][1] > 200:
                break
            deadline.wait(0.1)
        assert memory.children == 1 and 200 < memory.samples[-1][1] < 400
    finally:
        memory.stop()
        process.communicate(b"\n")


def test_a_process_that_ignores_sigterm_is_not_called_a_clean_end(monkeypatch):
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    process.stdout.readline()
    wait = process.wait
    monkeypatch.setattr(process, "wait", lambda timeout: wait(timeout=1))
    assert load.end(process)["status"] is None
    assert wait() == -signal.SIGKILL


def test_the_scripted_model_copies_what_it_is_shown_and_keeps_its_rate():
    text = load.receipt(random.Random(0), 7)
    shown = [SimpleNamespace(content=text)]
    status, content = load.read_total([{"content": shown[0].content}], {"properties": {"total": {}}})
    assert status == 200 and json.loads(content)["total"] == "7.17" and len(json.loads(content)["line_items"]) == 8


# --- memory of a long run ------------------------------------------------------------------------------------


def test_of_several_rows_of_a_file_the_last_is_kept_in_the_place_of_the_first(tmp_path):
    rows = [{"file": name, "n": n, "text": "é" * n} for n, name in enumerate("abcab")]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    results.keep_last_of_each(path)
    kept = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [(row["file"], row["n"], len(row["text"])) for row in kept] == [("a", 3, 3), ("b", 4, 4), ("c", 2, 2)]
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_into_a_file_does_not_hold_the_rows_that_it_has_written(tmp_path, monkeypatch):
    class Value(str):  # a text that can be looked for in memory
        pass

    made, alive = [], []

    def extract(document, backend, cfg, *, name, **_):
        value = Value(name)
        made.append(weakref.ref(value))
        alive.append(sum(one() is not None for one in made))
        return {"file": name, "record": {"total": value}, "problems": [], "timings": {}}

    for n in range(60):
        (tmp_path / f"{n}.txt").write_text(f"Invoice {n}")
    monkeypatch.setattr(inference, "extract", extract)
    monkeypatch.setattr(choice.Choice, "open", lambda *_: SimpleNamespace(name="x"))
    assert inference.main([str(tmp_path), "-o", str(tmp_path / "rows.jsonl")]) == 0
    assert len(alive) == 60 and max(alive) <= 5
    rows = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert sorted(json.loads(row)["file"] for row in rows) == sorted(str(tmp_path / f"{n}.txt") for n in range(60))
