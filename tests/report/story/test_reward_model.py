from pathlib import Path

import pytest
from judged_records import write_reward_model

from glasshouse.core.rundir import RunDirectory
from glasshouse.report import life, story
from glasshouse.report.records import read_run


def test_agreement_with_its_interval_and_calibration(reward_run: RunDirectory) -> None:
    records = read_run(reward_run)
    model = story.reward_model(records)
    assert model is not None and model.verdict == (
        "It agrees with people on 61 % (57–65) of 500 pairs of answers that it had not seen. Chance would be 50 %, "
        "which the interval excludes."
    )
    assert model.calibration == "How sure it is and how often it is right differ by 4.2 points on average."
    assert ("learned from", "1,000 comparisons") in model.facts
    headline = story.headline(records)
    assert headline.lead == "A reward model of 2.56 M parameters in 41 s." and headline.status == ""
    assert headline.figures[0].range == "57–65" and headline.command == ""


@pytest.mark.parametrize(("accuracy", "said"), [(0.53, "does not exclude"), (0.44, "worse than tossing a coin")])
def test_chance_is_called_chance(tmp_path: Path, accuracy: float, said: str) -> None:
    model = story.reward_model(read_run(write_reward_model(tmp_path / "run", accuracy)))
    assert model is not None and said in model.verdict


def test_the_shorter_trainings_of_the_curve_are_no_stages(reward_run: RunDirectory) -> None:
    assert [stage.name for stage in read_run(reward_run).stages] == ["reward"]
    panes = life.panes(read_run(reward_run))
    assert (panes[0].name, panes[0].key, panes[0].caption) == ("reward", "61 %", "agrees with people")
