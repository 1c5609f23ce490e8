"""The Explain page in a real browser (skipped where there is no Chromium), on a real model."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from glasshouse.infer import BackgroundEngine, Engine
from glasshouse.serve.app import create_app
from glasshouse.serve.config import ServeConfig
from glasshouse.serve.server import Server
from glasshouse.serve.studio import add_studio

from .conftest import MODEL, until, wait_until


@pytest.fixture(scope="module")
def url(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    engines = {MODEL: BackgroundEngine(engine)}
    app = create_app(engines, ServeConfig())
    add_studio(app, engines, tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("state"))
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(app, ServeConfig())
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/studio/#/explain"
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    return []


@pytest.fixture(scope="module")
def window(browser: Any, url: str, complaints: list[str]) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1400, "height": 900}, reduced_motion="reduce")
    tab = context.new_page()
    tab.set_default_timeout(20_000)
    tab.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    yield tab
    context.close()


@pytest.fixture
def page(window: Any, url: str, complaints: list[str]) -> Any:
    """An answer to `def load(self`, plain, with its first token open."""
    complaints.clear()
    window.goto("about:blank")
    window.goto(url)
    window.wait_for_selector("#explain-prompt")
    window.uncheck("#explain-chat")
    answer(window, "def load(self")
    return window


def answer(tab: Any, prompt: str) -> None:
    tab.fill("#explain-prompt", prompt)
    tab.press("#explain-prompt", "Control+Enter")
    tab.click("#tab-layers")
    until(tab, lambda: tab.locator(".lens-row").count() == 3 and tab.locator(".open-sheet .token.open").count() == 1)


def test_a_token_is_opened_in_every_way(page: Any, complaints: list[str]) -> None:
    opened = page.locator(".open-sheet .token.open")
    assert page.locator(".open-sheet .token.read").count() >= 3 and "read" not in opened.get_attribute("class")
    assert page.locator(".opened .choice[aria-current]").count() == 1  # the answer is greedy: it is among the likeliest
    page.click("#tab-attention")
    n = page.locator(".open-sheet .token.read").count()
    until(page, lambda: page.locator(".heat-map").get_attribute("data-cells") == str(n * (n + 1) // 2))
    page.click(".head[data-head='1.1']")
    until(page, lambda: "Head 1.1: previous" in page.locator(".view").inner_text())
    assert page.locator(".opened .token.shade").count() == n
    page.click("#tab-attribution")
    until(page, lambda: page.locator(".parts li").count() == 7 and "nats" in page.locator(".view").inner_text())
    assert page.locator("[data-share]").count() == n
    page.select_option(".view select", "gradient")
    until(page, lambda: "changes at once" in page.locator(".view").inner_text())
    assert complaints == []


def test_patching_two_prompts(page: Any, complaints: list[str]) -> None:
    page.click("#tab-patching")
    page.fill("#patch-text", "def load(self, x")
    page.click(".view .main")
    until(page, lambda: "they must have equally many" in page.locator(".view").inner_text())
    assert [said for said in complaints if "400" not in said] == []
    complaints.clear()
    answer(page, "x = 1")
    page.click("#tab-patching")
    assert page.input_value("#patch-text") == "x = 1"
    page.fill("#patch-text", "x = 2")
    page.click(".view .main")
    until(page, lambda: page.locator(".heat-map[data-cells]").count() == 1)
    page.locator(".heat-map").focus()
    page.keyboard.press("ArrowRight")
    until(page, lambda: "of the answer comes back" in page.locator(".readout").inner_text())
    with page.expect_response("**/patch") as caught:
        page.select_option(".view select", "mlp_out")
    assert caught.value.request.post_data_json["site"] == "mlp_out" and complaints == []


def test_by_keyboard_alone(page: Any) -> None:
    key = page.keyboard
    page.locator(".open-sheet .token.open").focus()
    first = page.locator(".open-sheet .token.open").get_attribute("data-at")
    key.press("ArrowLeft")  # into the prompt
    until(page, lambda: page.locator(".open-sheet .token.open").get_attribute("data-at") == str(int(first) - 1))
    assert page.evaluate("document.activeElement.classList.contains('open')")
    key.press("Alt+2")
    until(page, lambda: page.locator("#tab-attention").get_attribute("aria-selected") == "true")
    until(page, lambda: page.locator(".heat-map[data-cells]").count() == 1)
    page.locator(".heat-map").focus()
    key.press("ArrowUp")
    key.press("ArrowUp")
    until(page, lambda: "looks at" in page.locator(".readout").inner_text())
    page.locator("#tab-attention").focus()
    key.press("ArrowRight")
    until(page, lambda: page.evaluate("document.activeElement.id") == "tab-attribution")


def test_hostile_text_stays_text(page: Any, complaints: list[str]) -> None:
    page.fill("#explain-prompt", "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>")
    page.press("#explain-prompt", "Control+Enter")
    until(
        page, lambda: "onerror" in page.locator(".open-sheet").inner_text() and page.locator(".lens-row").count() == 3
    )
    assert page.evaluate("window.hacked") is None and page.locator(".open-sheet img").count() == 0 and complaints == []


def test_what_is_too_long_is_said(page: Any) -> None:
    page.fill("#explain-prompt", "a b " * 600)
    page.press("#explain-prompt", "Control+Enter")
    until(page, lambda: "at most 512 are looked into at once" in page.locator(".questioned [role=status]").inner_text())


@pytest.mark.parametrize(("width", "scheme"), [(1400, "dark"), (400, "light")])
def test_it_fits(browser: Any, url: str, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    tab = context.new_page()
    tab.goto(url)
    tab.wait_for_selector("#explain-prompt")
    answer(tab, "def load(self, " + "x" * 120)
    for view in ("layers", "attention", "attribution", "patching"):
        tab.click(f"#tab-{view}")
        tab.wait_for_timeout(300)
        for box in ("html", ".complete"):
            assert tab.locator(box).evaluate("e => e.scrollWidth - e.clientWidth") <= 0, (view, box)
    context.close()
