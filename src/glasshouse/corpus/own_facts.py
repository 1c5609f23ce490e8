"""Facts in somebody's own text, found by rule: what a name does, how a section begins, which sentence follows another.

code      public functions and classes of Python documents: first sentence of the docstring, signature, file.  Documents
          are parsed, never run.
section   a title (Markdown, reStructuredText, or a short line alone) -> the first sentence under it
passage   a short sentence that occurs once -> the sentence after it; only where the text has little of the other two

A name belongs to one fact: `find_cut` or `passage.find_cut`; a title that several documents have is `pep-0008: Scope`.
Facts are chosen evenly over documents and by hash, so the same text gives the same facts.  Lengths in characters.
Left out: methods, constants, other programming languages; sections that begin with a list, a table or code; titles that
only count (`CHAPTER IV`); sentences with quotation marks.
"""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import PurePosixPath

from glasshouse.core.records import Document
from glasshouse.corpus.phrasing import PROSE_WORD, bucket, by_frequency
from glasshouse.corpus.sentence import first_sentence, sentences
from glasshouse.corpus.sources import COMPRESSIONS

MAX_FACTS = 3000  # of code and sections; what a small model learns by heart in minutes
PLENTY = 1000  # passages are added up to this many facts
# About as much text is searched for facts, in documents chosen by hash: a few seconds of each.
SEARCHED_CHARS = {"code": 10_000_000, "section": 20_000_000, "passages": 6_000_000}
MAX_PASSAGES_A_DOCUMENT = 300
MAX_ANSWER_CHARS = 120
MAX_SIGNATURE_CHARS = 48
TITLE_CHARS = range(3, 61)
SENTENCE_CHARS = range(20, 101)
MAX_SAME_ANSWERS = 3  # "This document has been placed in the public domain." under 500 titles tells nothing
PROSE_CHARS, PROSE_CHARS_A_DOCUMENT = 1_000_000, 5_000  # text that words for company are drawn from

PYTHON = (".py", ".pyi")
OTHER_CODE = (
    ".c .h .cc .cpp .hpp .cu .java .js .jsx .mjs .ts .tsx .go .rs .rb .php .cs .swift .kt .scala .sh .bash .sql .css "
    ".scss .toml .ini .cfg .yaml .yml .xml .lock .mk .lua .pl .r .jl .ipynb .tex .svg .bat .ps1 .cmake .proto"
)
LOOKS_LIKE_PYTHON = re.compile(r"^(?:def \w+\(.*|class \w+.*:|import \w[\w.]*|from [\w.]+ import .+)$", re.M)
DEFINITION = re.compile(r"(?:def|class) (\w+)")
TOP_LEVEL = re.compile(r"^(?=(?:async )?def |class |@)", re.M)

UNDERLINE = re.compile(r"\n([=\-~^\"'`#*+.:])\1{2,}(?=[ \t]*$)", re.M)
HASHED = re.compile(r"^#{1,6}[ \t]+(?P<title>[^\n]+?)[ \t#]*$", re.M)
PIECE_END = re.compile(r"[.!?…。！？]+[\"'”’)]*\s+|\n[ \t]*\n")
FENCED = re.compile(r"^[ \t]*(```|~~~).*?^[ \t]*\1[^\n]*$", re.M | re.S)
COUNTING_TITLE = re.compile(
    r"(?:chapter|book|part|volume|section|canto|act|scene|appendix)?[\s\dIVXLCDM.:\-–—]*", re.IGNORECASE
)
NOT_PROSE = re.compile(r"[ \t]{2,}|\.\. |[-*+>|:#<=~^`_$%@]|\d+[.)] |\(?[a-z]\) |[A-Z][\w-]*: |__")
UNPLAIN = re.compile(r"://|[|{}\\<>]|__|\$")
UNSAYABLE = re.compile(r"[\"“”„«»|{}\\<>=_`*#\[\]]|://|[.!?,]'|(?<!\w)['‘]")
HAS_MARKUP = re.compile(r"[`*_\[]")
# Markup that is not read aloud: pattern -> what stays of it.
MARKUP = (
    (re.compile(r"!\[[^\]]*\]\([^)]*\)"), ""),
    (re.compile(r"\[([^\]]+)\](?:\([^)]*\)|\[[^\]]*\])"), r"\1"),
    (re.compile(r"\s?\[[\w#*]+\]_"), ""),
    (re.compile(r":pep:`(\d+)`"), r"PEP \1"),
    (re.compile(r":[\w:+-]+:`([^`<]+?)\s*(?:<[^`]*>)?`"), r"\1"),
    (re.compile(r"`([^`<]+?)\s*<[^`]*>`__?"), r"\1"),
    (re.compile(r"`([^`]+)`__?(?!\w)"), r"\1"),
    (re.compile(r"``([^`]+)``"), r"`\1`"),
    (re.compile(r"\*\*([^*\n]+)\*\*"), r"\1"),
    (re.compile(r"(?<!\w)[*_]([^*_\n]+)[*_](?!\w)"), r"\1"),
)

