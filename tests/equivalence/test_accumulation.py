"""A batch cut into any microbatches gives the gradient of the whole batch."""

import pytest
import torch

from glasshouse.batch import ConversationConfig, ConversationLoader, EncodedConversation, LMBatch
from glasshouse.model import ModelConfig, Transformer
from glasshouse.objective import lm_loss
from glasshouse.train.gradient import add_gradient

SHAPE = ModelConfig(vocab_size=60, d_model=24, n_layers=2, n_heads=3, n_kv_heads=1, d_head=8, d_ff=40, max_seq_len=32)


def gradients(batch: LMBatch, microbatch_tokens: int | None) -> tuple[float, list[torch.Tensor]]:
    model = Transformer(SHAPE, seed=5)
    sums = add_gradient(model, batch, lm_loss, microbatch_tokens=microbatch_tokens)
    assert sums.n_targets == sums.n_head_tokens == batch.count_targets()
    return float(sums.loss) / sums.n_targets, [p.grad for p in model.parameters()]


def plain_batch() -> LMBatch:
    ids = torch.randint(60, (8, 17), generator=torch.Generator().manual_seed(0))
    return LMBatch(ids[:, :-1], ids[:, 1:])


def unevenly_masked_batch() -> LMBatch:
    """Rows with 1 to 15 target tokens: a mean of microbatch means would be wrong."""
    batch = plain_batch()
    mask = torch.arange(16) < torch.tensor([1, 15, 2, 9, 3, 14, 1, 8])[:, None]
    return LMBatch(batch.ids_BT, batch.targets_BT, mask)


def packed_conversations() -> LMBatch:
    made = [
        EncodedConversation([k % 60, 3, 4, *range(k % 9 + 1)], [False] * 3 + [True] * (k % 9 + 1)) for k in range(20)
    ]
    loader = ConversationLoader(
        made, 16, 128, 0, tokenizer_hash="t", pad_id=0, config=ConversationConfig(packing="masked")
    )
    return loader.batch_at(loader.start())[0]


@pytest.mark.parametrize("make", [plain_batch, unevenly_masked_batch, packed_conversations])
@pytest.mark.parametrize("microbatch_tokens", [1, 32, 48])
def test_accumulated_equals_whole(make, microbatch_tokens):
    batch = make()
    assert len(batch.microbatches(microbatch_tokens)) > 1
    whole_loss, whole = gradients(batch, None)
    loss, parts = gradients(batch, microbatch_tokens)
    assert loss == pytest.approx(whole_loss, abs=1e-6)
    for a, b in zip(whole, parts):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_a_mean_of_means_would_be_seen():
    """The check above can fail: the usual mistake differs by far more than its tolerance."""
    batch = unevenly_masked_batch()
    _, whole = gradients(batch, None)
    model = Transformer(SHAPE, seed=5)
    parts = batch.microbatches(32)
    for part in parts:
        (lm_loss(model, part).loss_mean / len(parts)).backward()
    assert max(float((p.grad - g).abs().max()) for p, g in zip(model.parameters(), whole)) > 1e-3
