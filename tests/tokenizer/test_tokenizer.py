import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasshouse.core.errors import DataError
from glasshouse.tokenizer import SPECIAL_TOKENS, JinjaTemplate, Tokenizer, TokenizerConfig, train_tokenizer
from glasshouse.tokenizer.encoders import LONG_RUN, without_surrogates

PIECES = st.sampled_from([*SPECIAL_TOKENS, "<|", "|>", " ", "\n", "\t", "\r\n", "'s", "'LL", "12345", "def f(x):", "é"])
TEXTS = st.text() | st.lists(PIECES | st.text(max_size=3)).map("".join)
MIXED = "Hello wörld, 漢字 👩‍👩‍👧 I'LL 1234 \t\r\n\n  x <|im_end|>\n<|im_start|>system <|endoftext|>"


def edited(tokenizer: Tokenizer, **changes: Any) -> Tokenizer:
    """The same tokenizer with parts of its tokenizer.json replaced."""
    definition = json.loads(tokenizer.backend.to_str())
    return Tokenizer(json.dumps(definition | changes))


# Text to ids.


@given(TEXTS)
def test_bpe_gives_any_text_back_and_equal_ids_by_both_roads(bpe: Tokenizer, text: str) -> None:
    ids = bpe.encode(text)
    assert bpe.decode(ids) == text
    assert bpe.encode_with_tokenizers(text) == ids
    assert set(ids).isdisjoint(bpe.special_ids.values())


@given(TEXTS)
@settings(max_examples=50)
def test_word_and_character_level_give_equal_ids_by_both_roads(word: Tokenizer, char: Tokenizer, text: str) -> None:
    for tokenizer in (word, char):
        ids = tokenizer.encode(text)
        assert tokenizer.encode_with_tokenizers(text) == ids
        assert (set(ids) - {tokenizer.unknown_id}).isdisjoint(tokenizer.special_ids.values())


@pytest.mark.parametrize("pattern", ["qwen2", "llama-bpe", "gpt-2"])
def test_equal_ids_on_real_text_for_every_pattern(sources: list[str], pattern: str) -> None:
    tokenizer = train_tokenizer(sources, TokenizerConfig(vocab_size=600, pattern=pattern))
    assert tokenizer.encoder_name == "tiktoken"
    assert tokenizer.pattern == pattern
    assert tokenizer.encode_batch(sources) == [tokenizer.encode_with_tokenizers(text) for text in sources]


def test_equal_ids_on_text_it_has_never_seen(bpe: Tokenizer, shared_data: Path) -> None:
    paths = [*sorted((shared_data / "text" / "peps").glob("*.rst"))[::80], shared_data / "text" / "wikitext2-valid.txt"]
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in paths]
    assert sum(map(len, texts)) > 500_000
    ids = bpe.encode_batch(texts)
    assert ids == [bpe.encode_with_tokenizers(text) for text in texts]
    assert [bpe.decode(i) for i in ids] == texts


def test_each_kind_runs_on_its_encoder(bpe: Tokenizer, word: Tokenizer, char: Tokenizer) -> None:
    assert [t.kind for t in (bpe, word, char)] == ["bpe", "word", "char"]
    assert [t.encoder_name for t in (bpe, word, char)] == ["tiktoken", "tokenizers", "table"]
    assert [t.why_slow for t in (bpe, word, char)] == [None, "its model is WordLevel, not BPE", None]


def test_special_strings_in_text_stay_text(tokenizer: Tokenizer) -> None:
    for text in (MIXED, *SPECIAL_TOKENS, "<|unk|>"):
        ids = set(tokenizer.encode(text)) | {t.id for t in tokenizer.tokens_of(text)}
        assert (ids - {tokenizer.unknown_id}).isdisjoint(tokenizer.special_ids.values()), text


def test_special_ids_come_first_and_are_named(tokenizer: Tokenizer) -> None:
    assert [tokenizer.end_of_text_id, tokenizer.im_start_id, tokenizer.im_end_id] == [0, 1, 2]
    assert tokenizer.decode([1, 0, 2]) == "<|im_start|><|endoftext|><|im_end|>"
    assert tokenizer.decode([1, 0, 2], skips_special=True) == ""


def test_surrogates_are_mended_or_replaced(tokenizer: Tokenizer) -> None:
    assert without_surrogates("a\ud800b") == "a\ufffdb"
    assert without_surrogates("\ud83d\ude00") == "😀"
    assert without_surrogates("\ufeffé\ud800") == "\ufeffé\ufffd"
    for text in ("a\ud800b", "\udfff", "\ud83d\ude00"):
        assert tokenizer.encode(text) == tokenizer.encode_with_tokenizers(text)
        assert tokenizer.encode(text) == tokenizer.encode(without_surrogates(text))
        assert tokenizer.encode_batch([text]) == [tokenizer.encode(text)]


