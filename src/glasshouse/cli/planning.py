"""The verbs that look ahead: plans for clusters, what others' runs took, a step traced on fakes, the ladder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from glasshouse.core.errors import ConfigError
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal, format_bytes, format_count, format_seconds

TABLE_WIDTH = 190  # a narrow terminal wraps the lines of a table sooner than it may lose its columns


def show_plan_here(
    recipe: str | None, settings: Sequence[str], dial: dict[str, str], cluster: dict[str, Any], preset: str | None,
    world_size: int | None, ladder: Path | None,
) -> None:  # fmt: skip
    """What would run here: shape, steps and rates of each stage, and what they would take."""
    stray = [*cluster, *(["model"] if preset else []), *(["world_size"] if world_size else [])]
    if stray:
        option = stray[0].replace("_", "-")
        raise ConfigError(f"--{option} says something of other machines: give --device NAME with it (or --dry-run)")
    from glasshouse.run.find import find_recipe
    from glasshouse.run.measuring import measure
    from glasshouse.run.resolve import UNDECIDED, announce, load_draft, resolve

    if ladder is not None:
        dial = {**dial, "ladder": str(ladder)}
    draft = load_draft(find_recipe(recipe or "quickstart"), settings, dial)
    measured = measure(draft.parse(UNDECIDED))
    resolved, plan, _ = resolve(draft, measured)
    terminal = Terminal()
    announce(measured, plan, terminal)
    if plan is None:
        return
    shape = plan.model
    terminal.line("model", f"{shape.n_layers} layers, {shape.d_model} wide, {shape.n_heads} heads "
                           f"({shape.n_kv_heads} for keys and values), {shape.vocab_size:,} tokens, "
                           f"context {shape.max_seq_len:,}")  # fmt: skip
    for name, stage in plan.stages.items():
        config = resolved.training(name)
        terminal.line(name, f"{stage.steps:,} steps of {config.batch_tokens:,} tokens · {format_seconds(stage.seconds)}"
                            f" · rates {config.optim.matrix_lr:g} (matrices), {config.optim.embedding_lr:g} (rest)"
                            f" · {stage.cost.joules / 3600:.2g} Wh")  # fmt: skip
    for name, seconds in plan.overhead_seconds.items():
        terminal.line(name, format_seconds(seconds))
    terminal.line("law", plan.law.origin)


def show_cluster_plan(
    recipe: str | None, settings: Sequence[str], device: str, options: dict[str, Any], preset: str | None,
    ladder: Path | None,
) -> None:  # fmt: skip
    """A model, its layout on a cluster, and what that will take."""
    from glasshouse.core.config import parse_config
    from glasshouse.core.errors import suggest
    from glasshouse.model import PRESETS
    from glasshouse.plan import CHINCHILLA, ClusterConfig, plan_for_cluster, read_fit
    from glasshouse.run.elsewhere import device_named, plan_job, read_job
    from glasshouse.run.find import find_recipe

    chosen, config = device_named(device), parse_config(ClusterConfig, options, "the command line")
    law = CHINCHILLA if ladder is None else read_fit(ladder)
    if preset is not None and preset not in PRESETS:
        raise ConfigError(f"unknown model {preset!r}.{suggest(preset, PRESETS)} Known: {', '.join(PRESETS)}")
    if recipe is not None:
        plan = plan_job(read_job(find_recipe(recipe), tuple(settings)), config, chosen, law)
    else:
        plan = plan_for_cluster(config, chosen, PRESETS[preset] if preset else None, law)
    _print_cluster_plan(plan)


def _print_cluster_plan(plan: Any) -> None:
    terminal, record, model = Terminal(), plan.to_json(), plan.model
    terminal.line("model", f"{format_count(record['parameters'])} parameters: {model.n_layers} layers, {model.d_model} "
                           f"wide, {model.n_heads} heads ({model.n_kv_heads} for keys and values), "
                           f"{model.vocab_size:,} tokens")  # fmt: skip
    batch = format_count(plan.layout.step_tokens(plan.seq_len))
    tokens = format_count(plan.tokens)
    terminal.line("training", f"{tokens} tokens in {plan.steps:,} steps of {batch}, rows of {plan.seq_len:,}")
    terminal.line("layout", f"{plan.layout.n_devices:,} x {plan.device.name}: {plan.layout.describe()}")
    settings = plan.layout.settings(plan.seq_len)
    terminal.line("recipe", " ".join(f"--set {key}={value}" for key, value in settings.items()))
    memory = record["memory_bytes"]
    parts = ", ".join(f"{name} {format_bytes(n)}" for name, n in memory.items() if name != "total")
    terminal.line(
        "memory", f"{format_bytes(memory['total'])} of {format_bytes(plan.device.memory_bytes)} a rank: {parts}"
    )
    step = record["step_seconds"]
    shares = ", ".join(f"{name.replace('_', ' ')} {100 * s / step['total']:.0f} %" for name, s in step.items()
                       if name != "total" and s / step["total"] > 0.005)  # fmt: skip
    terminal.line("step", f"{step['total']:.3g} s, {100 * plan.share_of_peak:.0f} % of peak: {shares}")
    terminal.line("cost", f"{plan.seconds / 86400:.3g} days, {format_count(plan.device_hours)} device-hours, "
                          f"{plan.usd:,.3g} USD, {plan.mwh:,.3g} MWh")  # fmt: skip
    terminal.line("loss", f"{plan.loss:.3f} ({plan.loss_low:.3f}–{plan.loss_high:.3f}) {plan.law.unit}")
    terminal.line("", f"law: {plan.law.origin}")
    terminal.line("", "speed: constants fitted on published runs; their errors: glass plan --published")


def show_published() -> None:
    """What others' runs took, beside what the planner says of them."""
    from glasshouse.plan.published import GOODPUT, published_rows

    table = Table(box=None, header_style="bold green")
    for column in ("run", "what", "published", "planned", "error", "source"):
        table.add_column(column, justify="right" if column in ("published", "planned", "error") else "left")
    for row in published_rows():
        error = f"{100 * row.error:+.1f} %{' fitted' if row.is_fitted else ''}"
        table.add_row(row.run, row.what, f"{row.published:,.5g}", f"{row.predicted:,.5g}", error, row.source)
    console = Console(highlight=False)
    Console(highlight=False, width=max(TABLE_WIDTH, console.width)).print(table)
    Terminal().line("fitted", f"rows so marked gave the constants (and hours of long runs the share {GOODPUT}); "
                              "all others are checks")  # fmt: skip


