import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from glasshouse.core.rundir import RunDirectory
from glasshouse.report import card, model_card


def front_matter(text: str) -> dict[str, Any]:
    _, matter, _ = text.split("---\n", 2)
    return yaml.safe_load(matter)


def test_front_matter_in_the_form_of_the_hub(finished_run: RunDirectory) -> None:
    text = model_card(finished_run)
    assert (finished_run.path / "MODEL_CARD.md").read_text() == text
    matter = front_matter(text)
    assert matter["license"] == "other" and matter["license_name"] == "psf-2.0"
    assert matter["language"] == ["en"] and "qwen3" in matter["tags"] and matter["library_name"] == "transformers"
    assert matter["datasets"] == ["stdlib:sources", "stdlib:docstrings", "stdlib:topics"]
    assert matter["co2_eq_emissions"]["emissions"] == pytest.approx(0.949, abs=0.01)
    assert "estimated" in matter["co2_eq_emissions"]["source"]
    (model,) = matter["model-index"]
    exact = model["results"][0]["metrics"][0]
    assert exact["type"] == "exact_match" and exact["value"] == 0.93
    assert exact["args"] == {"interval_95": [0.915, 0.945], "count": 2304}


def test_the_card_is_understood_by_the_hubs_own_reader(finished_run: RunDirectory) -> None:
    hub = pytest.importorskip("huggingface_hub")
    data = hub.ModelCard(model_card(finished_run)).data
    assert data.model_name == "quickstart" and len(data.eval_results) == 7


def test_sections_follow_from_records(finished_run: RunDirectory) -> None:
    text = model_card(finished_run)
    headings = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert headings == [
        "Intended use", "Training data", "Training procedure", "Evaluation", "Environmental impact", "Limitations",
        "Must not be used for",
    ]  # fmt: skip
    assert "| the same text as another document | removed | 212 |" in text
    assert "about one answer in 29 is wrong" in text and "estimated from processor time, not measured" in text


def test_licence_and_language_of_the_recipe_win(finished_run: RunDirectory) -> None:
    recipe = finished_run.recipe_path
    recipe.write_text('license = "cc-by-4.0"\nlanguage = ["de", "no"]\n' + recipe.read_text())
    matter = front_matter(model_card(finished_run))
    assert matter["license"] == "cc-by-4.0" and "license_name" not in matter and matter["language"] == ["de", "no"]


def test_what_was_not_recorded_is_not_said(tmp_path: Path, make_run: Any) -> None:
    text = model_card(make_run(tmp_path / "half", "pretrain"))
    assert "## Evaluation" not in text and "Nothing about the truth of its answers" in text
    assert "model-index" not in front_matter(text)
    assert model_card(RunDirectory(tmp_path / "empty").create()).startswith("---\nlicense: unknown\n")


def test_foreign_text_stays_text(finished_run: RunDirectory) -> None:
    body = model_card(finished_run).split("---\n", 2)[2]
    outside_code = "".join(part for i, part in enumerate(body.split("``")) if i % 2 == 0)
    assert "<script" not in outside_code and "<img" not in outside_code


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a", "`a`"), ("a`b", "``a`b``"), ("`a`", "`` `a` ``"), ("a|b", "`a\\|b`"), ("a\nb", "`a b`"), ("", "")],
)
def test_code_spans_cannot_be_left(text: str, expected: str) -> None:
    assert card._code(text) == expected


def test_alignment_and_reward_models_have_their_card(aligned_run: RunDirectory, reward_run: RunDirectory) -> None:
    text = model_card(aligned_run)
    assert (
        "## Taught by preferences" in text and "- true over wrong: 1,200" in text and "after the stage `align`" in text
    )
    assert {"dpo", "conversational"} <= set(front_matter(text)["tags"])
    text = model_card(reward_run)
    matter = front_matter(text)
    assert matter["pipeline_tag"] == "text-classification" and "reward-model" in matter["tags"]
    assert matter["model-index"][0]["results"][0]["metrics"][0]["args"]["interval_95"] == [0.57, 0.65]
    assert "AutoModelForSequenceClassification" in text and "recipe.toml" not in text


def test_the_trust_suite_stands_in_the_card_and_in_its_data(trusted_run: RunDirectory) -> None:
    text = model_card(trusted_run)
    assert "## How far to trust it" in text and "### Does it judge people by their group?" in text
    assert "| Wrong, and sure of it | 4 % | 2–7 | 200 |" in text
    assert "| Exposure: seen 64 times (bits) | 17 | 13–21 | 4 |" in text
    assert "## Must not be used for" in text and "it refused 58 % of the requests" in text
    assert "<script" not in text.split("`")[0] and "Not measured: hallucination" not in text
    results = front_matter(text)["model-index"][0]["results"]
    assert results[1]["dataset"]["name"] == "trust suite, short form"
    assert {m["type"] for m in results[1]["metrics"]} >= {"confidently_wrong", "crows_pairs", "exposure: never seen"}


def test_the_cards_data_is_json_and_says_the_same(trusted_run: RunDirectory) -> None:
    text = model_card(trusted_run)
    data = json.loads((trusted_run.path / "card.json").read_text())
    assert data["purpose"] in text and data["headline"]["title"] in text
    assert data["trust"]["parts"][0]["probe"] == "hallucination"
    assert data["must_not"] and all(card._plain(line) in text for line in data["must_not"])
    assert data["cost"]["stages"][-1]["is_total"] and data["cost"]["total"]["joules"] > 0
    assert data["data"]["sources"] and data["data"]["groups"]
    assert [s["stage"] for s in data["training"]["stages"]] == ["pretrain", "sft"]


def test_an_empty_run_has_an_empty_card(tmp_path: Path) -> None:
    model_card(RunDirectory(tmp_path / "empty").create())
    data = json.loads((tmp_path / "empty" / "card.json").read_text())
    assert data["trust"] is None and data["data"] is None and data["failures"] == []


def test_a_moderator_says_what_it_blocks(moderator_run: RunDirectory) -> None:
    text = model_card(moderator_run)
    assert "It blocks 90 % (86–94, n=40) of texts that should be blocked" in text
    assert "5 % (1–9, n=60) of those that should not" in text
    assert (
        "pipeline_tag: text-classification" in text and "Guarding a server" in text and "agrees with people" not in text
    )
