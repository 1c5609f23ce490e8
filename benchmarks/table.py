"""`make bench-table`: every committed result as a table, and the same between the markers of README.md."""

import sys
from typing import Any

from record import ROOT, read_results

BEGIN, END = "<!-- figures:begin -->", "<!-- figures:end -->"


def table() -> str:
    lines = ["| what | measured | target | |", "|---|---|---|---|"]
    for result in read_results():
        for figure in result["figures"]:
            mark = {True: "met", False: "**not met**", None: ""}[figure["is_met"]]
            peer = f" (peer: {shown(figure['peer_value'])})" if figure["peer_value"] is not None else ""
            measured = f"{shown(figure['value'])} {figure['unit']}{peer}"
            lines.append(f"| {figure['what']} | {measured} | {figure['target'] or ''} | {mark} |")
    return "\n".join(lines)


def shown(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def main() -> None:
    drawn = table()
    print(drawn)
    readme = ROOT / "README.md"
    text = readme.read_text()
    if BEGIN not in text:
        sys.exit(f"{readme} has no {BEGIN}")
    head, _, rest = text.partition(BEGIN)
    readme.write_text(f"{head}{BEGIN}\n{drawn}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
