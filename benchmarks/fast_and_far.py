"""Fast on one machine, ready for many: every figure of training speed, many processes and planning.

    python benchmarks/fast_and_far.py                        all parts but the ladder, about half an hour on two cores
    python benchmarks/fast_and_far.py --only steps published some; the other rows stay as they are in the result

Parts: steps (native kernels beside torch's), equality, saving, kills and memory (many processes), published, dry-run,
planned-memory, ladder (of the ladder that lies in runs/ladder, or climbs it: twenty minutes).
"""

import argparse
from collections.abc import Callable, Mapping

import many
import planning
import training_speed
from record import Figure, measure_parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=[part for part in PARTS if part != "ladder"])
    measure_parts("fast_and_far", PARTS, parser.parse_args().only)


PARTS: Mapping[str, Callable[[], list[Figure]]] = {
    "steps": lambda: [figure for case in training_speed.CASES for figure in training_speed.figures(case)],
    **{part: lambda part=part: many.figures(only=[part]) for part in many.PARTS},
    "published": planning.published_figures,
    "dry-run": planning.dry_run_figures,
    "planned-memory": planning.memory_figures,
    "ladder": lambda: planning.ladder_figures(climbs=True),
}

if __name__ == "__main__":
    main()