Documents = Callable[[], Iterable[Document]]  # may be read more than once


@dataclass(frozen=True, slots=True)
class OwnFact:
    """`bare` without what tells it from its namesakes; `home` the document it is from, by a name that only it has."""

    kind: str  # "code", "section" or "passage"
    name: str
    answer: str
    source: str
    bare: str
    home: str = ""
    signature: str | None = None
    is_unique: bool = True  # whether nothing else has this bare name

    @property
    def file(self) -> str:
        return f"{self.home.replace('.', '/')}.py"


@dataclass(slots=True)
class FoundText:
    """Facts by rule, and all that exists in the text, so that no made-up name is real by accident."""

    facts: list[OwnFact] = field(default_factory=list)
    identifiers: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # by home
    titles: set[str] = field(default_factory=set)  # folded; bare, and `home: title`
    said: set[int] = field(default_factory=set)  # `key_of` every sentence; empty unless passages are facts
    prose: list[str] = field(default_factory=list)
    n_documents: int = 0


def find_facts(train: Documents, holdout: Documents = lambda: ()) -> FoundText:
    """Facts of the training documents; held-out documents only say what else exists.  Each is read a few times."""
    survey = _Survey(_shares(train()))
    for document in train():
        survey.add(document, is_taught=True)
    for document in holdout():
        survey.add(document, is_taught=False)
    found = survey.found()
    if len(found.facts) < PLENTY:
        passages, found.said = find_passages(train, holdout, survey.shares["passages"])
        found.facts += choose_evenly(passages, PLENTY - len(found.facts))
    return found


def _shares(documents: Iterable[Document]) -> dict[str, float]:
    """The share of documents that is searched for facts of a kind, so that a large text takes seconds too."""
    n_chars: Counter[str] = Counter()
    for document in documents:
        n_chars[kind_of(document)] += len(document.text)
    kinds = {"code": "python", "section": "prose", "passages": "prose"}
    return {name: SEARCHED_CHARS[name] / max(1, n_chars[kind]) for name, kind in kinds.items()}


def is_searched(purpose: str, document: Document, share: float) -> bool:
    """By hash; the pieces of one Python file together, so that all of its names are known."""
    name = document.source if document.source.endswith(PYTHON) else document.id
    return share >= 1 or bucket(purpose, name, 10_000) < 10_000 * share


