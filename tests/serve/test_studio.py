"""The studio's data over HTTP: conversations, runs, files, and what comes next."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glasshouse.core.rundir import RunDirectory
from glasshouse.infer import Engine
from glasshouse.serve.config import ServeConfig
from glasshouse.serve.keys import KeyStore
from glasshouse.serve.studio import WEB, add_studio

from .conftest import MAX_SEQ_LEN, MODEL, Running, running

PAYLOAD = '<script>window.hacked=1</script><img src=x onerror="window.hacked=1">'


def make_run(root: Path, name: str, n_steps: int = 4) -> RunDirectory:
    run = RunDirectory(root / name).create()
    run.recipe_path.write_text('name = "small"\n')
    run.event("pretrain", "started")
    for step in range(1, n_steps + 1):
        run.metric("pretrain", step, {"loss": 8.0 / step, "lr": 0.01})
    run.event("pretrain", "sample", step=1, prompt="def f(", text=PAYLOAD)
    run.event("sft", "sample", step=1, prompt="What is it?", text="A thing.")
    return run


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    run = make_run(root, MODEL)
    (run.path / "report.html").write_text("<h1>report</h1><script>parent.hacked = 1</script>")
    (root / "secret.txt").write_text("secret")
    (make_run(root, "sly").path / "report.html").symlink_to(root / "secret.txt")
    (root / "no-run").mkdir()
    (root / "no-run" / "report.html").write_text("secret")
    return root


@pytest.fixture(scope="module")
def studio(engine: Engine, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(engine) as server:
        add_studio(server.app, {MODEL: server.background}, root, tmp_path_factory.mktemp("state"))
        yield server


# ---- files -----------------------------------------------------------------------------------------------------------


def test_the_page_and_all_it_loads(studio: Running) -> None:
    assert studio.ask("GET", "/").headers["location"] == "/studio/"
    page = studio.ask("GET", "/studio/")
    assert page.status == 200 and page.headers["content-type"].startswith("text/html")
    names = re.findall(r'(?:src|href)="(/studio/web/[^"]+)"', page.data.decode())
    assert len(names) >= 6
    for name in [*names, "/studio/web/vendor/marked.js", "/studio/web/vendor/purify.js"]:
        assert studio.ask("GET", name).status == 200, name
    assert studio.ask("GET", "/studio/web/app.js").headers["content-type"].startswith("text/javascript")


def test_only_own_scripts_may_run(studio: Running) -> None:
    policy = studio.ask("GET", "/studio/").headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self';" in policy and "style-src 'self';" in policy
    assert "unsafe" not in policy and "require-trusted-types-for 'script'" in policy
    page = (WEB / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*src=)|style=|\son[a-z]+=", page)


def test_every_import_of_the_pages_exists() -> None:
    for path in WEB.glob("*.js"):
        for name in re.findall(r'from "(\./[^"]+)"', path.read_text()):
            assert (path.parent / name).is_file(), f"{path.name} imports {name}"


def test_vendored_libraries_carry_their_licences() -> None:
    for path in (WEB / "vendor").glob("*.js"):
        assert len(path.with_suffix(".LICENSE").read_text()) > 1000
    assert not list(WEB.rglob("*.html"))[1:]


@pytest.mark.parametrize(
    "path",
    [
        "/studio/web/../studio.py",
        "/studio/web/%2e%2e/studio.py",
        "/studio/web/..%2fstudio.py",
        "/studio/web/vendor/../../studio.py",
        "/studio/web//etc/passwd",
        "/studio/web/%2fetc%2fpasswd",
        "/studio/web/..%5cstudio.py",
        "/studio/web/index.html%00.js",
        "/studio/web/",
        "/studio/web/vendor",
    ],
)
def test_no_path_leaves_the_files(studio: Running, path: str) -> None:
    answer = studio.ask("GET", path)
    assert answer.status == 404 and b"add_studio" not in answer.data and answer.error


# ---- conversations ---------------------------------------------------------------------------------------------------


def content(**changes: Any) -> dict[str, Any]:
    turn = {
        "id": "a1",
        "parent": None,
        "question": "Why?",
        "answers": [{"model": MODEL, "text": "So.", "reason": "stop"}],
    }
    return {"title": "Why", "models": [MODEL], "turns": [turn], "head": "a1", **changes}


def test_a_conversation_is_kept(studio: Running) -> None:
    made = studio.ask("POST", "/studio/api/chats", content(title="Über ✿")).json
    read = studio.ask("GET", f"/studio/api/chats/{made['id']}").json
    assert read == made and read["title"] == "Über ✿" and read["turns"][0]["answers"][0]["text"] == "So."
    assert studio.ask("GET", "/studio/api/chats").json[0]["id"] == made["id"]
    changed = studio.ask("PUT", f"/studio/api/chats/{made['id']}", content(title="New", revision=1)).json
    assert changed["revision"] == 2 and changed["created_at"] == made["created_at"]
    assert studio.ask("GET", "/studio/api/chats").json[0]["title"] == "New"
    assert studio.ask("DELETE", f"/studio/api/chats/{made['id']}").status == 204
    assert studio.ask("GET", f"/studio/api/chats/{made['id']}").status == 404


def test_of_two_windows_the_later_one_is_told(studio: Running) -> None:
    made = studio.ask("POST", "/studio/api/chats", content()).json
    path = f"/studio/api/chats/{made['id']}"
    assert studio.ask("PUT", path, content(revision=1)).status == 200
    refused = studio.ask("PUT", path, content(title="late", revision=1))
    assert refused.status == 409 and "another window" in refused.error["message"]
    assert studio.ask("GET", path).json["title"] == "Why"


@pytest.mark.parametrize(
    "id", ["..%2f..%2fsecret", "../secret", "0" * 15, "0" * 17, "ABCDEF0123456789", "%00" * 16, "x" * 16]
)
def test_ids_lead_nowhere_else(studio: Running, id: str) -> None:
    for method in ("GET", "DELETE", "PUT"):
        answer = studio.ask(method, f"/studio/api/chats/{id}", content(revision=1) if method == "PUT" else None)
        assert answer.status in (404, 405) and answer.error


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b"\xff", {"title": 3}, {"unknown": 1}, content(turns=[{"id": "../x", "question": "?"}]),
        content(models=["a", "b", "c"]), content(head="a" * 40), {"title": "x" * 301}, b'{"title": "\\ud800"}',
    ],
)  # fmt: skip
def test_bad_conversations_are_refused(studio: Running, body: Any) -> None:
    answer = studio.ask("POST", "/studio/api/chats", body)
    assert answer.status == 400 and answer.error["type"] == "invalid_request_error"


def test_a_damaged_file_hides_no_other(studio: Running, engine: Engine, tmp_path: Path) -> None:
    chats = tmp_path / "chats"
    chats.mkdir()
    (chats / f"{'0' * 16}.json").write_text("{")
    with running(engine) as server:
        add_studio(server.app, {MODEL: server.background}, tmp_path, tmp_path)
        made = server.ask("POST", "/studio/api/chats", content()).json
        assert [chat["id"] for chat in server.ask("GET", "/studio/api/chats").json] == [made["id"]]
        assert server.ask("GET", f"/studio/api/chats/{'0' * 16}").status == 400
    assert (chats / f"{'0' * 16}.json").read_text() == "{"


# ---- models ----------------------------------------------------------------------------------------------------------


def test_models_come_with_things_to_say(studio: Running) -> None:
    [model] = studio.ask("GET", "/studio/api/models").json
    assert model["id"] == MODEL and model["max_seq_len"] == MAX_SEQ_LEN and model["can_chat"]
    assert model["questions"] == ["What is it?"] and model["beginnings"] == ["def f("]


def test_next_tokens_are_the_models_own_probabilities(studio: Running) -> None:
    body = {"model": MODEL, "text": "import json", "k": 20}
    answer = studio.ask("POST", "/studio/api/next-token", body).json
    shares = [math.exp(token["logp"]) for token in answer["tokens"]]
    assert len(shares) == 20 and sum(shares) <= 1.0001 and shares == sorted(shares, reverse=True)
    expected = studio.engine.next_token(studio.engine.prompt_ids("import json"), 3)
    assert [token["id"] for token in answer["tokens"][:3]] == [id for id, _ in expected]
    assert shares[0] == pytest.approx(math.exp(expected[0][1]), abs=1e-4)


def events(data: bytes) -> list[dict[str, Any]]:
    lines = [line[6:] for line in data.decode().split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_a_text_goes_on_by_exact_ids(studio: Running) -> None:
    """Choosing the tokens that it chose itself leads to the same text."""
    ask = {"model": MODEL, "text": "def read(", "k": 5}
    whole = events(studio.ask("POST", "/studio/api/complete", {**ask, "max_tokens": 6}).data)
    assert [token["alternatives"][0]["id"] for token in whole] == [token["id"] for token in whole]
    ids = [token["id"] for token in whole[:3]]
    rest = events(studio.ask("POST", "/studio/api/complete", {**ask, "ids": ids, "max_tokens": 3}).data)
    assert [token["id"] for token in rest] == [token["id"] for token in whole[3:6]]
    assert bytes(whole[0]["bytes"]) == studio.engine.tokenizer.token_bytes(whole[0]["id"])


@pytest.mark.parametrize(
    "body",
    [
        {"model": MODEL, "ids": [10**6]}, {"model": MODEL, "ids": [-1]}, {"model": MODEL, "k": 21},
        {"model": MODEL, "text": "word " * 2000}, {"model": MODEL, "max_tokens": 0},
        {"model": MODEL, "temperature": -1}, {"model": MODEL, "text": 3}, b"{",
    ],
)  # fmt: skip
def test_bad_completions_are_refused(studio: Running, body: Any) -> None:
    answer = studio.ask("POST", "/studio/api/complete", body)
    assert answer.status == 400 and answer.error


def test_an_unknown_model_is_named(studio: Running) -> None:
    for path in ("next-token", "complete"):
        assert "there is no model" in studio.ask("POST", f"/studio/api/{path}", {"model": "x"}).error["message"]


def test_old_turns_are_left_out_only_as_far_as_needed(studio: Running) -> None:
    turns = [{"role": role, "content": "word " * 30} for role in ("user", "assistant")] * 8
    messages = [{"role": "system", "content": "Be brief."}, *turns, {"role": "user", "content": "And now?"}]
    ask = {"model": MODEL, "messages": messages, "max_tokens": 100}
    found = studio.ask("POST", "/studio/api/fit", ask).json
    assert 0 < found["n_dropped"] < 8 and found["n_prompt_tokens"] <= MAX_SEQ_LEN - 100 + 1
    fitting = [messages[0], *messages[1 + 2 * found["n_dropped"] :]]
    assert studio.ask("POST", "/studio/api/fit", {**ask, "messages": fitting}).json["n_dropped"] == 0
    one_more = [messages[0], *messages[1 + 2 * (found["n_dropped"] - 1) :]]
    assert studio.ask("POST", "/studio/api/fit", {**ask, "messages": one_more}).json["n_dropped"] == 1
    long = [{"role": "user", "content": "word " * 2000}]
    assert studio.ask("POST", "/studio/api/fit", {**ask, "messages": long}).error["code"] == "context_length_exceeded"


# ---- runs ------------------------------------------------------------------------------------------------------------


def test_runs_are_listed_and_told(studio: Running) -> None:
    runs = {run["name"]: run for run in studio.ask("GET", "/studio/api/runs").json}
    assert runs.keys() == {MODEL, "sly"} and runs[MODEL]["state"] == "running" and runs[MODEL]["stage"] == "pretrain"
    told = studio.ask("GET", f"/studio/api/runs/{MODEL}").json
    assert told["headline"]["title"] == MODEL and told["samples"][0]["rows"][0]["text"] == PAYLOAD


def test_metrics_are_read_from_where_one_was(studio: Running, root: Path) -> None:
    run = make_run(root, "growing", n_steps=3)
    path = "/studio/api/runs/growing/metrics"
    first = studio.ask("GET", path).json
    assert [record["step"] for record in first["records"]] == [1, 2, 3] and first["is_all"]
    run.metric("pretrain", 4, {"loss": float("nan"), "lr": 0.5})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"stage": "pretrain", "st')  # torn: still being written
    second = studio.ask("GET", f"{path}?offset={first['offset']}").json
    assert [record["metrics"] for record in second["records"]] == [{"lr": 0.5}]
    assert studio.ask("GET", f"{path}?offset={second['offset']}").json["records"] == []
    (run.path / "metrics.jsonl").write_text("")
    assert studio.ask("GET", f"{path}?offset={second['offset']}").json["from"] == 0


def test_a_report_is_shown_in_a_sandbox(studio: Running) -> None:
    key = studio.ask("GET", f"/studio/api/runs/{MODEL}").json["report_key"]
    answer = studio.ask("GET", f"/studio/runs/{MODEL}/report.html?key={key}")
    assert answer.status == 200 and answer.headers["content-security-policy"].startswith("sandbox allow-scripts;")
    assert studio.ask("GET", f"/studio/runs/{MODEL}/report.html").status == 403
    assert studio.ask("GET", f"/studio/runs/sly/report.html?key={key}").status == 403


def test_no_report_lies_outside_its_run(studio: Running) -> None:
    key = studio.ask("GET", "/studio/api/runs/sly").json["report_key"]
    assert studio.ask("GET", f"/studio/runs/sly/report.html?key={key}").status == 404


@pytest.mark.parametrize("name", ["..", "%2e%2e", "no-run", "..%2fruns", "%2fetc", f"{MODEL}%2f..%2fsly", "%00"])
def test_no_name_leads_elsewhere(studio: Running, name: str) -> None:
    for path in (f"/studio/api/runs/{name}", f"/studio/api/runs/{name}/metrics"):
        answer = studio.ask("GET", path)
        assert answer.status in (404, 403) and b"secret" not in answer.data


def test_a_runs_folder_may_be_a_run(engine: Engine, root: Path, tmp_path: Path) -> None:
    with running(engine) as server:
        add_studio(server.app, {MODEL: server.background}, root / MODEL, tmp_path)
        assert [run["name"] for run in server.ask("GET", "/studio/api/runs").json] == [MODEL]


def test_with_keys_pages_are_open_and_data_is_not(engine: Engine, root: Path, tmp_path: Path) -> None:
    text, _ = KeyStore(tmp_path / "keys").create("me")
    with running(engine, ServeConfig(requires_keys=True, keys_folder=tmp_path / "keys")) as server:
        add_studio(server.app, {MODEL: server.background}, root, tmp_path)
        assert server.ask("GET", "/studio/").status == server.ask("GET", "/studio/web/app.js").status == 200
        for path in ("models", "chats", "runs", f"runs/{MODEL}", f"runs/{MODEL}/metrics"):
            assert server.ask("GET", f"/studio/api/{path}").status == 401, path
        assert server.ask("GET", f"/studio/runs/{MODEL}/report.html").status == 403
        headers = {"Authorization": f"Bearer {text}"}
        assert server.ask("GET", "/studio/api/runs", headers=headers).status == 200
