"""The verb `label`: what its parts do, printed for a person, or as JSON for a program.

Answers stand under letters, shuffled for each annotator as on the page; a label is said in these letters: `B>A=C`.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from rich.console import Console
from rich.table import Table

from glasshouse.cli.talk import printable
from glasshouse.core.config import parse_config
from glasshouse.core.errors import ConfigError, DataError
from glasshouse.core.records import Preference, Ranking, Score
from glasshouse.core.terminal import Terminal, format_seconds
from glasshouse.feedback import (
    Campaign,
    Item,
    Task,
    preferences_of,
    read_demonstrations,
    read_items,
    read_preferences,
    read_rankings,
    read_thumbs,
    write_records,
)  # fmt: skip
from glasshouse.feedback.people import Role
from glasshouse.feedback.records import Record
from glasshouse.feedback.store import FeedbackStore, default_place

READERS: dict[str, Callable[..., Iterator[Record]]] = {
    "demonstration": read_demonstrations, "ranking": read_rankings, "thumbs": read_thumbs, "edit": read_preferences,
}  # fmt: skip


def open_store(place: str | None) -> FeedbackStore:
    return FeedbackStore(place or default_place())


def create(store: FeedbackStore, settings: Mapping[str, Any], rubric: Sequence[str], items: Path | None) -> None:
    """`rubric` as `helpful=1-5` or `helpful=1-5:How helpful is the answer?`."""
    given = {key: value for key, value in settings.items() if value is not None}
    campaign = parse_config(Campaign, {**given, "rubric": [_criterion(line) for line in rubric]})
    found = [] if items is None else _items(items)
    _check_models(campaign.models)
    store.create_campaign(campaign, found)
    _say("campaign", f"{campaign.name}: {campaign.kind}, {len(found)} prompts")
    if campaign.models and found:
        sample(store, campaign.name, {})
    _say("", f"next: glass label {f'add {campaign.name} FILE' if not found else campaign.name}")


def sample(store: FeedbackStore, name: str, settings: Mapping[str, Any]) -> None:
    """`settings` that are not None stand in for the campaign's own."""
    given = {key: value for key, value in settings.items() if value is not None}
    campaign = parse_config(Campaign, {**store.campaign(name).model_dump(), **given})
    _check_models(campaign.models)
    from glasshouse.run.campaign_answers import sample_for_campaign

    found = sample_for_campaign(store, campaign, Terminal())
    _say("answers", f"{found.n_answers} different ones to {found.n_answered} prompts of {name}")
    if found.n_waiting:
        _warn(
            f"{found.n_waiting} prompts still wait: the models said the same each time or nothing, or the prompt is "
            "too long for them. Raise --temperature or --answers, or add answers to them"
        )


def _check_models(models: Sequence[str]) -> None:
    """Names that lead nowhere are refused before anything is stored."""
    if models:
        from glasshouse.infer.location import locate

        for model in models:
            locate(model)


def _criterion(line: str) -> dict[str, Any]:
    name, _, rest = line.partition("=")
    scale, _, question = rest.partition(":")
    low, _, high = scale.partition("-")
    if not (name and low.strip().isdigit() and high.strip().isdigit()):
        raise ConfigError(f"a criterion is written like helpful=1-5 or helpful=1-5:Does it help?; got {line!r}")
    return {"name": name.strip(), "question": question.strip(), "low": int(low), "high": int(high)}


def add(store: FeedbackStore, name: str, path: Path) -> None:
    before = store.progress(name)
    store.add_items(name, _items(path))
    after = store.progress(name)
    n_new = after.n_items + after.n_tests - before.n_items - before.n_tests
    _say("added", f"{n_new} prompts to {name}; it has {after.n_items}, and {after.n_tests} test questions")
    if after.n_waiting:
        _warn(f"{after.n_waiting} wait for answers, and nobody is given them before. Sample some: glass label sample "
              f"{name}")  # fmt: skip


def _items(path: Path) -> list[Item]:
    return list(read_items(path, lambda line, reason: _warn(f"{path}:{line}: left out: {reason}")))


