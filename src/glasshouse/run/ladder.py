"""Climb a ladder: one text and one tokenizer, small models trained on it one after the other, the law, and its test.

runs/ladder/
  ladder.json          settings, rungs with what they reached, the fit, the prediction and the truth
  corpus/ tokenizer/   as in every run
  rungs/NAME/          a training each; one cut off goes on from its last checkpoint
`ladder.json` is written whole after every rung, and the prediction before the held-out size is touched.
"""

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from pydantic import Field

from glasshouse.batch import PackedLoader, TokenShard
from glasshouse.core.config import Config
from glasshouse.core.environment import default_device
from glasshouse.core.errors import ConfigError
from glasshouse.core.files import read_json, write_json
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.seeds import derive_seed
from glasshouse.core.terminal import Task, Terminal, format_count, format_seconds
from glasshouse.corpus import CorpusConfig, read_documents
from glasshouse.meter import DeviceProfile, Meter, MeterConfig, measure_device
from glasshouse.model import ModelConfig, Transformer, count_parameters
from glasshouse.objective import lm_loss
from glasshouse.optim import OptimConfig, ScheduleConfig
from glasshouse.plan import Prediction, Rung, Step, parse_duration
from glasshouse.plan.ladder import check_sizes, fit_rungs, lay_out, predict_rung
from glasshouse.plan.shape import shape_of_width
from glasshouse.run.measuring import time_step
from glasshouse.run.recipe import Recipe
from glasshouse.run.resolve import UNDECIDED
from glasshouse.run.runner import locked, run_recipe
from glasshouse.run.stages import write_stage_shard
from glasshouse.tokenizer import Tokenizer, TokenizerConfig
from glasshouse.train import TrainConfig, held_out_loss
from glasshouse.train.trainer import Trainer

JUDGED_TOKENS = 65_536  # of the held-out text: the same for every rung, so what is odd about it is odd for all


class LadderConfig(Config):
    """Settings of the text and the optimizer are the quickstart's, so that the law is one of the same trainings."""

    time: str = "20m"  # of all trainings together
    widths: tuple[int, ...] = (32, 64, 96, 128)
    held_out: int = 160
    shares: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (0.25, 0.5, 1.0)  # lengths, of the longest
    seq_len: int = Field(default=256, gt=0)
    batch_tokens: int = Field(default=2048, gt=0)
    corpus: CorpusConfig = CorpusConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    optim: OptimConfig = OptimConfig(embedding_lr=6e-3, vector_lr=6e-3, beta2=0.98)
    schedule: ScheduleConfig = ScheduleConfig(warmup_steps=10, decay_fraction=0.5)
    seed: int = 1


