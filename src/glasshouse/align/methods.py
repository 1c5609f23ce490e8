"""From rewarded answers to a loss, by two methods: what is computed once an iteration, and what every step computes.

Shapes: B answers, T target positions, P prompts, G answers to each.  Units: nats, rewards.
`prepare` fills what the loss needs into an iteration's batch; its second result is the method's state, which is kept
with the iteration and given to the next one, so that a resumed run goes on from files alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from glasshouse.align.rollout import RolloutConfig, SampledFrom
from glasshouse.align.value_head import ValueHead
from glasshouse.batch import LMBatch, RolloutBatch
from glasshouse.model import Transformer
from glasshouse.objective import LanguageModel, LossOutput, token_logps
from glasshouse.objective.grpo import GRPOConfig, group_advantages, grpo_loss, row_weights
from glasshouse.objective.ppo import (
    KLController,
    PPOConfig,
    advantages_and_returns,
    ppo_loss,
    token_rewards,
    whiten,
)

MethodName = Literal["grpo", "ppo"]
ROWS_AT_ONCE = 64  # of a forward pass without gradient
State = Mapping[str, Any]  # JSON values


class Method(Protocol):
    @property
    def value_head(self) -> ValueHead | None: ...

    def prepare(self, model: Transformer, batch: RolloutBatch, before: State | None) -> tuple[RolloutBatch, State]: ...

    def minibatch(self, batch: RolloutBatch, rows: Sequence[int]) -> RolloutBatch: ...

    def loss(self, model: LanguageModel, batch: RolloutBatch) -> LossOutput: ...


class GRPO:
    """Advantages within the group of each prompt; no value head, and no reference unless the KL is weighed."""

    def __init__(self, config: GRPOConfig, rollout: RolloutConfig, n_ids: int, reference: Transformer) -> None:
        self.config, self.rollout, self.n_ids, self.reference = config, rollout, n_ids, reference

    @property
    def value_head(self) -> None:
        return None

    def prepare(self, model: Transformer, batch: RolloutBatch, before: State | None) -> tuple[RolloutBatch, State]:
        advantage_PG = group_advantages(batch.reward_B.view(-1, self.rollout.n_answers), self.config.scales_by_std)
        advantage_BT = advantage_PG.view(-1, 1) * batch.mask_BT
        reference_BT = None
        if self.config.kl_weight:
            reference_BT = logps_of(self.reference, batch.rows, self.n_ids, self.rollout.temperature)
        return replace(batch, advantage_BT=advantage_BT, reference_logp_BT=reference_BT), {}

    def minibatch(self, batch: RolloutBatch, rows: Sequence[int]) -> RolloutBatch:
        """Rows whose group was rewarded alike have no gradient and are left out; the others' weights make up for it.

        The gradient is exactly that of all rows; late in training, when most questions are answered right every time,
        this saves most of the work.
        """
        n_B = batch.mask_BT.sum(dim=1)
        index = torch.tensor(rows)
        weight_B = row_weights(n_B[index], self.config.normalisation, self.rollout.max_tokens)
        learns = batch.advantage_BT[index].ne(0).any(dim=1)
        if self.config.kl_weight or not learns.any():
            return replace(batch.select(rows), weight_B=weight_B)
        kept = index[learns]
        share = n_B[kept].sum() / n_B[index].sum()
        return replace(batch.select(kept.tolist()), weight_B=weight_B[learns] * share)

    def loss(self, model: LanguageModel, batch: RolloutBatch) -> LossOutput:
        logp_BT = token_logps(SampledFrom(model, self.n_ids), batch.rows, temperature=self.rollout.temperature)
        return grpo_loss(
            logp_BT, batch.sampled_logp_BT, batch.advantage_BT, batch.mask_BT, batch.weight_B, self.config,
            batch.reference_logp_BT,
        )  # fmt: skip


class PPO:
    """A value head says what was to be expected at every token; the KL to the reference is part of the reward."""

    def __init__(self, config: PPOConfig, rollout: RolloutConfig, n_ids: int, reference: Transformer) -> None:
        self.config, self.rollout, self.n_ids, self.reference = config, rollout, n_ids, reference
        self._head = ValueHead(reference.config.d_model).to(reference.device)

    @property
    def value_head(self) -> ValueHead:
        return self._head

    def prepare(self, model: Transformer, batch: RolloutBatch, before: State | None) -> tuple[RolloutBatch, State]:
        config, mask_BT = self.config, batch.mask_BT
        controller = KLController(config.kl_weight, config.kl_target, config.kl_horizon)
        controller = KLController.from_json(before["controller"]) if before else controller
        reference_BT = logps_of(self.reference, batch.rows, self.n_ids, self.rollout.temperature)
        # an unknown log-probability counts as the reference's own: no penalty
        logp_BT = torch.where(batch.sampled_logp_BT.isfinite(), batch.sampled_logp_BT, reference_BT)
        reward_BT = token_rewards(batch.reward_B, logp_BT, reference_BT, mask_BT, controller.weight)
        if config.whitens_rewards:
            reward_BT = whiten(reward_BT, mask_BT, keeps_mean=True)
        value_BT = self._values(model, batch.rows) * mask_BT
        advantage_BT, return_BT = advantages_and_returns(reward_BT, value_BT, mask_BT, config.discount, config.trace)
        if config.whitens_advantages:
            advantage_BT = whiten(advantage_BT, mask_BT)
        kl = float(((logp_BT - reference_BT) * mask_BT).sum() / batch.n_rows)
        prepared = replace(
            batch, advantage_BT=advantage_BT, reference_logp_BT=reference_BT, value_BT=value_BT, return_BT=return_BT
        )
        return prepared, {"kl_weight": controller.weight, "controller": controller.after(kl, batch.n_rows).to_json()}

    def minibatch(self, batch: RolloutBatch, rows: Sequence[int]) -> RolloutBatch:
        return batch.select(rows)

    def loss(self, model: LanguageModel, batch: RolloutBatch) -> LossOutput:
        assert batch.value_BT is not None and batch.return_BT is not None  # `prepare` made them
        seen = SampledFrom(model, self.n_ids)
        logp_BT = token_logps(seen, batch.rows, temperature=self.rollout.temperature)
        assert seen.hidden_BTD is not None
        value_BT = self._head(seen.hidden_BTD)
        return ppo_loss(
            logp_BT, value_BT, batch.sampled_logp_BT, batch.value_BT, batch.advantage_BT, batch.return_BT,
            batch.mask_BT, self.config,
        )  # fmt: skip

    @torch.no_grad()
    def _values(self, model: Transformer, rows: LMBatch) -> Tensor:
        return _in_parts(lambda part: self._head(model.hidden(part.ids_BT)).cpu(), rows, model.device)


@torch.no_grad()
def logps_of(model: Transformer, rows: LMBatch, n_ids: int, temperature: float) -> Tensor:
    """(B, T) on CPU."""
    seen = SampledFrom(model, n_ids)
    return _in_parts(lambda part: token_logps(seen, part, temperature=temperature).cpu(), rows, model.device)


def _in_parts(compute: Callable[[LMBatch], Tensor], rows: LMBatch, device: torch.device) -> Tensor:
    starts = range(0, rows.n_rows, ROWS_AT_ONCE)
    return torch.cat([compute(rows.rows(at, at + ROWS_AT_ONCE).to(device)) for at in starts])
