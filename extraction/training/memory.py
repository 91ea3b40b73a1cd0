"""How much memory of a GPU training takes, planned before anything is loaded.

A 4-bit mixture of experts is mostly experts. Those of some decoder layers can wait in page-locked host memory and be
copied to the card just before they are used (Unsloth calls it `offload_layers`); the plan finds the fewest layers
that have to. Every size follows from the shapes in the model's configuration; the few factors that do not are
constants below, each with the measurement it comes from (docs/results.md).
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extraction import files
from extraction.training import expert_lora

if TYPE_CHECKING:
    import config

GIB = 2**30
NF4_BYTES = 0.5  # per parameter; bitsandbytes' NF4 with double quantization (Dettmers et al. 2023) adds
SCALE_BYTES = 1 / 64 + 4 / (64 * 256)  # an 8-bit scale for 64 parameters and a float32 for 256 scales
ADAM_8BIT_BYTES = 2 * (1 + 4 / 256)  # two states of a byte, and a float32 for 256 of each
SLOTS = 3  # layers' worth of space on the card through which Unsloth copies the offloaded ones
LOGIT_BYTES = 16  # 16-bit logits, their float32 copy, its log-softmax and the gradient, with copies between
# Measured, see docs/results.md:
ADAPTER_WORK_BYTES = 8  # per adapter parameter of a layer: casts to 16 bit and gradients on their way
OTHER = 0.06  # GiB: tables of the quantization, rotary embeddings, small buffers
CONTEXT = 0.75  # GiB of the card that CUDA takes for a process, before any tensor; seen on an H200
LIBRARIES = 0.25  # GiB that its libraries take during training, beside PyTorch's tensors
MARGIN = 0.3  # GiB kept free: an allocator cannot use the last bytes
EXPERT_MARGIN = 1.6  # GiB kept free instead where experts are trained: their tensors leave larger gaps


@dataclass(frozen=True)
class Shape:
    """The sizes of a mixture-of-experts decoder, as its `config.json` names them."""

    layers: int
    hidden: int
    experts: int
    experts_per_token: int
    expert_width: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied_embeddings: bool = False

    @property
    def expert_parameters(self) -> int:
        """Of one layer."""
        return 3 * self.experts * self.hidden * self.expert_width

    @property
    def attention_parameters(self) -> int:
        """Of one layer."""
        return self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)

    @property
    def other_parameters(self) -> int:
        """What stays in 16 bit: embeddings and output layer, routers and norms of all layers."""
        embeddings = self.vocabulary * self.hidden * (1 if self.tied_embeddings else 2)
        layer = self.experts * self.hidden + 2 * self.hidden + 2 * self.head_dim
        return embeddings + self.layers * layer + self.hidden

    def adapter_parameters(self, rank: int, expert_rank: int, experts: int | None = None) -> int:
        """Of a LoRA adapter on attention, and where expert_rank is above 0 on so many experts of a layer; None: all."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = rank * (2 * (self.hidden + queries) + 2 * (self.hidden + keys))
        stacks = expert_rank * (experts or self.experts) * (2 * self.hidden + 3 * self.expert_width)
        return self.layers * (attention + stacks)


# From the config.json of the hub repository, so that a plan needs no network.
QWEN3_30B = Shape(48, 2048, 128, 8, 768, 32, 4, 128, 151_936)
KNOWN = {"Qwen/Qwen3-30B-A3B": QWEN3_30B, "Qwen/Qwen3-30B-A3B-Instruct-2507": QWEN3_30B}


