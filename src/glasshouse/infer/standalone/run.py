# Licensed under the Apache License, Version 2.0: https://www.apache.org/licenses/LICENSE-2.0
"""Everything that happens when a language model answers, in one file: Python (3.11 or later), NumPy, and nothing else.

    python run.py "What does shutil.copytree do?"
    python run.py --plain "import os" --temperature 0.8

It reads the files beside it: model.safetensors (the parameters), config.json (their shape), tokenizer.json and
tokenizer_config.json (how text becomes numbers).  In reading order: (1) the parameters, (2) text to ids and back,
(3) the transformer, (4) choosing tokens one after another, (5) the command line.

Shapes are written behind names: T tokens now, S tokens so far, D model width, N query heads, K key heads, G = N / K,
H width of a head, F width of the MLP, V vocabulary.  All arithmetic is in 32-bit floats.
"""

import argparse
import codecs
import json
import re
import sys
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain, pairwise, takewhile
from pathlib import Path
from typing import Any

import numpy as np

# (1) The parameters.
#
# A safetensors file is 8 bytes (the length of the header), the header (JSON: for each tensor its type, its shape and
# where it lies), and then the numbers.

FLOAT_TYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # NumPy has no bfloat16


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Name -> array."""
    data = np.fromfile(path, np.uint8)
    start = 8 + int(data[:8].view("<u8")[0])
    header = json.loads(data[8:start].tobytes())
    header.pop("__metadata__", None)
    weights = {}
    for name, tensor in header.items():
        first, end = tensor["data_offsets"]
        weights[name] = to_float32(data[start + first : start + end], tensor["dtype"]).reshape(tensor["shape"])
    return weights


def to_float32(data: np.ndarray, dtype: str) -> np.ndarray:
    """Bytes to numbers.  A bfloat16 is the upper half of a float32."""
    if dtype == "BF16":
        return (data.view(FLOAT_TYPES[dtype]).astype(np.uint32) << 16).view(np.float32)
    return data.view(FLOAT_TYPES[dtype]).astype(np.float32)


# (2) Text to ids and back.
#
# Text is cut into pieces by a regular expression (a word with the space before it, a number, punctuation, ...), and
# each piece is looked up.  In byte-pair encoding (BPE) a piece is first its single bytes; then neighbours are merged,
# always the pair that was learned earliest, until no pair is known.  So nothing is ever unknown.

# Such patterns use the classes \p{L} (letters), \p{N} (numbers), \s and \S (white space, all else) of Unicode 16, which
# Python's `re` does not have.  `unicodedata` knows the categories up to the Unicode version of this Python; what came
# later (15 and 16) is listed.
UNICODE_16_END = 0x323B0  # no letter and no number from here on
NEWER = {
    "L": "1c89-1c8a a7cb-a7cd a7da-a7dc 105c0-105f3 10d4a-10d65 10d6f-10d85 10ec2-10ec4 1123f-11240 11380-11389 1138b "
         "1138e 11390-113b5 113b7 113d1 113d3 11bc0-11be0 11f02 11f04-11f10 11f12-11f33 1342f 13441-13446 13460-143fa "
         "16100-1611d 16d40-16d6c 18cff 1b132 1b155 1df25-1df2a 1e030-1e06d 1e4d0-1e4eb 1e5d0-1e5ed 1e5f0 2b739 "
         "2ebf0-2ee5d 31350-323af",
    "N": "10d40-10d49 116d0-116e3 11bf0-11bf9 11f50-11f59 16130-16139 16d70-16d79 1ccf0-1ccf9 1d2c0-1d2d3 1e4f0-1e4f9 "
         "1e5f1-1e5fa",
}  # fmt: skip
WHITE_SPACE = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # in `re` also 1c to 1f
VISIBLE = ("\0-\x08\x0e-\x1f!-\x84\x86-\x9f\xa1-\u167f\u1681-\u1fff\u200b-\u2027\u202a-\u202e\u2030-\u205e\u2060-\u2fff"
           "\u3001-\U0010ffff")  # fmt: skip

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
END_NAMES = ("<|endoftext|>", "<|im_end|>", "</s>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>")
CHAT_TEMPLATE = (  # the one this file can render, as it stands in tokenizer_config.json
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@lru_cache
def members(kind: str) -> str:
    """What stands inside [...] for \\p{L} (kind "L") or \\p{N} ("N"): `A-Za-z...`."""
    codes = {code for code in range(UNICODE_16_END) if unicodedata.category(chr(code))[0] == kind}
    for span in NEWER[kind].split():
        first, _, last = span.partition("-")
        codes.update(range(int(first, 16), int(last or first, 16) + 1))
    starts = sorted(code for code in codes if code - 1 not in codes)
    ends = sorted(code for code in codes if code + 1 not in codes)
    return "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends))


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A tokenizer's pattern for `re`, its classes written out; as one group, so that `split` keeps what matches."""
    inside = {r"\p{L}": members("L"), r"\p{N}": members("N"), r"\s": WHITE_SPACE, r"\S": VISIBLE}
    parts = re.split(r"(\[(?:\\.|[^\]\\])*\])", pattern)  # [...] at odd places
    for place, part in enumerate(parts):
        for name, text in inside.items():
            part = part.replace(name, text if place % 2 else f"[{text}]")
        parts[place] = part
    return re.compile(f"({''.join(parts)})")


