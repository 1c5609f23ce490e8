"""The page Label in a real browser (skipped where there is no Chromium): a real server, which at times dies."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from glasshouse.core.records import Message
from glasshouse.feedback import Campaign, Candidate, Criterion, Item
from glasshouse.feedback.store import FeedbackStore
from glasshouse.serve.app import create_app
from glasshouse.serve.config import ServeConfig
from glasshouse.serve.server import Server
from glasshouse.serve.studio import add_studio

from .conftest import until, wait_until

HOSTILE = (
    "<script>window.hacked=1</script><img src=x onerror='window.hacked=1'><svg onload=window.hacked=1>\n"
    "[link](javascript:window.hacked=1) ![x](http://evil.example/x.png)\n"
)
SECRET = "the-model-nobody-may-see"


@dataclass
class Lab:
    """A studio without models that can be stopped and started again on its port."""

    folder: Path
    port: int = 0
    key: str = ""
    n_campaigns: int = 0
    running: list[Any] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/studio/"

    @property
    def store(self) -> FeedbackStore:
        """Opened anew: what is read has been written."""
        return FeedbackStore(self.folder / "labels.db")

    def start(self) -> None:
        config = ServeConfig(keys_folder=self.folder / "keys")
        app = create_app({}, config)
        add_studio(app, {}, self.folder / "runs", self.folder)
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        server = Server(app, config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        wait_until(lambda: server.started)
        self.running = [server, thread, listener]

    def stop(self) -> None:
        server, thread, listener = self.running
        server.should_exit = True
        thread.join(20)
        listener.close()

    def campaign(self, kind: Any, n_answers: int = 0, n_items: int = 3, **more: Any) -> str:
        """A new campaign; answers are `A0`, `A1` ... below what is hostile."""
        self.n_campaigns += 1
        name = f"{kind}-{self.n_campaigns}"
        answers = tuple(Candidate(f"A{k}\n\n{HOSTILE}", f"{SECRET}-{k}") for k in range(n_answers))
        items = [Item((Message("user", f"Question {i}? {HOSTILE}"),), answers) for i in range(n_items)]
        more = {"guidelines": f"Be *kind*.\n\n{HOSTILE}", "test_share": 0.0, "overlap": 0.0} | more
        self.store.create_campaign(Campaign(name=name, kind=kind, **more), items)
        return name


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("lab"))
    lab.key = lab.store.add_annotator("Ada")
    lab.start()
    yield lab
    lab.stop()


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    return []


@pytest.fixture(scope="module")
def window(browser: Any, lab: Lab, complaints: list[str]) -> Iterator[Any]:
    """Signed in by hand, once for all tests."""
    lab.campaign("thumbs", 1)
    context = browser.new_context(viewport={"width": 1400, "height": 900}, reduced_motion="reduce")
    tab = context.new_page()
    tab.set_default_timeout(20_000)
    tab.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(f"{lab.url}#/label")
    tab.fill("#annotator-name", "Ada")
    tab.fill("#annotator-key", "gl-wrong")
    tab.keyboard.press("Enter")
    until(tab, lambda: "no annotator has this key" in tab.locator(".sign-in .note").inner_text())
    until(tab, lambda: tab.locator(".task").count() == 0)
    tab.fill("#annotator-key", lab.key)
    tab.keyboard.press("Enter")
    until(tab, lambda: tab.locator(".task .said").count() == 1)
    yield tab
    context.close()


@pytest.fixture
def tab(window: Any, complaints: list[str]) -> Iterator[Any]:
    complaints.clear()
    yield window
    assert window.evaluate("window.hacked") is None and SECRET not in window.content()
    window.unroute_all()


def show(tab: Any, lab: Lab, path: str, selector: str) -> None:
    """Turn to a campaign within the page, which stays."""
    name = path.partition("/")[0]
    tab.goto(f"{lab.url}#/label/{path}")
    until(tab, lambda: tab.locator(".label-title h1", has_text=name).count() == tab.locator(selector).count() == 1)


def labels(lab: Lab, name: str) -> list[dict[str, Any]]:
    return [dict(label.value) for label in lab.store.labels(name)]


def asked(tab: Any) -> str:
    return str(tab.locator(".asked-for .said").last.inner_text()).partition("?")[0]


def until_next(tab: Any, before: str) -> None:
    until(tab, lambda: tab.locator(".asked-for .said").count() == 0 or asked(tab) != before)


def card(tab: Any, text: str) -> Any:
    return tab.locator(".rank-card", has_text=text)


def press_chips(tab: Any, ranks: dict[str, int]) -> None:
    for text, rank in ranks.items():
        card(tab, text).locator(f".chip >> nth={rank - 1}").click()


# ---- ranking ---------------------------------------------------------------------------------------------------------


def test_ranking_by_keyboard_with_a_tie(tab: Any, lab: Lab, complaints: list[str]) -> None:
    name = lab.campaign("ranking", 3)
    show(tab, lab, name, ".rank")
    before = asked(tab)
    card(tab, "A2").focus()
    tab.keyboard.press("1")
    until(tab, lambda: tab.evaluate("document.activeElement.classList.contains('unranked')"))
    card(tab, "A0").focus()
    tab.keyboard.press("2")
    tab.keyboard.press("3")  # the one that is left has the focus now
    shown = lambda: [text[:2] for text in tab.locator(".rank-card .markdown").all_inner_texts()]  # noqa: E731
    until(tab, lambda: shown() == ["A2", "A0", "A1"])
    card(tab, "A1").focus()
    tab.keyboard.press("ArrowUp")
    until(tab, lambda: tab.locator(".rank-card.tie").count() == 2)
    assert tab.url.endswith(f"#/label/{name}"), "a digit is a rank here, not another page"
    tab.keyboard.press("Control+Enter")
    until_next(tab, before)
    assert labels(lab, name) == [{"ranks": [2, 2, 1]}] and complaints == []


def drag(tab: Any, text: str, onto: str, share: float) -> None:
    grip, goal = card(tab, text).locator("header").bounding_box(), card(tab, onto).bounding_box()
    tab.mouse.move(grip["x"] + 60, grip["y"] + 12)
    tab.mouse.down()
    tab.mouse.move(grip["x"] + 60, grip["y"] + 24)
    tab.mouse.move(goal["x"] + 60, goal["y"] + share * goal["height"], steps=3)
    until(tab, lambda: tab.locator("[data-drop]").count() == 1)
    tab.mouse.up()


def test_ranking_by_dragging(tab: Any, lab: Lab) -> None:
    name = lab.campaign("ranking", 3)
    show(tab, lab, name, ".rank")
    before = asked(tab)
    first = tab.locator(".rank-card .markdown").first.inner_text()[:2]
    others = sorted({"A0", "A1", "A2"} - {first})
    drag(tab, others[0], first, 0.1)
    drag(tab, others[1], first, 0.5)
    until(tab, lambda: tab.locator(".rank-card.tie").count() == 2)
    tab.click(".actions .main")
    until_next(tab, before)
    wanted = {others[0]: 1, others[1]: 2, first: 2}
    assert labels(lab, name) == [{"ranks": [wanted[f"A{k}"] for k in range(3)]}]


# ---- nothing lost, nothing doubled -----------------------------------------------------------------------------------


def test_a_double_click_and_a_request_sent_twice_make_one_label(tab: Any, lab: Lab) -> None:
    name = lab.campaign("ranking", 2)
    show(tab, lab, name, ".rank")
    sent: list[str] = []

    def twice(route: Any) -> None:
        sent.append(route.request.post_data_json["submission_id"])
        route.fetch()
        route.fulfill(response=route.fetch())

    tab.route("**/items/*/labels", twice)
    before = asked(tab)
    press_chips(tab, {"A0": 1, "A1": 2})
    tab.dblclick(".actions .main")
    until_next(tab, before)
    assert len(sent) == len(lab.store.history(name)) == 1
    before = asked(tab)
    press_chips(tab, {"A0": 2, "A1": 1})
    tab.keyboard.press("Control+Enter")
    tab.keyboard.press("Control+Enter")
    until_next(tab, before)
    assert len(set(sent)) == len(lab.store.history(name)) == 2


def test_an_answer_that_is_lost_and_a_server_that_dies_lose_no_label(tab: Any, lab: Lab) -> None:
    name = lab.campaign("demonstration")
    show(tab, lab, name, "#label-text")
    before = asked(tab)
    lost: list[int] = []

    def lose(route: Any) -> None:
        """The server has it, and dies before it says so."""
        lost.append(route.fetch().status)
        route.abort()

    tab.route("**/items/*/labels", lose)
    tab.fill("#label-text", "kept")
    tab.click(".actions .main")
    until(tab, lambda: tab.locator(".task > .note").is_visible())
    until(tab, lambda: "is kept in this browser" in tab.locator(".task > .note").inner_text() and lost[0] == 200)
    lab.stop()
    tab.unroute("**/items/*/labels")
    tab.wait_for_timeout(700)  # it goes on trying, against a closed door
    until(tab, lambda: asked(tab) == before and tab.locator(".actions .main").is_disabled())
    lab.start()
    until_next(tab, before)
    assert labels(lab, name) == [{"text": "kept"}] and len(lab.store.history(name)) == 1


def test_a_label_outlives_its_page(tab: Any, lab: Lab) -> None:
    name = lab.campaign("demonstration")
    show(tab, lab, name, "#label-text")
    before = asked(tab)
    tab.route("**/items/*/labels", lambda route: route.abort())
    tab.fill("#label-text", "kept")
    tab.keyboard.press("Control+Enter")
    until(tab, lambda: tab.locator(".task > .note").is_visible())
    assert labels(lab, name) == []
    tab.unroute("**/items/*/labels")
    tab.reload()
    until(tab, lambda: labels(lab, name) == [{"text": "kept"}])
    until(tab, lambda: asked(tab) != before)


def test_a_label_for_a_prompt_that_is_gone_is_given_back(tab: Any, lab: Lab) -> None:
    name = lab.campaign("demonstration")
    show(tab, lab, name, "#label-text")
    before = asked(tab)
    lab.store.remove_item(name, lab.store.items(name)[0].id)
    tab.fill("#label-text", "written with care")
    tab.click(".actions .main")
    until(tab, lambda: tab.locator(".unsent .note").count() == 1)
    until(tab, lambda: "is gone" in tab.locator(".unsent").inner_text())
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.click("text=Copy it")
    until(tab, lambda: "written with care" in tab.evaluate("navigator.clipboard.readText()"))
    until_next(tab, before)
    tab.click("text=Put it aside")
    until(tab, lambda: tab.locator(".unsent .note").count() == 0)


# ---- the other kinds -------------------------------------------------------------------------------------------------


def test_thumbs_ratings_and_edits(tab: Any, lab: Lab) -> None:
    rubric = (Criterion(name="true"), Criterion(name="kind", question=HOSTILE, high=3))
    edited = lambda: tab.fill("#label-text", HOSTILE)  # noqa: E731
    rated = lambda: (tab.focus(".criterion button"), tab.keyboard.press("4"), tab.keyboard.press("3"))  # noqa: E731
    kinds: list[tuple[str, dict[str, Any], Callable[[], Any], dict[str, Any]]] = [
        ("thumbs", {}, lambda: tab.keyboard.press("b"), {"is_good": False}),
        ("rating", {"rubric": rubric}, rated, {"scores": {"true": 4, "kind": 3}}),
        ("edit", {}, edited, {"text": HOSTILE}),
    ]
    for kind, more, judge, label in kinds:
        name = lab.campaign(kind, 1, **more)
        show(tab, lab, name, ".actions")
        before = asked(tab)
        judge()
        until(tab, lambda: tab.locator(".actions .ready").count() == 1)
        tab.keyboard.press("Control+Enter")
        until_next(tab, before)
        assert labels(lab, name) == [label]


def test_the_last_label_can_be_changed(tab: Any, lab: Lab) -> None:
    name = lab.campaign("thumbs", 1)
    show(tab, lab, name, ".actions")
    before = asked(tab)
    tab.keyboard.press("g")
    tab.keyboard.press("Enter")
    until_next(tab, before)
    tab.click("text=Last one")
    until(tab, lambda: asked(tab) == before and tab.locator("[aria-pressed=true] >> text=Good").count() == 1)
    tab.keyboard.press("b")
    tab.keyboard.press("Control+Enter")
    until_next(tab, before)
    assert labels(lab, name) == [{"is_good": False}] and len(lab.store.history(name)) == 2


def test_skip_flag_and_an_end(tab: Any, lab: Lab) -> None:
    name = lab.campaign("thumbs", 1, n_items=2)
    show(tab, lab, name, ".actions")
    before = asked(tab)
    tab.keyboard.press("s")
    until_next(tab, before)
    tab.keyboard.press("f")
    tab.fill("#flag-reason", HOSTILE.splitlines()[0])
    tab.click("text=Flag it")
    until(tab, lambda: "Nothing left" in tab.locator(".label-main").inner_text())
    assert [one.action for one in lab.store.history(name)] == ["skip", "flag"]
    show(tab, lab, f"{name}/review", ".said-by")
    until(tab, lambda: "<script>" in tab.locator(".said-by").inner_text())


def test_hostile_text_stays_text(tab: Any, lab: Lab, complaints: list[str]) -> None:
    name = lab.campaign("ranking", 2)
    requests: list[str] = []
    note = lambda request: requests.append(request.url)  # noqa: E731
    tab.on("request", note)
    show(tab, lab, name, ".rank")
    inside = tab.locator(".label-main")
    assert inside.locator("script, img, iframe, object, embed, a[href^='javascript']").count() == 0
    assert inside.locator("[onerror], [onload], [onclick]").count() == 0
    for selector in (".rank-card >> nth=0", ".guidelines .markdown", ".asked-for"):
        assert "<script>window.hacked=1</script>" in tab.locator(selector).inner_text(), selector
    until(tab, lambda: tab.locator(".guidelines em").inner_text() == "kind")
    tab.remove_listener("request", note)
    assert requests and all(url.startswith((f"http://127.0.0.1:{lab.port}/", "about:")) for url in requests)
    assert complaints == []


# ---- agreement and review --------------------------------------------------------------------------------------------


def test_agreement_is_live_and_a_dispute_is_decided(tab: Any, lab: Lab) -> None:
    name = lab.campaign("ranking", 2, n_items=4, overlap=1.0)
    store = lab.store
    for who in ("Ben", "Chiara"):
        store.ensure_annotator(who)
    show(tab, lab, f"{name}/agreement", ".agreement .welcome")
    for who in ("Ben", "Chiara"):
        for number in range(4):
            task = store.next_item(name, who)
            assert task is not None
            first, second = sorted((answer.text, answer.id) for answer in task.answers)
            ranks = {first[1]: 1, second[1]: 2} if who == "Ben" or number else {first[1]: 2, second[1]: 1}
            store.submit(name, who, task.item_id, f"{name}{number}", {"ranks": ranks}, seconds=2.0)
    until(tab, lambda: tab.locator(".alpha .interval").count() == 1)  # nobody asked for it again
    until(
        tab,
        lambda: tab.locator(".agreement tbody tr").count() == 2 and "to" in tab.locator(".figures .range").inner_text(),
    )
    tab.click("[data-tab=review]")
    until(tab, lambda: tab.locator(".said-by li").count() == 2)
    press_chips(tab, {"A0": 1, "A1": 2})
    tab.click(".review .actions .main")
    until(tab, lambda: "Nothing to decide" in tab.locator(".review").inner_text())
    assert [one.action for one in store.history(name)].count("adjudication") == 1 and not store.disagreements(name)
    with tab.expect_download() as caught:
        tab.click("[aria-label='Export the labels as JSON lines']")
    lines = [json.loads(line) for line in Path(caught.value.path()).read_text().splitlines()]
    assert len(lines) == 7 and SECRET not in json.dumps(lines)


def test_what_is_missing_is_said_and_a_telephone_has_room(tab: Any, lab: Lab) -> None:
    name = lab.campaign("rating", 1, rubric=(Criterion(name="true"),))
    tab.set_viewport_size({"width": 400, "height": 800})
    show(tab, lab, name, ".rubric")
    assert tab.evaluate("document.documentElement.scrollWidth") == 400
    assert tab.evaluate("document.querySelector('.label-main').scrollWidth") == 400
    tab.set_viewport_size({"width": 1400, "height": 900})
    missing = {"missing": "run: pip install 'glasshouse[feedback]'", "campaigns": []}
    tab.route("**/labels/campaigns", lambda route: route.fulfill(json=missing))
    tab.reload()
    until(tab, lambda: missing["missing"] in tab.locator(".label-main").inner_text())


def test_signing_out(tab: Any, lab: Lab) -> None:
    tab.reload()
    tab.click("text=Sign out")
    until(tab, lambda: tab.locator(".sign-in").count() == 1)
    assert tab.evaluate("sessionStorage.getItem('glasshouse-annotator')") is None
