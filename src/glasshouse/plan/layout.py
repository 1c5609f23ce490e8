"""One training step on a cluster: its seconds and its memory by rank, from shape, device and layout.

Seconds of a rank add up from what it must do: matrix products at the share of the peak that they reach, attention,
memory traffic of everything element-wise (passes over tensors, counted in the code), tensor-parallel collectives,
gathering and reducing of sharded weights as far as computing cannot hide it, pipeline bubbles, the optimizer.
Units: seconds, bytes; tokens are those of one rank's group.  Tensors: D model, F ffn, V vocabulary, q and kv the widths
of queries and of keys (or values).  Sources: flash attention arXiv:2307.08691, sequence parallelism arXiv:2205.05198,
1F1B arXiv:2104.04473, FSDP arXiv:2304.11277.
Left out: context and expert parallelism, offloading, latency of small messages.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from glasshouse.model import ModelConfig, count_parameters, flops_per_token
from glasshouse.plan.devices import Device

Checkpointing = Literal["none", "selective", "full"]

# Of the forward pass, how much is computed again.  selective: every second matrix product, as torchtitan's default.
RECOMPUTED_PRODUCTS: Mapping[Checkpointing, float] = {"none": 0.0, "selective": 0.5, "full": 1.0}
RECOMPUTED_ATTENTION: Mapping[Checkpointing, float] = {"none": 0.0, "selective": 0.0, "full": 1.0}
RECOMPUTED_TRAFFIC: Mapping[Checkpointing, float] = {"none": 0.0, "selective": 1.0, "full": 1.0}

CAUSAL = 0.5  # of the T x T scores are computed
ATTENTION_BACKWARD = 2.5  # forwards: five products against two

# Passes over a tensor, reading or writing, in one layer's forward pass; the backward pass makes twice as many.
# eager: two norms (square, mean, scale: 5 each), two residual sums (3 each), rotation of q and k in fp32 (12),
# silu and product (2 + 3) and one more read; compiled: each of these chains is one kernel.
PASSES: Mapping[bool, Mapping[str, int]] = {
    False: {"d": 20, "ffn": 6, "qk": 12},
    True: {"d": 8, "ffn": 3, "qk": 4},
}
LOGIT_BYTES = {False: 30, True: 12}  # moved for each logit: bf16 to fp32, log-softmax, its gradient, and back
STREAM_SHARE = 0.8  # of the memory bandwidth that element-wise kernels reach
LINK_SHARE = 0.8  # of a link that large collectives reach
OPTIMIZER_PASSES = 7  # fp32 weight, two moments read and written, gradient read


@dataclass(frozen=True, slots=True)
class Layout:
    """How a model is spread: product of the axes = devices.  `micro_batch` in sequences; gradients add up over them.

    n_chunks: stages a rank holds in an interleaved pipeline (1: plain 1F1B).
    """

    fsdp: int = 1
    tp: int = 1
    pp: int = 1
    dp: int = 1
    micro_batch: int = 1
    n_microbatches: int = 1
    n_chunks: int = 1
    checkpointing: Checkpointing = "none"
    is_compiled: bool = True
    is_fp8: bool = False

    @property
    def n_devices(self) -> int:
        return self.fsdp * self.tp * self.pp * self.dp

    def step_tokens(self, seq_len: int) -> int:
        """Of all ranks."""
        return self.dp * self.fsdp * self.micro_batch * self.n_microbatches * seq_len

    def settings(self, seq_len: int) -> dict[str, Any]:
        """What a recipe says to be trained so."""
        found: dict[str, Any] = {f"mesh.{axis}": getattr(self, axis) for axis in ("dp", "fsdp", "tp", "pp")}
        found = {key: size for key, size in found.items() if size > 1}
        found |= {"pretrain.seq_len": seq_len, "pretrain.batch_tokens": self.step_tokens(seq_len)}
        found |= {"pretrain.microbatch_tokens": self.micro_batch * seq_len}
        if self.checkpointing != "none":
            found |= {"pretrain.recompute": 1.0}
        if self.checkpointing == "selective":
            found |= {"pretrain.recompute_keeps": "products"}
        return found | ({"pretrain.precision": "fp8"} if self.is_fp8 else {})

    def describe(self) -> str:
        axes = [f"{axis} {size}" for axis in ("dp", "fsdp", "tp", "pp") if (size := getattr(self, axis)) > 1]
        return (f"{' x '.join(axes) or '1 device'}, {self.micro_batch} x {self.n_microbatches} sequences a rank, "
                f"checkpointing {self.checkpointing}")  # fmt: skip


# ---- seconds ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds of one step of one rank; they add up."""

    products: float
    attention: float
    traffic: float
    tensor_parallel: float
    sharding: float
    bubble: float
    optimizer: float

    @property
    def total(self) -> float:
        return (self.products + self.attention + self.traffic + self.tensor_parallel + self.sharding + self.bubble
                + self.optimizer)  # fmt: skip


