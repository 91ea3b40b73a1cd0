"""How much memory training takes and how fast it is, on this machine's GPU.

    python benchmarks/training.py                                    # the whole table: about half an hour
    python benchmarks/training.py --row cap=15.99                    # one row: a 16,376 MiB card
    python benchmarks/training.py --row cap=24,targets=attention+experts,expert_rank=16 --row length=4096
    python benchmarks/training.py --model /models/Qwen3-30B-A3B      # real weights instead of random ones

Needs a CUDA device, requirements-gpu.txt, and for random weights 61 GB of disk (--model says where; /dev/shm where
that is large enough is fastest). Each row is a `python train_moe.py --profile gpu` of its own. A cap is real: a second
process takes the rest of the card's memory before training starts. Random weights give honest memory and speed, and
say nothing about quality. Rows already in the results file are not measured again.

Writes  output/benchmarks/training.jsonl   a row per line
        output/benchmarks/training.md      the table
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import config  # noqa: E402
from extraction import handoff, memory  # noqa: E402

# --- a checkpoint without a download ---------------------------------------------------------------------------


def tensors_of_layer(shape: memory.Shape, layer: int) -> list[tuple[str, list[int]]]:
    """Names and shapes of a Qwen3 decoder layer as the hub repository has them, an expert at a time."""
    prefix, h, d = f"model.layers.{layer}.", shape.hidden, shape.head_dim
    queries, keys = shape.heads * d, shape.kv_heads * d
    found = [(prefix + "input_layernorm.weight", [h]), (prefix + "post_attention_layernorm.weight", [h])]
    found += [(f"{prefix}self_attn.{name}_norm.weight", [d]) for name in "qk"]
    found += [
        (f"{prefix}self_attn.{name}_proj.weight", [n, h]) for name, n in (("q", queries), ("k", keys), ("v", keys))
    ]
    found += [(prefix + "self_attn.o_proj.weight", [h, queries]), (prefix + "mlp.gate.weight", [shape.experts, h])]
    for expert in range(shape.experts):
        mlp = f"{prefix}mlp.experts.{expert}."
        found += [(f"{mlp}{name}_proj.weight", [shape.expert_width, h]) for name in ("gate", "up")]
        found.append((mlp + "down_proj.weight", [h, shape.expert_width]))
    return found


def write_checkpoint(folder: Path, shape: memory.Shape, tokenizer: Any, workers: int = 8) -> None:
    """A random checkpoint of this shape: normal weights of deviation 0.02, norms of one, in bfloat16 safetensors.

    All layers read the same pool of random numbers from different places, which is fast and random enough: what is
    measured depends on sizes and on tokens being spread over the experts.
    """
    import numpy
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    needed = 2 * (shape.layers * (shape.expert_parameters + shape.attention_parameters) + shape.other_parameters)
    free = handoff.free_bytes(folder)
    if free < needed * 1.01:
        raise handoff.StageError(
            f"{folder} has {free / 1e9:.0f} GB free, a random checkpoint takes {needed / 1e9:.0f} GB"
        )
    largest = max(2 * shape.vocabulary * shape.hidden, 2 * shape.expert_parameters // shape.experts * 64)
    generator = torch.Generator().manual_seed(1)
    pool = (torch.randn(largest // 2 + (1 << 20), generator=generator, dtype=torch.float32) * 0.02).bfloat16()
    random_bytes = pool.view(torch.uint8).numpy()
    ones = numpy.ascontiguousarray(torch.ones(shape.hidden, dtype=torch.bfloat16).view(torch.uint8).numpy())

    def write(name: str, tensors: list[tuple[str, list[int]]], start: int) -> None:
        header, offset = {"__metadata__": {"format": "pt"}}, 0
        for tensor, sides in tensors:
            size = 2 * int(numpy.prod(sides))
            header[tensor] = {"dtype": "BF16", "shape": sides, "data_offsets": [offset, offset + size]}
            offset += size
        head = json.dumps(header, separators=(",", ":")).encode()
        head += b" " * (-len(head) % 8)
        with open(folder / name, "wb") as f:
            f.write(struct.pack("<Q", len(head)) + head)
            place = start
            for _, sides in tensors:
                size = 2 * int(numpy.prod(sides))
                if len(sides) == 1:
                    f.write(ones[:size])
                    continue
                if place + size > len(random_bytes):
                    place = 0
                f.write(random_bytes[place : place + size])
                place += size

    name = f"model-{{:05d}}-of-{shape.layers + 1:05d}.safetensors"
    files = {name.format(n + 1): tensors_of_layer(shape, n) for n in range(shape.layers)}
    ends = [("model.embed_tokens.weight", [shape.vocabulary, shape.hidden]), ("model.norm.weight", [shape.hidden])]
    ends.append(("lm_head.weight", [shape.vocabulary, shape.hidden]))
    files[name.format(shape.layers + 1)] = ends
    with ThreadPoolExecutor(workers) as pool_of_threads:
        starts = (2 * 7919 * n % (1 << 20) for n in range(len(files)))
        list(pool_of_threads.map(write, files, files.values(), starts))
    weight_map = {tensor: name for name, tensors in files.items() for tensor, _ in tensors}
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    handoff.write_json(folder / "generation_config.json", ids)
    tokenizer.save_pretrained(folder)
    handoff.write_json(
        folder / "model.safetensors.index.json", {"metadata": {"total_size": needed}, "weight_map": weight_map}
    )
    handoff.write_json(folder / "config.json", model_config(shape) | ids)  # last: it says that the rest is there


def model_config(shape: memory.Shape) -> dict:
    """A `config.json` that transformers reads as Qwen3's mixture of experts."""
    return {
        "architectures": ["Qwen3MoeForCausalLM"],
        "model_type": "qwen3_moe",
        "num_hidden_layers": shape.layers,
        "hidden_size": shape.hidden,
        "num_experts": shape.experts,
        "num_experts_per_tok": shape.experts_per_token,
        "moe_intermediate_size": shape.expert_width,
        "intermediate_size": 3 * shape.hidden,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocabulary,
        "tie_word_embeddings": shape.tied_embeddings,
        "max_position_embeddings": 40_960,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1_000_000.0,
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "router_aux_loss_coef": 0.001,
        "torch_dtype": "bfloat16",
    }


