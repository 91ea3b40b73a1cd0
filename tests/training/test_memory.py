"""The plan of a GPU's memory, against the model's published sizes and against what was measured."""

import dataclasses
import json

import pytest

import config
from extraction import files
from extraction.training import memory

QWEN = memory.KNOWN["Qwen/Qwen3-30B-A3B"]
TRAIN = config.PROFILES["gpu"].train
A4000 = 15.99 - memory.CONTEXT - memory.LIBRARIES


def changed(**values):
    return dataclasses.replace(TRAIN, **values)


def test_the_parameters_of_qwen3_30b_a3b_add_up_to_what_is_published():
    total = QWEN.layers * (QWEN.expert_parameters + QWEN.attention_parameters) + QWEN.other_parameters
    assert total == 30_532_122_624


def test_adapter_sizes_are_those_that_peft_counts():
    assert QWEN.adapter_parameters(32, 0) == 26_738_688
    assert QWEN.adapter_parameters(32, 32) == 1_285_029_888
    assert QWEN.adapter_parameters(32, 32, 32) - 26_738_688 == (1_285_029_888 - 26_738_688) / 4


def test_rank_32_on_a_quarter_of_the_experts_fits_a_card_of_16_gb_and_on_all_it_does_not():
    experts = changed(lora_targets="attention+experts")
    assert not memory.plan(QWEN, experts, A4000).fits
    made = memory.plan(QWEN, dataclasses.replace(experts, experts_share=0.25), A4000)
    assert made.fits and made.offloaded_layers < 40
    assert "train.experts_share=0.25" in " ".join(memory.nearest(QWEN, experts, A4000))


# batch, sequence length, settings, layers in host memory, highest GiB in tensors that an H200 with torch 2.11.0 and
# Unsloth 2026.10.7 reported while train_moe.py ran
MEASURED = [
    (1, 2048, {}, 0, 16.870),
    (1, 4096, {}, 0, 17.137),
    (1, 2048, {"expert_chunk": 32}, 0, 16.359),
    (1, 2048, {}, 11, 14.546),
    (4, 2048, {}, 14, 14.529),
    (1, 2048, {"lora_targets": "attention+experts", "expert_lora_rank": 16}, 40, 12.109),
    (4, 2048, {"lora_targets": "attention+experts", "expert_lora_rank": 16}, 38, 13.996),
    (4, 2048, {"lora_targets": "attention+experts", "expert_lora_rank": 32}, 31, 21.986),
    (4, 2048, {"lora_targets": "attention+experts", "expert_lora_rank": 32}, 0, 30.10),
    (4, 2048, {"lora_targets": "attention+experts", "expert_lora_rank": 32, "experts_share": 0.25}, 30, 13.32),
    (8, 2048, {"lora_targets": "attention+experts", "expert_lora_rank": 32, "experts_share": 0.25}, 34, 14.545),
    (8, 2048, {"lora_targets": "attention+experts", "expert_lora_rank": 32, "experts_share": 0.25}, 39, 13.099),
]


@pytest.mark.parametrize(("batch", "length", "settings", "layers", "measured"), MEASURED)
def test_the_planned_peak_is_within_two_percent_of_a_measured_one(batch, length, settings, layers, measured):
    train = changed(batch_size=batch, max_seq_length=length, offload_layers=layers, **settings)
    assert memory.plan(QWEN, train, 139.0).peak == pytest.approx(measured, rel=0.02)


def test_the_plan_moves_the_fewest_layers_that_fit():
    made = memory.plan(QWEN, TRAIN, A4000)
    assert made.fits
    assert made.offloaded_layers > 0
    one_less = memory.plan(QWEN, changed(offload_layers=made.offloaded_layers - 1), A4000)
    assert not one_less.fits
    assert memory.plan(QWEN, TRAIN, 139.0).offloaded_layers == 0


def test_a_micro_batch_that_ran_out_of_memory_is_refused_and_half_of_it_fits():
    quarter = {"lora_targets": "attention+experts", "expert_lora_rank": 32, "experts_share": 0.25}
    assert not memory.plan(QWEN, changed(batch_size=16, **quarter), A4000).fits
    assert memory.plan(QWEN, changed(batch_size=8, **quarter), A4000).fits


# layers in host memory with which training of the experts ran out of memory: 24 GiB with r=32, 15.99 with r=16
@pytest.mark.parametrize(
    ("rank", "batch", "length", "card", "failed"), [(32, 4, 2048, 24, 27), (16, 2, 4096, 15.99, 38)]
)
def test_a_plan_with_experts_leaves_more_room_than_the_runs_that_failed(rank, batch, length, card, failed):
    train = changed(lora_targets="attention+experts", expert_lora_rank=rank, batch_size=batch, max_seq_length=length)
    made = memory.plan(QWEN, train, card - memory.CONTEXT - memory.LIBRARIES)
    assert made.fits
    assert made.offloaded_layers >= failed + 3


