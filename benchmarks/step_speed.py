"""One trainer's steps on a corpus, timed: the process that peer_speed.py starts for each side in turn.

    python benchmarks/step_speed.py SIDE JSON  ->  one JSON line: {"step_s": [...], "parameters": n}

SIDE: glasshouse (its Trainer), litgpt (its pretrain.setup, from a checkout on PYTHONPATH) or transformers (its
Trainer).  A step is all of it: rows drawn, forward, backward, clipping, AdamW, the loop around them.  The first steps,
in which things are compiled and memory is found, are left out.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

N_WARMUP = 3
RATE = 1e-3


def main() -> None:
    side, asked = sys.argv[1], json.loads(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        stamps, parameters = SIDES[side](asked, Path(folder))
    step_s = [after - before for before, after in pairwise(stamps)][N_WARMUP:]
    print("\n" + json.dumps({"step_s": step_s, "parameters": parameters}))


class Windows(Dataset[torch.Tensor]):
    """Window `k` of `n_time + 1` ids from a random place of train.bin."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.ids = np.memmap(Path(asked["data"]) / "train.bin", np.uint16, "r")
        self.length = asked["n_time"] + 1
        self.n_windows = (asked["n_steps"] + N_WARMUP + 1) * asked["n_rows"]
        self.starts = np.random.default_rng(0).integers(len(self.ids) - self.length, size=self.n_windows)

    def __len__(self) -> int:
        return self.n_windows

    def __getitem__(self, k: int) -> torch.Tensor:
        start = self.starts[k]
        return torch.from_numpy(self.ids[start : start + self.length].astype(np.int64))


# ---- Glasshouse ------------------------------------------------------------------------------------------------------


def glasshouse(asked: dict[str, Any], folder: Path) -> tuple[list[float], int]:
    from glasshouse.core.environment import start_torch

    start_torch()
    from glasshouse.batch import Cursor, LMBatch, PackedLoader, TokenShard
    from glasshouse.core.rundir import RunDirectory
    from glasshouse.core.terminal import Terminal
    from glasshouse.meter import Meter, MeterConfig, measure_device
    from glasshouse.model import ModelConfig, Transformer, count_parameters
    from glasshouse.objective import lm_loss
    from glasshouse.optim import OptimConfig
    from glasshouse.tokenizer import Tokenizer
    from glasshouse.train import TrainConfig, Trainer

    stamps: list[float] = []

    class Stamped(PackedLoader):
        def batch_at(self, cursor: Cursor) -> tuple[LMBatch, Cursor]:
            stamps.append(time.perf_counter())
            return super().batch_at(cursor)

    data, n_time = Path(asked["data"]), asked["n_time"]
    tokenizer = Tokenizer.load(data)
    shape = ModelConfig(**asked["shape"])
    config = TrainConfig(
        steps=asked["n_steps"] + N_WARMUP + 1, seq_len=n_time, batch_tokens=asked["n_rows"] * n_time,
        optim=OptimConfig(matrices="adamw", matrix_lr=RATE), sample_at=(), checkpoint_every_s=None,
    )  # fmt: skip
    loader = Stamped(TokenShard(data / "train.tokens", tokenizer.hash), n_time, config.batch_tokens, seed=0)
    with Meter(MeterConfig()) as meter:
        Trainer(
            Transformer(shape), tokenizer, loader, lm_loss, config, stage="pretrain",
            run=RunDirectory(folder).create(), folder=folder / "pretrain", terminal=Terminal(is_quiet=True),
            meter=meter, device_profile=measure_device("cpu"),
        ).fit()  # fmt: skip
    return stamps[-(config.steps) :], count_parameters(shape).total


# ---- litgpt ----------------------------------------------------------------------------------------------------------


class Enough(Exception):
    """Leaves litgpt's loop where steps enough were timed, before it writes a checkpoint."""


