import numpy
import pytest

from extraction.models import routing
from extraction.scoring import experts
from extraction.tasks import prompts, schemas


def drawn(documents, layers=3, width=8, seed=0, shape=None):
    """Loads of documents whose picks come from one distribution."""
    draw = numpy.random.default_rng(seed)
    shares = numpy.full(width, 1 / width) if shape is None else shape
    return experts.load(draw.multinomial(60, shares, size=(documents, layers)) + 1e-9)


def test_loads_sum_to_1_and_nothing_picked_is_an_error():
    assert experts.load([[1, 3], [5, 0]]).tolist() == [[0.25, 0.75], [1.0, 0.0]]
    assert numpy.allclose(drawn(5).sum(axis=-1), 1)
    with pytest.raises(ValueError, match="at least one pick"):
        experts.load([[0, 0]])


def test_entropy_is_0_for_one_expert_and_the_logarithm_of_their_number_for_an_even_load():
    assert experts.entropy([0, 1, 0, 0]) == 0
    assert experts.entropy([0.25] * 4) == pytest.approx(2)
    assert experts.entropy([[0.5, 0.5], [1, 0]]).tolist() == [1, 0]


def test_divergence_is_0_for_equal_loads_1_bit_for_disjoint_ones_and_symmetric():
    a, b = drawn(4), drawn(4, seed=1)
    assert numpy.all(experts.divergence(a, a) == 0)
    assert experts.divergence([0.5, 0.5, 0, 0], [0, 0, 0.1, 0.9]) == pytest.approx(1)
    assert experts.divergence([1, 0], [0.5, 0.5]) == pytest.approx(0.311278, abs=1e-6)  # H(.75, .25) - 1/2
    assert numpy.allclose(experts.divergence(a, b), experts.divergence(b, a))
    assert numpy.all((experts.divergence(a, b) > 0) & (experts.divergence(a, b) < 1))


def test_types_dealt_at_random_lie_in_the_interval_of_the_null_model():
    inside = 0
    for seed in range(40):
        documents = drawn(16, seed=seed)
        found = experts.compare(documents[:7], documents[7:], samples=200, seed=seed)
        inside += found["null"]["low"] <= found["mean"] <= found["null"]["high"]
    assert 34 <= inside <= 40  # 38 are expected


def test_types_with_experts_of_their_own_lie_above_the_interval_of_the_null_model():
    first, second = drawn(6, shape=[0.5, 0.5, 0, 0, 0, 0, 0, 0]), drawn(6, shape=[0, 0, 0, 0, 0, 0, 0.5, 0.5], seed=1)
    found = experts.compare(first, second, samples=500)
    assert found["mean"] == pytest.approx(1, abs=1e-6)
    assert found["null"]["high"] < 0.9
    assert found["p"] < 0.02
    assert len(found["layers"]) == len(found["null_layers"]["low"]) == 3


def test_a_question_counts_for_the_type_of_its_document():
    rows = [
        {"id": "a#1", "document": "a", "task": "question"},
        {"id": "a#0", "document": "a", "task": "receipt"},
        {"id": "b#0", "document": "b", "task": "question"},
        {"id": "c", "task": "contract"},
    ]
    assert experts.document_types(rows) == {"a": "receipt", "b": "document", "c": "contract"}


# --- a real model of Qwen3's architecture --------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer(tiny_moe):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_moe)


