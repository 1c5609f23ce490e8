"""Annotators at once, killed without warning: what was acknowledged is there, once.

`benchmarks/annotators.py` does the same to the server, with twenty of them.
"""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from asking import one_answer_items

from glasshouse.feedback import Campaign
from glasshouse.feedback.store import FeedbackStore

WORKER = Path(__file__).parent / "worker.py"
NAMES = ("Ada", "Bob", "Eve", "Max")
N_ITEMS = 16


def begin(place: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), place, "t", *NAMES]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.parametrize("place", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True)
def test_killed_workers_lose_and_double_nothing(place: str) -> None:
    store = FeedbackStore(place)
    store.create_campaign(Campaign(name="t", kind="thumbs", overlap=1, test_share=0), one_answer_items(N_ITEMS))
    for name in NAMES:
        store.ensure_annotator(name)
    doomed = begin(place)
    assert doomed.stdout is not None
    acknowledged = [doomed.stdout.readline() for _ in range(N_ITEMS // 2)]
    os.killpg(doomed.pid, signal.SIGKILL)
    acknowledged += doomed.communicate()[0].splitlines(keepends=True)
    successor = begin(place)
    acknowledged += successor.communicate(timeout=200)[0].splitlines(keepends=True)
    assert successor.returncode == 0
    stored = Counter(label.submission_id for label in store.history("t"))
    assert {line.strip() for line in acknowledged if line.endswith("\n")} <= set(stored)
    assert set(stored.values()) == {1} and {label.revision for label in store.history("t")} == {0}
    assert len(store.labels("t")) == 2 * N_ITEMS and store.progress("t").n_done == N_ITEMS  # each is wanted by two
    store.close()
