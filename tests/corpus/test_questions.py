"""Questions: facts by rule, and a split between training and evaluation that no example crosses."""

import itertools
import json
import random
import re
from hashlib import sha256

import pytest

from glasshouse.core.records import Conversation
from glasshouse.corpus import library as library_module
from glasshouse.corpus import wording
from glasshouse.corpus.library import NOT_BY_HEART, Fact, Library, summary_of
from glasshouse.corpus.library_names import (
    EVALUATED_MADE_UP,
    TRAINED_MADE_UP,
    MadeUpNames,
    is_for_evaluation,
    is_unrefused_function,
)
from glasshouse.corpus.phrasing import PairsOfWords, is_held_out, phrasings, spell_out
from glasshouse.corpus.questions import (
    HELD_OUT,
    QuestionConfig,
    evaluation_questions,
    is_refusal,
    made_up_way,
    refuse,
    training_conversations,
)

TEMPLATES = [template for tables in HELD_OUT.values() for table in tables.values() for template in table]
TRAINED = wording.by_kind(wording.TRAINED, "library")


@pytest.fixture(scope="module")
def library() -> Library:
    return Library.introspect()


@pytest.fixture(scope="module")
def trained(library: Library) -> list[Conversation]:
    return [conversation for epoch in range(3) for conversation in training_conversations(library, 0, epoch)]


def _asked(prompt: str, template: str) -> bool:
    pattern = re.escape(template).replace(r"\{name\}", r"[\w.]+")
    return re.search(rf"(^|\s){pattern}(\s|$)", prompt) is not None


def test_a_seed_means_the_same_conversations_for_good() -> None:
    """Checkpoints name the seed they were taught by.  The facts are fixed: the library differs between Pythons."""
    facts = [
        Fact(f"{module}.{verb}_{noun}", module, "function", f"{verb.title()} the {noun} of a {module}.",
             f"({noun}, how=None)", is_unique=module == "tree")
        for m, module in enumerate(("tree", "river", "lamp")) for v, verb in enumerate(("find", "cut", "join", "turn"))
        for n, noun in enumerate(("leaf", "end", "light", "water", "shade", "bank")) if (m + v + n) % 3 == 0
    ]  # fmt: skip
    small = Library(facts, frozenset(fact.name for fact in facts), ("and", "then", "so"))
    said = [c.to_json() for epoch in range(3) for c in training_conversations(small, 7, epoch)]
    asked = [[q.id, q.prompt, q.answers] for q in evaluation_questions(small, 7, 20)]
    assert sha256(json.dumps(said).encode()).hexdigest()[:16] == "2b4c40a15b8adbcc"
    assert sha256(json.dumps(asked).encode()).hexdigest()[:16] == "dbf5bed97519bc5a"


def test_two_thousand_names_are_taught_and_a_few_held_out(library: Library) -> None:
    assert len(library.taught) >= 2000
    assert 0.01 * len(library.facts) < len(library.held_out) < 0.06 * len(library.facts)
    names = {fact.name: fact for fact in library.facts}
    assert len(names) == len(library.facts)
    assert names["shutil.rmtree"] == Fact(
        "shutil.rmtree",
        "shutil",
        "function",
        "Recursively delete a directory tree.",
        names["shutil.rmtree"].signature,
        True,
    )
    assert names["len"].module == "builtins" and names["contextlib"].kind == "module"
    assert "asyncio.tasks.gather" not in names  # taught as asyncio.gather


def test_facts_are_short_plain_sentences(library: Library) -> None:
    for fact in library.facts:
        assert library_module.MIN_SUMMARY_CHARS <= len(fact.summary) <= library_module.MAX_SUMMARY_CHARS
        assert fact.summary.isascii() and fact.summary.endswith(".") and "\n" not in fact.summary
        assert not is_refusal(fact.summary)
        assert fact.signature is None or fact.signature.startswith("(")


def test_a_unique_name_has_one_module(library: Library) -> None:
    homes: dict[str, set[str]] = {}
    for fact in library.facts:
        homes.setdefault(fact.bare, set()).add(fact.module)
    assert all(len(homes[fact.bare]) == 1 for fact in library.asked["module"])


