"""Where the model is that a user names: a run, one of its stages, a checkpoint directory, or a model of the Hub.

A directory always wins over the Hub, and finding one asks no network.
"""

from dataclasses import dataclass
from pathlib import Path

from glasshouse.core.errors import CheckpointError, suggest
from glasshouse.core.rundir import RunDirectory
from glasshouse.infer.hub import HubName, HubRecord, fetch

RUNS = "runs"  # where runs are kept unless told otherwise: `runs/none` was never meant for the Hub
INSIDE = ("model", "checkpoint")  # where a run, and a stage of a run, keep their finished checkpoint


@dataclass(frozen=True, slots=True)
class Location:
    """`hub` says which commit of which repository the folder is, for the record of a run; None for a directory."""

    folder: Path
    hub: HubRecord | None = None


_fetched: dict[tuple[HubName, str | None, Path | None], Location] = {}  # one process, one commit: verbs ask repeatedly


def locate(path: Path | str, *, endpoint: str | None = None, cache: Path | None = None) -> Location:
    """The model that `path` names; one of the Hub is downloaded if need be."""
    path = Path(path)
    for folder in (path, *(path / name for name in INSIDE)):
        if (folder / "config.json").is_file():
            return Location(folder)
    is_local = path.exists() or path.parts[:1] == (RUNS,) or _neighbour(path)
    name = None if is_local else HubName.parse(str(path))
    if name is None:
        raise CheckpointError(_fault(path))
    key = (name, endpoint, cache)
    if key not in _fetched:
        _fetched[key] = Location(*fetch(name, endpoint=endpoint, cache=cache))
    return _fetched[key]


def model_folder(path: Path | str) -> Path:
    """The checkpoint directory that `path` is or leads to."""
    return locate(path).folder


def _neighbour(path: Path) -> str:
    """A hint at a directory beside `path` whose name is nearly the same: then the Hub was not meant."""
    neighbours = [str(p) for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
    return suggest(str(path), neighbours)


def _fault(path: Path) -> str:
    if not path.exists():
        return f"{path}: no such directory.{_neighbour(path)}"
    if not path.is_dir():
        return f"{path} is a file; name a run directory (runs/quickstart) or a checkpoint directory."
    run = RunDirectory(path)
    if run.model_path.is_symlink() and not run.model_path.exists():
        return f"{path}: its model is gone ({run.model_path} leads nowhere). Run it again: glass resume {path}"
    if run.recipe_path.is_file():
        return f"{path}: this run has no finished model yet. Let it finish: glass resume {path}"
    return f"{path}: neither a run directory (with model/) nor a checkpoint directory (with config.json)."