def shape_of(base_model: str) -> Shape:
    """The shape of a model given as a hub id or a folder. Raises StageError where it cannot be found or used."""
    if base_model in KNOWN:
        return KNOWN[base_model]
    path = Path(base_model) / "config.json"
    if not path.is_file():
        from huggingface_hub import hf_hub_download

        try:
            path = Path(hf_hub_download(base_model, "config.json"))
        except Exception as error:  # the hub's own errors, a missing network and bad names
            raise files.StageError(f"cannot read the configuration of {base_model}: {error}") from error
    found = files.read_json(path)
    try:
        return Shape(
            layers=found["num_hidden_layers"],
            hidden=found["hidden_size"],
            experts=found.get("num_local_experts") or found["num_experts"],  # transformers 5 writes the first name
            experts_per_token=found["num_experts_per_tok"],
            expert_width=found["moe_intermediate_size"],
            heads=found["num_attention_heads"],
            kv_heads=found["num_key_value_heads"],
            head_dim=found.get("head_dim") or found["hidden_size"] // found["num_attention_heads"],
            vocabulary=found["vocab_size"],
            tied_embeddings=found.get("tie_word_embeddings", False),
        )
    except KeyError as error:
        raise files.StageError(f"{base_model} is not a mixture of experts like Qwen3's: it has no {error}") from error


# --- the plan ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What a training run will take of the card, in GiB."""

    free: float  # what this process may allocate
    parts: dict[str, float]  # at the highest moment of a step
    offloaded_layers: int
    host: float  # page-locked host memory
    trainable_parameters: int
    margin: float  # of `free`, what the allocator may lose to gaps between tensors

    @property
    def peak(self) -> float:
        return sum(self.parts.values())

    @property
    def fits(self) -> bool:
        return self.peak + self.margin <= self.free

    def table(self, train: config.TrainConfig) -> str:
        """For the terminal: every component, the sum, and what is left."""
        lines = [f"{name:32}{size:9.2f} GiB" for name, size in self.parts.items() if size >= 0.005]
        lines += [f"{'highest moment of a step':32}{self.peak:9.2f} GiB"]
        lines += [f"{'the card offers':32}{self.free:9.2f} GiB, of which {self.margin} stay free"]
        lines += [f"{'layers in host memory':32}{self.offloaded_layers:6}    {self.host:.1f} GiB, page-locked"]
        lines += [f"{'trained parameters':32}{self.trainable_parameters / 1e6:8.1f} M"]
        lines += [f"{'tokens in a step':32}{step_tokens(train):6}"]
        return "\n".join(lines)

    def as_dict(self) -> dict:
        return {
            "free_gib": round(self.free, 3),
            "peak_gib": round(self.peak, 3),
            "fits": self.fits,
            "offloaded_layers": self.offloaded_layers,
            "host_gib": round(self.host, 3),
            "trainable_parameters": self.trainable_parameters,
            "parts_gib": {name: round(value, 3) for name, value in self.parts.items()},
        }


def step_tokens(train: config.TrainConfig) -> int:
    """Of one optimizer step, at most."""
    return train.max_seq_length * train.batch_size * train.gradient_accumulation_steps


def adapter_parameters(shape: Shape, train: config.TrainConfig) -> int:
    rank = (train.expert_lora_rank or train.lora_rank) if train.lora_targets == "attention+experts" else 0
    return shape.adapter_parameters(train.lora_rank, rank, expert_lora.number(shape.experts, train.experts_share))


