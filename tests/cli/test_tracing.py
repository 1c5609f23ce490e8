"""What `glass trace` and `glass index` print, on a run of two sentences."""

import json
from pathlib import Path

import pytest

from glasshouse.batch import encode_documents, write_shard
from glasshouse.cli.main import main
from glasshouse.core.records import Document
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal
from glasshouse.run.tracing import index_pretraining
from glasshouse.tokenizer import Tokenizer

SENTENCE = "The gardener planted seven lemon trees behind the old glasshouse"
QUIET = Terminal(is_quiet=True)


@pytest.fixture
def run(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    run = RunDirectory(tmp_path / "run").create()
    run.recipe_path.write_text('name = "small"\n')
    tokenizer.save(run.stage("tokenizer"))
    texts = [f"Once: {SENTENCE}, \x1b[31mred\n", f"Again, {SENTENCE}."]
    documents = [Document(f"d{n}", text, f"{n}.txt") for n, text in enumerate(texts)]
    write_shard(run.stage("pretrain") / "train.tokens", encode_documents(documents, tokenizer), tokenizer)
    return run.path


def test_passages_with_their_places(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index_pretraining(RunDirectory(run), QUIET)
    main(["trace", f"He said; {SENTENCE} too \x1b[2J", "--run", str(run)])
    shown = capsys.readouterr().out
    assert "stand in the training text" in shown and "2 times" in shown and "0.txt:" in shown and "1.txt:" in shown
    assert "\x1b[31m" not in shown and "\x1b[2J" not in shown  # neither the text nor the corpus moves the cursor
    main(["trace", "Zzz?", "--run", str(run)])
    assert "no passage stands in the training text" in capsys.readouterr().out


def test_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index_pretraining(RunDirectory(run), QUIET)
    main(["trace", SENTENCE, "--run", str(run), "--json", "--n", "1"])
    found = json.loads(capsys.readouterr().out)
    assert found["quotations"][0]["count"] == 2 and found["nearest"] == {}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["trace", "x", "--run", "{run}"], 3, "there is no index of the training text"),
        (["trace", "x", "--run", "{run}/none"], 2, "is not a run"),
        (["trace", "", "--run", "{run}"], 3, "glass index RUN"),
        (["trace", "x", "--run", "{run}", "--min-tokens", "0"], 2, "min_tokens"),
        (["index", "{run}/none"], 2, "is not a run"),
    ],
)
def test_bad_input(run: Path, arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main([argument.format(run=run) for argument in arguments])
    assert error.value.code == code and said in capsys.readouterr().err.replace("\n", " ")
