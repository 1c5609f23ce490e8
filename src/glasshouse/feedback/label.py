"""What an annotator may say, by kind of campaign: checked, and brought into the form that is stored.

    kind           as sent                                          as stored
    demonstration  {"text": "..."}                                  the same
    edit           {"text": "..."}                                  the same
    thumbs         {"is_good": true}, and perhaps a "better" text   the same
    rating         {"scores": {"helpful": 4}}                       the same
    ranking        {"ranks": {answer id: rank}}, 1 is best          {"ranks": [...]} in the order of the candidates

Equal ranks are ties; 1, 1, 3 and 1, 1, 2 mean the same and are stored as the latter.  Texts are stored as they were
written, markup and all: whoever shows them escapes them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from glasshouse.feedback.campaign import MAX_CHARS, Campaign, Item
from glasshouse.feedback.problems import LabelError

Action = Literal["label", "skip", "flag", "adjudication"]
Value = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Label:
    """What one annotator said of one item, under which version of the guidelines, and how long it took."""

    item_id: str
    annotator: str
    action: Action
    value: Value
    guidelines_version: int
    seconds: float | None
    at: float
    submission_id: str
    revision: int = 0  # how often this annotator had labelled the item before


def check_label(campaign: Campaign, item: Item, given: Any) -> dict[str, Any]:
    """The label as it is stored; `LabelError` says what is wrong with it."""
    if not isinstance(given, Mapping):
        raise LabelError(f"a label is an object; got {type(given).__name__}")
    required, optional, read = FORMS[campaign.kind]
    _check_keys(campaign.kind, given, required, optional)
    return read(campaign, item, given)


def _check_keys(kind: str, given: Value, required: str, optional: tuple[str, ...]) -> None:
    unknown = sorted(set(map(str, given)) - {required, *optional})
    if required not in given or unknown:
        wanted = f'"{required}"' + "".join(f', perhaps "{key}"' for key in optional)
        raise LabelError(f"a label of a {kind} campaign has {wanted}; got {', '.join(map(str, given)) or 'nothing'}")


def check_known(campaign: Campaign, item: Item) -> None:
    """A test question's right label is a label too, with ranks in the order of the candidates."""
    if item.known is None:
        return
    if campaign.kind in ("demonstration", "edit"):
        raise LabelError(f"a {campaign.kind} is free text: it has no known right answer to test people with")
    ranks = item.known.get("ranks")
    by_id = {"ranks": dict(zip(item.answer_ids(), ranks))} if isinstance(ranks, list | tuple) else item.known
    if isinstance(ranks, list | tuple) and len(ranks) != len(item.candidates):
        raise LabelError(f"the known ranks are {len(ranks)}, the answers {len(item.candidates)}")
    check_label(campaign, item, by_id)


def _read_text(_: Campaign, __: Item, given: Value) -> dict[str, Any]:
    return {"text": _text(given["text"], "text")}


def _read_edit(_: Campaign, item: Item, given: Value) -> dict[str, Any]:
    return {"text": _better_text(item, given["text"], "text")}


def _read_thumb(_: Campaign, item: Item, given: Value) -> dict[str, Any]:
    if not isinstance(given["is_good"], bool):
        raise LabelError(f'"is_good" is true or false; got {given["is_good"]!r}')
    better = given.get("better")
    return {"is_good": given["is_good"]} | ({} if better is None else {"better": _better_text(item, better, "better")})


def _better_text(item: Item, value: Any, name: str) -> str:
    text = _text(value, name)
    if text == item.candidates[0].text:
        raise LabelError(
            "the better answer is the same text as the one given; skip the item if nothing can be improved"
        )
    return text


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise LabelError(f'"{name}" is a text, and not an empty one')
    if len(value) > MAX_CHARS:
        raise LabelError(f'"{name}" has {len(value):,} characters; the most is {MAX_CHARS:,}')
    return value


def _read_scores(campaign: Campaign, _: Item, given: Value) -> dict[str, Any]:
    scores = given["scores"]
    rubric = {criterion.name: criterion for criterion in campaign.rubric}
    if not isinstance(scores, Mapping) or set(scores) != set(rubric):
        raise LabelError(f'"scores" gives one number for each of: {", ".join(rubric)}')
    for name, score in scores.items():
        low, high = rubric[name].low, rubric[name].high
        if not _is_whole(score) or not low <= score <= high:
            raise LabelError(f'the score for "{name}" is a whole number from {low} to {high}; got {score!r}')
    return {"scores": {name: scores[name] for name in rubric}}


