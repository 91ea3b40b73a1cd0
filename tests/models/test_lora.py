"""extraction/models/lora.py: files of weights that are broken or make no sense are refused in a sentence."""

import json
import struct

import pytest

import config
import train_moe
from extraction import files, handoff
from extraction.export import gguf_build
from extraction.models import lora
from extraction.training import adapter


def safetensors(header, body=b"", length=None):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + body


def entry(shape, start, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


WHOLE = safetensors({"x": entry([2], 0, 8)}, bytes(8))
BROKEN_SAFETENSORS = {
    "empty": b"",
    "cut in the header": WHOLE[:20],
    "cut in the weights": WHOLE[:-1],
    "more than the header says": WHOLE + b"\0",
    "a header of 4 exabytes": safetensors({"x": entry([2], 0, 8)}, bytes(8), 2**62),
    "a tensor larger than the file": safetensors({"x": entry([2**40], 0, 8)}, bytes(8)),
    "a shape that overflows": safetensors({"x": entry([2**33, 2**33], 0, 8)}, bytes(8)),
    "offsets behind the end": safetensors({"x": entry([2], 0, 800)}, bytes(8)),
    "offsets that run backward": safetensors({"x": entry([2], 8, 0)}, bytes(8)),
    "two tensors in one place": safetensors({"x": entry([2], 0, 8), "y": entry([2], 0, 8)}, bytes(8)),
    "no JSON": safetensors(b"{{{{", bytes(8)),
    "an unknown type": safetensors({"x": entry([2], 0, 8, "X9")}, bytes(8)),
}


def test_the_shapes_of_a_whole_file_are_read_without_its_weights(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(WHOLE)
    assert lora.tensor_shapes(tmp_path / "x.safetensors") == {"x": (2,)}


@pytest.mark.parametrize("name", BROKEN_SAFETENSORS)
def test_a_broken_checkpoint_or_adapter_is_one_sentence(name, tmp_path):
    for file in ("model.safetensors", "adapter_model.safetensors"):
        (tmp_path / file).write_bytes(BROKEN_SAFETENSORS[name])
    files.write_json(tmp_path / "config.json", {"model_type": "mixtral"})
    files.write_json(tmp_path / "adapter_config.json", {"peft_type": "LORA", "lora_alpha": 32})
    for use in (gguf_build.read_base, lambda folder: lora.read_adapter(folder, {})):
        with pytest.raises(files.StageError, match="is not a whole safetensors file"):
            use(tmp_path)


def test_training_does_not_continue_from_a_broken_adapter(tmp_path):
    staging = handoff.begin(tmp_path / "adapter")
    (staging / "adapter_model.safetensors").write_bytes(WHOLE[:-1])
    cfg = config.override(config.PROFILES["cpu"], f"train.init_adapter={tmp_path / 'adapter'}")
    handoff.seal(staging, stage="train_moe", settings={"base": train_moe.base_settings(cfg.train)})
    with pytest.raises(files.StageError, match="is not a whole safetensors file"):
        adapter.check_start(cfg.init_adapter_dir, cfg.train, train_moe.base_settings(cfg.train), "qwen2_moe")


@pytest.mark.parametrize(
    ("a", "b", "settings", "sentence"),
    [
        ((4, 8), (8, 3), {"lora_alpha": 32}, "do not fit each other"),
        ((4,), (8, 4), {"lora_alpha": 32}, "do not fit each other"),
        ((0, 8), (8, 0), {"lora_alpha": 32}, "do not fit each other"),
        ((4, 8), (8, 4), {}, "has no lora_alpha"),
        ((4, 8), (8, 4), {"lora_alpha": "32"}, "has no lora_alpha"),
    ],
)
def test_an_adapter_whose_factors_or_settings_make_no_sense_is_one_sentence(tmp_path, a, b, settings, sentence):
    import torch
    from safetensors.torch import save_file

    name = "base_model.model.model.layers.0.self_attn.q_proj"
    factors = {f"{name}.lora_A.weight": torch.zeros(a), f"{name}.lora_B.weight": torch.zeros(b)}
    save_file(factors, tmp_path / "adapter_model.safetensors")
    files.write_json(tmp_path / "adapter_config.json", settings)
    with pytest.raises(files.StageError, match=sentence):
        lora.read_adapter(tmp_path, {})
