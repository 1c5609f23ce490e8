"""The routes of the page Label, and of the thumbs in Chat."""

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from glasshouse.core.records import Message, Preference, Thumb
from glasshouse.feedback import Campaign, Candidate, Criterion, Item
from glasshouse.feedback.store import FeedbackStore
from glasshouse.serve.app import create_app
from glasshouse.serve.config import ServeConfig
from glasshouse.serve.keys import KeyStore
from glasshouse.serve.studio import add_studio

AT = "/studio/api/labels"
SECRET = "the-model-nobody-may-see"
HTML = "<script>window.hacked=1</script>"


def items(n: int, n_answers: int) -> list[Item]:
    """Every answer has a model, whose name is never shown."""
    return [
        Item((Message("user", f"Question {i}? {HTML}"),),
             tuple(Candidate(f"answer {i}-{k} {HTML}", f"{SECRET}-{k}") for k in range(n_answers)),
             meta={"origin": SECRET})
        for i in range(n)
    ]  # fmt: skip


class Lab:
    """A studio without models, its store, and three annotators."""

    def __init__(self, folder: Path, config: ServeConfig) -> None:
        app = create_app({}, config)
        assert add_studio(app, {}, folder / "runs", folder) is None
        self.client = TestClient(app, base_url="http://127.0.0.1:8000")
        self.store = FeedbackStore(folder / "labels.db")
        self.keys = {name: self.store.add_annotator(name) for name in ("Ada", "Ben", "Chiara")}  # Ada leads
        self.store.set_role("Chiara", "reviewer")
        self.heard: list[str] = []  # everything the server said
        self.rank, self.n_campaigns = "", 0

    def ask(self, method: str, path: str, body: Any = None, who: str | None = "Ada", status: int = 200) -> Any:
        headers = {"X-Annotator-Key": self.keys[who]} if who else {}
        answer = self.client.request(method, AT + path, json=body, headers=headers)
        self.heard.append(answer.text)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.headers["content-type"] == "application/json" else answer.text

    def next(self, campaign: str = "", who: str = "Ada") -> Any:
        return self.ask("POST", f"/campaigns/{campaign or self.rank}/next", who=who)["task"]

    def label(self, task: Any, id: str, label: Any, who: str = "Ada", status: int = 200, **more: Any) -> Any:
        path = f"/campaigns/{task['campaign']}/items/{task['item_id']}/labels"
        body = {"submission_id": self.rank + id, "label": label, "seconds": 3.5}
        return self.ask("POST", path, body | more, who, status)


@pytest.fixture(scope="module")
def open_lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("lab")
    return Lab(folder, ServeConfig(keys_folder=folder / "keys"))


@pytest.fixture
def lab(open_lab: Lab) -> Iterator[Lab]:
    """With a campaign of its own for each test."""
    open_lab.n_campaigns += 1
    open_lab.rank = f"rank{open_lab.n_campaigns}"
    open_lab.heard.clear()
    open_lab.store.create_campaign(
        Campaign(name=open_lab.rank, kind="ranking", guidelines=HTML, overlap=1), items(6, 3)
    )
    yield open_lab
    assert SECRET not in "".join(open_lab.heard)


def in_order(task: Any) -> dict[str, Any]:
    return {"ranks": {answer["id"]: rank for rank, answer in enumerate(task["answers"], 1)}}


def test_who_has_no_key_gets_no_task(lab: Lab) -> None:
    assert lab.ask("POST", "/sign-in", {"name": " ada"}) == {"annotator": "Ada", "role": "owner"}
    lab.ask("POST", "/sign-in", {"name": "Ben"}, status=403)
    lab.keys["Eve"] = "gl-guessed"
    for who in (None, "Eve"):
        for method, what in (("POST", "next"), ("GET", "review"), ("GET", "export"), ("GET", "progress")):
            refused = lab.ask(method, f"/campaigns/{lab.rank}/{what}", who=who, status=403)
            assert refused["error"]["code"] == "KeyRefusedError"
    task = lab.next()
    lab.keys["Dan"] = lab.store.add_annotator("Dan")
    lab.store.revoke_annotator("Dan")
    lab.label(task, "s1", in_order(task), "Dan", status=403)
    assert lab.store.labels(lab.rank) == []


