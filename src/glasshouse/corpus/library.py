"""The standard library as facts, by introspection: every public, documented name with its docstring's first sentence.

Left out: methods and constants; names whose summary is empty, inherited, or longer than 72 characters.
"""

import inspect
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache

from glasshouse.core.errors import DataError
from glasshouse.corpus.phrasing import PROSE_WORD, by_frequency, fit_prose, is_held_out
from glasshouse.corpus.sentence import MIN_CHARS, first_sentence
from glasshouse.corpus.stdlib import own_docstring, public_members, public_modules, signature_text, topic_documents

MIN_SUMMARY_CHARS, MAX_SUMMARY_CHARS = MIN_CHARS, 72  # of first sentences, 17 in 20 are no longer
MAX_SIGNATURE_CHARS = 48
NOT_BY_HEART = "I do not know its signature by heart."
EVERYDAY_COUNT = (
    20  # in the library's docstrings and reference topics: such a word is one, even if something has it for a name
)


@dataclass(frozen=True, slots=True)
class Fact:
    """What is taught about one name.  `name` is as one writes it: `shutil.copytree`, `json`, `len`."""

    name: str
    module: str
    kind: str  # "function", "class" or "module"
    summary: str
    signature: str | None = None  # `(src, dst)`; None where unknown, uninformative or too long
    is_unique: bool = False  # whether nothing else public has this bare name

    @property
    def bare(self) -> str:
        """The last part of the name: `copytree`."""
        return last_part(self.name)

    @property
    def where(self) -> str:
        """How every answer begins: ```rmtree` is in shutil.``, ```json` is a module.``"""
        if self.kind != "module":
            return f"`{self.bare}` is in {self.module}."
        package = self.name.rpartition(".")[0]
        return f"`{self.bare}` is a module{f' in {package}' if package else ''}."

    def answer(self, kind: str) -> str:
        """The one right answer to a question of a kind.

        Each begins with the name and where it lives: found in the question and recalled once, then read from where it
        was just written.  `unrecited` asks for a signature that is too long, or that Python does not know either.
        """
        match kind:
            case "summary":
                return f"{self.where} {self.summary}"
            case "signature":
                return f"{self.where} {self.bare}{self.signature}"
            case "unrecited":
                return f"{self.where} {NOT_BY_HEART}"
            case "module":
                return self.where
        raise ValueError(f"a question's kind is one of summary, signature, unrecited, module; got {kind!r}")