@pytest.mark.parametrize(
    ("docstring", "summary"),
    [
        ("Delete a tree.  Slowly.", "Delete a tree."),
        ("Delete a\n  whole tree", "Delete a whole tree."),
        ("rmtree(path) -> None\n\nDelete a tree.", "Delete a tree."),
        ("rmtree(path) -> None\nDelete a tree.", None),
        ("bind(x) -- Bind it to x.", "Bind it to x."),
        ("Handle names, e.g. these two. Not those.", "Handle names, e.g. these two."),
        ("Point(x, y)", None),
        ("Too short", None),
        ("long " * 40, None),
        ("Costs five € in all.", None),
        ("", None),
    ],
)
def test_summary_is_the_first_sentence(docstring: str, summary: str | None) -> None:
    def value() -> None: ...

    value.__doc__ = docstring
    assert summary_of(value) == summary


def test_training_is_the_same_for_a_seed_and_fresh_for_an_epoch(library: Library) -> None:
    def made_up(epoch: int) -> set[str]:
        conversations = training_conversations(library, 7, epoch)
        return {str(c.meta["name"]) for c in conversations if str(c.meta["kind"]).startswith("made_up")}

    assert training_conversations(library, 7, 1) == training_conversations(library, 7, 1)
    assert len(made_up(0) & made_up(1)) < 0.1 * len(made_up(0))


def test_evaluation_is_the_same_for_a_seed(library: Library) -> None:
    assert evaluation_questions(library, 3, 50) == evaluation_questions(library, 3, 50)
    assert evaluation_questions(library, 3, 50) != evaluation_questions(library, 4, 50)


def test_no_training_example_holds_a_held_out_phrasing(trained: list[Conversation]) -> None:
    prompts = [conversation.messages[0].content for conversation in trained]
    assert not any(_asked(prompt, template) for prompt in prompts for template in TEMPLATES)


def test_no_training_example_shares_most_pairs_of_words_with_a_held_out_phrasing(trained: list[Conversation]) -> None:
    """Counted here anew, in whole prompts with all their company, where the code looks at phrasings alone."""

    def pairs(words: list[str]) -> set[tuple[str, str]]:
        return set(itertools.pairwise(words))

    held_out = [pairs(re.findall(r"[\w']+", template.replace("{name}", "NAME").lower())) for template in TEMPLATES]
    n_alike = 0
    for conversation in trained:
        prompt = re.sub(
            r"[\w.]+\.\w+|" + re.escape(str(conversation.meta["name"])), "NAME", conversation.messages[0].content
        )
        found = pairs(re.findall(r"[\w']+", prompt.lower()))
        n_alike += any(len(own & found) > len(own) / 2 for own in held_out)
    assert n_alike <= len(trained) / 1000  # words of company make one by chance


def test_a_phrasing_like_a_held_out_one_is_known() -> None:
    pairs = PairsOfWords.of(["where do i find {name}", "{name} - meaning?"])
    assert pairs.are_in("Now tell me: where do I find it, that is {name}?")  # three pairs of four
    assert pairs.are_in("{name}, meaning") and not pairs.are_in("meaning {name}")
    assert not pairs.are_in("Where do I get {name}?") and not pairs.are_in("")


def test_no_set_of_held_out_phrasings_shares_one_with_another() -> None:
    assert len(set(TEMPLATES)) == len(TEMPLATES) and all(len(tables) == 3 for tables in HELD_OUT.values())
    assert sum(map(len, HELD_OUT["unseen"].values())) >= 12
    for held_out, tables in HELD_OUT.items():
        others = PairsOfWords.of(
            [t for name, each in HELD_OUT.items() if name != held_out for p in each.values() for t in p]
        )
        assert not any(others.are_in(template) for table in tables.values() for template in table)


def test_the_random_words_around_questions_are_no_names_but_everyday_words_and_no_cues(library: Library) -> None:
    assert len(library.prose) > 2000
    names = set(library.prose) & library.existing
    assert {"find", "list"} <= names and len(names) < 300  # everyday words that something has for a name
    assert all(name.islower() for name in names)
    assert not {"arguments", "import", "module", "Module", "explain"} & set(library.prose)
    assert library.prose.index("the") < 10 < library.prose.index("time")  # frequent ones first


