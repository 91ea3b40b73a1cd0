"""LoRA on some of each layer's experts: those that the training rows use most.

PEFT adapts whole stacks of experts. Here its factors hold the chosen experts alone, so that weights, gradients and the
optimizer's states take their share of the memory, and hooks on the stack add what the factors make of the tokens that
are sent to these experts. On disk the adapter is PEFT's of all experts, with zeros for the others, so that whatever
reads an adapter reads this one.
"""

from __future__ import annotations

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
RANK_STEP = 8  # ranks of a grouped product are multiples of it: rows of 16 bytes


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
    found = [module.layer_lora.chosen for module in routing.stacks(model) if hasattr(module, "layer_lora")]
    return found or None


# --- in the model --------------------------------------------------------------------------------------------


def narrow(model: Any, chosen: list[list[int]], rank: int, scale: float) -> None:
    """Give the wrappers of PEFT around each stack of experts factors of the chosen experts alone, as PEFT begins them.

    `scale` is what B A is multiplied by. Whatever rank the wrappers had before does not matter.
    """
    import torch
    from peft.tuners.lora.layer import ParamWrapper
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    ALL_EXPERTS_FUNCTIONS.register("in_order", in_order)
    model.config._experts_implementation = "in_order"  # Unsloth has its own way, in the same order
    wrappers = [module for module in model.modules() if isinstance(module, ParamWrapper)]
    by_stack: dict[int, dict[str, Any]] = {}
    for wrapper in wrappers:
        by_stack.setdefault(id(wrapper.get_base_layer()), {})[wrapper.parameter_name] = wrapper
    for stack, experts in zip(routing.stacks(model), chosen, strict=True):
        found = by_stack[id(stack)]
        for wrapper in found.values():
            for factors, weight in ((wrapper.lora_A, "A"), (wrapper.lora_B, "B")):
                old = factors["default"].weight
                sides = (rank * len(experts), old.shape[1]) if weight == "A" else (old.shape[0], rank * len(experts))
                new = torch.zeros(sides, device=old.device, dtype=torch.float32)
                if weight == "A":
                    torch.nn.init.kaiming_uniform_(new, a=math.sqrt(5))
                factors["default"].weight = torch.nn.Parameter(new)
            wrapper.r["default"], wrapper.lora_alpha["default"], wrapper.scaling["default"] = rank, scale * rank, scale
            wrapper.forward = passing_on(wrapper)
        LayerLora(stack, found["gate_up_proj"], found["down_proj"], experts)


