import torch

from glasshouse.batch import LMBatch


def test_microbatches_are_whole_rows():
    ids = torch.arange(40).view(5, 8)
    mask = ids % 3 == 0
    batch = LMBatch(ids, ids + 1, mask, ids // 4, n_bytes=9)
    parts = batch.microbatches(20)
    assert [p.n_rows for p in parts] == [2, 2, 1]
    for key in ("ids_BT", "targets_BT", "loss_mask_BT", "document_BT"):
        assert torch.cat([getattr(p, key) for p in parts]).equal(getattr(batch, key))
    assert sum(p.count_targets() for p in parts) == batch.count_targets() == int(mask.sum())
    assert batch.microbatches(None) == [batch]
    assert [p.n_rows for p in batch.microbatches(1)] == [1] * 5


def test_parts_of_a_batch_are_all_of_it_and_of_one_shape():
    ids = torch.arange(5 * 6).view(5, 6)
    batch = LMBatch(ids, ids + 1, document_BT=ids // 3)
    parts = [batch.part((row, 2), (column, 2), multiple=2) for row in range(2) for column in range(2)]
    assert {tuple(part.ids_BT.shape) for part in parts} == {(3, 4)}
    assert sum(part.count_targets() for part in parts) == 30
    counted = [part.targets_BT[part.loss_mask_BT] if part.loss_mask_BT is not None else part.targets_BT.flatten()
               for part in parts]  # fmt: skip
    assert torch.cat(counted).sort().values.tolist() == (ids + 1).flatten().tolist()


def test_more_parts_than_rows_leave_parts_that_never_count():
    batch = LMBatch(torch.ones(1, 4, dtype=torch.int64), torch.ones(1, 4, dtype=torch.int64))
    assert [batch.part((row, 3)).count_targets() for row in range(3)] == [4, 0, 0]
    assert batch.part((0, 1)).loss_mask_BT is None  # nothing to fill up, nothing to mask
