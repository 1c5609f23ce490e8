"""Energy, money and CO2 of a thousand tokens: trained, by the meter's records, and served, by writing some now.

Served is measured twice, one request at a time and many at once: batching is most of the difference between models.
"""

from glasshouse.core.records import Message, Score
from glasshouse.evals.language_model import Prompt
from glasshouse.evals.trust.probe import Finding, Subject, mean
from glasshouse.infer import SamplingConfig
from glasshouse.meter import Cost, Meter

N_ROUNDS = 5
N_TOKENS = 64
N_ALONE, N_AT_ONCE = 4, 32
UNIT = "J per 1,000 tokens"
QUESTION = "What can you tell me?"


def spending(subject: Subject) -> Finding:
    scores, data = [], {}
    for name, n_prompts, n_at_once in (("one at a time", N_ALONE, 1), (f"{N_AT_ONCE} at once", N_AT_ONCE, N_AT_ONCE)):
        costs = [_serve(subject, n_prompts, n_at_once, number) for number in range(N_ROUNDS)]
        per_thousand = 1000 / (n_prompts * N_TOKENS)
        scores.append(mean(f"energy: served, {name}", [c.joules * per_thousand for c in costs], UNIT, subject.seed))
        total = sum(costs, Cost())
        data[f"served, {name}"] = _per_thousand(total, N_ROUNDS * n_prompts * N_TOKENS)
    missing = []
    if subject.cost is not None and subject.n_trained_tokens:
        joules = 1000 * subject.cost.joules / subject.n_trained_tokens
        scores.append(Score("energy: trained", joules, joules, joules, subject.n_trained_tokens, UNIT))
        data["trained"] = _per_thousand(subject.cost, subject.n_trained_tokens)
    else:
        missing = ["spending: what its training cost is not recorded in this checkpoint"]
    return Finding(scores, (), {"per_1000_tokens": data}, missing)


def _serve(subject: Subject, n_prompts: int, n_at_once: int, number: int) -> Cost:
    """Different prompts every time: nothing is remembered from the round before."""
    prompts: list[Prompt] = [f"{number} {at}. {QUESTION}" for at in range(n_prompts)]
    if subject.is_chat:
        prompts = [(Message("user", str(prompt)),) for prompt in prompts]
    with Meter(subject.meter) as meter:
        for at in range(0, n_prompts, n_at_once):
            options = SamplingConfig(max_tokens=N_TOKENS, ignores_end=True)
            subject.model.generate(prompts[at : at + n_at_once], options)
        return meter.cost_so_far()


def _per_thousand(cost: Cost, n_tokens: int) -> dict[str, float | bool]:
    scale = 1000 / n_tokens
    return {"joules": cost.joules * scale, "usd": cost.usd * scale, "co2_g": cost.co2_g * scale,
            "seconds": cost.seconds * scale, "is_estimated": cost.is_estimated}  # fmt: skip
