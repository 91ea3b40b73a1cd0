import json
import os
import signal
import subprocess
import sys
import time

import pytest

from extraction import handoff


def make(folder, content="rows", **settings):
    staging = handoff.begin(folder)
    handoff.write_text(staging / "a.txt", content)
    return handoff.seal(staging, stage="test", settings=settings)


def test_a_folder_appears_only_when_it_is_sealed(tmp_path):
    staging = handoff.begin(tmp_path / "made")
    handoff.write_text(staging / "a.txt", "x")
    assert not (tmp_path / "made").exists()
    handoff.seal(staging, stage="test", settings={})
    assert (tmp_path / "made" / "a.txt").read_text() == "x"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made"]


def test_an_unfinished_second_run_leaves_the_first_result(tmp_path):
    first = make(tmp_path / "made")
    handoff.write_text(handoff.begin(tmp_path / "made") / "a.txt", "half")
    assert handoff.require(tmp_path / "made", made_by="make it") == first


def test_a_kill_between_the_two_renames_of_a_seal_is_recovered(tmp_path):
    make(tmp_path / "made", "old")
    os.replace(tmp_path / "made", tmp_path / ".made.old")
    handoff.require(tmp_path / "made", made_by="make it")
    assert (tmp_path / "made" / "a.txt").read_text() == "old"


def test_a_missing_folder_is_reported_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(handoff.StageError, match="is not there yet. Run: python stage.py") as error:
        handoff.require(tmp_path / "absent", made_by="python stage.py")
    assert error.value.status == 2


@pytest.mark.parametrize("damage", ["changed", "same size", "removed", "manifest"])
def test_a_damaged_folder_is_refused(tmp_path, damage):
    make(tmp_path / "made")
    target = tmp_path / "made" / "a.txt"
    if damage == "changed":
        target.write_text("other rows")
    elif damage == "same size":
        target.write_text("rowz")
    elif damage == "removed":
        target.unlink()
    else:
        (tmp_path / "made" / "manifest.json").write_text("{")
    with pytest.raises(handoff.StageError):
        handoff.require(tmp_path / "made", made_by="make it")


def test_a_folder_made_from_other_inputs_is_refused(tmp_path):
    rows = make(tmp_path / "rows")
    staging = handoff.begin(tmp_path / "adapter")
    handoff.seal(staging, stage="train", settings={}, inputs={"rows": rows})
    handoff.require(tmp_path / "adapter", made_by="train", built_from={"rows": rows})
    other = make(tmp_path / "rows", "other")
    with pytest.raises(handoff.StageError, match="made from other rows"):
        handoff.require(tmp_path / "adapter", made_by="train", built_from={"rows": other})


def test_the_fingerprint_depends_on_contents_and_not_on_time(tmp_path):
    first, second = make(tmp_path / "a"), make(tmp_path / "b")
    assert first["fingerprint"] == second["fingerprint"]
    assert make(tmp_path / "c", "other")["fingerprint"] != first["fingerprint"]


def test_a_folder_is_current_only_for_the_same_settings_and_inputs(tmp_path):
    rows = make(tmp_path / "rows", size=(1, 2))
    assert handoff.is_current(tmp_path / "rows", stage="test", settings={"size": (1, 2)})
    assert not handoff.is_current(tmp_path / "rows", stage="test", settings={"size": (1, 3)})
    assert not handoff.is_current(tmp_path / "rows", stage="test", settings={"size": (1, 2)}, inputs={"x": rows})
    assert not handoff.is_current(tmp_path / "absent", stage="test", settings={})


def test_a_broken_json_line_is_named(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(handoff.StageError, match="line 2"):
        list(handoff.read_jsonl(tmp_path / "rows.jsonl"))


def test_an_unwritable_output_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(handoff.StageError, match="cannot write to"):
        handoff.begin(tmp_path / "file" / "folder")


def test_a_stage_exits_with_the_status_of_its_error(capsys):
    def fails(argv):
        raise handoff.StageError("no model", status=3)

    with pytest.raises(SystemExit) as stopped:
        handoff.run_stage(fails)
    assert stopped.value.code == 3
    assert capsys.readouterr().err == "error: no model\n"


def test_a_run_killed_at_any_moment_leaves_the_old_folder_or_the_new_one(tmp_path):
    """A process that seals the same folder again and again is killed 12 times; the folder is whole every time."""
    code = (
        "import sys; from pathlib import Path; from extraction import handoff\n"
        "n = 0\n"
        "while True:\n"
        "    n += 1\n"
        "    s = handoff.begin(Path(sys.argv[1]))\n"
        "    [handoff.write_text(s / f'{i}.txt', str(n)) for i in range(20)]\n"
        "    handoff.seal(s, stage='test', settings={'n': n})\n"
        "    print(n, flush=True)\n"
    )
    folder = tmp_path / "made"
    for attempt in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True, cwd=os.getcwd()
        )
        process.stdout.readline()
        time.sleep(0.003 * attempt)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        manifest = handoff.require(folder, made_by="make it")
        texts = {(folder / f"{i}.txt").read_text() for i in range(20)}
        assert texts == {str(manifest["settings"]["n"])}
        assert json.loads((folder / "manifest.json").read_text()) == manifest
