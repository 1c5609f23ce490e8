"""Rollouts: several answers to each of some prompts, sampled by the engine, with the log-probability of every token.

Shapes: B answers (G to each of P prompts, group by group), T target positions.  Units: nats, rewards, seconds.
What is sampled is a pure function of (weights, seed, iteration, prompts asked): each answer has its own seed, and an
answer does not depend on its neighbours.  The engine's log-probabilities are compared with the trainer's: learning from
samples is right only while both agree on what was sampled from, so the difference is recorded and bounded.
Answers are sampled in lockstep (`infer.lockstep`: to the bit what the engine says, without its bookkeeping).  Native
weights are packed anew for every iteration: 7 ms of the 46 ms that 64 answers of 16 tokens then take with 0.9 M
parameters, against 157 ms by the torch runner (CPU time of one thread).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from glasshouse.align.prompt_order import PromptOrder
from glasshouse.batch import LMBatch
from glasshouse.core.config import Config
from glasshouse.core.errors import ConfigError, DataError, TrainingError
from glasshouse.core.records import Message, Question
from glasshouse.core.seeds import derive_seed
from glasshouse.infer import Completion, Engine, chat_ids
from glasshouse.infer.lockstep import blocks_needed, sample_together
from glasshouse.infer.native import best_runner
from glasshouse.infer.runner import BLOCK_SIZE
from glasshouse.model import Transformer
from glasshouse.objective import LanguageModel, kernels_of, token_logps
from glasshouse.tokenizer import Tokenizer

MAX_TOGETHER = 256  # answers sampled at once: beyond, the cost of an answer no longer falls


class RolloutConfig(Config):
    n_prompts: int = Field(default=16, gt=0)  # an iteration
    n_answers: int = Field(default=8, gt=0)  # to each prompt
    max_tokens: int = Field(default=64, gt=0)  # of an answer
    skip_settled: float = Field(default=0.0, ge=0, lt=1)  # probability to pass over who was right: `prompt_order`
    temperature: float = Field(default=1.0, gt=0)  # nothing else shapes the distribution: its log-probability is known
    ignores_end: bool = False  # go on after the tokens that end an answer: for measuring
    check_every: int = Field(default=10, gt=0)  # iterations; in these the trainer computes log-probabilities too ...
    n_checked: int = Field(default=8, gt=0)  # ... of so many answers
    max_logp_gap: float = Field(default=0.02, gt=0)  # nats a token in the mean between engine and trainer; above: error


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked.  `question` holds the right answers where there are any."""

    messages: tuple[Message, ...]
    question: Question | None = None

    @staticmethod
    def of(question: Question) -> "Prompt":
        return Prompt((Message("user", question.prompt),), question)


@dataclass(frozen=True)
class Sampled:
    """The answers of one iteration, in order of the prompts.  `prompt_B` counts among all prompts."""

    rows: LMBatch
    logp_BT: Tensor
    prompt_B: list[int]
    completions: list[Completion]


class PromptSet:
    """Encoded prompts, and the order in which they are asked."""

    def __init__(self, prompts: Sequence[Prompt], tokenizer: Tokenizer, max_seq_len: int, seed: int) -> None:
        if not prompts:
            raise DataError("there are no prompts to learn from; give at least one")
        self.prompts, self.seed, self.order = prompts, seed, PromptOrder(len(prompts), seed)
        self.ids = [chat_ids(tokenizer, prompt.messages) for prompt in prompts]
        longest = max(self.ids, key=len)
        if len(longest) >= max_seq_len:
            at = self.ids.index(longest)
            raise DataError(
                f"prompt {at} ({prompts[at].messages[-1].content[:60]!r}) takes {len(longest)} tokens, but the model's "
                f"context is {max_seq_len}: no room for an answer. Leave it out or shorten it."
            )