def byte_alphabet() -> list[str]:
    """byte -> the visible character that stands for it in tokenizer.json: 65 -> "A", 32 (space) -> "Ġ"."""
    visible = {*range(33, 127), *range(161, 173), *range(174, 256)}
    hidden = [byte for byte in range(256) if byte not in visible]
    return [chr(byte) if byte in visible else chr(256 + hidden.index(byte)) for byte in range(256)]


class Tokenizer:
    """Byte-level BPE, words, or characters: whatever tokenizer.json says."""

    def __init__(self, folder: Path) -> None:
        definition = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        model, added = definition["model"], definition.get("added_tokens", [])
        check_known(definition)
        self.vocabulary: dict[str, int] = model["vocab"]
        self.special_ids = {token["content"]: token["id"] for token in added if token["special"]}
        self.splitters = [compile_pattern(pattern) for pattern in patterns(definition["pre_tokenizer"])]
        self.is_bpe = model["type"] == "BPE"
        self.unknown_id = None if self.is_bpe else self.vocabulary[model["unk_token"]]
        merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in model.get("merges", [])]
        self.ranks = {tuple(pair): rank for rank, pair in enumerate(merges)}
        self.takes_whole_pieces = bool(model.get("ignore_merges"))
        self.alphabet = byte_alphabet()
        self.bytes_of_id = self._bytes_of_ids(self.vocabulary)
        stated = settings.get("eos_token")
        ends = {*END_NAMES, stated["content"] if isinstance(stated, dict) else stated}
        self.ends = [id for name, id in self.special_ids.items() if name in ends or name.startswith("<|im_start|>")]
        self.begin = [id for id in begin_ids(definition, self.special_ids) if id not in self.ends]
        self.knows_chat = settings.get("chat_template") == CHAT_TEMPLATE and "<|im_end|>" in self.special_ids
        self.encode_piece = lru_cache(maxsize=100_000)(self._encode_piece)

    def encode(self, text: str) -> list[int]:
        """The ids of a text.  Special strings in it ("<|im_end|>") are ordinary text."""
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")  # half characters to U+FFFD
        pieces = [text]
        for splitter in self.splitters:
            pieces = [part for piece in pieces for part in splitter.split(piece) if part]
        return [id for piece in pieces for id in self.encode_piece(piece)]

    def _encode_piece(self, piece: str) -> list[int]:
        if not self.is_bpe:
            return [self.vocabulary.get(piece, self.unknown_id)]  # type: ignore[list-item]
        parts = [self.alphabet[byte] for byte in piece.encode()]
        if self.takes_whole_pieces and "".join(parts) in self.vocabulary:
            return [self.vocabulary["".join(parts)]]
        while len(parts) > 1:
            ranks = [self.ranks.get(pair, len(self.ranks)) for pair in pairwise(parts)]
            earliest = min(ranks)
            if earliest == len(self.ranks):
                break
            at = ranks.index(earliest)
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return [self.vocabulary[part] for part in parts]

    def chat(self, question: str, system: str = "") -> list[int]:
        """The ids after which the assistant speaks, as in training."""
        after = [self.special_ids["<|im_end|>"], *self.encode("\n")]
        before = [*self.turn("system", system), *after] if system else []
        return [*before, *self.turn("user", question), *after, *self.turn("assistant", "")]

    def turn(self, role: str, content: str) -> list[int]:
        """Some vocabularies have one token for the whole header."""
        header = self.special_ids.get(f"<|im_start|>{role}\n")
        if header is not None:
            return [header, *self.encode(content)]
        return [self.special_ids["<|im_start|>"], *self.encode(f"{role}\n{content}")]

    def _bytes_of_ids(self, vocabulary: dict[str, int]) -> dict[int, bytes]:
        """Each id's text as bytes: a character may be spread over several ids.  Special ids show as nothing."""
        byte_of = {character: byte for byte, character in enumerate(self.alphabet)}
        table = {}
        for token, id in vocabulary.items():
            if token not in self.special_ids:
                table[id] = bytes(byte_of[character] for character in token) if self.is_bpe else token.encode()
        if self.unknown_id is not None:
            table[self.unknown_id] = "\ufffd".encode()
        return table


