"""A recipe: what to do, stage by stage, with every value.  Each part is configured by the folder that does the work."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from glasshouse.align import OnlineConfig, PreferenceTrainingConfig
from glasshouse.batch import ConversationConfig
from glasshouse.core.config import Config
from glasshouse.corpus import CorpusConfig
from glasshouse.corpus.questions import QuestionConfig
from glasshouse.evals.trust import TrustConfig
from glasshouse.meter import MeterConfig
from glasshouse.model import InitConfig, ModelConfig
from glasshouse.parallel import MeshConfig, check_model
from glasshouse.plan import DialConfig
from glasshouse.tokenizer import TokenizerConfig
from glasshouse.train import TrainConfig

ORDER = (
    "corpus", "tokenizer", "pretrain", "evals-pretrain", "trust-pretrain", "sft", "evals-sft", "trust-sft", "align",
    "evals-align", "trust-align",
)  # fmt: skip
NEEDS = {"tokenizer": "corpus", "pretrain": "tokenizer", "evals-pretrain": "pretrain",
         "trust-pretrain": "pretrain", "sft": "pretrain", "evals-sft": "sft", "trust-sft": "sft", "align": "sft",
         "evals-align": "align", "trust-align": "align"}  # fmt: skip


class PretrainConfig(TrainConfig):
    crosses_documents: bool = True  # attention within a window may reach into the document before
    prompts: tuple[str, ...] = ()  # continued at five moments of training; none: the beginnings of held-out documents


class FinetuneConfig(TrainConfig):
    conversations: str = "stdlib:"  # "stdlib:", "text:" (the run's own text) or a file (OpenAI, ShareGPT, Alpaca form)
    questions: QuestionConfig = QuestionConfig()  # of "stdlib:" and "text:": how many of each kind an epoch asks
    layout: ConversationConfig = ConversationConfig()
    prompts: tuple[str, ...] = ()  # asked at five moments; none: the first of the evaluation's questions


Fault = Literal["wrong", "refused", "invented"]


class AlignConfig(Config):
    """Exactly one of `offline` and `online`."""

    judged: str = "answers:"  # "answers:", the model's own to questions of its training, or a file of preferences
    n_questions: Annotated[int, Field(ge=1)] = 6000  # of "answers:" and of `online`
    temperature: Annotated[float, Field(gt=0)] = 0.7  # of "answers:"
    faults: tuple[Fault, ...] = ("wrong", "refused", "invented")  # of "answers:", those that are learned from
    offline: PreferenceTrainingConfig | None = None  # DPO or KTO
    online: OnlineConfig | None = None  # GRPO or PPO, rewarded for being right and for not being wrong
    wrong: Annotated[float, Field(lt=0)] = -1.0  # what a wrong answer costs `online`, where a right one earns 1
    # share of right answers given up so that answers it is unsure of are held back (`doubting`); 0: none are
    may_withhold: Annotated[float, Field(ge=0, lt=0.5)] = 0.0

    @model_validator(mode="after")
    def _check_method(self) -> Self:
        if (self.offline is None) == (self.online is None):
            raise ValueError("alignment is either offline (DPO, KTO) or online (GRPO, PPO); give exactly one table")
        return self


class EvalsConfig(Config):
    n_documents: Annotated[int, Field(ge=1)] = 500  # held-out documents for bits per byte, at most
    max_bytes: Annotated[int, Field(ge=1000)] = 400_000  # of their text
    n_questions: Annotated[int, Field(ge=1)] | None = None  # of a kind; None asks all
    n_early_questions: Annotated[int, Field(ge=1)] = 100  # of a kind, before the model was taught to answer
    n_development: Annotated[int, Field(ge=1)] = 500  # of a kind, in phrasings that its teaching was improved by
    seed: int = 1


class Recipe(Config):
    """`stages` in order; a part of the recipe that no stage reads is allowed and unused."""

    name: str = "run"
    license: str | None = None  # of the text, for the model card; known by itself for "stdlib:"
    language: str | None = None  # of the text, such as "en"
    seed: int = 1
    stages: tuple[str, ...] = ORDER[: ORDER.index("align")]
    dial: DialConfig | None = None
    corpus: CorpusConfig = CorpusConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: ModelConfig
    init: InitConfig = InitConfig()
    pretrain: PretrainConfig | None = None
    sft: FinetuneConfig | None = None
    align: AlignConfig | None = None
    evals: EvalsConfig = EvalsConfig()
    trust: TrustConfig = TrustConfig()
    meter: MeterConfig = MeterConfig()
    mesh: MeshConfig = MeshConfig()  # of `torchrun`: how its processes share the training stages

    @field_validator("stages")
    @classmethod
    def _check_stages(cls, stages: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [s for s in stages if s not in ORDER]:
            raise ValueError(f"unknown stage {unknown[0]!r}; the stages are {', '.join(ORDER)}")
        if not stages or list(stages) != [s for s in ORDER if s in stages]:
            raise ValueError(f"stages come once each and in this order: {', '.join(ORDER)}")
        if missing := [f"{s} needs {NEEDS[s]}" for s in stages if NEEDS.get(s, s) not in stages]:
            raise ValueError(f"a stage is missing: {'; '.join(missing)}")
        return stages

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        for stage in self.training_stages:
            if getattr(self, stage) is None:
                raise ValueError(f"the stage {stage} needs a table [{stage}] with at least seq_len and batch_tokens")
        if "align" in self.stages and self.align is None:
            raise ValueError("the stage align needs a table [align.offline] or [align.online]")
        return self

    def training(self, stage: str) -> TrainConfig:
        """The configuration of a training stage that is among `stages`."""
        config: TrainConfig = getattr(self, stage)
        return config

    @property
    def training_stages(self) -> tuple[str, ...]:
        return tuple(s for s in self.stages if s in ("pretrain", "sft"))


def check_mesh(recipe: Recipe, sizes: Mapping[str, int]) -> None:
    """Refuse, before any work, a mesh that does not divide the model or the rows of a training stage."""
    for stage in recipe.training_stages:
        config = recipe.training(stage)
        n_rows = config.batch_tokens // config.seq_len if stage == "pretrain" else None
        check_model(recipe.model, sizes, config.seq_len, n_rows, config.microbatch_tokens)
