import json
import runpy

import pytest

import config


def test_an_override_changes_one_value_and_leaves_the_profile_alone():
    cfg = config.override(config.PROFILES["cpu"], "train.lora_rank=16")
    assert cfg.train.lora_rank == 16
    assert config.PROFILES["cpu"].train.lora_rank == 32


def test_nested_settings_optional_values_and_lists_can_be_set():
    cfg = config.PROFILES["cpu"]
    assert config.override(cfg, "data.generate.receipt=7").data.generate.receipt == 7
    assert config.override(cfg, "train.init_adapter=null").train.init_adapter is None
    assert config.override(cfg, "export.quantization=Q8_0,F16").export.quantization == ("Q8_0", "F16")
    assert config.override(cfg, 'data.datasets=["cord"]').data.datasets == ("cord",)
    assert config.override(cfg, "train.epochs=2").train.epochs == 2.0
    assert config.override(cfg, "data.datasets_dir=/somewhere/else").datasets_dir.as_posix() == "/somewhere/else"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("train.lora_rnk=16", "Did you mean train.lora_rank?"),
        ("train=16", "no setting called 'train'"),
        ("train.lora_rank", "write --set train.lora_rank=VALUE"),
        ("train.lora_rank=much", "expected int"),
        ("train.lora_rank=true", "expected int"),
        ("train.lora_rank=0", "train.lora_rank must be at least 1"),
        ("data.source=internet", "must be one of samples, hub"),
        ("data.datasets=cord,sroie", "must be one of"),
        ("export.quantization=Q9", "must be one of"),
    ],
)
def test_a_wrong_override_names_the_setting_and_what_is_allowed(item, message):
    with pytest.raises(config.ConfigError, match=message.replace("?", r"\?")):
        config.override(config.PROFILES["cpu"], item)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("data.window_overlap=1500", "data.window_chars=4000", "at most half of data.window_chars"),
        ("train.experts=1", "train.experts_per_token=1", "train.experts_per_token must be at most train.experts"),
    ],
)
def test_settings_that_need_each_other_may_come_in_any_order_and_not_alone(first, second, message, capsys):
    for items in ((first, second), (second, first)):
        config.read(config.parser("doc"), [part for item in items for part in ("--set", item)])
    with pytest.raises(SystemExit):
        config.read(config.parser("doc"), ["--set", first])
    assert message in capsys.readouterr().err


def test_an_unknown_setting_or_profile_ends_a_stage_with_status_2(capsys, monkeypatch):
    with pytest.raises(SystemExit) as stopped:
        config.read(config.parser("doc"), ["--set", "train.lora_rnk=16"])
    assert stopped.value.code == 2
    assert "Did you mean train.lora_rank?" in capsys.readouterr().err
    monkeypatch.setenv("PIPELINE_PROFILE", "tpu")
    with pytest.raises(SystemExit) as stopped:
        config.read(config.parser("doc"), [])
    assert stopped.value.code == 2


def test_no_profile_replaces_a_folder_of_another():
    """Nor a folder inside one: a stage replaces its folder whole."""
    folders = [[p.datasets_dir, p.training_dir, p.output_dir] for p in config.PROFILES.values()]
    for mine in folders[0]:
        for other in folders[1]:
            assert not mine.is_relative_to(other) and not other.is_relative_to(mine)


def test_a_printed_command_names_the_profile_unless_it_is_the_default(monkeypatch):
    cpu, gpu = config.PROFILES["cpu"], config.PROFILES["gpu"]
    assert cpu.command("train_moe") == "python train_moe.py"
    assert gpu.command("train_moe") == "python train_moe.py --profile gpu"
    monkeypatch.setenv("PIPELINE_PROFILE", "gpu")
    assert cpu.command("train_moe") == "python train_moe.py --profile cpu"
    assert gpu.command("train_moe") == "python train_moe.py"


def test_running_config_prints_every_setting_with_its_value(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["config.py", "--set", "train.lora_rank=5"])
    runpy.run_path(str(config.ROOT / "config.py"), run_name="__main__")
    values = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert values["train.lora_rank"] == "5"
    assert set(config.settings(config.PROFILES["cpu"])) <= set(values)
    assert json.loads(values["export.quantization"]) == [config.SMALL_TYPE]
