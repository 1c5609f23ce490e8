"""Whatever the model, what is generated under a grammar has its form, unless it was cut."""

import json
import random
import re
from typing import Any

import jsonschema
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glasshouse.core.errors import ConfigError
from glasshouse.infer.grammar import Grammar
from glasshouse.tokenizer import Tokenizer, TokenizerConfig, train_tokenizer

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 150}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
MAX_TOKENS = 400


def sample(grammar: Grammar, tokenizer: Tokenizer, seed: int, max_tokens: int = MAX_TOKENS) -> tuple[list[int], bool]:
    """(ids, whether they were cut): random choices, with a liking for what closes strings, arrays and objects."""
    generator = random.Random(seed)
    state, ids = grammar.state(), []
    for _ in range(max_tokens):
        mask_V = state.mask()
        assert mask_V.shape == (tokenizer.vocab_size,) and mask_V.dtype == torch.bool
        assert state.may_end or not mask_V[list(tokenizer.end_ids)].any()
        choices = mask_V.nonzero().flatten().tolist()
        closing = [i for i in choices if i in tokenizer.end_ids or tokenizer.token_bytes(i)[:1] in b'"]}']
        id = generator.choice(closing if closing and generator.random() < 0.5 else choices)
        if id in tokenizer.end_ids:
            return ids, False
        assert id not in tokenizer.special_ids.values() and id != tokenizer.unknown_id
        ids.append(id)
        state.accept(id)
        if state.is_finished:
            assert state.may_end
            assert set(state.mask().nonzero().flatten().tolist()) == set(tokenizer.end_ids)
            return ids, False
    return ids, True


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    """What `response_format` and tools use: types, bounds, enums, arrays, nested objects, choices, patterns."""
    small = st.integers(-50, 50)
    leaves = st.one_of(
        st.sampled_from([{"type": t} for t in ("string", "integer", "number", "boolean", "null")]),
        st.tuples(small, st.integers(0, 60)).map(
            lambda b: {"type": "integer", "minimum": b[0], "maximum": b[0] + b[1]}
        ),
        st.tuples(st.integers(0, 4), st.integers(0, 4)).map(
            lambda n: {"type": "string", "minLength": n[0], "maxLength": n[0] + n[1]}
        ),
        st.lists(st.text(max_size=6) | small | st.booleans() | st.none(), min_size=1, max_size=4).map(
            lambda values: {"enum": values}
        ),
        st.sampled_from([{"type": "string", "pattern": p} for p in ("^[a-z]{2,5}$", r"^\d{4}-\d{2}$", "^(é|漢)+$")]),
        st.sampled_from([{"type": "string", "format": f} for f in ("date", "uuid", "ipv4")]),
    )

    def nest(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        arrays = st.tuples(inner, st.integers(0, 2), st.integers(0, 2)).map(
            lambda a: {"type": "array", "items": a[0], "minItems": a[1], "maxItems": a[1] + a[2]}
        )
        objects = st.dictionaries(st.text(max_size=5), st.tuples(inner, st.booleans()), max_size=3).map(
            lambda properties: {
                "type": "object",
                "properties": {name: schema for name, (schema, _) in properties.items()},
                "required": [name for name, (_, is_required) in properties.items() if is_required],
                "additionalProperties": False,
            }
        )
        return arrays | objects | st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options})

    return st.recursive(leaves, nest, max_leaves=5)


@given(schemas(), st.integers(0, 2**32))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_sample_is_json_that_the_schema_accepts(tokenizer: Tokenizer, schema: dict[str, Any], seed: int) -> None:
    ids, is_cut = sample(Grammar.json_schema(schema, tokenizer), tokenizer, seed)
    if not is_cut:
        jsonschema.validate(json.loads(tokenizer.decode(ids)), schema)


def test_few_samples_are_cut(tokenizer: Tokenizer) -> None:
    """Else the property above would say nothing."""
    grammar = Grammar.json_schema(PERSON, tokenizer)
    results = [sample(grammar, tokenizer, seed) for seed in range(20)]
    assert sum(is_cut for _, is_cut in results) <= 2
    assert len({tuple(ids) for ids, _ in results}) >= 15


def test_a_json_object_is_an_object_without_loose_whitespace(tokenizer: Tokenizer) -> None:
    grammar = Grammar.json_object(tokenizer)
    for seed in range(10):
        ids, is_cut = sample(grammar, tokenizer, seed)
        if not is_cut:
            value = json.loads(tokenizer.decode(ids))
            assert isinstance(value, dict)
    first = grammar.state().mask().nonzero().flatten().tolist()
    assert {tokenizer.token_bytes(i)[:1] for i in first} == {b"{"}
    spaces = [i for i in tokenizer.ids if tokenizer.token_bytes(i).isspace()]
    state = grammar.state()
    state.accept(tokenizer.encode("{")[0])
    assert spaces and not state.mask()[spaces].any()


