"""The page as text, and as a browser shows it (skipped where there is no Chromium)."""

import re
from pathlib import Path
from typing import Any

import pytest

from glasshouse.core.rundir import RunDirectory
from glasshouse.report import charts, page, render_run

from ..conftest import until

SLOW_MACHINE_MS = 240_000
PAYLOAD_START = "<script>window.hacked"


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLASSHOUSE_CACHE", str(tmp_path_factory.mktemp("cache")))
        return charts.javascript()


@pytest.fixture(autouse=True)
def _scripts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundling and static drawing take seconds: once for the tests in a browser, not at all for the others."""
    if "browser" in request.fixturenames:
        script = request.getfixturevalue("bundle")
        monkeypatch.setattr(charts, "javascript", lambda: script)
    else:
        monkeypatch.setattr(charts, "javascript", lambda: "window.vegaEmbed = null;")
    if "scheme" in request.fixturenames or "browser" not in request.fixturenames:  # nothing stands still there
        monkeypatch.setattr(charts, "with_static_forms", lambda stage: stage)
        monkeypatch.setattr(charts, "with_static_form", lambda chart: chart)


def section_ids(html: str) -> list[str]:
    return re.findall(r'<section class="[a-z]+" id="([a-z]+)"', html)


def test_the_trust_suite_is_a_chapter(trusted_run: RunDirectory) -> None:
    html = render_run(trusted_run).read_text()
    for said in ("How far to trust it", "Does it invent?", 'id="trust-exposure"', 'id="trust-selective"',
                 "What it must not be used for", "better of young than of old", "Not measured"):  # fmt: skip
        assert (said in html) == (said != "Not measured")
    assert PAYLOAD_START not in re.sub(r"<script.*?</script>", "", html, flags=re.S)


def test_the_page_tells_the_whole_life_in_one_file(finished_run: RunDirectory) -> None:
    path = render_run(finished_run)
    html = path.read_text()
    assert path == finished_run.path / "report.html" and len(html) < 2_000_000
    assert section_ids(html) == [
        "life", "trust", "evaluation", "learning", "samples", "tokenizer", "corpus", "cost", "prediction", "provenance",
    ]  # fmt: skip
    without_scripts = re.sub(r"<script.*?</script>", "", html, flags=re.S)
    assert not re.search(r'(?:src|href)="(?!#)', without_scripts) and "@import" not in html
    for said in (
        "7 min 21 s",
        "estimated",
        "glass chat runs/quickstart",
        "5d5d5d",
        "derived from dial.time",
        "fewer than 20",
    ):
        assert said in without_scripts


def test_learning_from_people_has_its_chapters(aligned_run: RunDirectory, reward_run: RunDirectory) -> None:
    html = render_run(aligned_run).read_text()
    assert section_ids(html)[:6] == ["life", "trust", "evaluation", "taught", "rises", "learning"]
    without_scripts = re.sub(r"<script.*?</script>", "", html, flags=re.S)
    for said in ("true over wrong", "What became of 78 answered wrongly before", "reward −2.5", "1.4 nats a token"):
        assert said in without_scripts
    learning = without_scripts.split('id="learning"')[1].split("</section>")[0]
    assert 'id="align-loss"' in without_scripts and 'id="align-loss"' not in learning
    assert section_ids(render_run(reward_run).read_text()) == ["life", "reward", "cost", "provenance"]


def test_a_moderator_has_its_chapter(moderator_run: RunDirectory) -> None:
    assert "moderation" in section_ids(render_run(moderator_run).read_text())


def test_foreign_text_is_escaped_everywhere(aligned_run: RunDirectory) -> None:
    html = render_run(aligned_run).read_text()
    assert PAYLOAD_START not in html and html.count("&lt;script&gt;window.hacked") > 10
    assert "<img" not in re.sub(r"<script.*?</script>", "", html, flags=re.S)


def test_only_the_pages_own_scripts_may_run(finished_run: RunDirectory) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', render_run(finished_run).read_text())
    assert policy is not None
    rules = policy.group(1).replace("&#39;", "'")
    assert rules.startswith("default-src 'none'; script-src 'sha256-")
    script_rule = rules.split(";")[1]
    assert "unsafe" not in script_rule and "http" not in rules


@pytest.mark.parametrize("until", ["corpus", "tokenizer", "pretrain", "sft"])
def test_a_run_in_the_middle_of_its_life_has_a_page_too(tmp_path: Path, until: str, make_run: Any) -> None:
    run = make_run(tmp_path / "half", until)
    html = render_run(run).read_text()
    assert "This run holds some of the stages" in html
    assert ("learning" in section_ids(html)) == (until in ("pretrain", "sft"))
    assert "trust" not in section_ids(html)


def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path, make_run: Any) -> None:
    run = make_run(tmp_path / "runs" / "cut", "tokenizer")
    run.event("pretrain", "started")
    run.metric("pretrain", 1, {"loss": 8.0})
    run.metric("pretrain", 2, {"loss": 7.0})
    run.event("pretrain", "interrupted", step=2)
    html = render_run(run).read_text()
    assert "interrupted during pretrain" in html and "glass resume runs/cut" in html and "learning" in section_ids(html)


def test_an_empty_run_is_no_error(tmp_path: Path) -> None:
    assert "Glasshouse" in render_run(RunDirectory(tmp_path / "new").create()).read_text()


def test_without_the_report_extra_the_rest_is_still_told(
    finished_run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charts, "javascript", lambda: "")
    html = render_run(finished_run).read_text()
    assert "pip install" in html and "93 %" in html and len(html) < 300_000


def test_json_cannot_leave_its_script_element() -> None:
    assert "</script>" not in page._json_in_script({"a": "</script><b>&"})


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (400, "dark")])
def test_in_a_browser(aligned_run: RunDirectory, browser: Any, width: int, scheme: str) -> None:
    path = render_run(aligned_run)
    said: list[str] = []
    tab = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True).new_page()
    tab.set_default_timeout(SLOW_MACHINE_MS)
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: said.append(request.url) if not request.url.startswith("file:") else None)
    tab.goto(path.as_uri())
    tab.wait_for_function("document.querySelectorAll('.drawn svg').length === 10")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    for summary in tab.locator("summary").all():
        if summary.is_visible():
            summary.click()
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    before = tab.locator("#pretrain-loss svg").inner_html()
    tab.get_by_text("time", exact=True).first.click()
    tab.wait_for_function("document.querySelector('.x-axis').textContent === 'minutes'")
    until(tab, lambda: tab.locator("#pretrain-loss svg").inner_html() != before)
    until(tab, lambda: tab.locator("svg.life:visible").count() == 1)
    assert tab.evaluate("window.hacked") is None
    assert said == []


def test_without_scripts_the_curves_stand_still_but_are_there(finished_run: RunDirectory, browser: Any) -> None:
    tab = browser.new_context(java_script_enabled=False).new_page()
    tab.set_default_timeout(SLOW_MACHINE_MS)
    tab.goto(render_run(finished_run).as_uri())
    until(tab, lambda: tab.locator(".chart > svg").count() == 6)
