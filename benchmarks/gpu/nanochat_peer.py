"""nanochat on the same GPU: its model, its optimizer, its schedules, as its scripts/base_train.py puts them together.

    python benchmarks/gpu/nanochat_peer.py speed --nanochat ../nanochat --layers 12 [--fp8]
    python benchmarks/gpu/nanochat_peer.py learn --nanochat ../nanochat --data .gpu --seconds 300 --layers 8

--nanochat is a checkout of karpathy/nanochat; no line of it is here.  Without Flash Attention 3 it falls back to the
attention of torch, and its own advice then is a window pattern of "L", which is followed.  Batches come from the same
shards as ours, in windows of the same length.
"""

import argparse
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")

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

REFERENCE_BATCH, RATIO = 2**19, 12  # of its d12, from which its script scales rates and decay


class Peer:
    """A model of nanochat in training; `n_tokens` is the whole horizon, which decides rates and decay."""

    def __init__(self, layers: int, vocab_size: int, batch_tokens: int, n_tokens: float, *, is_fp8: bool) -> None:
        from nanochat.gpt import GPT, GPTConfig

        def on_meta(depth: int) -> Any:
            width = width_of(depth)
            with torch.device("meta"):
                return GPT(GPTConfig(
                    sequence_len=SEQ_LEN, vocab_size=vocab_size, n_layer=depth, n_head=width // HEAD,
                    n_kv_head=width // HEAD, n_embd=width, window_pattern="L",
                ))  # fmt: skip

        self.model = on_meta(layers)
        self.model.to_empty(device="cuda")
        self.model.init_weights()
        self.batch_tokens = batch_tokens
        reference = on_meta(12).num_scaling_params()
        reference_tokens = RATIO * (reference["transformer_matrices"] + reference["lm_head"])
        scale = (batch_tokens / REFERENCE_BATCH) ** 0.5
        self.decay = 0.28 * scale * reference_tokens / n_tokens
        if is_fp8:
            from nanochat.fp8 import Float8LinearConfig, convert_to_float8_training

            def fits(module: Any, _name: str) -> bool:
                sides = (module.in_features, module.out_features) if isinstance(module, torch.nn.Linear) else (1, 1)
                return min(sides) >= 128 and not any(side % 16 for side in sides)

            convert_to_float8_training(
                self.model, config=Float8LinearConfig.from_recipe_name("tensorwise"), module_filter_fn=fits
            )
        self.compiled = torch.compile(self.model, dynamic=False)
        self.optimizer = self.model.setup_optimizer(
            unembedding_lr=0.008 * scale, embedding_lr=0.3 * scale, scalar_lr=0.5 * scale, matrix_lr=0.02 * scale,
            weight_decay=self.decay,
        )  # fmt: skip

    def step(self, ids_BT: torch.Tensor, targets_BT: torch.Tensor, rows: int, it: int, n: int) -> torch.Tensor:
        """Step `it` of `n`: microsteps, schedules, update."""
        n_micro = ids_BT.shape[0] // rows
        for part in range(n_micro):
            cut = slice(part * rows, (part + 1) * rows)
            loss = self.compiled(ids_BT[cut], targets_BT[cut])
            (loss / n_micro).backward()
        self._schedule(it, n)
        self.optimizer.step()
        self.model.zero_grad(set_to_none=True)
        return loss.detach()

    def _schedule(self, it: int, n: int) -> None:
        """Warm-up of 40 steps and a linear way down over the last 65 %; momentum and decay as its script moves them."""
        n_down = round(0.65 * n)
        left = (n - it) / n_down
        rate = (it + 1) / 40 if it < 40 else 1.0 if it <= n - n_down else left + (1 - left) * 0.05
        momentum = 0.97
        if it < 400:
            momentum = 0.85 + 0.12 * it / 400
        elif it >= n - n_down:
            momentum = 0.97 * left + 0.90 * (1 - left)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * rate
            if group["kind"] == "muon":
                group["momentum"] = momentum
                group["weight_decay"] = self.decay * 0.5 * (1 + math.cos(math.pi * it / n))


