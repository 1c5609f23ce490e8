"""How much memory training takes: weights, gradients, optimizer state and what the backward pass keeps.

Units: bytes, fp32.  Checked against the measured peak of real steps by a test.
Left out: allocator slack, which grows with many shapes; compiled kernels, which keep less.
"""

from glasshouse.model import ModelConfig, count_parameters

FLOAT_BYTES = 4
LOGIT_COPIES = 3  # logits, their log-softmax and their gradient live at once


def training_bytes(config: ModelConfig, batch_tokens: int, target_share: float = 1.0) -> float:
    """Peak of one step on `batch_tokens` positions, `target_share` of which meet the head."""
    count = count_parameters(config)
    others = count.total - count.matrices
    state = 2 * count.total + count.matrices + 2 * others  # weights, gradients; momentum; AdamW's two moments
    heads = config.d_head * (config.n_heads + config.n_kv_heads)
    # Per layer and token: two norms in and out, q, k and v before and after norm and rotation, attention's output,
    # the sums on the residual stream, and gate, up, their activation and product.
    layer = 6 * config.d_model + 4 * heads + 4 * config.d_ff
    logits = LOGIT_COPIES * config.vocab_size * target_share
    return FLOAT_BYTES * (state + batch_tokens * (config.n_layers * layer + 4 * config.d_model + logits))
