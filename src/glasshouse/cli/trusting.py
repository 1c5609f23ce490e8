"""The verbs `trust` and `moderation`: how far a model can be trusted, and what guards a server."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from glasshouse.core.config import override, parse_config
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal, format_seconds

if TYPE_CHECKING:
    from glasshouse.evals.trust import Finding


def trust(model: Path, whole: bool, data: Path | None, policy: Path | None, probes: Sequence[str]) -> None:
    """Every probe on a run's newest checkpoint, kept in the run and its report, or on a checkpoint, told here alone."""
    from glasshouse.evals.trust import TrustConfig, run_probes, write_findings
    from glasshouse.run.resolve import read_resolved
    from glasshouse.run.trusting import last_trained, lone_subject, subject_of

    given = {"size": "whole" if whole else "short", "data": data and str(data), "policy": policy and str(policy)}
    config = parse_config(TrustConfig, {**given, **({"probes": tuple(probes)} if probes else {})})
    terminal = Terminal()
    run = RunDirectory(model) if (model / "recipe.toml").is_file() else None
    if run is None:
        found = run_probes(lone_subject(model, config), config.probes, terminal)
    else:
        recipe = read_resolved(run)
        after = last_trained(run.path, recipe)
        found = run_probes(subject_of(run.path, after, recipe, config), config.probes, terminal)
    for name, (finding, seconds) in found.items():
        _print(name, finding, seconds)
    terminal.line("trust", format_seconds(sum(seconds for _, seconds in found.values())))
    if run is not None and not probes:
        from glasshouse.cli.life import write_report

        write_findings(run.stage("trust") / f"{after}.json", after, config.size, found)
        write_report(run.path)


def _print(name: str, finding: "Finding", seconds: float) -> None:
    console = Console(highlight=False)
    table = Table(
        title=f"{name} · {format_seconds(seconds)}", box=None, header_style="bold green", title_justify="left"
    )
    for column in ("measure", "value", "95 % interval", "items", "unit"):
        table.add_column(column, justify="left" if column in ("measure", "unit") else "right")
    for score in finding.scores:
        table.add_row(
            score.name, f"{score.value:.3g}", f"{score.low:.3g} to {score.high:.3g}", f"{score.count:,}", score.unit
        )
    if finding.scores:
        console.print(table)
    for text in finding.missing:
        console.print(f"not measured: {text}", style="yellow", markup=False)


def train_moderation(model: Path, data: Path, out: Path, settings: Sequence[str]) -> None:
    """A classifier grown from one's own checkpoint."""
    from glasshouse.core.environment import start_torch

    start_torch()
    from glasshouse.cli.life import learn_on
    from glasshouse.run.learning import learning_recipe

    learn_on(learning_recipe("moderation", model, data, (), override({}, settings)), RunDirectory(out))
