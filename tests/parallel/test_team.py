"""Two processes, and four, against one: the same losses, whatever they share."""

import pytest
from processes import judged, largest_difference, losses, run
from safetensors.torch import load_file

MESHES = {"dp": {"dp": 2}, "fsdp": {"fsdp": 2}, "tp": {"tp": 2}, "cp": {"cp": 2}}
VARIANTS = {
    "untied": {"model": {"ties_embeddings": False, "has_qk_norm": False}, "train": {"steps": 6}},
    "documents": {"crosses_documents": False, "train": {"steps": 6}},
    "recomputed": {"train": {"steps": 6, "recompute": 1.0, "recompute_keeps": "products"}},
    "microbatches": {"train": {"steps": 6, "microbatch_tokens": 32, "optim": {"matrices": "adamw"}}},
}


def cases_of(root, meshes, common):
    return [{"folder": str(root / name), "mesh": mesh, **common} for name, mesh in meshes.items()]


def weights(folder):
    return load_file(folder / "run/pretrain/checkpoint/model.safetensors")


def test_two_processes_train_as_one(tmp_path):
    common = {"train": {"steps": 10, "checkpoint_every": None}}
    again = {"train": {**common["train"], "recompute": 0.5}}
    run(1, {"folder": str(tmp_path / "one"), **common})
    run(2, *cases_of(tmp_path, MESHES, common), *cases_of(tmp_path, {"again": {"fsdp": 2}}, again))
    for name in (*MESHES, "again"):
        assert largest_difference(tmp_path / "one", tmp_path / name) < 1e-5, name
        assert judged(tmp_path / name) == pytest.approx(judged(tmp_path / "one"), abs=1e-5), name
        for key, weight in weights(tmp_path / "one").items():
            assert (weights(tmp_path / name)[key] - weight).abs().max() < 1e-4, (name, key)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_model_and_batch(tmp_path, variant):
    common = VARIANTS[variant]
    run(1, {"folder": str(tmp_path / "one"), **common})
    run(2, *cases_of(tmp_path, MESHES, common))
    assert max(largest_difference(tmp_path / "one", tmp_path / name) for name in MESHES) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_divided_weights_in_fewer_bits(tmp_path, precision):
    common = {"train": {"steps": 6}}
    run(1, {"folder": str(tmp_path / "one"), **common})
    meshes = {"fsdp": {"fsdp": 2}, "tp": {"tp": 2}}
    run(2, *cases_of(tmp_path, meshes, {"train": {"steps": 6, "precision": precision}}))
    for name in meshes:
        assert losses(tmp_path / name) != losses(tmp_path / "one")
        assert largest_difference(tmp_path / "one", tmp_path / name) < 0.02, name


@pytest.mark.slow
def test_four_processes_compose(tmp_path):
    common = {"train": {"steps": 50, "checkpoint_every": None}}
    meshes = {
        "dp4": {"dp": 4}, "fsdp4": {"fsdp": 4}, "hsdp": {"dp": 2, "fsdp": 2}, "fsdp-tp": {"fsdp": 2, "tp": 2},
        "dp-tp": {"dp": 2, "tp": 2}, "cp-tp": {"cp": 2, "tp": 2}, "fsdp-cp": {"fsdp": 2, "cp": 2},
    }  # fmt: skip
    run(1, {"folder": str(tmp_path / "one"), **common})
    run(4, *cases_of(tmp_path, meshes, common))
    for name in meshes:
        assert largest_difference(tmp_path / "one", tmp_path / name) < 1e-5, name
        assert judged(tmp_path / name) == pytest.approx(judged(tmp_path / "one"), abs=1e-5), name
