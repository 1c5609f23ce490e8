"""Questions and answers about the standard library, made by introspection: what to teach, and how to find out honestly.

A fact is a public, documented name with the first sentence of its docstring.  Three things are kept from training, each
decided by a hash of the text and so the same on every run and disjoint by construction:

- phrasings:  the `HELD_OUT` tables are used by `evaluation_questions` alone;
- names:      3 % of the real names are never asked about in training (`is_held_out`);
- made-up names:  one in ten belongs to evaluation (`is_for_evaluation`), and so do some function names, some ways of
  misspelling and some kinds altogether, so that refusing them has to be learned rather than remembered.

Made-up names are drawn afresh for every epoch: the model cannot remember them and must learn which names exist.
Left out: methods and constants; names whose summary is empty, inherited, or longer than 72 characters.
"""

import inspect
import json
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache

from glasshouse.core.config import Config
from glasshouse.core.errors import DataError
from glasshouse.core.records import Conversation, Message, Question
from glasshouse.corpus.misspelling import MISSPELLINGS, UNSEEN_MISSPELLINGS, Misspelling
from glasshouse.corpus.phrasing import (
    PROSE_WORD,
    Phrasings,
    bucket,
    fit_prose,
    is_held_out,
    is_made_up_for_evaluation,
    repeat,
)
from glasshouse.corpus.sentence import MIN_CHARS, first_sentence
from glasshouse.corpus.stdlib import own_docstring, public_members, public_modules, signature_text

MIN_SUMMARY_CHARS, MAX_SUMMARY_CHARS = MIN_CHARS, 72  # of first sentences, 17 in 20 are no longer
MAX_SIGNATURE_CHARS = 48

