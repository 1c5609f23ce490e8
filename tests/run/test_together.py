"""A life on two processes, started as the documentation says."""

import subprocess
import sys
from pathlib import Path

import pytest

from glasshouse.checkpoint import verify

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("axis", ["pp", "fsdp"])
def test_divided_weights_live_through_pretraining_and_fine_tuning(tmp_path: Path, axis: str) -> None:
    """What comes after training (an index of it, examples) is the first process's alone."""
    settings = [f"mesh.{axis}=2", "pretrain.microbatch_tokens=256", "sft.microbatch_tokens=256",
                'stages=["corpus", "tokenizer", "pretrain", "sft"]']  # fmt: skip
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m",
               "glasshouse.cli", "run", str(ROOT / "recipes/tiny/life.toml"), "--out", str(tmp_path / "run"),
               *(part for setting in settings for part in ("--set", setting))]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"mesh       2 processes: {axis} 2" in done.stdout
    for stage in ("pretrain", "sft"):
        verify(tmp_path / "run" / stage / "checkpoint")
    assert (tmp_path / "run/pretrain/trace/index.json").is_file()
    assert (tmp_path / "run/model").resolve() == (tmp_path / "run/sft/checkpoint").resolve()
