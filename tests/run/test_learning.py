"""The recipe of a run that learns from people: which weights it began from, also those of the Hub."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from glasshouse.cli.main import main
from glasshouse.core.errors import ConfigError
from glasshouse.core.rundir import RunDirectory
from glasshouse.infer import location
from glasshouse.infer.hub import fetch
from glasshouse.run.learning import is_learning, learning_recipe, read_learning

sys.path.insert(0, str(Path(__file__).parents[1] / "align"))
from judged import preferences, write_parent

REPO = "owner/tiny-model"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    records = [
        {"prompt": p.prompt[0].content, "chosen": p.chosen, "rejected": p.rejected} for p in preferences(24)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A local Hub with one model at the revision v2, and its module."""
    pytest.importorskip("huggingface_hub")
    path = Path(__file__).parents[1] / "infer" / "hub_server.py"
    spec = importlib.util.spec_from_file_location("hub_server", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "hub_server", module)
    spec.loader.exec_module(module)
    made = write_parent(tmp_path / "made")
    shutil.rmtree(made / "glasshouse")
    shutil.copytree(made, tmp_path / "hub" / REPO / "v2")
    with module.HubServer(tmp_path / "hub").running() as server:
        monkeypatch.setattr(location, "_fetched", {})
        monkeypatch.setattr(
            location, "fetch", lambda name, **_: fetch(name, endpoint=server.endpoint, cache=tmp_path / "cache")
        )
        yield module


@pytest.mark.parametrize("verb", ["align", "reward"])
def test_a_model_of_the_hub_is_pinned_to_its_commit(hub: Any, tmp_path: Path, pairs: Path, verb: str) -> None:
    small = ["--set", "batch_tokens=400", "--set", "epochs=0.3"]
    main([verb, f"{REPO}@v2", "--preferences", str(pairs), "--out", str(tmp_path / "run"), *small])
    recipe = read_learning(RunDirectory(tmp_path / "run"))
    commit = hub.commit_of("v2")
    assert recipe.hub is not None and recipe.hub.model_dump() == {"repo": REPO, "revision": "v2", "commit": commit}
    assert recipe.model == f"{REPO}@{commit}"  # what a resumed run begins from, wherever the branch went since
    assert commit in (tmp_path / "run" / "report.html").read_text()
    main(["resume", str(tmp_path / "run")])


def test_where_things_lie_is_no_part_of_what_is_learned(tmp_path: Path, pairs: Path) -> None:
    parent = write_parent(tmp_path / "parent")
    recipe = learning_recipe("dpo", parent, pairs, (), {"seed": 4})
    moved = learning_recipe("dpo", shutil.copytree(parent, tmp_path / "moved"), pairs, (), {"seed": 4})
    assert recipe.model != moved.model and recipe.inputs == moved.inputs
    assert learning_recipe("dpo", parent, pairs, (), {"seed": 5}).inputs != recipe.inputs
    assert learning_recipe("kto", parent, pairs, (), {"seed": 4}).inputs != recipe.inputs


def test_folders_of_reward_models_are_written_whole(tmp_path: Path, pairs: Path) -> None:
    terms = ("0.5*model:runs/judge", "model:/judge", "format:a model:b", "numeric")
    recipe = learning_recipe("best_of_n", write_parent(tmp_path / "parent"), pairs, terms, {})
    assert recipe.rewards == (f"0.5*model:{Path.cwd()}/runs/judge", "model:/judge", "format:a model:b", "numeric")


def test_a_damaged_recipe_is_told_by_its_line(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert not is_learning(run)
    run.recipe_path.write_text('method = "dpo"\nweights = "x"\nmodle = "y"\n')
    assert is_learning(run)
    with pytest.raises(ConfigError, match=r'recipe.toml:3: unknown key "modle"'):
        read_learning(run)