class _Survey:
    """What the documents hold, before names are given.  Everything counts as existing; only a share is searched."""

    def __init__(self, shares: dict[str, float]) -> None:
        self.shares = shares
        self.n_documents = self.n_prose_chars = 0
        self.candidates: list[OwnFact] = []
        self.sources: dict[str, None] = {}
        self.identifiers: dict[str, set[str]] = defaultdict(set)
        self.definitions: Counter[str] = Counter()
        self.titles: list[tuple[str, str]] = []
        self.words: Counter[str] = Counter()

    def add(self, document: Document, *, is_taught: bool) -> None:
        self.sources[document.source] = None
        kind = kind_of(document)
        if kind == "python":
            names = DEFINITION.findall(document.text)
            self.definitions.update(names)
            self.identifiers[document.source].update(names)
            if is_searched("code", document, self.shares["code"]):
                self.identifiers[document.source].update(re.findall(r"[^\W\d]\w*", document.text))
                self.candidates += code_facts(document) if is_taught else ()
        elif kind == "prose":
            is_wanted = is_taught and is_searched("section", document, self.shares["section"])
            for title, body in sections(document):
                self.titles.append((document.source, title))
                if is_wanted and (answer := first_of_section(body)):
                    self.candidates.append(OwnFact("section", title, answer, document.source, title))
        self.n_documents += is_taught
        if is_taught and self.n_prose_chars < PROSE_CHARS:
            self.words.update(re.findall(PROSE_WORD, document.text[:PROSE_CHARS_A_DOCUMENT]))
            self.n_prose_chars += min(PROSE_CHARS_A_DOCUMENT, len(document.text))

    def found(self) -> FoundText:
        homes = name_homes(self.sources)
        found = FoundText(prose=by_frequency(self.words), n_documents=self.n_documents)
        for source, names in self.identifiers.items():
            found.identifiers[homes[source]] |= names
        title_count = Counter(fold(title) for _, title in self.titles)
        title_count.update(fold(f"{homes[source]}: {title}") for source, title in self.titles)
        found.titles = set(title_count)
        named = [*_named(self.candidates, homes, title_count, self.definitions)]
        name_count = Counter(fold(fact.name) for fact in named)
        found.facts = choose_evenly(_telling([f for f in named if name_count[fold(f.name)] == 1]), MAX_FACTS)
        return found


def kind_of(document: Document) -> str:
    """`python`, `prose`, or `code` of another language, by the ending of the source, else by its lines."""
    path = PurePosixPath(document.source)
    suffix = (path.with_suffix("") if path.suffix in COMPRESSIONS else path).suffix.lower()
    if suffix in PYTHON:
        return "python"
    if suffix and suffix in OTHER_CODE.split():
        return "code"
    return "python" if len(LOOKS_LIKE_PYTHON.findall(document.text[:5000])) >= 2 else "prose"


def name_homes(sources: Iterable[str]) -> dict[str, str]:
    """The shortest name that tells each source from the others: `a/b.py`, `c/b.py`, `d.md` -> `a.b`, `c.b`, `d`."""
    parts = {source: _home_parts(source) for source in sources}
    homes: dict[str, str] = {}
    waiting = list(parts)
    for depth in range(1, 9):
        names = {source: ".".join(parts[source][-depth:]) for source in waiting}
        count = Counter(names.values())
        homes |= {source: name for source, name in names.items() if count[name] == 1 or depth == 8}
        waiting = [source for source in waiting if source not in homes]
    return homes


def _home_parts(source: str) -> list[str]:
    path = PurePosixPath(source.removeprefix("stdlib:"))
    if path.suffix in COMPRESSIONS:
        path = path.with_suffix("")
    parts = [*path.parent.parts, path.stem]
    return parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts


def fold(text: str) -> str:
    return " ".join(text.casefold().split())


# ---- code --------------------------------------------------------------------------------------------------------


def code_facts(document: Document) -> Iterator[OwnFact]:
    """Public, documented functions and classes of a Python document's top level."""
    for node in _top_level(document.text):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        answer = first_sentence(ast.get_docstring(node) or "", MAX_ANSWER_CHARS, is_ascii=False)
        if answer:
            yield OwnFact("code", node.name, answer, document.source, node.name, signature=_signature(node))


def _top_level(text: str) -> list[ast.stmt]:
    """The statements of a module; of one that does not parse (a piece of a long file) those definitions that do."""
    try:
        return ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    body: list[ast.stmt] = []
    for piece in TOP_LEVEL.split(text)[:2000]:
        try:
            body += ast.parse(piece).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    return body


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str | None:
    """`(text, start, *, is_last=True)` without annotations; None for classes (dataclasses have no text of it)."""
    if isinstance(node, ast.ClassDef):
        return None
    parameters = node.args
    every = [*parameters.posonlyargs, *parameters.args, *parameters.kwonlyargs, parameters.vararg, parameters.kwarg]
    for parameter in every:
        if parameter is not None:
            parameter.annotation = None
    text = f"({ast.unparse(parameters)})"
    return text if len(node.name + text) <= MAX_SIGNATURE_CHARS else None


