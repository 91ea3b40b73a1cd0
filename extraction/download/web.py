"""Plain downloads: continued where they stopped, verified, and read out of archives."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path
from typing import Any

from extraction import files

ATTEMPTS = 4
FIRST_WAIT = 1.0  # seconds before the second attempt; doubles each time
TIMEOUT = (10, 60)  # seconds to connect, and between two pieces of an answer
MAX_MEMBER_BYTES = 200_000_000  # of one file in an archive, unpacked; CUAD's largest has 40 MB
WITHOUT_NETWORK = "Without a network: python download_datasets.py --source samples"


def fetch(url: str, path: Path, sha256: str | None = None, size: int | None = None) -> Path:
    """The file at a URL, whole and verified. What an interrupted run left in `<path>.part` is continued.

    Raises StageError if the server does not deliver it, or delivers another file.
    """
    import requests

    if path.is_file() and (sha256 is None or files.sha256(path) == sha256):
        return path
    part = path.with_name(path.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    problem = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(FIRST_WAIT * 2 ** (attempt - 1))
        try:
            status = receive(url, part)
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            problem = f"the connection failed ({type(error).__name__})"
            continue
        if status == 200:
            verify(part, url, sha256, size)
            return part.replace(path)
        problem = f"the server answered {status}"
        if status == 416:  # the leftover is longer than the file
            part.unlink(missing_ok=True)
        elif status != 429 and status < 500:
            break
    raise files.StageError(f"could not download {url}: {problem}. {WITHOUT_NETWORK}")


def receive(url: str, part: Path) -> int:
    """Append to `part` what it still lacks. Returns the HTTP status, 200 when the file is complete."""
    import requests
    from tqdm import tqdm

    have = part.stat().st_size if part.is_file() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code not in (200, 206):
            return answer.status_code
        if answer.status_code == 200:  # a server without ranges sends all of it again
            have = 0
        total = have + int(answer.headers["Content-Length"]) if "Content-Length" in answer.headers else None
        with (
            open(part, "ab" if have else "wb") as f,
            tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem, disable=None) as bar,
        ):
            for piece in answer.iter_content(1 << 16):
                f.write(piece)
                bar.update(len(piece))
    return 200


def verify(path: Path, url: str, sha256: str | None, size: int | None) -> None:
    """Raise StageError, and remove the file, if it is not the one that was published."""
    got, problem = path.stat().st_size, None
    if size is not None and got != size:
        problem = f"{got:,} bytes instead of {size:,}"
    elif sha256 is not None and (digest := files.sha256(path)) != sha256:
        problem = f"SHA-256 {digest} instead of {sha256}"
    if problem:
        path.unlink()
        raise files.StageError(f"{url} is not the published file: {problem}. It was deleted; run this again")


def zip_member(archive: Path, name: str) -> bytes:
    """One file of an archive, found by its base name and read in memory: no path in the archive is ever used."""
    try:
        with zipfile.ZipFile(archive) as z:
            members = [m for m in z.infolist() if m.filename.rsplit("/", 1)[-1] == name]
            if len(members) != 1:
                raise files.StageError(f"{archive.name} holds {len(members)} files called {name}, expected one")
            with z.open(members[0]) as f:
                content = f.read(MAX_MEMBER_BYTES + 1)
    except zipfile.BadZipFile as error:
        archive.unlink(missing_ok=True)
        raise files.StageError(f"{archive.name} is not a zip file: {error}. It was deleted; run this again") from error
    if len(content) > MAX_MEMBER_BYTES:
        raise files.StageError(f"{name} in {archive.name} is larger than {MAX_MEMBER_BYTES:,} bytes")
    return content


def parsed(content: bytes, name: str) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise files.StageError(f"{name} is not valid JSON: {error}") from error
