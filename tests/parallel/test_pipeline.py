"""Stages of layers in several processes, against one process."""

import signal

import pytest
from processes import finish, judged, largest_difference, run, start
from safetensors.torch import load_file

TRAIN = {"steps": 20, "checkpoint_every": 5, "microbatch_tokens": 32}  # four microbatches
VARIANTS = {
    "untied": {"model": {"ties_embeddings": False, "has_qk_norm": False}, "train": {**TRAIN, "steps": 6}},
    "documents": {"crosses_documents": False, "train": {**TRAIN, "steps": 6}},
    "adamw": {"train": {**TRAIN, "steps": 6, "optim": {"matrices": "adamw"}}},
    "uneven": {"train": {**TRAIN, "steps": 6, "microbatch_tokens": 48}},
}


def assert_equal(one, other):
    assert largest_difference(one, other) < 1e-5, other
    assert judged(other) == pytest.approx(judged(one), rel=1e-5)
    assert judged(one)
    weights = [load_file(folder / "run/pretrain/checkpoint/model.safetensors") for folder in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    for key, weight in weights[0].items():
        assert (weights[1][key] - weight).abs().max() < 1e-4, (other, key)


def test_a_killed_stage_is_named_and_one_process_goes_on(tmp_path):
    fault = {"rank": 1, "index": 12, "what": "kill"}
    broken = {"folder": str(tmp_path / "killed"), "mesh": {"pp": 2, "timeout_s": 5}, "train": TRAIN, "fault": fault}
    assert finish(start(2, [broken])) == [5, -signal.SIGKILL]
    assert "at step 13 no answer came from rank 1" in (tmp_path / "killed/error-0.txt").read_text()
    run(1, {"folder": str(tmp_path / "killed"), "train": TRAIN}, {"folder": str(tmp_path / "whole"), "train": TRAIN})
    assert_equal(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
def test_one_process_starts_and_two_stages_go_on(tmp_path):
    fault = {"rank": 0, "index": 12, "what": "kill"}
    assert finish(start(1, [{"folder": str(tmp_path / "killed"), "train": TRAIN, "fault": fault}])) == [-signal.SIGKILL]
    run(2, {"folder": str(tmp_path / "killed"), "mesh": {"pp": 2}, "train": TRAIN})
    run(1, {"folder": str(tmp_path / "whole"), "train": TRAIN})
    assert_equal(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_model_and_batch(tmp_path, variant):
    run(1, {"folder": str(tmp_path / "one"), **VARIANTS[variant]})
    run(2, {"folder": str(tmp_path / "two"), "mesh": {"pp": 2}, **VARIANTS[variant]})
    assert_equal(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_stages_compose_with_everything_else(tmp_path):
    common = {"train": {**TRAIN, "batch_tokens": 256}, "model": {"n_layers": 4}}
    meshes = {"pp4": {"pp": 4}, **{f"pp-{axis}": {"pp": 2, axis: 2} for axis in ("dp", "fsdp", "tp", "cp")}}
    run(1, {"folder": str(tmp_path / "one"), **common})
    run(4, *[{"folder": str(tmp_path / name), "mesh": mesh, **common} for name, mesh in meshes.items()])
    for name in meshes:
        assert_equal(tmp_path / "one", tmp_path / name)
