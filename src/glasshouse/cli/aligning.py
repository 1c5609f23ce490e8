"""The verbs that teach a model what people, or rules, find better: align, reward.

Both make a run directory; the same command given again goes on where it stopped.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from glasshouse.core.config import C, override, parse_config
from glasshouse.core.environment import start_torch
from glasshouse.core.errors import ConfigError, DataError
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal

if TYPE_CHECKING:
    from glasshouse.train import TrainResult

R = TypeVar("R")
OFFLINE, ONLINE = ("dpo", "kto"), ("grpo", "ppo", "rejection", "best_of_n")
N_ITERATIONS = 100
N_SHOWN = 3  # problems of a file that are told one by one


def align(
    model: Path, method: str, preferences: Path | None, questions: Path | None, rewards: Sequence[str], out: Path,
    settings: Sequence[str],
) -> None:  # fmt: skip
    """Learn from a file of preferences or thumbs (dpo, kto), or from rewards on a file of questions (the others)."""
    if method in OFFLINE:
        if preferences is None or questions is not None or rewards:
            raise ConfigError(f"{method} learns from judged answers: give --preferences FILE alone")
        _align_offline(model, method, preferences, out, settings)
    elif method in ONLINE:
        if questions is None or preferences is not None or not rewards:
            raise ConfigError(f"{method} learns while answering: give --questions FILE and --reward NAME alone")
        _align_online(model, method, questions, rewards, out, settings)
    else:
        raise ConfigError(f"--method is one of {', '.join((*OFFLINE, *ONLINE))}; got {method!r}")


def _align_offline(model: Path, method: str, file: Path, out: Path, settings: Sequence[str]) -> None:
    start_torch()
    from glasshouse.align.preference_training import PreferenceTrainingConfig, train_on_preferences
    from glasshouse.feedback import read_preferences, read_thumbs

    config = config_of(PreferenceTrainingConfig, settings, {"method": method})
    terminal = Terminal()
    readers: list[Callable[..., Iterator[Any]]] = [read_preferences]
    if method == "kto":
        readers = [read_thumbs, read_preferences]
    judged = _read(file, readers, terminal)
    place = place_of(out, "align", terminal)
    result = train_on_preferences(checkpoint_of(model), judged, config, **place)
    finish(place, result, "talk to it:  glass chat {run}")


def _align_online(
    model: Path, method: str, file: Path, rewards: Sequence[str], out: Path, settings: Sequence[str]
) -> None:
    start_torch()
    from glasshouse.align import (
        BestOfNConfig,
        OnlineConfig,
        RejectionConfig,
        describe_reward,
        make_reward,
        run_best_of_n,
        train_on_best_answers,
        train_on_rewards,
    )
    from glasshouse.evals import read_questions
    from glasshouse.infer import Engine

    reward = make_reward(rewards)
    terminal = Terminal()
    asked, parent = list(read_questions(file)), checkpoint_of(model)
    for line in describe_reward(reward):
        terminal.line("programs", line)
    if method == "best_of_n":
        choosing = config_of(BestOfNConfig, settings, {})
        folder = RunDirectory(out).create().stage("align")
        run_best_of_n(Engine.load(parent), asked, reward, choosing, folder=folder, terminal=terminal)
        return
    if method == "rejection":
        keeping = config_of(RejectionConfig, settings, {})
        place = place_of(out, "align", terminal)
        result = train_on_best_answers(parent, asked, reward, keeping, **place)
    else:
        config = config_of(OnlineConfig, settings, {"method": method, "n_iterations": N_ITERATIONS})
        place = place_of(out, "align", terminal)
        result = train_on_rewards(parent, asked, reward, config, **place)
    finish(place, result, "talk to it:  glass chat {run}")


def train_reward(model: Path, preferences: Path, out: Path, settings: Sequence[str]) -> None:
    """Train a reward model from a file of preferences or rankings."""
    start_torch()
    from glasshouse.align.reward_training import RewardTrainingConfig, train_reward_model
    from glasshouse.feedback import read_preferences, read_rankings

    config = config_of(RewardTrainingConfig, settings, {})
    terminal = Terminal()
    readers: list[Callable[..., Iterator[Any]]] = [read_preferences, read_rankings]
    compared = _read(preferences, readers, terminal)
    place = place_of(out, "reward", terminal)
    result = train_reward_model(checkpoint_of(model), compared, config, **place)
    finish(place, result, "use it:  glass align MODEL --method grpo --questions FILE --reward model:{run}/model")


def config_of(kind: type[C], settings: Sequence[str], given: dict[str, Any]) -> C:
    return parse_config(kind, {**given, **override({}, settings)}, "--set")


def checkpoint_of(model: Path) -> Path:
    from glasshouse.infer.location import model_folder

    return model_folder(model)


def place_of(out: Path, stage: str, terminal: Terminal) -> dict[str, Any]:
    from glasshouse.core.environment import default_device
    from glasshouse.meter import Meter, MeterConfig, measure_device

    run = RunDirectory(out).create()
    run.event(stage, "started")
    profile = measure_device(default_device().type)
    return {"run": run, "folder": run.stage(stage), "terminal": terminal, "meter": Meter(MeterConfig()).start(),
            "profile": profile}  # fmt: skip


def finish(place: Mapping[str, Any], result: "TrainResult", what_next: str) -> None:
    """The run's model, its last record, its report."""
    from glasshouse.report import model_card, render_run

    run, terminal = place["run"], place["terminal"]
    run.link_model(result.checkpoint)
    run.event(
        place["folder"].name, "finished", seconds=result.seconds, cost=result.cost.to_json(), summary=result.to_json()
    )
    page = render_run(run)
    model_card(run)
    terminal.line("report", str(page))
    terminal.line("", what_next.format(run=run.path))


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
        terminal.line("data", f"{len(records):,} judged records from {file}")
        return records
    raise faults[0]
