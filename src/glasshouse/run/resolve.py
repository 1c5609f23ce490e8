"""From a recipe as written to one with every value: the only place where a value is derived.

load_draft   reads and checks the file, its --set overrides and the dial, before any work
resolve      draft + measurements -> recipe, plan and the origin of each value; pure
settle       keeps what a run directory was started with, else resolves here and writes recipe.toml and plan.json
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glasshouse import __version__
from glasshouse.core.config import dump_toml, override, parse_config, read_toml
from glasshouse.core.errors import ConfigError
from glasshouse.core.files import read_json, sha256_text, write_json, write_text
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal, format_bytes, format_count, format_seconds
from glasshouse.meter import MeterConfig
from glasshouse.plan import DialConfig, Measured, Plan, Workload, plan_for_budget
from glasshouse.plan.budget import Budget
from glasshouse.plan.planner import predict
from glasshouse.run.measuring import measure
from glasshouse.run.recipe import Recipe

# Stand-ins for what the dial will decide, so that the rest of a recipe is checked before anything is measured.
UNDECIDED: dict[str, dict[str, Any]] = {
    "model": {"vocab_size": 512, "d_model": 32, "n_layers": 1, "n_heads": 1, "n_kv_heads": 1, "d_head": 32, "d_ff": 32,
              "max_seq_len": 512},
    "pretrain": {"steps": 1},
    "sft": {"steps": 1},
}  # fmt: skip
UNUSED = {stage: {"steps": 1} for stage in ("pretrain", "sft")}  # a table that no stage reads
KNOBS = {"time", "params", "flops"}
SHAPE_KEYS = ("d_model", "n_layers", "n_heads", "n_kv_heads", "d_head", "d_ff")


@dataclass(frozen=True, slots=True)
class Draft:
    """A checked recipe, parts of it undecided.  `origins` says for each given key where it came from."""

    values: Mapping[str, Any]
    origins: Mapping[str, str]
    source: str
    text: str

    @property
    def name(self) -> str:
        return str(self.values.get("name", Path(self.source).stem))

    @property
    def hash(self) -> str:
        """Of all that decides what is built; how many processes build it does not."""
        values = {key: value for key, value in self.values.items() if key != "mesh"}
        return sha256_text(json.dumps(values, sort_keys=True, default=str))

    def parse(self, decided: Mapping[str, Mapping[str, Any]]) -> Recipe:
        """The recipe with `decided` standing in for keys the draft lacks."""
        values = {**self.values, "name": self.name}
        for section, own in decided.items():
            if section in values or section == "model":
                values[section] = {**own, **values.get(section, {})}
        return parse_config(Recipe, values, self.source, self.text)


def load_draft(path: Path, settings: Sequence[str] = (), dial: Mapping[str, str] | None = None) -> Draft:
    """Read a recipe, apply overrides and the dial's knobs, and check all that can be checked now."""
    values, text = read_toml(path)
    origins = dict.fromkeys(_leaves(values), path.name)
    values = override(values, settings)
    origins |= {setting.partition("=")[0].strip(): "--set" for setting in settings}
    if dial:
        kept = dict(values.get("dial", {}))
        if KNOBS & dial.keys():
            kept = {k: v for k, v in kept.items() if k not in KNOBS}
        values["dial"] = {**kept, **dial}
        origins |= {f"dial.{knob}": "command line" for knob in dial}
    draft = Draft(values, origins, str(path), text)
    recipe = draft.parse(UNDECIDED)
    _check_decided(draft, recipe)
    return draft


def _check_decided(draft: Draft, recipe: Recipe) -> None:
    if recipe.dial is not None:
        Budget.of(recipe.dial)
        return
    missing = [f"model.{key}" for key in SHAPE_KEYS if key not in draft.values.get("model", {})]
    missing += [f"{stage}.steps" for stage in recipe.training_stages if "steps" not in draft.values.get(stage, {})]
    if recipe.training_stages and missing:
        raise ConfigError(
            f"{draft.source}: without a dial these must be given: {', '.join(missing)}. "
            "Give them, or a [dial] with time, params or flops"
        )


def resolve(draft: Draft, measured: Measured) -> tuple[Recipe, Plan | None, dict[str, str]]:
    """The whole recipe, what it will take (None where nothing is trained), and where each value came from."""
    undecided = draft.parse(UNDECIDED)
    if not undecided.training_stages:
        return undecided, None, _origins(draft, undecided, {})
    work = _workload(draft, undecided)
    plan = _plan(undecided.dial, work, measured, undecided.meter)
    decided: dict[str, dict[str, Any]] = {
        "model": plan.model.model_dump(),
        **UNUSED,
        **{stage: {"steps": own.steps} for stage, own in plan.stages.items()},
    }
    recipe = draft.parse(decided)
    return recipe, plan, _origins(draft, recipe, decided)


