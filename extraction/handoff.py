"""How one stage hands a folder to the next: JSON Lines, manifests, begin / seal / require.

A stage writes into the folder that `begin` gives it, a hidden neighbor of the real one, and `seal` writes the
manifest last and swaps the folders. So the real folder is either absent, the old one, or the complete new one,
whenever the process is killed. From `begin` to `seal` the folder is locked against a second run of the stage.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from extraction.files import Missing, StageError, fingerprint, plain, read_json, sha256, write_json

MANIFEST = "manifest.json"
NEEDED = {"stage", "settings", "inputs", "files", "fingerprint"}  # of a manifest
OPTIONAL = {"created", "commit", "check"}
_unsealed: dict[Path, Any] = {}  # folders that `begin` gave out and nobody sealed, with their locks
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unsealed.clear)  # they are the parent's


def _neighbor(folder: Path, suffix: str) -> Path:
    return folder.with_name(f".{folder.name}.{suffix}")


# --- one at a time -------------------------------------------------------------------------------------------


class Busy(StageError):
    """Another process works on the folder."""


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other process works on the folder (or file) meanwhile. Raises Busy, naming the one that does, if there is one.

    The operating system drops the lock with the process, however that ends.
    """
    lock = _take(folder)
    try:
        yield
    finally:
        _release(lock)


def _take(folder: Path) -> Any:
    """Lock a folder; this process may do so more than once. The lock file holds the name of the process."""
    import filelock

    path = _neighbor(folder.absolute(), "lock")
    lock = filelock.FileLock(path, is_singleton=True, thread_local=False)
    held = lock.lock_counter
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0.1, poll_interval=0.01)
        with contextlib.suppress(OSError):  # Windows lets nobody write into a locked file
            path.write_text(f"process {os.getpid()} ({Path(sys.argv[0]).name})", encoding="utf-8")
    except filelock.Timeout:
        raise Busy(f"{_holder(path)} works on {_shown(folder)}: wait for it or stop it") from None
    except OSError as error:
        raise StageError(f"cannot write to {folder}: {error.strerror or error}") from error
    except KeyboardInterrupt:
        if lock.lock_counter > held:
            _release(lock)
        raise
    return lock


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") or "another process"
    except OSError:
        return "another process"


def _release(lock: Any) -> None:
    if lock.lock_counter == 1:
        with contextlib.suppress(OSError):
            os.unlink(lock.lock_file)  # while it is still ours: a process that waits for it takes a new one
    lock.release()


# --- begin, seal, require ------------------------------------------------------------------------------------


def _recover(folder: Path) -> None:
    """Finish the swap of a `seal` that was killed between its two renames. Only for who has locked the folder."""
    old = _neighbor(folder, "old")
    if old.exists() and not folder.exists():
        os.replace(old, folder)
    shutil.rmtree(old, ignore_errors=True)


def _wait_for_swap(folder: Path) -> None:
    """For a reader: let a `seal` finish that is between its two renames, or do it for one that was killed there."""
    deadline = time.monotonic() + 5
    while not folder.exists() and _neighbor(folder, "old").exists() and time.monotonic() < deadline:
        try:
            with alone(folder):
                _recover(folder)
        except Busy:
            time.sleep(0.01)


def begin(folder: Path) -> Path:
    """An empty folder to write into, which `seal` puts in the place of `folder`. Leftovers of a killed run go.

    Its name is new every time: a program that outlived the run which started it finds its files nowhere.
    Raises Busy if another process has begun the folder and not sealed it.
    """
    for staging in [path for path in _unsealed if _sealed(path) == folder]:
        abandon(staging)
    staging = _neighbor(folder, f"{secrets.token_hex(4)}.partial")
    _unsealed[staging] = _take(folder)  # at once: from here on `abandon` gives it back, whatever ends the run
    _recover(folder)
    for path in folder.parent.iterdir():
        if re.fullmatch(rf"\.{re.escape(folder.name)}(\.[0-9a-f]{{8}})?\.partial", path.name):
            shutil.rmtree(path, ignore_errors=True)
    staging.mkdir()
    return staging


def _sealed(staging: Path) -> Path:
    """The folder that `begin` gave this one out for."""
    return staging.with_name(staging.name[1:].rsplit(".", 2)[0])


