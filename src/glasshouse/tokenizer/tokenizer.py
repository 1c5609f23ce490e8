"""Text to ids and back, defined by one tokenizer.json, the file that transformers, vLLM and llama.cpp's converter open.

The JSON text itself is the state: it is kept as it was read, so that saving and loading never change the hash.  The
objects that do the work (`tokenizers`, tiktoken) are built from it on first use.

Units: offsets in characters of the text.  Left out: padding and truncation (batch does both on ids), and automatic
begin- or end-of-text ids (`encode` gives the ids of the text and nothing else; the caller adds what it needs).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import tokenizers

from glasshouse.core.errors import DataError
from glasshouse.core.files import write_json, write_text
from glasshouse.core.records import ROLES
from glasshouse.tokenizer.chat import JINJA_TEMPLATE, ChatTemplate
from glasshouse.tokenizer.encoders import (
    Encoder,
    GeneralEncoder,
    RankEncoder,
    TableEncoder,
    is_character_level,
    why_not_ranks,
    without_surrogates,
)
from glasshouse.tokenizer.foreign import foreign_definition
from glasshouse.tokenizer.jinja import JinjaTemplate, template_texts
from glasshouse.tokenizer.patterns import CHARACTER_TO_BYTE, PATTERNS, from_alphabet

END_OF_TEXT = "<|endoftext|>"  # ends a document; also what batches are padded with
IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
SPECIAL_TOKENS = (END_OF_TEXT, IM_START, IM_END)  # ids 0, 1, 2 in every tokenizer trained here
ROLE_HEADERS = tuple(f"{IM_START}{role}\n" for role in ROLES)  # ids 3, 4, ... where asked for
UNKNOWN = "<|unk|>"  # word and character level only: bytes leave nothing unknown

OTHER_ENDS = ("</s>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>")  # what other systems call it
END_TOKENS = (END_OF_TEXT, IM_END, IM_START, *ROLE_HEADERS)  # a model that opens a new turn has ended its own
SPECIAL_VARIABLES = tuple(f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"))

DEFINITION_FILE = "tokenizer.json"
SETTINGS_FILE = "tokenizer_config.json"
FOREIGN_SETTINGS = {"tokenizer_class": "PreTrainedTokenizerFast"}  # for a vocabulary that came without settings


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a text: the characters `[start, end)` it covers, whole or in part, and the bytes it stands for."""

    id: int
    bytes: bytes
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """What a tokenizer learned from.  `note` says in one line where the result differs from what was asked."""

    n_texts: int
    n_bytes: int
    seconds: float
    asked_vocab_size: int
    note: str | None = None


