"""A checkpoint, with or without an adapter, -> GGUF files: llama.cpp's converter, the merge within it, quantizing.

python -m extraction.export.gguf_build JOB      # one conversion, in a process of its own; export_gguf.py starts it
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extraction import files, handoff, stage
from extraction.export import llama_source
from extraction.models import lora
from extraction.tasks import prompts

SMALL_MODEL = 5e9  # bytes of all weights in float32; up to here everything is done and verified in float32


# --- the base model ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Base:
    """A 16-bit checkpoint: its folder, `config.json`, and the shape of every tensor by name."""

    folder: Path
    config: dict
    shapes: dict[str, tuple[int, ...]]
    manifest: dict  # of the stage that made it, or what identifies a checkpoint from elsewhere

    @property
    def model_type(self) -> str:
        return self.config["model_type"]

    @property
    def parameters(self) -> int:
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def is_small(self) -> bool:
        return self.parameters * 4 <= SMALL_MODEL


def read_base(folder: Path, manifest: dict | None = None) -> Base:
    """Raises StageError for a folder that holds no unquantized safetensors checkpoint."""
    settings = files.read_json(folder / "config.json")
    refuse_quantized(settings, str(folder))
    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        shapes |= lora.tensor_shapes(path)
    if not shapes:
        raise files.StageError(f"{folder} holds no .safetensors files")
    if manifest is None and (folder / handoff.MANIFEST).is_file():
        manifest = handoff.require(folder, made_by="the stage that made it,")
    if manifest is None:  # tens of gigabytes may lie here: names and sizes have to do
        sizes = {p.name: p.stat().st_size for p in sorted(folder.iterdir()) if p.is_file()}
        manifest = {"fingerprint": files.fingerprint({"config": settings, "sizes": sizes})}
    return Base(folder, settings, shapes, manifest)


def refuse_quantized(settings: dict, name: str) -> None:
    if settings.get("quantization_config"):
        method = settings["quantization_config"].get("quant_method", "quantized")
        raise files.StageError(
            f"{name} is a quantized checkpoint ({method}): an adapter can only be merged into 16-bit weights. "
            "Name the 16-bit base model with --base DIR or --set train.base_model=..."
        )


# --- converting ----------------------------------------------------------------------------------------------


def stage_checkpoint(base: Base, folder: Path) -> Path:
    """A folder with links to the checkpoint's files and our chat template, which the converter writes into the GGUF."""
    folder.mkdir()
    others = handoff.MANIFEST, "chat_template.json", "tokenizer_config.json"
    for path in base.folder.iterdir():
        if path.suffix in (".safetensors", ".json", ".txt", ".model") and path.name not in others:
            (folder / path.name).symlink_to(path.resolve())
    # A template inside tokenizer_config.json would win over the file.
    settings = files.read_json(base.folder / "tokenizer_config.json")
    files.write_json(folder / "tokenizer_config.json", {k: v for k, v in settings.items() if k != "chat_template"})
    files.write_text(folder / "chat_template.jinja", prompts.chat_template(base.model_type))
    return folder