def show_dry_run(recipe: str | None, settings: Sequence[str], world_size: int | None, device: str | None) -> None:
    """One training step of a recipe on a world of any size, traced here."""
    from glasshouse.run.elsewhere import device_named, read_job, trace_job, what_would_fit
    from glasshouse.run.find import find_recipe

    if recipe is None or world_size is None:
        raise ConfigError("a dry run traces a recipe on a number of processes: "
                          "glass plan recipes/llama-70b.toml --dry-run --world-size 2048")  # fmt: skip
    terminal, job = Terminal(), read_job(find_recipe(recipe), tuple(settings))
    chosen = device_named(device) if device else None
    found = trace_job(job, world_size)
    axes = " x ".join(f"{axis} {size}" for axis, size in found.mesh.items() if size > 1) or "1 process"
    terminal.line("dry run", f"{world_size:,} processes ({axes}), {found.tokens:,} tokens a microbatch, traced in "
                             f"{format_seconds(found.seconds)}")  # fmt: skip
    lasting = {"weights": found.weights_bytes, "gradients": found.gradients_bytes, "optimizer": found.optimizer_bytes}
    terminal.line("memory", f"of a rank: {', '.join(f'{name} {format_bytes(n)}' for name, n in lasting.items())}")
    phases = ", ".join(f"{phase} {format_bytes(n)}" for phase, n in found.peak_by_phase.items())
    terminal.line("peak", f"{format_bytes(found.peak_bytes)} held by tensors: {phases}")
    for c in found.collectives:
        terminal.line("", f"{c.kind:<16} over {c.n_ranks:>5,} ranks  {c.n_calls:>5,} calls  {format_bytes(c.n_bytes)}")
    if chosen is not None:
        problem = what_would_fit(found, chosen)
        if problem is not None:
            raise ConfigError(problem)
        terminal.line("fits", f"{chosen.name}, {format_bytes(chosen.memory_bytes)}")


def climb(data: Sequence[str], time: str | None, out: Path, settings: Sequence[str]) -> None:
    """Train the ladder at `out`, or go on with it, and write its page."""
    from glasshouse.core.config import override, parse_config
    from glasshouse.report import render_ladder
    from glasshouse.run.ladder import Ladder, LadderConfig

    values: dict[str, Any] = {"corpus": {"sources": list(data)}} if data else {}
    if time is not None:
        values["time"] = time
    config = parse_config(LadderConfig, override(values, list(settings)), "the command line")
    terminal, run = Terminal(), RunDirectory(out)
    try:
        Ladder(config, run, terminal).climb()
    except KeyboardInterrupt:
        terminal.warn("stopped", f"nothing finished is lost. Go on: give the same command again ({out})")
        raise
    terminal.line("report", str(render_ladder(run)))
    terminal.line("", f"plan with it:  glass plan --ladder {out}")
