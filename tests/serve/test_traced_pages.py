"""Trace, Compare and Card: what the pages ask of the server, and the pages in a real browser where there is one."""

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from glasshouse.infer import Delta, Engine
from glasshouse.serve.app import create_app
from glasshouse.serve.config import ServeConfig
from glasshouse.serve.server import Server
from glasshouse.serve.studio import add_studio

from .conftest import Answer, Running, Scripted, until, wait_until
from .traced import HOSTILE, PASSAGE, grown

ANSWER = f"I think **{PASSAGE}** and that is all, zebra quilt."

BEGUN = PASSAGE.removesuffix(" glasshouse")


class Speaker(Scripted):
    """Says one text, with what else each token could have been."""

    asked = ""

    def start(self) -> None: ...

    async def stream(self, ids: Any, sampling: Any, grammar: Any = None) -> AsyncIterator[Delta]:
        self.asked = self.engine.tokenizer.decode(list(ids))
        alternatives = tuple((id, -1.0) for id in range(40, 40 + sampling.n_logprobs))
        async for delta in super().stream(ids, sampling, grammar):
            yield Delta(delta.text, delta.id, delta.logp, delta.finish_reason, alternatives)


@dataclass
class Studio:
    server: Running
    speaker: Speaker
    runs: Path

    @property
    def url(self) -> str:
        return f"{self.server.url}/studio/"

    def ask(self, path: str, body: Any = None) -> Answer:
        return self.server.ask("GET" if body is None else "POST", f"/studio/api/{path}", body)


