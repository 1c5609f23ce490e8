"""Agreement with vocabularies of real systems, each against its own encoder."""

import base64
from pathlib import Path

import pytest
import tiktoken
import tokenizers

from glasshouse.core.errors import DataError
from glasshouse.tokenizer import Tokenizer
from glasshouse.tokenizer.foreign import foreign_definition, tiktoken_definition
from glasshouse.tokenizer.patterns import PATTERNS

# The pattern as tiktoken 0.14 publishes it for cl100k_base, in another spelling than ours.
CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)
HARD = [
    "", " ", "\n\n \n", "  leading", "trailing  ", "don't I'LL 'ſ", "1234567 ½ ٣", "漢字かな 한국어 ไทย", "👩‍👩‍👧 🇨🇭",
    "e\u0301 \u212b \ufb01", "a\tb\r\nc", "x" * 300 + " " * 70 + "y", "<s> [INST] </s> <unk> <|endoftext|>",
    "\x00\x7f\u200b",
]  # fmt: skip


@pytest.fixture(scope="session")
def texts(shared_data: Path) -> list[str]:
    folder = shared_data / "text"
    peps = [p.read_text(encoding="utf-8", errors="replace") for p in sorted((folder / "peps").glob("*.rst"))[::90]]
    shakespeare = (folder / "tinyshakespeare.txt").read_text(encoding="utf-8")
    return [*HARD, *peps, shakespeare[:50_000]]


def tiktoken_ranks(path: Path) -> dict[bytes, int]:
    lines = (line.split() for line in path.read_bytes().splitlines())
    return {base64.b64decode(token): int(rank) for token, rank in lines}


def test_gpt2_gives_the_published_ids(gpt2: Tokenizer) -> None:
    """Ids from the documentation of tiktoken and of transformers."""
    assert gpt2.encode("hello world") == [31373, 995]
    assert gpt2.encode("Hello world") == [15496, 995]
    assert gpt2.encode("<|endoftext|>") == [27, 91, 437, 1659, 5239, 91, 29]
    assert (gpt2.vocab_size, gpt2.end_of_text_id, gpt2.encoder_name) == (50257, 50256, "tiktoken")


def test_gpt2_agrees_by_both_roads_on_real_text(gpt2: Tokenizer, conformance: Path, texts: list[str]) -> None:
    theirs = tokenizers.Tokenizer(
        tokenizers.models.BPE.from_file(str(conformance / "gpt2/encoder.json"), str(conformance / "gpt2/vocab.bpe"))
    )
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)  # its own built-in pattern
    assert gpt2.encode_batch(texts) == [theirs.encode(text).ids for text in texts]
    assert [gpt2.decode(ids) for ids in gpt2.encode_batch(texts)] == texts
    assert all(gpt2.encode_with_tokenizers(text) == gpt2.encode(text) for text in texts[:20])


def test_the_first_ranks_of_cl100k_agree_with_tiktoken(conformance: Path, texts: list[str], tmp_path: Path) -> None:
    """The first ranks of a BPE are a BPE; all 100,256 are in the slow test."""
    path = tmp_path / "cl100k_base.tiktoken"
    path.write_bytes(b"".join((conformance / "cl100k" / path.name).read_bytes().splitlines(keepends=True)[:8000]))
    assert_agrees_with_tiktoken(path, texts)


@pytest.mark.slow
def test_cl100k_agrees_with_tiktoken(conformance: Path, texts: list[str]) -> None:
    assert_agrees_with_tiktoken(conformance / "cl100k" / "cl100k_base.tiktoken", texts)


def assert_agrees_with_tiktoken(path: Path, texts: list[str]) -> None:
    ours, ranks = Tokenizer.load(path), tiktoken_ranks(path)
    theirs = tiktoken.Encoding("cl100k", pat_str=CL100K, mergeable_ranks=ranks, special_tokens={})
    assert (ours.vocab_size, ours.special_ids["<|endofprompt|>"], ours.end_of_text_id) == (100277, 100276, 100257)
    assert ours.encoder_name == "tiktoken"
    for text in texts:
        ids = theirs.encode_ordinary(text)
        assert ours.encode(text) == ids
        assert ours.encode_with_tokenizers(text) == ids  # so the merges found again are the right ones
        assert ours.decode(ids) == text


