"""Annotators at work, each in a process of its own: `worker.py PLACE CAMPAIGN NAME...`.

Prints each submission id once it is stored.  Every label is sent twice, as by somebody whose first answer was lost.
"""

import os
import sys
import uuid

from glasshouse.feedback.store import FeedbackStore


def label(place: str, campaign: str, name: str) -> None:
    store = FeedbackStore(place)
    while (task := store.next_item(campaign, name)) is not None:
        id = uuid.uuid4().hex
        for _ in range(2):
            store.submit(campaign, name, task.item_id, id, {"is_good": True}, seconds=1.0)
        os.write(1, f"{id}\n".encode())  # one write: lines of several processes do not mix


def main(place: str, campaign: str, *names: str) -> None:
    for name in names[1:]:
        if os.fork() == 0:
            label(place, campaign, name)
            os._exit(0)
    label(place, campaign, names[0])
    for _ in names[1:]:
        assert os.wait()[1] == 0


main(*sys.argv[1:])
