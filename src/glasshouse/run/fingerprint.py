"""What a recipe reads from outside, as values to compare: a change of the text makes its stages run again."""

import platform
from typing import Any

from glasshouse.corpus.sources import find_files
from glasshouse.run.recipe import Recipe


def fingerprint_sources(recipe: Recipe) -> list[Any]:
    """(source, size, time of change) of every file read; the interpreter's version for `stdlib:`."""
    sources = list(recipe.corpus.sources)
    if "sft" in recipe.stages and recipe.sft is not None:
        sources.append(recipe.sft.conversations)
    return [_fingerprint(source) for source in sources]


def _fingerprint(source: str) -> Any:
    if source.endswith(":"):
        return [source, platform.python_version()]
    files = find_files(source, lambda problem: None)
    return [[str(file.path), file.n_bytes, file.path.stat().st_mtime_ns] for file in files]
