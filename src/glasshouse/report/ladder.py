"""A ladder on one page: what every training reached, the law through them, and the prediction beside the truth.

Reads `ladder.json` alone.  Losses in bits per byte; parameters on a logarithmic axis.  No scripts.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from glasshouse.core.errors import ConfigError
from glasshouse.core.extras import require
from glasshouse.core.files import read_json, write_text
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import format_count, format_seconds
from glasshouse.report.charts import CONFIG, SCHEMA
from glasshouse.report.page import TEMPLATES, environment

WIDTH, HEIGHT = 640, 320
N_CURVE_POINTS = 40
COLOURS = [f"var(--{name})" for name in ("stone", "leaf", "sky", "sun", "bloom")]


def render_ladder(run: RunDirectory) -> Any:
    """Write `ladder.html` into the run and return its path; a ladder not yet climbed is drawn as far as it came."""
    path = run.path / "ladder.json"
    if not path.is_file():
        raise ConfigError(f"{run.path} holds no ladder. Make one: glass ladder --out {run.path}")
    record = read_json(path)
    page = environment(is_html=True).get_template("ladder.html.j2").render(
        name=run.name,
        rows=[_row(entry) for entry in record["rungs"]],
        prediction=record.get("prediction"),
        truth=record.get("truth"),
        fit=record.get("fit"),
        chart=Markup(_draw(record)) if record.get("fit") else "",
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
    )  # fmt: skip
    write_text(run.path / "ladder.html", page)
    return run.path / "ladder.html"


def _row(entry: Mapping[str, Any]) -> dict[str, str]:
    rung, loss = entry["rung"], entry["loss"]
    return {
        "parameters": format_count(rung["parameters"]),
        "tokens": format_count(rung["tokens"]),
        "loss": "" if loss is None else f"{loss:.3f}",
        "took": "" if entry["took_s"] is None else format_seconds(entry["took_s"]),
        "what": "held out" if rung["is_held_out"] else "",
    }


def _draw(record: Mapping[str, Any]) -> str:
    converter = require("vl_convert", "report", "Drawing charts")
    svg: str = converter.vegalite_to_svg(chart_spec(record))
    return svg


def chart_spec(record: Mapping[str, Any]) -> dict[str, Any]:
    """Points: trainings.  Lines: the law at each number of tokens.  Bar: the prediction's interval; star: the truth."""
    points = [_point(entry) for entry in record["rungs"] if entry["loss"] is not None]
    encoding = _encoding([format_count(tokens) for tokens in sorted({e["rung"]["tokens"] for e in record["rungs"]})])
    layers = [
        {"data": {"values": list(_curves(record))}, "mark": {"type": "line", "strokeWidth": 1.5}, "encoding": encoding},
        {"data": {"values": [p for p in points if not p["is_held_out"]]},
         "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1}, "encoding": encoding},
        *_test_layers(record, points, encoding),
    ]  # fmt: skip
    return {"$schema": SCHEMA, "width": WIDTH, "height": HEIGHT, "config": CONFIG, "layer": layers}


def _test_layers(
    record: Mapping[str, Any], points: list[dict[str, Any]], encoding: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    prediction = record.get("prediction")
    if prediction is not None:
        x = {"field": "parameters", "type": "quantitative", "scale": {"type": "log"}}
        y = {"field": "low", "type": "quantitative"}
        mark = {"type": "rule", "strokeWidth": 3, "opacity": 0.6, "color": "var(--soft)"}
        yield {"data": {"values": [dict(prediction)]}, "mark": mark,
               "encoding": {"x": x, "y": y, "y2": {"field": "high"}}}  # fmt: skip
    if held_out := [p for p in points if p["is_held_out"]]:
        yield {"data": {"values": held_out}, "mark": {"type": "point", "shape": "diamond", "size": 140, "opacity": 1},
               "encoding": encoding}  # fmt: skip


def _encoding(tokens: list[str]) -> dict[str, Any]:
    """A colour for each number of tokens, which come from few to many."""
    return {
        "x": {"field": "parameters", "type": "quantitative", "scale": {"type": "log", "nice": False},
              "axis": {"title": "parameters", "format": "~s", "tickCount": 6}},
        "y": {"field": "loss", "type": "quantitative", "scale": {"zero": False},
              "axis": {"title": "bits per byte of held-out text"}},
        "color": {"field": "tokens", "type": "nominal", "title": "training tokens",
                  "legend": {"orient": "top", "titleLimit": WIDTH},
                  "scale": {"domain": tokens, "range": COLOURS}},
    }  # fmt: skip


def _point(entry: Mapping[str, Any]) -> dict[str, Any]:
    rung = entry["rung"]
    return {"parameters": rung["parameters"], "tokens": format_count(rung["tokens"]), "loss": entry["loss"],
            "is_held_out": rung["is_held_out"]}  # fmt: skip


def _curves(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    law, rungs = record["fit"]["law"], [entry["rung"] for entry in record["rungs"]]
    low, high = (math.log(f(r["parameters"] for r in rungs)) for f in (min, max))
    for tokens in sorted({r["tokens"] for r in rungs}):
        for k in range(N_CURVE_POINTS + 1):
            n = math.exp(low + (high - low) * k / N_CURVE_POINTS)
            loss = law["e"] + law["a"] / n ** law["alpha"] + law["b"] / tokens ** law["beta"]
            yield {"parameters": n, "tokens": format_count(tokens), "loss": loss}
