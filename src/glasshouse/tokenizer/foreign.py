"""Vocabularies of other systems, read into the form of a tokenizer.json.

GPT-2          encoder.json + vocab.bpe, or vocab.json + merges.txt
tiktoken       NAME.tiktoken: token bytes and ranks; the merges are found again, the pattern and the special tokens are
               not in the file and come from `TIKTOKEN_FILES`
SentencePiece  tokenizer.model with a BPE model and no text normalisation (Llama 1 and 2, Mistral)

Left out: SentencePiece unigram models and models with a table of normalisations.  transformers turns those into a
tokenizer.json, which `Tokenizer.load` reads.
"""

import base64
import binascii
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from glasshouse.core.errors import DataError
from glasshouse.tokenizer.patterns import PATTERNS, to_alphabet

Definition = dict[str, Any]

GPT2_FILES = (("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt"))
# name of the file -> (pattern, special tokens), as its publisher states them
TIKTOKEN_FILES: dict[str, tuple[str, dict[str, int]]] = {
    "cl100k_base.tiktoken": (
        "llama-bpe",
        {
            "<|endoftext|>": 100257,
            "<|fim_prefix|>": 100258,
            "<|fim_middle|>": 100259,
            "<|fim_suffix|>": 100260,
            "<|endofprompt|>": 100276,
        },
    ),
}
_BPE_MODEL, _NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED = 2, 1, 2, 3, 4  # numbers in sentencepiece_model.proto


def foreign_definition(path: Path) -> Definition | None:
    """The definition found at `path` (a file, or a folder that holds one); None where there is no such vocabulary."""
    if path.is_dir():
        for vocabulary, merges in GPT2_FILES:
            if (path / vocabulary).is_file() and (path / merges).is_file():
                return gpt2_definition(path / vocabulary, path / merges)
        files = [*sorted(path.glob("*.tiktoken")), *path.glob("tokenizer.model")]
        return foreign_definition(files[0]) if files else None
    if path.suffix == ".model" and path.is_file():
        return sentencepiece_definition(path)
    if path.suffix == ".tiktoken" and path.is_file():
        if path.name not in TIKTOKEN_FILES:
            raise DataError(
                f"{path}: a tiktoken file does not say its pattern and special tokens; known by name are "
                f"{', '.join(TIKTOKEN_FILES)}. For others call `tiktoken_definition(path, pattern, special_ids)`."
            )
        return tiktoken_definition(path, *TIKTOKEN_FILES[path.name])
    return None


def gpt2_definition(vocabulary_path: Path, merges_path: Path) -> Definition:
    """From token -> id as JSON and one merge a line."""
    vocabulary = json.loads(vocabulary_path.read_text(encoding="utf-8"))
    lines = merges_path.read_text(encoding="utf-8").split("\n")
    merges = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    if any(len(pair) != 2 for pair in merges):
        raise DataError(f"{merges_path}: damaged: a line is not two tokens with a space between. Copy it again.")
    end = {"<|endoftext|>": vocabulary["<|endoftext|>"]} if "<|endoftext|>" in vocabulary else {}
    return _byte_level(vocabulary, merges, PATTERNS["gpt-2"], end)


def tiktoken_definition(path: Path, pattern: str, special_ids: Mapping[str, int]) -> Definition:
    """From base64 tokens and ranks.  `pattern` is a name in `PATTERNS`.  100,000 tokens take about 4 s."""
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error):
            raise DataError(f"{path}:{number}: damaged: not a token in base64 and its rank. Copy it again.") from None
    merges = [_last_merge(token, ranks) for token in sorted(ranks, key=ranks.__getitem__) if len(token) > 1]
    vocabulary = {to_alphabet(token): rank for token, rank in ranks.items()}
    return _byte_level(vocabulary, [list(map(to_alphabet, pair)) for pair in merges], PATTERNS[pattern], special_ids)


def _last_merge(token: bytes, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes]:
    """The two parts a token was merged from: merge its bytes by the ranks below its own.

    `_last_merge(b"abc", {b"ab": 1, b"abc": 2, ...})` -> `(b"ab", b"c")`.
    """
    never = len(ranks)
    parts = [token[i : i + 1] for i in range(len(token))]
    pairs = [ranks.get(a + b, never) for a, b in pairwise(parts)]
    while len(parts) > 2:
        lowest = min(pairs)
        if lowest >= ranks[token]:
            raise DataError(f"the ranks are no BPE: {token!r} cannot be merged from earlier tokens.")
        i = pairs.index(lowest)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
        del pairs[i]
        for j in (i - 1, i):
            if 0 <= j < len(pairs):
                pairs[j] = ranks.get(parts[j] + parts[j + 1], never)
    return parts[0], parts[1]