def test_what_leaves_the_card_is_what_the_host_gets():
    few, many = (memory.plan(QWEN, changed(offload_layers=n), 139.0) for n in (10, 20))
    assert few.peak - many.peak == pytest.approx(many.host - few.host)


@pytest.mark.parametrize(
    "values",
    [
        {"batch_size": 8},
        {"max_seq_length": 4096},
        {"lora_rank": 64},
        {"lora_targets": "attention+experts"},
        {"loss_chunk_tokens": 2048},
    ],
)
def test_more_of_anything_takes_more_memory(values):
    layers = {"offload_layers": 0}
    assert memory.plan(QWEN, changed(**layers, **values), 139.0).peak > memory.plan(QWEN, changed(**layers), 139.0).peak


def test_fewer_experts_at_a_time_take_less_memory():
    whole, parts = (memory.plan(QWEN, changed(offload_layers=0, expert_chunk=n), 139.0).peak for n in (0, 32))
    assert whole - parts == pytest.approx(0.75 * 0.75)  # three quarters of a stack of 0.75 GiB


def test_a_refusal_names_the_numbers_and_settings_that_do_fit():
    train = changed(lora_targets="attention+experts")
    made = memory.plan(QWEN, train, A4000)
    assert not made.fits
    text = memory.refusal(QWEN, train, made)
    assert f"{made.peak + made.margin:.1f} GiB" in text
    assert "15.0 GiB" in text
    options = memory.nearest(QWEN, train, A4000)
    assert options[0] in text
    cfg = dataclasses.replace(config.PROFILES["gpu"], train=train)
    for option in options:
        offered = cfg
        for item in option.removeprefix("--set ").split(" --set "):
            offered = config.override(offered, item)
        assert memory.plan(QWEN, offered.train, A4000).fits


def test_a_card_that_is_much_too_small_is_told_that_nothing_fits():
    made = memory.plan(QWEN, TRAIN, 3.0)
    assert not made.fits
    assert "No settings that this project knows fit" in memory.refusal(QWEN, TRAIN, made)


def test_a_shape_is_read_from_a_configuration_on_disk(tiny_moe):
    shape = memory.shape_of(str(tiny_moe))
    assert (shape.layers, shape.hidden, shape.experts, shape.expert_width) == (4, 256, 8, 512)


def test_a_model_without_experts_is_refused(tmp_path):
    files.write_json(tmp_path / "config.json", {"num_hidden_layers": 2, "hidden_size": 64})
    with pytest.raises(files.StageError, match="not a mixture of experts"):
        memory.shape_of(str(tmp_path))


# batch, sequence length, tokens a second that the same H200 reported (the last with 14 layers on the host)
SPEEDS = [(1, 2048, 2674), (1, 4096, 4968), (4, 2048, 8597)]


@pytest.mark.parametrize(("batch", "length", "measured"), SPEEDS)
def test_the_estimated_speed_is_near_the_measured_one_where_it_was_fitted(batch, length, measured):
    train = changed(batch_size=batch, max_seq_length=length)
    assert memory.tokens_per_second(QWEN, train, 0, memory.CARDS["H200"]) == pytest.approx(measured, rel=0.15)


def test_a_slow_link_makes_offloading_slower_and_a_fast_one_hides_it():
    card = memory.CARDS["RTX A4000"]
    slow = dataclasses.replace(card, link=0.25)
    assert memory.tokens_per_second(QWEN, TRAIN, 13, card) == memory.tokens_per_second(QWEN, TRAIN, 0, card)
    assert memory.tokens_per_second(QWEN, TRAIN, 13, slow) < memory.tokens_per_second(QWEN, TRAIN, 0, slow) / 2


def test_cards_are_known_by_device_name_or_by_size():
    assert set(memory.cards_like("NVIDIA RTX A4000", 0)) == {"RTX A4000"}
    assert set(memory.cards_like("NVIDIA A100-SXM4-80GB", 0)) == {"A100 80GB"}
    assert set(memory.cards_like(None, 24)) == {"RTX 3090", "RTX 4090"}
    assert memory.cards_like("NVIDIA GeForce GTX 1080", 0) == {}


def test_a_plan_can_be_written_as_json():
    written = json.loads(json.dumps(memory.plan(QWEN, TRAIN, A4000).as_dict()))
    assert written["peak_gib"] == pytest.approx(sum(written["parts_gib"].values()), abs=0.01)
