import pytest

from glasshouse.core.config import parse_config
from glasshouse.core.errors import ConfigError
from glasshouse.model import ModelConfig
from glasshouse.parallel import AXES, Mesh, MeshConfig, check_model

MODEL = ModelConfig(
    vocab_size=64, d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, d_head=8, d_ff=64, max_seq_len=64,
)  # fmt: skip


def test_one_recipe_fits_any_number_of_processes():
    assert MeshConfig().sizes(1) == dict.fromkeys(AXES, 1)
    assert MeshConfig().sizes(6)["dp"] == 6
    assert MeshConfig(fsdp=2, tp=2).sizes(8) == {"pp": 1, "dp": 2, "fsdp": 2, "cp": 1, "tp": 2}
    assert MeshConfig(pp=2, tp=2).sizes(8) == {"pp": 2, "dp": 2, "fsdp": 1, "cp": 1, "tp": 2}


@pytest.mark.parametrize(
    ("config", "world_size"),
    [({"tp": 3}, 4), ({"dp": 2}, 4), ({"fsdp": 8}, 4), ({"dp": 2}, 1), ({"pp": 2, "tp": 2}, 6)],
)
def test_a_mesh_that_does_not_divide_the_world_is_refused(config, world_size):
    with pytest.raises(ConfigError, match=rf"\[mesh\] .*and there are {world_size}\. Start that many"):
        MeshConfig(**config).sizes(world_size)


def test_an_unknown_axis_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r'unknown key "fdsp".*fsdp'):
        parse_config(MeshConfig, {"fdsp": 2})


def sizes(**given):
    return {**dict.fromkeys(AXES, 1), **given}


def test_a_mesh_that_does_not_divide_the_heads_is_refused():
    with pytest.raises(ConfigError, match="tp = 4 does not divide n_kv_heads = 2"):
        check_model(MODEL, sizes(tp=4), 64)


def test_a_mesh_that_does_not_divide_the_row_is_refused():
    with pytest.raises(ConfigError, match="cp x tp = 6 does not divide seq_len = 64"):
        check_model(MODEL, sizes(cp=3, tp=2), 64)


def test_more_ranks_than_data_are_refused():
    with pytest.raises(ConfigError, match=r"dp x fsdp = 8 processes would share 4 rows .*more ranks than data"):
        check_model(MODEL, sizes(dp=4, fsdp=2), 64, n_rows=4)
    check_model(MODEL, sizes(dp=2, fsdp=2, tp=2), 64, n_rows=4)


def test_every_rank_has_a_place_of_its_own():
    meshes = [Mesh(sizes(dp=2, fsdp=2, tp=2), rank) for rank in range(8)]
    assert [tuple(mesh.place(axis) for axis in ("dp", "fsdp", "tp")) for mesh in meshes[:4]] == [
        (0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1),
    ]  # fmt: skip
    assert [mesh.rows for mesh in meshes] == [(0, 4), (0, 4), (1, 4), (1, 4), (2, 4), (2, 4), (3, 4), (3, 4)]
    assert [mesh.is_main for mesh in meshes] == [True] + [False] * 7


def test_a_pipeline_that_does_not_divide_the_layers_is_refused():
    with pytest.raises(ConfigError, match="pp = 4 does not divide n_layers = 2"):
        check_model(MODEL, sizes(pp=4), 64, 8, 64)


@pytest.mark.parametrize(("given", "said"), [(None, "not set"), ("auto", "auto")])
def test_a_pipeline_without_microbatches_is_refused(given, said):
    with pytest.raises(
        ConfigError, match=rf"\(pp = 2\) work on microbatches .* at least 2 .*microbatch_tokens is {said}"
    ):
        check_model(MODEL, sizes(pp=2), 64, 8, given)


def test_fewer_microbatches_than_stages_are_refused_with_what_would_fit():
    check_model(MODEL, sizes(pp=2, dp=2), 64, 8, 128)
    with pytest.raises(ConfigError, match=r"pp = 2 stages would share 1 microbatches .*\(4 rows .*tokens = 128"):
        check_model(MODEL, sizes(pp=2, dp=2), 64, 8, 256)
    with pytest.raises(ConfigError, match="it needs at least 2 rows"):
        check_model(MODEL, sizes(pp=2, dp=2), 64, 2, 64)


def test_stages_are_the_outermost_axis():
    meshes = [Mesh(sizes(pp=2, dp=2, tp=2), rank) for rank in range(8)]
    assert [mesh.place("pp") for mesh in meshes] == [0] * 4 + [1] * 4
    assert [mesh.rows for mesh in meshes] == 2 * [(0, 2), (0, 2), (1, 2), (1, 2)]
    assert meshes[0].stage_size == 4