def test_neox_agrees_with_tokenizers(conformance: Path, texts: list[str]) -> None:
    """It normalises (NFC) and has runs of spaces as added tokens, so it is encoded by `tokenizers`."""
    path = conformance / "neox-20b" / "20B_tokenizer.json"
    ours, theirs = Tokenizer.load(path), tokenizers.Tokenizer.from_file(str(path))
    assert (ours.vocab_size, ours.end_of_text_id) == (50277, 0)
    assert (ours.encoder_name, ours.why_slow) == ("tokenizers", "it normalises text first")
    plain = [text for text in texts if "<|endoftext|>" not in text]
    assert ours.encode_batch(plain) == [theirs.encode(text).ids for text in plain]
    assert 50254 + 2 in ours.encode("x" + " " * 22 + "y")  # 22 spaces are one token
    assert 0 in theirs.encode("<|endoftext|>").ids
    assert 0 not in ours.encode("<|endoftext|>")
    assert ours.decode(ours.encode("e\u0301")) == "\u00e9"


def test_mistral_agrees_with_sentencepiece(mistral: Tokenizer, conformance: Path, texts: list[str]) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    ours = mistral
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(conformance / "mistral" / "tokenizer.model"))
    assert (ours.vocab_size, ours.special_ids) == (32000, {"<unk>": 0, "<s>": 1, "</s>": 2})
    assert (ours.end_of_text_id, ours.why_slow) == (2, "its BPE uses unk_token")
    for text in texts:
        assert ours.encode(text) == theirs.encode(text), text[:80]
        assert ours.decode(ours.encode(text)) == theirs.decode(theirs.encode(text))


@pytest.mark.parametrize("name", ["gpt2", "mistral"])
def test_what_was_read_is_saved_as_a_tokenizer_json(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    ours: Tokenizer = request.getfixturevalue(name)
    ours.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert loaded.hash == ours.hash
    assert loaded.encode(" ".join(HARD)) == ours.encode(" ".join(HARD))
    assert loaded.template is None


def test_a_tiktoken_file_of_unknown_name_asks_for_its_pattern(tmp_path: Path) -> None:
    path = tmp_path / "mine.tiktoken"
    path.write_text("IQ== 0\n")
    with pytest.raises(DataError, match="does not say its pattern"):
        Tokenizer.load(path)


@pytest.mark.parametrize("line", ["IQ==", "!!! 1", "IQ== x", "IQ== 1 2"])
def test_a_damaged_tiktoken_file_names_the_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "mine.tiktoken"
    path.write_text(f"IQ== 0\n{line}\n")
    with pytest.raises(DataError, match=r"mine.tiktoken:2: damaged"):
        tiktoken_definition(path, "gpt-2", {})


def test_ranks_that_are_no_bpe_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.tiktoken"
    path.write_text("YQ== 0\nYg== 1\nYw== 2\nYWJj 3\n")  # a, b, c, and abc from nothing
    with pytest.raises(DataError, match="cannot be merged from earlier tokens"):
        tiktoken_definition(path, "gpt-2", {})


@pytest.mark.parametrize("data", [b"", b"\x0a", b"hello world", b"\x0a\xff\xff\xff\xff\x0f"])
def test_a_damaged_sentencepiece_model_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "tokenizer.model"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"tokenizer.model: damaged"):
        Tokenizer.load(tmp_path)


def test_other_sentencepiece_models_are_refused_with_a_way_out(tmp_path: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    text = tmp_path / "text.txt"
    text.write_text("\n".join(f"word{i} other{i % 7} more" for i in range(300)))
    options = {"vocab_size": 60, "minloglevel": 2, "hard_vocab_limit": False}
    sentencepiece.SentencePieceTrainer.train(input=str(text), model_prefix=str(tmp_path / "tokenizer"), **options)
    with pytest.raises(DataError, match="transformers"):
        Tokenizer.load(tmp_path)


def test_a_damaged_merges_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text('{"a": 0, "b": 1, "ab": 2}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b c\n")
    with pytest.raises(DataError, match=r"merges.txt: damaged"):
        Tokenizer.load(tmp_path)


def test_a_folder_without_a_vocabulary_holds_none(tmp_path: Path) -> None:
    assert foreign_definition(tmp_path) is None
    assert PATTERNS["llama-bpe"] != PATTERNS["qwen2"]
