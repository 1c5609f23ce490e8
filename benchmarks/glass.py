"""Judging, explaining and tracing: every figure of them, from the scripts that measure each.

    python benchmarks/glass.py                         all parts, about fifty minutes on two cores
    python benchmarks/glass.py --only trace oracles    some; the other rows stay as they are in the result

Parts: trust (of a finished quickstart), canaries, blimp (trains thirty minutes), speed, trace, oracles.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import blimp
import eval_speed
import explain_oracles
import tracing
import trust
from record import ROOT, Figure, measure_parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=PARTS)
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "quickstart", help="a finished quickstart")
    given = parser.parse_args()
    measure_parts("glass", {**PARTS, "trust": lambda: trust.seconds_of_suite(given.run)}, given.only)


PARTS: Mapping[str, Callable[[], list[Figure]]] = {
    "trust": lambda: trust.seconds_of_suite(ROOT / "runs" / "quickstart"),
    "canaries": lambda: trust.canary_figures(trust.STEPS),
    "blimp": blimp.blimp_figures,
    "speed": eval_speed.eval_speed_figures,
    "trace": tracing.trace_figures,
    "oracles": explain_oracles.figures,
}

if __name__ == "__main__":
    main()
