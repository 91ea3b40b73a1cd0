"""Stage 1 of 7: fetch the public datasets, or lay out the bundled samples in the same form.

Reads   data/samples/ (--source samples), or the Hugging Face hub and GitHub (--source hub)
Writes  data/datasets/{cord,cuad,docvqa,tatqa}/   one sealed folder per dataset, with revision and license
Next    python prepare_training_data.py

    python download_datasets.py
    python download_datasets.py --profile gpu
    python download_datasets.py --source hub --dataset cord --set data.images=true

A folder that already holds what was asked for is left alone; --force makes it again. A download that was
interrupted goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import config
from extraction import files, handoff, stage

STAGE = "download_datasets"
ATTEMPTS = 4
FIRST_WAIT = 1.0  # seconds before the second attempt; doubles each time
TIMEOUT = (10, 60)  # seconds to connect, and between two pieces of an answer
MAX_MEMBER_BYTES = 200_000_000  # of one file in an archive, unpacked; CUAD's largest has 40 MB
CUAD_CATEGORIES = 41


@dataclass(frozen=True)
class Source:
    """Where a dataset is published, what it must hold, and under which terms."""

    title: str
    url: str  # the page for people
    license: str
    citation: str
    counts: dict[str, int]  # of the published splits that are used
    disk_bytes: int  # needed free before anything is fetched
    hub_id: str | None = None
    revision: str | None = None  # "main" is resolved to a commit when a run starts, and that commit is recorded
    disk_bytes_with_images: int = 0
    files: dict[str, str] = field(default_factory=dict)  # downloads outside the hub
    sha256: str | None = None  # of files["archive"]
    size: int | None = None


SOURCES = {
    "cord": Source(
        title="CORD v2, receipts",
        url="https://huggingface.co/datasets/naver-clova-ix/cord-v2",
        license="CC BY 4.0",
        citation="Park et al., CORD: A Consolidated Receipt Dataset for Post-OCR Parsing, 2019",
        counts={"train": 800, "validation": 100, "test": 100},
        disk_bytes=50_000_000,
        disk_bytes_with_images=2 * 2_307_284_272,  # the shards, and the images taken out of them
        hub_id="naver-clova-ix/cord-v2",
        revision="7f0115a4b758a71d6473b8d085751692da2fef98",
    ),
    "cuad": Source(
        title="CUAD v1, contracts",
        url="https://github.com/TheAtticusProject/cuad",
        license="CC BY 4.0",
        citation="Hendrycks et al., CUAD: An Expert-Annotated NLP Dataset for Legal Contract Review, 2021",
        counts={"train": 408, "test": 102},
        disk_bytes=250_000_000,
        files={
            # Only this archive says which contracts are the official test split.
            "archive": "https://github.com/TheAtticusProject/cuad/raw/67faa0e6023b04fcaae6cc09497ab00e5d63a2a2/data.zip",
        },
        sha256="f8161d18bea4e9c05e78fa6dda61c19c846fb8087ea969c172753bc2f45b999a",
        size=18_309_308,
    ),
    "docvqa": Source(
        title="DocVQA, questions on scanned pages",
        url="https://huggingface.co/datasets/pixparse/docvqa-single-page-questions",
        license="MIT on the hub; the pages are for research use",
        citation="Mathew et al., DocVQA: A Dataset for VQA on Document Images, 2021",
        counts={"train": 39_463, "validation": 5_349},  # the answers of the test split are withheld
        disk_bytes=2_000_000_000,
        disk_bytes_with_images=2 * 12_400_000_000,
        hub_id="pixparse/docvqa-single-page-questions",
        revision="main",
    ),
    "tatqa": Source(
        title="TAT-QA, questions on financial reports",
        url="https://github.com/NExTplusplus/TAT-QA",
        license="CC BY 4.0",
        citation="Zhu et al., TAT-QA: A Question Answering Benchmark on Tabular and Textual Content in Finance, 2021",
        counts={"train": 2_201, "test": 278},  # the published dev split serves as test
        disk_bytes=60_000_000,
        revision="870accc41953dcde885aabeb963d94aabdc0fbc3",
        files={
            "train": "https://raw.githubusercontent.com/NExTplusplus/TAT-QA/"
            "870accc41953dcde885aabeb963d94aabdc0fbc3/dataset_raw/tatqa_dataset_train.json",
            "test": "https://raw.githubusercontent.com/NExTplusplus/TAT-QA/"
            "870accc41953dcde885aabeb963d94aabdc0fbc3/dataset_raw/tatqa_dataset_dev.json",
        },
    ),
}
SAMPLES = {"cord": "cord.jsonl", "cuad": "cuad.json", "tatqa": "tatqa.json"}
FOUND_OUT = ("revision", "counts", "split")  # settings that a run learns while it works


class Unreachable(files.StageError):
    """The server gave no usable answer, after all attempts."""


# --- plain downloads -----------------------------------------------------------------------------------------


def fetch(url: str, path: Path, sha256: str | None = None, size: int | None = None) -> Path:
    """The file at a URL, whole and verified. What an interrupted run left in `<path>.part` is continued.

    Raises Unreachable if the server does not deliver it, StageError if what it delivers is not the expected file.
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
    raise Unreachable(f"could not download {url}: {problem}. Without a network: python {STAGE}.py --source samples")


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