# --- one measurement -------------------------------------------------------------------------------------------

HOLD = """
import sys, torch
torch.cuda.init()
free, _ = torch.cuda.mem_get_info()
held = torch.empty(free - int(sys.argv[1]), dtype=torch.uint8, device="cuda") if free > int(sys.argv[1]) else None
print(torch.cuda.mem_get_info()[0], flush=True)
sys.stdin.read()
"""


@contextmanager
def card_of(gib: float | None) -> Iterator[None]:
    """Leave this many GiB of the card free by taking the rest from a second process. None takes nothing."""
    if gib is None:
        yield
        return
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(int(gib * memory.GIB))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = holder.stdout.readline()
        if not line:
            raise handoff.StageError("the process that takes the rest of the card's memory did not start")
        yield
    finally:
        holder.stdin.close()
        holder.wait(timeout=60)


@dataclass(frozen=True)
class Row:
    """One training run: GiB of the card (None: all of it), what is trained, and tokens in a sequence."""

    cap: float | None = None
    targets: str = "attention"
    expert_rank: int | None = None
    length: int = 2048
    offload: int | None = None  # layers; None: what the memory plan chooses
    steps: int = 12
    accumulation: int = 4
    extra: tuple[str, ...] = ()  # more settings of train_moe.py

    def settings(self) -> list[str]:
        found = [
            f"train.max_seq_length={self.length}",
            f"train.lora_targets={self.targets}",
            f"train.max_steps={self.steps}",
            f"train.gradient_accumulation_steps={self.accumulation}",
            f"train.eval_steps={self.steps}",
            "train.eval_rows=2",
        ]
        if self.expert_rank is not None:
            found.append(f"train.expert_lora_rank={self.expert_rank}")
        if self.offload is not None:
            found.append(f"train.offload_layers={self.offload}")
        return found + list(self.extra)


def measure(row: Row, options: list[str], output: Path, processes: int = 1) -> dict:
    """Train as the row says. Returns the row with what was measured, or with the `error` that ended it."""
    arguments = [*options, *(part for item in row.settings() for part in ("--set", item))]
    arguments += ["--set", f"output.dir={output}"]
    command = [sys.executable, "train_moe.py", "--profile", "gpu", "--force", *arguments]
    if processes > 1:
        command[1:1] = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    with card_of(row.cap):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    measured: dict[str, Any] = {**asdict(row), "processes": processes}
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("error: ") or "OutOfMemoryError" in line]
        return measured | {"error": (errors or lines or ["no message"])[-1][:600], "status": done.returncode}
    cfg = config.read(config.parser(""), ["--profile", "gpu", *arguments])[1]
    plan = handoff.read_json(cfg.adapter_dir / "memory_plan.json")
    log = [e for e in handoff.read_jsonl(cfg.adapter_dir / "training_log.jsonl") if "loss" in e]
    settled = log[len(log) // 4 :]  # compilation and the first allocations are behind it
    tokens, seconds = (settled[-1][name] - settled[0][name] for name in ("tokens", "seconds"))
    return measured | {
        "offloaded_layers": plan["offloaded_layers"],
        "predicted_gib": plan["peak_gib"],
        "measured_gib": plan["measured_gib"],
        "first_step_seconds": log[0]["seconds"],
        "seconds_per_step": round(seconds / (len(settled) - 1), 3),
        "tokens_per_second": round(tokens / seconds),
        "step_seconds": [round(b["seconds"] - a["seconds"], 2) for a, b in zip(log, log[1:], strict=False)],
        "losses": [round(float(e["loss"]), 4) for e in log],
    }
