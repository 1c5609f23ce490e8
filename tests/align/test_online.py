"""Learning from rewards: that it learns, resumes to the bit, warns, and refuses what cannot work."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from online_tiny import CONFIG, PROMPTS, LetterReward, config_of, parent_of, train
from safetensors.torch import load_file

from glasshouse.align import AlarmConfig, OnlineConfig, Prompt, RolloutConfig, ValueHead
from glasshouse.align.rewards import make_reward
from glasshouse.align.rollout import PromptSet, logp_gap, sample
from glasshouse.align.rollout_loader import read_record
from glasshouse.checkpoint import load_model
from glasshouse.core.config import parse_config
from glasshouse.core.errors import CheckpointError, ConfigError, DataError, TrainingError
from glasshouse.core.records import Message, Question
from glasshouse.core.rundir import RunDirectory
from glasshouse.objective.grpo import GRPOConfig
from glasshouse.objective.ppo import PPOConfig


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tensors here are tiny: a second thread only waits for the first."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return parent_of(tmp_path_factory.mktemp("parent"))


SKIPPING = RolloutConfig(n_prompts=2, n_answers=2, max_tokens=1, skip_settled=0.9)  # half of the groups are alike


class StopsAfter(LetterReward):
    """The power goes when answers are judged for the n-th time."""

    def __init__(self, n: int) -> None:
        super().__init__()
        object.__setattr__(self, "left", n)

    def __call__(self, exchanges: Any) -> list[float]:
        object.__setattr__(self, "left", self.left - 1)  # type: ignore[attr-defined]
        if self.left < 0:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return super().__call__(exchanges)


def weights(root: Path) -> dict[str, torch.Tensor]:
    return load_file(root / "run/align/checkpoint/model.safetensors")


def metrics(root: Path) -> list[tuple[int, dict[str, float]]]:
    """All but those of time, in order of steps."""
    timed = {"tokens_per_s", "share_of_peak"}
    records = RunDirectory(root / "run").metrics()
    return [(m["step"], {k: v for k, v in m["metrics"].items() if k not in timed}) for m in records]


@pytest.mark.parametrize("changes", [
    {"grpo": GRPOConfig(kl_weight=0.1)},
    {"method": "ppo", "n_passes": 2, "n_minibatches": 1, "ppo": PPOConfig(kl_target=0.1, kl_horizon=20)},
    {"rollout": SKIPPING},
], ids=["grpo", "ppo", "skipping"])  # fmt: skip
def test_interrupted_equals_uninterrupted(tmp_path: Path, parent: Path, changes: dict[str, Any]) -> None:
    """Killed between checkpoints, and within an iteration (a checkpoint every 3 steps, 2 steps an iteration)."""
    config = config_of(**changes)
    train(tmp_path / "whole", parent, config)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", parent, config, reward=StopsAfter(3))
    train(tmp_path / "cut", parent, config)
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "cut")
    rollouts = [sorted((tmp_path / name / "run/align/rollouts").iterdir()) for name in ("whole", "cut")]
    assert [path.read_bytes() for path in rollouts[0]] == [path.read_bytes() for path in rollouts[1]]
    if config.method == "ppo":
        heads = [load_file(tmp_path / name / "run/align/value_head.safetensors") for name in ("whole", "cut")]
        assert torch.equal(heads[0]["weight"], heads[1]["weight"]) and heads[0]["weight"].any()


@pytest.mark.parametrize("method", ["grpo", "ppo"])
def test_reward_rises_and_is_reported(tmp_path: Path, parent: Path, method: Any) -> None:
    config = config_of(method=method, n_iterations=12, rollout=RolloutConfig(n_prompts=3, n_answers=16, max_tokens=3))
    result = train(tmp_path, parent, config)
    rewards = [m["rollout/reward"] for _, m in metrics(tmp_path) if "rollout/reward" in m]
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.1
    align = json.loads((tmp_path / "run/align/align.json").read_text())
    assert align["method"] == method and align["reward_after"] > align["reward_before"] and align["kl"] > 0
    assert {"prompt", "before", "after", "reward_before", "reward_after"} <= set(align["samples"][0])
    rises = [s["reward_after"] - s["reward_before"] for s in align["samples"]]
    assert rises == sorted(rises, reverse=True)
    assert (tmp_path / "run/align/summary.json").exists()
    # the value head is no part of the model that others read
    assert set(weights(tmp_path)) == set(load_file(parent / "model.safetensors"))
    if method == "ppo":
        assert ValueHead.load(tmp_path / "run/align/value_head.safetensors").weight.shape == (16,)
    assert result.steps == 24


def test_engine_and_trainer_agree(tmp_path: Path) -> None:
    """Also where the model has more rows than the tokenizer has ids, and at a temperature that is not 1."""
    padded = parent_of(tmp_path, vocab_size=64)
    config = config_of(n_iterations=1, rollout=RolloutConfig(n_prompts=2, n_answers=4, max_tokens=4, temperature=0.6))
    train(tmp_path, padded, config)
    record = read_record(tmp_path / "run/align/rollouts/iteration-00000000.safetensors")
    assert record is not None and record.gap is not None
    assert record.gap.largest < 1e-4
    assert record.kl == pytest.approx(0, abs=1e-4)  # nothing has been learned yet


def test_too_large_a_gap_is_an_error(parent: Path) -> None:
    """Half of the tokens off by 0.1 nats are 0.05 in the mean; what is not finite says nothing either way."""
    model, tokenizer = load_model(parent)
    sampled = sample(model, tokenizer, PromptSet(PROMPTS, tokenizer, 40, 0), [2, 0], CONFIG.rollout, 0)
    assert logp_gap(model, sampled.rows, sampled.logp_BT, CONFIG.rollout).largest < 1e-4
    shifted = sampled.logp_BT + 0.1 * (torch.arange(sampled.logp_BT.shape[1]) % 2)
    shifted[0] = torch.nan
    with pytest.raises(TrainingError, match="disagree by"):
        logp_gap(model, sampled.rows, shifted, CONFIG.rollout)


def test_rows_without_gradient_are_left_out_exactly(tmp_path: Path, parent: Path) -> None:
    """With and without a KL weight too small to matter: the first leaves rows out, the second cannot."""
    for name, weight in (("few", 0.0), ("all", 1e-30)):
        config = config_of(n_iterations=2, grpo=GRPOConfig(kl_weight=weight, normalisation="sequence"))
        train(tmp_path / name, parent, config)
    few, everything = weights(tmp_path / "few"), weights(tmp_path / "all")
    for name in few:
        torch.testing.assert_close(few[name], everything[name], rtol=0, atol=1e-4)


def test_alarms(tmp_path: Path, parent: Path) -> None:
    """Once when a limit is passed, not in every iteration after it."""
    rollout = CONFIG.rollout.model_copy(update={"check_every": 1})
    alarm = AlarmConfig(max_kl=1e-9, min_entropy=50.0)
    train(tmp_path, parent, config_of(alarm=alarm, rollout=rollout, n_iterations=4))
    texts = [e["text"] for e in RunDirectory(tmp_path / "run").events() if e["kind"] == "warning"]
    assert sum("hardly vary" in text for text in texts) == 1
    assert any("away from the model it started as" in text for text in texts)


def test_stale_rollouts_are_made_again(tmp_path: Path, parent: Path) -> None:
    """Files of another learning rate lie in the folder, and no checkpoint: only the first iteration's still hold."""
    folder = tmp_path / "run/align"
    train(tmp_path, parent, config_of(n_iterations=2))
    shutil.rmtree(folder / "checkpoints")
    other = CONFIG.optim.model_copy(update={"matrix_lr": 1e-2})
    train(tmp_path, parent, config_of(n_iterations=2, optim=other))
    train(tmp_path / "fresh", parent, config_of(n_iterations=2, optim=other))
    stale, fresh = weights(tmp_path), weights(tmp_path / "fresh")
    assert all(torch.equal(stale[name], fresh[name]) for name in fresh)


