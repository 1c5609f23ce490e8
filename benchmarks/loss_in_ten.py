"""How long until the loss that nanoGPT's own recipe reaches in ten minutes, at equal architecture size.

    python benchmarks/loss_in_ten.py --peers ../peers     about half an hour on two cores; prints, writes nothing

nanoGPT is given its configuration for small models (6 layers, 384 wide, 256 context: 10.7 M parameters) with what its
README says for a CPU (batch of 12, no dropout, few evaluations), its schedule laid over the steps that fit, compiled
or not, whichever gives more of them; what it compiled is cached from a run before.  Glasshouse is given a third of the
time that it really took.  Both read the same ids, and both losses are of the same held-out windows, judged after the
clocks have stopped: they run from the start of the process to its exit (nanoGPT) or to the saved checkpoint
(Glasshouse).
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import corpora
import nanogpt
from corpora import Corpus
from peer_speed import TEN, TIME, VOCABULARY
from peers import BENCHMARKS, BESIDE, Peers, script, timed
from record import Figure, kept

SHARE = 1 / 3
JUDGED_TOKENS = 100_000
PROBE_STEPS = 4
WARMUP_STEPS = 100  # nanoGPT's, "not super necessary potentially"

TEXTS: dict[str, Callable[[Path], Corpus]] = {
    "shakespeare": corpora.shakespeare,
    "novels": lambda folder: corpora.novels(folder, VOCABULARY),
}
NAMES = {"shakespeare": "tinyshakespeare characters", "novels": "novels by BPE"}
WHAT = "{}, 10.7 M parameters"
LOSS, SECONDS, RUNS = "held-out loss, ours after a third of the time", "seconds", "the two runs"
TRAIN: dict[str, dict[str, Any]] = {
    "shakespeare": {
        "seq_len": TIME, "batch_tokens": 4 * TIME,
        "optim": {"matrix_lr": 0.02, "embedding_lr": 0.02, "vector_lr": 0.01},
        "schedule": {"kind": "linear", "warmup_steps": 10},
    },
    "novels": {
        "seq_len": TIME, "batch_tokens": 4 * TIME,
        "optim": {"matrix_lr": 0.012, "embedding_lr": 0.004, "vector_lr": 0.004, "momentum": 0.85,
                  "muon_iterations": 3, "muon_precision": "bf16"},
        "schedule": {"kind": "linear", "warmup_steps": 10},
    },
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, default=BESIDE, help="the folder with the checkouts")
    parser.add_argument("--minutes", type=float, default=10.0, help="of nanoGPT")
    parser.add_argument("--only", nargs="*", choices=TEXTS, default=list(TEXTS))
    arguments = parser.parse_args()
    for figure in figures(Peers(arguments.peers), arguments.minutes, arguments.only):
        print(json.dumps(figure.__dict__))


def figures(peers: Peers, minutes: float = 10.0, only: list[str] | None = None) -> list[Figure]:
    return [figure for name in only or TEXTS for figure in text_figures(peers, name, minutes)]


def text_figures(peers: Peers, name: str, minutes: float) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        corpus = TEXTS[name](Path(folder) / "text")
        peer, made = kept_nanogpt(name) if peers.are_kept else run_nanogpt(peers, corpus, minutes)
        ours = run_glasshouse(corpus, Path(folder) / "run", SHARE * peer.seconds, TEN, TRAIN[name])
        del ours["checkpoint"]  # it goes with the folder
    assert peer.loss is not None
    ratio, is_reached = ours["seconds"] / peer.seconds, ours["loss"] <= peer.loss
    shown = round(ratio, 3)
    what = WHAT.format(NAMES[name])
    return [
        Figure(f"{what}: time to the loss of nanoGPT's recipe after {minutes:g} min, share of its time",
               shown if is_reached else f"not reached in {shown}", "", "<= 1/3", is_reached and ratio <= SHARE),
        Figure(f"{what}: {LOSS}", round(ours["loss"], 4), "nats a token",
               peer_value=round(peer.loss, 4)),
        Figure(f"{what}: {SECONDS}", round(ours["seconds"], 1), "s", peer_value=round(peer.seconds, 1)),
        Figure(f"{what}: {RUNS}", {"Glasshouse": {**ours, "train": TRAIN[name]}, "nanoGPT": made}, ""),
    ]  # fmt: skip


def kept_nanogpt(name: str) -> tuple[nanogpt.Run, dict[str, Any]]:
    """As the result has it, with the day on which it ran."""
    loss, seconds, runs = (kept("fast_and_far", f"{WHAT.format(NAMES[name])}: {row}") for row in (LOSS, SECONDS, RUNS))
    return nanogpt.Run(seconds.peer_value, [], loss.peer_value), {"date": loss.date, **runs.value["nanoGPT"]}


def run_nanogpt(peers: Peers, corpus: Corpus, minutes: float) -> tuple[nanogpt.Run, dict[str, Any]]:
    checkout, data = peers.checkout("nanoGPT"), f"compared_{corpus.name}"
    nanogpt.write_data(checkout, data, corpus.ids("train"), corpus.ids("val"), corpus.tokenizer.vocab_size)
    flags = {"device": "cpu", "dtype": "float32", "dropout": 0.0, "batch_size": 12, "block_size": TIME,
             "eval_iters": 1, "log_interval": 1, "always_save_checkpoint": True}  # fmt: skip
    most = 0
    for is_compiled in (True, False):
        probe_flags = {**flags, "compile": is_compiled, "max_iters": PROBE_STEPS, "eval_interval": PROBE_STEPS}
        if is_compiled:
            nanogpt.run(checkout, data, probe_flags)  # fills the compiler's cache
        probe = nanogpt.run(checkout, data, probe_flags)
        n = PROBE_STEPS + max(0, int((60 * minutes - probe.seconds) / probe.step_s))
        print(
            f"nanoGPT, compile={is_compiled}: {probe.step_s:.2f} s a step, {n} steps fit", file=sys.stderr, flush=True
        )
        if n > most:
            most, flags["compile"] = n, is_compiled
    flags |= {"max_iters": most, "lr_decay_iters": most, "eval_interval": most,
              "warmup_iters": min(WARMUP_STEPS, most // 4)}  # fmt: skip
    run = nanogpt.run(checkout, data, flags, TIME, JUDGED_TOKENS)
    print(f"nanoGPT: loss {run.loss:.4f} in {run.seconds:.0f} s, {flags}", file=sys.stderr, flush=True)
    return run, {"steps": most, "n_tokens": most * 12 * TIME, "config": nanogpt.CONFIG, "flags": flags}


def run_glasshouse(corpus: Corpus, folder: Path, seconds: float, shape: dict[str, Any],
                   train: dict[str, Any], seed: int = 0) -> dict[str, Any]:  # fmt: skip
    asked = {"data": str(corpus.folder), "folder": str(folder), "seconds": seconds, "started_at": time.time(),
             "shape": shape, "train": train, "seed": seed, "judged_window": train["seq_len"],
             "judged_tokens": JUDGED_TOKENS}  # fmt: skip
    printed = timed(script("timed_run.py", json.dumps(asked)), BENCHMARKS)[1]
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    print(f"Glasshouse: {found}", file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    main()
