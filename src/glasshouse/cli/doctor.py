"""`glass doctor`: print what the diagnosis finds, as it finds it."""

from rich.console import Console
from rich.text import Text

from glasshouse.core.errors import GlasshouseError
from glasshouse.meter.doctor import diagnose


def print_diagnosis() -> None:
    """Raises at the end where something is broken, so that the exit code says so; advice alone is not an error."""
    console = Console(highlight=False)
    broken = []
    for finding in diagnose():
        mark, style = ("✓", "green") if finding.is_well else ("!", "yellow")
        console.print(Text.assemble((f"{mark} {finding.name:<10}", style), finding.text))
        if not finding.is_well:
            console.print(Text(f"             → {finding.remedy}", style="yellow"))
            broken += [finding.name] if finding.name in ("python", "torch", "numerics") else []
    if broken:
        raise GlasshouseError(f"Glasshouse cannot work here before this is mended: {', '.join(broken)}")
