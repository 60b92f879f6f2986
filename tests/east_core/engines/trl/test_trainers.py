from types import SimpleNamespace

import pytest
import torch

from east_core.engines.trl.trainers import (
    GlobalBatchSampler,
    StepSums,
    WeightedCollator,
    refuse_packing,
)
from east_core.errors import ConfigError


def batches(sampler):
    rows = list(sampler)
    size = sampler.batch_size
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def test_every_epoch_sees_every_example_once_in_another_order():
    sampler = GlobalBatchSampler(examples=8, batch_size=4, epochs=2.0, seed=5)
    first, second = list(sampler)[:8], list(sampler)[8:]
    assert sorted(first) == sorted(second) == list(range(8))
    assert first != second


def test_an_epochs_last_batch_is_completed_with_the_filler_row():
    sampler = GlobalBatchSampler(examples=5, batch_size=4, epochs=2.0, seed=5)
    whole, ragged = batches(sampler)[:2]
    assert sorted(whole + ragged[:1]) == list(range(5))
    assert ragged[1:] == [5, 5, 5]
    assert (sampler.steps, len(sampler)) == (4, 16)


def test_half_an_epoch_is_half_the_steps():
    assert GlobalBatchSampler(examples=16, batch_size=4, epochs=0.5, seed=0).steps == 2
    assert GlobalBatchSampler(examples=12, batch_size=4, epochs=1.5, seed=0).steps == 5


def test_the_order_is_that_of_accelerates_sampler():
    from accelerate.data_loader import SeedableRandomSampler

    stock = SeedableRandomSampler(range(12), data_seed=7)
    ours = GlobalBatchSampler(examples=12, batch_size=4, epochs=2.0, seed=7)
    assert list(ours) == [*stock, *stock]


def test_without_a_seed_rows_keep_their_order():
    sampler = GlobalBatchSampler(examples=4, batch_size=2, epochs=1.0, seed=None)
    assert list(sampler) == [0, 1, 2, 3]


def test_grouping_by_length_sorts_within_a_step_and_moves_nothing_between_steps():
    lengths = [5, 9, 2, 7, 7, 30, 1, 4, 8, 3, 2]  # of ten rows, then the filler's
    plain, grouped = (
        GlobalBatchSampler(examples=10, batch_size=4, epochs=2.0, seed=5, lengths=given)
        for given in (None, lengths)
    )
    assert [sorted(batch) for batch in batches(plain)] == [sorted(b) for b in batches(grouped)]
    for batch in batches(grouped):
        told = [lengths[row] for row in batch]
        assert told == sorted(told, reverse=True)


def test_the_collator_keeps_weights_beside_the_rows():
    collate = WeightedCollator(lambda rows: {"rows": rows}, weight_scale=2.0)
    batch = collate([{"x": 1, "weight": 0.25, "is_counted": True}])
    assert batch["rows"] == [{"x": 1}]
    assert batch["weights"].dtype == torch.float32
    assert (batch["weights"].tolist(), batch["is_counted"].tolist()) == ([0.5], [True])


def test_a_steps_sums_leave_fillers_out():
    sums = StepSums()
    batch = {"weights": torch.tensor([2.0, 0.0]), "is_counted": torch.tensor([True, False])}
    sums.add(torch.tensor([3.0, 9.0]), torch.tensor([4, 4]), torch.tensor(10), batch)
    assert sums.vector(torch.device("cpu")).tolist() == [3.0, 2.0, 4.0, 1.0, 4.0, 10.0]


@pytest.mark.parametrize("name", ["packing", "padding_free"])
def test_merged_rows_are_refused(name):
    refuse_packing(SimpleNamespace(**{name: False}))
    with pytest.raises(ConfigError, match=f"{name} merges examples"):
        refuse_packing(SimpleNamespace(**{name: True}))
