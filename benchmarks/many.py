"""Many processes: the same losses as one, saves that cost no time, kills that change nothing, memory that stays flat.

    python benchmarks/many.py --kills 30     about eight minutes on two cores; prints the figures, writes nothing

`figures()` is for the script that writes them beside others.  Processes are real and speak over gloo; a kill is SIGKILL
to one rank at a random moment, and to the rest at once, as torchrun ends them.
"""

import argparse
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import Figure
from safetensors.torch import load_file

from glasshouse.batch import EncodedDocument, PackedLoader, TokenShard, write_shard
from glasshouse.core.environment import start_torch
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal
from glasshouse.meter import DeviceProfile, Meter, MeterConfig
from glasshouse.model import ModelConfig, Transformer
from glasshouse.objective import lm_loss
from glasshouse.parallel import MeshConfig, init_distributed, main_first
from glasshouse.tokenizer import Tokenizer, TokenizerConfig, train_tokenizer
from glasshouse.train import TrainConfig, Trainer

PROFILE = DeviceProfile("not measured", "cpu", 1, 10**9, 1e11, 1e10, 0.0, torch.__version__)
SMALL = {"d_model": 32, "n_layers": 2, "n_heads": 4, "n_kv_heads": 4, "d_head": 8, "d_ff": 64, "max_seq_len": 32}
LARGE = {"d_model": 384, "n_layers": 6, "n_heads": 6, "n_kv_heads": 6, "d_head": 64, "d_ff": 1024, "max_seq_len": 256}
MESHES: dict[int, dict[str, dict[str, int]]] = {
    2: {"DDP": {"dp": 2}, "FSDP2": {"fsdp": 2}, "TP": {"tp": 2}, "context parallel": {"cp": 2}},
    4: {"DDP": {"dp": 4}, "FSDP2": {"fsdp": 4}, "TP": {"tp": 4}, "FSDP2 x TP": {"fsdp": 2, "tp": 2},
        "HSDP": {"dp": 2, "fsdp": 2}, "context parallel x TP": {"cp": 2, "tp": 2}},
}  # fmt: skip
TEXT = "Many hands make light work, and many processes make one model, whichever of them falls on the way. "
KILL_STEPS = 300
# Rates a tenth of the usual: at those, this text is soon known by heart, and from there rounding grows by itself (one
# process against two, no kills: losses 2e-6 apart after 100 steps, 5e-3 after 150; at these, 2e-7 after 150).
CALM = {"matrix_lr": 0.002, "embedding_lr": 3e-4, "head_lr": 3e-4, "vector_lr": 3e-4}
BLOCK_STEPS, N_BLOCKS = 8, 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(json.loads(arguments.worker))
        return
    for figure in figures(arguments.kills, arguments.only):
        print(json.dumps(figure.__dict__))


def figures(n_kills: int = 30, only: list[str] | None = None) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        parts = [PARTS[name](Path(folder) / name, n_kills) for name in only or PARTS]
    return [figure for part in parts for figure in part]


# ---- the same losses -------------------------------------------------------------------------------------------------


def equality_figures(root: Path, n_kills: int) -> list[Figure]:
    train = {"steps": 50, "checkpoint_every_s": None}
    run_all(1, [{"folder": str(root / "one"), "train": train}])
    found = []
    for n, meshes in MESHES.items():
        folders = {name: root / f"{n} {name}" for name in meshes}
        run_all(n, [{"folder": str(folders[name]), "mesh": mesh, "train": train} for name, mesh in meshes.items()])
        for name, folder in folders.items():
            apart = max(abs(a - b) for a, b in zip(losses(root / "one"), losses(folder), strict=True))
            what = f"{n} processes, {name}: largest difference of a loss from one process's, 50 steps"
            found.append(Figure(what, apart, "nats", "<= 1e-5", apart <= 1e-5))
    return found


# ---- saves -----------------------------------------------------------------------------------------------------------


def saving_figures(root: Path, n_kills: int) -> list[Figure]:
    """In turns: steps beside which a checkpoint is written, and steps beside which none is."""
    path = root / "times.json"
    run_all(1, [{"folder": str(root), "kind": "saving", "model": LARGE, "times": str(path)}], threads=None)
    times = json.loads(path.read_text())
    ratio = statistics.median(a / b for a, b in zip(times["saving"], times["quiet"], strict=True))
    every_s = statistics.median(times["quiet"])
    what = f"step time with a checkpoint of a 10.7 M model every {every_s:.0f} s, over without"
    up = round(100 * (ratio - 1), 1)
    return [Figure(what, up, "% more", "<= 5 %", up <= 5.0)]


