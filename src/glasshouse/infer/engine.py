"""Ids to ids, many requests at once: they join and leave at every step of the model.

`add` puts a request into the queue, `step` moves all of them on by one step of the model, `cancel` lets one go;
`generate` and `stream`, which block, are loops over these, so there is one path to a token.
A request's tokens depend on its prompt, its settings and the weights, never on its neighbours: randomness is a function
of (seed, token index), and on CPU its logits have the same bits whatever is computed beside them (see `stable`).
Two requests with the same prompt and the same seed therefore give the same answer: for several answers to one prompt,
give each its own seed (or none).
An engine is used by one thread at a time; `background` shares one among many.
"""

from collections import deque
from collections.abc import Callable, Iterator
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from glasshouse.checkpoint import load_model
from glasshouse.core.environment import default_device
from glasshouse.core.errors import CheckpointError, ConfigError, GlasshouseError
from glasshouse.infer.blocks import BlockPool
from glasshouse.infer.embed import embed
from glasshouse.infer.location import model_folder
from glasshouse.infer.memory import block_count
from glasshouse.infer.native import NativeRunner, best_runner
from glasshouse.infer.quantize import load_quantized, quantize
from glasshouse.infer.runner import BLOCK_SIZE, Runner, TorchRunner, step_batch
from glasshouse.infer.sampler import Choice, GrammarState, choose
from glasshouse.infer.sampling import MAX_ALTERNATIVES, SamplingConfig
from glasshouse.infer.scheduler import Scheduler
from glasshouse.infer.sequence import Alternatives, Completion, Delta, FinishReason, Sequence
from glasshouse.infer.text import TextStream
from glasshouse.model import PagedCache, Transformer
from glasshouse.tokenizer import Tokenizer

__all__ = ["Completion", "Delta", "Engine", "EngineStats", "FinishReason", "Sequence"]

MAX_STEP_TOKENS = 512
Weights = Literal["fp32", "bf16", "int8", "int4"]


class Grammar(Protocol):
    """The form an answer must have (`infer.grammar`)."""

    def state(self) -> GrammarState: ...


class Drafter(Protocol):
    """Guesses what comes next (`infer.speculate`)."""

    def propose(self, sequences: SequenceOf[Sequence]) -> None:
        """Fill `drafts` of sequences that only need their next token."""
        ...

    def forget(self, sequence: Sequence) -> None:
        """It has ended."""
        ...


@dataclass(frozen=True, slots=True)
class EngineStats:
    """Now: waiting, running, blocks.  Since the engine was made: the rest."""

    n_waiting: int
    n_running: int
    n_blocks: int
    n_used_blocks: int
    n_prompt_tokens: int
    n_cached_tokens: int  # of the prompts, those that were there already
    n_generated_tokens: int
    n_drafted_tokens: int
    n_accepted_tokens: int  # of the drafted
    n_preemptions: int
    n_steps: int


