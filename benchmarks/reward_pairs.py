"""A reward model on human judgements of harm: 1,500 pairs, a small base grown in 20 minutes, held-out accuracy.

    python benchmarks/reward_pairs.py --minutes 20        about 30 minutes on two cores

500 pairs, drawn by a seed, are never learned from: not by the tokenizer, not by the base, not by the reward model.  The
settings are not tuned; `--folds 4` would do so on the other pairs.  The score of an answer is the mean over reward
models that differ in their seed.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from record import SHARED, Figure, write_result

from glasshouse.align.reward_model import RewardModel
from glasshouse.align.reward_quality import RewardQuality, quality_of
from glasshouse.align.reward_training import RewardTrainingConfig, train_reward_model
from glasshouse.batch import EncodedDocument, PackedLoader, Source, TokenShard, encode_documents, write_shard
from glasshouse.core.environment import start_torch
from glasshouse.core.records import Conversation, Document, Message, Preference
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.seeds import numpy_generator
from glasshouse.core.terminal import Terminal
from glasshouse.feedback import read_preferences
from glasshouse.meter import Meter, MeterConfig, measure_device
from glasshouse.model import ModelConfig, Transformer
from glasshouse.objective import lm_loss
from glasshouse.optim import OptimConfig, ScheduleConfig
from glasshouse.run.measuring import time_step
from glasshouse.tokenizer import Tokenizer, TokenizerConfig, train_tokenizer
from glasshouse.train import TrainConfig, Trainer

PAIRS = SHARED / "preference" / "hh-harmless-1500.jsonl"
N_HELD_OUT = 500
SEEDS = (0, 1, 2)
CURVE = (250,)
DIALOGUE_SHARE = 0.4  # of the base's reading; the rest is stories, novels and encyclopedia
SEQ_LEN = 256
SHAPE = ModelConfig(
    vocab_size=4096, d_model=192, n_layers=4, n_heads=6, n_kv_heads=6, d_head=32, d_ff=512, max_seq_len=SEQ_LEN
)
BASE = TrainConfig(
    steps=1, seq_len=SEQ_LEN, batch_tokens=8192, sample_at=(), max_epochs=None, compile="never",
    optim=OptimConfig(matrix_lr=0.02, embedding_lr=6e-3, vector_lr=6e-3, beta2=0.98),
    schedule=ScheduleConfig(warmup_steps=20, decay_fraction=0.5),
)  # fmt: skip


def reward_config(seed: int, lr: float, epochs: float, weight_decay: float) -> RewardTrainingConfig:
    return RewardTrainingConfig(
        seed=seed, epochs=epochs, seq_len=SEQ_LEN, batch_tokens=8192,
        optim=OptimConfig(
            matrices="adamw", matrix_lr=lr, embedding_lr=lr, head_lr=lr, vector_lr=lr, weight_decay=weight_decay
        ),
        schedule=ScheduleConfig(warmup_steps=5, decay_fraction=1.0),
    )  # fmt: skip


@dataclass(frozen=True)
class Settings:
    lr: float = 3e-4
    epochs: float = 1.0
    weight_decay: float = 0.1
    n_seeds: int = len(SEEDS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0, help="time for the base")
    parser.add_argument("--folder", type=Path, help="keep the work here; a base that lies there is used again")
    parser.add_argument("--folds", type=int, help="cross-validate on the training part instead, writing nothing")
    parser.add_argument("--lr", type=float, default=Settings.lr)
    parser.add_argument("--epochs", type=float, default=Settings.epochs)
    parser.add_argument("--weight-decay", type=float, default=Settings.weight_decay)
    parser.add_argument("--seeds", type=int, default=Settings.n_seeds)
    given = parser.parse_args()
    settings = Settings(given.lr, given.epochs, given.weight_decay, given.seeds)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        if given.folds:
            cross_validate(given.minutes, folder, given.folds, settings)
        else:
            write_result("reward_pairs", figures(given.minutes, folder, settings))


def figures(minutes: float, folder: Path, settings: Settings = Settings()) -> list[Figure]:
    """What `learning_from_people` shows of it."""
    start_torch()
    learned, held_out = split()
    base, bits, seconds = grow_base(learned, minutes, folder)
    curve = []
    for n in (*CURVE, len(learned)):
        together, alone = judged_by_ensemble(base, learned[:n], held_out, settings, folder / f"{n}-pairs")
        a = together.accuracy
        curve.append({"n_trained": n, "accuracy": a.value, "low": a.low, "high": a.high, "each_seed": alone})
    shown = f"{100 * a.value:.1f} ({100 * a.low:.1f}-{100 * a.high:.1f}, n={a.count})"
    return [
        Figure("reward model: held-out human pairs ranked as people did", shown, "%", "interval excludes 50 %",
               a.low > 0.5),
        Figure("reward model: learning curve", [
            {key: [round(v, 3) for v in value] if isinstance(value, list) else round(value, 3)
             for key, value in point.items()} for point in curve], "accuracy by training pairs"),
        Figure("reward model: calibration error (ECE)", round(together.expected_calibration_error, 3), "probability"),
        Figure("reward model: models averaged, differing in seed", settings.n_seeds, "models"),
        Figure("reward model: base pretrained", round(seconds / 60, 1), "min", "<= 20", seconds <= 20.5 * 60),
        Figure("reward model: base, bits per byte of its last training text", bits, "bits/byte"),
    ]  # fmt: skip


def cross_validate(minutes: float, folder: Path, n_folds: int, settings: Settings) -> None:
    start_torch()
    learned, _ = split()
    base, bits, _ = grow_base(learned, minutes, folder)
    found = []
    for fold in range(n_folds):
        rest = [p for i, p in enumerate(learned) if i % n_folds != fold]
        together, alone = judged_by_ensemble(
            base, rest, learned[fold::n_folds], settings, folder / f"fold-{time.time_ns()}"
        )
        found.append((together.accuracy.value, float(np.mean(alone)), together.log_loss))
        print(fold, found[-1], alone, flush=True)
    print(settings, f"base {bits} bits/byte: ensemble, one model, nats:", np.mean(found, 0).round(4), flush=True)


def split() -> tuple[list[Preference], list[Preference]]:
    """(to learn from, held out): by prompt."""
    pairs = list(read_preferences(PAIRS))
    prompts = list(dict.fromkeys(pair.prompt for pair in pairs))
    order = [prompts[int(i)] for i in numpy_generator(0, "reward pairs").permutation(len(prompts))]
    held_out = set(order[:N_HELD_OUT])
    learned = {prompt: [] for prompt in order[N_HELD_OUT:]}  # type: dict[tuple[Message, ...], list[Preference]]
    for pair in pairs:
        if pair.prompt not in held_out:
            learned[pair.prompt].append(pair)
    return [p for group in learned.values() for p in group], [p for p in pairs if p.prompt in held_out]


# ---- the base --------------------------------------------------------------------------------------------------------


def grow_base(learned: Sequence[Preference], minutes: float, folder: Path) -> tuple[Path, float, float]:
    """(checkpoint, bits a byte of the last training text, seconds of training)."""
    run = RunDirectory(folder / "base").create()
    tokenizer = tokenizer_of(run.path / "tokenizer", learned)
    shards = [
        shard(run.path / "text.tokens", lambda: encode_documents(texts(), tokenizer), tokenizer),
        shard(run.path / "dialogues.tokens", lambda: dialogues(learned, tokenizer), tokenizer),
    ]
    weights = (1 - DIALOGUE_SHARE, DIALOGUE_SHARE)
    loader = PackedLoader([Source(s, w) for s, w in zip(shards, weights)], SEQ_LEN, BASE.batch_tokens, seed=0)
    shape = SHAPE.model_copy(update={"vocab_size": tokenizer.vocab_size})
    known = run.path / "pretrain" / "steps.txt"
    steps = int(known.read_text()) if known.exists() else max(20, int(60 * minutes / time_step(shape, BASE)))
    run.stage("pretrain")
    known.write_text(str(steps))
    result = Trainer(
        Transformer(shape, seed=0), tokenizer, loader, lm_loss, BASE.model_copy(update={"steps": steps}),
        stage="pretrain", run=run, folder=run.stage("pretrain"), terminal=Terminal(),
        meter=Meter(MeterConfig()).start(), device_profile=measure_device("cpu"),
    ).fit()  # fmt: skip
    return result.checkpoint, round(result.bits_per_byte or 0.0, 3), result.seconds


def tokenizer_of(folder: Path, learned: Sequence[Preference]) -> Tokenizer:
    if (folder / "tokenizer.json").exists():
        return Tokenizer.load(folder)
    spoken = (m.content for p in learned for c in both(p) for m in c.messages)
    config = TokenizerConfig(vocab_size=SHAPE.vocab_size, has_role_tokens=True)
    tokenizer = train_tokenizer((text for source in (spoken, (d.text for d in texts())) for text in source), config)
    tokenizer.save(folder)
    return tokenizer


def texts() -> Iterator[Document]:
    for path in sorted([*(SHARED / "text" / "novels").glob("*.txt"), SHARED / "text" / "wikitext2-valid.txt"]):
        yield Document(path.name, path.read_text(encoding="utf-8", errors="replace"), path.name)
    stories = (SHARED / "text" / "tinystories.txt").read_text(encoding="utf-8").split("\n\n")
    yield from (Document(f"story-{i}", story, "tinystories") for i, story in enumerate(stories) if story.strip())


def dialogues(learned: Sequence[Preference], tokenizer: Tokenizer) -> Iterator[EncodedDocument]:
    for pair in learned:
        for number, conversation in enumerate(both(pair)):
            ids = tokenizer.template.ids(tokenizer, conversation.messages)  # type: ignore[union-attr]
            yield EncodedDocument(f"{pair.id}-{number}", ids, "pairs")


def both(pair: Preference) -> list[Conversation]:
    return [Conversation((*pair.prompt, Message("assistant", answer))) for answer in (pair.chosen, pair.rejected)]


def shard(path: Path, documents: object, tokenizer: Tokenizer) -> TokenShard:
    return TokenShard(path, tokenizer.hash) if path.exists() else write_shard(path, documents(), tokenizer)  # type: ignore[operator]


# ---- the reward models -----------------------------------------------------------------------------------------------


def judged_by_ensemble(
    base: Path, learned: Sequence[Preference], held_out: Sequence[Preference], settings: Settings, folder: Path
) -> tuple[RewardQuality, list[float]]:
    """(quality of the mean score, accuracy of each model alone)."""
    asked = [conversation for pair in held_out for conversation in both(pair)]
    differences: list[NDArray[np.float64]] = []
    for seed in SEEDS[: settings.n_seeds]:
        config = reward_config(seed, settings.lr, settings.epochs, settings.weight_decay)
        run = RunDirectory(folder / f"seed-{seed}").create()
        result = train_reward_model(
            base, learned, config, run, run.stage("reward"), Terminal(is_quiet=True), Meter(MeterConfig()).start(),
            measure_device("cpu"), held_out=(),
        )  # fmt: skip
        scores = np.asarray(RewardModel.load(result.checkpoint, torch.device("cpu")).score(asked))
        differences.append(scores[::2] - scores[1::2])
    return quality_of(np.mean(differences, 0)), [float((d > 0).mean()) for d in differences]


if __name__ == "__main__":
    main()
