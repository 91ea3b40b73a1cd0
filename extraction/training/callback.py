"""What happens beside the training steps: the log, a progress bar, Ctrl-C, and the memory that a step took."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from extraction import handoff
from extraction.training import log, memory, watched


def callback(log_path: Path, processes: Any, stage: str) -> Any:
    """The `Progress` of a run as a callback of transformers' trainer."""
    from transformers import TrainerCallback

    return type("ProgressCallback", (Progress, TrainerCallback), {})(log_path, processes, stage)


class Progress:
    """Logs to a JSON Lines file, shows one progress bar, and turns Ctrl-C into a checkpoint.

    With several processes the first one writes and shows; a Ctrl-C that reached any of them stops them all at the
    same step. On a CUDA device each entry has `peak_gib`, this step's highest allocated and reserved memory.
    """

    def __init__(self, log_path: Path, processes: Any, stage: str):
        self.log_path, self.processes, self.stage = log_path, processes, stage
        self.interrupted = False
        self.loading: dict = {}  # GiB until the first step: loading, and the base model's eval loss
        self.memory: dict = {}
        self.left_out = 0  # steps whose gradients were not finite
        self.bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        from tqdm import tqdm

        hidden = None if self.processes.is_main_process else True
        self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc="training", unit="step", disable=hidden)
        self.started, self.tokens_before = time.monotonic(), state.num_input_tokens_seen
        if args.device.type == "cuda":
            self.loading = memory.peak()
        self.previous = {s: signal.signal(s, self.interrupt) for s in (signal.SIGINT, signal.SIGTERM)}

    def interrupt(self, *_: Any) -> None:
        if self.interrupted:  # a second Ctrl-C does not wait
            raise KeyboardInterrupt
        self.interrupted = True
        if self.processes.is_main_process:
            print("\nstopping after this step ...", file=sys.stderr)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar.update(state.global_step - self.bar.n)
        self.interrupted = self.interrupted_anywhere()
        if self.interrupted:
            control.should_save = control.should_training_stop = True
        if args.device.type == "cuda":
            self.memory = memory.peak()

    def interrupted_anywhere(self) -> bool:
        if self.processes.num_processes == 1:
            return self.interrupted
        import torch
        from accelerate.utils import reduce

        flag = torch.tensor(float(self.interrupted), device=self.processes.device)
        return bool(reduce(flag, "sum").item())

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Leave out a step whose gradients are not finite: one of them makes every weight NaN."""
        import torch

        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        if not torch.stack(torch._foreach_norm(gradients)).isfinite().all():
            self.left_out += 1
            for parameter in model.parameters():
                parameter.grad = None

    def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **_: Any) -> None:
        logs = logs or {}
        entry: dict[str, Any] = {"step": state.global_step, "epoch": round(state.epoch or 0, 4)}
        if "loss" in logs:
            entry |= self.step_entry(logs, state)
        elif "eval_loss" in logs:
            entry |= {name: logs[name] for name in ("eval_loss", *watched.LOSSES) if name in logs}
        else:
            return
        if self.processes.is_main_process:
            log.append(self.log_path, entry)

    def step_entry(self, logs: dict, state: Any) -> dict:
        """What the log says of a step; its loss and speed go to the progress bar too."""
        seconds, tokens = time.monotonic() - self.started, state.num_input_tokens_seen
        rate = (tokens - self.tokens_before) / seconds if seconds else 0
        if self.bar is not None:
            self.bar.set_postfix(loss=f"{float(logs['loss']):.3f}", tokens_per_s=f"{rate:.0f}")
        return {
            "loss": logs["loss"],
            "learning_rate": logs.get("learning_rate"),
            "aux_loss": logs.get("aux_loss"),
            "tokens": int(tokens),
            "seconds": round(seconds, 2),
            "tokens_per_second": round(rate, 1),
            **({"peak_gib": self.memory} if self.memory else {}),
            **({"left_out": self.left_out} if self.left_out else {}),
        }

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.processes.wait_for_everyone()  # each of them writes a file of the checkpoint
        if self.processes.is_main_process:
            checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            shutil.copy(self.log_path, checkpoint / self.log_path.name)
            handoff.write_manifest(checkpoint, stage=self.stage, settings={})

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.bar.close()


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
                log.append(log_path, {"step": 0, "model": "base", "eval_loss": loss})
            if has_init_adapter:
                trainer.evaluate()

    trainer.callback_handler.callbacks.insert(0, LossesAtStart())
