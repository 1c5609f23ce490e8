"""Learning from people as a run of its own: what `glass align` and `glass reward` were asked, written down and done.

`recipe.toml` of such a run is a `LearningRecipe`: the checkpoint it begins from (of the Hub: pinned to a commit), the
file of judged answers or questions with its hash, the rewards, and every setting.  `glass resume` reads it and goes on
to the same bits; what has changed since is an error and not another result.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from glasshouse.align import (
    BestOfNConfig,
    OnlineConfig,
    PreferenceTrainingConfig,
    RejectionConfig,
    RewardModel,
    RewardTrainingConfig,
    describe_reward,
    make_reward,
    reward_models,
    run_best_of_n,
    train_on_best_answers,
    train_on_preferences,
    train_on_rewards,
    train_reward_model,
)
from glasshouse.align.moderation_training import Moderated, ModerationConfig, read_moderated, train_moderator
from glasshouse.align.reference import weights_id
from glasshouse.core.config import Config, dump_toml, parse_config, read_toml
from glasshouse.core.errors import CheckpointError, ConfigError, DataError
from glasshouse.core.files import sha256_file, sha256_text, write_text
from glasshouse.core.records import Question
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal
from glasshouse.evals import read_questions
from glasshouse.feedback import read_preferences, read_rankings, read_thumbs
from glasshouse.infer import Engine
from glasshouse.infer.location import locate
from glasshouse.meter import DeviceProfile, Meter, MeterConfig
from glasshouse.run.runner import Job, RunResult, run_jobs
from glasshouse.run.tracing import index_judged
from glasshouse.tokenizer import Tokenizer
from glasshouse.train import TrainResult

MethodName = Literal["dpo", "kto", "grpo", "ppo", "rejection", "best_of_n", "reward", "moderation"]
R = TypeVar("R")
N_ITERATIONS = 100
N_SHOWN = 3  # problems of a file that are told one by one


class HubConfig(Config):
    """Where on the Hub a checkpoint came from."""

    repo: str
    revision: str  # as it was named: a branch, a tag, a commit
    commit: str  # what that meant then


class LearningRecipe(Config):
    """`model`: a folder, or of the Hub `owner/name@commit`."""

    method: MethodName
    model: str
    weights: str  # the id of its weights
    hub: HubConfig | None = None
    data: str  # judged answers, or questions
    data_sha256: str
    rewards: tuple[str, ...] = ()
    settings: dict[str, Any]  # of the method: every value

    @property
    def stage(self) -> str:
        return self.method if self.method in ("reward", "moderation") else "align"

    @property
    def inputs(self) -> str:
        """A hash of what the result depends on; where things lie is not part of it."""
        return sha256_text(json.dumps(self.model_dump(mode="json", exclude={"model", "hub", "data"}), sort_keys=True))


@dataclass(frozen=True)
class Work:
    """What a method is given."""

    parent: Path
    records: Sequence[Any]
    source: str  # of the records
    rewards: tuple[str, ...]
    config: Any
    run: RunDirectory
    terminal: Terminal
    profile: DeviceProfile


@dataclass(frozen=True)
class Method:
    config: type[Config]
    given: Mapping[str, Any]  # settings that the method's name decides
    readers: tuple[Callable[..., Iterator[Any]], ...]  # of the file; the first that finds anything
    learn: Callable[[Work, Path, Meter], TrainResult | None]  # in a folder, under a meter

    def configure(self, settings: Mapping[str, Any], source: Path | str = "--set") -> Config:
        return parse_config(self.config, {**self.given, **settings}, source)


# ---- a recipe, and the run of it -------------------------------------------------------------------------------------


def learning_recipe(
    method: MethodName, model: Path | str, data: Path, rewards: Sequence[str], settings: Mapping[str, Any]
) -> LearningRecipe:
    """What a command asks for, with every value; a wrong one raises before anything is written."""
    config = METHODS[method].configure(settings)
    found = locate(model)
    hub = found.hub and HubConfig(repo=found.hub.repo, revision=found.hub.revision, commit=found.hub.commit)
    return LearningRecipe(
        method=method, model=f"{hub.repo}@{hub.commit}" if hub else str(found.folder.absolute()),
        weights=weights_id(found.folder), hub=hub, data=str(data.absolute()), data_sha256=_hash(data),
        rewards=tuple(map(_absolute, rewards)), settings=config.model_dump(mode="json"),
    )  # fmt: skip


def _absolute(term: str) -> str:
    """`0.5*model:runs/reward/model` with the folder's whole path: a run goes on wherever one stands."""
    found = re.fullmatch(r"([^:]*\bmodel:)(.+)", term)
    return f"{found[1]}{Path(found[2]).absolute()}" if found else term


def is_learning(run: RunDirectory) -> bool:
    """Whether the run follows a `LearningRecipe` (and not the recipe of a whole life)."""
    return run.recipe_path.is_file() and "weights" in read_toml(run.recipe_path)[0]


def read_learning(run: RunDirectory) -> LearningRecipe:
    values, text = read_toml(run.recipe_path)
    return parse_config(LearningRecipe, values, run.recipe_path, text)


