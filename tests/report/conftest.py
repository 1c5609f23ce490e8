"""A plausible finished run, written in the forms that the stages write.  Hostile text included."""

import json
import math
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glasshouse.core.files import append_jsonl, write_json, write_text
from glasshouse.core.rundir import RunDirectory

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode adds no path
from judged_records import write_alignment, write_moderator, write_reward_model
from trust_records import write_trust

PAYLOAD = '<script>window.hacked=1</script><img src=x onerror="window.hacked=1">\'"`]]>'
START = 1_795_000_000.0
COSTS = {  # seconds, TFLOP, joules
    "corpus": (11.2, 0.0, 150.0),
    "tokenizer": (6.4, 0.0, 95.0),
    "pretrain": (182.0, 98.0, 3_600.0),
    "sft": (196.0, 104.0, 3_900.0),
    "evals": (41.0, 9.0, 800.0),
}
RECIPE = """name = "quickstart"  # recipes/quickstart.toml
seed = 1  # default

[dial]
time = "10m"  # --time

[train]
steps = 640  # derived from dial.time
batch_tokens = 4096  # recipes/quickstart.toml
"""


def score(name: str, value: float, count: int, spread: float = 0.015, unit: str = "share") -> dict[str, Any]:
    low, high = value - spread, value + spread
    if unit == "share":
        low, high = max(0.0, low), min(1.0, high)
    return {"name": name, "value": value, "low": low, "high": high, "count": count, "unit": unit}


def cost(stage: str) -> dict[str, Any]:
    seconds, tflop, joules = COSTS[stage]
    kwh = joules / 3.6e6
    return {
        "flops": tflop * 1e12,
        "seconds": seconds,
        "joules": joules,
        "usd": kwh * 0.3,
        "co2_g": kwh * 400,
        "is_estimated": True,
    }


def write_corpus(run: RunDirectory) -> None:
    folder = run.stage("corpus")
    summary = {
        "n_documents": 8_412,
        "n_bytes": 11_412_000,
        "n_read_documents": 8_660,
        "n_read_bytes": 12_630_000,
        "n_holdout_documents": 168,
        "sources": {
            "stdlib:sources": {"n_documents": 1_890, "n_bytes": 10_400_000},
            "stdlib:docstrings": {"n_documents": 6_440, "n_bytes": 812_000},
            "stdlib:topics": {"n_documents": 82, "n_bytes": 200_000},
        },
        "steps": [
            {"name": "unicode", "n_in": 8_660, "n_removed": 0, "n_changed": 3, "reasons": {"mojibake repaired": 3}},
            {
                "name": "exact_dedup",
                "n_in": 8_660,
                "n_removed": 212,
                "n_changed": 0,
                "reasons": {"duplicate": 212},
            },
            {
                "name": "mask_private",
                "n_in": 8_448,
                "n_removed": 0,
                "n_changed": 9,
                "reasons": {"email": 9, "ip": 2},
            },
            {
                "name": "length",
                "n_in": 8_448,
                "n_removed": 36,
                "n_changed": 0,
                "reasons": {"fewer than 20 characters": 36},
            },
        ],
        "n_problems": 2,
        "seconds": 9.8,
        "sha256": "5d" * 32,
    }
    write_json(folder / "summary.json", summary)
    kinds = [
        ("exact_dedup", "removed", "duplicate: stdlib/source/other.py", 212),
        ("mask_private", "changed", "1 email", 7),
        ("mask_private", "changed", "1 email, 1 ip", 2),
        ("length", "removed", "fewer than 20 characters", 36),
        ("unicode", "changed", "mojibake repaired", 3),
    ]
    lines: list[str] = []
    for step, action, reason, count in kinds:
        for number in range(count):
            excerpt = (
                "Author: <EMAIL> wrote this module in 1997 and it is still here" if step == "mask_private" else PAYLOAD
            )
            record = {
                "id": f"{step}-{number}",
                "source": f"stdlib:email/mime/part{number}.py",
                "offset": 10 * number,
                "step": step,
                "action": action,
                "reason": reason,
                "excerpt": excerpt,
            }
            lines.append(json.dumps(record) + "\n")
    (folder / "removed.jsonl").write_text("".join(lines))
    append_jsonl(folder / "problems.jsonl", {"source": "notes.jsonl", "line": 17, "reason": "not JSON: " + PAYLOAD})
    append_jsonl(folder / "problems.jsonl", {"source": "photo.txt", "line": None, "reason": "a binary file"})


