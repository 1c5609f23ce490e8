"""A reward model: a transformer that read a conversation, and one number from its last token.

The number means nothing by itself; the difference of two is the log-odds that people prefer the one answer to the
other (Bradley-Terry).  What it reads is what the chat template renders, to the last token, so that transformers'
`AutoModelForSequenceClassification` gives the same score to the same conversation.
Left out: scores of the steps of an answer.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from glasshouse.batch.buckets import BUCKET_MULTIPLE
from glasshouse.batch.comparisons import cut_left, encode_answer
from glasshouse.batch.preferences import pad_rows
from glasshouse.checkpoint import load_scorer
from glasshouse.core.environment import default_device
from glasshouse.core.errors import CheckpointError, DataError
from glasshouse.core.records import Conversation
from glasshouse.model import ScoringTransformer
from glasshouse.tokenizer import Tokenizer

BATCH_TOKENS = 8192


class RewardModel:
    """`score(conversations)`: one number each.  Conversations too long lose their beginning."""

    def __init__(self, model: ScoringTransformer, tokenizer: Tokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer

    @classmethod
    def load(cls, folder: Path, device: torch.device | str | None = None) -> "RewardModel":
        """From a checkpoint folder, or the folder of the stage that trained it.  Refused with another tokenizer."""
        inner = Path(folder) / "checkpoint"
        return cls(*load_scorer(inner if inner.is_dir() else Path(folder), device or default_device()))

    def check_tokenizer(self, tokenizer: Tokenizer) -> None:
        """For whoever shares ids or weights with it; who hands over text need not care."""
        if tokenizer.hash != self.tokenizer.hash:
            raise CheckpointError(
                f"this reward model belongs to tokenizer {self.tokenizer.hash[:12]}, the model it should judge to "
                f"{tokenizer.hash[:12]}: the ids of the one mean nothing to the other. Train a reward model on a "
                "checkpoint with the same tokenizer, or let it judge text."
            )

    @torch.no_grad()
    def score(self, conversations: Sequence[Conversation]) -> list[float]:
        rows = []
        for conversation in conversations:
            *prompt, answer = conversation.messages or (None,)
            if answer is None or answer.role != "assistant":
                raise DataError(
                    f"conversation {conversation.id!r} does not end with the assistant's answer: nothing to score"
                )
            row = encode_answer(self.tokenizer, [m for m in prompt if m is not None], answer.content, "end")
            rows.append(cut_left(row, self.model.config.max_seq_len))
        scores = [0.0] * len(rows)
        by_length = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        while by_length:
            length = -(-len(rows[by_length[-1]]) // BUCKET_MULTIPLE) * BUCKET_MULTIPLE
            length = min(length, self.model.config.max_seq_len)
            n_rows = max(1, BATCH_TOKENS // length)
            now, by_length = by_length[-n_rows:], by_length[:-n_rows]
            batch = pad_rows((rows[i] for i in now), length, self.tokenizer.end_of_text_id).to(self.model.device)
            assert batch.loss_mask_BT is not None
            for i, score in zip(now, self.model.scores(batch.ids_BT, batch.loss_mask_BT).tolist()):
                scores[i] = score
        return scores
