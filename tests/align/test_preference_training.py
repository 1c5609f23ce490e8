import json
import math
from dataclasses import replace

import pytest
import torch
from judged import place, preferences, write_parent
from pydantic import ValidationError
from safetensors.torch import load_file

from glasshouse.align.offline import split_by_prompt
from glasshouse.align.preference_training import PreferenceTrainingConfig, dpo_objective, train_on_preferences
from glasshouse.batch import PreferenceLoader, encode_comparisons
from glasshouse.batch.comparisons import Comparison
from glasshouse.checkpoint import load_model
from glasshouse.core.errors import ConfigError, DataError
from glasshouse.core.records import Conversation, Message, Thumb
from glasshouse.objective import answer_logps
from glasshouse.optim import OptimConfig
from glasshouse.train import Trainer
from glasshouse.train.gradient import add_gradient

FAST = OptimConfig(matrices="adamw", matrix_lr=1e-2, embedding_lr=1e-2, head_lr=1e-2, vector_lr=1e-2)


def config_of(method="dpo", **options):
    chosen = {"epochs": 4, "batch_tokens": 400, "optim": FAST, "metric_every": 1, "n_samples": 2, **options}
    return PreferenceTrainingConfig(method=method, **chosen)


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    return write_parent(tmp_path_factory.mktemp("parent") / "checkpoint")