class Engine:
    """A model and its tokenizer, ready to answer."""

    def __init__(
        self, model: Transformer, tokenizer: Tokenizer, *, runner: Runner | None = None,
        memory_bytes: int | None = None, max_running: int = 64, max_step_tokens: int = MAX_STEP_TOKENS,
        drafter: Drafter | None = None, is_deterministic: bool = True,
    ) -> None:  # fmt: skip
        """`runner` brings its own memory; without one the model runs as it is, within `memory_bytes` in all.

        `max_step_tokens` is how much of the prompts is read between two tokens of the others' answers.
        `is_deterministic` False gives up equal bits on CPU for speed with few requests.
        """
        if tokenizer.vocab_size > model.config.vocab_size:
            raise ConfigError(
                f"this tokenizer has {tokenizer.vocab_size} tokens but the model knows {model.config.vocab_size}: "
                "they do not belong together. Take both from one checkpoint."
            )
        for name, value in (("max_running", max_running), ("max_step_tokens", max_step_tokens)):
            if value < 1:
                raise ConfigError(f"{name} must be at least 1; got {value}")
        self.model, self.tokenizer = model, tokenizer
        self.end_ids = tokenizer.end_ids
        self.max_step_tokens = max(max_step_tokens, max_running)  # everyone running gets a token every step
        self._runner = runner or _torch_runner(model, memory_bytes, max_running, self.max_step_tokens, is_deterministic)
        self._scheduler = Scheduler(
            BlockPool(self._runner.n_blocks), self._runner.block_size, max_running=max_running,
            max_step_tokens=self.max_step_tokens,
        )  # fmt: skip
        self._drafter = drafter
        self._numbers = count()
        self._mailboxes: dict[Sequence, deque[Delta]] = {}
        self.failed: list[Sequence] = []  # those whose `error` was found in the last step
        self._n_steps = self._n_prompt = self._n_generated = self._n_drafted = self._n_accepted = 0

    @classmethod
    def load(
        cls, path: Path | str, device: torch.device | str | None = None, *, weights: Weights | None = None,
        memory_bytes: int | None = None, max_running: int = 64,
    ) -> "Engine":  # fmt: skip
        """The engine of a run directory (its finished model) or of a checkpoint directory.

        On CPU the compiled kernels run it where they can be built.  `weights` says how it is kept in memory (quantized
        once, beside the checkpoint); None: fp32 on CPU, as it is stored elsewhere.
        """
        folder = model_folder(path)
        model, tokenizer = load_model(folder, device or default_device())
        kind = weights or ("fp32" if model.device.type == "cpu" else None)
        runner = None if kind is None else _fast_runner(model, folder, kind, memory_bytes, max_running)
        return cls(model, tokenizer, runner=runner, memory_bytes=memory_bytes, max_running=max_running)

    @property
    def max_seq_len(self) -> int:
        return self.model.config.max_seq_len

    @property
    def has_work(self) -> bool:
        return bool(self._scheduler.running or self._scheduler.waiting)

    def prompt_ids(self, text: str) -> list[int]:
        """Ids of a plain text prompt; an empty one starts where every document starts, after an end of text."""
        return self.tokenizer.encode(text) or [self.tokenizer.end_of_text_id]

    # ---- one request at a time in, one step at a time ----------------------------------------------------------------

    def prepare(
        self, ids: SequenceOf[int], sampling: SamplingConfig, *, grammar: Grammar | None = None, streams: bool = True
    ) -> Sequence:
        """A checked request that is not yet queued.  Touches nothing, so any thread may call it.

        `streams` False: its text is wanted at the end only, which costs less.
        """
        self._check_prompt(ids)
        n_ids = self.tokenizer.vocab_size
        for name, named in (("logit_bias", sampling.logit_bias), ("stop_ids", sampling.stop_ids)):
            if wrong := [i for i in named if not 0 <= i < n_ids]:
                raise ConfigError(f"{name}: {wrong[0]} is not a token; the vocabulary goes from 0 to {n_ids - 1}")
        limit = min(sampling.max_tokens, self.max_seq_len - len(ids) + 1)
        self._check_memory(len(ids), limit)
        ends = frozenset(sampling.stop_ids if sampling.ignores_end else (*sampling.stop_ids, *self.end_ids))
        choice = Choice(sampling, ids, n_ids, grammar.state() if grammar else None)
        text = TextStream(self.tokenizer, sampling.stop, waits=not streams and not sampling.stop)
        return Sequence(next(self._numbers), ids, choice, limit, ends, text)

    def submit(self, sequence: Sequence) -> None:
        """Queue what `prepare` made."""
        self._n_prompt += sequence.n_prompt_tokens
        self._scheduler.add(sequence)

    def add(self, ids: SequenceOf[int], sampling: SamplingConfig, *, grammar: Grammar | None = None) -> Sequence:
        """Check a request and queue it; `step` will answer it."""
        sequence = self.prepare(ids, sampling, grammar=grammar)
        self.submit(sequence)
        return sequence

    def cancel(self, sequence: Sequence) -> None:
        """Let it go; its memory is free at once.  One that has ended stays as it is."""
        if sequence.finish_reason is None:
            sequence.finish_reason = "cancelled"
            self._remove(sequence)

    @torch.inference_mode()
    def step(self) -> list[tuple[Sequence, Delta]]:
        """Move all requests on by one step of the model; the tokens that came out, nothing where nobody waits."""
        self.failed = []
        if self._drafter is not None:
            self._drafter.propose([s for s in self._scheduler.running if s.n_pending == 1 and not s.choice.grammar])
        plan = self._scheduler.plan()
        if not plan:
            return []
        batch, answering = step_batch(plan)
        try:
            logits_RV = self._runner.run(batch)[:, : self.tokenizer.vocab_size]
        except BaseException:
            self._scheduler.pool.forget()  # what this step should have written is not there
            raise
        for sequence, n_tokens in plan.items():
            sequence.n_computed += n_tokens - len(sequence.drafts)
        self._n_steps += 1
        deltas = self._choose(logits_RV, answering)
        for sequence, delta in deltas:
            if sequence in self._mailboxes:
                self._mailboxes[sequence].append(delta)
        return deltas

    def stats(self) -> EngineStats:
        scheduler = self._scheduler
        return EngineStats(
            len(scheduler.waiting), len(scheduler.running), scheduler.pool.n_blocks, scheduler.pool.n_used,
            self._n_prompt, scheduler.n_cached_tokens, self._n_generated, self._n_drafted, self._n_accepted,
            scheduler.n_preemptions, self._n_steps,
        )  # fmt: skip

    # ---- blocking ----------------------------------------------------------------------------------------------------

    def generate(
        self, prompts: SequenceOf[SequenceOf[int]], sampling: SamplingConfig | SequenceOf[SamplingConfig], *,
        grammars: SequenceOf[Grammar | None] | None = None, on_finished: Callable[[int], None] | None = None,
    ) -> list[Completion]:  # fmt: skip
        """One completion a prompt, in the order given.  `sampling` is one for all, or one a prompt.

        `on_finished(n)` is called whenever prompts are done, with their number so far.
        """
        configs = [sampling] * len(prompts) if isinstance(sampling, SamplingConfig) else list(sampling)
        forms = list(grammars) if grammars is not None else [None] * len(prompts)
        if len(configs) != len(prompts) or len(forms) != len(prompts):
            raise ConfigError(
                f"{len(prompts)} prompts need as many sampling settings and grammars, or one setting for all; "
                f"got {len(configs)} and {len(forms)}"
            )
        sequences = []
        for n, (prompt, config, form) in enumerate(zip(prompts, configs, forms)):
            try:
                sequences.append(self.prepare(prompt, config, grammar=form, streams=False))
            except ConfigError as error:
                raise ConfigError(f"prompt {n}: {error}") from None
        self._run(sequences, on_finished)
        return [sequence.completion() for sequence in sequences]

    def stream(
        self, ids: SequenceOf[int], sampling: SamplingConfig, *, grammar: Grammar | None = None
    ) -> Iterator[Delta]:
        """The same tokens and text as `generate`, one `Delta` a token.  Closing the iterator cancels."""
        return self._stream(self.prepare(ids, sampling, grammar=grammar))

    def next_token(self, ids: SequenceOf[int], k: int = 10) -> list[tuple[int, float]]:
        """The k likeliest next tokens with their log-probabilities."""
        if not 1 <= k <= MAX_ALTERNATIVES:
            raise ConfigError(f"k must be from 1 to {MAX_ALTERNATIVES}; got {k}")
        [completion] = self.generate([ids], SamplingConfig(max_tokens=1, n_logprobs=k))
        return list(completion.alternatives[0])

    def embed(self, prompts: SequenceOf[SequenceOf[int]]) -> Tensor:
        """One vector a prompt, (n, D) of length 1: the mean over its tokens of what the head reads."""
        for prompt in prompts:
            self._check_prompt(prompt)
        return embed(self.model, prompts)

    def _run(self, sequences: SequenceOf[Sequence], on_finished: Callable[[int], None] | None) -> None:
        n_finished, ours = 0, set(sequences)
        try:
            for sequence in sequences:
                self.submit(sequence)
            while n_finished < len(sequences):
                ended = sum(s in ours and delta.finish_reason is not None for s, delta in self.step())
                _raise_failure(s for s in self.failed if s in ours)
                n_finished += ended
                if ended and on_finished is not None:
                    on_finished(n_finished)
        finally:
            for sequence in sequences:
                self.cancel(sequence)

    def _stream(self, sequence: Sequence) -> Iterator[Delta]:
        self.submit(sequence)
        mailbox = self._mailboxes[sequence] = deque()  # another stream of this engine may be taking the steps
        try:
            while mailbox or sequence.finish_reason is None:
                if not mailbox:
                    self.step()
                while mailbox:
                    yield mailbox.popleft()
            _raise_failure([sequence])
        finally:
            del self._mailboxes[sequence]
            self.cancel(sequence)

    # ---- inside a step -----------------------------------------------------------------------------------------------

    def _choose(self, logits_RV: Tensor, answering: SequenceOf[Sequence]) -> list[tuple[Sequence, Delta]]:
        """Tokens of every sequence whose logits are here.  Drafts that equal what is chosen anyway are kept, and then
        the next place's logits hold too: speculation can change no token, greedy or sampled."""
        logp_RV = logits_RV.log_softmax(dim=1)
        n_rows = [1 + len(s.drafts) for s in answering]
        self._n_drafted += len(logits_RV) - len(answering)
        live = list(zip(answering, np.cumsum([0, *n_rows[:-1]]).tolist())) if answering else []
        deltas: list[tuple[Sequence, Delta]] = []
        place = 0
        while live:
            live, masks = self._masked(live)
            rows = [row + place for _, row in live]
            everything = len(rows) == len(logits_RV)
            rows_logits_RV, rows_logp_RV = (logits_RV, logp_RV) if everything else (logits_RV[rows], logp_RV[rows])
            chosen = self._push(live, rows_logits_RV, rows_logp_RV, masks) if live else []
            deltas += chosen
            live = [pair for pair, (_, delta) in zip(live, chosen) if _is_draft_right(pair[0], delta, place)]
            for sequence, _ in live:
                sequence.n_computed += 1
                self._n_accepted += 1
            place += 1
        for sequence in answering:
            sequence.drafts.clear()
        return deltas

    def _masked(
        self, live: list[tuple[Sequence, int]]
    ) -> tuple[list[tuple[Sequence, int]], list[Tensor | None] | None]:
        """What each one's grammar allows.  One whose grammar cannot go on fails; the others do not."""
        if not any(s.choice.grammar for s, _ in live):
            return live, None
        kept: list[tuple[Sequence, int]] = []
        masks: list[Tensor | None] = []
        for sequence, row in live:
            grammar = sequence.choice.grammar
            try:
                masks.append(grammar.mask() if grammar else None)
                kept.append((sequence, row))
            except GlasshouseError as error:
                sequence.error = error
                self.failed.append(sequence)
                self.cancel(sequence)
        return kept, masks

    def _push(
        self, live: list[tuple[Sequence, int]], logits_RV: Tensor, logp_RV: Tensor, masks: list[Tensor | None] | None
    ) -> list[tuple[Sequence, Delta]]:
        sequences = [sequence for sequence, _ in live]
        ids_R = choose(logits_RV, [s.choice for s in sequences], masks)
        logp_R = logp_RV.gather(1, ids_R[:, None]).squeeze(1)
        if not bool(torch.isfinite(logp_R).all()):
            raise CheckpointError(
                "the model's output is not a number: its weights are damaged or its training diverged. "
                "Go back to an earlier checkpoint."
            )
        alternatives = _alternatives(logp_RV, [s.choice.config.n_logprobs for s in sequences])
        deltas = []
        for row, (sequence, id, logp) in enumerate(zip(sequences, ids_R.tolist(), logp_R.tolist())):
            deltas.append((sequence, sequence.push(id, logp, alternatives.get(row, ()))))
            if sequence.finish_reason is not None:
                self._remove(sequence)
        self._n_generated += len(deltas)
        return deltas

    def _remove(self, sequence: Sequence) -> None:
        self._scheduler.remove(sequence)
        if self._drafter is not None:
            self._drafter.forget(sequence)

    # ---- checks ------------------------------------------------------------------------------------------------------

    def _check_prompt(self, ids: SequenceOf[int]) -> None:
        if not ids:
            raise ConfigError("it has no tokens; to start from nothing, use Engine.prompt_ids('')")
        if len(ids) > self.max_seq_len:
            raise ConfigError(
                f"it has {len(ids)} tokens, but the model's context is {self.max_seq_len}. "
                "Shorten the prompt, or use a model trained with a larger max_seq_len."
            )
        if max(ids) >= self.model.config.vocab_size or min(ids) < 0:
            raise ConfigError(
                f"it has an id outside the model's vocabulary (0 to {self.model.config.vocab_size - 1}): "
                "it was encoded by another tokenizer."
            )

    def _check_memory(self, n_prompt: int, limit: int) -> None:
        n_slots = self._runner.n_blocks * self._runner.block_size
        if n_prompt + limit - 1 > n_slots:  # the last token is never fed back
            raise ConfigError(
                f"{n_prompt} prompt tokens and {limit} to come need more than the {n_slots} places that the memory "
                "budget allows. Shorten the prompt, lower max_tokens, or raise the budget (memory_bytes)."
            )