# ---- sections ----------------------------------------------------------------------------------------------------


def sections(document: Document) -> Iterator[tuple[str, str]]:
    """(title, beginning of what stands under it), in order."""
    text = document.text
    if "```" in text or "~~~" in text:
        text = FENCED.sub("", text)
    headings = sorted(_headings(text))
    for number, (_, end, title) in enumerate(headings):
        until = headings[number + 1][0] if number + 1 < len(headings) else len(text)
        yield title, text[end : min(until, end + 4000)]


def _headings(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, title) of each heading; short lines alone count only where nothing is marked as a heading."""
    hashed = HASHED.finditer(text) if "#" in text else ()
    marked = [*_underlined(text), *((m.start(), m.end(), m["title"]) for m in hashed)]
    for start, end, raw in marked or _alone(text):
        title = unmark(raw).strip(" :¶-–—").replace('"', "").replace("`", "")
        is_title = len(title) in TITLE_CHARS and title[-1:] not in ".,;?!" and any(c.isalpha() for c in title)
        if is_title and not COUNTING_TITLE.fullmatch(title) and not UNPLAIN.search(title):
            yield start, end, " ".join(title.split())


def _underlined(text: str) -> Iterator[tuple[int, int, str]]:
    for match in UNDERLINE.finditer(text):
        start = text.rfind("\n", 0, match.start()) + 1
        raw = text[start : match.start()].rstrip()
        if raw and not raw[0].isspace() and len(match[0]) >= len(raw) and raw[0] not in "=~^#*+":
            yield start, match.end(), raw


def _alone(text: str) -> Iterator[tuple[int, int, str]]:
    """Short lines with nothing above and below them, written as titles are: `The Song of the Grey Dog`."""
    start = 0
    for paragraph in text.split("\n\n"):
        raw = paragraph.strip("\n")
        if len(raw) in TITLE_CHARS and "\n" not in raw and UNSAYABLE.search(raw) is None:
            words = [word for word in raw.split() if len(word) > 3]
            if words and raw[0].isupper() and all(word[0].isupper() for word in words):
                yield start, start + len(paragraph), raw
        start += len(paragraph) + 2


def first_of_section(text: str) -> str | None:
    """The first sentence, None where a section begins with something else or the sentence is too long."""
    paragraph = next((p for p in re.split(r"\n[ \t]*\n", text) if p.strip()), "").strip("\n")
    if not paragraph or NOT_PROSE.match(paragraph):
        return None
    first = sentences(unmark(paragraph[: 4 * MAX_ANSWER_CHARS]))[0]
    return first if _is_answer(first) else None


def _is_answer(sentence: str) -> bool:
    is_whole = sentence[-1] in ".!?。！？" and not sentence[0].islower() and _is_closed(sentence)
    return is_whole and 20 <= len(sentence) <= MAX_ANSWER_CHARS and not UNPLAIN.search(sentence)


def _is_closed(sentence: str) -> bool:
    is_quoted_whole = sentence.count('"') % 2 == 0 and sentence.count("“") == sentence.count("”")
    return is_quoted_whole and sentence.count("(") == sentence.count(")") and sentence.count("`") % 2 == 0


def unmark(text: str) -> str:
    """Text as it would be read: ``see :pep:`8` and **this** [1]_`` -> `see 8 and this`."""
    if HAS_MARKUP.search(text) is not None:
        for pattern, kept in MARKUP:
            text = pattern.sub(kept, text)
    return text


# ---- passages ----------------------------------------------------------------------------------------------------


def find_passages(train: Documents, holdout: Documents, share: float) -> tuple[list[OwnFact], set[int]]:
    """Sentences that occur once in all of the text, each with its next; and the hashes of everything said in it."""
    count: Counter[int] = Counter()
    pairs: list[OwnFact] = []
    for documents, is_taught in ((train(), True), (holdout(), False)):
        for document in documents:
            if kind_of(document) == "prose":
                count.update(map(hash, _said(document.text)))
                if is_taught and is_searched("passages", document, share):
                    pairs += _pairs_of(document)
    return [pair for pair in pairs if count[key_of(pair.name)] == 1], set(count)


def _pairs_of(document: Document) -> list[OwnFact]:
    separator = r"\n[ \t]*\n" if re.search(r"\S[^\n]*\n[ \t]*\n", document.text) else r"\n"
    pairs = []
    for paragraph in re.split(separator, document.text):
        said = sentences(paragraph) if len(paragraph) >= 2 * SENTENCE_CHARS.start else []
        for sentence, following in pairwise(said):
            if _is_sayable(sentence) and _is_sayable(following):
                pairs.append(OwnFact("passage", sentence, following, document.source, sentence))
    stride = -(-len(pairs) // MAX_PASSAGES_A_DOCUMENT) or 1
    return pairs[::stride]


def _said(text: str) -> Iterator[str]:
    """What stands between two ends of sentences, paragraphs included; rough but fast, for counting."""
    for piece in PIECE_END.split(text):
        yield (" ".join(piece.split()) if "\n" in piece else piece).lstrip(" \"'“‘(")


def key_of(sentence: str) -> int:
    """What `_said` makes of a sentence's last piece, hashed (by this process: never written down)."""
    pieces = [piece for piece in _said(f"{sentence} ") if piece]
    return hash(pieces[-1] if pieces else sentence)


