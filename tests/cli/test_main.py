"""The command line as a user meets it: exit codes, one clear line an error, nothing made by a refused command."""

from pathlib import Path

import pytest

from glasshouse.cli.main import main
from glasshouse.cli.talk import printable

TINY = ["--set", "pretrain.steps=1"]


def fail(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """(exit code, what was printed) of a command that must be refused."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    captured = capsys.readouterr()
    return int(stop.value.code or 0), " ".join((captured.out + captured.err).split())


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    shown = capsys.readouterr().out
    verbs = ("quickstart", "run", "resume", "runs", "plan", "report", "chat", "generate", "tokenizer", "doctor")
    assert [verb for verb in verbs if verb not in shown] == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["quickstrat"], 2, 'Did you mean "quickstart"'),
        (["run", "quickstar"], 2, 'no such recipe. Did you mean "quickstart"?'),
        (["run", "tiny/life", "--set", "pretrain.stepz=3"], 2, 'unknown key "pretrain.stepz". Did you mean "steps"?'),
        (["run", "tiny/life", "--set", "pretrain.steps=many"], 2, "'many'"),
        (["run", "tiny/life", "--set", "oops"], 2, "key=value"),
        (["run", "tiny/life", "--time", "soon"], 2, "a time is written like"),
        (["quickstart", "--time", "5m", "--params", "1M"], 2, "exactly one"),
        (["resume", "runs/none"], 2, "not a run"),
        (["report", "runs/none"], 2, "not a run"),
        (["runs", "nowhere"], 2, "no runs"),
        (["generate", "runs/none", "x"], 4, "no such directory"),
        (["chat", "runs/none"], 4, "no such directory"),
        (["generate", "runs/none", "x", "--temperature", "-1"], 2, "temperature"),
    ],
)
def test_bad_commands_are_refused_in_words(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    found, shown = fail(arguments, capsys)
    assert (found, message in shown) == (code, True), shown
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content"), [("empty", None), ("binary", b"\x00\x01\x02\xff" * 500), ("blank", b"  \n")]
)
def test_a_folder_without_text_is_refused(
    name: str, content: bytes | None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    if content is not None:
        (folder / "x.bin").write_bytes(content)
    code, shown = fail(
        ["run", "tiny/pretrain", "--set", f'corpus.sources=["{folder}"]', "--out", str(tmp_path / "r")], capsys
    )
    assert code == 3, shown
    assert str(folder) in shown


def test_a_path_that_names_nothing_is_refused_before_any_work(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, shown = fail(["quickstart", "--data", str(tmp_path / "nope"), "--out", str(tmp_path / "r")], capsys)
    assert code == 3 and "no such file or folder" in shown
    assert not (tmp_path / "r").exists()


def test_model_output_cannot_drive_the_terminal() -> None:
    assert printable("a\x1b]0;title\x07b\x9b31mc\td\n\u202e") == "a�]0;title�b�31mc\td\n�"
