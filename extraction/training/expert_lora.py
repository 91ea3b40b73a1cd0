"""LoRA on some of each layer's experts: those that the training rows use most.

PEFT adapts whole stacks of experts. Here its factors hold the chosen experts alone, so that weights, gradients and the
optimizer's states take their share of the memory; while a layer is computed they stand in a stack with zeros for the
others. On disk the adapter is PEFT's of all experts, with zeros for the others, so that whatever reads an adapter reads
this one.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from extraction.models import routing

if TYPE_CHECKING:
    import config

ROWS = 32  # of the training rows, that routing is measured on
NOTE = "trained_experts"  # in adapter_config.json: the numbers of the chosen experts, layer by layer
STACKED = re.compile(r"\.layers\.(\d+)\.mlp\.experts(?:\.base_layer)*\.lora_([AB])\.")


def number(experts: int, share: float) -> int:
    """How many experts of a layer are trained."""
    return max(1, round(experts * share))


# --- which ---------------------------------------------------------------------------------------------------


def choose(model: Any, rows: Any, train: config.TrainConfig) -> list[list[int]]:
    """The experts of each layer that are picked most often in training rows, evenly over documents; or random ones."""
    import numpy

    stacks = routing.stacks(model)
    if train.experts_by == "chance":
        draw = numpy.random.default_rng(train.seed)
        loads = draw.random((len(stacks), stacks[0].num_experts))
    else:
        was_training = model.training
        model.eval()
        step = max(1, len(rows) // ROWS)
        counts = [routing.picks(model, rows[n]["input_ids"]) for n in range(0, step * min(ROWS, len(rows)), step)]
        loads = sum(found / found.sum(axis=-1, keepdims=True) for found in counts)
        model.train(was_training)
    count = number(loads.shape[1], train.experts_share)
    return numpy.sort((-loads).argsort(axis=1, kind="stable")[:, :count], axis=1).tolist()


def chosen_in(model: Any) -> list[list[int]] | None:
    """The experts that the adapter of a model trains; None if it has not been narrowed to some."""
    wrappers = [m for m in model.modules() if getattr(m, "parameter_name", None) == "down_proj"]
    return [wrapper.chosen for wrapper in wrappers if hasattr(wrapper, "chosen")] or None


# --- in the model --------------------------------------------------------------------------------------------


def narrow(model: Any, chosen: list[list[int]], rank: int, scale: float) -> None:
    """Give the wrappers of PEFT around each stack of experts factors of the chosen experts alone, as PEFT begins them.

    `scale` is what B A is multiplied by. Whatever rank the wrappers had before does not matter.
    """
    import torch
    from peft.tuners.lora.layer import ParamWrapper

    wrappers = [module for module in model.modules() if isinstance(module, ParamWrapper)]
    by_stack = {id(stack): experts for stack, experts in zip(routing.stacks(model), chosen, strict=True)}
    for wrapper in wrappers:
        wrapper.chosen = by_stack[id(wrapper.get_base_layer())]
        wrapper.numbers = torch.tensor(wrapper.chosen, device=wrapper.lora_A["default"].weight.device)
        a, b = (getattr(wrapper, f"lora_{side}")["default"] for side in "AB")
        rows = rank * len(wrapper.chosen)
        new = torch.empty(rows, a.weight.shape[1], device=a.weight.device, dtype=torch.float32)
        a.weight = torch.nn.Parameter(torch.nn.init.kaiming_uniform_(new, a=math.sqrt(5)))
        b.weight = torch.nn.Parameter(new.new_zeros(b.weight.shape[0], rows))
        wrapper.r["default"], wrapper.lora_alpha["default"], wrapper.scaling["default"] = rank, scale * rank, scale
        wrapper.get_delta_factors = functools.partial(delta_factors, wrapper)  # what PEFT adds to the stack
        wrapper.get_base_layer()._unsloth_lora_extractor_fn = for_unsloth  # what Unsloth multiplies the tokens by


def stacked(wrapper: Any, dtype: Any) -> tuple[Any, Any]:
    """A and B of every expert, `[experts, rank, in]` and `[experts, rank, out]`, with zeros for those not chosen."""
    a, b = (getattr(wrapper, f"lora_{side}")["default"].weight.to(dtype) for side in "AB")
    numbers = wrapper.numbers
    a, b = a.view(len(numbers), -1, a.shape[1]), b.view(b.shape[0], -1, len(numbers)).permute(2, 1, 0)
    return tuple(x.new_zeros(wrapper.num_experts, *x.shape[1:]).index_copy(0, numbers, x) for x in (a, b))


def delta_factors(wrapper: Any, _: str) -> tuple[Any, Any, float]:
    """As PEFT's own: of experts that are stored as (out, in)."""
    a, b = stacked(wrapper, wrapper.get_param().dtype)
    return b.transpose(1, 2), a, wrapper.scaling["default"]


def for_unsloth(wrapper: Any, a: Any, b: Any, scale: float, experts: int) -> tuple[Any, Any, float, int]:
    """A as (in, rank) and B as (rank, out) for each expert, in the precision that a card computes in."""
    import torch

    a, b = stacked(wrapper, torch.bfloat16 if a.is_cuda else a.dtype)
    return a.transpose(1, 2), b, scale, experts


# --- on disk -------------------------------------------------------------------------------------------------


def widened(tensors: dict[str, Any], chosen: list[list[int]], experts: int) -> dict[str, Any]:
    """The tensors of a narrowed adapter as PEFT's of all experts."""
    found = dict(tensors)
    for name, numbers, by_expert in _stacked(tensors, chosen, len(chosen[0])):
        full = by_expert.new_zeros(experts, *by_expert.shape[1:])
        full[numbers] = by_expert
        found[name] = _as_saved(name, full)
    return found


def narrowed(tensors: dict[str, Any], chosen: list[list[int]], experts: int) -> dict[str, Any]:
    """The tensors of an adapter of all experts, those of the chosen ones alone."""
    found = dict(tensors)
    for name, numbers, by_expert in _stacked(tensors, chosen, experts):
        found[name] = _as_saved(name, by_expert[numbers])
    return found


def _stacked(tensors: dict[str, Any], chosen: list[list[int]], count: int) -> Iterator[tuple[str, list[int], Any]]:
    """Name, numbers of the layer's chosen experts, and factors with the experts first: PEFT's B has them last."""
    for name, tensor in tensors.items():
        if match := STACKED.search(name):
            a, b = tensor.reshape(count, -1, tensor.shape[1]), tensor.reshape(tensor.shape[0], -1, count)
            yield name, chosen[int(match[1])], a if match[2] == "A" else b.permute(2, 0, 1)


def _as_saved(name: str, by_expert: Any) -> Any:
    if STACKED.search(name)[2] == "A":
        return by_expert.reshape(-1, by_expert.shape[2])
    return by_expert.permute(1, 2, 0).reshape(by_expert.shape[1], -1)
