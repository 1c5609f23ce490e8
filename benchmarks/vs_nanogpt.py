"""nanoGPT's documented CPU run on tinyshakespeare against Glasshouse to the same validation loss, in one session.

    python benchmarks/vs_nanogpt.py --nanogpt ../nanoGPT --text ../shared/data/text/tinyshakespeare.txt

../nanoGPT is a checkout of karpathy/nanoGPT.  nanoGPT runs first and last, Glasshouse with five seeds between, all
timed from process start to exit.  The loss is of the whole validation split in fixed windows of 64 characters: for
nanoGPT from its own checkpoint, after its clock has stopped; for Glasshouse within its time.  nanoGPT keeps its
checkpoint of the best of its own evaluations, which is the last one in this run.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import nanogpt
import numpy as np
from peers import BENCHMARKS, script, timed
from record import SHARED, Figure, write_result

WINDOW = 64
FLAGS = {"device": "cpu", "compile": False, "eval_iters": 20, "log_interval": 1, "block_size": WINDOW,
         "batch_size": 12, "n_layer": 4, "n_head": 4, "n_embd": 128, "max_iters": 2000, "lr_decay_iters": 2000,
         "dropout": 0.0}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nanogpt", type=Path, default=Path("../nanoGPT"), help="a checkout of nanoGPT")
    parser.add_argument("--text", type=Path, default=SHARED / "text" / "tinyshakespeare.txt")
    parser.add_argument("--seeds", type=int, default=5, help="runs of Glasshouse, each with its own seed")
    arguments = parser.parse_args()
    if not (arguments.nanogpt / "train.py").is_file():
        sys.exit(
            f"{arguments.nanogpt}: no nanoGPT here. Bring a checkout of karpathy/nanoGPT and name it with --nanogpt"
        )
    text = arguments.text.resolve()
    prepare(arguments.nanogpt, text)
    peer = [run_nanogpt(arguments.nanogpt)]
    print("nanoGPT", peer[-1], flush=True)
    runs = []
    for seed in range(arguments.seeds):
        seconds, judged = run_glasshouse(text, seed)
        runs.append({"seed": seed, "seconds": round(seconds, 2), "loss": round(judged["loss"], 4)})
        print("Glasshouse", runs[-1], flush=True)
    peer.append(run_nanogpt(arguments.nanogpt))
    print("nanoGPT", peer[-1], flush=True)
    peer_s, peer_loss = statistics.mean(s for s, _ in peer), max(loss for _, loss in peer)
    ratio = round(statistics.median(run["seconds"] for run in runs) / peer_s, 4)
    worst = round(max(run["seconds"] for run in runs) / min(s for s, _ in peer), 4)
    mean_loss = round(statistics.mean(run["loss"] for run in runs), 4)
    reached = sum(run["loss"] <= peer_loss for run in runs)
    write_result("vs_nanogpt", [
        Figure("time to nanoGPT's validation loss, share of nanoGPT's time (median of seeds / mean of its two runs)",
               ratio, "", "<= 1/6", ratio <= 1 / 6 and reached == len(runs)),
        Figure("the same, our slowest against its fastest", worst, ""),
        Figure("seeds that reach nanoGPT's validation loss", reached, f"of {len(runs)}", "all", reached == len(runs)),
        Figure("wall time, process start to exit (median)", statistics.median(run["seconds"] for run in runs), "s",
               peer_value=round(peer_s, 1)),
        Figure("loss on the whole validation split (mean of seeds)", mean_loss, "nats a character",
               peer_value=round(peer_loss, 4)),
        Figure("runs", {"glasshouse": runs, "nanogpt": [[round(s, 1), round(loss, 4)] for s, loss in peer]}, ""),
    ])  # fmt: skip


def prepare(checkout: Path, text: Path) -> None:
    """The files nanoGPT's prepare.py would make of this text."""
    data = text.read_text()
    characters = sorted(set(data))
    ids = {c: i for i, c in enumerate(characters)}
    encoded = np.array([ids[c] for c in data], dtype=np.uint16)
    cut = int(0.9 * len(data))
    nanogpt.write_data(checkout, "shakespeare_char", encoded[:cut], encoded[cut:], len(characters))


def run_nanogpt(checkout: Path) -> tuple[float, float]:
    """(seconds, validation loss) of the documented run."""
    run = nanogpt.run(checkout, "shakespeare_char", FLAGS, WINDOW)
    assert run.loss is not None
    return run.seconds, run.loss


def run_glasshouse(text: Path, seed: int) -> tuple[float, dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        seconds, printed = timed(script("shakespeare.py", str(text), folder, str(seed)), BENCHMARKS)
    return seconds, json.loads(printed.splitlines()[-1])


if __name__ == "__main__":
    main()
