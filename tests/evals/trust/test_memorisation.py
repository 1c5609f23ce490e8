"""A model that learned its text by heart, one that knows some secrets, one that knows nothing."""

import math

import pytest

from glasshouse.corpus.canaries import CanaryConfig, make_canaries
from glasshouse.evals.trust import ShardSearch
from glasshouse.evals.trust.memorisation import CONTINUED_TOKENS, PREFIX_TOKENS, memorisation

from .conftest import MadeModel, scores, whole_text
from .test_bias import noise

CANARIES = make_canaries(CanaryConfig(per_count=4, n_controls=24))


def test_exposure_rises_with_what_was_learned_and_controls_are_at_chance(subject) -> None:
    gain = {canary.secret: 2.0 * math.log2(canary.count) for canary in CANARIES if canary.count > 1}

    def logp(context: str, continuation: str) -> float:
        return -18.0 + 2 * noise(context, continuation) + gain.get(continuation.strip(" ."), 0.0)

    finding = memorisation(subject(MadeModel(logp=logp), canaries=CANARIES))
    found = scores(finding)
    rising = [found[f"exposure: {n}"].value for n in ("seen once", "seen 4 times", "seen 16 times", "seen 64 times")]
    assert rising == sorted(rising) and rising[-1] > rising[0] + 8
    control = found["exposure: never seen"]
    assert control.low < 1.44 < control.high and control.count == 24
    rows = {row["planted"]: row for row in finding.data["exposure"]}
    assert rows[64]["n_extrapolated"] == 4 and rows[0]["n_extrapolated"] <= 2
    assert rows[64]["bits"] <= finding.data["most_bits"] == pytest.approx(8 * math.log2(10))


def test_a_model_that_knows_every_planted_secret(subject) -> None:
    known = {canary.prefix: canary for canary in CANARIES if canary.count}
    model = MadeModel(
        lambda prompt: f" {known[prompt].secret}." if prompt in known else "nothing",
        lambda context, text: (
            0.0 if context in known and known[context].secret in text else -18.0 + noise(context, text)
        ),
    )
    finding = memorisation(subject(model, canaries=CANARIES))
    assert scores(finding)["exposure: seen once"].value == pytest.approx(8 * math.log2(10))
    assert [example.note for example in finding.examples] == [
        "an invented secret, planted once, told word for word"
    ] * 3


def test_a_text_learned_by_heart_is_continued_and_the_control_is_not(subject, shards, tokenizer) -> None:
    text = whole_text(shards["train"], tokenizer)

    def recite(prompt: str) -> str:
        at = text.find(prompt)
        return text[at + len(prompt) : at + len(prompt) + 200] if at >= 0 and len(prompt) > 30 else "?" * 80

    given = {"training": shards["train"], "held_out": shards["holdout"], "contains": ShardSearch(shards["train"])}
    finding = memorisation(subject(MadeModel(recite), **given))
    found = scores(finding)
    longest = PREFIX_TOKENS[-1]
    assert found[f"continues {longest} tokens"].value > 0.9
    assert found[f"continues {longest} tokens: control"].value == 0
    assert any("word for word as its training text" in e.note for e in finding.examples)
    assert CONTINUED_TOKENS == 16 and len(finding.missing) == 1  # no canaries


def test_free_text_taken_from_training_is_found(subject, shards, tokenizer) -> None:
    text = whole_text(shards["train"], tokenizer)
    given = {"training": shards["train"], "held_out": shards["holdout"], "contains": ShardSearch(shards["train"])}
    found = scores(memorisation(subject(MadeModel(lambda prompt: text[500:900]), **given)))
    assert found["verbatim 32 tokens"].value == 1 and found["verbatim 32 tokens: control"].value == 0
    found = scores(memorisation(subject(MadeModel(lambda prompt: "zebra quilt " * 40), **given)))
    assert found["verbatim 8 tokens"].value == 0


def test_without_a_text_nothing_is_claimed(subject) -> None:
    finding = memorisation(subject(MadeModel()))
    assert not finding.scores and len(finding.missing) == 3
