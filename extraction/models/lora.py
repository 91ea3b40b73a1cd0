"""A PEFT LoRA adapter as what it adds to each tensor of a checkpoint: reading it, checking that it fits, merging.

Stacked experts are the difficult part: PEFT saves one pair of factors for all experts of a layer, checkpoints on disk
hold them one by one.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from extraction import files


@dataclass(frozen=True)
class Factors:
    """What LoRA adds to one weight: `scale * b @ a`. Those of stacked experts have the experts as first dimension."""

    module: str
    a: Any
    b: Any
    scale: float

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.b.shape[:-1], self.a.shape[-1])

    @property
    def is_trained(self) -> bool:
        """Of an expert that no training token was sent to, B is still zero."""
        return bool(self.b.any())

    def delta(self) -> Any:
        """In float32, in memory of its own."""
        return (self.b.float() @ self.a.float()).mul_(self.scale)

    def applied(self, weight: Any) -> Any:
        """The changed weight in float32."""
        return self.delta().add_(weight.float())


@dataclass(frozen=True)
class Whole:
    """One weight that was trained whole: a router's, or that of a shared expert's gate."""

    module: str
    weight: Any
    is_trained = True

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.weight.shape)

    def applied(self, weight: Any) -> Any:
        return self.weight.float()


@dataclass(frozen=True)
class Adapter:
    """A PEFT LoRA adapter: `linears` and `whole` by module, `experts` by (module, "gate_up" or "down")."""

    linears: dict[str, Factors]
    experts: dict[tuple[str, str], Factors]
    whole: dict[str, Whole] = field(default_factory=dict)


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a safetensors file, from its header: no weights are read.

    Raises StageError unless sizes and offsets of the header are those of the file, which safetensors checks.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as f:
            return {name: tuple(f.get_slice(name).get_shape()) for name in f.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise files.StageError(f"{path} does not exist") from error
    except (SafetensorError, OSError) as error:  # OSError: an empty file
        raise files.StageError(f"{path} is not a whole safetensors file: {error}") from error


# What changes the model in another way than by adding B A to a weight. Merging without it would be silently wrong.
UNSUPPORTED = (
    "use_dora lora_bias trainable_token_indices layer_replication fan_in_fan_out use_qalora use_bdlora "
    "alora_invocation_tokens".split()
)
RANK_MAJOR = "rank_major"  # the order of a stacked expert's columns in lora_B: by rank first
TRAINED_WHOLE = ("mlp.gate", "mlp.shared_expert_gate")  # modules that an adapter may hold whole


def check_layout(settings: dict, folder: Path) -> None:
    """Raises StageError unless the columns of stacked experts are ordered as PEFT has them.

    Unsloth trained the other order before it adopted PEFT's, and an adapter merged by the wrong one is noise. It marks
    what it trains, so one of its adapters of experts without the marker is refused too.
    """
    mapping = settings.get("auto_mapping") or {}
    layout = settings.get("lora_B_layout") or mapping.get("lora_B_layout")
    unmarked = layout is None and settings.get("target_parameters") and mapping.get("unsloth_fixed")
    if unmarked or layout not in (None, RANK_MAJOR):
        raise files.StageError(
            f"{folder} was trained on experts by an older version of Unsloth (lora_B_layout {layout or 'missing'}), "
            "whose order of columns is not supported. Train it again with requirements-gpu.txt"
        )


def check_adapter_settings(settings: dict, folder: Path) -> None:
    """Raises StageError for an adapter that is more than plain LoRA."""
    found = [name for name in UNSUPPORTED if settings.get(name)]
    found += [f"modules_to_save {name}" for name in settings.get("modules_to_save") or () if name not in TRAINED_WHOLE]
    if settings.get("bias", "none") != "none":
        found.append("bias")
    if settings.get("peft_type", "LORA") != "LORA":
        found.append(f"peft_type {settings['peft_type']}")
    if str(settings.get("init_lora_weights")).split("_")[0] in ("pissa", "olora", "loftq", "corda"):
        found.append(f"init_lora_weights {settings['init_lora_weights']}")  # these also change the base weights
    if found:
        raise files.StageError(f"{folder} uses {', '.join(found)}, which cannot be merged here")
    if not isinstance(settings.get("lora_alpha"), int | float):
        raise files.StageError(f"{folder}/adapter_config.json has no lora_alpha")
    version = [int(part) for part in re.findall(r"\d+", settings.get("peft_version") or "")[:2]]
    if settings.get("target_parameters") and version and version < [0, 19]:
        raise files.StageError(f"{folder} was saved by PEFT {settings['peft_version']}; experts need 0.19 or newer")


def read_adapter(folder: Path, base_config: dict) -> Adapter:
    """The adapter's factors as they are stored. Raises StageError for anything in it that is not understood."""
    from safetensors.torch import load_file

    settings = files.read_json(folder / "adapter_config.json")
    check_adapter_settings(settings, folder)
    check_layout(settings, folder)
    tensor_shapes(folder / "adapter_model.safetensors")
    pairs: dict[str, dict[str, Any]] = {}
    whole: dict[str, Whole] = {}
    for key, tensor in load_file(folder / "adapter_model.safetensors").items():
        match = re.fullmatch(r"base_model\.model\.(.+)\.lora_([AB])\.weight", key)
        module = key.removeprefix("base_model.model.").removesuffix(".weight")
        if match is None and module.endswith(tuple(settings.get("modules_to_save") or ())):
            whole[module] = Whole(module, tensor)
            continue
        if match is None:
            raise files.StageError(f"{folder} holds {key}, which is not a LoRA factor")
        pairs.setdefault(match[1], {})[match[2]] = tensor
    linears, experts = {}, {}
    for module, pair in pairs.items():
        if set(pair) != {"A", "B"}:
            raise files.StageError(f"{folder} holds only one of the two factors of {module}")
        if (
            pair["A"].ndim != 2
            or pair["B"].ndim != 2
            or pair["A"].shape[0] != pair["B"].shape[1]
            or not pair["A"].numel()
        ):
            raise files.StageError(f"{folder}: the two factors of {module} do not fit each other")
        if re.search(r"\.experts(\.base_layer)*$", module):
            stack = module.split(".experts")[0] + ".experts"
            kind, factors = unstack(module, stack, pair["A"], pair["B"], settings, base_config)
            experts[stack, kind] = factors
        else:
            linears[module] = Factors(module, pair["A"], pair["B"], scale(settings, module, pair["A"].shape[0]))
    return Adapter(linears, experts, whole)


