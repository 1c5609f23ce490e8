"""Tokens that the model keeps near each other: cosines between embeddings.  Shapes: V vocab, D model."""

import torch
import torch.nn.functional as F

from glasshouse.explain.places import checked_token
from glasshouse.model import Transformer


@torch.no_grad()
def embedding_neighbours(model: Transformer, id: int, k: int = 10) -> list[tuple[int, float]]:
    """The k nearest other tokens with their cosines, the nearest first.  The mean embedding, which all share, is taken
    off."""
    embedding_VD = model.model.embed_tokens.weight.float()
    unit_VD = F.normalize(embedding_VD - embedding_VD.mean(0), dim=-1)
    cosine_V = unit_VD @ unit_VD[checked_token(model.config, id)]
    cosine_V[id] = -torch.inf
    values, ids = cosine_V.topk(min(k, len(cosine_V) - 1))
    return list(zip(ids.tolist(), values.tolist()))
