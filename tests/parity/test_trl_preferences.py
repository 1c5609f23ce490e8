"""DPO, KTO and reward losses equal TRL's own code, run on the same tensors (its trainers, without their set-up)."""

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from glasshouse.objective import DPOConfig, KTOConfig, Pair, RewardLossConfig, dpo_loss, kto_loss, reward_loss

trl = pytest.importorskip("trl")

N_PAIRS, LENGTH = 5, 9
ACCELERATOR = SimpleNamespace(device=torch.device("cpu"), gather=lambda x: x, gather_for_metrics=lambda x: x)


class Judge(torch.nn.Module):
    """In place of a model: gives the log-probabilities it was made with, one tensor a call."""

    def __init__(self, *log_probs):
        super().__init__()
        self.left = list(log_probs)

    def forward(self, **inputs):
        logp = self.left.pop(0)
        return SimpleNamespace(log_probs=logp, entropy=logp, mean_logits=logp, is_top1=logp > -1)


def trainer_of(kind, **attributes):
    made = kind.__new__(kind)
    common = {"accelerator": ACCELERATOR, "aux_loss_enabled": False, "_metrics": defaultdict(lambda: defaultdict(list)),
              "_total_train_tokens": 0, "_tp_size": 1, "precompute_ref_logps": True}  # fmt: skip
    for name, value in {**common, **attributes}.items():
        setattr(made, name, value)
    return made


def rows(n_rows, seed):
    """(token log-probabilities, zero outside the answers; mask of the answers' tokens among all)."""
    g = torch.Generator().manual_seed(seed)
    mask = torch.arange(LENGTH + 1) >= torch.randint(2, LENGTH, (n_rows, 1), generator=g)
    return -3 * torch.rand(n_rows, LENGTH, generator=g) * mask[:, 1:], mask.long()


def gradient(loss, *leaves):
    return torch.autograd.grad(loss, leaves)


@pytest.mark.parametrize(
    ("theirs", "kind", "p_flipped"),
    [("sigmoid", "sigmoid", 0), ("sigmoid_norm", "length_normalised", 0), ("ipo", "ipo", 0), ("aot", "sigmoid", 0.2)],
)
def test_dpo(theirs, kind, p_flipped):
    n_pairs = 1 if p_flipped else N_PAIRS  # AOT sorts a batch; alone, a pair is a smoothed sigmoid
    logp, mask = rows(2 * n_pairs, 1)
    logp.requires_grad_()
    reference = logp.detach().sum(1) + torch.randn(2 * n_pairs, generator=torch.Generator().manual_seed(2))
    trainer = trainer_of(
        trl.DPOTrainer, model=Judge(), ld_alpha=None, f_divergence_type="reverse_kl", loss_types=[theirs],
        loss_weights=[1.0], beta=0.3, label_smoothing=p_flipped, use_weighting=False,
    )  # fmt: skip
    inputs = {"input_ids": mask, "attention_mask": mask, "completion_mask": mask,
              "ref_chosen_logps": reference[:n_pairs], "ref_rejected_logps": reference[n_pairs:]}  # fmt: skip
    expected = trainer._compute_loss(Judge(logp), inputs, return_outputs=False)
    config = DPOConfig(beta=0.3, kind=kind, p_flipped=p_flipped)
    ours = dpo_loss(Pair(*logp.sum(1).chunk(2)), Pair(*reference.chunk(2)), Pair(*mask.sum(1).chunk(2)), config)
    torch.testing.assert_close(ours.loss_mean, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient(ours.loss_mean, logp), gradient(expected, logp), rtol=1e-5, atol=1e-6)
    told = {name.removeprefix("dpo/"): float(value) / n_pairs for name, value in ours.metrics.items()}
    their = {name.removeprefix("rewards/"): value[0] for name, value in trainer._metrics["train"].items()}
    assert told["accuracy"] == pytest.approx(their["accuracies"])
    assert told["margin"] == pytest.approx(their["margins"], abs=1e-5)
    assert (told["reward_chosen"], told["reward_rejected"]) == pytest.approx((their["chosen"], their["rejected"]))


@pytest.mark.parametrize("labels", [[1, 0, 1, 1, 0], [1] * 5, [0] * 5])
@pytest.mark.parametrize("drift", [+2.0, -2.0])
def test_kto(labels, drift):
    logp, mask = rows(5, 3)
    logp.requires_grad_()
    other, _ = rows(5, 4)
    reference, other_reference = logp.detach().sum(1) - 0.5, other.sum(1) - drift
    trainer = trainer_of(
        trl.KTOTrainer, model=Judge(), calculate_KL=True, loss_type="kto", beta=0.3, desirable_weight=1.5,
        undesirable_weight=0.7,
    )  # fmt: skip
    inputs = {"input_ids": mask, "attention_mask": mask, "completion_mask": mask, "KL_input_ids": mask,
              "KL_attention_mask": mask, "KL_completion_mask": mask, "label": torch.tensor(labels),
              "ref_logps": reference, "ref_KL_logps": other_reference}  # fmt: skip
    expected = trainer._compute_loss(Judge(other, logp), inputs, return_outputs=False)
    is_good = torch.tensor(labels, dtype=torch.bool)
    config = KTOConfig(beta=0.3, good_weight=1.5, bad_weight=0.7)
    ours = kto_loss(logp.sum(1), reference, is_good, other.sum(1), other_reference, config)
    torch.testing.assert_close(ours.loss_mean, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient(ours.loss_mean, logp), gradient(expected, logp), rtol=1e-5, atol=1e-6)
    assert float(ours.metrics["kto/kl"]) / 5 == pytest.approx(trainer._metrics["train"]["kl"][0])


@pytest.mark.parametrize(("has_margin", "centring"), [(False, None), (True, None), (True, 0.1)])
def test_reward(has_margin, centring):
    g = torch.Generator().manual_seed(5)
    scores = torch.randn(2 * N_PAIRS, 1, generator=g, requires_grad=True)
    margin = torch.rand(N_PAIRS, generator=g) if has_margin else None
    args = SimpleNamespace(center_rewards_coefficient=centring)
    trainer = trainer_of(trl.RewardTrainer, model=Judge(), args=args)
    inputs = {"attention_mask": torch.ones(2 * N_PAIRS, 3), **({"margin": margin} if has_margin else {})}
    expected = trainer.compute_loss(lambda **given: SimpleNamespace(logits=scores), inputs)
    config = RewardLossConfig(centring=centring or 0.0)
    ours = reward_loss(Pair(*scores.squeeze(1).chunk(2)), config, margin_P=margin)
    torch.testing.assert_close(ours.loss_mean, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient(ours.loss_mean, scores), gradient(expected, scores), rtol=1e-5, atol=1e-6)
    assert float(ours.metrics["reward/accuracy"]) / N_PAIRS == pytest.approx(trainer._metrics["train"]["accuracy"][0])
