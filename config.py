"""Settings of every stage: profiles, single overrides, and where every folder is.

A profile picks a whole set of values, `--set` changes single ones, and nothing else does.

    python config.py                                    # what the default profile (cpu) would use
    python config.py --profile gpu --set train.lora_rank=16
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import math
import os
import sys
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path

from extraction.reading import limits

ROOT = Path(__file__).resolve().parent
BUNDLE = ROOT / "bundle.args"  # settings of a folder that export_gguf.py --bundle wrote; not in the repository
DATASETS = ("cord", "cuad", "docvqa", "tatqa")
LORA_TARGETS = ("attention", "attention+experts", "attention+experts+shared")
QUANTIZATION_TYPES = ("F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "Q4_0", "Q3_K_M")
QUANTIZATION_TYPES += ("IQ4_NL", "IQ4_XS", "Q3_K_S", "Q2_K")
SMALL_TYPE = "IQ4_NL"  # of the cpu profile's GGUF build


class ConfigError(ValueError):
    """A value that no stage could run with; the message names the setting."""


def _at_least(section: object, name: str, **lower_bounds: float) -> None:
    for key, bound in lower_bounds.items():
        value = getattr(section, key)
        if value is not None and value < bound:
            raise ConfigError(f"{name}.{key} must be at least {bound}, got {value}")


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")


@dataclass(frozen=True)
class GenerateConfig:
    """How many documents of each kind stage 2 makes itself, for training only."""

    receipt: int = 0
    invoice: int = 0
    letter: int = 0

    def __post_init__(self) -> None:
        _at_least(self, "data.generate", receipt=0, invoice=0, letter=0)


@dataclass(frozen=True)
class VariationsConfig:
    """How many variations of each training document stage 2 makes: the same layout with other numbers and items."""

    cord: int = 0
    tatqa: int = 0

    def __post_init__(self) -> None:
        _at_least(self, "data.variations", cord=0, tatqa=0)


@dataclass(frozen=True)
class DataConfig:
    source: str = "samples"  # samples: data/samples/, no network; hub: the public datasets
    datasets: tuple[str, ...] = ("cord", "cuad", "tatqa")
    samples_dir: str = "data/samples"
    datasets_dir: str = "data/datasets"
    training_dir: str = "data/training"
    own: str | None = None  # documents of your own: a folder with schema.json, or a folder of such folders
    own_test_fraction: float = 0.2  # of own documents, where none lie in a folder called test
    own_documents: int | None = None  # of each own type to learn from; None: all that are not for the test
    replay: float | None = None  # public training rows for each own one; None: all there are
    images: bool = False  # hub only: also keep page images (CORD 2.3 GB, DocVQA 12 GB)
    max_documents: int | None = None  # per dataset and split; None takes them all
    eval_fraction: float = 0.1  # of the training documents, where a dataset publishes no eval split
    window_chars: int = 2000  # characters of contract text in one window
    window_overlap: int = 300  # characters that two neighboring windows share
    negative_ratio: float = 0.75  # training windows without a clause kept for each with one; CUAD's train has 0.73
    max_quote_chars: int = 300  # longer quotes are cut in the answer, at a word boundary, and counted
    questions_per_document: int | None = 4  # in training and eval; test keeps every question
    more_questions: float = 0.0  # share of the training documents asked about items, cells, terms, what they lack
    general: float = 0.0  # share of the training documents that are also asked for by the general instruction
    own_fields: float = 0.0  # share of the generated ones whose fields are also asked for by a random template
    inject: float = 0.0  # share of the training rows that get an injected instruction; their targets stay
    generate: GenerateConfig = field(default_factory=GenerateConfig)
    variations: VariationsConfig = field(default_factory=VariationsConfig)
    seed: int = 3407

    def __post_init__(self) -> None:
        _one_of("data.source", self.source, ("samples", "hub"))
        for name in self.datasets:
            _one_of("data.datasets", name, DATASETS)
        if not 0 < self.eval_fraction < 0.5:
            raise ConfigError(f"data.eval_fraction must be between 0 and 0.5, got {self.eval_fraction}")
        if not 0 < self.own_test_fraction < 1:
            raise ConfigError(f"data.own_test_fraction must be between 0 and 1, got {self.own_test_fraction}")
        _at_least(
            self,
            "data",
            own_documents=1,
            replay=0,
            max_documents=1,
            window_chars=200,
            window_overlap=0,
            negative_ratio=0,
        )
        for name in ("more_questions", "general", "own_fields", "inject"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"data.{name} must be between 0 and 1, got {getattr(self, name)}")
        _at_least(self, "data", max_quote_chars=20, questions_per_document=1)


@dataclass(frozen=True)
class TrainConfig:
    base_model: str = "qwen2.5-0.5b-moe"  # built here; or a hub id, or a folder
    experts: int = 4  # of the base model that is built here: routed experts of a layer, ...
    experts_per_token: int = 2
    shared_width: int = 2304  # ... and neurons of each MLP that stay in a shared expert, of 4,864
    init_adapter: str | None = "data/embedded/adapter"  # training continues from it; null starts from the base
    load_in_4bit: bool = False
    max_seq_length: int = 1024  # tokens, prompt and completion together
    lora_rank: int = 16
    lora_alpha: int = 32
    lora_targets: str = "attention+experts"  # or attention; or attention+experts+shared, if there is a shared expert
    train_router: bool = False  # also train the routers and the gates of the shared experts, whole
    expert_lora_rank: int | None = None  # None: lora_rank
    experts_share: float = 1.0  # of each layer's experts that LoRA trains, those that training rows use most; 1: all
    experts_by: str = "use"  # or chance: which these are, to see what choosing by use is worth
    batch_size: int = 1  # packed sequences per step on the device
    gradient_accumulation_steps: int = 4
    epochs: float = 1.0
    max_steps: int = -1  # optimizer steps; -1: as many as the epochs need
    min_steps: int = 0  # optimizer steps at least: of few rows, more epochs are made
    start_weight: float = 0.0  # of init_adapter, if there is one, in the mean of it and the trained one that is kept
    distill: bool = False  # learn public rows as init_adapter, if there is one, answers them; not by their labels
    learning_rate: float = 2e-4
    warmup_ratio: float = 0.05
    router_aux_loss_coef: float = 0.001  # weight of the router's load-balancing loss
    packing: bool = True  # several rows in a sequence; false: batches of rows of similar length, padded
    eval_steps: int = 10  # optimizer steps between two eval losses and checkpoints
    eval_rows: int | None = None  # of the eval split, evenly over tasks; None: all
    optimizer: str = "adamw_torch"
    device: str = "cpu"
    offload_layers: int | None = None  # 4-bit only: layers kept in host memory; None: as few as the memory plan finds
    loss_chunk_tokens: int = 128  # 4-bit only: tokens whose logits exist at a time
    expert_chunk: int = 0  # 4-bit only: experts of a layer that are in 16 bit at a time; 0: all
    max_hours: float | None = None  # train on so many rows as fit; None: on all
    tokens_per_second: float | None = None  # what this machine was measured at, for max_hours; None: estimated
    seed: int = 3407

    def __post_init__(self) -> None:
        _one_of("train.lora_targets", self.lora_targets, LORA_TARGETS)
        _one_of("train.device", self.device, ("cpu", "cuda"))
        _at_least(self, "train", experts=1, experts_per_token=1, max_seq_length=64, lora_rank=1, lora_alpha=1)
        if self.shared_width < 256 or self.shared_width % 256:
            raise ConfigError(f"train.shared_width must be a multiple of 256, got {self.shared_width}")
        _at_least(
            self, "train", expert_lora_rank=1, batch_size=1, gradient_accumulation_steps=1, max_steps=-1, min_steps=0
        )
        _at_least(self, "train", min_steps=0, eval_steps=1, eval_rows=1, warmup_ratio=0, router_aux_loss_coef=0)
        _at_least(self, "train", offload_layers=0, loss_chunk_tokens=16, expert_chunk=0)
        _one_of("train.experts_by", self.experts_by, ("use", "chance"))
        if not 0 < self.experts_share <= 1:
            raise ConfigError(f"train.experts_share must be above 0 and at most 1, got {self.experts_share}")
        if not 0 <= self.start_weight < 1:
            raise ConfigError(f"train.start_weight must be at least 0 and below 1, got {self.start_weight}")
        for name in ("max_hours", "tokens_per_second"):
            if getattr(self, name) is not None and getattr(self, name) <= 0:
                raise ConfigError(f"train.{name} must be above 0, got {getattr(self, name)}")
        if self.epochs <= 0 or self.learning_rate <= 0:
            raise ConfigError("train.epochs and train.learning_rate must be above 0")


@dataclass(frozen=True)
class EvaluateConfig:
    batch_size: int = 8  # rows decoded together by the transformers backend
    processes: int = 1  # that share the rows and the cores, each with the model in its memory
    rows_per_task: int | None = None  # the first rows of each task's test split; None: all
    bootstrap_samples: int = 1000
    wrong_share: float = 0.05  # of the values that need no review; --calibrate finds how sure these have to be

    def __post_init__(self) -> None:
        _at_least(self, "evaluate", batch_size=1, processes=1, rows_per_task=1, bootstrap_samples=100)
        if not 0 < self.wrong_share < 0.5:
            raise ConfigError(f"evaluate.wrong_share must be between 0 and 0.5, got {self.wrong_share}")


@dataclass(frozen=True)
class InferenceConfig(limits.Limits):
    quantization: str = SMALL_TYPE  # the GGUF build that stage 5 and 7 load by default
    context_tokens: int = 2048  # prompt and answer together
    max_new_tokens: int = (
        512  # of an answer, and one more for each character of a document with lists; one cut is reported
    )
    choose: bool = True  # amounts, dates and times are chosen among those that the text prints, not written
    first_look: bool = False  # of a contract, only sentences that by their words may hold a clause are read
    threads: int = 0  # 0: all cores
    at_once: int = 1  # answers that a GGUF build writes together: windows of a document, documents with --workers
    gpu_layers: int | None = None  # of a GGUF build on a GPU; None: all, if llama-cpp-python was built for one
    timeout_seconds: float = 120.0  # of one request to a server
    api_key_env: str = "OPENAI_API_KEY"  # the environment variable with a server's key; the key itself is no setting

    def __post_init__(self) -> None:
        _one_of("inference.quantization", self.quantization, QUANTIZATION_TYPES)
        _at_least(self, "inference", context_tokens=256, max_new_tokens=16, threads=0, gpu_layers=0, max_pages=1)
        _at_least(self, "inference", max_text_chars=100, max_image_pixels=10_000, max_file_mb=0.01, page_seconds=0.1)
        _at_least(self, "inference", max_memory_mb=500, at_once=1)
        _one_of("inference.ocr", self.ocr, limits.OCR_ENGINES)


@dataclass(frozen=True)
class ExportConfig:
    quantization: tuple[str, ...] = (SMALL_TYPE,)
    num_ctx: int = 8192  # context of the Ollama model, tokens
    num_predict: int = 2048  # tokens that the Ollama model answers with at most: a receipt of 40 items has about 1,700
    verify_rows: int = 24  # of the eval split, that --verify compares the builds on
    imatrix: bool = False  # weigh each column by how much the training rows use it (an importance matrix)
    imatrix_tokens: int = 100_000  # of training rows that it is measured on

    def __post_init__(self) -> None:
        if not self.quantization:
            raise ConfigError("export.quantization must name at least one type")
        for name in self.quantization:
            _one_of("export.quantization", name, QUANTIZATION_TYPES)
        _at_least(self, "export", num_ctx=256, num_predict=16, imatrix_tokens=1000, verify_rows=1)


@dataclass(frozen=True)
class AppConfig:
    host: str = "127.0.0.1"
    port: int = 7860
    queue_size: int = 20  # requests that wait at most; further ones get "queue full, try again"
    keep: bool | None = None  # offer to keep corrected documents for training; None: on a page without a login alone
    keep_dir: str = "data/own"  # where they are kept, in a folder for each document type

    def __post_init__(self) -> None:
        _at_least(self, "app", queue_size=1)


@dataclass(frozen=True)
class OutputConfig:
    dir: str = "output"
    cache_dir: str = ".cache"  # what can always be fetched again: the GGUF converter's sources


@dataclass(frozen=True)
class Config:
    profile: str
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    app: AppConfig = field(default_factory=AppConfig)
    output: OutputConfig = field(default_factory=OutputConfig)

    # What a profile's stages make is in its own part of the output folder; the data folders are settings.
    samples_dir = property(lambda self: ROOT / self.data.samples_dir)
    own_dir = property(lambda self: ROOT / self.data.own if self.data.own else None)
    datasets_dir = property(lambda self: ROOT / self.data.datasets_dir)
    own_datasets_dir = property(lambda self: self.datasets_dir / "own")
    training_dir = property(lambda self: ROOT / self.data.training_dir)
    keep_dir = property(lambda self: ROOT / self.app.keep_dir)
    cache_dir = property(lambda self: ROOT / self.output.cache_dir)
    output_dir = property(lambda self: ROOT / self.output.dir / self.profile)
    base_dir = property(lambda self: self.output_dir / "base_model")  # that this project builds itself (cpu profile)
    adapter_dir = property(lambda self: self.output_dir / "lora_adapters")
    checkpoints_dir = property(lambda self: self.output_dir / "checkpoints")
    evaluation_dir = property(lambda self: self.output_dir / "evaluation")
    gguf_dir = property(lambda self: ROOT if BUNDLE.is_file() else self.output_dir / "gguf")
    base_gguf_dir = property(lambda self: self.output_dir / "gguf_base")  # of the base model alone, to compare with
    merged_dir = property(lambda self: self.output_dir / "merged_model")  # 16-bit, for servers that read no GGUF
    gguf_quality_dir = property(lambda self: self.output_dir / "gguf_quality")  # what quantization types cost

    @property
    def init_adapter_dir(self) -> Path | None:
        return ROOT / self.train.init_adapter if self.train.init_adapter else None

    def command(self, stage: str, *arguments: object) -> str:
        """What to type to run a stage with this profile, say `python train_moe.py --profile gpu --resume`."""
        profile = () if self.profile == default_profile() else ("--profile", self.profile)
        own = ("--set", f"data.own={self.data.own}") if self.data.own and stage in BEFORE_USE else ()
        return " ".join(map(str, ("python", f"{stage}.py", *profile, *own, *arguments)))

    def gguf_file(self, quantization: str) -> Path:
        """The GGUF build of one quantization type, whether or not it exists yet."""
        return self.gguf_dir / f"doc-intel-{quantization}.gguf"

    def base_gguf_file(self, quantization: str) -> Path:
        return self.base_gguf_dir / f"doc-intel-base-{quantization}.gguf"


PROFILES = {
    "cpu": Config(
        profile="cpu",
        data=DataConfig(generate=GenerateConfig(receipt=24, invoice=16, letter=8)),
        train=TrainConfig(
            lora_rank=32,  # the first five are the shipped adapter's: training continues from it
            lora_alpha=64,
            lora_targets="attention+experts+shared",
            expert_lora_rank=12,
            train_router=True,
            packing=False,
            gradient_accumulation_steps=1,
            max_steps=2,  # two cores without bfloat16 take about half a minute for one
            eval_steps=2,
            eval_rows=3,
            learning_rate=2e-5,
            warmup_ratio=0.0,
        ),
        evaluate=EvaluateConfig(rows_per_task=3),
        inference=InferenceConfig(max_new_tokens=384, first_look=True, at_once=2),
    ),
    "gpu": Config(
        profile="gpu",
        data=DataConfig(
            source="hub",
            datasets=("cord", "cuad", "docvqa"),
            datasets_dir="data/gpu/datasets",  # each profile its own, so that none replaces the rows of another
            training_dir="data/gpu/training",
            window_chars=6000,
            window_overlap=600,
            max_quote_chars=480,
            questions_per_document=None,
        ),
        train=TrainConfig(
            base_model="Qwen/Qwen3-30B-A3B",
            init_adapter=None,
            load_in_4bit=True,
            max_seq_length=2048,
            lora_rank=32,
            lora_alpha=64,
            lora_targets="attention",
            batch_size=4,  # four sequences at a time: each layer's experts are brought to 16 bit once for all of them
            gradient_accumulation_steps=4,
            epochs=2.0,
            eval_steps=100,
            optimizer="adamw_8bit",
            device="cuda",
        ),
        inference=InferenceConfig(quantization="Q4_K_M", context_tokens=8192, max_new_tokens=2048),
        export=ExportConfig(quantization=("Q4_K_M",)),
    ),
}

# What learning from documents of one's own changes in a profile; docs/own.md says what was measured.
OWN = {
    "cpu": (
        "data.replay=1 train.learning_rate=1e-4 train.max_steps=-1 train.epochs=1 train.min_steps=30"
        " train.distill=true train.start_weight=0.5 train.eval_steps=15 train.eval_rows=6"
    ).split(),
    "gpu": "data.replay=1 train.epochs=2 train.min_steps=30 train.eval_steps=20".split(),
}
BEFORE_USE = ("download_datasets", "prepare_training_data", "train_moe", "test_moe")  # stages that need to know of them


def default_profile() -> str:
    return os.environ.get("PIPELINE_PROFILE", "cpu")


def parser(doc: str) -> argparse.ArgumentParser:
    """A stage's argument parser: its module docstring is its help page."""
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = default_profile()
    p.add_argument("--profile", choices=PROFILES, default=default, help=f"a whole set of settings (default: {default})")
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.FIELD=VALUE",
        dest="overrides",
        help="change one setting, such as train.lora_rank=16; python config.py lists them",
    )
    return p


