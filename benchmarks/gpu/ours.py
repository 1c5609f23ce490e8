"""Glasshouse on one GPU: a step of a 12- or 24-layer model, or training on text for a time.  A child of run.py.

python benchmarks/gpu/ours.py speed --layers 12 [--precision fp8] [--documents] [--eager] [--cudnn]
python benchmarks/gpu/ours.py learn --data .gpu --seconds 300
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from measure import (
    HEAD,
    LEARNED_ROWS,
    N_TIMED,
    ROWS,
    SEQ_LEN,
    SPEED_VOCAB,
    STEP_ROWS,
    VALIDATION_TOKENS,
    matmul_flops_per_token,
    peak_gb,
    report,
    timed_steps,
    width_of,
)

from glasshouse.batch import LMBatch, PackedLoader, TokenShard
from glasshouse.core.environment import start_torch
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal
from glasshouse.meter import Meter, MeterConfig, measure_device
from glasshouse.model import ModelConfig, Transformer, count_parameters
from glasshouse.model.float8 import use_float8
from glasshouse.objective import lm_loss
from glasshouse.optim import OptimConfig, ScheduleConfig, build_optimizer
from glasshouse.tokenizer import Tokenizer
from glasshouse.train import TrainConfig, Trainer, add_gradient, held_out_loss
from glasshouse.train.compiling import with_compiled_layers

OPTIM = OptimConfig(matrix_lr=0.02, embedding_lr=6e-3, head_lr=3e-3, vector_lr=6e-3, weight_decay=0.7, beta2=0.98)


def shape_of(layers: int, vocab_size: int) -> ModelConfig:
    """nanochat's layers and width; its MLP of 4 D numbers squared, ours of 8/3 D gated: as many parameters."""
    width = width_of(layers)
    return ModelConfig(
        vocab_size=vocab_size, d_model=width, n_layers=layers, n_heads=width // HEAD, n_kv_heads=width // HEAD,
        d_head=HEAD, d_ff=8 * width // 3, max_seq_len=SEQ_LEN, ties_embeddings=False,
    )  # fmt: skip


def speed(arguments: argparse.Namespace) -> None:
    layers = arguments.layers
    shape = shape_of(layers, SPEED_VOCAB)
    torch.manual_seed(0)
    ids_BT = torch.randint(SPEED_VOCAB, (STEP_ROWS[layers], SEQ_LEN + 1), device="cuda")
    document_BT = None
    if arguments.documents:  # of 300 tokens on average
        document_BT = (torch.rand(STEP_ROWS[layers], SEQ_LEN, device="cuda") < 1 / 300).cumsum(1)
    batch = LMBatch(ids_BT[:, :-1], ids_BT[:, 1:], None, document_BT)
    step = step_of(shape, batch, arguments)
    first_s, step_s = timed_steps(step, N_TIMED[layers])
    tokens_per_s = batch.n_tokens / step_s
    n_matmul = count_parameters(shape).total - SPEED_VOCAB * shape.d_model
    report(
        tokens_per_s=round(tokens_per_s), step_s=round(step_s, 4), first_s=round(first_s, 1), peak_gb=peak_gb(),
        flops_per_s=tokens_per_s * matmul_flops_per_token(n_matmul, layers), n_matmul=n_matmul, loss=step(),
    )  # fmt: skip


