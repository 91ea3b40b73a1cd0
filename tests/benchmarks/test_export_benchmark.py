import dataclasses
import sys

import pytest

from benchmarks import export
from extraction import files, handoff
from extraction.models import lora
from extraction.training import memory

SHAPE = memory.Shape(3, 256, 8, 2, 512, 4, 2, 64, 512)


def settings(shape):
    return {"num_experts": shape.experts, "hidden_size": shape.hidden, "moe_intermediate_size": shape.expert_width}


def test_the_random_adapter_touches_every_attention_and_expert_weight_of_the_shape(tmp_path):
    from benchmarks import training

    folder = export.write_adapter(tmp_path / "adapter", SHAPE, 4)
    assert not handoff.damage(folder, handoff.manifest_of(folder))
    adapter = lora.read_adapter(folder, settings(SHAPE))
    shapes = {n: tuple(s) for layer in range(SHAPE.layers) for n, s in training.tensors_of_layer(SHAPE, layer)}
    assert len(lora.touched(adapter, shapes)) == SHAPE.layers * (4 + 3 * SHAPE.experts)


def checkpoint(folder, paths):
    folder.mkdir()
    for name in paths.values():
        (folder / name).write_bytes(b"")
    files.write_json(folder / "config.json", {"num_hidden_layers": 2})
    files.write_json(folder / "model.safetensors.index.json", {"weight_map": paths})
    return folder


def test_the_first_layers_of_a_checkpoint_are_links_to_their_files_alone(tmp_path):
    names = {
        "model.layers.0.a": "1.safetensors",
        "model.layers.1.a": "2.safetensors",
        "lm_head.weight": "3.safetensors",
    }
    base = checkpoint(tmp_path / "base", names)
    found = export.first_layers(base, 1, tmp_path / "part")
    assert sorted(p.name for p in found.glob("*.safetensors")) == ["1.safetensors", "3.safetensors"]
    assert files.read_json(found / "config.json")["num_hidden_layers"] == 1
    assert files.read_json(base / "config.json")["num_hidden_layers"] == 2


def test_a_file_with_several_layers_cannot_be_taken_in_part(tmp_path):
    names = {"model.layers.0.a": "1.safetensors", "model.layers.1.a": "1.safetensors"}
    with pytest.raises(files.StageError, match="a file for each layer"):
        export.first_layers(checkpoint(tmp_path / "base", names), 1, tmp_path / "part")


def test_memory_of_a_program_and_its_children_is_seen_part_by_part(tmp_path):
    child = "x = bytearray(300_000_000); import time; time.sleep(1.5)"
    program = "import subprocess, sys; print('converting ...', file=sys.stderr, flush=True); "
    program += f"subprocess.run([sys.executable, '-c', {child!r}])"
    found = export.watch([sys.executable, "-c", program], tmp_path)
    assert [part["name"] for part in found["parts"]] == ["starting", "converting"]
    assert 0.28 < found["parts"][1]["own_gib"] < 0.5


def test_a_program_that_fails_is_told_with_its_last_words(tmp_path):
    with pytest.raises(files.StageError, match="no room"):
        export.watch([sys.executable, "-c", "raise SystemExit('no room')"], tmp_path)


def test_a_part_is_extrapolated_by_parameters_and_says_so():
    row = {"layers": 1, "all_layers": 3, "parameters": 100, "all_parameters": 300, "rank": 4, "changed_tensors": 2}
    row |= {"cores": 2, "files": {}, "seconds": 10, "disk_gib": 1}
    row["parts"] = [{"name": "converting", "seconds": 10, "own_gib": 1.0, "mapped_gib": 0.5}]
    assert "| converting | 10 | 1.0 | 0.5 | 30 |" in export.table(row)
    assert "extrapolated" in export.table(row)
    assert "extrapolated" not in export.table(row | {"layers": 3})


def test_all_parameters_of_the_30b_model_are_counted():
    whole = export.parameters(memory.KNOWN[export.MODEL])
    assert 30.4e9 < whole < 30.7e9
    assert export.parameters(dataclasses.replace(memory.KNOWN[export.MODEL], layers=8)) < whole / 5