def unstack(module: str, stack: str, a: Any, b: Any, settings: dict, base_config: dict) -> tuple[str, Factors]:
    """Factors of stacked experts with the experts as first dimension, and which of the two stacks they belong to.

    PEFT saves A as (experts * rank, in) and B as (out, rank * experts). The names do not say which stack is meant,
    as one wrapper lies around the other; the shapes do.
    """
    experts = expert_count(base_config)
    hidden = base_config["hidden_size"]
    width = base_config.get("moe_intermediate_size") or base_config["intermediate_size"]
    inputs, outputs = a.shape[1], b.shape[0]
    kind = {(hidden, 2 * width): "gate_up", (width, hidden): "down"}.get((inputs, outputs))
    if kind is None or a.shape[0] % experts or a.shape[0] != b.shape[1]:
        raise files.StageError(
            f"{module} of the adapter, A {tuple(a.shape)} and B {tuple(b.shape)}, does not fit {experts} experts of "
            f"{width} by {hidden}"
        )
    rank = a.shape[0] // experts
    by_expert = b.reshape(outputs, rank, experts).permute(2, 0, 1)
    factor = scale(settings, f"{stack}.{kind}_proj", rank)
    return kind, Factors(module, a.reshape(experts, rank, inputs), by_expert.contiguous(), factor)


