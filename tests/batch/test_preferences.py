from dataclasses import replace

import numpy as np
import pytest
import torch

from glasshouse.batch import (
    Cursor,
    PreferenceLoader,
    ThumbLoader,
    encode_comparisons,
    encode_thumbs,
    thumbs_of,
)
from glasshouse.batch.comparisons import encode_answer
from glasshouse.core.errors import ConfigError, DataError
from glasshouse.core.records import Message, Preference, Ranking, Thumb
from glasshouse.tokenizer import TokenizerConfig, train_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["abcdefgh?" * 20, "user\nassistant\nsystem\n"], TokenizerConfig(kind="char", vocab_size=64))


def ask(text):
    return (Message("user", text),)


def pairs(n=10):
    return [Preference(ask("abc"[i % 3] * (1 + i % 4) + "?"), "a" * (1 + i % 5), "h" * 3, f"p{i}") for i in range(n)]


def counted_text(tokenizer, row):
    return tokenizer.decode(row.targets[row.mask].tolist())


def test_the_last_answer_alone_counts(tokenizer):
    prompt = (*ask("a?"), Message("assistant", "bbb"), *ask("c?"))
    row = encode_answer(tokenizer, prompt, "dd", "answer")
    assert row.targets[row.mask].tolist() == [*tokenizer.encode("dd"), tokenizer.im_end_id]
    assert "bbb" in tokenizer.decode(row.ids.tolist())


def test_a_score_is_read_at_the_end_of_what_the_template_renders(tokenizer):
    row = encode_answer(tokenizer, ask("a?"), "dd", "end")
    assert row.mask.tolist() == [False] * (len(row) - 1) + [True]
    assert row.ids.tolist() == tokenizer.template.ids(tokenizer, [*ask("a?"), Message("assistant", "dd")])


def test_a_long_prompt_loses_its_beginning_and_a_long_answer_is_left_out(tokenizer):
    given = [Preference(ask("abcdefgh" * 5 + "?"), "a", "h"), Preference(ask("b?"), "a" * 30, "h")]
    (kept,), report = encode_comparisons(given, tokenizer, 24, "answer")
    assert (report.n_used, report.n_cut, report.n_too_long) == (1, 1, 1)
    assert [len(row) for row in kept.rows] == [24, 24]
    assert all(row.mask.sum() == 2 for row in kept.rows)
    assert [line.split()[1] for line in report.problems()] == ["prompts", "left"]
    with pytest.raises(DataError, match="answer longer than seq_len=24"):
        encode_comparisons(given[1:], tokenizer, 24, "answer")


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (Preference(ask("a?"), "b", "b", "x1"), "'x1': chosen and rejected are the same text"),
        (Preference((), "b", "c", "x1"), "'x1' has no prompt"),
        (Ranking(ask("a?"), ("a", "b", "c"), (1, 1, 1), "x1"), "'x1': all 3 answers are tied"),
        (Ranking(ask("a?"), ("a", "b", "c"), (1, 2), "x1"), "'x1' has 3 answers and 2 ranks"),
    ],
)
def test_what_prefers_nothing_is_refused(tokenizer, record, words):
    with pytest.raises(DataError, match=words):
        encode_comparisons([record], tokenizer, 32, "end")


def test_nothing_to_learn_from_is_refused(tokenizer):
    with pytest.raises(DataError, match="no preference to learn from"):
        encode_comparisons([], tokenizer, 32, "end")
    with pytest.raises(DataError, match="fewer than two prompts"):
        encode_thumbs([Thumb(ask("a?"), "b", True), Thumb(ask("a?"), "c", False)], tokenizer, 32)


def test_a_ranking_is_all_its_pairs_with_one_weight_together(tokenizer):
    ranking = Ranking(ask("a?"), ("a", "b", "c", "d"), (2, 1, 4, 2))
    (comparison,), _ = encode_comparisons([ranking], tokenizer, 32, "end")
    assert comparison.pairs == ((1, 0), (0, 2), (1, 2), (1, 3), (3, 2))  # a and d are tied
    assert comparison.weight == pytest.approx(1 / 6)