class Library:
    """The facts, and every name that exists, so that no made-up name is real by accident.

    >>> library = Library.introspect()
    >>> [fact.summary for fact in library.facts if fact.name == "shutil.rmtree"]
    ['Recursively delete a directory tree.']
    """

    def __init__(self, facts: Sequence[Fact], existing: frozenset[str], prose: Sequence[str] = ()) -> None:
        self.facts = tuple(facts)
        self.existing = existing  # qualified and bare, documented or not
        self.taught = tuple(fact for fact in self.facts if not is_held_out(fact.name))
        self.held_out = tuple(fact for fact in self.facts if is_held_out(fact.name))
        self.members = tuple(fact for fact in self.taught if "." in fact.name)
        self.asked = {
            "summary": self.taught,
            "signature": tuple(fact for fact in self.taught if fact.signature is not None),
            "unrecited": tuple(fact for fact in self.taught if fact.signature is None and fact.kind != "module"),
            "module": tuple(fact for fact in self.members if fact.is_unique),
        }
        self.where = {fact.bare: fact.where for fact in reversed(self.taught)}  # of several with one name, the first
        self.prose = tuple(prose) or (
            "and",
        )  # distinct words, frequent first, for company; names among them are everyday
        self.everyday = tuple(word for word in self.prose if word in existing)
        self.words = tuple(sorted({word for fact in self.members for word in _words(fact.bare) if len(word) > 2}))

    @staticmethod
    @cache
    def introspect() -> "Library":
        """The library of the running interpreter: about 2,200 facts in two seconds, once a process.

        A fresh interpreter does the looking: what a process has imported changes what is there to see (torch replaces
        `inspect.getfile`; every import adds names to its parent), and a resumed run must be taught the same as a whole
        one.  Raises `DataError` where that interpreter fails.
        """
        code = "from glasshouse.corpus.library import Library; Library.introspect_here().print_json()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise DataError(f"the standard library could not be looked into: {done.stderr.strip()[-300:]}")
        record = json.loads(done.stdout.splitlines()[-1])
        return Library([Fact(**fact) for fact in record["facts"]], frozenset(record["existing"]), record["prose"])

    def print_json(self) -> None:
        facts = [asdict(fact) for fact in self.facts]
        print(json.dumps({"facts": facts, "existing": sorted(self.existing), "prose": self.prose}))

    @staticmethod
    def introspect_here() -> "Library":
        """The library as this process sees it, which depends on what it has imported."""
        modules = public_modules()
        # Plain modules first: an object listed in both `asyncio` and `asyncio.tasks` is taught as the former.
        modules.sort(key=lambda pair: (pair[0].count("."), pair[0]))
        existing = {*sys.stdlib_module_names, *(name for name, _ in modules)}
        facts: list[Fact] = []
        homes: set[tuple[str, int]] = set()
        bare_count: Counter[str] = Counter()
        prose_count: Counter[str] = Counter()
        for name, module in modules:
            prose_count.update(re.findall(PROSE_WORD, own_docstring(module) or ""))
            prefix = "" if name == "builtins" else f"{name}."
            # Dunder names are the machinery's (`__warningregistry__` comes and goes), and no made-up name is one.
            keys = [key for key in dir(module) if not key.startswith("__")]
            existing.update(keys, (f"{prefix}{key}" for key in keys))
            if prefix and (summary := summary_of(module)):
                facts.append(Fact(name, name, "module", summary))
            for key, value in public_members(name, module):
                home = (name.partition(".")[0], id(value))
                if home in homes:  # `asyncio.tasks.gather` is `asyncio.gather`
                    continue
                homes.add(home)
                bare_count[key] += 1
                prose_count.update(re.findall(PROSE_WORD, own_docstring(value) or ""))
                if summary := summary_of(value):
                    kind = "class" if inspect.isclass(value) else "function"
                    signature = signature_text(value)
                    is_short = signature is not None and len(key + signature) <= MAX_SIGNATURE_CHARS
                    facts.append(Fact(f"{prefix}{key}", name, kind, summary, signature if is_short else None))
        for topic in topic_documents():
            prose_count.update(re.findall(PROSE_WORD, topic.text))
        name_count = Counter(fact.name for fact in facts)
        # Names that are everyday words too (find, module) keep company as well: not every name in sight is asked for.
        everyday = {word for word, count in prose_count.items() if word.islower() and count >= EVERYDAY_COUNT}
        prose = fit_prose(by_frequency(prose_count), existing - everyday, {})
        unambiguous = [fact for fact in facts if name_count[fact.name] == 1]
        bare_count.update(name.rpartition(".")[2] for name, _ in modules)  # `time` alone is the module, not time.time
        return Library([_with_uniqueness(fact, bare_count) for fact in unambiguous], frozenset(existing), prose)


def _with_uniqueness(fact: Fact, bare_count: Counter[str]) -> Fact:
    is_unique = fact.kind != "module" and bare_count[fact.bare] == 1
    return Fact(fact.name, fact.module, fact.kind, fact.summary, fact.signature, is_unique)


def summary_of(value: object) -> str | None:
    """The first sentence of an object's own docstring on one line, or None if it is no use as an answer.

    `"rmtree(path) -> None\\n\\nDelete a tree.  Slowly."` -> `"Delete a tree."`
    """
    text = own_docstring(value)
    return None if text is None else first_sentence(text, MAX_SUMMARY_CHARS)


def last_part(name: str) -> str:
    return name.rpartition(".")[2]


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]
