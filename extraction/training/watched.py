"""Which step's adapter is kept. Own documents and public rows count the same, however many rows of each are watched.

Public rows are many, and what is known already only gets worse on them: by the mean over all rows, the step kept would
mostly be the one that learned nothing of a few own documents.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable
from typing import Any

from extraction.models.rows import OWN, in_turn, take_turns

GROUPS = ("own", "public")
LOSSES = ("eval_own_loss", "eval_public_loss")  # in the log


def by_group(rows: list[dict], limit: int | None = None) -> dict[str, list[dict]]:
    """The eval rows of own documents, and the public ones. Of a limit each has half, its tasks in turn."""
    own = [row for row in rows if row["source"].startswith(OWN)]
    public = [row for row in rows if not row["source"].startswith(OWN)]
    kept = in_turn([take_turns(own), take_turns(public)])[:limit]
    groups = ([row for row in kept if row["source"].startswith(OWN) == is_own] for is_own in (True, False))
    return {name: group for name, group in zip(GROUPS, groups, strict=True) if group}


def keeps_last(train: Iterable[dict], watched: Container[str]) -> bool:
    """Whether the last step is kept: own documents are learned, and there are too few to watch one of them."""
    return "own" not in watched and any(row["source"].startswith(OWN) for row in train)


def trainer_class(make: Any) -> Any:
    """The trainer for several groups of eval rows. Its eval loss is the geometric mean of theirs: if one rises as many
    times as the other falls, it stays."""

    class Trainer(make):
        def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> dict:
            found = super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)
            if eval_dataset is None:  # all of them; it calls itself for each
                names = [f"{metric_key_prefix}_{name}_loss" for name in self.eval_dataset]
                found[f"{metric_key_prefix}_loss"] = math.prod(found[name] for name in names) ** (1 / len(names))
                self.log({name: found[name] for name in (f"{metric_key_prefix}_loss", *names)})
            return found

    return Trainer
