import json
from pathlib import Path

import pytest

from glasshouse.core.errors import ConfigError
from glasshouse.core.files import append_jsonl, atomic_open, read_jsonl, write_json
from glasshouse.core.rundir import RunDirectory


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(ZeroDivisionError), atomic_open(path) as file:
        file.write("half")
        raise ZeroDivisionError
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_append_cuts_a_torn_last_line(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    append_jsonl(path, {"n": 1})
    with path.open("a") as file:
        file.write('{"n": 2, "torn')
    assert list(read_jsonl(path)) == [{"n": 1}]
    append_jsonl(path, {"n": 3})
    assert list(read_jsonl(path)) == [{"n": 1}, {"n": 3}]


def test_damage_in_the_middle_is_not_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"n": 1}\n{"n": \n{"n": 3}\n')
    with pytest.raises(ValueError):
        list(read_jsonl(path))


def test_run_directory_records_and_links(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run").create()
    run.metric("pretrain", 3, {"loss": 1.5})
    run.event("pretrain", "sample", text="<b>")
    assert [m["metrics"] for m in run.metrics()] == [{"loss": 1.5}]
    assert [e["text"] for e in run.events()] == ["<b>"]
    run.link_model(run.stage("sft") / "checkpoint")
    run.link_model(run.stage("sft") / "checkpoint")
    assert run.model_path.readlink() == Path("sft/checkpoint")


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "a b"])
def test_a_stage_never_leaves_the_run(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        RunDirectory(tmp_path).stage(name)
