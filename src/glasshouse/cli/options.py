"""Options that several verbs share: each is named, explained and given its default once."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

RUNS = Path("runs")
Texts = Annotated[tuple[str, ...], Parameter(show_default=False)]
Settings = Annotated[
    Texts, Parameter(help="Override one recipe key: --set pretrain.steps=10. May be repeated.", show_default=False)
]
RunPath = Annotated[Path, Parameter(help="The run directory.")]
RecipeName = Annotated[str, Parameter(help="A TOML file, or the name of a recipe that comes with Glasshouse.")]
ModelName = Annotated[
    Path, Parameter(help="A run (runs/quickstart), a checkpoint folder, or a model of the Hugging Face Hub.")
]
CampaignName = Annotated[str, Parameter(help="The campaign.")]
ItemId = Annotated[str, Parameter(help="The item's id, as glass label next shows it.")]
Port = Annotated[int | None, Parameter(help="The port, by default 8000; 0 takes a free one.")]
Host = Annotated[
    str | None,
    Parameter(
        help="The address to listen on. Any but this machine's own asks every request for a key (glass key create)."
    ),
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Dial:
    """What decides the size of a life; at most one is given, and it replaces the recipe's own.

    Attributes
    ----------
    time
        Time for the whole life, such as 5m or 1h. (One of time, params and flops.)
    params
        Size of the model, such as 5M.
    flops
        Floating-point operations of training, such as 1e14.
    """

    time: str | None = None
    params: str | None = None
    flops: str | None = None

    def turned(self) -> dict[str, str]:
        return {name: value for name, value in asdict(self).items() if value is not None}


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What a plan for other machines may say beside the dial (all of it together with --device).

    Attributes
    ----------
    count
        How many devices.
    usd
        Money for the devices, in place of time, params or flops.
    model
        A published shape, such as llama-2-70b, in place of one chosen by the budget.
    tokens
        Training tokens, such as 2T, with --params or --model.
    seq_len
        Tokens in a row.
    vocab_size
        Of the tokenizer.
    batch_tokens
        Tokens of a step over all devices, such as 4M.
    fp8
        Matrix products of the layers in fp8.
    usd_per_hour
        Your own price of a device.
    """

    count: int | None = None
    usd: float | None = None
    model: str | None = None
    tokens: str | None = None
    seq_len: int | None = None
    vocab_size: int | None = None
    batch_tokens: str | None = None
    fp8: bool = False
    usd_per_hour: float | None = None

    def given(self) -> dict[str, Any]:
        """All but the model, where they are set."""
        values = {name: value for name, value in asdict(self).items() if value is not None and name != "model"}
        return {name: value for name, value in values.items() if value is not False}


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are drawn in a chat: always the likeliest.

    Attributes
    ----------
    temperature
        0 always takes the likeliest token; higher is more varied.
    top_k
        Keep only so many of the likeliest tokens.
    top_p
        Keep only the likeliest tokens that together have this probability.
    min_p
        Keep only tokens with at least this share of the likeliest one's probability.
    repetition_penalty
        Above 1 makes tokens that have occurred less likely.
    max_tokens
        The longest text to add.
    seed
        Seed of the sampling.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    max_tokens: int = 200
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class VariedSampling(Sampling):
    """How tokens are drawn in a continuation: with variety, and until a text that ends it.

    Attributes
    ----------
    stop
        Text at which to stop; may be repeated.
    """

    temperature: float = 0.8
    top_p: float | None = 0.95
    stop: Texts = ()


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Holding:
    """How a model is held in memory.

    Attributes
    ----------
    weights
        Number format of the weights: fp32, bf16, int8 or int4; by default fp32 on a CPU, as stored on a GPU.
    speculate
        Guess tokens ahead, which changes none: prompt-lookup, or the name of a smaller model with the same tokenizer.
    memory_gib
        Memory for the model and everything in flight, in GiB; by default half of what is free.
    """

    weights: Literal["fp32", "bf16", "int8", "int4"] | None = None
    speculate: str | None = None
    memory_gib: float | None = None

    def to_json(self) -> dict[str, Any]:
        memory_bytes = None if self.memory_gib is None else int(self.memory_gib * 2**30)
        return {"weights": self.weights, "speculate": self.speculate, "memory_bytes": memory_bytes}


AS_IT_IS = Holding()
RECIPES_DIAL, NO_CLUSTER, LIKELIEST, VARIED = Dial(), Cluster(), Sampling(), VariedSampling()
