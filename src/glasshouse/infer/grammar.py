"""Output that must have a form: JSON Schema, any JSON object, a regular expression or a Lark grammar.

A `Grammar` is compiled once and shared; each request walks it with a `GrammarState` of its own: `mask` says which
tokens may come next, `accept` takes the one that came.  What is generated is valid unless it was cut by its length.

Shapes: V vocab.  Special tokens stand for no text, so none is ever allowed but those that end an answer, and these only
where the grammar may end.  JSON is written without whitespace between its parts: where whitespace is free, a weak model
can put it for ever.  Properties come in the order of the schema.  A request's own limits on compiling and on each mask
are llguidance's defaults (a mask takes about 0.1 ms, and cannot take minutes).

The one file that knows llguidance (https://github.com/guidance-ai/llguidance).  Left out: tokens that are forced could
be taken without asking the model; a sampler that sees only them does the same in one step each.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from glasshouse.core.errors import ConfigError
from glasshouse.core.extras import require
from glasshouse.tokenizer import Tokenizer

COMPACT = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
MAX_REASON_CHARACTERS = 500
SPECIAL_MARK = b"\xff"  # no UTF-8 begins with it: how llguidance tells special tokens from text

JSONSchema = Mapping[str, Any] | bool


class Grammar:
    """`Grammar.json_schema({"type": "integer"}, tokenizer).state()`.  What cannot be compiled raises `ConfigError`."""

    def __init__(self, definition: str, tokenizer: Tokenizer, kind: str = "grammar") -> None:
        """`definition` is llguidance's own form; use the constructors below."""
        self._compiled = _compile(definition, tokenizer, kind)
        self._vocabulary = _vocabulary(tokenizer)
        self.state().mask()  # what cannot even begin is refused here

    @classmethod
    def json_schema(cls, schema: JSONSchema, tokenizer: Tokenizer) -> "Grammar":
        """JSON that the schema accepts.  A keyword that cannot be enforced is an error, never ignored."""
        if schema is True:
            schema = {}
        if not isinstance(schema, Mapping):
            raise ConfigError(f"a JSON Schema is an object such as {{'type': 'object'}}; got {json.dumps(schema)[:80]}")
        try:
            text = json.dumps(schema)
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"this JSON Schema is not JSON itself: {error}") from None
        definition = _matcher_type().grammar_from_json_schema(text, overrides=COMPACT)
        return cls(definition, tokenizer, "JSON Schema")

    @classmethod
    def json_object(cls, tokenizer: Tokenizer) -> "Grammar":
        """Any JSON object."""
        return cls.json_schema({"type": "object"}, tokenizer)

    @classmethod
    def regex(cls, pattern: str, tokenizer: Tokenizer) -> "Grammar":
        """Text that the whole pattern matches (Rust's syntax: no look-around, no back-references)."""
        return cls(_matcher_type().grammar_from_regex(pattern), tokenizer, "regular expression")

    @classmethod
    def lark(cls, text: str, tokenizer: Tokenizer) -> "Grammar":
        """Text of a context-free grammar whose first rule is `start`."""
        return cls(_matcher_type().grammar_from_lark(text), tokenizer, "Lark grammar")

    def state(self) -> "GrammarState":
        """A walk from the beginning (4 us)."""
        return GrammarState(self._compiled.deep_copy(), self._vocabulary)


