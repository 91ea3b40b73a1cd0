"""The short form of the faults benchmark meets its targets, and its frame writes what was measured."""

import json

import pytest

from tests.hardening import __main__ as frame
from tests.hardening import faults
from tests.helpers import chat_server


def test_no_fault_loses_doubles_or_hides_anything():
    found = faults.measure(short=True, seed=1)
    assert faults.failures(found) == []
    counts = [*found["kills"].values(), *found["at_once"].values(), found["files"], found["results"]]
    assert all(count["tried"] == count["survived"] > 0 for count in counts)
    assert sum(count["tried"] for count in found["kills"].values()) == 6
    assert found["files"]["tried"] == 12  # manifest and three splits, each with a byte changed, cut off and removed
    assert "Lost, duplicated or unnoticed: 0." in faults.table(found)


def test_a_lost_row_and_an_unnoticed_byte_would_be_counted(tmp_path, monkeypatch):
    """The comparison itself: a row less, a row twice, another value, and a reader that goes on are all failures."""
    with chat_server.running(faults.hashed) as server:
        address = server.address
        line = faults.Line(tmp_path, address, with_model=False)
    stage = line.stages["inference"]
    rows = [{"file": f"{n}.txt", "record": {"total": str(n)}, "timings": {"read": 1}} for n in range(3)]

    def left(rows):
        stage.makes.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return faults.difference(line, stage)

    line.expected["inference"] = {}
    assert "3 of 0" in left(rows)
    line.expected["inference"] = line.found(stage)
    assert left([{**row, "timings": {"read": 2}} for row in rows[::-1]]) is None
    assert "1 of 3" in left(rows[:2])
    assert "1 of 3" in left([*rows, rows[2]])
    assert "1 of 3" in left([*rows[:2], {**rows[2], "record": {"total": "9"}}])
    assert faults.refusal(0, "") and faults.refusal(2, "Traceback ...\nerror: x") and faults.refusal(2, "x")
    assert faults.refusal(2, "warning: y\nerror: x\n") is None

    folder = line.stages["download_datasets"].makes
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_text('{"a": 1}\n')
    monkeypatch.setattr("prepare_training_data.main", lambda argv: 0)
    counted = faults.damaged_files(
        line, {"download_datasets": [("prepare_training_data", [])]}, 1, faults.random.Random(0)
    )
    assert (counted.tried, counted.survived) == (3, 0)


def test_a_folder_is_taken_for_half_made_when_a_file_of_it_is_not_as_sealed(tmp_path):
    stage = faults.Stage("any", [], tmp_path / "made")
    assert faults.half_made(stage) is None
    staging = faults.handoff.begin(stage.makes)
    (staging / "a.txt").write_text("whole")
    assert faults.half_made(stage) is None and "left behind" in faults.left_over(stage)
    faults.handoff.seal(staging, stage="any", settings={})
    assert faults.half_made(stage) is None and faults.left_over(stage) is None
    (stage.makes / "a.txt").write_text("halff")
    assert "a.txt was changed" in faults.half_made(stage)


def test_the_report_keeps_the_sections_of_parts_that_were_not_measured(tmp_path, monkeypatch, capsys):
    measured = {"tried": 3}
    monkeypatch.setattr(frame, "REPORT", tmp_path / "hardening.md")
    monkeypatch.setattr(frame, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(faults, "measure", lambda short, seed: {**measured, "seed": seed})
    monkeypatch.setattr(faults, "table", lambda found: f"## Faults\n\n{found['tried']} tried\n")
    frame.REPORT.write_text(frame.with_section("", "load", "## Load\n\nflat\n"))
    assert frame.main(["--part", "faults", "--seed", "7"]) == 0
    text = frame.REPORT.read_text()
    assert text.index("## Faults") < text.index("## Load") and "3 tried" in text and "flat" in text
    assert "Full form, seed 7" in text
    stored = json.loads((tmp_path / "results" / "faults.json").read_text())
    assert stored["found"] == {"tried": 3, "seed": 7} and stored["form"] == "full"

    measured["tried"] = 4
    assert frame.main(["--part", "faults"]) == 0
    assert "4 tried" in frame.REPORT.read_text() and "3 tried" not in frame.REPORT.read_text()
    measured["tried"] = 5
    assert frame.main(["--part", "faults", "--short"]) == 0
    assert "5 tried" in capsys.readouterr().out and "5 tried" not in frame.REPORT.read_text()


def test_a_part_that_does_not_exist_is_refused():
    with pytest.raises(SystemExit) as stopped:
        frame.main(["--part", "nothing"])
    assert stopped.value.code == 2