def test_long_runs_do_not_overflow_the_regex_engine(bpe: Tokenizer) -> None:
    """tiktoken's panics on a million spaces."""
    text = "x" + " " * (10 * LONG_RUN) + "y"
    ids, short = bpe.encode_batch([text, "a"])
    assert bpe.decode(ids) == text
    assert short == bpe.encode("a")


def test_a_batch_equals_one_by_one(tokenizer: Tokenizer, sources: list[str]) -> None:
    texts = [*sources[0].splitlines()[:200], "", MIXED]
    assert tokenizer.encode_batch(iter(texts)) == [tokenizer.encode(text) for text in texts]


# Ids to text.


def test_character_level_is_exact_for_the_characters_it_saw(char: Tokenizer, sources: list[str]) -> None:
    ids = char.encode_batch(sources)
    assert [char.decode(i) for i in ids] == sources
    assert sum(map(char.count_unknown, ids)) == 0
    unseen = char.encode("a漢b字")
    assert char.count_unknown(unseen) == 2
    assert char.decode(unseen) == "a\ufffdb\ufffd"


def test_word_level_is_exact_for_the_words_it_knows(word: Tokenizer) -> None:
    text = "def self:\n    return None\n"
    assert word.decode(word.encode(text)) == text
    assert word.count_unknown(word.encode("def zyxwvu")) == 1


def test_an_id_of_another_vocabulary_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match=f"id {tokenizer.vocab_size} is not in this vocabulary"):
        tokenizer.decode([tokenizer.vocab_size])


def test_bytes_of_a_cut_character_come_back_exactly(bpe: Tokenizer) -> None:
    ids = bpe.encode("漢")
    assert len(ids) > 1
    assert b"".join(bpe.decode_bytes([i]) for i in ids) == "漢".encode()
    assert bpe.decode(ids[:1]) == "\ufffd"


@given(TEXTS)
@settings(max_examples=50)
def test_tokens_cover_the_text_in_order(bpe: Tokenizer, char: Tokenizer, text: str) -> None:
    for tokenizer in (bpe, char):
        tokens = tokenizer.tokens_of(text)
        assert [t.id for t in tokens] == tokenizer.encode(text)
        assert b"".join(t.bytes for t in tokens) == text.encode()
        covered = [False] * len(text)
        for token in tokens:
            assert token.bytes in text[token.start : token.end].encode()
            covered[token.start : token.end] = [True] * (token.end - token.start)
        assert all(covered)


def test_tokens_of_says_where_each_token_lies(bpe: Tokenizer, word: Tokenizer) -> None:
    first, *_, last = bpe.tokens_of("é 漢")
    assert (first.start, first.end, last.start, last.end) == (0, 1, 2, 3)
    unknown = [t for t in word.tokens_of("def zyxwvu") if t.id == word.unknown_id]
    assert [(t.bytes, t.start, t.end) for t in unknown] == [(b" zyxwvu", 3, 10)]


# To disk and back.


def test_saved_and_loaded_it_is_the_same(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert loaded.hash == tokenizer.hash
    assert loaded.encode(MIXED) == tokenizer.encode(MIXED)
    assert loaded.settings == tokenizer.settings
    assert loaded.template is not None
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again" / "tokenizer.json").read_bytes() == (tmp_path / "tokenizer.json").read_bytes()


def test_the_hash_knows_the_vocabulary_and_not_the_layout(bpe: Tokenizer, char: Tokenizer, tmp_path: Path) -> None:
    bpe.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=4), encoding="utf-8")
    assert Tokenizer.load(tmp_path).hash == bpe.hash
    assert bpe.hash != char.hash
    assert edited(bpe, normalizer={"type": "NFC"}).hash != bpe.hash