def test_lost_rollouts_within_an_iteration(tmp_path: Path, parent: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, parent, reward=StopsAfter(2))  # the checkpoint of step 3 is in the middle of iteration 1
    (tmp_path / "run/align/rollouts/iteration-00000001.safetensors").unlink()
    with pytest.raises(CheckpointError, match="gone"):
        train(tmp_path, parent)


class OneIsRight:
    """Whatever is answered to "a" is right, and nothing else; who was asked is written down."""

    name = "one"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, exchanges: Any) -> list[float]:
        self.asked += [e.prompt[-1].content for e in exchanges]
        return [float(e.prompt[-1].content == "a") for e in exchanges]


@pytest.mark.parametrize(("skip", "least", "most"), [(0.0, 8, 8), (0.9, 1, 5)])
def test_settled_prompts_are_asked_less(tmp_path: Path, parent: Path, skip: float, least: int, most: int) -> None:
    """12 iterations ask 24 times, 8 times each of three where nobody is passed over."""
    reward = OneIsRight()
    rollout = SKIPPING.model_copy(update={"skip_settled": skip})
    train(tmp_path, parent, config_of(n_iterations=12, n_minibatches=1, rollout=rollout), reward=reward)
    assert least <= reward.asked[: 24 * 2].count("a") / 2 <= most