def _is_sayable(sentence: str) -> bool:
    if len(sentence) not in SENTENCE_CHARS or sentence[-1] not in ".!?。！？" or sentence[0].islower():
        return False
    is_wordy = sentence.count(" ") >= 3 or not sentence.isascii()
    return is_wordy and UNSAYABLE.search(sentence) is None and sentence.count("(") == sentence.count(")")


# ---- names and choice --------------------------------------------------------------------------------------------


def _named(
    candidates: Iterable[OwnFact], homes: dict[str, str], title_count: Counter[str], definitions: Counter[str]
) -> Iterator[OwnFact]:
    """Each fact with a name that nothing else has; those that cannot be told apart are left out."""
    for fact in candidates:
        home = homes[fact.source]
        if fact.kind == "code":
            is_module = all(part.isidentifier() for part in home.split(".")) and fact.source.endswith(PYTHON)
            is_unique = definitions[fact.bare] == 1
            if is_module or is_unique:
                name = f"{home}.{fact.bare}" if is_module else fact.bare
                yield replace(fact, name=name, home=home, is_unique=is_unique)
        else:
            is_unique = title_count[fold(fact.bare)] == 1
            name = fact.bare if is_unique else f"{home}: {fact.bare}"
            if title_count[fold(name)] == 1:
                yield replace(fact, name=name, home=home, is_unique=is_unique)


def _telling(facts: list[OwnFact]) -> list[OwnFact]:
    count = Counter(fact.answer for fact in facts)
    return [fact for fact in facts if count[fact.answer] <= MAX_SAME_ANSWERS and fold(fact.answer) != fold(fact.bare)]


def choose_evenly(facts: list[OwnFact], limit: int) -> list[OwnFact]:
    """At most `limit`, as many from one source as from another, by hash within a source."""
    if len(facts) <= limit:
        return facts
    by_source: dict[str, list[OwnFact]] = defaultdict(list)
    for fact in facts:
        by_source[fact.source].append(fact)
    ranked: list[tuple[int, int, str, OwnFact]] = []
    for own in by_source.values():
        own.sort(key=lambda fact: (bucket("chosen", fact.name, 2**62), fact.name))
        ranked += ((rank, bucket("chosen", fact.name, 2**62), fact.name, fact) for rank, fact in enumerate(own))
    ranked.sort(key=lambda item: item[:3])
    return [fact for *_, fact in ranked[:limit]]
