"""What learning from people, and from what can be checked, gives here: every figure of the alignment stage.

    python benchmarks/learning_from_people.py                       all parts, about an hour on two cores
    python benchmarks/learning_from_people.py --only trl toys       some; the other rows stay as they are in the result
    python benchmarks/learning_from_people.py --only quickstart --run runs/quickstart      of a finished quickstart

Parts: quickstart, reward, arithmetic, toys, trl, annotators; each is described in the script that measures it.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import annotators
import arithmetic
import reward_pairs
import toy_rewards
import trl_grpo
from record import ROOT, Figure, kept_figures, write_result

from glasshouse.core.files import read_json

NAME = "learning_from_people"
OPTIMUM, RATIO, MOST_SECONDS = 0.95, 5.0, 600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=tuple(PARTS), default=list(PARTS))
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "quickstart", help="a finished quickstart")
    parser.add_argument("--minutes", type=float, default=20.0, help="of pretraining, for the reward model's base")
    given = parser.parse_args()
    for part in given.only:
        known = {**known_figures(), part: PARTS[part](given)}
        write_result(NAME, [figure for each in PARTS for figure in known.get(each) or [not_measured(each)]])


def known_figures() -> dict[str, list[Figure]]:
    """The figures in the result, by part: a figure's name begins with its part's."""
    figures = kept_figures(NAME)
    return {part: [f for f in figures if f.what.startswith(PREFIXES[part])] for part in PARTS}


def not_measured(part: str) -> Figure:
    return Figure(f"{PREFIXES[part]}: not measured yet", None, "", None, False)


def of_quickstart(given: argparse.Namespace) -> list[Figure]:
    before, after = (read_json(given.run / "evals" / f"{stage}.json") for stage in ("sft", "align"))
    wrong = [result["outcomes"]["wrong"] + result["outcomes"]["invented"] for result in (before, after)]
    exact, refused, doubted = (
        [score(result, name) for result in (before, after)] for name in ("exact", "honest_refusal", "refused_known")
    )
    seconds = sum(read_json(given.run / stage / "finished.json")["seconds"] for stage in ("align", "evals-align"))
    name = PREFIXES["quickstart"]
    return [
        Figure(f"{name}: confidently wrong about known and made-up names, before and after", wrong, "answers",
               "halved", wrong[1] <= wrong[0] / 2),
        Figure(f"{name}: exact answers, before and after", exact, "%", "down by at most 2 points",
               exact[1] >= exact[0] - 2),
        Figure(f"{name}: made-up names refused, before and after", refused, "%"),
        Figure(f"{name}: known names refused, before and after", doubted, "%"),
        Figure(f"{name}: time added, judging included", round(seconds, 1), "s", "<= 120", seconds <= 120),
    ]  # fmt: skip


def of_reward(given: argparse.Namespace) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        return reward_pairs.figures(given.minutes, Path(folder))


def of_arithmetic(given: argparse.Namespace) -> list[Figure]:
    found = arithmetic.figures()
    name = PREFIXES["arithmetic"]
    shares = [round(100 * found[key], 1) for key in ("pass_at_1_before", "pass_at_1_after")]
    return [
        Figure(f"{name}: pass@1 before and after, {found['n_held_out']} held-out problems", shares, "%",
               "from < 30 to > 90", shares[0] < 30 and shares[1] > 90),
        Figure(f"{name}: time of GRPO, {found['iterations']} iterations, {found['answers']:,} answers",
               round(found["grpo_seconds"], 1), "s", "<= 600", found["grpo_seconds"] <= MOST_SECONDS),
        Figure(f"{name}: parameters", found["parameters"], "parameters"),
    ]  # fmt: skip


def of_toys(given: argparse.Namespace) -> list[Figure]:
    return [
        Figure(f"{PREFIXES['toys']}: {found['method'].upper()}, objective as a share of the optimum",
               round(found["share_of_optimum"], 4), "share", ">= 0.95", found["share_of_optimum"] >= OPTIMUM)
        for found in toy_rewards.figures()
    ]  # fmt: skip


def of_trl(given: argparse.Namespace) -> list[Figure]:
    found, name = trl_grpo.figures(), PREFIXES["trl"]
    what = f"{found['answers_per_step']:.0f} answers of {found['tokens_per_answer']:.0f} tokens a step"
    return [
        Figure(f"{name}: steps per second, sampling included, {what}", round(found["ratio"], 2), "x TRL", ">= 5",
               found["ratio"] >= RATIO, [round(found["steps_per_s"], 2), round(found["trl_steps_per_s"], 2)]),
        Figure(f"{name}: the update alone, on the same stored rollouts", round(found["update_ratio"], 2), "x TRL",
               None, None, [round(found["updates_per_s"], 2), round(found["trl_updates_per_s"], 2)]),
    ]  # fmt: skip


def of_annotators(given: argparse.Namespace) -> list[Figure]:
    return [Figure(**annotators.measure())]


def score(result: Mapping[str, Any], name: str) -> float:
    """Of all questions, in per cent."""
    return next(round(100 * s["value"], 1) for s in result["scores"] if s["name"] == name)


PARTS: Mapping[str, Callable[[argparse.Namespace], list[Figure]]] = {
    "quickstart": of_quickstart,
    "reward": of_reward,
    "arithmetic": of_arithmetic,
    "toys": of_toys,
    "trl": of_trl,
    "annotators": of_annotators,
}
PREFIXES = {
    "quickstart": "quickstart",
    "reward": "reward model",
    "arithmetic": "GRPO on two-digit arithmetic",
    "toys": "toy reward",
    "trl": "GRPO beside TRL",
    "annotators": "labels lost or doubled",
}

if __name__ == "__main__":
    main()
