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

from extraction.files import StageError, crc32, fingerprint, plain, read_json, sha256, write_json

try:
    import fcntl
except ImportError:  # Windows: two runs of a stage at once are not told apart there
    fcntl = None

MANIFEST = "manifest.json"
NEEDED = {"stage", "settings", "inputs", "files", "fingerprint"}  # of a manifest
OPTIONAL = {"created", "commit", "check"}
_unsealed: set[Path] = set()  # folders that `begin` gave out and `seal` has not put in their place


def _neighbor(folder: Path, suffix: str) -> Path:
    return folder.with_name(f".{folder.name}.{suffix}")


# --- one at a time -------------------------------------------------------------------------------------------


class Busy(StageError):
    """Another process works on the folder."""


_locks: dict[Path, int] = {}  # the lock files that this process holds, with their descriptors
_begun: set[Path] = set()  # those of them that `begin` took, and `seal` or `abandon` gives back


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other process works on the folder (or file) meanwhile. Raises Busy, saying who does, if one does already.

    The operating system drops the lock with the process, however that ends.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        taken = _take(folder)
    except OSError as error:
        raise StageError(f"cannot write {folder}: {error.strerror or error}") from error
    try:
        yield
    finally:
        if taken:
            _release(folder)


def _lock_of(folder: Path) -> Path:
    return _neighbor(folder.absolute(), "lock")


def _take(folder: Path) -> bool:
    """Lock a folder. False if this process had it already."""
    path = _lock_of(folder)
    if fcntl is None or path in _locks:
        return False
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)  # closed in programs that we start
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_file(descriptor, path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"process {os.getpid()} ({Path(sys.argv[0]).name})".encode(), 0)
                break
        except BlockingIOError:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise Busy(f"{holder} works on {_shown(folder)}: wait until it ends, or end it") from None
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder has just removed the file: take the one that is there now
    _locks[path] = descriptor
    return True


def _holder(descriptor: int) -> str:
    """Who has a lock. It writes its name right after it got the lock, which may have been a moment ago."""
    for _ in range(20):
        name = os.pread(descriptor, 300, 0).decode(errors="replace")
        if name:
            return name
        time.sleep(0.05)
    return "another process"


def _is_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _release(folder: Path) -> None:
    path = _lock_of(folder)
    _begun.discard(path)
    if path in _locks:
        path.unlink(missing_ok=True)  # while it is still ours
        os.close(_locks.pop(path))


def _forget() -> None:
    """In a child made by fork: its copies of the descriptors would hold the locks for as long as it lives."""
    while _locks:
        os.close(_locks.popitem()[1])
    _begun.clear()
    _unsealed.clear()  # they are its parent's


if fcntl:
    os.register_at_fork(after_in_child=_forget)


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
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if _take(folder):
            _begun.add(_lock_of(folder))
        _recover(folder)
        for path in folder.parent.iterdir():
            if re.fullmatch(rf"\.{re.escape(folder.name)}(\.[0-9a-f]{{8}})?\.partial", path.name):
                shutil.rmtree(path, ignore_errors=True)
        staging = _neighbor(folder, f"{secrets.token_hex(4)}.partial")
        _unsealed.add(staging)
        staging.mkdir()
    except OSError as error:
        raise StageError(f"cannot write to {folder}: {error.strerror or error}") from error
    return staging


def _sealed(staging: Path) -> Path:
    """The folder that `begin` gave this one out for."""
    return staging.with_name(staging.name[1:].rsplit(".", 2)[0])


def abandon(staging: Path) -> None:
    """Give up a folder that `begin` gave out, and what was written into it."""
    shutil.rmtree(staging, ignore_errors=True)
    _unsealed.discard(staging)
    if _lock_of(_sealed(staging)) in _begun:
        _release(_sealed(staging))


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
    _unsealed.discard(staging)
    shutil.rmtree(old, ignore_errors=True)
    if _lock_of(folder) in _begun:
        _release(folder)
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
        "files": {name: {**entry, "crc32": crc32(folder / name)} for name, entry in files.items()},
        "fingerprint": fingerprint(files),
    }
    manifest["check"] = fingerprint(manifest)
    write_json(folder / MANIFEST, manifest)
    return manifest


def manifest_of(folder: Path) -> dict | None:
    """The manifest of a sealed folder, or None if the stage that makes it has not finished."""
    _wait_for_swap(folder)
    path = folder / MANIFEST
    if not path.is_file():
        return None
    manifest = read_json(path)
    if not isinstance(manifest, dict) or not NEEDED <= set(manifest) <= NEEDED | OPTIONAL:
        raise StageError(f"{path} is not a manifest. Delete {folder} and run its stage again")
    rest = {name: value for name, value in manifest.items() if name != "check"}
    if manifest.get("check", fingerprint(rest)) != fingerprint(rest):  # old ones have no such line
        raise StageError(f"{path} was changed after it was made. Delete {folder} and run its stage again")
    return manifest


def damage(folder: Path, manifest: dict, check_contents: bool = True) -> str | None:
    """Which file of a sealed folder is missing or changed, and which of the two; None if all are as they were made.

    By size and SHA-256; with check_contents=False, for files of gigabytes, by size and CRC-32, which finds damage too.
    """
    for name, entry in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        kind, checksum = ("sha256", sha256) if check_contents or "crc32" not in entry else ("crc32", crc32)
        if path.stat().st_size != entry["size"] or checksum(path) != entry[kind]:
            return f"{name} was changed after it was made"
    return None


def require(
    folder: Path, *, made_by: str, built_from: dict[str, dict] | None = None, check_contents: bool = True
) -> dict:
    """The manifest of a folder that an earlier stage sealed.

    Raises StageError naming the command to run if the folder is missing, if a file in it is missing or changed
    (see `damage`), or if it was made from other inputs than the manifests in `built_from`.
    """
    manifest = manifest_of(folder)
    shown = _shown(folder)
    if manifest is None:
        raise StageError(f"{shown} is not there yet. Run: {made_by}")
    if found := damage(folder, manifest, check_contents):
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
        and damage(folder, manifest, check_contents=False) is None
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
