"""Texts to rows: each scored at its last token, long ones in pieces, every item once an epoch."""

import numpy as np
import torch

from glasshouse.batch.labelled import LabelledLoader, LabelledRow, text_rows
from glasshouse.tokenizer import Tokenizer


def test_a_long_text_is_cut_into_rows_that_lose_nothing(tokenizer: Tokenizer) -> None:
    text = "import os and json, then go on " * 5
    rows = text_rows(tokenizer, text, 16)
    assert len(rows) > 1 and max(map(len, rows)) <= 16
    assert all(
        row.ids[0] == tokenizer.end_of_text_id and row.mask.nonzero()[0].tolist() == [len(row) - 1] for row in rows
    )
    assert np.concatenate([row.ids[1:] for row in rows]).tolist() == tokenizer.encode(text)
    assert [row.ids.tolist() for row in text_rows(tokenizer, "", 16)] == [[tokenizer.end_of_text_id]]


def test_every_item_once_an_epoch_with_its_label_and_parts_add_up(tokenizer: Tokenizer) -> None:
    items = [LabelledRow(text_rows(tokenizer, "a" * n, 64)[0], n % 3 == 0) for n in range(1, 30)]
    loader = LabelledLoader(items, 120, 3, tokenizer_hash="x", pad_id=tokenizer.end_of_text_id)
    cursor, seen = loader.start(), []
    while cursor.epoch == 0:
        batch, cursor = loader.batch_at(cursor)
        assert batch.count_targets() == batch.n_rows == len(batch.is_positive_B)
        assert batch.n_rows == 1 or batch.n_tokens <= 120
        parts = batch.microbatches(40)
        assert sum(part.count_targets() for part in parts) == batch.count_targets()
        assert torch.equal(torch.cat([part.is_positive_B for part in parts]), batch.is_positive_B)
        ends = batch.rows.loss_mask_BT.int().argmax(1)
        seen += [(tuple(ids[: end + 1].tolist()), bool(is_positive))
                 for ids, end, is_positive in zip(batch.ids_BT, ends, batch.is_positive_B)]  # fmt: skip
    assert sorted(seen) == sorted((tuple(item.row.ids.tolist()), item.is_positive) for item in items)
    assert loader.describe()["positive"] == 9
