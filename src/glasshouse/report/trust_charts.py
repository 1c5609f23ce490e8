"""The trust suite in charts: sure against right, right against share answered, and exposure by how often it was read.

Specifications as in `charts`: colours are the page's CSS variables.  Of the last stage that was probed.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from glasshouse.report.charts import CONFIG, SCHEMA, Chart
from glasshouse.report.records import Record, RunRecords, mapping

HEIGHT = 200
PERCENT = {"labelExpr": "format(datum.value, '.0%')"}
DASHED: dict[str, Any] = {"color": "var(--stone)", "strokeDash": [4, 4], "strokeWidth": 1}


def trust_charts(records: RunRecords) -> dict[str, list[Chart]]:
    """By probe."""
    if not records.trust:
        return {}
    data = {name: mapping(mapping(p).get("data")) for name, p in mapping(records.trust[-1].get("probes")).items()}
    made = {
        "hallucination": list(_selective(mapping(data.get("hallucination")))),
        "calibration": list(_reliability(mapping(data.get("calibration")))),
        "memorisation": list(_exposure(mapping(data.get("memorisation")))),
    }
    return {name: charts for name, charts in made.items() if charts}


def _selective(data: Record) -> Iterator[Chart]:
    rows = [{key: float(row[key]) for key in ("share", "accuracy", "p")} for row in data.get("selective") or []]
    if len(rows) < 2:
        return
    x, y = _axis("share", [0, 1]), _axis("accuracy", [0, 1])
    layers = [
        {"mark": {"type": "line", "color": "var(--leaf)", "strokeWidth": 2}, "encoding": {"x": x, "y": y}},
        _points(x, y, [("share", "answered", ".0%"), ("accuracy", "right of these", ".1%"),
                       ("p", "probability at least", ".1%")], size=30),
    ]  # fmt: skip
    yield Chart(
        "trust-selective", "Right, if it answers only what it is surest of", "", _spec(rows, layers), "share answered"
    )


def _reliability(data: Record) -> Iterator[Chart]:
    for key, title in (("answers", "Its answers"), ("choices", "One of four choices")):
        rows = [{name: row[name] for name in ("confidence", "accuracy", "count")} for row in data.get(key) or []]
        if not rows:
            continue
        x, y = _axis("confidence", [0, 1]), _axis("accuracy", [0, 1])
        diagonal = {
            "data": {"values": [{"confidence": share, "accuracy": share} for share in (0.0, 1.0)]},
            "mark": DASHED | {"type": "line"}, "encoding": {"x": x, "y": y},
        }  # fmt: skip
        points = _points(x, y, [("confidence", "how sure", ".1%"), ("accuracy", "how often right", ".1%"),
                                ("count", "answers", ",")])  # fmt: skip
        points["encoding"]["size"] = {
            "field": "count", "type": "quantitative", "scale": {"range": [30, 320]}, "legend": None,
        }  # fmt: skip
        note = "dashed: as sure as it should be"
        yield Chart(
            f"trust-{key}", f"{title}: how often right", note, _spec(rows, [diagonal, points]), "how sure it was"
        )


def _exposure(data: Record) -> Iterator[Chart]:
    rows = [
        {"planted": "never" if row["planted"] == 0 else f"{row['planted']}×", "order": row["planted"],
         **{key: float(row[key]) for key in ("bits", "low", "high")}}
        for row in map(mapping, data.get("exposure") or [])
    ]  # fmt: skip
    if len(rows) < 2:
        return
    x = {"field": "planted", "type": "nominal", "sort": {"field": "order"},
         "axis": {"title": None, "labelAngle": 0, "grid": False}}  # fmt: skip
    y = {"field": "bits", "type": "quantitative", "scale": {"zero": True},
         "axis": {"title": None, "tickCount": 4}}  # fmt: skip
    layers: list[dict[str, Any]] = [
        {"data": {"values": [{"chance": float(data.get("chance_bits", 1.44))}]}, "mark": DASHED | {"type": "rule"},
         "encoding": {"y": {**y, "field": "chance"}}},
        {"mark": {"type": "rule", "color": "var(--leaf)", "strokeWidth": 1.5},
         "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}}},
        _points(x, y, [("planted", "planted", ""), ("bits", "bits", ".1f"), ("low", "interval from", ".1f"),
                       ("high", "to", ".1f")]),
    ]  # fmt: skip
    yield Chart(
        "trust-exposure", "How well it knows planted secrets, in bits", "dashed: chance", _spec(rows, layers),
        "how often each was planted",
    )  # fmt: skip


def _axis(field: str, domain: list[float]) -> dict[str, Any]:
    return {"field": field, "type": "quantitative", "scale": {"domain": domain},
            "axis": {"title": None, "tickCount": 4, "grid": field == "accuracy", **PERCENT}}  # fmt: skip


def _points(
    x: dict[str, Any], y: dict[str, Any], told: Sequence[tuple[str, str, str]], size: int = 70
) -> dict[str, Any]:
    tooltip = [{"field": name, "title": title, **({"format": form} if form else {})} for name, title, form in told]
    mark = {"type": "point", "filled": True, "size": size, "color": "var(--leaf)", "opacity": 1, "tooltip": True}
    return {"mark": mark, "encoding": {"x": x, "y": y, "tooltip": tooltip}}


def _spec(rows: list[dict[str, Any]], layers: list[dict[str, Any]]) -> dict[str, Any]:
    """`x_axis` is the page's switch between tokens and time: declared, for it is set on every chart, and not used."""
    return {
        "$schema": SCHEMA, "width": "container", "height": HEIGHT, "config": CONFIG,
        "params": [{"name": "x_axis", "value": "tokens"}], "data": {"values": rows}, "layer": layers,
    }  # fmt: skip
