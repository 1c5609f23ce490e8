import numpy as np
import openai
import pytest

from glasshouse.infer import Engine

from .conftest import MODEL, Running

TEXTS = ["def f", "import os", "日本"]


def test_the_clients_packed_form_and_the_plain_one(server: Running, engine: Engine) -> None:
    packed = server.client.embeddings.create(model=MODEL, input=TEXTS)
    plain = server.client.embeddings.create(model=MODEL, input=TEXTS, encoding_format="float")
    vectors = np.array([item.embedding for item in plain.data])
    assert np.allclose(vectors, [item.embedding for item in packed.data])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    ids = [engine.tokenizer.encode(text) for text in TEXTS]
    assert np.allclose(vectors, engine.embed(ids).numpy(), atol=1e-5)
    assert packed.usage.prompt_tokens == sum(map(len, ids))


def test_text_and_ids_are_the_same(server: Running, engine: Engine) -> None:
    by_text = server.client.embeddings.create(model=MODEL, input=TEXTS[0]).data[0].embedding
    by_ids = server.client.embeddings.create(model=MODEL, input=engine.tokenizer.encode(TEXTS[0])).data[0].embedding
    assert by_text == by_ids


def test_another_size_is_refused(server: Running, engine: Engine) -> None:
    size = engine.model.config.d_model
    assert server.client.embeddings.create(model=MODEL, input="x", dimensions=size)
    with pytest.raises(openai.BadRequestError, match=f"{size} dimensions"):
        server.client.embeddings.create(model=MODEL, input="x", dimensions=size + 1)
