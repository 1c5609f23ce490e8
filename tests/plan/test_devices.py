from dataclasses import asdict

import pytest

from glasshouse.plan import DEVICES


@pytest.mark.parametrize("name", DEVICES)
def test_every_device_is_whole(name: str) -> None:
    device = DEVICES[name]
    assert device.name == name
    assert all(value > 0 for key, value in asdict(device).items() if key != "name")
    assert 0.3 < device.matmul_share < 0.8
    assert device.memory_bytes / device.bytes_per_s < 0.1  # memory is read in tens of milliseconds
