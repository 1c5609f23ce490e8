"""What the studio opens: given runs, checkpoints, or a folder of runs."""

import os
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from glasshouse.checkpoint import save_checkpoint
from glasshouse.core.errors import ConfigError
from glasshouse.infer import Engine
from glasshouse.serve.app import create_app
from glasshouse.serve.config import ServeConfig
from glasshouse.serve.opening import MAX_MODELS, find_models
from glasshouse.serve.server import load_engine
from glasshouse.serve.studio import add_studio


def make_run(root: Path, name: str, *, is_finished: bool, at: int = 0) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text('name = "x"\n')
    if is_finished:
        (folder / "model").mkdir()
        (folder / "model" / "config.json").write_text("{}")
        os.utime(folder / "model" / "config.json", (at, at))
    return folder


def test_a_folder_of_runs_stands_for_its_newest_finished_runs(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for number in range(MAX_MODELS + 2):
        make_run(runs, f"run{number}", is_finished=True, at=1_000 + number)
    make_run(runs, "training", is_finished=False)
    models, root = find_models([str(runs)])
    assert root == runs
    assert models == tuple(str(runs / f"run{n}") for n in range(MAX_MODELS + 1, 1, -1))


def test_a_run_is_opened_with_its_neighbours_shown(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", "one", is_finished=True)
    assert find_models([str(run)]) == ((str(run),), tmp_path / "runs")


def test_a_hub_name_has_no_runs_beside_it() -> None:
    assert find_models(["owner/name"]) == (("owner/name",), Path("runs"))


def test_runs_of_two_folders_are_refused(tmp_path: Path) -> None:
    paths = [str(make_run(tmp_path / root, "one", is_finished=True)) for root in ("a", "b")]
    with pytest.raises(ConfigError, match="one folder"):
        find_models(paths)


def test_the_studio_opens_before_any_model_is_finished(tmp_path: Path) -> None:
    make_run(tmp_path / "runs", "training", is_finished=False)
    models, root = find_models([str(tmp_path / "runs")])
    assert models == ()
    app = create_app({}, ServeConfig(keys_folder=tmp_path / "keys"))
    add_studio(app, {}, root, tmp_path / "state")
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        assert client.get("/studio/").status_code == 200
        assert [run["name"] for run in client.get("/studio/api/runs").json()] == ["training"]


def test_a_slower_runner_is_said(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "x", engine.model, engine.tokenizer, recipe={}, cost=None, provenance={})
    monkeypatch.setattr("glasshouse.infer.loading.why_torch", lambda config: "no C++ compiler here")
    load_engine(str(tmp_path / "x"), ServeConfig())
    shown = capsys.readouterr()
    assert "no C++ compiler here" in shown.out + shown.err