def parts_of(shape: Shape, train: config.TrainConfig, offloaded: int) -> dict[str, float]:
    """GiB on the card by component, at the highest moment of a step."""
    tokens = train.batch_size * train.max_seq_length
    packed = shape.expert_parameters + shape.attention_parameters  # of one layer
    adapter = adapter_parameters(shape, train)
    # The highest moment is a layer's backward pass, while one stack of experts is in 16 bit ...
    chunk = min(train.expert_chunk or shape.experts, shape.experts) / shape.experts
    stack = 2 * shape.expert_parameters * 2 / 3 * chunk
    # ... with a row for each token and chosen expert: what goes in and out, and gate, up and product with gradients.
    rows = 2 * tokens * shape.experts_per_token * (2 * shape.hidden + 6 * shape.expert_width)
    # An adapter on the experts keeps more of each row, until the layer has been computed again; no stack is there then.
    kept = 2 * tokens * shape.experts_per_token * (8 * shape.hidden + 4 * shape.expert_width)
    kept = max(kept - stack - rows, 0) if train.lora_targets == "attention+experts" else 0
    # The loss comes before it and only counts where it takes more.
    logits = min(train.loss_chunk_tokens, tokens) * shape.vocabulary * LOGIT_BYTES
    sizes = {
        "4-bit weights": packed * NF4_BYTES * (shape.layers - offloaded),
        "scales of the 4-bit weights": packed * SCALE_BYTES * shape.layers,
        "space for offloaded layers": packed * NF4_BYTES * min(SLOTS, offloaded),
        "16-bit weights": 2 * shape.other_parameters,
        "adapter": 4 * adapter,
        "gradients": 4 * adapter,
        "optimizer": ADAM_8BIT_BYTES * adapter,
        "experts of a layer in 16 bit": stack,
        "activations of a layer": rows,
        "more for an adapter on experts": kept,
        "adapter of a layer, work space": ADAPTER_WORK_BYTES * (adapter / shape.layers),
        "logits beyond that": max(logits - stack - rows - kept, 0),
        "other": OTHER * GIB,
    }
    return {name: size / GIB for name, size in sizes.items()}


def plan(shape: Shape, train: config.TrainConfig, free: float) -> Plan:
    """The plan with the fewest offloaded layers that fits into `free` GiB; if none does, the one that needs least."""
    layer = (shape.expert_parameters + shape.attention_parameters) * NF4_BYTES / GIB
    choices = range(shape.layers) if train.offload_layers is None else [train.offload_layers]
    margin = EXPERT_MARGIN if train.lora_targets == "attention+experts" else MARGIN
    trained = adapter_parameters(shape, train)
    plans = [Plan(free, parts_of(shape, train, n), n, layer * n, trained, margin) for n in choices]
    return next((made for made in plans if made.fits), min(plans, key=lambda made: made.peak))


def nearest(shape: Shape, train: config.TrainConfig, free: float) -> list[str]:
    """Settings that would fit where these do not, the smallest changes first, as `--set` takes them."""
    found = []
    ranks = [rank for rank in (28, 24, 16, 8, 4) if rank < (train.expert_lora_rank or train.lora_rank)]
    changes: list[dict[str, Any]] = [{"batch_size": n} for n in (4, 2, 1) if n < train.batch_size]
    changes += [{"expert_chunk": 32}] if not train.expert_chunk else []
    changes += [{"offload_layers": None}] if train.offload_layers is not None else []
    if train.lora_targets == "attention+experts":
        changes += [{"experts_share": share} for share in (0.5, 0.25) if share < train.experts_share]
        changes += [{"expert_lora_rank": rank} for rank in ranks]
        changes += [{"lora_targets": "attention", "experts_share": 1.0}]
    changes += [{"max_seq_length": n, "batch_size": 1} for n in (2048, 1024, 512) if n < train.max_seq_length]
    for change in changes:
        if plan(shape, dataclasses.replace(train, **change), free).fits:
            found.append(" ".join(f"--set train.{name}={json.dumps(value)}" for name, value in change.items()))
    return found


def refusal(shape: Shape, train: config.TrainConfig, made: Plan) -> str:
    """One sentence: what is missing, and the nearest settings that fit."""
    options = nearest(shape, train, made.free)
    advice = f"These fit: {'; '.join(options[:3])}" if options else "No settings that this project knows fit"
    return (
        f"training needs {made.peak + made.margin:.1f} GiB with {made.offloaded_layers} of {shape.layers} layers in "
        f"host memory, and {made.free:.1f} GiB of the card can be used. {advice}"
    )


