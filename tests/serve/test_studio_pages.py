"""The studio in a real browser (skipped where there is no Chromium): a real server, one real and one scripted model."""

import json
import math
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from glasshouse.core.rundir import RunDirectory
from glasshouse.feedback.store import FeedbackStore
from glasshouse.infer import BackgroundEngine, Engine
from glasshouse.serve.app import create_app
from glasshouse.serve.config import ServeConfig
from glasshouse.serve.server import Server
from glasshouse.serve.studio import add_studio

from .conftest import MODEL, Scripted, until, wait_until

HOSTILE = (
    "<script>window.hacked=1</script><img src=x onerror='window.hacked=1'><svg onload=window.hacked=1>\n"
    "[link](javascript:window.hacked=1) ![x](http://evil.example/x.png) "
    "<iframe srcdoc='<script>parent.hacked=1</script>'>\n"
    "```html\n</code></pre><script>window.hacked=1</script>\n```\n"
)


class Speaker(Scripted):
    """Says `says`, and notes what it was asked."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.asked: list[str] = []
        self.say("So it is.")

    def say(self, text: str, pause_s: float = 0.0) -> None:
        self.ids, self.pause_s = self.engine.tokenizer.encode(text), pause_s

    def start(self) -> None: ...

    def stream(self, ids: Any, sampling: Any, grammar: Any = None) -> Any:
        self.asked.append(self.engine.tokenizer.decode(list(ids)))
        return super().stream(ids, sampling, grammar)


@dataclass
class Studio:
    url: str
    speaker: Speaker
    runs: Path
    state: Path


@pytest.fixture(scope="module")
def studio(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    speaker, runs, state = Speaker(engine), tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("state")
    engines: Any = {"speaker": speaker, MODEL: BackgroundEngine(engine)}
    app = create_app(engines, ServeConfig())
    add_studio(app, engines, runs, state)
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(app, ServeConfig())
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    yield Studio(f"http://127.0.0.1:{listener.getsockname()[1]}/studio/", speaker, runs, state)
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    return []


@pytest.fixture(scope="module")
def window(browser: Any, complaints: list[str]) -> Iterator[Any]:
    """One window for most tests: opening one takes a second."""
    context = browser.new_context(viewport={"width": 1400, "height": 900}, reduced_motion="reduce")
    tab = context.new_page()
    tab.set_default_timeout(20_000)
    tab.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    yield tab
    context.close()


@pytest.fixture
def said(complaints: list[str]) -> list[str]:
    """What the browser complained of during this test."""
    complaints.clear()
    return complaints


@pytest.fixture
def tab(window: Any, studio: Studio, said: list[str]) -> Iterator[Any]:
    studio.speaker.say("So it is.")
    studio.speaker.asked.clear()
    window.goto("about:blank")
    window.goto(studio.url)
    window.wait_for_selector(".welcome")
    yield window
    assert window.evaluate("window.hacked") is None


def ask(tab: Any, text: str) -> None:
    n_answers = tab.locator(".answer").count()
    tab.fill("#question", text)
    tab.press("#question", "Enter")
    until(tab, lambda: tab.locator(".answer").count() != n_answers or tab.locator(".answer.live").count() > 0)


def wait_for_answer(tab: Any) -> str:
    until(tab, lambda: tab.locator(".answer").count() > 0 and tab.locator(".answer.live").count() == 0)
    said = None
    while said != (said := str(tab.locator(".answer .markdown").last.inner_text())):
        tab.wait_for_timeout(100)  # the last drawing
    return said


# ---- chat ------------------------------------------------------------------------------------------------------------


def test_an_answer_streams_and_is_kept(tab: Any, studio: Studio, said: list[str]) -> None:
    studio.speaker.say("one two three four five six seven eight", pause_s=0.15)
    ask(tab, "Count!")
    until(tab, lambda: tab.locator(".markdown").inner_text().startswith("one"))
    seen = tab.locator(".markdown").inner_text()
    assert seen and "eight" not in seen
    assert wait_for_answer(tab) == "one two three four five six seven eight"
    until(tab, lambda: "#/chat/" in tab.url)
    tab.reload()
    tab.wait_for_selector(".answer")
    until(tab, lambda: tab.locator(".question .said").inner_text() == "Count!")
    until(tab, lambda: tab.locator(".markdown").inner_text() == "one two three four five six seven eight")
    until(
        tab, lambda: "tokens" in tab.locator(".meta").inner_text() and tab.locator(".title").input_value() == "Count!"
    )
    ask(tab, "And again?")
    wait_for_answer(tab)
    assert "one two three" in studio.speaker.asked[-1] and "Count!" in studio.speaker.asked[-1]
    assert said == []


def test_stop_keeps_what_was_said_and_ends_the_work(tab: Any, studio: Studio) -> None:
    studio.speaker.say("word " * 400, pause_s=0.03)
    n_cancelled = studio.speaker.n_cancelled
    ask(tab, "Talk")
    until(tab, lambda: "word" in tab.locator(".markdown").inner_text())
    tab.click("[aria-label='Stop (Esc)']")
    text = wait_for_answer(tab)
    until(tab, lambda: "stopped" in tab.locator(".meta").inner_text() and 0 < text.count("word") < 400)
    wait_until(lambda: studio.speaker.n_cancelled == n_cancelled + 1)
    tab.reload()
    tab.wait_for_selector(".answer")
    until(tab, lambda: tab.locator(".markdown").inner_text() == text and "stopped" in tab.locator(".meta").inner_text())


def test_asking_differently_keeps_both(tab: Any, studio: Studio) -> None:
    ask(tab, "First")
    wait_for_answer(tab)
    studio.speaker.say("Otherwise.")
    tab.click("[aria-label='Edit and ask again']")
    tab.fill("[aria-label='Edit the question']", "Second")
    tab.press("[aria-label='Edit the question']", "Enter")
    until(tab, lambda: tab.locator(".said").inner_text() == "Second")
    until(tab, lambda: wait_for_answer(tab) == "Otherwise." and tab.locator(".switcher span").inner_text() == "2/2")
    assert "First" not in studio.speaker.asked[-1]
    tab.click("[aria-label='Earlier version']")
    until(
        tab,
        lambda: tab.locator(".said").inner_text() == "First" and tab.locator(".markdown").inner_text() == "So it is.",
    )


def test_answering_again(tab: Any, studio: Studio) -> None:
    ask(tab, "Who?")
    wait_for_answer(tab)
    studio.speaker.say("Somebody else.")
    tab.click("[aria-label='Answer again']")
    until(tab, lambda: tab.locator(".switcher").count() == 1)
    assert wait_for_answer(tab) == "Somebody else."
    tab.click("[aria-label='Earlier version']")
    until(tab, lambda: tab.locator(".markdown").inner_text() == "So it is.")


def test_two_models_side_by_side(tab: Any, studio: Studio) -> None:
    tab.click("[aria-label='Two models side by side']")
    tab.click("[data-act=settings]")
    tab.fill("#set-max_tokens", "6")
    tab.press("#set-max_tokens", "Tab")
    ask(tab, "Both of you?")
    wait_for_answer(tab)
    until(tab, lambda: tab.locator(".answer .model").all_inner_texts() == ["speaker", MODEL])
    boxes = [answer.bounding_box() for answer in tab.locator(".answer").all()]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"] and boxes[0]["y"] == boxes[1]["y"]
    until(tab, lambda: tab.locator(".markdown").first.inner_text() == "So it is.")
    until(tab, lambda: "#/chat/" in tab.url)
    tab.reload()
    tab.wait_for_selector(".answer")
    until(tab, lambda: tab.locator(".pickers select").count() == 2 and tab.locator(".answer").count() == 2)


def test_hostile_text_stays_text(tab: Any, studio: Studio, said: list[str]) -> None:
    studio.speaker.say(HOSTILE)
    requests: list[str] = []
    note = lambda request: requests.append(request.url)  # noqa: E731
    tab.on("request", note)
    tab.click("[data-act=settings]")
    tab.fill("#system", HOSTILE)
    ask(tab, HOSTILE)
    wait_for_answer(tab)
    tab.fill(".title", HOSTILE)
    tab.wait_for_timeout(900)
    tab.reload()
    tab.wait_for_selector(".answer")
    tab.wait_for_timeout(200)
    inside = tab.locator(".conversation, .sidebar")
    assert inside.locator("script, img, iframe, object, embed, form[action], a[href^='javascript']").count() == 0
    assert inside.locator("[onerror], [onload], [onclick], [style]:not(textarea)").count() == 0
    shown = tab.locator(".markdown").inner_text()
    assert "<script>window.hacked=1</script>" in shown and "<img src=x" in shown
    assert tab.evaluate("window.hacked") is None
    tab.remove_listener("request", note)
    assert requests and all(url.startswith(studio.url.removesuffix("/studio/")) for url in requests)
    assert said == []


def test_markdown_and_code(tab: Any, studio: Studio) -> None:
    studio.speaker.say(
        "# Head\n\n**bold** and `code`\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
        "```python\ndef f(x):  # why\n    return 'x'\n```\n"
    )
    ask(tab, "Show")
    wait_for_answer(tab)
    for selector, count in {
        "h1": 1,
        "strong": 1,
        "table td": 2,
        "figure.code": 1,
        ".hl-word": 2,
        ".hl-comment": 1,
    }.items():
        assert tab.locator(f".markdown {selector}").count() == count, selector
    until(tab, lambda: tab.locator(".code code").inner_text() == "def f(x):  # why\n    return 'x'")
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.click("[aria-label='Copy this code']")
    until(tab, lambda: tab.evaluate("navigator.clipboard.readText()").startswith("def f(x)"))


def test_settings_reach_the_server(tab: Any, studio: Studio) -> None:
    tab.click("[data-act=settings]")
    tab.fill("#system", "Be brief.")
    for name, value in {"temperature": "0.7", "top_p": "0.9", "top_k": "40", "seed": "3", "max_tokens": "9"}.items():
        tab.fill(f"#set-{name}", value)
    tab.fill("#set-stop", "END|</s>")
    tab.press("#set-stop", "Tab")
    with tab.expect_request("**/v1/chat/completions") as caught:
        ask(tab, "Hello")
    wait_for_answer(tab)
    body = caught.value.post_data_json
    assert body["messages"][0] == {"role": "system", "content": "Be brief."} and body["stop"] == ["END", "</s>"]
    assert [body[k] for k in ("temperature", "top_p", "top_k", "seed", "max_tokens")] == [0.7, 0.9, 40, 3, 9]
    assert "min_p" not in body and "Be brief." in studio.speaker.asked[-1]


def test_what_no_longer_fits_is_said(tab: Any, studio: Studio) -> None:
    ask(tab, "word " * 150)
    wait_for_answer(tab)
    ask(tab, "And " * 100)
    wait_for_answer(tab)
    ask(tab, "more " * 110)
    wait_for_answer(tab)
    until(tab, lambda: "no longer fit" in tab.locator(".answer .note").last.inner_text())
    ask(tab, "x" * 9000)
    until(tab, lambda: tab.locator(".note.bad").count() == 1)
    until(tab, lambda: "Shorten it" in tab.locator(".note.bad").inner_text())


def test_export_can_be_trained_on(tab: Any) -> None:
    ask(tab, "What is it?")
    wait_for_answer(tab)
    tab.click(".menu summary")
    with tab.expect_download() as caught:
        tab.click("text=JSON, ready to train on")
    record = json.loads(Path(caught.value.path()).read_text())
    assert [m["content"] for m in record["messages"]] == ["What is it?", "So it is."]
    tab.click(".menu summary")
    with tab.expect_download() as caught:
        tab.click(".menu >> text=Markdown >> nth=0")
    assert "## What is it?" in Path(caught.value.path()).read_text() and caught.value.suggested_filename.endswith(".md")


def test_a_thumb_and_a_better_answer_land_among_the_labels(tab: Any, studio: Studio, said: list[str]) -> None:
    store = FeedbackStore(studio.state / "labels.db")
    standing = lambda: [label.value for label in store.labels("chat")] if store.campaigns() else None  # noqa: E731
    ask(tab, f"Is it good? {HOSTILE}")
    wait_for_answer(tab)
    tab.click("[aria-label='Good answer']")
    until(tab, lambda: tab.locator("[data-act=up][aria-pressed=true]").count() == 1)
    until(tab, lambda: standing() == [{"is_good": True}])
    tab.click("[aria-label='Bad answer']")
    until(tab, lambda: tab.locator("[data-act=down][aria-pressed=true]").count() == 1)
    until(tab, lambda: standing() == [{"is_good": False}])
    tab.click("[aria-label='Bad answer']")
    until(tab, lambda: tab.locator("[data-act=down][aria-pressed=true]").count() == 0)
    until(tab, lambda: standing() == [])
    tab.click("[aria-label='Write a better answer']")
    tab.fill("[aria-label='A better answer']", HOSTILE)
    tab.press("[aria-label='A better answer']", "Control+Enter")
    until(tab, lambda: tab.locator(".better summary").count() == 1)
    until(tab, lambda: standing() == [{"is_good": False, "better": HOSTILE.strip()}])
    tab.click(".better summary")
    assert tab.locator(".better").locator("script, img, iframe, svg, a[href^='javascript']").count() == 0
    [item] = store.items("chat")
    assert item.prompt[-1].content.startswith("Is it good?") and item.candidates[0].text == "So it is."
    assert item.candidates[0].model == "speaker" and len(store.history("chat")) == 4
    tab.reload()
    until(tab, lambda: tab.locator("[data-act=down][aria-pressed=true]").count() == 1)
    until(tab, lambda: tab.locator(".better summary").count() == 1 and said == [])


def test_a_thumb_given_while_the_server_is_away_arrives_later(tab: Any, studio: Studio, said: list[str]) -> None:
    store = FeedbackStore(studio.state / "labels.db")
    judged = lambda: [(store.item("chat", one.item_id).prompt[-1].content, one.value) for one in store.labels("chat")]  # noqa: E731
    ask(tab, "Are you there?")
    wait_for_answer(tab)
    tab.route("**/labels/chat", lambda route: route.abort())
    tab.click("[aria-label='Good answer']")
    until(tab, lambda: "Kept in this browser" in tab.locator("#notices").inner_text())
    assert tab.locator("[data-act=up][aria-pressed=true]").count() == 1
    assert "Are you there?" not in dict(judged())
    tab.goto("about:blank")  # even where the page is closed meanwhile
    tab.unroute("**/labels/chat")
    tab.goto(studio.url)
    until(tab, lambda: ("Are you there?", {"is_good": True}) in judged())
    until(tab, lambda: tab.evaluate("Object.keys(localStorage).filter((key) => key.includes('judgement')).length") == 0)
    said.clear()


def test_a_judgement_that_is_refused_is_taken_back_and_said(tab: Any, said: list[str]) -> None:
    ask(tab, "May I?")
    wait_for_answer(tab)
    refusal = {"error": {"message": "no such prompt", "code": "NotThereError"}}
    tab.route("**/labels/chat", lambda route: route.fulfill(status=404, json=refusal))
    tab.click("[aria-label='Bad answer']")
    until(tab, lambda: "no such prompt" in tab.locator("#notices").inner_text())
    until(tab, lambda: tab.locator("[data-act=down][aria-pressed=true]").count() == 0)
    tab.unroute("**/labels/chat")
    said.clear()


def test_chat_by_keyboard_alone(tab: Any, studio: Studio) -> None:
    key = tab.keyboard
    key.type("First line")
    key.press("Shift+Enter")
    key.type("second line")
    key.press("Enter")
    assert wait_for_answer(tab) == "So it is."
    until(tab, lambda: tab.locator(".said").inner_text() == "First line\nsecond line")
    studio.speaker.say("long " * 300, pause_s=0.03)
    key.type("Go")
    key.press("Enter")
    until(tab, lambda: "long" in tab.locator(".markdown").last.inner_text())
    key.press("Escape")
    wait_for_answer(tab)
    until(tab, lambda: "stopped" in tab.locator(".meta").last.inner_text())
    studio.speaker.say("Edited.")
    tab.evaluate("document.activeElement.blur()")
    key.press("e")
    key.press("Control+a")
    key.type("Changed")
    key.press("Enter")
    until(tab, lambda: tab.locator(".said").last.inner_text() == "Changed")
    assert wait_for_answer(tab) == "Edited."
    tab.evaluate("document.activeElement.blur()")
    key.press("n")
    tab.wait_for_selector(".welcome")
    until(tab, lambda: tab.evaluate("document.activeElement.id") == "question")
    tab.evaluate("document.activeElement.blur()")
    key.press("?")
    until(tab, lambda: tab.locator("dialog.shortcuts").is_visible())
    key.press("Escape")
    until(tab, lambda: not tab.locator("dialog.shortcuts").is_visible())
    tab.evaluate("document.activeElement.blur()")
    key.press("4")
    tab.wait_for_selector(".runs-page")
    key.press("1")
    tab.wait_for_selector(".chat")
    reached = set()
    for _ in range(6):
        key.press("Shift+Tab")
        reached.add(
            tab.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.textContent")
        )
        ring = tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert ring != "none" or tab.evaluate("document.activeElement.matches('#question, body, #main')")
    assert {"Model", "Two models side by side", "Settings"} <= reached


# ---- complete --------------------------------------------------------------------------------------------------------


def shares(tab: Any, selector: str = ".next-box [data-logp]") -> list[float]:
    return [math.exp(float(choice.get_attribute("data-logp"))) for choice in tab.locator(selector).all()]


@pytest.fixture
def sheet(tab: Any) -> Any:
    tab.goto(tab.url.split("#")[0] + "#/complete")
    tab.select_option("#complete-model", MODEL)
    until(tab, lambda: tab.locator(".next-box [data-logp]").count() == 12)
    return tab


def test_probabilities_follow_what_is_typed(sheet: Any, said: list[str]) -> None:
    before = shares(sheet)
    assert 0 < sum(before) <= 1.0001 and before == sorted(before, reverse=True)
    sheet.click(".typed")
    sheet.keyboard.press("Control+End")
    sheet.keyboard.type(" import\nos")
    until(sheet, lambda: shares(sheet) not in ([], before))
    with sheet.expect_request("**/next-token") as caught:
        sheet.keyboard.type("\n\n")
    until(sheet, lambda: caught.value.post_data_json["text"].endswith(" import\nos\n\n"))
    assert 0 < sum(shares(sheet)) <= 1.0001 and said == []


def test_it_writes_on_and_another_choice_branches(sheet: Any, said: list[str]) -> None:
    sheet.select_option("[aria-label='How many tokens']", "8")
    sheet.click("text=Write on")
    until(sheet, lambda: sheet.locator(".token").count() >= 2 and sheet.locator(".writing-on").count() == 0)
    before = sheet.locator(".flow").text_content()
    tones = {token.evaluate("e => getComputedStyle(e).backgroundColor") for token in sheet.locator(".token").all()}
    assert len(tones) > 1
    sheet.hover(".token >> nth=1")
    sheet.wait_for_selector(".popover [data-logp]")
    assert 0 < sum(shares(sheet, ".popover [data-logp]")) <= 1.0001
    first = sheet.locator(".token").first.text_content()
    sheet.click(".popover .choice >> nth=2")
    until(sheet, lambda: sheet.locator(".branches button").count() == 1 and sheet.locator(".writing-on").count() == 0)
    until(sheet, lambda: sheet.locator(".flow").text_content() != before)
    until(sheet, lambda: sheet.locator(".token").first.text_content() == first)
    sheet.keyboard.press("Escape")
    sheet.click(".branches button")
    until(sheet, lambda: sheet.locator(".flow").text_content() == before)
    assert said == []


def test_choosing_the_next_token(sheet: Any) -> None:
    label = sheet.locator(".next-box .choice").nth(3).get_attribute("aria-label")
    sheet.click(".next-box .choice >> nth=3")
    until(sheet, lambda: sheet.locator(".token").count() == 1)
    until(sheet, lambda: sheet.locator(".token").get_attribute("aria-label") == label)
    until(sheet, lambda: sheet.locator(".next-box [data-logp]").count() == 12)
    sheet.keyboard.press("Alt+1")
    until(sheet, lambda: sheet.locator(".token").count() == 2)
    sheet.keyboard.press("Alt+ArrowLeft")
    until(sheet, lambda: sheet.locator(".token").count() == 1)


def test_tokens_by_keyboard(sheet: Any) -> None:
    sheet.select_option("[aria-label='How many tokens']", "8")
    sheet.keyboard.press("Control+Enter")
    until(sheet, lambda: sheet.locator(".token").count() >= 2 and sheet.locator(".writing-on").count() == 0)
    sheet.focus(".token >> nth=0")
    sheet.keyboard.press("ArrowRight")
    until(
        sheet,
        lambda: sheet.evaluate("document.activeElement.dataset.at") == "1" and sheet.locator(".popover").is_visible(),
    )
    sheet.keyboard.press("ArrowDown")
    until(sheet, lambda: sheet.evaluate("document.activeElement.closest('.popover') !== null"))
    sheet.keyboard.press("Escape")
    until(sheet, lambda: not sheet.locator(".popover").is_visible())


# ---- runs ------------------------------------------------------------------------------------------------------------


def test_a_curve_grows_while_it_trains(tab: Any, studio: Studio, said: list[str]) -> None:
    run = RunDirectory(studio.runs / "growing").create()
    run.recipe_path.write_text('name = "small"\n')
    run.event("pretrain", "started")
    run.event("pretrain", "sample", step=1, prompt=HOSTILE, text=HOSTILE)
    for step in range(1, 5):
        run.metric("pretrain", step, {"loss": 8.0 / step, "lr": 0.01})
    (run.path / "report.html").write_text("<h1>It</h1><script>document.title = String(window.origin)</script>")
    tab.goto(studio.url + "#/runs/growing")
    line = tab.locator(".chart path.line").first
    until(tab, lambda: line.get_attribute("data-points") == "4")
    until(tab, lambda: "running in pretrain" in tab.locator(".run-head").inner_text())
    for step in range(5, 11):
        run.metric("pretrain", step, {"loss": 8.0 / step, "lr": 0.01})
    until(tab, lambda: line.get_attribute("data-points") == "10")
    until(tab, lambda: tab.locator(".chart .now").first.inner_text() == "0.8")
    run.event("pretrain", "interrupted", step=10)
    until(tab, lambda: "interrupted in pretrain" in tab.locator(".run-head").inner_text())
    tab.focus(".plot >> nth=0")
    tab.keyboard.press("ArrowLeft")
    until(tab, lambda: "step 10" in tab.locator(".tip").first.inner_text())
    assert (
        tab.locator(".run script, .run img").count() == 0 and "<script>" in tab.locator(".samples").first.inner_text()
    )
    with tab.context.expect_page() as opened:
        tab.click("text=Read the whole report")
    opened.value.wait_for_load_state()
    assert opened.value.title() == "null", "the report has an origin of its own"
    opened.value.close()
    assert said == []


# ---- looks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (400, "dark")])
def test_every_page_fits(studio: Studio, browser: Any, width: int, scheme: str) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce"
    )
    tab = context.new_page()
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    run = RunDirectory(studio.runs / "wide").create()
    run.recipe_path.write_text('name = "small"\n')
    for step in (1, 2, 3):
        run.metric("pretrain", step, {"loss": 8.0 / step, "tokens_per_s": 1e4, "grad_norm": 0.1, "lr": 1e-5})
    run.event("pretrain", "sample", step=1, prompt="x" * 300, text="y" * 900)
    studio.speaker.say("z" * 400 + "\n\n```\n" + "w" * 300 + "\n```\n|" + "a|" * 40 + "\n|" + "-|" * 40)
    tab.goto(studio.url)
    tab.wait_for_selector(".welcome")
    ask(tab, "q" * 300)
    wait_for_answer(tab)
    for page, ready in (("chat", ".chat"), ("complete", ".next-box .choice"), ("runs/wide", ".chart path.line")):
        if page != "chat":
            tab.goto(f"{studio.url}#/{page}")
        tab.locator(ready).first.wait_for()
        for box in ("html", ".scroller", ".complete", ".run"):
            for found in tab.locator(box).all():
                assert found.evaluate("e => e.scrollWidth - e.clientWidth") <= 0, (page, box)
    dark = tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(14, 20, 17)"
    assert dark == (scheme == "dark") and said == []
    tab.click("#theme")
    until(tab, lambda: (tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(14, 20, 17)") != dark)
    tab.reload()
    tab.wait_for_selector(".runs-page")
    until(tab, lambda: (tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(14, 20, 17)") != dark)
    context.close()
