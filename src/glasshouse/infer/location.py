"""Where the model is that a user names: a run directory, one of its stages, or a checkpoint directory itself."""

from pathlib import Path

from glasshouse.core.errors import CheckpointError, suggest
from glasshouse.core.rundir import RunDirectory

INSIDE = ("model", "checkpoint")  # where a run, and a stage of a run, keep their finished checkpoint


def model_folder(path: Path | str) -> Path:
    """The checkpoint directory that `path` is or leads to."""
    path = Path(path)
    if (path / "config.json").is_file():
        return path
    for name in INSIDE:
        if (path / name / "config.json").is_file():
            return path / name
    raise CheckpointError(_fault(path))


def _fault(path: Path) -> str:
    if not path.exists():
        neighbours = [str(p) for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
        return f"{path}: no such directory.{suggest(str(path), neighbours)}"
    if not path.is_dir():
        return f"{path} is a file; name a run directory (runs/quickstart) or a checkpoint directory."
    run = RunDirectory(path)
    if run.model_path.is_symlink() and not run.model_path.exists():
        return f"{path}: its model is gone ({run.model_path} leads nowhere). Run it again: glass resume {path}"
    if run.recipe_path.is_file():
        return f"{path}: this run has no finished model yet. Let it finish: glass resume {path}"
    return f"{path}: neither a run directory (with model/) nor a checkpoint directory (with config.json)."
