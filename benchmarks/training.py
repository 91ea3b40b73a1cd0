"""How much memory training takes and how fast it is, on this machine's GPU.

    python -m benchmarks.training                                    # the whole table: about half an hour
    python -m benchmarks.training --row cap=15.99                    # one row: a 16,376 MiB card
    python -m benchmarks.training --row cap=24,targets=attention+experts,expert_rank=16 --row length=4096
    python -m benchmarks.training --row cap=15.99,targets=attention+experts,share=0.25      # the most used quarter
    python -m benchmarks.training --processes 2 --row batch=4        # two GPUs share each step
    python -m benchmarks.training --model /models/Qwen3-30B-A3B      # real weights instead of random ones

Needs a CUDA device, requirements-gpu.txt, and for random weights 61 GB of disk (--model says where; /dev/shm where
that is large enough is fastest). Each row is a `python train_moe.py --profile gpu` of its own. A cap is real: a second
process takes the rest of the card's memory before training starts. Random weights give true memory and speed, and
say nothing about quality. Rows already in the results file are not measured again.

Writes  output/benchmarks/training.jsonl   a row per line
        output/benchmarks/training.md      the table
"""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import config
from benchmarks import shared
from extraction import files, stage
from extraction.models import base_model
from extraction.training import memory

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


def write_checkpoint(folder: Path, shape: memory.Shape, tokenizer: Any, workers: int = 4) -> None:
    """A random checkpoint of this shape: normal weights of deviation 0.02, norms of one, in bfloat16 safetensors.

    All layers read the same pool of random numbers from different places, which is fast and random enough: what is
    measured depends on sizes and on tokens being spread over the experts.
    """
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    needed = 2 * (shape.layers * (shape.expert_parameters + shape.attention_parameters) + shape.other_parameters)
    free = files.free_bytes(folder)
    if free < needed * 1.01:
        raise files.StageError(
            f"{folder} has {free / 1e9:.0f} GB free, a random checkpoint takes {needed / 1e9:.0f} GB"
        )
    largest = max(shape.vocabulary * shape.hidden, shape.expert_parameters)
    pool = (torch.randn(largest + (1 << 20), generator=torch.Generator().manual_seed(1)) * 0.02).bfloat16()

    def write(name: str, tensors: list[tuple[str, list[int]]], start: int) -> None:
        made, place = {}, start
        for tensor, sides in tensors:
            size = math.prod(sides)
            place = place if place + size <= len(pool) else 0
            made[tensor] = torch.ones(sides).bfloat16() if len(sides) == 1 else pool[place : place + size].view(sides)
            place += size
        save_file({n: t.clone() for n, t in made.items()}, folder / name, metadata={"format": "pt"})

    name = f"model-{{:05d}}-of-{shape.layers + 1:05d}.safetensors"
    paths = {name.format(n + 1): tensors_of_layer(shape, n) for n in range(shape.layers)}
    ends = [("model.embed_tokens.weight", [shape.vocabulary, shape.hidden]), ("model.norm.weight", [shape.hidden])]
    ends.append(("lm_head.weight", [shape.vocabulary, shape.hidden]))
    paths[name.format(shape.layers + 1)] = ends
    with ThreadPoolExecutor(workers) as threads:
        starts = (7919 * n % (1 << 20) for n in range(len(paths)))
        list(threads.map(write, paths, paths.values(), starts))
    weight_map = {tensor: name for name, tensors in paths.items() for tensor, _ in tensors}
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    files.write_json(folder / "generation_config.json", ids)
    tokenizer.save_pretrained(folder)
    files.write_json(
        folder / "model.safetensors.index.json", {"metadata": {"total_size": needed}, "weight_map": weight_map}
    )
    files.write_json(folder / "config.json", model_config(shape) | ids)  # last: it says that the rest is there


def write_base(folder: Path, tokenizer: str | None, layers: int | None = None) -> None:
    """A random checkpoint of Qwen3-30B-A3B, or of some of its layers, with another tokenizer than the small model's."""
    from transformers import AutoTokenizer

    cache = config.PROFILES["cpu"].cache_dir
    known = AutoTokenizer.from_pretrained(tokenizer) if tokenizer else base_model.file_tokenizer(cache)
    print(f"writing random weights to {folder}", file=sys.stderr, flush=True)
    write_checkpoint(folder, replace(memory.QWEN3_30B, layers=layers or memory.QWEN3_30B.layers), known)


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
    """Leave this many GiB of the card free: a second process takes the rest. None takes nothing."""
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
            raise files.StageError("the process that takes the rest of the card's memory did not start")
        yield
    finally:
        holder.stdin.close()
        holder.wait(timeout=60)


TOKENS_PER_STEP = 16 * 2048  # the same for every row


