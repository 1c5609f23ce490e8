"""How many processes share what, and where this process stands among them.

A process (rank) has one coordinate on each axis.  From the outermost axis, whose neighbours speak least, to the
innermost, which belongs inside one machine:
pp    the layers are cut into stages, and microbatches flow through them
dp    whole copies of the weights, each with rows of its own
fsdp  one copy of the weights cut into pieces, each process with rows of its own
cp    each row is cut into stretches of tokens
tp    each matrix is cut, all processes have the same rows
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field
from torch.distributed import ProcessGroup
from torch.distributed.device_mesh import DeviceMesh

from glasshouse.core.config import Config
from glasshouse.core.errors import ConfigError

AXES = ("pp", "dp", "fsdp", "cp", "tp")


class MeshConfig(Config):
    """Their product is the number of processes.  Where dp is left out, one recipe runs on any number."""

    dp: int | None = Field(default=None, ge=1)  # None: what the other axes leave of the processes there are
    fsdp: int = Field(default=1, ge=1)
    tp: int = Field(default=1, ge=1)
    cp: int = Field(default=1, ge=1)
    pp: int = Field(default=1, ge=1)
    timeout_s: float = Field(default=300.0, gt=0)  # a process that is silent for longer is taken for hung

    def sizes(self, world_size: int) -> dict[str, int]:
        """The size of every axis for that many processes; `ConfigError` where they do not divide."""
        own = self.pp * self.fsdp * self.tp * self.cp
        dp = max(1, world_size // own) if self.dp is None else self.dp
        if own * dp != world_size:
            given = ", ".join(f"{axis} = {getattr(self, axis)}" for axis in AXES if getattr(self, axis))
            raise ConfigError(
                f"[mesh] {given} needs {'a multiple of ' if self.dp is None else ''}{own * dp} processes, and there "
                f"are {world_size}. Start that many (torchrun --nproc-per-node), or change [mesh] so that its sizes "
                f"multiply to {world_size}."
            )
        return {"pp": self.pp, "dp": dp, "fsdp": self.fsdp, "cp": self.cp, "tp": self.tp}


@dataclass(frozen=True)
class Mesh:
    """`devices` holds the axes longer than one, fsdp and cp as one axis `shard`: both cut the weights."""

    sizes: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(AXES, 1))
    rank: int = 0
    devices: DeviceMesh | None = None
    lines: Mapping[str, ProcessGroup] = field(default_factory=dict)  # groups of this process beside those of `devices`
    save_group: ProcessGroup | None = None  # for saving beside training
    timeout_s: float = 300.0

    @property
    def world_size(self) -> int:
        return math.prod(self.sizes.values())

    @property
    def is_main(self) -> bool:
        """The rank that reads, judges, records and speaks for all."""
        return self.rank == 0

    @property
    def stage_size(self) -> int:
        """Processes that hold one stage of the layers."""
        return self.world_size // self.sizes["pp"]

    @property
    def n_shards(self) -> int:
        return self.sizes["fsdp"] * self.sizes["cp"]

    @property
    def rows(self) -> tuple[int, int]:
        """(which, of how many) parts of a batch's rows are this process's."""
        return self.rows_of(self.rank), self.sizes["dp"] * self.sizes["fsdp"]

    def rows_of(self, rank: int) -> int:
        """Which part of the rows is a rank's."""
        return rank // (self.sizes["cp"] * self.sizes["tp"]) % (self.sizes["dp"] * self.sizes["fsdp"])

    @property
    def columns(self) -> tuple[int, int]:
        return self.place("cp"), self.sizes["cp"]

    def place(self, axis: str) -> int:
        """This process's coordinate on an axis."""
        inner = math.prod(self.sizes[name] for name in AXES[AXES.index(axis) + 1 :])
        return self.rank // inner % self.sizes[axis]

    def group(self, axis: str) -> Any:
        """The processes that differ from this one on `axis` alone (of size two or more)."""
        assert self.devices is not None
        return self.lines["cp"] if axis == "cp" else self.devices.get_group(axis)

    def describe(self) -> str:
        """`4 processes: fsdp 2 x tp 2`."""
        parts = [f"{axis} {size}" for axis, size in self.sizes.items() if size > 1]
        return f"{self.world_size} processes: {' x '.join(parts)}" if parts else "1 process"


def check_model(
    config: Any, sizes: Mapping[str, int], seq_len: int, n_rows: int | None = None,
    microbatch_tokens: int | str | None = None,
) -> None:  # fmt: skip
    """Refuse, before any work, a mesh that does not divide the model or the data.

    `config` is a `ModelConfig`; `n_rows` of a batch, where it is fixed.
    """
    problems = []
    pp, tp, cp, n_data = sizes["pp"], sizes["tp"], sizes["cp"], sizes["dp"] * sizes["fsdp"]
    if config.n_layers % pp:
        problems.append(f"pp = {pp} does not divide n_layers = {config.n_layers}")
    if pp > 1:
        problems += _flow(pp, seq_len // cp, None if n_rows is None else -(-n_rows // n_data), microbatch_tokens)
    for name in ("n_heads", "n_kv_heads", "d_ff"):
        if getattr(config, name) % tp:
            problems.append(f"tp = {tp} does not divide {name} = {getattr(config, name)}")
    if cp > 1 and config.window is not None:
        problems.append(f"cp = {cp} shares whole rows, and this model's layers read windows of {config.window} tokens")
    if seq_len % (cp * tp):
        problems.append(f"cp x tp = {cp * tp} does not divide seq_len = {seq_len}")
    if n_rows is not None and n_rows < n_data:
        problems.append(
            f"dp x fsdp = {n_data} processes would share {n_rows} rows (batch_tokens / seq_len): more ranks than data"
        )
    if problems:
        raise ConfigError(f"[mesh] does not fit: {'; '.join(problems)}. Choose sizes that divide, or another model.")


def _flow(pp: int, row_tokens: int, n_rows: int | None, microbatch_tokens: int | str | None) -> list[str]:
    """What keeps microbatches from filling a pipeline; `n_rows` of `row_tokens` are one process's part of a batch."""
    if not isinstance(microbatch_tokens, int):
        return [f"the stages of a pipeline (pp = {pp}) work on microbatches of a size that you choose, at least {pp} "
                f"in a batch, and microbatch_tokens is {microbatch_tokens or 'not set'}"]  # fmt: skip
    if n_rows is None or (n_microbatches := -(-n_rows // max(1, microbatch_tokens // row_tokens))) >= pp:
        return []
    fitting = f"at most microbatch_tokens = {n_rows // pp * row_tokens}" if n_rows >= pp else f"at least {pp} rows"
    return [f"pp = {pp} stages would share {n_microbatches} microbatches of a process's part of the batch "
            f"({n_rows} rows of {row_tokens} tokens); it needs {fitting}"]  # fmt: skip