def guidelines(store: FeedbackStore, name: str, path: Path | None) -> None:
    if path is None:
        _console().print(printable(store.guidelines(name)), markup=False)
        return
    version = store.add_guidelines(name, read_text(path))
    _say("guidelines", f"version {version} of {name}; labels from now on are given under it")


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def annotator(store: FeedbackStore, name: str, role: Role | None, is_new_key: bool, is_revoked: bool) -> None:
    if is_revoked:
        store.revoke_annotator(name)
        _say("annotator", f"the key of {name} is refused from now on; the labels stay")
        return
    is_there = any(one.name == name for one in store.annotators())
    if role is not None and is_there:
        store.set_role(name, role)
        _say("annotator", f"{name} is {role} from now on")
        if not is_new_key:
            return
    key = store.new_key(name) if is_new_key else store.add_annotator(name, role)
    _say("annotator", f"{name}, {store.role_of(name)}. The key is shown this once and stored nowhere:\n")
    _console().print(key, markup=False)


def list_campaigns(store: FeedbackStore) -> None:
    found = [(campaign, store.progress(campaign.name)) for campaign in store.campaigns()]
    if not found:
        _console().print("there are no campaigns. Begin one: glass label create NAME --kind ranking")
        return
    rows = [(c.name, c.kind, f"{p.n_done} of {p.n_items}", p.n_labels, p.n_disagreements, p.n_flags) for c, p in found]
    _table(("campaign", "kind", "done", "labels", "disagreements", "flags"), rows)


# Labelling without the page


def show_next(store: FeedbackStore, name: str, who: str, is_json: bool) -> None:
    task = store.next_item(name, who)
    if is_json:
        _console().print(json.dumps(None if task is None else _task_json(task), ensure_ascii=True), markup=False)
    elif task is None:
        _say("done", f"nothing is left for {who} in {name}")
    else:
        _print_task(task)


def _task_json(task: Task) -> dict[str, Any]:
    return asdict(task) | {"rubric": [criterion.model_dump() for criterion in task.rubric]}


def _print_task(task: Task) -> None:
    console = _console()
    _say("item", f"{task.item_id}   (guidelines version {task.guidelines_version})")
    for message in task.prompt:
        console.print(f"\n{message.role}:", style="bold")
        console.print(printable(message.content), markup=False)
    for letter, answer in zip(ascii_uppercase, task.answers):
        console.print(f"\n{letter}:", style="bold green")
        console.print(printable(answer.text), markup=False)
    for criterion in task.rubric:
        console.print(f"{criterion.name}, {criterion.low} to {criterion.high}: {criterion.question}", markup=False)
    console.print(f"\nglass label submit {task.campaign} {task.item_id} {HOW[task.kind]} --by NAME", markup=False)


HOW = {
    "ranking": "'B>A=C'", "thumbs": "good|bad", "rating": "'helpful=4,safe=5'", "demonstration": "TEXT|@FILE",
    "edit": "TEXT|@FILE",
}  # fmt: skip


def submit(
    store: FeedbackStore, name: str, item: str, said: str, who: str, id: str | None, seconds: float | None,
    replaces: str | None,
) -> None:  # fmt: skip
    label = parse_said(store.task_of(name, who, item), said)
    receipt = store.submit(name, who, item, id or uuid.uuid4().hex, label, seconds, replaces)
    state = "was stored before" if receipt.is_repeat else "stored"
    _say("label", f"{state} as {receipt.submission_id}, under guidelines version {receipt.guidelines_version}")


def decide(store: FeedbackStore, name: str, item: str, said: str, who: str) -> None:
    store.adjudicate(name, item, parse_said(store.task_of(name, who, item), said), who)
    _say("decided", f"this stands for {item} in what is exported")


def skip(store: FeedbackStore, name: str, item: str, who: str) -> None:
    store.skip(name, who, item, uuid.uuid4().hex)
    _say("skipped", f"{item} is left to others")


def flag(store: FeedbackStore, name: str, item: str, reason: str, who: str) -> None:
    store.flag(name, who, item, uuid.uuid4().hex, reason)
    _say("flagged", f"{item} is left to the reviewer")


def parse_said(task: Task, said: str) -> Any:
    """A label as the store takes it, from JSON or from what a person would write."""
    if said.lstrip().startswith("{"):
        try:
            return json.loads(said)
        except ValueError as error:
            raise DataError(f"the label is not valid JSON: {error}") from None
    if task.kind == "ranking":
        return {"ranks": _ranks(task, said)}
    if task.kind == "thumbs":
        if said not in ("good", "bad"):
            raise DataError(f"a thumb is good or bad; got {said!r}")
        return {"is_good": said == "good"}
    if task.kind == "rating":
        return {"scores": dict(map(_score, said.split(",")))}
    return {"text": read_text(Path(said[1:])) if said.startswith("@") else said}


