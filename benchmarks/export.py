"""What exporting a model of full size takes: wall time of each step, memory, disk.

    python -m benchmarks.export                                   # Qwen3-30B-A3B, random weights: 61 GB more of disk
    python -m benchmarks.export --base /models/Qwen3-30B-A3B      # real weights
    python -m benchmarks.export --layers 8                        # some decoder layers, and what all would take

Writes a random adapter of full shape on attention and experts, sealed as train_moe.py seals one, and runs
`export_gguf.py --profile gpu` over it for Q4_K_M and Q3_K_M (--set as there). Memory is what the processes of the
export hold themselves; pages of files that the kernel can drop at any time, and of files in memory (a checkpoint in
/dev/shm), are counted apart. Random weights take as long as trained ones; the answers of the files are meaningless.

Writes  output/benchmarks/export.jsonl   a row per run
        output/benchmarks/export.md      the table
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import config
from benchmarks import shared, training
from extraction import files, handoff, stage
from extraction.training import adapter, memory

MODEL = "Qwen/Qwen3-30B-A3B"
TYPES = ("Q4_K_M", "Q3_K_M")
CHECKPOINT = "random-checkpoint"

# --- an adapter without training -------------------------------------------------------------------------------


def write_adapter(folder: Path, shape: memory.Shape, rank: int) -> Path:
    """Write and seal a random adapter on attention and experts, whose changes are about a tenth of the base model's
    random weights."""
    import torch
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
    from safetensors.torch import save_file
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    targets = {"target_modules": adapter.ATTENTION, "target_parameters": adapter.EXPERTS}
    settings = LoraConfig(r=rank, lora_alpha=2 * rank, **targets, base_model_name_or_path=MODEL)
    with torch.device("meta"):  # its names and shapes alone
        model = get_peft_model(Qwen3MoeForCausalLM(Qwen3MoeConfig(**training.model_config(shape))), settings)
    generator = torch.Generator().manual_seed(2)
    tensors = {
        name: (torch.randn(factor.shape, generator=generator) * (0.02 if ".lora_A." in name else 0.01)).bfloat16()
        for name, factor in get_peft_model_state_dict(model).items()
    }
    staging = handoff.begin(folder)
    settings.save_pretrained(staging)
    path = staging / "adapter_config.json"
    files.write_json(path, files.read_json(path) | {"lora_B_layout": adapter.B_LAYOUT})
    save_file(tensors, staging / "adapter_model.safetensors", metadata={"format": "pt"})
    handoff.seal(staging, stage="train_moe", settings={"random": True, "rank": rank})
    return folder


# --- a fraction of a checkpoint --------------------------------------------------------------------------------


def first_layers(base: Path, layers: int, folder: Path) -> Path:
    """Links to the files of a checkpoint's first decoder layers, as a checkpoint of its own.

    Raises StageError where a file holds both what is wanted and what is not.
    """
    index = files.read_json(base / "model.safetensors.index.json")
    settings = files.read_json(base / "config.json")
    of_file: dict[str, list[bool]] = {}
    for tensor, name in index["weight_map"].items():
        parts = tensor.split(".")
        of_file.setdefault(name, []).append("layers" not in parts or int(parts[parts.index("layers") + 1]) < layers)
    mixed = sorted(name for name, wanted in of_file.items() if len(set(wanted)) > 1)
    if mixed:
        raise files.StageError(f"--layers needs a checkpoint with a file for each layer; {base / mixed[0]} has several")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in base.iterdir():
        if path.is_file() and of_file.get(path.name, [True])[0] and path.name != "model.safetensors.index.json":
            (folder / path.name).symlink_to(path.resolve())
    weight_map = {tensor: name for tensor, name in index["weight_map"].items() if of_file[name][0]}
    files.write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})
    (folder / "config.json").unlink()
    files.write_json(folder / "config.json", settings | {"num_hidden_layers": layers})
    return folder


# --- watching a program ----------------------------------------------------------------------------------------


def family(pid: int) -> Iterator[int]:
    """A process and all its descendants."""
    yield pid
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = path.read_text().split()
        except OSError:  # it has just ended
            continue
        for child in children:
            yield from family(int(child))


def memory_of(pid: int) -> tuple[int, int]:
    """Bytes of memory that a process and its children hold themselves, and bytes of files that they have mapped."""
    own = mapped = 0
    for process in family(pid):
        try:
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
        except OSError:
            continue
        sizes = {
            name: int(value.split()[0]) * 1024 for name, _, value in (x.partition(":") for x in lines) if "kB" in value
        }
        own += sizes.get("RssAnon", 0)
        mapped += sizes.get("RssFile", 0) + sizes.get("RssShmem", 0)
    return own, mapped


def bytes_in(folder: Path) -> int:
    """What the files of a folder take on the disk."""
    found = 0
    for path in folder.rglob("*"):
        try:
            found += path.lstat().st_blocks * 512
        except OSError:
            continue
    return found


def watch(command: list[str], folder: Path) -> dict[str, Any]:
    """Run an export. Returns seconds and peak memory of each part that it says on stderr, and the disk's peak.

    Raises StageError with the export's last line if it fails.
    """
    started = time.monotonic()
    parts: list[dict[str, Any]] = [{"name": "starting", "begin": started, "own": 0, "mapped": 0}]
    lines: list[str] = []
    peak_disk = 0
    process = subprocess.Popen(command, cwd=config.ROOT, stderr=subprocess.PIPE, text=True)

    def listen() -> None:
        for line in process.stderr:
            lines.append(line.strip())
            print(f"{time.monotonic() - started:7.1f} s  {line.strip()}", file=sys.stderr, flush=True)
            if line.startswith(("converting", "quantizing", "checking", "comparing")):
                name = line.strip().removesuffix(" ...")
                parts.append({"name": name, "begin": time.monotonic(), "own": 0, "mapped": 0})

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    turn = 0
    while process.poll() is None:
        own, mapped = memory_of(process.pid)
        parts[-1]["own"], parts[-1]["mapped"] = max(parts[-1]["own"], own), max(parts[-1]["mapped"], mapped)
        if turn % 10 == 0:
            peak_disk = max(peak_disk, bytes_in(folder))
        turn += 1
        time.sleep(0.1)
    listener.join()
    if process.returncode:
        raise files.StageError(
            f"the export ended with status {process.returncode}; its last line: {(lines or ['no message'])[-1]}"
        )
    ends = [part["begin"] for part in parts[1:]] + [time.monotonic()]
    found = [
        {
            "name": p["name"],
            "seconds": round(end - p["begin"], 1),
            "own_gib": gib(p["own"]),
            "mapped_gib": gib(p["mapped"]),
        }
        for p, end in zip(parts, ends, strict=True)
    ]
    return {"parts": found, "seconds": round(time.monotonic() - started, 1), "disk_gib": gib(peak_disk)}


def gib(size: float) -> float:
    return round(size / memory.GIB, 2)


# --- the table -------------------------------------------------------------------------------------------------


def table(row: dict[str, Any]) -> str:
    """What was measured as Markdown, and what all layers would take where only some were exported."""
    partial = row["layers"] != row["all_layers"]
    heads = ["step", "seconds", "memory of its own, GiB", "mapped files, GiB"]
    heads += [f"seconds for all {row['all_layers']} layers, extrapolated"] if partial else []
    rows = []
    whole = {"name": "all", "seconds": row["seconds"], "own_gib": max(p["own_gib"] for p in row["parts"])}
    whole["mapped_gib"] = max(p["mapped_gib"] for p in row["parts"])
    for part in (*row["parts"], whole):
        cells = [part["name"], part["seconds"], part["own_gib"], part["mapped_gib"]]
        cells += [round(part["seconds"] * row["all_parameters"] / row["parameters"])] if partial else []
        rows.append(cells)
    built = ", ".join(f"{name} {size / 1e9:.2f} GB" for name, size in row["files"].items())
    what = f"{row['layers']} of {row['all_layers']} decoder layers, {row['parameters'] / 1e9:.2f} B parameters"
    what += f", adapter of rank {row['rank']} with {row['changed_tensors']} weights merged; {row['cores']} cores."
    disk = f"Disk beside base model and adapter: {row['disk_gib']} GiB at most. {built}."
    return f"{files.markdown_table(heads, rows)}\n{what}\n{disk}\n"


def main(argv: list[str] | None = None) -> int:
    parser = config.parser(__doc__)
    parser.set_defaults(profile="gpu")
    parser.add_argument("--base", type=Path, metavar="DIR", help="a 16-bit checkpoint in place of random weights")
    parser.add_argument("--layers", type=int, metavar="N", help="only the first decoder layers (default: all)")
    parser.add_argument("--rank", type=int, default=32, help="of the random adapter (default: 32)")
    parser.add_argument("--llama-cpp", type=Path, metavar="DIR", help="as for export_gguf.py")
    parser.add_argument("--tokenizer", help="folder or hub id of another tokenizer than the small model's")
    parser.add_argument("-o", "--output", type=Path, default=shared.OUTPUT)
    if not any("export.quantization" in item for item in (argv or sys.argv)):
        parser.set_defaults(overrides=[f"export.quantization={','.join(TYPES)}"])
    args, cfg = config.read(parser, argv)
    work = args.output / "export"
    base = args.base or args.output / CHECKPOINT
    if not (base / "config.json").is_file():
        if args.base:
            raise files.StageError(f"{base} holds no checkpoint")
        training.write_base(base, args.tokenizer, args.layers)
    shape = memory.shape_of(str(base))
    layers = args.layers or shape.layers
    if not 1 <= layers <= shape.layers:
        parser.error(f"--layers must be between 1 and {shape.layers}, got {layers}")
    work.mkdir(parents=True, exist_ok=True)
    whole, part = shape, dataclasses.replace(shape, layers=layers)
    if not args.base and args.layers:
        whole = memory.KNOWN[MODEL]
    used = base if layers == shape.layers else first_layers(base, layers, work / "first-layers")
    print("writing a random adapter", file=sys.stderr, flush=True)
    random_adapter = write_adapter(work / "adapter", part, args.rank)

    command = [sys.executable, str(config.ROOT / "export_gguf.py"), "--profile", args.profile, "--force"]
    command += ["--base", str(used), "--adapter", str(random_adapter)]
    for item in (*args.overrides, f"output.dir={work.resolve()}"):
        command += ["--set", item]
    command += ["--llama-cpp", str(args.llama_cpp)] if args.llama_cpp else []
    measured = watch(command, work / args.profile)
    folder = work / args.profile / "gguf"
    verified = files.read_json(folder / "verification.json")
    row = {
        "layers": layers,
        "all_layers": whole.layers,
        "parameters": parameters(part),
        "all_parameters": parameters(whole),
        "rank": args.rank,
        "cores": len(os.sched_getaffinity(0)),
        "changed_tensors": verified["adapter"]["changed_tensors"],
        "files": {name: (folder / name).stat().st_size for name in verified["files"]},
        **measured,
    }
    results = args.output / "export.jsonl"
    files.write_jsonl(results, [*shared.rows(results), row])
    files.write_text(args.output / "export.md", table(row))
    print(table(row), end="")
    return 0


def parameters(shape: memory.Shape) -> int:
    return shape.layers * (shape.expert_parameters + shape.attention_parameters) + shape.other_parameters


if __name__ == "__main__":
    stage.run_stage(main)