def abandon(staging: Path) -> None:
    """Give up a folder that `begin` gave out, and what was written into it."""
    shutil.rmtree(staging, ignore_errors=True)
    if staging in _unsealed:
        _release(_unsealed.pop(staging))


def abandon_all() -> None:
    """Give up every folder that this process has begun and not sealed."""
    for staging in list(_unsealed):
        abandon(staging)


def seal(staging: Path, *, stage: str, settings: dict, inputs: dict[str, dict] | None = None) -> dict:
    """Close the folder that `begin` gave out: write its manifest and put it in its place.

    `inputs` are the manifests of the folders it was made from. Returns the new manifest.
    """
    folder = _sealed(staging)
    manifest = write_manifest(staging, stage=stage, settings=settings, inputs=inputs)
    old = _neighbor(folder, "old")
    if folder.exists():
        os.replace(folder, old)
    os.replace(staging, folder)
    shutil.rmtree(old, ignore_errors=True)
    _release(_unsealed.pop(staging))
    return manifest


def write_manifest(folder: Path, *, stage: str, settings: dict, inputs: dict[str, dict] | None = None) -> dict:
    """Write down what the folder holds, and return it."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / MANIFEST)
    files = {str(p.relative_to(folder)): {"size": p.stat().st_size, "sha256": sha256(p)} for p in paths}
    manifest = {
        "stage": stage,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "settings": plain(settings),
        "inputs": {name: m["fingerprint"] for name, m in (inputs or {}).items()},
        "files": files,
        "fingerprint": fingerprint(files),
    }
    manifest["check"] = fingerprint(manifest)
    write_json(folder / MANIFEST, manifest)
    return manifest


def manifest_of(folder: Path) -> dict | None:
    """The manifest of a sealed folder, or None if the stage that makes it has not finished."""
    path = folder / MANIFEST
    for _ in range(3):  # another process may begin a swap after each wait
        _wait_for_swap(folder)
        with contextlib.suppress(Missing):
            manifest = read_json(path)
            break
    else:
        return None
    if not isinstance(manifest, dict) or not NEEDED <= set(manifest) <= NEEDED | OPTIONAL:
        raise StageError(f"{path} is not a manifest. Delete {folder} and run its stage again")
    rest = {name: value for name, value in manifest.items() if name != "check"}
    if manifest.get("check", fingerprint(rest)) != fingerprint(rest):  # old ones have no such line
        raise StageError(f"{path} was changed after it was made. Delete {folder} and run its stage again")
    return manifest


def damage(folder: Path, manifest: dict) -> str | None:
    """Which file of a sealed folder is missing or changed, by size and SHA-256; None if all are as they were made."""
    for name, entry in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != entry["size"] or sha256(path) != entry["sha256"]:
            return f"{name} was changed after it was made"
    return None


def require(folder: Path, *, made_by: str, built_from: dict[str, dict] | None = None) -> dict:
    """The manifest of a folder that an earlier stage sealed.

    Raises StageError naming the command to run if the folder is missing, if a file in it is missing or changed
    (see `damage`), or if it was made from other inputs than the manifests in `built_from`.
    """
    manifest = manifest_of(folder)
    shown = _shown(folder)
    if manifest is None:
        raise StageError(f"{shown} is not there yet. Run: {made_by}")
    if found := damage(folder, manifest):
        raise StageError(f"{shown}/{found}. Make it again: {made_by} --force")
    for name, source in (built_from or {}).items():
        if manifest["inputs"].get(name) != source["fingerprint"]:
            raise StageError(f"{shown} was made from other {name} than those on disk. Run: {made_by}")
    return manifest


def is_current(folder: Path, *, stage: str, settings: dict, inputs: dict[str, dict] | None = None) -> bool:
    """Whether the folder holds just what this stage would make again from these settings and inputs.

    A file that is missing or damaged makes it be made again.
    """
    manifest = manifest_of(folder)
    return (
        manifest is not None
        and manifest["stage"] == stage
        and manifest["settings"] == plain(settings)
        and manifest["inputs"] == {name: m["fingerprint"] for name, m in (inputs or {}).items()}
        and damage(folder, manifest) is None
    )


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _commit() -> str | None:
    root = Path(__file__).resolve().parent.parent
    try:
        asked = ["git", "-C", str(root), "rev-parse", "HEAD"]
        return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None  # a copy without git, such as an unpacked archive
