import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse.batch import ConversationConfig, ConversationLoader, Cursor, EncodedConversation, pack
from glasshouse.core.errors import ConfigError, DataError

PAD = 0


def conversation(k: int, n_prompt: int = 3, n_answer: int = 2) -> EncodedConversation:
    """Prompt ids 100 + k, answer ids 500 + k."""
    ids = [100 + k] * n_prompt + [500 + k] * n_answer
    return EncodedConversation(ids, [False] * n_prompt + [True] * n_answer, n_bytes=10 * n_answer, id=str(k))


def loader_of(source, packing="bucketed", seq_len=16, batch_tokens=64, seed=1, **config):
    chosen = ConversationConfig(packing=packing, **config)
    return ConversationLoader(source, seq_len, batch_tokens, seed, tokenizer_hash="t", pad_id=PAD, config=chosen)


def epoch_of(loader, epoch=0):
    cursor, made = Cursor(epoch=epoch), []
    while cursor.epoch == epoch:
        batch, cursor = loader.batch_at(cursor)
        made.append(batch)
    return made


def learned(batches):
    """Counts of the ids that carry loss."""
    ids = [int(t) for b in batches for t in b.targets_BT[b.loss_mask_BT]]
    return {i: ids.count(i) for i in set(ids)}


SET = [conversation(k, n_prompt=2 + k % 5, n_answer=1 + k % 4) for k in range(40)]


@pytest.mark.parametrize("packing", ["bucketed", "masked", "open"])
def test_every_answer_token_is_learned_once_an_epoch(packing):
    loader = loader_of(SET, packing)
    made = epoch_of(loader)
    assert learned(made) == {500 + k: 1 + k % 4 for k in range(40)}
    assert sum(b.n_bytes for b in made) == sum(c.n_bytes for c in SET)
    assert all(b.n_tokens <= 64 for b in made)
    report = loader.report()
    assert report.n_used == 40 and report.problems() == []
    assert report.fill == pytest.approx(report.n_tokens / sum(b.n_tokens for b in made))


@pytest.mark.parametrize("packing", ["masked", "open"])
def test_conversations_lie_whole_in_rows(packing):
    for batch in epoch_of(loader_of(SET, packing)):
        assert batch.ids_BT.shape[1] == 16
        for ids, targets in zip(batch.ids_BT.tolist(), batch.targets_BT.tolist()):
            for token in {t - 500 for t in targets if t >= 500}:
                expected = SET[token].ids
                at = ids.index(100 + token)
                assert ids[at : at + len(expected) - 1] == expected[:-1]
                assert targets[at : at + len(expected) - 1] == expected[1:]


def test_documents_keep_conversations_and_padding_apart():
    for batch in epoch_of(loader_of(SET, "masked")):
        for ids, numbers in zip(batch.ids_BT.tolist(), batch.document_BT.tolist()):
            owners = {}
            for token, number in zip(ids, numbers):
                owners.setdefault(number, set()).add("pad" if token == PAD else token % 100)
            assert all(len(owner) == 1 for owner in owners.values())
    assert all(b.document_BT is None for b in epoch_of(loader_of(SET, "open")))


def test_buckets_are_rows_of_like_length():
    for batch in epoch_of(loader_of(SET, "bucketed", bucket_multiple=4)):
        assert batch.ids_BT.shape[1] % 4 == 0
        assert ((batch.ids_BT != PAD).sum(1) >= 2).all()
        real = (batch.ids_BT != PAD).sum(1)
        assert batch.ids_BT.shape[1] - int(real.max()) < 4


@pytest.mark.parametrize("packing", ["bucketed", "masked"])
def test_order_is_a_function_of_seed_and_cursor(packing):
    whole = [b.ids_BT.tolist() for e in (0, 1) for b in epoch_of(loader_of(SET, packing), e)]
    loader, cursor, made = loader_of(SET, packing), Cursor(), []
    for _ in range(len(whole)):
        batch, cursor = loader.batch_at(cursor)
        made.append(batch.ids_BT.tolist())
        if len(made) == 5:  # as a resumed process does
            loader, cursor = loader_of(SET, packing), Cursor.from_json(json.loads(json.dumps(cursor.to_json())))
    assert made == whole
    first = epoch_of(loader_of(SET, packing), 0)
    assert whole[: len(first)] != whole[len(first) :]


def test_a_set_may_depend_on_the_epoch():
    loader = loader_of(lambda epoch: [conversation(k + 10 * epoch) for k in range(5)])
    assert set(learned(epoch_of(loader, 0))) == {500, 501, 502, 503, 504}
    assert set(learned(epoch_of(loader, 3))) == {530, 531, 532, 533, 534}


def test_too_long_is_refused_or_cut_and_counted():
    long, short = conversation(1, n_prompt=10, n_answer=20), conversation(2)
    refused = loader_of([long, short])
    assert set(learned(epoch_of(refused))) == {502}
    assert (refused.report().n_too_long, refused.report().n_used) == (1, 1)
    assert "longer than the row length" in refused.report().problems()[0]
    cut = loader_of([long, short], too_long="cut")
    assert learned(epoch_of(cut)) == {501: 7, 502: 2}  # 17 ids: 10 of the prompt, 7 of the answer
    assert cut.report().n_cut == 1
    assert sum(b.n_bytes for b in epoch_of(cut)) == 70 + 20
    nothing_left = loader_of([conversation(1, n_prompt=30), short], too_long="cut")
    assert nothing_left.report().n_without_targets == 1


def test_nothing_to_learn_is_refused():
    silent = EncodedConversation([1, 2, 3], [False, False, False])
    with pytest.raises(DataError, match=r"none of 2 conversations.*2 have no assistant token"):
        loader_of([silent, silent]).report()
    with pytest.raises(DataError, match="no conversations"):
        loader_of([]).report()
    mixed = loader_of([silent, conversation(1)])
    assert mixed.report().n_without_targets == 1
    with pytest.raises(DataError, match="loss mask of 1"):
        loader_of([EncodedConversation([1, 2], [True], id="x")]).report()
    with pytest.raises(ConfigError, match="less than one row"):
        loader_of(SET, seq_len=65)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=80))
def test_packing_is_whole_and_tight(lengths):
    rows = pack(range(len(lengths)), lengths, 20)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    used = [sum(lengths[i] for i in row) for row in rows]
    assert max(used) <= 20
    assert sum(u <= 10 for u in used) <= 1  # two half-empty rows would have been one


def test_packing_example():
    assert pack([0, 1, 2], [6, 5, 4], 10) == [[0, 2], [1]]
