"""llama.cpp's own programs, from the source package of the installed llama-cpp-python.

The installed package holds only libraries. Its source package on PyPI holds the converter that belongs to them and the
sources of server and tools. Both are made once and kept in the cache folder.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from extraction import files, handoff

# The source packages that may be run: what PyPI serves under these versions.
SDIST_SHA256 = {"0.3.36": "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"}
CONVERTER_PARTS = ("convert_hf_to_gguf.py", "conversion/", "gguf-py/gguf/", "LICENSE")
TOOLS = ("llama-server", "llama-imatrix")
STAGE = "llama_source"
# Neither a web page nor a download while building; static, so that one file is the whole program.
CMAKE_OPTIONS = (
    "CMAKE_BUILD_TYPE=Release BUILD_SHARED_LIBS=OFF LLAMA_BUILD_TESTS=OFF LLAMA_BUILD_EXAMPLES=OFF LLAMA_BUILD_APP=OFF"
    " LLAMA_BUILD_UI=OFF LLAMA_USE_PREBUILT_UI=OFF LLAMA_OPENSSL=OFF"
).split()


def converter(cache: Path) -> Path:
    """The folder of the converter, fetched once. Raises StageError if the download fails or is not PyPI's."""
    version = importlib.metadata.version("llama-cpp-python")
    folder = cache / f"llama.cpp-{version}"
    if (made := handoff.manifest_of(folder)) and not handoff.damage(folder, made):
        return folder
    other = "or pass --llama-cpp DIR with llama.cpp's convert_hf_to_gguf.py"
    with sources(cache, version, other) as sdist:
        staging = handoff.begin(folder)
        unpack(sdist, staging, CONVERTER_PARTS)
        if not (staging / "convert_hf_to_gguf.py").is_file():
            raise files.StageError(f"{sdist.name} does not contain convert_hf_to_gguf.py")
    handoff.seal(staging, stage=STAGE, settings={"llama-cpp-python": version, "sha256": SDIST_SHA256[version]})
    return folder


def tools(cache: Path) -> Path:
    """The folder with llama-server and llama-imatrix.

    Built once, which takes some minutes and a C++ compiler. Raises StageError if the sources cannot be downloaded or
    built here.
    """
    version = importlib.metadata.version("llama-cpp-python")
    folder = cache / f"llama.cpp-{version}-tools"
    if (made := handoff.manifest_of(folder)) and not handoff.damage(folder, made):
        return folder
    cmake, ninja = (shutil.which(name, path=_path()) for name in ("cmake", "ninja"))
    if not cmake or not ninja:
        raise files.StageError("cmake and ninja are needed to build llama.cpp's tools. Run: pip install cmake ninja")
    with sources(cache, version, "or build them by hand") as sdist:
        root = sdist.parent / "source"
        unpack(sdist, root, ("",))
        build = sdist.parent / "build"
        options = [f"-D{option}" for option in CMAKE_OPTIONS]
        failed = "building llama.cpp's tools failed"
        run([cmake, "-S", root, "-B", build, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}", *options], failed)
        print("building llama.cpp's tools, once: some minutes", file=sys.stderr, flush=True)
        run([ninja, "-C", build, *TOOLS], failed)
        staging = handoff.begin(folder)
        for name in TOOLS:
            shutil.copy2(build / "bin" / name, staging / name)
    handoff.seal(staging, stage=STAGE, settings={"llama-cpp-python": version, "sha256": SDIST_SHA256[version]})
    return folder


def _path() -> str:
    """Where programs are looked for: beside this Python too, where pip puts cmake and ninja."""
    return os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))


def run(command: Sequence[object], failed: str, lines: int = 1, **options: Any) -> None:
    """Run a program. Raises StageError, with the last lines that it printed, if it fails."""
    command = list(map(str, command))
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode:
        last = [line for line in done.stdout.splitlines() if line.strip()][-lines:] or ["no output"]
        raise files.StageError(f"{failed}: {' '.join(last)}")


@contextmanager
def sources(cache: Path, version: str, otherwise: str) -> Iterator[Path]:
    """The checked source package, in a folder that is removed afterwards. Raises StageError if the download fails."""
    expected = SDIST_SHA256.get(version)
    if expected is None:
        known = ", ".join(SDIST_SHA256)
        raise files.StageError(f"the sources of llama-cpp-python {version} are unknown; install {known}, {otherwise}")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        print(f"fetching the sources of llama-cpp-python {version}, 77 MB", file=sys.stderr, flush=True)
        sdist = download_sdist(version, Path(temporary))
        if sdist is None:
            message = f"the sources of llama-cpp-python {version} could not be fetched from the package index"
            raise files.StageError(f"{message}. Try again with a connection, {otherwise}")
        found = files.sha256(sdist)
        if found != expected:
            raise files.StageError(f"{sdist.name} is not the published file: SHA-256 {found}, expected {expected}")
        yield sdist


def download_sdist(version: str, folder: Path) -> Path | None:
    """The source package as pip downloads it; None if pip cannot, which has then printed why."""
    asked = f"llama-cpp-python=={version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "llama-cpp-python"]
    done = subprocess.run([*command, "--dest", str(folder), asked], capture_output=True, text=True)
    if done.returncode:
        print("\n".join(done.stderr.strip().splitlines()[-3:]), file=sys.stderr)
    return next(folder.glob("llama_cpp_python-*.tar.gz"), None)


def unpack(sdist: Path, into: Path, parts: tuple[str, ...]) -> None:
    """Write llama.cpp's files whose path begins with one of `parts` into a folder."""
    with tarfile.open(sdist) as archive:
        for member in archive:
            _, inside, name = member.name.partition("/vendor/llama.cpp/")
            if inside and member.isfile() and name.startswith(parts) and ".." not in name:
                (into / name).parent.mkdir(parents=True, exist_ok=True)
                (into / name).write_bytes(archive.extractfile(member).read())


if __name__ == "__main__":
    print(tools(Path(sys.argv[1])))
