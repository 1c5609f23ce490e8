"""Somebody's own text: facts by rule, names that belong to one fact, and a split that no example crosses."""

import random
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from glasshouse.core.errors import DataError
from glasshouse.core.files import write_text
from glasshouse.core.records import Conversation, Document
from glasshouse.core.terminal import Terminal
from glasshouse.corpus import CorpusConfig, run_corpus, wording
from glasshouse.corpus.own_facts import (
    MAX_FACTS,
    MAX_SAME_ANSWERS,
    OwnFact,
    choose_evenly,
    find_facts,
    kind_of,
    name_homes,
    unmark,
)
from glasshouse.corpus.own_names import EVALUATED_WAYS, TRAINED_WAYS, MadeUpNames, is_unrefused
from glasshouse.corpus.own_questions import (
    GREETINGS,
    HELD_OUT,
    KIND_OF_FACT,
    MIN_KNOWN,
    answer,
    evaluation_questions,
    refusal,
    training_conversations,
)
from glasshouse.corpus.own_text import OwnText
from glasshouse.corpus.phrasing import is_held_out, is_made_up_for_evaluation, spell_out
from glasshouse.corpus.questions import QuestionConfig, is_refusal

TRAINED = wording.by_kind(wording.TRAINED, "text")
OPENERS, CLOSERS = (wording.for_subject(table, "text") for table in (wording.OPENERS, wording.CLOSERS))
CODE = '''
"""A module."""
import os

def find_cut(text: str, start: int = 0) -> int:
    """The best position to cut a text at.  It never cuts words."""

def undocumented(): ...

def _private():
    """Nobody should be asked about this."""

class Reader:
    """Reads a file line by line.

    More."""
    def method(self):
        """Methods are left out of the facts."""
'''
MARKDOWN = """# Baking bread

Bread needs **flour**, [water](http://x.org/a) and time.  Nothing else.

## Tools

- a bowl

```
# Not a title
This is code, not a sentence.
```

## Chapter 4

This title only counts and is not asked about.
"""
RST = """
Growing tomatoes
================

See :pep:`the guide <8>` for ``pip`` and [1]_ more about tomatoes.
They like sun.

Watering
--------

.. note:: nothing
"""
PROSE = """CHAPTER I

The miller went down to the river. He found an old boat in the reeds there! Mr. Brown had lost it in the spring.

"Who is there?" said a voice. The wind was cold that night. The wind was cold that night. Nobody answered him at all.
"""
SUBJECTS = ("Bread", "Milk", "Corn", "Rain", "Snow", "Wind", "Fire", "Stone", "Grass", "Wool", "Clay", "Salt", "Iron")
MATTERS = ("Making", "Keeping", "Selling", "Finding", "Counting", "Carrying", "Drawing", "Mending")


def doc(text: str, source: str) -> Document:
    return Document(source, text, source)


def facts_of(*documents: Document) -> dict[str, OwnFact]:
    return {fact.name: fact for fact in find_facts(lambda: documents).facts}


def many() -> list[Document]:
    """A text with a hundred of each kind of fact."""
    documents = []
    for subject in SUBJECTS:
        low = subject.lower()
        sections = "\n\n".join(
            f"## {m} {subject} {'at Home' if n % 2 else 'in Town'}\n\nThis is how {m.lower()} {low} is done: {n}."
            for n, m in enumerate(MATTERS)
        )
        documents.append(doc(f"{sections}\n\n## Summary\n\nAll about {low} in one place.\n", f"text/{low}.md"))
        code = "\n".join(
            f'def {m.lower()}_{low}(amount, place):\n    """{m} some {low} with care and without haste."""\n'
            for m in MATTERS
        )
        documents.append(doc(code, f"code/{low}.py"))
    prose = " ".join(
        f"The {m.lower()} of {s.lower()} began on a cold morning. It took {n} days to bring the {s.lower()} home."
        for n, s in enumerate(SUBJECTS)
        for m in MATTERS
    )
    return [*documents, doc(prose, "story.txt")]


@pytest.fixture(scope="module")
def own() -> OwnText:
    return OwnText(find_facts(many))