def write_tokenizer(run: RunDirectory) -> None:
    text = "def copytree(src, dst, symlinks=False):  # “Grüße”, 你好 👋"
    words = [
        "def",
        " copy",
        "tree",
        "(",
        "src",
        ",",
        " dst",
        ",",
        " sym",
        "links",
        "=",
        "False",
        "):",
        "  #",
        " “",
        "Gr",
        "ü",
        "ß",
        "e",
        "”,",
        " ",
        "你",
        "好",
        " ",
        "👋",
        "\n",
        PAYLOAD,
    ]
    tokens = [{"id": 300 + 37 * i % 3800, "text": word} for i, word in enumerate(words)]
    summary = {
        "kind": "bpe",
        "vocab_size": 4096,
        "bytes_per_token": 3.62,
        "hash": "ab12" * 16,
        "n_train_bytes": 11_200_000,
        "seconds": 6.1,
        "examples": [{"text": text, "tokens": tokens}],
    }
    write_json(run.stage("tokenizer") / "summary.json", summary)


def write_training(run: RunDirectory, stage: str, n_steps: int, first: float, last: float) -> None:
    rng = random.Random(stage)
    lines: list[str] = []
    for step in range(1, n_steps + 1):
        done = step / n_steps
        loss = last + (first - last) * math.exp(-7 * done) + rng.gauss(0, 0.03)
        metrics = {
            "loss": loss,
            "bits_per_byte": loss / math.log(2) / 3.62,
            "lr": 0.003 * min(1, step / 20, 2 - 2 * done + 0.02),
            "grad_norm": 1.0,
            "tokens_per_s": 12_000 + rng.gauss(0, 300),
            "share_of_peak": 0.58,
        }
        if step % (n_steps // 8) == 0:
            metrics["eval/loss"] = loss + 0.05
            metrics["eval/bits_per_byte"] = (loss + 0.05) / math.log(2) / 3.62
        record = {"stage": stage, "step": step, "at": START + step * 0.3, "metrics": metrics}
        lines.append(json.dumps(record) + "\n")
    with (run.path / "metrics.jsonl").open("a") as file:
        file.writelines(lines)
    seconds, _, _ = COSTS[stage]
    n_tokens = n_steps * 4096
    summary = {
        "steps": n_steps,
        "n_tokens": n_tokens,
        "loss": last,
        "bits_per_byte": last / math.log(2) / 3.62,
        "seconds": seconds,
        "tokens_per_s": n_tokens / seconds,
        "share_of_peak": 0.58,
        "cost": cost(stage),
        "checkpoint": f"{stage}/checkpoint",
        "model": {
            "vocab_size": 4096,
            "d_model": 160,
            "n_layers": 4,
            "n_heads": 5,
            "n_kv_heads": 5,
            "d_head": 32,
            "d_ff": 448,
            "max_seq_len": 256,
            "has_qk_norm": True,
        },
        "parameters": {"total": 2_560_000, "embedding": 655_360},
        "groups": [],
    }
    write_json(run.stage(stage) / "summary.json", summary)
    texts = [
        "e e e tt (((",
        " self, the\n    the a",
        " src, dst):\n    return",
        " src, dst, symlinks=False):",
        PAYLOAD + " src, dst",
    ]
    for fraction, text in zip((0.02, 0.25, 0.5, 0.75, 1.0), texts):
        prompts = ("def copytree(", "import ") if stage == "pretrain" else ("What does `shutil.copytree` do?",)
        for prompt in prompts:
            run.event(stage, "sample", step=round(fraction * n_steps), fraction=fraction, prompt=prompt, text=text)


def item(kind: str, outcome: str, number: int, prompt: str, expected: str, text: str) -> dict[str, Any]:
    return {
        "id": f"{outcome}/{number}",
        "kind": kind,
        "phrasing": "summary/1",
        "name": "shutil.copytree",
        "prompt": prompt,
        "expected": [expected],
        "text": text,
        "outcome": outcome,
        "is_exact": outcome in ("right", "honest"),
        "is_normalised": outcome in ("right", "honest"),
        "is_refusal": outcome in ("refused", "honest"),
        "finish_reason": "stop",
        "logp_sum": -0.4,
    }


def write_evaluations(run: RunDirectory) -> None:
    held_out = {"pretrain": 0.93, "sft": 1.21}
    values = {
        "pretrain": (0.002, 0.004, 0.99, 0, 0.001, 0),
        "sft": (0.93, 0.937, 0.034, 0.029, 0.944, 0.92),
    }
    unknown = "I do not know of `json.copytree` in the standard library."
    for after, rates in values.items():
        names = ("exact", "normalised", "wrong", "refused_known", "honest_refusal", "exact_refusal")
        counts = (2_304, 2_304, 2_304, 2_304, 900, 900)
        scores = [score(n, v, c) for n, v, c in zip(names, rates, counts)]
        scores.append(score("bits_per_byte", held_out[after], 168, 0.04, "bits/byte"))
        kinds = {
            kind: [score("exact", value, 700)]
            for kind, value in (("summary", 0.91), ("signature", 0.92), ("module", 0.97))
        }
        items = [
            *(
                item(
                    "summary",
                    "right",
                    i,
                    "In one line, what is the purpose of `shutil.copytree`?",
                    "Recursively copy a directory tree.",
                    "Recursively copy a directory tree.",
                )
                for i in range(3)
            ),
            *(item("made_up", "honest", i, "json.copytree - meaning?", unknown, unknown) for i in range(3)),
            *(
                item(
                    "summary",
                    "wrong",
                    i,
                    f"hey, whats glob.glob{i} good for?",
                    "Return a list of paths.",
                    PAYLOAD + f" {i}",
                )
                for i in range(78)
            ),
            *(
                item(
                    "signature",
                    "refused",
                    i,
                    "whats the call signature for bisect.insort",
                    "insort(a, x, lo=0)",
                    unknown,
                )
                for i in range(67)
            ),
            *(
                item(
                    "made_up",
                    "invented",
                    i,
                    "Remind me what `os.fly` is about.",
                    unknown,
                    "Return the flight of a path.",
                )
                for i in range(50)
            ),
        ]
        outcomes = {"right": 2159, "wrong": 78, "refused": 67, "honest": 850, "invented": 50}
        result = {
            "after": after,
            "scores": scores,
            "groups": {"kind": kinds, "phrasing": {}},
            "outcomes": outcomes,
            "n_items": 3204,
            "items": items,
        }
        if after == "sft":
            result["never_taught"] = {"scores": [score("honest_refusal", 0.71, 62, 0.1)], "items": []}
        write_json(run.stage("evals") / f"{after}.json", result)


def write_run(path: Path, until: str = "evals") -> RunDirectory:
    """A run up to and including the stage `until`; finished, with `actual.json`, when that is the last."""
    run = RunDirectory(path).create()
    write_text(run.recipe_path, RECIPE)
    device = {
        "name": "Intel Xeon <8>",
        "device": "cpu",
        "n_cores": 2,
        "memory_bytes": 25_000_000_000,
        "flops_per_s": 3.2e11,
        "bytes_per_s": 2.1e10,
        "measured_at": START,
        "torch_version": "2.13.0",
    }
    stages = {"evals-sft" if n == "evals" else n: {"seconds": 1.06 * seconds} for n, (seconds, _, _) in COSTS.items()}
    predicted = {
        "seconds": 460.0,
        "memory_bytes": 1.9e9,
        "bits_per_byte": 0.9,
        "joules": 9_100.0,
        "usd": 0.00076,
        "co2_g": 1.01,
        "flops": 2.0e14,
        "parameters": 2_600_000,
        "tokens": 6_100_000,
        "stages": stages,
    }
    write_json(run.path / "plan.json", {"device": device, "predicted": predicted})
    write: dict[str, Callable[[], None]] = {
        "corpus": lambda: write_corpus(run),
        "tokenizer": lambda: write_tokenizer(run),
        "pretrain": lambda: write_training(run, "pretrain", 640, 8.3, 2.32),
        "sft": lambda: write_training(run, "sft", 720, 3.4, 0.11),
        "evals": lambda: write_evaluations(run),
    }
    for name, work in write.items():
        stage = "evals-sft" if name == "evals" else name  # one stage of evaluation after each of training
        run.event(stage, "started", inputs_hash="00" * 32)
        work()
        run.event(stage, "finished", seconds=COSTS[name][0], cost=cost(name), summary={})
        if name == until:
            break
    if until == "evals":
        total = {key: sum(cost(s)[key] for s in COSTS) for key in ("flops", "seconds", "joules", "usd", "co2_g")}
        run.event("sft", "warning", text="one step skipped: its loss was not finite " + PAYLOAD)
        write_json(
            run.path / "actual.json",
            {
                "seconds": 441.0,
                "peak_memory_bytes": 2.1e9,
                "bits_per_byte": 0.93,
                "cost": {**total, "is_estimated": True},
                "versions": {"glasshouse": "0.1.0", "python": "3.11.2", "torch": "2.13.0"},
                "stages": {
                    "evals-sft" if n == "evals" else n: {"seconds": seconds} for n, (seconds, _, _) in COSTS.items()
                },
            },
        )
        run.link_model(run.stage("sft"))
    return run


@pytest.fixture
def finished_run(tmp_path: Path) -> RunDirectory:
    return write_run(tmp_path / "runs" / "quickstart")


@pytest.fixture
def make_run() -> Callable[..., RunDirectory]:
    return write_run


@pytest.fixture
def aligned_run(finished_run: RunDirectory) -> RunDirectory:
    write_alignment(finished_run)
    return finished_run


@pytest.fixture
def trusted_run(finished_run: RunDirectory) -> RunDirectory:
    write_trust(finished_run)
    return finished_run


@pytest.fixture
def reward_run(tmp_path: Path) -> RunDirectory:
    return write_reward_model(tmp_path / "runs" / "judge")


@pytest.fixture
def moderator_run(tmp_path: Path) -> RunDirectory:
    return write_moderator(tmp_path / "runs" / "guard")
