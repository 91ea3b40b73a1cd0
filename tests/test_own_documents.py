"""Documents of one's own through every main: laid out, trained on, carried by adapter and GGUF build, used by name."""

import json

import pytest

import app
import config
import download_datasets
import export_gguf
import inference
import prepare_training_data
import test_moe
import train_moe
from extraction import files
from extraction.models import choice
from extraction.tasks import custom

SCHEMA = {"properties": {"number": {"type": "string"}, "count": {"type": "integer"}}, "required": ["number"]}


@pytest.fixture(scope="module")
def line(tmp_path_factory, tiny_moe):
    """Options of a line that has been run up to the GGUF build, and the folder of its documents."""
    root = tmp_path_factory.mktemp("own")
    folder = root / "mine" / "slip"
    folder.mkdir(parents=True)
    (folder / "schema.json").write_text(json.dumps(SCHEMA))
    for number in range(6):
        (folder / f"{number}.txt").write_text(f"Slip {number}\nPieces   {number + 3}\n")
        (folder / f"{number}.txt.json").write_text(json.dumps({"number": str(number), "count": number + 3}))
    items = [f"data.own={folder.parent}", f"data.datasets_dir={root / 'datasets'}", f"output.dir={root / 'output'}"]
    items += [f"data.training_dir={root / 'training'}", f"train.base_model={tiny_moe}", "data.datasets=cord"]
    items += ["data.max_documents=6", "data.generate.receipt=0", "data.generate.invoice=0", "data.generate.letter=0"]
    items += ["train.init_adapter=null", "train.max_seq_length=2048", "train.max_steps=3", "train.eval_rows=2"]
    items += ["train.learning_rate=1e-3", "train.eval_steps=3"]
    items += ["export.quantization=Q8_0", "inference.quantization=Q8_0"]
    items += ["inference.context_tokens=1024", "inference.max_new_tokens=48"]
    items += ["evaluate.rows_per_task=1", "evaluate.bootstrap_samples=100"]
    options = [argument for item in items for argument in ("--set", item)]
    for stage in (download_datasets, prepare_training_data, train_moe, export_gguf):
        assert stage.main(options) == 0, stage.__name__
    return options, folder


def test_adapter_and_build_carry_the_schema_and_the_page_offers_it(line):
    cfg = config.read(config.parser(""), line[0])[1]
    for folder in (cfg.training_dir, cfg.adapter_dir, cfg.gguf_dir):
        assert files.read_json(folder / "schemas.json") == {"slip": SCHEMA}
    made = (cfg.gguf_dir / "Modelfile-slip").read_text()
    task = choice.choose(cfg, "gguf").types()["slip"]
    assert f'SYSTEM """{task.instructions}"""' in made and "ollama create doc-intel-slip -f Modelfile-slip" in made
    assert task.instructions == custom.parse(json.dumps(SCHEMA), "x").instructions
    backend = choice.choose(cfg, "gguf").open()
    radios = [b for b in app.build_page(backend, cfg).blocks.values() if getattr(b, "label", "") == "Document type"]
    assert len(radios) == 2 and all(("slip", "slip") in radio.choices for radio in radios)
    row = next(r for r in files.read_jsonl(cfg.training_dir / "train.jsonl") if r["task"] == "slip")
    assert files.read_json(cfg.adapter_dir / "training_result.json")["keeps_last"]  # five documents: none is watched
    assert row["prompt"][0]["content"] == task.instructions


def test_every_own_test_document_is_scored_by_field_beside_the_public_ones(line):
    assert test_moe.main([*line[0], "--model", "gguf"]) == 0
    cfg = config.read(config.parser(""), line[0])[1]
    folder = cfg.evaluation_dir / "gguf-Q8_0"
    scored = files.read_json(folder / "metrics.json")["tasks"]
    rows = [row for row in files.read_jsonl(cfg.training_dir / "test.jsonl") if row["task"] == "slip"]
    assert scored["slip"]["n"] == len(rows) == 1 and scored["receipt"]["n"] == 1
    assert set(scored["slip"]["fields"]) >= {"number", "count"} and "field_f1" in scored["slip"]["metrics"]
    assert "| slip | field F1 |" in (folder / "report.md").read_text()
    assert rows[0]["id"] in (folder / "report.html").read_text()


def test_a_document_type_is_used_by_name_and_another_name_is_refused(line, capsys):
    options, folder = line
    assert inference.main([*options, str(folder / "1.txt"), "--type", "slip"]) in (0, 1)
    result = json.loads(capsys.readouterr().out)
    assert result["document_type"] == "slip"
    with pytest.raises(files.StageError, match="no document type 'slp'; this model knows auto, receipt, .*, slip$"):
        inference.main([*options, str(folder / "1.txt"), "--type", "slp"])


def test_a_record_that_is_corrected_is_read_by_stage_1_before_stage_2_goes_on(line, capsys):
    options, folder = line
    (folder / "1.txt.json").write_text(json.dumps({"number": "1"}))
    with pytest.raises(files.StageError, match="has changed since its documents were read. Run: python download_dat"):
        prepare_training_data.main(options)
    assert download_datasets.main(options) == 0 and prepare_training_data.main(options) == 0
