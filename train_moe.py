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
import functools
import math
import os
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import config
from extraction import files, handoff, stage
from extraction.models import base_file, base_model, upcycle
from extraction.models.rows import OWN, encode_row, take_turns
from extraction.tasks import own_types, schemas
from extraction.training import (
    adapter,
    batches,
    callback,
    checkpoints,
    distilled,
    expert_lora,
    log,
    memory,
    unsloth_model,
    watched,
)

STAGE = "train_moe"
LOG = "training_log.jsonl"  # in the checkpoint and in the adapter folder
EXPERTS = "trained_experts.json"  # beside the checkpoints, where only some experts of each layer are trained
TENSORBOARD = "tensorboard"  # folder of its event files, in the checkpoint and in the adapter folder
FULL_DISK = 20e6  # bytes; a checkpoint that could not be written leaves less than its own size


# --- the base model and the rows -----------------------------------------------------------------------------


def base_settings(train: config.TrainConfig) -> dict:
    """What a base model that is built here depends on; adapters only fit a base that was built from the same."""
    return {
        "source": base_file.SHA256,
        "experts": train.experts,
        "experts_per_token": train.experts_per_token,
        "router_seed": upcycle.ROUTER_SEED,
        "shared_width": train.shared_width,
        "router_std": upcycle.ROUTER_STD,
    }


def ensure_base(cfg: config.Config) -> dict | None:
    """The manifest of the base model that this project builds; None where the profile uses a published one."""
    if cfg.train.base_model != base_model.BUILT:
        return None
    settings = base_settings(cfg.train)
    if handoff.is_current(cfg.base_dir, stage=STAGE, settings=settings):
        return handoff.require(cfg.base_dir, made_by="python train_moe.py")
    print(f"building the base model {cfg.train.base_model} with {cfg.train.experts} experts", file=sys.stderr)
    staging = handoff.begin(cfg.base_dir)
    sizes = {name: getattr(cfg.train, name) for name in ("experts", "experts_per_token", "shared_width")}
    built = base_model.build(staging, cfg.cache_dir, **sizes)
    files.write_json(staging / "parity.json", built)
    manifest = handoff.seal(staging, stage=STAGE, settings=settings)
    print(f"[3/7] base model with {built['parameters'] / 1e6:.0f} M parameters in {cfg.base_dir}; "
          f"largest logit difference to the dense model {built['max_logit_difference']:.1e}")  # fmt: skip
    return manifest


def load_rows(path: Path, tokenizer: Any, longest: int, tokens: float = math.inf) -> Any:
    """The rows to train on as a dataset. With a limit of tokens, tasks take turns until it is reached."""
    rows = list(files.read_jsonl(path))
    return encode(path, take_turns(rows) if tokens < math.inf else rows, tokenizer, longest, tokens)


def load_watched(path: Path, tokenizer: Any, longest: int, limit: int | None = None) -> dict[str, Any]:
    """The rows that are watched, at most `limit` of them, as a dataset of own ones and one of public ones."""
    groups = watched.by_group(list(files.read_jsonl(path)), limit)
    return {name: encode(path, rows, tokenizer, longest) for name, rows in groups.items()}


def load_public(path: Path, tokenizer: Any, longest: int) -> Any:
    """The rows to train on that are not of own documents, as a dataset."""
    return encode(
        path, [row for row in files.read_jsonl(path) if not row["source"].startswith(OWN)], tokenizer, longest
    )


