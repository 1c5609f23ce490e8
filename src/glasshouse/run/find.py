"""Where recipes and runs are found by name."""

from collections.abc import Iterator
from pathlib import Path

from glasshouse.core.errors import ConfigError, suggest
from glasshouse.core.rundir import RunDirectory

RECIPE_FOLDERS = (Path(__file__).resolve().parents[3] / "recipes", Path(__file__).resolve().parents[1] / "recipes")


def find_recipe(name: str) -> Path:
    """A path as given, or the recipe of that name that comes with Glasshouse (`quickstart`, `tiny/pretrain`)."""
    if Path(name).is_file():
        return Path(name)
    known = {str(p.relative_to(folder).with_suffix("")): p for folder in RECIPE_FOLDERS for p in folder.rglob("*.toml")}
    plain = name.removesuffix(".toml").removeprefix("recipes/")
    if plain in known:
        return known[plain]
    raise ConfigError(f"{name}: no such recipe.{suggest(plain, known)} Known by name: {', '.join(sorted(known))}")


def find_runs(root: Path) -> Iterator[RunDirectory]:
    """Run directories directly below `root`, oldest first."""
    found = {path.parent: path for name in ("events.jsonl", "recipe.toml") for path in root.glob(f"*/{name}")}
    for folder in sorted(found, key=lambda folder: found[folder].stat().st_mtime):
        yield RunDirectory(folder)


def open_run(path: Path) -> RunDirectory:
    """The run at `path`; `ConfigError` where there is none, with the nearest that exist."""
    if (path / "recipe.toml").is_file() or (path / "events.jsonl").is_file():
        return RunDirectory(path)
    near = [run.name for run in find_runs(path.parent)]
    raise ConfigError(f"{path} is not a run (it has no recipe.toml and no events.jsonl).{suggest(path.name, near)}")
