"""The estimate against the peak of real steps, in a process of its own so that nothing else is counted."""

import json
import subprocess
import sys

import pytest

from glasshouse.plan.memory import training_bytes
from glasshouse.plan.shape import shape_for

SCRIPT = """
import json, resource, sys
from glasshouse.core.environment import start_torch
start_torch()
import torch
from glasshouse.batch import LMBatch
from glasshouse.model import Transformer
from glasshouse.objective import lm_loss
from glasshouse.optim import OptimConfig, build_optimizer
from glasshouse.plan.shape import shape_for

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def steps(shape, rows, length, n):
    model = Transformer(shape); model.init_weights(0)
    optimizer = build_optimizer(model, OptimConfig())
    ids = torch.randint(shape.vocab_size, (rows, length + 1))
    for _ in range(n):
        lm_loss(model, LMBatch(ids[:, :-1], ids[:, 1:], None, None, 0)).loss_mean.backward()
        optimizer.step(); optimizer.zero_grad()

steps(shape_for(1e5, 256, 128), 1, 128, 1)
before = peak()
steps(shape_for(float(sys.argv[1]), 4096, 128), int(sys.argv[2]), 128, 2)
print(json.dumps(peak() - before))
"""


@pytest.mark.parametrize(("n_parameters", "rows"), [(2.5e6, 32), (1.2e7, 8)])
def test_the_estimate_is_within_a_third_of_the_measured_peak(n_parameters: float, rows: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(n_parameters), str(rows)], capture_output=True, text=True, check=True
    )
    measured = json.loads(done.stdout)
    assert training_bytes(shape_for(n_parameters, 4096, 128), rows * 128) == pytest.approx(measured, rel=0.33)