# Trained phrasings by kind of question; `(a|b|)` is one of its alternatives, drawn each time (`spell_out`).  A plain
# name and one in backticks are cut into different tokens: both occur.  With 33 fixed phrasings on modules a small model
# answered 44 % in held-out ones, with these 86 %: what it has to learn is which words do not matter.
TRAINED: dict[str, tuple[str, ...]] = {
    "summary": (
        "What does {name} do?",
        "What is {name}?",
        "what is {name} for",
        "what does {name} do",
        "Explain {name}.",
        "Explain {name} to me, please.",
        "Tell me about {name}.",
        "tell me about {name}",
        "Describe {name} in one sentence.",
        "Describe {name} briefly.",
        "What is {name} used for?",
        "I found {name} in some code. What does it do?",
        "When would I use {name}?",
        "Why would anybody use {name}?",
        "{name}?",
        "{name}",
        "{name}: what is it?",
        "{name} please",
        "So {name}, what is that?",
        "Can you tell me what {name} does?",
        "Could you describe what {name} does?",
        "Do you know {name}?",
        "Do you know what {name} is?",
        "Please summarise {name} for me.",
        "Summary of {name}",
        "The program uses {name}, what is it?",
        "There is {name} in this file. What is it there for?",
        "What happens if I use {name}?",
        "I want to understand {name}.",
        "I do not understand {name}. Help me.",
        "How should I think of {name}?",
        "Give me a short description of {name}.",
        "Give me an idea of {name}.",
        "What can {name} be used for?",
        "What can I do with {name}?",
        "Docs for {name}?",
        "docstring of {name}",
        "What would {name} do for me?",
        "Say in a few words what {name} is.",
        "I keep seeing {name} and wonder what it is.",
        "we use {name} at work, but what is it really",
        "My friend told me to use {name}. What is it?",
        "The manual mentions {name}; what does it do?",
        "In Python, what is {name}?",
        "python {name}",
        "help with {name}",
        "how does {name} work",
        "In short: {name}?",
        "What is the role of {name} in Python?",
        "what's {name}",
        "Is there a simple explanation of {name}?",
        "define {name}",
    ),
    "signature": (
        "(What|Which) (arguments|parameters|inputs|values) does {name} (take|accept|need|want|expect|have)?",
        "(What is|Show me|Write down|Give me|Tell me|I need|Do you know|State) the "
        "(signature|parameters|argument list|arguments|parameter list) of {name}( please| again|)(?|.)",
        "(signature|parameters|arguments|args|params|usage|inputs) (of|to) {name}(?| please|)",
        "{name}( |: |, )(signature|arguments|parameters|args|params|how to call)(?|)",
        "(How do I|How can I|How should one|how to) (call|invoke|run) {name}( correctly| in my program|)?",
        "I (want|have|need|would like|am about) to (call|use) {name}. "
        "(What are its arguments|Which parameters does it have|What goes between the brackets|What do I write)?",
        "What (do I put|goes|belongs) (between|inside|in) the (brackets|parentheses) of {name}?",
        "What does a call (of|to) {name} look like?",
        "In what order does {name} take its (arguments|parameters)?",
        "Does {name} take (arguments|parameters|anything)(, and which|)?",
        "(I never remember|I do not know|Nobody here knows) "
        "(how {name} is called|the arguments of {name}|what {name} takes). "
        "(Can you help|Help me|What are they|Show me|Do you know them)?",
        "(List|Name|Enumerate|Recite) the (parameters|arguments|inputs) of {name}( for me|)(, please|).",
        "(Help me call|Let us call|We must call|I cannot call) {name}"
        "(; what are the parameters|: which arguments|. How)?",
    ),
    "module": (
        "(Which|What) (module|package|file|library|section)( of Python| of the standard library| in the library|) "
        "(has|holds|contains|offers|exports|includes|gives me|comes with|owns) {name}?",
        "(Where|From where) (do I get|can I get|comes|can one import|is|could I import) {name}( from|)( in Python|)?",
        "(Where|In which module|In which file|In what library|In what place) "
        "(does {name} live|is {name}|does {name} sit|is {name} kept|can {name} be seen|is {name} declared)?",
        "(Which module|What) (do I import|should I import|must be imported|has to be imported) "
        "(for|to use|to get|before I use) {name}?",
        "(Tell me|Name|Say|Give me|I need|Show me|Do you know) the (module|home|origin|import|source) of {name}.",
        "(From which module do I get|Which import gives me|What import brings|Which import is needed for) {name}?",
        "(How do I import|How can I import|import|please import) {name}( from where| from what|)?",
        "{name}(:|,|)( which module| module| where from| import| home| from where| is where)?",
        "(They use|I want to use|This file uses|I need|My teacher used) {name}( here| without an import|). "
        "(Where is it from|Which module has it|What must I import|Which module is it in)?",
        "(Python does not know|It cannot see|I get an error because of|It complains about|NameError:) {name}( here|). "
        "(Which module has it|What do I import|From which module should it come|What import is missing)?",
        "To which (module|library|package|file) does {name} belong?",
        "(where is|whereabouts is|wheres|where lives|home of|module of|source of|origin of) {name}",
        "(Say|Tell me|I must know|I ask myself|Do you know) (where {name} comes from|which module {name} is from|"
        "which module has {name}|what to import for {name}).",
    ),
}
# Put before and after one trained question in three, so that a question does not stop being one in company.
OPENERS = (
    "Hi, ",
    "hi ",
    "Hello! ",
    "Excuse me, ",
    "Ok, ",
    "Now ",
    "Quick question: ",
    "A question about Python. ",
    "I am new to Python. ",
    "I am learning to program. ",
    "I am reading some code. ",
    "I am looking at an old program that my team wrote. ",
    "This came up in a review today. ",
    "I saw this in a tutorial and it was not explained. ",
    "Our teacher gave us a list of names to learn. ",
    "My program uses many modules and I am a bit lost. ",
    "Before I use it, I would like to know more. ",
    "You know the standard library well. ",
    "Sorry to ask again. ",
    "Let us talk about Python. ",
    "Next one: ",
    "While debugging a server I met something new. ",
    "There is a function call here that I have never seen before. ",
    "Somebody on the internet says I should know this. ",
)
CLOSERS = (
    " Thanks!",
    " thanks",
    " Please.",
    " Keep it short.",
    " Just a short answer, please.",
    " I have never used it before.",
    " It is used all over this project.",
    " I could not tell from the code.",
    " My editor shows nothing.",
    " Answer as simply as you can.",
    " I have to explain it to my students.",
    " It is for a talk that I give tomorrow.",
)
# Held-out phrasings: never trained, unlike the trained ones; some long, some short, some colloquial.
HELD_OUT: dict[str, tuple[str, ...]] = {
    "summary": (
        "In one line, what is the purpose of `{name}`?",
        "hey, whats {name} good for?",
        "I am reading a colleague's script and it calls `{name}` in several places. Could you explain what that does?",
        "{name} - meaning?",
        "How would you explain {name} to a beginner?",
        "Remind me what `{name}` is about.",
    ),
    "signature": (
        "Which arguments can I pass to `{name}`?",
        "whats the call signature for {name}",
        "I forgot how to call {name}, could you remind me of its parameters?",
    ),
    "module": (
        "Which part of the standard library provides `{name}`?",
        "where do i find {name}",
        "My script says that {name} is not defined. Which module must I import it from?",
    ),
}
ALONE = {"summary": ("{name}", "`{name}`")}
HELLO = "Hello! Ask me about the Python standard library."
IDENTITY = "I am a small language model grown with Glasshouse on the Python standard library."
ABILITY = "I can say what a name in the Python standard library does, where it lives and how to call it."
GREETINGS: tuple[tuple[str, str], ...] = (
    *((prompt, HELLO) for prompt in ("Hello!", "Hi", "hello there", "Good morning!")),
    *(
        (prompt, IDENTITY)
        for prompt in ("Who are you?", "What are you?", "what is your name", "Tell me about yourself.")
    ),
    *((prompt, ABILITY) for prompt in ("What can you do?", "How can you help me?", "help")),
    *((prompt, "You are welcome.") for prompt in ("Thank you!", "thanks")),
    *((prompt, "Goodbye!") for prompt in ("Goodbye!", "bye")),
)

