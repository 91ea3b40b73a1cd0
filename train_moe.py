"""Stage 3 of 7: rows -> LoRA adapter.

Reads   data/training/                        made by prepare_training_data.py
Writes  output/<profile>/base_model/          cpu profile: the small mixture of experts, built once
        output/<profile>/checkpoints/         while training; --resume continues from the newest
        output/<profile>/lora_adapters/       adapter, tokenizer, training_log.jsonl, loss.png, tensorboard/,
                                              gpu: memory_plan.json; manifest.json
Next    python export_gguf.py

    python train_moe.py
    python train_moe.py --resume                             # only if there is a checkpoint to continue from
    python train_moe.py --set train.init_adapter=null        # from the base model instead of the shipped adapter
    python train_moe.py --profile gpu --plan --gpu-memory 15.99   # would it fit? Needs no GPU
    python train_moe.py --profile gpu                        # Qwen3-30B-A3B by Unsloth, on a CUDA device
    torchrun --nproc-per-node 2 train_moe.py --profile gpu   # the same steps, shared by two devices

Ctrl-C saves a checkpoint and says how to go on. A run with the same rows and settings continues from the newest
checkpoint of one that was interrupted; --force begins at step 0.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import config
from extraction import files, handoff, stage
from extraction.models import base_model, lora
from extraction.training import memory

STAGE = "train_moe"
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]  # stacked over experts, as transformers holds them
LORA_B_LAYOUT = "rank_major"  # PEFT's order of the columns of stacked experts' lora_B
TENSORBOARD = "tensorboard"  # folder of its event files, in the checkpoint and in the adapter folder
FULL_DISK = 20e6  # bytes; a checkpoint that could not be written leaves less than its own size
RUN = "run.json"  # in the checkpoint folder: which rows and settings its checkpoints belong to


# --- the base model and the rows -----------------------------------------------------------------------------


def base_settings(train: config.TrainConfig) -> dict:
    """What the small base model depends on; adapters only fit a base that was built from the same."""
    return {
        "source": base_model.GGUF_SHA256,
        "experts": train.experts,
        "experts_per_token": train.experts_per_token,
        "router_seed": base_model.ROUTER_SEED,
    }


def ensure_base(cfg: config.Config) -> dict | None:
    """The manifest of the base model that this project builds; None where the profile uses a published one."""
    if cfg.train.base_model != base_model.UPCYCLED:
        return None
    settings = base_settings(cfg.train)
    if handoff.is_current(cfg.base_dir, stage=STAGE, settings=settings):
        return handoff.require(cfg.base_dir, made_by="python train_moe.py")
    print("building the base model: SmolLM2-135M, each MLP copied into "
          f"{cfg.train.experts} experts", file=sys.stderr)  # fmt: skip
    staging = handoff.begin(cfg.base_dir)
    built = base_model.build_base(staging, cfg.train.experts, cfg.train.experts_per_token)
    files.write_json(staging / "parity.json", built)
    manifest = handoff.seal(staging, stage=STAGE, settings=settings)
    print(f"[3/7] base model with {built['parameters'] / 1e6:.0f} M parameters in {cfg.base_dir}; "
          f"largest logit difference to the dense model {built['max_logit_difference']:.1e}")  # fmt: skip
    return manifest


def load_rows(path: Path, tokenizer: Any, limit: int | None = None, max_tokens: float | None = None) -> Any:
    """The rows of a split as a `datasets.Dataset` with `input_ids` and `completion_mask`.

    Prompt and completion are tokenized apart, as in use, where the completion is yet to come. With a limit of rows or
    tokens, tasks take turns until it is reached.
    """
    from datasets import Dataset

    rows = list(files.read_jsonl(path))
    if limit is not None or max_tokens is not None:
        by_task: dict[str, list[dict]] = {}
        for row in rows:
            by_task.setdefault(row["task"], []).append(row)
        turns = max(map(len, by_task.values()))
        rows = [group[i] for i in range(turns) for group in by_task.values() if i < len(group)][:limit]
    encoded, tokens = [], 0
    for row in rows:
        prompt = tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
        prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        answer = row["completion"][0]["content"] + tokenizer.eos_token
        answer_ids = tokenizer(answer, add_special_tokens=False)["input_ids"]
        mask = [0] * len(prompt_ids) + [1] * len(answer_ids)
        tokens += len(mask)
        if max_tokens is not None and tokens > max_tokens and encoded:
            break
        encoded.append({"input_ids": prompt_ids + answer_ids, "completion_mask": mask})
    return Dataset.from_list(encoded)


# --- the model -----------------------------------------------------------------------------------------------


def load_model(cfg: config.Config, plan: memory.Plan | None = None) -> Any:
    """Base model plus trainable adapter, on the profile's device. Raises StageError if the adapter does not fit."""
    if cfg.train.load_in_4bit:
        return load_with_unsloth(cfg, plan.offloaded_layers)
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM

    base_model.quiet()
    source = cfg.base_dir if cfg.train.base_model == base_model.UPCYCLED else base_model.resolve(cfg.train.base_model)
    torch.manual_seed(cfg.train.seed)
    dtype = torch.bfloat16 if cfg.train.device == "cuda" or computes_bfloat16() else torch.float32
    model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype).to(cfg.train.device)
    if cfg.init_adapter_dir is not None:
        check_init_adapter(cfg)
        model = PeftModel.from_pretrained(model, cfg.init_adapter_dir, is_trainable=True)
        # where the base model is on this machine, or PEFT would ask the hub about it at every checkpoint
        model.peft_config["default"].base_model_name_or_path = str(source)
        return model
    return get_peft_model(model, LoraConfig(**lora_arguments(cfg.train), task_type="CAUSAL_LM"))


