"""Datasets on the Hugging Face hub: only the columns that are needed travel, and a failure is one sentence."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from extraction import files
from extraction.download import web
from extraction.download.sources import Source


@contextmanager
def errors_as_sentences(source: Source) -> Iterator[None]:
    """Turn what the hub's client raises into one sentence that says what to do."""
    import httpx
    import pyarrow
    from huggingface_hub import errors

    try:
        yield
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        if isinstance(error, errors.GatedRepoError) or status in (401, 403):
            raise files.StageError(
                f"the hub refuses access to {source.hub_id} ({status}). Accept its terms at {source.url}, "
                "then log in: hf auth login"
            ) from error
        if status == 404:
            raise files.StageError(f"{source.url} has no revision or file of that name: {error}") from error
        raise files.StageError(f"the hub answered {status} for {source.hub_id}. Try again later") from error
    except (httpx.TransportError, errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        raise files.StageError(
            f"cannot reach the hub for {source.hub_id} ({type(error).__name__}). {web.WITHOUT_NETWORK}"
        ) from error
    except pyarrow.ArrowInvalid as error:
        raise files.StageError(f"a Parquet file of {source.hub_id} cannot be read: {error}") from error


def patiently(call: Callable[[], Any]) -> Any:
    """The call's result, tried again after a connection error or a busy server."""
    import httpx
    from huggingface_hub import errors

    for attempt in range(web.ATTEMPTS):
        try:
            return call()
        except (httpx.TransportError, errors.LocalEntryNotFoundError, errors.HfHubHTTPError) as error:
            response = getattr(error, "response", None)
            refused = response is not None and response.status_code != 429 and response.status_code < 500
            if refused or attempt == web.ATTEMPTS - 1:
                raise
        time.sleep(web.FIRST_WAIT * 2**attempt)


def shards(names: Iterable[str], split: str) -> list[str]:
    """The Parquet files of a split, in order. Raises StageError if there is none or one is missing."""
    pattern = re.compile(rf"(?:^|/){split}-(\d+)-of-(\d+)[^/]*\.parquet$")
    found = sorted((int(m[1]), int(m[2]), name) for name in names if (m := pattern.search(name)))
    if not found or [number for number, _, _ in found] != list(range(found[0][1])):
        raise files.StageError(f"the {split} split has {len(found)} Parquet files, which is not all of it")
    return [name for _, _, name in found]


def revision(source: Source) -> tuple[str, list[str]]:
    """The commit that the revision stands for now, and its files."""
    from huggingface_hub import HfApi

    with errors_as_sentences(source):
        info = patiently(lambda: HfApi().dataset_info(source.hub_id, revision=source.revision))
    return info.sha, [file.rfilename for file in info.siblings]


def rows(
    source: Source, sha: str, names: list[str], columns: list[str], downloads: Path | None, label: str
) -> Iterator[list[dict]]:
    """The rows of Parquet files on the hub, a row group at a time, with these columns only.

    Without `downloads` only the byte ranges of the columns travel, so page images stay where they are; the hub's
    client itself repeats a range that fails. With it, each file is downloaded there first (and resumed).
    """
    import pyarrow.parquet as pq
    from huggingface_hub import HfFileSystem, hf_hub_download
    from tqdm import tqdm

    fs = HfFileSystem()

    def opened(name: str) -> Any:
        if downloads is None:  # no read-ahead: it would fetch the images that follow a column
            return fs.open(f"datasets/{source.hub_id}@{sha}/{name}", "rb", cache_type="none")
        return open(hf_hub_download(source.hub_id, name, repo_type="dataset", revision=sha, local_dir=downloads), "rb")

    for name in tqdm(names, unit="file", desc=label, disable=None):
        with errors_as_sentences(source):
            file = patiently(lambda name=name: opened(name))
            with file, pq.ParquetFile(file, pre_buffer=True) as parquet:
                missing = set(columns) - set(parquet.schema_arrow.names)
                if missing:
                    raise files.StageError(f"{name} of {source.hub_id} has no column {', '.join(sorted(missing))}")
                for group in range(parquet.num_row_groups):
                    rows = parquet.read_row_group(group, columns=columns, use_threads=False).to_pylist()
                    yield rows
