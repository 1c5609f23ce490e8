"""A model made by hand: what it says and how likely it finds things is given as functions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from glasshouse.batch import TokenShard, encode_documents, write_shard
from glasshouse.core.records import Document, Message
from glasshouse.evals.language_model import Likelihood, Prompt, TooLong
from glasshouse.evals.trust import Subject
from glasshouse.infer import SamplingConfig
from glasshouse.tokenizer import Tokenizer


def text_of(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else prompt[-1].content


@dataclass
class MadeModel:
    """`says(prompt)`; `logp(context, continuation)`, by default the same for every character."""

    says: Callable[[str], str] = lambda prompt: "nothing"
    logp: Callable[[str, str], float] = lambda context, continuation: -float(len(continuation))
    longest: int = 10_000  # characters
    asked: list[str] = field(default_factory=list)

    def likelihoods(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Likelihood]:
        lengths = [len(text_of(p)) + len(c) for p, c in pairs]
        if too_long := [i for i, n in enumerate(lengths) if n > self.longest]:
            raise TooLong(too_long, [lengths[i] for i in too_long], len(pairs), self.longest)
        return [_likelihood(self.logp(text_of(p), c), c) for p, c in pairs]

    def rolling_likelihoods(self, texts: Sequence[str]) -> list[Likelihood]:
        return [_likelihood(self.logp("", text), text) for text in texts]

    def generate(self, prompts: Sequence[Prompt], options: SamplingConfig) -> list[str]:
        self.asked += map(text_of, prompts)
        return [self.says(text_of(prompt)) for prompt in prompts]


def _likelihood(logp: float, text: str) -> Likelihood:
    return Likelihood(logp, False, max(1, len(text) // 3), len(text.encode()))


@pytest.fixture
def subject(tokenizer: Tokenizer) -> Callable[..., Subject]:
    plain = Subject(MadeModel(), tokenizer, max_seq_len=256, is_chat=True)
    return lambda model, **changes: replace(plain, model=model, **changes)


@pytest.fixture(scope="module")
def shards(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, TokenShard]:
    """Two texts that share no more than a word."""
    folder = tmp_path_factory.mktemp("shards")
    made = {}
    forms = {
        "train": "The apple number {} weighs {} grams and costs {} coins.\n",
        "holdout": "{} men saw {} or {} ships\n",
    }
    for split, form in forms.items():
        lines = (form.format(n, n * n % 97, n % 13) for n in range(300))
        documents = [Document(split, "".join(lines), "x")]
        made[split] = write_shard(folder / f"{split}.tokens", encode_documents(documents, tokenizer), tokenizer)
    return made


def scores(finding: Any) -> dict[str, Any]:
    return {score.name: score for score in finding.scores}


def user(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


def whole_text(shard: TokenShard, tokenizer: Tokenizer) -> str:
    return tokenizer.decode([int(i) for i in shard.ids if i != tokenizer.end_of_text_id])


def shared_probes(root: Path) -> Path:
    return root / "probes"
