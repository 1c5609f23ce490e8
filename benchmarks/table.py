"""`make bench-table`: committed results as tables between the markers of README.md and docs/speed.md.

README.md has every row; docs/speed.md those of fast_and_far with a peer's value, and what they were measured on.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from record import ROOT, read_results

BEGIN, END = "<!-- figures:begin -->", "<!-- figures:end -->"


def table(figures: Iterable[dict[str, Any]]) -> str:
    lines = ["| what | measured | target | |", "|---|---|---|---|"]
    for figure in figures:
        mark = {True: "met", False: "**not met**", None: ""}[figure["is_met"]]
        peer = f" (peer: {shown(figure['peer_value'])})" if figure["peer_value"] is not None else ""
        measured = f"{shown(figure['value'])} {figure['unit']}{peer}"
        lines.append(f"| {figure['what']} | {measured} | {figure['target'] or ''} | {mark} |")
    return "\n".join(lines)


def every_row() -> str:
    return table(figure for result in read_results() for figure in result["figures"])


def speed_rows() -> str:
    """What stands beside a peer's value, a table for each processor, day and commit."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for result in read_results():
        for figure in result["figures"]:
            if result["name"] == "fast_and_far" and figure["peer_value"] is not None:
                about = {**result, "processor": result["machine"]["processor"], **figure}
                heading = (
                    f"{about['processor']}, {result['machine']['cores']} cores, torch {result['versions']['torch']}"
                )
                groups.setdefault(f"{heading}, {about['date']}, commit {about['commit']}", []).append(figure)
    return "\n\n".join(f"{heading}:\n\n{table(figures)}" for heading, figures in groups.items())


def shown(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def draw(page: Path, drawn: str) -> None:
    text = page.read_text()
    if BEGIN not in text:
        sys.exit(f"{page} has no {BEGIN}")
    head, _, rest = text.partition(BEGIN)
    page.write_text(f"{head}{BEGIN}\n{drawn}\n{END}{rest.partition(END)[2]}")


def main() -> None:
    print(drawn := every_row())
    draw(ROOT / "README.md", drawn)
    draw(ROOT / "docs" / "speed.md", speed_rows())


if __name__ == "__main__":
    main()
