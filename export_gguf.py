"""Stage 6 of 7: base + adapter -> merged model -> GGUF build.

Reads   output/<profile>/base_model/      made by train_moe.py (profile gpu: the 16-bit model from the hub)
        output/<profile>/lora_adapters/   made by train_moe.py
Writes  output/<profile>/gguf/            doc-intel-<TYPE>.gguf, Modelfile, verification.json, manifest.json
Next    python inference.py data/samples/documents/receipt_photo_1.jpg

    python export_gguf.py
    python export_gguf.py --set export.quantization=Q8_0,Q4_K_M
    python export_gguf.py --base-only                    # the base model alone, to output/<profile>/gguf_base/

The adapter is merged while llama.cpp's converter reads the checkpoint, so no merged checkpoint is ever on disk. The
converter is taken once from the source package of the installed llama-cpp-python and kept in .cache/.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import math
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import config
import inference
from extraction import handoff, models, tasks

STAGE = "export_gguf"
TRAIN = "python train_moe.py"
# The source packages whose converter may be run: what PyPI serves under these versions.
SDIST_SHA256 = {"0.3.36": "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"}
CONVERTER_PARTS = ("convert_hf_to_gguf.py", "conversion/", "gguf-py/gguf/", "LICENSE")
# Bits per weight, for the disk space that is checked before. The small model's rows do not fit the K types, so that
# llama.cpp stores many of them in larger ones; these are the larger figures.
BITS = {"F32": 32, "F16": 16, "BF16": 16, "Q8_0": 8.6, "Q6_K": 8.2, "Q5_K_M": 7, "Q5_K_S": 7, "Q4_K_M": 6, "Q4_K_S": 6}
BITS |= {"Q4_0": 5, "Q3_K_M": 5}
SMALL_MODEL = 2e9  # bytes of all weights in float32; up to here everything is done and verified in float32
MAX_LOGIT_DIFFERENCE = 1e-2  # llama.cpp against transformers and PEFT, both in float32; 1e-4 is usual
ANSWER_TOKENS = 96  # of the answer that every file has to write
# Texts on which the tokenizers have to agree: accents, other scripts, digits, line ends, blanks, markers.
TEXTS = (
    "Invoice INV-2041  2024-03-07\nCOFFEE LATTE   2 x 45,000 = 90,000\nTOTAL  99,000",
    "don't WE'LL caf\u00e9 \u00c4\u00d6 \u20ac12.50 \u6771\u4eac \U0001f680\r\n\r\n\ttab   end ",
    '<|im_start|>user\n{"total":"1.234,56"}<|im_end|>\n<|endoftext|>',
)


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


def find_base(cfg: config.Config, folder: Path | None) -> Base:
    """The base model of the settings, or of a folder given by hand. Raises StageError saying how to get it."""
    name = cfg.train.base_model
    if folder is None and name == models.UPCYCLED:
        manifest = handoff.require(cfg.base_dir, made_by=TRAIN + _again(cfg))
        return read_base(cfg.base_dir, manifest)
    if folder is None and not Path(name).is_dir():
        folder = download_base(name)
        return read_base(folder, {"fingerprint": f"{name}@{folder.name}"})  # the snapshot's folder is its revision
    return read_base(Path(folder or name).resolve())


def read_base(folder: Path, manifest: dict | None = None) -> Base:
    """Raises StageError for a folder that holds no unquantized safetensors checkpoint."""
    from safetensors import safe_open

    settings = handoff.read_json(folder / "config.json")
    refuse_quantized(settings, str(folder))
    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as f:
            shapes |= {name: tuple(f.get_slice(name).get_shape()) for name in f.keys()}  # noqa: SIM118
    if not shapes:
        raise handoff.StageError(f"{folder} holds no .safetensors files")
    if manifest is None:
        manifest = handoff.manifest_of(folder)
    if manifest is None:  # tens of gigabytes may lie here: names and sizes have to do
        sizes = {p.name: p.stat().st_size for p in sorted(folder.iterdir()) if p.is_file()}
        manifest = {"fingerprint": handoff.fingerprint({"config": settings, "sizes": sizes})}
    return Base(folder, settings, shapes, manifest)


def refuse_quantized(settings: dict, name: str) -> None:
    if settings.get("quantization_config"):
        method = settings["quantization_config"].get("quant_method", "quantized")
        raise handoff.StageError(
            f"{name} is a quantized checkpoint ({method}): an adapter can only be merged into 16-bit weights. "
            "Name the 16-bit base model with --base DIR or --set train.base_model=..."
        )


def download_base(name: str) -> Path:
    """The folder of a model from the hub, downloaded if it is not in the hub's cache."""
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        refuse_quantized(handoff.read_json(Path(hf_hub_download(name, "config.json"))), name)
        _say(f"looking for {name} in the hub's cache, downloading what is missing")
        return Path(snapshot_download(name, allow_patterns=["*.safetensors", "*.json", "*.txt", "*.model"]))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise handoff.StageError(f"the base model {name} could not be downloaded: {reason}") from error


