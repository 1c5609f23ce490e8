"""`MODEL_CARD.md` in the form of the Hugging Face hub: YAML front matter, then what a reader needs to judge a model.

`card.json` beside it holds the same for pages: values and plain text, no markup.

Every sentence follows from a record; where no record speaks, the card is silent.  Source: the hub's model card
specification (`model-index` for results; intervals and counts stand in each metric's `args`).
Foreign text (documents, answers, names of files) is escaped: hubs render Markdown with HTML in it.
"""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from html import escape
from typing import Any

from glasshouse.core.files import write_json, write_text
from glasshouse.core.rundir import RunDirectory
from glasshouse.report import story
from glasshouse.report.page import environment
from glasshouse.report.records import RunRecords, mapping, read_run
from glasshouse.report.story.suite import scores_of, sentence
from glasshouse.report.story.whole import is_chat
from glasshouse.report.units import format_co2, format_count, format_energy, format_flops, format_interval, format_score


def model_card(run: RunDirectory) -> str:
    """Write `MODEL_CARD.md` and `card.json` into the run; returns the card's text."""
    records = read_run(run)
    text = render_card(records)
    write_text(run.path / "MODEL_CARD.md", text)
    write_json(run.path / "card.json", card_data(records))
    return text


def card_data(records: RunRecords) -> dict[str, Any]:
    """All that the card says, as JSON values; None or empty where no record speaks."""
    headline, corpus, trust, suite = (
        _values(part(records)) for part in (story.headline, story.corpus, story.trust, story.suite)
    )
    if corpus:
        corpus.pop("summary")
    return {
        "name": records.name,
        "headline": headline,
        "purpose": story.purpose(records),
        "data": corpus,
        "training": {
            "model": dict(story.model_rows(records)),
            "stages": [{"stage": s.name, **_values(s.summary)} for s in records.training_stages if s.is_training],
        },
        "cost": {"total": _values(story.total_cost(records)), "stages": _values(story.costs(records)),
                 "hardware": _values(mapping(records.plan.get("device")))},
        "evaluations": [{"after": r["after"], "scores": list(r["scores"])} for r in records.evaluations],
        "trust": suite,
        "failures": _values(trust["groups"]) if trust else [],
        "verdict": trust["verdict"] if trust else None,
        "must_not": story.must_not(records),
        "warnings": [str(w.get("text", "")) for w in records.warnings],
        "versions": _values(mapping(records.actual.get("versions"))),
    }  # fmt: skip


