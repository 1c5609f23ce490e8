"""Peak memory of a training process on this machine, from what it allocates; the base of the process is measured.

What is alive, in bytes, fp32:
  lasting      weights, and the optimizer's state (Muon one tensor a weight, AdamW two)
  backward     lasting + what the forward pass kept for each token + the head's two gradients + one layer's gradients
  optimizer    lasting + gradients + the copies that Muon works on: every feed-forward matrix of the model at once
By path: "torch" keeps each operation's inputs, counted from the code; "native" (the compiled decoder) keeps two
streams, q, k, v, the heads' answers, gates and values in one block that lasts from step to step, and works in a room of
its own with packed weights; "native-bf16" packs them rounded, into half.
On top comes what the allocator cannot reuse: freed blocks of other sizes.  Its factors are fitted on `FITTED` of
benchmarks/training_memory.py and checked on shapes beside them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from glasshouse.model.config import ModelConfig
from glasshouse.model.size import count_parameters

TrainingPath = Literal["torch", "native", "native-bf16"]
Keeps = Literal["input", "products"]  # what a layer that is computed again keeps: `train.recomputing`

GROUP_TOKENS = 2048  # of the compiled decoder: tokens that go through a layer together
LOGITS_AT_ONCE = 1 << 21  # of `objective.cross_entropy`
MUON_COPIES = 3.7  # the stacked gradients, iterate old and new, and two Gram matrices of a third of its size


@dataclass(frozen=True, slots=True)
class Allocator:
    """What a process holds for each byte alive.

    start: bytes of buffers and code that first training brings.  rest: of all but the native decoder's block.  many: of
    what backward holds, once more where microbatches follow each other.  muon: of Muon's copies.
    """

    start: float
    rest: float
    many: float
    muon: float


_NATIVE = Allocator(start=29e6, rest=1.02, many=0.27, muon=0.94)
ALLOCATORS: Mapping[TrainingPath, Allocator] = {
    "torch": Allocator(start=32e6, rest=1.33, many=0.45, muon=1.58), "native": _NATIVE, "native-bf16": _NATIVE,
}  # fmt: skip
REUSED = 0.3  # Muon's copies, where they are smaller than so much of the rest, find room in what it left


def training_bytes(
    model: ModelConfig,
    batch_tokens: int,
    microbatch_tokens: int,
    *,
    path: TrainingPath = "torch",
    is_muon: bool = True,
    recompute: float = 0.0,
    keeps: Keeps = "input",
) -> float:
    """What training adds to the process at its peak.

    recompute: the share of layers that are computed twice; keeps: what such a layer keeps.
    """
    factor = ALLOCATORS[path]
    backward = backward_bytes(model, microbatch_tokens, path, is_muon, recompute, keeps)
    copies = muon_bytes(model) if is_muon else 0.0
    block = 4.0 * microbatch_tokens * kept_per_token(model, path) if path != "torch" else 0.0
    rest = backward - block
    many = factor.many if microbatch_tokens < batch_tokens else 0.0
    found_no_room = min(1.0, copies / (REUSED * rest))
    return factor.start + block + factor.rest * rest + many * backward + factor.muon * copies * found_no_room


def backward_bytes(
    model: ModelConfig, microbatch_tokens: int, path: TrainingPath, is_muon: bool, recompute: float = 0.0,
    keeps: Keeps = "input",
) -> float:  # fmt: skip
    kept = microbatch_tokens * kept_per_token(model, path, recompute, keeps)
    head = (microbatch_tokens + model.vocab_size) * model.d_model
    return 4.0 * (_lasting(model, is_muon) + kept + head + _at_work(model, microbatch_tokens, path))


def muon_bytes(model: ModelConfig) -> float:
    return 4.0 * MUON_COPIES * model.n_layers * 3 * model.d_model * model.d_ff


def kept_per_token(model: ModelConfig, path: TrainingPath, recompute: float = 0.0, keeps: Keeps = "input") -> int:
    """Numbers, for the backward pass.  torch: two norms (normalised input and output each), q and k before and after
    RoPE, v, the heads' output, and gate, up, silu(gate) and their product.  Of layers that are computed again the input
    or, beside it, what attention found and the products q, v, gate and down; of one layer all in any case."""
    d, q, kv = model.d_model, model.n_heads * model.d_head, model.n_kv_heads * model.d_head
    if path != "torch":
        return model.n_layers * (2 * d + q + 2 * kv + q + 2 * model.d_ff) + d
    n_again = round(recompute * model.n_layers)
    n_whole = max(1, model.n_layers - n_again)
    kept_again = d if keeps == "input" else 2 * d + 2 * q + kv + model.d_ff
    return n_whole * (4 * d + 3 * q + 3 * kv + 4 * model.d_ff) + n_again * kept_again + 2 * d


def _lasting(model: ModelConfig, is_muon: bool) -> int:
    count = count_parameters(model)
    by_muon = count.matrices if is_muon else 0
    return count.total + by_muon + 2 * (count.total - by_muon)


def _at_work(model: ModelConfig, microbatch_tokens: int, path: TrainingPath) -> int:
    """torch: gradients of gate and up, or three chunks of logits, whichever is more.  native: the room of one group of
    tokens, weights packed, all gradients."""
    if path == "torch":
        return max(2 * microbatch_tokens * model.d_ff, 3 * min(microbatch_tokens * model.vocab_size, LOGITS_AT_ONCE))
    d, q, kv = model.d_model, model.n_heads * model.d_head, model.n_kv_heads * model.d_head
    room = min(microbatch_tokens, GROUP_TOKENS) * (5 * d + q + q + 2 * kv + 3 * model.d_ff)
    count = count_parameters(model)
    return room + count.matrices // (2 if path == "native-bf16" else 1) + count.total