class Tokenizer:
    """A tokenizer.json and what it can do.  Make one by `train_tokenizer`, `Tokenizer.load` or `foreign`."""

    def __init__(self, definition_text: str, settings: Mapping[str, Any] | None = None) -> None:
        self._text = definition_text
        self._definition: dict[str, Any] = json.loads(definition_text)
        self.settings: dict[str, Any] = dict(settings if settings is not None else default_settings())
        self.trained: TrainingRecord | None = None

    # What it is.

    @cached_property
    def kind(self) -> str:
        """ "bpe", "word" or "char"; for a foreign file of another sort its model's name in lower case."""
        model = self._definition["model"]["type"]
        if model == "WordLevel":
            return "char" if is_character_level(self._definition) else "word"
        return model.lower()

    @cached_property
    def vocab_size(self) -> int:
        """One more than the largest id: the number of embedding rows a model needs."""
        return 1 + max(self._token_strings, default=-1)

    @cached_property
    def special_ids(self) -> dict[str, int]:
        """Special string -> id.  These ids come from templates and callers, never from text."""
        return {t["content"]: t["id"] for t in self._definition.get("added_tokens", []) if t["special"]}

    @property
    def end_of_text_id(self) -> int:
        return self._special(END_OF_TEXT, "eos_token", *OTHER_ENDS)

    @property
    def im_start_id(self) -> int:
        return self._special(IM_START)

    @property
    def im_end_id(self) -> int:
        return self._special(IM_END)

    @cached_property
    def ids(self) -> frozenset[int]:
        """Every id that has a token; a foreign vocabulary may number with holes."""
        return frozenset(self._token_strings)

    @cached_property
    def end_ids(self) -> tuple[int, ...]:
        """The tokens that end an answer: ours, what the settings name, and what other families use.  May be empty."""
        stated = self.special_variables.get("eos_token")
        names = (*END_TOKENS, *([stated] if stated else []), *OTHER_ENDS)
        return tuple(dict.fromkeys(self.special_ids[name] for name in names if name in self.special_ids))

    @cached_property
    def begin_ids(self) -> tuple[int, ...]:
        """What this tokenizer puts before a plain text (Llama 3: `<|begin_of_text|>`); ours put nothing."""
        marked = self.backend.encode("", add_special_tokens=True).ids
        return tuple(i for i in marked if i not in self.end_ids)

    @property
    def special_variables(self) -> dict[str, str]:
        """What the settings call their special tokens, as templates see them: `{"eos_token": "<|im_end|>", ...}`."""
        named = {key: self.settings.get(key) for key in SPECIAL_VARIABLES}
        texts = {key: value.get("content") if isinstance(value, Mapping) else value for key, value in named.items()}
        return {key: text for key, text in texts.items() if isinstance(text, str)}

    @cached_property
    def unknown_id(self) -> int | None:
        """The id of what the vocabulary does not know; None where nothing is unknown (byte level)."""
        model = self._definition["model"]
        if isinstance(model.get("unk_id"), int):  # Unigram
            return model["unk_id"]
        name = model.get("unk_token")
        return None if name is None else self._ids.get(name)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON, by which shards and checkpoints are matched.  Layout is no matter."""
        canonical = json.dumps(self._definition, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()

    @cached_property
    def template(self) -> ChatTemplate | JinjaTemplate | None:
        """Ours where the vocabulary has its special tokens, else the one that came with the model."""
        texts = template_texts(self.settings.get("chat_template"))
        if "default" not in texts:
            return None
        if texts["default"] == JINJA_TEMPLATE:
            return ChatTemplate() if {IM_START, IM_END} <= self.special_ids.keys() else None
        return JinjaTemplate(texts["default"], texts.get("tool_use"))

    @cached_property
    def is_byte_level(self) -> bool:
        """Whether every token is a run of bytes, so that any text comes back exactly."""
        return (self._definition.get("decoder") or {}).get("type") == "ByteLevel"

    @cached_property
    def is_context_free(self) -> bool:
        """Whether a text's bytes are its tokens' bytes one after another (not so in SentencePiece: the first space)."""
        return (self._definition.get("decoder") or {}).get("type") in ("ByteLevel", "Fuse")

    @cached_property
    def pattern(self) -> str | None:
        """The name in `PATTERNS` of the pre-tokenizer, where it is one of them."""
        text = json.dumps(self._definition.get("pre_tokenizer"))
        names = [name for name, regex in PATTERNS.items() if json.dumps(regex) in text]
        is_gpt2 = '"use_regex": true' in text
        return names[0] if names else "gpt-2" if is_gpt2 else None

    # Text to ids.

    def encode(self, text: str) -> list[int]:
        """The ids of a text.  Special strings in it are ordinary text: they never become special ids."""
        return self._encoder.encode(text)

    def encode_batch(self, texts: Iterable[str]) -> list[list[int]]:
        """As `encode` for each, on all cores."""
        return self._encoder.encode_batch(list(texts))

    def encode_marked(self, text: str) -> list[int]:
        """The ids of a text in which special strings ARE special ids.  Only for what a template rendered."""
        return self._marking_backend.encode(without_surrogates(text), add_special_tokens=False).ids

    def encode_with_tokenizers(self, text: str) -> list[int]:
        """The same ids by the other road: `tokenizers` itself.  For tests and for whoever doubts."""
        return self._general.encode(text)

    @property
    def encoder_name(self) -> str:
        """ "tiktoken", "table" or "tokenizers": what `encode` runs on."""
        return self._encoder.name

    @cached_property
    def why_slow(self) -> str | None:
        """Why `encode` runs on `tokenizers` (about a fifth of the speed); None where it does not."""
        return None if is_character_level(self._definition) else why_not_ranks(self._definition)

    def tokens_of(self, text: str) -> list[Token]:
        """Each token of a text with the characters it covers.  A token may hold part of a character's bytes."""
        text = without_surrogates(text)
        ids = self.encode(text)
        if self.is_byte_level and not self._definition.get("normalizer"):
            return self._tokens_by_bytes(text, ids)
        encoding = self.backend.encode(text, add_special_tokens=False)
        if encoding.ids != ids:  # the guard against special ids cut the text: give tokens without exact places
            return [Token(i, self.token_bytes(i), 0, len(text)) for i in ids]
        return [self._token_at(text, i, *span) for i, span in zip(ids, encoding.offsets, strict=True)]

    def count_unknown(self, ids: Sequence[int]) -> int:
        return 0 if self.unknown_id is None else list(ids).count(self.unknown_id)

    # Ids to text.

    def decode(self, ids: Sequence[int], *, skips_special: bool = False) -> str:
        """The text of ids; bytes that are no UTF-8 become U+FFFD.  Special tokens show as strings, or are skipped."""
        return self.decode_bytes(ids, skips_special=skips_special).decode("utf-8", "replace")

    def decode_bytes(self, ids: Sequence[int], *, skips_special: bool = False) -> bytes:
        """The bytes of ids, exact where a character is cut between two calls."""
        if skips_special:
            hidden = set(self.special_ids.values()) - {self.unknown_id}
            ids = [i for i in ids if i not in hidden]
        if self.is_context_free:
            return b"".join(map(self.token_bytes, ids))
        self._check(ids)
        return self.backend.decode(list(ids), skip_special_tokens=False).encode("utf-8")

    def token_bytes(self, id: int) -> bytes:
        """The bytes one id stands for: its string for a special token, U+FFFD for the unknown one."""
        try:
            return self._bytes[id]
        except KeyError:
            raise DataError(
                f"id {id} is not in this vocabulary of {self.vocab_size} tokens. "
                "The ids were made by another tokenizer: use the one stored beside the weights."
            ) from None

    # To disk and back.

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and tokenizer_config.json (with the chat template), which `AutoTokenizer` opens."""
        write_text(folder / DEFINITION_FILE, self._text)
        write_json(folder / SETTINGS_FILE, self.settings)

    @staticmethod
    def load(path: Path | str) -> "Tokenizer":
        """From a folder with tokenizer.json, or from such a file; the files `foreign` knows are read too.

        Raises `DataError` naming what is wrong.
        """
        path = Path(path)
        file = path / DEFINITION_FILE if path.is_dir() else path
        if file.suffix != ".json" or not file.exists():
            definition = foreign_definition(path)
            if definition is not None:
                settings = _read_settings(path if path.is_dir() else path.parent)
                return Tokenizer(json.dumps(definition, ensure_ascii=False), settings)
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{file}: no tokenizer can be read here ({error}). Give a folder that holds {DEFINITION_FILE}."
            ) from None
        try:
            tokenizer = Tokenizer(text, _read_settings(file.parent))
            tokenizer._check_definition()
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{file}: damaged, or not a tokenizer.json ({error}). Copy it again.") from None
        return tokenizer

    @cached_property
    def backend(self) -> tokenizers.Tokenizer:
        """The `tokenizers` object of this definition."""
        backend = self._new_backend()
        backend.encode_special_tokens = True  # special strings are not looked for in text
        return backend

    def __reduce__(self) -> tuple[Any, ...]:
        """Worker processes get the definition and build their own encoders."""
        return Tokenizer, (self._text, self.settings)

    # Inside.

    @cached_property
    def _marking_backend(self) -> tokenizers.Tokenizer:
        return self._new_backend()

    def _new_backend(self) -> tokenizers.Tokenizer:
        try:
            backend = tokenizers.Tokenizer.from_str(self._text)
        except Exception as error:  # `tokenizers` raises nothing narrower
            raise DataError(f"this {DEFINITION_FILE} is not one that `tokenizers` reads: {error}") from None
        backend.no_truncation()
        backend.no_padding()
        return backend

    @cached_property
    def _general(self) -> GeneralEncoder:
        return GeneralEncoder(self.backend, self.special_ids, self.unknown_id)

    @cached_property
    def _encoder(self) -> Encoder:
        if is_character_level(self._definition):
            return TableEncoder(self._definition)
        return self._general if self.why_slow else RankEncoder(self._definition, lambda: self._general)

    @cached_property
    def _ids(self) -> dict[str, int]:
        vocabulary = self._definition["model"]["vocab"]
        if isinstance(vocabulary, list):  # Unigram: [token, score] by id
            vocabulary = {entry[0]: i for i, entry in enumerate(vocabulary)}
        return dict(vocabulary) | {t["content"]: t["id"] for t in self._definition.get("added_tokens", [])}

    @cached_property
    def _token_strings(self) -> dict[int, str]:
        return {i: token for token, i in self._ids.items()}

    @cached_property
    def _bytes(self) -> dict[int, bytes]:
        added = {t["id"]: t["content"] for t in self._definition.get("added_tokens", [])}
        table = {i: self._bytes_of(token) for i, token in self._token_strings.items() if i not in added}
        table |= {i: content.encode() for i, content in added.items()}
        if self.unknown_id is not None:
            table[self.unknown_id] = "\ufffd".encode()
        return table

    def _bytes_of(self, token: str) -> bytes:
        if self.is_byte_level and CHARACTER_TO_BYTE.keys() >= set(token):
            return from_alphabet(token)
        if self._definition["model"].get("byte_fallback") and len(token) == 6 and token.startswith("<0x"):
            return bytes.fromhex(token[3:5])
        return (token if self.is_context_free else token.replace("\u2581", " ")).encode("utf-8", "replace")

    def _special(self, name: str, setting: str | None = None, *others: str) -> int:
        stated = self.settings.get(setting) if setting else None
        content = stated.get("content") if isinstance(stated, Mapping) else stated
        for candidate in (name, content, *others):
            if candidate in self._ids:
                return self._ids[candidate]
        raise DataError(
            f"this tokenizer has no special token {name!r} (it has: {', '.join(self.special_ids) or 'none'}). "
            "Train one with `train_tokenizer`, or use a model whose tokenizer has it."
        )

    def _tokens_by_bytes(self, text: str, ids: Sequence[int]) -> list[Token]:
        """Places from the lengths of the tokens' bytes."""
        first_byte_of = [0]
        for character in text:
            first_byte_of.append(first_byte_of[-1] + len(character.encode()))
        character_at = [0] * first_byte_of[-1]
        for index, (start, end) in enumerate(pairwise(first_byte_of)):
            character_at[start:end] = [index] * (end - start)
        tokens, position = [], 0
        for i in ids:
            data = self.token_bytes(i)
            end = position + len(data)
            tokens.append(Token(i, data, character_at[position], character_at[end - 1] + 1))
            position = end
        return tokens

    def _token_at(self, text: str, i: int, start: int, end: int) -> Token:
        """An unknown token shows the bytes it stands for here, which its id cannot give back."""
        data = text[start:end].encode() if i == self.unknown_id else self.token_bytes(i)
        return Token(i, data, start, end)

    def _check(self, ids: Sequence[int]) -> None:
        for i in ids:
            self.token_bytes(i)

    def _check_definition(self) -> None:
        if "vocab" not in self._definition["model"]:
            raise ValueError("its model has no vocabulary")
        _ = self.vocab_size, self.special_ids, self.kind


def default_settings() -> dict[str, Any]:
    """tokenizer_config.json as transformers 4 and 5 read it.  The class that uses tokenizer.json as it stands: the
    class that belongs to Qwen3 would put its own normaliser and pattern in place of ours."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": None,
        "eos_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,
        "clean_up_tokenization_spaces": False,
        "chat_template": JINJA_TEMPLATE,
    }


def _read_settings(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json beside a tokenizer.json; a chat_template.jinja beside it is its template."""
    path, template = folder / SETTINGS_FILE, folder / "chat_template.jinja"
    settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else dict(FOREIGN_SETTINGS)
    if template.is_file():
        settings["chat_template"] = template.read_text(encoding="utf-8")
    return settings