# --- the adapter ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Factors:
    """What LoRA adds to one weight: `scale * b @ a`. Those of stacked experts have the experts as first dimension."""

    module: str
    a: Any
    b: Any
    scale: float

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.b.shape[:-1], self.a.shape[-1])

    def delta(self) -> Any:
        return self.scale * (self.b @ self.a)


@dataclass(frozen=True)
class Adapter:
    """A PEFT LoRA adapter: `linears` by module, `experts` by (module, "gate_up" or "down")."""

    linears: dict[str, Factors]
    experts: dict[tuple[str, str], Factors]


# What changes the model in another way than by adding B A to a weight. Merging without it would be silently wrong.
UNSUPPORTED = (
    "use_dora modules_to_save lora_bias trainable_token_indices layer_replication fan_in_fan_out use_qalora use_bdlora "
    "alora_invocation_tokens".split()
)
LAYOUTS = ("rank_major", "grouped_by_expert")


def layout_of(settings: dict, folder: Path) -> str:
    """How the columns of a stacked expert's lora_B are ordered: by rank first (PEFT), or by expert first.

    Unsloth trained the other order before it adopted PEFT's, and an adapter merged by the wrong one is noise, so
    Unsloth's marker is read and one of its adapters without it is refused.
    """
    mapping = settings.get("auto_mapping") or {}
    layout = settings.get("lora_B_layout") or mapping.get("lora_B_layout")
    if layout is None and settings.get("target_parameters") and mapping.get("unsloth_fixed"):
        raise handoff.StageError(
            f"{folder} was trained on experts by a version of Unsloth that does not record their layout. "
            "Train it again, or add lora_B_layout to its adapter_config.json"
        )
    if layout not in (None, *LAYOUTS):
        raise handoff.StageError(f"{folder}: unknown lora_B_layout {layout!r}")
    return layout or "rank_major"


def check_adapter_settings(settings: dict, folder: Path) -> None:
    """Raises StageError for an adapter that is more than plain LoRA."""
    found = [name for name in UNSUPPORTED if settings.get(name)]
    if settings.get("bias", "none") != "none":
        found.append("bias")
    if settings.get("peft_type", "LORA") != "LORA":
        found.append(f"peft_type {settings['peft_type']}")
    if str(settings.get("init_lora_weights")).split("_")[0] in ("pissa", "olora", "loftq", "corda"):
        found.append(f"init_lora_weights {settings['init_lora_weights']}")  # these also change the base weights
    if found:
        raise handoff.StageError(f"{folder} uses {', '.join(found)}, which cannot be merged here")
    version = [int(part) for part in re.findall(r"\d+", settings.get("peft_version") or "")[:2]]
    if settings.get("target_parameters") and version and version < [0, 19]:
        raise handoff.StageError(f"{folder} was saved by PEFT {settings['peft_version']}; experts need 0.19 or newer")


def read_adapter(folder: Path, base_config: dict) -> Adapter:
    """The adapter's factors in float32. Raises StageError for anything in it that is not understood."""
    from safetensors.torch import load_file

    settings = handoff.read_json(folder / "adapter_config.json")
    check_adapter_settings(settings, folder)
    layout = layout_of(settings, folder)
    pairs: dict[str, dict[str, Any]] = {}
    for key, tensor in load_file(folder / "adapter_model.safetensors").items():
        match = re.fullmatch(r"base_model\.model\.(.+)\.lora_([AB])\.weight", key)
        if match is None:
            raise handoff.StageError(f"{folder} holds {key}, which is not a LoRA factor")
        pairs.setdefault(match[1], {})[match[2]] = tensor.float()
    linears, experts = {}, {}
    for module, pair in pairs.items():
        if set(pair) != {"A", "B"}:
            raise handoff.StageError(f"{folder} holds only one of the two factors of {module}")
        if re.search(r"\.experts(\.base_layer)*$", module):
            stack = module.split(".experts")[0] + ".experts"
            kind, factors = unstack(module, stack, pair["A"], pair["B"], settings, base_config, layout)
            experts[stack, kind] = factors
        else:
            linears[module] = Factors(module, pair["A"], pair["B"], scale(settings, module, pair["A"].shape[0]))
    return Adapter(linears, experts)