def loader_of(tokenizer, n=10, batch_tokens=120, seed=1, **options):
    comparisons, _ = encode_comparisons(pairs(n), tokenizer, 32, "answer")
    known = [replace(c, reference_logps=(10.0 * i, 10.0 * i + 1)) for i, c in enumerate(comparisons)]
    return PreferenceLoader(known, batch_tokens, seed, tokenizer_hash=tokenizer.hash, pad_id=0, **options)


def epoch_of(loader, epoch=0):
    return [loader.batch_at(Cursor(epoch, i))[0] for i in range(loader.n_batches(epoch))]


def test_every_pair_once_an_epoch_and_the_order_is_the_seeds(tokenizer):
    loader = loader_of(tokenizer)
    batches = epoch_of(loader)
    assert len(batches) > 1
    seen = torch.cat([b.reference_logp_B[b.chosen_P] for b in batches])
    assert sorted(seen.tolist()) == [10.0 * i for i in range(10)]
    assert all(b.reference_logp_B[b.rejected_P].equal(b.reference_logp_B[b.chosen_P] + 1) for b in batches)
    assert all(b.n_tokens <= 120 and b.ids_BT.shape[1] % 8 == 0 for b in batches)
    again = epoch_of(loader_of(tokenizer))
    assert all(a.ids_BT.equal(b.ids_BT) for a, b in zip(batches, again))
    other = torch.cat([b.reference_logp_B for b in epoch_of(loader, 1)])
    assert not other.equal(torch.cat([b.reference_logp_B for b in batches]))
    last = Cursor(0, len(batches) - 1)
    assert loader.batch_at(last)[1] == Cursor(1, 0)


def test_microbatches_part_no_pair(tokenizer):
    (batch,) = epoch_of(loader_of(tokenizer, batch_tokens=10_000))
    parts = batch.microbatches(3 * batch.ids_BT.shape[1])  # room for one pair and a half
    assert [p.n_rows for p in parts] == [2] * 10 and sum(p.count_targets() for p in parts) == batch.count_targets()
    whole = batch.reference_logp_B[batch.chosen_P]
    assert torch.cat([p.reference_logp_B[p.chosen_P] for p in parts]).equal(whole)
    assert torch.cat([p.ids_BT for p in parts]).equal(batch.ids_BT)
    assert batch.microbatches(None) == [batch]


def test_a_resumed_run_must_find_the_same(tokenizer):
    about = loader_of(tokenizer).describe()
    assert about == loader_of(tokenizer).describe()
    assert about != loader_of(tokenizer, n=9).describe() != loader_of(tokenizer, about="another loss").describe()


def test_a_batch_must_hold_the_longest_pair(tokenizer):
    with pytest.raises(ConfigError, match="batch_tokens=20 is less than the longest prompt with its answers"):
        loader_of(tokenizer, batch_tokens=20)


def test_thumbs_stand_beside_another_prompts_answer(tokenizer):
    thumbs = thumbs_of(pairs(4))
    assert [t.is_good for t in thumbs] == [True, False] * 4
    encoded, _ = encode_thumbs(thumbs, tokenizer, 40)
    for made, thumb in zip(encoded, thumbs):
        prompt = tokenizer.template.ids(tokenizer, thumb.prompt, adds_generation_prompt=True)
        assert made.mismatched.ids[: len(prompt)].tolist() == prompt
        assert counted_text(tokenizer, made.row).startswith(thumb.answer)
    others = [counted_text(tokenizer, e.mismatched) for e in encoded]
    own = [counted_text(tokenizer, e.row) for e in encoded]
    assert others == own[2:] + own[:2]  # the same answers, each put to the next prompt
    loader = ThumbLoader(encoded, 400, 0, tokenizer_hash=tokenizer.hash, pad_id=0)
    batches = epoch_of(loader)
    assert sum(b.count_targets() for b in batches) == 8
    assert all(b.mismatched.ids_BT.shape == b.ids_BT.shape for b in batches)
    assert np.concatenate([b.is_good_B for b in batches]).sum() == 4
    with pytest.raises(ConfigError, match="KTO cannot be computed in parts"):
        batches[0].microbatches(8)
