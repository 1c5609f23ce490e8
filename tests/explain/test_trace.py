import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse.batch import encode_documents, write_shard
from glasshouse.core.errors import ConfigError
from glasshouse.core.records import Document
from glasshouse.explain import TraceConfig, build_index, next_tokens, trace
from glasshouse.explain.trace import maximal_spans, merge_spans

OTHERS = ["naïve 東京 🎈!", "x = 1\n"]


@pytest.fixture(scope="module")
def sources():
    return [Path(module.__file__).read_text(encoding="utf-8") for module in (json, shutil)]


@pytest.fixture(scope="module")
def index(sources, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trace")
    documents = [
        Document(f"d{n}", text, f"file{n}.py", 100 * n) for n, text in enumerate([*sources, *OTHERS, sources[0]])
    ]
    return build_index([write_shard(folder / "s.tokens", encode_documents(documents, tokenizer), tokenizer)], folder)


@given(st.lists(st.integers(0, 4), max_size=12))
def test_maximal_spans_lie_in_no_other(steps):
    ends, longest = 0, []
    for i, step in enumerate(steps):  # longest matches: no end before the one of the place before
        ends = max(ends, i) + step
        longest.append(min(ends, len(steps)) - i)
    spans = maximal_spans(longest)
    whole = [(i, i + n) for i, n in enumerate(longest) if n]
    assert all(any(a <= i and j <= b for a, b in spans) for i, j in whole)
    assert all(s == t or not (t[0] <= s[0] and s[1] <= t[1]) for s in spans for t in whole)


def test_merged_spans():
    assert merge_spans([(4, 6), (0, 2), (1, 3), (6, 7)]) == ((0, 3), (4, 7))
    assert merge_spans([]) == ()


def test_a_copied_passage_is_found_with_file_offset_and_neighbourhood(index, tokenizer, sources):
    at = sources[1].index("def copytree")
    passage = sources[1][at : at + 200]
    found = trace(index, tokenizer, "Zzyzx! " + passage + " qqq qqq")
    best = found.quotations[0]
    assert passage[5:-5] in best.text and best.count == 1 and best.bits > 100
    place = best.places[0]
    assert (place.source, place.document) == ("file1.py", "d1")
    begin = place.offset - 100
    assert sources[1][begin : begin + len(place.text)] == place.text == best.text
    assert sources[1][begin - len(place.before) : begin] == place.before
    assert place.after and sources[1][begin + len(place.text) :].startswith(place.after)
    assert found.text[best.start : best.stop] == best.text
    assert found.longest_tokens == best.last - best.first
    assert 0.8 < found.p_covered < 1


def test_what_stands_in_two_files_is_counted_twice_and_told_of_both(index, tokenizer, sources):
    found = trace(index, tokenizer, sources[0][400:700])
    assert found.quotations[0].count == 2
    assert [place.source for place in found.quotations[0].places] == ["file0.py", "file4.py"]
    assert found.p_covered == 1 and found.covered == ((0, 300),)


def test_the_rarest_and_longest_come_first(index, tokenizer, sources):
    text = sources[1][2000:2040] + " 東京 🎈 " + sources[0][900:1100]
    quotations = trace(index, tokenizer, text, TraceConfig(min_tokens=2)).quotations
    assert len(quotations) > 1
    assert [q.bits for q in quotations] == sorted((q.bits for q in quotations), reverse=True)


def test_neighbourhoods_end_with_their_document(index, tokenizer):
    place = trace(index, tokenizer, OTHERS[0]).quotations[0].places[0]
    assert (place.before, place.text, place.after, place.offset) == ("", OTHERS[0], "", 200)


def test_short_and_many_quotations_are_left_out(index, tokenizer, sources):
    text = " qqq ".join(sources[1][i : i + 60] for i in range(1000, 9000, 400))
    few = trace(index, tokenizer, text, TraceConfig(max_quotations=3, n_places=0))
    assert len(few.quotations) == 3 and all(not q.places for q in few.quotations)
    assert not trace(index, tokenizer, text, TraceConfig(min_tokens=500)).quotations
    assert trace(index, tokenizer, text, TraceConfig(min_tokens=500)).p_covered == 0
    unlikely = trace(index, tokenizer, text, TraceConfig(min_bits=120)).quotations
    assert unlikely and all(q.bits >= 120 for q in unlikely)


def test_what_mostly_repeats_a_better_quotation_is_not_told_again(index, tokenizer, sources):
    text = sources[1][2000:2120] + " qqq " + sources[0][900:1000]
    found = trace(index, tokenizer, text, TraceConfig(min_tokens=1, min_bits=0, max_quotations=100))
    told = set()
    for quotation in found.quotations:
        own = set(range(quotation.first, quotation.last))
        assert 2 * len(own & told) <= len(own)
        told |= own
    assert len(told) / found.n_tokens <= found.p_covered <= 1


def test_a_trace_is_json(index, tokenizer, sources):
    value = json.loads(json.dumps(trace(index, tokenizer, sources[0][:100]).to_json()))
    assert value["quotations"][0]["places"][0]["source"] == "file0.py"


def test_next_tokens_beside_the_models(index, tokenizer, sources):
    ids = tokenizer.encode(sources[0][400:440])
    following = tokenizer.encode(sources[0][400:480])[len(ids)]
    found, rows = next_tokens(index, tokenizer, ids, {7: 0.9, following: 0.05})
    assert (found.context, found.count) == (len(ids), 2)
    assert rows[0].id == following and rows[0].p_training == 1 and rows[0].p_model == 0.05 and rows[0].count == 2
    assert rows[1].id == 7 and rows[1].p_training == 0 and rows[1].p_model == 0.9
    unseen, frequent = next_tokens(index, tokenizer, [], n=5)
    assert unseen.context == 0 and len(frequent) == 5
    assert sum(index.frequency_V) == index.n_tokens


def test_an_empty_text_and_one_too_long(index, tokenizer):
    with pytest.raises(ConfigError, match="1 to 16,384 tokens; this one has 0"):
        trace(index, tokenizer, "")
    with pytest.raises(ConfigError, match="1 to 16,384"):
        trace(index, tokenizer, "a\n" * 20_000)