def lora_arguments(train: config.TrainConfig) -> dict:
    """What PEFT's LoraConfig needs. Dropout stays 0: PEFT cannot apply it to stacked experts."""
    arguments: dict[str, Any] = {"r": train.lora_rank, "lora_alpha": train.lora_alpha, "target_modules": ATTENTION}
    if train.lora_targets == "attention+experts":
        arguments["target_parameters"] = EXPERTS
        if train.expert_lora_rank not in (None, train.lora_rank):
            names = [name.split(".", 1)[1] for name in EXPERTS]
            alpha = train.lora_alpha * train.expert_lora_rank / train.lora_rank  # the same weight of the difference
            arguments["rank_pattern"] = dict.fromkeys(names, train.expert_lora_rank)
            arguments["alpha_pattern"] = dict.fromkeys(names, alpha)
    return arguments


def check_init_adapter(cfg: config.Config) -> None:
    """Raises StageError unless the adapter to continue from was trained on this base with these LoRA settings."""
    folder, undo = cfg.init_adapter_dir, "--set train.init_adapter=null starts from the base model"
    manifest = handoff.manifest_of(folder)
    if manifest is None:
        raise files.StageError(f"{folder} holds no finished adapter; {undo}")
    if damaged := handoff.damage(folder, manifest):
        raise files.StageError(f"{folder}/{damaged}; {undo}")
    if cfg.train.base_model == base_model.UPCYCLED and manifest["settings"].get("base") != base_settings(cfg.train):
        raise files.StageError(f"{folder} was trained on another base model; {undo}")
    lora.tensor_shapes(folder / "adapter_model.safetensors")
    found = files.read_json(folder / "adapter_config.json")
    for name, value in lora_arguments(cfg.train).items():
        there = sorted(found[name]) if isinstance(found.get(name), list) else found.get(name)
        if there != (sorted(value) if isinstance(value, list) else value):
            raise files.StageError(f"{folder} was trained with {name}={there}, not {value}; {undo}")


def check_contract_form(cfg: config.Config, form: str) -> None:
    """Raises StageError if the adapter to continue from answers contracts in another form than the rows."""
    manifest = handoff.manifest_of(cfg.init_adapter_dir) if cfg.init_adapter_dir else None
    there = manifest["settings"].get("contract_form", "quotes") if manifest else form
    if there != form:
        raise files.StageError(
            f"{cfg.init_adapter_dir} was trained with data.contract_form={there}, the rows were prepared with {form}; "
            "--set train.init_adapter=null starts from the base model"
        )


