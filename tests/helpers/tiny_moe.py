"""A tiny Qwen3 mixture of experts with random weights and a ChatML tokenizer, made without any download.

Its shapes tell layouts apart: hidden size 256, expert width 512, so that no two sides of a stacked expert are equal.
"""

import json
import random
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# The pattern by which Qwen2 and Qwen3 split a text before BPE.
QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TAGS = ["<think>", "</think>"]  # ordinary tokens in Qwen3, not special ones
VOCABULARY = 2048


def corpus(seed):
    """Contracts of the samples and made-up receipts, for the tokenizer to learn merges from."""
    draw = random.Random(seed)
    published = json.loads((ROOT / "data" / "samples" / "cuad.json").read_text(encoding="utf-8"))
    for contract in published["data"][:6]:
        yield contract["paragraphs"][0]["context"][:20_000]
    goods = "COFFEE LATTE TEA CAKE NASI GORENG WATER MINERAL BREAD CHEESE JUICE ORANGE".split()
    for _ in range(300):
        items = [
            {
                "description": " ".join(draw.sample(goods, 2)),
                "amount": f"{draw.randint(1, 99)},{draw.randint(0, 999):03}",
            }
            for _ in range(draw.randint(1, 3))
        ]
        yield json.dumps({"line_items": items, "total": f"{draw.random() * 999:.2f}"}, separators=(",", ":"))
        yield "\n".join(f"{item['description']:20}{item['amount']:>12}" for item in items)


def tokenizer(seed=0, pattern=QWEN2_PATTERN):
    """A byte-level BPE tokenizer of 2,048 tokens, built like Qwen3's; `seed` and `pattern` vary it."""
    from tokenizers import models, pre_tokenizers, trainers

    made = split_like(pattern, models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL) - len(TAGS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(corpus(seed), trainer)
    return with_chat(made, [*SPECIAL, *TAGS])


def split_like(pattern, model):
    """A byte-level tokenizer of this model, which splits a text by this pattern first."""
    from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers

    made = Tokenizer(model)
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    return made


def with_chat(made, added, model_type="qwen3_moe"):
    """With these tokens added, those with a bar in them as special ones, and the chat template of a model type."""
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerFast

    from extraction.tasks import prompts

    special = [AddedToken(text, special="|" in text, normalized=False) for text in added]
    made.add_special_tokens([token for token in special if token.special])
    made.add_tokens([token for token in special if not token.special])
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=prompts.chat_template(model_type),
        clean_up_tokenization_spaces=False,
    )


def shape(config_class, tokens, **sizes):
    """The configuration of a tiny model with this tokenizer. Like Qwen's, its output layer has rows without a token."""
    usual = {
        "vocab_size": VOCABULARY + 64,
        "hidden_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "initializer_range": 0.05,
        "tie_word_embeddings": False,
        "eos_token_id": tokens.eos_token_id,
        "pad_token_id": tokens.pad_token_id,
    }
    return config_class(**usual | sizes)


def drawn(model_class, config, seed=0):
    """A model with random weights. Norms and biases too: ones and zeros would hide what was left out."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config)
        for name, weight in model.named_parameters():
            if name.endswith("norm.weight"):
                weight.data.uniform_(0.7, 1.3)
            elif name.endswith("bias"):
                weight.data.uniform_(-0.3, 0.3)
    return model


QWEN = {"rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0}}


def build(folder, seed=0):
    """Save model and tokenizer into `folder`. The same seed gives the same files."""
    import torch
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    tokens = tokenizer(seed)
    sizes = {"intermediate_size": 512, "moe_intermediate_size": 512, "head_dim": 64, "num_experts": 8}
    sizes |= {"num_experts_per_tok": 2, "norm_topk_prob": True, "router_aux_loss_coef": 0.001, **QWEN}
    start = tokens.convert_tokens_to_ids("<|endoftext|>")
    model = drawn(Qwen3MoeForCausalLM, shape(Qwen3MoeConfig, tokens, bos_token_id=start, **sizes), seed)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokens.save_pretrained(folder)
