"""`glass explain`: what it prints, what `--json` holds, what it trains, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glasshouse.checkpoint import save_checkpoint
from glasshouse.cli.main import main
from glasshouse.explain import TunedLens
from glasshouse.explain.beside import FOLDER
from glasshouse.model import ModelConfig, Transformer
from glasshouse.tokenizer import Tokenizer

from ..conftest import varied_model

Glass = Callable[..., str]


@pytest.fixture(scope="module")
def folder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = ModelConfig(vocab_size=tokenizer.vocab_size, d_model=32, n_layers=2, n_heads=2, n_kv_heads=1, d_head=16,
                        d_ff=48, max_seq_len=64)  # fmt: skip
    path = tmp_path_factory.mktemp("explain") / "model"
    return save_checkpoint(path, varied_model(shape), tokenizer, recipe={}, cost=None, provenance={})


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.py"
    path.write_text(Path(json.__file__ or "").read_text(encoding="utf-8"))
    return path


@pytest.fixture
def glass(folder: Path, capsys: pytest.CaptureFixture[str]) -> Glass:
    """Run `glass explain MODEL ...`; returns what was printed, and after a refusal the exit code and the error."""

    def run(*arguments: str, model: Path | None = None) -> str:
        words = [str(model or folder) if word == "MODEL" else word for word in arguments]
        try:
            main(["explain", *words])
        except SystemExit as stop:
            captured = capsys.readouterr()
            return f"{stop.code} {' '.join((captured.out + captured.err).split())}"
        return capsys.readouterr().out

    return run


def test_without_a_choice_the_first_questions_are_answered(glass: Glass) -> None:
    printed = glass("MODEL", "def load(self")
    for title in ("next token", "lens", "attribution", "who wrote it", "all others"):
        assert title in printed
    assert "layer 1" in printed and "patching" not in printed


def test_everything_as_json(glass: Glass, text: Path) -> None:
    found: dict[str, Any] = json.loads(
        glass("MODEL", "def load(self", "--lens", "--attention", "--head", "1.0", "--attribution", "--patch",
              "def dump(self", "--token", "(", "--other-token", ")", "--neurons", "--text", str(text), "--neighbours",
              "--json")
    )  # fmt: skip
    assert list(found) == [
        "tokens", "next", "lens", "attribution", "parts", "heads", "looks", "attention", "patching", "neurons",
        "neighbours",
    ]  # fmt: skip
    n = len(found["tokens"])
    assert "".join(token["text"] for token in found["tokens"]) == "def load(self"
    assert [row["layer"] for row in found["lens"]["rows"]] == [None, 0, 1] and found["lens"]["target"]["text"] == "("
    assert len(found["attribution"]["shares"]) == n and abs(found["attribution"]["gap"]) < 1e-2
    assert found["parts"]["sum"] == pytest.approx(found["parts"]["logit"], abs=1e-4)
    assert [len(row) for row in found["attention"]["pattern"]] == list(range(1, n + 1))
    effects = found["patching"]["effects"]
    assert {len(row) for rows in effects.values() for row in rows} == {n} and found["patching"]["other"]["text"] == ")"
    assert found["neurons"]["neurons"][0]["passages"] or found["neurons"]["neurons"][1]["passages"]
    assert len(found["neighbours"]["neighbours"]) == 10


def test_every_answer_is_printed(glass: Glass, text: Path) -> None:
    printed = glass("MODEL", "def load(self", "--attention", "--head", "1.0", "--patch", "def dump(self", "--token",
                    "(", "--other-token", ")", "--neurons", "--text", str(text), "--neighbours")  # fmt: skip
    for title in ("heads", "head 1.0", "patching", "residual stream before each layer", "neurons", "neighbours"):
        assert title in printed


def test_a_lens_and_a_dictionary_are_trained_and_used(glass: Glass, folder: Path, text: Path) -> None:
    printed = glass("train-lens", "MODEL", "--text", str(text), "--steps", "3")
    assert "KL translated" in printed and (folder / FOLDER / "lens.json").is_file()
    assert "through trained translators" in glass("MODEL", "def load", "--lens")
    printed = glass("train-sae", "MODEL", "--layer", "1", "--text", str(text), "--steps", "3", "--features", "40")
    assert "of the variance explained" in printed and "40 features, 16 a token, after layer 1" in printed
    found = json.loads(glass("MODEL", "def load", "--sae", "1", "--json"))["features"]
    assert 1 <= len(found["features"]) <= 16 and found["report"]["n_features"] == 40
    assert "features after layer 1" in glass("MODEL", "def load", "--sae", "1")


def test_a_lens_of_other_weights_is_refused(glass: Glass, folder: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    import torch

    from glasshouse.explain import Translators, save_tuned_lens

    other = save_checkpoint(
        tmp_path / "model", Transformer(ModelConfig(**{**_shape(folder)}), seed=9), tokenizer, recipe={}, cost=None,
        provenance={},
    )  # fmt: skip
    zeros = Translators(torch.zeros(2, 32, 32), torch.zeros(2, 32))
    path = save_tuned_lens(other, TunedLens(zeros, (0.0, 0.0), (0.0, 0.0)))
    for suffix in (".json", ".safetensors"):
        place = folder / FOLDER / f"lens{suffix}"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(path.with_suffix(suffix).read_bytes())
    try:
        assert "4 error" in (refused := glass("MODEL", "def", "--lens")) and "belongs to another checkpoint" in refused
    finally:
        for suffix in (".json", ".safetensors"):
            (folder / FOLDER / f"lens{suffix}").unlink()


def _shape(folder: Path) -> dict[str, Any]:
    from glasshouse.checkpoint import load_config

    return load_config(folder).model_dump()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("MODEL", "x " * 70), "the model's context is 64. Shorten it."),
        (("MODEL", ""), "the prompt has no tokens"),
        (("MODEL", "def", "--token", "import os"), "name one token"),
        (("MODEL", "def", "--head", "one"), "--head takes LAYER.HEAD, such as 1.0"),
        (("MODEL", "def", "--head", "2.0"), "there is no layer 2: this model has 2, 0 to 1"),
        (("MODEL", "def", "--head", "0.2"), "there is no head 2: each layer has 2, 0 to 1"),
        (("MODEL", "def", "--sae", "5"), "there is no layer 5"),
        (("MODEL", "def", "--sae", "0"), "Make it: glass explain train-sae MODEL --layer 0"),
        (("MODEL", "def load(self", "--patch", "def"), "they must have equally many"),
        (("MODEL", "def", "--patch", "def"), "both prompts are the same tokens"),
        (("train-lens", "MODEL"), "give some with --text FILE"),
        (("train-lens", "MODEL", "--text", "nowhere.txt"), "nowhere.txt is not a file"),
        (("train-sae", "MODEL", "--layer", "7", "--text", __file__), "there is no layer 7"),
        (("nowhere", "def"), "nowhere"),
    ],
)
def test_bad_input(glass: Glass, arguments: tuple[str, ...], message: str) -> None:
    refused = glass(*arguments)
    assert message in refused and refused.split()[0] in ("2", "3", "4")