@pytest.mark.parametrize("model_type", ["qwen3", pytest.param("llama", marks=pytest.mark.slow)])
def test_transformers_opens_it_with_equal_ids(
    tokenizer: Tokenizer, sources: list[str], tmp_path: Path, model_type: str
) -> None:
    """Beside a Qwen3 or Llama config, whose own tokenizer classes would replace our pattern."""
    transformers = pytest.importorskip("transformers")
    tokenizer.save(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = sources[2]
    ids = tokenizer.encode(text)
    assert theirs.encode(text, add_special_tokens=False) == ids
    assert len(theirs) == tokenizer.vocab_size
    assert (theirs.eos_token_id, theirs.pad_token_id) == (0, 0)
    if tokenizer.unknown_id not in ids:
        assert theirs.decode(ids) == text


def test_what_transformers_saves_is_loaded(bpe: Tokenizer, tmp_path: Path) -> None:
    """It puts the template into a file of its own."""
    transformers = pytest.importorskip("transformers")
    bpe.save(tmp_path / "ours")
    transformers.AutoTokenizer.from_pretrained(tmp_path / "ours").save_pretrained(tmp_path / "theirs")
    loaded = Tokenizer.load(tmp_path / "theirs")
    assert loaded.template is not None
    assert loaded.encoder_name == "tiktoken"
    assert loaded.encode(MIXED) == bpe.encode(MIXED)


def test_it_can_be_sent_to_a_worker_process(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(MIXED)
    assert pickle.loads(pickle.dumps(tokenizer)).encode(MIXED) == ids


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"model": {"type": "BPE"}}', '{"model": 3}'])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(DataError, match=r"tokenizer.json: damaged"):
        Tokenizer.load(tmp_path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no tokenizer can be read here"):
        Tokenizer.load(tmp_path)


def test_a_definition_that_tokenizers_does_not_read_is_refused() -> None:
    with pytest.raises(DataError, match="not one that `tokenizers` reads"):
        Tokenizer('{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "pre_tokenizer": {"type": "X"}}').encode(
            "a"
        )


# Tokenizers of others.


def test_where_tiktoken_cannot_stand_in_it_says_why(bpe: Tokenizer) -> None:
    definition = json.loads(bpe.backend.to_str())
    model, split = definition["model"], definition["pre_tokenizer"]["pretokenizers"][0]
    swapped = [*model["merges"][1::-1], *model["merges"][2:]]
    ordinary = [*definition["added_tokens"], dict(definition["added_tokens"][0], id=800, content="zz", special=False)]
    reasons = {
        "it normalises text first": {"normalizer": {"type": "NFC"}},
        "its BPE uses dropout": {"model": model | {"dropout": 0.5}},
        "its ids are not in the order of its merges": {"model": model | {"merges": swapped}},
        "some of its tokens are made by no merge": {"model": model | {"merges": model["merges"][:-1]}},
        "its pre-tokenizer is not one byte-level pattern": {"pre_tokenizer": split},
        "it has added tokens that are looked for in ordinary text": {"added_tokens": ordinary},
    }
    for reason, changes in reasons.items():
        other = edited(bpe, **changes)
        assert (other.why_slow, other.encoder_name) == (reason, "tokenizers")


def test_a_vocabulary_that_holds_a_special_string_as_a_word_is_guarded() -> None:
    """Here "</s>" in a text would be looked up as a word and end it."""
    words = {"</s>": 0, "hello": 1, "<unk>": 2, "<": 3, "/s>": 4}
    special = [{"id": 0, "content": "</s>", "special": True}]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    definition = {
        "version": "1.0",
        "added_tokens": [token | flags for token in special],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "<unk>"},
    }
    tokenizer = Tokenizer(json.dumps(definition))
    assert tokenizer.backend.encode("hello </s>", add_special_tokens=False).ids == [1, 0]
    assert tokenizer.encode("hello </s> hello") == [1, 3, 4, 1]
    assert tokenizer.decode([1, 1]) == "hello hello"  # this one's decoder puts spaces between
    assert [t.id for t in tokenizer.tokens_of("hello </s> hello")] == [1, 3, 4, 1]


def test_a_template_of_others_is_kept_and_not_taken_for_ours(bpe: Tokenizer, tmp_path: Path) -> None:
    other = Tokenizer(bpe.backend.to_str(), {"chat_template": "{{ messages[0]['content'] }}"})
    assert isinstance(other.template, JinjaTemplate)
    other.save(tmp_path)
    assert Tokenizer.load(tmp_path).settings["chat_template"] == "{{ messages[0]['content'] }}"


def test_a_missing_special_token_is_named() -> None:
    plain = '{"model": {"type": "WordLevel", "vocab": {"a": 0, "<unk>": 1}, "unk_token": "<unk>"}}'
    with pytest.raises(DataError, match="no special token '<|im_start|>'".replace("|", r"\|")):
        _ = Tokenizer(plain, {}).im_start_id
    assert Tokenizer(plain, {"eos_token": {"content": "a"}}).end_of_text_id == 0