@pytest.fixture(scope="module")
def trained(own: OwnText) -> list[Conversation]:
    return [conversation for epoch in range(3) for conversation in training_conversations(own, 0, epoch)]


# ---- facts -------------------------------------------------------------------------------------------------------


def test_documented_public_names_of_code_are_facts() -> None:
    facts = facts_of(doc(CODE, "lib/passage.py"))
    assert set(facts) == {"passage.find_cut", "passage.Reader"}
    cut = facts["passage.find_cut"]
    assert (cut.answer, cut.signature, cut.file) == (
        "The best position to cut a text at.",
        "(text, start=0)",
        "passage.py",
    )
    assert answer("signature", cut) == "find_cut(text, start=0)" and answer("file", cut) == "It is in passage.py."


def test_code_is_parsed_and_never_run(tmp_path: Path) -> None:
    trap = f'open({str(tmp_path / "ran")!r}, "w")\ndef f():\n    """Opens nothing at all here."""\n'
    assert facts_of(doc(trap, "a.py")) and not (tmp_path / "ran").exists()


def test_a_piece_of_a_long_file_gives_the_definitions_that_parse() -> None:
    assert set(facts_of(doc("    broken indent here\n" + CODE, "a.py"))) == {"a.find_cut", "a.Reader"}


def test_titles_lead_to_the_first_sentence_under_them() -> None:
    facts = facts_of(doc(MARKDOWN, "bread.md"), doc(RST, "garden.rst"))
    assert {name: fact.answer for name, fact in facts.items() if fact.kind == "section"} == {
        "Baking bread": "Bread needs flour, water and time.",
        "Growing tomatoes": "See the guide for `pip` and more about tomatoes.",
    }


def test_a_title_of_several_documents_is_named_with_its_document() -> None:
    texts = [f"# Scope\n\nThis text is about number {n} only.\n" for n in range(2)]
    assert set(facts_of(doc(texts[0], "a.md"), doc(texts[1], "b.md"))) == {"a: Scope", "b: Scope"}
    assert set(facts_of(doc(texts[0] + "\n" + texts[1], "a.md"))) == set()  # cannot be told apart


def test_an_answer_that_everything_has_is_no_fact() -> None:
    same = [
        doc(f"# Title number {n}\n\nPlaced in the public domain.\n", f"{n}.md") for n in range(MAX_SAME_ANSWERS + 1)
    ]
    assert not facts_of(*same) and len(facts_of(*same[1:])) == MAX_SAME_ANSWERS


def test_prose_gives_sentences_that_occur_once_with_the_next() -> None:
    facts = facts_of(doc(PROSE, "novel.txt"))
    assert {fact.name: fact.answer for fact in facts.values()} == {
        "The miller went down to the river.": "He found an old boat in the reeds there!",
        "He found an old boat in the reeds there!": "Mr. Brown had lost it in the spring.",
    }


def test_other_languages_are_not_taken_for_prose() -> None:
    assert kind_of(doc("x", "a.c")) == "code" and kind_of(doc("x", "a.py.gz")) == "python"
    assert kind_of(doc("x", "a.md")) == "prose" and kind_of(doc("import os\nimport sys\n", "a.jsonl")) == "python"


def test_homes_are_as_short_as_they_can_be() -> None:
    sources = ["/x/a/b.py", "/x/c/b.py", "/x/d.md", "/x/e/__init__.py"]
    assert list(name_homes(sources).items()) == [
        ("/x/d.md", "d"),
        ("/x/e/__init__.py", "e"),
        ("/x/a/b.py", "a.b"),
        ("/x/c/b.py", "c.b"),
    ]


def test_markup_is_not_read_aloud() -> None:
    assert unmark(":pep:`8` and :pep:`the guide <8>`") == "PEP 8 and the guide"
    assert unmark("`Docs <http://a>`__ of :func:`open` *and* ``x`` [3]_") == "Docs of open and `x`"


def test_facts_are_chosen_evenly_and_the_same_each_time() -> None:
    facts = [OwnFact("code", f"m{d}.f{n}", "", f"{d}", f"f{n}") for d in range(5) for n in range(100 if d else 3)]
    chosen = choose_evenly(facts, 43)
    assert len(chosen) == 43 and chosen == choose_evenly(facts[::-1], 43)
    assert [sum(f.source == f"{d}" for f in chosen) for d in range(5)] == [3, 10, 10, 10, 10]
    assert MAX_FACTS == 3000