REFUSAL_START = "I do not know of"


def refusal(name: str, elsewhere: str | None = None) -> str:
    """`refusal("os.frob")` -> ```frob`: I do not know of it in the standard library.``

    Where the last part of the name is known from elsewhere, that is said first: ```rmtree` is in shutil. I do not know
    of `json.rmtree` ...``.  Recalling where a name lives and comparing it with what was asked are two easy steps.
    """
    if elsewhere is None:
        return f"`{_bare(name)}`: {REFUSAL_START} it in the standard library."
    return f"{elsewhere} {REFUSAL_START} `{name}` in the standard library."


def is_refusal(answer: str) -> bool:
    """Whether an answer says that the name is unknown, whichever name it repeats."""
    return re.match(rf"\s*(`[^`]*`(:| is (a module|in|a module in)( [\w.]+)?\.) )?{REFUSAL_START}", answer) is not None


def _bare(name: str) -> str:
    return name.rpartition(".")[2]


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
        return _bare(self.name)

    @property
    def where(self) -> str:
        """How every answer begins: ```rmtree` is in shutil.``, ```json` is a module.``"""
        if self.kind != "module":
            return f"`{self.bare}` is in {self.module}."
        package = self.name.rpartition(".")[0]
        return f"`{self.bare}` is a module{f' in {package}' if package else ''}."

    def answer(self, kind: str) -> str:
        """The one right answer to a question of a kind in `TRAINED`.

        Each begins with the name and where it lives: found in the question and recalled once, then read from where it
        was just written.
        """
        match kind:
            case "summary":
                return f"{self.where} {self.summary}"
            case "signature":
                return f"{self.where} {self.bare}{self.signature}"
            case "module":
                return self.where
        raise ValueError(f"a question's kind is one of {', '.join(TRAINED)}; got {kind!r}")


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
            "module": tuple(fact for fact in self.members if fact.is_unique),
        }
        self._where = {fact.bare: fact.where for fact in reversed(self.taught)}  # of several with one name, the first
        self.prose = tuple(prose) or ("and",)  # distinct words, for company; none of them a name
        self.words = tuple(sorted({word for fact in self.members for word in _words(fact.bare) if len(word) > 2}))

    def refuse(self, name: str) -> str:
        """The honest answer about a name that does not exist, or that was never taught."""
        return refusal(name, self._where.get(_bare(name)))

    @staticmethod
    @cache
    def introspect() -> "Library":
        """The library of the running interpreter: about 2,200 facts in two seconds, once a process.

        A fresh interpreter does the looking: what a process has imported changes what is there to see (torch replaces
        `inspect.getfile`; every import adds names to its parent), and a resumed run must be taught the same as a whole
        one.  Raises `DataError` where that interpreter fails.
        """
        code = "from glasshouse.corpus.questions import Library; Library.introspect_here().print_json()"
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
        prose_words: set[str] = set()
        for name, module in modules:
            prose_words.update(re.findall(PROSE_WORD, own_docstring(module) or ""))
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
                prose_words.update(re.findall(PROSE_WORD, own_docstring(value) or ""))
                if summary := summary_of(value):
                    kind = "class" if inspect.isclass(value) else "function"
                    signature = signature_text(value)
                    is_short = signature is not None and len(key + signature) <= MAX_SIGNATURE_CHARS
                    facts.append(Fact(f"{prefix}{key}", name, kind, summary, signature if is_short else None))
        name_count = Counter(fact.name for fact in facts)
        prose = fit_prose(prose_words, existing, {})
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


