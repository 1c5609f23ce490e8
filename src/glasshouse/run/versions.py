"""Which code made this: versions of Glasshouse, Python and what it stands on, and the commit where there is one."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from glasshouse import __version__

PACKAGES = ("torch", "numpy", "tokenizers", "tiktoken", "safetensors", "pydantic")


def versions() -> dict[str, str]:
    found = {"glasshouse": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    if commit := code_commit():
        found["commit"] = commit
    return found


def code_commit() -> str | None:
    """The commit of a checkout, with `+changes` where files differ from it; None for an installed package."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD")
        return commit + ("+changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()