def unstack(
    module: str, stack: str, a: Any, b: Any, settings: dict, base_config: dict, layout: str
) -> tuple[str, Factors]:
    """Factors of stacked experts with the experts as first dimension, and which of the two stacks they belong to.

    PEFT saves A as (experts * rank, in) and B as (out, rank * experts). The names do not say which stack is meant,
    as one wrapper lies around the other; the shapes do.
    """
    experts = expert_count(base_config)
    hidden = base_config["hidden_size"]
    width = base_config.get("moe_intermediate_size") or base_config["intermediate_size"]
    inputs, outputs = a.shape[1], b.shape[0]
    kind = {(hidden, 2 * width): "gate_up", (width, hidden): "down"}.get((inputs, outputs))
    if kind is None or a.shape[0] % experts or a.shape[0] != b.shape[1]:
        raise handoff.StageError(
            f"{module} of the adapter, A {tuple(a.shape)} and B {tuple(b.shape)}, does not fit {experts} experts of "
            f"{width} by {hidden}"
        )
    rank = a.shape[0] // experts
    by_expert = (
        b.reshape(outputs, rank, experts).permute(2, 0, 1)
        if layout == "rank_major"
        else b.reshape(outputs, experts, rank).permute(1, 0, 2)
    )
    factor = scale(settings, f"{stack}.{kind}_proj", rank)
    return kind, Factors(module, a.reshape(experts, rank, inputs), by_expert.contiguous(), factor)


def expert_count(base_config: dict) -> int:
    """1 for a model without experts."""
    return base_config.get("num_experts") or base_config.get("num_local_experts") or 1


def scale(settings: dict, name: str, rank: int) -> float:
    """LoRA's scale of one module. The rank is that of the factors; alpha may be set by pattern, as PEFT matches it."""
    patterns = settings.get("alpha_pattern") or {}
    alpha = next((v for key, v in patterns.items() if re.match(rf"(.*\.)?({key})$", name)), settings["lora_alpha"])
    return alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)


_EXPERT = re.compile(
    r"(?P<layer>.+)\.(?:mlp|block_sparse_moe)\.experts\.(?:(?P<expert>\d+)\.)?"
    r"(?P<part>gate_proj|up_proj|down_proj|gate_up_proj|w1|w2|w3)(?:\.weight)?"
)
_PARTS = {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}  # Mixtral's names on disk


def factors_for(adapter: Adapter, name: str) -> Factors | None:
    """What the adapter adds to one tensor of the checkpoint, by its name on disk; None if nothing."""
    if name.removesuffix(".weight") in adapter.linears:
        return adapter.linears[name.removesuffix(".weight")]
    match = _EXPERT.fullmatch(name)
    if match is None:
        return None
    part = _PARTS.get(match["part"], match["part"])
    # In memory, and so in the adapter, transformers calls the block "mlp" in every model.
    stack = adapter.experts.get((f"{match['layer']}.mlp.experts", "down" if part == "down_proj" else "gate_up"))
    if stack is None or match["expert"] is None:
        return stack
    a, b = stack.a[int(match["expert"])], stack.b[int(match["expert"])]
    half = b.shape[0] // 2
    rows = {"gate_proj": b[:half], "up_proj": b[half:]}.get(part, b)
    return Factors(stack.module, a, rows, stack.scale)


def touched(adapter: Adapter, shapes: dict[str, tuple[int, ...]]) -> list[str]:
    """The checkpoint's tensors that the adapter changes.

    Raises StageError if a part of the adapter finds no tensor or one of another shape: the adapter is of another model.
    """
    found, used = [], set()
    for name, shape in shapes.items():
        factors = factors_for(adapter, name)
        if factors is None:
            continue
        if factors.shape != shape:
            raise handoff.StageError(f"the adapter changes {name} by {factors.shape}, the base model has {shape}")
        found.append(name)
        used.add(factors.module)
    every = {f.module for f in (*adapter.linears.values(), *adapter.experts.values())}
    if every - used:
        missing = sorted(every - used)
        raise handoff.StageError(
            f"{len(missing)} modules of the adapter are not in the base model, the first is {missing[0]}. "
            "Was it trained on another model?"
        )
    return found


def peft_layout(folder: Path, experts: int, into: Path) -> Path:
    """The adapter as PEFT reads it: itself, or a copy with the columns of lora_B in PEFT's order."""
    from safetensors.torch import load_file, save_file

    settings = handoff.read_json(folder / "adapter_config.json")
    if layout_of(settings, folder) == "rank_major":
        return folder
    tensors = load_file(folder / "adapter_model.safetensors")
    for key, tensor in tensors.items():
        if re.search(r"\.experts(\.base_layer)*\.lora_B\.weight$", key):
            rank = tensor.shape[1] // experts
            tensors[key] = tensor.reshape(-1, experts, rank).transpose(1, 2).reshape(tensor.shape)
    into.mkdir()
    save_file({k: t.contiguous() for k, t in tensors.items()}, into / "adapter_model.safetensors")
    settings = {k: v for k, v in settings.items() if k not in ("lora_B_layout", "auto_mapping")}
    handoff.write_json(into / "adapter_config.json", settings)
    return into