def test_a_frame_stands_for_many_phrasings_and_leaves_no_bracket() -> None:
    rng = random.Random(0)
    for kind, frames in TRAINED.items():
        spelt = {spell_out(frame, rng) for frame in frames for _ in range(400)}
        assert len(spelt) > 200, kind
        spelt = {text.replace("{name}(...)", "{name}") for text in spelt}  # as people write it
        assert all(text.count("{name}") == 1 and not set("|()<>") & set(text) for text in spelt)
    for frame in wording.for_subject(wording.STATEMENTS, "library"):
        assert all(
            text.count("{name}") == 1 and not set("|()<>") & set(text)
            for text in {spell_out(frame, rng) for _ in range(50)}
        )
    assert spell_out("(a|b)(c|)", random.Random(1)) in {"ac", "a", "bc", "b"}


@pytest.mark.parametrize("held_out", HELD_OUT)
def test_every_evaluation_question_is_in_a_held_out_phrasing(library: Library, held_out: str) -> None:
    for question in evaluation_questions(library, 0, 200, held_out):
        kind, number = question.phrasing.split("/")
        assert _asked(question.prompt, HELD_OUT[held_out][kind][int(number)])


def test_a_question_is_put_in_every_form(library: Library) -> None:
    """By itself, in cues, beside a statement that holds the name in the question's stead; the name once each time."""
    form, rng = phrasings("library", library.prose, library.everyday), random.Random(0)
    composed = [form.compose(kind, rng) for kind in TRAINED for _ in range(700)]
    assert all(phrasing.count("{name}") == 1 for phrasing in composed)
    assert len({re.sub(r"\W+", " ", phrasing) for phrasing in composed}) > 0.8 * len(composed)
    prompts = {kind: [form.ask(kind, "frob_nicate", rng) for _ in range(300)] for kind in TRAINED}
    assert all("frob_nicate" in prompt and "{" not in prompt for asked in prompts.values() for prompt in asked)
    places = [prompt.index("frob_nicate") / len(prompt) for asked in prompts.values() for prompt in asked]
    assert min(sum(lower <= place < lower + 0.25 for place in places) for lower in (0, 0.25, 0.5)) > 0.1 * len(places)


def test_a_signature_that_is_not_taught_is_said_not_to_be_known(library: Library, trained: list[Conversation]) -> None:
    asked = [q for q in evaluation_questions(library, 0) if q.kind == "unrecited"]
    assert len(asked) > 300 and all(answer.endswith(NOT_BY_HEART) for q in asked for answer in q.answers)
    taught = {c.meta["name"] for c in trained if c.meta["kind"] == "unrecited"}
    assert len(taught) > 200 and taught <= {q.name for q in asked}
    assert not taught & {fact.name for fact in library.asked["signature"]}
    # Of a made-up name it would say too much, so that it is no refusal.
    assert not is_refusal(library.asked["unrecited"][0].answer("unrecited"))


def test_made_up_names_do_not_exist_and_never_cross(library: Library, trained: list[Conversation]) -> None:
    in_training = {str(c.meta["name"]) for c in trained if str(c.meta["kind"]).startswith("made_up")}
    asked = [q for q in evaluation_questions(library, 0) if q.kind == "made_up"]
    in_evaluation = {question.name for question in asked}
    assert len(in_evaluation) == len(asked) > 900
    assert {made_up_way(question) for question in asked} == set(EVALUATED_MADE_UP)
    assert not in_training & in_evaluation
    assert not any(is_for_evaluation(name) for name in in_training)
    assert not (in_training | in_evaluation) & library.existing
    assert all(is_refusal(answer) for question in asked for answer in question.answers)


def test_made_up_names_hold_no_real_attribute(library: Library) -> None:
    modules = {fact.module for fact in library.facts}
    rng = random.Random(0)
    for name in (MadeUpNames(library, rng, is_for_evaluation=True).draw("pair") for _ in range(300)):
        module, _, key = name.rpartition(".")
        assert module in modules
        __import__(module)
        import sys

        assert not hasattr(sys.modules[module], key), name


