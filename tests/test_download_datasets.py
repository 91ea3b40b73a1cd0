"""Stage 1 against a real HTTP server: what arrives, what is asked for, and what a failure leaves behind."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

import config
import download_datasets as stage
from extraction import files, handoff
from extraction.download import hub as hub_room
from extraction.download import web
from tests.helpers.hub_server import SHA, Hub, serving

CORD, DOCVQA = "naver-clova-ix/cord-v2", "pixparse/docvqa-single-page-questions"
PNG = b"\x89PNG\r\n\x1a\n" + random.Random(7).randbytes(20_000)
CATEGORIES = [f"Category {n}" for n in range(stage.CUAD_CATEGORIES)]

# The hub's client reads HF_ENDPOINT when it is imported, so what talks to the hub runs in a process of its own.
DRIVER = """
import dataclasses, json, sys
import download_datasets as stage
from extraction.download import web
from extraction.stage import run_stage
for name, values in json.loads(sys.argv.pop(1)).items():
    stage.SOURCES[name] = dataclasses.replace(stage.SOURCES[name], **values)
web.FIRST_WAIT = 0.05
run_stage(stage.main)
"""


@pytest.fixture
def hub():
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(web, "FIRST_WAIT", 0.02)


def start(endpoint: str, folder: Path, *args: str, sources: dict | None = None) -> subprocess.Popen:
    env = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(folder / ".hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "0",
        "TRANSFORMERS_OFFLINE": "0",
        "HF_TOKEN": "",
        "NO_PROXY": "127.0.0.1",
    }
    command = [sys.executable, "-c", DRIVER, json.dumps(sources or {}), "--source", "hub"]
    command += ["--set", f"data.datasets_dir={folder}", *args]
    return subprocess.Popen(
        command, cwd=config.ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(endpoint: str, folder: Path, *args: str, sources: dict | None = None) -> tuple[int, str, str]:
    process = start(endpoint, folder, *args, sources=sources)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def rows(path: Path) -> list[dict]:
    return list(files.read_jsonl(path))


def snapshot(folder: Path) -> dict[str, str]:
    return {p.name: files.sha256(p) for p in folder.iterdir() if p.is_file()}


# --- what the server publishes -------------------------------------------------------------------------------


def parquet(columns: dict, row_group_size: int = 20) -> bytes:
    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), buffer, row_group_size=row_group_size)
    return buffer.getvalue()


def receipts(split: str, count: int, first: int = 0) -> bytes:
    truths = [{"gt_parse": {"menu": {"nm": f"{split} {n}"}}, "valid_line": []} for n in range(first, first + count)]
    images = [{"bytes": PNG + n.to_bytes(2, "big") * 5_000, "path": None} for n in range(first, first + count)]
    return parquet({"image": images, "ground_truth": [json.dumps(truth) for truth in truths]})


def publish_cord(hub: Hub, train: int = 800) -> None:
    half = train // 2
    hub.repos[CORD] = {
        "README.md": b"CORD",
        "data/train-00000-of-00002-b4aaeceff1d90ecb.parquet": receipts("train", half),
        "data/train-00001-of-00002-7dbbe248962764c5.parquet": receipts("train", train - half, half),
        "data/validation-00000-of-00001-cc3c5779fe22e8ca.parquet": receipts("validation", 100),
        "data/test-00000-of-00001-9c204eb3f4e11791.parquet": receipts("test", 100),
    }


def question(number: int, page: int, box: list, answers: tuple[str, ...] = ("$1.00",)) -> dict:
    word = {"bounding_box": box, "text": f"word{page}", "confidence": 0.9}
    return {
        "image": {"bytes": PNG, "path": None},
        "question_id": number,
        "question": f"What is {number}?",
        "answers": list(answers),
        "ocr_results": {
            "page": 1,
            "width": 200,
            "height": 100,
            "lines": [{"bounding_box": box, "text": word["text"], "words": [word]}],
        },
        "other_metadata": {"ucsf_document_id": "ffbg0227", "ucsf_document_page_no": str(page)},
    }


def publish_docvqa(hub: Hub, box: list) -> None:
    def shard(numbers: range, page_offset: int) -> bytes:
        entries = [question(n, page_offset + n // 2, box) for n in numbers]
        return parquet({name: [entry[name] for entry in entries] for name in entries[0]}, row_group_size=4)

    hub.repos[DOCVQA] = {
        "data/train-00000-of-00002.parquet": shard(range(0, 8), 0),
        "data/train-00001-of-00002.parquet": shard(range(8, 12), 0),
        "data/validation-00000-of-00001.parquet": shard(range(0, 4), 100),
        "data/test-00000-of-00001.parquet": b"never read",
    }


def contract(title: str, categories: list[str] = CATEGORIES) -> dict:
    context = f"{title} between A and B. " + "Terms apply. " * 200
    asked = [
        {"id": f"{title}__{c}", "question": c, "answers": [{"text": title, "answer_start": 0}], "is_impossible": False}
        for c in categories
    ]
    return {"title": title, "paragraphs": [{"qas": asked, "context": context}]}


def cuad_zip(contracts: list[dict], tested: int, name: str = "CUADv1.json") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as z:  # stored, so that it is large enough to be cut
        z.writestr("../" + name, json.dumps({"version": "aok_v1.0", "data": contracts}))
        if tested:
            z.writestr("test.json", json.dumps({"version": "aok_v1.0", "data": contracts[-tested:]}))
    return buffer.getvalue()


def publish_cuad(hub: Hub, archive: bytes | None = None, **changes: object) -> dict:
    """Serve a small CUAD, and return what its Source must be changed to."""
    archive = archive or cuad_zip([contract(f"AGREEMENT {n}") for n in range(30)], tested=6)
    hub.files["/data.zip"] = archive
    return {
        "files": {"archive": hub.address + "/data.zip"},
        "sha256": hashlib.sha256(archive).hexdigest(),
        "size": len(archive),
        "counts": {"train": 24, "test": 6},
        "disk_bytes": 1_000,
    } | changes


@pytest.fixture
def cuad(hub, monkeypatch, tmp_path):
    """Run stage 1 for the CUAD that the server publishes, in this process."""

    def run_cuad(*args: str, archive: bytes | None = None, **changes: object) -> Path:
        source = dataclasses.replace(stage.SOURCES["cuad"], **publish_cuad(hub, archive, **changes))
        monkeypatch.setitem(stage.SOURCES, "cuad", source)
        asked = ["--source", "hub", "--dataset", "cuad", "--set", f"data.datasets_dir={tmp_path}", *args]
        assert stage.main(asked) == 0
        return tmp_path / "cuad"

    return run_cuad


# --- the bundled samples -------------------------------------------------------------------------------------


def test_the_samples_make_three_folders_and_a_second_run_does_nothing(tmp_path, capsys):
    args = ["--set", f"data.datasets_dir={tmp_path}"]
    assert stage.main(args) == 0
    said = capsys.readouterr().out
    assert "cord: 40 train, 8 validation, 22 test" in said and "CC BY 4.0" in said
    assert said.endswith("Next: python prepare_training_data.py\n")
    assert {p.name for p in tmp_path.iterdir()} == {"cord", "cuad", "tatqa"}
    before = {name: (tmp_path / name / "manifest.json").stat().st_mtime_ns for name in stage.SAMPLES}
    assert stage.main(args) == 0
    assert before == {name: (tmp_path / name / "manifest.json").stat().st_mtime_ns for name in stage.SAMPLES}
    assert stage.main([*args, "--force", "--dataset", "cord"]) == 0
    assert before["cord"] != (tmp_path / "cord" / "manifest.json").stat().st_mtime_ns


def test_a_sample_receipt_names_its_published_split_and_keeps_its_ground_truth(tmp_path):
    stage.main(["--dataset", "cord", "--set", f"data.datasets_dir={tmp_path}"])
    published = {r["file_name"]: r["ground_truth"] for r in rows(config.ROOT / "data/samples/cord.jsonl")}
    made = [row for split in ("train", "validation", "test") for row in rows(tmp_path / "cord" / f"{split}.jsonl")]
    assert len({row["id"] for row in made}) == len(made) == 70
    for row in made:
        number = row["id"].removeprefix("cord/validation/")
        assert row["ground_truth"] == published[f"validation_{int(number):04d}.png"]
        assert row["published_split"] == "validation"


def test_sample_contracts_keep_their_published_split():
    contracts = files.read_json(config.ROOT / "data/samples/cuad.json")["data"]
    assert all(entry["published_split"] == entry["sample_split"] for entry in contracts)
    assert len({entry["title"] for entry in contracts}) == 60


def test_a_changed_sample_file_is_read_again(tmp_path):
    samples = tmp_path / "samples"
    samples.mkdir()
    lines = (config.ROOT / "data/samples/cord.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    args = ["--dataset", "cord", "--set", f"data.datasets_dir={tmp_path}", "--set", f"data.samples_dir={samples}"]
    for count in (70, 69):
        (samples / "cord.jsonl").write_text("".join(lines[:count]), encoding="utf-8")
        stage.main(args)
        assert sum(handoff.manifest_of(tmp_path / "cord")["settings"]["counts"].values()) == count


def test_docvqa_has_no_samples_and_the_message_says_what_to_do(tmp_path):
    with pytest.raises(files.StageError, match="no bundled samples of docvqa.*--source hub"):
        stage.main(["--profile", "gpu", "--source", "samples", "--set", f"data.datasets_dir={tmp_path}"])


def test_an_unknown_dataset_is_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        stage.main(["--dataset", "sroie"])
    assert stopped.value.code == 2 and "sroie" in capsys.readouterr().err


# --- the hub -------------------------------------------------------------------------------------------------


def test_the_whole_of_cord_comes_from_the_hub_without_its_images(hub, tmp_path):
    publish_cord(hub)
    status, out, err = run(hub.address, tmp_path, "--profile", "gpu", "--dataset", "cord")
    assert status == 0, err
    assert "cord: 800 train, 100 validation, 100 test" in out
    assert out.endswith("Next: python prepare_training_data.py --profile gpu\n")
    train = rows(tmp_path / "cord" / "train.jsonl")
    assert [row["id"] for row in train] == [f"cord/train/{n:05d}" for n in range(800)]
    assert json.loads(train[799]["ground_truth"])["gt_parse"]["menu"]["nm"] == "train 799"
    settings = handoff.manifest_of(tmp_path / "cord")["settings"]
    assert settings["revision"] == SHA and settings["license"] == "CC BY 4.0"
    assert hub.sent < sum(map(len, hub.repos[CORD].values())) / 4  # the image column stayed there
    asked = len(hub.requests)
    assert run(hub.address, tmp_path, "--dataset", "cord")[0] == 0
    assert len(hub.requests) == asked  # a second run needs no network at all


def test_a_cut_connection_and_a_busy_hub_cost_time_but_no_rows(hub, tmp_path):
    publish_cord(hub)
    hub.busy, hub.cuts = 2, [300, 300]
    status, _, err = run(hub.address, tmp_path, "--dataset", "cord")
    assert status == 0, err
    names = [json.loads(r["ground_truth"])["gt_parse"]["menu"]["nm"] for r in rows(tmp_path / "cord" / "train.jsonl")]
    assert names == [f"train {n}" for n in range(800)] and not hub.cuts


def test_images_are_kept_as_published_when_asked_for(hub, tmp_path):
    publish_cord(hub, train=10)
    hub.cuts = [50_000]
    args = ("--dataset", "cord", "--set", "data.images=true", "--set", "data.max_documents=8")
    status, _, err = run(hub.address, tmp_path, *args, sources={"cord": {"disk_bytes_with_images": 1_000}})
    assert status == 0, err
    images = sorted((tmp_path / "cord" / "images" / "train").iterdir())
    assert [p.name for p in images] == [f"{n:05d}.png" for n in range(8)]
    assert images[7].read_bytes() == PNG + b"\x00\x07" * 5_000
    assert not (tmp_path / ".downloads" / "cord").exists()


@pytest.mark.parametrize(
    "box",
    [
        [20, 10, 60, 12, 60, 22, 20, 20],
        [[20, 10], [60, 12], [60, 22], [20, 20]],
        [20, 10, 60, 22],
        [0.1, 0.1, 0.3, 0.12, 0.3, 0.22, 0.1, 0.2],
    ],
    ids=["eight numbers", "four points", "a rectangle", "shares of the page"],
)
def test_a_word_has_the_same_box_in_pixels_however_it_is_published(box):
    ocr = {**question(1, 1, box)["ocr_results"]}
    assert stage.page_words(ocr) == [["word1", 20, 10, 60, 22]]


def test_docvqa_comes_from_the_hub_with_the_words_of_each_page_once(hub, tmp_path):
    publish_docvqa(hub, [20.0, 10.0, 60.0, 12.0, 60.0, 22.0, 20.0, 20.0])
    changed = {"docvqa": {"counts": {"train": 12, "validation": 4}, "disk_bytes": 1_000}}
    status, _, err = run(hub.address, tmp_path, "--dataset", "docvqa", sources=changed)
    assert status == 0, err
    pages = rows(tmp_path / "docvqa" / "pages.jsonl")
    assert [page["document"] for page in pages] == [f"ffbg0227_{n}" for n in (0, 1, 2, 3, 4, 5, 100, 101)]
    assert pages[3] == {"document": "ffbg0227_3", "width": 200, "height": 100, "words": [["word3", 20, 10, 60, 22]]}
    train = rows(tmp_path / "docvqa" / "train.jsonl")
    assert train[7] == {"id": 7, "document": "ffbg0227_3", "question": "What is 7?", "answers": ["$1.00"]}
    settings = handoff.manifest_of(tmp_path / "docvqa")["settings"]
    assert settings["requested_revision"] == "main" and settings["revision"] == SHA
    assert not [path for _, path, _ in hub.requests if "/resolve/main/" in path or "test-" in path]


def test_max_documents_takes_the_first_pages_of_each_split_and_is_recorded(hub, tmp_path):
    publish_docvqa(hub, [20.0, 10.0, 60.0, 22.0])
    changed = {"docvqa": {"disk_bytes": 1_000}}
    args = ("--dataset", "docvqa", "--set", "data.max_documents=1")
    status, _, err = run(hub.address, tmp_path, *args, sources=changed)
    assert status == 0, err
    settings = handoff.manifest_of(tmp_path / "docvqa")["settings"]
    assert settings["max_documents"] == 1 and settings["counts"] == {"train": 2, "validation": 2}


def test_a_refused_access_names_the_page_and_the_login(hub, tmp_path):
    publish_cord(hub)
    hub.gated.add(CORD)
    status, _, err = run(hub.address, tmp_path, "--dataset", "cord")
    assert status == 2 and "Traceback" not in err
    assert f"https://huggingface.co/datasets/{CORD}" in err and "hf auth login" in err
    assert not (tmp_path / "cord").exists()


def test_without_a_network_the_message_names_the_samples(tmp_path):
    status, _, err = run("http://127.0.0.1:9", tmp_path, "--dataset", "cord")
    assert status == 2 and "--source samples" in err and "Traceback" not in err


def test_a_dataset_with_other_counts_is_not_sealed_and_the_old_folder_stays(hub, tmp_path):
    args = ["--dataset", "cord", "--set", f"data.datasets_dir={tmp_path}"]
    assert stage.main(args) == 0
    before = snapshot(tmp_path / "cord")
    publish_cord(hub, train=799)
    status, _, err = run(hub.address, tmp_path, "--dataset", "cord")
    assert status == 2 and "799 train" in err and "800 train" in err
    assert snapshot(tmp_path / "cord") == before and not list(tmp_path.glob(".cord.*partial"))


def test_a_missing_shard_is_noticed():
    with pytest.raises(files.StageError, match="train split has 1 Parquet"):
        hub_room.shards(["data/train-00001-of-00002.parquet"], "train")


def test_a_column_of_another_name_is_noticed(hub, tmp_path):
    publish_cord(hub)
    for name in [name for name in hub.repos[CORD] if "train" in name]:
        hub.repos[CORD][name] = parquet({"text": ["a", "b"]})
    status, _, err = run(hub.address, tmp_path, "--dataset", "cord")
    assert status == 2 and "no column ground_truth" in err and "Traceback" not in err


# --- plain downloads -----------------------------------------------------------------------------------------


def test_cuad_comes_with_its_official_split(cuad):
    folder = cuad()
    splits = {name: files.read_json(folder / f"{name}.json") for name in ("train", "test")}
    assert [entry["title"] for entry in splits["test"]["data"]] == [f"AGREEMENT {n}" for n in range(24, 30)]
    assert len(splits["train"]["data"]) == 24 and splits["train"]["version"] == "aok_v1.0"
    assert splits["test"]["data"][0] == contract("AGREEMENT 24")
    assert handoff.manifest_of(folder)["settings"]["split"] == "published"


def test_a_cut_download_is_continued_where_it_stopped(hub, cuad):
    hub.cuts = [2 << 16, 1 << 16]  # the size of a piece, so that no rest of one is lost
    cuad()
    assert [wanted for _, path, wanted in hub.requests if path == "/data.zip"] == [
        None,
        "bytes=131072-",
        "bytes=196608-",
    ]


def test_a_busy_server_is_asked_again(hub, cuad):
    hub.busy = 2
    cuad()
    assert len(hub.requests) == 3


def test_a_file_with_another_hash_is_deleted_and_the_old_folder_stays(cuad, tmp_path):
    before = snapshot(cuad())
    with pytest.raises(files.StageError, match="not the published file: SHA-256"):
        cuad("--force", sha256="0" * 64)
    assert snapshot(tmp_path / "cuad") == before
    assert not list((tmp_path / ".downloads").rglob("*.zip*"))


def test_a_file_of_another_size_is_deleted(cuad, tmp_path):
    with pytest.raises(files.StageError, match="instead of 7"):
        cuad(size=7)
    assert not (tmp_path / "cuad").exists() and not list((tmp_path / ".downloads").rglob("*.zip*"))


def test_without_github_there_is_one_clear_sentence(cuad, tmp_path):
    with pytest.raises(files.StageError, match="--source samples"):
        cuad(files={"archive": "http://127.0.0.1:9/data.zip"})
    assert not (tmp_path / "cuad").exists()


def test_a_contract_without_all_categories_is_not_sealed(cuad, tmp_path):
    contracts = [contract(f"AGREEMENT {n}") for n in range(29)] + [contract("SHORT", CATEGORIES[1:])]
    with pytest.raises(files.StageError, match="SHORT: 40 categories instead of 41"):
        cuad(archive=cuad_zip(contracts, 6))
    assert not (tmp_path / "cuad").exists()


def test_an_archive_that_unpacks_too_large_is_refused(cuad, monkeypatch):
    monkeypatch.setattr(web, "MAX_MEMBER_BYTES", 1_000)
    with pytest.raises(files.StageError, match="larger than 1,000 bytes"):
        cuad()


def test_a_full_disk_is_noticed_before_anything_is_fetched(hub, cuad, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(stage.shutil, "disk_usage", lambda path: usage(10, 10, 999))
    with pytest.raises(files.StageError, match="GB free"):
        cuad()
    assert not hub.requests


def test_a_killed_download_leaves_no_folder_and_the_next_run_continues_it(hub, tmp_path):
    sources = {"cuad": publish_cuad(hub)}
    hub.stall_after = 300_000
    process = start(hub.address, tmp_path, "--dataset", "cuad", sources=sources)
    assert hub.stalled.wait(20)
    part = tmp_path / ".downloads" / "cuad" / "data.zip.part"
    while not part.is_file() or part.stat().st_size < 200_000:
        assert process.poll() is None
        hub.released.wait(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "cuad").exists()
    hub.stall_after = None
    have = part.stat().st_size
    status, _, err = run(hub.address, tmp_path, "--dataset", "cuad", sources=sources)
    assert status == 0, err
    assert hub.requests[-1][2] == f"bytes={have}-"
    assert (tmp_path / "cuad" / "manifest.json").is_file() and not (tmp_path / ".downloads" / "cuad").exists()


def test_tatqa_comes_from_its_own_repository(hub, monkeypatch, tmp_path):
    context = {"table": {"uid": "t", "table": [["a"]]}, "paragraphs": [], "questions": []}
    hub.files = {"/train.json": json.dumps([context] * 3).encode(), "/dev.json": json.dumps([context]).encode()}
    paths = {"train": hub.address + "/train.json", "test": hub.address + "/dev.json"}
    source = dataclasses.replace(stage.SOURCES["tatqa"], files=paths, counts={"train": 3, "test": 1}, disk_bytes=1)
    monkeypatch.setitem(stage.SOURCES, "tatqa", source)
    stage.main(["--source", "hub", "--dataset", "tatqa", "--set", f"data.datasets_dir={tmp_path}"])
    assert files.read_json(tmp_path / "tatqa" / "train.json") == [context] * 3