class Ladder:
    """`climb()` brings the ladder at `run` up to date and returns its record; what is done is not done again."""

    def __init__(self, config: LadderConfig, run: RunDirectory, terminal: Terminal) -> None:
        check_sizes(config.widths, config.held_out, config.shares)
        self.config, self.run, self.terminal = config, run, terminal
        self.path = run.path / "ladder.json"

    def climb(self) -> Mapping[str, Any]:
        with locked(self.run):
            record = self._begin()
        profile = measure_device(default_device().type)
        self._read_text(profile)
        with locked(self.run):
            return self._train_all(record, profile)

    # ---- before the first training -------------------------------------------------------------------------------

    def _begin(self) -> dict[str, Any]:
        settings = self.config.model_dump(mode="json")
        if not self.path.exists():
            return {"settings": settings, "started_at": time.time(), "rungs": []}
        record = dict(read_json(self.path))
        if record["settings"] != settings:
            changed = sorted(key for key in settings if record["settings"].get(key) != settings[key])
            raise ConfigError(f"{self.run.path} holds a ladder with other settings ({', '.join(changed)}). "
                              "Put them back, or choose another folder with --out")  # fmt: skip
        return record

    def _read_text(self, profile: DeviceProfile) -> None:
        """Corpus and tokenizer by the stages of every run, which skip what is there."""
        config = self.config
        recipe = Recipe(
            name=self.run.name, seed=config.seed, stages=("corpus", "tokenizer"), corpus=config.corpus,
            tokenizer=config.tokenizer, model=ModelConfig(**UNDECIDED["model"]),
        )  # fmt: skip
        run_recipe(recipe, self.run, self.terminal, profile)

    def _lay_out(self) -> list[Rung]:
        """Every size timed for a few steps; the largest last, so that the machine is warm when it matters."""
        sizes = {}
        for width in sorted({*self.config.widths, self.config.held_out}):
            shape = self._shape(width)
            sizes[width] = Step(count_parameters(shape).total, time_step(shape, self._training(steps=1)))
        return lay_out(
            sizes, self.config.held_out, self.config.shares, self.config.batch_tokens, parse_duration(self.config.time)
        )

    # ---- the climb -----------------------------------------------------------------------------------------------

    def _train_all(self, record: dict[str, Any], profile: DeviceProfile) -> Mapping[str, Any]:
        if not record["rungs"]:
            laid_out = self._lay_out()
            record["rungs"] = [{"rung": _to_json(rung), "loss": None, "took_s": None} for rung in laid_out]
            write_json(self.path, record)
        rungs = [Rung(**entry["rung"]) for entry in record["rungs"]]
        left = [rung for rung, entry in zip(rungs, record["rungs"]) if entry["loss"] is None]
        left_s = sum(rung.seconds for rung in left)
        self.terminal.line("ladder", f"{len(left)} of {len(rungs)} trainings to do, {format_seconds(left_s)} expected")
        tokenizer = Tokenizer.load(self.run.path / "tokenizer")
        shards = {"train": self._shard("train", tokenizer), "holdout": self._shard("holdout", tokenizer)}
        before_s = 0.0
        with self.terminal.task("ladder", left_s) as task:
            for number, (rung, entry) in enumerate(zip(rungs, record["rungs"])):
                if entry["loss"] is None:
                    if rung.is_held_out:
                        self._predict(record, rungs)
                    self._train(rung, entry, tokenizer, shards, profile, _Part(self.terminal, task, before_s, rung))
                    write_json(self.path, record)
                    before_s += rung.seconds
                self._tell(number + 1, len(rungs), rung, entry)
        return self._conclude(record)

    def _train(
        self, rung: Rung, entry: dict[str, Any], tokenizer: Tokenizer, shards: Mapping[str, TokenShard],
        profile: DeviceProfile, terminal: Terminal,
    ) -> None:  # fmt: skip
        config, training = self.config, self._training(rung.steps)
        seed = derive_seed(config.seed, rung.name)
        shape = self._shape(rung.width).model_copy(update={"vocab_size": tokenizer.vocab_size})
        model = Transformer(shape)
        model.init_weights(seed)
        part = RunDirectory(self.run.stage("rungs") / rung.name).create()
        started_at = time.perf_counter()
        with Meter(MeterConfig(), profile.device) as meter:
            Trainer(
                model.to(default_device()), tokenizer,
                PackedLoader(shards["train"], config.seq_len, config.batch_tokens, seed), lm_loss, training,
                stage="pretrain", run=part, folder=part.stage("pretrain"), terminal=terminal, meter=meter,
                device_profile=profile,
            ).fit()  # fmt: skip
        judged = held_out_loss(model, shards["holdout"], config.seq_len, max_tokens=JUDGED_TOKENS, device=model.device)
        entry["loss"] = judged["eval/bits_per_byte"]
        entry["took_s"] = (entry["took_s"] or 0.0) + time.perf_counter() - started_at
        shutil.rmtree(part.path / "pretrain", ignore_errors=True)  # thirteen checkpoints nobody will open

    def _predict(self, record: dict[str, Any], rungs: list[Rung]) -> None:
        pairs = [(rung, entry["loss"]) for rung, entry in zip(rungs, record["rungs"])]
        sizes = ", ".join(format_count(n) for n in sorted({r.parameters for r in rungs if not r.is_held_out}))
        text, day = ", ".join(self.config.corpus.sources), time.strftime("%Y-%m-%d")
        origin = (f"a ladder of {day} on {text}: {len(rungs) - 1} trainings of {sizes} parameters, "
                  f"up to {format_count(rungs[-1].tokens)} tokens")  # fmt: skip
        fit = fit_rungs(pairs, origin)
        held_out = next(rung for rung in rungs if rung.is_held_out)
        prediction = predict_rung(fit, held_out)
        record |= {"fit": fit.to_json(), "prediction": prediction.to_json(), "predicted_at": time.time()}
        write_json(self.path, record)
        self.terminal.line("prediction", _describe(prediction))

    def _conclude(self, record: dict[str, Any]) -> Mapping[str, Any]:
        prediction, truth = Prediction(**record["prediction"]), record["rungs"][-1]["loss"]
        record["truth"] = {"loss": truth, "error": prediction.loss / truth - 1,
                           "is_inside": prediction.low <= truth <= prediction.high}  # fmt: skip
        write_json(self.path, record)
        self.terminal.line("truth", f"{truth:.3f} bits/byte: the prediction was off by "
                                    f"{100 * abs(record['truth']['error']):.1f} %")  # fmt: skip
        return record

    # ---- parts ---------------------------------------------------------------------------------------------------

    def _shape(self, width: int) -> ModelConfig:
        return shape_of_width(width, self.config.tokenizer.vocab_size, self.config.seq_len)

    def _training(self, steps: int) -> TrainConfig:
        config = self.config
        return TrainConfig(
            steps=steps, seq_len=config.seq_len, batch_tokens=config.batch_tokens, optim=config.optim,
            schedule=config.schedule, compile="never", checkpoint_every_s=20.0,
        )  # fmt: skip

    def _shard(self, split: Literal["train", "holdout"], tokenizer: Tokenizer) -> TokenShard:
        documents = read_documents(self.run.path / "corpus", split)
        return write_stage_shard(self.run.stage("rungs") / f"{split}.tokens", documents, tokenizer)

    def _tell(self, number: int, n_rungs: int, rung: Rung, entry: Mapping[str, Any]) -> None:
        what = "held out" if rung.is_held_out else f"{number} of {n_rungs}"
        self.terminal.line(
            what, f"{format_count(rung.parameters)} parameters, {format_count(rung.tokens)} tokens · "
                  f"{entry['loss']:.3f} bits/byte · {format_seconds(entry['took_s'])}",
        )  # fmt: skip


