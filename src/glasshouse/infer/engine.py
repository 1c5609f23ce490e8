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
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from glasshouse.core.errors import ConfigError
from glasshouse.infer.blocks import BlockPool
from glasshouse.infer.choosing import Chosen, choose_tokens
from glasshouse.infer.doubt import Doubt, read_doubt
from glasshouse.infer.loading import Loaded, Room, StoredModel, load, torch_runner
from glasshouse.infer.quantize import Weights
from glasshouse.infer.reading import PromptScores, PromptVector, Reading, Score
from glasshouse.infer.runner import Runner, step_batch
from glasshouse.infer.sampler import Choice, GrammarState
from glasshouse.infer.sampling import MAX_ALTERNATIVES, SamplingConfig
from glasshouse.infer.scheduler import Scheduler
from glasshouse.infer.sequence import Completion, Delta, FinishReason, Sequence
from glasshouse.infer.speculate import Drafter
from glasshouse.infer.tails import Tail, TailReader, TailScore
from glasshouse.infer.text import TextStream
from glasshouse.model import Transformer
from glasshouse.tokenizer import Tokenizer

__all__ = ["Completion", "Delta", "Engine", "EngineStats", "FinishReason", "Sequence"]

MAX_STEP_TOKENS = 512


class Grammar(Protocol):
    """The form an answer must have (`infer.grammar`)."""

    def state(self) -> GrammarState: ...


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

    @property
    def accepted_share(self) -> float | None:
        """Of the guesses (`speculate`), those that were right; None where nothing was guessed."""
        return self.n_accepted_tokens / self.n_drafted_tokens if self.n_drafted_tokens else None