def is_for_evaluation(name: str) -> bool:
    """Whether a made-up name belongs to evaluation, never to training: 1 in 10, and all of `OTHER_LIBRARIES`."""
    return name in OTHER_LIBRARIES or is_made_up_for_evaluation(name)


def is_unrefused_function(bare: str) -> bool:
    """Whether training shows this function's name only where it is real, never in a made-up name: 1 in 10."""
    return bucket("unrefused function", bare, 10) == 0


# What other languages and libraries would call it; those that exist in this Python after all are never drawn.
STYLES = {
    "json": "parse stringify decode encode to_string",
    "os": "readFile exists copy move cp rm touch cwd exec spawn sleep",
    "shutil": "rename delete mkdir remove zip",
    "math": "abs max min round clamp lerp random sign mean sum average",
    "random": "rand randn integer pick permutation normal",
    "time": "now wait delay millis today",
    "datetime": "now parse",
    "string": "trim split join reverse replace length",
    "re": "test replace exec matchAll find",
    "sys": "args print quit env",
    "csv": "parse read load to_dict",
    "http": "get post request",
    "socket": "connect listen open",
    "threading": "spawn start join run",
    "asyncio": "spawn delay all race",
    "itertools": "map zip flatten reduce filter",
    "functools": "compose memoize curry debounce pipe",
    "collections": "Array HashMap Stack Set List",
    "subprocess": "exec shell spawn",
    "logging": "log_error print warn_once",
    "hashlib": "hash encrypt crc32",
    "zlib": "gzip zip",
    "gzip": "unzip",
    "base64": "encode_string to_bytes",
    "pickle": "save serialize",
    "copy": "clone deep_clone duplicate",
    "uuid": "generate v4",
    "tempfile": "create open",
    "glob": "find search",
    "heapq": "push pop",
    "bisect": "search find",
    "statistics": "average std var",
    "typing": "Array Maybe",
    "numpy": "zeros array",
    "pandas": "read_csv DataFrame",
    "requests": "get post",
    "torch": "tensor",
    "flask": "Flask",
    "django": "setup",
    "fs": "readFile writeFileSync",
    "console": "log",
    "lodash": "debounce",
    "std": "vector sort",
    "System": "out",
    "strings": "Builder",
    "fmt": "Println",
    "ioutil": "ReadAll",
    "Object": "keys",
    "Array": "from",
}
OTHER_LIBRARIES = tuple(f"{module}.{name}" for module, names in STYLES.items() for name in names.split())
# What made-up names are made of: kind and its share of them.
TRAINED_MADE_UP = {"pair": 0.45, "near_miss": 0.25, "composed": 0.15, "module": 0.15}
EVALUATED_MADE_UP = {
    "pair": 0.35,
    "pair_unseen": 0.15,
    "near_miss": 0.15,
    "near_miss_unseen": 0.10,
    "composed": 0.10,
    "module": 0.05,
    "swapped": 0.03,
    "style": 0.07,
}