class _Part(Terminal):
    """What one training sees of the terminal: nothing but its part of the ladder's bar."""

    def __init__(self, terminal: Terminal, task: Task, before_s: float, rung: Rung) -> None:
        super().__init__(is_quiet=True)
        self._whole, self._task, self._before_s, self._rung = terminal, task, before_s, rung

    def warn(self, name: str, text: str) -> None:
        self._whole.warn(name, text)

    @contextmanager
    def task(self, name: str, total: float) -> Iterator[Task]:
        yield _PartOfTask(self._task, self._before_s, self._rung.seconds / total, self._rung.name)


class _PartOfTask(Task):
    """Steps of one training as seconds of the whole ladder."""

    def __init__(self, whole: Task, before_s: float, seconds_per_step: float, name: str) -> None:
        self._whole, self._before_s, self._seconds_per_step, self._rung = whole, before_s, seconds_per_step, name

    def advance_to(self, done: float, note: str = "") -> None:
        self._whole.advance_to(self._before_s + done * self._seconds_per_step, f"{self._rung} · {note}")


def _describe(prediction: Prediction) -> str:
    what = f"{format_count(prediction.parameters)} parameters after {format_count(prediction.tokens)} tokens"
    interval = f"{prediction.low:.3f}–{prediction.high:.3f}"
    return f"{what}: {prediction.loss:.3f} bits/byte ({interval}), before it is trained"


def _to_json(rung: Rung) -> dict[str, Any]:
    return {name: getattr(rung, name) for name in Rung.__dataclass_fields__}