@pytest.mark.parametrize("pattern", [r"[a-c]{2}\d+!", r"^(yes|no)$", r"\p{L}{3}", "日本?"])
def test_a_regular_expression_matches_as_a_whole(tokenizer: Tokenizer, pattern: str) -> None:
    grammar = Grammar.regex(pattern, tokenizer)
    for seed in range(5):
        ids, is_cut = sample(grammar, tokenizer, seed, 2_000)
        assert not is_cut
        assert re.fullmatch(pattern.replace(r"\p{L}", r"[^\W\d_]"), tokenizer.decode(ids))


def test_a_lark_grammar(tokenizer: Tokenizer) -> None:
    grammar = Grammar.lark('start: sum\nsum: NUMBER ("+" NUMBER)*\nNUMBER: /[0-9]{1,2}/', tokenizer)
    for seed in range(5):
        ids, is_cut = sample(grammar, tokenizer, seed)
        assert is_cut or re.fullmatch(r"\d{1,2}(\+\d{1,2})*", tokenizer.decode(ids))


def test_states_of_one_grammar_are_apart(tokenizer: Tokenizer) -> None:
    grammar = Grammar.regex("ab|cd", tokenizer)
    one, other = grammar.state(), grammar.state()
    before = other.mask()
    one.accept(tokenizer.encode("a")[0])
    assert torch.equal(other.mask(), before)
    assert not torch.equal(one.mask(), before)


def test_the_end_is_taken_where_the_grammar_may_end_and_nowhere_else(tokenizer: Tokenizer) -> None:
    grammar = Grammar.regex("a+", tokenizer)
    for end in tokenizer.end_ids:
        state = grammar.state()
        with pytest.raises(ConfigError, match="does not fit"):
            state.accept(end)
        state = grammar.state()
        state.accept(tokenizer.encode("a")[0])
        assert state.may_end and not state.is_finished and state.mask()[end]
        state.accept(end)
        assert state.is_finished


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda t: Grammar.json_schema({"type": "strin"}, t), "JSON Schema.*strin"),
        (lambda t: Grammar.json_schema({"$ref": "#/nowhere"}, t), "nowhere"),
        (lambda t: Grammar.json_schema({"enum": []}, t), "[Uu]nsatisfiable"),
        (lambda t: Grammar.json_schema({"type": "array", "uniqueItems": True}, t), "uniqueItems"),
        (lambda t: Grammar.json_schema({"type": "integer", "minimum": 5, "maximum": 4}, t), "JSON Schema"),
        (lambda t: Grammar.json_schema(False, t), "is an object"),
        (lambda t: Grammar.json_schema([1], t), "is an object"),  # type: ignore[arg-type]
        (lambda t: Grammar.json_schema({"enum": [{1, 2}]}, t), "not JSON"),
        (lambda t: Grammar.regex("(", t), "unclosed group"),
        (lambda t: Grammar.regex("a(?=b)", t), "look-around"),
        (lambda t: Grammar.regex(r"(a)\1", t), "backreferences"),
        (lambda t: Grammar.lark('start: "a" x', t), "unknown name"),
        (lambda t: Grammar.lark("start: <|im_end|>", t), "Lark grammar|cannot go on"),
        (lambda t: Grammar.lark("start: <[2]>", t), "cannot go on"),
    ],
)
def test_what_cannot_be_compiled_is_refused_with_its_reason(tokenizer: Tokenizer, make: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        make(tokenizer)
    assert "backtrace" not in str(caught.value) and "<state>" not in str(caught.value)


@pytest.mark.parametrize("kind", ["word", "char"])
def test_other_kinds_of_vocabularies_do_what_they_can_spell(kind: Any) -> None:
    texts = ['{"a": 1, "b": [2, 3]}', "0 1 2 3 4 5 6 7 8 9"] * 3
    tokenizer = train_tokenizer(texts, TokenizerConfig(kind=kind, vocab_size=80))
    ids, is_cut = sample(Grammar.regex("[0-9]{1,3}", tokenizer), tokenizer, 0)
    assert not is_cut and tokenizer.decode(ids).isdigit()
    with pytest.raises(ConfigError, match="cannot go on"):
        Grammar.regex("Ω", tokenizer)
    state = Grammar.regex("1Ω", tokenizer).state()
    state.accept(tokenizer.encode("1")[0])
    with pytest.raises(ConfigError, match="cannot go on"):
        state.mask()


def test_a_large_vocabulary_with_foreign_merges(shared_data: Any) -> None:
    gpt2 = Tokenizer.load(shared_data / "conformance" / "gpt2")
    ids, is_cut = sample(Grammar.json_schema(PERSON, gpt2), gpt2, 3)
    assert is_cut or jsonschema.validate(json.loads(gpt2.decode(ids)), PERSON) is None
