"""The training log: a JSON Lines file with an entry for each step and each evaluation, and its picture."""

from __future__ import annotations

import json
from pathlib import Path


def append(path: Path, entry: dict) -> None:
    with open(path, "a", encoding="utf-8") as f:
        f.write(json.dumps(entry) + "\n")


def eval_losses(log: list[dict]) -> dict[int, float]:
    """The adapter's eval loss by step."""
    return {e["step"]: e["eval_loss"] for e in log if "eval_loss" in e and e.get("model") != "base"}


def base_loss(log: list[dict]) -> float:
    return next(e["eval_loss"] for e in log if e.get("model") == "base")


def draw_losses(log: list[dict], path: Path) -> None:
    """Training loss by step, eval losses of adapter and base model."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    steps = {e["step"]: e["loss"] for e in log if "loss" in e}
    axes.plot(steps.keys(), steps.values(), alpha=0.5, label="training loss")
    evals = eval_losses(log)
    axes.plot(evals.keys(), evals.values(), marker="o", label="eval loss")
    axes.axhline(base_loss(log), linestyle="--", color="gray", label="eval loss of the base model")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("cross-entropy per completion token")
    axes.legend()
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)