def adapted(folder, targets=None):
    """The tiny model with an adapter whose factors are random."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = LoraConfig(r=2, lora_alpha=8, target_modules=["q_proj", "v_proj"], target_parameters=targets)
    model = get_peft_model(model, config).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.05)
    return model


STACKED = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]


@pytest.fixture(scope="module")
def model(tiny_moe):
    return adapted(tiny_moe, STACKED)


def test_every_token_picks_its_experts_once_in_every_layer(model):
    tokens = list(range(5, 45))
    assert routing.picks(model, tokens).shape == (4, 8)
    assert set(routing.picks(model, tokens).sum(axis=1)) == {40 * 2}
    assert set(routing.picks(model, tokens, skip=30).sum(axis=1)) == {10 * 2}


def test_the_picks_are_those_that_the_routers_make(model):
    """Seen from outside: the experts that the mixture is asked to compute."""
    seen = []
    layers = model.get_base_model().model.layers
    hooks = [layer.mlp.gate.register_forward_hook(lambda _, __, out: seen.append(out[2])) for layer in layers]
    counted = routing.picks(model, list(range(5, 45)))
    for hook in hooks:
        hook.remove()
    assert [numpy.bincount(chosen.flatten(), minlength=8).tolist() for chosen in seen] == counted.tolist()


def test_instructions_are_not_counted_as_text_of_the_document(tokenizer):
    prompt = prompts.messages(schemas.RECEIPT, "TEA 2.00")
    tokens, skip = experts.document_tokens(tokenizer, prompt)
    assert schemas.RECEIPT.instructions in tokenizer.decode(tokens[:skip])
    rest = tokenizer.decode(tokens[skip:])
    assert rest.startswith("<|im_start|>user\nTEA 2.00") and "Extract" not in rest


def test_what_an_adapter_moved_is_the_difference_that_merging_makes(tiny_moe, model):
    import copy

    found = experts.moved(model)
    merged = copy.deepcopy(model).merge_and_unload()
    with_base = adapted(tiny_moe, STACKED).unload()
    for number, (old, new) in enumerate(zip(with_base.model.layers, merged.model.layers, strict=True)):
        for expert in range(8):
            pairs = [
                (getattr(old.mlp.experts, n)[expert], getattr(new.mlp.experts, n)[expert])
                for n in ("gate_up_proj", "down_proj")
            ]
            assert found["experts"][number][expert] == pytest.approx(relative(pairs), rel=1e-4)
        pairs = [(getattr(old.self_attn, n).weight, getattr(new.self_attn, n).weight) for n in ("q_proj", "v_proj")]
        assert found["attention"][number][0] == pytest.approx(relative(pairs), rel=1e-4)


def relative(pairs):
    changed = sum((new - old).square().sum() for old, new in pairs)
    return (changed / sum(old.square().sum() for old, _ in pairs)).sqrt().item()


def test_experts_that_an_adapter_leaves_alone_moved_by_0(tiny_moe):
    found = experts.moved(adapted(tiny_moe))
    assert not numpy.any(found["experts"])
    assert numpy.all(numpy.array(found["attention"]) > 0)


def test_a_study_has_base_and_adapter_side_by_side_and_a_picture(tiny_moe, tokenizer, model, tmp_path):
    from transformers import AutoModelForCausalLM

    rows = [
        {"id": f"r{n}", "task": "receipt", "prompt": prompts.messages(schemas.RECEIPT, f"TEA {n}.00")} for n in range(3)
    ] + [
        {
            "id": f"c{n}#{w}",
            "document": f"c{n}",
            "task": "contract",
            "prompt": prompts.messages(schemas.CONTRACT, f"By {n} {w}"),
        }
        for n in range(3)
        for w in range(2)
    ]
    done = []
    types = experts.document_types(rows)
    found = experts.study(model, tokenizer, rows, types, 100, lambda: done.append(1))
    assert found["documents"] == {"contract": 3, "receipt": 3}
    assert (found["layers"], found["experts"], found["experts_per_token"], len(done)) == (4, 8, 2, 9)
    base = AutoModelForCausalLM.from_pretrained(tiny_moe).float().eval()
    alone = [experts.load(routing.picks(base, *experts.document_tokens(tokenizer, row["prompt"]))) for row in rows[:3]]
    assert numpy.allclose(found["base"]["load"]["receipt"], numpy.mean(alone, axis=0))
    for state in ("base", "adapter"):
        assert set(found[state]["divergence"]) == {"contract / receipt"}
        assert numpy.allclose(numpy.sum(found[state]["load"]["contract"], axis=1), 1)
    assert numpy.any(numpy.array(found["changed_routing"]["receipt"]) > 0)
    experts.draw({"name": "tiny", **found}, tmp_path / "experts.png")
    assert (tmp_path / "experts.png").stat().st_size > 20_000