def convert(converter: Path, checkpoint: Path, adapter: Path | None, kind: str, outfile: Path, work: Path) -> dict:
    """Convert the checkpoint in a process of its own, merging the adapter. Returns what `main` reports.

    The converter brings its own `gguf` package, and its memory is free once the process has ended.
    """
    job = {
        "converter": str(converter.resolve()),
        "checkpoint": str(checkpoint),
        "adapter": str(adapter) if adapter else None,
        "type": kind,
        "outfile": str(outfile),
        "report": str(work / "report.json"),
    }
    path = files.write_json(work / "job.json", job)
    with open(work / "log.txt", "w", encoding="utf-8") as log:
        command = [sys.executable, "-m", "extraction.export.gguf_build", str(path)]
        root = Path(__file__).resolve().parents[2]
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, cwd=root)
    if done.returncode or not outfile.is_file():
        log_lines = (work / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        log_lines = log_lines or ["no output"]
        print("\n".join(log_lines[-8:]), file=sys.stderr, flush=True)
        raise files.StageError(f"llama.cpp's converter failed: {log_lines[-1]}")
    return files.read_json(work / "report.json")


def main(argv: list[str] | None = None) -> int:
    """The converter's process: run llama.cpp's script with every tensor passing through the adapter."""
    job = files.read_json(Path((argv or sys.argv[1:])[0]))
    converter = job["converter"]
    sys.path[:0] = [converter, f"{converter}/gguf-py"]
    from conversion import base as conversion

    checkpoint = Path(job["checkpoint"])
    report: dict[str, list[str]] = {"changed": [], "untrained": []}
    if job["adapter"]:
        adapter = lora.read_adapter(Path(job["adapter"]), files.read_json(checkpoint / "config.json"))
        merge_while_reading(conversion, adapter, report)
    recognize_qwen2(conversion, checkpoint / "tokenizer.json")
    use_all_cores()
    sys.argv = ["convert_hf_to_gguf.py", str(checkpoint), "--outtype", job["type"].lower(), "--outfile", job["outfile"]]
    import convert_hf_to_gguf

    convert_hf_to_gguf.main()
    files.write_json(Path(job["report"]), {k: sorted(set(names)) for k, names in report.items()})
    return 0


def merge_while_reading(conversion: Any, adapter: lora.Adapter, report: dict[str, list[str]]) -> None:
    """Make the converter read each weight as base plus adapter in float32, and note which weights changed."""
    import torch

    read = conversion.ModelBase.get_tensors

    def merged(weight: Any, name: str) -> Any:
        return lora.merge(adapter, weight, name, report)

    def get_tensors(self: Any) -> Iterator[tuple[str, Any]]:
        for name, tensor in read(self):
            if lora.factors_for(adapter, name) is None:
                yield name, tensor
            elif isinstance(tensor, conversion.LazyTorchTensor):  # computed when it is written, one at a time
                meta = tensor._meta.to(torch.float32)
                yield name, conversion.LazyTorchTensor(meta=meta, args=(tensor, name), func=merged)
            else:
                yield name, merged(tensor, name)

    conversion.ModelBase.get_tensors = get_tensors


def use_all_cores() -> None:
    """Make the converter compute the experts of a layer side by side, and round to bfloat16 in torch.

    By itself it uses one core, an expert and a few rows at a time: most of the time that a large model takes.
    """
    import torch
    from gguf import lazy, quants

    one_by_one = lazy.LazyBase._recurse_apply
    torch.get_num_threads()  # this thread keeps all of torch's threads; those of the pool take one each
    workers = ThreadPoolExecutor(min(os.cpu_count() or 1, 16), initializer=torch.set_num_threads, initargs=(1,))

    def side_by_side(value: Any, do: Callable[[Any], Any]) -> Any:
        if isinstance(value, list) and len(value) > 1 and all(isinstance(item, lazy.LazyBase) for item in value):
            return list(workers.map(do, value))
        return one_by_one(value, do)

    def to_bfloat16(rows: Any) -> Any:
        bits = torch.from_numpy(rows).bfloat16().view(torch.uint8)
        return bits.numpy().reshape(*rows.shape[:-1], 2 * rows.shape[-1])

    lazy.LazyBase._recurse_apply = staticmethod(side_by_side)
    lazily = lazy.LazyNumpyTensor._wrap_fn(to_bfloat16, meta_noop=("uint8", lambda sides: (*sides[:-1], 2 * sides[-1])))
    quants.BF16.quantize = lazily


def recognize_qwen2(conversion: Any, tokenizer: Path) -> None:
    """Let the converter take a tokenizer that it does not know if it splits text exactly as Qwen2's does.

    The converter recognizes a tokenizer by its tokens of one text, so a tokenizer of other texts is unknown to it.
    """
    known = conversion.TextModel.get_vocab_base_pre

    def get_vocab_base_pre(self: Any, tokens: Any) -> str:
        try:
            return known(self, tokens)
        except NotImplementedError:
            if splits_like_qwen2(files.read_json(tokenizer)):
                return "qwen2"
            raise

    conversion.TextModel.get_vocab_base_pre = get_vocab_base_pre


QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def splits_like_qwen2(tokenizer: dict) -> bool:
    steps = (tokenizer.get("pre_tokenizer") or {}).get("pretokenizers") or []
    patterns = [step["pattern"].get("Regex") for step in steps if step.get("type") == "Split"]
    others = {step.get("type") for step in steps} - {"Split"}
    return patterns == [QWEN2_PATTERN] and others == {"ByteLevel"}


def write_merged(base: Base, adapter: lora.Adapter, tokenizer: Any, out: Path) -> dict:
    """Write base plus adapter as a 16-bit checkpoint, a shard at a time; returns what `check_report` does.

    For servers that read checkpoints instead of GGUF files, such as vLLM. It needs the memory of one shard.
    """
    from safetensors import safe_open
    from safetensors.torch import save_file
    from tqdm import tqdm

    report: dict[str, list[str]] = {"changed": [], "untrained": []}
    shards = sorted(base.folder.glob("*.safetensors"))
    for path in tqdm(shards, desc="merging", unit="file", disable=None):
        tensors = {}
        with safe_open(path, "pt") as f:
            for name in f.keys():  # noqa: SIM118
                weight = f.get_tensor(name)
                if lora.factors_for(adapter, name) is not None:
                    weight = lora.merge(adapter, weight, name, report).to(weight.dtype)
                tensors[name] = weight
        save_file(tensors, out / path.name, metadata={"format": "pt"})
        (out / path.name).chmod(0o644)  # safetensors writes it for its owner alone; a server may be another user
    for name in ("config.json", "generation_config.json", "model.safetensors.index.json"):
        if (base.folder / name).is_file():
            shutil.copy(base.folder / name, out / name)
    tokenizer.save_pretrained(out)  # with this project's chat template
    return lora.check_report(report, lora.touched(adapter, base.shapes))


# --- quantizing ----------------------------------------------------------------------------------------------


# In this type some weights have another one. What every token passes through is small beside the experts, and most of
# what quantizing changes comes from it, so it keeps more bits. The output matrix does not, which llama.cpp would keep
# in 8 bits: little changes by that, and on a CPU it took a third of a token's time. docs/results.md has the tables.
TENSOR_TYPES = {
    "IQ4_NL": {
        r"attn_(q|k|v|output)\.": "Q8_0",
        r"ffn_(gate|up)_shexp": "Q8_0",
        r"ffn_down_shexp": "Q6_K",
        r"^output\.": "IQ4_NL",
    }
}


def quantize(source: Path, target: Path, kind: str, imatrix: Path | None = None) -> None:
    """Write a GGUF file in another quantization type, with an importance matrix if one is given.

    Raises StageError with llama.cpp's own words.
    """
    import llama_cpp

    prefix = "LLAMA_FTYPE_ALL_" if kind == "F32" else "LLAMA_FTYPE_MOSTLY_"
    options = llama_cpp.llama_model_quantize_default_params()
    options.ftype = getattr(llama_cpp, prefix + kind)
    options.nthread = os.cpu_count() or 1
    more = TENSOR_TYPES.get(kind, {})
    overrides = (llama_cpp.llama_model_tensor_override * (len(more) + 1))()  # the last one, empty, ends the list
    for override, (pattern, tensor_type) in zip(overrides, more.items(), strict=False):
        override.pattern, override.type = pattern.encode(), getattr(llama_cpp, f"GGML_TYPE_{tensor_type}")
    if more:
        options.tt_overrides = overrides
    importance = read_imatrix(imatrix) if imatrix else {}
    entries = (llama_cpp.llama_model_imatrix_data * (len(importance) + 1))()
    for entry, (name, weights) in zip(entries, importance.items(), strict=False):
        entry.name, entry.size = name.encode(), weights.size
        entry.data = weights.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    if importance:
        options.imatrix = entries
    with llama_log() as lines:
        status = llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(target), options)
    if status:
        raise files.StageError(f"quantizing to {kind} failed: {''.join(lines[-3:]).strip()}")


