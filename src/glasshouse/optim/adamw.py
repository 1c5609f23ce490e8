"""AdamW by torch's fused kernel: one call for all parameters of a group, on CPU too.  Source: arXiv:1711.05101.

The kernel is called directly because `torch.optim.AdamW` imports the compiler (`torch._dynamo`, 2.7 s of CPU time on a
busy core) before its first step; tested equal to it to the bit.  Of divided parameters each process updates its
pieces.  Left out: amsgrad, maximize, sparse gradients.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from glasshouse.parallel import local


class AdamW(torch.optim.Optimizer):
    """`groups` carry their own lr and weight_decay."""

    def __init__(
        self, groups: Iterable[Any], beta1: float = 0.9, beta2: float = 0.95, eps: float = 1e-8, lr: float = 1e-3
    ) -> None:
        super().__init__(groups, {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": 0.0})

    # the plain function below torch's decorator, which imports the compiler to tell it to look away
    add_param_group = getattr(
        torch.optim.Optimizer.add_param_group, "__wrapped__", torch.optim.Optimizer.add_param_group
    )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            states = [self._state_of(p) for p in parameters]
            steps = [s["step"] for s in states]
            torch._foreach_add_(steps, 1)
            averages, squares = ([local(s[name]) for s in states] for name in ("exp_avg", "exp_avg_sq"))
            torch._fused_adamw_(
                [local(p) for p in parameters], [local(p.grad) for p in parameters], averages, squares, [], steps,
                lr=group["lr"], beta1=group["beta1"], beta2=group["beta2"], weight_decay=group["weight_decay"],
                eps=group["eps"], amsgrad=False, maximize=False,
            )  # fmt: skip

    def _state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return state
