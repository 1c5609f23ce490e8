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
from pathlib import PurePosixPath

from glasshouse.core.records import Document
from glasshouse.corpus.phrasing import PROSE_WORD, bucket
from glasshouse.corpus.sentence import first_sentence, sentences
from glasshouse.corpus.sources import COMPRESSIONS

MAX_FACTS = 3000  # of code and sections; what a small model learns by heart in minutes
PLENTY = 1000  # passages are added up to this many facts
PASSAGE_CHARS = 6_000_000  # about as much prose is searched for passages, in documents chosen by hash
MAX_PASSAGES_A_DOCUMENT = 300
MAX_ANSWER_CHARS = 120
MAX_SIGNATURE_CHARS = 48
TITLE_CHARS = range(3, 61)
SENTENCE_CHARS = range(20, 101)
MAX_SAME_ANSWERS = 3  # "This document has been placed in the public domain." under 500 titles tells nothing
PROSE_CHARS, PROSE_CHARS_A_DOCUMENT = 1_000_000, 5_000  # text that words for company are drawn from

PYTHON = (".py", ".pyi")
OTHER_CODE = frozenset(
    ".c .h .cc .cpp .hpp .cu .java .js .jsx .mjs .ts .tsx .go .rs .rb .php .cs .swift .kt .scala .sh .bash .sql .css "
    ".scss .toml .ini .cfg .yaml .yml .xml .lock .mk .lua .pl .r .jl .ipynb .tex .svg .bat .ps1 .cmake .proto".split()
)
LOOKS_LIKE_PYTHON = re.compile(r"^(?:def \w+\(.*|class \w+.*:|import \w[\w.]*|from [\w.]+ import .+)$", re.M)
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
    (re.compile(r":[\w:+-]+:`([^`<]+?)\s*(?:<[^`]*>)?`"), r"\1"),
    (re.compile(r"`([^`<]+?)\s*<[^`]*>`__?"), r"\1"),
    (re.compile(r"`([^`]+)`__?(?!\w)"), r"\1"),
    (re.compile(r"``([^`]+)``"), r"`\1`"),
    (re.compile(r"\*\*([^*\n]+)\*\*"), r"\1"),
    (re.compile(r"(?<!\w)[*_]([^*_\n]+)[*_](?!\w)"), r"\1"),
)


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


def find_facts(
    train: Callable[[], Iterable[Document]], holdout: Callable[[], Iterable[Document]] = lambda: ()
) -> FoundText:
    """Facts of the training documents; held-out documents only say what else exists.  Each is read once or twice."""
    found = FoundText()
    candidates: list[OwnFact] = []
    sources: dict[str, None] = {}
    identifiers: dict[str, set[str]] = defaultdict(set)
    titles: list[tuple[str, str]] = []
    words: set[str] = set()
    n_chars = n_prose_chars = 0
    for document in train():
        found.n_documents += 1
        n_chars += len(document.text)
        sources[document.source] = None
        candidates += _facts_of(document, identifiers, titles)
        if n_prose_chars < PROSE_CHARS:
            words.update(re.findall(PROSE_WORD, document.text[:PROSE_CHARS_A_DOCUMENT]))
            n_prose_chars += min(PROSE_CHARS_A_DOCUMENT, len(document.text))
    for document in holdout():
        sources[document.source] = None
        _facts_of(document, identifiers, titles)
    homes = name_homes(sources)
    for source, names in identifiers.items():
        found.identifiers[homes[source]] |= names
    found.titles = {folded for source, title in titles for folded in (fold(title), fold(f"{homes[source]}: {title}"))}
    named = _name(candidates, homes, Counter(fold(title) for _, title in titles))
    found.facts = choose_evenly(_telling(named), MAX_FACTS)
    found.prose = sorted(words)
    if len(found.facts) < PLENTY:
        passages, found.said = find_passages(train, holdout, n_chars)
        found.facts += choose_evenly(passages, PLENTY - len(found.facts))
    return found


