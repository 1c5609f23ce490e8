import json
import math
from dataclasses import replace

import pytest
import tiny
import torch
from tiny import config_of, trainer_of, weights

from glasshouse.batch import LMBatch, PackedLoader
from glasshouse.core.errors import ConfigError, DataError, TrainingError
from glasshouse.model.native import why_no_bf16, why_unavailable
from glasshouse.objective import lm_loss
from glasshouse.train import GuardConfig, check_corpus, held_out_loss


def records(root, name):
    path = root / "run" / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_it_learns_records_and_saves(tmp_path):
    made = trainer_of(tmp_path, config_of(steps=150))
    result = made.fit()
    losses = [r["metrics"]["loss"] for r in records(tmp_path, "metrics.jsonl")]
    assert len(losses) == 150 and losses[0] > 3 > 2.2 > losses[-1] == result.loss
    assert (result.steps, result.n_tokens) == (150, 150 * 64)
    last = records(tmp_path, "metrics.jsonl")[-1]["metrics"]
    assert last.keys() == {"loss", "bits_per_byte", "lr", "grad_norm", "tokens_per_s", "share_of_peak"}
    assert last["bits_per_byte"] == pytest.approx(last["loss"] / math.log(2), rel=0.05)  # one byte a token, nearly
    summary = json.loads((tmp_path / "run/pretrain/summary.json").read_text())
    assert summary["model"]["d_model"] == 16 and summary["parameters"]["total"] > 0
    assert [g["name"] for g in summary["groups"]] == ["matrices", "embedding", "vectors"]
    assert summary["cost"]["flops"] == pytest.approx(made.state.flops)
    assert sorted(p.name for p in (tmp_path / "run/pretrain/checkpoints").iterdir()) == ["step-00000150"]


def test_the_same_seed_gives_the_same_bits(tmp_path):
    for name in ("a", "b"):
        trainer_of(tmp_path / name, config_of(steps=10)).fit()
    assert all(weights(tmp_path / "b")[k].equal(v) for k, v in weights(tmp_path / "a").items())
    trainer_of(tmp_path / "c", config_of(steps=10, seed=1)).fit()
    assert not all(weights(tmp_path / "c")[k].equal(v) for k, v in weights(tmp_path / "a").items())


def test_what_a_loss_tells_reaches_the_records_as_a_mean_over_targets(tmp_path):
    def objective(model, batch):
        output = lm_loss(model, batch)
        return replace(output, metrics={"x/first": torch.tensor(2.0 * output.n_targets), "x/ids": batch.ids_BT.sum()})

    made = trainer_of(tmp_path, config_of(steps=4, metric_every=2, microbatch_tokens=32))
    made.objective, seen = objective, []
    made.loader.batch_at = lambda cursor, inner=made.loader.batch_at: seen.append(inner(cursor)) or seen[-1]
    made.fit()
    found = [r["metrics"] for r in records(tmp_path, "metrics.jsonl")]
    assert [m["x/first"] for m in found] == [2.0, 2.0]
    pairs = [(float(a.ids_BT.sum()) + float(b.ids_BT.sum())) / 128 for (a, _), (b, _) in (seen[1:3], seen[3:5])]
    assert [m["x/ids"] for m in found] == pytest.approx(pairs)  # the first batch was also the compiler's probe


class Poisoned:
    """A loader whose batches at some indices make the loss not finite or huge."""

    def __init__(self, inner: PackedLoader, bad: set[int]) -> None:
        self.inner, self.bad = inner, bad

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def batch_at(self, cursor):
        batch, following = self.inner.batch_at(cursor)
        if cursor.index in self.bad:
            batch = replace(batch, ids_BT=torch.full_like(batch.ids_BT, 10**6))  # marks it for `objective`
        return batch, following


def poisoned_objective(value):
    def objective(model, batch):
        if int(batch.ids_BT[0, 0]) == 10**6:
            output = lm_loss(model, LMBatch(torch.zeros_like(batch.ids_BT), batch.targets_BT))
            return replace(output, loss_sum=output.loss_sum * value)
        return lm_loss(model, batch)

    return objective


def poisoned_trainer(root, config, bad, value=math.nan):
    made = trainer_of(root, config, wrap=lambda inner: Poisoned(inner, bad))
    made.objective = poisoned_objective(value)
    return made