def encode(path: Path, rows: list[dict], tokenizer: Any, longest: int, tokens: float = math.inf) -> Any:
    """The first rows, up to so many tokens, as a `datasets.Dataset` with `input_ids` and `completion_mask`.

    Raises StageError if a row has more than `longest` tokens, since training would cut the end of its answer.
    """
    from datasets import Dataset

    encoded, lengths, total = [], [], 0
    for row in rows:
        prompt, answer = encode_row(tokenizer, row)
        total += len(prompt) + len(answer)
        if total > tokens and encoded:
            break
        encoded.append({"input_ids": prompt + answer, "completion_mask": [0] * len(prompt) + [1] * len(answer)})
        lengths.append(len(prompt) + len(answer))
    if too_long := sum(length > longest for length in lengths):
        raise files.StageError(
            f"{path} holds {too_long} rows of more than train.max_seq_length={longest} tokens, up to {max(lengths)}: "
            "the end of their answers would be cut. Prepare the rows again with this setting, or use a larger one"
        )
    return Dataset.from_list(encoded)


# --- the model -----------------------------------------------------------------------------------------------


def load_model(cfg: config.Config, plan: memory.Plan | None = None, rows: Any = None) -> Any:
    """Base model plus trainable adapter, on the profile's device. Raises StageError if the adapter does not fit.

    With `train.experts_share` below 1, which experts are trained is found in the rows.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    base_model.quiet()
    built = cfg.train.base_model == base_model.BUILT
    source = cfg.base_dir if built else base_model.resolve(cfg.train.base_model)
    model_type = AutoConfig.from_pretrained(source).model_type
    adapter.check_family(model_type, str(source))
    start = cfg.init_adapter_dir
    if start is not None:
        adapter.check_start(start, cfg.train, base_settings(cfg.train) if built else None, model_type)
    choose = functools.partial(chosen_experts, cfg, rows)
    if cfg.train.load_in_4bit:
        model = unsloth_model.load(cfg.train, plan.offloaded_layers, cfg.cache_dir, choose)
        if start is not None:
            adapter.restore(model, start)
        return model
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model

    torch.manual_seed(cfg.train.seed)
    if cfg.train.device == "cuda" or computes_bfloat16():
        model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16).to(cfg.train.device)
    else:  # as it is first: loading it in float32 takes half as much memory again
        model = AutoModelForCausalLM.from_pretrained(source, dtype="auto").float()
    if start is None or cfg.train.experts_share < 1:
        model = adapter.added(
            model,
            cfg.train,
            choose,
            lambda base, **more: get_peft_model(base, LoraConfig(**more, task_type="CAUSAL_LM")),
        )
        if start is not None:
            adapter.restore(model, start)
    else:
        model = PeftModel.from_pretrained(model, start, is_trainable=True)
        # where the base model is on this machine, or PEFT would ask the hub about it at every checkpoint
        model.peft_config["default"].base_model_name_or_path = str(source)
    if cfg.train.device == "cuda":  # autocast computes in bfloat16; in it the steps would be lost in the rounding
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    return model


def chosen_experts(cfg: config.Config, rows: Any, model: Any) -> list[list[int]]:
    """The experts of each layer that are trained: those of the adapter or checkpoint that training continues from, or
    those that the rows use most. The first process finds them for all."""
    if cfg.init_adapter_dir is not None:
        return files.read_json(cfg.init_adapter_dir / "adapter_config.json")[expert_lora.NOTE]
    path = cfg.checkpoints_dir / EXPERTS
    with processes_of(cfg.train).main_process_first():
        if not path.is_file():
            files.write_json(path, expert_lora.choose(model, rows, cfg.train))
        return files.read_json(path)


def computes_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16. Without them float32 takes twice the memory and far less time: on
    two cores with AVX2 alone a product of stacked experts took 28 times as long in bfloat16."""
    import torch

    return any(has for name, has in torch.cpu.get_capabilities().items() if name.endswith("bf16"))


def check_device(cfg: config.Config) -> None:
    """Raises StageError where the settings ask for a CUDA device and there is none."""
    # Rows of any length would otherwise leave gaps in memory that no later one fits into
    os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
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


def tokens_within(cfg: config.Config, speeds: dict[str, float]) -> float:
    """How many tokens may be trained on once, for `train.max_hours`; infinite without such a limit."""
    if cfg.train.max_hours is None:
        return math.inf
    if not speeds:
        raise files.StageError(
            "train.max_hours needs this card's speed: give it with --set train.tokens_per_second=..."
        )
    return cfg.train.max_hours * 3600 * min(speeds.values()) / cfg.train.epochs


