"""What the tests of this folder label, and when."""

from glasshouse.core.records import Message
from glasshouse.feedback import Candidate, Item, Task


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def question(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


def ranking_items(n: int, n_answers: int = 3) -> list[Item]:
    """Prompts q0, q1, ... with answers q0-a0, q0-a1, ... of the models m0, m1, ..."""
    return [
        Item(question(f"q{i}"), tuple(Candidate(f"q{i}-a{k}", f"m{k}") for k in range(n_answers))) for i in range(n)
    ]


def one_answer_items(n: int) -> list[Item]:
    return ranking_items(n, n_answers=1)


def ranks(item: Item | Task, *places: int) -> dict[str, dict[str, int]]:
    """A label that gives the answers a0, a1, ... these places."""
    ids = {answer.text: answer.id for answer in item.answers} if isinstance(item, Task) else dict(
        zip([candidate.text for candidate in item.candidates], item.answer_ids())
    )  # fmt: skip
    return {"ranks": {ids[text]: place for text, place in zip(sorted(ids), places)}}