def test_a_label_sent_twice_is_stored_once(lab: Lab) -> None:
    task = lab.next()
    again = lab.next()
    assert again == {**task, "expires_at": again["expires_at"]}, "the same item until it is done"
    first, second = lab.label(task, "s1", in_order(task)), lab.label(task, "s1", in_order(task))
    assert (first["is_repeat"], second["is_repeat"]) == (False, True) and first["at"] == second["at"]
    assert len(lab.store.history(lab.rank)) == 1 and lab.store.labels(lab.rank)[0].seconds == 3.5
    assert lab.next()["item_id"] != task["item_id"]


def test_the_same_label_at_the_same_moment_is_stored_once(lab: Lab) -> None:
    task = lab.next()
    with ThreadPoolExecutor(6) as pool:
        receipts = list(pool.map(lambda _: lab.label(task, "s1", in_order(task)), range(6)))
    assert sum(not receipt["is_repeat"] for receipt in receipts) == 1 and len(lab.store.history(lab.rank)) == 1


def test_a_correction_names_what_it_replaces(lab: Lab) -> None:
    task = lab.next()
    lab.label(task, "s1", in_order(task))
    other = {"ranks": dict.fromkeys(in_order(task)["ranks"], 1)}
    assert "replaces" in lab.label(task, "s2", other, status=409)["error"]["message"]
    lab.label(task, "s2", other, replaces=f"{lab.rank}s1")
    assert [label.value for label in lab.store.labels(lab.rank)] == [{"ranks": [1, 1, 1]}]


def test_labels_that_say_nothing_are_refused_for_good(lab: Lab) -> None:
    """400 and 404: the browser gives up and says so; 503: it goes on trying."""
    task = lab.next()
    for label in ({"ranks": {}}, {"is_good": True}, {"ranks": dict.fromkeys(in_order(task)["ranks"], 2)}):
        lab.label(task, "s1", label, status=400)
    lab.label({**task, "item_id": "gone"}, "s1", in_order(task), status=404)
    lab.label({**task, "campaign": "gone"}, "s1", in_order(task), status=404)
    lab.ask("POST", f"/campaigns/{lab.rank}/items/{task['item_id']}/labels", {"label": {}}, status=400)
    assert lab.store.history(lab.rank) == []


def test_a_store_that_fails_is_no_fault_of_the_label(tmp_path: Path) -> None:
    (tmp_path / "labels.db").write_bytes(b"this is no database" * 100)
    app = create_app({}, ServeConfig(keys_folder=tmp_path / "keys"))
    add_studio(app, {}, tmp_path, tmp_path)
    client = TestClient(app, base_url="http://127.0.0.1:8000")
    answer = client.get(f"{AT}/campaigns")
    assert answer.status_code == 503 and "labels.db" in answer.json()["error"]["message"]
    assert client.get("/studio/").status_code == 200


def test_skip_and_flag_lead_to_another_item(lab: Lab) -> None:
    first = lab.next()
    lab.ask("POST", f"/campaigns/{lab.rank}/items/{first['item_id']}/skip", {"submission_id": f"{lab.rank}a"})
    second = lab.next()
    path = f"/campaigns/{lab.rank}/items/{second['item_id']}/flag"
    lab.ask("POST", path, {"submission_id": f"{lab.rank}b", "reason": " "}, status=400)
    lab.ask("POST", path, {"submission_id": f"{lab.rank}b", "reason": HTML})
    assert len({first["item_id"], second["item_id"], lab.next()["item_id"]}) == 3
    [waiting] = lab.ask("GET", f"/campaigns/{lab.rank}/review", who="Chiara")["items"]
    assert waiting["item_id"] == second["item_id"] and waiting["flags"] == [{"annotator": "Ada", "reason": HTML}]


