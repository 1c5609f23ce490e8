"""A text as one vector: the mean over its tokens of the final-norm hidden state, of unit length.

Shapes: T tokens, D model.  A vector depends on its own text only: texts are read one by one, row-stable.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from glasshouse.infer.stable import RowStable
from glasshouse.model import Transformer


@torch.no_grad()
def embed(model: Transformer, prompts: Sequence[Sequence[int]]) -> Tensor:
    """(n, D), float32."""
    if not prompts:
        return torch.zeros(0, model.config.d_model)
    with RowStable():
        vectors = [model.hidden(torch.tensor([list(ids)], device=model.device))[0].float().mean(0) for ids in prompts]
    return torch.nn.functional.normalize(torch.stack(vectors), dim=1)
