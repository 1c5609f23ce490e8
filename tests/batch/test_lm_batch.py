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
