"""One Glasshouse run on tinyshakespeare's characters, timed from outside by vs_nanogpt.py.

    python benchmarks/shakespeare.py TEXT FOLDER SEED  ->  one JSON line: {"loss", "n_windows", "steps", ...}

First 90 % of the characters train, the last 10 % judge, in windows of 64, as nanoGPT's own preparation has it.
"""

import json
import sys
from pathlib import Path

from glasshouse.core.environment import start_torch

start_torch()

from glasshouse.batch import PackedLoader, encode_documents, write_shard  # noqa: E402
from glasshouse.core.records import Document  # noqa: E402
from glasshouse.core.rundir import RunDirectory  # noqa: E402
from glasshouse.core.terminal import Terminal  # noqa: E402
from glasshouse.evals import HeldOutText, LikelihoodConfig  # noqa: E402
from glasshouse.infer import Engine  # noqa: E402
from glasshouse.meter import Meter, MeterConfig, measure_device  # noqa: E402
from glasshouse.model import InitConfig, ModelConfig, Transformer  # noqa: E402
from glasshouse.objective import lm_loss  # noqa: E402
from glasshouse.optim import OptimConfig, ScheduleConfig  # noqa: E402
from glasshouse.tokenizer import TokenizerConfig, train_tokenizer  # noqa: E402
from glasshouse.train import TrainConfig, Trainer  # noqa: E402

CONTEXT = 64
CONFIG = TrainConfig(
    steps=340,
    seq_len=CONTEXT,
    batch_tokens=12 * CONTEXT,
    optim=OptimConfig(matrix_lr=0.02, embedding_lr=0.03, head_lr=0.01, vector_lr=0.01),
    schedule=ScheduleConfig(kind="linear", warmup_steps=10),
    compile="never",
    sample_at=(),
    checkpoint_every_s=None,
)


def main(text_path: Path, folder: Path, seed: int) -> None:
    text = text_path.read_text()
    cut = int(0.9 * len(text))
    train, held_out = (
        Document(name, part, str(text_path)) for name, part in (("train", text[:cut]), ("val", text[cut:]))
    )
    tokenizer = train_tokenizer([text], TokenizerConfig(kind="char"))
    shard = write_shard(folder / "train.tokens", encode_documents([train], tokenizer), tokenizer)
    shape = ModelConfig(vocab_size=tokenizer.vocab_size, d_model=64, n_layers=3, n_heads=2, n_kv_heads=2, d_head=32,
                        d_ff=176, max_seq_len=CONTEXT, rope_theta=1000, ties_embeddings=False)  # fmt: skip
    model = Transformer(shape, InitConfig(has_zero_outputs=True), seed)
    meter = Meter(MeterConfig())
    with meter:
        result = Trainer(
            model, tokenizer, PackedLoader(shard, CONTEXT, CONFIG.batch_tokens, seed), lm_loss, CONFIG,
            stage="pretrain", run=RunDirectory(folder).create(), folder=folder / "pretrain",
            terminal=Terminal(is_quiet=True), meter=meter, device_profile=measure_device("cpu"),
        ).fit()  # fmt: skip
    held = HeldOutText(tokenizer, [held_out], CONTEXT, LikelihoodConfig(stride=CONTEXT))
    judged = held.evaluate(Engine(model, tokenizer))
    print(json.dumps({"loss": judged.loss_mean, "n_characters": judged.n_tokens, "steps": result.steps,
                      "n_tokens": result.n_tokens, "train_s": result.seconds}))  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