def test_some_functions_are_never_refused_in_training(library: Library, trained: list[Conversation]) -> None:
    refused = [c for c in trained if str(c.meta["kind"]).startswith("made_up")]
    assert not any(is_unrefused_function(str(c.meta["name"]).rpartition(".")[2]) for c in refused)
    unseen = [q for q in evaluation_questions(library, 0) if made_up_way(q) == "pair_unseen"]
    assert len(unseen) > 100 and all(is_unrefused_function(q.name.rpartition(".")[2]) for q in unseen)


def test_held_out_names_are_never_trained(library: Library, trained: list[Conversation]) -> None:
    held_out = {fact.name for fact in library.held_out}
    assert all(is_held_out(name) for name in held_out)
    assert not held_out & {str(c.meta["name"]) for c in trained}
    mentioned = {name for name in held_out if "." in name for c in trained if f"{name}`" in c.messages[0].content}
    assert not mentioned
    assert {q.name for q in evaluation_questions(library, 0, 10) if q.kind == "held_out_name"} == held_out


def test_every_taught_name_is_asked_each_epoch_and_the_mix_is_kept(library: Library) -> None:
    conversations = training_conversations(library, 0, 0, QuestionConfig(signature=1.0, module=0.0, p_made_up=0.25))
    kinds = [str(c.meta["kind"]) for c in conversations]
    asked = {c.meta["name"] for c in conversations if c.meta["kind"] == "summary"}
    assert asked == {fact.name for fact in library.taught}
    assert kinds.count("signature") == len(library.asked["signature"]) and "module" not in kinds
    n_made_up = sum(kind.startswith("made_up") for kind in kinds)
    assert n_made_up == pytest.approx(0.25 * (len(kinds) - kinds.count("greeting")), abs=2)


@pytest.mark.parametrize("kind", [*TRAINED_MADE_UP, *EVALUATED_MADE_UP])
def test_each_kind_of_made_up_name_can_be_drawn(library: Library, kind: str) -> None:
    names = MadeUpNames(library, random.Random(1), is_for_evaluation=True)
    assert names.draw(kind) not in library.existing


def test_refusals_are_known_by_their_start(library: Library) -> None:
    assert refuse(library, "os.frobnicate") == "`frobnicate`: I do not know of it in the standard library."
    assert refuse(library, "json.rmtree") == (
        "`rmtree` is in shutil. I do not know of `json.rmtree` in the standard library."
    )
    assert refuse(library, "rmtree.shutil").startswith("`shutil` is a module. I do not know of `rmtree.shutil`")
    for name in ("os.frobnicate", "json.rmtree", "rmtree.shutil", "json.minidom"):
        assert is_refusal(refuse(library, name))
    assert not is_refusal("`rmtree` is in shutil. Recursively delete a directory tree.")
    assert not is_refusal("`rmtree` is in shutil. Delete what I do not know of.")
    assert not is_refusal("Parse a JSON document.")
    assert not is_refusal("`json.parse`: Parse what I do not know of.")


def test_every_answer_begins_with_the_name_and_where_it_lives(library: Library) -> None:
    facts = {fact.name: fact for fact in library.facts}
    assert facts["shutil.rmtree"].answer("module") == "`rmtree` is in shutil."
    assert facts["shutil.rmtree"].answer("summary") == "`rmtree` is in shutil. Recursively delete a directory tree."
    assert facts["gettext"].where == "`gettext` is a module."
    assert Fact("os.path", "os.path", "module", "").where == "`path` is a module in os."
    assert all(f.answer(kind).startswith(f.where) for kind, asked in library.asked.items() for f in asked)


def test_an_unknown_kind_of_question_is_refused(library: Library) -> None:
    with pytest.raises(ValueError, match="summary, signature, unrecited, module"):
        library.facts[0].answer("colour")


def test_what_is_taught_does_not_depend_on_what_the_process_has_imported() -> None:
    """torch replaces `inspect.getfile`; were it looked at here, a resumed run could be taught other things."""
    import torch.package  # noqa: F401

    first = Library.introspect()
    Library.introspect_here()
    Library.introspect.cache_clear()
    again = Library.introspect()
    assert again is not first
    assert (again.facts, again.existing, again.prose) == (first.facts, first.existing, first.prose)
    assert "inspect.getfile" in {fact.name for fact in again.facts}
