"""What a recipe reads from outside, as values to compare: a change of the text makes its stages run again."""

import platform
from pathlib import Path
from typing import Any

from glasshouse.corpus.sources import find_files
from glasshouse.run.recipe import Recipe


def fingerprint_sources(recipe: Recipe) -> list[Any]:
    """(source, size, time of change) of every file read; the interpreter's version for `stdlib:`."""
    sources = list(recipe.corpus.sources)
    if "sft" in recipe.stages and recipe.sft is not None:
        sources.append(recipe.sft.conversations)
    return [_fingerprint(source) for source in sources]


def fingerprint_judging(recipe: Recipe, stage: str) -> list[Any]:
    """The same of the files that only the judging stage `stage` reads: a policy, a folder of data for probes."""
    if not stage.startswith("trust-"):
        return []
    given = [Path(path) for path in (recipe.trust.data, recipe.trust.policy) if path is not None]
    return [_of_file(file) for path in given for file in ([path] if path.is_file() else sorted(path.rglob("*")))]


def _of_file(path: Path) -> Any:
    status = path.stat()
    return [str(path), status.st_size, status.st_mtime_ns]


def _fingerprint(source: str) -> Any:
    if source.endswith(":"):
        return [source, platform.python_version()]
    return [_of_file(file.path) for file in find_files(source, lambda problem: None)]