# --- training ------------------------------------------------------------------------------------------------


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


def epochs_of(train: config.TrainConfig, rows: Any) -> float:
    """The epochs of the settings, or as many as give `train.min_steps`."""
    lengths, most = [len(ids) for ids in rows["input_ids"]], train.max_seq_length * train.batch_size
    count = math.ceil(sum(lengths) / most) if train.packing else len(batches.TokenBatches(lengths, most, train.seed))
    return max(train.epochs, train.min_steps * train.gradient_accumulation_steps / count)


def arguments_of(cfg: config.Config, model: Any, train_rows: Any, keeps_last: bool) -> Any:
    """TRL's settings: packed or batched rows, loss on the completions alone."""
    from trl import SFTConfig

    train = cfg.train
    return SFTConfig(
        output_dir=str(cfg.checkpoints_dir),
        per_device_train_batch_size=train.batch_size,
        per_device_eval_batch_size=train.batch_size,
        gradient_accumulation_steps=accumulation_steps(train),
        num_train_epochs=epochs_of(train, train_rows),
        max_steps=train.max_steps,
        learning_rate=train.learning_rate,
        warmup_steps=train.warmup_ratio,  # below 1: a share of all steps
        lr_scheduler_type="cosine",
        optim=train.optimizer,
        max_length=train.max_seq_length,
        loss_type="nll" if train.load_in_4bit else "chunked_nll",  # logits of the completions alone, 256 at a time
        packing=train.packing,
        completion_only_loss=True,
        router_aux_loss_coef=0.0 if model.config.model_type in adapter.DENSE else train.router_aux_loss_coef,
        bf16=train.device == "cuda",
        use_cpu=train.device == "cpu",
        gradient_checkpointing=train.device == "cpu",  # half the memory; Unsloth has its own
        include_num_input_tokens_seen="all",
        logging_steps=1,
        eval_strategy="steps",
        eval_steps=train.eval_steps,
        save_strategy="steps",
        save_steps=train.eval_steps,
        save_total_limit=2,
        load_best_model_at_end=not keeps_last,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        dataloader_pin_memory=train.device == "cuda",
        seed=train.seed,
        report_to="none",
        ddp_find_unused_parameters=False,
        disable_tqdm=True,
    )


def make_trainer(
    cfg: config.Config,
    model: Any,
    tokenizer: Any,
    train_rows: Any,
    eval_rows: dict[str, Any],
    progress: Any,
    last: bool,
) -> Any:
    """TRL's trainer. At its end the model is that of the lowest eval loss, or with `last` that of the last step."""
    from torch.utils.tensorboard import SummaryWriter
    from transformers import PrinterCallback, ProgressCallback
    from transformers.integrations import TensorBoardCallback
    from trl import SFTTrainer

    train = cfg.train
    packed = train.packing
    make = SFTTrainer if packed else batches.trainer_class(train.batch_size * train.max_seq_length, train.seed)
    if train.distill:
        make = distilled.trainer_class(make)
    if len(eval_rows) > 1:
        make = watched.trainer_class(make)
    trainer = make(
        model=model,
        data_collator=None if packed else batches.collator(tokenizer.pad_token_id),
        args=arguments_of(cfg, model, train_rows, last),
        processing_class=tokenizer,
        train_dataset=train_rows,
        eval_dataset=eval_rows if len(eval_rows) > 1 else next(iter(eval_rows.values())),
        callbacks=[progress],
    )
    if trainer.is_world_process_zero():
        trainer.add_callback(TensorBoardCallback(SummaryWriter(str(cfg.checkpoints_dir / TENSORBOARD))))
    for shown in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(shown)
    return trainer


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
    rows = prepared_rows(cfg)
    schemas.check_form(rows, cfg.training_dir, cfg.command("prepare_training_data"))
    if found := handoff.manifest_of(cfg.init_adapter_dir) if cfg.init_adapter_dir else None:
        schemas.check_form(found, cfg.init_adapter_dir, cfg.command("train_moe", "--set train.init_adapter=null"))
    check_device(cfg)
    if cfg.train.load_in_4bit:
        unsloth_model.prepare(cfg.train, cfg.cache_dir)
    processes = processes_of(cfg.train)
    with processes.main_process_first():
        base = ensure_base(cfg)

    inputs = {"rows": rows, **({"base": base} if base else {})}
    settings = {
        **asdict(cfg.train),
        "contract_form": schemas.CONTRACT_FORM,
        **({"base": base_settings(cfg.train)} if base else {}),
    }
    if not (args.force or args.resume) and handoff.is_current(
        cfg.adapter_dir, stage=STAGE, settings=settings, inputs=inputs
    ):
        if processes.is_main_process:
            print(f"[3/7] {cfg.adapter_dir} is already there")
        return 0
    with handoff.alone(cfg.checkpoints_dir) if processes.is_main_process else contextlib.nullcontext():
        return train(args, cfg, settings, inputs)