def test_progress_agreement_and_review(lab: Lab) -> None:
    for who in ("Ada", "Ben"):
        for number in range(6):
            task = lab.next(who=who)
            texts = sorted((answer["text"], answer["id"]) for answer in task["answers"])
            if who == "Ben" and number == 2:
                texts.reverse()
            lab.label(task, f"{who}{number}", {"ranks": {id: r for r, (_, id) in enumerate(texts, 1)}}, who)
    assert lab.next() is None
    progress = lab.ask("GET", f"/campaigns/{lab.rank}/progress")
    assert progress == {
        "n_items": 6, "n_done": 6, "n_mine": 6, "n_disagreements": 1, "n_flags": 0, "median_seconds": 3.5,
        "role": "owner",
    }  # fmt: skip
    agreement = lab.ask("GET", f"/campaigns/{lab.rank}/agreement")
    [alpha] = agreement["alphas"]
    assert alpha["low"] <= alpha["value"] < 1 and alpha["high"] <= 1 and agreement["n_items"] == 6
    assert [(one["name"], one["median_seconds"]) for one in agreement["annotators"]] == [("Ada", 3.5), ("Ben", 3.5)]
    [split] = lab.ask("GET", f"/campaigns/{lab.rank}/review", who="Chiara")["items"]
    said = {one["annotator"]: one["label"]["ranks"] for one in split["labels"]}
    assert said["Ada"] != said["Ben"] and set(said["Ada"]) == {answer["id"] for answer in split["answers"]}
    path = f"/campaigns/{lab.rank}/items/{split['item_id']}/decision"
    for _ in range(2):
        lab.ask("POST", path, {"submission_id": f"{lab.rank}d", "label": {"ranks": said["Ada"]}}, who="Chiara")
    assert lab.ask("GET", f"/campaigns/{lab.rank}/review")["items"] == []
    lines = [json.loads(line) for line in lab.ask("GET", f"/campaigns/{lab.rank}/export").splitlines()]
    assert len(lines) == 11 and all(line["ranks"] == [1, 2, 3] for line in lines)
    assert sum(line["meta"]["is_adjudicated"] for line in lines) == 1


def test_what_each_role_may_do(lab: Lab) -> None:
    task = lab.next()
    decision = {"submission_id": f"{lab.rank}x", "label": {"ranks": {a["id"]: 1 for a in task["answers"]}}}
    asked = [
        ("GET", f"/campaigns/{lab.rank}/progress", None, {"Ada", "Ben", "Chiara"}),
        ("GET", f"/campaigns/{lab.rank}/review", None, {"Ada", "Chiara"}),
        ("POST", f"/campaigns/{lab.rank}/items/{task['item_id']}/decision", decision, {"Ada", "Chiara"}),
        ("GET", f"/campaigns/{lab.rank}/export", None, {"Ada"}),
    ]
    for method, path, body, allowed in asked:
        for who in ("Ada", "Ben", "Chiara"):
            answer = lab.ask(method, path, body, who=who, status=200 if who in allowed else 403)
            assert who in allowed or (answer["error"]["code"], "--role" in answer["error"]["message"]) == (
                "NotAllowedError", True
            )  # fmt: skip
    assert lab.ask("POST", "/sign-in", {"name": "Chiara"}, who="Chiara")["role"] == "reviewer"


def test_every_kind_of_label(lab: Lab) -> None:
    rubric = (Criterion(name="true", high=3),)
    for kind, n_answers, label in (("demonstration", 0, {"text": HTML}), ("edit", 1, {"text": HTML}),
                                   ("thumbs", 1, {"is_good": False, "better": HTML}),
                                   ("rating", 1, {"scores": {"true": 3}})):  # fmt: skip
        of_kind = rubric if kind == "rating" else ()
        lab.store.create_campaign(Campaign(name=kind, kind=kind, rubric=of_kind), items(2, n_answers))  # type: ignore[arg-type]
        task = lab.next(kind)
        lab.label(task, kind, label)
        assert lab.store.labels(kind)[0].value == label
        told = lab.ask("GET", f"/campaigns/{kind}")
        assert told["kind"] == kind and [one["name"] for one in told["rubric"]] == [one.name for one in of_kind]
    listed = lab.ask("GET", "/campaigns")["campaigns"]
    assert {one["name"]: (one["n_done"], one["n_items"]) for one in listed}["edit"] == (1, 2)


