"""What the datasets gave to stage 2: documents by split, and what was left out of them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

SPLITS = ("train", "eval", "test")


@dataclass
class Sources:
    """What the datasets gave: documents by split, and how many were left out, by reason."""

    documents: dict[str, list[dict]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    left_out: Counter = field(default_factory=Counter)
    not_injected: int = 0  # rows that data.inject left as they were: an instruction would have moved their sentences

    def add(self, split: str, document: dict) -> None:
        self.documents[split].append(document)

    def leave_out(self, source: str, split: str, reason: str, count: int = 1) -> None:
        self.left_out[f"{source}/{split}: {reason}"] += count


def chosen(names: Iterable[str], fraction: float, seed: int) -> set[str]:
    """A share of the names (at least one), the same for the same seed whatever their order."""
    names = sorted(set(names))
    return set(random.Random(seed).sample(names, max(1, round(len(names) * fraction)))) if names else set()
