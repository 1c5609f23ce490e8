"""What a shape weighs and what a token costs: formulas, each tested against counting.  Needs no torch.

Units: parameters, FLOPs (a multiply-add is 2), bytes.
Attention is counted as the field does (full T x T, no discount for causality), so that figures compare; a training
step is 3 forward passes.
"""

from dataclasses import dataclass

from glasshouse.model.config import ModelConfig


@dataclass(frozen=True, slots=True)
class ParameterCount:
    """`total` = embedding + head + matrices + norms.  A tied head counts 0: its weights are the embedding's."""

    total: int
    embedding: int
    head: int
    matrices: int
    norms: int

    @property
    def non_embedding(self) -> int:
        """What scaling laws mean by N: everything but embedding and head."""
        return self.matrices + self.norms


def count_parameters(config: ModelConfig) -> ParameterCount:
    c = config
    attention = c.d_model * c.d_head * (2 * c.n_heads + 2 * c.n_kv_heads)
    matrices = c.n_layers * (attention + 3 * c.d_model * c.d_ff)
    norms = c.n_layers * (2 * c.d_model + (2 * c.d_head if c.has_qk_norm else 0)) + c.d_model
    embedding = c.vocab_size * c.d_model
    head = 0 if c.ties_embeddings else embedding
    return ParameterCount(embedding + head + matrices + norms, embedding, head, matrices, norms)


def flops_per_token(config: ModelConfig, seq_len: int, is_training: bool = True) -> float:
    """FLOPs of one token in a row of `seq_len`: 2 per weight that multiplies (the head too, tied or not) and
    4 N H seq_len per layer for scores and their use; times 3 with the backward pass."""
    weights = count_parameters(config).matrices + config.vocab_size * config.d_model
    attention = 4.0 * config.n_layers * config.n_heads * config.d_head * seq_len
    return (2.0 * weights + attention) * (3.0 if is_training else 1.0)


PROCESS_BYTES = 330_000_000  # torch, its threads and our code, before the first tensor
ALLOCATOR_FACTOR = 1.5  # blocks the allocator keeps between uses: measured 1.4 to 1.6 over the tensors themselves


def estimate_training_bytes(
    config: ModelConfig,
    microbatch_tokens: int,
    *,
    n_optimizer_slots: int = 2,
    n_logit_copies: float = 3.0,
    n_bytes: int = 4,
) -> int:
    """Peak memory of the training process.  Within 30 % of what was measured (the test repeats the measurement).

    n_optimizer_slots: tensors the optimizer keeps per weight (AdamW 2, Muon 1).
    n_logit_copies: (tokens, V) tensors alive at once: logits, their log-softmax, their gradient; fewer with a head
    computed in chunks or only at targets.
    """
    weights = count_parameters(config).total * (2 + n_optimizer_slots) * n_bytes
    activations = microbatch_tokens * _saved_per_token(config) * n_bytes
    head = microbatch_tokens * (n_logit_copies * config.vocab_size + 2 * config.d_model) * n_bytes
    # backward begins with the head's tensors and ends with one layer's gradients: the larger is the peak
    transient = microbatch_tokens * (3 * config.d_ff + 4 * config.d_model) * n_bytes
    return int(PROCESS_BYTES + weights + ALLOCATOR_FACTOR * (activations + max(head, transient)))


def _saved_per_token(config: ModelConfig) -> int:
    """Numbers kept per token for the backward pass, counted from the code: two norms (normalised input and output
    each), q and k before and after RoPE, v, the heads' output, and gate, up, silu(gate) and their product."""
    c = config
    q, kv = c.n_heads * c.d_head, c.n_kv_heads * c.d_head
    return c.n_layers * (4 * c.d_model + 3 * q + 3 * kv + 4 * c.d_ff) + 2 * c.d_model