def litgpt(asked: dict[str, Any], folder: Path) -> tuple[list[float], int]:
    """`litgpt pretrain` with a model_config of our shape, 32-true, its head tied; it compiles the model by itself."""
    from litgpt.args import EvalArgs, TrainArgs
    from litgpt.config import Config
    from litgpt.data import DataModule
    from litgpt.model import GPT
    from litgpt.pretrain import setup

    stamps: list[float] = []
    n_rows, n_time, shape = asked["n_rows"], asked["n_time"], asked["shape"]

    class Batches(IterableDataset[torch.Tensor]):
        def __iter__(self) -> Iterator[torch.Tensor]:
            windows = Windows(asked)
            for k in range(0, len(windows), n_rows):
                stamps.append(time.perf_counter())
                yield torch.stack([windows[k + row] for row in range(n_rows)])
            raise Enough

    class Text(DataModule):
        def connect(self, tokenizer: Any = None, batch_size: int = 1, max_seq_length: int | None = None) -> None:
            pass

        def train_dataloader(self) -> DataLoader[torch.Tensor]:
            return DataLoader(Batches(), batch_size=None)

        def val_dataloader(self) -> DataLoader[torch.Tensor]:
            return DataLoader([Windows(asked)[0]], batch_size=1)

    config = Config(
        name="compared", block_size=n_time, vocab_size=shape["vocab_size"], padded_vocab_size=shape["vocab_size"],
        n_layer=shape["n_layers"], n_embd=shape["d_model"], n_head=shape["n_heads"], head_size=shape["d_head"],
        intermediate_size=shape["d_ff"], mlp_class_name="LLaMAMLP", norm_class_name="RMSNorm", rotary_percentage=1.0,
        parallel_residual=False, bias=False,
    )  # fmt: skip
    train = TrainArgs(
        save_interval=None, log_interval=1, global_batch_size=n_rows, micro_batch_size=n_rows, max_tokens=int(1e9),
        max_norm=1.0, min_lr=RATE / 10, lr_warmup_steps=10, tie_embeddings=True,
    )  # fmt: skip
    with suppress(Enough):
        setup(
            "compared", config, out_dir=folder, precision="32-true", data=Text(), train=train, devices=1,
            eval=EvalArgs(interval=10**9, max_iters=1, initial_validation=False, final_validation=False),
            optimizer={"class_path": "torch.optim.AdamW", "init_args": {"lr": RATE, "betas": (0.9, 0.95)}},
            logger_name="csv",
        )  # fmt: skip
    with torch.device("meta"):
        model = GPT(config)
    return stamps, sum(p.numel() for p in model.parameters()) - model.lm_head.weight.numel()


# ---- transformers ----------------------------------------------------------------------------------------------------


def transformers(asked: dict[str, Any], folder: Path) -> tuple[list[float], int]:
    """`Trainer.train()` of LlamaForCausalLM in fp32, with its defaults but for what is compared."""
    import transformers as hf

    stamps: list[float] = []
    shape = asked["shape"]

    class Rows(Windows):
        def __getitem__(self, k: int) -> dict[str, torch.Tensor]:  # type: ignore[override]
            ids = super().__getitem__(k)[:-1]
            return {"input_ids": ids, "labels": ids}

    class Clock(hf.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            stamps.append(time.perf_counter())

    model = hf.LlamaForCausalLM(hf.LlamaConfig(
        vocab_size=shape["vocab_size"], hidden_size=shape["d_model"], intermediate_size=shape["d_ff"],
        num_hidden_layers=shape["n_layers"], num_attention_heads=shape["n_heads"], head_dim=shape["d_head"],
        num_key_value_heads=shape["n_kv_heads"], max_position_embeddings=asked["n_time"], tie_word_embeddings=True,
        use_cache=False, bos_token_id=None, eos_token_id=None, pad_token_id=None,
    ))  # fmt: skip
    how = hf.TrainingArguments(
        output_dir=str(folder), max_steps=asked["n_steps"] + N_WARMUP + 1, use_cpu=True, learning_rate=RATE,
        per_device_train_batch_size=asked["n_rows"], torch_compile=asked["is_compiled"], report_to=[],
        logging_strategy="no", save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    hf.Trainer(model, how, train_dataset=Rows(asked), callbacks=[Clock()]).train()
    return stamps, model.num_parameters()


Side = Callable[[dict[str, Any], Path], tuple[list[float], int]]
SIDES: dict[str, Side] = {"glasshouse": glasshouse, "litgpt": litgpt, "transformers": transformers}

if __name__ == "__main__":
    main()
