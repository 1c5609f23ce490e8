"""Muon: momentum whose every update is turned into the nearest orthogonal matrix, so all directions learn at one rate.

Shapes: K matrices of one shape, R rows <= C columns.  Sources: Keller Jordan, kellerjordan.github.io/posts/muon (rule,
coefficients); Nesterov momentum as in torch.optim.Muon.  For hidden matrices only: embeddings, heads and vectors learn
better with AdamW.

Step size: lr * sqrt(max(1, rows / columns)), Jordan's convention: one lr then fits every width, and 0.02 is a good
first value.  The other convention, 0.2 * sqrt(max(rows, columns)) (arXiv:2502.16982, for reusing AdamW's rates), was no
better on characters (d_model 64, 256,000 tokens: validation loss 1.940 against 1.926).

Matrices of one shape, tall ones transposed, go through Newton-Schulz as one batch.  Unless told, arithmetic is fp32 on
CPU, where bf16 pays only with the instructions for it, and bf16 on GPU.  On CPU the iteration is C++ where it can be
built (`native`): a matrix a thread, half of each symmetric product; a fifth to a third less time than torch's, and no
waiting of threads for each other; in bf16 half of that time on a processor that multiplies pairs.
Of divided matrices each process gathers the whole update, orthogonalizes it, and keeps its piece: exact, and as much
arithmetic on every process as on one.  Tried and left out: iterating on the R x R Gram matrix (5 % to 40 % less time
for the iteration, 2 % of a step, needs fp32).
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor

from glasshouse.core.errors import ConfigError
from glasshouse.optim.native import is_native, orthogonalize_
from glasshouse.parallel import local, piece_of, whole, with_local

# x -> a x + b x^3 + c x^5 on the singular values, for each iteration of so many.  Five: Jordan's, steepest at 0, so
# small ones rise fast; what comes out lies between 0.68 and 1.2 rather than at 1, which costs no quality.  Three: in
# turn the best there are (arXiv:2505.16932) for values from 0.01 up, which come out between 0.73 and 1.27; smaller ones
# rise 78 times in place of 480.  Three fifths of the work: worth it where a step has few tokens for its matrices.
COEFFICIENTS = {
    5: ((3.4445, -4.7750, 2.0315),) * 5,
    3: ((8.0934, -23.6204, 17.4462), (3.6366, -2.7219, 0.5365), (2.6613, -1.9772, 0.4526)),
}
N_ITERATIONS = 5

Precision = Literal["auto", "fp32", "bf16"]  # auto: fp32 on a CPU, bf16 on a GPU


def orthogonalize(
    x_KRC: Tensor, n_iterations: int = N_ITERATIONS, kernels: str = "torch", precision: Precision = "auto"
) -> Tensor:
    """U V^T of each x = U S V^T, nearly: singular values within [0.68, 1.21] where they were not tiny.  Needs R <= C.

    A zero matrix stays zero.  `kernels`: "auto" takes the C++ ones where they can be had; they overwrite a contiguous
    `x_KRC`, for stacked matrices are the largest thing a step holds beside the weights.
    """
    is_bf16 = precision == "bf16" or (precision == "auto" and x_KRC.device.type != "cpu")
    if kernels == "auto" and is_native(x_KRC):
        return orthogonalize_(x_KRC.contiguous(), COEFFICIENTS[n_iterations], is_bf16)
    # the Frobenius norm bounds the largest singular value by 1, where the iteration converges
    x_KRC = x_KRC / x_KRC.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-30)
    x_KRC = x_KRC.to(torch.bfloat16 if is_bf16 else torch.float32)
    for a, b, c in COEFFICIENTS[n_iterations]:
        gram_KRR = x_KRC @ x_KRC.mT
        x_KRC = torch.baddbmm(x_KRC, torch.baddbmm(gram_KRR, gram_KRR, gram_KRR, beta=b, alpha=c), x_KRC, beta=a)
    return x_KRC


def step_scale(matrix: Tensor) -> float:
    """Factor of lr for one matrix: tall matrices write more outputs than they read inputs.

    >>> step_scale(torch.empty(256, 64)), step_scale(torch.empty(64, 256))
    (2.0, 1.0)
    """
    rows, columns = matrix.shape
    return max(1.0, rows / columns) ** 0.5


class Muon(torch.optim.Optimizer):
    """`params` are matrices or groups of them; groups may carry their own lr, momentum and weight_decay.

    Weight decay is decoupled, as in AdamW: a matrix shrinks by lr * weight_decay per step.
    """

    kernels: str = "torch"  # "auto": C++ ones where they can be had

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        n_iterations: int = N_ITERATIONS,
        precision: Precision = "auto",
    ) -> None:
        if n_iterations not in COEFFICIENTS:
            raise ConfigError(f"Muon has polynomials for {' or '.join(map(str, COEFFICIENTS))} iterations, not for "
                              f"{n_iterations}.")  # fmt: skip
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "n_iterations": n_iterations,
                    "precision": precision}  # fmt: skip
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        _add_param_group(self, param_group)
        for parameter in self.param_groups[-1]["params"]:
            if parameter.ndim != 2:
                raise ConfigError(
                    f"Muon updates matrices, and was given a parameter of shape {tuple(parameter.shape)}. "
                    f"Give vectors and stacked weights to AdamW."
                )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameters in _by_shape(group["params"]):
                self._step_alike(parameters, group)
        return loss

    def _step_alike(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """One batch: `parameters` have one shape but for transposition."""
        gradients = [local(_grad(p)) for p in parameters]
        averages = [local(self._average(p)) for p in parameters]
        torch._foreach_lerp_(averages, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, averages, group["momentum"])  # Nesterov: look one step ahead
        ahead_KRC = _stack_wide([whole(with_local(matrix, p)) for matrix, p in zip(ahead, parameters, strict=True)])
        del ahead  # as large as all matrices of this shape
        direction_KRC = orthogonalize(ahead_KRC, group["n_iterations"], self.kernels, group["precision"])
        direction_KRC = direction_KRC.to(parameters[0].dtype)
        if group["weight_decay"]:
            torch._foreach_mul_([local(p) for p in parameters], 1 - group["lr"] * group["weight_decay"])
        for parameter, direction_RC in zip(parameters, direction_KRC.unbind(), strict=True):
            direction = direction_RC if _is_wide(parameter) else direction_RC.mT
            local(parameter).add_(piece_of(direction, parameter), alpha=-group["lr"] * step_scale(parameter))

    def _average(self, parameter: Tensor) -> Tensor:
        """The running mean of the gradient, one tensor a parameter, so that saving and resuming need no rule."""
        state = self.state[parameter]
        if "average" not in state:
            state["average"] = torch.zeros_like(parameter)
        average: Tensor = state["average"]
        return average


# The plain function below torch's decorator: the decorator imports torch._dynamo and sympy, 2.3 s at the start of every
# run, to tell a compiler that is not there to look away.
_add_param_group = getattr(torch.optim.Optimizer.add_param_group, "__wrapped__", torch.optim.Optimizer.add_param_group)


def _by_shape(parameters: list[Tensor]) -> list[list[Tensor]]:
    """Those with a gradient, in batches of one wide shape, device and type; order of first appearance."""
    batches: dict[Any, list[Tensor]] = {}
    for p in parameters:
        if p.grad is not None:
            batches.setdefault((min(p.shape), max(p.shape), p.device, p.dtype), []).append(p)
    return list(batches.values())


def _stack_wide(matrices: list[Tensor]) -> Tensor:
    return torch.stack([m if _is_wide(m) else m.mT for m in matrices])


def _is_wide(matrix: Tensor) -> bool:
    return matrix.shape[0] <= matrix.shape[1]


def _grad(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
