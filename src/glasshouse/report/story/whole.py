"""What several chapters ask about the run as a whole: its text, time, cost and last scores."""

from typing import Any

from glasshouse.report.records import Record, RunRecords, mapping


def text_in_words(records: RunRecords) -> str:
    corpus = records.stage("corpus")
    names = list(mapping(corpus.summary.get("sources")) if corpus else {})
    if not names:
        return ""
    if is_builtin(records):
        version = ".".join(str(mapping(records.actual.get("versions")).get("python", "")).split(".")[:2])
        return f"the Python {version + ' ' if version else ''}standard library"
    shown = [name.rstrip("/").rsplit("/", 1)[-1] or name for name in names[:3]]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def is_builtin(records: RunRecords) -> bool:
    """Grown from the built-in text alone, whose questions are held out by construction."""
    corpus = records.stage("corpus")
    names = list(mapping(corpus.summary.get("sources")) if corpus else {})
    return bool(names) and all(name.startswith("stdlib") for name in names)


def total_seconds(records: RunRecords) -> float:
    return float(records.actual.get("seconds") or sum(stage.seconds or 0 for stage in records.stages))


def latest_scores(records: RunRecords) -> dict[str, Record]:
    return {score["name"]: score for score in records.evaluations[-1]["scores"]} if records.evaluations else {}


def bits_per_byte(records: RunRecords) -> float | None:
    """Of held-out text after pretraining; fine-tuning is for answers and may lose a little of it."""
    for result in records.evaluations:
        if result["after"] == "pretrain":
            for score in result["scores"]:
                if score["name"] == "bits_per_byte":
                    return float(score["value"])
    stage = records.stage("pretrain")
    value = stage.summary.get("bits_per_byte") if stage else None
    return float(value) if value else None


def total_cost(records: RunRecords) -> Record:
    own = mapping(records.actual.get("cost"))
    if own:
        return own
    costs = [stage.cost for stage in records.stages if stage.cost]
    keys = ("flops", "seconds", "joules", "usd", "co2_g")
    total: dict[str, Any] = {key: sum(cost.get(key, 0) for cost in costs) for key in keys}
    total["is_estimated"] = any(cost.get("is_estimated", True) for cost in costs)
    return total if costs else {}


def n_parameters(records: RunRecords) -> float:
    for stage in reversed(records.stages):
        parameters = stage.summary.get("parameters")
        total = parameters.get("total") if isinstance(parameters, dict) else parameters
        if total:
            return float(total)
    return 0.0


def is_chat(records: RunRecords) -> bool:
    """It was taught to answer, here or before this run."""
    return any(stage.name in ("sft", "align") or "method" in stage.result for stage in records.stages)
