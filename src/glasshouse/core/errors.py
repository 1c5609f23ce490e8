"""Errors a user can act on: what was given, what is allowed, what to do.

The command line prints the message alone and exits with `exit_code`; anything that is not a `GlasshouseError` is a
defect of ours and shows its traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class GlasshouseError(Exception):
    """Base of every error that the user, not we, can mend."""

    exit_code = 1


class ConfigError(GlasshouseError):
    """A recipe, option or argument is wrong; nothing has been done yet."""

    exit_code = 2


class DataError(GlasshouseError):
    """Input text or conversations cannot be used."""

    exit_code = 3


class CheckpointError(GlasshouseError):
    """A checkpoint is missing, damaged, or does not belong to what it is used with."""

    exit_code = 4


class TrainingError(GlasshouseError):
    """Training cannot go on (loss diverged, disk full); the last good checkpoint stays good."""

    exit_code = 5


class MissingExtraError(GlasshouseError):
    """An optional dependency is not installed."""

    exit_code = 6


def suggest(name: str, allowed: Iterable[str]) -> str:
    """`suggest("stepz", ["steps"])` -> ` Did you mean "steps"?`; empty when nothing is near."""
    near = get_close_matches(name, list(allowed), n=1, cutoff=0.5)
    return f' Did you mean "{near[0]}"?' if near else ""
