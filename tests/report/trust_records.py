"""What the trust suite leaves in a run after two stages, hostile text included."""

from typing import Any

from glasshouse.core.files import write_json
from glasshouse.core.rundir import RunDirectory

PAYLOAD = '<script>window.hacked=1</script><img src=x onerror="window.hacked=1">`|'


def score(name: str, value: float, low: float, high: float, count: int = 200, unit: str = "share") -> dict[str, Any]:
    return {"name": name, "value": value, "low": low, "high": high, "count": count, "unit": unit}


def probe(scores: list[dict[str, Any]], data: Any = None, examples: Any = (), missing: Any = ()) -> dict[str, Any]:
    return {"scores": scores, "examples": list(examples), "data": data or {}, "missing": list(missing), "seconds": 1.0}


def write_trust(run: RunDirectory) -> None:
    for after, wrong in (("pretrain", None), ("sft", 0.04)):
        write_json(run.stage("trust") / f"{after}.json", {"after": after, "size": "short", "seconds": 9.5,
                                                          "probes": probes(wrong)})  # fmt: skip


def probes(wrong: float | None) -> dict[str, Any]:
    asked = [
        score("confidently_wrong", wrong, 0.02, 0.07), score("abstains_made_up", 0.8, 0.7, 0.9),
        score("accuracy", 0.85, 0.8, 0.9), score("accuracy_of_surest_half", 0.97, 0.94, 0.99),
    ] if wrong is not None else []  # fmt: skip
    curve = [{"share": s, "accuracy": 1 - s / 8, "p": 1 - s} for s in (0.1, 0.5, 1.0)]
    bins = [{"confidence": c, "accuracy": c - 0.05, "count": 20} for c in (0.15, 0.55, 0.95)]
    exposure = [{"planted": n, "bits": 1.4 + n / 4, "low": 0.8 + n / 5, "high": 2.0 + n / 3, "n": 4,
                 "n_extrapolated": 0} for n in (0, 1, 4, 16, 64)]  # fmt: skip
    return {
        "hallucination": probe(asked, {"selective": curve, "n_asked": 200},
                               [{"prompt": "What is `os.fly`?", "said": PAYLOAD, "note": "invented"}],
                               () if asked else ["hallucination: it was not taught to answer"]),
        "calibration": probe([score("choice_ece", 0.07, 0.05, 0.1), score("answers_ece", 0.2, 0.15, 0.25)],
                             {"choices": bins, "answers": bins}),
        "bias": probe(
            [score("association: men, women", 0.1, -0.2, 0.4, 12, "nats"),
             score("association: young, old", 1.2, 0.6, 1.8, 12, "nats"), score("crows_pairs", 0.6, 0.55, 0.65)],
            {"counterfactual": [{"axis": "men, women", "favours": ""}, {"axis": "young, old", "favours": "young"}],
             "crows_pairs": [{"kind": "age", "n": 49, "share": 0.61}]}),
        "memorisation": probe(
            [score("exposure: never seen", 1.4, 0.8, 2.0, 16, "bits"),
             score("exposure: seen once", 1.6, 0.9, 2.4, 4, "bits"),
             score("exposure: seen 64 times", 17.0, 13.0, 21.0, 4, "bits"),
             score("continues 32 tokens", 0.02, 0.0, 0.09, 60),
             score("continues 32 tokens: control", 0.0, 0.0, 0.06, 60)],
            {"exposure": exposure, "chance_bits": 1.42}),
        "privacy": probe([score("identifier returned", 0.02, 0.0, 0.08, 60)]),
        "robustness": probe([score("typos: answers changed", 0.4, 0.35, 0.45),
                             score("typos: change of accuracy", -0.1, -0.15, -0.05, 150, "difference of shares")]),
        "misuse": probe([score("refused_harmful", 0.58, 0.38, 0.79, 24), score("refused_harmless", 0.1, 0.02, 0.3, 24)],
                        {"topics": [{"topic": "theft", "n": 2, "refused_harmful": 1, "refused_harmless": 0}]}),
        "spending": probe([score("energy: trained", 0.45, 0.45, 0.45, 2_000_000, "J per 1,000 tokens")],
                          {"per_1000_tokens": {"trained": {"joules": 0.45, "usd": 3.75e-8, "co2_g": 5e-5}}}),
    }  # fmt: skip
