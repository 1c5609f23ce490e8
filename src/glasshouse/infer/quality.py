"""What rounded weights cost: bits per byte of one text with the weights as they were, and as they are kept.

Measured once for a file of quantized weights and written into it: on held-out text of the run that the checkpoint
belongs to, else on the language reference that comes with Python.  Both engines score the same tokens, so the
difference is far surer than either figure.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from pydoc_data.topics import topics

from glasshouse.core.errors import DataError
from glasshouse.core.rundir import RunDirectory
from glasshouse.corpus.build import read_documents
from glasshouse.infer.engine import Engine
from glasshouse.infer.location import model_folder
from glasshouse.infer.quantize import QuantizedWeights, Weights, quantize, read_metadata, write_metadata

N_BYTES = 16_384  # about 4,000 tokens: some ten seconds for a model of 135M parameters
BUILT_IN = "Python's language reference (pydoc topics)"
QUALITY = "quality"  # the key in the file's metadata


@dataclass(frozen=True, slots=True)
class QualityLoss:
    """Bits per byte of the same text before and after; `text` says which text it was."""

    weights: QuantizedWeights
    before: float
    after: float
    n_bytes: int
    text: str

    @property
    def loss(self) -> float:
        return self.after - self.before

    def __str__(self) -> str:
        return (
            f"{self.weights} weights: {self.after:.4f} bits per byte against {self.before:.4f} in fp32 "
            f"({self.loss:+.4f}, on {self.n_bytes:,} bytes of {self.text})"
        )


def measured_loss(path: Path | str, weights: Weights | None) -> QualityLoss | None:
    """What the file of quantized weights says of itself; measured first where it says nothing.  None for fp32, bf16."""
    if weights != "int8" and weights != "int4":
        return None
    folder = model_folder(path)
    file = quantize(folder, weights)
    if recorded := _recorded(file):
        return recorded
    texts, name = _judging_text(folder)
    loss = quality_loss(folder, weights, texts, name)
    write_metadata(file, {QUALITY: json.dumps(asdict(loss))})
    return loss


def quality_loss(
    folder: Path | str, weights: QuantizedWeights, texts: Sequence[str], name: str = "the text given"
) -> QualityLoss:
    """What quantizing costs on `texts`: every token scored once, long texts in pieces of the context's length."""
    n_bytes = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    if n_bytes == 0:
        raise DataError("the quality loss of quantizing needs text to measure it on; every text given is empty")
    kinds: tuple[Weights, Weights] = ("fp32", weights)
    before, after = (_bits(Engine.load(folder, "cpu", weights=kind, max_running=1), texts) / n_bytes for kind in kinds)
    return QualityLoss(weights, before, after, n_bytes, name)


def _bits(engine: Engine, texts: Sequence[str]) -> float:
    tokenizer, bits = engine.tokenizer, 0.0
    for ids in tokenizer.encode_batch(list(texts)):
        whole = [tokenizer.end_of_text_id, *ids]  # read, and not scored
        cuts = [*range(0, len(whole) - 1, engine.max_seq_len - 1), len(whole) - 1]
        for start, end in pairwise(cuts):
            bits -= sum(logp for logp, _ in engine.score(whole[start : end + 1])) / math.log(2)
    return bits


def _judging_text(folder: Path) -> tuple[list[str], str]:
    for parent in folder.resolve().parents[:3]:
        run = RunDirectory(parent)
        if run.recipe_path.is_file() and (parent / "corpus" / "summary.json").is_file():
            held_out = _beginnings(document.text for document in read_documents(parent / "corpus", "holdout"))
            if held_out:
                return held_out, f"held-out text of {run.name}"
    return _beginnings(topics[name] for name in sorted(topics)), BUILT_IN


def _beginnings(texts: Iterable[str]) -> list[str]:
    """Up to a quarter of the bytes from each text, until there are enough."""
    found: list[str] = []
    n_left = N_BYTES
    for text in texts:
        piece = text.encode("utf-8", "ignore")[: min(n_left, N_BYTES // 4)].decode("utf-8", "ignore")
        found += [piece] if piece else []
        n_left -= len(piece.encode())
        if n_left <= 0:
            break
    return found


def _recorded(file: Path) -> QualityLoss | None:
    try:
        return QualityLoss(**json.loads(read_metadata(file).get(QUALITY, "null")))
    except (ValueError, TypeError):
        return None
