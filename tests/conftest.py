"""Fixtures every folder's tests share."""

from pathlib import Path

import pytest

from glasshouse.core.environment import start_torch

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def _torch_settings() -> None:
    start_torch()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real public data laid beside the repository; tests that need it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no shared data beside the repository")
    return SHARED_DATA