def _is_draft_right(sequence: Sequence, delta: Delta, place: int) -> bool:
    drafts = sequence.drafts
    return sequence.finish_reason is None and place < len(drafts) and drafts[place] == delta.id


def _alternatives(logp_RV: Tensor, n_R: SequenceOf[int]) -> dict[int, Alternatives]:
    rows = [row for row, n in enumerate(n_R) if n]
    if not rows:
        return {}
    top = logp_RV[rows].topk(min(max(n_R), logp_RV.shape[1]), dim=1)
    pairs = zip(rows, top.indices.tolist(), top.values.tolist())
    return {row: tuple(zip(ids[: n_R[row]], logps[: n_R[row]])) for row, ids, logps in pairs}


def _raise_failure(sequences: "Iterator[Sequence] | SequenceOf[Sequence]") -> None:
    for sequence in sequences:
        if sequence.error is not None:
            raise sequence.error


def _torch_runner(
    model: Transformer, memory_bytes: int | None, max_running: int, max_step_tokens: int, is_deterministic: bool
) -> TorchRunner:
    block_bytes = PagedCache.block_bytes(model.config, BLOCK_SIZE, model.dtype)
    n_blocks = block_count(model, block_bytes, BLOCK_SIZE, memory_bytes, max_running, max_step_tokens)
    return TorchRunner(model, n_blocks, BLOCK_SIZE, is_deterministic=is_deterministic)


def _fast_runner(
    model: Transformer, folder: Path, weights: Weights, memory_bytes: int | None, max_running: int
) -> Runner:
    quantized = None
    if weights == "int8" or weights == "int4":
        quantize(folder, weights)
        quantized = load_quantized(folder, weights)
    block_bytes = NativeRunner.block_bytes(model.config, BLOCK_SIZE)
    n_blocks = block_count(model, block_bytes, BLOCK_SIZE, memory_bytes, max_running, MAX_STEP_TOKENS)
    return best_runner(model, n_blocks=n_blocks, block_size=BLOCK_SIZE, weights=weights, quantized=quantized)