def learn(recipe: LearningRecipe, run: RunDirectory, terminal: Terminal, profile: DeviceProfile) -> RunResult:
    """Do what the recipe says; what is finished is not done again, what was interrupted goes on."""
    if run.recipe_path.is_file() and not is_learning(run):
        raise ConfigError(f"{run.path} is a run of another kind. Choose another folder with --out")
    method, parent = METHODS[recipe.method], locate(recipe.model).folder
    config = method.configure(recipe.settings, run.recipe_path)
    if weights_id(parent) != recipe.weights:
        raise CheckpointError(f"{parent} holds other weights than when this run began. Begin another run with --out")
    if _hash(Path(recipe.data)) != recipe.data_sha256:
        raise DataError(f"{recipe.data} has changed since this run began. Begin another run with --out")
    records = _read(Path(recipe.data), method.readers, terminal)
    work = Work(parent, records, recipe.data, recipe.rewards, config, run, terminal, profile)
    if recipe.rewards:
        _check_reward(recipe, parent, terminal)
    job = Job(recipe.stage, recipe.inputs, partial(_learn, recipe, work))
    return run_jobs([job], run, terminal, profile, MeterConfig())


def _check_reward(recipe: LearningRecipe, parent: Path, terminal: Terminal) -> None:
    """What a person should know of it, and whether its reward models read as the parent writes."""
    reward = make_reward(recipe.rewards)
    for line in describe_reward(reward):
        terminal.line("programs", line)
    for model in reward_models(reward):
        if isinstance(model, RewardModel):
            model.check_tokenizer(Tokenizer.load(parent))


def _learn(recipe: LearningRecipe, work: Work, folder: Path, meter: Meter) -> dict[str, Any]:
    write_text(work.run.recipe_path, dump_toml(recipe.model_dump(mode="json")))
    result = METHODS[recipe.method].learn(work, folder, meter)
    if result is None:
        return {}
    work.run.link_model(result.checkpoint)
    return result.to_json()


# ---- methods ---------------------------------------------------------------------------------------------------------


def _from_preferences(work: Work, folder: Path, meter: Meter) -> TrainResult:
    result = train_on_preferences(
        work.parent, work.records, work.config, work.run, folder, work.terminal, meter, work.profile
    )
    index_judged(work.run, work.records, work.source)
    return result


def _reward_model(work: Work, folder: Path, meter: Meter) -> TrainResult:
    return train_reward_model(
        work.parent, work.records, work.config, work.run, folder, work.terminal, meter, work.profile
    )


def _moderator(work: Work, folder: Path, meter: Meter) -> TrainResult:
    return train_moderator(work.parent, work.records, work.config, work.run, folder, work.terminal, meter, work.profile)


def _from_rewards(work: Work, folder: Path, meter: Meter) -> TrainResult:
    return train_on_rewards(
        work.parent, work.records, make_reward(work.rewards), work.config, run=work.run, folder=folder,
        terminal=work.terminal, meter=meter, profile=work.profile,
    )  # fmt: skip


def _from_best_answers(work: Work, folder: Path, meter: Meter) -> TrainResult:
    return train_on_best_answers(
        work.parent, work.records, make_reward(work.rewards), work.config, run=work.run, folder=folder,
        terminal=work.terminal, meter=meter, profile=work.profile,
    )  # fmt: skip


def _choose_only(work: Work, folder: Path, meter: Meter) -> None:
    run_best_of_n(
        Engine.load(work.parent), work.records, make_reward(work.rewards), work.config, folder=folder,
        terminal=work.terminal,
    )  # fmt: skip


# ---- files -----------------------------------------------------------------------------------------------------------


def _questions(file: Path, _: Callable[[int, str], None]) -> Iterator[Question]:
    yield from read_questions(file)


def _moderated(file: Path, _: Callable[[int, str], None]) -> Iterator[Moderated]:
    yield from read_moderated(file)


def _hash(file: Path) -> str:
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    return sha256_file(file)


def _read(file: Path, readers: Sequence[Callable[..., Iterator[R]]], terminal: Terminal) -> list[R]:
    """By the first reader that finds anything; what it could not use is told, not silently dropped."""
    faults: list[DataError] = []
    for reader in readers:
        problems: list[tuple[int, str]] = []
        try:
            records = list(reader(file, lambda at, what, told=problems: told.append((at, what))))  # type: ignore[misc]
        except DataError as error:
            faults.append(error)
            continue
        for at, what in problems[:N_SHOWN]:
            terminal.warn("data", f"{file}:{at}: {what}")
        if len(problems) > N_SHOWN:
            terminal.warn("data", f"{file}: {len(problems):,} records could not be used")
        kind = "questions" if isinstance(records[0], Question) else "judged records"
        terminal.line("data", f"{len(records):,} {kind} from {file}")
        return records
    raise faults[0]


ONLINE_DEFAULTS = {"n_iterations": N_ITERATIONS}
METHODS: Mapping[MethodName, Method] = {
    "dpo": Method(PreferenceTrainingConfig, {"method": "dpo"}, (read_preferences,), _from_preferences),
    "kto": Method(PreferenceTrainingConfig, {"method": "kto"}, (read_thumbs, read_preferences), _from_preferences),
    "grpo": Method(OnlineConfig, {"method": "grpo", **ONLINE_DEFAULTS}, (_questions,), _from_rewards),
    "ppo": Method(OnlineConfig, {"method": "ppo", **ONLINE_DEFAULTS}, (_questions,), _from_rewards),
    "rejection": Method(RejectionConfig, {}, (_questions,), _from_best_answers),
    "best_of_n": Method(BestOfNConfig, {}, (_questions,), _choose_only),
    "reward": Method(RewardTrainingConfig, {}, (read_preferences, read_rankings), _reward_model),
    "moderation": Method(ModerationConfig, {}, (_moderated,), _moderator),
}