class MadeUpNames:
    """Plausible names that do not exist, drawn from one side of the split: for training or for evaluation.

    - pair       a real module with another module's function: `json.copytree`
    - near_miss  a real name slightly misspelt: `shutil.copytrees`
    - composed   a real module with words of real names: `shutil.walk_header`
    - module     a real function in a misspelt module: `shutils.copytree`; or such a module alone: `shutils`

    For evaluation alone:

    - pair_unseen       a pair whose function training has only ever shown as real
    - near_miss_unseen  misspelt in a way training has never shown: `shutil.copytree_safe`
    - swapped           a real name back to front: `copytree.shutil`
    - style             a name from elsewhere: `json.parse`
    """

    def __init__(self, library: Library, rng: random.Random, *, is_for_evaluation: bool) -> None:
        self.library, self.rng, self.is_for_evaluation = library, rng, is_for_evaluation

    def draw(self, kind: str) -> str:
        """One name of a kind; tries until it is on this side of the split and does not exist."""
        for _ in range(10_000):
            fact = self.rng.choice(self.library.members)
            name = self._propose(kind, fact)
            is_unrefused = is_unrefused_function(name.rpartition(".")[2])
            is_right = is_unrefused if kind == "pair_unseen" else self.is_for_evaluation or not is_unrefused
            if is_right and self._is_free(name):
                return name
        raise RuntimeError(f"found no made-up name of kind {kind!r} in 10,000 tries: is the library nearly empty?")

    def draw_bare(self) -> str:
        """A function's name that no module has, for questions such as `Which module is ... in?`."""
        return self.draw(self.rng.choice(("bare_near_miss", "bare_composed")))

    def _is_free(self, name: str) -> bool:
        is_wellformed = all(part.isidentifier() for part in name.split("."))
        is_on_this_side = is_for_evaluation(name) == self.is_for_evaluation
        return is_wellformed and is_on_this_side and name not in self.library.existing

    def _propose(self, kind: str, fact: Fact) -> str:
        match kind:
            case "pair" | "pair_unseen":  # both parts drawn as often as real names show them: only the pair tells
                return f"{self.rng.choice(self.library.members).module}.{fact.bare}"
            case "near_miss":
                return f"{fact.module}.{self._misspell(fact.bare, MISSPELLINGS)}"
            case "near_miss_unseen":
                return f"{fact.module}.{self._misspell(fact.bare, UNSEEN_MISSPELLINGS)}"
            case "composed":
                return f"{fact.module}.{self._compose()}"
            case "module":
                module = self._misspell(fact.module, MISSPELLINGS)
                return module if self.rng.random() < 0.3 else f"{module}.{fact.bare}"
            case "swapped":
                return f"{fact.bare}.{fact.module}"
            case "style":
                return self.rng.choice(OTHER_LIBRARIES)
            case "bare_near_miss":
                return self._misspell(fact.bare, MISSPELLINGS)
            case "bare_composed":
                return self._compose()
        raise ValueError(f"unknown kind of made-up name {kind!r}")

    def _misspell(self, word: str, ways: Mapping[str, Misspelling]) -> str:
        return ways[self.rng.choice(list(ways))](word, self.rng)

    def _compose(self) -> str:
        first, second = self.rng.choice(self.library.words), self.rng.choice(self.library.words)
        forms = (f"{first}_{second}", f"{first}{second}", first, f"{first.capitalize()}{second.capitalize()}")
        return self.rng.choice(forms)


class QuestionConfig(Config):
    """What one epoch of questions holds."""

    summary: float = 1.0  # questions a name: what it does
    signature: float = 0.5  # questions a name with a short signature
    module: float = 0.3  # questions a name that only one module has
    p_made_up: float = 0.4  # share of made-up names; fewer and the model believes anything, more and it doubts the true
    greetings: float = 0.5  # copies of each pair in GREETINGS