def step_time(model: ModelConfig, seq_len: int, device: Device, layout: Layout) -> StepTime:
    tokens = layout.micro_batch * layout.n_microbatches * seq_len
    per_token = _share_of_rank(model, layout)
    products = (
        tokens * per_token * _product_flops(model, device, layout) / (device.bf16_flops_per_s * device.matmul_share)
    )
    attention = (
        tokens
        * per_token
        * _attention_flops(model, seq_len, layout)
        / (device.bf16_flops_per_s * device.attention_share)
    )
    traffic = tokens * per_token * _traffic_bytes(model, layout) / (device.bytes_per_s * STREAM_SHARE)
    tensor_parallel = tokens / layout.pp * _tensor_parallel_bytes(model, layout) / _bandwidth(device, layout.tp)
    busy = products + attention + traffic + tensor_parallel
    sharding = _sharding_seconds(model, device, layout, busy)
    bubble = (layout.pp - 1) / (layout.n_microbatches * layout.n_chunks) * busy
    optimizer = 4 * OPTIMIZER_PASSES * _local_parameters(model, layout) / (device.bytes_per_s * STREAM_SHARE)
    return StepTime(products, attention, traffic, tensor_parallel, sharding, bubble, optimizer)


def tokens_per_s(model: ModelConfig, seq_len: int, device: Device, layout: Layout) -> float:
    """Of one device."""
    seconds = step_time(model, seq_len, device, layout).total
    return layout.step_tokens(seq_len) / layout.n_devices / seconds


def share_of_peak(model: ModelConfig, seq_len: int, device: Device, tokens_per_s: float) -> float:
    """Model FLOPs utilisation as the field counts it: full T x T attention, no recomputation, bf16 peak."""
    return tokens_per_s * flops_per_token(model, seq_len) / device.bf16_flops_per_s


def _share_of_rank(model: ModelConfig, layout: Layout) -> float:
    """Of a token's work: tensor parallel ranks share each layer, pipeline ranks the layers."""
    return 1 / (layout.tp * layout.pp)


def _product_flops(model: ModelConfig, device: Device, layout: Layout) -> float:
    """A token's matrix products, in bf16's worth.  fp8 is for the layers; the head stays as it is."""
    matrices, head = count_parameters(model).matrices, model.vocab_size * model.d_model
    in_layers = 2.0 * matrices * (3 + RECOMPUTED_PRODUCTS[layout.checkpointing])
    return in_layers / (device.fp8_gain if layout.is_fp8 else 1.0) + 2.0 * head * 3


def _attention_flops(model: ModelConfig, seq_len: int, layout: Layout) -> float:
    forward = 4.0 * model.n_layers * model.n_heads * model.d_head * seq_len * CAUSAL
    return forward * (1 + ATTENTION_BACKWARD + RECOMPUTED_ATTENTION[layout.checkpointing])


def _traffic_bytes(model: ModelConfig, layout: Layout) -> float:
    passes = PASSES[layout.is_compiled]
    qk = (model.n_heads + model.n_kv_heads) * model.d_head
    forward = 2.0 * (passes["d"] * model.d_model + passes["ffn"] * model.d_ff + passes["qk"] * qk)
    layers = model.n_layers * forward * (3 + RECOMPUTED_TRAFFIC[layout.checkpointing])
    return layers + LOGIT_BYTES[layout.is_compiled] * model.vocab_size


def _tensor_parallel_bytes(model: ModelConfig, layout: Layout) -> float:
    """A token's activations through gather and scatter, twice a layer each way, again where the layer is."""
    if layout.tp == 1:
        return 0.0
    n_passes = 2 + RECOMPUTED_ATTENTION[layout.checkpointing]
    return model.n_layers * n_passes * 4 * 2.0 * model.d_model * (layout.tp - 1) / layout.tp


