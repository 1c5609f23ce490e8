"""The command line as a user meets it: exit codes, one clear line an error, nothing made by a refused command."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from glasshouse.cli.commands import app
from glasshouse.cli.main import VERBS, main
from glasshouse.cli.talk import printable

TINY = ["--set", "pretrain.steps=1"]


def fail(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """(exit code, what was printed) of a command that must be refused."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    captured = capsys.readouterr()
    return int(stop.value.code or 0), " ".join((captured.out + captured.err).split())


def test_front_page_is_the_table_of_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    page = capsys.readouterr().out
    main([])
    assert capsys.readouterr().out == page
    registered = [name for name in app if not name.startswith("-")]
    assert list(VERBS) == registered
    assert [verb for verb in registered if f"\n  {verb} " not in page] == []
    assert max(len(line) for line in page.splitlines()) <= 80


def test_front_page_is_shown_without_heavy_imports() -> None:
    code = (
        "import sys; from glasshouse.cli.main import main; main(['--help']); "
        "sys.exit(','.join({'cyclopts', 'rich', 'numpy', 'pydantic', 'torch'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.stderr.strip() == ""


@pytest.mark.parametrize(
    "verb",
    [
        *sorted(set(VERBS) - {"tokenizer", "key", "moderation"}),
        "tokenizer show",
        "key create",
        "key list",
        "key revoke",
        "moderation train",
    ],
)
def test_every_option_of_a_verb_is_explained(verb: str) -> None:
    command = app
    for name in verb.split():
        command = command[name]
    options = command.assemble_argument_collection(parse_docstring=True)
    assert [option.name for option in options if option.show and not option.parameter.help] == []


def test_options_reach_the_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr("glasshouse.cli.planning.show_plan_here", lambda *given: seen.extend(given))
    main(["plan", "tiny/life", "--time", "10m", "--set", "a=1", "--set", "b=2"])
    assert seen == ["tiny/life", ("a=1", "b=2"), {"time": "10m"}, {}, None, None, None]


def test_a_continuation_varies_where_a_chat_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, object]] = []
    for verb in ("chat_loop", "print_continuations"):  # both get (model, text, sampling, ...)
        monkeypatch.setattr(f"glasshouse.cli.talk.{verb}", lambda *given: seen.append(given[2]))
    main(["chat", "m", "--top-k", "5"])
    main(["generate", "m", "text", "--top-k", "5", "--stop", "a", "--stop", "b"])
    chat, text = seen
    assert (chat["temperature"], chat["top_p"], chat["top_k"]) == (0.0, None, 5)
    assert (text["temperature"], text["top_p"], text["top_k"], text["stop"]) == (0.8, 0.95, 5, ("a", "b"))


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
        (["trust", "runs/none"], 4, "no such directory"),
        (["trust", "runs/none", "--data", "nowhere"], 3, "no such folder of data"),
        (["trust", "runs/none", "--probes", "biass"], 2, 'Did you mean "bias"'),
        (["moderation", "train", "runs/none", "--data", "nowhere.jsonl"], 4, "no such directory"),
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


def test_a_reader_that_leaves_ends_it_quietly_and_the_signal_stays_as_it_was() -> None:
    """A server in this process must outlive its clients: a closed connection is an error to it, never its death."""
    before = signal.getsignal(signal.SIGPIPE)
    main(["--help"])
    assert signal.getsignal(signal.SIGPIPE) == before
    code = "import sys; sys.stdin.readline(); from glasshouse.cli.main import main; main(['--help'])"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin and process.stdout and process.stderr
    process.stdout.close()
    process.stdin.write(b"go\n")
    process.stdin.close()
    assert process.stderr.read() == b"" and process.wait() == 128 + signal.SIGPIPE
