"""The whole line, stage by stage through each main, on the bundled samples and a tiny Qwen3 mixture of experts."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import config
import download_datasets
import export_gguf
import inference
import prepare_training_data
import test_moe
import train_moe
from extraction import files, handoff

STAGES = [download_datasets, prepare_training_data, train_moe, export_gguf]


@pytest.fixture(scope="module")
def options(tmp_path_factory, tiny_moe):
    root = tmp_path_factory.mktemp("line")
    items = [
        f"data.datasets_dir={root / 'datasets'}",
        f"data.training_dir={root / 'training'}",
        f"output.dir={root / 'output'}",
        f"train.base_model={tiny_moe}",
        "data.datasets=cord",
        "data.max_documents=8",
        "data.generate.receipt=4",
        "data.generate.invoice=0",
        "data.generate.letter=2",
        "train.init_adapter=null",
        "train.max_seq_length=2048",  # the tiny tokenizer needs more tokens
        "train.max_steps=3",
        "train.eval_steps=3",
        "train.eval_rows=4",
        "train.learning_rate=1e-3",
        "export.quantization=Q8_0",
        "inference.quantization=Q8_0",
        "inference.context_tokens=2048",
        "inference.max_new_tokens=64",
        "evaluate.rows_per_task=3",
        "evaluate.bootstrap_samples=100",
    ]
    return [argument for item in items for argument in ("--set", item)]


def test_the_whole_line_runs_through_every_main(options, capsys):
    for stage in STAGES:
        assert stage.main(options) == 0, stage.__name__
        assert "\nNext: python " in capsys.readouterr().out
    for model in ("base", "adapter", "gguf"):
        assert test_moe.main([*options, "--model", model]) == 0
    cfg = config.read(config.parser(""), options)[1]
    for name in ("base", "adapter", "gguf-Q8_0"):
        found = files.read_json(cfg.evaluation_dir / name / "metrics.json")
        assert {task: entry["unreadable"] for task, entry in found["tasks"].items()} == {"question": 0, "receipt": 0}
    report = (cfg.evaluation_dir / "gguf-Q8_0" / "report.md").read_text()
    assert "| task | metric | base | adapter | gguf-Q8_0 |" in report
    capsys.readouterr()
    assert inference.main(["data/samples/documents/letter.txt", "--ask", "Who?", *options]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["document_type"] == "document"
    assert result["model"] == "doc-intel-Q8_0.gguf"
    assert len(result["answers"]) == 1


def test_what_the_experts_do_is_written_beside_the_evaluations(options, capsys):
    assert test_moe.main([*options, "--experts"]) == 0
    folder = config.read(config.parser(""), options)[1].evaluation_dir / "experts"
    found = files.read_json(folder / "experts.json")
    assert (found["layers"], found["experts"]) == (4, 8)
    assert found["documents"] == {"receipt": 3}  # questions count for the receipts that they are about
    assert all(min(layer) > 0 for layer in found["moved"]["experts"])
    assert (folder / "experts.png").stat().st_size > 20_000
    capsys.readouterr()
    assert test_moe.main([*options, "--experts"]) == 0
    assert "already there" in capsys.readouterr().out


def test_contracts_go_through_every_stage_and_what_an_earlier_version_made_is_refused(options, tmp_path):
    items = [
        f"data.datasets_dir={tmp_path / 'datasets'}",
        f"data.training_dir={tmp_path / 'training'}",
        f"output.dir={tmp_path / 'output'}",
        "data.datasets=cuad",
        "data.max_documents=2",
        "data.window_chars=1000",
        "data.generate.receipt=0",
        "data.generate.letter=0",
        "evaluate.rows_per_task=2",
    ]
    shared = [*options, *(argument for item in items for argument in ("--set", item))]
    for stage in STAGES:
        assert stage.main(shared) == 0, stage.__name__
    cfg = config.read(config.parser(""), shared)[1]
    assert test_moe.main([*shared, "--model", "adapter"]) == 0
    predictions = list(files.read_jsonl(cfg.evaluation_dir / "adapter" / "predictions.jsonl"))
    assert len(predictions) == 2 and all(entry["record"] is not None for entry in predictions)
    letter = "data/samples/documents/letter.txt"
    for folder, stage, argv, made_by in (
        (cfg.gguf_dir, inference, [letter], "export_gguf.py"),
        (cfg.adapter_dir, inference, [letter, "--model", "adapter"], "train_moe.py"),
        (cfg.adapter_dir, export_gguf, [], "train_moe.py"),
        (cfg.adapter_dir, train_moe, ["--set", f"train.init_adapter={cfg.adapter_dir}"], "train_moe.py --set"),
        (cfg.training_dir, train_moe, [], "prepare_training_data.py"),
        (cfg.training_dir, test_moe, [], "prepare_training_data.py"),
    ):
        made_by_an_earlier_version(folder)
        with pytest.raises(files.StageError, match=f"clauses were answered with quotes. Run: python {made_by}"):
            stage.main([*shared, *argv])
    assert prepare_training_data.main(shared) == 0
    assert handoff.manifest_of(cfg.training_dir)["settings"]["contract_form"] == "sentences"


def made_by_an_earlier_version(folder):
    """Take the form of contracts out of a folder's manifest."""
    found = handoff.manifest_of(folder)
    settings = {name: value for name, value in found["settings"].items() if name != "contract_form"}
    inputs = {name: {"fingerprint": value} for name, value in found["inputs"].items()}
    handoff.write_manifest(folder, stage=found["stage"], settings=settings, inputs=inputs)


def test_a_second_run_of_the_line_makes_nothing_again(options, capsys):
    cfg = config.read(config.parser(""), options)[1]
    folders = [cfg.datasets_dir / "cord", cfg.training_dir, cfg.adapter_dir, cfg.gguf_dir, cfg.evaluation_dir / "base"]
    before = [(folder / "manifest.json").stat().st_mtime_ns for folder in folders]
    for stage in STAGES:
        assert stage.main(options) == 0
    assert test_moe.main([*options, "--model", "base"]) == 0
    assert [(folder / "manifest.json").stat().st_mtime_ns for folder in folders] == before


def test_a_changed_input_is_noticed_by_the_next_stage(options, tmp_path):
    """Rows made again with other settings: the adapter of the old rows is no longer current, and is trained again."""
    cfg = config.read(config.parser(""), options)[1]
    changed = [*options, "--set", "data.seed=7"]
    assert prepare_training_data.main(changed) == 0
    rows = handoff.manifest_of(cfg.training_dir)
    with pytest.raises(files.StageError, match="made from other rows"):
        handoff.require(cfg.adapter_dir, made_by="python train_moe.py", built_from={"rows": rows})
    assert train_moe.main(changed) == 0
    handoff.require(cfg.adapter_dir, made_by="python train_moe.py", built_from={"rows": rows})


def test_stage_2_killed_while_it_works_leaves_the_old_rows_or_none(options, tmp_path):
    target = ["--set", f"data.training_dir={tmp_path / 'training'}"]
    process = subprocess.Popen(
        [sys.executable, "prepare_training_data.py", *options, *target, "--force"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=config.ROOT,
        env=os.environ,
    )
    time.sleep(2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert handoff.manifest_of(tmp_path / "training") is None or handoff.require(tmp_path / "training", made_by="x")
    assert prepare_training_data.main([*options, *target]) == 0
    handoff.require(tmp_path / "training", made_by="x")