# --- llama.cpp's converter -----------------------------------------------------------------------------------


def fetch_converter(cache: Path) -> Path:
    """The folder of the converter that belongs to the installed llama-cpp-python, fetched once.

    Raises StageError if its source package cannot be had or is not the published one.
    """
    version = importlib.metadata.version("llama-cpp-python")
    folder = cache / f"llama.cpp-{version}"
    if handoff.manifest_of(folder):
        return folder
    expected = SDIST_SHA256.get(version)
    other = "or pass --llama-cpp DIR with llama.cpp's convert_hf_to_gguf.py"
    if expected is None:
        known = ", ".join(SDIST_SHA256)
        raise handoff.StageError(f"the sources of llama-cpp-python {version} are unknown; install {known}, {other}")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        _say(f"fetching llama.cpp's converter: the sources of llama-cpp-python {version}, 77 MB")
        sdist = download_sdist(version, Path(temporary))
        if sdist is None:
            message = f"the sources of llama-cpp-python {version} could not be fetched from the package index"
            raise handoff.StageError(f"{message}. Try again with a connection, {other}")
        found = handoff.sha256(sdist)
        if found != expected:
            raise handoff.StageError(f"{sdist.name} is not the published file: SHA-256 {found}, expected {expected}")
        staging = handoff.begin(folder)
        unpack_converter(sdist, staging)
    handoff.seal(staging, stage=STAGE, settings={"llama-cpp-python": version, "sha256": expected})
    return folder


def download_sdist(version: str, folder: Path) -> Path | None:
    """The source package as pip gets it; None if it cannot, and pip has said why."""
    asked = f"llama-cpp-python=={version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "llama-cpp-python"]
    done = subprocess.run([*command, "--dest", str(folder), asked], capture_output=True, text=True)
    if done.returncode:
        print("\n".join(done.stderr.strip().splitlines()[-3:]), file=sys.stderr)
    return next(folder.glob("llama_cpp_python-*.tar.gz"), None)


def unpack_converter(sdist: Path, into: Path) -> None:
    """Write the converter's files, 2 MB of the 77, into a folder."""
    with tarfile.open(sdist) as archive:
        for member in archive:
            _, inside, name = member.name.partition("/vendor/llama.cpp/")
            if inside and member.isfile() and name.startswith(CONVERTER_PARTS) and ".." not in name:
                (into / name).parent.mkdir(parents=True, exist_ok=True)
                (into / name).write_bytes(archive.extractfile(member).read())
    if not (into / "convert_hf_to_gguf.py").is_file():
        raise handoff.StageError(f"{sdist.name} does not contain convert_hf_to_gguf.py")


# --- converting ----------------------------------------------------------------------------------------------


def stage_checkpoint(base: Base, folder: Path) -> Path:
    """A folder with links to the checkpoint's files and our chat template, which the converter writes into the GGUF."""
    folder.mkdir()
    for path in base.folder.iterdir():
        if path.suffix in (".safetensors", ".json", ".txt", ".model") and path.name not in (
            handoff.MANIFEST,
            "chat_template.json",
            "tokenizer_config.json",
        ):
            (folder / path.name).symlink_to(path.resolve())
    # A template inside tokenizer_config.json would win over the file.
    settings = handoff.read_json(base.folder / "tokenizer_config.json")
    handoff.write_json(folder / "tokenizer_config.json", {k: v for k, v in settings.items() if k != "chat_template"})
    handoff.write_text(folder / "chat_template.jinja", tasks.chat_template(base.model_type))
    return folder


