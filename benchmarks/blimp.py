"""BLiMP with a checkpoint of our own: 30 minutes of pretraining on ../shared/data/text, then 34 paradigms.

    python benchmarks/blimp.py [--seconds 1800] [--keep FOLDER]     about 33 minutes on two cores

Trained on novels, stories and encyclopedia, paragraph by paragraph: each begins after an end of text and sees nothing
before it, since BLiMP's sentences stand alone.  The size follows from the arithmetic of 30 minutes: at 100 GFLOP/s they
are 1.8e14 operations, enough for 3 M parameters to read all 12 M tokens once; no setting was chosen by a BLiMP score.
The stories are lower-case in the file and get their capitals back; WikiText's spaced signs are joined again.
"""

import argparse
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from record import SHARED, Figure

from glasshouse.core.environment import start_torch

start_torch()

from glasshouse.batch import PackedLoader, encode_documents, write_shard  # noqa: E402
from glasshouse.core.records import Document  # noqa: E402
from glasshouse.core.rundir import RunDirectory  # noqa: E402
from glasshouse.core.terminal import Terminal  # noqa: E402
from glasshouse.evals import EngineModel, TaskResult, evaluate, load_tasks  # noqa: E402
from glasshouse.infer import Engine  # noqa: E402
from glasshouse.meter import Meter, MeterConfig, measure_device  # noqa: E402
from glasshouse.model import ModelConfig, Transformer, count_parameters  # noqa: E402
from glasshouse.objective import lm_loss  # noqa: E402
from glasshouse.optim import OptimConfig, ScheduleConfig  # noqa: E402
from glasshouse.run.measuring import time_step  # noqa: E402
from glasshouse.tokenizer import TokenizerConfig, train_tokenizer  # noqa: E402
from glasshouse.train import TrainConfig, Trainer  # noqa: E402

SECONDS = 1800.0
TARGET = 0.60
SHAPE = ModelConfig(vocab_size=4096, d_model=192, n_layers=6, n_heads=6, n_kv_heads=2, d_head=32, d_ff=512,
                    max_seq_len=128)  # fmt: skip
CONFIG = TrainConfig(
    steps=1,  # decided by the clock
    seq_len=128,
    batch_tokens=4096,
    optim=OptimConfig(matrix_lr=0.02, embedding_lr=6e-3, vector_lr=6e-3, beta2=0.98),
    schedule=ScheduleConfig(warmup_steps=20, decay_fraction=0.6),
    compile="never",
    sample_at=(),
    checkpoint_every_s=None,
)
MIN_CHARACTERS = 20  # of a paragraph: chapter headings and page numbers are shorter


def paragraphs() -> Iterator[Document]:
    """All text, a document for each paragraph."""
    text = SHARED / "text"
    files = [*sorted((text / "novels").glob("*.txt")), text / "tinystories.txt", text / "wikitext2-valid.txt"]
    for path in files:
        content = path.read_text(encoding="utf-8-sig", errors="replace")
        mend = MENDED.get(path.name, lambda paragraph: paragraph)
        blocks = content.splitlines() if path.name.startswith("wikitext") else re.split(r"\n\s*\n", content)
        for number, block in enumerate(blocks):
            paragraph = mend(re.sub(r"\s+", " ", block).strip())
            if len(paragraph) >= MIN_CHARACTERS:
                yield Document(f"{path.stem}/{number}", paragraph, path.name)


def with_capitals(text: str) -> str:
    """At the beginning of sentences, and of "I"."""
    text = re.sub(r"\bi\b", "I", text)
    return re.sub(r"(^|[.!?][\"']? )([\"']?)([a-z])", lambda m: m[1] + m[2] + m[3].upper(), text)


def joined(text: str) -> str:
    """WikiText's " , " and " @-@ " as they were written; headings and paragraphs with unknown words are left out."""
    if text.startswith("=") or "<unk>" in text:
        return ""
    text = re.sub(r" @(.)@ ", r"\1", text)
    return re.sub(r" ([,.;:!?%)']|'s|n't)(?= |$)", r"\1", text).replace("( ", "(")


MENDED = {"tinystories.txt": with_capitals, "wikitext2-valid.txt": joined}


def train(folder: Path, seconds: float) -> tuple[Path, str]:
    """The checkpoint, and in words what it was made of."""
    documents = list(paragraphs())
    tokenizer = train_tokenizer((d.text for d in documents), TokenizerConfig(vocab_size=SHAPE.vocab_size))
    shard = write_shard(folder / "train.tokens", encode_documents(documents, tokenizer), tokenizer)
    shape = SHAPE.model_copy(update={"vocab_size": tokenizer.vocab_size})
    step_s = time_step(shape, CONFIG)
    config = CONFIG.model_copy(update={"steps": max(10, round(seconds / step_s))})
    loader = PackedLoader(shard, config.seq_len, config.batch_tokens, seed=1, crosses_documents=False)
    meter = Meter(MeterConfig())
    with meter:
        result = Trainer(
            Transformer(shape, seed=1), tokenizer, loader, lm_loss, config, stage="pretrain",
            run=RunDirectory(folder).create(), folder=folder / "pretrain", terminal=Terminal(), meter=meter,
            device_profile=measure_device("cpu"),
        ).fit()  # fmt: skip
    n = count_parameters(shape).total
    made_of = (
        f"{n / 1e6:.1f} M parameters, {result.n_tokens / 1e6:.1f} M tokens read "
        f"({result.n_tokens / shard.n_tokens:.2f} epochs) in {result.seconds / 60:.1f} min"
    )
    return result.checkpoint, made_of


def judge(checkpoint: Path, out: Path | None = None) -> TaskResult:
    model = EngineModel(Engine.load(checkpoint))
    [result] = evaluate(model, load_tasks("language", SHARED / "tasks"), out=out, terminal=Terminal())
    return result


def blimp_figures(seconds: float = SECONDS, folder: Path | None = None) -> list[Figure]:
    """The share of pairs it gets right with its interval; the best and worst paradigms; what evaluating took."""
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        checkpoint, made_of = train(place, seconds)
        result = judge(checkpoint, place / "evals")
    [score] = result.scores
    ordered = sorted(((scores[0].value, name) for name, scores in result.groups.items()), reverse=True)
    named = {name: f"{100 * value:.0f} %" for value, name in (*ordered[:3], *ordered[-3:])}
    shown = f"{100 * score.value:.1f} ({100 * score.low:.1f}-{100 * score.high:.1f}, n={score.count:,})"
    return [
        Figure("BLiMP, 34 paradigms, trained 30 min on shared text", shown, "%", ">= 60 %", score.value >= TARGET,
               f"chance 50 %, the shorter sentence {100 * result.baselines['shorter']:.1f} %"),
        Figure("BLiMP: the checkpoint", made_of, ""),
        Figure("BLiMP: its best and worst paradigms", named, ""),
        Figure("BLiMP: 20,400 sentences judged in", round(result.seconds, 1), "s"),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--keep", type=Path, help="keep the checkpoint and every item here")
    arguments = parser.parse_args()
    for figure in blimp_figures(arguments.seconds, arguments.keep):
        print(figure)


if __name__ == "__main__":
    main()
