"""A tiny dense Qwen2 with random weights, and the Qwen2 mixture of experts that is made of it."""

from tests.helpers import tiny_moe


def dense(seed=0):
    """Model and tokenizer. Norms and biases are drawn too: ones and zeros would hide what was left out."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from extraction.tasks import prompts

    tokens = tiny_moe.tokenizer(seed)
    tokens.chat_template = prompts.chat_template("qwen2_moe")
    config = Qwen2Config(
        vocab_size=tiny_moe.VOCABULARY + 64,
        hidden_size=256,
        intermediate_size=1280,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        initializer_range=0.05,
        tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        bos_token_id=tokens.convert_tokens_to_ids("<|endoftext|>"),
        eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config)
        for name, weight in model.named_parameters():
            if name.endswith("norm.weight"):
                weight.data.uniform_(0.7, 1.3)
            elif name.endswith("bias"):
                weight.data.uniform_(-0.3, 0.3)
    return model.eval(), tokens


def build(folder, seed=0):
    """Save the mixture: a shared expert of 768 neurons and 4 of 512, of which the router picks 2."""
    from extraction.models import upcycle

    model, tokens = dense(seed)
    return upcycle.build(model, tokens, folder, experts=4, experts_per_token=2, shared_width=768)