def _ranks(task: Task, said: str) -> list[tuple[str, int]]:
    """`B>A=C` -> B is first, A and C second.  Pairs, so that a letter written twice is told, not overwritten."""
    ids = {letter: answer.id for letter, answer in zip(ascii_uppercase, task.answers)}
    ranks = []
    for place, tied in enumerate(said.upper().replace(" ", "").split(">"), 1):
        for letter in tied.split("="):
            if letter not in ids:
                raise DataError(f"a ranking is written in the letters {', '.join(ids)}, like B>A=C; got {said!r}")
            ranks.append((ids[letter], place))
    return ranks


def _score(part: str) -> tuple[str, int]:
    name, _, score = part.partition("=")
    if not score.strip().lstrip("-").isdigit():
        raise DataError(f"scores are written like helpful=4,safe=5; got {part!r}")
    return name.strip(), int(score)


# What came of it


def progress(store: FeedbackStore, name: str) -> None:
    found = store.progress(name)
    _say("items", f"{found.n_done} of {found.n_items} done; {found.n_waiting} wait for answers; {found.n_tests} tests")
    _say("labels", f"{found.n_labels} of {found.n_wanted}; {_time(found.median_seconds)} for one")
    _say("review", f"{found.n_disagreements} disagreements, {found.n_flags} flags")
    rows = [(a.name, a.n_labels, a.n_skips, a.n_flags, _time(a.median_seconds)) for a in found.annotators]
    _table(("annotator", "labels", "skips", "flags", "time for one"), rows)


def _time(seconds: float | None) -> str:
    return "unknown time" if seconds is None else format_seconds(seconds)


def agreement(store: FeedbackStore, name: str) -> None:
    found = store.agreement(name)
    for score in found.alphas:
        _say(score.name, f"Krippendorff's {'' if score.name == 'alpha' else 'alpha '}{_interval(score)}, "
                         f"{found.n_items} items judged by two or more")  # fmt: skip
    if found.note:
        _say("agreement", found.note)
    rows = [(a.name, a.n_labels, _interval(a.with_others), _interval(a.tests)) for a in found.annotators]
    _table(("annotator", "labels", "like the others", "test questions"), rows)


def _interval(score: Score | None) -> str:
    return "" if score is None else f"{score.value:.2f} [{score.low:.2f}, {score.high:.2f}]"


def review(store: FeedbackStore, name: str) -> None:
    for split in store.disagreements(name):
        _say("split", f"{split.item.id}   {printable(split.item.prompt[-1].content)[:80]}")
        for label in split.labels:
            _console().print(f"    {label.annotator}: {printable(json.dumps(label.value))[:200]}", markup=False)
    for flag in store.flags(name):
        _say("flag", f"{flag.item.id}   {flag.annotator}: {printable(flag.reason)}")
    _say("", f"decide with: glass label decide {name} ITEM LABEL --by NAME")


def export(store: FeedbackStore, name: str, path: Path, is_pairs: bool) -> None:
    records = store.export(name)
    written = _pairs(records) if is_pairs else records
    if not written:
        raise DataError(f"there is nothing to export from {name}: {len(store.labels(name))} labels so far")
    n_written = write_records(path, written)
    _say("exported", f"{n_written} records of {name} to {path}")


def _pairs(records: Sequence[Record]) -> list[Record]:
    """Preferences alone: rankings taken apart, thumbs and demonstrations left out."""
    pairs: list[Record] = [record for record in records if isinstance(record, Preference)]
    return pairs + [pair for record in records if isinstance(record, Ranking) for pair in preferences_of(record)]


def import_labels(store: FeedbackStore, name: str, path: Path, who: str) -> None:
    reader = READERS.get(store.campaign(name).kind)
    if reader is None:
        raise DataError(f"ratings are not read from files; label {name} on its page or with glass label submit")
    records = list(reader(path, lambda line, reason: _warn(f"{path}:{line}: left out: {reason}")))
    done = store.import_records(name, records, who, lambda number, why: _warn(f"record {number}: left out: {why}"))
    _say("imported", f"{done.n_labels} labels on {done.n_items} new items; {done.n_repeats} were there already; "
                     f"{done.n_refused} left out")  # fmt: skip


def open_page(place: str | None, name: str, options: Mapping[str, Any]) -> None:
    open_store(place).open_campaign(name)
    from glasshouse.serve.opening import open_labels

    open_labels(name, place or str(default_place()), options)


# Printing


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


def _say(name: str, text: str) -> None:
    Terminal().line(name, text)


def _warn(text: str) -> None:
    Terminal().warn("warning", printable(text))


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    table = Table(box=None, header_style="bold green")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(printable(str(cell)) for cell in row))
    if rows:
        _console().print(table)
