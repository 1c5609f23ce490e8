"""Tokens a second of training in fp32 beside nanoGPT, litgpt and the Trainer of transformers, at equal architecture.

    python benchmarks/peer_speed.py --peers ../peers     about half an hour on two cores; prints, writes nothing

`figures()` is for the script that writes them beside others.  Same text and ids, same rows, layers, width, heads,
context, vocabulary and optimizer (AdamW); parameters are equal within 2 %: nanoGPT's feed-forward is two matrices of
4 x width, that of the others three of 8/3 x width.  Each peer compiled and not, once; then the fastest one, and any
other whose better try came within a tenth of it, beside us in turns, each run a process of its own.  A ratio is the
median over pairs of neighbours; the lowest one counts.
"""

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import corpora
import nanogpt
from corpora import Corpus
from peers import BENCHMARKS, BESIDE, CHECKOUTS, Peers, script, timed
from record import Figure

from glasshouse.model import ModelConfig, count_parameters

PEERS = ("nanoGPT", "litgpt", "transformers")
VOCABULARY = 4096
TIME = 256
TARGET = 1.2
CONTENDS = 0.9  # of the fastest peer's speed: enough to be measured in pairs


@dataclass(frozen=True)
class Case:
    """`shape` without its vocabulary, which is the corpus's."""

    what: str
    corpus: str
    shape: dict[str, Any]
    n_rows: int


def shape(d_model: int, n_layers: int, n_heads: int, d_ff: int) -> dict[str, Any]:
    return {"d_model": d_model, "n_layers": n_layers, "n_heads": n_heads, "n_kv_heads": n_heads,
            "d_head": d_model // n_heads, "d_ff": d_ff, "max_seq_len": TIME, "has_qk_norm": False}  # fmt: skip


TEN = shape(384, 6, 6, 1024)
FIFTY = shape(640, 10, 10, 1696)
CASES = [
    Case("10.7 M parameters (384 wide, 6 layers, 12 x 256 characters)", "shakespeare", TEN, 12),
    Case("52 M parameters (640 wide, 10 layers, 4 x 256 tokens of novels)", "novels", FIFTY, 4),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, default=BESIDE, help="the folder with the checkouts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8, help="timed in each process")
    parser.add_argument("--only", nargs="*", choices=PEERS, default=PEERS)
    arguments = parser.parse_args()
    for figure in figures(Peers(arguments.peers), arguments.rounds, arguments.steps, arguments.only):
        print(json.dumps(figure.__dict__))


def figures(peers: Peers, rounds: int = 3, steps: int = 8, names: tuple[str, ...] = PEERS) -> list[Figure]:
    for name in CHECKOUTS.keys() & set(names):
        peers.checkout(name)  # before anything is measured
    with tempfile.TemporaryDirectory() as folder:
        texts = {
            "shakespeare": corpora.shakespeare(Path(folder) / "shakespeare"),
            "novels": corpora.novels(Path(folder) / "novels", VOCABULARY),
        }
        return [
            figure for case in CASES for figure in Comparison(peers, case, texts[case.corpus], steps).run(names, rounds)
        ]


class Comparison:
    def __init__(self, peers: Peers, case: Case, corpus: Corpus, steps: int) -> None:
        self.peers, self.case, self.corpus, self.steps = peers, case, corpus, steps
        self.shape = ModelConfig(vocab_size=corpus.tokenizer.vocab_size, **case.shape)
        self.parameters: dict[str, int] = {"glasshouse": count_parameters(self.shape).total}

    def run(self, names: tuple[str, ...], rounds: int) -> list[Figure]:
        speeds = {name: {is_compiled: self.speed(name, is_compiled) for is_compiled in (True, False)} for name in names}
        is_compiled = {name: speeds[name][True] >= speeds[name][False] for name in names}
        best = {name: max(speeds[name].values()) for name in names}
        contenders = [name for name in names if best[name] >= CONTENDS * max(best.values())]
        pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
        for _ in range(rounds):
            for name in contenders:
                peer = self.speed(name, is_compiled[name])
                pairs[name].append((self.speed("glasshouse"), peer))
        what = self.case.what
        ratios = {name: statistics.median(ours / peer for ours, peer in pairs[name]) for name in contenders}
        lowest = min(ratios, key=lambda name: ratios[name])
        return [
            Figure(f"{what}: tokens/s of training against the fastest peer", round(ratios[lowest], 3), "x",
                   f">= {TARGET}x", ratios[lowest] >= TARGET, lowest),
            *(Figure(f"{what}: tokens/s of training beside {name}",
                     round(statistics.median(ours for ours, _ in pairs[name])), "tok/s",
                     peer_value=round(statistics.median(peer for _, peer in pairs[name]))) for name in contenders),
            Figure(f"{what}: each peer once compiled and once not, tokens/s",
                   {_version(name, how): round(speed) for name in names for how, speed in speeds[name].items()}, ""),
            Figure(f"{what}: parameters of each", self.parameters, ""),
        ]  # fmt: skip

    def speed(self, name: str, is_compiled: bool = False) -> float:
        """Tokens a second in a process of its own."""
        step_s = self.nanogpt_step_s(is_compiled) if name == "nanoGPT" else self.step_s(name, is_compiled)
        speed = self.case.n_rows * TIME / step_s
        print(f"{self.case.what}: {_version(name, is_compiled)} {speed:,.0f} tok/s", file=sys.stderr, flush=True)
        return speed

    def nanogpt_step_s(self, is_compiled: bool) -> float:
        checkout = self.peers.checkout("nanoGPT")
        data, shape = f"compared_{self.corpus.name}", self.shape
        nanogpt.write_data(checkout, data, self.corpus.ids("train"), self.corpus.ids("val"), shape.vocab_size)
        flags = {"device": "cpu", "dtype": "float32", "compile": is_compiled, "dropout": 0.0,
                 "batch_size": self.case.n_rows, "block_size": TIME, "n_layer": shape.n_layers,
                 "n_head": shape.n_heads, "n_embd": shape.d_model, "eval_iters": 1, "eval_interval": 10**6,
                 "log_interval": 1, "max_iters": self.steps + 3}  # fmt: skip
        self.parameters["nanoGPT"] = nanogpt.count_parameters(shape.n_layers, shape.d_model, shape.vocab_size, TIME)
        return statistics.median(nanogpt.run(checkout, data, flags).iterations_s[2:])

    def step_s(self, name: str, is_compiled: bool) -> float:
        asked = {"data": str(self.corpus.folder), "n_rows": self.case.n_rows, "n_time": TIME, "n_steps": self.steps,
                 "shape": self.shape.model_dump(), "is_compiled": is_compiled}  # fmt: skip
        environment = {}
        if name == "litgpt":  # it always asks for compilation
            checkout = self.peers.checkout("litgpt")
            environment = self.peers.environment(checkout) | ({} if is_compiled else {"TORCH_COMPILE_DISABLE": "1"})
        printed = timed(script("step_speed.py", name, json.dumps(asked)), BENCHMARKS, environment)[1]
        answer = json.loads(printed.splitlines()[-1])
        self.parameters[name] = answer["parameters"]
        return statistics.median(answer["step_s"])


def _version(name: str, is_compiled: bool) -> str:
    return f"{name}, compiled" if is_compiled else name


if __name__ == "__main__":
    main()
