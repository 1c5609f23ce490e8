"""A transformer that scores what it has read, instead of continuing it: one number from the last token.

Shapes: B rows, T tokens, D model.  Module names are those of Hugging Face's sequence classification with one label:
`AutoModelForSequenceClassification` opens the saved directory and gives the same scores.
Left out: several labels, a bias.
"""

from typing import Any

import torch
from torch import Tensor

from glasshouse.core.seeds import derive_seed
from glasshouse.model.config import SCORING_OF, ModelConfig
from glasshouse.model.transformer import Linear, Transformer


class ScoringTransformer(Transformer):
    """`ScoringTransformer(config)` has no language head and a `score` head.  `seed=None` leaves all weights unset."""

    def __init__(self, config: ModelConfig, seed: int | None = 0) -> None:
        super().__init__(config.model_copy(update={"ties_embeddings": True}), seed=None)
        self.score = Linear(config.d_model, 1)
        if seed is not None:
            self.init_weights(seed)

    @staticmethod
    @torch.no_grad()
    def of(model: Transformer, seed: int) -> "ScoringTransformer":
        """A copy of a language model, with a fresh head of deviation 1 / sqrt(D + 1), as arXiv:2009.01325 has it."""
        scorer = ScoringTransformer.blank(model.config)
        scorer.to(model.dtype).to_empty(device=model.device)
        scorer.model.load_state_dict(model.model.state_dict())
        generator = torch.Generator("cpu").manual_seed(derive_seed(seed, "score"))
        fresh = torch.randn(scorer.score.weight.shape, generator=generator)
        scorer.score.weight.copy_(fresh / (model.config.d_model + 1) ** 0.5)
        return scorer

    def to_hf(self) -> dict[str, Any]:
        return {
            **self.config.to_hf(),
            "architectures": [SCORING_OF[self.config.architecture]],
            "id2label": {"0": "reward"},
            "label2id": {"reward": 0},
        }

    def scores(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """(B,): the score at the one position of each row where `mask_BT` is True.  Padding stands on the right."""
        last_B = mask_BT.int().argmax(1)
        hidden_BTD = self.hidden(ids_BT)
        hidden_BD = hidden_BTD[torch.arange(len(last_B), device=last_B.device), last_B]
        score_B: Tensor = self.score(hidden_BD).squeeze(1)
        return score_B.float()
