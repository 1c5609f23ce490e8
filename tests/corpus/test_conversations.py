import json
from pathlib import Path
from typing import Any

import pytest

from glasshouse.core.errors import DataError
from glasshouse.core.records import Conversation
from glasshouse.corpus.conversations import parse_record, read_conversations
from glasshouse.corpus.problem import Problem

FORMS: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    (
        {"messages": [{"role": "developer", "content": "be kind"},
                      {"role": "user", "content": [{"type": "text", "text": "hi"}]},
                      {"role": "assistant", "content": "hello"}]},
        [("system", "be kind"), ("user", "hi"), ("assistant", "hello")],
    ),
    (
        {"system": "s", "conversations": [{"from": "human", "value": "q"}, {"from": "function_call", "value": "f()"},
                                          {"from": "observation", "value": "1"}, {"from": "gpt", "value": "one"}]},
        [("system", "s"), ("user", "q"), ("assistant", "f()"), ("tool", "1"), ("assistant", "one")],
    ),
    ({"instruction": "add", "input": "1 2", "output": "3"}, [("user", "add\n1 2"), ("assistant", "3")]),
    (
        {"instruction": "b", "output": "B", "history": [["a", "A"]]},
        [("user", "a"), ("assistant", "A"), ("user", "b"), ("assistant", "B")],
    ),
    ({"question": "q", "answer": "a"}, [("user", "q"), ("assistant", "a")]),
    (
        {"messages": [{"role": "user", "content": "q"},
                      {"role": "assistant", "content": None, "tool_calls": [{"n": 1}]}]},
        [("user", "q"), ("assistant", '[{"n": 1}]')],
    ),
]  # fmt: skip
BAD: list[tuple[Any, str]] = [
    ([], "is an object"),
    ({"text": "x"}, "unknown form with keys text"),
    ({"messages": "x"}, "must be a list"),
    ({"messages": [{"role": "user", "content": "q"}]}, "no answer of the assistant"),
    ({"messages": [{"role": "assistant", "content": "a"}]}, "no question"),
    ({"messages": [{"role": "wizard", "content": "q"}]}, "unknown role 'wizard'"),
    ({"messages": [{"role": "user", "content": 3}]}, "must be text; got int"),
    ({"messages": ["hi"]}, "a message is an object"),
    ({"instruction": 1, "output": "x"}, "must be text"),
    ({"instruction": "x", "output": "x", "history": ["ab"]}, "holds pairs"),
    ({"instruction": "x", "output": "x", "label": False}, "label is false"),
    ({"messages": [{"role": "user", "content": "q"}, {"role": "system", "content": "s"},
                   {"role": "assistant", "content": "a"}]},
     "must be the first"),
]  # fmt: skip


@pytest.mark.parametrize(("record", "expected"), FORMS)
def test_forms_are_recognised(record: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert [(message.role, message.content) for message in parse_record(record)] == expected


@pytest.mark.parametrize(("record", "reason"), BAD)
def test_malformed_records_say_what_is_wrong(record: Any, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        parse_record(record)


def test_malformed_lines_are_kept_out_with_their_numbers(tmp_path: Path) -> None:
    good = json.dumps({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "ä\ud83d"}]})
    (tmp_path / "a.jsonl").write_text(f"{good}\n{{oops\n\n[]\n{good}\n")
    problems: list[Problem] = []
    conversations = list(read_conversations(tmp_path / "a.jsonl", problems.append))
    assert [conversation.id for conversation in conversations] == ["a.jsonl#1", "a.jsonl#5"]
    assert conversations[0].messages[1].content == "ä\ufffd"
    assert [problem.line for problem in problems] == [2, 4]
    assert Conversation.from_json(json.loads(json.dumps(conversations[0].to_json()))) == conversations[0]


def test_not_one_good_record_is_an_error_that_shows_the_first_faults(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n{oops\n')
    with pytest.raises(DataError, match=r"no conversation in it\. 2 problems, the first: .*line 1: unknown form"):
        list(read_conversations(tmp_path / "a.jsonl"))


@pytest.mark.parametrize(
    ("path", "n_good", "n_bad"),
    [
        ("sft/gsm8k-train.jsonl", 7473, 0),
        ("sft/alpaca_en_demo.json", 999, 0),
        ("sft/glaive_toolcall_en_demo.json", 300, 0),
        ("sft/instructions-1100.json", 1100, 0),
        ("preference/kto_en_demo.json", 150, 150),
    ],
)
def test_real_sets_are_read_whole(shared_data: Path, path: str, n_good: int, n_bad: int) -> None:
    problems: list[Problem] = []
    assert sum(1 for _ in read_conversations(shared_data / path, problems.append)) == n_good
    assert len(problems) == n_bad