def _byte_level(
    vocabulary: Mapping[str, int], merges: Sequence[Sequence[str]], pattern: str, special_ids: Mapping[str, int]
) -> Definition:
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    bytes_step = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    model = {"type": "BPE", "vocab": dict(vocabulary), "merges": [list(pair) for pair in merges]}
    return _definition(
        model,
        special_ids,
        pre_tokenizer={"type": "Sequence", "pretokenizers": [split, bytes_step]},
        decoder={"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    )


def _definition(
    model: Definition,
    special_ids: Mapping[str, int],
    ordinary_ids: Mapping[str, int] | None = None,
    *,
    normalizer: Any = None,
    pre_tokenizer: Any = None,
    decoder: Any = None,
) -> Definition:
    options: Definition = {
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
    }
    options |= {"fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
    added = [(name, i, True) for name, i in special_ids.items()]
    added += [(name, i, False) for name, i in (ordinary_ids or {}).items()]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": name, **flags, "special": is_special}
            for name, i, is_special in sorted(added, key=lambda entry: entry[1])
        ],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": decoder,
        "model": {**options, **model},
    }


# SentencePiece: a protocol buffer, of which a few fields are needed.


def sentencepiece_definition(path: Path) -> Definition:
    """From a SentencePiece BPE model.

    SentencePiece merges the neighbours whose joined piece has the highest score, so every way to cut a piece in two is
    a merge, in the order of the pieces' scores.
    """
    try:
        model = list(_fields(path.read_bytes()))
        pieces = [_piece(value) for number, value in model if number == 1]
        trainer = dict(_fields(next(value for number, value in model if number == 2)))
        normaliser = dict(_fields(next(value for number, value in model if number == 3)))
    except (ValueError, StopIteration, IndexError, TypeError, struct.error):
        raise DataError(f"{path}: damaged, or not a SentencePiece model. Copy it again.") from None
    if trainer.get(3, 1) != _BPE_MODEL or normaliser.get(2):
        raise DataError(
            f"{path}: only SentencePiece BPE models without a normalisation table are read here. "
            "Turn it into a tokenizer.json with transformers (AutoTokenizer, then save_pretrained)."
        )
    vocabulary = {piece: i for i, (piece, _, _) in enumerate(pieces)}
    steps: list[Definition] = [{"type": "Prepend", "prepend": "\u2581"}] if normaliser.get(3, 1) else []
    steps += [{"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]
    unknown = next((piece for piece, _, kind in pieces if kind == _UNKNOWN), None)
    bpe: Definition = {"type": "BPE", "vocab": vocabulary, "merges": _merges_by_score(pieces, vocabulary)}
    bpe |= {"unk_token": unknown, "fuse_unk": True, "byte_fallback": bool(trainer.get(35))}
    return _definition(
        bpe,
        {piece: vocabulary[piece] for piece, _, kind in pieces if kind in (_UNKNOWN, _CONTROL)},
        {piece: vocabulary[piece] for piece, _, kind in pieces if kind == _USER_DEFINED},
        normalizer={"type": "Sequence", "normalizers": steps},
        decoder={"type": "Sequence", "decoders": _sentencepiece_decoders(bool(normaliser.get(3, 1)))},
    )


def _sentencepiece_decoders(has_first_space: bool) -> list[Definition]:
    decoders: list[Definition] = [
        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    return decoders + ([{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if has_first_space else [])


def _merges_by_score(pieces: Sequence[tuple[str, float, int]], vocabulary: Mapping[str, int]) -> list[list[str]]:
    merges = []
    for piece, score, kind in pieces:
        if kind == _NORMAL:
            cuts = ((piece[:i], piece[i:]) for i in range(1, len(piece)))
            known = [pair for pair in cuts if pair[0] in vocabulary and pair[1] in vocabulary]
            merges += [(-score, list(pair)) for pair in sorted(known, key=lambda p: (vocabulary[p[0]], p[1]))]
    return [pair for _, pair in sorted(merges, key=lambda entry: entry[0])]


def _piece(data: bytes) -> tuple[str, float, int]:
    """(text, score, kind) of one SentencePiece message."""
    fields = dict(_fields(data))
    return fields[1].decode(), struct.unpack("<f", fields.get(2, bytes(4)))[0], fields.get(3, _NORMAL)


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of each field of a protocol buffer message: int for varints, else bytes."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        kind = key & 7
        if kind == 0:
            value, position = _varint(data, position)
            yield key >> 3, value
            continue
        size = {1: 8, 5: 4}.get(kind)
        if kind == 2:
            size, position = _varint(data, position)
        if size is None or position + size > len(data):
            raise ValueError("not a protocol buffer message")
        yield key >> 3, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """(value, position behind it)."""
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