def _sharding_seconds(model: ModelConfig, device: Device, layout: Layout, busy_s: float) -> float:
    """What gathering (bf16, forward and backward) and reducing (fp32) cannot hide: the excess, and the two ends."""
    weights = count_parameters(model).total / (layout.tp * layout.pp)
    seconds = 0.0
    if layout.fsdp > 1:
        moved = weights * (layout.fsdp - 1) / layout.fsdp
        n_gathers = 2 * layout.n_microbatches if layout.pp == 1 else 1  # kept while a pipeline is under way
        seconds += (2 * n_gathers + 4) * moved / _bandwidth(device, layout.fsdp, layout.tp)
    if layout.dp > 1:
        moved = weights / layout.fsdp * (layout.dp - 1) / layout.dp
        seconds += 2 * 4 * moved / _bandwidth(device, layout.dp, layout.tp * layout.fsdp)
    ends = 2 * seconds / max(1, model.n_layers // layout.pp)
    return max(ends, seconds - busy_s)


def _bandwidth(device: Device, n_ranks: int, stride: int = 1) -> float:
    """Of a collective over `n_ranks` that stand `stride` apart: inside a node its links; beyond it the network.

    A ring passes each byte into a node once, through as many ports as the group has devices there.
    """
    if n_ranks * stride <= device.per_node:
        return LINK_SHARE * device.link_bytes_per_s
    ports = max(1, device.per_node // stride)
    return LINK_SHARE * min(device.link_bytes_per_s, ports * device.network_bytes_per_s)


# ---- memory ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RankMemory:
    """Bytes of the fullest rank at its fullest moment; they add up."""

    weights: float
    gradients: float
    optimizer: float
    gathered: float
    activations: float
    logits: float
    reserve: float

    @property
    def total(self) -> float:
        return (self.weights + self.gradients + self.optimizer + self.gathered + self.activations + self.logits
                + self.reserve)  # fmt: skip


RESERVE_BYTES = 1.5e9  # context, libraries' workspaces and buffers of collectives
LOGIT_COPIES_BYTES = {False: 16, True: 12}  # alive at once for each logit: bf16, fp32, log-softmax or gradient


def rank_memory(model: ModelConfig, seq_len: int, layout: Layout) -> RankMemory:
    """fp32 weights, gradients and two moments, sharded; bf16 while computing."""
    local = _local_parameters(model, layout)
    tokens = layout.micro_batch * seq_len
    block, root = _block_parameters(model) / layout.tp, _root_parameters(model) / layout.tp
    n_layers = -(-model.n_layers // layout.pp)
    if layout.fsdp == 1:
        gathered = 2.0 * (block + root)  # cast for the moment
    elif (
        layout.pp == 1
    ):  # two blocks ahead in bf16, one's gradient in bf16 and twice in fp32 on its way; the root stays
        gathered = (2 * 2 + 2 + 2 * 4) * block + (2 + 2 + 4) * root
    else:  # a stage stays gathered in bf16, and its gradient adds up in fp32
        gathered = (2 + 4) * (n_layers * block + root / 2)
    n_alive = min(layout.pp, layout.n_microbatches)  # microbatches that the first stage holds
    saved = tokens * n_layers * n_alive * _saved_bytes(model, layout)
    at_work = tokens * _layer_bytes(model, layout.is_compiled) / layout.tp if layout.checkpointing == "full" else 0.0
    logits = tokens * model.vocab_size * LOGIT_COPIES_BYTES[layout.is_compiled] / layout.tp
    return RankMemory(4.0 * local, 4.0 * local, 8.0 * local, gathered, saved + at_work, logits, RESERVE_BYTES)


def _local_parameters(model: ModelConfig, layout: Layout) -> float:
    """Of a pipeline's stages the first and the last have most: the embedding, the head (a tied one lies in both)."""
    count = count_parameters(model)
    root = count.embedding + count.head if layout.pp == 1 else max(count.embedding, count.head)
    return ((count.total - count.embedding - count.head) / layout.pp + root) / (layout.fsdp * layout.tp)


def _block_parameters(model: ModelConfig) -> float:
    return count_parameters(model).matrices / model.n_layers


def _root_parameters(model: ModelConfig) -> float:
    count = count_parameters(model)
    return float(count.embedding + count.head)


def _saved_bytes(model: ModelConfig, layout: Layout) -> float:
    """Of a token in a layer, kept for the backward pass."""
    d, q, kv, ffn = model.d_model, model.n_heads * model.d_head, model.n_kv_heads * model.d_head, model.d_ff
    if layout.checkpointing == "full":
        return 2.0 * d / layout.tp  # the layer's input alone
    if layout.checkpointing == "selective":  # the input, attention's output, and half of the products' outputs
        return 2.0 * (d + q + (q + 2 * kv + 2 * d + 2 * ffn) / 2) / layout.tp
    return _layer_bytes(model, layout.is_compiled) / layout.tp


def _layer_bytes(model: ModelConfig, is_compiled: bool) -> float:
    """bf16: the stream before and after attention, two normed copies, q, k, v, heads, gate, up and their product."""
    d, q, kv, ffn = model.d_model, model.n_heads * model.d_head, model.n_kv_heads * model.d_head, model.d_ff
    return 2.0 * (4 * d + 2 * q + 2 * kv + (3 if is_compiled else 4) * ffn)
