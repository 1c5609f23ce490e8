"""Twenty annotators submit at once, and the server is killed with -9 in the middle, several times.

    python benchmarks/annotators.py                 about a minute; prints its figure

Each annotator is a thread with a connection of its own to the studio's server (`glass label`), in a process of its own.
It asks for an item, labels it, and sends the same submission until it is acknowledged; one in five acknowledged
submissions is sent once more, as by somebody whose answer was lost.  Then the store is read: every acknowledged label
is there once, nobody has two for an item, and every item has as many labels as it was wanted by.
`benchmarks/learning_from_people.py` calls `measure`.
"""

import argparse
import http.client
import json
import random
import signal
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving import GLASS

from glasshouse.core.records import Message
from glasshouse.feedback import Campaign, Candidate, Item
from glasshouse.feedback.store import FeedbackStore

HOST, CAMPAIGN = "127.0.0.1", "at-once"
PATIENCE_S = 600.0


class Server:
    """`glass label` on one port, killed and begun again at will."""

    def __init__(self, place: Path) -> None:
        with socket.create_server((HOST, 0)) as free:
            self.port = free.getsockname()[1]
        self._place = place
        self.begin()

    def begin(self) -> None:
        command = [*GLASS, "label", CAMPAIGN, "--store", str(self._place), "--port", str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                socket.create_connection((HOST, self.port), timeout=1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError("the server did not begin to listen") from None
                time.sleep(0.05)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


@dataclass
class Tally:
    """What all annotators saw; appending to a list is atomic."""

    acknowledged: list[str] = field(default_factory=list)
    repeats: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Annotator(threading.Thread):
    def __init__(self, port: int, key: str, seed: int, tally: Tally) -> None:
        super().__init__(daemon=True)
        self._port, self._key, self._tally, self._draw = port, key, tally, random.Random(seed)

    def run(self) -> None:
        try:
            while (task := self._ask("/next", {})["task"]) is not None:
                self._label(task)
        except Exception as error:
            self._tally.failures.append(repr(error))

    def _label(self, task: dict[str, Any]) -> None:
        places = list(range(1, len(task["answers"]) + 1))
        self._draw.shuffle(places)
        ranks = {answer["id"]: place for answer, place in zip(task["answers"], places)}
        given = {"submission_id": uuid.uuid4().hex, "label": {"ranks": ranks}, "seconds": 1.0}
        path = f"/items/{task['item_id']}/labels"
        self._ask(path, given)
        self._tally.acknowledged.append(given["submission_id"])
        if self._draw.random() < 0.2:
            assert self._ask(path, given)["is_repeat"]
            self._tally.repeats.append(given["submission_id"])

    def _ask(self, path: str, body: dict[str, Any]) -> Any:
        """The same request until somebody answers it."""
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._ask_once(path, body)
            except (OSError, http.client.HTTPException):
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def _ask_once(self, path: str, body: dict[str, Any]) -> Any:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=60)
        try:
            headers = {"Content-Type": "application/json", "X-Annotator-Key": self._key}
            connection.request(
                "POST", f"/studio/api/labels/campaigns/{CAMPAIGN}{path}", json.dumps(body).encode(), headers
            )
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} {text[:200]!r}")
        return json.loads(text)


def measure(n_annotators: int = 20, n_items: int = 200, n_kills: int = 3) -> dict[str, Any]:
    """{what, value, unit, target, is_met}: the number of labels lost or doubled."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "labels.db"
        store = FeedbackStore(place)
        items = [
            Item((Message("user", f"question {i}"),), (Candidate(f"a{i}", "m1"), Candidate(f"b{i}", "m2")))
            for i in range(n_items)
        ]
        store.create_campaign(Campaign(name=CAMPAIGN, kind="ranking", overlap=0.5, n_overlap=3, test_share=0), items)
        keys = [store.add_annotator(f"annotator {i}") for i in range(n_annotators)]
        tally = _work(Server(place), keys, sum(store.collect(CAMPAIGN).n_wanted.values()), n_kills)
        wrong = _faults(store, tally)
        store.close()
    print(f"{len(tally.acknowledged)} labels acknowledged, {len(tally.repeats)} of them sent again; "
          f"{n_annotators} annotators, {n_kills} times kill -9; {wrong}")  # fmt: skip
    return {
        "what": f"labels lost or doubled: {n_annotators} annotators at once, server killed with -9 {n_kills} times, "
                f"{len(tally.acknowledged)} labels",
        "value": sum(wrong.values()), "unit": "labels", "target": "0", "is_met": not any(wrong.values()),
    }  # fmt: skip


def _work(server: Server, keys: list[str], n_wanted: int, n_kills: int) -> Tally:
    """All annotators until nothing is left for any; kills spread evenly over the labels."""
    tally = Tally()
    crowd = [Annotator(server.port, key, seed, tally) for seed, key in enumerate(keys)]
    for annotator in crowd:
        annotator.start()
    for number in range(1, n_kills + 1):
        while len(tally.acknowledged) < n_wanted * number / (n_kills + 1) and any(a.is_alive() for a in crowd):
            time.sleep(0.01)
        server.kill()
        server.begin()
    for annotator in crowd:
        annotator.join(PATIENCE_S)
    server.kill()
    return tally


def _faults(store: FeedbackStore, tally: Tally) -> dict[str, int]:
    """An item may be judged by one person more than wanted (a lease that ran out), never by fewer."""
    found = store.collect(CAMPAIGN)
    stored = Counter(label.submission_id for label in found.submissions)
    pairs = Counter((label.item_id, label.annotator) for label in found.submissions)
    by_item = Counter(label.item_id for label in found.labels())
    return {
        "lost": len(set(tally.acknowledged) - set(stored)),
        "stored without an acknowledgement": len(set(stored) - set(tally.acknowledged)),
        "stored twice": sum(n - 1 for n in stored.values()),
        "twice by one person": sum(n - 1 for n in pairs.values()),
        "items short of labels": sum(by_item[id] < n for id, n in found.n_wanted.items()),
        "annotators that failed": len(tally.failures),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--annotators", type=int, default=20)
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--kills", type=int, default=3)
    given = parser.parse_args()
    print(json.dumps(measure(given.annotators, given.items, given.kills), indent=1))


if __name__ == "__main__":
    main()