def time_saving(trainer: Trainer, path: str) -> None:
    trainer._begin()
    times: dict[str, list[float]] = {"saving": [], "quiet": []}
    for block in range(2 + 2 * N_BLOCKS):
        kind = ("quiet", "saving")[(block + block // 2) % 2]  # neither always first
        trainer.saver.finish()
        started_at = time.perf_counter()
        if kind == "saving":
            trainer._save(is_beside=True)
        for _ in range(BLOCK_STEPS):
            trainer._step()
        if block >= 2:
            times[kind].append(time.perf_counter() - started_at)
    trainer.saver.finish()
    Path(path).write_text(json.dumps(times))


# ---- kills -----------------------------------------------------------------------------------------------------------


def kill_figures(root: Path, n_kills: int) -> list[Figure]:
    train = {"steps": KILL_STEPS, "checkpoint_every": 10, "checkpoint_every_s": None, "optim": CALM}
    cases = {
        name: {"folder": str(root / name), "train": train} for name in ("whole of 1", "whole of 2", "killed", "changed")
    }
    run_all(1, [cases["whole of 1"]])
    run_all(2, [{**cases["whole of 2"], "mesh": {"fsdp": 2}}])
    rng = random.Random(0)
    n_same, n_changed = n_kills - n_kills // 2, n_kills // 2
    kill_often(cases["killed"], [(2, {"fsdp": 2})], n_same, rng)
    others = [(1, {}), (2, {"tp": 2}), (2, {"dp": 2}), (4, {"fsdp": 2, "tp": 2}), (2, {"fsdp": 2})]
    kill_often(cases["changed"], others, n_changed, rng)
    is_equal = all(weights(root / "killed")[key].equal(value) for key, value in weights(root / "whole of 2").items())
    whole = weights(root / "whole of 1")
    apart = max(float((weights(root / "changed")[key] - value).abs().max()) for key, value in whole.items())
    loss = max(abs(a - b) for a, b in zip(losses(root / "changed"), losses(root / "whole of 1"), strict=True))
    return [
        Figure(f"{n_same} kills of a random rank of 2: weights bitwise equal to a run of 2 without",
               is_equal, "", "true", is_equal),
        Figure(f"{n_changed} kills, other processes and mesh each time: largest difference of a weight from one's",
               apart, "", "<= 1e-5", apart <= 1e-5),
        Figure(f"{n_changed} kills, other processes and mesh each time: largest difference of a loss",
               loss, "nats", "<= 1e-5", loss <= 1e-5),
    ]  # fmt: skip


def kill_often(
    case: dict[str, Any], worlds: list[tuple[int, dict[str, int]]], n_kills: int, rng: random.Random
) -> None:
    """Kill at moments spread over the whole run, then let it end."""
    done = 0
    for kill in range(n_kills):
        n, mesh = worlds[kill % len(worlds)]
        processes = start(n, [{**case, "mesh": mesh}])
        target = min(
            KILL_STEPS - 2, rng.randint(1, 2 * KILL_STEPS // (n_kills + 1)) + KILL_STEPS * kill // (n_kills + 1)
        )
        while last_step(Path(case["folder"])) < target and processes[0].poll() is None:
            time.sleep(0.005)
        time.sleep(rng.random() * 0.05)
        victims = rng.sample(processes, n)
        done += victims[0].poll() is None
        for process in victims:
            process.send_signal(signal.SIGKILL)
        for process in processes:
            process.wait()
    n, mesh = worlds[0]
    run_all(n, [{**case, "mesh": mesh}])
    assert done == n_kills, f"only {done} of {n_kills} kills met a living process"


# ---- memory ----------------------------------------------------------------------------------------------------------


def memory_figures(root: Path, n_kills: int) -> list[Figure]:
    found = {}
    for name, n_tokens in {"small": 4_000_000, "large": 40_000_000}.items():
        report = root / f"{name}.json"
        case = {"folder": str(root / name), "n_tokens": n_tokens, "memory": str(report), "model": {"max_seq_len": 256},
                "train": {"steps": 300, "checkpoint_every_s": None}}  # fmt: skip
        run_all(1, [case])
        found[name] = json.loads(report.read_text())
    more = round(100 * (found["large"]["anonymous"] / found["small"]["anonymous"] - 1), 1)
    return [
        Figure("memory of training on 40 M tokens over 4 M (the process's own; mapped files are the system's)",
               more, "% more", "flat (<= 2 %)", more <= 2.0),
        Figure("state of the data's order in a checkpoint", found["large"]["cursor_bytes"], "bytes"),
    ]  # fmt: skip


def own_memory() -> int:
    """Bytes that are this process's alone, now."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon"))) * 1024


# ---- one process of several ------------------------------------------------------------------------------------------


def work(cases: list[dict[str, Any]]) -> None:
    start_torch()
    for case in cases:
        trainer = trainer_of(case)
        if case.get("kind") == "saving":
            time_saving(trainer, case["times"])
        else:
            trainer.fit()
        if "memory" in case:
            cursor = json.dumps(trainer.state.cursor.to_json())
            Path(case["memory"]).write_text(json.dumps({"anonymous": own_memory(), "cursor_bytes": len(cursor)}))
    sys.stdout.flush()
    os._exit(0)


def trainer_of(case: dict[str, Any]) -> Trainer:
    mesh = init_distributed(MeshConfig(**case.get("mesh", {})))
    root = Path(case["folder"])
    shape = {**SMALL, **case.get("model", {})}
    seq_len = shape["max_seq_len"]
    config = TrainConfig(**{
        "steps": 1000, "seq_len": seq_len, "batch_tokens": 8 * seq_len, "compile": "never", "metric_every": 1,
        "sample_at": (), "max_epochs": None, "checkpoint_every_s": None, **case.get("train", {}),
    })  # fmt: skip
    with main_first(mesh):
        root.mkdir(parents=True, exist_ok=True)
        if not (root / "tokenizer.json").exists():
            train_tokenizer([TEXT], TokenizerConfig(kind="char", vocab_size=64)).save(root)
        tokenizer = Tokenizer.load(root)
        shard = shard_of(root / "tokens.bin", tokenizer, case.get("n_tokens", 100_000))
    run = RunDirectory(root / "run", is_silent=not mesh.is_main).create()
    return Trainer(
        Transformer(ModelConfig(vocab_size=tokenizer.vocab_size, **shape), seed=0), tokenizer,
        PackedLoader(shard, seq_len, config.batch_tokens, seed=0), lm_loss, config,
        stage="pretrain", run=run, folder=run.stage("pretrain"), terminal=Terminal(is_quiet=True),
        meter=Meter(MeterConfig()).start(), device_profile=PROFILE, mesh=mesh,
    )  # fmt: skip


def shard_of(path: Path, tokenizer: Tokenizer, n_tokens: int) -> TokenShard:
    """Words of the text in random order, so that there is something to learn and no end of it."""
    if not path.exists():
        words = [np.array(tokenizer.encode(word + " "), np.int64) for word in TEXT.split()]
        rng = np.random.default_rng(0)
        documents = (
            EncodedDocument(str(k), np.concatenate([words[i] for i in rng.integers(len(words), size=2000)]), "made up")
            for k in range(n_tokens // 10_000)
        )
        write_shard(path, documents, tokenizer)
    return TokenShard(path, tokenizer.hash)


# ---- processes -------------------------------------------------------------------------------------------------------


def start(n: int, cases: list[dict[str, Any]], threads: int | None = 1) -> list[subprocess.Popen[bytes]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**os.environ, "WORLD_SIZE": str(n), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    if threads is not None:
        common["OMP_NUM_THREADS"] = str(threads)
    command = [sys.executable, __file__, "--worker", json.dumps(cases)]
    return [subprocess.Popen(command, env={**common, "RANK": str(r), "LOCAL_RANK": str(r)}) for r in range(n)]


def run_all(n: int, cases: list[dict[str, Any]], threads: int | None = 1) -> None:
    codes = [process.wait() for process in start(n, cases, threads)]
    if any(codes):
        raise SystemExit(f"a process of {n} ended with {codes}: {cases}")


def losses(folder: Path) -> list[float]:
    records = (json.loads(line) for line in (folder / "run/metrics.jsonl").read_text().splitlines())
    return [r["metrics"]["loss"] for r in records if "loss" in r["metrics"]]


def last_step(folder: Path) -> int:
    path = folder / "run/metrics.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    return max((json.loads(line)["step"] for line in lines[-2:] if line.endswith(b"}")), default=0)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "run/pretrain/checkpoint/model.safetensors")


PARTS = {"equality": equality_figures, "saving": saving_figures, "kills": kill_figures, "memory": memory_figures}

if __name__ == "__main__":
    main()
