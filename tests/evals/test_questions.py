import json
from collections import Counter

import pytest

from glasshouse.core.errors import DataError
from glasshouse.core.records import Question
from glasshouse.evals import choose_questions, read_questions, write_questions

QUESTIONS = [
    Question("1", "Where is “copytree”?", ("shutil", "in shutil"), "module", "short", "shutil.copytree"),
    Question("2", "os.fly?", (), "made_up", "short", "os.fly"),
    Question("3", "2 + 2?", ("4",)),
]


def test_round_trip(tmp_path):
    write_questions(tmp_path / "q.jsonl", QUESTIONS)
    assert read_questions(tmp_path / "q.jsonl") == QUESTIONS


GOOD = '{"id": "a", "prompt": "p", "answers": ["x"]}'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not a JSON record"),
        ("[1]", "a question is a JSON object"),
        ('{"id": "b", "prompt": "p", "answer": ["x"]}', 'unknown field "answer". Did you mean "answers"'),
        ('{"id": "b", "prompt": " ", "answers": ["x"]}', '"prompt" must be a text that is not empty'),
        ('{"id": 7, "prompt": "p", "answers": ["x"]}', '"id" must be a text'),
        ('{"id": "b", "prompt": "p", "answers": "x"}', '"answers" must be a list'),
        ('{"id": "b", "prompt": "p", "answers": []}', '"answers" is empty'),
        ('{"id": "b", "prompt": "p", "answers": ["x"], "kind": 3}', '"kind" must be a text'),
        (GOOD, "id 'a' is already used on line 1"),
    ],
)
def test_a_faulty_line_is_named(tmp_path, line, message):
    path = tmp_path / "q.jsonl"
    path.write_text(f"{GOOD}\n\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_questions(path)
    assert str(caught.value).startswith(f"{path}:3: ") and message in str(caught.value)


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "q.jsonl").write_bytes(b"\xff\xfe\n")
    with pytest.raises(DataError, match=":1: not a JSON record"):
        read_questions(tmp_path / "q.jsonl")


def test_missing_and_empty_files(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_questions(tmp_path / "q.jsonl")
    (tmp_path / "q.jsonl").write_text("\n")
    with pytest.raises(DataError, match="holds no questions"):
        read_questions(tmp_path / "q.jsonl")


def test_fields_on_disk_are_those_of_the_record(tmp_path):
    write_questions(tmp_path / "q.jsonl", QUESTIONS[:1])
    record = json.loads((tmp_path / "q.jsonl").read_text(encoding="utf-8"))
    assert list(record) == ["id", "prompt", "answers", "kind", "phrasing", "name"]


def test_choosing_keeps_the_shares():
    questions = [Question(str(i), "p", ("a",), "made_up" if i % 4 == 0 else "module") for i in range(400)]
    chosen = choose_questions(questions, 100, seed=1)
    assert Counter(q.kind for q in chosen) == pytest.approx({"module": 75, "made_up": 25}, abs=2)
    assert len(chosen) == 100 and chosen == sorted(chosen, key=lambda q: int(q.id))
    assert chosen == choose_questions(questions, 100, seed=1) != choose_questions(questions, 100, seed=2)
    assert choose_questions(questions, 999) == questions


def test_sorts_of_made_up_names_count_as_made_up() -> None:
    from glasshouse.evals.questions import is_made_up

    assert is_made_up("made_up") and is_made_up("made_up_pair")
    assert not is_made_up("summary") and not is_made_up("made_upon")