def test_every_name_belongs_to_one_fact(own: OwnText) -> None:
    assert len({fact.name for fact in own.facts}) == len(own.facts) > 200
    assert {fact.kind for fact in own.facts} == {"code", "section", "passage"}
    assert "text.bread: Summary" in {fact.name for fact in own.facts}


# ---- the split ---------------------------------------------------------------------------------------------------


def _asked(prompt: str, template: str) -> bool:
    pattern = re.escape(template).replace(r"\{name\}", r"[\w.:`\"' ]+")
    return re.search(rf"(^|\s){pattern}(\s|$)", prompt) is not None


def test_phrasings_fit_their_tables() -> None:
    assert all(set(TRAINED) == set(tables) == set(KIND_OF_FACT) for tables in HELD_OUT.values())
    for kind in TRAINED:
        held_out = [phrasing for tables in HELD_OUT.values() for phrasing in tables[kind]]
        assert len(TRAINED[kind]) >= 12 and all(len(tables[kind]) >= 2 for tables in HELD_OUT.values())
        assert not set(TRAINED[kind]) & set(held_out)
        spelled = [spell_out(phrasing, random.Random(n)) for phrasing in TRAINED[kind] for n in range(9)]
        assert all(phrasing.count("{name}") == 1 for phrasing in (*spelled, *held_out))
    assert len({*OPENERS, *CLOSERS}) == len(OPENERS) + len(CLOSERS)


def test_held_out_phrasings_are_never_trained(trained: Sequence[Conversation]) -> None:
    for table in (table for tables in HELD_OUT.values() for table in tables.values()):
        for template in table:
            assert not [c.messages[0].content for c in trained if _asked(c.messages[0].content, template)], template


def test_made_up_names_are_not_in_the_text_and_on_one_side(own: OwnText, trained: list[Conversation]) -> None:
    in_training = {str(c.meta["name"]) for c in trained if str(c.meta["kind"]).startswith("made_up")}
    asked = [q for q in evaluation_questions(own, 0) if q.kind == "made_up"]
    in_evaluation = {q.name for q in asked}
    assert len(in_training) > 300 and len(in_evaluation) > 100
    assert not in_training & in_evaluation
    assert not any(is_made_up_for_evaluation(name) for name in in_training)
    text = "\n".join(document.text for document in many())
    names = {fact.name for fact in own.facts}
    for name in in_training | in_evaluation:
        assert name not in names
        assert " " not in name or f"{name}\n" not in text, name
    assert all(is_refusal(a) for q in asked for a in q.answers)


@pytest.mark.parametrize(("kind", "way"), [(k, w) for k, ways in EVALUATED_WAYS.items() for w in ways])
def test_each_way_of_making_up_a_name_works(own: OwnText, kind: str, way: str) -> None:
    name = MadeUpNames(own, random.Random(1), is_for_evaluation=True).draw(kind, way)
    assert name is not None and name not in {fact.name for fact in own.facts}


def test_some_ways_and_halves_are_never_trained(own: OwnText) -> None:
    assert all(set(TRAINED_WAYS[kind]) < set(EVALUATED_WAYS[kind]) for kind in TRAINED_WAYS)
    made_up = MadeUpNames(own, random.Random(0), is_for_evaluation=False)
    pairs = [made_up.draw("code", "pair") for _ in range(200)]
    assert not any(is_unrefused(name.rpartition(".")[2]) for name in pairs if name)


def test_names_of_held_out_documents_are_real_too() -> None:
    held_out = [doc("def baking_bread():\n    pass\n", "code/rain.py")]
    plain, wary = OwnText(find_facts(many)), OwnText(find_facts(many, lambda: held_out))
    names = [MadeUpNames(own, random.Random(0), is_for_evaluation=False) for own in (plain, wary)]
    assert [made_up.exists("code", "code.rain.baking_bread") for made_up in names] == [False, True]