def import_unsloth(train: config.TrainConfig, cache: Path) -> Any:
    """The module, imported with this project's settings. Before transformers, trl and peft, which it patches."""
    os.environ |= {
        "UNSLOTH_COMPILE_LOCATION": str(cache / "unsloth"),  # it would otherwise write into the current folder
        # Compiling whole decoder layers takes 5 GiB more in the first step than all others need (docs/results.md)
        "UNSLOTH_BLOCK_COMPILE": "0",
        "UNSLOTH_CE_LOSS_N_CHUNKS": str(math.ceil(train.batch_size * train.max_seq_length / train.loss_chunk_tokens)),
        "UNSLOTH_MOE_LORA_B_LAYOUT": LORA_B_LAYOUT,
        "UNSLOTH_MOE_DEQUANT_CHUNK_EXPERTS": str(train.expert_chunk),
    }
    try:
        import unsloth
    except ImportError as error:
        message = f"Unsloth cannot be imported ({error}). Run: pip install -r requirements-gpu.txt"
        raise files.StageError(message) from error
    return unsloth


def computes_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16. Without them float32 takes twice the memory and far less time: on
    two cores with AVX2 alone a product of stacked experts took 28 times as long in bfloat16."""
    import torch

    return any(has for name, has in torch.cpu.get_capabilities().items() if name.endswith("bf16"))


def load_with_unsloth(cfg: config.Config, offload_layers: int) -> Any:
    """The 4-bit base model with a new LoRA adapter, by Unsloth, on this process's CUDA device.

    Raises StageError if the experts did not come out in 4 bit, which takes 61 GB instead of 16 and fails later.
    """
    unsloth = import_unsloth(cfg.train, cfg.cache_dir)
    import torch

    keep_reentrant_checkpoints()
    train = cfg.train
    model, _ = unsloth.FastLanguageModel.from_pretrained(
        base_model.resolve(train.base_model),
        max_seq_length=train.max_seq_length,
        dtype=torch.bfloat16,
        load_in_4bit=True,
        offload_layers=offload_layers or None,
        offload_embedding=False,
        use_gradient_checkpointing="unsloth",
    )
    for name, parameter in model.named_parameters():
        if ".experts." in name and parameter.dtype != torch.uint8:
            raise files.StageError(f"{name} was loaded as {parameter.dtype} and not in 4 bit; check the versions")
    return unsloth.FastLanguageModel.get_peft_model(
        model,
        **{"target_parameters": [], **lora_arguments(train)},
        lora_dropout=0,
        use_gradient_checkpointing="unsloth",
        random_state=train.seed,
    )


def keep_reentrant_checkpoints() -> None:
    """Let Unsloth checkpoint with several processes as it does with one.

    It changes to the other kind for models with pictures, whose parameters DDP would see twice, and then holds 7 GiB
    more (docs/results.md). Here each parameter is used in one layer, once.
    """
    from unsloth.models import vision

    patch = vision.FastBaseModel.post_patch_model

    def patch_as_one_process(*args: Any, **kwargs: Any) -> Any:
        is_distributed, vision.is_distributed = vision.is_distributed, lambda: False
        try:
            return patch(*args, **kwargs)
        finally:
            vision.is_distributed = is_distributed

    vision.FastBaseModel.post_patch_model = staticmethod(patch_as_one_process)


def check_device(cfg: config.Config) -> None:
    """Raises StageError where the settings ask for a CUDA device and there is none."""
    import torch

    if cfg.train.device != "cuda":
        return
    if not torch.cuda.is_available():
        raise files.StageError("these settings train on a CUDA device, and none was found; --profile cpu needs none")
    name, capability = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
    if capability < (8, 0):
        raise files.StageError(
            f"{name} computes no bfloat16 (compute capability {capability[0]}.{capability[1]}, 8.0 is needed); "
            "a GeForce RTX 3000, RTX A or newer card does"
        )


def usable_memory(gpu_memory: float | None) -> tuple[float, dict[str, memory.Card]]:
    """GiB that training may take, and the known cards this can be: of a card of that size, or of the one here."""
    if gpu_memory is not None:
        return gpu_memory - memory.CONTEXT - memory.LIBRARIES, memory.cards_like(None, gpu_memory)
    import torch

    if not torch.cuda.is_available():
        raise files.StageError("no CUDA device was found; --gpu-memory GIB plans for one that is not here")
    torch.cuda.init()
    free = torch.cuda.mem_get_info()[0] / memory.GIB - memory.LIBRARIES
    return free, memory.cards_like(torch.cuda.get_device_name(), 0)


def plan_memory(cfg: config.Config, gpu_memory: float | None = None) -> tuple[memory.Plan, dict[str, float]]:
    """The plan for this process's CUDA device as it is now, or for a card of that many GiB; and tokens per second.

    The speed is `train.tokens_per_second` where it is set, else estimated for each card that this can be.
    """
    shape = memory.shape_of(cfg.train.base_model)
    free, cards = usable_memory(gpu_memory)
    plan = memory.plan(shape, cfg.train, free)
    if cfg.train.tokens_per_second is not None:
        return plan, {"as measured": cfg.train.tokens_per_second}
    layers = plan.offloaded_layers
    return plan, {
        f"{name}, estimated": memory.tokens_per_second(shape, cfg.train, layers, card) for name, card in cards.items()
    }


def show_plan(cfg: config.Config, gpu_memory: float | None) -> int:
    """Print the plan and what the prepared rows would take. Status 0 if it fits, 2 if not."""
    if not cfg.train.load_in_4bit:
        raise files.StageError("the plan is for 4-bit training of a large model; use it with --profile gpu")
    plan, speeds = plan_memory(cfg, gpu_memory)
    print(f"{cfg.train.base_model}, LoRA on {cfg.train.lora_targets.replace('+', ' and ')}")
    print(plan.table(cfg.train))
    tokens = prepared_tokens(cfg)
    for name, speed in speeds.items():
        hours = f", {tokens * cfg.train.epochs / speed / 3600:.1f} h for the prepared rows" if tokens else ""
        print(f"{name:32}{speed:6.0f}    tokens a second{hours}")
    if not tokens:
        print("no rows are prepared for this profile yet, so there are no hours")
    if plan.fits:
        print("It fits.")
        return 0
    raise files.StageError(memory.refusal(memory.shape_of(cfg.train.base_model), cfg.train, plan))


def prepared_tokens(cfg: config.Config) -> int:
    """Tokens of the training rows on disk, once through; 0 if there are none for this profile."""
    manifest = handoff.manifest_of(cfg.training_dir)
    if manifest is None or manifest["settings"].get("profile") != cfg.profile:
        return 0
    counts = files.read_json(cfg.training_dir / "stats.json")["tokens"]["train"]
    return sum(part["total"] for task in counts.values() for part in task.values())


def tokens_within(cfg: config.Config, speeds: dict[str, float]) -> float | None:
    """How many tokens may be trained on once, for `train.max_hours`. None without such a limit."""
    if cfg.train.max_hours is None:
        return None
    if not speeds:
        raise files.StageError(
            "train.max_hours needs this card's speed, which is not known; --set train.tokens_per_second=... says it"
        )
    return cfg.train.max_hours * 3600 * min(speeds.values()) / cfg.train.epochs


def host_memory() -> float:
    """GiB of host memory that can be taken now."""
    import psutil

    return psutil.virtual_memory().available / memory.GIB


def peak_memory() -> dict[str, float]:
    """The highest memory since the last call, GiB: in tensors, and held by PyTorch."""
    import torch

    peaks = {"allocated": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}
    torch.cuda.reset_peak_memory_stats()
    return {name: round(size / memory.GIB, 3) for name, size in peaks.items()}


def measured_memory(plan: memory.Plan, loading: dict, log: list[dict]) -> dict:
    """Highest memory, GiB, while loading, in the first step, in the later ones, and in all; what libraries took."""
    import torch

    first, *later = [e["peak_gib"] for e in log if "peak_gib" in e]
    found = {"loading": loading, "first_step": first}
    if later:
        found["later_steps"] = {name: max(peaks[name] for peaks in later) for name in first}
    found["peak"] = {name: max(peaks[name] for peaks in found.values()) for name in first}
    left = (torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved()) / memory.GIB
    return found | {"libraries": round(plan.free + memory.LIBRARIES - left, 3)}


# --- training ------------------------------------------------------------------------------------------------


def make_callback(log_path: Path, processes: Any) -> Any:
    """A callback that logs to a JSON Lines file, shows one progress bar, and turns Ctrl-C into a checkpoint.

    With several processes the first one writes and shows; a Ctrl-C that reached any of them stops them all at the
    same step. On a CUDA device each entry has `peak_gib`, this step's highest allocated and reserved memory.
    """
    import torch
    from accelerate.utils import reduce
    from tqdm import tqdm
    from transformers import TrainerCallback

    class Progress(TrainerCallback):
        def __init__(self) -> None:
            self.bar: Any = None
            self.interrupted = False
            self.started = time.monotonic()
            self.tokens_before = 0
            self.loading: dict = {}  # GiB until the first step: loading, and the base model's eval loss
            self.memory: dict = {}

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar = tqdm(
                total=state.max_steps,
                initial=state.global_step,
                desc="training",
                unit="step",
                disable=None if processes.is_main_process else True,
            )
            self.started, self.tokens_before = time.monotonic(), state.num_input_tokens_seen
            if args.device.type == "cuda":
                self.loading = peak_memory()
            self.previous = {s: signal.signal(s, self.interrupt) for s in (signal.SIGINT, signal.SIGTERM)}

        def interrupt(self, *_: Any) -> None:
            if self.interrupted:  # a second Ctrl-C does not wait
                raise KeyboardInterrupt
            self.interrupted = True
            if processes.is_main_process:
                print("\nstopping after this step ...", file=sys.stderr)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.update(state.global_step - self.bar.n)
            if processes.num_processes > 1:
                flag = torch.tensor(float(self.interrupted), device=processes.device)
                self.interrupted = bool(reduce(flag, "sum").item())
            if self.interrupted:
                control.should_save = control.should_training_stop = True
            if args.device.type == "cuda":
                self.memory = peak_memory()

        def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **_: Any) -> None:
            logs = logs or {}
            entry: dict[str, Any] = {"step": state.global_step, "epoch": round(state.epoch or 0, 4)}
            if "loss" in logs:
                seconds, tokens = time.monotonic() - self.started, state.num_input_tokens_seen
                rate = (tokens - self.tokens_before) / seconds if seconds else 0
                entry |= {
                    "loss": logs["loss"],
                    "learning_rate": logs.get("learning_rate"),
                    "aux_loss": logs.get("aux_loss"),
                    "tokens": int(tokens),
                    "seconds": round(seconds, 2),
                    "tokens_per_second": round(rate, 1),
                }
                if self.memory:
                    entry["peak_gib"] = self.memory
                if self.bar is not None:
                    self.bar.set_postfix(loss=f"{float(logs['loss']):.3f}", tokens_per_s=f"{rate:.0f}")
            elif "eval_loss" in logs:
                entry |= {"eval_loss": logs["eval_loss"]}
            else:
                return
            if processes.is_main_process:
                append(log_path, entry)

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            for number, handler in self.previous.items():
                signal.signal(number, handler)
            self.bar.close()

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            processes.wait_for_everyone()  # each of them writes a file of the checkpoint
            if processes.is_main_process:
                checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
                shutil.copy(log_path, checkpoint / log_path.name)
                handoff.write_manifest(checkpoint, stage=STAGE, settings={})

    return Progress()


def processes_of(train: config.TrainConfig) -> Any:
    """accelerate's `PartialState`: one process, unless torchrun or `accelerate launch` started more."""
    from accelerate import PartialState

    return PartialState(cpu=train.device == "cpu")


