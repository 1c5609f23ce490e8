"""Curves of training as Vega-Lite specifications: interactive in the page, static where scripts do not run.

Colours are CSS variables of the page (the SVG renderer passes them on), so one chart serves light and dark.
x is millions of tokens or minutes, switched by the page through the signal `x_axis`.
"""

import hashlib
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


def training_charts(records: RunRecords) -> list[StageCharts]:
    stages = [(stage, records.curves.get(stage.name, [])) for stage in records.training_stages]
    return [charts for stage, curve in stages if len(curve) > 1 and (charts := _stage_charts(stage, curve))]


def _stage_charts(stage: StageRecord, curve: list[Record]) -> StageCharts | None:
    points = _points(stage, curve)
    unit = "bits_per_byte" if any("bits_per_byte" in p for p in points) and stage.name != "sft" else "loss"
    if not any(unit in p for p in points):
        return None
    label = "Bits per byte" if unit == "bits_per_byte" else "Loss (nats a token)"
    what = "answers" if stage.name == "sft" else "text"
    note = f"line: {what} it learned from · dots: {what} held back" if any(f"eval/{unit}" in p for p in points) else ""
    x_label = f"{_token_unit(points)} tokens"
    main = Chart(f"{stage.name}-loss", label, note, _spec(points, unit, height=260, has_eval=bool(note)), x_label)
    small = [
        Chart(
            f"{stage.name}-{key.replace('_', '-')}",
            title,
            "",
            _spec(points, key, height=110, axis_format=form),
            x_label,
        )
        for key, title, form in (("lr", "Learning rate", "~g"), ("tokens_per_s", "Tokens a second", "~s"))
        if any(key in p for p in points)
    ]
    return StageCharts(stage.name, main, small)


def _points(stage: StageRecord, curve: list[Record]) -> list[dict[str, float]]:
    """One flat record a step: metrics, `tokens` in units of `token_unit`, `minutes` since the stage's first record."""
    unit = 1e6 if (stage.summary.get("n_tokens") or 1e6) >= 1e6 else 1e3
    n_tokens, n_steps = stage.summary.get("n_tokens"), stage.summary.get("steps")
    per_step = n_tokens / n_steps if n_tokens and n_steps else 1.0
    started_at = float(curve[0].get("at", 0))
    rows = []
    for record in curve:
        metrics = {key: value for key, value in record["metrics"].items() if isinstance(value, int | float)}
        tokens = metrics.get("tokens", record["step"] * per_step) / unit
        rows.append(
            {**metrics, "tokens": tokens, "token_unit": unit, "minutes": (float(record.get("at", 0)) - started_at) / 60}
        )
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


def _spec(
    points: list[dict[str, float]], key: str, *, height: int, has_eval: bool = False, axis_format: str = ""
) -> dict[str, Any]:
    axis = {
        "title": None,
        "tickCount": 4,
        **({"labelExpr": f"format(datum.value, '{axis_format}')"} if axis_format else {}),
    }
    y = {"field": key, "type": "quantitative", "axis": axis, "scale": {"zero": key == "tokens_per_s", "nice": True}}
    x = {"field": "x", "type": "quantitative", "axis": {"title": None, "tickCount": 5}, "scale": {"nice": False}}
    tooltip = [
        {"field": "tokens", "title": f"{_token_unit(points)} tokens", "format": ".3~f"},
        {"field": "minutes", "title": "minutes", "format": ".2~f"},
        {"field": key, "title": key.replace("_", " "), "format": ".4~g"},
    ]
    hover = {
        "name": f"hover_{key}",
        "select": {"type": "point", "on": "pointermove", "nearest": True, "clear": "pointerout"},
    }
    layers: list[dict[str, Any]] = [
        {"mark": {"type": "line", "color": "var(--leaf)", "strokeWidth": 2}},
        {
            "params": [hover],
            "mark": {"type": "point", "filled": True, "size": 60, "color": "var(--leaf)", "tooltip": True},
            "encoding": {
                "opacity": {"condition": {"param": hover["name"], "empty": False, "value": 1}, "value": 0},
                "tooltip": tooltip,
            },
        },
    ]
    if has_eval:
        layers.append(_held_out_layer(points, f"eval/{key}"))
    return {
        "$schema": SCHEMA,
        "width": "container",
        "height": height,
        "config": CONFIG,
        "params": [{"name": "x_axis", "value": "tokens"}],
        "data": {"values": _rounded(thin(points, key))},
        "transform": [{"calculate": "x_axis == 'minutes' ? datum.minutes : datum.tokens", "as": "x"}],
        "encoding": {"x": x, "y": y},
        "layer": layers,
    }


def _held_out_layer(points: list[dict[str, float]], key: str) -> dict[str, Any]:
    rows = [{**row, "value": row.pop(key)} for row in _rounded(thin(points, key))]
    return {
        "data": {"values": rows},
        "transform": [{"calculate": "x_axis == 'minutes' ? datum.minutes : datum.tokens", "as": "x"}],
        "mark": {"type": "point", "filled": True, "size": 70, "color": "var(--bloom)", "opacity": 1, "tooltip": True},
        "encoding": {
            "y": {"field": "value", "type": "quantitative"},
            "tooltip": [
                {"field": "tokens", "title": f"{_token_unit(points)} tokens", "format": ".3~f"},
                {"field": "value", "title": "held back", "format": ".4~g"},
            ],
        },
    }


def _rounded(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{key: float(f"{value:.5g}") for key, value in row.items()} for row in rows]


def with_static_forms(charts: StageCharts) -> StageCharts:
    def draw(chart: Chart) -> Chart:
        converter = require("vl_convert", "report", "Drawing charts")
        layers = [layer for layer in chart.spec["layer"] if "params" not in layer]  # nothing to point at on paper
        spec = {**chart.spec, "width": 640, "layer": layers}
        return replace(chart, svg=converter.vegalite_to_svg(spec))

    return StageCharts(charts.stage, draw(charts.main), [draw(chart) for chart in charts.small])


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