def test_held_out_names_are_never_trained(own: OwnText, trained: list[Conversation]) -> None:
    held_out = {fact.name for fact in own.held_out}
    assert held_out and all(map(is_held_out, held_out))
    assert not held_out & {str(c.meta["name"]) for c in trained}
    assert {q.name for q in evaluation_questions(own, 0, 5) if q.kind == "held_out_name"} == held_out


# ---- conversations -----------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_and_another_epoch_others(own: OwnText) -> None:
    again = OwnText(find_facts(many))
    assert training_conversations(own, 3, 1) == training_conversations(again, 3, 1)
    assert training_conversations(own, 3, 1) != training_conversations(own, 3, 2)
    assert evaluation_questions(own, 3) == evaluation_questions(again, 3)


def test_every_taught_fact_is_asked_and_a_few_are_asked_often(own: OwnText) -> None:
    conversations = training_conversations(own, 0, 0, QuestionConfig(signature=0.0, module=0.0, p_made_up=0.25))
    kinds = [str(c.meta["kind"]) for c in conversations]
    assert {c.meta["name"] for c in conversations} >= {fact.name for fact in own.taught}
    assert "signature" not in kinds and "file" not in kinds
    n_known = sum(kind in ("summary", "section", "passage") for kind in kinds)
    assert n_known == pytest.approx(max(MIN_KNOWN, len(own.taught)), abs=3)
    assert sum(kind.startswith("made_up") for kind in kinds) == pytest.approx(n_known / 3, rel=0.05)


def test_answers_are_the_facts(own: OwnText, trained: list[Conversation]) -> None:
    facts = {fact.name: fact for fact in own.facts}
    greetings = dict(GREETINGS)
    for conversation in trained:
        kind, name = str(conversation.meta["kind"]), str(conversation.meta["name"])
        prompt, reply = (message.content for message in conversation.messages)
        if kind == "greeting":
            assert prompt in greetings
        elif kind.startswith("made_up_"):
            assert reply == refusal(kind.removeprefix("made_up_"), name) and name in prompt
        else:
            assert reply == answer(kind, facts[name]) and (name in prompt or facts[name].bare in prompt)


def test_questions_have_their_own_ids_and_the_limit_holds(own: OwnText) -> None:
    questions = evaluation_questions(own, 0, 7)
    assert len({q.id for q in questions}) == len(questions)
    kinds = [q.kind for q in questions]
    assert all(kinds.count(kind) == 7 for kind in TRAINED) and 0 < kinds.count("made_up") <= 7


# ---- from a corpus -----------------------------------------------------------------------------------------------


def _corpus(folder: Path, *documents: Document) -> Path:
    for document in documents:
        (folder / "in" / document.source).parent.mkdir(parents=True, exist_ok=True)
        write_text(folder / "in" / document.source, document.text)
    run_corpus(CorpusConfig(sources=(str(folder / "in"),)), folder / "corpus", Terminal(is_quiet=True))
    return folder / "corpus"


def test_a_corpus_is_read_once_in_a_process(tmp_path: Path) -> None:
    corpus = _corpus(tmp_path, *many())
    own = OwnText.read(corpus)
    assert OwnText.read(corpus) is own and "facts of your text taught" in own.describe()
    _corpus(tmp_path, doc(MARKDOWN, "new.md"))
    assert OwnText.read(corpus) is not own


def test_too_little_text_says_what_was_found_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"at least 20 facts.*found 2.*chats\.jsonl.*stages = "):
        OwnText.read(_corpus(tmp_path, doc(MARKDOWN, "a.md"), doc(RST, "b.rst")))


@pytest.mark.parametrize("text", ["", "\ufeff", "\x00", "#" * 5000, "# \n\n", "def f(:\n" * 50, "a.\n" * 500, "=" * 99])
@pytest.mark.parametrize("source", ["a.py", "a.md", "a.txt", "a.jsonl"])
def test_strange_text_gives_no_facts_and_no_errors(text: str, source: str) -> None:
    assert facts_of(doc(text, source)) == {}


def test_sentences_follow_each_other_in_the_text(own: OwnText) -> None:
    story = many()[-1].text
    passages = [fact for fact in own.facts if fact.kind == "passage"]
    assert passages and all(f"{fact.name} {fact.answer}" in story for fact in passages)
    assert all(a.name != b.name for a, b in pairwise(passages))
