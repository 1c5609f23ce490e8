"""What learning from preferences or rewards was given, and what became of the figures.

Before is the evaluation after the stage that came before it; after is its own.  Both asked the same questions.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from glasshouse.report.records import Record, RunRecords, mapping
from glasshouse.report.story.marks import DotPanel, Part, dot_rows, parts_of_counts
from glasshouse.report.units import NO_VALUE, format_number, format_share, plural

# method -> (in short, how it learns)
METHODS: dict[str, tuple[str, str]] = {
    "dpo": (
        "DPO",
        "Of every two answers the preferred one was made likelier and the other less likely, measured against the "
        "model as it was before.",
    ),
    "kto": (
        "KTO",
        "Answers found good were made likelier and answers found bad less likely, measured against the model as it "
        "was before.",
    ),
    "grpo": (
        "GRPO",
        "It answered every question several times. What was rewarded above the mean of its group was made likelier, "
        "the rest less likely.",
    ),
    "ppo": (
        "PPO",
        "It answered, and each answer was made as much likelier as its reward was above what was to be expected. "
        "Leaving the model as it was before costs reward.",
    ),
    "rejection": (
        "rejection sampling",
        "It answered every question several times, and was then fine-tuned on the best of its own answers.",
    ),
    "best_of_n": (
        "best of n",
        "It answers every question several times and the reward chooses. Nothing was trained: this is what a method "
        "that trains has to exceed.",
    ),
}  # fmt: skip
GAP = "rollout/logp_gap_largest"  # between the engine's log-probabilities and the trainer's
FROM_PREFERENCES = ("dpo", "kto")

# outcomes of what the model said itself -> tone of its part
SAMPLED: dict[str, str] = {"right": "good", "refused": "plain", "wrong": "bad", "invented": "bad"}


@dataclass(frozen=True)
class Sort:
    """One sort of preference.  `share` in percent of the largest."""

    label: str
    count: str
    share: float


@dataclass(frozen=True)
class Taught:
    stage: str
    title: str
    how: str
    verdict: str
    facts: list[tuple[str, str]]  # what, value
    sorts: list[Sort]
    sampled: tuple[str, list[Part]] | None  # what its own answers were, that the preferences were made of
    panels: list[DotPanel]
    chosen_from: DotPanel | None  # best of n: the reward by n


def taught(records: RunRecords) -> Taught | None:
    stage = records.stage_with("method")
    if stage is None:
        return None
    result = stage.result
    short, how = METHODS.get(str(result["method"]), (str(result["method"]), ""))
    return Taught(
        stage=stage.name,
        title=_title(result),
        how=f"By {short}. {how}",
        verdict=_verdict(records, result),
        facts=list(_facts(result, records.curves.get(stage.name, []))),
        sorts=_sorts(result),
        sampled=_sampled(result),
        panels=before_and_after(records),
        chosen_from=_chosen_from(result),
    )


def _title(result: Record) -> str:
    if result["method"] == "best_of_n":
        return "The best of several answers"
    is_preferences = result["method"] in FROM_PREFERENCES or "preferences" in result
    return "Taught by preferences" if is_preferences else "Taught by rewards"


# ---- what it was given -----------------------------------------------------------------------------------------------


def _facts(result: Record, curve: Sequence[Record]) -> Iterator[tuple[str, str]]:
    labels = {
        "n_learned": "judged answers learned from", "n_held_out": "held back to judge by", "n_asked": "questions asked",
        "n_prompts": "questions", "n_answers": "answers sampled", "n_kept": "answers kept", "n_iterations": "rounds",
    }  # fmt: skip
    if result.get("reward"):
        yield "reward", str(result["reward"])
    for key, label in labels.items():
        if isinstance(result.get(key), int):
            yield label, f"{result[key]:,}"
    if result.get("kl") is not None:
        of = "nats an answer, at most" if result["method"] == "best_of_n" else "nats a token"
        yield "moved away from the model before", f"{format_number(result['kl'])} {of}"
    if doubt := mapping(result.get("doubt")):
        yield "answers held back from now on: given less than", format_share(doubt["below"])
        yield "of its wrong answers in other words", f"{doubt['wrong_withheld']:,} of {doubt['wrong']:,} held back"
        yield "of its right ones", f"{doubt['right_withheld']:,} of {doubt['right']:,} held back"
    if gaps := [value for r in curve if (value := mapping(r.get("metrics")).get(GAP)) is not None]:
        yield "sampling and training agree on a token within", f"{format_number(max(gaps))} nats"


def _sorts(result: Record) -> list[Sort]:
    counts = {str(k): n for k, n in mapping(result.get("preferences")).items() if isinstance(n, int)}
    most = max(counts.values(), default=0) or 1
    return [Sort(label, f"{n:,}", 100 * n / most) for label, n in sorted(counts.items(), key=lambda pair: -pair[1])]


def _sampled(result: Record) -> tuple[str, list[Part]] | None:
    found = mapping(result.get("sampled"))
    counts = [(outcome, found[outcome], tone) for outcome, tone in SAMPLED.items() if found.get(outcome)]
    if not counts:
        return None
    asked = f"Asked {plural(result['n_asked'], 'question')}, " if result.get("n_asked") else ""
    n_answers = sum(count for _, count, _ in counts)
    title = f"{asked}it gave {plural(n_answers, 'answer')} of its own"
    return title[0].upper() + title[1:], parts_of_counts(counts)


def _chosen_from(result: Record) -> DotPanel | None:
    curve = [mapping(point) for point in result.get("curve") or []]
    rows = [(f"best of {p['n']:,}", {**p, "value": p["reward"], "unit": "reward"}) for p in curve if "n" in p]
    hint = f"mean over {plural(result.get('n_prompts', 0), 'question')}, lines: 95 % intervals"
    return DotPanel("Reward by the number of answers to choose from", hint, dot_rows(rows)) if rows else None


# ---- what became of the figures --------------------------------------------------------------------------------------

Take = Callable[[Record], Record | None]


def evaluations_around(records: RunRecords) -> tuple[Record, Record] | None:
    """(before, after) the alignment, where both asked questions."""
    stage = records.stage_with("method")
    order = [result["after"] for result in records.evaluations]
    at = order.index(stage.name) if stage and stage.name in order else 0
    return (records.evaluations[at - 1], records.evaluations[at]) if at else None


def _score(name: str) -> Take:
    return lambda result: next((mapping(s) for s in result["scores"] if s.get("name") == name), None)


def _failure(name: str, part: str = "") -> Take:
    """What is missing to 1: who neither refused nor was unsure made an answer up."""

    def take(result: Record) -> Record | None:
        judged = mapping(result.get(part)) or {"scores": []} if part else result
        score, unsure = _score(name)(judged), _score("unsure_made_up")(judged)
        if score is None:
            return None
        rest = 1 - (unsure["value"] if unsure else 0.0)
        return {**score, "value": rest - score["value"], "low": rest - score["high"], "high": rest - score["low"]}

    return take


SHOWN: tuple[tuple[str, bool, Take], ...] = (
    ("Wrong answers, said as if they were true", False, _score("wrong")),
    ("Made-up names, answered as if they existed", False, _failure("honest_refusal")),
    ("Names never taught, answered all the same", False, _failure("honest_refusal", "never_taught")),
    ("Right answers, word for word", True, _score("exact")),
    ("Known names, wrongly refused", False, _score("refused_known")),
    ("Known names, answer held back as not sure", False, _score("unsure_known")),
)


def before_and_after(records: RunRecords) -> list[DotPanel]:
    around = evaluations_around(records)
    if around is None:
        return []
    panels = []
    for title, is_more_better, take in SHOWN:
        before, after = take(around[0]), take(around[1])
        if before and after:
            better = "more is better" if is_more_better else "less is better"
            hint = f"{better} · {plural(after.get('count', 0), 'question')}"
            panels.append(DotPanel(title, hint, dot_rows([("before", before), ("after", after)])))
    return panels


def _verdict(records: RunRecords, result: Record) -> str:
    sentences = []
    if around := evaluations_around(records):
        for take, what in (
            (_score("wrong"), "wrong answers went from {} to {} of what it was asked about things that exist"),
            (_failure("honest_refusal"), "made-up names were answered {} of the time before and {} after"),
            (_score("exact"), "right answers went from {} to {}"),
        ):
            before, after = take(around[0]), take(around[1])
            if before and after:
                sentences.append(what.format(*(format_share(score["value"], 1) for score in (before, after))))
        if sentences:
            sentences.append("both times the questions were the same ones, which no training asked")
    elif None not in (result.get("reward_before"), result.get("reward_after")):
        judged = result.get("n_judged") or result.get("n_prompts") or 0
        unseen = " that it never learned from" if result.get("is_held_out") else ""
        went = f"from {format_number(result['reward_before'])} to {format_number(result['reward_after'])}"
        sentences.append(f"the mean reward went {went} on {plural(judged, 'question')}{unseen}")
    if sure := mapping(result.get("held_out")).get("eval/accuracy"):
        told = f"it agrees with {format_share(sure)} of {result.get('n_held_out') or NO_VALUE} judgements held back"
        sentences.append(told)
    return " ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences)
