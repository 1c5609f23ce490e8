"""Ids to ids: many requests in batches, or one request token by token.  The same code path serves both.

A request's tokens depend on its prompt, its settings and the weights, never on its neighbours: randomness is a function
of (seed, token index), and logits differ between batch sizes only by float rounding (about 1e-6), so a batch gives what
one request alone would give.
Two requests with the same prompt and the same seed therefore give the same answer: for several answers to one prompt,
give each its own seed (or none).
Left out: continuous batching, paged cache, constrained decoding (the serving engine's work).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from glasshouse.checkpoint import load_model
from glasshouse.core.environment import default_device
from glasshouse.core.errors import ConfigError, DataError
from glasshouse.infer.decode import BatchDecoder, Request, batches
from glasshouse.infer.location import model_folder
from glasshouse.infer.sampling import SamplingConfig
from glasshouse.infer.text import TextStream
from glasshouse.model import Transformer
from glasshouse.tokenizer import Tokenizer

FinishReason = Literal["stop", "length"]
END_TOKENS = ("<|endoftext|>", "<|im_end|>", "<|im_start|>")  # a model that opens a new turn has ended its own


@dataclass(frozen=True, slots=True)
class Completion:
    """What was generated.

    `ids` is every token chosen, the one that ended the answer included; `text` has neither that token nor anything of a
    stop string.  `logps` (one an id, nats) are the model's own, before temperature and the other settings.
    `finish_reason` is "stop" (end token or stop string) or "length" (max_tokens, or the context was full).
    """

    ids: tuple[int, ...]
    text: str
    finish_reason: FinishReason
    logps: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Delta:
    """One streamed token: `text` is what became certain with it (often "").  The last one has the `finish_reason`."""

    text: str
    id: int
    logp: float
    finish_reason: FinishReason | None = None


class Engine:
    """A model and its tokenizer, ready to answer.

    `max_rows` and `max_batch_bytes` bound a batch; 256 rows are where a 2.5M-parameter model stops gaining on 2 cores.
    """

    def __init__(self, model: Transformer, tokenizer: Tokenizer, *, max_rows: int = 256,
                 max_batch_bytes: int = 512 * 2**20) -> None:  # fmt: skip
        if tokenizer.vocab_size > model.config.vocab_size:
            raise ConfigError(
                f"this tokenizer has {tokenizer.vocab_size} tokens but the model knows {model.config.vocab_size}: "
                "they do not belong together. Take both from one checkpoint."
            )
        self.model, self.tokenizer = model, tokenizer
        self.max_rows, self.max_batch_bytes = max_rows, max_batch_bytes
        self.end_ids = end_ids(tokenizer)

    @classmethod
    def load(cls, path: Path | str, device: torch.device | str | None = None) -> "Engine":
        """The engine of a run directory (its finished model) or of a checkpoint directory."""
        model, tokenizer = load_model(model_folder(path), device or default_device())
        return cls(model, tokenizer)

    @property
    def max_seq_len(self) -> int:
        return self.model.config.max_seq_len

    def prompt_ids(self, text: str) -> list[int]:
        """Ids of a plain text prompt; an empty one starts where every document starts, after an end of text."""
        return self.tokenizer.encode(text) or [self.tokenizer.end_of_text_id]

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: SamplingConfig | Sequence[SamplingConfig],
        *,
        on_finished: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """One completion a prompt, in the order given.  `sampling` is one for all, or one a prompt.

        `on_finished(n)` is called after each batch with the number of prompts done.
        """
        requests = self._requests(prompts, sampling)
        results: dict[int, Completion] = {}
        for numbers in batches(requests, self.model.config, self.max_rows, self.max_batch_bytes):
            results.update(zip(numbers, self._complete([requests[n] for n in numbers])))
            if on_finished is not None:
                on_finished(len(results))
        return [results[n] for n in range(len(requests))]

    def stream(self, ids: Sequence[int], sampling: SamplingConfig) -> Iterator[Delta]:
        """The same tokens and text as `generate`, one `Delta` a token."""
        [request] = self._requests([ids], sampling)
        return self._stream(request)

    def _stream(self, request: Request) -> Iterator[Delta]:
        decoder = BatchDecoder(self.model, [request], self.end_ids, self.tokenizer.vocab_size)
        text = TextStream(self.tokenizer, request.sampling.stop)
        while decoder.is_live:
            index = int(decoder.n_tokens_B[0])
            decoder.step()
            id, logp = int(decoder.ids_BT[0, index]), float(decoder.logps_BT[0, index])
            piece = "" if id in self.end_ids else text.push(id)
            if text.is_stopped:
                decoder.stop([0])
            if decoder.is_live:
                yield Delta(piece, id, logp)
            else:
                piece += text.finish()
                yield Delta(piece, id, logp, self._reason(id, text))

    def _complete(self, requests: Sequence[Request]) -> list[Completion]:
        decoder = BatchDecoder(self.model, requests, self.end_ids, self.tokenizer.vocab_size)
        # Only rows with stop strings are looked at while decoding; the others get their text at the end.
        texts = {b: TextStream(self.tokenizer, r.sampling.stop) for b, r in enumerate(requests) if r.sampling.stop}
        index = 0
        while decoder.is_live:
            live_B = decoder.step()
            if texts:
                self._push(decoder, texts, live_B.tolist(), decoder.ids_BT[:, index].tolist())
            index += 1
        n_tokens, ids, logps = decoder.n_tokens_B.tolist(), decoder.ids_BT.tolist(), decoder.logps_BT.tolist()
        return [self._completion(ids[b][:n], logps[b][:n], texts.get(b)) for b, n in enumerate(n_tokens)]

    def _push(self, decoder: BatchDecoder, texts: dict[int, TextStream], live: list[int], ids: list[int]) -> None:
        for b in set(live) & texts.keys():
            if ids[b] not in self.end_ids:
                texts[b].push(ids[b])
        if stopped := [b for b in live if b in texts and texts[b].is_stopped]:
            decoder.stop(stopped)

    def _completion(self, ids: list[int], logps: list[float], text: TextStream | None) -> Completion:
        if text is None:
            text = TextStream(self.tokenizer)
            for id in ids if ids[-1] not in self.end_ids else ids[:-1]:
                text.push(id)
        text.finish()
        return Completion(tuple(ids), text.text, self._reason(ids[-1], text), tuple(logps))

    def _reason(self, last_id: int, text: TextStream) -> FinishReason:
        return "stop" if last_id in self.end_ids or text.is_stopped else "length"

    def _requests(
        self, prompts: Sequence[Sequence[int]], sampling: SamplingConfig | Sequence[SamplingConfig]
    ) -> list[Request]:
        configs = [sampling] * len(prompts) if isinstance(sampling, SamplingConfig) else list(sampling)
        if len(configs) != len(prompts):
            raise ConfigError(f"{len(prompts)} prompts need as many sampling settings, or one; got {len(configs)}")
        return [self._request(n, prompt, config) for n, (prompt, config) in enumerate(zip(prompts, configs))]

    def _request(self, number: int, prompt: Sequence[int], sampling: SamplingConfig) -> Request:
        if not prompt:
            raise ConfigError(f"prompt {number} has no tokens; to start from nothing, use Engine.prompt_ids('')")
        if len(prompt) > self.max_seq_len:
            raise ConfigError(
                f"prompt {number} has {len(prompt)} tokens, but the model's context is {self.max_seq_len}. "
                "Shorten the prompt, or use a model trained with a larger max_seq_len."
            )
        if max(prompt) >= self.model.config.vocab_size or min(prompt) < 0:
            raise ConfigError(
                f"prompt {number} has an id outside the model's vocabulary (0 to {self.model.config.vocab_size - 1}): "
                "it was encoded by another tokenizer."
            )
        limit = min(sampling.max_tokens, self.max_seq_len - len(prompt) + 1)
        return Request(tuple(prompt), sampling, limit)


def end_ids(tokenizer: Tokenizer) -> tuple[int, ...]:
    """The tokens that end an answer: ours, or what a foreign tokenizer names as its end of text."""
    ours = tuple(tokenizer.special_ids[t] for t in END_TOKENS if t in tokenizer.special_ids)
    try:
        return tuple(dict.fromkeys((*ours, tokenizer.end_of_text_id)))
    except DataError:  # a vocabulary without one: answers end by length and stop strings
        return ours
