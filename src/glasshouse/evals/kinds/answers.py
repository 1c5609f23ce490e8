"""Written answers: the model speaks, and scorers say what its text is worth.

Every scorer of `SCORERS` may be named; chrF and BLEU are those of the whole corpus, from the counts of its texts.
"""

from collections.abc import Callable, Iterable, Sequence

from pydantic import Field, field_validator

from glasshouse.core.config import Config
from glasshouse.core.errors import DataError
from glasshouse.evals.chrf import chrf_counts
from glasshouse.evals.item import Answered, Item
from glasshouse.evals.language_model import LanguageModel
from glasshouse.evals.scorers import check_scorer, score_all
from glasshouse.evals.template import Record, fill, look_up, text_of
from glasshouse.infer import SamplingConfig


class AnswersConfig(Config):
    scorers: tuple[str, ...] = Field(min_length=1)
    right: str | None = None  # template: the right answer
    field: str | None = None  # or: the field with a list of right answers, any of which counts
    prefix: str = " "  # before the answers of examples
    example: str | None = None  # template of the answer in an example; None: the first right one
    max_tokens: int = Field(default=64, ge=1)
    stop: tuple[str, ...] = ("\n",)
    temperature: float = 0.0
    begins_with: str = ""  # what the prompt already says of the answer; put before the model's text to be scored

    @field_validator("scorers")
    @classmethod
    def _scorers(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            try:
                check_scorer(name)
            except Exception as error:
                raise ValueError(str(error)) from None
        return names


def answers_of(config: AnswersConfig, record: Record) -> tuple[str, ...]:
    found = [fill(config.right, record)] if config.right is not None else []
    if config.field is not None:
        value = look_up(record, config.field)
        found += map(text_of, value) if isinstance(value, list | tuple) else [text_of(value)]
    answers = tuple(answer for answer in found if answer.strip())
    if not answers and set(config.scorers) != {"json"}:
        raise DataError("it has no right answer")
    return answers


def example_answer(config: AnswersConfig, record: Record) -> str:
    return fill(config.example, record) if config.example is not None else answers_of(config, record)[0]


def ask(model: LanguageModel, items: Sequence[Item], config: AnswersConfig, seed: int) -> list[Answered]:
    options = SamplingConfig(
        max_tokens=config.max_tokens, stop=config.stop, temperature=config.temperature,
        seed=seed if config.temperature else None,
    )  # fmt: skip
    texts = [config.begins_with + text for text in model.generate([item.prompt for item in items], options)]
    answers = [item.answers for item in items]
    columns: dict[str, list[tuple[float, ...]]] = {name: _columns(name, texts, answers) for name in config.scorers}
    return [Answered(text, {name: found[i] for name, found in columns.items()}) for i, text in enumerate(texts)]


def _columns(name: str, texts: Sequence[str], answers: Sequence[Sequence[str]]) -> list[tuple[float, ...]]:
    if name in COUNTS:
        return [tuple(COUNTS[name](text, expected)) for text, expected in zip(texts, answers)]
    return [(float(value), 1.0) for value in score_all(name, texts, answers)]


def _bleu_counts(text: str, answers: Iterable[str]) -> list[float]:
    from glasshouse.evals.bleu import bleu_counts  # its package is optional

    return bleu_counts(text, answers)


COUNTS: dict[str, Callable[[str, Sequence[str]], Sequence[float]]] = {"chrf": chrf_counts, "bleu": _bleu_counts}
