import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from extraction import files, handoff, stage


def make(folder, content="rows", **settings):
    staging = handoff.begin(folder)
    files.write_text(staging / "a.txt", content)
    return handoff.seal(staging, stage="test", settings=settings)


def test_a_folder_appears_only_when_it_is_sealed(tmp_path):
    staging = handoff.begin(tmp_path / "made")
    files.write_text(staging / "a.txt", "x")
    assert not (tmp_path / "made").exists()
    handoff.seal(staging, stage="test", settings={})
    assert (tmp_path / "made" / "a.txt").read_text() == "x"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made"]


def test_an_unfinished_second_run_leaves_the_first_result(tmp_path):
    first = make(tmp_path / "made")
    files.write_text(handoff.begin(tmp_path / "made") / "a.txt", "half")
    assert handoff.require(tmp_path / "made", made_by="make it") == first


def test_a_kill_between_the_two_renames_of_a_seal_is_recovered(tmp_path):
    make(tmp_path / "made", "old")
    os.replace(tmp_path / "made", tmp_path / ".made.old")
    handoff.require(tmp_path / "made", made_by="make it")
    assert (tmp_path / "made" / "a.txt").read_text() == "old"


def test_a_missing_folder_is_reported_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(files.StageError, match="is not there yet. Run: python stage.py") as error:
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
    with pytest.raises(files.StageError):
        handoff.require(tmp_path / "made", made_by="make it")


def test_a_folder_made_from_other_inputs_is_refused(tmp_path):
    rows = make(tmp_path / "rows")
    staging = handoff.begin(tmp_path / "adapter")
    handoff.seal(staging, stage="train", settings={}, inputs={"rows": rows})
    handoff.require(tmp_path / "adapter", made_by="train", built_from={"rows": rows})
    other = make(tmp_path / "rows", "other")
    with pytest.raises(files.StageError, match="made from other rows"):
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


def test_a_damaged_file_is_not_current_and_is_made_again(tmp_path):
    make(tmp_path / "rows")
    (tmp_path / "rows" / "a.txt").write_text("rowz")
    assert not handoff.is_current(tmp_path / "rows", stage="test", settings={})


def test_every_changed_byte_of_a_file_is_noticed(tmp_path):
    manifest = make(tmp_path / "made", "0123456789" * 3)
    path = tmp_path / "made" / "a.txt"
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert handoff.damage(tmp_path / "made", manifest) == "a.txt was changed after it was made"
    path.write_bytes(whole)
    assert handoff.damage(tmp_path / "made", manifest) is None


def test_every_changed_byte_of_a_manifest_is_noticed_unless_it_means_the_same(tmp_path):
    manifest = make(tmp_path / "made", size=(1, 2))
    path = tmp_path / "made" / "manifest.json"
    whole = path.read_bytes()
    for place in range(len(whole)):
        changed = bytes([whole[place] ^ 1])
        path.write_bytes(whole[:place] + changed + whole[place + 1 :])
        try:
            found = handoff.manifest_of(tmp_path / "made")
        except files.StageError:
            continue
        assert found == manifest


OTHER = (  # begins a folder, says so, and waits for a line before it goes on
    "import sys; from pathlib import Path; from extraction import handoff\n"
    "staging = handoff.begin(Path(sys.argv[1])); print('begun', flush=True); sys.stdin.readline()\n"
)


def other_process(folder, code=OTHER):
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "begun\n"
    return process


def test_a_second_process_is_told_who_works_on_a_folder_until_that_one_ends(tmp_path):
    process = other_process(tmp_path / "made")
    with pytest.raises(files.StageError, match=rf"process {process.pid} \(-c\) works on .*made: wait") as error:
        handoff.begin(tmp_path / "made")
    assert error.value.status == 2
    make(tmp_path / "another")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (tmp_path / ".made.lock").exists()  # a lock file that nobody holds
    make(tmp_path / "made")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["another", "made"]