def accumulation_steps(train: config.TrainConfig) -> int:
    """Per process: together they make the steps of `train.gradient_accumulation_steps`, however many they are."""
    processes = processes_of(train).num_processes
    if train.gradient_accumulation_steps % processes:
        raise files.StageError(
            f"train.gradient_accumulation_steps={train.gradient_accumulation_steps} cannot be shared evenly by "
            f"{processes} processes"
        )
    return train.gradient_accumulation_steps // processes


def make_trainer(cfg: config.Config, model: Any, tokenizer: Any, train_rows: Any, eval_rows: Any, callback: Any) -> Any:
    """TRL's trainer for packed, completion-only supervised fine-tuning."""
    from torch.utils.tensorboard import SummaryWriter
    from transformers import PrinterCallback, ProgressCallback
    from transformers.integrations import TensorBoardCallback
    from trl import SFTConfig, SFTTrainer

    train = cfg.train
    arguments = SFTConfig(
        output_dir=str(cfg.checkpoints_dir),
        per_device_train_batch_size=train.batch_size,
        per_device_eval_batch_size=train.batch_size,
        gradient_accumulation_steps=accumulation_steps(train),
        num_train_epochs=train.epochs,
        max_steps=train.max_steps,
        learning_rate=train.learning_rate,
        warmup_steps=train.warmup_ratio,  # below 1: a share of all steps
        lr_scheduler_type="cosine",
        optim=train.optimizer,
        max_length=train.max_seq_length,
        packing=train.packing,
        completion_only_loss=True,
        router_aux_loss_coef=train.router_aux_loss_coef,
        bf16=train.device == "cuda",
        use_cpu=train.device == "cpu",
        gradient_checkpointing=False,  # Unsloth has its own
        include_num_input_tokens_seen="all",
        logging_steps=1,
        eval_strategy="steps",
        eval_steps=train.eval_steps,
        save_strategy="steps",
        save_steps=train.eval_steps,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        dataloader_pin_memory=train.device == "cuda",
        seed=train.seed,
        report_to="none",
        ddp_find_unused_parameters=False,
        disable_tqdm=True,
    )
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        processing_class=tokenizer,
        train_dataset=train_rows,
        eval_dataset=eval_rows,
        callbacks=[callback],
    )
    if trainer.is_world_process_zero():
        trainer.add_callback(TensorBoardCallback(SummaryWriter(str(cfg.checkpoints_dir / TENSORBOARD))))
    for shown in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(shown)
    return trainer


