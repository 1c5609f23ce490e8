"""From a task's records to what is asked: prompts filled in, examples put before them, a fair sample drawn.

An item whose question holds its own answer measures copying.  What counts as given away:
  answers   (exact, normalised) a right answer of at least `MIN_GIVEN_AWAY` characters stands in the question as words
  choices   the right option does, and no other does; not where the options are the same for all (labels such as "good"
            may well occur in a review), nor where the question lists them
Such items are refused unless the task says to skip or allow them: reading comprehension allows them, a quiz does not.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from glasshouse.core.errors import DataError
from glasshouse.core.seeds import python_random
from glasshouse.evals.data import Record
from glasshouse.evals.item import Item, as_chat
from glasshouse.evals.kinds import answers, choices, pairs, text
from glasshouse.evals.language_model import Prompt
from glasshouse.evals.task import Task, TaskConfig
from glasshouse.evals.template import fill, fill_blank, look_up, text_of

MIN_GIVEN_AWAY = 4


@dataclass(frozen=True, slots=True)
class Prepared:
    """The items of a task; the same ones as each control asks them; how many were left out, and why."""

    items: list[Item]
    controls: dict[str, list[Item]]
    n_given_away: int = 0
    n_faulty: int = 0


def prepare(task: Task) -> Prepared:
    """Every item of a task, or `DataError` with the record that cannot be used."""
    records = task.records()
    if not records:
        where = f" where {dict(task.config.data.where)}" if task.config.data.where else ""
        raise DataError(f"task {task.name}: there are no items{where} in {_place(task)}")
    drawn = draw(records, task.config)
    maker = _Maker(task, records)
    items = []
    for number in drawn:
        try:
            items.append(maker.item(number, records[number]))
        except DataError:
            if task.config.faulty == "refuse":
                raise
    kept, n_given_away = _checked(task, items)
    if not kept:
        raise DataError(
            f"task {task.name}: there are no items left of {len(drawn)}: {len(drawn) - len(items)} records are faulty, "
            f"{n_given_away} questions give their answer away"
        )
    controls: dict[str, list[Item]] = {
        control: [maker.item(item.number, records[item.number], control) for item in kept]
        for control in task.config.controls
    }
    return Prepared(kept, controls, n_given_away, len(drawn) - len(items))


def draw(records: Sequence[Record], config: TaskConfig) -> list[int]:
    """Numbers of at most `limit` records; every group keeps its share, and the order stays."""
    if config.limit is None or config.limit >= len(records):
        return list(range(len(records)))
    random = python_random(config.seed, "items")
    groups: dict[str, list[int]] = {}
    for number, record in enumerate(records):
        groups.setdefault(text_of(look_up(record, config.group_by)) if config.group_by else "", []).append(number)
    ranked: list[tuple[float, int]] = []
    for members in groups.values():
        random.shuffle(members)
        # The i-th of m members gets the rank (i + u) / m: the lowest ranks take every group in proportion.
        ranked += [((i + random.random()) / len(members), number) for i, number in enumerate(members)]
    return sorted(number for _, number in sorted(ranked)[: config.limit])


class _Maker:
    """Makes items of one task.  Its examples are drawn once, one more than needed: an item is never its own example."""

    def __init__(self, task: Task, records: Sequence[Record]) -> None:
        self._task, self._config = task, task.config
        self._examples: list[tuple[int | None, str, str]] = []
        if (wanted := task.config.examples) is None:
            return
        pool = task.example_records()
        is_own = pool is None
        pool = list(records) if pool is None else pool
        n = wanted.n + is_own
        if len(pool) < n:
            raise DataError(
                f"task {task.name}: {n} examples are wanted, and there are {len(pool)} records to take them from"
            )
        for number in python_random(wanted.seed, "examples").sample(range(len(pool)), n):
            question, answer = self._solved(pool[number], number)
            self._examples.append((number if is_own else None, question, answer))

    def item(self, number: int, record: Record, control: str | None = None) -> Item:
        try:
            return self._item(number, record, control)
        except DataError as error:
            raise DataError(f"task {self._task.name}, record {number}: {error}") from None

    def _item(self, number: int, record: Record, control: str | None) -> Item:
        config = self._config
        base = Item(number, "", group=_field(record, config.group_by), unit=_field(record, config.unit) or str(number))
        if config.pairs is not None:
            return replace(base, options=pairs.options_of(config.pairs, record), right=0)
        if config.text is not None:
            return replace(base, prompt=text.text_of_record(config.text, record))
        if config.answers is not None:
            question = self._question(record, control)
            right = answers.answers_of(config.answers, record)
            return replace(base, prompt=self._prompt(number, question), question=question, answers=right)
        options, place, shown, letters = self._options(number, record, control)
        question = self._question(record, control, shown)
        return replace(
            base, prompt=self._prompt(number, question), question=question, options=letters or options, right=place
        )

    def _options(
        self, number: int, record: Record, control: str | None = None
    ) -> tuple[tuple[str, ...], int, str, tuple[str, ...]]:
        """(options, place of the right one, the list to be shown, letters where they are answered with)."""
        config = self._config.choices
        assert config is not None
        options = choices.options_of(config, record)
        place = choices.right_of(config, record, options)
        if control == "shuffled_options":
            options, place = choices.shuffled(options, place, self._config.seed, number)
        shown, letters = choices.lettered(options)
        return options, place, shown, letters if config.shows_letters else ()

    def _question(self, record: Record, control: str | None = None, shown: str = "") -> str:
        if control == "empty_question":
            return fill_blank(self._config.prompt, {"options": shown})
        return fill(self._config.prompt, {**record, "options": shown} if shown else record)

    def _solved(self, record: Record, number: int) -> tuple[str, str]:
        """An example's question and its answer, which begins as answers do."""
        config = self._config
        if config.answers is not None:
            prefix = "" if config.chat else config.answers.prefix
            return self._question(record), prefix + answers.example_answer(config.answers, record)
        options, place, shown, letters = self._options(number, record)
        return self._question(record, None, shown), (letters or options)[place]

    def _prompt(self, number: int, question: str) -> Prompt:
        config = self._config
        n = config.examples.n if config.examples else 0
        examples = [(q, a) for own, q, a in self._examples if own != number][:n]
        if config.chat:
            return as_chat([(q, a.strip()) for q, a in examples], question, config.system)
        separator = config.examples.separator if config.examples else ""
        return "".join(q + a + separator for q, a in examples) + question