def read(p: argparse.ArgumentParser, argv: list[str] | None) -> tuple[argparse.Namespace, Config]:
    """The arguments, and the profile they name with its overrides applied in order.

    A profile or setting that does not exist, or a value of the wrong type, ends the program with status 2.
    """
    bundled = BUNDLE.read_text(encoding="utf-8").splitlines() if BUNDLE.is_file() else []
    args = p.parse_args([*bundled, *(sys.argv[1:] if argv is None else argv)])
    try:
        if args.profile not in PROFILES:  # argparse does not check a default, and ours comes from the environment
            raise ConfigError(f"PIPELINE_PROFILE={args.profile}: the profiles are {', '.join(PROFILES)}")
        cfg = PROFILES[args.profile]
        own = any(item.startswith("data.own=") and item != "data.own=null" for item in args.overrides)
        for item in [*(OWN[args.profile] if own else ()), *args.overrides]:
            cfg = override(cfg, item)
        check_together(cfg)
    except ConfigError as error:
        p.error(str(error))
    return args, cfg


def check_together(cfg: Config) -> None:
    """Raises ConfigError for settings that do not go together, once all are known: each alone may be right."""
    if cfg.data.window_overlap * 2 > cfg.data.window_chars:
        raise ConfigError("data.window_overlap must be at most half of data.window_chars")
    if cfg.train.experts_share < 1 and cfg.train.lora_targets == "attention":
        raise ConfigError("train.experts_share needs experts to train: --set train.lora_targets=attention+experts")
    if cfg.train.distill and cfg.train.packing:
        raise ConfigError("train.distill needs rows apart: --set train.packing=false")
    if cfg.train.experts_per_token > cfg.train.experts:
        raise ConfigError(f"train.experts_per_token must be at most train.experts, got {cfg.train.experts_per_token}")


