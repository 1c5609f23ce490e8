"""What a stage is given."""

from dataclasses import dataclass
from pathlib import Path

from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal
from glasshouse.meter import DeviceProfile, Meter
from glasshouse.parallel import Mesh
from glasshouse.run.recipe import Recipe


@dataclass(frozen=True, slots=True)
class StageContext:
    """`folder` is the stage's own; others' are found through `run`."""

    name: str
    recipe: Recipe
    run: RunDirectory
    folder: Path
    terminal: Terminal
    profile: DeviceProfile
    meter: Meter
    mesh: Mesh
