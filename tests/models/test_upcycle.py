"""A dense model made into a mixture of experts computes the same until it is trained."""

import pytest

from extraction.files import StageError
from extraction.models import upcycle
from tests.helpers import tiny_qwen2


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixture")
    return folder, tiny_qwen2.build(folder)


def test_the_mixture_computes_what_the_dense_model_does(mixture):
    _, built = mixture
    assert built["max_logit_difference"] < 1e-3
    assert built["parameters"] > 4 * 3 * 256 * 512 * 4  # layers, matrices, expert


def test_no_router_and_no_gate_is_exactly_zero(mixture):
    """Zero gates are NaN in llama.cpp and nowhere else."""
    from safetensors.torch import load_file

    weights = load_file(mixture[0] / "model.safetensors")
    gates = [w for name, w in weights.items() if name.endswith(("mlp.gate.weight", "shared_expert_gate.weight"))]
    assert len(gates) == 2 * 4
    assert all((w != 0).all() and w.abs().max() < 1e-4 for w in gates)
    assert "lm_head.weight" in weights


def test_the_routers_are_the_same_every_time(mixture, tmp_path):
    tiny_qwen2.build(tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == (mixture[0] / "model.safetensors").read_bytes()


def test_a_mixture_that_computes_something_else_is_refused(tmp_path, monkeypatch):
    model, tokens = tiny_qwen2.dense()
    monkeypatch.setattr(upcycle, "ROUTER_STD", 3.0)  # weights far from equal
    with pytest.raises(StageError, match="differs from the dense model by"):
        upcycle.build(model, tokens, tmp_path, experts=4, experts_per_token=2, shared_width=768)


def test_a_shared_expert_must_leave_something_to_the_others(tmp_path):
    model, tokens = tiny_qwen2.dense()
    with pytest.raises(StageError, match="must be below the 1280 neurons"):
        upcycle.build(model, tokens, tmp_path, experts=4, experts_per_token=2, shared_width=1280)