def _values(value: Any) -> Any:
    """Dataclasses, mappings and sequences, to any depth, as JSON has them."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _values(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _values(item) for key, item in value.items()}
    return [_values(item) for item in value] if isinstance(value, list | tuple) else value


def render_card(records: RunRecords) -> str:
    template = environment(is_html=False)
    template.filters |= {"md": _plain, "code": _code}
    return template.get_template("model_card.md.j2").render(
        front_matter=_yaml(_front_matter(records)),
        records=records,
        headline=story.headline(records),
        is_builtin=story.is_builtin(records),
        trained=[stage for stage in records.training_stages if stage.is_training],
        scores=_score_rows(records),
        corpus=story.corpus(records),
        costs=story.costs(records),
        cost=_cost_words(records),
        trust=story.trust(records),
        purpose=story.purpose(records),
        suite=story.suite(records),
        must_not=story.must_not(records),
        taught=story.taught(records),
        reward_model=story.reward_model(records),
        moderation=story.moderation(records),
        is_chat=is_chat(records),
        shape=story.model_rows(records),
        device=mapping(records.plan.get("device")),
        versions=mapping(records.actual.get("versions")),
        format_count=format_count,
    )  # fmt: skip


def _front_matter(records: RunRecords) -> dict[str, Any]:
    recipe = _recipe(records)
    builtin = story.is_builtin(records)
    matter: dict[str, Any] = {"license": recipe.get("license") or ("other" if builtin else "unknown")}
    if builtin and "license" not in recipe:
        matter |= {"license_name": "psf-2.0", "license_link": "https://docs.python.org/3/license.html"}
    language = recipe.get("language") or (["en"] if builtin else None)
    if language:
        matter["language"] = language if isinstance(language, list) else [language]
    is_scorer = not is_chat(records) and (records.stage_with("quality") or records.stage_with("threshold"))
    task = "text-classification" if is_scorer else "text-generation"
    matter |= {"library_name": "transformers", "pipeline_tag": task, "tags": _tags(records)}
    corpus = records.stage("corpus")
    if sources := list(mapping(corpus.summary.get("sources")) if corpus else {}):
        matter["datasets"] = sources
    if cost := story.total_cost(records):
        matter["co2_eq_emissions"] = _emissions(records, cost)
    if results := [*_results(records), *_trust_results(records), *_reward_results(records)]:
        matter["model-index"] = [{"name": records.name, "results": results}]
    return matter


def _tags(records: RunRecords) -> list[str]:
    shape = next((mapping(s.summary.get("model")) for s in records.training_stages if s.summary.get("model")), {})
    family = [] if not shape else ["qwen3"] if shape.get("has_qk_norm", True) else ["llama"]
    method = records.stage_with("method")
    taught = [str(method.result["method"]).replace("_", "-")] if method else []
    rewards = ["reward-model"] if records.stage_with("quality") else []
    return ["glasshouse", *family, *(["conversational"] if is_chat(records) else []), *taught, *rewards]


def _emissions(records: RunRecords, cost: Mapping[str, Any]) -> dict[str, Any]:
    how = "estimated from processor time" if cost.get("is_estimated", True) else "measured with energy counters"
    device = mapping(records.plan.get("device"))
    found = {"emissions": round(float(cost.get("co2_g", 0)), 4), "source": f"glasshouse, {how}"}
    return found | ({"hardware_used": str(device["name"])} if device.get("name") else {})


def _results(records: RunRecords) -> list[dict[str, Any]]:
    if not records.evaluations:
        return []
    name = (
        "questions about the Python standard library" if story.is_builtin(records) else f"questions of {records.name}"
    )
    metrics = [
        _metric("exact_match" if score["name"] == "exact" else score["name"], _words(score["name"]), score)
        for score in records.evaluations[-1]["scores"]
    ]
    return [_result("text-generation", name, metrics)]


def _trust_results(records: RunRecords) -> list[dict[str, Any]]:
    if not records.trust:
        return []
    metrics = [_metric(str(s["name"]), _trust_words(s["name"]), s) for s in scores_of(records.trust[-1])]
    return [_result("text-generation", f"trust suite, {records.trust[-1].get('size', 'short')} form", metrics)]


def _trust_words(name: str) -> str:
    return story.MEASURES[name].title if name in story.MEASURES else sentence(name)


def _reward_results(records: RunRecords) -> list[dict[str, Any]]:
    stage = records.stage_with("quality")
    accuracy = mapping(mapping(stage.result["quality"]).get("accuracy")) if stage else {}
    if not accuracy:
        return []
    metric = _metric("accuracy", "Agreement with people", accuracy)
    return [_result("text-classification", "pairs of answers held back", [metric])]


def _result(task: str, dataset: str, metrics: list[dict[str, Any]]) -> dict[str, Any]:
    return {"task": {"type": task}, "dataset": {"name": dataset, "type": "local"}, "metrics": metrics}


def _metric(type: str, name: str, score: Mapping[str, Any]) -> dict[str, Any]:
    interval = [round(score["low"], 5), round(score["high"], 5)]
    value = round(score["value"], 5)
    return {"type": type, "name": name, "value": value, "args": {"interval_95": interval, "count": score["count"]}}


def _words(name: str) -> str:
    return story.SCORES.get(name, (name.replace("_", " ").capitalize(), True))[0]


def _score_rows(records: RunRecords) -> list[tuple[str, str, str, str]]:
    if not records.evaluations:
        return []
    return [
        (
            _words(score["name"]),
            format_score(score["value"], score.get("unit", "")),
            format_interval(score["low"], score["high"], score.get("unit", "")),
            f"{score['count']:,}",
        )
        for score in records.evaluations[-1]["scores"]
    ]


def _cost_words(records: RunRecords) -> dict[str, str]:
    cost = story.total_cost(records)
    if not cost:
        return {}
    return {
        "energy": format_energy(cost.get("joules", 0)),
        "co2": format_co2(cost.get("co2_g", 0)),
        "flops": format_flops(cost.get("flops", 0)),
        "how": "estimated from processor time, not measured"
        if cost.get("is_estimated", True)
        else "measured with energy counters",
    }


def _recipe(records: RunRecords) -> Mapping[str, Any]:
    try:
        return tomllib.loads(records.recipe)
    except tomllib.TOMLDecodeError:
        return {}


def _yaml(value: Any, indent: int = 0) -> str:
    """Block YAML of mappings, lists and scalars.  Scalars are written as JSON, which is YAML."""
    space = "  " * indent
    if isinstance(value, Mapping):
        return "".join(f"{space}{key}:{_yaml_under(item, indent + 1)}" for key, item in value.items())
    return "".join(
        f"{space}- {_yaml(item, indent + 1).lstrip()}" if isinstance(item, Mapping) else f"{space}- {_scalar(item)}\n"
        for item in value
    )


def _yaml_under(value: Any, indent: int) -> str:
    is_short = (
        isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(v, int | float) for v in value)
    )
    if is_short or not isinstance(value, Mapping | list):
        return f" {_scalar(value)}\n"
    return "\n" + _yaml(value, indent)


def _scalar(value: Any) -> str:
    is_plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_./ -]*", value) is not None
    is_word = is_plain and value.lower() not in ("yes", "no", "on", "off", "true", "false", "null", "y", "n")
    return str(value).strip() if is_word else json.dumps(value, ensure_ascii=False)


def _plain(text: Any) -> str:
    """Foreign text as text: no HTML, no Markdown, one line."""
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", escape(" ".join(str(text).split()), quote=False))


def _code(text: Any) -> str:
    """Foreign text as a code span, whatever backticks it holds.  Bars would end a table's cell, so they are escaped."""
    line = " ".join(str(text).split())
    fence = "`" * (max([len(run) for run in re.findall(r"`+", line)], default=0) + 1)
    edge = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{edge}{line}{edge}{fence}".replace("|", "\\|") if line else ""
