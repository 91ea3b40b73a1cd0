"""The training benchmark's parts that need no GPU: its random checkpoint, its rows and its table."""

import pytest

from benchmarks import training
from extraction import files
from extraction.training import memory

SHAPE = memory.Shape(2, 64, 8, 2, 96, 4, 2, 16, 2112)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from tests.helpers import tiny_moe

    folder = tmp_path_factory.mktemp("random")
    training.write_checkpoint(folder, SHAPE, tiny_moe.tokenizer())
    return folder


def test_the_random_checkpoint_is_a_model_of_that_shape(checkpoint):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, found = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.bfloat16, output_loading_info=True)
    assert not found["missing_keys"]
    assert not found["unexpected_keys"]
    expected = SHAPE.layers * (SHAPE.expert_parameters + SHAPE.attention_parameters) + SHAPE.other_parameters
    assert sum(p.numel() for p in model.parameters()) == expected
    assert memory.shape_of(str(checkpoint)) == SHAPE
    weights = model.model.layers[1].mlp.experts.down_proj.detach().float()
    assert weights.std() == pytest.approx(0.02, rel=0.05)
    ids = AutoTokenizer.from_pretrained(checkpoint)("Total 12.50", return_tensors="pt")["input_ids"]
    assert model(ids).logits.isfinite().all()


def test_a_checkpoint_that_does_not_fit_the_disk_is_refused_before_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "free_bytes", lambda folder: 10**9)
    with pytest.raises(files.StageError, match="1 GB free, a random checkpoint takes 61 GB"):
        training.write_checkpoint(tmp_path / "model", memory.KNOWN["Qwen/Qwen3-30B-A3B"], None)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_row_is_read_from_the_command_line():
    row = training.parse_row("cap=24,length=4096,batch=2,targets=attention+experts,expert_rank=16")
    assert row == training.Row(cap=24.0, length=4096, batch=2, targets="attention+experts", expert_rank=16)
    assert "train.gradient_accumulation_steps=4" in row.settings()


@pytest.mark.parametrize(("text", "said"), [("cap=big", "cap must be a number"), ("size=3", "a row has cap,")])
def test_a_row_that_cannot_be_read_says_why(text, said):
    with pytest.raises(files.StageError, match=said):
        training.parse_row(text)


@pytest.mark.parametrize("row", training.ROWS)
def test_every_row_of_the_table_trains_on_the_same_tokens_a_step(row):
    values = dict(item.split("=", 1) for item in row.settings())
    tokens = int(values["train.batch_size"]) * int(values["train.gradient_accumulation_steps"]) * row.length
    assert tokens == training.TOKENS_PER_STEP
    assert row.steps >= 10


def test_speed_leaves_out_the_first_steps():
    steps = [(1000 * n, 60.0 + 2 * n) for n in range(1, 13)]
    assert training.speed_of(steps) == {
        "first_step_seconds": 62.0,
        "seconds_per_step": 2.0,
        "tokens_per_second": 500,
    }


def test_the_table_shows_errors_and_leaves_unmeasured_cells_empty():
    row = files.plain(training.asdict(training.Row(cap=8.0))) | {"processes": 1, "error": "error: too small"}
    line = training.table([row], "about").splitlines()[-1]
    assert "error: too small" in line
    assert line.endswith("|  |  |")


def test_without_a_gpu_it_says_so():
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(files.StageError, match="on a CUDA device, and none was found"):
        training.main([])
