"""All that a campaign holds, in memory: what progress, review, agreement and export are computed from."""

from collections.abc import Mapping
from dataclasses import dataclass

from glasshouse.feedback.campaign import Campaign, Item
from glasshouse.feedback.label import Label


@dataclass(frozen=True, slots=True)
class Collected:
    """`items` are those still there, in order; `submissions` everything ever said of them, in order."""

    campaign: Campaign
    items: Mapping[str, Item]
    n_wanted: Mapping[str, int]  # by item: how many people are to judge it
    submissions: tuple[Label, ...]

    def labels(self) -> list[Label]:
        """One for each annotator and item: the last correction, unless a later skip took it back."""
        last: dict[tuple[str, str], Label] = {}
        for said in self.submissions:
            if said.action == "label":
                last[said.item_id, said.annotator] = said
            elif said.action == "skip":
                last.pop((said.item_id, said.annotator), None)
        return list(last.values())

    def by_item(self) -> dict[str, list[Label]]:
        """Labels of each item that has any; test questions too."""
        found: dict[str, list[Label]] = {}
        for label in self.labels():
            found.setdefault(label.item_id, []).append(label)
        return {id: found[id] for id in self.items if id in found}

    def adjudications(self) -> dict[str, Label]:
        """The last word on each item that was decided by a reviewer."""
        return {label.item_id: label for label in self.submissions if label.action == "adjudication"}

    def verdicts(self) -> dict[str, list[Label]]:
        """What counts in the end: the reviewer's decision where there is one, else every label.  No test questions."""
        decided = self.adjudications()
        ids = [id for id, item in self.items.items() if item.known is None]
        by_item = self.by_item()
        return {id: [decided[id]] if id in decided else by_item[id] for id in ids if id in decided or id in by_item}
