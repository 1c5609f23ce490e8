"""One self-contained HTML page about a run: opens from disk, asks the network for nothing, runs no foreign text.

Every value is escaped by jinja2; besides, a content security policy lets only the page's own scripts run (by hash),
so that hostile text in a corpus or from a model stays text even if an escape were ever forgotten.
"""

import base64
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from glasshouse.core.files import write_text
from glasshouse.core.rundir import RunDirectory
from glasshouse.report import charts as chart_table
from glasshouse.report import life, story
from glasshouse.report.records import RunRecords, read_run
from glasshouse.report.reward_charts import reward_charts
from glasshouse.report.trust_charts import trust_charts

TEMPLATES = Path(__file__).parent / "templates"


def render_run(run: RunDirectory) -> Path:
    """Write `report.html` into the run and return its path.  What has not happened yet is left out."""
    path = run.path / "report.html"
    write_text(path, render_page(read_run(run)))
    return path


def render_page(records: RunRecords) -> str:
    stage_charts, quality_charts = chart_table.training_charts(records), reward_charts(records)
    probed = trust_charts(records)
    bundle = chart_table.javascript() if stage_charts or quality_charts or probed else ""
    if bundle:
        stage_charts = [chart_table.with_static_forms(charts) for charts in stage_charts]
        quality_charts = [chart_table.with_static_form(chart) for chart in quality_charts]
        probed = {name: [chart_table.with_static_form(chart) for chart in charts] for name, charts in probed.items()}
    drawn = [
        *(c for s in stage_charts for c in (s.main, *s.small)),
        *quality_charts,
        *(c for charts in probed.values() for c in charts),
    ]
    judged = {stage.name for key in ("method", "quality") if (stage := records.stage_with(key))}
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    shown = life.panes(records)
    return environment(is_html=True).get_template("report.html.j2").render(
        records=records,
        headline=story.headline(records),
        life=Markup(life.draw_wide(shown) + life.draw_tall(shown)) if len(shown) > 1 else "",
        charts=[charts for charts in stage_charts if charts.stage not in judged],
        judged_charts={charts.stage: charts for charts in stage_charts if charts.stage in judged},
        quality_charts=quality_charts,
        specs=Markup(_json_in_script({chart.id: chart.spec for chart in drawn})),
        samples=story.samples(records),
        tokenizer=records.stage("tokenizer"),
        panels=story.score_panels(records),
        kinds=story.kind_panel(records),
        trust=story.trust(records),
        suite=story.suite(records),
        trust_charts=probed,
        must_not=story.must_not(records) if records.trust else [],
        taught=story.taught(records),
        changes=story.changes(records),
        rises=story.rises(records),
        reward_model=story.reward_model(records),
        moderation=story.moderation(records),
        corpus=story.corpus(records),
        costs=story.costs(records),
        is_estimated=story.total_cost(records).get("is_estimated", True),
        comparisons=story.comparisons(records),
        provenance=story.provenance(records),
        model_rows=story.model_rows(records),
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        bundle=Markup(bundle),
        script=Markup(script),
        policy=_policy(bundle, script),
        markup=Markup,
    )  # fmt: skip


def environment(*, is_html: bool) -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=is_html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _json_in_script(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value, ensure_ascii=True).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(*scripts: str) -> str:
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts if script]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    rest = "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    return f"default-src 'none'; script-src {allowed}; {rest}"