@dataclass(frozen=True)
class Row:
    """One training run: GiB of the card (None: all of it), what is trained, sequences at a time and their tokens."""

    cap: float | None = None
    targets: str = "attention"
    expert_rank: int | None = None
    share: float = 1.0  # of each layer's experts
    by: str = "use"  # which these are, or chance
    batch: int = 4
    length: int = 2048
    offload: int | None = None  # layers; None: what the memory plan chooses
    steps: int = 10

    def settings(self) -> list[str]:
        found = [
            f"train.max_seq_length={self.length}",
            f"train.lora_targets={self.targets}",
            f"train.max_steps={self.steps}",
            f"train.batch_size={self.batch}",
            f"train.gradient_accumulation_steps={TOKENS_PER_STEP // (self.batch * self.length)}",
            f"train.eval_steps={self.steps}",
            "train.eval_rows=2",
        ]
        if self.expert_rank is not None:
            found.append(f"train.expert_lora_rank={self.expert_rank}")
        if self.share < 1:
            found += [f"train.experts_share={self.share}", f"train.experts_by={self.by}"]
        if self.offload is not None:
            found.append(f"train.offload_layers={self.offload}")
        return found


def parse_row(text: str) -> Row:
    """`parse_row("cap=24,length=4096")` is that row; raises StageError for a name or value that no row has."""
    types = {
        "cap": float,
        "share": float,
        "expert_rank": int,
        "length": int,
        "batch": int,
        "offload": int,
        "steps": int,
    }
    values: dict[str, Any] = {}
    for item in text.split(","):
        name, equals, value = item.partition("=")
        try:
            values[name] = types.get(name, str)(value)
        except ValueError as error:
            raise files.StageError(f"--row {text}: {name} must be a number, got {value!r}") from error
        if not equals or name not in {f.name for f in fields(Row)}:
            raise files.StageError(f"--row {text}: a row has {', '.join(f.name for f in fields(Row))}")
    return Row(**values)


def measure(row: Row, options: list[str], output: Path, processes: int = 1) -> dict:
    """Train as the row says. Returns the row with what was measured, or with the `error` that ended it."""
    arguments = [*options, *(part for item in row.settings() for part in ("--set", item))]
    arguments += ["--set", f"output.dir={output}"]
    command = [sys.executable, "train_moe.py", "--profile", "gpu", "--force", *arguments]
    if processes > 1:
        command[1:1] = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    with card_of(row.cap):
        done = subprocess.run(command, cwd=config.ROOT, capture_output=True, text=True)
    measured: dict[str, Any] = {**asdict(row), "processes": processes}
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("error: ") or "OutOfMemoryError" in line]
        return measured | {"error": (errors or lines or ["no message"])[-1][:600], "status": done.returncode}
    cfg = config.read(config.parser(""), ["--profile", "gpu", *arguments])[1]
    plan = files.read_json(cfg.adapter_dir / "memory_plan.json")
    log = [e for e in files.read_jsonl(cfg.adapter_dir / "training_log.jsonl") if "loss" in e]
    return measured | {
        "offloaded_layers": plan["offloaded_layers"],
        "predicted_gib": plan["peak_gib"],
        "measured_gib": plan["measured_gib"],
        "host_gib": plan["host_gib"],
        **speed_of([(e["tokens"], e["seconds"]) for e in log]),
        "seconds_since_start": [e["seconds"] for e in log],
        "losses": [round(float(e["loss"]), 4) for e in log],
    }


