from itertools import chain

import pytest
import tiktoken
from tokenizers import Regex, pre_tokenizers

from glasshouse.tokenizer.patterns import PATTERNS, byte_alphabet, from_alphabet, to_alphabet


def test_the_alphabet_gives_every_byte_its_own_character() -> None:
    assert len(set(byte_alphabet().values())) == 256
    assert set(byte_alphabet().values()) == set(pre_tokenizers.ByteLevel.alphabet())
    assert to_alphabet(b" the\n") == "ĠtheĊ"
    assert from_alphabet(to_alphabet(bytes(range(256)))) == bytes(range(256))


def pieces_of_tokenizers(pattern: str, text: str) -> list[str]:
    return [piece for piece, _ in pre_tokenizers.Split(Regex(pattern), "isolated").pre_tokenize_str(text)]


def pieces_of_tiktoken(pattern: str, text: str, cuts: set[str]) -> list[str]:
    """tiktoken gives a piece one id where its vocabulary holds it whole, so a vocabulary of the expected pieces shows
    whether it cuts in the same places."""
    ranks = {bytes([i]): i for i in range(256)}
    ranks |= {p.encode(): 256 + i for i, p in enumerate(sorted(cuts)) if len(p.encode()) > 1}
    encoding = tiktoken.Encoding("t", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    return [data.decode() for data in encoding.decode_tokens_bytes(encoding.encode_ordinary(text))]


def assert_engines_agree(pattern: str, characters: list[str]) -> None:
    """Each character between letters, before a letter, after an apostrophe and after a space."""
    for start in range(0, len(characters), 20_000):
        text = "".join(f"a{c}b {c}b'{c}\n" for c in characters[start : start + 20_000])
        expected = pieces_of_tokenizers(pattern, text)
        assert pieces_of_tiktoken(pattern, text, set(expected)) == expected


def all_characters(*ranges: tuple[int, int]) -> list[str]:
    return [chr(c) for c in chain.from_iterable(range(*r) for r in ranges) if not 0xD800 <= c <= 0xDFFF]


@pytest.mark.parametrize("name", PATTERNS)
def test_both_regex_engines_cut_the_same_characters_alike(name: str) -> None:
    """Among them the scripts Unicode 15 and 16 added, and the letters that fold to s and k."""
    new = ((0x0, 0x600), (0x1C80, 0x1C90), (0x2000, 0x2100), (0xA7C0, 0xA7E0), (0x10D40, 0x10D90), (0x1E5D0, 0x1E600))
    assert_engines_agree(PATTERNS[name], all_characters(*new))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen2", "gpt-2"])  # llama-bpe has the classes of qwen2
def test_both_regex_engines_cut_every_character_alike(name: str) -> None:
    assert_engines_agree(PATTERNS[name], all_characters((0, 0x110000)))
