"""The parts of `glass label`: their arguments.  What they do is in `labelling`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from glasshouse.cli.options import CampaignName, Host, ItemId, Port, Texts

label_app = App(name="label", help="Have people judge answers: open the page of a campaign, or do its work from here.")
Place = Annotated[
    str | None,
    Parameter(name="--store", help="Where labels are kept: a file, or postgresql://...; by default the studio's own."),
]
By = Annotated[str, Parameter(name="--by", help="The annotator's name.")]
Role = Literal["annotator", "reviewer", "owner"]
Kind = Literal["demonstration", "ranking", "thumbs", "rating", "edit"]


@label_app.default
def open_(name: CampaignName, *, port: Port = None, host: Host = None, store: Place = None) -> None:
    """Open the page of a campaign, where people label."""
    from glasshouse.cli.labelling import open_page

    open_page(store, name, {"port": port, "host": host})


@label_app.command
def create(
    name: str,
    *,
    kind: Kind,
    items: Path | None = None,
    guidelines: Path | None = None,
    model: Texts = (),
    answers: int | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    overlap: float | None = None,
    people: int | None = None,
    tests: float | None = None,
    rubric: Texts = (),
    seed: int | None = None,
    store: Place = None,
) -> None:
    """Begin a campaign.

    Parameters
    ----------
    name
        Its name: small letters, digits, dots and dashes.
    kind
        What people do: write a demonstration, give a ranking or thumbs, a rating by rubric, or edit an answer.
    items
        A JSON or JSONL file of prompts, with or without answers; more can be added later.
    guidelines
        A Markdown file that says how to judge.
    model
        A checkpoint that answers the prompts that come without answers, at once; may be repeated.
    answers
        How many answers each model gives to such a prompt; by default 2.
    temperature
        Of these answers; by default 0.7.
    max_tokens
        Of one of them; by default 256.
    overlap
        Share of the prompts that several people judge, so that their agreement is known; by default 0.2.
    people
        How many people judge each of those; by default 2.
    tests
        Share of test questions (items with a known answer) among what a person is given; by default 0.1.
    rubric
        A criterion of a rating, like helpful=1-5 or "helpful=1-5:Does it help?"; may be repeated.
    seed
        Seed of the order of answers and of what overlaps.
    """
    from glasshouse.cli import labelling

    text = None if guidelines is None else labelling.read_text(guidelines)
    settings = {
        "name": name, "kind": kind, "models": model, "n_answers": answers, "temperature": temperature,
        "max_tokens": max_tokens, "overlap": overlap, "n_overlap": people,
        "test_share": tests, "seed": seed, "guidelines": text,
    }  # fmt: skip
    labelling.create(labelling.open_store(store), settings, rubric, items)


@label_app.command
def add(name: CampaignName, path: Path, *, store: Place = None) -> None:
    """Add prompts to a campaign; those that are there already are not added twice.

    Parameters
    ----------
    path
        JSON or JSONL: {"prompt", "answers": [...], "known": the right label of a test question}.
    """
    from glasshouse.cli import labelling

    labelling.add(labelling.open_store(store), name, path)


@label_app.command
def sample(
    name: CampaignName,
    *,
    model: Texts = (),
    answers: int | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    seed: int | None = None,
    store: Place = None,
) -> None:
    """Let models answer the prompts of a campaign that wait for answers; who gave which is kept, and never shown.

    Parameters
    ----------
    model
        A run, a checkpoint folder or a model of the Hub, in place of those the campaign names; may be repeated.
    answers
        How many answers each model gives to a prompt; by default as the campaign says.
    temperature
        Of these answers; by default as the campaign says.
    max_tokens
        Of one of them; by default as the campaign says.
    seed
        Seed of the sampling; by default the campaign's.
    """
    from glasshouse.cli import labelling

    settings = {
        "models": model or None, "n_answers": answers, "temperature": temperature, "max_tokens": max_tokens,
        "seed": seed,
    }  # fmt: skip
    labelling.sample(labelling.open_store(store), name, settings)


@label_app.command
def guidelines(name: CampaignName, path: Path | None = None, *, store: Place = None) -> None:
    """Give a campaign a new version of its guidelines, or print the newest.

    Parameters
    ----------
    path
        A Markdown file; without one, the guidelines are printed.
    """
    from glasshouse.cli import labelling

    labelling.guidelines(labelling.open_store(store), name, path)


@label_app.command
def annotator(
    name: str, *, role: Role | None = None, new_key: bool = False, revoke: bool = False, store: Place = None
) -> None:
    """Add somebody who labels; the key that opens the page to them is shown once.

    Parameters
    ----------
    name
        Their name.
    role
        What they may do: an annotator labels, a reviewer also decides where people differ, the owner also takes the
        labels out. By default the first is the owner, others are annotators. Of somebody who is there: it is changed.
    new_key
        Make another key for somebody who is there; the old one opens nothing any more.
    revoke
        Refuse their key from now on.
    """
    from glasshouse.cli import labelling

    labelling.annotator(labelling.open_store(store), name, role, new_key, revoke)


@label_app.command(name="list")
def list_(*, store: Place = None) -> None:
    """List the campaigns."""
    from glasshouse.cli import labelling

    labelling.list_campaigns(labelling.open_store(store))


@label_app.command(name="next")
def next_(name: CampaignName, *, by: By, json: bool = False, store: Place = None) -> None:
    """Show what an annotator is to judge now; the same again until it is submitted, skipped or flagged.

    Parameters
    ----------
    json
        Print it for a program.
    """
    from glasshouse.cli import labelling

    labelling.show_next(labelling.open_store(store), name, by, json)


@label_app.command
def submit(
    name: CampaignName,
    item: ItemId,
    said: str,
    *,
    by: By,
    id: str | None = None,
    seconds: float | None = None,
    replaces: str | None = None,
    store: Place = None,
) -> None:
    """Label an item.

    Parameters
    ----------
    said
        A ranking like 'B>A=C', good or bad, scores like helpful=4,safe=5, a text or @FILE, or JSON.
    id
        The submission's id: the same sent twice is stored once. By default a new one.
    seconds
        How long it took.
    replaces
        The id of the annotator's own submission that this one corrects.
    """
    from glasshouse.cli import labelling

    labelling.submit(labelling.open_store(store), name, item, said, by, id, seconds, replaces)


@label_app.command
def skip(name: CampaignName, item: ItemId, *, by: By, store: Place = None) -> None:
    """Leave an item to others."""
    from glasshouse.cli import labelling

    labelling.skip(labelling.open_store(store), name, item, by)


@label_app.command
def flag(name: CampaignName, item: ItemId, reason: str, *, by: By, store: Place = None) -> None:
    """Say that something is wrong with an item; a reviewer looks at it.

    Parameters
    ----------
    reason
        What is wrong with it.
    """
    from glasshouse.cli import labelling

    labelling.flag(labelling.open_store(store), name, item, reason, by)


@label_app.command
def review(name: CampaignName, *, store: Place = None) -> None:
    """Show what people judged differently, and what they flagged."""
    from glasshouse.cli import labelling

    labelling.review(labelling.open_store(store), name)


@label_app.command
def decide(name: CampaignName, item: ItemId, said: str, *, by: By, store: Place = None) -> None:
    """Decide an item as its reviewer: this label alone is exported for it.

    Parameters
    ----------
    said
        The label, as for glass label submit.
    """
    from glasshouse.cli import labelling

    labelling.decide(labelling.open_store(store), name, item, said, by)


@label_app.command
def progress(name: CampaignName, *, store: Place = None) -> None:
    """Show how far a campaign is, and how long a label takes."""
    from glasshouse.cli import labelling

    labelling.progress(labelling.open_store(store), name)


@label_app.command
def agreement(name: CampaignName, *, store: Place = None) -> None:
    """Show whether people agree: Krippendorff's alpha, each person against the others, test questions."""
    from glasshouse.cli import labelling

    labelling.agreement(labelling.open_store(store), name)


@label_app.command
def export(name: CampaignName, path: Path, *, pairs: bool = False, store: Place = None) -> None:
    """Write the labels as JSON lines that training (TRL's too) reads.

    Parameters
    ----------
    path
        The file to write.
    pairs
        Write preferences alone: rankings are taken apart into pairs.
    """
    from glasshouse.cli import labelling

    labelling.export(labelling.open_store(store), name, path, pairs)


@label_app.command(name="import")
def import_(name: CampaignName, path: Path, *, by: By, store: Place = None) -> None:
    """Read labels that were given elsewhere, with their prompts; the same file read twice adds nothing.

    Parameters
    ----------
    path
        JSON or JSONL in any of the usual forms: prompt, chosen, rejected; prompt, answers, ranks; messages; and others.
    """
    from glasshouse.cli import labelling

    labelling.import_labels(labelling.open_store(store), name, path, by)
