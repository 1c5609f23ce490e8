"""Labels into the records that training reads, and records into labels.

    kind           exported as                                      imported from
    demonstration  Conversation                                     Conversation
    ranking        Ranking                                          Ranking, Preference
    thumbs         Thumb, and a Preference where something better   Thumb
                   was written
    edit           Preference: the edited text over the given one   Preference
    rating         Preference between answers to the same prompt,   (nothing)
                   with the difference of their mean scores as margin

A reviewer's decision replaces the labels of its item; else each label is a record of its own, so that people who agree
weigh more.  `meta` says who judged, when, and under which version of the guidelines.  Test questions stay behind.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from glasshouse.core.files import sha256_text
from glasshouse.core.records import Conversation, Message, Preference, Ranking, Thumb
from glasshouse.feedback.campaign import Campaign, Candidate, Item
from glasshouse.feedback.collected import Collected
from glasshouse.feedback.label import Label, dense_ranks
from glasshouse.feedback.problems import LabelError

Record = Preference | Ranking | Thumb | Conversation
OnProblem = Callable[[int, str], None]  # (line or number of the record, what is wrong with it)


@dataclass(frozen=True, slots=True)
class Imported:
    n_items: int  # new ones
    n_labels: int
    n_repeats: int  # labels that were there already
    n_refused: int


def export_records(collected: Collected) -> Iterator[Record]:
    if collected.campaign.kind == "rating":
        yield from _rated(collected)
        return
    export = EXPORTS[collected.campaign.kind]
    for id, labels in collected.verdicts().items():
        for label in labels:
            yield from export(collected.items[id], label, _meta(collected, collected.items[id], label))


def _meta(collected: Collected, item: Item, label: Label) -> dict[str, Any]:
    models = [candidate.model for candidate in item.candidates]
    return {
        **item.meta, "campaign": collected.campaign.name, "annotator": label.annotator,
        "guidelines_version": label.guidelines_version, "at": label.at,
        "is_adjudicated": label.action == "adjudication",
        **({"models": models} if any(models) else {}),
    }  # fmt: skip


def _id(item: Item, label: Label) -> str:
    return f"{item.id}/{label.annotator}"


def _demonstration(item: Item, label: Label, meta: dict[str, Any]) -> Iterator[Record]:
    yield Conversation((*item.prompt, Message("assistant", label.value["text"])), _id(item, label), meta)


def _edit(item: Item, label: Label, meta: dict[str, Any]) -> Iterator[Record]:
    yield Preference(item.prompt, label.value["text"], item.candidates[0].text, _id(item, label), meta=meta)


def _ranking(item: Item, label: Label, meta: dict[str, Any]) -> Iterator[Record]:
    answers = tuple(candidate.text for candidate in item.candidates)
    yield Ranking(item.prompt, answers, tuple(label.value["ranks"]), _id(item, label), meta)


def _thumb(item: Item, label: Label, meta: dict[str, Any]) -> Iterator[Record]:
    answer, better = item.candidates[0].text, label.value.get("better")
    yield Thumb(item.prompt, answer, label.value["is_good"], _id(item, label), meta)
    if better is not None:
        yield Preference(item.prompt, better, answer, _id(item, label) + "/better", meta=meta)


EXPORTS: dict[str, Callable[[Item, Label, dict[str, Any]], Iterator[Record]]] = {
    "demonstration": _demonstration, "edit": _edit, "ranking": _ranking, "thumbs": _thumb,
}  # fmt: skip


def _rated(collected: Collected) -> Iterator[Preference]:
    by_prompt: dict[tuple[Message, ...], list[tuple[Item, float]]] = {}
    for id, labels in collected.verdicts().items():
        item, means = collected.items[id], [_mean_score(label) for label in labels]
        by_prompt.setdefault(item.prompt, []).append((item, sum(means) / len(means)))
    for prompt, rated in by_prompt.items():
        for (better, high), (worse, low) in permutations(rated, 2):
            if high > low:
                meta = {"campaign": collected.campaign.name, "scores": [high, low]}
                yield Preference(prompt, better.candidates[0].text, worse.candidates[0].text,
                                 f"{better.id}/{worse.id}", high - low, meta)  # fmt: skip


def _mean_score(label: Label) -> float:
    scores = label.value["scores"].values()
    return float(sum(scores) / len(scores))


def preferences_of(ranking: Ranking) -> Iterator[Preference]:
    """Every pair the ranking puts in an order; ties give none.  Ranks (1, 2, 2) -> two pairs."""
    pairs = [(i, j) for i, j in permutations(range(len(ranking.ranks)), 2) if ranking.ranks[i] < ranking.ranks[j]]
    for i, j in pairs:
        id = f"{ranking.id}/{i}>{j}" if len(ranking.answers) > 2 else ranking.id
        yield Preference(ranking.prompt, ranking.answers[i], ranking.answers[j], id, meta=ranking.meta)


# Import


def to_label(campaign: Campaign, record: Record) -> tuple[Item, Callable[[Item], dict[str, Any]]]:
    """The item of a record, and the label for it once its answers have their ids."""
    convert = IMPORTS.get((campaign.kind, type(record)))
    if convert is None:
        usable = [kind.__name__ for name, kind in IMPORTS if name == campaign.kind]
        raise LabelError(
            f"a {type(record).__name__} is no label of a {campaign.kind} campaign; "
            f"it takes {' or '.join(usable) or 'labels given on its own page only'}"
        )
    return convert(record)


def _from_ranking(record: Any) -> tuple[Item, Callable[[Item], dict[str, Any]]]:
    """Answers in the order of their texts: the same answers ranked the other way round are the same item."""
    if len(record.answers) != len(record.ranks):
        raise LabelError(f"{len(record.answers)} answers but {len(record.ranks)} ranks")
    ranked = sorted(zip(record.answers, dense_ranks(record.ranks)))
    item = Item(record.prompt, tuple(Candidate(text) for text, _ in ranked))
    return item, lambda stored: {"ranks": dict(zip(stored.answer_ids(), [rank for _, rank in ranked]))}


def _from_preference(record: Any) -> tuple[Item, Callable[[Item], dict[str, Any]]]:
    return _from_ranking(Ranking(record.prompt, (record.chosen, record.rejected), (1, 2)))


def _from_edit(record: Any) -> tuple[Item, Callable[[Item], dict[str, Any]]]:
    return Item(record.prompt, (Candidate(record.rejected),)), lambda _: {"text": record.chosen}


def _from_thumb(record: Any) -> tuple[Item, Callable[[Item], dict[str, Any]]]:
    return Item(record.prompt, (Candidate(record.answer),)), lambda _: {"is_good": record.is_good}


def _from_conversation(record: Any) -> tuple[Item, Callable[[Item], dict[str, Any]]]:
    *prompt, answer = record.messages
    if not prompt or answer.role != "assistant":
        raise LabelError("a demonstration is a conversation that ends with the assistant's answer")
    return Item(tuple(prompt)), lambda _: {"text": answer.content}


IMPORTS: dict[tuple[str, type], Callable[[Any], tuple[Item, Callable[[Item], dict[str, Any]]]]] = {
    ("ranking", Ranking): _from_ranking,
    ("ranking", Preference): _from_preference,
    ("edit", Preference): _from_edit,
    ("thumbs", Thumb): _from_thumb,
    ("demonstration", Conversation): _from_conversation,
}


def import_id(annotator: str, item: Item, label: dict[str, Any]) -> str:
    """The submission id of an imported label: the same label of the same item has the same."""
    return "import-" + sha256_text(f"{annotator}\x1f{item.id}\x1f{label!r}")[:32]
