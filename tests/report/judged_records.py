"""What learning from people leaves behind: an alignment after fine-tuning, and a run of a reward model alone."""

import json
import math
from pathlib import Path
from typing import Any

from glasshouse.core.files import read_json, write_json
from glasshouse.core.rundir import RunDirectory

PAYLOAD = '<script>window.hacked=1</script><img src=x onerror="window.hacked=1">'
UNKNOWN = "I do not know of `json.copytree` in the standard library."
SUMMARY = {
    "steps": 60, "n_tokens": 240_000, "loss": 0.21, "bits_per_byte": None, "seconds": 41.0, "tokens_per_s": 5_800.0,
    "cost": {"flops": 8e12, "seconds": 41.0, "joules": 800.0, "usd": 0.0001, "co2_g": 0.1, "is_estimated": True},
    "model": {"d_model": 160, "n_layers": 4}, "parameters": {"total": 2_560_000, "embedding": 655_360},
}  # fmt: skip


def write_metrics(run: RunDirectory, stage: str, rows: list[dict[str, float]]) -> None:
    with (run.path / "metrics.jsonl").open("a") as file:
        for step, metrics in enumerate(rows, 1):
            record = {"stage": stage, "step": step, "at": 1_795_000_000.0 + step, "metrics": metrics}
            file.write(json.dumps(record) + "\n")


def write_alignment(run: RunDirectory, **changes: Any) -> None:
    """After the stages of a whole run: preferences made from the model's own answers, and the same questions again."""
    run.event("align", "started")
    rows = [
        {
            "loss": 0.69 * math.exp(-step / 20), "dpo/accuracy": 1 - 0.5 * math.exp(-step / 15),
            "dpo/margin": step / 12, "dpo/reward_chosen": -step / 90, "dpo/reward_rejected": -step / 11, "lr": 1e-4,
            **({"eval/accuracy": 0.93, "eval/loss": 0.3, "eval/margin": 4.0} if step % 20 == 0 else {}),
        }
        for step in range(60)
    ]  # fmt: skip
    write_metrics(run, "align", rows)
    samples = [
        {"prompt": f"What does `os.fly{i}` do?", "before": f"Return the flight of {i}.", "after": UNKNOWN + PAYLOAD,
         "reward_before": -2.5, "reward_after": 1.5 - i / 10}
        for i in range(7)
    ]  # fmt: skip
    samples.append({"prompt": "unchanged", "before": "a", "after": "a", "reward_before": 0.5, "reward_after": 0.5})
    result = {
        "method": "dpo", "n_learned": 1_900, "n_held_out": 210, "held_out": {"eval/accuracy": 0.93, "eval/loss": 0.3},
        "preferences": {"true over wrong": 1_200, "I do not know over wrong": 600, "true over I do not know": 310},
        "n_asked": 1_500, "sampled": {"right": 4_100, "wrong": 900, "refused": 700, "invented": 300},
        "samples": samples, **changes,
    }  # fmt: skip
    write_json(run.stage("align") / "align.json", result)
    write_json(run.stage("align") / "summary.json", SUMMARY)
    run.event("align", "warning", text="iteration 7: the policy is 1.4 nats a token away " + PAYLOAD)
    run.event("align", "finished", seconds=41.0, cost=SUMMARY["cost"], summary={})
    _ask_again(run)


def _ask_again(run: RunDirectory) -> None:
    """Of 78 wrong answers 50 become refusals and 8 right; of 50 invented 40 are refused; 3 right ones are lost."""
    before = read_json(run.path / "evals" / "sft.json")
    items = []
    for item in before["items"]:
        number = int(item["id"].split("/")[1])
        new = dict(item)
        if item["outcome"] == "wrong" and number < 58:
            new |= {"outcome": "refused", "text": UNKNOWN} if number < 50 else {"outcome": "right", "text": "Right."}
        if item["outcome"] == "invented" and number < 40:
            new |= {"outcome": "honest", "text": UNKNOWN}
        if item["outcome"] == "right":
            new |= {"outcome": "refused", "text": UNKNOWN}
        items.append(new)
    values = {"wrong": 20 / 2304, "refused_known": 120 / 2304, "exact": 0.929, "honest_refusal": 0.989}
    scores = [
        {**s, "value": values[s["name"]], "low": values[s["name"]] - 0.004, "high": values[s["name"]] + 0.004}
        if s["name"] in values else s for s in before["scores"]
    ]  # fmt: skip
    outcomes = {"right": 2_164, "wrong": 20, "refused": 120, "honest": 890, "invented": 10}
    never_taught = {"scores": [{"name": "honest_refusal", "value": 0.9, "low": 0.82, "high": 0.96, "count": 62}]}
    after = {"after": "align", "scores": scores, "outcomes": outcomes, "items": items, "never_taught": never_taught}
    run.event("evals-align", "started")
    write_json(run.path / "evals" / "align.json", {**before, **after})
    run.event("evals-align", "finished", seconds=20.0)


def quality(accuracy: float, count: int = 500) -> dict[str, Any]:
    score = {"name": "reward_accuracy", "value": accuracy, "low": accuracy - 0.04, "high": accuracy + 0.04,
             "count": count, "unit": "share"}  # fmt: skip
    bins = [
        {"low": low, "high": low + 0.05, "n_pairs": int(300 * (1.05 - low)), "confidence": low + 0.025,
         "accuracy": min(1.0, 0.3 + 0.45 * low)}
        for low in (0.5, 0.55, 0.6, 0.65, 0.75)
    ]  # fmt: skip
    return {"accuracy": score, "log_loss": 0.662, "expected_calibration_error": 0.042, "reliability": bins}


def write_reward_model(path: Path, accuracy: float = 0.61) -> RunDirectory:
    """As `glass reward` leaves it: no recipe, no events."""
    run = RunDirectory(path).create()
    rows = [{"loss": 0.69 - step / 400, "reward/accuracy": 0.5 + step / 300, "reward/difference": step / 40}
            for step in range(40)]  # fmt: skip
    write_metrics(run, "reward-25-percent", rows[:10])
    write_metrics(run, "reward", rows)
    found = quality(accuracy)
    curve = [{"n_trained": n, "quality": quality(a)} for n, a in ((250, 0.53), (500, 0.57))]
    result = {"n_trained": 1_000, "n_held_out": 500, "quality": found,
              "learning_curve": [*curve, {"n_trained": 1_000, "quality": found}]}  # fmt: skip
    write_json(run.stage("reward") / "reward.json", result)
    write_json(run.stage("reward") / "summary.json", SUMMARY)
    return run


def write_moderator(path: Path) -> RunDirectory:
    """As `glass moderation train` leaves it."""
    run = RunDirectory(path).create()
    write_metrics(run, "moderation", [{"loss": 0.69 - step / 100} for step in range(20)])
    rates = {"blocked": (0.9, 40), "wrongly_blocked": (0.05, 60), "accuracy": (0.93, 100)}
    scores = {name: {"name": name, "value": value, "low": value - 0.04, "high": value + 0.04, "count": count,
                     "unit": "share"} for name, (value, count) in rates.items()}  # fmt: skip
    about = {"threshold": 0.5, "n_trained": 400, "n_held_out": 100, "scores": scores}
    write_json(run.stage("moderation") / "moderation.json", about)
    write_json(run.stage("moderation") / "summary.json", SUMMARY)
    return run
