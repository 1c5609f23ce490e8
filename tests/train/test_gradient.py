"""In which order microbatches go forward and backward; and that the gradient is the same in any."""

import pytest
import torch

from glasshouse.batch import LMBatch
from glasshouse.model import ModelConfig, Transformer
from glasshouse.objective import LanguageModel, LossOutput, lm_loss
from glasshouse.train.gradient import add_gradient

SHAPE = ModelConfig(vocab_size=40, d_model=16, n_layers=1, n_heads=2, n_kv_heads=1, d_head=8, d_ff=24, max_seq_len=8)


def passes(n_ahead: int) -> tuple[str, list[torch.Tensor]]:
    """(`F0 F1 B0 ...`, gradients) of four microbatches of one row."""
    seen: list[str] = []

    def objective(model: LanguageModel, batch: LMBatch) -> LossOutput:
        number = int(batch.ids_BT[0, 0])
        seen.append(f"F{number}")
        output = lm_loss(model, batch)
        output.loss_sum.register_hook(lambda _: seen.append(f"B{number}"))
        return output

    ids_BT = torch.arange(4)[:, None] + torch.arange(8)
    model = Transformer(SHAPE)
    sums = add_gradient(model, LMBatch(ids_BT, ids_BT + 1), objective, microbatch_tokens=8, n_ahead=n_ahead)
    assert sums.n_head_tokens == sums.n_targets == 32
    return " ".join(seen), [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize(("n_ahead", "expected"), [
    (0, "F0 B0 F1 B1 F2 B2 F3 B3"), (1, "F0 F1 B0 F2 B1 F3 B2 B3"), (2, "F0 F1 F2 B0 F3 B1 B2 B3"),
    (3, "F0 F1 F2 F3 B0 B1 B2 B3"), (7, "F0 F1 F2 F3 B0 B1 B2 B3"),
])  # fmt: skip
def test_one_forward_one_backward_behind_those_that_go_ahead(n_ahead: int, expected: str) -> None:
    order, gradients = passes(n_ahead)
    assert order == expected
    assert all(torch.equal(found, known) for found, known in zip(gradients, passes(0)[1], strict=True))
