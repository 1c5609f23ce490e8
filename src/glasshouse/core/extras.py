"""Optional dependencies: one line that says which extra to install."""

import importlib
from types import ModuleType

from glasshouse.core.errors import MissingExtraError


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import `module`, or raise `MissingExtraError` naming the extra.  Called by adapter files only."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{purpose} needs the package {module!r}, which is not installed. Run: pip install 'glasshouse[{extra}]'"
        ) from error
