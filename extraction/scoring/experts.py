"""Which experts a router picks for which type of document, and how far training moved each.

A load is each expert's share of the picks of a layer's router. Every document counts the same, however long it is.
Divergences and entropies are in bits. Works for every mixture of experts that transformers holds as stacks.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from extraction.models import routing

# --- loads ---------------------------------------------------------------------------------------------------


def load(picks: Any) -> Any:
    """Counts `[..., experts]` as shares. Raises ValueError where nothing was picked."""
    import numpy

    picks = numpy.asarray(picks, dtype=float)
    total = picks.sum(axis=-1, keepdims=True)
    if not total.all():
        raise ValueError("a load needs at least one pick")
    return picks / total


def entropy(shares: Any) -> Any:
    """Shannon entropy over the last axis: 0 if one expert does everything, log2(experts) if all do the same."""
    import numpy

    shares = numpy.asarray(shares, dtype=float)
    logarithms = numpy.log2(shares, out=numpy.zeros_like(shares), where=shares > 0)
    return -(shares * logarithms).sum(axis=-1)


def divergence(first: Any, second: Any) -> Any:
    """Jensen-Shannon divergence over the last axis (Lin 1991): 0 for equal loads, 1 if no expert is shared."""
    import numpy

    first, second = numpy.asarray(first, dtype=float), numpy.asarray(second, dtype=float)
    return numpy.maximum(entropy((first + second) / 2) - (entropy(first) + entropy(second)) / 2, 0)


def compare(first: Any, second: Any, samples: int, seed: int = 0) -> dict[str, Any]:
    """Divergence by layer between two types of documents, `[documents, layers, experts]`, beside a null model.

    The null model deals the documents to two types of the same sizes at random (Fisher's permutation test): loads of
    few documents differ by chance, and its 95 % interval says by how much. `p` is the share of deals, the real one
    included, that differ at least as much as the types do. The mean is over layers.
    """
    import numpy

    documents = numpy.concatenate([first, second])
    size = len(first)

    def by_layer(order: Any) -> Any:
        return divergence(documents[order[:size]].mean(axis=0), documents[order[size:]].mean(axis=0))

    found = by_layer(numpy.arange(len(documents)))
    draw = numpy.random.default_rng(seed)
    null = numpy.array([by_layer(draw.permutation(len(documents))) for _ in range(samples)])
    low, high = numpy.quantile(null, (0.025, 0.975), axis=0)
    means = null.mean(axis=1)
    return {
        "mean": float(found.mean()),
        "null": {"low": float(numpy.quantile(means, 0.025)), "high": float(numpy.quantile(means, 0.975))},
        "p": float((1 + (means >= found.mean()).sum()) / (1 + samples)),
        "layers": found.tolist(),
        "null_layers": {"low": low.tolist(), "high": high.tolist()},
    }


# --- rows ----------------------------------------------------------------------------------------------------


def document_types(rows: Sequence[dict]) -> dict[str, str]:
    """The type of each document by its id: the task of its record; `document` for pages with questions only."""
    found = {}
    for row in rows:
        name = row.get("document") or row["id"]
        if row["task"] != "question":
            found[name] = row["task"]
        else:
            found.setdefault(name, "document")
    return found


def document_tokens(tokenizer: Any, prompt: list[dict]) -> tuple[list[int], int]:
    """The prompt's tokens, and how many of them are the instructions.

    Instructions are the same in every row of a task; if they counted, they alone would separate the types.
    """
    shown = [tokenizer.apply_chat_template(messages, tokenize=False) for messages in (prompt, [m for m in prompt[:-1]])]
    tokens, instructions = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in shown)
    if tokens[: len(instructions)] != instructions:
        raise ValueError("the chat template does not begin with the instructions")
    return tokens, len(instructions)


# --- a model -------------------------------------------------------------------------------------------------


def moved(model: Any) -> dict[str, list]:
    """How far a LoRA adapter moved the weights of each layer: norm of its difference over that of the weight.

    `experts` holds a value for each expert of each layer, 0 where the adapter leaves it alone; `attention` one for each
    layer. Norms are Frobenius norms of all matrices of an expert, or of attention, together.
    """
    import torch
    from peft.tuners.lora.layer import LoraLayer, ParamWrapper

    config = model.get_base_model().config
    layers, experts = config.num_hidden_layers, routing.expert_count(config)
    changed = {"experts": torch.zeros(layers, experts), "attention": torch.zeros(layers, 1)}
    whole = {name: tensor.clone() for name, tensor in changed.items()}
    for name, module in model.named_modules():
        stacked = re.search(r"\.layers\.(\d+)\.mlp\.experts$", name)
        if stacked:
            whole["experts"][int(stacked[1])] = sum(_squares(p) for p in _weights(module))
        if not isinstance(module, LoraLayer) or ".shared_expert." in name:
            continue
        layer = int(re.search(r"\.layers\.(\d+)\.", name)[1])
        part = "experts" if ".experts" in name else "attention"
        wrapped = isinstance(module, ParamWrapper)
        for adapter in module.active_adapters:
            with torch.no_grad():
                changed[part][layer] += _squares(module.get_delta_weight(adapter), by_expert=wrapped)
        if part == "attention":
            whole[part][layer] += _squares(module.get_base_layer().weight, by_expert=False)
    return {name: (changed[name] / whole[name].clamp_min(1e-30)).sqrt().tolist() for name in changed}


def _weights(module: Any) -> list[Any]:
    """The stacked weights of a layer's experts, from under the wrappers of an adapter."""
    return [p for name, p in module.named_parameters() if p.dim() == 3 and "lora_" not in name]


def _squares(weight: Any, by_expert: bool = True) -> Any:
    """The sum of the squares of a weight, or of each expert's part of it, on the CPU."""
    weight = weight.detach().float()
    return (weight.square().sum(dim=(1, 2)) if by_expert else weight.square().sum().reshape(1)).cpu()


def study(
    model: Any, tokenizer: Any, rows: Sequence[dict], types: dict[str, str], samples: int, done: Callable[[], Any]
) -> dict[str, Any]:
    """Routing of the rows' documents before and after training, and what moved. `done` is called after each row.

    `model` is a PEFT model: without its adapter it is the base model. `types` are those of the documents by id.
    """
    import contextlib

    import numpy

    counted: dict[str, dict[str, Any]] = {"base": defaultdict(int), "adapter": defaultdict(int)}
    tokens_of: dict[str, int] = defaultdict(int)
    for row in rows:
        name = row.get("document") or row["id"]
        tokens, skip = document_tokens(tokenizer, row["prompt"])
        tokens_of[types[name]] += len(tokens) - skip
        for state, documents in counted.items():
            with model.disable_adapter() if state == "base" else contextlib.nullcontext():
                documents[name] += routing.picks(model, tokens, skip)
        done()
    seen = list(counted["base"])
    names = {kind: [name for name in seen if types[name] == kind] for kind in sorted(tokens_of)}
    loads = {
        state: {kind: numpy.array([load(found[name]) for name in names[kind]]) for kind in names}
        for state, found in counted.items()
    }
    config = model.get_base_model().config
    return {
        "layers": config.num_hidden_layers,
        "experts": routing.expert_count(config),
        "experts_per_token": config.num_experts_per_tok,
        "rows": len(rows),
        "documents": {kind: len(found) for kind, found in names.items()},
        "tokens": dict(tokens_of),
        "null_samples": samples,
        **{state: describe(found, samples) for state, found in loads.items()},
        "changed_routing": {
            kind: divergence(loads["base"][kind].mean(axis=0), loads["adapter"][kind].mean(axis=0)).tolist()
            for kind in names
        },
        "moved": moved(model),
    }


def describe(loads: dict[str, Any], samples: int) -> dict[str, Any]:
    """Loads, entropies and divergences of one model, from the loads of each type's documents."""
    mean = {kind: found.mean(axis=0) for kind, found in loads.items()}
    return {
        "load": {kind: shares.tolist() for kind, shares in mean.items()},
        "entropy": {kind: entropy(shares).tolist() for kind, shares in mean.items()},
        "unused": {kind: (shares == 0).sum(axis=-1).tolist() for kind, shares in mean.items()},
        "divergence": {
            f"{a} / {b}": compare(loads[a], loads[b], samples)
            for a, b in itertools.combinations(loads, 2)
            if len(loads[a]) + len(loads[b]) > 2
        },
    }


# --- the picture ---------------------------------------------------------------------------------------------


def draw(found: dict[str, Any], path: Path) -> None:
    """Loads by type, layer and expert after training; divergences beside the null model; what moved. One picture."""
    import matplotlib

    matplotlib.use("Agg")
    import numpy
    from matplotlib import pyplot as plt

    kinds, layers = list(found["documents"]), numpy.arange(found["layers"])
    pairs = list(found["adapter"]["divergence"])
    columns = max(len(kinds), len(pairs), 2)
    figure, axes = plt.subplots(3, columns, figsize=(5 * columns, 12), layout="constrained", squeeze=False)
    for axis in axes.flat:
        axis.set_visible(False)

    def heat(axis: Any, values: list, title: str, label: str, **limits: Any) -> None:
        axis.set_visible(True)
        image = axis.imshow(values, aspect="auto", interpolation="nearest", **limits)
        axis.set(title=title, xlabel="expert", ylabel="layer")
        if found["experts"] <= 16:
            axis.set_xticks(range(found["experts"]))
        figure.colorbar(image, ax=axis, label=label)

    top = max(numpy.max(shares) for shares in found["adapter"]["load"].values())
    for axis, kind in zip(axes[0], kinds, strict=False):
        title = f"{kind}: {found['documents'][kind]} documents, {found['tokens'][kind]:,} tokens"
        heat(axis, found["adapter"]["load"][kind], title, "load after training", vmin=0, vmax=top)
    every = [c for state in ("base", "adapter") for c in found[state]["divergence"].values()]
    highest = max((max(c["layers"]) for c in every), default=1)
    for axis, pair in zip(axes[1], pairs, strict=False):
        axis.set_visible(True)
        for state, color in (("base", "tab:gray"), ("adapter", "tab:red")):
            compared = found[state]["divergence"][pair]
            null = compared["null_layers"]
            axis.plot(layers, compared["layers"], color=color, label=f"{state}: mean {compared['mean']:.4f}")
            axis.fill_between(layers, null["low"], null["high"], color=color, alpha=0.25, linewidth=0)
        axis.set(title=pair, xlabel="layer", ylabel="Jensen-Shannon divergence, bits", ylim=(0, 1.4 * highest))
        axis.legend(title="band: 95 % with types shuffled", fontsize=8)
    norms = found["moved"]
    heat(axes[2][0], norms["experts"], "experts, by the adapter", "norm of the difference / of the weight", vmin=0)
    axis = axes[2][1]
    axis.set_visible(True)
    for kind in kinds:
        axis.plot(layers, found["changed_routing"][kind], label=f"routing, {kind} (divergence, bits)")
    attention = [values[0] for values in norms["attention"]]
    axis.plot(layers, attention, "k--", label="attention weights (relative norm)")
    axis.set(title="what training changed", xlabel="layer", ylim=(0, None))
    axis.legend(fontsize=8)
    figure.suptitle(f"{found['name']}: {found['experts_per_token']} of {found['experts']} experts a token")
    figure.savefig(path, dpi=80, metadata={"Software": None})
    plt.close(figure)
