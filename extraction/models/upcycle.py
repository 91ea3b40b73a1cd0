"""A dense Qwen2 made into a Qwen2 mixture of experts that computes the same (Komatsuzaki et al. 2023: upcycling).

Part of each MLP stays as a shared expert, which every token uses; the rest is copied into each routed expert, of which
the router picks a few for every token. llama.cpp does not bring the weights of the picked experts to a sum of one, so
they do not here either: of n equal weights k sum to k/n, and the experts' output layers are multiplied by n/k. The
shared expert's gate begins at one half, so its output layer is multiplied by two.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from extraction import files
from extraction.models import float32

# Of the new routers and gates. With 1e-3 they already pick unequal weights and the function is lost (0.73 in a logit);
# at exactly zero llama.cpp computes NaN, because it gets a sigmoid as silu(x) / x.
ROUTER_STD = 1e-5
ROUTER_SEED = 3407  # fixed: an adapter only fits the routers that it was trained with
MAX_LOGIT_DIFFERENCE = 0.05  # between the dense model and the mixture; 0.008 was measured
SAMPLE = "Invoice 1234 from Acme Corp., total due $45.00 on 3 March."


def build(dense: Any, tokenizer: Any, folder: Path, *, experts: int, experts_per_token: int, shared_width: int) -> dict:
    """Write the mixture and its tokenizer into `folder`, in bfloat16. The dense model has no weights afterwards.

    Returns `{"parameters", "max_logit_difference"}`, the latter between the dense model with its weights in bfloat16
    and the mixture, both computed in float32. Raises StageError if they do not compute the same.
    """
    import torch
    from transformers import Qwen2MoeForCausalLM

    old = dense.config
    if not 0 < shared_width < old.intermediate_size:
        raise files.StageError(
            f"train.shared_width must be below the {old.intermediate_size} neurons of an MLP, got {shared_width}"
        )
    for parameter in dense.parameters():  # rounded as the mixture's will be, so that nothing else tells them apart
        parameter.data = parameter.data.bfloat16().float()
    ids = tokenizer(SAMPLE, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        expected = dense(ids).logits
    for parameter in dense.parameters():
        parameter.data = parameter.data.bfloat16()  # half the memory
    config = mixture_config(old, tokenizer, experts, experts_per_token, shared_width)
    with torch.device("meta"):
        sparse = Qwen2MoeForCausalLM(config)
    names = list(sparse.state_dict())
    sparse.load_state_dict(weights_of(dense.state_dict(), names, config), assign=True)
    dense.to("meta")  # its memory is needed
    sparse.generation_config.eos_token_id = tokenizer.eos_token_id
    sparse.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    del sparse
    reread = float32.by_layer(Qwen2MoeForCausalLM.from_pretrained(folder, dtype="auto").eval())
    with torch.inference_mode():
        difference = (reread(ids).logits - expected).abs().max().item()
    if not difference <= MAX_LOGIT_DIFFERENCE:  # also if it is not a number
        raise files.StageError(f"the mixture differs from the dense model by {difference:.3g} in a logit")
    return {"parameters": sum(p.numel() for p in reread.parameters()), "max_logit_difference": difference}


def mixture_config(old: Any, tokenizer: Any, experts: int, experts_per_token: int, shared_width: int) -> Any:
    from transformers import Qwen2MoeConfig

    same = "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads "
    same += "hidden_act max_position_embeddings rms_norm_eps rope_parameters"
    return Qwen2MoeConfig(
        **{name: getattr(old, name) for name in same.split()},
        moe_intermediate_size=old.intermediate_size - shared_width,
        shared_expert_intermediate_size=shared_width,
        num_experts=experts,
        num_experts_per_tok=experts_per_token,
        norm_topk_prob=False,  # llama.cpp's qwen2moe does not either
        decoder_sparse_step=1,
        mlp_only_layers=[],
        qkv_bias=True,
        use_sliding_window=False,
        tie_word_embeddings=False,  # llama.cpp's qwen2moe wants an output layer of its own
        bos_token_id=old.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="bfloat16",
    )


def weights_of(dense: dict, names: list[str], config: Any) -> dict:
    """The mixture's weights by name, from those of the dense model."""
    import numpy
    import torch

    # numpy's frozen generator: the same numbers with any version
    draw = numpy.random.RandomState(ROUTER_SEED)
    shared, experts = config.shared_expert_intermediate_size, config.num_experts
    weights = {}
    for name in names:
        mlp = name.split(".mlp.")[0] + ".mlp."
        if ".mlp." not in name:
            weight = dense[name]
        elif name.endswith((".mlp.gate.weight", ".shared_expert_gate.weight")):
            rows = experts if name.endswith(".mlp.gate.weight") else 1
            weight = torch.from_numpy(draw.normal(0, ROUTER_STD, (rows, config.hidden_size)))
        elif name.endswith(("shared_expert.gate_proj.weight", "shared_expert.up_proj.weight")):
            weight = dense[mlp + name.rsplit(".", 2)[1] + ".weight"][:shared]
        elif name.endswith("shared_expert.down_proj.weight"):
            weight = dense[mlp + "down_proj.weight"][:, :shared] * 2
        elif name.endswith("experts.gate_up_proj"):
            halves = [dense[f"{mlp}{part}_proj.weight"][shared:] for part in ("gate", "up")]
            weight = torch.cat(halves).expand(experts, -1, -1)
        elif name.endswith("experts.down_proj"):
            down = dense[mlp + "down_proj.weight"][:, shared:] * (experts / config.num_experts_per_tok)
            weight = down.expand(experts, -1, -1)
        else:
            raise files.StageError(f"no weights for {name}: this version of transformers names Qwen2-MoE's otherwise")
        weights[name] = weight.to(torch.bfloat16).contiguous()
    return weights
