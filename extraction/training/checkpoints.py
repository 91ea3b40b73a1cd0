"""The checkpoints of a run that was interrupted: which one is complete, and which rows and settings it belongs to."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from extraction import files, handoff

RUN = "run.json"  # in the checkpoint folder: which rows and settings its checkpoints belong to


def begin(folder: Path, run: dict, *, resume: bool, force: bool, writes: bool = True) -> Path | None:
    """Prepare the checkpoint folder. Returns the checkpoint to continue from, or None to start at step 0.

    `run` says which rows and settings the checkpoints belong to. Of several processes one `writes`.
    """
    checkpoint = to_resume(folder, run) if resume else None if force else to_continue(folder, run)
    if not writes:
        return checkpoint
    if checkpoint is None:
        clear(folder, run)
        return None
    if not resume:
        print(f"resuming from {checkpoint.name} of an interrupted run; --force starts over", file=sys.stderr)
    for path in folder.glob("checkpoint-*"):  # skipped: whatever overwrites them would read their files
        if step_of(path) > step_of(checkpoint):
            shutil.rmtree(path)
    return checkpoint


def to_resume(folder: Path, run: dict) -> Path:
    """The newest checkpoint. Raises StageError if there is none or it belongs to another run."""
    checkpoint = newest(folder)
    if checkpoint is None:
        raise files.StageError(f"there is no checkpoint in {folder} to resume from. Run: python train_moe.py")
    if files.read_json(folder / RUN) != files.plain(run):
        raise files.StageError(
            f"the checkpoints in {folder} belong to other rows or settings; without --resume a new run begins"
        )
    return checkpoint


def to_continue(folder: Path, run: dict) -> Path | None:
    """The newest checkpoint of just this run, if it was interrupted."""
    try:
        mine = files.read_json(folder / RUN) == files.plain(run)
    except files.StageError:
        return None
    return newest(folder) if mine else None


def clear(folder: Path, run: dict) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
        files.write_json(folder / RUN, run)
    except OSError as error:
        raise files.StageError(f"cannot write to {folder}: {error.strerror}") from error


def newest(folder: Path) -> Path | None:
    """The newest checkpoint that is complete: its manifest is its last file. One that was damaged later is named."""
    complete = {}
    for path in folder.glob("checkpoint-*"):
        try:
            manifest = handoff.manifest_of(path)
            damaged = manifest and handoff.damage(path, manifest)
        except files.StageError as error:
            manifest, damaged = None, str(error)
        if damaged:
            print(f"warning: {path} is skipped: {damaged}", file=sys.stderr)
        elif manifest:
            complete[path.name] = files.read_json(path / "trainer_state.json")
    # The best one so far is read again at the end.
    usable = [
        (state["global_step"], name)
        for name, state in complete.items()
        if state.get("best_model_checkpoint") is None or Path(state["best_model_checkpoint"]).name in complete
    ]
    return folder / max(usable)[1] if usable else None


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])