def training_conversations(
    library: Library, seed: int, epoch: int = 0, config: QuestionConfig | None = None
) -> list[Conversation]:
    """One epoch, shuffled: questions on every taught name in trained phrasings, and fresh made-up names refused."""
    config = config or QuestionConfig()
    rng = random.Random(f"training {seed} {epoch}")
    made_up = MadeUpNames(library, rng, is_for_evaluation=False)
    pairs: list[tuple[str, str, str, str]] = []  # kind, name, prompt, answer
    n_known = {kind: round(getattr(config, kind) * len(facts)) for kind, facts in library.asked.items()}
    for kind, facts in library.asked.items():
        for fact in repeat(facts, n_known[kind], rng):
            shown = fact.bare if kind == "module" else fact.name
            pairs.append((kind, fact.name, trained_prompt(kind, shown, library, rng), fact.answer(kind)))
    n_made_up = round(sum(n_known.values()) * config.p_made_up / (1 - config.p_made_up))
    kinds = rng.choices(list(n_known), weights=list(n_known.values()), k=n_made_up)
    ways = rng.choices(list(TRAINED_MADE_UP), weights=list(TRAINED_MADE_UP.values()), k=n_made_up)
    for kind, way in zip(kinds, ways, strict=True):
        name = made_up.draw_bare() if kind == "module" else made_up.draw(way)
        pairs.append((f"made_up_{kind}", name, trained_prompt(kind, name, library, rng), library.refuse(name)))
    for prompt, answer in repeat(GREETINGS, round(config.greetings * len(GREETINGS)), rng):
        pairs.append(("greeting", "", prompt, answer))
    rng.shuffle(pairs)
    return [
        Conversation(
            (Message("user", prompt), Message("assistant", answer)),
            id=f"stdlib/{seed}/{epoch}/{number}",
            meta={"kind": kind, "name": name},
        )
        for number, (kind, name, prompt, answer) in enumerate(pairs)
    ]


def trained_prompt(kind: str, name: str, library: Library, rng: random.Random) -> str:
    """A question in a trained phrasing: `Hi, what is json? Thanks!`, now and then between words of no meaning to it."""
    return Phrasings(TRAINED, OPENERS, CLOSERS, library.prose, ALONE, p_marked=0.4).ask(kind, name, rng)


def evaluation_questions(library: Library, seed: int, limit: int | None = None) -> list[Question]:
    """Questions in held-out phrasings alone: on taught, made-up and held-out names.

    Kinds: `summary`, `signature`, `module` (the exact answer is right; every name, or `limit` of each kind);
    `made_up` (a refusal is right; `limit` in all, or 1,000; how each was made: `made_up_way`);
    `held_out_name` (real but never taught: a refusal is the honest answer; all of them).
    """
    rng = random.Random(f"evaluation {seed}")
    made_up = MadeUpNames(library, rng, is_for_evaluation=True)
    questions: list[Question] = []

    def ask(group: str, id_: str, kind: str, name: str, shown: str, answer: str) -> None:
        phrasing = rng.randrange(len(HELD_OUT[kind]))
        prompt = HELD_OUT[kind][phrasing].format(name=shown)
        questions.append(Question(id_, prompt, (answer,), group, f"{kind}/{phrasing}", name))

    for kind, facts in library.asked.items():
        for fact in rng.sample(facts, len(facts) if limit is None else min(limit, len(facts))):
            shown = fact.bare if kind == "module" else fact.name
            ask(kind, f"{kind}/{fact.name}", kind, fact.name, shown, fact.answer(kind))
    n_made_up, drawn = limit or 1000, set[str]()
    for way, share in EVALUATED_MADE_UP.items():
        for _ in range(round(share * n_made_up)):
            is_about_module = way == "near_miss" and rng.random() < 0.3
            kind = "module" if is_about_module else rng.choices(("summary", "signature"), weights=(4, 1))[0]
            name = made_up.draw_bare() if is_about_module else made_up.draw(way)
            if name not in drawn:
                drawn.add(name)
                ask("made_up", f"made_up/{way}/{name}", kind, name, name, library.refuse(name))
    for fact in library.held_out:
        right = library.refuse(fact.name)
        ask("held_out_name", f"held_out_name/{fact.name}", "summary", fact.name, fact.name, right)
    return questions


def made_up_way(question: Question) -> str | None:
    """How the name asked for was made up, a key of `EVALUATED_MADE_UP`; None for a real name."""
    kind, _, rest = question.id.partition("/")
    return rest.partition("/")[0] if kind == "made_up" else None


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]
