"""The base model that this project builds itself, and loading any base model's tokenizer and weights.

`qwen2.5-0.5b-moe` is Qwen2.5-Coder-0.5B-Instruct (Hui et al. 2024, Apache-2.0) made into a mixture of experts:
upcycle.py says how, base_file.py where its file comes from.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

from extraction import handoff
from extraction.models import base_file, upcycle
from extraction.tasks import prompts

BUILT = "qwen2.5-0.5b-moe"  # the name of the model that is built here; any other is a folder or from the hub


def quiet() -> None:
    """Keep transformers' advice and its own progress bars off the terminal; errors still come through."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Unsloth's key for the order of stacked experts, which PEFT need not know: it has one order
    warnings.filterwarnings("ignore", r"Unexpected keyword arguments \['lora_B_layout'\]", UserWarning)
    # PEFT looks for the experts' ranks among the modules only, and says so although it uses them for the parameters
    warnings.filterwarnings("ignore", r"The following (rank|alpha)_pattern keys did not match", RuntimeWarning)
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def tokenizer(base_model: str, base_dir: Path, cache: Path | None = None) -> Any:
    """The base model's tokenizer with this project's chat template.

    Of the model that this project builds: from `base_dir`, or with `cache` from its file there, which is downloaded
    if it is missing. So stage 2 needs no built model.
    """
    from transformers import AutoConfig, AutoTokenizer

    quiet()
    if base_model == BUILT:
        if cache is not None:
            return file_tokenizer(cache)
        handoff.require(base_dir, made_by="python train_moe.py")
    where = base_dir if base_model == BUILT else resolve(base_model)
    loaded = AutoTokenizer.from_pretrained(where)
    loaded.chat_template = prompts.chat_template(AutoConfig.from_pretrained(where).model_type)
    return loaded


def file_tokenizer(cache: Path) -> Any:
    """The tokenizer in the file of Qwen2.5-Coder. Reading it takes half a minute, so it is kept beside the file."""
    from transformers import AutoTokenizer

    kept = (cache / base_file.NAME).with_suffix(".tokenizer")
    if (handoff.manifest_of(kept) or {"settings": {}})["settings"].get("source") != base_file.SHA256:
        path = base_file.fetch(cache)
        print("reading the tokenizer of the base model, once", file=sys.stderr, flush=True)
        tokens = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        tokens.eos_token, tokens.pad_token = "<|im_end|>", "<|endoftext|>"
        tokens.chat_template = prompts.chat_template("qwen2_moe")
        staging = handoff.begin(kept)
        tokens.save_pretrained(staging)
        handoff.seal(staging, stage="base_file", settings={"source": base_file.SHA256})
    return AutoTokenizer.from_pretrained(kept)


def resolve(base_model: str) -> str:
    """A folder given by path as an absolute one; a hub id as it is."""
    return str(Path(base_model).resolve()) if Path(base_model).is_dir() else base_model


def build(staging: Path, cache: Path, **sizes: int) -> dict:
    """Write the mixture of the sizes that `upcycle.build` takes, and its tokenizer, into `staging`."""
    import torch
    from transformers import AutoModelForCausalLM

    quiet()
    path = base_file.fetch(cache)
    dense = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    # One matrix, of which the file has two copies: in Q5_0 for the embeddings, in Q8_0 for the output
    dense.get_input_embeddings().weight.data = dense.get_output_embeddings().weight.data
    return upcycle.build(dense, file_tokenizer(cache), staging, **sizes)
