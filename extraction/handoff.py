"""How one stage hands a folder to the next: JSON Lines, manifests, begin / seal / require.

A stage writes into the folder that `begin` gives it, a hidden neighbor of the real one, and `seal` writes the
manifest last and swaps the folders. So the real folder is either absent, the old one, or the complete new one,
whenever the process is killed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
_unsealed: set[Path] = set()  # folders that `begin` gave out and `seal` has not put in their place


class StageError(Exception):
    """An expected failure: one sentence that says what to do. `status` is the exit status."""

    def __init__(self, message: str, status: int = 2):
        super().__init__(message)
        self.status = status


def sha256(path: Path) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """16 hexadecimal digits that change when the JSON value does."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def plain(value: Any) -> Any:
    """The value as JSON gives it back: tuples become lists."""
    return json.loads(json.dumps(value, default=str))


# --- files ---------------------------------------------------------------------------------------------------


def write_text(path: Path, text: str) -> Path:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_json(path: Path, value: Any) -> Path:
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[dict]) -> Path:
    return write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise StageError(f"{path} is not valid JSON: {error}") from error
    except FileNotFoundError as error:
        raise StageError(f"{path} does not exist") from error


def read_jsonl(path: Path) -> Iterator[dict]:
    """The rows of a JSON Lines file. Raises StageError naming the line that is not a JSON object."""
    if not path.is_file():
        raise StageError(f"{path} does not exist")
    with open(path, encoding="utf-8") as f:
        try:
            for number, line in enumerate(f, start=1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise StageError(f"{path}, line {number}: not a JSON object")
                    yield row
        except json.JSONDecodeError as error:
            raise StageError(f"{path}, line {number}: {error}") from error
        except UnicodeDecodeError as error:
            raise StageError(f"{path}: not UTF-8 text: {error}") from error


# --- folders -------------------------------------------------------------------------------------------------


def free_bytes(folder: Path) -> int:
    """Free space of the disk that holds the folder, or will once it is made."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


def _neighbor(folder: Path, suffix: str) -> Path:
    return folder.with_name(f".{folder.name}.{suffix}")


def _recover(folder: Path) -> None:
    """Finish the swap of a `seal` that was killed between its two renames."""
    old = _neighbor(folder, "old")
    if old.exists() and not folder.exists():
        os.replace(old, folder)
    shutil.rmtree(old, ignore_errors=True)


def begin(folder: Path) -> Path:
    """An empty folder to write into, which `seal` puts in the place of `folder`. Leftovers of a killed run go."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _recover(folder)
        staging = _neighbor(folder, "partial")
        shutil.rmtree(staging, ignore_errors=True)
        _unsealed.add(staging)
        staging.mkdir()
    except OSError as error:
        raise StageError(f"cannot write to {folder}: {error.strerror or error}") from error
    return staging


def seal(staging: Path, *, stage: str, settings: dict, inputs: dict[str, dict] | None = None) -> dict:
    """Close the folder that `begin` gave out: write its manifest and put it in its place.

    `inputs` are the manifests of the folders it was made from. Returns the new manifest.
    """
    folder = staging.with_name(staging.name.removeprefix(".").removesuffix(".partial"))
    paths = sorted(p for p in staging.rglob("*") if p.is_file())
    files = {str(p.relative_to(staging)): {"size": p.stat().st_size, "sha256": sha256(p)} for p in paths}
    manifest = {
        "stage": stage,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "settings": plain(settings),
        "inputs": {name: m["fingerprint"] for name, m in (inputs or {}).items()},
        "files": files,
        "fingerprint": fingerprint(files),
    }
    write_json(staging / MANIFEST, manifest)
    old = _neighbor(folder, "old")
    if folder.exists():
        os.replace(folder, old)
    os.replace(staging, folder)
    _unsealed.discard(staging)
    shutil.rmtree(old, ignore_errors=True)
    return manifest


def manifest_of(folder: Path) -> dict | None:
    """The manifest of a sealed folder, or None if the stage that makes it has not finished."""
    _recover(folder)
    path = folder / MANIFEST
    if not path.is_file():
        return None
    manifest = read_json(path)
    if not isinstance(manifest, dict) or not {"stage", "settings", "inputs", "files", "fingerprint"} <= set(manifest):
        raise StageError(f"{path} is not a manifest. Delete {folder} and run its stage again")
    return manifest


def require(
    folder: Path, *, made_by: str, built_from: dict[str, dict] | None = None, check_contents: bool = True
) -> dict:
    """The manifest of a folder that an earlier stage sealed.

    Raises StageError naming the command to run if the folder is missing, if a file in it is missing or changed
    (by size and SHA-256; by size alone with check_contents=False), or if it was made from other inputs than
    the manifests in `built_from`.
    """
    manifest = manifest_of(folder)
    shown = _shown(folder)
    if manifest is None:
        raise StageError(f"{shown} is not there yet. Run: {made_by}")
    for name, entry in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise StageError(f"{shown}/{name} is missing. Make it again: {made_by} --force")
        if path.stat().st_size != entry["size"] or (check_contents and sha256(path) != entry["sha256"]):
            raise StageError(f"{shown}/{name} was changed after it was made. Make it again: {made_by} --force")
    for name, source in (built_from or {}).items():
        if manifest["inputs"].get(name) != source["fingerprint"]:
            raise StageError(f"{shown} was made from other {name} than those on disk. Run: {made_by}")
    return manifest


def is_current(folder: Path, *, stage: str, settings: dict, inputs: dict[str, dict] | None = None) -> bool:
    """Whether the folder holds just what this stage would make again from these settings and inputs."""
    manifest = manifest_of(folder)
    return (
        manifest is not None
        and manifest["stage"] == stage
        and manifest["settings"] == plain(settings)
        and manifest["inputs"] == {name: m["fingerprint"] for name, m in (inputs or {}).items()}
        and all(
            (folder / name).is_file() and (folder / name).stat().st_size == entry["size"]
            for name, entry in manifest["files"].items()
        )
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


# --- running a stage -----------------------------------------------------------------------------------------


def show_bug(error: BaseException) -> None:
    """Print where an unexpected error came from: the lines of code and the kind of error.

    Its message may hold text of a document, so that it is only shown with DOC_INTEL_DEBUG=1 in the environment.
    """
    if os.environ.get("DOC_INTEL_DEBUG") == "1":
        traceback.print_exception(error)
        return
    chain = [error]
    while (earlier := chain[-1].__cause__ or chain[-1].__context__) and earlier not in chain:
        chain.append(earlier)
    for one in reversed(chain):
        print("".join(traceback.format_tb(one.__traceback__)), type(one).__name__, sep="", file=sys.stderr)
    print("The message may hold text of a document. DOC_INTEL_DEBUG=1 shows it.", file=sys.stderr, flush=True)


def show_bugs_without_text() -> None:
    """From now on, whatever ends this process or one of its threads unexpectedly is shown by `show_bug`."""
    sys.excepthook = lambda kind, error, trace: show_bug(error)
    threading.excepthook = lambda bug: show_bug(bug.exc_value) if bug.exc_value else None


def _terminated(*_: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not interrupt the cleaning up
    sys.exit(143)


def run_stage(main: Callable[[list[str] | None], int]) -> None:
    """Run a stage's main and exit: an expected failure is one sentence on stderr, a traceback means a bug.

    However it ends, short of SIGKILL, no unfinished folder stays behind.
    """
    show_bugs_without_text()
    signal.signal(signal.SIGTERM, _terminated)
    try:
        status = main(None)
    except StageError as error:
        print(f"error: {error}", file=sys.stderr)
        status = error.status
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EPERM, errno.EDQUOT):
            raise
        print(f"error: {error.strerror}: {error.filename or 'the output folder'}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        status = 130
    finally:
        for staging in _unsealed:
            shutil.rmtree(staging, ignore_errors=True)
    sys.exit(status)