def step_of(shape: ModelConfig, batch: LMBatch, arguments: argparse.Namespace) -> Callable[[], float]:
    model = Transformer(shape).to("cuda")
    if arguments.precision == "fp8":
        use_float8(model)
    trained = model if arguments.eager else with_compiled_layers(model)
    optimizer = build_optimizer(model, OPTIM)

    def step() -> float:
        sums = add_gradient(
            trained, batch, lm_loss, microbatch_tokens=ROWS[shape.n_layers] * SEQ_LEN, precision=arguments.precision
        )
        grads = [p.grad for p in optimizer.parameters if p.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        loss_sum, found_norm = torch.stack((sums.loss, norm)).tolist()
        torch._foreach_mul_(grads, min(1.0, 1.0 / found_norm))
        optimizer.step()
        optimizer.zero_grad()
        return float(loss_sum / sums.n_targets)

    return step


def learn(arguments: argparse.Namespace) -> None:
    tokenizer = Tokenizer.load(arguments.data)
    train, held_out = (TokenShard(arguments.data / f"{name}.tokens") for name in ("train", "held_out"))
    shape = shape_of(arguments.layers, tokenizer.vocab_size)
    batch_tokens = LEARNED_ROWS * SEQ_LEN
    begun_at = time.perf_counter()
    steps = arguments.steps or round(arguments.seconds / seconds_of_step(shape, batch_tokens, arguments))
    config = TrainConfig(
        steps=steps, seq_len=SEQ_LEN, batch_tokens=batch_tokens, microbatch_tokens=ROWS[12] * SEQ_LEN,
        optim=OPTIM.model_copy(update={"weight_decay": arguments.decay}),
        schedule=ScheduleConfig(warmup_steps=40, decay_fraction=0.65), compile="always", sample_at=(),
        checkpoint_every_s=None, eval_every=max(1, steps // 5),
    )  # fmt: skip
    curve: list[tuple[float, float]] = []

    def evaluate(model: Transformer) -> dict[str, float]:
        with torch.autocast("cuda", torch.bfloat16):
            found = held_out_loss(model, held_out, SEQ_LEN, max_tokens=VALIDATION_TOKENS, batch_tokens=32 * SEQ_LEN,
                                  device="cuda")  # fmt: skip
        curve.append((round(time.perf_counter() - begun_at, 1), round(found["eval/bits_per_byte"], 4)))
        print(curve[-1], flush=True)
        return found

    meter = Meter(MeterConfig())
    with tempfile.TemporaryDirectory() as temporary, meter:
        folder = Path(temporary)
        result = Trainer(
            Transformer(shape, seed=1).to("cuda"), tokenizer, PackedLoader(train, SEQ_LEN, batch_tokens, seed=1),
            lm_loss, config, stage="pretrain", run=RunDirectory(folder).create(), folder=folder / "pretrain",
            terminal=Terminal(), meter=meter, device_profile=measure_device("cuda"), evaluate=evaluate,
        ).fit()  # fmt: skip
        opened = opened_by_transformers(result.checkpoint)
    report(
        bits_per_byte=curve[-1][1], curve=curve, steps=steps, tokens=result.n_tokens, tokens_per_s=result.tokens_per_s,
        epochs=round(result.n_tokens / train.n_tokens, 2), train_s=round(result.n_tokens / result.tokens_per_s, 1),
        parameters=count_parameters(shape).total, peak_gb=peak_gb(), joules=result.cost.joules, opened=opened,
    )  # fmt: skip


def seconds_of_step(shape: ModelConfig, batch_tokens: int, arguments: argparse.Namespace) -> float:
    ids_BT = torch.randint(shape.vocab_size, (batch_tokens // SEQ_LEN, SEQ_LEN + 1), device="cuda")
    return timed_steps(step_of(shape, LMBatch(ids_BT[:, :-1], ids_BT[:, 1:]), arguments), 8)[1]


def opened_by_transformers(checkpoint: Path) -> str:
    """The class that opens the checkpoint, and its loss where ours has one: proof that it is an ordinary model."""
    from transformers import AutoModelForCausalLM

    return type(AutoModelForCausalLM.from_pretrained(checkpoint)).__name__


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "learn"])
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--documents", action="store_true")
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--cudnn", action="store_true")
    parser.add_argument("--data", type=Path, default=Path(".gpu"))
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--decay", type=float, default=OPTIM.weight_decay)
    arguments = parser.parse_args()
    start_torch()
    torch.backends.cuda.enable_flash_sdp(not arguments.cudnn)
    {"speed": speed, "learn": learn}[arguments.what](arguments)


if __name__ == "__main__":
    main()
