"""LoRA on some experts of each layer: which, what they compute, and how they are saved."""

import dataclasses

import pytest

import config
from extraction import files
from extraction.models import base_model, lora, routing
from extraction.training import adapter, expert_lora

TRAIN = dataclasses.replace(
    config.PROFILES["cpu"].train, lora_targets="attention+experts", train_router=False, lora_rank=8, lora_alpha=16
)
SOME = dataclasses.replace(TRAIN, expert_lora_rank=6, experts_share=0.25)
ROWS = [{"input_ids": list(range(5 + 9 * n, 60 + 9 * n))} for n in range(8)]


def base(folder):
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def trained(folder, train=SOME):
    """The tiny model with an adapter on a quarter of its experts, none of whose factors is zero."""
    from peft import LoraConfig, get_peft_model

    model = adapter.added(
        base(folder),
        train,
        lambda found: expert_lora.choose(found, ROWS, train),
        lambda found, **more: get_peft_model(found, LoraConfig(**more, task_type="CAUSAL_LM")),
    ).eval()
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.normal_(0, 0.05).bfloat16().float()  # as it is saved
    return model


@pytest.fixture(scope="module")
def model(tiny_moe):
    return trained(tiny_moe)


@pytest.fixture(scope="module")
def saved(model, tiny_moe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    adapter.save(model, base_model.tokenizer(str(tiny_moe), tiny_moe), folder, str(tiny_moe))
    return folder


def logits(model):
    import torch

    with torch.no_grad():
        return model(torch.arange(5, 105).view(2, 50)).logits


def test_the_experts_that_rows_use_most_are_chosen_and_others_by_chance(model, tiny_moe):
    alone = base(tiny_moe)
    counts = sum(routing.picks(alone, row["input_ids"]) for row in ROWS)
    chosen = expert_lora.chosen_in(model)
    for found, layer in zip(chosen, counts, strict=True):
        assert sorted(layer[found]) == sorted(layer)[-2:]
    by_chance = expert_lora.choose(alone, ROWS, dataclasses.replace(SOME, experts_by="chance"))
    assert by_chance != chosen and {len(set(layer)) for layer in by_chance} == {2}


def test_only_factors_of_the_chosen_experts_are_held(model):
    held = sum(p.numel() for name, p in model.named_parameters() if p.requires_grad and ".experts." in name)
    assert held == 4 * 2 * 6 * (256 + 1024 + 512 + 256)  # layers, experts, rank, sides of the two stacks


def test_peft_and_the_merge_read_from_disk_what_the_model_computes(model, saved, tiny_moe):
    from peft import PeftModel

    found, alone = logits(model), base(tiny_moe)
    untouched = logits(alone)
    assert (found - untouched).abs().max() > 1
    with model.disable_adapter():
        assert (logits(model) - untouched).abs().max() < 1e-4
    read = lora.read_adapter(saved, files.read_json(tiny_moe / "config.json"))
    report = {"changed": [], "untrained": []}
    for name, weight in alone.named_parameters():
        factors = lora.factors_for(read, name)
        if factors is None:
            continue
        merged = lora.merge(read, weight.data, name, report)
        if ".experts." in name:
            moved = (merged != weight.data).flatten(1).any(dim=1).nonzero().flatten().tolist()
            assert moved == expert_lora.chosen_in(model)[int(name.split(".layers.")[1].split(".")[0])]
        weight.data = merged
    assert len(report["changed"]) == 4 * (4 + 2)
    assert (found - logits(alone)).abs().max() < 1e-4
    assert (found - logits(PeftModel.from_pretrained(base(tiny_moe), saved).eval())).abs().max() < 1e-4


def test_a_saved_adapter_is_read_back_into_a_model_of_the_same_experts(model, saved, tiny_moe):
    other = trained(tiny_moe)
    assert (logits(other) - logits(model)).abs().max() > 1
    adapter.restore(other, saved)
    assert (logits(other) - logits(model)).abs().max() < 1e-5
    assert files.read_json(saved / "adapter_config.json")[expert_lora.NOTE] == expert_lora.chosen_in(model)
