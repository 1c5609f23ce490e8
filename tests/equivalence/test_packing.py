"""A conversation learned in a packed row gives the loss and gradient it gives alone."""

import pytest
import torch

from glasshouse.batch import ConversationConfig, ConversationLoader, EncodedConversation
from glasshouse.model import ModelConfig, Transformer
from glasshouse.objective import lm_loss

SHAPE = ModelConfig(vocab_size=60, d_model=24, n_layers=2, n_heads=3, n_kv_heads=1, d_head=8, d_ff=40, max_seq_len=64)
SET = [
    EncodedConversation(
        [7 * k % 60, 3, 5, *((11 * k + j) % 60 for j in range(k % 6 + 2))], [False] * 3 + [True] * (k % 6 + 2)
    )
    for k in range(12)
]


def total(conversations, packing, seq_len=32):
    """(loss sum, targets, gradients) over an epoch."""
    model = Transformer(SHAPE, seed=2)
    loader = ConversationLoader(
        conversations, seq_len, 2 * seq_len, 0, tokenizer_hash="t", pad_id=0,
        config=ConversationConfig(packing=packing),
    )  # fmt: skip
    loss, n_targets, cursor = 0.0, 0, loader.start()
    for _ in range(loader.n_batches()):
        batch, cursor = loader.batch_at(cursor)
        output = lm_loss(model, batch)
        output.loss_sum.backward()
        loss, n_targets = loss + output.loss_sum.item(), n_targets + output.n_targets
    return loss, n_targets, [p.grad for p in model.parameters()]


def alone():
    parts = [total([c], "open") for c in SET]
    grads = [torch.stack(g).sum(0) for g in zip(*(p[2] for p in parts))]
    return sum(p[0] for p in parts), sum(p[1] for p in parts), grads


@pytest.mark.parametrize("packing", ["masked", "bucketed"])
def test_packed_equals_alone(packing):
    expected, n_targets, expected_grads = alone()
    loss, n, grads = total(SET, packing)
    assert n == n_targets
    assert loss == pytest.approx(expected, rel=1e-5)
    for a, b in zip(grads, expected_grads):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_open_packing_is_seen_to_differ():
    assert abs(total(SET, "open")[0] - alone()[0]) > 1e-2