def patterns(splitter: dict[str, Any]) -> list[str]:
    """The regular expressions that cut text, in order."""
    kind = splitter["type"]
    if kind == "Sequence":
        return [pattern for step in splitter["pretokenizers"] for pattern in patterns(step)]
    if kind == "Split" and splitter["behavior"] == "Isolated" and "Regex" in splitter["pattern"]:
        return [splitter["pattern"]["Regex"]]
    if kind == "Digits":
        return [r"\p{N}" if splitter["individual_digits"] else r"\p{N}+"]
    if kind == "ByteLevel" and not splitter.get("add_prefix_space"):
        return [GPT2_PATTERN] if splitter.get("use_regex", True) else []
    raise ValueError(f"text is cut by {splitter}, which is not known here")


def begin_ids(definition: dict[str, Any], special_ids: dict[str, int]) -> list[int]:
    """What stands before every text in some vocabularies, such as Llama 3's <|begin_of_text|>."""
    processor = definition.get("post_processor") or {}
    templates = [step["single"] for step in processor.get("processors", [processor]) if "single" in step]
    marks = takewhile(lambda part: "SpecialToken" in part, chain.from_iterable(templates))
    return [special_ids[mark["SpecialToken"]["id"]] for mark in marks]


def check_known(definition: dict[str, Any]) -> None:
    """What would change the ids and is not computed here is refused."""
    model = definition["model"]
    options = ("continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "dropout")
    unknown = [name for name in options if model.get(name)] + (["normalizer"] if definition.get("normalizer") else [])
    unknown += [token["content"] for token in definition.get("added_tokens", []) if not token["special"]]
    if model["type"] not in ("BPE", "WordLevel"):
        unknown.append(model["type"])
    if unknown:
        raise ValueError(f"the tokenizer uses {', '.join(unknown)}, which is not known here")


# (3) The transformer.
#
# Every token is a vector of D numbers.  Each layer adds to it twice: attention brings in what earlier tokens hold, the
# MLP works on each token alone.  At the end the vector is compared with every token's own: these are the logits, how
# likely each token is to come next.


class Transformer:
    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.weights = read_safetensors(folder / "model.safetensors")
        self.n_layers = config["num_hidden_layers"]
        self.n_heads = config["num_attention_heads"]
        self.n_kv_heads = config.get("num_key_value_heads") or self.n_heads
        self.d_head = config.get("head_dim") or config["hidden_size"] // self.n_heads
        self.max_seq_len = config["max_position_embeddings"]
        self.eps = np.float32(config.get("rms_norm_eps", 1e-6))
        self.frequencies = rope_frequencies(config, self.d_head)
        self.embedding_VD = self.weights["model.embed_tokens.weight"]
        self.head_VD = self.embedding_VD if config.get("tie_word_embeddings") else self.weights["lm_head.weight"]

    def new_cache(self, n_slots: int) -> tuple[np.ndarray, np.ndarray]:
        """Room for the keys and values of earlier tokens, which therefore are computed only once."""
        shape = (self.n_layers, n_slots, self.n_kv_heads, self.d_head)
        return np.zeros(shape, np.float32), np.zeros(shape, np.float32)

    def __call__(self, ids: list[int], start: int, cache: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Logits (V,) of the token that follows `ids`, which stand at positions `start` and on."""
        x_TD = self.embedding_VD[ids]
        angles_TH = np.outer(np.arange(start, start + len(ids), dtype=np.float32), self.frequencies)
        rope = np.cos(angles_TH)[:, None], np.sin(angles_TH)[:, None]
        for layer in range(self.n_layers):
            name = f"model.layers.{layer}."
            keys_SKH, values_SKH = cache[0][layer], cache[1][layer]
            x_TD = x_TD + self.attention(name, self.norm(name + "input_layernorm", x_TD), start, rope,
                                         keys_SKH, values_SKH)  # fmt: skip
            x_TD = x_TD + self.mlp(name, self.norm(name + "post_attention_layernorm", x_TD))
        logits_V: np.ndarray = self.head_VD @ self.norm("model.norm", x_TD[-1])
        return logits_V

    def attention(self, name: str, x_TD: np.ndarray, start: int, rope: tuple[np.ndarray, np.ndarray],
                  keys_SKH: np.ndarray, values_SKH: np.ndarray) -> np.ndarray:  # fmt: skip
        """Each token asks (query), is compared with all up to itself (keys), and takes in what they offer (values)."""
        n_now, n_all, d_head = len(x_TD), start + len(x_TD), self.d_head
        query_TNH = self.linear(name + "self_attn.q_proj", x_TD).reshape(n_now, self.n_heads, d_head)
        key_TKH = self.linear(name + "self_attn.k_proj", x_TD).reshape(n_now, self.n_kv_heads, d_head)
        if name + "self_attn.q_norm.weight" in self.weights:  # Qwen3 has these, Llama has not
            query_TNH = self.norm(name + "self_attn.q_norm", query_TNH)
            key_TKH = self.norm(name + "self_attn.k_norm", key_TKH)
        keys_SKH[start:n_all] = rotate(key_TKH, *rope)
        values_SKH[start:n_all] = self.linear(name + "self_attn.v_proj", x_TD).reshape(n_now, self.n_kv_heads, d_head)

        query_TKGH = rotate(query_TNH, *rope).reshape(n_now, self.n_kv_heads, -1, d_head)  # G queries share one key
        key_K1HS = keys_SKH[:n_all].transpose(1, 2, 0)[:, None]
        value_K1SH = values_SKH[:n_all].transpose(1, 0, 2)[:, None]
        scores_KGTS = query_TKGH.transpose(1, 2, 0, 3) @ key_K1HS / np.float32(np.sqrt(d_head))
        is_later_TS = np.arange(n_all) > np.arange(start, n_all)[:, None]
        weights_KGTS = softmax(np.where(is_later_TS, np.float32(-np.inf), scores_KGTS))
        heads_TKGH = (weights_KGTS @ value_K1SH).transpose(2, 0, 1, 3)
        return self.linear(name + "self_attn.o_proj", heads_TKGH.reshape(n_now, -1))

    def mlp(self, name: str, x_TD: np.ndarray) -> np.ndarray:
        gate_TF = self.linear(name + "mlp.gate_proj", x_TD)
        open_TF = 0.5 * gate_TF * (1 + np.tanh(0.5 * gate_TF))  # SiLU: x * sigmoid(x), in a form that cannot overflow
        return self.linear(name + "mlp.down_proj", open_TF * self.linear(name + "mlp.up_proj", x_TD))

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        out: np.ndarray = x @ self.weights[name + ".weight"].T
        return out

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        """Scale to root mean square 1, then by learned factors."""
        out: np.ndarray = x / np.sqrt(np.mean(x * x, -1, keepdims=True) + self.eps) * self.weights[name + ".weight"]
        return out


def rope_frequencies(config: dict[str, Any], d_head: int) -> np.ndarray:
    """How fast each pair of numbers in a head turns with the position (H / 2,): that is how order is seen."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    theta = rope.get("rope_theta") or config.get("rope_theta") or 10000.0
    frequencies = (1 / theta ** (np.arange(0, d_head, 2, dtype=np.float32) / np.float32(d_head))).astype(np.float32)
    if (rope.get("rope_type") or rope.get("type") or "default") == "default":
        return frequencies
    # Llama 3: slow turns are made slower still, so that a model trained on short texts reads long ones.
    trained, low, high = (rope[key] for key in ("original_max_position_embeddings", "low_freq_factor",
                                                "high_freq_factor"))  # fmt: skip
    turns = trained * frequencies / (2 * np.pi)  # in the length of a training text
    share_kept = np.clip((turns - low) / (high - low), 0, 1)
    return (share_kept * frequencies + (1 - share_kept) * frequencies / rope["factor"]).astype(np.float32)


def rotate(x_TNH: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    """Turn each pair (first half, second half) by its angle."""
    first, second = np.split(x_TNH, 2, axis=-1)
    return np.concatenate((first * cos - second * sin, second * cos + first * sin), axis=-1)


def softmax(x: np.ndarray) -> np.ndarray:
    """Numbers to shares that sum to 1, along the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    out: np.ndarray = e / e.sum(-1, keepdims=True)
    return out


# (4) Choosing tokens, one after another.


def generate(model: Transformer, tokenizer: Tokenizer, prompt: list[int], max_tokens: int, temperature: float,
             random: np.random.Generator) -> Iterator[int]:  # fmt: skip
    """The ids of the answer, without the one that ends it."""
    limit = min(max_tokens, model.max_seq_len - len(prompt) + 1)
    n_ids = 1 + max(max(tokenizer.vocabulary.values()), *tokenizer.special_ids.values(), 0)  # the rest is padding
    cache = model.new_cache(len(prompt) + limit)
    ids, start = prompt, 0
    for _ in range(limit):
        logits_V = model(ids, start, cache)[:n_ids]
        if temperature == 0:
            id = int(logits_V.argmax())
        else:
            id = int(random.choice(n_ids, p=softmax(logits_V.astype(np.float64) / temperature)))
        if id in tokenizer.ends:
            return
        yield id
        start += len(ids)
        ids = [id]  # the others are in the cache


def pieces_of_text(tokenizer: Tokenizer, ids: Iterator[int]) -> Iterator[str]:
    """Text as it becomes certain: bytes wait until their character is whole."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for id in ids:
        yield decoder.decode(tokenizer.bytes_of_id.get(id, b""))
    yield decoder.decode(b"", final=True)


# (5) The command line.


def main() -> None:
    parser = argparse.ArgumentParser(description="Ask the model beside this file.")
    parser.add_argument("prompt")
    parser.add_argument("--plain", action="store_true", help="continue the text instead of answering it")
    parser.add_argument("--system", default="", help="instructions before the question")
    parser.add_argument("--max-tokens", type=int, default=200)
    parser.add_argument("--temperature", type=float, default=0.0, help="0: always the likeliest token")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]

    folder = Path(__file__).resolve().parent
    tokenizer, model = Tokenizer(folder), Transformer(folder)
    if options.plain or not tokenizer.knows_chat:
        prompt = [*tokenizer.begin, *tokenizer.encode(options.prompt)] or tokenizer.ends[:1]
    else:
        prompt = tokenizer.chat(options.prompt, options.system)
    if not 0 < len(prompt) <= model.max_seq_len:
        sys.exit(f"the prompt has {len(prompt)} tokens; this model reads 1 to {model.max_seq_len}")
    ids = generate(model, tokenizer, prompt, options.max_tokens, options.temperature,
                   np.random.default_rng(options.seed))  # fmt: skip
    for text in pieces_of_text(tokenizer, ids):
        print(text, end="", flush=True)
    print()


if __name__ == "__main__":
    main()
