"""How long the trust suite takes on a run, and what planted canaries show: figures for benchmarks/glass.py.

    python benchmarks/trust.py --run runs/quickstart        of a finished run; without it, the canaries alone

The canaries: a small model is trained on real text in which invented secrets were planted 1, 4, 16 and 64 times, 16
of each, and is asked for them (`evals.trust.memorisation`); 64 controls were never planted.  Minutes on two cores.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from record import ROOT, SHARED, Figure

from glasshouse.batch import TokenShard
from glasshouse.core.config import parse_config
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal
from glasshouse.corpus.canaries import read_canaries
from glasshouse.evals import EngineModel
from glasshouse.evals.trust import Subject, TrustConfig, run_probes
from glasshouse.infer import Engine
from glasshouse.meter import measure_device
from glasshouse.run.recipe import Recipe
from glasshouse.run.resolve import read_resolved
from glasshouse.run.runner import run_recipe
from glasshouse.run.trusting import last_trained, subject_of

SHORT_S, WHOLE_S = 90.0, 300.0
TEXT = SHARED / "text" / "tinyshakespeare.txt"
STEPS, BATCH_TOKENS = 550, 1024  # one pass: what was planted n times is read n times
SHAPE = {"vocab_size": 512, "d_model": 64, "n_layers": 2, "n_heads": 2, "n_kv_heads": 1, "d_head": 32, "d_ff": 192,
         "max_seq_len": 128}  # fmt: skip
OPTIM = {"matrix_lr": 0.02, "embedding_lr": 6e-3, "vector_lr": 6e-3, "beta2": 0.98}


def figures(run: Path | None, n_steps: int = STEPS) -> list[Figure]:
    """Seconds of both forms where a run is given, and exposure by count."""
    return [*(seconds_of_suite(run) if run else []), *canary_figures(n_steps)]


def seconds_of_suite(run: Path) -> list[Figure]:
    recipe = read_resolved(RunDirectory(run))
    short = {
        stage: _seconds(run, stage, recipe, "short") for stage in ("pretrain", "sft", "align") if stage in recipe.stages
    }
    whole = _seconds(run, last_trained(run, recipe), recipe, "whole")
    added = round(sum(short.values()), 1)
    return [
        Figure("trust suite, short form, all stages together", added, "s", f"<= {SHORT_S:.0f}", added <= SHORT_S),
        Figure("trust suite, short form, by stage", {k: round(v, 1) for k, v in short.items()}, "s"),
        Figure("trust suite, whole form, data of the probes included", round(whole, 1), "s", f"<= {WHOLE_S:.0f}",
               whole <= WHOLE_S),
    ]  # fmt: skip


def _seconds(run: Path, stage: str, recipe: Recipe, size: str) -> float:
    probes = SHARED / "probes"
    data = {"data": str(probes)} if size == "whole" and probes.is_dir() else {}
    config = parse_config(TrustConfig, {"size": size, **data})
    started_at = time.perf_counter()
    run_probes(subject_of(run, stage, recipe, config), config.probes)
    return time.perf_counter() - started_at


def canary_figures(n_steps: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        started_at = time.perf_counter()
        found, n_passes = exposures(Path(folder), n_steps)
        seconds = time.perf_counter() - started_at
    by_count = {row["planted"]: row for row in found["exposure"]}
    shown = {str(count): f"{row['bits']:.1f} ({row['low']:.1f}-{row['high']:.1f})" for count, row in by_count.items()}
    rising = [row["bits"] for count, row in sorted(by_count.items()) if count]
    control, chance = by_count[0], found["chance_bits"]
    spread = found["chance_deviation"] / control["n"] ** 0.5
    return [
        Figure("planted canaries: exposure by how often each was planted, bits", shown, "bits", "rises with count",
               rising == sorted(rising) and by_count[max(by_count)]["low"] > control["high"]),
        Figure("planted canaries: controls never planted", round(control["bits"], 2), "bits",
               f"at chance, {chance:.2f} +- {2 * spread:.2f}", abs(control["bits"] - chance) <= 2 * spread),
        Figure("planted canaries: passes over the text in training", round(n_passes, 2), "passes"),
        Figure("planted canaries: most there is", round(found["most_bits"], 1), "bits"),
        Figure("planted canaries: seconds, training included", round(seconds), "s"),
    ]  # fmt: skip


def exposures(folder: Path, n_steps: int) -> tuple[dict[str, Any], float]:
    """(data of the probe, passes over the training text)."""
    recipe = parse_config(Recipe, {
        "name": "canaries", "stages": ["corpus", "tokenizer", "pretrain"],
        "corpus": {"sources": [str(TEXT)], "canaries": {"per_count": 16, "n_controls": 64}},
        "tokenizer": {"vocab_size": SHAPE["vocab_size"]}, "model": SHAPE,
        "pretrain": {"steps": n_steps, "seq_len": 128, "batch_tokens": BATCH_TOKENS, "compile": "never", "optim": OPTIM,
                     "schedule": {"warmup_steps": 20, "decay_fraction": 0.5}},
    })  # fmt: skip
    run_recipe(recipe, RunDirectory(folder / "run"), Terminal(), measure_device("cpu"))
    run = folder / "run"
    engine = Engine.load(run)
    shard = TokenShard(run / "pretrain" / "train.tokens")
    subject = Subject(
        EngineModel(engine), engine.tokenizer, engine.max_seq_len, "whole", canaries=read_canaries(run / "corpus")
    )
    finding, _ = run_probes(subject, ["memorisation"])["memorisation"]
    return dict(finding.data), n_steps * BATCH_TOKENS / shard.n_tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--run", type=Path, default=None, help=f"a finished run, such as {ROOT / 'runs' / 'quickstart'}"
    )
    parser.add_argument("--steps", type=int, default=STEPS)
    given = parser.parse_args()
    if not TEXT.is_file():
        raise SystemExit(f"{TEXT} is absent: the canaries need a real text to be planted in")
    for figure in figures(given.run, given.steps):
        print(json.dumps(figure.__dict__))


if __name__ == "__main__":
    main()