def speed_of(steps: list[tuple[int, float]]) -> dict:
    """Tokens a second once compilation is over, from tokens and seconds since the start after each step."""
    settled = steps[len(steps) // 4 :]
    tokens, seconds = (settled[-1][n] - settled[0][n] for n in (0, 1))
    return {
        "first_step_seconds": steps[0][1],
        "seconds_per_step": round(seconds / (len(settled) - 1), 3),
        "tokens_per_second": round(tokens / seconds),
    }


# --- the table -----------------------------------------------------------------------------------------------

A4000, RTX_3090 = 15.99, 24.0  # GiB: 16,376 MiB and 24,576 MiB
WITH_EXPERTS = "attention+experts"
ROWS = [
    Row(),
    Row(cap=A4000),
    Row(cap=A4000, length=4096, batch=2),
    Row(cap=A4000, targets=WITH_EXPERTS, expert_rank=26),
    Row(cap=A4000, targets=WITH_EXPERTS, expert_rank=32, share=0.25),
    Row(cap=RTX_3090),
    Row(cap=RTX_3090, targets=WITH_EXPERTS, expert_rank=32),
    Row(targets=WITH_EXPERTS, expert_rank=32),
    Row(length=4096, batch=2),
    Row(batch=1),
    Row(cap=A4000, batch=1),
    Row(cap=8.0, targets=WITH_EXPERTS, expert_rank=32),
]
COLUMNS = (
    ("card, GiB", lambda r: r["cap"] or "all"),
    ("GPUs", lambda r: r["processes"]),
    (
        "LoRA on",
        lambda r: (
            r["targets"].replace("+", ", ")
            + (f" r={r['expert_rank']}" if r["expert_rank"] else "")
            + (f", {r['share']:.0%} of them" if r.get("share", 1) < 1 else "")
        ),
    ),
    ("batch x length", lambda r: f"{r['batch']} x {r['length']}"),
    ("layers on host", lambda r: r.get("offloaded_layers", "")),
    ("host GiB", lambda r: shown(r.get("host_gib"), 1)),
    ("predicted GiB", lambda r: shown(r.get("predicted_gib"))),
    (
        "peak GiB, tensors / held",
        lambda r: (
            " / ".join(shown(r["measured_gib"]["peak"][n]) for n in ("allocated", "reserved"))
            if "measured_gib" in r
            else r["error"]
        ),
    ),
    (
        "prediction",
        lambda r: (
            f"{r['predicted_gib'] / r['measured_gib']['peak']['allocated'] - 1:+.1%}" if r.get("predicted_gib") else ""
        ),
    ),
    ("s a step", lambda r: shown(r.get("seconds_per_step"))),
    ("tokens/s", lambda r: r.get("tokens_per_second", "")),
)


def shown(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def table(results: list[dict], about: str) -> str:
    """The results as a Markdown table, with what they were measured on. A cell that was not measured is empty."""
    rows = ([cell(result) for _, cell in COLUMNS] for result in results)
    return f"{about}\n\n{files.markdown_table([name for name, _ in COLUMNS], rows)}"


def versions() -> str:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import torch

    names = ("torch", "transformers", "trl", "peft", "bitsandbytes", "unsloth", "unsloth_zoo", "triton")
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return f"{torch.cuda.get_device_name()}, Python {platform.python_version()}, {', '.join(found)}"


def prepare(model: str, work: Path) -> Path:
    """Training rows from the samples, as stages 1 and 2 make them for this model."""
    import download_datasets
    import prepare_training_data

    download_datasets.main(["--set", f"data.datasets_dir={work / 'datasets'}"])
    options = [
        f"data.datasets_dir={work / 'datasets'}",
        f"data.training_dir={work / 'rows'}",
        f"train.base_model={model}",
    ]
    options += ["data.source=samples", "data.datasets=cord,cuad,tatqa", "data.generate.receipt=1500"]
    prepare_training_data.main(["--profile", "gpu", *(part for item in options for part in ("--set", item))])
    return work / "rows"


def main(argv: list[str] | None = None) -> int:
    parser = shared.parser(__doc__)
    parser.add_argument(
        "--model",
        type=Path,
        default=config.ROOT / ".cache" / "random-qwen3-30b-a3b",
        help="folder of a checkpoint; random weights are written where there is none",
    )
    parser.add_argument(
        "--tokenizer", help="folder or hub id of another tokenizer than the small model's, for random weights"
    )
    parser.add_argument(
        "--row", action="append", metavar="NAME=VALUE,...", help="measure this row instead of the table"
    )
    parser.add_argument("--processes", type=int, default=1, help="GPUs that share each step")
    parser.add_argument("--again", action="store_true", help="measure rows that are there already")
    parser.add_argument("-o", "--output", type=Path, default=shared.OUTPUT)
    args = parser.parse_args(argv)
    import torch

    if not torch.cuda.is_available():
        raise files.StageError("this measures training on a CUDA device, and none was found")
    rows = [parse_row(text) for text in args.row] if args.row else ROWS
    if not (args.model / "config.json").is_file():
        write_base(args.model, args.tokenizer)
    args.output.mkdir(parents=True, exist_ok=True)
    results_path = args.output / "training.jsonl"
    results = shared.rows(results_path)
    training_rows = prepare(str(args.model), args.output)
    options = [f"train.base_model={args.model}", f"data.training_dir={training_rows}"]
    options = [part for item in options for part in ("--set", item)]
    for row in rows:
        key = files.plain({**asdict(row), "processes": args.processes})
        done = [r for r in results if all(r.get(name) == value for name, value in key.items())]
        if done and not args.again:
            continue
        print(f"measuring {row}", file=sys.stderr)
        results = [r for r in results if r not in done] + [measure(row, options, args.output / "run", args.processes)]
        files.write_jsonl(results_path, results)
        files.write_text(args.output / "training.md", table(results, versions()))
    print(table(results, versions()))
    print("Random weights: memory and speed are real, the losses say nothing about quality.")
    return 0


if __name__ == "__main__":
    stage.run_stage(main)
