"""Computing in float32 with a model that is held in 16 bit, where the whole of it in float32 would need the memory."""

from __future__ import annotations

from typing import Any


def by_layer(model: Any) -> Any:
    """The model, whose layers are made float32 one at a time: each before it computes, and 16-bit again after it."""
    import torch

    kept = model.dtype
    if kept == torch.float32:
        return model

    def widen(layer: Any, inputs: Any) -> None:
        layer.float()

    def narrow(layer: Any, inputs: Any, output: Any) -> None:
        layer.to(kept)

    inner = model.model
    for layer in (inner.embed_tokens, *inner.layers, inner.norm, model.lm_head):
        layer.register_forward_pre_hook(widen)
        layer.register_forward_hook(narrow)
    return model