def read_imatrix(path: Path) -> dict[str, Any]:
    """The mean squared activation of each column, by weight: float32, for stacked experts one after the other.

    The file is llama-imatrix's: sums of squares, and how many tokens are in them. An expert that no token reached
    weighs its columns alike, as llama-quantize has it.
    """
    import gguf
    import numpy

    try:
        found = {tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors}
    except (OSError, ValueError) as error:
        raise files.StageError(f"{path} is no importance matrix: {error}") from error
    means = {}
    for name in sorted(n.removesuffix(".in_sum2") for n in found if n.endswith(".in_sum2")):
        counts = found[f"{name}.counts"].reshape(-1, 1)
        sums = found[f"{name}.in_sum2"].reshape(len(counts), -1)
        mean = numpy.where(counts > 0, sums / numpy.maximum(counts, 1), 1)
        means[name] = numpy.ascontiguousarray(mean, dtype=numpy.float32).reshape(-1)
    return means


def measure_imatrix(tools: Path, source: Path, text: str, outfile: Path, work: Path) -> None:
    """An importance matrix: llama-imatrix runs the model over a text and adds up squared activations by column."""
    calibration = files.write_text(work / "calibration.txt", text)
    command = [tools / "llama-imatrix", "-m", source, "-f", calibration, "-o", outfile]
    command += ["-c", "512", "--no-ppl", "--parse-special", "-t", os.cpu_count() or 1]
    llama_source.run(command, "llama-imatrix failed", lines=2)


@contextlib.contextmanager
def llama_log() -> Iterator[list[str]]:
    """Keep what llama.cpp prints in a list instead of on the terminal."""
    import llama_cpp
    from llama_cpp._logger import llama_log_callback

    lines: list[str] = []

    @llama_cpp.llama_log_callback
    def keep(level: int, text: bytes, user_data: Any) -> None:
        lines.append(text.decode("utf-8", errors="replace"))

    llama_cpp.llama_log_set(keep, ctypes.c_void_p(0))
    try:
        yield lines
    finally:
        llama_cpp.llama_log_set(llama_log_callback, ctypes.c_void_p(0))


if __name__ == "__main__":
    stage.run_stage(main)
