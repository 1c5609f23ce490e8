"""One Glasshouse run that ends within a given time: the process that loss_in_ten.py and vs_nanochat.py start.

    python benchmarks/timed_run.py JSON  ->  one JSON line: {"seconds", "steps", "n_tokens", "loss", "checkpoint", ...}

JSON: {"data", "folder", "seconds", "started_at", "shape", "train", "seed", "judged_window", "judged_tokens"}.  A few
steps are timed first, and the schedule is laid over as many as fit.  The clock began with the process (`started_at`, of
time.time) and stops when the checkpoint lies on disk; the loss of the held-out ids is judged after that.
"""

import json
import sys
import time
from pathlib import Path

from glasshouse.core.environment import start_torch

start_torch()

import torch  # noqa: E402

from glasshouse.batch import LMBatch, PackedLoader, TokenShard  # noqa: E402
from glasshouse.core.rundir import RunDirectory  # noqa: E402
from glasshouse.core.terminal import Terminal  # noqa: E402
from glasshouse.meter import Meter, MeterConfig, measure_device  # noqa: E402
from glasshouse.model import InitConfig, ModelConfig, Transformer, count_parameters  # noqa: E402
from glasshouse.objective import lm_loss  # noqa: E402
from glasshouse.run.measuring import time_step  # noqa: E402
from glasshouse.tokenizer import Tokenizer  # noqa: E402
from glasshouse.train import TrainConfig, Trainer  # noqa: E402

SAVING_S = 1.5
FILLED = 0.95  # of the time left: a step takes a little longer now and then, and the limit is a limit


def main() -> None:
    asked = json.loads(sys.argv[1])
    data, folder = Path(asked["data"]), Path(asked["folder"])
    tokenizer = Tokenizer.load(data)
    shape = ModelConfig(vocab_size=tokenizer.vocab_size, **asked["shape"])
    config = TrainConfig(steps=1, sample_at=(), checkpoint_every_s=None, **asked["train"])
    step_s = time_step(shape, config)
    left_s = asked["seconds"] - (time.time() - asked["started_at"]) - SAVING_S
    config = config.model_copy(update={"steps": max(10, int(FILLED * left_s / step_s))})
    shard = TokenShard(data / "train.tokens", tokenizer.hash)
    model = Transformer(shape, InitConfig(has_zero_outputs=True), asked["seed"])
    with Meter(MeterConfig()) as meter:
        result = Trainer(
            model, tokenizer, PackedLoader(shard, config.seq_len, config.batch_tokens, asked["seed"]), lm_loss, config,
            stage="pretrain", run=RunDirectory(folder).create(), folder=folder / "pretrain",
            terminal=Terminal(is_quiet=True), meter=meter, device_profile=measure_device("cpu"),
        ).fit()  # fmt: skip
    seconds = time.time() - asked["started_at"]
    loss = judged(model, data, asked["judged_window"], asked["judged_tokens"])
    print(json.dumps({"seconds": seconds, "loss": loss, "steps": result.steps, "n_tokens": result.n_tokens,
                      "parameters": count_parameters(shape).total, "checkpoint": str(result.checkpoint)}))  # fmt: skip


@torch.no_grad()
def judged(model: Transformer, data: Path, window: int, most: int) -> float:
    """Nats a token over fixed windows of val.bin, as nanogpt.JUDGE has it."""
    ids = torch.from_file(str(data / "val.bin"), size=(data / "val.bin").stat().st_size // 2, dtype=torch.int16)
    ids = (ids.long() & 0xFFFF)[: most + 1]
    n = (len(ids) - 1) // window
    x, y = ids[: window * n].view(n, window), ids[1 : window * n + 1].view(n, window)
    sums = [lm_loss(model, LMBatch(a, b, None)).loss_sum.item() for a, b in zip(x.split(50), y.split(50))]
    return sum(sums) / (n * window)


if __name__ == "__main__":
    main()
