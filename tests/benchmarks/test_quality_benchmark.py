import pytest

from benchmarks import quality
from extraction import files


def entry(name, divergence, value):
    score = {"this": value, "other": 0.5, "difference": {"value": value - 0.5, "low": -0.1, "high": 0.2}}
    found = {"name": name, "bytes": 2_000_000, "divergence": divergence, "same_next_token": 0.9, "tokens": 7}
    found |= {"loss": 0.5, "recovery": 0.98}
    found |= {"scores": {"receipt": score}, "unreadable": 1, "prompt_tokens_per_second": 3.0}
    return found | {"generated_tokens_per_second": 4.0, "memory_gib": 5.0}


def test_each_build_stands_with_its_paired_difference_to_the_first():
    lines = quality.table([entry("F32", None, 0.5), entry("Q4_K_M", 0.02, 0.45)], 6, 24).splitlines()
    assert lines[2] == "| F32 | 2 | compared with |  | 0.5000 | 0.980 | 50.0 | 1 | 3.0 | 4.0 | 5.0 |"
    assert (
        lines[3]
        == "| Q4_K_M | 2 | 0.0200 | 90.0% | 0.5000 | 0.980 | 45.0, -5.0 (-10.0 to +20.0) | 1 | 3.0 | 4.0 | 5.0 |"
    )
    assert "24 eval rows, 7 tokens" in lines[-1]


def test_merge_recovery_is_the_share_of_what_training_brought():
    losses = {"adapter, unquantized": 0.1, "base model, F32": 1.1, "Q8_0": 0.1, "Q2_K": 0.35}
    assert quality.recoveries(losses) == {
        "adapter, unquantized": 1.0,
        "base model, F32": 0.0,
        "Q8_0": 1.0,
        "Q2_K": 0.75,
    }


def test_an_unknown_type_ends_the_program_before_any_work(capsys):
    with pytest.raises(SystemExit) as ended:
        quality.main(["--quantization", "Q9_X"])
    assert ended.value.code == 2
    assert "unknown quantization type Q9_X" in capsys.readouterr().err


def test_it_asks_for_the_rows_first(tmp_path):
    with pytest.raises(files.StageError, match="prepare_training_data.py"):
        quality.main(["--set", f"data.training_dir={tmp_path / 'none'}"])
