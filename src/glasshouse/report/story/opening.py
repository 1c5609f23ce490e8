"""The top of the page: what was made, how it went, and the few numbers that matter."""

from dataclasses import dataclass

from glasshouse.report.records import Record, RunRecords, mapping
from glasshouse.report.story.moderation import moderation_scores
from glasshouse.report.story.preferences import METHODS, evaluations_around
from glasshouse.report.story.whole import (
    bits_per_byte,
    is_builtin,
    is_chat,
    latest_scores,
    n_parameters,
    text_in_words,
    total_cost,
    total_seconds,
)
from glasshouse.report.units import (
    format_count,
    format_energy,
    format_interval,
    format_money,
    format_number,
    format_score,
    format_seconds,
    plural,
)


@dataclass(frozen=True)
class Figure:
    """One of the few numbers at the top.  `range` is a 95 % interval where there is one."""

    value: str
    label: str
    range: str = ""


@dataclass(frozen=True)
class Headline:
    title: str
    status: str  # "" when the run is whole
    lead: str
    figures: list[Figure]
    command: str


def headline(records: RunRecords) -> Headline:
    command = f"glass {'chat' if is_chat(records) else 'generate'} {records.path}"
    return Headline(
        records.name, _status(records), _lead(records), _figures(records), command if records.has_model else ""
    )


def _status(records: RunRecords) -> str:
    if records.is_finished:
        return ""
    if records.interruption is not None:
        stage = records.interruption.get("stage") or "a stage"
        how = f"Go on with: glass resume {records.path}" if records.recipe else "Give the same command to go on."
        return f"This run was interrupted during {stage}. {how}"
    open_stages = [stage.name for stage in records.stages if not stage.is_finished]
    if open_stages:
        return f"This run is not finished: {', '.join(open_stages)} began and has no result yet."
    if records.stages and all(stage.result for stage in records.stages):  # `glass align`, `glass reward`: whole
        return ""
    return "This run holds some of the stages of a whole life; the others are left out below."


def _lead(records: RunRecords) -> str:
    parameters = n_parameters(records)
    thing = _thing(records)
    size = f" of {format_count(parameters)} parameters" if parameters else ""
    text = f"{'An' if thing == 'assistant' else 'A'} {thing}{size}"
    if origin := text_in_words(records):
        text += f", grown from {origin}"
    if (judged := records.stage_with("method")) and judged.name == records.stages[0].name:
        text += f", taught by {METHODS.get(judged.result['method'], ('its method', ''))[0]}"
    if seconds := total_seconds(records):
        text += f" in {format_seconds(seconds)}"
    if cores := mapping(records.plan.get("device")).get("n_cores"):
        text += f" on {plural(cores, 'core')}"
    return text + "."


def _thing(records: RunRecords) -> str:
    if is_chat(records):
        return "assistant"
    if records.stage_with("quality"):
        return "reward model"
    if records.stage_with("threshold"):
        return "moderator"
    return "language model" if records.training_stages else "corpus"


def _figures(records: RunRecords) -> list[Figure]:
    figures = []
    scores = latest_scores(records)
    for name, label in (
        (
            "exact",
            "right answers"
            + (" to questions worded in new ways" if is_builtin(records) else " to the questions asked"),
        ),
        ("honest_refusal", "of made-up names honestly refused"),
        ("wrong", "answered wrongly, as if it were true" + _before_alignment(records)),
    ):
        if name in scores:
            figures.append(_score_figure(scores[name], label))
    figures = figures or _judged_figures(records)
    bits = bits_per_byte(records)
    if len(figures) < 3 and bits:
        figures.append(Figure(f"{bits:.3g}", "bits a byte: how well it foresees text held back"))
    if seconds := total_seconds(records):
        predicted = mapping(records.plan.get("predicted")).get("seconds")
        label = ("from text to model" if records.stage("pretrain") else "of training") + (
            f", predicted {format_seconds(predicted)}" if predicted else ""
        )
        figures.append(Figure(format_seconds(seconds), label))
    joules = total_cost(records).get("joules", 0)
    if joules and len(figures) < 5:
        usd = total_cost(records).get("usd", 0)
        word = "estimated" if total_cost(records).get("is_estimated", True) else "measured"
        figures.append(Figure(format_energy(joules), f"of electricity, {format_money(usd)} ({word})"))
    return figures


def _before_alignment(records: RunRecords) -> str:
    around = evaluations_around(records)
    before = {score["name"]: score for score in around[0]["scores"]}.get("wrong") if around else None
    return f"; {format_score(before['value'], before.get('unit', ''))} before alignment" if before else ""


def _judged_figures(records: RunRecords) -> list[Figure]:
    """Of a run that asked no questions: what was judged, and by whom."""
    figures = []
    model = records.stage_with("quality")
    if accuracy := mapping(mapping(model.result["quality"]).get("accuracy")) if model else {}:
        figures.append(_score_figure(accuracy, "agreement with people, on answers it had not seen"))
    for name, label in (("blocked", "of what should be blocked is blocked"), ("wrongly_blocked", "blocked wrongly")):
        if score := mapping(moderation_scores(records).get(name)):
            figures.append(_score_figure(score, label))
    if stage := records.stage_with("method"):
        result = stage.result
        if None not in (result.get("reward_before"), result.get("reward_after")):
            label = f"mean reward, {format_number(result['reward_before'])} before"
            figures.append(Figure(format_number(result["reward_after"]), label))
        elif (ranked := mapping(result.get("held_out")).get("eval/accuracy")) is not None:
            figures.append(Figure(format_score(ranked, "share"), "of the judgements held back ranked as judged"))
    return figures


def _score_figure(score: Record, label: str) -> Figure:
    unit = score.get("unit", "")
    return Figure(format_score(score["value"], unit), label, format_interval(score["low"], score["high"], unit))
