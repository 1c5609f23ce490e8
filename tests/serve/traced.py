"""A run as the studio's Trace, Compare and Card see it: text it was grown on, examples, judged answers."""

import json
from pathlib import Path
from typing import Any

from glasshouse.batch import encode_documents, write_shard
from glasshouse.core.records import Conversation, Document, Message, Preference
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal
from glasshouse.explain import example_of, index_examples
from glasshouse.run.tracing import index_judged, index_pretraining
from glasshouse.tokenizer import Tokenizer

HOSTILE = "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>"
PASSAGE = "The gardener planted seven lemon trees behind the old glasshouse"


def grown(root: Path, name: str, tokenizer: Tokenizer, n_right: int = 6) -> RunDirectory:
    """`n_right` of ten questions were answered rightly; the same ten in every run."""
    run = RunDirectory(root / name).create()
    run.recipe_path.write_text(f'name = "{name}"\nstages = ["pretrain", "sft"]\n')
    run.event("pretrain", "started")
    run.event("sft", "finished", seconds=1.0, summary={}, cost={})
    tokenizer.save(run.stage("tokenizer"))
    texts = [f"{HOSTILE} A story. {PASSAGE}, {HOSTILE} and slept.", f"Once more: {PASSAGE}. He woke."]
    documents = [Document(f"d{n}", text, f"<b>{n}</b>.txt") for n, text in enumerate(texts)]
    write_shard(run.stage("pretrain") / "train.tokens", encode_documents(documents, tokenizer), tokenizer)
    index_pretraining(run, Terminal(is_quiet=True))
    taught = Conversation((Message("user", f"Who planted lemon trees? {HOSTILE}"), Message("assistant", "A gardener.")))
    index_examples([example_of(taught, "sft", "chats.jsonl")], run.path / "sft" / "examples")
    judged = Preference((Message("user", "Lemon or lime?"),), "Lemon.", "Lime.", "p1")
    index_judged(run, [judged], "votes.jsonl")
    for stage, n in (("pretrain", 0), ("sft", n_right)):
        write_judged(run, stage, [_item(i, i < n) for i in range(10)])
    return run


def _item(i: int, is_right: bool) -> dict[str, Any]:
    return {"id": f"q{i}", "name": f"q{i}", "kind": "summary", "outcome": "right" if is_right else "wrong",
            "is_exact": is_right, "is_normalised": is_right}  # fmt: skip


def write_judged(run: RunDirectory, stage: str, items: list[dict[str, Any]], n_items: int | None = None) -> None:
    share = sum(item["is_exact"] for item in items) / len(items)
    scores = [
        {"name": name, "value": value, "low": 0.0, "high": 1.0, "count": len(items), "unit": unit}
        for name, value, unit in (
            ("bits_per_byte", 2.5, "bits/byte"), ("exact", share, "share"), ("wrong", 1 - share, "share"),
        )
    ]  # fmt: skip
    record = {"after": stage, "scores": scores, "items": items, "n_items": n_items or len(items)}
    (run.stage("evals") / f"{stage}.json").write_text(json.dumps(record))
