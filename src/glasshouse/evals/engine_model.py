"""The three methods of a judged model, by the engine: what is scored is what would be served, quantized or not.

Token boundaries: a context and its continuation are encoded together, as they would be read, and cut where the context
alone ends; white space at the end of a context belongs to the continuation (so does lm-evaluation-harness: most
vocabularies put a space before a word).  A chat prompt is rendered by the model's template, its answer encoded alone.
"""

from collections.abc import Sequence
from pathlib import Path

from glasshouse.checkpoint import read_manifest
from glasshouse.checkpoint.manifest import OWN_FOLDER
from glasshouse.core.errors import DataError
from glasshouse.core.records import Message
from glasshouse.evals.language_model import Likelihood, Prompt, TooLong
from glasshouse.evals.likelihood import windows
from glasshouse.infer import Engine, SamplingConfig, Tail, chat_ids


class EngineModel:
    """A `LanguageModel`.  `stride` is that of long texts (see `likelihood`); None: half the context."""

    def __init__(self, engine: Engine, stride: int | None = None) -> None:
        self.engine, self.tokenizer = engine, engine.tokenizer
        self.stride = stride or max(1, engine.max_seq_len // 2)

    def likelihoods(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Likelihood]:
        encoded = self._encode_pairs(pairs)
        # The last id of a continuation is scored and not read.
        self._check_fit([len(context) + len(continuation) - 1 for context, continuation in encoded])
        scores = self.engine.score_tails([Tail((*before, *after), len(after)) for before, after in encoded])
        return [
            Likelihood(score.logp_sum, score.is_greedy, len(after), _n_bytes(continuation))
            for score, (_, after), (_, continuation) in zip(scores, encoded, pairs)
        ]

    def rolling_likelihoods(self, texts: Sequence[str]) -> list[Likelihood]:
        encoded = self.tokenizer.encode_batch(texts)
        first = self.engine.prompt_ids("")
        cut = windows([[*first[-1:], *ids] for ids in encoded], self.engine.max_seq_len, self.stride)
        logps, greedy = [0.0] * len(texts), [True] * len(texts)
        for window, score in zip(cut, self.engine.score_tails([Tail(w.ids, w.n_scored) for w in cut])):
            logps[window.owner] += score.logp_sum
            greedy[window.owner] &= score.is_greedy
        return [Likelihood(p, g, len(ids), _n_bytes(text)) for p, g, ids, text in zip(logps, greedy, encoded, texts)]

    def generate(self, prompts: Sequence[Prompt], options: SamplingConfig) -> list[str]:
        ids = [self.prompt_ids(prompt) for prompt in prompts]
        self._check_fit(list(map(len, ids)))
        return [completion.text for completion in self.engine.generate(ids, options)]

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        return self.engine.prompt_ids(prompt) if isinstance(prompt, str) else chat_ids(self.tokenizer, prompt)

    def _encode_pairs(self, pairs: Sequence[tuple[Prompt, str]]) -> list[tuple[list[int], list[int]]]:
        contexts, continuations = zip(*map(_moved_space, pairs)) if pairs else ((), ())
        plain = [context for context in contexts if isinstance(context, str)]
        alone = dict(zip(distinct := list(dict.fromkeys(plain)), self.tokenizer.encode_batch(distinct)))
        together = self.tokenizer.encode_batch(
            [c + after if isinstance(c, str) else after for c, after in zip(contexts, continuations)]
        )
        begin = list(self.tokenizer.begin_ids)
        chats: dict[tuple[Message, ...], list[int]] = {}
        result = []
        for number, (context, whole) in enumerate(zip(contexts, together)):
            if not isinstance(context, str):
                if context not in chats:
                    chats[context] = chat_ids(self.tokenizer, context)
                before, after = chats[context], whole
            elif not context:
                before, after = self.engine.prompt_ids(""), whole
            else:
                before, after = [*begin, *alone[context]], whole[len(alone[context]) :]
            if not after:
                raise DataError(f"continuation {number} ({continuations[number]!r}) has no tokens of its own to score")
            result.append((before, after))
        return result

    def _check_fit(self, lengths: Sequence[int]) -> None:
        limit = self.engine.max_seq_len
        if too_long := [i for i, n in enumerate(lengths) if n > limit]:
            raise TooLong(too_long, [lengths[i] for i in too_long], len(lengths), limit)


def model_name(engine: Engine, path: Path | str) -> str:
    """What a model is called in results: where it was named, which weights it has, and the form they are held in."""
    if engine.loaded is None:
        return str(path)
    folder, hub, weights = engine.loaded.location.folder, engine.loaded.location.hub, engine.loaded.weights
    id = hub.commit if hub else read_manifest(folder).id if (folder / OWN_FOLDER).is_dir() else ""
    return " ".join(filter(None, (str(path), id[:12], "" if weights in (None, "fp32") else weights)))


def _moved_space(pair: tuple[Prompt, str]) -> tuple[Prompt, str]:
    context, continuation = pair
    if not isinstance(context, str):
        return pair
    bare = context.rstrip()
    return bare, context[len(bare) :] + continuation


def _n_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