def speed(arguments: argparse.Namespace) -> None:
    layers, rows = arguments.layers, STEP_ROWS[arguments.layers]
    peer = Peer(layers, SPEED_VOCAB, rows * SEQ_LEN, 1.3e9, is_fp8=arguments.fp8)
    torch.manual_seed(0)
    ids_BT = torch.randint(SPEED_VOCAB, (rows, SEQ_LEN + 1), device="cuda")
    inputs = ids_BT[:, :-1].contiguous(), ids_BT[:, 1:].contiguous()
    first_s, step_s = timed_steps(lambda: float(peer.step(*inputs, ROWS[layers], 100, 1000)), N_TIMED[layers])
    tokens_per_s = rows * SEQ_LEN / step_s
    n_matmul = peer.model.num_matmul_params()
    report(
        tokens_per_s=round(tokens_per_s), step_s=round(step_s, 4), first_s=round(first_s, 1), peak_gb=peak_gb(),
        flops_per_s=tokens_per_s * matmul_flops_per_token(n_matmul, layers), n_matmul=n_matmul,
    )  # fmt: skip


def learn(arguments: argparse.Namespace) -> None:
    from glasshouse.batch import PackedLoader, TokenShard

    train, held_out = (TokenShard(arguments.data / f"{name}.tokens") for name in ("train", "held_out"))
    batch_tokens, rows = LEARNED_ROWS * SEQ_LEN, ROWS[12]
    vocab_size = held_out.vocab_size
    ids_BT = torch.randint(vocab_size, (LEARNED_ROWS, SEQ_LEN + 1), device="cuda")
    trial = Peer(arguments.layers, vocab_size, batch_tokens, 3e8, is_fp8=False)
    inputs = ids_BT[:, :-1].contiguous(), ids_BT[:, 1:].contiguous()
    step_s = timed_steps(lambda: float(trial.step(*inputs, rows, 100, 1000)), 8)[1]
    steps = round(arguments.seconds / step_s)
    torch.manual_seed(1)
    peer = Peer(arguments.layers, vocab_size, batch_tokens, steps * batch_tokens, is_fp8=False)
    loader = PackedLoader(train, SEQ_LEN, batch_tokens, seed=1)
    cursor, curve, spent_s = loader.start(), [], 0.0
    for it in range(steps):
        started_at = time.perf_counter()
        batch, cursor = loader.batch_at(cursor)
        batch = batch.to(torch.device("cuda"))
        float(peer.step(batch.ids_BT.contiguous(), batch.targets_BT.contiguous(), rows, it, steps))
        spent_s += time.perf_counter() - started_at
        if (it + 1) % max(1, steps // 10) == 0 or it == steps - 1:
            curve.append((round(spent_s, 1), round(bits_per_byte(peer.model, held_out), 4)))
            print(curve[-1], flush=True)
    report(
        bits_per_byte=curve[-1][1], best=min(value for _, value in curve), curve=curve, steps=steps,
        layers=arguments.layers, tokens=steps * batch_tokens, tokens_per_s=steps * batch_tokens / spent_s,
        train_s=round(spent_s, 1),
        epochs=round(steps * batch_tokens / train.n_tokens, 2),
        parameters=sum(p.numel() for p in peer.model.parameters()), peak_gb=peak_gb(),
    )  # fmt: skip


@torch.no_grad()
def bits_per_byte(model: Any, shard: Any) -> float:
    """Of the same windows as `held_out_loss` judges."""
    import numpy as np

    n_rows = (min(shard.n_tokens, VALIDATION_TOKENS) - 1) // SEQ_LEN
    loss, n_bytes = 0.0, 0
    for row in range(0, n_rows, 32):
        stop = min(n_rows, row + 32)
        tokens = shard.ids[row * SEQ_LEN : stop * SEQ_LEN + 1].astype(np.int64)
        ids, targets = (torch.from_numpy(t.copy()).view(stop - row, SEQ_LEN).cuda() for t in (tokens[:-1], tokens[1:]))
        loss += float(model(ids, targets, loss_reduction="sum"))
        n_bytes += int(shard.bytes_V[tokens[1:]].sum())
    return loss / math.log(2) / n_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "learn"])
    parser.add_argument("--nanochat", type=Path, required=True)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--fp8", action="store_true")
    parser.add_argument("--data", type=Path, default=Path(".gpu"))
    parser.add_argument("--seconds", type=float, default=300.0)
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.nanochat))
    torch.set_float32_matmul_precision("high")  # as its compute_init
    {"speed": speed, "learn": learn}[arguments.what](arguments)


if __name__ == "__main__":
    main()