def convert(converter: Path, checkpoint: Path, adapter: Path | None, kind: str, outfile: Path, work: Path) -> dict:
    """Convert the checkpoint in a process of its own, merging the adapter. Returns what `convert_job` reports.

    The converter brings its own `gguf` package, and what it takes of memory goes with the process.
    """
    job = {
        "converter": str(converter.resolve()),
        "checkpoint": str(checkpoint),
        "adapter": str(adapter) if adapter else None,
        "type": kind,
        "outfile": str(outfile),
        "report": str(work / "report.json"),
    }
    path = handoff.write_json(work / "job.json", job)
    with open(work / "log.txt", "w", encoding="utf-8") as log:
        command = [sys.executable, str(Path(__file__).resolve()), "--convert-job", str(path)]
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, cwd=work)
    if done.returncode or not outfile.is_file():
        log_lines = (work / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines() or [
            "no output"
        ]
        _say("\n".join(log_lines[-8:]))
        raise handoff.StageError(f"llama.cpp's converter failed: {log_lines[-1]}")
    return handoff.read_json(work / "report.json")


def convert_job(path: Path) -> int:
    """The converter's process: run llama.cpp's script with every tensor passing through the adapter."""
    job = handoff.read_json(path)
    converter = job["converter"]
    sys.path[:0] = [converter, f"{converter}/gguf-py"]
    from conversion import base as conversion

    checkpoint = Path(job["checkpoint"])
    report: dict[str, list[str]] = {"changed": [], "untrained": []}
    if job["adapter"]:
        adapter = read_adapter(Path(job["adapter"]), handoff.read_json(checkpoint / "config.json"))
        merge_while_reading(conversion, adapter, report)
    recognize_qwen2(conversion, checkpoint / "tokenizer.json")
    sys.argv = ["convert_hf_to_gguf.py", str(checkpoint), "--outtype", job["type"].lower(), "--outfile", job["outfile"]]
    import convert_hf_to_gguf

    convert_hf_to_gguf.main()
    handoff.write_json(Path(job["report"]), {k: sorted(set(names)) for k, names in report.items()})
    return 0


def merge_while_reading(conversion: Any, adapter: Adapter, report: dict[str, list[str]]) -> None:
    """Make the converter read each weight as base plus adapter in float32, and note which weights changed."""
    import torch

    read = conversion.ModelBase.get_tensors

    def merged(weight: Any, name: str) -> Any:
        factors = factors_for(adapter, name)
        result = weight.float() + factors.delta()
        if not result.isfinite().all():
            raise ValueError(f"{name} is not finite after the merge")
        # Of an expert that no training token was sent to, B is still zero; any other weight must have changed.
        trained = bool(factors.b.any())
        if trained and torch.equal(result, weight.float()):
            raise ValueError(f"the merge left {name} as it was")
        report["changed" if trained else "untrained"].append(name)
        return result

    def get_tensors(self: Any) -> Iterator[tuple[str, Any]]:
        for name, tensor in read(self):
            if factors_for(adapter, name) is None:
                yield name, tensor
            elif isinstance(tensor, conversion.LazyTorchTensor):  # computed when it is written, one at a time
                meta = tensor._meta.to(torch.float32)
                yield name, conversion.LazyTorchTensor(meta=meta, args=(tensor, name), func=merged)
            else:
                yield name, merged(tensor, name)

    conversion.ModelBase.get_tensors = get_tensors


def recognize_qwen2(conversion: Any, tokenizer: Path) -> None:
    """Let the converter take a tokenizer that it does not know if it splits text exactly as Qwen2's does.

    The converter knows tokenizers by the tokens of one text, so one that was trained on other texts is unknown to it.
    """
    known = conversion.TextModel.get_vocab_base_pre

    def get_vocab_base_pre(self: Any, tokens: Any) -> str:
        try:
            return known(self, tokens)
        except NotImplementedError:
            if splits_like_qwen2(handoff.read_json(tokenizer)):
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


# --- quantizing ----------------------------------------------------------------------------------------------


def quantize(source: Path, target: Path, kind: str) -> None:
    """Write a GGUF file in another quantization type. Raises StageError with llama.cpp's own words."""
    import llama_cpp

    prefix = "LLAMA_FTYPE_ALL_" if kind == "F32" else "LLAMA_FTYPE_MOSTLY_"
    options = llama_cpp.llama_model_quantize_default_params()
    options.ftype = getattr(llama_cpp, prefix + kind)
    options.nthread = os.cpu_count() or 1
    with llama_log() as lines:
        status = llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(target), options)
    if status:
        raise handoff.StageError(f"quantizing to {kind} failed: {''.join(lines[-3:]).strip()}")


@contextlib.contextmanager
def llama_log() -> Iterator[list[str]]:
    """Keep what llama.cpp prints in a list instead of on the terminal."""
    import ctypes

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


# --- verifying -----------------------------------------------------------------------------------------------


def reference_logits(base: Base, adapter: Path | None, ids: list[int], work: Path) -> Any:
    """The logits of transformers, and of PEFT's adapter on it, in float32: `(tokens, vocabulary)`."""
    import torch
    from transformers import AutoModelForCausalLM

    models.quiet()
    model = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32).eval()
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, peft_layout(adapter, expert_count(base.config), work / "peft")).eval()
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[0].numpy()


