"""Bits per byte on held-out novels: nanochat's CPU recipes for ten minutes, Glasshouse for five.

    python benchmarks/vs_nanochat.py --peers ../peers     about half an hour on two cores; prints, writes nothing

nanochat runs as it stands: its tok_train, its base_train, its optimizer, its torch.compile (cached from a trial of a
few steps).  Its documentation knows two CPU settings, runs/runcpu.sh and the example at the head of base_train.py; both
are run, with the iterations that fit, the warm-up shortened where these are few, and 4,096 tokens in the vocabulary (it
would take 32,768, and spend most of ten minutes on its head).  The better of the two is the one to beat.  Both sides
read the same pages and are judged on the same pages of books that neither has read: nanochat by its own code,
Glasshouse by `transformers`, which opens its checkpoint.  Learning a tokenizer is outside the clock for both; starting,
compiling and saving are inside.
"""

import argparse
import json
import re
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import corpora
import pyarrow
import pyarrow.parquet
from loss_in_ten import run_glasshouse
from peers import BENCHMARKS, BESIDE, Peers, script, timed
from record import Figure, kept

VOCABULARY = 4096
JUDGED_EVERY = 4  # held-out pages
TRIAL_STEPS = 3
WARMUP_STEPS = 40  # nanochat's
MARGIN = 0.94  # of our time: a first run, whose steps slowed down on the way, took 305.8 s of 300
RUNS = "novels: the runs"
NEITHER = {"eval-every": -1, "core-metric-every": -1, "sample-every": -1}  # while it trains
RECIPES: dict[str, dict[str, Any]] = {
    "runs/runcpu.sh": {"depth": 6, "head-dim": 64, "window-pattern": "L", "max-seq-len": 512, "device-batch-size": 32,
                       "total-batch-size": 16384},
    "base_train.py's example": {"depth": 4, "window-pattern": "L", "max-seq-len": 512, "device-batch-size": 1,
                                "total-batch-size": 512},
}  # fmt: skip
SHAPE = {"d_model": 192, "n_layers": 5, "n_heads": 6, "n_kv_heads": 6, "d_head": 32, "d_ff": 512, "max_seq_len": 256}
TRAIN = {
    "seq_len": 256, "batch_tokens": 2048,
    "optim": {"matrix_lr": 0.02, "embedding_lr": 6e-3, "vector_lr": 6e-3, "beta2": 0.98},
    "schedule": {"kind": "linear", "warmup_steps": 20},
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, default=BESIDE, help="the folder with the checkouts")
    parser.add_argument("--minutes", type=float, default=10.0, help="of nanochat; Glasshouse has half")
    parser.add_argument("--only", nargs="*", choices=RECIPES, default=list(RECIPES))
    arguments = parser.parse_args()
    for figure in figures(Peers(arguments.peers), arguments.minutes, arguments.only):
        print(json.dumps(figure.__dict__))


def figures(peers: Peers, minutes: float = 10.0, only: list[str] | None = None) -> list[Figure]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        held_out = [page.text for page in corpora.pages(is_held_out=True)[::JUDGED_EVERY]]
        (folder / "held_out.json").write_text(json.dumps(held_out))
        runs = kept_runs() if peers.are_kept else run_nanochat(peers, folder, minutes, only or list(RECIPES))
        best = min(runs, key=lambda name: runs[name]["bits_per_byte"])
        peer = runs[best]["bits_per_byte"]
        corpus = corpora.novels(folder / "text", VOCABULARY)
        ours = run_glasshouse(corpus, folder / "run", MARGIN * 30 * minutes, SHAPE, TRAIN)
        asked = {"pages": str(folder / "held_out.json"), "checkpoint": ours.pop("checkpoint"),
                 "window": TRAIN["seq_len"]}  # fmt: skip
        printed = timed(script("page_bits.py", "transformers", json.dumps(asked)), BENCHMARKS)[1]
        judged = json.loads(printed.splitlines()[-1])
    bits, used_minutes = judged["bits_per_byte"], ours["seconds"] / 60
    return [
        Figure(f"novels: bits per byte, Glasshouse after {minutes / 2:g} min (by transformers) against nanochat's "
               f"CPU recipe after {minutes:g} min", round(bits, 4), "bits/byte",
               f"<= nanochat's, in <= {minutes / 2:g} min", bits <= peer and used_minutes <= minutes / 2,
               round(peer, 4)),
        Figure("novels: minutes to those bits per byte", round(used_minutes, 2), "min",
               peer_value=round(runs[best]["seconds"] / 60, 2)),
        Figure(RUNS, {"Glasshouse": {**ours, **judged, "shape": SHAPE, "train": TRAIN}, **runs}, ""),
    ]  # fmt: skip