def _workload(draft: Draft, undecided: Recipe) -> Workload:
    given = draft.values.get("model", {})
    max_seq_len = given.get("max_seq_len", max(undecided.training(s).seq_len for s in undecided.training_stages))
    vocab_size = given.get("vocab_size", undecided.tokenizer.vocab_size)
    extra = {"vocab_size": vocab_size, "max_seq_len": max_seq_len}
    is_shaped = all(key in given for key in SHAPE_KEYS)
    return Workload(
        training_stages=undecided.training_stages,
        batch_tokens={stage: undecided.training(stage).batch_tokens for stage in undecided.training_stages},
        vocab_size=vocab_size,
        max_seq_len=max_seq_len,
        model=undecided.model.model_copy(update=extra) if is_shaped else None,
        microbatch_tokens={s: undecided.training(s).planned_microbatch_tokens for s in undecided.training_stages},
        is_muon=any(undecided.training(stage).optim.matrices == "muon" for stage in undecided.training_stages),
        recomputed={stage: undecided.training(stage).recomputed for stage in undecided.training_stages},
        steps={s: draft.values[s]["steps"] for s in undecided.training_stages if "steps" in draft.values.get(s, {})},
    )


def _plan(dial: DialConfig | None, work: Workload, measured: Measured, meter: MeterConfig) -> Plan:
    if dial is not None:
        return plan_for_budget(dial, work, measured, meter)
    if work.model is None:
        raise ConfigError("without a dial the recipe must give the model's shape")
    return predict(work, measured, meter, work.model, work.steps)


def settle(draft: Draft, run: RunDirectory, terminal: Terminal) -> Recipe:
    """The recipe that `run` will follow; a run started from the same draft keeps the values it was given then."""
    if _known_hash(run) == draft.hash:
        terminal.line("recipe", f"as resolved before ({run.recipe_path})")
        return read_resolved(run).model_copy(update={"mesh": draft.parse(UNDECIDED).mesh})  # any may go on
    measured = measure(draft.parse(UNDECIDED))
    recipe, plan, origins = resolve(draft, measured)
    announce(measured, plan, terminal)
    run.create()
    header = f"# Resolved from {Path(draft.source).name}.  Behind each value: where it came from.\n"
    write_text(run.recipe_path, header + dump_toml(recipe.model_dump(mode="json"), origins))
    predicted = plan.to_json() if plan is not None else {"seconds": None}
    device = measured.profile.to_json()
    write_json(run.path / "plan.json", {"recipe": draft.hash, "device": device, "predicted": predicted})
    return recipe


def announce(measured: Measured, plan: Plan | None, terminal: Terminal) -> None:
    """The machine and the plan, a line each, before anything runs."""
    profile = measured.profile
    terminal.line(
        "Glasshouse",
        f"{__version__} · {profile.n_cores} cores, {format_bytes(profile.memory_bytes)}, "
        f"{profile.flops_per_s / 1e9:.0f} GFLOP/s measured",
    )
    if plan is not None:
        terminal.line("plan", describe_plan(plan))
        for note in plan.notes:
            terminal.warn("plan", note)


def read_resolved(run: RunDirectory) -> Recipe:
    values, text = read_toml(run.recipe_path)
    return parse_config(Recipe, values, run.recipe_path, text)


def describe_plan(plan: Plan) -> str:
    """`2.6 M parameters, 6.1 M tokens · predicted 7 min 40 s, 1.9 GB, 0.9 bits/byte, 6 Wh (estimated)`."""
    record = plan.to_json()
    loss = f", {plan.bits_per_byte:.2f} bits/byte after pretraining" if plan.bits_per_byte else ""
    if plan.bits_per_byte_interval is not None:
        loss = loss.replace(
            " bits", f" ({plan.bits_per_byte_interval[0]:.2f}–{plan.bits_per_byte_interval[1]:.2f}) bits"
        )
    return (
        f"{format_count(record['parameters'])} parameters, {format_count(record['tokens'])} tokens · predicted "
        f"{format_seconds(plan.seconds)}, {format_bytes(plan.memory_bytes)}{loss}, "
        f"{plan.cost.joules / 3600:.2g} Wh (estimated)"
    )


def _known_hash(run: RunDirectory) -> str | None:
    try:
        return str(read_json(run.path / "plan.json")["recipe"]) if run.recipe_path.exists() else None
    except (OSError, ValueError, KeyError):
        return None


def _origins(draft: Draft, recipe: Recipe, decided: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    by = "the dial" if recipe.dial is not None else "the recipe's other values"
    derived = {f"{section}.{key}": f"derived from {by}" for section, own in decided.items() for key in own}
    known = {**derived, **draft.origins}
    return {key: known.get(key, "default") for key in _leaves(recipe.model_dump(mode="json"))}


def _leaves(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    leaves: list[str] = []
    for key, value in values.items():
        leaves += _leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [f"{prefix}{key}"]
    return leaves