def compare_logits(path: Path, ids: list[int], expected: Any) -> dict:
    """How far llama.cpp's logits of an unquantized file lie from the expected ones. Raises StageError if too far."""
    import llama_cpp
    import numpy

    llm = llama_cpp.Llama(
        str(path),
        n_ctx=max(len(ids) + 8, 64),
        n_batch=max(len(ids), 32),
        logits_all=True,
        type_k=llama_cpp.GGML_TYPE_F32,  # a 16-bit cache alone shifts logits by up to 0.3
        type_v=llama_cpp.GGML_TYPE_F32,
        n_threads=1,
        n_threads_batch=os.cpu_count() or 1,
        verbose=False,
    )
    llm.eval(ids)
    found = numpy.array(llm.scores[: len(ids)])
    llm.close()
    width = min(found.shape[1], expected.shape[1])
    difference = float(numpy.abs(found[:, :width] - expected[:, :width]).max())
    agree = int((found.argmax(axis=1) == expected.argmax(axis=1)).sum())
    if not difference <= MAX_LOGIT_DIFFERENCE:
        raise handoff.StageError(
            f"the GGUF build computes other logits than base model and adapter: they differ by up to {difference:.3g}, "
            f"allowed is {MAX_LOGIT_DIFFERENCE}"
        )
    return {"max_difference": difference, "tokens": len(ids), "same_next_token": agree}


def sample_messages() -> list[dict[str, str]]:
    return tasks.messages(tasks.RECEIPT, "CAFE BLUE\n2 Tea        2.00    4.00\n1 Cake       3.50    3.50\nTOTAL  7.50")


def check_file(path: Path, tokenizer: Any) -> dict:
    """Load a GGUF file as stage 5 does. Raises StageError unless tokens, template and a schema-bound answer are right.

    Returns the answer and how it was read.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if path.stat().st_size > memory:
        return {"answer": None, "reason": f"the file is larger than this machine's {memory / 1e9:.0f} GB of memory"}
    backend = inference.LlamaBackend(path, 512 + 4 * ANSWER_TOKENS, ANSWER_TOKENS, 0)
    messages = sample_messages()
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    if backend.render(messages) != prompt:
        raise handoff.StageError(f"the chat template of {path.name} renders another prompt than the tokenizer's")
    for text in (*TEXTS, prompt):
        # add_bos as servers call it: the file itself says that nothing is to be put in front
        if backend.llm.tokenize(text.encode(), add_bos=True, special=True) != encode(tokenizer, text):
            raise handoff.StageError(f"{path.name} tokenizes {text[:40]!r} otherwise than the base model's tokenizer")
    answer = backend.complete([inference.Request(messages, tasks.RECEIPT.schema)])[0]
    backend.llm.close()
    reading = tasks.parse(tasks.RECEIPT, answer.text)
    if reading.record is None:
        raise handoff.StageError(f"{path.name} wrote an answer that cannot be read: {reading.problem}")
    return {"answer": answer.text, "problem": reading.problem, "tokens": answer.completion_tokens}


def encode(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


# --- the Modelfile -------------------------------------------------------------------------------------------

# The chat templates of extraction/tasks.py in Go's template language. `.System` is in `.Messages` too, so that the
# loop leaves it out.
GO_TEMPLATE = """{{- if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}
{{- range .Messages }}
{{- if eq .Role "user" }}<|im_start|>user
{{ .Content }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ .Content }}<|im_end|>
{{ end }}
{{- end }}<|im_start|>assistant
"""
NO_THINKING = "<think>\n\n</think>\n\n"


def modelfile(cfg: config.Config, model_type: str, gguf: str) -> str:
    """The Ollama model of a GGUF file: prompt and decoding as everywhere else in this project."""
    ending = tasks.chat_template(model_type) == tasks.chat_template("qwen3")
    lines = [
        "# Written by export_gguf.py from config.py and extraction/tasks.py.   ollama create doc-intel -f Modelfile",
        f"FROM {gguf}",
        f'TEMPLATE """{GO_TEMPLATE}{NO_THINKING if ending else ""}"""',
        f'SYSTEM """{tasks.RECEIPT.instructions}"""',
        f"PARAMETER num_ctx {cfg.export.num_ctx}",
        f"PARAMETER num_predict {cfg.inference.max_new_tokens}",
        "PARAMETER temperature 0",
        "PARAMETER top_k 1",
        "PARAMETER repeat_penalty 1.0",
        'PARAMETER stop "<|im_end|>"',
        'PARAMETER stop "<|endoftext|>"',
        "LICENSE Apache-2.0",
    ]
    return "\n".join(lines) + "\n"


def write_repository_modelfile(cfg: config.Config, path: Path) -> Path:
    """Write the Modelfile that stands at the top of the repository: for the profile's first quantization type."""
    model_type = "mixtral"
    if cfg.train.base_model != models.UPCYCLED:
        from transformers import AutoConfig

        model_type = AutoConfig.from_pretrained(models.resolve(cfg.train.base_model)).model_type
    gguf = cfg.gguf_file(cfg.export.quantization[0]).relative_to(config.ROOT)
    return handoff.write_text(path, modelfile(cfg, model_type, f"./{gguf}"))