def _field(record: Record, name: str | None) -> str:
    return "" if name is None else text_of(look_up(record, name))


def _place(task: Task) -> str:
    return ", ".join(map(str, task.files)) or str(task.config.data.path)


# ---- items that give their answer away -------------------------------------------------------------------------------


def _checked(task: Task, items: list[Item]) -> tuple[list[Item], int]:
    config = task.config
    if config.answer_in_prompt == "allow":
        return items, 0
    given = [item for item in items if gives_away(item, config)]
    if given and config.answer_in_prompt == "refuse":
        first = given[0]
        answer = next(iter(first.answers), "") if first.answers else first.options[first.right or 0]
        raise DataError(
            f"task {task.name}: {len(given)} of {len(items)} questions hold their own answer; the first is record "
            f"{first.number}, where {answer.strip()[:60]!r} stands in {first.question[:200]!r}. Such an item measures "
            'copying. Mend the data, or write answer_in_prompt = "skip" (leave them out) or "allow" (it is meant so).'
        )
    numbers = {item.number for item in given}
    return [item for item in items if item.number not in numbers], len(given)


def gives_away(item: Item, config: TaskConfig) -> bool:
    if config.answers is not None:
        is_text = set(config.answers.scorers) & {"exact", "normalised"}
        return bool(is_text) and any(_stands_in(answer, item.question) for answer in item.answers)
    if config.choices is None or config.choices.shows_letters or _has_labels(config):
        return False
    found = [_stands_in(option, item.question) for option in item.options]
    return found[item.right or 0] and sum(found) == 1


def _has_labels(config: TaskConfig) -> bool:
    """The options are the same for every item."""
    assert config.choices is not None
    return bool(config.choices.texts) and not any("{" in t for t in config.choices.texts)


def _stands_in(answer: str, question: str) -> bool:
    answer = answer.strip()
    if len(answer) < MIN_GIVEN_AWAY:
        return False
    return re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", question, re.IGNORECASE) is not None
