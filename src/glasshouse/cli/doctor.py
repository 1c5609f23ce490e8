"""`glass doctor`: print what the diagnosis finds, as it finds it."""

from collections.abc import Iterator
from itertools import chain

from rich.console import Console
from rich.text import Text

from glasshouse.core.errors import GlasshouseError
from glasshouse.meter.doctor import Finding, diagnose


def print_diagnosis() -> None:
    """Raises at the end where something is broken, so that the exit code says so; advice alone is not an error."""
    console = Console(highlight=False)
    broken = []
    for finding in chain(diagnose(), _kernels()):
        mark, style = ("✓", "green") if finding.is_well else ("!", "yellow")
        console.print(Text.assemble((f"{mark} {finding.name:<10}", style), finding.text))
        if not finding.is_well:
            console.print(Text(f"             → {finding.remedy}", style="yellow"))
            broken += [finding.name] if finding.name in ("python", "torch", "numerics") else []
    if broken:
        raise GlasshouseError(f"Glasshouse cannot work here before this is mended: {', '.join(broken)}")


def _kernels() -> Iterator[Finding]:
    from glasshouse.infer.native import why_unavailable as why_no_inference
    from glasshouse.model.native import why_no_bf16
    from glasshouse.model.native import why_unavailable as why_no_training

    if why := why_no_training() or why_no_inference():
        yield Finding(
            "kernels", f"not available: {why}", "optional: training and answering on CPU run on torch, slower"
        )
    else:
        in_bf16 = "training in bf16 too" if why_no_bf16() is None else "training in fp32 alone"
        yield Finding("kernels", f"C++ kernels for training and answering on CPU work, {in_bf16}")