class GrammarState:
    """Where one answer stands in its grammar."""

    def __init__(self, matcher: Any, vocabulary: "_Vocabulary") -> None:
        self._matcher, self._vocabulary = matcher, vocabulary

    @property
    def is_finished(self) -> bool:
        """Whether nothing can follow but the end."""
        return bool(self._matcher.is_stopped() and not self._matcher.is_error())

    @property
    def may_end(self) -> bool:
        """Whether what has come so far is valid as it stands."""
        return bool(self._matcher.is_accepting())

    def mask(self) -> Tensor:
        """The tokens that may come next, as booleans (V,).

        Never all False: where no token leads on (a character the vocabulary cannot spell, or a limit), `ConfigError`.
        """
        if self.is_finished:
            if not self.may_end:
                raise self._stuck()
            return self._vocabulary.is_end_V.clone()
        allowed_V = torch.frombuffer(bytearray(self._matcher.compute_logit_bias()), dtype=torch.uint8) != 0
        allowed_V &= ~self._vocabulary.is_special_V
        if self.may_end:
            allowed_V |= self._vocabulary.is_end_V
        if not allowed_V.any():
            raise self._stuck()
        return allowed_V

    def accept(self, id: int) -> None:
        """Go on by one token that `mask` allowed."""
        if self._vocabulary.is_end_V[id] and self.may_end:
            id = self._vocabulary.end_id  # llguidance may have stopped already, and then takes this one only
        if not self._matcher.consume_token(id):
            reason = _first_lines(self._matcher.get_error())
            raise ConfigError(f"token {id} does not fit the grammar here: choose from `mask`. ({reason})")

    def _stuck(self) -> ConfigError:
        reason = _first_lines(self._matcher.get_error()) or "no token of this vocabulary can spell what must come next"
        return ConfigError(f"the grammar cannot go on: {reason}. Use a byte-level tokenizer, or a simpler grammar.")


class _Vocabulary:
    """What llguidance needs of a tokenizer, built once for each (0.2 s for 50,000 tokens)."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.end_id, *_ = ends = self._ends(tokenizer)
        special = self._special(tokenizer)
        self.is_special_V = _flags(special, tokenizer.vocab_size)
        self.is_end_V = _flags(ends, tokenizer.vocab_size)
        self.backend = require("llguidance", "serve", "constrained output").LLTokenizer(
            _Adapter(tokenizer, special, ends[0]), n_vocab=tokenizer.vocab_size, eos_token=list(ends)
        )

    @staticmethod
    def _ends(tokenizer: Tokenizer) -> tuple[int, ...]:
        if not tokenizer.end_ids:
            raise ConfigError("this tokenizer has no token that ends an answer, so constrained output could not end")
        return tokenizer.end_ids

    @staticmethod
    def _special(tokenizer: Tokenizer) -> set[int]:
        """Special ids, the unknown one, and the gaps of vocabularies that number with holes."""
        without_text = set(tokenizer.special_ids.values()) | {i for i in (tokenizer.unknown_id,) if i is not None}
        return without_text | set(range(tokenizer.vocab_size)) - tokenizer.ids


class _Adapter:
    """The attributes that llguidance looks for in a tokenizer."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, special: set[int], end_id: int) -> None:
        self.eos_token_id = end_id
        self.special_token_ids = sorted(special)
        self.tokens = [
            SPECIAL_MARK + b"<%d>" % i if i in special else tokenizer.token_bytes(i)
            for i in range(tokenizer.vocab_size)
        ]
        self._encode = tokenizer.encode

    def __call__(self, text: str) -> list[int]:
        return self._encode(text)


@lru_cache(maxsize=8)
def _vocabulary(tokenizer: Tokenizer) -> _Vocabulary:
    return _Vocabulary(tokenizer)


@lru_cache(maxsize=64)  # the requests of one application share a few schemas; compiling takes 1 to 5 ms
def _compile(definition: str, tokenizer: Tokenizer, kind: str) -> Any:
    matcher = _matcher_type()(_vocabulary(tokenizer).backend, definition, log_level=0)
    if matcher.is_error():
        raise ConfigError(f"this {kind} cannot be used: {_first_lines(matcher.get_error())}")
    return matcher


def _matcher_type() -> Any:
    return require("llguidance", "serve", "constrained output").LLMatcher


def _first_lines(reason: str) -> str:
    """llguidance's reason without the dump of its state."""
    return reason.split("<state>")[0].split("<backtrace>")[0].strip()[:MAX_REASON_CHARACTERS]


def _flags(ids: "set[int] | tuple[int, ...]", n: int) -> Tensor:
    flags = torch.zeros(n, dtype=torch.bool)
    flags[list(ids)] = True
    return flags
