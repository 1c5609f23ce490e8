"""A reward model in two charts: agreement with people by pairs learned from, and how sure against how often right.

Specifications as in `charts`: colours are the page's CSS variables.  Shares from 0 to 1.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from glasshouse.report.charts import CONFIG, SCHEMA, Chart
from glasshouse.report.records import Record, RunRecords, mapping

HEIGHT = 220
PERCENT = {"labelExpr": "format(datum.value, '.0%')"}
DASHED: dict[str, Any] = {"color": "var(--stone)", "strokeDash": [4, 4], "strokeWidth": 1}


def reward_charts(records: RunRecords) -> list[Chart]:
    stage = records.stage_with("quality")
    if stage is None:
        return []
    return [*_learning_curve(stage.result), *_reliability(mapping(stage.result["quality"]))]


def _learning_curve(result: Record) -> Iterator[Chart]:
    rows = [
        {"pairs": point["n_trained"], **{key: accuracy[key] for key in ("value", "low", "high")}}
        for point in map(mapping, result.get("learning_curve") or [])
        if (accuracy := mapping(mapping(point.get("quality")).get("accuracy")))
    ]
    if len(rows) < 2:
        return
    x = {"field": "pairs", "type": "quantitative", "axis": {"title": None, "tickCount": 5, "grid": False}}
    domain = [min(0.4, *(row["low"] for row in rows)), max(0.6, *(row["high"] for row in rows))]
    layers: list[dict[str, Any]] = [
        {"data": {"values": [{"chance": 0.5}]}, "mark": DASHED | {"type": "rule"},
         "encoding": {"y": _share("chance", domain)}},
        {"mark": {"type": "rule", "color": "var(--leaf)", "strokeWidth": 1.5},
         "encoding": {"x": x, "y": _share("low", domain), "y2": {"field": "high"}}},
        {"mark": {"type": "line", "color": "var(--leaf)", "strokeWidth": 2},
         "encoding": {"x": x, "y": _share("value", domain)}},
        _points(x, _share("value", domain), [("pairs", "learned from", ","), ("value", "agrees with people", ".1%"),
                                             ("low", "interval from", ".1%"), ("high", "to", ".1%")]),
    ]  # fmt: skip
    note = "lines: 95 % intervals · dashed: chance"
    yield Chart("reward-learning", "Agreement with people", note, _spec(rows, layers), "comparisons learned from")


def _reliability(quality: Record) -> Iterator[Chart]:
    rows = [
        {key: bin[key] for key in ("confidence", "accuracy", "n_pairs")}
        for bin in map(mapping, quality.get("reliability") or [])
        if {"confidence", "accuracy", "n_pairs"} <= set(bin)
    ]
    if not rows:
        return
    x = {"field": "confidence", "type": "quantitative", "scale": {"domain": [0.5, 1]},
         "axis": {"title": None, "tickCount": 5, "grid": False, **PERCENT}}  # fmt: skip
    y = _share("accuracy", [min(0.4, *(row["accuracy"] for row in rows)), 1.0])
    points = _points(x, y, [("confidence", "how sure", ".1%"), ("accuracy", "how often right", ".1%"),
                            ("n_pairs", "pairs", ",")])  # fmt: skip
    points["encoding"]["size"] = {
        "field": "n_pairs", "type": "quantitative", "scale": {"range": [30, 360]}, "legend": None,
    }  # fmt: skip
    diagonal = {
        "data": {"values": [{"confidence": share, "accuracy": share} for share in (0.5, 1.0)]},
        "mark": DASHED | {"type": "line"},
        "encoding": {"x": x, "y": y},
    }
    note = "dashed: as sure as it should be · larger dots: more pairs"
    yield Chart(
        "reward-reliability", "How often it was right", note, _spec(rows, [diagonal, points]), "how sure it was"
    )


def _share(field: str, domain: list[float]) -> dict[str, Any]:
    """The same scale in every layer: one layer without it would stretch it to zero."""
    return {"field": field, "type": "quantitative", "scale": {"domain": domain, "nice": True},
            "axis": {"title": None, "tickCount": 4, **PERCENT}}  # fmt: skip


def _points(x: dict[str, Any], y: dict[str, Any], told: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    tooltip = [{"field": name, "title": title, "format": form} for name, title, form in told]
    return {
        "mark": {"type": "point", "filled": True, "size": 70, "color": "var(--leaf)", "opacity": 1, "tooltip": True},
        "encoding": {"x": x, "y": y, "tooltip": tooltip},
    }


def _spec(rows: list[dict[str, Any]], layers: list[dict[str, Any]]) -> dict[str, Any]:
    """`x_axis` is the page's switch between tokens and time: declared, for it is set on every chart, and not used."""
    return {
        "$schema": SCHEMA, "width": "container", "height": HEIGHT, "config": CONFIG,
        "params": [{"name": "x_axis", "value": "tokens"}], "data": {"values": rows}, "layer": layers,
    }  # fmt: skip
