"""What a shape weighs and what a token costs: formulas, each tested against counting.  Needs no torch.

Units: parameters, FLOPs (a multiply-add is 2).
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
    4 N H seq_len per layer (or the window's tokens) for scores and their use; times 3 with the backward pass."""
    weights = count_parameters(config).matrices + config.vocab_size * config.d_model
    n_read = sum(min(seq_len, window or seq_len) for window in config.windows)  # tokens, over all layers
    attention = 4.0 * config.n_heads * config.d_head * n_read
    return (2.0 * weights + attention) * (3.0 if is_training else 1.0)
