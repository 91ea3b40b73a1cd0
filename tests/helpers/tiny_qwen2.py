"""A tiny dense Qwen2 with random weights, and the Qwen2 mixture of experts that is made of it."""

from tests.helpers import tiny_moe


def dense(seed=0):
    """Model and tokenizer."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from extraction.tasks import prompts

    tokens = tiny_moe.tokenizer(seed)
    tokens.chat_template = prompts.chat_template("qwen2_moe")
    start = tokens.convert_tokens_to_ids("<|endoftext|>")
    config = tiny_moe.shape(Qwen2Config, tokens, intermediate_size=1280, bos_token_id=start, **tiny_moe.QWEN)
    return tiny_moe.drawn(Qwen2ForCausalLM, config, seed).eval(), tokens


def build(folder, seed=0):
    """Save the mixture: a shared expert of 768 neurons and 4 of 512, of which the router picks 2."""
    from extraction.models import upcycle

    model, tokens = dense(seed)
    return upcycle.build(model, tokens, folder, experts=4, experts_per_token=2, shared_width=768)