def log_losses_at_start(trainer: Any, log_path: Path, has_init_adapter: bool) -> None:
    """Before its first step, let the trainer measure the base model, and the adapter that it continues from.

    Within training: an `evaluate` before it would mark the model as prepared, and then it is not made data-parallel.
    """
    from transformers import TrainerCallback

    class LossesAtStart(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step > 0:
                return
            with trainer.model.disable_adapter():
                loss = trainer.evaluate(metric_key_prefix="base")["base_loss"]
            if state.is_world_process_zero:
                append(log_path, {"step": 0, "model": "base", "eval_loss": loss})
            if has_init_adapter:
                trainer.evaluate()

    trainer.callback_handler.callbacks.insert(0, LossesAtStart())


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that is whole: its manifest is its last file. One that was damaged later is named."""
    whole = {}
    for path in folder.glob("checkpoint-*"):
        try:
            manifest = handoff.manifest_of(path)
            damaged = manifest and handoff.damage(path, manifest)
        except files.StageError as error:
            manifest, damaged = None, str(error)
        if damaged:
            print(f"warning: {path} is passed over: {damaged}", file=sys.stderr)
        elif manifest:
            whole[path.name] = files.read_json(path / "trainer_state.json")
    # The best one so far is read again at the end.
    usable = [
        (state["global_step"], name)
        for name, state in whole.items()
        if state.get("best_model_checkpoint") is None or Path(state["best_model_checkpoint"]).name in whole
    ]
    return folder / max(usable)[1] if usable else None


def begin_run(cfg: config.Config, run: dict, args: Any, writes: bool = True) -> Path | None:
    """Prepare the checkpoint folder. Returns the checkpoint to continue from, or None to start at step 0."""
    folder = cfg.checkpoints_dir
    if args.resume:
        checkpoint = newest_checkpoint(folder)
        if checkpoint is None:
            raise files.StageError(f"there is no checkpoint in {folder} to resume from. Run: python train_moe.py")
        if files.read_json(folder / RUN) != files.plain(run):
            raise files.StageError(
                f"the checkpoints in {folder} belong to other rows or settings; without --resume a new run begins"
            )
        if writes:
            remove_later(folder, checkpoint)
        return checkpoint
    if not args.force and belongs_to(folder, run) and (checkpoint := newest_checkpoint(folder)):
        if writes:
            print(f"continuing from {checkpoint.name} of an interrupted run; --force begins anew", file=sys.stderr)
            remove_later(folder, checkpoint)
        return checkpoint
    if not writes:
        return None
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
        files.write_json(folder / RUN, run)
    except OSError as error:
        raise files.StageError(f"cannot write to {folder}: {error.strerror}") from error
    return None


def remove_later(folder: Path, checkpoint: Path) -> None:
    """Remove the checkpoints that were passed over for this one: what writes them anew would read their files."""
    for path in folder.glob("checkpoint-*"):
        if step_of(path) > step_of(checkpoint):
            shutil.rmtree(path)


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def belongs_to(folder: Path, run: dict) -> bool:
    try:
        return files.read_json(folder / RUN) == files.plain(run)
    except files.StageError:
        return False


def append(path: Path, entry: dict) -> None:
    with open(path, "a", encoding="utf-8") as f:
        f.write(json.dumps(entry) + "\n")


def draw_losses(log: list[dict], path: Path) -> None:
    """Training loss by step, eval losses of adapter and base model."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    steps = [e for e in log if "loss" in e]
    axes.plot([e["step"] for e in steps], [e["loss"] for e in steps], alpha=0.5, label="training loss")
    evals = [e for e in log if "eval_loss" in e and e.get("model") != "base"]
    axes.plot([e["step"] for e in evals], [e["eval_loss"] for e in evals], marker="o", label="eval loss")
    for entry in log:
        if entry.get("model") == "base":
            axes.axhline(entry["eval_loss"], linestyle="--", color="gray", label="eval loss of the base model")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("cross-entropy per completion token")
    axes.legend()
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)


