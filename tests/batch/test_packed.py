import json
from collections import Counter

import pytest

from glasshouse.batch import Cursor, EncodedDocument, PackedLoader, Source, write_shard
from glasshouse.core.errors import ConfigError, DataError


def shard_of(folder, encoder, name, n_tokens, byte=None):
    """A shard of one document whose ids count up, or repeat `byte`."""
    ids = [byte if byte is not None else i % 256 for i in range(n_tokens - 2)]
    return write_shard(folder / f"{name}.bin", [EncodedDocument(name, ids, name)], encoder)


def batches(loader, n, cursor=None):
    cursor, made = cursor or loader.start(), []
    for _ in range(n):
        batch, cursor = loader.batch_at(cursor)
        made.append(batch)
    return made, cursor


def test_an_epoch_shows_each_window_once(tmp_path, encoder):
    shard = shard_of(tmp_path, encoder, "a", 200)
    loader = PackedLoader(shard, 8, 24, seed=1)
    made, cursor = batches(loader, 8)
    rows = [tuple(row.tolist()) for batch in made for row in batch.ids_BT]
    assert len(rows) == len(set(rows)) == 24 > loader.n_epoch_tokens / 8 - 3
    assert cursor.epoch == 1 or sum(cursor.consumed) < loader.n_epoch_tokens / 8
    for batch in made:
        assert batch.ids_BT[:, 1:].tolist() == batch.targets_BT[:, :-1].tolist()
        assert batch.n_bytes == int((batch.targets_BT < 256).sum())


def test_epochs_are_cut_at_other_places(tmp_path, encoder):
    loader = PackedLoader(shard_of(tmp_path, encoder, "a", 250), 8, 8, seed=1)
    n = loader.n_epoch_tokens // 8
    made, _ = batches(loader, 2 * n)
    first, second = ({b.ids_BT[0, 0].item() % 8 for b in part} for part in (made[:n], made[n:]))
    assert len(first) <= 2 and first != second  # the start id tells the offset (256 only at the very start)


def test_the_batch_is_a_function_of_seed_and_cursor(tmp_path, encoder):
    shard = shard_of(tmp_path, encoder, "a", 300)
    loader = PackedLoader(shard, 8, 16, seed=5)
    made, _ = batches(loader, 30)
    _, cursor = batches(loader, 17)
    stored = Cursor.from_json(json.loads(json.dumps(cursor.to_json())))
    again, _ = batches(PackedLoader(shard, 8, 16, seed=5), 13, stored)
    assert [b.ids_BT.tolist() for b in again] == [b.ids_BT.tolist() for b in made[17:]]
    other, _ = batches(PackedLoader(shard, 8, 16, seed=6), 30)
    assert [b.ids_BT.tolist() for b in other] != [b.ids_BT.tolist() for b in made]


@pytest.mark.parametrize("weights", [(3.0, 1.0), (0.7, 0.2), (1.0, 1e-3)])
def test_a_mixture_is_counted_in_tokens(tmp_path, encoder, weights):
    sources = [
        Source(shard_of(tmp_path, encoder, "a", 500, byte=1), weights[0]),
        Source(shard_of(tmp_path, encoder, "b", 90, byte=2), weights[1]),
    ]
    loader = PackedLoader(sources, 8, 32, seed=0)
    made, cursor = batches(loader, 50)
    counts = Counter(int(t) for b in made for t in b.ids_BT.flatten() if t < 256)
    share = weights[0] / sum(weights)
    assert abs(cursor.consumed[0] - share * 200) <= 1  # windows
    assert counts[1] / (counts[1] + counts[2]) == pytest.approx(share, abs=0.01)


def test_documents_are_told_apart_on_demand(tmp_path, encoder):
    shard = write_shard(tmp_path / "s.bin", [EncodedDocument("d", [i] * 3, "s") for i in range(40)], encoder)
    batch, _ = PackedLoader(shard, 16, 32, seed=0, crosses_documents=False).batch_at(Cursor(consumed=(0,)))
    for ids, numbers in zip(batch.ids_BT.tolist(), batch.document_BT.tolist()):
        for token, number in zip(ids, numbers):
            assert token in (256, number)
    assert PackedLoader(shard, 16, 32, seed=0).batch_at(Cursor(consumed=(0,)))[0].document_BT is None


def test_too_little_text_says_what_would_fit(tmp_path, encoder):
    shard = shard_of(tmp_path, encoder, "a", 40)
    with pytest.raises(DataError, match=r"holds 40 tokens.*seq_len of at most 39, or at least 25 more tokens"):
        PackedLoader(shard, 64, 64, seed=0)
    batch, _ = PackedLoader(shard, 39, 39, seed=0).batch_at(Cursor(consumed=(0,)))
    assert batch.ids_BT.tolist() == [shard.ids[:39].tolist()]


def test_bad_mixtures_are_refused(tmp_path, encoder, other_encoder):
    a, b = shard_of(tmp_path, encoder, "a", 90), shard_of(tmp_path, other_encoder, "b", 90)
    with pytest.raises(DataError, match="different tokenizers"):
        PackedLoader([Source(a), Source(b)], 8, 8, seed=0)
    with pytest.raises(ConfigError, match="above zero"):
        PackedLoader([Source(a, 0.0)], 8, 8, seed=0)
    with pytest.raises(ConfigError, match="less than one row"):
        PackedLoader(a, 8, 7, seed=0)