def sample(
    model: Transformer, tokenizer: Tokenizer, prompts: PromptSet, asked: Sequence[int], config: RolloutConfig,
    iteration: int,
) -> Sampled:  # fmt: skip
    """Answers to the prompts numbered `asked`.

    The last token of an answer that ended is the one that ended it, and is learned too.
    """
    size = max(1, MAX_TOGETHER // config.n_answers)
    parts = [[prompts.ids[n] for n in asked[at : at + size]] for at in range(0, len(asked), size)]
    n_blocks = max(blocks_needed(part, config.n_answers, config.max_tokens, BLOCK_SIZE) for part in parts)
    runner = best_runner(model, n_blocks=n_blocks)
    completions: list[Completion] = []
    for part in parts:
        first, stop = len(completions), len(completions) + len(part) * config.n_answers
        completions += sample_together(
            runner, tokenizer, part, [derive_seed(prompts.seed, "answer", iteration, b) for b in range(first, stop)],
            max_tokens=config.max_tokens, temperature=config.temperature, max_seq_len=model.config.max_seq_len,
            end_ids=() if config.ignores_end else tokenizer.end_ids,
        )  # fmt: skip
    prompt_B = [n for n in asked for _ in range(config.n_answers)]
    rows, logp_BT = rows_of([prompts.ids[n] for n in prompt_B], completions, tokenizer.end_of_text_id)
    return Sampled(rows, logp_BT, prompt_B, completions)


def sampling_engine(model: Transformer, tokenizer: Tokenizer, n_answers: int, n_tokens: int) -> Engine:
    """An engine with the weights as they are now, for `n_answers` at once of up to `n_tokens`, prompts included."""
    n_running = min(n_answers, MAX_TOGETHER)
    runner = best_runner(model, n_blocks=n_running * -(-n_tokens // BLOCK_SIZE))
    return Engine(model, tokenizer, runner=runner, max_running=n_running, max_step_tokens=max(1024, n_running))


def rows_of(prompts: Sequence[Sequence[int]], completions: Sequence[Completion], pad_id: int) -> tuple[LMBatch, Tensor]:
    """Prompt and answer as rows, right-padded, loss on the answers; log-probabilities at the same positions."""
    lengths = [len(p) + len(c.ids) for p, c in zip(prompts, completions)]
    shape = (len(lengths), max(lengths))
    tokens = torch.full(shape, pad_id, dtype=torch.long)
    logp_BT, mask_BT = torch.zeros(shape[0], shape[1] - 1), torch.zeros(shape[0], shape[1] - 1, dtype=torch.bool)
    for b, (prompt, completion) in enumerate(zip(prompts, completions)):
        start, end = len(prompt) - 1, lengths[b] - 1
        tokens[b, : lengths[b]] = torch.tensor([*prompt, *completion.ids])
        logp_BT[b, start:end] = torch.tensor(completion.logps)
        mask_BT[b, start:end] = True
    return LMBatch(tokens[:, :-1], tokens[:, 1:], mask_BT), logp_BT


class SampledFrom:
    """A model whose head has the tokenizer's ids only, as the engine samples: a padded vocabulary is never drawn.

    `hidden_BTD` are the hidden states it gave last, for a value head to read.
    """

    def __init__(self, model: LanguageModel, n_ids: int) -> None:
        self._model, self._n_ids = model, n_ids
        self.hidden_BTD: Tensor | None = None

    def hidden(self, ids_BT: Tensor, *, document_BT: Tensor | None = None) -> Tensor:
        self.hidden_BTD = self._model.hidden(ids_BT, document_BT=document_BT)
        return self.hidden_BTD

    @property
    def kernels(self) -> str:
        return kernels_of(self._model)

    @property
    def head_weight_VD(self) -> Tensor:
        weight_VD = self._model.head_weight_VD
        return weight_VD if len(weight_VD) == self._n_ids else weight_VD[: self._n_ids]


@dataclass(frozen=True, slots=True)
class LogpGap:
    """How far apart the engine's and the trainer's log-probabilities of the same tokens are, nats a token."""

    mean: float
    largest: float


def logp_gap(model: LanguageModel, rows: LMBatch, logp_BT: Tensor, config: RolloutConfig) -> LogpGap:
    """Measured on the first `n_checked` rows; a gap above the limit is an error: ratios would be wrong."""
    part = rows.rows(0, config.n_checked)
    with torch.no_grad():
        trainer_BT = token_logps(model, part, temperature=config.temperature)
    assert part.loss_mask_BT is not None
    difference = (trainer_BT - logp_BT[: config.n_checked].to(trainer_BT))[part.loss_mask_BT].abs()
    known = difference[difference.isfinite()]
    if not known.numel():
        return LogpGap(0.0, 0.0)
    gap = LogpGap(float(known.mean()), float(known.max()))
    if gap.mean > config.max_logp_gap:
        raise TrainingError(
            f"the engine that sampled and the model that is trained disagree by {gap.mean:.3g} nats a token (allowed: "
            f"rollout.max_logp_gap = {config.max_logp_gap:g}), so nothing right can be learned from these answers. "
            "Sample and train in one precision, or raise the limit if the difference is rounding."
        )
    return gap


def check_room(config: RolloutConfig, max_seq_len: int) -> None:
    if config.max_tokens >= max_seq_len:
        raise ConfigError(
            f"rollout.max_tokens={config.max_tokens} leaves no room for a prompt in the model's context of "
            f"{max_seq_len}; lower it."
        )
