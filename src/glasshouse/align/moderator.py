"""A moderator: a transformer that read a text, and how likely it is that the text should be blocked.

A long text is judged piece by piece and is as bad as its worst piece.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from glasshouse.batch.buckets import BUCKET_MULTIPLE
from glasshouse.batch.labelled import text_rows
from glasshouse.batch.preferences import pad_rows
from glasshouse.checkpoint import load_scorer
from glasshouse.core.environment import default_device
from glasshouse.core.errors import CheckpointError
from glasshouse.core.files import read_json
from glasshouse.model import ScoringTransformer
from glasshouse.tokenizer import Tokenizer

MODERATION = "moderation.json"  # beside the checkpoint: how it was chosen, and how good it is
BATCH_TOKENS = 8192


class Moderator:
    """`Moderator.load(folder).blocks("...")`.  A text is blocked from probability `threshold` on."""

    def __init__(self, model: ScoringTransformer, tokenizer: Tokenizer, threshold: float) -> None:
        self.model, self.tokenizer, self.threshold = model, tokenizer, threshold

    @classmethod
    def load(cls, folder: Path, device: torch.device | str | None = None) -> "Moderator":
        """From a run of `glass moderation train`, or the folder of its stage."""
        stage = next((f for f in (Path(folder), Path(folder) / "moderation") if (f / MODERATION).is_file()), None)
        if stage is None:
            raise CheckpointError(
                f"{folder} is no moderator: it has no {MODERATION}. Train one: glass moderation train MODEL --data FILE"
            )
        try:
            threshold = float(read_json(stage / MODERATION)["threshold"])
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{stage / MODERATION} is damaged ({error!r}); train the moderator again") from None
        return cls(*load_scorer(stage / "checkpoint", device or default_device()), threshold)

    def blocks(self, text: str) -> bool:
        return self.p_blocked([text])[0] >= self.threshold

    @torch.no_grad()
    def p_blocked(self, texts: Sequence[str]) -> list[float]:
        rows = [(number, row) for number, text in enumerate(texts)
                for row in text_rows(self.tokenizer, text, self.model.config.max_seq_len)]  # fmt: skip
        rows.sort(key=lambda pair: len(pair[1]))
        p_blocked = [0.0] * len(texts)
        while rows:
            length = min(-(-len(rows[-1][1]) // BUCKET_MULTIPLE) * BUCKET_MULTIPLE, self.model.config.max_seq_len)
            n_rows = max(1, BATCH_TOKENS // length)
            now, rows = rows[-n_rows:], rows[:-n_rows]
            batch = pad_rows((row for _, row in now), length, self.tokenizer.end_of_text_id).to(self.model.device)
            assert batch.loss_mask_BT is not None
            found = torch.sigmoid(self.model.scores(batch.ids_BT, batch.loss_mask_BT)).tolist()
            for (number, _), p in zip(now, found):
                p_blocked[number] = max(p_blocked[number], p)
        return p_blocked