@pytest.mark.parametrize(("method", "first"), [("dpo", math.log(2)), ("kto", 0.5)])
def test_it_learns_what_people_prefer(parent, tmp_path, method, first):
    where = place(tmp_path)
    result = train_on_preferences(parent, preferences(), config_of(method), **where)
    records = [json.loads(line)["metrics"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert records[0]["loss"] == pytest.approx(first, abs=1e-4)  # policy and reference are still the same
    assert records[0][f"{method}/accuracy"] < 0.6 and result.evaluation["eval/loss"] < 0.8 * first
    align = json.loads((where["folder"] / "align.json").read_text())
    assert (align["method"], align["n_learned"] + align["n_held_out"]) == (method, 40)
    assert len(align["samples"]) == 2
    assert all(s["reward_after"] > s["reward_before"] for s in align["samples"])
    assert load_model(result.checkpoint)[1].hash == load_model(parent)[1].hash


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_interrupted_is_uninterrupted_to_the_bit(parent, tmp_path, monkeypatch, method):
    config = config_of(method, epochs=2, checkpoint_every=2, n_samples=0)
    whole = train_on_preferences(parent, preferences(), config, **place(tmp_path / "whole"))

    class Cut(Exception):
        pass

    step = Trainer._step

    def step_or_die(self):
        if self.state.step == 5:
            raise Cut
        step(self)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_step", step_or_die)
        with pytest.raises(Cut):
            train_on_preferences(parent, preferences(), config, **place(tmp_path / "cut"))
    resumed = train_on_preferences(parent, preferences(), config, **place(tmp_path / "cut"))
    weights = [load_file(r.checkpoint / "model.safetensors") for r in (whole, resumed)]
    assert whole.steps > 6 and all(weights[1][name].equal(tensor) for name, tensor in weights[0].items())
    assert whole.evaluation == resumed.evaluation
    other = config_of(method, epochs=2, checkpoint_every=2, n_samples=0, **{method: {"beta": 0.7}})
    with pytest.raises(ConfigError, match="made with other settings"):
        train_on_preferences(parent, preferences(), other, **place(tmp_path / "cut"))


def test_bad_judgements_are_refused_in_words(parent, tmp_path):
    ask = (Message("user", "a?"),)
    with pytest.raises(DataError, match="DPO learns from pairs of answers, but 1 of 3"):
        thumbs = [*preferences(2), Thumb(ask, "b", True)]
        train_on_preferences(parent, thumbs, config_of(held_out_share=0), **place(tmp_path))
    with pytest.raises(DataError, match="1 judged answers to 1 prompts cannot be split"):
        train_on_preferences(parent, preferences(1), config_of(), **place(tmp_path))
    with pytest.raises(ValidationError, match="settings of kto are given, but the method is dpo"):
        PreferenceTrainingConfig(method="dpo", kto={"beta": 0.5})


def test_without_a_held_out_part_nothing_is_judged(parent, tmp_path):
    where = place(tmp_path)
    result = train_on_preferences(parent, preferences(8), config_of(held_out_share=0, epochs=1), **where)
    assert result.evaluation == {}
    assert json.loads((where["folder"] / "align.json").read_text())["n_held_out"] == 0


@pytest.mark.parametrize(
    "dpo", [{"kind": "sigmoid"}, {"kind": "length_normalised"}, {"kind": "ipo"}, {"nll_weight": 0.5}]
)
def test_any_cut_into_microbatches_gives_the_gradient_of_the_whole(parent, dpo):
    model, tokenizer = load_model(parent)
    batch = batch_with_examples(tokenizer, n_examples=0)
    objective = dpo_objective(config_of(dpo=dpo))
    found = []
    for microbatch_tokens in (None, 150):
        sums = add_gradient(model, batch, objective, microbatch_tokens=microbatch_tokens)
        found.append([sums.loss, *sums.metrics.values(), *(p.grad.clone() for p in model.parameters())])
        model.zero_grad()
    for whole, parts in zip(*found):
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)


def batch_with_examples(tokenizer, n_examples):
    comparisons, _ = encode_comparisons(preferences(12), tokenizer, 48, "answer")
    known = [replace(c, reference_logps=(-9.0, -8.0 - i)) for i, c in enumerate(comparisons)]
    examples = [Comparison(c.rows[:1], (), reference_logps=(0.0,)) for c in comparisons[:n_examples]]
    loader = PreferenceLoader([*known, *examples], 10_000, 0, tokenizer_hash=tokenizer.hash, pad_id=0)
    return loader.batch_at(loader.start())[0]


def test_examples_are_imitated_and_what_was_chosen_too(parent):
    """Loss over 12 pairs and 4 examples: (sum of the pairs' DPO losses + 0.5 * sum of -logp a token of 16) / 16."""
    model, tokenizer = load_model(parent)
    batch = batch_with_examples(tokenizer, n_examples=4)
    plain, weighed = (dpo_objective(config_of(dpo={"nll_weight": w}))(model, batch) for w in (0.0, 0.5))
    logp_B, n_B = answer_logps(model, batch.rows)
    is_first = torch.zeros(batch.n_rows, dtype=torch.bool)
    is_first[list(batch.starts[:-1])] = True
    assert (weighed.n_targets, int(is_first.sum()), len(batch.chosen_P)) == (16, 16, 12)
    assert set(batch.chosen_P.tolist()) < set(is_first.nonzero().flatten().tolist())
    expected = plain.loss_sum + 0.5 * -(logp_B / n_B)[is_first].sum()
    torch.testing.assert_close(weighed.loss_sum, expected)
    assert float(weighed.metrics["dpo/accuracy"]) / weighed.n_targets <= 1.0


def test_examples_that_nothing_weighs_are_refused(parent, tmp_path):
    examples = [Conversation((Message("user", "a?"), Message("assistant", "b")))]
    with pytest.raises(ConfigError, match="nothing says how much they count"):
        train_on_preferences(parent, preferences(), config_of(), examples=examples, **place(tmp_path))
    where = place(tmp_path / "weighed")
    config = config_of(dpo={"nll_weight": 1.0}, epochs=1, n_samples=0)
    assert train_on_preferences(parent, preferences(8), config, examples=examples * 30, **where).steps > 0


def test_a_prompt_is_never_on_both_sides():
    judged = [*preferences(40), *preferences(40)]
    learned, held_out = split_by_prompt(judged, 0.25, seed=3)
    assert len(held_out) == 20 and not {p.prompt for p in learned} & {p.prompt for p in held_out}
    assert split_by_prompt(judged, 0.25, seed=3)[1] == held_out != split_by_prompt(judged, 0.25, seed=4)[1]
