"""Two runs' scores side by side: differences beside plain sums, and none where items are missing."""

import json
from pathlib import Path
from typing import Any

import pytest

from glasshouse.core.rundir import RunDirectory
from glasshouse.report import pair_runs, stages_of


def item(i: int, outcome: str, kind: str = "summary") -> dict[str, Any]:
    is_right = outcome == "right"
    return {"id": f"{kind}{i}", "name": f"n{i}", "kind": kind, "outcome": outcome, "is_exact": is_right,
            "is_normalised": is_right}  # fmt: skip


def score(name: str, value: float, unit: str = "share") -> dict[str, Any]:
    return {"name": name, "value": value, "low": value, "high": value, "count": 1, "unit": unit}


def judged(
    path: Path, outcomes: list[str], *, made_up: tuple[str, ...] = (), n_items: int | None = None
) -> RunDirectory:
    run = RunDirectory(path).create()
    items = [item(i, o) for i, o in enumerate(outcomes)] + [item(i, o, "made_up") for i, o in enumerate(made_up)]
    scores = [score("bits_per_byte", 2.0, "bits/byte"), score("exact", outcomes.count("right") / len(outcomes)),
              score("wrong", outcomes.count("wrong") / len(outcomes)), score("honest_refusal", 0.5)]  # fmt: skip
    record = {"after": "sft", "scores": scores, "items": items, "n_items": n_items or len(items)}
    (run.stage("evals") / "sft.json").write_text(json.dumps(record))
    return run


def test_differences_are_over_the_same_items(tmp_path):
    a = judged(tmp_path / "a", ["right"] * 10 + ["wrong"] * 20 + ["refused"] * 10, made_up=("honest", "invented"))
    b = judged(tmp_path / "b", ["right"] * 25 + ["wrong"] * 5 + ["refused"] * 10, made_up=("honest", "honest"))
    pairs = {pair.name: pair for pair in pair_runs(a, "sft", b, "sft")}
    exact, wrong, honest = (pairs[name].difference for name in ("exact", "wrong", "honest_refusal"))
    assert (exact.value, exact.count) == (pytest.approx(15 / 40), 40) and exact.low > 0.2
    assert wrong.value == pytest.approx(-15 / 40) and wrong.high < 0
    assert (honest.value, honest.count) == (0.5, 2)
    assert pairs["exact"].a.value == 0.25 and pairs["exact"].b.value == pytest.approx(25 / 40)
    assert pairs["bits_per_byte"].difference is None and pairs["bits_per_byte"].a.value == 2.0
    mirrored = {pair.name: pair for pair in pair_runs(b, "sft", a, "sft")}
    assert mirrored["exact"].difference.value == -exact.value


def test_equal_runs_differ_by_nothing(tmp_path):
    run = judged(tmp_path / "a", ["right", "wrong"] * 5)
    exact = next(pair for pair in pair_runs(run, "sft", run, "sft") if pair.name == "exact").difference
    assert (exact.value, exact.low, exact.high) == (0, 0, 0)


def test_a_log_that_kept_some_items_alone_is_not_paired(tmp_path):
    a, b = judged(tmp_path / "a", ["wrong"] * 9), judged(tmp_path / "b", ["wrong"] * 9, n_items=500)
    assert all(pair.difference is None for pair in pair_runs(a, "sft", b, "sft"))


def test_other_questions_are_not_paired_and_a_missing_stage_is_empty(tmp_path):
    a, b = judged(tmp_path / "a", ["right"]), judged(tmp_path / "b", ["right"])
    path = b.path / "evals" / "sft.json"
    path.write_text(path.read_text().replace("summary0", "other"))
    assert all(pair.difference is None for pair in pair_runs(a, "sft", b, "sft"))
    assert all(pair.b is None and pair.a is not None for pair in pair_runs(a, "sft", b, "align"))
    assert pair_runs(a, "../evals/sft", b, "none") == []


def test_stages_in_the_order_of_a_life(tmp_path):
    run = judged(tmp_path / "a", ["right"])
    for stage in ("align", "other", "pretrain"):
        (run.path / "evals" / f"{stage}.json").write_text("{}")
    assert stages_of(run) == ["pretrain", "sft", "align", "other"]
    assert stages_of(RunDirectory(tmp_path / "none")) == []


def task(run: RunDirectory, hash: str, right: list[bool]) -> None:
    folder = run.stage("evals") / "tasks"
    folder.mkdir(exist_ok=True)
    scores = [score("accuracy", sum(right) / len(right)), score("macro_f1", 0.5, "0 to 1")]
    (folder / "quiz.json").write_text(json.dumps({"task": "quiz", "hash": hash, "scores": scores}))
    lines = [{"task": "quiz", "hash": hash}] + [
        {"asking": asking, "number": i, "unit": str(i // 2),
         "columns": {"accuracy": [float(r), 1.0], "macro_f1": [1, 1]}}
        for asking in ("score", "shuffled") for i, r in enumerate(right)
    ] + [{"asking": "score", "number": 99, "unit": "99", "columns": None}]  # fmt: skip
    (folder / "quiz.items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_tasks_are_paired_where_they_were_the_same(tmp_path):
    a, b = judged(tmp_path / "a", ["right"]), judged(tmp_path / "b", ["right"])
    task(a, "h1", [True, False] * 10)
    task(b, "h1", [True, True] * 10)
    pairs = {pair.name: pair for pair in pair_runs(a, "none", b, "none")}
    assert pairs["accuracy"].group == "quiz"
    assert (pairs["accuracy"].difference.value, pairs["accuracy"].difference.count) == (0.5, 20)
    assert pairs["macro_f1"].difference is None
    task(b, "h2", [True, True] * 10)
    assert all(pair.difference is None for pair in pair_runs(a, "none", b, "none"))
