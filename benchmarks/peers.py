"""Other programs that train Qwen3-30B-A3B in 4 bit, measured like train_moe.py; benchmarks/training.py starts this.

    unsloth-notebook     Unsloth as its notebooks use it: all layers on the card, LoRA as the row says, no packing
    unsloth-auto         the same with offload_layers="auto", which is what its own message advises for a small card
    experts4bit-qlora    experts in host memory, adapters in bfloat16, its own training loop

Prints one line of JSON: memory in GiB and speed. The rows and the number of tokens in a step are train_moe.py's.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import config  # noqa: E402
import train_moe  # noqa: E402
from benchmarks.training import TOKENS_PER_STEP, speed_of  # noqa: E402
from extraction import models  # noqa: E402


def unsloth(cfg: config.Config, steps: int, offload: str | None) -> dict:
    """Load, attach and train by Unsloth's own defaults. Rows are not packed, as in its notebooks."""
    os.environ["UNSLOTH_DISABLE_STATISTICS"] = "1"
    from unsloth import FastLanguageModel  # isort: skip
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    train, marks, peaks = cfg.train, [], []
    model, tokenizer = FastLanguageModel.from_pretrained(
        train.base_model, max_seq_length=train.max_seq_length, load_in_4bit=True, offload_layers=offload
    )
    loading = train_moe.peak_memory()
    projections = ["gate_proj", "up_proj", "down_proj"] if train.lora_targets == "attention+experts" else []
    model = FastLanguageModel.get_peft_model(
        model,
        r=train.lora_rank,
        lora_alpha=train.lora_alpha,
        target_modules=train_moe.ATTENTION + projections,
        use_gradient_checkpointing="unsloth",
    )

    class Marks(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.started = time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            marks.append((state.num_input_tokens_seen, time.monotonic() - self.started))
            peaks.append(train_moe.peak_memory())

    arguments = SFTConfig(
        output_dir=str(cfg.checkpoints_dir),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=8,
        max_steps=steps,
        max_length=train.max_seq_length,
        learning_rate=train.learning_rate,
        optim=train.optimizer,
        include_num_input_tokens_seen="all",
        save_strategy="no",
        report_to="none",
    )
    rows = train_moe.load_rows(cfg.training_dir / "train.jsonl", models.tokenizer(train.base_model, cfg.base_dir))
    trainer = SFTTrainer(
        model=model, processing_class=tokenizer, args=arguments, train_dataset=rows, callbacks=[Marks()]
    )
    trainer.train()
    return {"measured_gib": highest([loading, *peaks]), **speed_of(marks)}


def experts4bit(cfg: config.Config, steps: int) -> dict:
    """Its documented way for a small card: experts page-locked on the host, its QLoRA setup, its loop over batches."""
    os.environ |= {"OFFLOAD_EXPERTS": "1", "E4B_TRAIN_FUSE_QKV": "0"}
    os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    import bitsandbytes
    import torch
    from experts4bit_qlora import QLoRASetup, prepare_qlora_training

    train = cfg.train
    setup = QLoRASetup(
        r=train.expert_lora_rank or train.lora_rank,
        alpha=train.lora_alpha,
        adapter_dtype="bf16",
        attn_4bit=True,
        expert_residency="host",
        expert_kernel="grouped_nf4",
    )
    prepared = prepare_qlora_training(train.base_model, setup)
    model, parameters = prepared.model, prepared.trainable
    peaks, marks = [train_moe.peak_memory()], []
    optimizer = bitsandbytes.optim.AdamW8bit(parameters, lr=train.learning_rate)
    tokenizer = models.tokenizer(train.base_model, cfg.base_dir)
    ids = [
        token for row in train_moe.load_rows(cfg.training_dir / "train.jsonl", tokenizer)["input_ids"] for token in row
    ]
    length, seen, started = train.max_seq_length, 0, time.monotonic()
    model.train()
    for _ in range(steps):
        for _ in range(TOKENS_PER_STEP // length):
            place = seen % (len(ids) - length)
            batch = torch.tensor([ids[place : place + length]], device="cuda")
            loss = model(input_ids=batch, labels=batch).loss
            (loss * length / TOKENS_PER_STEP).backward()
            seen += length
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        marks.append((seen, time.monotonic() - started))
        peaks.append(train_moe.peak_memory())
    return {"measured_gib": highest(peaks), **speed_of(marks)}


def highest(peaks: list[dict]) -> dict:
    return {"peak": {name: max(peak[name] for peak in peaks) for name in peaks[0]}}


PEERS: dict[str, Callable[[config.Config, int], dict]] = {
    "unsloth-notebook": lambda cfg, steps: unsloth(cfg, steps, None),
    "unsloth-auto": lambda cfg, steps: unsloth(cfg, steps, "auto"),
    "experts4bit-qlora": experts4bit,
}

if __name__ == "__main__":
    name, steps, *arguments = sys.argv[1:]
    resolved = config.read(config.parser(__doc__), ["--profile", "gpu", *arguments])[1]
    print(json.dumps(PEERS[name](resolved, int(steps))))
