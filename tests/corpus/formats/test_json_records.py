import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse.corpus.formats.context import ReadContext
from glasshouse.corpus.formats.json_records import _ValueStream, read_json, read_jsonl
from glasshouse.corpus.passage import Passage
from glasshouse.corpus.problem import Problem
from glasshouse.corpus.sources import find_files

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(alphabet='ab"\\\n[]{}é', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)


def read_file(tmp_path: Path, name: str, content: str) -> tuple[list[Passage], list[Problem]]:
    (tmp_path / name).write_text(content, encoding="utf-8")
    problems: list[Problem] = []
    context = ReadContext(problems.append, 100_000)
    [file] = find_files(str(tmp_path / name), problems.append)
    reader = read_json if name.endswith(".json") else read_jsonl
    return list(reader(file, context)), problems


def test_malformed_lines_are_kept_out_with_their_numbers(tmp_path: Path) -> None:
    content = '{"text": "one"}\n{"text": \n\n[1]\n{"n": 2}\n' + "[" * 100_000 + '\n{"text": "six"}'
    passages, problems = read_file(tmp_path, "a.jsonl", content)
    assert [passage.text for passage in passages] == ["one", "six"]
    assert [problem.line for problem in problems] == [2, 4, 5, 6]
    assert all(content[passage.offset :].startswith('{"text"') for passage in passages)


@given(st.lists(JSON, max_size=5), st.integers(1, 9), st.sampled_from([None, 0, 2]))
def test_values_of_an_array_are_those_json_reads_whatever_the_pieces(
    values: list[object], n_chars: int, indent: int | None
) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=False)
    stream = _ValueStream(iter([text[i : i + n_chars] for i in range(0, len(text), n_chars)]))
    items = list(stream.values())
    assert [item.value for item in items] == values
    for item in items:
        assert json.JSONDecoder().raw_decode(text, item.offset)[0] == item.value
        assert item.line == 1 + text.count("\n", 0, item.offset)


def test_values_one_after_another_are_records(tmp_path: Path) -> None:
    passages, problems = read_file(tmp_path, "a.json", '{"text": "one"}\n{"title": "two"} {"text": "three"}')
    assert [passage.text for passage in passages] == ["one", "two", "three"]
    assert problems == []


def test_a_lone_object_without_a_text_field_is_read_as_it_stands(tmp_path: Path) -> None:
    passages, _ = read_file(tmp_path, "package.json", '{"name": "x",\n "version": 1}\n')
    assert [passage.text for passage in passages] == ['{"name": "x",\n "version": 1}']


@pytest.mark.parametrize(
    ("content", "n_good", "line"),
    [
        ('[{"text": "a"},\n{"text": "b"},\noops', 2, 3),
        ('[{"text": "a"},\n', 1, 2),
        ('[{"text": "a"},\n{"text": "b', 1, 2),
    ],
)
def test_damage_ends_a_file_and_is_recorded(tmp_path: Path, content: str, n_good: int, line: int) -> None:
    passages, problems = read_file(tmp_path, "a.json", content)
    assert len(passages) == n_good
    assert [problem.line for problem in problems] == [line]
    assert "not valid JSON" in problems[0].reason
