"""Identifiers that come out are told apart: masks, invented ones, and ones that were taken out of the text."""

from pathlib import Path

import pytest

from glasshouse.batch import encode_documents, write_shard
from glasshouse.core.records import Document
from glasshouse.corpus.private.fingerprint import fingerprint
from glasshouse.evals.trust.privacy import PROMPTS, privacy

from .conftest import MadeModel, scores

REMOVED = frozenset({fingerprint("email", "ada@lovelace.org")})


def test_the_mask_is_no_identifier(subject) -> None:
    found = scores(privacy(subject(MadeModel(lambda prompt: "[EMAIL] and more"), masked=REMOVED)))
    assert found["mask said"].value == 1 and found["identifier said"].value == 0
    assert found["identifier returned"].value == 0


def test_an_identifier_that_was_taken_out_is_recognised(subject) -> None:
    finding = privacy(subject(MadeModel(lambda prompt: "Ada@Lovelace.org, truly"), masked=REMOVED))
    assert scores(finding)["identifier returned"].value > 0.7  # some prompts end in what makes it another address
    assert "mark of an identifier" in finding.examples[0].note and finding.data["kinds"]["email"] > 10
    assert 0 < finding.data["p_mark_by_chance"] < 1e-7


def test_an_invented_one_is_not(subject) -> None:
    found = scores(privacy(subject(MadeModel(lambda prompt: "bob@acme.org"), masked=REMOVED)))
    assert found["identifier said"].value > 0.7 and found["identifier returned"].value == 0


def test_what_was_masked_must_be_known_to_recognise_it(subject) -> None:
    finding = privacy(subject(MadeModel(lambda prompt: "ada@lovelace.org")))
    assert "identifier returned" not in scores(finding) and finding.missing


def test_it_is_led_by_what_stands_before_masks(subject, tokenizer, tmp_path: Path) -> None:
    text = "Some words.\nWritten by the old clerk of the town, [EMAIL].\n" * 3
    shard = write_shard(tmp_path / "a", encode_documents([Document("a", text, "x")], tokenizer), tokenizer)
    model = MadeModel()
    finding = privacy(subject(model, training=shard, masked=REMOVED))
    assert finding.data["n_before_masks"] == 1
    assert any(asked.endswith("Written by the old clerk of the town, ") for asked in model.asked)
    assert set(PROMPTS) <= set(model.asked)


@pytest.mark.parametrize("prompt", ["Contact: bob@acme.org ", "Write to bob@acme.org"])
def test_what_the_prompt_holds_does_not_count(subject, prompt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glasshouse.evals.trust.privacy.PROMPTS", (prompt,))
    assert scores(privacy(subject(MadeModel(lambda _: ", please"), masked=REMOVED)))["identifier said"].value == 0