def _facts_of(
    document: Document, identifiers: dict[str, set[str]], titles: list[tuple[str, str]]
) -> Iterator[OwnFact]:
    kind = kind_of(document)
    if kind == "python":
        identifiers[document.source].update(re.findall(r"[^\W\d]\w*", document.text))
        return code_facts(document)
    if kind == "prose":
        found = list(section_facts(document))
        titles += ((document.source, title) for title, _ in found)
        return iter([OwnFact("section", title, answer, document.source, title) for title, answer in found if answer])
    return iter(())


def kind_of(document: Document) -> str:
    """`python`, `prose`, or `code` of another language, by the ending of the source, else by its lines."""
    path = PurePosixPath(document.source)
    suffix = (path.with_suffix("") if path.suffix in COMPRESSIONS else path).suffix.lower()
    if suffix in PYTHON:
        return "python"
    if suffix in OTHER_CODE:
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


def section_facts(document: Document) -> Iterator[tuple[str, str | None]]:
    """(title, first sentence under it or None where there is no usable one) in order."""
    text = document.text
    if "```" in text or "~~~" in text:
        text = FENCED.sub("", text)
    headings = sorted(_headings(text))
    for number, (_, end, title) in enumerate(headings):
        until = headings[number + 1][0] if number + 1 < len(headings) else len(text)
        yield title, _first_of_section(text[end : min(until, end + 4000)])


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


def _first_of_section(text: str) -> str | None:
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


def find_passages(
    train: Callable[[], Iterable[Document]], holdout: Callable[[], Iterable[Document]], n_prose_chars: int
) -> tuple[list[OwnFact], set[int]]:
    """Sentences that occur once in all of the text, each with its next; and the hashes of everything said in it."""
    share = min(1.0, PASSAGE_CHARS / max(1, n_prose_chars))
    count: Counter[int] = Counter()
    pairs: list[OwnFact] = []
    for documents, is_taught in ((train(), True), (holdout(), False)):
        for document in documents:
            if kind_of(document) == "prose":
                count.update(map(hash, _said(document.text)))
                if is_taught and bucket("passages", document.id, 1000) < 1000 * share:
                    pairs += _pairs_of(document)
    return [pair for pair in pairs if count[key_of(pair.name)] == 1], set(count)


def _pairs_of(document: Document) -> list[OwnFact]:
    separator = r"\n[ \t]*\n" if re.search(r"\S[^\n]*\n[ \t]*\n", document.text) else r"\n"
    pairs = []
    for paragraph in re.split(separator, document.text):
        said = sentences(paragraph) if len(paragraph) >= 2 * SENTENCE_CHARS.start else []
        for sentence, following in zip(said, said[1:], strict=False):
            if _is_sayable(sentence) and _is_sayable(following):
                pairs.append(OwnFact("passage", sentence, following, document.source, sentence))
    stride = -(-len(pairs) // MAX_PASSAGES_A_DOCUMENT) or 1
    return pairs[::stride]


def _said(text: str) -> Iterator[str]:
    """What stands between two ends of sentences, paragraphs included; rough but fast, for counting."""
    for piece in PIECE_END.split(text):
        yield " ".join(piece.split()) if "\n" in piece else piece


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


def _name(candidates: Iterable[OwnFact], homes: dict[str, str], title_count: Counter[str]) -> list[OwnFact]:
    """Each fact with a name that no other has; those that cannot be told apart are left out."""
    candidates = list(candidates)
    code_count = Counter(fact.bare for fact in candidates if fact.kind == "code")
    named: list[OwnFact] = []
    for fact in candidates:
        home = homes[fact.source]
        if fact.kind == "code":
            is_module = all(part.isidentifier() for part in home.split(".")) and fact.source.endswith(PYTHON)
            name = f"{home}.{fact.bare}" if is_module else fact.bare
            is_unique = code_count[fact.bare] == 1
        else:
            is_unique = title_count[fold(fact.bare)] == 1
            name = fact.bare if is_unique else f"{home}: {fact.bare}"
        named.append(replace(fact, name=name, home=home, is_unique=is_unique))
    count = Counter(fold(fact.name) for fact in named)
    return [fact for fact in named if count[fold(fact.name)] == 1]


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
