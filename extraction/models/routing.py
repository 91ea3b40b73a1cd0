"""Which experts the routers of a mixture pick: counted where each layer's experts are called."""

from __future__ import annotations

import re
from typing import Any


def stacks(model: Any) -> list[Any]:
    """The modules that hold the stacked experts, layer by layer, from under the wrappers of an adapter."""
    found = re.compile(r"\.layers\.\d+\.mlp\.experts(\.base_layer)*$")
    return [m for name, m in model.named_modules() if found.search(name) and not hasattr(m, "lora_A")]


def expert_count(config: Any) -> int:
    return getattr(config, "num_experts", None) or config.num_local_experts


def picks(model: Any, tokens: list[int], skip: int = 0, limit: int = 4096) -> Any:
    """How often each router picks each expert for these tokens, without the first `skip`: `[layers, experts]`."""
    import numpy
    import torch

    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    decoder = getattr(causal, causal.base_model_prefix)  # without the output layer, which is not needed
    experts, counts = expert_count(causal.config), []

    def count(module: Any, given: tuple) -> None:
        counts.append(torch.bincount(given[1][skip:].flatten(), minlength=experts))

    hooks = [stack.register_forward_pre_hook(count) for stack in stacks(model)]
    try:
        with torch.no_grad():
            decoder(input_ids=torch.tensor([tokens[:limit]], device=model.device), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return numpy.array([found.tolist() for found in counts])
