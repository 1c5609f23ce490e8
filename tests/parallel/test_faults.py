"""Processes that die, hang or compute nonsense; and others, in another number, that go on."""

import json
import signal
import subprocess
import sys

import pytest
from processes import PROGRAM, finish, largest_difference, losses, run, start
from program import train_case

from glasshouse.core.errors import ConfigError


def test_a_killed_rank_is_named_and_another_mesh_goes_on(tmp_path):
    """Two processes with divided weights; one dies.  One process alone ends the run as if nothing had been."""
    train = {"steps": 20, "checkpoint_every": 5}
    fault = {"rank": 1, "index": 12, "what": "kill"}
    broken = {"folder": str(tmp_path / "killed"), "mesh": {"fsdp": 2, "timeout_s": 5},
              "train": train, "fault": fault}  # fmt: skip
    assert finish(start(2, [broken])) == [5, -signal.SIGKILL]
    said = (tmp_path / "killed/error-0.txt").read_text()
    assert "at step 13 no answer came from rank 1" in said and "step-00000010" in said
    run(1, {"folder": str(tmp_path / "killed"), "train": train}, {"folder": str(tmp_path / "whole"), "train": train})
    assert largest_difference(tmp_path / "killed", tmp_path / "whole") < 1e-5
    assert list(losses(tmp_path / "killed")) == list(range(1, 21))  # every step once


@pytest.mark.slow
def test_one_process_starts_and_two_with_divided_matrices_go_on(tmp_path):
    train = {"steps": 20, "checkpoint_every": 5}
    fault = {"rank": 0, "index": 12, "what": "kill"}
    assert finish(start(1, [{"folder": str(tmp_path / "killed"), "train": train, "fault": fault}])) == [-signal.SIGKILL]
    run(2, {"folder": str(tmp_path / "killed"), "mesh": {"tp": 2}, "train": train})
    run(1, {"folder": str(tmp_path / "whole"), "train": train})
    assert largest_difference(tmp_path / "killed", tmp_path / "whole") < 1e-5


@pytest.mark.slow
def test_torchrun_starts_again_from_the_newest_checkpoint(tmp_path):
    train = {"steps": 20, "checkpoint_every": 5}
    fault = {"rank": 1, "index": 12, "what": "kill"}
    case = {"folder": str(tmp_path / "killed"), "mesh": {"fsdp": 2, "timeout_s": 20}, "train": train, "fault": fault}
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1",
        str(PROGRAM), json.dumps([case]),
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr
    assert list(losses(tmp_path / "killed")) == list(range(1, 21))  # no step twice, none left out
    run(2, {"folder": str(tmp_path / "whole"), "mesh": {"fsdp": 2}, "train": train})
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")


@pytest.mark.slow
def test_a_hung_rank_is_named_within_the_timeout(tmp_path):
    fault = {"rank": 1, "index": 8, "what": "hang"}
    case = {"folder": str(tmp_path), "mesh": {"tp": 2, "timeout_s": 3}, "train": {"steps": 20}, "fault": fault}
    codes = finish(start(2, [case]), until=lambda codes: codes[0] is not None)
    assert codes == [5, None]
    said = (tmp_path / "error-0.txt").read_text()
    assert "at step 9 no answer came from rank 1 (" in said and "process" in said


@pytest.mark.slow
def test_nan_on_one_rank_is_skipped_by_all_and_its_data_is_named(tmp_path):
    fault = {"rank": 1, "index": 8, "what": "nan"}
    run(2, {"folder": str(tmp_path), "mesh": {"dp": 2}, "train": {"steps": 12}, "fault": fault})
    events = [json.loads(line) for line in (tmp_path / "run/events.jsonl").read_text().splitlines()]
    (warning,) = [event for event in events if event["kind"] == "warning"]
    assert "step 9: loss nan is not finite on rank 1 (rows 4 to 7 of the batch); step skipped" in warning["text"]
    (bad,) = (tmp_path / "run/pretrain/bad_batches").iterdir()
    assert json.loads(bad.read_text())["loss_sum_by_rank"][1] == "nan"
    assert sorted(losses(tmp_path)) == [step for step in range(1, 13) if step != 9]


@pytest.mark.slow
def test_a_disk_that_is_full_for_one_rank_stops_all_with_the_last_checkpoint_good(tmp_path):
    train = {"steps": 20, "checkpoint_every": 5}
    fault = {"rank": 1, "index": 12, "what": "full"}
    case = {"folder": str(tmp_path / "full"), "mesh": {"fsdp": 2}, "train": train, "fault": fault}
    assert finish(start(2, [case])) == [5, 5]
    said = (tmp_path / "full/error-0.txt").read_text()
    assert "the disk is full" in said and "checkpoint of step 15" in said and "step-00000010" in said
    run(1, {"folder": str(tmp_path / "full"), "train": train}, {"folder": str(tmp_path / "whole"), "train": train})
    assert largest_difference(tmp_path / "full", tmp_path / "whole") < 1e-5


def test_a_checkpoint_of_another_architecture_is_refused_before_any_step(tmp_path):
    train_case({"folder": str(tmp_path), "train": {"steps": 2}})
    with pytest.raises(ConfigError, match=r"other settings.*model\.n_layers was 2, now 1; model\.d_ff was 64, now 32"):
        train_case({"folder": str(tmp_path), "train": {"steps": 2}, "model": {"n_layers": 1, "d_ff": 32}})