def run_nanochat(peers: Peers, folder: Path, minutes: float, recipes: list[str]) -> dict[str, Any]:
    nanochat = Nanochat(peers, folder)
    return {name: nanochat.run(name, minutes) for name in recipes}


def kept_runs() -> dict[str, Any]:
    """As the result has them, with the day on which they ran."""
    row = kept("fast_and_far", RUNS)
    return {name: {"date": row.date, **run} for name, run in row.value.items() if name != "Glasshouse"}


class Nanochat:
    """Its own folder of text, tokenizer and checkpoints, in `folder`."""

    def __init__(self, peers: Peers, folder: Path) -> None:
        self.checkout = peers.checkout("nanochat")
        self.held_out, self.base = folder / "held_out.json", folder / "nanochat"
        self.environment = peers.environment(self.checkout) | {"NANOCHAT_BASE_DIR": str(self.base)}
        data = self.base / "base_data_climbmix"  # the name it looks for; its last file is its validation text
        data.mkdir(parents=True)
        for number, is_held_out in enumerate((False, True)):
            texts = [page.text for page in corpora.pages(is_held_out=is_held_out)]
            table = pyarrow.table({"text": texts})
            pyarrow.parquet.write_table(table, data / f"shard_{number:05d}.parquet", row_group_size=1024)
        self.call("scripts.tok_train", {"vocab-size": VOCABULARY})

    def run(self, recipe: str, minutes: float) -> dict[str, Any]:
        """As many iterations as fit, and what the held-out pages say of the checkpoint."""
        flags = {**RECIPES[recipe], **NEITHER}
        self.train(flags, TRIAL_STEPS)  # fills the compiler's cache
        seconds, steps_s = self.train(flags, TRIAL_STEPS)
        step_s = statistics.median(steps_s[1:])
        n_steps = TRIAL_STEPS + max(0, int((60 * minutes - seconds) / step_s))
        flags["warmup-steps"] = min(WARMUP_STEPS, max(1, n_steps // 10))
        print(f"nanochat, {recipe}: {step_s:.2f} s a step, {n_steps} steps fit", file=sys.stderr, flush=True)
        seconds, _ = self.train(flags, n_steps)
        asked = {"pages": str(self.held_out), "checkpoint": "compared", "window": flags["max-seq-len"]}
        command = script("page_bits.py", "nanochat", json.dumps(asked))
        judged = json.loads(timed(command, BENCHMARKS, self.environment)[1].splitlines()[-1])
        found = {"seconds": round(seconds, 1), "steps": n_steps, "n_tokens": n_steps * flags["total-batch-size"],
                 **judged, "flags": flags}  # fmt: skip
        print(f"nanochat, {recipe}: {found}", file=sys.stderr, flush=True)
        return found

    def train(self, flags: dict[str, Any], n_steps: int) -> tuple[float, list[float]]:
        """(seconds from start to exit, seconds of each step)."""
        given = {**flags, "num-iterations": n_steps, "model-tag": "compared", "device-type": "cpu"}
        shutil.rmtree(self.base / "base_checkpoints", ignore_errors=True)  # its load_model takes the one of most steps
        seconds, printed = self.call("scripts.base_train", given)
        return seconds, [float(ms) / 1e3 for ms in re.findall(r"\| dt: ([\d.]+)ms", printed)]

    def call(self, module: str, flags: dict[str, Any]) -> tuple[float, str]:
        given = [f"--{name}={value}" for name, value in flags.items()]
        return timed([sys.executable, "-m", module, *given], self.checkout, self.environment)


if __name__ == "__main__":
    main()