def test_lost_rollouts_that_say_who_is_settled(tmp_path: Path, parent: Path) -> None:
    config = config_of(rollout=SKIPPING, checkpoint_every=2)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, parent, config, reward=StopsAfter(2))  # the checkpoint of step 4 is between two iterations
    (tmp_path / "run/align/rollouts/iteration-00000001.safetensors").unlink()
    with pytest.raises(CheckpointError, match="settled is gone"):
        train(tmp_path, parent, config)


class TwoNumbers:
    name = "two"

    def __call__(self, exchanges: Any) -> list[float]:
        return [1.0, 2.0]


class NotANumber:
    name = "nan"

    def __call__(self, exchanges: Any) -> list[float]:
        return [float("nan") for _ in exchanges]


LONG = Prompt((Message("user", "a" * 60),))


@pytest.mark.parametrize(("options", "error", "words"), [
    ({"prompts": []}, DataError, "no prompts"),
    ({"prompts": [*PROMPTS, LONG]}, DataError, "prompt 3"),
    ({"reward": TwoNumbers()}, TrainingError, "2 numbers for 8 answers"),
    ({"reward": NotANumber()}, TrainingError, "nan"),
    ({"reward": make_reward(["exact"])}, DataError, "answers"),
    ({"config": config_of(rollout=RolloutConfig(max_tokens=40))}, ConfigError, "no room"),
])  # fmt: skip
def test_bad_input(tmp_path: Path, parent: Path, options: Any, error: type[Exception], words: str) -> None:
    config = options.pop("config", CONFIG)
    with pytest.raises(error, match=words):
        train(tmp_path, parent, config, **options)


@pytest.mark.parametrize(("changes", "words"), [
    ({"rollout": {"n_answers": 1}}, "at least 2"),
    ({"rollout": {"skip_settled": 1.0}}, "less than 1"),
    ({"rollout": {"n_prompts": 1, "n_answers": 2}, "n_minibatches": 3}, "more than the 2 answers"),
    ({"metod": "ppo"}, 'Did you mean "method"'),
])  # fmt: skip
def test_bad_settings(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_config(OnlineConfig, {"n_iterations": 1, **changes})


def test_questions_may_be_given_as_they_are(tmp_path: Path, parent: Path) -> None:
    questions = [Question("1", "a", ("b",)), Question("2", "b", ("c",))]
    train(
        tmp_path, parent, config_of(n_iterations=1, eval_every=1), prompts=questions, held_out=questions[:1],
        reward=make_reward(["exact"]),
    )  # fmt: skip
    assert any("eval/reward" in m for _, m in metrics(tmp_path))
