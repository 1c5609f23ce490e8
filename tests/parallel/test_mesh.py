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
    assert MeshConfig(fsdp=2, tp=2).sizes(8) == {"dp": 2, "fsdp": 2, "cp": 1, "tp": 2}


@pytest.mark.parametrize(("config", "world_size"), [({"tp": 3}, 4), ({"dp": 2}, 4), ({"fsdp": 8}, 4), ({"dp": 2}, 1)])
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
