import pytest
import torch

from glasshouse.core.errors import ConfigError
from glasshouse.explain import embedding_neighbours
from glasshouse.model import Transformer


def test_the_nearest_come_first(model: Transformer) -> None:
    with torch.no_grad():
        model.model.embed_tokens.weight[9] = model.model.embed_tokens.weight[4] + 0.01
    found = embedding_neighbours(model, 4, k=5)
    assert found[0][0] == 9 and found[0][1] > 0.95
    assert [cosine for _, cosine in found] == sorted((cosine for _, cosine in found), reverse=True)
    assert len(found) == 5 and 4 not in dict(found)


def test_cosines_against_a_loop(model: Transformer) -> None:
    embedding = model.model.embed_tokens.weight.detach() - model.model.embed_tokens.weight.detach().mean(0)
    for id, cosine in embedding_neighbours(model, 3, k=60):
        dot = float(embedding[3] @ embedding[id] / embedding[3].norm() / embedding[id].norm())
        assert cosine == pytest.approx(dot, abs=1e-5)


def test_an_unknown_token(model: Transformer) -> None:
    with pytest.raises(ConfigError, match="no token 61"):
        embedding_neighbours(model, 61)