def in_order(stack: Any, hidden: Any, index: Any, weights: Any) -> Any:
    """What a stack of experts computes, as transformers' `grouped_mm` does it, with tokens of an expert in their order.

    Its sort puts equal numbers in any order, and then `LayerLora` could not tell which row belongs to which token.
    """
    import torch

    multiply = torch.nn.functional.grouped_mm
    experts, order = torch.sort(index.reshape(-1), stable=True)
    offsets = torch.searchsorted(experts, torch.arange(stack.num_experts, device=hidden.device), right=True).int()
    inputs = hidden[order // index.shape[-1]].to(stack.gate_up_proj.dtype)
    inner = stack._apply_gate(multiply(inputs, stack.gate_up_proj.transpose(1, 2), offs=offsets))
    sorted_outputs = multiply(inner, stack.down_proj.transpose(1, 2), offs=offsets)
    outputs = torch.empty_like(sorted_outputs).index_copy_(0, order, sorted_outputs)
    return (outputs.view(*index.shape, -1) * weights[..., None]).sum(dim=1).to(hidden.dtype)


def passing_on(wrapper: Any) -> Any:
    """The forward of a wrapper that leaves its factors to the hooks of the stack below."""

    def forward(*given: Any, **named: Any) -> Any:
        return wrapper.base_layer(*given, **named)

    return forward


class LayerLora:
    """What the chosen experts' factors add to a layer, as hooks on its stack of experts.

    `in_order` and Unsloth sort a layer's tokens by expert, multiply them by `gate_up_proj`, call `_apply_gate` and
    multiply the result by `down_proj`. The tokens of the chosen experts are found before that in the same order; what
    belongs to the first product is added in `_apply_gate`, and to the second one in what the layer returns.
    """

    def __init__(self, stack: Any, gate_up: Any, down: Any, chosen: list[int]):
        import torch

        self.stack, self.gate_up, self.down, self.chosen = stack, gate_up, down, chosen
        self.numbers = torch.tensor(chosen, device=gate_up.lora_A["default"].weight.device)
        self.rows: Any = None  # while the layer is computed: of the sorted tokens, those of the chosen experts
        stack.layer_lora = self
        stack._apply_gate = self.apply_gate
        stack._unsloth_own_apply_gate = True  # Unsloth calls `_apply_gate` only if this says so
        stack.register_forward_pre_hook(self.begin)
        stack.register_forward_hook(self.end)

    def begin(self, _: Any, given: tuple) -> None:
        import torch

        self.rows = None
        if self.gate_up.disable_adapters:
            return
        hidden, index, weights = given
        self.count = index.numel()
        experts, order = torch.sort(index.reshape(-1), stable=True)
        begins, ends = (torch.searchsorted(experts, self.numbers, right=right) for right in (False, True))
        self.offsets = (ends - begins).cumsum(0).to(torch.int32)
        self.rows = torch.isin(experts, self.numbers).nonzero().flatten()
        picks = order[self.rows]
        self.tokens = picks // index.shape[-1]
        self.inputs = hidden.reshape(-1, hidden.shape[-1])[self.tokens]
        self.weights = weights.reshape(-1)[picks]

    def apply_gate(self, gate_up: Any) -> Any:
        if self.rows is None:
            return self.gated(gate_up)
        if len(gate_up) != self.count:
            raise RuntimeError(
                "the experts of a layer are not computed all at once, and LoRA on some of them has to be"
            )
        # in place: no other copy of what is the largest tensor of a layer
        gate_up.index_add_(0, self.rows, self.times(self.gate_up, self.inputs.to(gate_up.dtype)))
        inner = self.gated(gate_up)
        self.added = self.times(self.down, inner[self.rows]) * self.weights[:, None].to(inner.dtype)
        return inner

    def gated(self, gate_up: Any) -> Any:
        """As Mixtral's and Qwen's experts do it; Unsloth's own classes of them have no method for it."""
        gate, up = gate_up.chunk(2, dim=-1)
        return self.stack.act_fn(gate) * up

    def end(self, _: Any, given: tuple, output: Any) -> Any:
        if self.rows is None:
            return output
        rows, added = self.tokens, self.added.to(output.dtype)
        self.rows = self.tokens = self.inputs = self.weights = self.added = None
        return output.reshape(-1, output.shape[-1]).index_add(0, rows, added).view_as(output)

    def times(self, wrapper: Any, inputs: Any) -> Any:
        """scale * B A x, an expert's factors for each of its rows."""
        import torch

        count = len(self.chosen)
        a = wrapper.lora_A["default"].weight.to(inputs.dtype)
        b = wrapper.lora_B["default"].weight.to(inputs.dtype)
        a = a.view(count, -1, a.shape[1])
        b = b.view(b.shape[0], -1, count).permute(2, 1, 0)
        missing = -a.shape[1] % RANK_STEP
        a, b = (torch.nn.functional.pad(x, (0, 0, 0, missing)) if missing else x.contiguous() for x in (a, b))
        if not len(inputs):  # nothing to add, and yet gradients, of zero
            return inputs.new_zeros(0, b.shape[2]) + 0 * (a.sum() + b.sum())
        multiply = torch.nn.functional.grouped_mm
        between = multiply(inputs, a.transpose(1, 2), offs=self.offsets)
        return multiply(between, b, offs=self.offsets) * wrapper.scaling["default"]


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
