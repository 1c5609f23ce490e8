"""What a person is told beside the answers: why it is slow, and what smaller weights cost."""

from pathlib import Path

import pytest

from glasshouse.checkpoint import save_checkpoint
from glasshouse.cli.main import main
from glasshouse.infer import quality
from glasshouse.model import ModelConfig, Transformer
from glasshouse.tokenizer import TokenizerConfig, train_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = train_tokenizer(["glass house " * 20], TokenizerConfig(vocab_size=300))
    shape = ModelConfig(vocab_size=tokenizer.vocab_size, d_model=32, n_layers=1, n_heads=2, n_kv_heads=1, d_head=16,
                        d_ff=32, max_seq_len=64)  # fmt: skip
    path = tmp_path_factory.mktemp("talk") / "model"
    return save_checkpoint(path, Transformer(shape, seed=1), tokenizer, recipe={}, cost=None, provenance={})


def test_options_reach_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    for verb in ("cli.talk.chat_loop", "cli.talk.print_continuations", "serve.commands.serve_models"):
        monkeypatch.setattr(f"glasshouse.{verb}", lambda *given: seen.append(given[-1]))
    options = ["--weights", "int4", "--speculate", "prompt-lookup", "--memory-gib", "0.5"]
    expected = {"weights": "int4", "speculate": "prompt-lookup", "memory_bytes": 2**29}
    main(["chat", "m", *options])
    main(["generate", "m", "text", *options])
    main(["serve", "m", *options])
    assert seen == [expected, expected, {"port": None, "host": None, "moderation": None, **expected}]


def test_what_smaller_weights_cost_is_said_beside_the_text(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "N_BYTES", 200)
    plain = ["generate", str(folder), "glass", "--max-tokens", "8", "--temperature", "0"]
    main([*plain, "--weights", "int8"])
    shown = capsys.readouterr()
    assert "bits per byte against" in shown.err and "bits per byte" not in shown.out
    main([*plain, "--weights", "int8", "--speculate", "prompt-lookup"])
    assert capsys.readouterr().out == shown.out


def test_a_slower_runner_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glasshouse.infer.loading.why_torch", lambda config: "no C++ compiler here")
    main(["generate", str(folder), "glass", "--max-tokens", "2"])
    shown = capsys.readouterr()
    assert "no C++ compiler here" in shown.err and "no C++ compiler" not in shown.out
