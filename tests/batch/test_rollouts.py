"""Rollouts as a batch: cut in parts that add up, columns nobody needs left out, to a file's tensors and back."""

import torch

from glasshouse.batch import LMBatch, RolloutBatch


def batch_of() -> RolloutBatch:
    """Three answers of 2, 4 and 1 tokens behind a prompt of two."""
    ids = torch.arange(18).view(3, 6)
    mask = torch.zeros(3, 6, dtype=torch.bool)
    for row, n in enumerate((2, 4, 1)):
        mask[row, 1 : 1 + n] = True
    values = torch.arange(18.0).view(3, 6)
    return RolloutBatch(LMBatch(ids, ids + 1, mask), values, -values, torch.ones(3), torch.ones(3), value_BT=2 * values)


def test_microbatches_hold_every_row_once() -> None:
    batch = batch_of()
    parts = batch.microbatches(12)
    assert [part.n_rows for part in parts] == [2, 1]
    assert sum(part.count_targets() for part in parts) == batch.count_targets() == 7
    for name, tensor in batch.tensors().items():
        assert torch.equal(torch.cat([part.tensors()[name] for part in parts]), tensor)


def test_selection_drops_columns_that_no_row_reaches() -> None:
    chosen = batch_of().select([2, 0])
    assert chosen.ids_BT.tolist() == [[12, 13, 14], [0, 1, 2]]
    assert chosen.value_BT is not None and chosen.value_BT.shape == (2, 3)
    assert chosen.reference_logp_BT is None and chosen.count_targets() == 3


def test_tensors_and_back() -> None:
    batch = batch_of()
    again = RolloutBatch.of_tensors(batch.tensors())
    assert again.tensors().keys() == batch.tensors().keys()
    assert all(torch.equal(again.tensors()[name], tensor) for name, tensor in batch.tensors().items())


def test_device() -> None:
    moved = batch_of().to(torch.device("meta"))
    assert moved.ids_BT.device.type == moved.reward_B.device.type == "meta" and moved.return_BT is None