def expert_count(base_config: dict) -> int:
    """1 for a model without experts."""
    return base_config.get("num_experts") or base_config.get("num_local_experts") or 1


def scale(settings: dict, name: str, rank: int) -> float:
    """LoRA's scale of one module. The rank is that of the factors; alpha may be set by pattern, as PEFT matches it."""
    patterns = settings.get("alpha_pattern") or {}
    alpha = next((v for key, v in patterns.items() if re.match(rf"(.*\.)?({key})$", name)), settings["lora_alpha"])
    return alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)


_EXPERT = re.compile(
    r"(?P<layer>.+)\.(?:mlp|block_sparse_moe)\.experts\.(?:(?P<expert>\d+)\.)?"
    r"(?P<part>gate_proj|up_proj|down_proj|gate_up_proj|w1|w2|w3)(?:\.weight)?"
)
_PARTS = {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}  # Mixtral's names on disk


def factors_for(adapter: Adapter, name: str) -> Factors | Whole | None:
    """What the adapter does to one tensor of the checkpoint, by its name on disk; None if nothing."""
    module = name.removesuffix(".weight")
    if module in adapter.linears or module in adapter.whole:
        return adapter.linears.get(module) or adapter.whole[module]
    match = _EXPERT.fullmatch(name)
    if match is None:
        return None
    part = _PARTS.get(match["part"], match["part"])
    # In memory, and so in the adapter, transformers calls the block "mlp" in every model.
    stack = adapter.experts.get((f"{match['layer']}.mlp.experts", "down" if part == "down_proj" else "gate_up"))
    if stack is None or match["expert"] is None:
        return stack
    a, b = stack.a[int(match["expert"])], stack.b[int(match["expert"])]
    half = b.shape[0] // 2
    rows = {"gate_proj": b[:half], "up_proj": b[half:]}.get(part, b)
    return Factors(stack.module, a, rows, stack.scale)


def touched(adapter: Adapter, shapes: dict[str, tuple[int, ...]]) -> list[str]:
    """The checkpoint's tensors that the adapter changes.

    Raises StageError if a part of the adapter finds no tensor or one of another shape: the adapter is of another model.
    """
    found, used = [], set()
    for name, shape in shapes.items():
        factors = factors_for(adapter, name)
        if factors is None:
            continue
        if factors.shape != shape:
            raise files.StageError(f"the adapter changes {name} by {factors.shape}, the base model has {shape}")
        found.append(name)
        used.add(factors.module)
    every = {f.module for f in (*adapter.linears.values(), *adapter.experts.values(), *adapter.whole.values())}
    if every - used:
        missing = sorted(every - used)
        raise files.StageError(
            f"{len(missing)} modules of the adapter are not in the base model, the first is {missing[0]}. "
            "Was it trained on another model?"
        )
    return found


def merge(adapter: Adapter, weight: Any, name: str, report: dict[str, list[str]]) -> Any:
    """Base plus adapter of one tensor, in float32. Raises ValueError where that is not finite or changes nothing."""
    import torch

    factors = factors_for(adapter, name)
    result = factors.applied(weight)
    if not all(side.isfinite() for side in result.aminmax()):  # of a NaN anywhere both are NaN
        raise ValueError(f"{name} is not finite after the merge")
    if factors.is_trained and torch.equal(result, weight.float()):
        raise ValueError(f"the merge left {name} as it was")
    report["changed" if factors.is_trained else "untrained"].append(name)
    return result


def check_report(report: dict, expected: list[str]) -> dict:
    """Raises StageError unless the converter merged just the tensors that the adapter is for."""
    merged = {*report["changed"], *report["untrained"]}
    if merged != set(expected):
        raise files.StageError(f"{len(expected)} weights should have been merged with the adapter, {len(merged)} were")
    if not report["changed"]:
        raise files.StageError("the adapter changes nothing: all its weights are zero. Was it trained?")
    return {"changed_tensors": len(report["changed"]), "untrained_tensors": len(report["untrained"])}
