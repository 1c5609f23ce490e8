"""Curves of training as Vega-Lite specifications: interactive in the page, static where scripts do not run.

Colours are CSS variables of the page (the SVG renderer passes them on), so one chart serves light and dark.
x is millions of tokens or minutes, switched by the page through the signal `x_axis`.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from glasshouse.core.environment import cache_directory
from glasshouse.core.errors import MissingExtraError
from glasshouse.core.extras import require
from glasshouse.core.files import write_text
from glasshouse.report.records import Record, RunRecords, StageRecord

MAX_POINTS = 240  # a curve: more cannot be seen, and the page stays small
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"  # a name, never fetched
FONT = "system-ui, sans-serif"

X_AXIS = {"calculate": "x_axis == 'minutes' ? datum.minutes : datum.tokens", "as": "x"}

CONFIG: dict[str, Any] = {
    "font": FONT,
    "background": "transparent",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--soft)", "titleColor": "var(--soft)", "gridColor": "var(--line)", "domain": False,
        "ticks": False, "labelPadding": 6, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal",
        "titlePadding": 8,
    },
    "axisX": {"grid": False},
    "legend": {
        "labelColor": "var(--soft)", "titleColor": "var(--soft)", "labelFontSize": 12, "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
}  # fmt: skip


@dataclass(frozen=True)
class Chart:
    id: str
    title: str
    note: str
    spec: dict[str, Any]
    x_label: str = "million tokens"
    svg: str = ""  # static form, for print and for browsers without scripts


@dataclass(frozen=True)
class StageCharts:
    stage: str
    main: Chart
    small: list[Chart]


@dataclass(frozen=True)
class Curve:
    """One metric as a line.  `held_out` is the same on what is held back, as dots; `other` a second line."""

    key: str
    title: str
    axis_format: str = ""
    note: str = ""
    held_out: str = ""
    other: str = ""
    starts_at_zero: bool = False


SPEED = (
    Curve("lr", "Learning rate", "~g"),
    Curve("tokens_per_s", "Tokens a second", "~s", starts_at_zero=True),
)
# What may be learned from judged answers, in the order of showing: the first that was recorded is drawn large.
JUDGED = (
    Curve("rollout/reward", "Reward of its answers", held_out="eval/reward"),
    Curve("loss", "Loss", held_out="eval/loss"),
    Curve("dpo/accuracy", "Pairs ranked as they were judged", ".0%", held_out="eval/accuracy"),
    Curve("dpo/margin", "Margin: preferred less other, in nats", held_out="eval/margin"),
    Curve("dpo/reward_chosen", "Implicit reward", "", "green: preferred · orange: the other",
          other="dpo/reward_rejected"),
    Curve("kto/accuracy", "Answers valued as they were judged", ".0%", held_out="eval/accuracy"),
    Curve("kto/gain", "Gain over the model before", held_out="eval/gain"),
    Curve("kto/kl", "KL from the model before, nats an answer", held_out="eval/kl"),
    Curve("reward/accuracy", "Pairs ranked as they were judged", ".0%", held_out="eval/accuracy"),
    Curve("reward/difference", "Score: preferred less other"),
    Curve("rollout/kl", "KL from the model before, nats a token"),
    Curve("rollout/entropy", "Entropy, nats a token", starts_at_zero=True),
    Curve("rollout/answer_tokens", "Tokens sampled a round", "~s", starts_at_zero=True),
    Curve("rollout/share_finished", "Answers that came to an end", ".0%"),
    Curve("rollout/share_alike", "Questions whose answers were all rewarded alike", ".0%"),
    Curve("rollout/kl_weight", "Price of a nat of KL"),
)  # fmt: skip
JUDGED_PREFIXES = ("dpo/", "kto/", "reward/", "rollout/")


def training_charts(records: RunRecords) -> list[StageCharts]:
    stages = [(stage, records.curves.get(stage.name, [])) for stage in records.training_stages]
    return [charts for stage, curve in stages if len(curve) > 1 and (charts := _stage_charts(stage, curve))]


def _stage_charts(stage: StageRecord, curve: list[Record]) -> StageCharts | None:
    points = _points(stage, curve)
    is_judged = any(key.startswith(JUDGED_PREFIXES) for point in points for key in point)
    wanted = JUDGED if is_judged else (_loss_of_text(stage, points), *SPEED)
    found = [curve for curve in wanted if sum(curve.key in point for point in points) > 1]
    if not found or found[0] in SPEED:
        return None
    large, low = (130, 130) if is_judged else (260, 110)  # no one curve tells how learning from judgements goes
    main, *small = (_chart(stage, points, curve, low if number else large) for number, curve in enumerate(found))
    return StageCharts(stage.name, main, small)


def _loss_of_text(stage: StageRecord, points: Sequence[dict[str, float]]) -> Curve:
    """Text is scored by its bytes, answers by their loss: their bytes are few."""
    is_text = stage.name == "pretrain" and any("bits_per_byte" in point for point in points)
    unit = "bits_per_byte" if is_text else "loss"
    what = "text" if stage.name == "pretrain" else "answers"
    has_eval = any(f"eval/{unit}" in point for point in points)
    note = f"line: {what} it learned from · dots: {what} held back" if has_eval else ""
    return Curve(unit, "Bits per byte" if is_text else "Loss (nats a token)", "", note, f"eval/{unit}")


def _chart(stage: StageRecord, points: list[dict[str, float]], curve: Curve, height: int) -> Chart:
    id = f"{stage.name}-{'loss' if curve.key == 'bits_per_byte' else re.sub('[_/]', '-', curve.key)}"
    note = curve.note or ("dots: held back" if any(curve.held_out in point for point in points) else "")
    return Chart(id, curve.title, note, _spec(points, curve, height), f"{_token_unit(points)} tokens")


def _points(stage: StageRecord, curve: list[Record]) -> list[dict[str, float]]:
    """One flat record a step: metrics, `tokens` in units of `token_unit`, `minutes` since the stage's first record.

    A clock that was set back between two records, or another machine's that lags, takes no time away.
    """
    unit = 1e6 if (stage.summary.get("n_tokens") or 1e6) >= 1e6 else 1e3
    n_tokens, n_steps = stage.summary.get("n_tokens"), stage.summary.get("steps")
    per_step = n_tokens / n_steps if n_tokens and n_steps else 1.0
    seconds, last_at = 0.0, float(curve[0].get("at", 0))
    rows = []
    for record in curve:
        at = float(record.get("at", 0))
        seconds, last_at = seconds + max(0.0, at - last_at), at
        metrics = {key: value for key, value in record["metrics"].items() if isinstance(value, int | float)}
        tokens = metrics.get("tokens", record["step"] * per_step) / unit
        rows.append({**metrics, "tokens": tokens, "token_unit": unit, "minutes": seconds / 60})
    return rows


def _token_unit(points: Sequence[dict[str, float]]) -> str:
    return "million" if points[0]["token_unit"] >= 1e6 else "thousand"


def thin(rows: Sequence[dict[str, float]], key: str, limit: int = MAX_POINTS) -> list[dict[str, float]]:
    """At most `limit` points of the series `key`: means over equal stretches, so that a spike still lifts its place."""
    rows = [row for row in rows if key in row]
    if len(rows) <= limit:
        return [{k: row[k] for k in ("tokens", "minutes", key)} for row in rows]
    edges = [round(i * len(rows) / limit) for i in range(limit + 1)]
    parts = [rows[a:b] for a, b in pairwise(edges)]
    return [{k: sum(r[k] for r in part) / len(part) for k in ("tokens", "minutes", key)} for part in parts]


def _spec(points: list[dict[str, float]], curve: Curve, height: int) -> dict[str, Any]:
    axis: dict[str, Any] = {"title": None, "tickCount": 4}
    if curve.axis_format:
        axis["labelExpr"] = f"format(datum.value, '{curve.axis_format}')"
    hover = {
        "name": f"hover_{re.sub('[^a-z_]', '_', curve.key)}",
        "select": {"type": "point", "on": "pointermove", "nearest": True, "clear": "pointerout"},
    }
    layers: list[dict[str, Any]] = [
        {"mark": {"type": "line", "color": "var(--leaf)", "strokeWidth": 2}},
        {
            "params": [hover],
            "mark": {"type": "point", "filled": True, "size": 60, "color": "var(--leaf)", "tooltip": True},
            "encoding": {
                "opacity": {"condition": {"param": hover["name"], "empty": False, "value": 1}, "value": 0},
                "tooltip": _tooltip(points, re.sub("[_/]", " ", curve.key), with_minutes=True),
            },
        },
    ]
    dot = {"type": "point", "filled": True, "size": 70 if height > 200 else 40, "opacity": 1, "tooltip": True}
    if any(curve.held_out in point for point in points):
        layers.append(_added(points, curve.held_out, {**dot, "color": "var(--bloom)"}, "held back"))
    if any(curve.other in point for point in points):
        line = {"type": "line", "color": "var(--bloom)", "strokeWidth": 2}
        layers.append(_added(points, curve.other, line, re.sub("[_/]", " ", curve.other)))
    return {
        "$schema": SCHEMA,
        "width": "container",
        "height": height,
        "config": CONFIG,
        "params": [{"name": "x_axis", "value": "tokens"}],
        "data": {"values": _series(points, curve.key)},
        "transform": [X_AXIS],
        "encoding": {
            "x": {
                "field": "x", "type": "quantitative", "axis": {"title": None, "tickCount": 5}, "scale": {"nice": False},
            },
            "y": {
                "field": "value", "type": "quantitative", "axis": axis,
                "scale": {"zero": curve.starts_at_zero, "nice": True},
            },
        },
        "layer": layers,
    }  # fmt: skip


def _added(points: list[dict[str, float]], key: str, mark: dict[str, Any], title: str) -> dict[str, Any]:
    """A second series, from records of its own."""
    return {
        "data": {"values": _series(points, key)},
        "transform": [X_AXIS],
        "mark": mark,
        "encoding": {
            "y": {"field": "value", "type": "quantitative"},
            "tooltip": _tooltip(points, title, with_minutes=False),
        },
    }


def _tooltip(points: list[dict[str, float]], title: str, *, with_minutes: bool) -> list[dict[str, str]]:
    minutes = [{"field": "minutes", "title": "minutes", "format": ".2~f"}] if with_minutes else []
    return [
        {"field": "tokens", "title": f"{_token_unit(points)} tokens", "format": ".3~f"},
        *minutes,
        {"field": "value", "title": title, "format": ".4~g"},
    ]


def _series(points: list[dict[str, float]], key: str) -> list[dict[str, float]]:
    """One metric as `value`: names with strokes and dots mean something else to Vega."""
    rows = [{**row, "value": row.pop(key)} for row in thin(points, key)]
    return [{name: float(f"{value:.5g}") for name, value in row.items()} for row in rows]


def with_static_forms(charts: StageCharts) -> StageCharts:
    return replace(charts, main=with_static_form(charts.main), small=[with_static_form(c) for c in charts.small])


def with_static_form(chart: Chart) -> Chart:
    converter = require("vl_convert", "report", "Drawing charts")
    layers = [layer for layer in chart.spec["layer"] if "params" not in layer]  # nothing to point at on paper
    return replace(chart, svg=converter.vegalite_to_svg({**chart.spec, "width": 640, "layer": layers}))


def javascript() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script (0.9 MB), made once a machine: bundling takes seconds.

    Empty where the report extra is not installed: the page then shows no curves, and says so.
    """
    try:
        converter = require("vl_convert", "report", "Drawing charts")
    except MissingExtraError:
        return ""
    path = cache_directory() / f"vega-{converter.__version__}.js"
    seal = path.with_suffix(".sha256")
    try:
        script = path.read_text(encoding="utf-8")
        if seal.read_text() == hashlib.sha256(script.encode()).hexdigest():
            return script
    except (OSError, ValueError):
        pass
    script = converter.javascript_bundle().replace("</script", "<\\/script").replace("<!--", "<\\!--")
    try:
        write_text(path, script)
        write_text(seal, hashlib.sha256(script.encode()).hexdigest())
    except OSError:  # a read-only home costs seconds, not the report
        pass
    return script
