import json
import subprocess
import sys
from pathlib import Path

import pytest
from real_step import OPTIM, ROWS, SEQ_LEN, SHAPE  # beside this file

from glasshouse.core.errors import ConfigError
from glasshouse.model import count_parameters
from glasshouse.optim import OptimConfig
from glasshouse.parallel import MeshConfig
from glasshouse.plan.dry_run import dry_run

N = count_parameters(SHAPE)


def trace(world_size: int, recomputed: float = 0.0, is_bf16: bool = False, **axes: int):
    return dry_run(SHAPE, MeshConfig(**axes), world_size, seq_len=SEQ_LEN, rows=ROWS, optim=OPTIM, is_bf16=is_bf16,
                   recomputed=recomputed)  # fmt: skip


def test_weights_and_states_are_divided_by_the_shards() -> None:
    found = trace(16, fsdp=8)
    assert found.mesh["dp"] == 2
    assert found.weights_bytes == pytest.approx(4 * N.total / 8, rel=0.02)
    assert found.optimizer_bytes == pytest.approx(8 * N.total / 8, rel=0.03)


def test_collectives_move_what_sharding_says() -> None:
    """Every weight is gathered for the forward pass, the layers' again for the backward pass, and reduced once."""
    moved = {(c.kind, c.n_ranks): c for c in trace(8, fsdp=8).collectives}
    layers = N.total - N.embedding - N.head - SHAPE.d_model
    assert moved["allgather", 8].n_bytes == 4 * (N.total + layers)
    assert moved["reduce_scatter", 8].n_bytes == 4 * N.total
    assert moved["allgather", 8].n_calls == 2 * SHAPE.n_layers + 1


def test_weights_are_gathered_in_16_bits_where_they_are_computed_with_in_these() -> None:
    """And gradients are summed in 32."""
    full, half = (
        {c.kind: c.n_bytes for c in trace(8, fsdp=8, is_bf16=is_bf16).collectives} for is_bf16 in (False, True)
    )
    assert half == {"allgather": full["allgather"] / 2, "reduce_scatter": full["reduce_scatter"]}


def test_layers_computed_again_hold_less_and_gather_their_weights_no_more_often() -> None:
    plain, again = trace(8, fsdp=8), trace(8, fsdp=8, recomputed=1.0)
    assert again.peak_bytes < 0.8 * plain.peak_bytes
    assert again.collectives == plain.collectives


@pytest.mark.parametrize(("fsdp", "tp"), [(2, 1), (1, 2)])
def test_a_dry_run_sees_what_two_real_processes_do(tmp_path: Path, fsdp: int, tp: int) -> None:
    program, store = Path(__file__).with_name("real_step.py"), tmp_path / "store"
    ranks = [
        subprocess.Popen([sys.executable, program, str(rank), "2", store, str(fsdp), str(tp)],
                         stdout=subprocess.PIPE, text=True) for rank in range(2)
    ]  # fmt: skip
    said = [rank.communicate(timeout=120)[0] for rank in ranks]
    real = json.loads(said[0].splitlines()[-1])
    fake = trace(2, fsdp=fsdp, tp=tp)
    for key in ("weights_bytes", "gradients_bytes", "optimizer_bytes"):
        assert getattr(fake, key) == real[key]
    assert sorted([c.kind, c.n_ranks, c.n_calls, c.n_bytes] for c in fake.collectives) == sorted(real["collectives"])
    assert fake.peak_by_phase["backward"] == pytest.approx(real["peak_by_phase"]["backward"], rel=0.02)


@pytest.mark.parametrize(
    ("world_size", "axes", "message"),
    [(8, {"tp": 8}, "does not divide n_heads"), (6, {"fsdp": 4}, "multiple of 4"), (4, {"cp": 2}, "stretches of rows")],
)
def test_a_world_that_could_not_train_is_refused(world_size: int, axes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        trace(world_size, **axes)


def test_what_is_not_traced_is_refused() -> None:
    with pytest.raises(ConfigError, match="set pp to 1"):
        trace(4, pp=2, fsdp=2)
    with pytest.raises(ConfigError, match="gathers every matrix whole"):
        dry_run(SHAPE, MeshConfig(fsdp=8), 8, seq_len=SEQ_LEN, rows=1, optim=OptimConfig(), is_bf16=False)
