"""Fast on one machine, ready for many: every figure of training speed, many processes and planning.

    python benchmarks/fast_and_far.py                        all parts but the long ones, half an hour on two cores
    python benchmarks/fast_and_far.py --only steps published some; the other rows stay as they are in the result

Parts: steps (native kernels beside torch's), muon (its iteration alone), equality, saving, kills and memory (many
processes), published, dry-run, planned-memory, and the long ones: ladder (of the ladder that lies in runs/ladder, or
climbs it: twenty minutes), peers (tokens/s beside others), loss-in-ten (time to nanoGPT's loss) and nanochat (bits per
byte), half an hour each, which want checkouts of the peers (`peers.py` says which, and where).
"""

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import loss_in_ten
import many
import peer_speed
import planning
import training_speed
import vs_nanochat
from peers import BESIDE, Peers
from record import Figure, measure_parts

LONG = ("ladder", "peers", "loss-in-ten", "nanochat")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=[part for part in PARTS if part not in LONG])
    parser.add_argument("--peers", type=Path, default=BESIDE, help="the folder with the checkouts of the peers")
    parser.add_argument(
        "--ours-alone", action="store_true",
        help="in loss-in-ten and nanochat: what the peers reached stands as the result has it",
    )  # fmt: skip
    asked = parser.parse_args()
    parts = {name: partial(part, Peers(asked.peers, asked.ours_alone)) for name, part in PARTS.items()}
    measure_parts("fast_and_far", parts, asked.only)


PARTS: Mapping[str, Callable[[Peers], list[Figure]]] = {
    "steps": lambda _: [figure for case in training_speed.CASES for figure in training_speed.figures(case)],
    "muon": lambda _: training_speed.muon_figures(),
    **{part: lambda _, part=part: many.figures(only=[part]) for part in many.PARTS},  # type: ignore[misc]
    "published": lambda _: planning.published_figures(),
    "dry-run": lambda _: planning.dry_run_figures(),
    "planned-memory": lambda _: planning.memory_figures(),
    "ladder": lambda _: planning.ladder_figures(climbs=True),
    "peers": peer_speed.figures,
    "loss-in-ten": loss_in_ten.figures,
    "nanochat": vs_nanochat.figures,
}

if __name__ == "__main__":
    main()