def prepared_rows(cfg: config.Config) -> dict:
    """The manifest of the rows. Raises StageError if they are missing or were prepared for other settings."""
    prepare = cfg.command("prepare_training_data")
    rows = handoff.require(cfg.training_dir, made_by=prepare)
    for name, value in (("base_model", cfg.train.base_model), ("profile", cfg.profile)):
        there = rows["settings"].get(name)
        if there != value:
            raise files.StageError(f"{cfg.training_dir} was prepared for {name} {there}. Run: {prepare}")
    return rows


def train(args: Any, cfg: config.Config, settings: dict, inputs: dict[str, dict]) -> int:
    """Train and seal the adapter, alone in the checkpoint folder. Returns the exit status."""
    processes = processes_of(cfg.train)
    plan, speeds = plan_memory(cfg) if cfg.train.load_in_4bit else (None, {})
    check_plan(cfg, plan, processes)
    run = {"settings": settings, "inputs": {name: m["fingerprint"] for name, m in inputs.items()}}
    with processes.main_process_first():
        checkpoint = checkpoints.begin(
            cfg.checkpoints_dir, run, resume=args.resume, force=args.force, writes=processes.is_main_process
        )
    tokenizer = base_model.tokenizer(cfg.train.base_model, cfg.base_dir)
    longest = cfg.train.max_seq_length
    train_rows = load_rows(cfg.training_dir / "train.jsonl", tokenizer, longest, tokens=tokens_within(cfg, speeds))
    eval_rows = load_watched(cfg.training_dir / "eval.jsonl", tokenizer, longest, cfg.train.eval_rows)
    last = watched.keeps_last(files.read_jsonl(cfg.training_dir / "train.jsonl"), eval_rows)
    model = load_model(cfg, plan, train_rows)
    log_path = cfg.checkpoints_dir / LOG
    progress = callback.callback(log_path, processes, STAGE)
    trainer = make_trainer(cfg, model, tokenizer, train_rows, eval_rows, progress, last)
    if checkpoint and processes.is_main_process:
        shutil.copy(checkpoint / LOG, log_path)  # without the entries behind the checkpoint
    callback.log_losses_at_start(trainer, log_path, has_init_adapter=cfg.train.init_adapter is not None)
    if cfg.train.distill and cfg.init_adapter_dir:
        public = load_public(cfg.training_dir / "train.jsonl", tokenizer, longest)
        trainer.targets = distilled.targets(model, public, cfg.train.device)
    started = time.monotonic()
    run_trainer(trainer, checkpoint, cfg.checkpoints_dir)
    if progress.interrupted:
        if processes.is_main_process:
            print(f"stopped at step {trainer.state.global_step}. Continue with: {cfg.command('train_moe', '--resume')}")
        return 130
    averaged = {}
    if cfg.train.start_weight and cfg.init_adapter_dir:
        adapter.average(trainer.model, cfg.init_adapter_dir, cfg.train.start_weight)
        averaged = {"eval_loss": trainer.evaluate(metric_key_prefix="mean")["mean_loss"]}  # not logged as a step
    if not processes.is_main_process:
        return 0
    rows = {"eval_rows": sum(map(len, eval_rows.values())), "keeps_last": last}
    result = {**rows, **averaged, "seconds": round(time.monotonic() - started, 1)}
    result = seal_adapter(cfg, trainer, result, plan, progress, settings, inputs)
    print(f"[3/7] adapter of step {result['best_step']} in {cfg.adapter_dir}")
    print(f"      eval loss {result['eval_loss']:.3f}, base model {result['base_eval_loss']:.3f}, "
          f"on {result['eval_rows']} rows")  # fmt: skip
    print(f"Next: {cfg.command('export_gguf')}")
    return 0


