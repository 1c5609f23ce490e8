from judged_records import PAYLOAD

from glasshouse.core.rundir import RunDirectory
from glasshouse.report import story
from glasshouse.report.records import read_run


def test_the_largest_rise_comes_first_and_what_did_not_rise_is_left_out(aligned_run: RunDirectory) -> None:
    rises = story.rises(read_run(aligned_run))
    assert rises is not None
    assert [rise.prompt for rise in rises.first] == [f"What does `os.fly{i}` do?" for i in range(4)]
    assert len(rises.others) == 3
    assert (rises.first[0].reward_before, rises.first[0].reward_after) == ("−2.5", "1.5")
    assert rises.first[0].after.endswith(PAYLOAD) and "likelier" in rises.basis


def test_alarms_of_the_stage_stand_beside_them(aligned_run: RunDirectory) -> None:
    aligned_run.event("sft", "warning", text="of another stage")
    rises = story.rises(read_run(aligned_run))
    assert rises is not None
    assert [alarm.startswith("iteration 7: the policy is 1.4 nats") for alarm in rises.alarms] == [True]