class Engine:
    """A model and its tokenizer, ready to answer."""

    def __init__(
        self, model: Transformer | StoredModel, tokenizer: Tokenizer, *, runner: Runner | None = None,
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
        self._model, self.config, self.device = model, model.config, model.device
        self.tokenizer, self.end_ids = tokenizer, tokenizer.end_ids
        self.max_step_tokens = max(max_step_tokens, max_running)  # everyone running gets a token every step
        self.loaded: Loaded | None = None  # where it came from and how it is held, when `load` made it
        self.doubt: Doubt | None = None  # how likely what it says in a conversation has to be
        if runner is None:
            room = Room(memory_bytes, max_running, self.max_step_tokens)
            runner = torch_runner(self.model, room, is_deterministic=is_deterministic)
        self._runner = runner
        self._scheduler = Scheduler(
            BlockPool(runner.n_blocks), runner.block_size, max_running=max_running, max_step_tokens=self.max_step_tokens
        )
        self._drafter = drafter
        self._numbers = count()
        self._mailboxes: dict[Sequence, deque[Delta]] = {}
        self.failed: list[Sequence] = []  # those whose `error` was found in the last step
        self.read: list[Sequence] = []  # those whose `reading` was completed in the last step
        self._n_steps = self._n_prompt = self._n_generated = self._n_drafted = self._n_accepted = 0

    @classmethod
    def load(
        cls, path: Path | str, device: torch.device | str | None = None, *, weights: Weights | None = None,
        memory_bytes: int | None = None, max_running: int = 64, speculate: str | Path | None = None,
    ) -> "Engine":  # fmt: skip
        """The engine of a run directory (its finished model), a checkpoint directory or a model of the Hub.

        On CPU the compiled kernels run it where they can be built.  `weights` says how it is kept in memory (quantized
        once, beside the checkpoint); None: fp32 on CPU, as it is stored elsewhere.  `speculate` guesses tokens ahead,
        which changes none of them: "prompt-lookup", or the name of a smaller model with the same tokenizer.
        """
        room = Room(memory_bytes, max_running, max(MAX_STEP_TOKENS, max_running))
        loaded = load(path, device, weights, room, None if speculate is None else str(speculate))
        engine = cls(
            loaded.model, loaded.tokenizer, runner=loaded.runner, max_running=max_running, drafter=loaded.drafter
        )
        engine.loaded, engine.doubt = loaded, read_doubt(loaded.location.folder)
        return engine

    @property
    def model(self) -> Transformer:
        """The model in torch, for looking inside.  One that the compiled kernels hold is read again, and kept."""
        if isinstance(self._model, StoredModel):
            self._model = self._model.read()
        return self._model

    @property
    def why_slower(self) -> str | None:
        """In one line, why the compiled kernels do not run this model, for a person to read; None where they do."""
        return None if self.loaded is None else self.loaded.slower

    @property
    def max_seq_len(self) -> int:
        return self.config.max_seq_len

    @property
    def has_work(self) -> bool:
        return bool(self._scheduler.running or self._scheduler.waiting)

    def prompt_ids(self, text: str) -> list[int]:
        """Ids of a plain text prompt, after what some vocabularies put before every text (Llama: `<s>`); an empty one
        starts where every document starts, after an end of text."""
        return [*self.tokenizer.begin_ids, *self.tokenizer.encode(text)] or [self.tokenizer.end_of_text_id]

    def in_conversation(self, sampling: SamplingConfig) -> SamplingConfig:
        """`sampling` for an assistant's answer: with the model's own doubt, where it has one and none is given."""
        is_given = sampling.doubt is not None or self.doubt is None
        return sampling if is_given else sampling.model_copy(update={"doubt": self.doubt})

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

    def prepare_reading(self, ids: SequenceOf[int], reading: Reading) -> Sequence:
        """A checked request that generates nothing: the prompt is read for its own sake.  It ends in `read`."""
        self._check_prompt(ids)
        self._check_memory(len(ids), 1)
        choice = Choice(SamplingConfig(max_tokens=1), ids, self.tokenizer.vocab_size)
        return Sequence(next(self._numbers), ids, choice, 1, frozenset(), TextStream(self.tokenizer, ()), reading)

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
        self.failed, self.read = [], []
        if self._drafter is not None:
            self._drafter.propose([s for s in self._scheduler.running if _can_be_guessed(s)])
        plan = self._scheduler.plan()
        if not plan:
            return []
        try:
            chosen = self._run_step(plan)
        except BaseException:
            self._scheduler.pool.forget()  # what this step should have written is not there
            raise
        self._n_steps += 1
        self._n_generated += len(chosen.deltas)
        self._n_drafted += chosen.n_drafted
        self._n_accepted += chosen.n_accepted
        for sequence, delta in chosen.deltas:
            if sequence.finish_reason is not None:
                self._remove(sequence)
            if sequence in self._mailboxes:
                self._mailboxes[sequence].append(delta)
        self.failed = chosen.failed
        for sequence in chosen.failed:
            self.cancel(sequence)
        return chosen.deltas

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

    def score(self, ids: SequenceOf[int], n_alternatives: int = 0) -> list[Score]:
        """Of every token after the first: its log-probability given those before it, and the likeliest ones instead."""
        scores = PromptScores(self.tokenizer.vocab_size, n_alternatives)
        self._run([self.prepare_reading(ids, scores)], None)
        return scores.scores

    @torch.inference_mode()
    def score_tails(self, tails: SequenceOf[Tail]) -> list[TailScore]:
        """How likely the last tokens of each text are, given those before; beginnings that are shared are read once."""
        for number, tail in enumerate(tails):
            if not 1 <= tail.n_scored < len(tail.ids):
                raise ConfigError(
                    f"text {number}: of {len(tail.ids)} tokens all but the first can be scored; got {tail.n_scored}"
                )
            try:
                self._check_prompt(tail.ids[:-1])
                self._check_prompt(tail.ids[-1:])
            except ConfigError as error:
                raise ConfigError(f"text {number}: {error}") from None
        reader = TailReader(
            self._runner, self._scheduler.pool, vocab_size=self.config.vocab_size, is_on_cpu=self.device.type == "cpu"
        )
        return reader.scores(tails)

    def embed(self, prompts: SequenceOf[SequenceOf[int]]) -> Tensor:
        """One vector a prompt, (n, D) of length 1: the mean over its tokens of what the head reads."""
        vectors = [PromptVector() for _ in prompts]
        self._run([self.prepare_reading(ids, vector) for ids, vector in zip(prompts, vectors)], None)
        return torch.stack([v.vector() for v in vectors]) if vectors else torch.zeros(0, self.config.d_model)

    def _run(self, sequences: SequenceOf[Sequence], on_finished: Callable[[int], None] | None) -> None:
        n_finished, ours = 0, set(sequences)
        try:
            for sequence in sequences:
                self.submit(sequence)
            while n_finished < len(sequences):
                ended = sum(s in ours and delta.finish_reason is not None for s, delta in self.step())
                ended += sum(s in ours for s in self.read)
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

    def _run_step(self, plan: Mapping[Sequence, int]) -> Chosen:
        generating = {s: n for s, n in plan.items() if s.reading is None}
        for sequence, n_tokens in plan.items():
            if sequence.reading is not None:
                self._read_piece(sequence, sequence.reading, n_tokens)
        if not generating:
            return Chosen()
        batch, answering = step_batch(generating)
        logits_RV = self._runner.run(batch)[:, : self.tokenizer.vocab_size]
        for sequence, n_tokens in generating.items():
            sequence.n_computed += n_tokens - len(sequence.drafts)
        return choose_tokens(logits_RV, answering)

    def _read_piece(self, sequence: Sequence, reading: Reading, n_tokens: int) -> None:
        batch, _ = step_batch({sequence: n_tokens})
        reading.take(self._runner, batch, sequence.tokens)
        sequence.n_computed += n_tokens
        if sequence.n_pending == 0:
            sequence.finish_reason = "stop"
            self.read.append(sequence)
            self._remove(sequence)

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
        if max(ids) >= self.config.vocab_size or min(ids) < 0:
            raise ConfigError(
                f"it has an id outside the model's vocabulary (0 to {self.config.vocab_size - 1}): "
                "it was encoded by another tokenizer."
            )

    def _check_memory(self, n_prompt: int, limit: int) -> None:
        n_slots = self._runner.n_blocks * self._runner.block_size
        if n_prompt + limit - 1 > n_slots:  # the last token is never fed back
            raise ConfigError(
                f"{n_prompt} prompt tokens and {limit} to come need more than the {n_slots} places that the memory "
                "budget allows. Shorten the prompt, lower max_tokens, or raise the budget (memory_bytes)."
            )


def _can_be_guessed(sequence: Sequence) -> bool:
    """It needs its next token only, and no grammar decides which."""
    return sequence.n_pending == 1 and sequence.reading is None and not sequence.choice.grammar


def _raise_failure(sequences: "Iterator[Sequence] | SequenceOf[Sequence]") -> None:
    for sequence in sequences:
        if sequence.error is not None:
            raise sequence.error