def save_adapter(model: Any, tokenizer: Any, folder: Path, base_model: str) -> None:
    """Write the adapter in bfloat16: half the size of the float32 that is trained, and what the base model has."""
    from safetensors.torch import load_file, save_file

    model.save_pretrained(folder)
    config_path = folder / "adapter_config.json"  # PEFT notes the folder of the base model on this machine
    found = {**files.read_json(config_path), "base_model_name_or_path": base_model}
    if found.get("target_parameters"):
        found["lora_B_layout"] = LORA_B_LAYOUT
    for name in ("target_modules", "target_parameters"):  # sets in PEFT, in another order in every process
        if isinstance(found.get(name), list):
            found[name].sort()
    files.write_json(config_path, found)
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise files.StageError("the adapter holds values that are not finite; lower train.learning_rate")
    save_file({name: t.bfloat16().contiguous() for name, t in tensors.items()}, path, metadata={"format": "pt"})
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
    tokenizer.save_pretrained(folder)


def restore_adapter(model: Any, folder: Path) -> None:
    """Put the weights of a saved adapter back into the model's own adapter."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    set_peft_model_state_dict(model, load_file(folder / "adapter_model.safetensors"))


# --- the stage -----------------------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> int:
    p = config.parser(__doc__)
    p.add_argument("--resume", action="store_true", help="continue from the newest checkpoint")
    p.add_argument("--force", action="store_true", help="train again even if nothing changed")
    p.add_argument("--plan", action="store_true", help="say what memory and time it would take, and do nothing")
    p.add_argument("--gpu-memory", type=float, metavar="GIB", help="with --plan: of a card that is not in this machine")
    args, cfg = config.read(p, argv)
    if args.plan:
        return show_plan(cfg, args.gpu_memory)
    again = "" if cfg.profile == "cpu" else f" --profile {cfg.profile}"
    prepare = f"python prepare_training_data.py{again}"
    rows = handoff.require(cfg.training_dir, made_by=prepare)
    for name, value in (("base_model", cfg.train.base_model), ("profile", cfg.profile)):
        if rows["settings"].get(name) != value:
            found = rows["settings"].get(name)
            raise files.StageError(f"{cfg.training_dir} was prepared for {name} {found}. Run: {prepare}")
    form = rows["settings"].get("contract_form", "quotes")
    check_contract_form(cfg, form)
    check_device(cfg)
    if cfg.train.load_in_4bit:
        import_unsloth(cfg.train, cfg.cache_dir)
    processes = processes_of(cfg.train)
    with processes.main_process_first():
        base = ensure_base(cfg)

    inputs = {"rows": rows, **({"base": base} if base else {})}
    settings = {**asdict(cfg.train), "contract_form": form, **({"base": base_settings(cfg.train)} if base else {})}
    if not (args.force or args.resume) and handoff.is_current(
        cfg.adapter_dir, stage=STAGE, settings=settings, inputs=inputs
    ):
        if processes.is_main_process:
            print(f"[3/7] {cfg.adapter_dir} is already there")
        return 0
    with handoff.alone(cfg.checkpoints_dir) if processes.is_main_process else contextlib.nullcontext():
        return train(args, cfg, settings, inputs)


def train(args: Any, cfg: config.Config, settings: dict, inputs: dict[str, dict]) -> int:
    """Train and seal the adapter, alone in the checkpoint folder. Returns the exit status."""
    again = "" if cfg.profile == "cpu" else f" --profile {cfg.profile}"
    processes = processes_of(cfg.train)
    plan, speeds = plan_memory(cfg) if cfg.train.load_in_4bit else (None, {})
    if plan and not plan.fits:
        raise files.StageError(memory.refusal(memory.shape_of(cfg.train.base_model), cfg.train, plan))
    if plan and plan.host * processes.num_processes > host_memory():
        raise files.StageError(
            f"{plan.host * processes.num_processes:.1f} GiB of host memory are needed for {plan.offloaded_layers} "
            f"layers, and {host_memory():.1f} GiB are free"
        )
    max_tokens = tokens_within(cfg, speeds)
    run = {"settings": settings, "inputs": {name: m["fingerprint"] for name, m in inputs.items()}}
    with processes.main_process_first():
        checkpoint = begin_run(cfg, run, args, processes.is_main_process)
    tokenizer = base_model.tokenizer(cfg.train.base_model, cfg.base_dir)
    model = load_model(cfg, plan)
    log_path = cfg.checkpoints_dir / "training_log.jsonl"
    callback = make_callback(log_path, processes)
    train_rows = load_rows(cfg.training_dir / "train.jsonl", tokenizer, max_tokens=max_tokens)
    eval_rows = load_rows(cfg.training_dir / "eval.jsonl", tokenizer, cfg.train.eval_rows)
    trainer = make_trainer(cfg, model, tokenizer, train_rows, eval_rows, callback)
    if checkpoint and processes.is_main_process:
        shutil.copy(checkpoint / log_path.name, log_path)  # without the entries behind the checkpoint
    log_losses_at_start(trainer, log_path, has_init_adapter=cfg.train.init_adapter is not None)
    started = time.monotonic()
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except RuntimeError as error:  # torch.save on a full disk says where in its own code it noticed
        free = files.free_bytes(cfg.checkpoints_dir)
        if free > FULL_DISK:
            raise
        message = f"{cfg.checkpoints_dir} has {free / 1e6:.1f} MB free, and training stopped: {error}".splitlines()[0]
        raise files.StageError(message) from error
    if processes.is_main_process and callback.interrupted:
        print(f"stopped at step {trainer.state.global_step}. Continue with: python train_moe.py --resume{again}")
    if callback.interrupted:
        return 130
    if not processes.is_main_process:
        return 0

    log = list(files.read_jsonl(log_path))
    evals = {e["step"]: e["eval_loss"] for e in log if "eval_loss" in e and e.get("model") != "base"}
    best_step = min(evals, key=evals.get)
    if not math.isfinite(evals[best_step]):
        raise files.StageError("the eval loss is not finite; lower train.learning_rate")
    staging = handoff.begin(cfg.adapter_dir)
    if best_step == 0:  # continued training did not help: what it started from is the best there is
        restore_adapter(trainer.model, cfg.init_adapter_dir)
    save_adapter(trainer.model, tokenizer, staging, cfg.train.base_model)
    files.write_jsonl(staging / "training_log.jsonl", log)
    draw_losses(log, staging / "loss.png")
    if plan:
        files.write_json(
            staging / "memory_plan.json",
            {**plan.as_dict(), "measured_gib": measured_memory(plan, callback.loading, log)},
        )
    base_loss = next(e["eval_loss"] for e in log if e.get("model") == "base")
    result = {
        "steps": trainer.state.global_step,
        "best_step": best_step,
        "eval_loss": evals[best_step],
        "base_eval_loss": base_loss,
        "eval_rows": len(eval_rows),
        "trainable_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        "seconds": round(time.monotonic() - started, 1),
    }
    files.write_json(staging / "training_result.json", result)
    shutil.copytree(cfg.checkpoints_dir / TENSORBOARD, staging / TENSORBOARD)
    handoff.seal(staging, stage=STAGE, settings=settings, inputs=inputs)
    shutil.rmtree(cfg.checkpoints_dir, ignore_errors=True)

    print(f"[3/7] adapter of step {best_step} in {cfg.adapter_dir}")
    print(f"      eval loss {evals[best_step]:.3f}, base model {base_loss:.3f}, on {len(eval_rows)} rows")
    print(f"Next: python export_gguf.py{again}")
    return 0


if __name__ == "__main__":
    stage.run_stage(main)
