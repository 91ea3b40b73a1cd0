"""Stage 1 of 7: fetch the public datasets, or lay out the bundled samples in the same form, and documents of your own.

Reads   data/samples/ (--source samples), or the Hugging Face hub and GitHub (--source hub); --own: your documents
Writes  data/datasets/{cord,cuad,docvqa,tatqa}/   one sealed folder per dataset, with revision and license
        data/datasets/own/<name>/                 texts and records of your own documents, checked
Next    python prepare_training_data.py

    python download_datasets.py
    python download_datasets.py --profile gpu
    python download_datasets.py --source hub --dataset cord --set data.images=true
    python download_datasets.py --own data/own                      # docs/own.md tells what the folder holds

A folder that already holds what was asked for is left alone; --force makes it again. A download that was
interrupted goes on where it stopped. Of your own documents each is read once; a change of a record is checked at once.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import config
from extraction import files, handoff, stage
from extraction.download import hub, own, web
from extraction.download.sources import SOURCES, Source
from extraction.tasks import own_types

STAGE = "download_datasets"
CUAD_CATEGORIES = 41


SAMPLES = {"cord": "cord.jsonl", "cuad": "cuad.json", "tatqa": "tatqa.json"}
FOUND_OUT = ("revision", "counts", "split")  # settings that a run learns while it works


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
    sha, paths = hub.revision(source)
    columns = ["ground_truth"] + (["image"] if data.images else [])

    def receipts(split: str) -> Iterator[dict]:
        number = 0
        where = downloads if data.images else None
        for group in hub.rows(source, sha, hub.shards(paths, split), columns, where, f"cord {split}"):
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
    archive = web.fetch(source.files["archive"], downloads / "data.zip", source.sha256, source.size)
    official = web.parsed(web.zip_member(archive, "CUADv1.json"), "CUADv1.json")
    # test.json only lends its titles: CUADv1.json has the same contracts, and train_separate_questions.json has
    # them with each question repeated for each of its answers.
    tested = {contract["title"] for contract in web.parsed(web.zip_member(archive, "test.json"), "test.json")["data"]}
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
    sha, paths = hub.revision(source)
    columns = ["question_id", "question", "answers", "ocr_results", "other_metadata"]
    columns += ["image"] if data.images else []
    where = downloads if data.images else None
    seen: set[str] = set()

    def questions(split: str, pages: Any) -> Iterator[dict]:
        taken: set[str] = set()
        for group in hub.rows(source, sha, hub.shards(paths, split), columns, where, f"docvqa {split}"):
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
        path = web.fetch(url, downloads / url.rsplit("/", 1)[-1])
        splits[split] = web.parsed(path.read_bytes(), path.name)[: data.max_documents]
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


def make_own(name: str, folder: Path, cfg: config.Config, force: bool) -> dict:
    """The sealed folder of own documents of one type, made now or found complete. Returns its manifest's settings."""
    task = own_types.task_of(folder)
    out, inputs = cfg.own_datasets_dir / name, {"documents": {"fingerprint": own_types.contents(folder)}}
    request = {"limits": own.limits_of(cfg.inference)}
    before = handoff.manifest_of(out)
    if not force and before:
        settings = files.plain(request) | {"counts": before["settings"].get("counts")}
        if handoff.is_current(out, stage=STAGE, settings=settings, inputs=inputs):
            return settings["counts"]
    with handoff.alone(out):
        found = own.lay_out(
            folder, name, task, cfg.inference, {} if force else own.texts(out, request["limits"], before)
        )
        staging = handoff.begin(out)
        try:
            own.write(found, folder, staging)
            counts = {"labeled": len(found.rows), **found.left_out, "values not found": len(found.not_found)}
            handoff.seal(staging, stage=STAGE, settings=request | {"counts": counts}, inputs=inputs)
        finally:
            handoff.abandon(staging)
    own.say(found, folder)
    return counts


def main(argv: list[str] | None = None) -> int:
    p = config.parser(__doc__)
    p.add_argument("--own", metavar="FOLDER", help="documents of your own: short for --set data.own=FOLDER")
    p.add_argument("--source", choices=("samples", "hub"), help="where from (default: data.source of the profile)")
    p.add_argument(
        "--dataset", nargs="+", choices=config.DATASETS, help="which (default: data.datasets of the profile)"
    )
    p.add_argument("--force", action="store_true", help="make folders again that are complete")
    args, cfg = config.read(p, argv)
    data = dataclasses.replace(cfg.data, source=args.source or cfg.data.source, own=args.own or cfg.data.own)
    data = dataclasses.replace(data, datasets=tuple(dict.fromkeys(args.dataset or data.datasets)))
    cfg = dataclasses.replace(cfg, data=data)

    if data.source == "samples" and (missing := [name for name in data.datasets if name not in SAMPLES]):
        raise files.StageError(
            f"there are no bundled samples of {', '.join(missing)} (its terms do not allow them). "
            f"Choose others, such as --dataset {' '.join(SAMPLES)}, or --source hub"
        )
    folders = own_types.folders(cfg.own_dir) if cfg.own_dir else {}
    made = {name: make(name, cfg, args.force) for name in data.datasets}
    made |= {f"own/{name}": make_own(name, folder, cfg, args.force) for name, folder in folders.items()}

    for name, counts in made.items():
        print(f"[1/7] {name}: {shown(counts)} in {cfg.datasets_dir / name}")
    print(f"Next: {cfg.command('prepare_training_data')}")
    return 0


if __name__ == "__main__":
    stage.run_stage(main)