@pytest.fixture(scope="module")
def studio(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """Models of two runs, and one that no run here made."""
    runs, speaker = tmp_path_factory.mktemp("runs"), Speaker(engine, ANSWER)
    for name, n_right in (("other", 2), ("speaker", 9)):
        grown(runs, name, engine.tokenizer, n_right)
    engines: Any = {"speaker": speaker, "other": speaker, "stranger": speaker}
    app = create_app(engines, ServeConfig())
    add_studio(app, engines, runs, tmp_path_factory.mktemp("state"))
    listener = socket.create_server(("127.0.0.1", 0))
    pages = Server(app, ServeConfig())
    thread = threading.Thread(target=pages.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    wait_until(lambda: pages.started)
    yield Studio(Running(app, engine, None, listener.getsockname()[1]), speaker, runs)  # type: ignore[arg-type]
    pages.should_exit = True
    thread.join(20)


# ---- over HTTP -------------------------------------------------------------------------------------------------------


def test_an_answer_with_its_places_and_examples(studio: Studio) -> None:
    found = studio.ask("trace", {"model": "speaker", "text": ANSWER, "prompt": "Who planted lemon trees?"}).json
    best = found["quotations"][0]
    assert best["count"] == 2 and {p["source"] for p in best["places"]} == {"<b>0</b>.txt", "<b>1</b>.txt"}
    assert ANSWER[best["start"] : best["stop"]] == best["text"] and "seven lemon trees" in best["text"]
    assert found["nearest"]["sft"][0]["example"]["answer"] == "A gardener."
    assert found["nearest"]["align"][0]["example"]["rejected"] == "Lime."


def test_what_followed_in_training_beside_the_model(studio: Studio) -> None:
    body = {"model": "speaker", "messages": [{"role": "user", "content": "Who?"}], "text": BEGUN}
    found = studio.ask("trace/next", body).json
    assert found["count"] == 2 and found["rows"][0]["p_training"] == 1
    assert sum(row["p_model"] is not None for row in found["rows"]) == 7
    assert studio.speaker.asked.endswith(BEGUN) and "Who?" in studio.speaker.asked


def test_what_cannot_be_traced_says_why(studio: Studio) -> None:
    stranger = studio.ask("trace", {"model": "stranger", "text": "x"})
    assert stranger.status == 404 and "no run of this studio" in stranger.error["message"]
    assert studio.ask("trace", {"model": "../speaker", "text": "x"}).status == 404
    assert studio.ask("trace", {"model": "speaker", "text": ""}).status == 400
    long = {"model": "speaker", "messages": [{"role": "user", "content": "x" * 5000}], "text": ""}
    assert studio.ask("trace/next", long).error["code"] == "context_length_exceeded"


def test_a_run_whose_index_is_gone_says_how_to_make_it(studio: Studio) -> None:
    manifest = studio.runs / "other" / "pretrain" / "trace" / "index.json"
    kept = manifest.read_bytes()
    manifest.unlink()
    answer = studio.ask("trace", {"model": "other", "text": PASSAGE})
    assert answer.status == 400 and "glass index RUN" in answer.error["message"]
    manifest.write_bytes(kept)
    assert studio.ask("trace", {"model": "other", "text": PASSAGE}).json["p_covered"] > 0.9


def test_scores_of_two_runs(studio: Studio) -> None:
    assert studio.ask("judged").json[0]["stages"] == ["pretrain", "sft"]
    pairs = studio.ask("compare?a=other&a_stage=sft&b=speaker&b_stage=sft").json
    exact = next(pair for pair in pairs if pair["name"] == "exact")
    assert exact["difference"]["value"] == pytest.approx(0.7) and exact["difference"]["low"] > 0
    assert studio.ask("compare?a=../x&a_stage=sft&b=speaker&b_stage=sft").status == 404


def test_a_question_is_asked_through_the_template(studio: Studio) -> None:
    answer = studio.ask("complete", {"model": "speaker", "question": "Why?", "max_tokens": 4})
    assert answer.status == 200
    assert studio.speaker.asked.startswith("<|im_start|>user\nWhy?<|im_end|>")


def test_a_card_without_its_front_matter(studio: Studio) -> None:
    card = studio.ask("runs/speaker/card").json["markdown"]
    assert not card.startswith("---") and "license:" not in card and card.lstrip().startswith("#")
    assert studio.ask("runs/none/card").status == 404


# ---- in the browser --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def tab(browser: Any, studio: Studio, said: list[str]) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1400, "height": 900}, reduced_motion="reduce")
    tab = context.new_page()
    tab.set_default_timeout(20_000)
    tab.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: said.append(str(error)))
    yield tab
    assert tab.evaluate("window.hacked") is None and said == []
    context.close()


def ask(tab: Any, studio: Studio) -> None:
    tab.goto("about:blank")
    tab.goto(f"{studio.url}#/chat/new")
    tab.locator(".pickers select").first.select_option("speaker")
    tab.fill("#question", "Who planted lemon trees?")
    tab.press("#question", "Enter")
    until(tab, lambda: "zebra quilt" in tab.locator(".answer .markdown").last.inner_text())
    until(tab, lambda: tab.locator(".answer.live").count() == 0)


def marked(tab: Any, name: str) -> list[str]:
    script = "name => [...(CSS.highlights.get(name) ?? [])].map((range) => range.toString())"
    return list(tab.evaluate(script, name))


def test_a_click_on_an_answer_tells_where_it_comes_from(tab: Any, studio: Studio) -> None:
    ask(tab, studio)
    tab.locator(".answer .markdown").last.click()
    until(tab, lambda: tab.locator(".quotation").count() > 0)
    panel = tab.locator(".trace")
    assert "stands word for word in the training text" in panel.inner_text()
    assert any(
        "gardener planted seven lemon trees behind the old glasshouse" in text for text in marked(tab, "trace-found")
    )
    first = tab.locator(".quotation").first
    assert "2 times" in first.inner_text() and "<b>0</b>.txt" in first.inner_text()
    assert (
        HOSTILE[:20] in first.locator("pre").first.inner_text() and "lemon" in first.locator("mark").first.inner_text()
    )
    assert "A gardener." in panel.inner_text() and "rather not" in panel.inner_text()
    first.focus()
    until(tab, lambda: len(marked(tab, "trace-now")) == 1)
    first.locator("button").click()
    until(tab, lambda: first.locator(".followed td").count() >= 6)
    assert "%" in first.locator(".followed").inner_text()


def test_the_panel_opens_and_closes_by_keyboard(tab: Any, studio: Studio) -> None:
    ask(tab, studio)
    tab.locator("#question").evaluate("field => field.blur()")
    tab.keyboard.press("t")
    until(tab, lambda: tab.locator(".quotation").count() > 0 and len(marked(tab, "trace-found")) > 0)
    tab.keyboard.press("Escape")
    until(tab, lambda: tab.locator(".trace").is_hidden())
    assert marked(tab, "trace-found") == []


def test_a_model_of_no_run_is_told_so_in_the_panel(tab: Any, studio: Studio, said: list[str]) -> None:
    ask(tab, studio)
    tab.locator(".pickers select").first.select_option("stranger")
    tab.locator("[data-act=again]").last.click()
    until(tab, lambda: tab.locator(".switcher").count() == 1 and tab.locator(".answer.live").count() == 0)
    tab.locator("[data-act=trace]").last.click()
    until(tab, lambda: "no run of this studio" in tab.locator(".trace").inner_text())
    assert all("404" in text for text in said)  # the browser itself notes an answer that is no success
    said.clear()


def test_two_models_on_the_same_texts_and_their_scores(tab: Any, studio: Studio) -> None:
    tab.goto(f"{studio.url}#/compare")
    until(tab, lambda: tab.locator(".scores tbody tr").count() >= 3)
    tab.locator(".compare-form select").nth(0).select_option("other")
    tab.locator(".compare-form select").nth(1).select_option("speaker")
    tab.fill("#compare-texts", "The old\n<b>Who</b>")
    tab.press("#compare-texts", "Control+Enter")
    until(tab, lambda: tab.locator(".pair").count() == 2 and tab.get_by_text("both the same").count() == 2)
    tokens = tab.locator(".pair").first.locator("section").first.locator(".token")
    assert "".join(tokens.all_inner_texts()).strip() == ANSWER
    tokens.first.focus()
    tab.keyboard.press("ArrowRight")
    until(tab, lambda: "else" in tab.locator(".pair").first.locator(".told").first.inner_text())
    table = tab.locator(".scores table")
    tab.locator(".scores select").nth(0).select_option(label="other after sft")
    tab.locator(".scores select").nth(1).select_option(label="speaker after sft")
    until(tab, lambda: "+70.0 %" in table.inner_text() and "−70.0 %" in table.inner_text())
    until(tab, lambda: tab.locator(".scores .better").count() == 2 and "2.500" in table.inner_text())


def test_the_card_as_a_page(tab: Any, studio: Studio) -> None:
    tab.goto(f"{studio.url}#/runs/speaker")
    tab.get_by_role("link", name="Model card").click()
    until(tab, lambda: tab.locator(".card-body h1").count() == 1)
    assert tab.url.endswith("#/card/speaker") and tab.locator(".card-body h2").count() >= 1
    tab.locator(".card-head select").select_option("other")
    until(tab, lambda: tab.url.endswith("#/card/other"))


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (400, "dark")])
def test_the_pages_fit(browser: Any, studio: Studio, width: int, scheme: Any) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce"
    )
    tab = context.new_page()
    ask(tab, studio)
    tab.locator("[data-act=trace]").last.click()
    until(tab, lambda: tab.locator(".quotation").count() > 0)
    for page, ready in (("", ".quotation"), ("#/compare", ".scores tbody tr"), ("#/card/speaker", ".card-body h1")):
        if page:
            tab.goto(f"{studio.url}{page}")
        tab.locator(ready).first.wait_for()
        for box in ("html", ".trace", ".compare", ".card-page"):
            for found in tab.locator(box).all():
                assert found.evaluate("e => e.scrollWidth - e.clientWidth") <= 0, (page, box)
    context.close()
