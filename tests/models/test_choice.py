"""extraction/models/choice.py: what a name of a model stands for."""

import pytest

import config
from extraction import files, handoff
from extraction.models import choice, confidence


@pytest.fixture
def cfg(tmp_path):
    return config.override(
        config.override(config.PROFILES["cpu"], f"output.dir={tmp_path}"), "inference.quantization=Q8_0"
    )


def sealed(folder, *names):
    staging = handoff.begin(folder)
    for name in names:
        (staging / name).write_bytes(name.encode())
    return handoff.seal(staging, stage="made", settings={})


def test_a_build_an_adapter_and_a_file_are_known_by_what_is_in_them(cfg, tmp_path):
    assert [choice.choose(cfg, name).fingerprint for name in ("gguf", "adapter", "base", "x.gguf")] == [None] * 4
    build = sealed(cfg.gguf_dir, "doc-intel-Q8_0.gguf", "doc-intel-Q4_K_M.gguf")
    adapter = sealed(cfg.adapter_dir, "adapter_model.safetensors")
    gguf, trained = choice.choose(cfg, "gguf"), choice.choose(cfg, "adapter")
    assert (gguf.file, gguf.fingerprint) == (cfg.gguf_file("Q8_0"), build["fingerprint"])
    assert (trained.folder, trained.fingerprint) == (cfg.adapter_dir, adapter["fingerprint"])
    alone = choice.choose(cfg, str(gguf.file))
    assert alone.fingerprint == files.sha256(gguf.file) == gguf.weights == alone.weights
    assert (gguf.label, trained.label, alone.label) == ("gguf-Q8_0", "adapter", "doc-intel-Q8_0.gguf")
    other = config.override(cfg, "train.base_model=some/model")
    assert (choice.choose(other, "base").fingerprint, choice.choose(other, "base").folder) == ("some/model", None)


def test_a_calibration_lies_beside_its_model_and_is_of_these_weights_alone(cfg):
    sealed(cfg.gguf_dir, "doc-intel-Q8_0.gguf")
    sealed(cfg.adapter_dir, "adapter_model.safetensors")
    judged = {"receipt": [(0.9, True), (0.4, False)]}
    for name in ("gguf", "adapter", str(cfg.gguf_file("Q8_0"))):
        model = choice.choose(cfg, name)
        assert model.calibration() is None or name.endswith(".gguf")  # the build's own file, named by its path
        confidence.save(model.calibration_file, confidence.fit(judged), model.weights, judged, "rows")
        assert model.calibration() == confidence.fit(judged)
    cfg.gguf_file("Q8_0").write_bytes(b"other weights")
    assert choice.choose(cfg, str(cfg.gguf_file("Q8_0"))).calibration() is None
    assert choice.choose(cfg, "http://127.0.0.1:1/v1").calibration_file is None
    assert choice.choose(config.override(cfg, "train.base_model=some/model"), "base").calibration_file is None


def test_a_server_is_shown_and_labeled_without_its_login(cfg):
    model = choice.choose(cfg, "http://ann:secret@127.0.0.1:8000/v1#doc-intel")
    assert model.is_server and model.fingerprint is None
    assert model.shown == "http://127.0.0.1:8000/v1#doc-intel"
    assert model.label == "http_127.0.0.1_8000_v1_doc-intel"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("gguf", r"Run: python export_gguf\.py$"),
        ("base-gguf", r"Run: python export_gguf\.py --base-only$"),
        ("adapter", r"Run: python train_moe\.py$"),
        ("base", r"Run: python train_moe\.py$"),
        ("absent.gguf", "not gguf, base-gguf, adapter, base, a .gguf file or a URL"),
        ("README.md", "not gguf, base-gguf, adapter, base, a .gguf file or a URL"),
    ],
)
def test_what_is_missing_is_named_with_its_command_and_status_3(cfg, name, sentence):
    with pytest.raises(files.StageError, match=sentence) as error:
        choice.choose(cfg, name).open()
    assert error.value.status == 3


def test_a_build_of_another_type_is_not_taken_for_the_one_of_the_settings(cfg):
    sealed(cfg.gguf_dir, "doc-intel-Q4_K_M.gguf")
    with pytest.raises(files.StageError, match=r"has no Q8_0 build\. Run: .* --set export\.quantization=Q8_0"):
        choice.choose(cfg, "gguf").open()


def test_commands_name_the_profile_right_behind_the_stage():
    assert config.PROFILES["cpu"].command("train_moe", "--resume") == "python train_moe.py --resume"
    assert config.PROFILES["gpu"].command("train_moe", "--resume") == "python train_moe.py --profile gpu --resume"
