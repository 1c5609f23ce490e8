"""The suite as a whole, on a real engine: everything runs, nothing is claimed that is not known, and it is JSON."""

import json
from pathlib import Path

import pytest

from glasshouse.core.config import parse_config
from glasshouse.core.errors import ConfigError
from glasshouse.evals import EngineModel
from glasshouse.evals.trust import PROBES, ShardSearch, Subject, TrustConfig, run_probes, write_findings
from glasshouse.evals.trust.spending import spending
from glasshouse.infer import Engine
from glasshouse.meter import Cost
from glasshouse.model import Transformer
from glasshouse.tokenizer import Tokenizer

from .conftest import MadeModel, scores


def test_all_probes_on_an_engine(model: Transformer, tokenizer: Tokenizer, shards, tmp_path: Path) -> None:
    engine = Engine(model, tokenizer)
    subject = Subject(
        EngineModel(engine), tokenizer, engine.max_seq_len, is_chat=True, training=shards["train"],
        held_out=shards["holdout"], contains=ShardSearch(shards["train"]), masked=frozenset(),
    )  # fmt: skip
    found = run_probes(subject)
    assert list(found) == list(PROBES)
    record = write_findings(tmp_path / "sft.json", "sft", "short", found)
    assert json.loads((tmp_path / "sft.json").read_text()) == json.loads(json.dumps(record))
    names = [score["name"] for probe in record["probes"].values() for score in probe["scores"]]
    assert len(names) == len(set(names)) > 15
    for probe in record["probes"].values():
        assert probe["scores"] or probe["missing"]
        for score in probe["scores"]:
            assert score["low"] <= score["value"] <= score["high"] and score["count"] > 0


def test_the_same_subject_gives_the_same_findings(model: Transformer, tokenizer: Tokenizer) -> None:
    def once() -> str:
        subject = Subject(EngineModel(Engine(model, tokenizer)), tokenizer, 48, is_chat=True)
        probes = [name for name in PROBES if name != "spending"]
        return json.dumps({name: finding.to_json() for name, (finding, _) in run_probes(subject, probes).items()})

    assert once() == once()


def test_energy_trained_is_by_the_records(subject) -> None:
    cost = Cost(flops=1e12, seconds=60, joules=600, usd=0.0001, co2_g=0.07)
    found = scores(spending(subject(MadeModel(), cost=cost, n_trained_tokens=2_000_000)))
    assert found["energy: trained"].value == pytest.approx(0.3)
    assert {"energy: served, one at a time", "energy: served, 32 at once"} <= set(found)
    assert spending(subject(MadeModel())).missing


def test_a_probe_that_does_not_exist_is_told() -> None:
    with pytest.raises(ConfigError, match="memorisation"):
        parse_config(TrustConfig, {"probes": ["memorization"]})
    with pytest.raises(ConfigError, match="once each"):
        parse_config(TrustConfig, {"probes": ["bias", "bias"]})
    with pytest.raises(ConfigError):
        parse_config(TrustConfig, {"size": "medium"})
