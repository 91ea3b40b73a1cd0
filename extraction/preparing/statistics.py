"""What a reader wants to know about the rows before training on them: numbers, and one picture."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from extraction.preparing.sources import Sources
from extraction.tasks import records


def describe(splits: dict[str, list[dict]], sources: Sources, twins: list[dict]) -> dict:
    """What a reader wants to know about the rows before training on them."""
    stats: dict[str, Any] = {"rows": {}, "documents": {}, "tokens": {}, "labels": {}, "injected": {}}
    for split, rows in splits.items():
        by_source = Counter(f"{row['task']}/{row['source']}" for row in rows)
        stats["rows"][split] = {"all": len(rows), **dict(sorted(by_source.items()))}
        stats["documents"][split] = len({row["document"] for row in rows})
        stats["tokens"][split] = {
            task: {
                part: spread([row["tokens"][part] for row in rows if row["task"] == task]) for part in rows[0]["tokens"]
            }
            for task in sorted({row["task"] for row in rows})
        }
        labels: dict[str, Counter] = defaultdict(Counter)
        for row in rows:
            if row["task"] != "question":
                labels[row["task"]].update(labels_of(row) or ["(none)"])
        stats["labels"][split] = {task: dict(found.most_common()) for task, found in sorted(labels.items())}
        changed = Counter(row["task"] for row in rows if "injected" in row)
        stats["injected"][split] = {"all": sum(changed.values()), **dict(sorted(changed.items()))}
    stats["injected"]["left as they were"] = sources.not_injected
    stats["left_out"] = dict(sorted(sources.left_out.items()))
    stats["near_duplicates"] = twins
    return stats


def labels_of(row: dict) -> list[str]:
    """The categories of a contract's clauses, or the paths of a record's fields, each once, in one order."""
    if row["task"] == "contract":
        return list(row["target"]["clauses"])
    return sorted({leaf.field for leaf in records.leaves(row["target"])})


def spread(values: list[int]) -> dict[str, int]:
    ordered = sorted(values)
    median, p95 = (ordered[min(int(share * len(ordered)), len(ordered) - 1)] for share in (0.5, 0.95))
    return {"total": sum(ordered), "min": ordered[0], "median": median, "p95": p95, "max": ordered[-1]}


def draw(splits: dict[str, list[dict]], limit: int, path: Path) -> None:
    """Rows by split and task, token lengths, and the most frequent labels, as one picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(16, 5), layout="constrained")
    names = sorted({row["task"] for rows in splits.values() for row in rows})
    bottom = [0] * len(splits)
    for name in names:
        counts = [sum(row["task"] == name for row in rows) for rows in splits.values()]
        left.bar(list(splits), counts, bottom=bottom, label=name)
        bottom = [b + c for b, c in zip(bottom, counts, strict=True)]
    left.set_title("rows by split and task")
    left.legend()
    lengths = {name: [sum(r["tokens"].values()) for r in splits["train"] if r["task"] == name] for name in names}
    middle.hist(lengths.values(), bins=30, stacked=True, label=lengths.keys())
    middle.axvline(limit, color="black", linestyle="--", label="train.max_seq_length")
    middle.set_title("tokens of a training row, prompt and completion")
    middle.legend()
    labels = Counter()
    for row in splits["train"]:
        if row["task"] in ("contract", "receipt"):
            labels.update(labels_of(row))
    top = labels.most_common(25)[::-1]
    right.barh([name for name, _ in top], [count for _, count in top])
    right.set_title("most frequent labels in train")
    right.tick_params(axis="y", labelsize=7)
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)