def settings(section: object, prefix: str = "") -> dict[str, typing.Any]:
    """Every setting by its dotted name: `{"data.source": "samples", "data.generate.receipt": 24, ...}`."""
    found = {}
    for f in dataclasses.fields(section):
        value, name = getattr(section, f.name), prefix + f.name
        found |= settings(value, name + ".") if dataclasses.is_dataclass(value) else {name: value}
    return found


def arguments(cfg: Config) -> list[str]:
    """The profile, and the settings of reading that differ from it, as arguments of a command."""
    usual, sections = settings(PROFILES[cfg.profile]), ("inference.", "app.", "data.window_")
    changed = {n: value for n, value in settings(cfg).items() if n.startswith(sections) and value != usual[n]}
    return [f"--profile={cfg.profile}", *(f"--set={name}={json.dumps(value)}" for name, value in changed.items())]


def override(cfg: Config, item: str) -> Config:
    """`override(cfg, "train.lora_rank=32")` is a copy of cfg with that one value changed.

    Raises ConfigError for an unknown setting (naming the nearest one) and for a value of the wrong type.
    """
    path, equals, text = item.partition("=")
    known = [name for name in settings(cfg) if name != "profile"]
    if path not in known:
        near = difflib.get_close_matches(path, known, n=1)
        hint = f"Did you mean {near[0]}?" if near else "python config.py lists them."
        raise ConfigError(f"--set {item}: no setting called {path!r}. {hint}")
    if not equals:
        raise ConfigError(f"--set {item}: write --set {path}=VALUE")
    return _replace(cfg, path.split("."), text, item)


