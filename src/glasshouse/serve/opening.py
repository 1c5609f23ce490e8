"""What the studio opens: runs, checkpoints, or a whole folder of runs; finished ones answer, all of them are shown."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from glasshouse.core.config import parse_config
from glasshouse.core.environment import start_torch, state_directory
from glasshouse.core.errors import ConfigError
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal
from glasshouse.infer import BackgroundEngine
from glasshouse.serve.app import create_app
from glasshouse.serve.config import ServeConfig
from glasshouse.serve.server import check_exposure, load_engine, named_models, run_app
from glasshouse.serve.studio import add_studio

MAX_MODELS = 8  # of a folder of runs: the newest


def open_studio(paths: Sequence[str], options: Mapping[str, Any]) -> None:
    """Serve the studio until a signal ends it."""
    models, runs_root = find_models(paths)
    config = _config(models, options)
    start_torch()
    engines = {name: load_engine(path, config) for name, path in named_models(config.models).items()}
    _serve_pages(engines, config, runs_root)


def open_labels(campaign: str, place: str, options: Mapping[str, Any]) -> None:
    """Serve the studio without a model, at the page where people label `campaign`, whose store is at `place`."""
    _serve_pages({}, _config((), options), Path("runs"), place, f"#/label/{campaign}")


def _config(models: Sequence[str], options: Mapping[str, Any]) -> ServeConfig:
    given = {key: value for key, value in options.items() if value is not None}
    config = parse_config(ServeConfig, {"models": tuple(models), **given})
    check_exposure(config)
    return config


def _serve_pages(
    engines: Mapping[str, BackgroundEngine], config: ServeConfig, runs_root: Path,
    labels_place: str | None = None, page: str = "",
) -> None:  # fmt: skip
    terminal = Terminal()
    app = create_app(engines, config)
    missing = add_studio(app, engines, runs_root, state_directory() / "studio", labels_place)
    terminal.line("studio", f"{', '.join(engines) or 'no finished model yet'} · runs of {runs_root}/")
    if missing:
        terminal.line("labels", missing)
    terminal.line("", f"open http://{config.host}:{config.port}/studio/{page}   (Ctrl-C ends it)")
    run_app(app, config)


def find_models(paths: Sequence[str]) -> tuple[tuple[str, ...], Path]:
    """(models that can answer, the folder whose runs are shown).  A folder of runs stands for its newest runs."""
    models: list[str] = []
    roots: list[Path] = []
    for path in paths:
        folder = Path(path)
        if folder.is_dir() and not _is_run(folder) and not (folder / "config.json").is_file():
            roots.append(folder)
            models += list(_finished(folder))[:MAX_MODELS]
        else:
            models.append(path)
            roots += [folder.parent] if _is_run(folder) else []
    if len(set(roots)) > 1:
        raise ConfigError(f"the studio shows the runs of one folder; got {', '.join(map(str, dict.fromkeys(roots)))}")
    return tuple(dict.fromkeys(models)), roots[0] if roots else Path("runs")


def _is_run(folder: Path) -> bool:
    return RunDirectory(folder).recipe_path.is_file()


def _finished(root: Path) -> Iterator[str]:
    """Runs below `root` that have a model, the newest first."""
    runs = [folder for folder in root.iterdir() if _is_run(folder) and (folder / "model" / "config.json").is_file()]
    for folder in sorted(runs, key=lambda f: (f / "model" / "config.json").stat().st_mtime, reverse=True):
        yield str(folder)
