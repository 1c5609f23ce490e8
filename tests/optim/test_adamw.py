import subprocess
import sys

import torch

from glasshouse.optim import AdamW


def test_equals_torch_to_the_bit():
    g = torch.Generator().manual_seed(0)
    start = [torch.randn(5, 7, generator=g), torch.randn(9, generator=g)]
    ours, theirs = ([torch.nn.Parameter(t.clone()) for t in start] for _ in range(2))
    options = [{"lr": 0.01, "weight_decay": 0.1}, {"lr": 0.02, "weight_decay": 0.0}]
    own = AdamW([{"params": [p], **o} for p, o in zip(ours, options)], 0.8, 0.9, 1e-6)
    groups = [{"params": [p], **o} for p, o in zip(theirs, options)]
    oracle = torch.optim.AdamW(groups, betas=(0.8, 0.9), eps=1e-6, fused=True)
    for step in range(6):
        for a, b in zip(ours, theirs):
            a.grad = torch.randn(a.shape, generator=g)
            b.grad = a.grad.clone()
        if step == 3:
            ours[1].grad = theirs[1].grad = None  # a parameter that took no part
        own.step()
        oracle.step()
        assert all(a.equal(b) for a, b in zip(ours, theirs))


def test_the_compiler_is_not_imported():
    """Importing it takes longer than a hundred steps of a small model."""
    program = (
        "import sys, torch\nfrom glasshouse.optim import OptimConfig, build_optimizer\n"
        "model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.LayerNorm(4))\n"
        "optimizer = build_optimizer(model, OptimConfig())\n"
        "for _ in range(2):\n"
        "    model(torch.ones(2, 4)).sum().backward()\n"
        "    optimizer.set_factor(0.5); optimizer.step(); optimizer.zero_grad()\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
