"""Train a reward model from what people preferred, and say how good it is.

    result = train_reward_model(checkpoint, preferences, RewardTrainingConfig(), run, folder, ...)

Leaves in the stage's folder, beside what every training leaves, `checkpoint` (a Hugging Face sequence classifier) and
`reward.json` {n_trained, n_held_out, quality, learning_curve: [{n_trained, quality}]}.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydantic

from glasshouse.align.offline import OfflineConfig, Place, split_by_prompt, trainer_of
from glasshouse.align.reference import weights_id
from glasshouse.align.reward_model import RewardModel
from glasshouse.align.reward_quality import RewardQuality, describe, judge_reward_model
from glasshouse.batch import PreferenceBatch, PreferenceLoader, encode_comparisons
from glasshouse.checkpoint import load_model
from glasshouse.core.environment import default_device
from glasshouse.core.files import write_json
from glasshouse.core.records import Preference, Ranking
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal
from glasshouse.meter import DeviceProfile, Meter
from glasshouse.model import ScoringTransformer, Transformer
from glasshouse.objective import LossOutput, Objective, Pair, RewardLossConfig, reward_loss
from glasshouse.train import TrainResult

Compared = Preference | Ranking
REWARD = "reward.json"


class RewardTrainingConfig(OfflineConfig):
    reward: RewardLossConfig = RewardLossConfig()
    curve: tuple[float, ...] = ()  # shares of the training pairs to train on alone, for the learning curve

    @pydantic.field_validator("curve")
    @classmethod
    def _check(cls, curve: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 < share < 1 for share in curve):
            raise ValueError("a learning curve is made of shares between 0 and 1, for example 0.25, 0.5")
        return curve


def reward_objective(config: RewardLossConfig) -> Objective:
    """Bradley-Terry over a batch of comparisons, for a `ScoringTransformer`."""

    def objective(model: Any, batch: PreferenceBatch) -> LossOutput:
        assert batch.rows.loss_mask_BT is not None
        score_B = model.scores(batch.ids_BT, batch.rows.loss_mask_BT)
        output = reward_loss(
            Pair(score_B[batch.chosen_P], score_B[batch.rejected_P]), config, n_rankings=batch.count_targets(),
            weight_P=batch.weight_P, margin_P=batch.margin_P,
        )  # fmt: skip
        return replace(output, n_head_tokens=0)

    return objective


def train_reward_model(
    parent: Path,
    compared: Sequence[Compared],
    config: RewardTrainingConfig,
    run: RunDirectory,
    folder: Path,
    terminal: Terminal,
    meter: Meter,
    profile: DeviceProfile,
    *,
    held_out: Sequence[Compared] | None = None,
    stage: str = "reward",
) -> TrainResult:
    """Train on `compared` (less a part held out, where `held_out` is not given) and judge on what was held out."""
    learned = list(compared)
    if held_out is None:
        learned, held_out = split_by_prompt(learned, config.held_out_share, config.seed)
    place = Place(stage, run, folder, terminal, meter, profile)
    curve = []
    for share in sorted(config.curve):
        part = learned[: max(1, round(share * len(learned)))]
        name = f"{round(100 * share)}-percent"
        inner = replace(place, stage=f"{stage}-{name}", folder=folder / "curve" / name)
        _, quality = _train(parent, part, held_out, config, inner)
        curve.append({"n_trained": len(part), "quality": quality.to_json() if quality else None})
    result, quality = _train(parent, learned, held_out, config, place)
    found = quality.to_json() if quality else None
    write_json(folder / REWARD, {
        "n_trained": len(learned), "n_held_out": len(held_out), "quality": found,
        "learning_curve": [*curve, {"n_trained": len(learned), "quality": found}],
    })  # fmt: skip
    return result


def _train(
    parent: Path, learned: Sequence[Compared], held_out: Sequence[Compared], config: RewardTrainingConfig, place: Place
) -> tuple[TrainResult, RewardQuality | None]:
    base, tokenizer = load_model(parent, default_device())
    seq_len = config.seq_len or base.config.max_seq_len
    comparisons, report = encode_comparisons(learned, tokenizer, seq_len, "end")
    for problem in report.problems():
        place.terminal.warn(place.stage, problem)
    loader = PreferenceLoader(
        comparisons, config.batch_tokens, config.seed, tokenizer_hash=tokenizer.hash, pad_id=tokenizer.end_of_text_id,
        about=f"{config.reward.model_dump_json()} from {weights_id(parent)[:12]}",
    )  # fmt: skip
    model = ScoringTransformer.of(base, config.seed)

    def evaluate(trained: Transformer) -> dict[str, float]:
        assert isinstance(trained, ScoringTransformer)
        quality = judge_reward_model(RewardModel(trained, tokenizer), held_out)
        return {"eval/loss": quality.log_loss, "eval/accuracy": quality.accuracy.value}

    result = trainer_of(
        place, model, tokenizer, loader, reward_objective(config.reward),
        config.training(loader.n_batches(), seq_len), parent=parent, settings=config,
        evaluate=evaluate if held_out else None,
        provenance={"comparisons": len(learned)},
    ).fit()  # fmt: skip
    if not held_out:
        return result, None
    quality = judge_reward_model(RewardModel.load(result.checkpoint, model.device), held_out)
    place.terminal.line(place.stage, f"{len(learned):,} comparisons learned · {describe(quality)}")
    return result, quality