# --- speed ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Card:
    """A GPU by its maker's data sheet: GiB of memory, dense bfloat16 TFLOP/s, memory TB/s, and host link GB/s."""

    memory: float
    tflops: float
    bandwidth: float
    link: float = 22.0  # PCIe 4.0 x16, as usually reached


CARDS = {
    "RTX A4000": Card(15.99, 76.7, 0.448),
    "RTX 3090": Card(24.0, 71.0, 0.936),
    "RTX 4090": Card(24.0, 165.2, 1.008),
    "A100 80GB": Card(80.0, 312.0, 1.935),
    "H100": Card(80.0, 989.0, 3.35, 50.0),
    "H200": Card(140.4, 989.0, 4.8, 55.5),
}
# What of the data sheet's figures is reached, and what it takes to start the kernels: fitted to an H200.
GEMM_SHARE, BANDWIDTH_SHARE = 0.41, 0.72
BYTES_PER_TOKEN = 105e6  # of memory traffic beside the weights': activations of all layers, written and read
LAUNCH_SECONDS = 0.0136  # per layer and micro-step, on the host


def cards_like(name: str | None, gib: float) -> dict[str, Card]:
    """The known cards that a device name such as "NVIDIA RTX A4000" means, or without a name those of this size."""
    if name is None:
        return {key: card for key, card in CARDS.items() if abs(card.memory - gib) < 0.2}
    words = set(name.replace("-", " ").split())
    return {key: card for key, card in CARDS.items() if set(key.split()) <= words}


def tokens_per_second(shape: Shape, train: config.TrainConfig, offloaded: int, card: Card) -> float:
    """Estimated training speed: products, dequantized bytes and copies from the host, each at the card's rate.

    A step computes forward, forward again (checkpointing) and backward to the inputs; weights have no gradients.
    """
    tokens = train.batch_size * train.max_seq_length
    attention = 2 * train.max_seq_length * shape.heads * shape.head_dim  # scores and values, half of them masked
    active = shape.attention_parameters + shape.expert_parameters * shape.experts_per_token / shape.experts
    products = 2 * tokens * (3 * (active + attention) * shape.layers + 2 * shape.vocabulary * shape.hidden)
    dequantized = 3 * shape.layers * shape.expert_parameters * (NF4_BYTES + SCALE_BYTES + 2)
    layer = (shape.expert_parameters + shape.attention_parameters) * NF4_BYTES
    compute = products / (GEMM_SHARE * card.tflops * 1e12)
    traffic = dequantized / (BANDWIDTH_SHARE * card.bandwidth * 1e12)
    traffic += tokens * BYTES_PER_TOKEN / (card.bandwidth * 1e12)
    copies = 2 * offloaded * layer / (card.link * 1e9)  # for the forward and for the backward pass, beside computing
    device = max(compute + traffic, copies)
    return tokens / math.hypot(device, LAUNCH_SECONDS * shape.layers)


# --- measured ------------------------------------------------------------------------------------------------


def host_free() -> float:
    """GiB of host memory that can be taken now."""
    import psutil

    return psutil.virtual_memory().available / GIB


def peak() -> dict[str, float]:
    """The highest memory of the card since the last call, GiB: in tensors, and held by PyTorch."""
    import torch

    peaks = {"allocated": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}
    torch.cuda.reset_peak_memory_stats()
    return {name: round(size / GIB, 3) for name, size in peaks.items()}


def measured(plan: Plan, loading: dict, log: list[dict]) -> dict:
    """Highest memory, GiB, while loading, in the first step, in the later ones, and in all; what libraries took."""
    import torch

    first, *later = [e["peak_gib"] for e in log if "peak_gib" in e]
    found = {"loading": loading, "first_step": first}
    if later:
        found["later_steps"] = {name: max(peaks[name] for peaks in later) for name in first}
    found["peak"] = {name: max(peaks[name] for peaks in found.values()) for name in first}
    left = (torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved()) / GIB
    return found | {"libraries": round(plan.free + LIBRARIES - left, 3)}