def test_a_campaign_without_prompts_says_so(lab: Lab) -> None:
    lab.store.create_campaign(Campaign(name="empty", kind="thumbs"))
    refused = lab.ask("POST", "/campaigns/empty/next", status=404)
    assert "no prompts" in refused["error"]["message"]
    assert lab.rank in lab.ask("GET", "/campaigns/rnk", status=404)["error"]["message"]


def test_a_label_remembers_the_guidelines_it_was_given_under(lab: Lab) -> None:
    task = lab.next()
    lab.store.add_guidelines(lab.rank, "changed while somebody was thinking")
    lab.label(task, "s1", in_order(task))
    assert lab.ask("GET", f"/campaigns/{lab.rank}")["guidelines"]["version"] == 2
    assert lab.next()["guidelines_version"] == 2
    assert [label.guidelines_version for label in lab.store.labels(lab.rank)] == [1]


# ---- thumbs in Chat --------------------------------------------------------------------------------------------------


def judge(lab: Lab, id: str, is_good: bool | None, status: int = 200, **more: Any) -> Any:
    prompt = [{"role": "user", "content": f"Why, {lab.rank}?"}]
    body = {"submission_id": lab.rank + id, "prompt": prompt, "answer": "So.", "model": SECRET, "is_good": is_good}
    return lab.ask("POST", "/chat", body | more, who=None, status=status).get("item_id")


def test_the_last_thumb_stands(lab: Lab) -> None:
    for id, is_good in (("a", True), ("a", True), ("b", False), ("c", None), ("d", True)):
        item_id = judge(lab, id, is_good)
        standing = lab.store.label_of("chat", "studio", item_id)
        assert (standing and standing.value) == (None if is_good is None else {"is_good": is_good})
    said = [one.submission_id.removeprefix(lab.rank) for one in lab.store.history("chat") if one.item_id == item_id]
    assert said == ["a", "b", "c", "d"] and lab.store.item("chat", item_id).candidates == (Candidate("So.", SECRET),)


def test_a_better_answer_becomes_a_preference(lab: Lab) -> None:
    item_id = judge(lab, "a", False, better="Because.")
    records = [record for record in lab.store.export("chat") if record.id.startswith(item_id)]
    assert [(one.chosen, one.rejected) for one in records if isinstance(one, Preference)] == [("Because.", "So.")]
    assert [one.is_good for one in records if isinstance(one, Thumb)] == [False]
    judge(lab, "b", True, better="So.", status=400)
    judge(lab, "b", True, prompt=[], status=400)


def test_thumbs_of_two_api_keys_are_two_peoples(tmp_path: Path) -> None:
    keys = KeyStore(tmp_path / "keys")
    lab = Lab(tmp_path, ServeConfig(keys_folder=tmp_path / "keys", requires_keys=True))
    for name, is_good in (("one", True), ("two", False)):
        text, _ = keys.create(name)
        lab.client.headers["Authorization"] = f"Bearer {text}"
        judge(lab, "a", is_good)
    assert sorted(label.value["is_good"] for label in lab.store.labels("chat")) == [False, True]


def test_the_studio_opens_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("feedback.database", "feedback.store", "serve.studio_labels", "serve.studio_judgements"):
        monkeypatch.delitem(sys.modules, f"glasshouse.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    app = create_app({}, ServeConfig(keys_folder=tmp_path / "keys"))
    missing = add_studio(app, {}, tmp_path, tmp_path)
    client = TestClient(app, base_url="http://127.0.0.1:8000")
    assert missing and "glasshouse[feedback]" in missing and client.get("/studio/").status_code == 200
    assert client.get(f"{AT}/campaigns").json() == {"missing": missing, "campaigns": []}
    refused = client.post(f"{AT}/chat", json={})
    assert refused.status_code == 501 and refused.json()["error"]["message"] == missing