# --- the hub -------------------------------------------------------------------------------------------------


@contextmanager
def hub_errors(source: Source) -> Iterator[None]:
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
        raise Unreachable(f"the hub answered {status} for {source.hub_id}. Try again later") from error
    except (httpx.TransportError, errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        raise Unreachable(
            f"cannot reach the hub for {source.hub_id} ({type(error).__name__}). "
            f"Without a network: python {STAGE}.py --source samples"
        ) from error
    except pyarrow.ArrowInvalid as error:
        raise files.StageError(f"a Parquet file of {source.hub_id} cannot be read: {error}") from error


def patiently(call: Callable[[], Any]) -> Any:
    """The call's result, tried again after a connection error or a busy server."""
    import httpx
    from huggingface_hub import errors

    for attempt in range(ATTEMPTS):
        try:
            return call()
        except (httpx.TransportError, errors.LocalEntryNotFoundError, errors.HfHubHTTPError) as error:
            response = getattr(error, "response", None)
            refused = response is not None and response.status_code != 429 and response.status_code < 500
            if refused or attempt == ATTEMPTS - 1:
                raise
        time.sleep(FIRST_WAIT * 2**attempt)


def shards(names: Iterable[str], split: str) -> list[str]:
    """The Parquet files of a split, in order. Raises StageError if there is none or one is missing."""
    pattern = re.compile(rf"(?:^|/){split}-(\d+)-of-(\d+)[^/]*\.parquet$")
    found = sorted((int(m[1]), int(m[2]), name) for name in names if (m := pattern.search(name)))
    if not found or [number for number, _, _ in found] != list(range(found[0][1])):
        raise files.StageError(f"the {split} split has {len(found)} Parquet files, which is not all of it")
    return [name for _, _, name in found]


def hub_revision(source: Source) -> tuple[str, list[str]]:
    """The commit that the revision stands for now, and its files."""
    from huggingface_hub import HfApi

    with hub_errors(source):
        info = patiently(lambda: HfApi().dataset_info(source.hub_id, revision=source.revision))
    return info.sha, [file.rfilename for file in info.siblings]


def hub_rows(
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
        with hub_errors(source):
            file = patiently(lambda name=name: opened(name))
            with file, pq.ParquetFile(file, pre_buffer=True) as parquet:
                missing = set(columns) - set(parquet.schema_arrow.names)
                if missing:
                    raise files.StageError(f"{name} of {source.hub_id} has no column {', '.join(sorted(missing))}")
                for group in range(parquet.num_row_groups):
                    rows = parquet.read_row_group(group, columns=columns, use_threads=False).to_pylist()
                    yield rows


# --- one reader per dataset: each fills its folder and returns the settings it learned ----------------------


def write_rows(path: Path, rows: Iterable[dict]) -> int:
    """Write JSON Lines without holding them in memory. Returns how many there were."""
    count = 0
    with open(path, "w", encoding="utf-8", newline="\n") as f:
        for count, row in enumerate(rows, start=1):  # noqa: B007
            f.write(json.dumps(row, ensure_ascii=False) + "\n")
    return count


def write_image(folder: Path, name: str, image: dict) -> None:
    """Keep a page image as the bytes that were published."""
    content = image["bytes"]
    suffix = "png" if content.startswith(b"\x89PNG") else "jpg"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.{suffix}").write_bytes(content)


def cord_row(split: str, number: int, ground_truth: str) -> dict:
    """One receipt. Raises StageError if its ground truth is not CORD's."""
    name = f"cord/{split}/{number:05d}"
    try:
        truth = json.loads(ground_truth)
    except (TypeError, ValueError) as error:
        raise files.StageError(f"{name}: ground_truth is not JSON: {error}") from error
    if not isinstance(truth, dict) or not {"gt_parse", "valid_line"} <= set(truth):
        raise files.StageError(f"{name}: ground_truth has no gt_parse or no valid_line")
    return {"id": name, "published_split": split, "ground_truth": ground_truth}


def cord_from_samples(sample: Path, out: Path, data: config.DataConfig) -> dict:
    rows: dict[str, list[dict]] = {"train": [], "validation": [], "test": []}
    for row in files.read_jsonl(sample):
        number = int(re.search(r"\d+", row["file_name"])[0])
        rows[row["sample_split"]].append(cord_row(row["split"], number, row["ground_truth"]))
    counts = {split: write_rows(out / f"{split}.jsonl", rows[split][: data.max_documents]) for split in rows}
    return {"revision": None, "counts": counts, "split": "sample_split"}


def cord_from_hub(source: Source, out: Path, data: config.DataConfig, downloads: Path) -> dict:
    sha, paths = hub_revision(source)
    columns = ["ground_truth"] + (["image"] if data.images else [])

    def receipts(split: str) -> Iterator[dict]:
        number = 0
        where = downloads if data.images else None
        for group in hub_rows(source, sha, shards(paths, split), columns, where, f"cord {split}"):
            for row in group:
                if number == data.max_documents:
                    return
                if data.images:
                    write_image(out / "images" / split, f"{number:05d}", row["image"])
                yield cord_row(split, number, row["ground_truth"])
                number += 1

    counts = {split: write_rows(out / f"{split}.jsonl", receipts(split)) for split in source.counts}
    return {"revision": sha, "counts": counts, "split": "published"}


def write_contracts(out: Path, version: str, splits: dict[str, list[dict]]) -> dict[str, int]:
    """Write contracts in the official form. Raises StageError if one is not in it or lacks a category."""
    for split, contracts in splits.items():
        for contract in contracts:
            check_contract(contract)
        content = json.dumps({"version": version, "data": contracts}, ensure_ascii=False)
        files.write_text(out / f"{split}.json", content + "\n")
    return {split: len(contracts) for split, contracts in splits.items()}


def check_contract(contract: dict) -> None:
    try:
        context, questions = contract["paragraphs"][0]["context"], contract["paragraphs"][0]["qas"]
        categories = {question["id"].rsplit("__", 1)[1] for question in questions}
        moved = any(
            context[a["answer_start"] : a["answer_start"] + len(a["text"])] != a["text"]
            for question in questions
            for a in question["answers"]
        )
    except (KeyError, IndexError, TypeError) as error:
        raise files.StageError(f"a CUAD contract is not in the published form: {error!r}") from error
    if len(categories) != CUAD_CATEGORIES:
        raise files.StageError(f"{contract['title']}: {len(categories)} categories instead of {CUAD_CATEGORIES}")
    if moved:
        raise files.StageError(f"{contract['title']}: an answer is not at the place given for it")


def cuad_from_samples(sample: Path, out: Path, data: config.DataConfig) -> dict:
    official = files.read_json(sample)
    splits: dict[str, list[dict]] = {"train": [], "test": []}
    for contract in official["data"]:
        splits[contract["sample_split"]].append(contract)
    splits = {split: contracts[: data.max_documents] for split, contracts in splits.items()}
    counts = write_contracts(out, official["version"], splits)
    return {"revision": None, "counts": counts, "split": "sample_split"}


def cuad_from_hub(source: Source, out: Path, data: config.DataConfig, downloads: Path) -> dict:
    archive = fetch(source.files["archive"], downloads / "data.zip", source.sha256, source.size)
    official = parsed(zip_member(archive, "CUADv1.json"), "CUADv1.json")
    # test.json only lends its titles: CUADv1.json has the same contracts, and train_separate_questions.json has
    # them with each question repeated for each of its answers.
    tested = {contract["title"] for contract in parsed(zip_member(archive, "test.json"), "test.json")["data"]}
    splits: dict[str, list[dict]] = {"train": [], "test": []}
    for contract in official["data"]:
        splits["test" if contract["title"] in tested else "train"].append(contract)
    splits = {split: contracts[: data.max_documents] for split, contracts in splits.items()}
    counts = write_contracts(out, official["version"], splits)
    return {"revision": files.sha256(archive), "counts": counts, "split": "published"}


def as_rows(value: Any) -> list[dict]:
    """A list of records, whether it was stored as one or as a record of lists."""
    if isinstance(value, dict):
        return [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
    return list(value or [])


def numbers_of(bounding_box: Any) -> list[float]:
    """The coordinates x, y, x, y ... of a box given as numbers, as points, or as records with x and y."""
    if bounding_box and isinstance(bounding_box[0], dict):
        return [float(point[axis]) for point in bounding_box for axis in ("x", "y")]
    if bounding_box and isinstance(bounding_box[0], list | tuple):
        return [float(value) for point in bounding_box for value in point]
    return [float(value) for value in bounding_box or []]


def page_words(ocr: dict) -> list[list]:
    """`[text, left, top, right, bottom]` in pixels for each OCR word; a rectangle is read as a box of two corners."""
    words = [word for line in as_rows(ocr["lines"]) for word in as_rows(line["words"])]
    found = [(word["text"], numbers_of(word["bounding_box"])) for word in words if (word["text"] or "").strip()]
    found = [(text, numbers) for text, numbers in found if len(numbers) >= 4]
    # One word in a corner may have small coordinates; a whole page of them is measured in pages, not in pixels.
    relative = bool(found) and max(max(numbers) for _, numbers in found) <= 1.0
    x_unit, y_unit = (ocr["width"], ocr["height"]) if relative else (1, 1)
    boxes = []
    for text, numbers in found:
        xs, ys = [x * x_unit for x in numbers[0::2]], [y * y_unit for y in numbers[1::2]]
        boxes.append([text, *(round(edge, 1) for edge in (min(xs), min(ys), max(xs), max(ys)))])
    return boxes


def docvqa_from_hub(source: Source, out: Path, data: config.DataConfig, downloads: Path) -> dict:
    """Questions per split, and pages.jsonl with the words of each page once: several questions share a page."""
    sha, paths = hub_revision(source)
    columns = ["question_id", "question", "answers", "ocr_results", "other_metadata"]
    columns += ["image"] if data.images else []
    where = downloads if data.images else None
    seen: set[str] = set()

    def questions(split: str, pages: Any) -> Iterator[dict]:
        taken: set[str] = set()
        for group in hub_rows(source, sha, shards(paths, split), columns, where, f"docvqa {split}"):
            full = False
            for row in group:
                about, ocr = row["other_metadata"], row["ocr_results"]
                document = f"{about['ucsf_document_id']}_{about['ucsf_document_page_no']}"
                if document not in taken:
                    if len(taken) == data.max_documents:
                        full = True
                        continue  # later questions of this row group may still be on a page that was taken
                    taken.add(document)
                if document not in seen:
                    seen.add(document)
                    page = {"document": document, "width": ocr["width"], "height": ocr["height"]}
                    pages.write(json.dumps({**page, "words": page_words(ocr)}, ensure_ascii=False) + "\n")
                    if data.images:
                        write_image(out / "images", document, row["image"])
                if not row["answers"]:
                    raise files.StageError(f"docvqa/{split}: question {row['question_id']} has no answer")
                yield {
                    "id": row["question_id"],
                    "document": document,
                    "question": row["question"],
                    "answers": list(row["answers"]),
                }
            if full:
                return

    with open(out / "pages.jsonl", "w", encoding="utf-8", newline="\n") as pages:
        try:
            counts = {split: write_rows(out / f"{split}.jsonl", questions(split, pages)) for split in source.counts}
        except (KeyError, TypeError) as error:
            raise files.StageError(f"a row of {source.hub_id} is not in the expected form: {error!r}") from error
    return {"revision": sha, "counts": counts, "split": "published"}


def write_contexts(out: Path, splits: dict[str, list[dict]]) -> dict[str, int]:
    for split, contexts in splits.items():
        for context in contexts:
            if not isinstance(context, dict) or not {"table", "paragraphs", "questions"} <= set(context):
                raise files.StageError(f"tatqa/{split}: a context has no table, paragraphs or questions")
        files.write_text(out / f"{split}.json", json.dumps(contexts, ensure_ascii=False) + "\n")
    return {split: len(contexts) for split, contexts in splits.items()}


def tatqa_from_samples(sample: Path, out: Path, data: config.DataConfig) -> dict:
    splits: dict[str, list[dict]] = {"train": [], "validation": [], "test": []}
    for context in files.read_json(sample):
        splits[context["sample_split"]].append(context)
    splits = {split: contexts[: data.max_documents] for split, contexts in splits.items()}
    return {"revision": None, "counts": write_contexts(out, splits), "split": "sample_split"}


def tatqa_from_hub(source: Source, out: Path, data: config.DataConfig, downloads: Path) -> dict:
    splits = {}
    for split, url in source.files.items():
        path = fetch(url, downloads / url.rsplit("/", 1)[-1])
        splits[split] = parsed(path.read_bytes(), path.name)[: data.max_documents]
    return {"revision": source.revision, "counts": write_contexts(out, splits), "split": "dev serves as test"}


FROM_SAMPLES = {"cord": cord_from_samples, "cuad": cuad_from_samples, "tatqa": tatqa_from_samples}
FROM_HUB = {"cord": cord_from_hub, "cuad": cuad_from_hub, "docvqa": docvqa_from_hub, "tatqa": tatqa_from_hub}


# --- one folder ----------------------------------------------------------------------------------------------


def check_disk(folder: Path, needed: int) -> None:
    """Raise StageError if the disk that holds the folder has too little space left."""
    free = files.free_bytes(folder)
    if free < needed:
        raise files.StageError(
            f"{folder.parent} has {free / 1e9:.1f} GB free, and {folder.name} needs {needed / 1e9:.1f} GB"
        )


def check_counts(name: str, found: dict, expected: dict[str, int]) -> None:
    """Raise StageError if a whole dataset was read and it is not whole."""
    if found["counts"] != expected:
        raise files.StageError(f"{name} is not complete: {shown(found['counts'])}, expected {shown(expected)}")


def shown(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in counts.items())


def is_made(folder: Path, request: dict, inputs: dict) -> bool:
    """Whether the folder holds what is asked for; what a run finds out cannot be asked for, so it is not compared."""
    manifest = handoff.manifest_of(folder)
    if manifest is None:
        return False
    learned = {name: manifest["settings"].get(name) for name in FOUND_OUT}
    return handoff.is_current(folder, stage=STAGE, settings=request | learned, inputs=inputs)


def make(name: str, cfg: config.Config, force: bool) -> dict[str, int]:
    """One sealed dataset folder, made now or found complete. Returns its counts per split."""
    source, data, folder = SOURCES[name], cfg.data, cfg.datasets_dir / name
    downloads = cfg.datasets_dir / ".downloads" / name
    request = {
        "source": data.source,
        "url": source.url,
        "hub_id": source.hub_id,
        "license": source.license,
        "citation": source.citation,
        "requested_revision": source.revision if data.source == "hub" else None,
        "images": data.images and data.source == "hub",
        "max_documents": data.max_documents,
    }
    inputs = {}
    if data.source == "samples":
        sample = cfg.samples_dir / SAMPLES[name]
        if not sample.is_file():
            raise files.StageError(f"{sample} is missing: take it from the repository, or use --source hub")
        inputs = {"samples": {"fingerprint": files.sha256(sample)}}
    if not force and is_made(folder, request, inputs):
        return handoff.manifest_of(folder)["settings"]["counts"]

    if (old := handoff.manifest_of(folder)) is not None and old["settings"].get("source") != data.source:
        print(f"note: {folder} was made from {old['settings'].get('source')} and is replaced", file=sys.stderr)
    print(f"{source.title}: {source.license}, {source.url}\n    {source.citation}", flush=True)
    if data.source == "hub":
        check_disk(folder, source.disk_bytes_with_images if request["images"] else source.disk_bytes)
    with handoff.alone(folder):
        staging = handoff.begin(folder)
        try:
            if data.source == "samples":
                found = FROM_SAMPLES[name](sample, staging, data)
            else:
                found = FROM_HUB[name](source, staging, data, downloads)
                if data.max_documents is None:
                    check_counts(name, found, source.counts)
            handoff.seal(staging, stage=STAGE, settings=request | found, inputs=inputs)
        finally:  # gone after sealing; after a failure it may hold gigabytes
            handoff.abandon(staging)
        shutil.rmtree(downloads, ignore_errors=True)
    return found["counts"]


def main(argv: list[str] | None = None) -> int:
    p = config.parser(__doc__)
    p.add_argument("--source", choices=("samples", "hub"), help="where from (default: data.source of the profile)")
    p.add_argument(
        "--dataset", nargs="+", choices=config.DATASETS, help="which (default: data.datasets of the profile)"
    )
    p.add_argument("--force", action="store_true", help="make folders again that are complete")
    args, cfg = config.read(p, argv)
    data = dataclasses.replace(cfg.data, source=args.source or cfg.data.source)
    data = dataclasses.replace(data, datasets=tuple(dict.fromkeys(args.dataset or data.datasets)))
    cfg = dataclasses.replace(cfg, data=data)

    if data.source == "samples" and (missing := [name for name in data.datasets if name not in SAMPLES]):
        raise files.StageError(
            f"there are no bundled samples of {', '.join(missing)} (its terms do not allow them). "
            f"Choose others, such as --dataset {' '.join(SAMPLES)}, or --source hub"
        )
    made = {name: make(name, cfg, args.force) for name in data.datasets}

    for name, counts in made.items():
        print(f"[1/7] {name}: {shown(counts)} in {cfg.datasets_dir / name}")
    print(f"Next: {cfg.command('prepare_training_data')}")
    return 0


if __name__ == "__main__":
    stage.run_stage(main)
