"""Batches of rows of similar length."""

import random

from extraction.training.batches import TokenBatches, collator

LENGTHS = [random.Random(5).randint(10, 900) for _ in range(5000)]


def test_every_row_is_in_one_batch_and_no_batch_is_larger_than_asked():
    batches = list(TokenBatches(LENGTHS, tokens=4096, seed=1))
    assert sorted(row for batch in batches for row in batch) == list(range(len(LENGTHS)))
    padded = [max(LENGTHS[row] for row in batch) * len(batch) for batch in batches]
    assert max(padded) <= 4096
    assert sum(padded) < 1.05 * sum(LENGTHS)  # hardly any padding


def test_a_row_longer_than_a_batch_stands_alone():
    assert [0] in list(TokenBatches([5000, 10, 20], tokens=64, seed=1))


def test_processes_get_equally_many_batches_and_every_row_is_still_there():
    for processes in (2, 3, 4):
        batches = list(TokenBatches(LENGTHS, tokens=4096, seed=1, processes=processes))
        assert len(batches) % processes == 0
        assert {row for batch in batches for row in batch} == set(range(len(LENGTHS)))


def test_an_epoch_is_the_same_for_the_same_seed_and_differs_from_the_next():
    one, same = TokenBatches(LENGTHS, 4096, 1), TokenBatches(LENGTHS, 4096, 1)
    assert list(one) == list(same)
    same.set_epoch(1)
    assert list(one) != list(same)


def test_rows_are_padded_on_the_right_without_a_mask():
    batch = collator(pad_token=0)([{"input_ids": [5, 6, 7], "labels": [-100, 6, 7]}, {"input_ids": [8], "labels": [8]}])
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch["labels"].tolist() == [[-100, 6, 7], [8, -100, -100]]
    assert batch["position_ids"].tolist() == [[0, 1, 2], [0, 1, 2]]
    assert "attention_mask" not in batch
