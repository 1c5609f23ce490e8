"""Which parameter is updated how: matrices, embedding, head and vectors, each with its rate.

Hidden matrices are what Muon is made for; embeddings, the output head and vectors (norms) go to AdamW.  A tied
embedding is the head too and stays in the embedding group.
"""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field
from torch import nn

from glasshouse.core.config import Config
from glasshouse.optim.muon import Precision

Rule = Literal["muon", "adamw"]


class OptimConfig(Config):
    matrices: Rule = "muon"  # the rule for hidden matrices; everything else is always AdamW
    matrix_lr: float = Field(default=0.02, ge=0)
    embedding_lr: float = Field(default=3e-3, ge=0)
    head_lr: float = Field(default=3e-3, ge=0)
    vector_lr: float = Field(default=3e-3, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)  # of matrices, embedding and head; vectors have none
    momentum: float = Field(default=0.95, ge=0, lt=1)
    muon_iterations: Literal[3, 5] = 5  # of its orthogonalization; 3 pays where a step has few tokens for its matrices
    muon_precision: Precision = "auto"  # of the same; bf16 halves its time on a CPU that multiplies bf16 (AVX512_BF16)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)
    eps: float = Field(default=1e-8, gt=0)


@dataclass(frozen=True)
class ParameterGroup:
    name: str
    rule: Rule
    lr: float
    weight_decay: float
    parameters: tuple[tuple[str, nn.Parameter], ...]

    @property
    def n_parameters(self) -> int:
        return sum(p.numel() for _, p in self.parameters)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "rule": self.rule,
            "lr": self.lr,
            "weight_decay": self.weight_decay,
            "n_tensors": len(self.parameters),
            "n_parameters": self.n_parameters,
        }


BESIDE = "beside."  # names of what is trained with a model and is no part of it


def group_parameters(model: nn.Module, config: OptimConfig, beside: nn.Module | None = None) -> list[ParameterGroup]:
    """Every trainable parameter in exactly one group; empty groups are left out.

    `beside`: a small module that is trained with the model, such as a value head.
    """
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    members: dict[str, list[tuple[str, nn.Parameter]]] = {"matrices": [], "embedding": [], "head": [], "vectors": []}
    more = [] if beside is None else [(BESIDE + name, parameter) for name, parameter in beside.named_parameters()]
    for name, parameter in (*model.named_parameters(), *more):  # a shared tensor is named once
        if parameter.requires_grad:
            members[_kind(name, parameter, id(parameter) in embeddings)].append((name, parameter))
    rates = {
        "matrices": config.matrix_lr,
        "embedding": config.embedding_lr,
        "head": config.head_lr,
        "vectors": config.vector_lr,
    }
    return [
        ParameterGroup(
            kind,
            config.matrices if kind == "matrices" else "adamw",
            rates[kind],
            0.0 if kind == "vectors" else config.weight_decay,
            tuple(parameters),
        )
        for kind, parameters in members.items()
        if parameters
    ]


def describe_groups(groups: list[ParameterGroup]) -> list[str]:
    """One line a group, for the terminal and the report."""
    return [
        f"{g.name:<10} {g.rule:<6} lr {g.lr:<8g} decay {g.weight_decay:<6g} "
        f"{len(g.parameters):>4} tensors {g.n_parameters:>12,} parameters"
        for g in groups
    ]


def _kind(name: str, parameter: nn.Parameter, is_embedding: bool) -> str:
    if is_embedding:
        return "embedding"
    if parameter.ndim < 2:
        return "vectors"
    return "head" if name.split(".")[-2:-1] in (["lm_head"], ["score"]) else "matrices"