# --- the stage -----------------------------------------------------------------------------------------------


def _again(cfg: config.Config) -> str:
    return "" if cfg.profile == "cpu" else f" --profile {cfg.profile}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def find_adapter(cfg: config.Config, folder: Path | None, base: Base) -> tuple[Path, dict]:
    """The adapter's folder and manifest. Raises StageError if it is missing or was trained on another base model."""
    made_by = TRAIN + _again(cfg)
    built = cfg.train.base_model == models.UPCYCLED
    trained_on = {"base": base.manifest} if built else None
    if folder is None:
        return cfg.adapter_dir, handoff.require(cfg.adapter_dir, made_by=made_by, built_from=trained_on)
    if handoff.manifest_of(folder):
        return folder.resolve(), handoff.require(folder, made_by=made_by)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / name).is_file():
            raise handoff.StageError(f"{folder} holds no {name}")
    return folder.resolve(), {"fingerprint": handoff.sha256(folder / "adapter_model.safetensors")[:16]}


def intermediate_type(base: Base, kinds: tuple[str, ...]) -> str:
    """What the checkpoint is converted to before it is quantized."""
    return "F32" if base.is_small or "F32" in kinds else "BF16"


def check_space(folder: Path, base: Base, kinds: tuple[str, ...]) -> None:
    """Raises StageError unless the intermediate file and every build fit onto the disk."""
    bits = sum(BITS[kind] for kind in {*kinds, intermediate_type(base, kinds)})
    needed = base.parameters * bits / 8 + 50e6
    free = handoff.free_bytes(folder)
    if free < needed:
        raise handoff.StageError(
            f"{needed / 1e9:.1f} GB are needed for {', '.join(kinds)} in {folder}, {free / 1e9:.1f} GB are free"
        )


