"""The planning verbs, as a person calls them."""

from pathlib import Path

import pytest

from glasshouse.cli.main import main

LLAMA = "recipes/llama-70b.toml"


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    main(["plan", *arguments])
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit):
        main(["plan", *arguments])
    return capsys.readouterr().err


def test_a_cluster_is_planned_from_a_published_shape(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, "--device", "a100-80", "--count", "2048", "--model", "llama-2-70b", "--tokens", "2T")
    assert all(word in out for word in ("69 G parameters", "device-hours", "USD", "MWh", "nats/token", "2404.10102"))


def test_a_recipe_s_model_is_planned_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert "476,837 steps" in said(capsys, LLAMA, "--device", "h200", "--count", "512")


def test_the_published_table_names_its_sources(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, "--published")
    assert "Llama 2 70B" in out and "arXiv:2307.09288" in out and "fitted" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "h101", "--count", "8", "--time", "1d"], "unknown device 'h101'"),
        (["--device", "h100", "--model", "lama-2-7b", "--time", "1d"], "unknown model 'lama-2-7b'"),
        (["--device", "h100", "--count", "8"], "exactly one of time, usd, flops and params"),
        ([LLAMA, "--device", "a100-80", "--count", "8"], "What would fit: 16 x a100-80"),
        (["quickstart", "--device", "h100", "--count", "8"], "the model and its training settled"),
        (["--usd", "5"], "give --device NAME"),
        (["--dry-run"], "--world-size 2048"),
        ([LLAMA, "--dry-run", "--world-size", "2000"], "multiple of 2048"),
        ([LLAMA, "--dry-run", "--world-size", "4194304"], "more ranks than data"),
        (["--ladder", "no-such-folder"], "no finished ladder"),
    ],
)
def test_what_cannot_be_planned_is_said_before_any_work(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert message in " ".join(refused(capsys, *arguments).split())


def test_a_ladder_that_proves_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["ladder", "--out", str(tmp_path), "--set", "held_out=64"])
    assert "among the widths" in capsys.readouterr().err
