"""One real training step by gloo processes, traced as a dry run is: `python real_step.py RANK WORLD_SIZE STORE`.

Rank 0 prints what it saw as JSON.
"""

import json
import sys

from glasshouse.core.environment import start_torch

start_torch()

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402

from glasshouse.model import ModelConfig  # noqa: E402
from glasshouse.optim import OptimConfig  # noqa: E402
from glasshouse.parallel import Mesh  # noqa: E402
from glasshouse.plan.dry_run import mesh_of, trace_step  # noqa: E402

SHAPE = ModelConfig(
    vocab_size=64, d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, d_head=8, d_ff=64, max_seq_len=32,
    ties_embeddings=False,
)  # fmt: skip
ROWS, SEQ_LEN = 4, 32
OPTIM = OptimConfig(matrices="adamw")


def main() -> None:
    rank, world_size, store, fsdp, tp = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], *map(int, sys.argv[4:])
    dist.init_process_group("gloo", store=dist.FileStore(store, world_size), rank=rank, world_size=world_size)
    sizes = {"pp": 1, "dp": 1, "fsdp": fsdp, "cp": 1, "tp": tp}
    found = trace_step(SHAPE, Mesh(sizes, rank, mesh_of(sizes)), SEQ_LEN, ROWS, OPTIM, is_bf16=False, is_fake=False)
    if rank == 0:
        print(
            json.dumps(
                {**found, "collectives": [[c.kind, c.n_ranks, c.n_calls, c.n_bytes] for c in found["collectives"]]}
            )
        )
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
