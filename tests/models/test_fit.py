from pathlib import Path

import numpy as np
import pytest

from benchmarks import card
from extraction.models import fit
from extraction.training import memory

SHAPE = memory.KNOWN["Qwen/Qwen3-30B-A3B"]


def of_bits(bits: float, layers: int = 48) -> fit.Sizes:
    """The 30B model with every weight in so many bits."""
    experts = tuple(int(SHAPE.expert_parameters * bits / 8) for _ in range(layers))
    rest = (SHAPE.attention_parameters * layers + SHAPE.vocabulary * SHAPE.hidden) * bits / 8
    return fit.Sizes(experts, int(rest), layers * SHAPE.kv_heads * SHAPE.head_dim * 4)


def test_the_fewest_layers_are_taken_off_the_card_that_make_the_rest_fit():
    found, card = of_bits(4.86), 15.99
    advice = fit.advise(found, 8192, card)
    needed = found.rest + 8192 * found.token + fit.OVERHEAD

    def used(layers):
        return (needed + sum(found.experts[layers:])) / fit.GIB

    assert used(advice.layers_on_cpu) <= card < used(advice.layers_on_cpu - 1)
    assert advice.used == pytest.approx(used(advice.layers_on_cpu), abs=0.01)
    assert 5 <= advice.layers_on_cpu <= 15


def test_a_card_that_holds_everything_keeps_all_experts():
    assert fit.advise(of_bits(4.86), 8192, 23.99).layers_on_cpu == 0


def test_a_longer_context_or_a_smaller_card_leaves_more_on_the_cpu():
    found = of_bits(4.86)
    short, long = (fit.advise(found, context, 15.99).layers_on_cpu for context in (2048, 32_768))
    assert short < long
    assert fit.advise(found, 8192, 11.99).layers_on_cpu > fit.advise(found, 8192, 15.99).layers_on_cpu


def test_what_does_not_fit_without_any_experts_is_said():
    advice = fit.advise(of_bits(16), 8192, 2.0)
    assert not advice.fits
    assert fit.say({"card": 2.0, "layers_on_cpu": 48, "fits": False}, Path("X.gguf"), 8192) == "2 GB card: does not fit"
    line = "16 GB card: llama-server -m X.gguf -c 8192 -np 1 -ngl 999 --n-cpu-moe 8 --fit off --port 8000"
    assert fit.say({"card": 15.99, "layers_on_cpu": 8, "fits": True}, Path("X.gguf"), 8192) == line


def test_qwen3_30b_as_q4_k_m_keeps_the_experts_of_eight_layers_off_a_card_of_16_gb():
    more = {layer for layer in range(48) if layer < 6 or layer >= 42 or (layer - 6) % 3 == 2}  # llama.cpp's own rule
    experts = tuple(391_643_136 if layer in more else 339_738_624 for layer in range(48))  # as a build of 4 layers has
    found = fit.Sizes(experts, 255_252_480 + 48 * 11_820_032, 98_304)
    assert 18.3e9 < sum(experts) + found.rest + 0.175e9 < 18.7e9  # the published file has 18.56 GB
    assert fit.advise(found, 8192, 15.99).layers_on_cpu == 8
    assert fit.advise(found, 8192, 23.99).layers_on_cpu == 0


def test_repeated_layers_are_copies_in_their_order_and_llama_cpp_takes_the_file(tiny_gguf, tmp_path):
    import gguf
    import llama_cpp

    source = tiny_gguf.base_gguf_dir / "doc-intel-base-F32.gguf"
    path = card.repeated(source, 7, tmp_path / "seven.gguf")
    given, made = ({t.name: t for t in gguf.GGUFReader(file).tensors} for file in (source, path))
    layers = len([name for name in given if name.endswith(".attn_q.weight")])
    assert len([name for name in made if name.endswith(".attn_q.weight")]) == 7 != layers
    for name, tensor in made.items():
        if name.startswith("blk."):
            layer, rest = name.removeprefix("blk.").split(".", 1)
            name = f"blk.{int(layer) * layers // 7}.{rest}"
        assert tensor.tensor_type == given[name].tensor_type
        assert np.array_equal(tensor.data, given[name].data)
    model = llama_cpp.Llama(str(path), n_ctx=64, logits_all=True, verbose=False)
    assert model.metadata["qwen3moe.block_count"] == "7"
    model.eval([1, 2, 3])
    assert np.isfinite(model.scores[:3]).all()