def _replace(section: typing.Any, path: list[str], text: str, item: str) -> typing.Any:
    name = path[0]
    if len(path) > 1:
        value = _replace(getattr(section, name), path[1:], text, item)
    else:
        value = _parse(text, typing.get_type_hints(type(section))[name], item)
    return dataclasses.replace(section, **{name: value})


def _parse(text: str, wanted: typing.Any, item: str) -> typing.Any:
    options = typing.get_args(wanted) if typing.get_origin(wanted) in (typing.Union, types.UnionType) else (wanted,)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # also a number of more than 4,300 digits
        value = text
    if str in options and value is not None:
        return text if not isinstance(value, str) else value
    if typing.get_origin(wanted) is tuple:
        value = tuple(value) if isinstance(value, list) else tuple(part for part in text.split(",") if part)
        if all(isinstance(part, str) for part in value):
            return value
    if float in options and type(value) is int and abs(value) < 10**300:
        value = float(value)
    if type(value) not in options or (type(value) is float and not math.isfinite(value)):
        expected = " or ".join("null" if o is type(None) else getattr(o, "__name__", str(o)) for o in options)
        raise ConfigError(f"--set {item}: expected {expected}, got {text!r}")
    return value


if __name__ == "__main__":
    _, resolved = read(parser(__doc__), None)
    for name, value in settings(resolved).items():
        print(f"{name:34} {json.dumps(value)}")
    for name in ("samples_dir", "datasets_dir", "training_dir", "adapter_dir", "evaluation_dir", "gguf_dir"):
        print(f"{name:34} {getattr(resolved, name)}")