def test_a_lock_is_not_held_by_children_that_outlive_the_stage(tmp_path):
    """One made by fork, one by starting a program: neither keeps the folder of the process that was killed."""
    code = OTHER.replace(
        "print(", "import os, subprocess, time; child = os.fork() or time.sleep(60)\n"
        "program = subprocess.Popen(['sleep', '60'], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL); "
        "(Path(sys.argv[1]).parent / 'children').write_text(f'{child} {program.pid}'); print("
    )  # fmt: skip
    process = other_process(tmp_path / "made", code)
    process.kill()
    process.wait()
    children = [int(pid) for pid in (tmp_path / "children").read_text().split()]
    try:
        assert all(os.path.exists(f"/proc/{pid}") for pid in children)
        make(tmp_path / "made")
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)


def test_many_processes_that_take_a_folder_in_turn_never_have_it_together(tmp_path):
    """Each notes that it is in, and that it is out: between the two nobody else is."""
    code = (
        "import sys, time; from pathlib import Path; from extraction import handoff\n"
        "folder, log = Path(sys.argv[1]), open(Path(sys.argv[1]).parent / 'log', 'a', buffering=1)\n"
        "done = 0\n"
        "while done < 200:\n"
        "    try:\n"
        "        with handoff.alone(folder):\n"
        "            log.write('in\\n'); time.sleep(1e-4); log.write('out\\n'); done += 1\n"
        "    except handoff.Busy: pass\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "made")]) for _ in range(3)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    assert (tmp_path / "log").read_text() == "in\nout\n" * 600


def test_a_reader_never_finds_a_folder_gone_while_another_process_seals_it(tmp_path):
    code = (
        "import sys; from pathlib import Path; from extraction import files, handoff\n"
        "for n in range(80):\n"
        "    s = handoff.begin(Path(sys.argv[1]))\n"
        "    files.write_text(s / 'a.txt', str(n))\n"
        "    handoff.seal(s, stage='test', settings={'n': n})\n"
    )
    make(tmp_path / "made")
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "made")])
    reads = 0
    while process.poll() is None:
        assert handoff.manifest_of(tmp_path / "made")
        reads += 1
    assert process.returncode == 0  # a reader that finished the swap itself would break the other's seal
    assert reads > 80 and handoff.require(tmp_path / "made", made_by="x")["settings"] == {"n": 79}


def test_what_a_killed_run_left_running_cannot_write_into_the_next_one(tmp_path):
    first = handoff.begin(tmp_path / "made")
    second = handoff.begin(tmp_path / "made")
    assert first != second and not first.exists()
    handoff.seal(second, stage="test", settings={})


def test_a_broken_json_line_is_named(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(files.StageError, match="line 2"):
        list(files.read_jsonl(tmp_path / "rows.jsonl"))


def test_an_unwritable_output_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(files.StageError, match="cannot write to"):
        handoff.begin(tmp_path / "file" / "folder")


def test_a_stage_exits_with_the_status_of_its_error(capsys):
    def fails(argv):
        raise files.StageError("no model", status=3)

    with pytest.raises(SystemExit) as stopped:
        stage.run_stage(fails)
    assert stopped.value.code == 3
    assert capsys.readouterr().err == "error: no model\n"


@pytest.mark.parametrize("text", ["Error while serializing: I/O error: No space left on device (os error 28)"])
def test_a_full_disk_that_a_library_notices_is_one_sentence(capsys, text):
    def fails(argv):
        raise ValueError(text)

    with pytest.raises(SystemExit) as stopped:
        stage.run_stage(fails)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: No space left on device: the output folder\n"


def test_a_run_killed_at_any_moment_leaves_the_old_folder_or_the_new_one(tmp_path):
    """A process that seals the same folder again and again is killed 12 times; the folder is whole every time."""
    code = (
        "import sys; from pathlib import Path; from extraction import files, handoff\n"
        "n = 0\n"
        "while True:\n"
        "    n += 1\n"
        "    s = handoff.begin(Path(sys.argv[1]))\n"
        "    [files.write_text(s / f'{i}.txt', str(n)) for i in range(20)]\n"
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


def test_ctrl_c_while_a_folder_is_begun_leaves_no_lock_behind(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            handoff.begin(tmp_path / "rows")
    handoff.abandon_all()
    assert list(tmp_path.iterdir()) == []