def _read_ranks(_: Campaign, item: Item, given: Value) -> dict[str, Any]:
    ranks, ids = _pairs(given["ranks"]), item.answer_ids()
    named = [id for id, _ in ranks]
    if twice := {id for id in named if named.count(id) > 1}:
        places = "; ".join(f"{id} at {' and '.join(str(r) for i, r in ranks if i == id)}" for id in sorted(twice))
        raise LabelError(f"the ranking contradicts itself: an answer stands at two places ({places})")
    if unknown := sorted(set(named) - set(ids)):
        raise LabelError(f"no answer of this item is called {', '.join(unknown)}; its answers are {', '.join(ids)}")
    if missing := [id for id in ids if id not in named]:
        raise LabelError(f"the ranking leaves out {', '.join(missing)}: give every answer a rank, equal ones for a tie")
    by_id = dict(ranks)
    return {"ranks": dense_ranks([by_id[id] for id in ids])}


def _pairs(value: Any) -> list[tuple[str, Any]]:
    """From `{id: rank}` or `[[id, rank], ...]`: only the latter can name an answer twice, and be told so."""
    if isinstance(value, Mapping):
        return [(str(id), rank) for id, rank in value.items()]
    if isinstance(value, list | tuple) and all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in value):
        return [(str(id), rank) for id, rank in value]
    raise LabelError('"ranks" maps each answer\'s id to its rank')


def dense_ranks(ranks: Sequence[Any]) -> list[int]:
    """Ranks without gaps: (1, 1, 3) -> [1, 1, 2].  Refuses what is no ranking: (2, 3), (1, 4), (0, 1), (1.5, 2)."""
    if not all(_is_whole(rank) and rank >= 1 for rank in ranks):
        raise LabelError(f"ranks are whole numbers from 1, the best; got {', '.join(map(repr, ranks))}")
    levels = sorted(set(ranks))
    is_dense = levels == list(range(1, len(levels) + 1))
    is_competition = all(level == 1 + sum(rank < level for rank in ranks) for level in levels)
    if not is_dense and not is_competition:
        raise LabelError(f"these are no ranks, places are left empty: {', '.join(map(str, ranks))}")
    return [levels.index(rank) + 1 for rank in ranks]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


Reader = Callable[[Campaign, Item, Value], dict[str, Any]]
# kind -> (key that must be there, keys that may, how it is read)
FORMS: dict[str, tuple[str, tuple[str, ...], Reader]] = {
    "demonstration": ("text", (), _read_text),
    "edit": ("text", (), _read_edit),
    "thumbs": ("is_good", ("better",), _read_thumb),
    "rating": ("scores", (), _read_scores),
    "ranking": ("ranks", (), _read_ranks),
}


def is_same_verdict(first: Value, second: Value) -> bool:
    """Whether two stored labels of one item judge alike; a better text beside a thumb is not a verdict."""
    return {k: v for k, v in first.items() if k != "better"} == {k: v for k, v in second.items() if k != "better"}


def passes(value: Value, known: Value) -> bool:
    """Whether a label answers a test question: every order the known ranking states is kept, every score within one."""
    if "ranks" in known:
        pairs = _ordered_pairs(known["ranks"])
        return all(value["ranks"][i] < value["ranks"][j] for i, j in pairs)
    if "scores" in known:
        return all(abs(value["scores"][name] - score) <= 1 for name, score in known["scores"].items())
    return bool(value["is_good"] == known["is_good"])


def _ordered_pairs(ranks: Sequence[int]) -> list[tuple[int, int]]:
    return [(i, j) for i in range(len(ranks)) for j in range(len(ranks)) if ranks[i] < ranks[j]]


def likeness(first: Value, second: Value) -> float:
    """How alike two stored labels of one item are, 0 to 1: pairs of answers put in the same order, equal scores, the
    same thumb."""
    if "ranks" in first:
        a, b = first["ranks"], second["ranks"]
        pairs = [(i, j) for i in range(len(a)) for j in range(i)]
        return sum(_order(a[i], a[j]) == _order(b[i], b[j]) for i, j in pairs) / len(pairs)
    if "scores" in first:
        same = [first["scores"][name] == second["scores"].get(name) for name in first["scores"]]
        return sum(same) / len(same)
    return float(is_same_verdict(first, second))


def _order(a: int, b: int) -> int:
    return (a > b) - (a < b)
