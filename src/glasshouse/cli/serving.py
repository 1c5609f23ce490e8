"""The verbs that hand a model on: export."""

from pathlib import Path

from rich.console import Console


def export(model: Path, standalone: Path) -> None:
    """Write the two-file form of a model and say how it is used."""
    from glasshouse.core.environment import start_torch

    start_torch()
    from glasshouse.infer.standalone import export_standalone

    made = export_standalone(model, standalone)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{made.folder}: {made.n_bytes / 1e6:.1f} MB, needs Python and NumPy alone", markup=False)
    example = "What can you do?" if made.can_chat else "Once upon a time"
    console.print(f'Try: python {made.folder / "run.py"} "{example}"', markup=False)
