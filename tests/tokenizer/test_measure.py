import json

import pytest

from glasshouse.core.errors import DataError
from glasshouse.tokenizer import Token, Tokenizer, measure_density, readable, summarise


def test_density_is_of_the_texts_as_a_whole(bpe: Tokenizer, sources: list[str]) -> None:
    density = measure_density(bpe, iter(sources))
    assert density.n_texts == len(sources)
    assert density.n_bytes == sum(len(text.encode()) for text in sources)
    assert density.n_tokens == sum(len(bpe.encode(text)) for text in sources)
    assert 2 < density.bytes_per_token < 4
    assert density.p_unknown == 0


def test_more_texts_than_one_batch(char: Tokenizer) -> None:
    density = measure_density(char, ["ab漢"] * 1000)
    assert (density.n_texts, density.n_tokens, density.n_unknown) == (1000, 3000, 1000)
    assert density.bytes_per_token == pytest.approx(5 / 3)
    assert density.p_unknown == pytest.approx(1 / 3)


@pytest.mark.parametrize("texts", [[], ["", ""]])
def test_nothing_to_measure_on_is_refused(bpe: Tokenizer, texts: list[str]) -> None:
    with pytest.raises(DataError, match="no text to measure"):
        measure_density(bpe, texts)


def test_the_summary_is_json_and_shows_the_examples(tokenizer: Tokenizer, sources: list[str]) -> None:
    text = "return the name\n"
    summary = json.loads(json.dumps(summarise(tokenizer, sources[:1], [text])))
    assert summary["kind"] == tokenizer.kind
    assert summary["vocab_size"] == tokenizer.vocab_size
    assert summary["hash"] == tokenizer.hash
    assert summary["n_train_bytes"] == sum(len(text.encode()) for text in sources)
    assert summary["seconds"] > 0
    (example,) = summary["examples"]
    assert [token["id"] for token in example["tokens"]] == tokenizer.encode(text)
    assert "".join(token["text"] for token in example["tokens"]) == example["text"] == text


def test_a_loaded_tokenizer_has_no_training_to_tell_of(bpe: Tokenizer) -> None:
    summary = summarise(Tokenizer(bpe.backend.to_str()), ["abc"], [])
    assert (summary["n_train_bytes"], summary["seconds"], summary["note"]) == (None, None, None)


@pytest.mark.parametrize(
    ("data", "shown"),
    [(b" the", " the"), (b"\xe2\x82", "‹E2 82›"), (b"\x1b[", "\\x1b["), (b"\n\t", "\n\t"), ("é".encode(), "é")],
)
def test_tokens_are_readable(data: bytes, shown: str) -> None:
    assert readable(Token(0, data, 0, 1)) == shown