@pytest.mark.parametrize(("value", "words"), [(math.nan, "not finite"), (1e4, "far above")])
def test_a_bad_batch_is_skipped_and_kept(tmp_path, value, words):
    config = config_of(steps=20, guard=GuardConfig(warmup_steps=5))
    result = poisoned_trainer(tmp_path, config, {9}, value).fit()
    assert (result.steps, result.n_skipped) == (20, 1)
    assert all(v.isfinite().all() for v in weights(tmp_path).values())
    (warning,) = [e for e in records(tmp_path, "events.jsonl") if e["kind"] == "warning"]
    assert words in warning["text"] and "step skipped" in warning["text"]
    (dump,) = (tmp_path / "run/pretrain/bad_batches").iterdir()
    assert json.loads(dump.read_text())["cursor"]["index"] == 9
    assert len(json.loads(dump.read_text())["ids"]) == 4
    assert str(dump) in warning["text"]
    losses = {r["step"]: r["metrics"].get("loss") for r in records(tmp_path, "metrics.jsonl")}
    assert losses[10] is None and all(v < 6 for s, v in losses.items() if s != 10)


def test_a_skipped_step_leaves_no_trace_in_the_weights(tmp_path):
    """Skipping batch 3 = never having seen it, but for the schedule's position."""
    made = poisoned_trainer(tmp_path, config_of(steps=5), {3})
    made._begin()
    for _ in range(3):
        made._step()
    before = {k: v.clone() for k, v in made.model.state_dict().items()}
    made._step()
    assert all(made.model.state_dict()[k].equal(v) for k, v in before.items())
    made._step()
    assert not all(made.model.state_dict()[k].equal(v) for k, v in before.items())


def test_several_in_a_row_go_back_past_the_data(tmp_path):
    result = poisoned_trainer(tmp_path, config_of(steps=20), {9, 10, 11}).fit()
    assert (result.steps, result.n_skipped) == (20, 3)
    texts = [e["text"] for e in records(tmp_path, "events.jsonl") if e["kind"] == "warning"]
    assert len(texts) == 4 and "back to step 7" in texts[-1] and "not used again" in texts[-1]
    steps = [r["step"] for r in records(tmp_path, "metrics.jsonl")]
    assert steps == list(range(1, 21))
    assert made_tokens(result) == 20 * 64


def made_tokens(result):
    return result.n_tokens


def test_no_way_back_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(TrainingError, match=r"diverged: 3 bad steps.*No checkpoint had been made.*learning rates"):
        poisoned_trainer(tmp_path / "early", config_of(steps=20), {1, 2, 3}).fit()
    with pytest.raises(TrainingError, match=r"going back 3 times.*last good checkpoint is .*step-00000007"):
        poisoned_trainer(tmp_path / "always", config_of(steps=40), set(range(9, 400))).fit()


def test_hooks_run_at_their_moments_and_change_nothing(tmp_path):
    calls = []

    def evaluate(model):
        calls.append(("eval", model.training))
        torch.rand(3)  # a hook may use randomness
        return {"eval/loss": 1.5}

    def sample(model):
        calls.append(("sample", torch.is_grad_enabled()))
        return [("def f(", "x)")]

    config = config_of(steps=20, eval_every=10, sample_at=(0.0, 0.25, 1.0))
    result = trainer_of(tmp_path / "a", config, evaluate=evaluate, sample=sample).fit()
    assert calls == [("eval", False), ("sample", False), ("sample", False), ("eval", False), ("eval", False),
                     ("sample", False)]  # fmt: skip
    assert result.evaluation == {"eval/loss": 1.5}
    samples = [e for e in records(tmp_path / "a", "events.jsonl") if e["kind"] == "sample"]
    assert [(e["step"], e["fraction"]) for e in samples] == [(0, 0.0), (5, 0.25), (20, 1.0)]
    assert (samples[0]["prompt"], samples[0]["text"]) == ("def f(", "x)")
    evaluated = [r["step"] for r in records(tmp_path / "a", "metrics.jsonl") if "eval/loss" in r["metrics"]]
    assert evaluated == [0, 10, 20]
    trainer_of(tmp_path / "b", config).fit()
    assert all(weights(tmp_path / "b")[k].equal(v) for k, v in weights(tmp_path / "a").items())


# ---- what does not belong together -----------------------------------------------------------------------------------


