"""The 4-bit base model with a LoRA adapter, by Unsloth, on a CUDA device.

Unsloth patches transformers, trl and peft when it is imported, so `prepare` comes before them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extraction import files
from extraction.models import base_model
from extraction.training import adapter

if TYPE_CHECKING:
    import config


def prepare(train: config.TrainConfig, cache: Path) -> Any:
    """The module, imported with this project's settings. Before transformers, trl and peft, which it patches."""
    os.environ |= {
        "UNSLOTH_COMPILE_LOCATION": str(cache / "unsloth"),  # it would otherwise write into the current folder
        # Compiling whole decoder layers takes 5 GiB more in the first step than all others need (docs/results.md)
        "UNSLOTH_BLOCK_COMPILE": "0",
        "UNSLOTH_CE_LOSS_N_CHUNKS": str(math.ceil(train.batch_size * train.max_seq_length / train.loss_chunk_tokens)),
        "UNSLOTH_MOE_LORA_B_LAYOUT": adapter.B_LAYOUT,
        "UNSLOTH_MOE_DEQUANT_CHUNK_EXPERTS": str(train.expert_chunk),
    }
    try:
        import unsloth
    except ImportError as error:
        message = f"Unsloth cannot be imported ({error}). Run: pip install -r requirements-gpu.txt"
        raise files.StageError(message) from error
    return unsloth


def load(
    train: config.TrainConfig, offload_layers: int, cache: Path, choose: Callable[[Any], list[list[int]]] | None = None
) -> Any:
    """The 4-bit base model with a new LoRA adapter, by Unsloth, on this process's CUDA device.

    With `train.experts_share` below 1, `choose` says which experts of each layer the adapter trains.

    Raises StageError if the experts did not come out in 4 bit, which takes 61 GB instead of 16 and fails later.
    """
    unsloth = prepare(train, cache)
    import torch

    keep_reentrant_checkpoints()
    model, _ = unsloth.FastLanguageModel.from_pretrained(
        base_model.resolve(train.base_model),
        max_seq_length=train.max_seq_length,
        dtype=torch.bfloat16,
        load_in_4bit=True,
        offload_layers=offload_layers or None,
        offload_embedding=False,
        use_gradient_checkpointing="unsloth",
    )
    for name, parameter in model.named_parameters():
        if ".experts." in name and parameter.dtype != torch.uint8:
            raise files.StageError(f"{name} was loaded as {parameter.dtype} and not in 4 bit; check the versions")

    def add(base: Any, **arguments: Any) -> Any:
        return unsloth.FastLanguageModel.get_peft_model(
            base,
            **{"target_parameters": [], **arguments},
            lora_dropout=0,
            use_gradient_checkpointing="unsloth",
            random_state=train.seed,
        )

    return adapter.added(model, train, choose, add)


def keep_reentrant_checkpoints() -> None:
    """Let Unsloth checkpoint with several processes as it does with one.

    It changes to the other kind for models with pictures, whose parameters DDP would see twice, and then holds 7 GiB
    more (docs/results.md). Here each parameter is used in one layer, once.
    """
    from unsloth.models import vision

    patch = vision.FastBaseModel.post_patch_model

    def patch_as_one_process(*args: Any, **kwargs: Any) -> Any:
        is_distributed, vision.is_distributed = vision.is_distributed, lambda: False
        try:
            return patch(*args, **kwargs)
        finally:
            vision.is_distributed = is_distributed

    vision.FastBaseModel.post_patch_model = staticmethod(patch_as_one_process)
