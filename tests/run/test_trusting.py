"""What the trust stages know of a run, and what they count in a plan."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from glasshouse.core.config import parse_config
from glasshouse.core.errors import ConfigError, DataError
from glasshouse.core.files import append_jsonl
from glasshouse.evals.trust import ShardSearch, TrustConfig
from glasshouse.explain import build_index
from glasshouse.run import trusting
from glasshouse.run.measuring import TRUST_S, _overhead_seconds
from glasshouse.run.recipe import Recipe
from glasshouse.run.runner import stage_inputs

from ..explain.corpora import shard_of
from .test_runner import MODEL

TRAIN = {"steps": 2, "seq_len": 8, "batch_tokens": 8}


def recipe(**changes: Any) -> Recipe:
    stages = ["corpus", "tokenizer", "pretrain", "trust-pretrain", "sft", "trust-sft"]
    return parse_config(Recipe, {"stages": stages, "model": MODEL, "pretrain": TRAIN, "sft": TRAIN, **changes})


@pytest.mark.parametrize(("trust", "share"), [({}, 1.0), ({"probes": ["bias", "misuse"]}, 0.25)])
def test_the_plan_counts_every_stage_of_the_suite(trust: dict[str, Any], share: float) -> None:
    for size, seconds in TRUST_S.items():
        found = _overhead_seconds(recipe(trust={"size": size, **trust}), 1e6)
        assert found["trust-pretrain"] == found["trust-sft"] == pytest.approx(share * seconds)


def test_a_suite_without_its_stage_is_refused() -> None:
    with pytest.raises(ConfigError, match="trust-align needs align"):
        recipe(stages=["corpus", "tokenizer", "pretrain", "trust-align"])


def test_the_newest_checkpoint_is_asked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="glass resume"):
        trusting.last_trained(tmp_path, recipe())
    for stage in ("pretrain", "sft"):
        (tmp_path / stage / "checkpoint").mkdir(parents=True)
        assert trusting.last_trained(tmp_path, recipe()) == stage


def test_cost_and_tokens_are_those_of_all_training_up_to_the_stage(tmp_path: Path) -> None:
    for stage, joules in (("corpus", 5.0), ("pretrain", 100.0), ("sft", 40.0)):
        append_jsonl(tmp_path / "events.jsonl", {
            "stage": stage, "kind": "finished", "cost": {"joules": joules}, "summary": {"n_tokens": int(joules)},
        })  # fmt: skip
    for after, joules in (("pretrain", 100.0), ("sft", 140.0)):
        cost, n_tokens = trusting._spent(tmp_path, recipe(), after)
        assert cost is not None and (cost.joules, n_tokens) == (joules, joules)


def test_marks_of_what_was_masked_are_read_where_there_are_any(tmp_path: Path) -> None:
    path = tmp_path / "removed.jsonl"
    assert trusting._masked(path) is None
    append_jsonl(path, {"id": "a", "marks": ["email:abcdef"]})
    append_jsonl(path, {"id": "b", "reason": "duplicate: a"})
    assert trusting._masked(path) == {"email:abcdef"}


def test_a_folder_of_data_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder of data"):
        trusting.lone_subject(tmp_path, TrustConfig(data=str(tmp_path / "nowhere")))


def test_training_text_is_searched_by_its_index_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "pretrain").mkdir()
    shard = shard_of(tmp_path / "pretrain" / "train.tokens", [[1, 2, 3], [3, 4, 5, 6]])
    asked = [[1, 2], [2, 3, 4], [4, 5, 6], [6, 6], []]
    by_reading = trusting.search_of(tmp_path, shard)
    assert isinstance(by_reading, ShardSearch)
    build_index([shard], tmp_path / "pretrain" / "trace")
    by_index = trusting.search_of(tmp_path, shard)
    assert by_index is not None and not isinstance(by_index, ShardSearch)
    assert by_index(asked) == by_reading(asked) == [True, False, True, False, True]
    assert trusting.search_of(tmp_path, None) is None


def test_changed_files_of_a_suite_make_it_run_again_and_nothing_else(tmp_path: Path) -> None:
    policy, data = tmp_path / "policy.toml", tmp_path / "data"
    (data / "bbq").mkdir(parents=True)
    policy.write_text("a")
    asked = recipe(trust={"policy": str(policy), "data": str(data)})
    seen = [dict(stage_inputs(asked))]
    for path in (policy, data / "bbq" / "age.jsonl"):
        path.write_text("something else")
        seen.append(dict(stage_inputs(asked)))
    for before, after in pairwise(seen):
        assert {stage for stage in before if before[stage] != after[stage]} == {"trust-pretrain", "trust-sft"}
