"""The LoRA adapter: its settings, the one that training continues from, and how it is saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extraction import files, handoff
from extraction.models import lora, routing
from extraction.training import expert_lora

if TYPE_CHECKING:
    import config

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]  # stacked over experts, as transformers holds them
MLP = ["gate_proj", "up_proj", "down_proj"]  # of a dense model
SHARED_EXPERT = ["shared_expert.gate_proj", "shared_expert.up_proj", "shared_expert.down_proj"]
DENSE, MIXTURES = ("qwen2", "qwen3"), ("mixtral", "qwen2_moe", "qwen3_moe")  # families that are taken
B_LAYOUT = "rank_major"  # PEFT's order of the columns of stacked experts' lora_B


def check_family(model_type: str, name: str) -> None:
    """Raises StageError for a model of a family that cannot be trained and exported here."""
    if model_type not in DENSE + MIXTURES:
        raise files.StageError(
            f"{name} is a {model_type} model; only {', '.join(DENSE + MIXTURES)} can be trained here"
        )


def lora_arguments(train: config.TrainConfig, model_type: str) -> dict:
    """What PEFT's LoraConfig needs. Dropout stays 0: PEFT cannot apply it to stacked experts."""
    arguments: dict[str, Any] = {"r": train.lora_rank, "lora_alpha": train.lora_alpha, "target_modules": ATTENTION}
    if model_type in DENSE:
        return arguments | ({} if train.lora_targets == "attention" else {"target_modules": ATTENTION + MLP})
    has_shared = model_type == "qwen2_moe"
    if train.lora_targets == "attention+experts+shared" and has_shared:
        arguments["target_modules"] = ATTENTION + SHARED_EXPERT
    if train.lora_targets != "attention":
        arguments["target_parameters"] = EXPERTS
        if train.expert_lora_rank not in (None, train.lora_rank):
            names = [name.split(".", 1)[1] for name in EXPERTS]
            alpha = train.lora_alpha * train.expert_lora_rank / train.lora_rank  # the same weight of the difference
            arguments["rank_pattern"] = dict.fromkeys(names, train.expert_lora_rank)
            arguments["alpha_pattern"] = dict.fromkeys(names, alpha)
    if train.train_router:
        arguments["modules_to_save"] = list(lora.TRAINED_WHOLE if has_shared else lora.TRAINED_WHOLE[:1])
    return arguments


def added(
    base: Any, train: config.TrainConfig, choose: Callable[[Any], list[list[int]]], add: Callable[..., Any]
) -> Any:
    """The base model with a new adapter: `add(base, **arguments)` is PEFT's or Unsloth's way to put one around it.

    Of `train.experts_share` of the experts, `choose(base)` says which they are in each layer.
    """
    arguments = lora_arguments(train, base.config.model_type)
    if train.experts_share == 1:
        return add(base, **arguments)
    if base.config.model_type in DENSE:
        raise files.StageError("train.experts_share is for a mixture of experts, and the base model has none")
    chosen = choose(base)
    names = [name.split(".", 1)[1] for name in EXPERTS]
    model = add(base, **{**arguments, "rank_pattern": dict.fromkeys(names, 1)})  # small: they are replaced
    model.peft_config["default"].rank_pattern = arguments.get("rank_pattern", {})
    rank = train.expert_lora_rank or train.lora_rank
    expert_lora.narrow(model, chosen, rank, train.lora_alpha / train.lora_rank)
    return model


def check_start(folder: Path, train: config.TrainConfig, base: dict | None, model_type: str) -> None:
    """Raises StageError unless the adapter was trained on this base model with these LoRA settings.

    `base` is what a base model that this project builds depends on; None for a published one.
    """
    undo = "--set train.init_adapter=null starts from the base model"
    manifest = handoff.manifest_of(folder)
    if manifest is None:
        raise files.StageError(f"{folder} holds no finished adapter; {undo}")
    if damaged := handoff.damage(folder, manifest):
        raise files.StageError(f"{folder}/{damaged}; {undo}")
    if base is not None and manifest["settings"].get("base") != base:
        raise files.StageError(f"{folder} was trained on another base model; {undo}")
    lora.tensor_shapes(folder / "adapter_model.safetensors")
    found = files.read_json(folder / "adapter_config.json")
    for name, value in lora_arguments(train, model_type).items():
        there = sorted(found[name]) if isinstance(found.get(name), list) else found.get(name)
        if there != (sorted(value) if isinstance(value, list) else value):
            raise files.StageError(f"{folder} was trained with {name}={there}, not {value}; {undo}")
    share = manifest["settings"].get("experts_share", 1.0)
    if share != train.experts_share:
        raise files.StageError(f"{folder} was trained with experts_share={share}, not {train.experts_share}; {undo}")


def save(model: Any, tokenizer: Any, folder: Path, base_model: str) -> None:
    """Write the adapter in bfloat16: half the size of the float32 that is trained, and what the base model has."""
    from safetensors.torch import load_file, save_file

    model.save_pretrained(folder)
    config_path = folder / "adapter_config.json"  # PEFT notes the folder of the base model on this machine
    found = {**files.read_json(config_path), "base_model_name_or_path": base_model}
    chosen = expert_lora.chosen_in(model)
    if chosen:
        found[expert_lora.NOTE] = chosen
    if found.get("target_parameters"):
        found["lora_B_layout"] = B_LAYOUT
    # sets in PEFT, in another order in every process
    for name in ("target_modules", "target_parameters", "modules_to_save"):
        if isinstance(found.get(name), list):
            found[name].sort()
    files.write_json(config_path, found)
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    if chosen:
        tensors = expert_lora.widened(tensors, chosen, routing.expert_count(model.config))
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise files.StageError("the adapter holds values that are not finite; lower train.learning_rate")
    save_file({name: t.bfloat16().contiguous() for name, t in tensors.items()}, path, metadata={"format": "pt"})
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
    tokenizer.save_pretrained(folder)


def restore(model: Any, folder: Path) -> None:
    """Put the weights of a saved adapter into the model's own adapter. Raises StageError if one has no place there."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    tensors = load_file(folder / "adapter_model.safetensors")
    if chosen := expert_lora.chosen_in(model):
        tensors = expert_lora.narrowed(tensors, chosen, routing.expert_count(model.config))
    result = set_peft_model_state_dict(model, tensors)
    left = [*result.unexpected_keys, *(name for name in result.missing_keys if "lora_" in name)]
    if left:
        raise files.StageError(f"{folder} does not fit this model: {left[0]} and {len(left) - 1} others")


def average(model: Any, start: Path, weight: float) -> None:
    """Make the model's adapter the weighted mean of itself and a saved one, which has this weight.

    What was learned stays for the most part, and less of what was known is forgotten (WiSE-FT, Wortsman et al. 2022,
    arXiv 2109.01903, there of whole models). Raises StageError if the saved one does not fit.
    """
    import torch

    learned = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    restore(model, start)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in learned:
                parameter.lerp_(learned[name], 1 - weight)
