"""Qwen2's tokenizer with its 256 bytes and the first 4,000 of its 151,387 merges, so that no file has to be downloaded.

Ordinary English is split almost as by the whole tokenizer; a text never has fewer tokens here than there.
The merges are those of Qwen2.5-Coder-0.5B-Instruct (Apache-2.0); Qwen3 has the same.
"""

from pathlib import Path

from tests.helpers import tiny_moe

MERGES = Path(__file__).with_name("qwen2_merges.txt")
# What Qwen3's tokenizer adds to the merges. Those of Qwen2.5 are the same without the last four.
ADDED = """<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|>
<|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|> <tool_call>
</tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> <|file_sep|> <tool_response>
</tool_response> <think> </think>""".split()


def tokenizer(model_type="qwen3_moe", added=ADDED, without=(), **options):
    """The tokenizer with the chat template of this model type; it has no token for the bytes in `without`."""
    from tokenizers.models import BPE
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    merges = [tuple(line.split(" ")) for line in MERGES.read_text(encoding="utf-8").splitlines()]
    alphabet = [sign for byte, sign in bytes_to_unicode().items() if byte not in without]
    words = [*alphabet, *("".join(merge) for merge in merges), *options.values()]
    model = BPE(vocab={word: number for number, word in enumerate(dict.fromkeys(words))}, merges=merges, **options)
    return tiny_moe.with_chat(tiny_moe.split_like(tiny_moe.QWEN2_PATTERN, model), added, model_type)
