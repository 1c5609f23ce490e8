"""`make bench-table`: committed results as tables between the markers of README.md, docs/figures.md and docs/speed.md.

README.md has the headlines and what was not met, docs/figures.md every row, docs/speed.md those of fast_and_far with a
peer's value, and what they were measured on.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from record import ROOT, read_results

BEGIN, END = "<!-- figures:begin -->", "<!-- figures:end -->"
MOST_SHOWN = 120  # characters of a value in a page; longer ones are details, and stand in the result alone

TITLES = {
    "first_life": "A first life",
    "vs_nanogpt": "Beside nanoGPT's small documented run",
    "fast_and_far": "Fast on one machine, ready for many",
    "engine": "Answering",
    "glass": "Judging, explaining, tracing",
    "learning_from_people": "Learning from people and rewards",
}
HEADLINES = (  # how rows begin
    "quickstart, whole life",
    "exact answers on held-out phrasings, unseen",
    "made-up names honestly refused",
    "quickstart: confidently wrong about known and made-up names",
    "kill -9 at 20 random moments",
    "time to nanoGPT's validation loss",
    "10.7 M parameters (384 wide, 6 layers, 12 x 256 characters): tokens/s of training against",
    "52 M parameters (640 wide, 10 layers, 4 x 256 tokens of novels): tokens/s of training against",
    "tinyshakespeare characters, 10.7 M parameters: time to",
    "novels by BPE, 10.7 M parameters: time to",
    "novels: bits per byte, Glasshouse after 5 min",
    "4 processes, FSDP2 x TP: largest difference",
    "15 kills of a random rank",
    "step time with a checkpoint",
    "dry run of Llama 2 70B",
    "planned against published: Llama 2 70B, 2 T tokens: A100-hours",
    "ladder's prediction",
    "decode, batch 1, int8, against",
    "32 concurrent requests, 128 in / 128 out, int8, through HTTP",
    "batch 8, fp32, against transformers",
    "evaluation speed, 5,000 items (sentiment), 5 M parameters",
    "BLiMP, 34 paradigms",
    "lens, all layers and positions",
    "trace query, 101 M tokens: p50",
    "GRPO on two-digit arithmetic: pass@1",
    "GRPO beside TRL: steps per second",
)

Row = dict[str, Any]


def table(figures: Iterable[Row]) -> str:
    lines = ["| what | measured | target | |", "|---|---|---|---|"]
    for figure in figures:
        mark = {True: "met", False: "**not met**", None: ""}[figure["is_met"]]
        peer = f" (peer: {shown(figure['peer_value'])})" if figure["peer_value"] is not None else ""
        measured = f"{shown(figure['value'])} {figure['unit']}{peer}"
        lines.append(f"| {figure['what']} | {measured} | {figure['target'] or ''} | {mark} |")
    return "\n".join(lines)


def headlines() -> str:
    rows = [figure for result in read_results() for figure in result["figures"]]
    chosen = [next((row for row in rows if row["what"].startswith(start)), None) for start in HEADLINES]
    aims = [row for row in rows if row["is_met"] is not None]
    missed = [row for row in aims if not row["is_met"]]
    summary = f"Of {len(aims)} figures that have a target, {len(aims) - len(missed)} are met."
    if missed:
        summary += " Not met: " + "; ".join(f"{row['what']} ({shown(row['value'])})" for row in missed) + "."
    return f"{table(filter(None, chosen))}\n\n{summary}"


def every_row() -> str:
    """A section for each result, in the order of `TITLES`; one without a title comes last, under its name."""
    results = {result["name"]: result for result in read_results()}
    sections = []
    for name in sorted(results, key=[*TITLES, *(results.keys() - TITLES.keys())].index):
        rows = [row for row in results[name]["figures"] if len(shown(row["value"])) <= MOST_SHOWN]
        sections.append(f"## {TITLES.get(name, name)}\n\n`benchmarks/results/{name}.json`\n\n{table(rows)}")
    return "\n\n".join(sections)


def speed_rows() -> str:
    """What stands beside a peer's value, a table for each processor, day and commit."""
    groups: dict[str, list[Row]] = {}
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
    if isinstance(value, dict):
        return ", ".join(f"{name}: {shown(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(shown, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def draw(page: Path, drawn: str) -> None:
    text = page.read_text()
    if BEGIN not in text:
        sys.exit(f"{page} has no {BEGIN}")
    head, _, rest = text.partition(BEGIN)
    page.write_text(f"{head}{BEGIN}\n{drawn}\n{END}{rest.partition(END)[2]}")


def main() -> None:
    draw(ROOT / "README.md", headlines())
    draw(ROOT / "docs" / "figures.md", every_row())
    draw(ROOT / "docs" / "speed.md", speed_rows())


if __name__ == "__main__":
    main()
