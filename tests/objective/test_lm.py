import pytest
import torch
import torch.nn.functional as F

from glasshouse.batch import LMBatch
from glasshouse.model import ModelConfig, Transformer
from glasshouse.objective import lm_loss

CONFIG = ModelConfig(vocab_size=50, d_model=16, n_layers=2, n_heads=2, n_kv_heads=1, d_head=8, d_ff=24, max_seq_len=32)


def batch_of(seed=0, n_rows=3, length=12, has_mask=False):
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(50, (n_rows, length + 1), generator=g)
    mask = torch.rand((n_rows, length), generator=g) < 0.3 if has_mask else None
    return LMBatch(ids[:, :-1], ids[:, 1:], mask)


def grads(model):
    made = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    return made


@pytest.mark.parametrize("has_mask", [False, True])
def test_equals_cross_entropy_and_its_gradients(has_mask):
    model, batch = Transformer(CONFIG, seed=3), batch_of(has_mask=has_mask)
    output = lm_loss(model, batch)
    output.loss_mean.backward()
    ours = grads(model)
    mask = torch.ones_like(batch.ids_BT, dtype=torch.bool) if batch.loss_mask_BT is None else batch.loss_mask_BT
    expected = F.cross_entropy(model(batch.ids_BT)[mask], batch.targets_BT[mask])
    expected.backward()
    torch.testing.assert_close(output.loss_mean, expected, rtol=1e-6, atol=1e-6)
    assert output.n_targets == int(mask.sum())
    for a, b in zip(ours, grads(model)):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_the_head_sees_target_positions_only():
    model, batch = Transformer(CONFIG, seed=3), batch_of(has_mask=True)
    before = lm_loss(model, batch).loss_sum
    changed = batch.targets_BT.where(batch.loss_mask_BT, (batch.targets_BT + 1) % 50)
    after = lm_loss(model, LMBatch(batch.ids_BT, changed, batch.loss_mask_BT)).loss_sum
    assert before.item() == after.item()
    seen = []

    class Watched:
        head_weight_VD = model.head_weight_VD

        def hidden(self, ids_BT, *, document_BT=None):
            hidden = model.hidden(ids_BT)
            hidden.register_hook(lambda grad: seen.append(grad))
            return hidden

    lm_loss(Watched(), batch).loss_sum.backward()
    assert ((seen[0].abs().sum(-1) > 0) == batch.loss_mask_BT).all()
