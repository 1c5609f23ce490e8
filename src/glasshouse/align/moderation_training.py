"""Train a moderator from texts that should be blocked and texts that should not, and say how good it is.

    train_moderator(checkpoint, read_moderated(file), ModerationConfig(), run, folder, ...)

The file holds a JSON record a line: {"text": "...", "is_blocked": true}.
Leaves in the stage's folder, beside what every training leaves, `checkpoint` (a Hugging Face sequence classifier of one
label) and `moderation.json` {threshold, n_trained, n_held_out, quality: {blocked, wrongly_blocked, accuracy}}.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field

from glasshouse.align.moderator import MODERATION, Moderator
from glasshouse.align.offline import OfflineConfig, Place, trainer_of
from glasshouse.align.reference import weights_id
from glasshouse.batch.labelled import LabelledBatch, LabelledLoader, LabelledRow, text_rows
from glasshouse.checkpoint import load_model
from glasshouse.core.environment import default_device
from glasshouse.core.errors import DataError
from glasshouse.core.files import write_json
from glasshouse.core.intervals import rate_interval
from glasshouse.core.records import Score
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.seeds import numpy_generator
from glasshouse.core.terminal import Terminal
from glasshouse.meter import DeviceProfile, Meter
from glasshouse.model import ScoringTransformer
from glasshouse.objective import LossOutput, classification_loss
from glasshouse.train import TrainResult


@dataclass(frozen=True, slots=True)
class Moderated:
    text: str
    is_blocked: bool


class ModerationConfig(OfflineConfig):
    epochs: float = Field(default=3.0, gt=0)
    threshold: float = Field(default=0.5, gt=0, lt=1)  # blocked from this probability on


def read_moderated(path: Path) -> list[Moderated]:
    """All records of a file; `DataError` with the line of the first that is none, and where one kind is missing."""
    if not path.is_file():
        raise DataError(f'{path}: no such file. Each line is a JSON record {{"text": "...", "is_blocked": true}}')
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            found.append(_moderated(line, f"{path}:{number}"))
    n_blocked = sum(record.is_blocked for record in found)
    if not 0 < n_blocked < len(found):
        raise DataError(
            f"{path}: {n_blocked} of {len(found)} texts are to be blocked; a moderator learns from both kinds"
        )
    return found


def _moderated(line: str, place: str) -> Moderated:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise DataError(f"{place}: not a JSON record: {error}") from None
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        raise DataError(f'{place}: needs a text "text"')
    if not isinstance(record.get("is_blocked"), bool):
        raise DataError(f'{place}: "is_blocked" is true or false; got {record.get("is_blocked")!r}')
    return Moderated(record["text"], record["is_blocked"])


def train_moderator(
    parent: Path, moderated: Sequence[Moderated], config: ModerationConfig, run: RunDirectory, folder: Path,
    terminal: Terminal, meter: Meter, profile: DeviceProfile, *, stage: str = "moderation",
) -> TrainResult:  # fmt: skip
    """Train on most of the texts, judge on the held-out share of each kind."""
    place = Place(stage, run, folder, terminal, meter, profile)
    learned, held_out = split_by_label(moderated, config.held_out_share, config.seed)
    base, tokenizer = load_model(parent, default_device())
    seq_len = min(config.seq_len or base.config.max_seq_len, base.config.max_seq_len)
    rows = [LabelledRow(row, m.is_blocked) for m in learned for row in text_rows(tokenizer, m.text, seq_len)]
    loader = LabelledLoader(
        rows, config.batch_tokens, config.seed, tokenizer_hash=tokenizer.hash, pad_id=tokenizer.end_of_text_id,
        about=f"from {weights_id(parent)[:12]}",
    )  # fmt: skip
    result = trainer_of(
        place, ScoringTransformer.of(base, config.seed), tokenizer, loader, moderation_objective,
        config.training(loader.n_batches(), seq_len), parent=parent, settings=config, evaluate=None,
        provenance={"texts": len(learned)},
    ).fit()  # fmt: skip
    about: dict[str, Any] = {"threshold": config.threshold, "n_trained": len(learned), "n_held_out": len(held_out)}
    write_json(folder / MODERATION, about)
    if held_out:
        quality = judge_moderator(Moderator.load(folder), held_out)
        write_json(folder / MODERATION, {**about, "scores": {score.name: asdict(score) for score in quality}})
        shown = " · ".join(f"{s.name.replace('_', ' ')} {100 * s.value:.0f} % ({100 * s.low:.0f}–{100 * s.high:.0f})"
                           for s in quality)  # fmt: skip
        terminal.line(stage, f"{len(learned):,} texts learned · of {len(held_out):,} held out: {shown}")
    return result


def moderation_objective(model: Any, batch: LabelledBatch) -> LossOutput:
    assert batch.rows.loss_mask_BT is not None
    score_B = model.scores(batch.ids_BT, batch.rows.loss_mask_BT)
    return replace(classification_loss(score_B, batch.is_positive_B), n_head_tokens=0)


def judge_moderator(moderator: Moderator, held_out: Sequence[Moderated]) -> list[Score]:
    """blocked: of those to be blocked; wrongly_blocked: of the others; accuracy: of all."""
    blocks = [p >= moderator.threshold for p in moderator.p_blocked([m.text for m in held_out])]
    bad = [b for b, m in zip(blocks, held_out) if m.is_blocked]
    good = [b for b, m in zip(blocks, held_out) if not m.is_blocked]
    right = [b == m.is_blocked for b, m in zip(blocks, held_out)]
    named = (("blocked", bad), ("wrongly_blocked", good), ("accuracy", right))
    return [Score(n, sum(f) / len(f), *rate_interval(f), len(f), "share") for n, f in named if f]


def split_by_label(
    moderated: Sequence[Moderated], held_out_share: float, seed: int
) -> tuple[list[Moderated], list[Moderated]]:
    """(to learn from, to judge by): the same share of each kind; equal texts stay together."""
    learned: list[Moderated] = []
    held_out: list[Moderated] = []
    for is_blocked in (True, False):
        own = sorted({m for m in moderated if m.is_blocked == is_blocked}, key=lambda m: m.text)
        order = numpy_generator(seed, "moderated", int(is_blocked)).permutation(len(own))
        n_held_out = round(held_out_share * len(own))
        held_out += [own[int(i)] for i in order[:n_held_out]]
        learned += [own[int(i)] for i in order[n_held_out:]]
    if not any(m.is_blocked for m in learned) or all(m.is_blocked for m in learned):
        raise DataError(f"{len(moderated)} texts are too few to hold out {held_out_share:.0%} of each kind; give more")
    return learned, held_out
