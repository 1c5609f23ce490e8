"""Learn from preferences or thumbs without a reward model: DPO and KTO, by the one trainer.

    result = train_on_preferences(checkpoint, preferences, PreferenceTrainingConfig(method="dpo"), run, folder, ...)

The reference is the checkpoint that training starts from.  It looks at every answer once, before the first step; what
it says lies in the stage's folder, so that a resumed run learns from the same numbers to the bit.
Leaves there too, beside what every training leaves, `align.json` {method, n_learned, n_held_out, held_out, samples}.
Units: nats.  Left out: references that move (TR-DPO), and training without one (ORPO, SimPO).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import pydantic
import torch

from glasshouse.align.offline import OfflineConfig, Place, split_by_prompt, trainer_of
from glasshouse.align.reference import kept_logps, row_logps, weights_id
from glasshouse.batch import (
    ComparisonReport,
    Cursor,
    PreferenceBatch,
    PreferenceLoader,
    ThumbBatch,
    ThumbLoader,
    encode_comparisons,
    encode_thumbs,
    thumbs_of,
)
from glasshouse.batch.comparisons import Comparison, Row, cut_left, encode_answer
from glasshouse.checkpoint import load_model
from glasshouse.core.environment import default_device
from glasshouse.core.errors import ConfigError, DataError
from glasshouse.core.files import write_json
from glasshouse.core.records import Conversation, Message, Preference, Thumb
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal
from glasshouse.infer import Engine, SamplingConfig, chat_ids
from glasshouse.meter import DeviceProfile, Meter
from glasshouse.model import Transformer
from glasshouse.objective import (
    DPOConfig,
    KTOConfig,
    LanguageModel,
    LossOutput,
    Objective,
    Pair,
    answer_logps,
    balanced_range,
    dpo_loss,
    kto_loss,
)
from glasshouse.tokenizer import Tokenizer
from glasshouse.train import TrainResult

ALIGN = "align.json"


class PreferenceTrainingConfig(OfflineConfig):
    method: Literal["dpo", "kto"] = "dpo"
    dpo: DPOConfig = DPOConfig()
    kto: KTOConfig = KTOConfig()
    n_samples: int = pydantic.Field(default=8, ge=0)  # held-out prompts answered before and after, for the report

    @pydantic.model_validator(mode="after")
    def _check(self) -> Self:
        for other in {"dpo", "kto"} - {self.method}:
            if getattr(self, other) != type(self).model_fields[other].default:  # written out at their defaults is fine
                raise ValueError(f"settings of {other} are given, but the method is {self.method}")
        return self


def train_on_preferences(
    parent: Path,
    preferences: Sequence[Preference | Thumb],
    config: PreferenceTrainingConfig,
    run: RunDirectory,
    folder: Path,
    terminal: Terminal,
    meter: Meter,
    profile: DeviceProfile,
    *,
    examples: Sequence[Conversation] = (),
    held_out: Sequence[Preference | Thumb] | None = None,
    stage: str = "align",
) -> TrainResult:
    """Train on `preferences`, less a part held out where `held_out` is not given.

    DPO takes preferences, and beside them `examples` to imitate (their last message) where `dpo.nll_weight` says how
    much; the loss is a mean over both.  KTO takes thumbs, and a preference as two of them.
    """
    _check_examples(config, len(examples))
    place = Place(stage, run, folder, terminal, meter, profile)
    learned = list(preferences)
    if held_out is None:
        learned, held_out = split_by_prompt(learned, config.held_out_share, config.seed)
    reference, tokenizer = load_model(parent, default_device())
    reader = _Reader(config, place, reference, weights_id(parent), tokenizer)
    loader, judged = reader.loader(learned, examples), reader.loader(held_out) if held_out else None
    objective = OBJECTIVES[config.method](config)
    model, _ = load_model(parent, default_device())

    def evaluate(trained: Transformer) -> dict[str, float]:
        assert judged is not None
        return {f"eval/{name}": value for name, value in mean_over(judged, objective, trained).items()}

    result = trainer_of(
        place, model, tokenizer, loader, objective, config.training(loader.n_batches(), reader.seq_len), parent=parent,
        settings=config,
        evaluate=evaluate if judged else None, provenance={"judged answers": len(learned)},
    ).fit()  # fmt: skip
    prompts = list(dict.fromkeys(record.prompt for record in held_out or learned))[: config.n_samples]
    write_json(folder / ALIGN, {
        "method": config.method, "n_learned": len(learned), "n_held_out": len(held_out),
        "held_out": dict(result.evaluation), "samples": reader.samples(model.eval(), prompts),
    })  # fmt: skip
    return result


def _check_examples(config: PreferenceTrainingConfig, n_examples: int) -> None:
    if n_examples and not (config.method == "dpo" and config.dpo.nll_weight):
        raise ConfigError(
            f"{n_examples:,} examples to imitate are given, but nothing says how much they count. "
            "Set method = 'dpo' and dpo.nll_weight, or give no examples."
        )


# ---- losses of batches -----------------------------------------------------------------------------------------------


def dpo_objective(config: PreferenceTrainingConfig) -> Objective:
    def objective(model: LanguageModel, batch: PreferenceBatch) -> LossOutput:
        assert batch.reference_logp_B is not None
        logp_B, n_tokens_B = answer_logps(model, batch.rows)
        policy, reference, lengths = (
            Pair(of_B[batch.chosen_P], of_B[batch.rejected_P]) for of_B in (logp_B, batch.reference_logp_B, n_tokens_B)
        )
        output = dpo_loss(policy, reference, lengths, config.dpo)
        loss_sum = output.loss_sum
        if config.dpo.nll_weight:
            first_G = batch.first_G
            loss_sum = loss_sum - config.dpo.nll_weight * (logp_B[first_G] / n_tokens_B[first_G].clamp(min=1)).sum()
        n_targets = batch.count_targets()  # examples too, while the metrics are of pairs
        scale = n_targets / max(1, output.n_targets)
        metrics = {name: scale * value for name, value in output.metrics.items()}
        return replace(
            output, loss_sum=loss_sum, n_targets=n_targets, metrics=metrics, n_head_tokens=batch.rows.count_targets()
        )

    return objective


def kto_objective(config: PreferenceTrainingConfig) -> Objective:
    def objective(model: LanguageModel, batch: ThumbBatch) -> LossOutput:
        logp_B, _ = answer_logps(model, batch.rows)
        with torch.no_grad():
            mismatched_B, _ = answer_logps(model, batch.mismatched)
        output = kto_loss(
            logp_B, batch.reference_logp_B, batch.is_good_B, mismatched_B, batch.mismatched_reference_logp_B, config.kto
        )
        return replace(output, n_head_tokens=batch.rows.count_targets())

    return objective


OBJECTIVES = {"dpo": dpo_objective, "kto": kto_objective}


@torch.no_grad()
def mean_over(loader: PreferenceLoader | ThumbLoader, objective: Objective, model: Transformer) -> dict[str, float]:
    """Loss and metrics over one epoch: `{"loss": 0.69, "accuracy": 0.5, ...}`."""
    sums: dict[str, float] = {}
    n_targets = 0
    for index in range(loader.n_batches()):
        batch, _ = loader.batch_at(Cursor(index=index))
        output = objective(model, batch.to(model.device))
        n_targets += output.n_targets
        for name, value in {"loss": output.loss_sum, **output.metrics}.items():
            name = name.rpartition("/")[2]
            sums[name] = sums.get(name, 0.0) + float(value)
    return {name: value / n_targets for name, value in sums.items()}


# ---- judged answers to rows ------------------------------------------------------------------------------------------


class _Reader:
    """Judged answers to batches that hold what the reference says of them."""

    def __init__(
        self, config: PreferenceTrainingConfig, place: Place, reference: Transformer, reference_id: str,
        tokenizer: Tokenizer,
    ) -> None:  # fmt: skip
        self.config, self.place, self.tokenizer = config, place, tokenizer
        self.reference, self.reference_id = reference, reference_id
        self.pad_id, self.seq_len = tokenizer.end_of_text_id, config.seq_len or reference.config.max_seq_len

    def loader(
        self, judged: Sequence[Preference | Thumb], examples: Sequence[Conversation] = ()
    ) -> PreferenceLoader | ThumbLoader:
        return self._pairs(judged, examples) if self.config.method == "dpo" else self._thumbs(judged)

    def _pairs(self, judged: Sequence[Preference | Thumb], examples: Sequence[Conversation]) -> PreferenceLoader:
        pairs = [record for record in judged if isinstance(record, Preference)]
        if len(pairs) < len(judged):
            raise DataError(
                f"DPO learns from pairs of answers, but {len(judged) - len(pairs)} of {len(judged)} records are thumbs "
                "on one answer. Use --method kto, which learns from thumbs."
            )
        comparisons, report = encode_comparisons(pairs, self.tokenizer, self.seq_len, "answer")
        self._tell(report)
        logps = self._logps([row for c in comparisons for row in c.rows])
        known = [
            replace(c, reference_logps=(chosen, rejected))
            for c, chosen, rejected in zip(comparisons, logps[::2], logps[1::2])
        ]
        return PreferenceLoader([*known, *map(self._example, examples)], **self._about())

    def _example(self, conversation: Conversation) -> Comparison:
        *prompt, answer = conversation.messages
        row = encode_answer(self.tokenizer, prompt, answer.content, "answer")
        return Comparison((cut_left(row, self.seq_len),), (), reference_logps=(0.0,))

    def _thumbs(self, judged: Sequence[Preference | Thumb]) -> ThumbLoader:
        thumbs = [t for r in judged for t in (thumbs_of([r]) if isinstance(r, Preference) else [r])]
        encoded, report = encode_thumbs(thumbs, self.tokenizer, self.seq_len)
        self._tell(report)
        self._tell_balance(sum(e.is_good for e in encoded), len(encoded))
        logps = self._logps([row for e in encoded for row in (e.row, e.mismatched)])
        known = [replace(e, reference_logps=(own, other)) for e, own, other in zip(encoded, logps[::2], logps[1::2])]
        return ThumbLoader(known, **self._about())

    def _logps(self, rows: Sequence[Row]) -> list[float]:
        return kept_logps(self.place.folder, self.reference, self.reference_id, rows, self.pad_id)

    def _about(self) -> dict[str, Any]:
        settings = {"dpo": self.config.dpo, "kto": self.config.kto}[self.config.method]
        return {
            "batch_tokens": self.config.batch_tokens, "seed": self.config.seed, "pad_id": self.pad_id,
            "tokenizer_hash": self.tokenizer.hash,
            "about": f"{self.config.method} {settings.model_dump_json()} against {self.reference_id[:12]}",
        }  # fmt: skip

    def _tell(self, report: ComparisonReport) -> None:
        for problem in report.problems():
            self.place.terminal.warn(self.place.stage, problem)

    def _tell_balance(self, n_good: int, n_all: int) -> None:
        config = self.config.kto
        low, high = balanced_range(n_good, n_all - n_good, config.bad_weight)
        if not 0.99 * low <= config.good_weight <= 1.01 * high:
            self.place.terminal.warn(
                self.place.stage,
                f"{n_good:,} good and {n_all - n_good:,} bad answers: kto.good_weight={config.good_weight:g} is "
                f"outside {low:.2f} to {high:.2f}, which would balance them",
            )

    # ---- before and after ----------------------------------------------------------------------------------------

    def samples(self, model: Transformer, prompts: Sequence[tuple[Message, ...]]) -> list[dict[str, Any]]:
        """The likeliest answers before and after, worth what the trained model finds them likelier than the reference
        did: its implicit reward.  Those that rose most come first."""
        before, after = (self._answers(m, prompts) for m in (self.reference, model))
        rewards = self._implicit_rewards(model, [*zip(prompts, before), *zip(prompts, after)])
        rows = [
            {"prompt": p[-1].content, "before": b, "after": a, "reward_before": rb, "reward_after": ra}
            for p, b, a, rb, ra in zip(prompts, before, after, rewards, rewards[len(prompts) :])
        ]
        return sorted(rows, key=lambda r: r["reward_before"] - r["reward_after"])

    def _answers(self, model: Transformer, prompts: Sequence[tuple[Message, ...]]) -> list[str]:
        n_most = model.config.max_seq_len // 2
        ids = [chat_ids(self.tokenizer, prompt)[-n_most:] for prompt in prompts]
        sampling = SamplingConfig(temperature=0.0, max_tokens=min(64, n_most))
        return [completion.text for completion in Engine(model, self.tokenizer).generate(ids, sampling)]

    def _implicit_rewards(
        self, model: Transformer, exchanges: Sequence[tuple[tuple[Message, ...], str]]
    ) -> list[float]:
        if not exchanges:
            return []
        rows = [cut_left(encode_answer(self.tokenizer, p, a, "answer"), self.seq_len) for p, a in exchanges]
        beta = {"dpo": self.config.dpo.beta, "kto": self.config.kto.beta}[self.config.method]
        difference_B = row_logps(model, rows, self.pad_id) - row_logps(self.reference, rows, self.pad_id)
        values: list[float] = (beta * difference_B).tolist()
        return values
