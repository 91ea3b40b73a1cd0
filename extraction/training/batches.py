"""Batches of rows of similar length, for devices where that is faster than packing several rows into one sequence.

A packed sequence, like a padded one with its mask, makes PyTorch's attention take a mask as large as the square of its
length. Rows that are padded on the right need none: attention is causal, and no token looks to its right. On an H200
that was 1.7 times as fast, and with the mask the loss was lost (NaN) after some hundred steps.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

WINDOW = 2048  # rows that are sorted by length together, so that an epoch's batches still differ from the one before


class TokenBatches:
    """Batches of row numbers, none of more than `tokens` with its padding, in another order in every epoch.

    Their number is a multiple of `processes`, which take turns: a few batches come twice so that none has to wait.
    """

    def __init__(self, lengths: Sequence[int], tokens: int, seed: int, processes: int = 1):
        self.lengths, self.tokens, self.seed, self.processes = lengths, tokens, seed, processes
        self.epoch = 0
        self.batches = self._batches()

    def set_epoch(self, epoch: int) -> None:
        self.epoch, self.batches = epoch, None
        self.batches = self._batches()

    @property
    def sampler(self) -> TokenBatches:
        """Where accelerate looks for `set_epoch` when several processes share the batches."""
        return self

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def _batches(self) -> list[list[int]]:
        draw = random.Random(f"{self.seed}/{self.epoch}")
        order = draw.sample(range(len(self.lengths)), len(self.lengths))
        batches = []
        for start in range(0, len(order), WINDOW):
            batch: list[int] = []
            for row in sorted(order[start : start + WINDOW], key=self.lengths.__getitem__):
                if batch and self.lengths[row] * (len(batch) + 1) > self.tokens:
                    batches.append(batch)
                    batch = []
                batch.append(row)
            batches.append(batch)
        draw.shuffle(batches)
        return batches + batches[: -len(batches) % self.processes]


def trainer_class(tokens: int, seed: int) -> Any:
    """SFTTrainer with such batches for training, of at most so many tokens each."""
    import torch
    from trl import SFTTrainer

    class Trainer(SFTTrainer):
        def get_train_dataloader(self) -> Any:
            rows = self._remove_unused_columns(self.train_dataset, description="training")
            lengths = [len(ids) for ids in rows["input_ids"]]
            sampler = TokenBatches(lengths, tokens, seed, self.accelerator.num_processes)
            loader = torch.utils.data.DataLoader(rows, batch_sampler=sampler, collate_fn=self.data_collator)
            self.accelerator.even_batches, usual = False, self.accelerator.even_batches  # they are so already
            try:
                return self.accelerator.prepare(loader)
            finally:
                self.accelerator.even_batches = usual

    return Trainer


def collator(pad_token: int) -> Any:
    """Pads on the right and leaves the attention mask out."""
    import torch
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    class PadRight(DataCollatorForLanguageModeling):
        def torch_call(self, examples: list[dict]) -> dict:
            batch = super().torch_call(examples)
            del batch["attention_mask"]
            rows, width = batch["input_ids"].shape
            batch["position_ids"] = torch.arange(width).expand(rows, width).contiguous()
            return batch

    return PadRight(pad_token_id=pad_token)