def test_mismatches_are_refused_before_any_work(tmp_path):
    class Other:
        def __init__(self, inner):
            self.inner = inner
            self.tokenizer_hash = "f" * 64

        def __getattr__(self, name):
            return getattr(self.inner, name)

    with pytest.raises(DataError, match=r"encoded with tokenizer ffffffffffff.*Encode the text again"):
        trainer_of(tmp_path, wrap=Other)
    with pytest.raises(ConfigError, match=r"seq_len=32 is more than the model's max_seq_len=16"):
        trainer_of(tmp_path, config_of(seq_len=32))
    with pytest.raises(DataError, match="too small for this plan"):
        trainer_of(tmp_path, config_of(steps=100_000, max_epochs=100.0))


def test_a_small_corpus_is_told_what_would_fit():
    check_corpus(1_000, 100_000, max_epochs=100)
    with pytest.raises(DataError, match=r"1,000 tokens would be read 500 times.*at least 5,000 tokens.*most 100,000"):
        check_corpus(1_000, 500_000, max_epochs=100)


def test_held_out_loss_is_the_mean_over_every_window(tmp_path):
    made = trainer_of(tmp_path)
    shard = tiny.shard_of(tmp_path, made.tokenizer)
    n_rows = (shard.n_tokens - 1) // 16
    tokens = torch.tensor(shard.ids[: n_rows * 16 + 1].tolist())
    ids, targets = tokens[:-1].view(-1, 16), tokens[1:].view(-1, 16)
    with torch.no_grad():
        expected = torch.nn.functional.cross_entropy(made.model(ids).flatten(0, 1), targets.flatten()).item()
    metrics = held_out_loss(made.model, shard, 16, batch_tokens=100)
    assert metrics["eval/loss"] == pytest.approx(expected, rel=1e-5)
    n_bytes = int(shard.bytes_V[tokens[1:].numpy()].sum())
    assert metrics["eval/bits_per_byte"] == pytest.approx(expected * n_rows * 16 / math.log(2) / n_bytes, rel=1e-5)
    part = held_out_loss(made.model, shard, 16, max_tokens=33)
    with torch.no_grad():
        first = torch.nn.functional.cross_entropy(made.model(ids[:2]).flatten(0, 1), targets[:2].flatten()).item()
    assert part["eval/loss"] == pytest.approx(first, rel=1e-5)
    short = held_out_loss(made.model, shard, 16, max_tokens=10)
    with torch.no_grad():
        logits = made.model(tokens[None, :9]).flatten(0, 1)
        expected = torch.nn.functional.cross_entropy(logits, tokens[1:10]).item()
    assert short["eval/loss"] == pytest.approx(expected, rel=1e-5)
    with pytest.raises(DataError, match="nothing to judge by"):
        held_out_loss(made.model, shard, 16, max_tokens=1)


@pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))
def test_native_kernels_give_the_run_of_torch(tmp_path):
    """Loss by loss, with microbatches too; and the line says which kernels computed it."""
    losses = {}
    for name, changes in {
        "native": {}, "torch": {"kernels": "torch"}, "parts": {"microbatch_tokens": 16},
    }.items():  # fmt: skip
        result = trainer_of(tmp_path / name, config_of(steps=40, **changes)).fit()
        losses[name] = [r["metrics"]["loss"] for r in records(tmp_path / name, "metrics.jsonl")]
        assert result.compiled.startswith("eager: asked for" if name == "torch" else "native: ")
    assert len(losses["native"]) == 40 and losses["native"] != losses["torch"]  # two arithmetics, not one
    assert losses["native"] == pytest.approx(losses["torch"], rel=1e-4)
    assert losses["parts"] == pytest.approx(losses["torch"], rel=1e-4)


@pytest.mark.skipif(why_no_bf16() is not None, reason=str(why_no_bf16()))
def test_native_kernels_compute_in_bf16_where_the_recipe_says_so(tmp_path):
    """As near to the run in fp32 as torch's own bf16, or nearer."""
    losses = {}
    for name, changes in {
        "fp32": {}, "native": {"precision": "bf16"}, "torch": {"precision": "bf16", "kernels": "torch"},
    }.items():  # fmt: skip
        result = trainer_of(tmp_path / name, config_of(steps=40, **changes)).fit()
        losses[name] = torch.tensor([r["metrics"]["loss"] for r in records(tmp_path / name, "metrics.jsonl")])
        assert ("bf16" in result.compiled) == (name == "native")
    strays = {name: (losses[name] - losses["fp32"]).abs().mean().item() for name in ("native", "torch")}
    assert 0 < strays["native"] < strays["torch"] < 0.05
