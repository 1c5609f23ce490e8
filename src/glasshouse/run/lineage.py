"""The runs that made a model, one from another's: what `glass align` taught began with a run that pretrained."""

from collections.abc import Iterator
from pathlib import Path

from glasshouse.align.reference import weights_id
from glasshouse.core.errors import DataError
from glasshouse.core.rundir import RunDirectory
from glasshouse.run.learning import is_learning, read_learning
from glasshouse.run.tracing import RunTrace


def lineage(run: RunDirectory) -> list[RunDirectory]:
    """The run and those before it, newest first, as far as they lie on this machine.

    `DataError` where a run before holds other weights by now: its text is not what this model learned.
    """
    return list(_backwards(run))


def open_trace(run: RunDirectory) -> RunTrace:
    """What a run learned from, the runs before it included."""
    return RunTrace(*lineage(run))


def _backwards(run: RunDirectory) -> Iterator[RunDirectory]:
    yield run
    if not is_learning(run):
        return
    recipe = read_learning(run)
    model = Path(recipe.model)
    before = next((folder for folder in (model, *model.parents) if (folder / "recipe.toml").is_file()), None)
    if recipe.hub is not None or before is None:
        return
    if weights_id(model) != recipe.weights:
        raise DataError(
            f"{run.path} was made from other weights than {model} holds now, so what they learned from is not known. "
            f"Trace {before} for what lies there."
        )
    yield from _backwards(RunDirectory(before))
