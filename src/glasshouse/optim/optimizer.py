"""The optimizers of a model as one thing: step, rate, and exact state out and in, by parameter name.

State leaves as plain tensors and JSON values (no pickle): `optim/<parameter>/<quantity>`.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from glasshouse.core.errors import CheckpointError
from glasshouse.optim.adamw import AdamW
from glasshouse.optim.groups import OptimConfig, ParameterGroup, group_parameters
from glasshouse.optim.muon import Muon

PREFIX = "optim/"


class OptimizerSet:
    """One torch optimizer a rule.  `groups` is what was decided; `parameters` all of them, in order."""

    def __init__(self, groups: list[ParameterGroup], optimizers: list[torch.optim.Optimizer]) -> None:
        self.groups, self.optimizers = groups, optimizers
        self.parameters = [p for g in groups for _, p in g.parameters]
        self._names = {id(p): name for g in groups for name, p in g.parameters}
        self._peaks = [(group, group["lr"]) for o in optimizers for group in o.param_groups]

    def set_factor(self, factor: float) -> None:
        """Rate of every group = its peak x `factor`."""
        for group, peak in self._peaks:
            group["lr"] = peak * factor

    def set_kernels(self, kernels: str) -> None:
        """The model's: "auto" or "torch"."""
        for optimizer in self.optimizers:
            if isinstance(optimizer, Muon):
                optimizer.kernels = kernels

    def step(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors, values), copies not made: save or clone before the next step."""
        tensors: dict[str, Tensor] = {}
        values: dict[str, Any] = {}
        for optimizer in self.optimizers:
            for parameter, state in optimizer.state.items():
                for quantity, value in state.items():
                    key = f"{PREFIX}{self._names[id(parameter)]}/{quantity}"
                    (tensors if isinstance(value, Tensor) else values)[key] = value
        return tensors, values

    def by_name(self) -> dict[str, nn.Parameter]:
        return {name: parameter for group in self.groups for name, parameter in group.parameters}

    def load_state(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Inverse of `state`; keys outside `optim/` are ignored, a parameter unknown here is an error."""
        owners = {
            self._names[id(p)]: (optimizer, p)
            for optimizer in self.optimizers
            for group in optimizer.param_groups
            for p in group["params"]
        }
        for optimizer in self.optimizers:
            optimizer.state.clear()
        for key, value in (*tensors.items(), *values.items()):
            if not key.startswith(PREFIX):
                continue
            name, _, quantity = key.removeprefix(PREFIX).rpartition("/")
            if name not in owners:
                raise CheckpointError(
                    f"the optimizer state holds {name!r}, which this model or its parameter groups lack. "
                    f"Resume with the recipe the checkpoint was made with."
                )
            optimizer, parameter = owners[name]
            optimizer.state[parameter][quantity] = _placed(value, parameter)


def parameter_name(key: str) -> str | None:
    """The parameter that a tensor of the state belongs to; None for what is no optimizer's."""
    return key.removeprefix(PREFIX).rpartition("/")[0] if key.startswith(PREFIX) else None


def build_optimizer(model: nn.Module, config: OptimConfig, beside: nn.Module | None = None) -> OptimizerSet:
    groups = group_parameters(model, config, beside)
    optimizers: list[torch.optim.Optimizer] = []
    muon = [_options(g) for g in groups if g.rule == "muon"]
    if muon:
        rule = (config.matrix_lr, config.momentum, config.weight_decay, config.muon_iterations, config.muon_precision)
        optimizers.append(Muon(muon, *rule))
    adamw = [_options(g) for g in groups if g.rule == "adamw"]
    if adamw:
        optimizers.append(AdamW(adamw, config.beta1, config.beta2, config.eps))
    return OptimizerSet(groups, optimizers)


def _options(group: ParameterGroup) -> dict[str, Any]:
    return {"params": [p for _, p in group.parameters], "lr": group.lr, "weight_decay": group.weight_decay}


def _placed(value: Any, parameter: nn.Parameter) -> Any:
    """A copy where the parameter lives: the caller's tensors are not changed by later steps."""
    return value.to(parameter.device, copy=True) if isinstance(value, Tensor) else value
