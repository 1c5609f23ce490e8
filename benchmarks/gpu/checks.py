"""On one GPU: every fast path gives what the plain one gives.  A child of run.py; each check reports by itself.

python benchmarks/gpu/checks.py
"""

import contextlib
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measure import report

from glasshouse.batch import EncodedDocument, LMBatch, PackedLoader, TokenShard, write_shard
from glasshouse.core.environment import start_torch
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal
from glasshouse.meter import Meter, MeterConfig, measure_device
from glasshouse.model import ModelConfig, Transformer
from glasshouse.model.float8 import float8_linear, use_float8
from glasshouse.objective import lm_loss
from glasshouse.tokenizer import TokenizerConfig, train_tokenizer
from glasshouse.train import TrainConfig, Trainer, TrainResult, add_gradient
from glasshouse.train.compiling import with_compiled_layers
from glasshouse.train.recomputing import recomputing

SHAPE = ModelConfig(vocab_size=4096, d_model=256, n_layers=4, n_heads=4, n_kv_heads=2, d_head=64, d_ff=512,
                    max_seq_len=512)  # fmt: skip
ROWS = 16


def batch_of(has_documents: bool = False) -> LMBatch:
    torch.manual_seed(0)
    ids_BT = torch.randint(SHAPE.vocab_size, (ROWS, SHAPE.max_seq_len + 1), device="cuda")
    is_first_BT = torch.rand(ROWS, SHAPE.max_seq_len, device="cuda") < 0.02
    return LMBatch(ids_BT[:, :-1], ids_BT[:, 1:], None, is_first_BT.cumsum(1) if has_documents else None)


def gradient(model: Transformer, view: Any, batch: LMBatch, precision: Any) -> tuple[float, torch.Tensor]:
    model.zero_grad()
    sums = add_gradient(view, batch, lm_loss, precision=precision, microbatch_tokens=batch.n_tokens // 2)
    grads = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return float(sums.loss) / sums.n_targets, torch.cat(grads)


def compare(name: str, has_documents: bool, view_of: Callable[[Transformer], Any], precision: str) -> None:
    """Loss and relative distance of the gradient from the eager model in fp32."""
    model = Transformer(SHAPE, seed=0).to("cuda")
    batch = batch_of(has_documents)
    with no_blocks():
        expected_loss, expected = gradient(model, model, batch, "fp32")
    loss, found = gradient(model, view_of(model), batch, precision)
    report(check=name, loss=loss, expected=expected_loss, distance=float((found - expected).norm() / expected.norm()))


@contextlib.contextmanager
def no_blocks() -> Any:
    """Attention by masks, as on a CPU."""
    from glasshouse.model import transformer

    blocks, transformer.document_blocks = transformer.document_blocks, transformer.document_mask
    try:
        yield
    finally:
        transformer.document_blocks = blocks


def float8_product() -> None:
    x = torch.randn(512, 256, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    weight = torch.randn(128, 256, device="cuda", requires_grad=True)
    out, expected = float8_linear(x, weight), x.float() @ weight.T
    grad = torch.randn_like(out)
    found = torch.autograd.grad(out, (x, weight), grad)
    right = (grad.float() @ weight, grad.float().T @ x.float())
    distances = [float((a.float() - b).norm() / b.norm()) for a, b in zip((out, *found), (expected, *right))]
    report(check="fp8 product: out, by x, by weight", distances=distances)


def in_float8(model: Transformer) -> Any:
    use_float8(model)
    return with_compiled_layers(model)


def train(folder: Path, shard: TokenShard, tokenizer: Any, *, reads_ahead: bool, compile: str) -> TrainResult:
    loader = PackedLoader(shard, 128, 4096, seed=1, crosses_documents=False)
    loader.reads_ahead = reads_ahead
    config = TrainConfig(steps=30, seq_len=128, batch_tokens=4096, compile=compile, microbatch_tokens="auto",
                         sample_at=(), checkpoint_every_s=None)  # fmt: skip
    shape = SHAPE.model_copy(update={"vocab_size": tokenizer.vocab_size})
    meter = Meter(MeterConfig())
    with meter:
        return Trainer(
            Transformer(shape, seed=1).to("cuda"), tokenizer, loader, lm_loss, config, stage="pretrain",
            run=RunDirectory(folder).create(), folder=folder / "pretrain", terminal=Terminal(), meter=meter,
            device_profile=measure_device("cuda"),
        ).fit()  # fmt: skip


def trainer() -> None:
    """The whole trainer: eager and compiled, reading ahead or not; and the engine on what it made."""
    text = "the cat sat on the mat and the dog ran after the cat. " * 40
    tokenizer = train_tokenizer([text], TokenizerConfig(vocab_size=300))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ids = tokenizer.encode(text)
        shard = write_shard(folder / "x.tokens", [EncodedDocument(str(k), ids, "x") for k in range(40)], tokenizer)
        for name, options in TRAINERS.items():
            result = train(folder / name, shard, tokenizer, **options)  # type: ignore[arg-type]
            report(
                check=f"trainer, {name}", loss=result.loss, compiled=result.compiled, tokens_per_s=result.tokens_per_s
            )
        answers(result.checkpoint)


TRAINERS = {
    "eager": {"reads_ahead": False, "compile": "never"},
    "eager, reading ahead": {"reads_ahead": True, "compile": "never"},
    "compiled": {"reads_ahead": True, "compile": "always"},
}


def answers(checkpoint: Path) -> None:
    from glasshouse.infer import Engine, SamplingConfig

    said = {}
    for device in ("cpu", "cuda"):
        engine = Engine.load(checkpoint, device=device)
        prompt = engine.tokenizer.encode("the cat")
        [said[device]] = engine.generate([prompt], SamplingConfig(max_tokens=20, temperature=0.0))
    texts = {device: completion.text for device, completion in said.items()}
    report(check="the engine on CPU and on CUDA", same=len(set(texts.values())) == 1, said=texts)


CHECKS: dict[str, Callable[[], None]] = {
    "eager bf16": lambda: compare("eager bf16", False, lambda m: m, "bf16"),
    "compiled bf16": lambda: compare("compiled bf16", False, with_compiled_layers, "bf16"),
    "recomputed, compiled": lambda: compare(
        "recomputed, compiled", False, lambda m: with_compiled_layers(recomputing(m, 0.5)), "bf16"
    ),
    "documents fp32": lambda: compare("documents in blocks, fp32", True, lambda m: m, "fp32"),
    "documents": lambda: compare("documents in blocks, compiled", True, with_compiled_layers, "bf16"),
    "fp8 product": float8_product,
    "fp8": lambda: compare("fp8, compiled", False, in_float8, "fp8"),
    "trainer": trainer,
}


def main() -> None:
    start_torch()
    for name, check in CHECKS.items():
        try:
            check()
        except Exception:  # what is broken is the finding
            report(check=name, error=traceback.format_exc()[-1500:])


if __name__ == "__main__":
    main()
