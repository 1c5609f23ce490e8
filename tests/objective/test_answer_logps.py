import sys

import pytest
import torch

from glasshouse.batch import LMBatch
from glasshouse.model import ModelConfig, Transformer
from glasshouse.objective.answer_logps import answer_logps, token_logps, token_logps_and_entropy

MODULE = sys.modules[answer_logps.__module__]  # the package exports a function of this name
CONFIG = ModelConfig(vocab_size=50, d_model=16, n_layers=2, n_heads=2, n_kv_heads=1, d_head=8, d_ff=24, max_seq_len=32)


@pytest.fixture
def model():
    return Transformer(CONFIG, seed=3)


def rows_of(has_mask=True):
    g = torch.Generator().manual_seed(0)
    ids = torch.randint(50, (3, 13), generator=g)
    mask = torch.rand((3, 12), generator=g) < 0.3 if has_mask else None
    return LMBatch(ids[:, :-1], ids[:, 1:], mask)


def plain(model, rows, temperature=1.0):
    """(log-probabilities, entropies) by the whole logits."""
    logp_BTV = (model(rows.ids_BT) / temperature).log_softmax(-1)
    mask = torch.ones_like(rows.ids_BT, dtype=torch.bool) if rows.loss_mask_BT is None else rows.loss_mask_BT
    logp = logp_BTV.gather(2, rows.targets_BT[:, :, None]).squeeze(2)
    return logp * mask, -(logp_BTV.exp() * logp_BTV).sum(2) * mask


def grads(model, loss):
    loss.backward()
    made = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    return made


@pytest.mark.parametrize("has_mask", [True, False])
@pytest.mark.parametrize("is_chunked", [True, False])
def test_equals_plain_log_softmax_and_its_gradients(model, monkeypatch, has_mask, is_chunked):
    if is_chunked:
        monkeypatch.setattr(MODULE, "PLAIN_ELEMENTS", 0)
        monkeypatch.setattr(MODULE, "CHUNK_ELEMENTS", 4 * 50)  # four targets a chunk
    rows, weights = rows_of(has_mask), torch.arange(36.0).view(3, 12) / 36
    ours, theirs = token_logps_and_entropy(model, rows, temperature=0.7), plain(model, rows, 0.7)
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    mixed = [(weights * logp + 2 * entropy).sum() for logp, entropy in (ours, theirs)]
    for a, b in zip(grads(model, mixed[0]), grads(model, mixed[1])):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert token_logps(model, rows, temperature=0.7).equal(ours[0])


def test_an_answer_is_the_sum_of_its_tokens(model):
    rows = rows_of()
    logp_B, n_targets_B = answer_logps(model, rows)
    torch.testing.assert_close(logp_B, plain(model, rows)[0].sum(1))
    assert n_targets_B.tolist() == rows.loss_mask_BT.sum(1).tolist()
    assert answer_logps(model, rows_of(has_mask=False))[1].tolist() == [12, 12, 12]


def test_a_row_without_an_answer_is_zero(model):
    rows = rows_of()
    rows.loss_mask_BT[1] = False
    assert answer_logps(model, rows)[0][1] == 0
    rows.loss_mask_BT[:] = False
    assert token_logps(model, rows).abs().sum() == 0


def test_the_head_sees_target_positions_only(model):
    rows, seen = rows_of(), []

    class Watched:
        def hidden(self, ids_BT, *, document_BT=None):
            hidden = model.hidden(ids_BT, document_BT=document_BT)
            hidden.register_hook(lambda grad: seen.append((grad.abs().sum(-1) > 0).sum().item()))
            return hidden

        head_weight_VD = property(lambda self: model.head_weight_VD)

    answer_logps(Watched(), rows)[0].sum().backward()
    assert seen == [int(rows.loss_mask_BT.sum())]