def check_plan(cfg: config.Config, plan: memory.Plan | None, processes: Any) -> None:
    """Raises StageError if the plan does not fit the card, or its layers in host memory do not fit there."""
    if plan is None:
        return
    if not plan.fits:
        raise files.StageError(memory.refusal(memory.shape_of(cfg.train.base_model), cfg.train, plan))
    needed, free = plan.host * processes.num_processes, memory.host_free()
    if needed > free:
        raise files.StageError(
            f"{plan.offloaded_layers} layers need {needed:.1f} GiB of host memory, and {free:.1f} GiB are free"
        )


def run_trainer(trainer: Any, checkpoint: Path | None, folder: Path) -> None:
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except RuntimeError as error:  # torch.save on a full disk says where in its own code it noticed
        free = files.free_bytes(folder)
        if free > FULL_DISK:
            raise
        message = f"{folder} has {free / 1e6:.1f} MB free, and training stopped: {error}".splitlines()[0]
        raise files.StageError(message) from error


def seal_adapter(
    cfg: config.Config,
    trainer: Any,
    result: dict,
    plan: memory.Plan | None,
    progress: callback.Progress,
    settings: dict,
    inputs: dict,
) -> dict:
    """Write the adapter of the step that is kept with its log, and seal it. Returns `training_result.json`."""
    entries = list(files.read_jsonl(cfg.checkpoints_dir / LOG))
    evals = log.eval_losses(entries)
    best_step = max(evals) if result["keeps_last"] else min(evals, key=evals.get)
    if not math.isfinite(evals[best_step]):
        raise files.StageError("the eval loss is not finite; lower train.learning_rate")
    staging = handoff.begin(cfg.adapter_dir)
    if best_step == 0:  # continued training did not help: what it started from is the best there is
        adapter.restore(trainer.model, cfg.init_adapter_dir)
        result["eval_loss"] = evals[0]
    adapter.save(trainer.model, trainer.processing_class, staging, cfg.train.base_model)
    files.write_jsonl(staging / LOG, entries)
    log.draw_losses(entries, staging / "loss.png")
    own_types.save(staging, cfg.init_adapter_dir, cfg.training_dir)
    if plan:
        measured = memory.measured(plan, progress.loading, entries)
        files.write_json(staging / "memory_plan.json", {**plan.as_dict(), "measured_gib": measured})
    result |= {
        "steps": trainer.state.global_step,
        "best_step": best_step,
        "eval_loss": result.get("eval_loss", evals[best_step]),
        "base_eval_loss": log.base_loss(entries),
        "trainable_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
    }
    files.write_json(staging / "training_result.json", result)
    shutil.copytree(cfg.checkpoints_dir / TENSORBOARD, staging / TENSORBOARD)
    handoff.seal(staging, stage=STAGE, settings=settings, inputs=inputs)
    shutil.rmtree(cfg.checkpoints_dir, ignore_errors=True)
    return result


if __name__ == "__main__":
    stage.run_stage(main)