@contextlib.contextmanager
def growing(label: str, path: Path, expected: float) -> Iterator[None]:
    """Show how a file that something else writes grows: a bar on a terminal, one line elsewhere."""
    from tqdm import tqdm

    if not sys.stderr.isatty():
        _say(f"{label} ...")
    finished = threading.Event()

    def watch(bar: Any) -> None:
        while not finished.wait(0.5):
            if path.is_file():
                bar.update(min(path.stat().st_size, expected) - bar.n)

    with tqdm(total=int(expected), desc=label, unit="B", unit_scale=True, disable=None, leave=False) as bar:
        thread = threading.Thread(target=watch, args=(bar,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            finished.set()
            thread.join()


def build(
    cfg: config.Config, base: Base, adapter: Path | None, converter: Path, out: Path, name: Callable[[str], str]
) -> dict:
    """Write every GGUF file of the settings and the Modelfile into `out`. Returns the verification's results."""
    kinds = cfg.export.quantization
    work = out / "work"
    work.mkdir()
    tokenizer = models.tokenizer(str(base.folder), base.folder)
    first = intermediate_type(base, kinds)
    source = (out if first in kinds else work) / name(first)
    seconds: dict[str, float] = {}

    with timed(seconds, "convert"), growing("converting", source, base.parameters * BITS[first] / 8):
        report = convert(converter, stage_checkpoint(base, work / "checkpoint"), adapter, first, source, work)
    result: dict[str, Any] = {"adapter": None, "logits": None, "files": {}, "seconds": seconds}
    if adapter is not None:
        result["adapter"] = check_report(report, touched(read_adapter(adapter, base.config), base.shapes))
    with timed(seconds, "logits"):
        if base.is_small:
            _say("comparing logits with transformers")
            prompt = tokenizer.apply_chat_template(sample_messages(), tokenize=False, add_generation_prompt=True)
            ids = encode(tokenizer, prompt + '{"merchant":{"name":"CAFE BLUE"}')
            result["logits"] = compare_logits(source, ids, reference_logits(base, adapter, ids, work))
        else:
            result["logits_reason"] = f"not compared: {base.parameters / 1e9:.1f} B parameters in float32 are too many"
    for kind in kinds:
        target = out / name(kind)
        if target != source:
            with timed(seconds, kind), growing(f"quantizing to {kind}", target, base.parameters * BITS[kind] / 8):
                quantize(source, target, kind)
    shutil.rmtree(work)
    for kind in kinds:
        _say(f"checking {name(kind)}")
        with timed(seconds, f"check {kind}"):
            result["files"][name(kind)] = check_file(out / name(kind), tokenizer)
    handoff.write_text(out / "Modelfile", modelfile(cfg, base.model_type, f"./{name(kinds[0])}"))
    return result


@contextlib.contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - started, 1)


def check_report(report: dict, expected: list[str]) -> dict:
    """Raises StageError unless the converter merged just the tensors that the adapter is for."""
    merged = {*report["changed"], *report["untrained"]}
    if merged != set(expected):
        raise handoff.StageError(
            f"{len(expected)} weights should have been merged with the adapter, {len(merged)} were"
        )
    if not report["changed"]:
        raise handoff.StageError("the adapter changes nothing: all its weights are zero. Was it trained?")
    return {"changed_tensors": len(report["changed"]), "untrained_tensors": len(report["untrained"])}


def main(argv: list[str] | None = None) -> int:
    p = config.parser(__doc__)
    p.add_argument("--base", type=Path, metavar="DIR", help="a 16-bit checkpoint in place of the settings' base model")
    p.add_argument("--adapter", type=Path, metavar="DIR", help="an adapter in place of the one that stage 3 made")
    p.add_argument("--base-only", action="store_true", help="export the base model without an adapter")
    p.add_argument("--llama-cpp", type=Path, metavar="DIR", help="a llama.cpp source folder whose converter to use")
    p.add_argument("--force", action="store_true", help="build again even if nothing changed")
    p.add_argument("--modelfile", action="store_true", help="only write this profile's Modelfile to the repository")
    p.add_argument("--convert-job", type=Path, help=argparse.SUPPRESS)  # the converter's process, see convert()
    args, cfg = config.read(p, argv)
    if args.convert_job:
        return convert_job(args.convert_job)
    if args.modelfile:
        print(f"wrote {write_repository_modelfile(cfg, config.ROOT / 'Modelfile')}")
        return 0
    if args.base_only and args.adapter:
        p.error("--base-only leaves out the adapter that --adapter names")

    folder = cfg.base_gguf_dir if args.base_only else cfg.gguf_dir
    base = find_base(cfg, args.base)
    adapter, inputs = None, {"base": base.manifest}
    if not args.base_only:
        adapter, inputs["adapter"] = find_adapter(cfg, args.adapter, base)
    versions = {n: importlib.metadata.version(n) for n in ("llama-cpp-python", "gguf", "transformers", "peft")}
    settings = {
        **asdict(cfg.export),
        "num_predict": cfg.inference.max_new_tokens,
        "base_model": str(args.base or cfg.train.base_model),
        "contract_form": inference.form_of(inputs["adapter"]) if adapter else None,
        "versions": versions,
    }
    if not args.force and handoff.is_current(folder, stage=STAGE, settings=settings, inputs=inputs):
        print(f"[6/7] {folder} is already there")
        return 0
    if adapter is not None:
        touched(read_adapter(adapter, base.config), base.shapes)  # before any work: does it fit?
    check_space(folder, base, cfg.export.quantization)
    converter = args.llama_cpp or fetch_converter(cfg.cache_dir)
    if not (converter / "convert_hf_to_gguf.py").is_file():
        raise handoff.StageError(f"{converter} holds no convert_hf_to_gguf.py")

    def name(kind: str) -> str:
        return f"doc-intel-base-{kind}.gguf" if args.base_only else cfg.gguf_file(kind).name

    out = handoff.begin(folder)
    try:
        result = build(cfg, base, adapter, converter, out, name)
        handoff.write_json(out / "verification.json", result)
        manifest = handoff.seal(out, stage=STAGE, settings=settings, inputs=inputs)
    except BaseException:  # also Ctrl-C: gigabytes must not stay behind
        shutil.rmtree(out, ignore_errors=True)
        raise

    merged = f", {result['adapter']['changed_tensors']} weights changed by the adapter" if adapter else ""
    print(f"[6/7] GGUF build in {folder}{merged}")
    for kind in cfg.export.quantization:
        print(f"      {name(kind)}  {manifest['files'][name(kind)]['size'] / 1e6:,.0f} MB")
    if result["logits"]:
        print(f"      logits before quantization: within {result['logits']['max_difference']:.1e} of transformers'")
    else:
        print(f"      logits {result['logits_reason']}")
    if args.base_only:
        print(f"Next: python test_moe.py{_again(cfg)} --model {folder / name(cfg.export.quantization[0])}")
    else:
        print(f"Next: python inference.py{_again(cfg)} data/samples/documents/receipt_photo_1.jpg")
    return 0


if __name__ == "__main__":
    handoff.run_stage(main)
