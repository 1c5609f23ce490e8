"""What is taught of somebody's own text, and what is kept from training: 3 % of its names, by a hash."""

from functools import lru_cache
from pathlib import Path

from glasshouse.core.errors import DataError
from glasshouse.corpus.build import CorpusSummary, read_documents
from glasshouse.corpus.canaries import CANARY
from glasshouse.corpus.own_facts import FoundText, OwnFact, find_facts
from glasshouse.corpus.phrasing import fit_prose, is_held_out, phrasings
from glasshouse.corpus.wording import HELD_OUT, by_kind

MIN_FACTS = 20
MAX_COMPANY = 20_000  # distinct words that may stand around a question, the most frequent


class OwnText:
    """What is taught of a text and what is kept from training."""

    def __init__(self, found: FoundText) -> None:
        self.found = found
        self.facts = tuple(found.facts)
        self.taught = tuple(fact for fact in self.facts if not is_held_out(fact.name))
        self.held_out = tuple(fact for fact in self.facts if is_held_out(fact.name))
        code = self.of("code")
        asked = {
            "summary": code,
            "signature": tuple(fact for fact in code if fact.signature is not None),
            "file": tuple(fact for fact in code if fact.is_unique and fact.home and fact.name != fact.bare),
            "section": self.of("section"),
            "passage": self.of("passage"),
        }
        self.asked = {kind: facts for kind, facts in asked.items() if facts}
        self.identifiers = frozenset().union(*found.identifiers.values()) if found.identifiers else frozenset()
        names = {part for fact in self.facts if fact.kind == "code" for part in (fact.name, fact.bare, fact.home)}
        held_out = {f"{name}/{kind}": t for name, s in HELD_OUT.items() for kind, t in by_kind(s, "text").items()}
        prose = fit_prose(found.prose, names, held_out)[:MAX_COMPANY]
        self.phrasings = phrasings("text", prose or ("and",))

    @staticmethod
    def read(corpus: Path) -> "OwnText":
        """Of a finished corpus; the same corpus is read once in a process.  Too few facts raise `DataError`."""
        return _read(corpus.resolve(), CorpusSummary.load(corpus).sha256)

    def of(self, kind: str) -> tuple[OwnFact, ...]:
        return tuple(fact for fact in self.taught if fact.kind == kind)

    def describe(self) -> str:
        """`1,204 facts of your text taught (310 names, 894 sections), 38 held out`."""
        counts = {"names": self.of("code"), "sections": self.of("section"), "sentences": self.of("passage")}
        parts = ", ".join(f"{len(facts):,} {what}" for what, facts in counts.items() if facts)
        return f"{len(self.taught):,} facts of your text taught ({parts}), {len(self.held_out):,} held out"


@lru_cache(maxsize=2)
def _read(corpus: Path, sha256: str) -> OwnText:
    own = OwnText(
        find_facts(
            lambda: (d for d in read_documents(corpus, "train") if d.source != CANARY),
            lambda: read_documents(corpus, "holdout"),
        )
    )
    if len(own.taught) < MIN_FACTS:
        raise DataError(
            f'sft.conversations = "text:" makes questions from your text and needs at least {MIN_FACTS} facts, but '
            f"found {len(own.taught)} in {own.found.n_documents} documents ({len(own.of('code'))} documented names, "
            f"{len(own.of('section'))} headed sections, {len(own.of('passage'))} sentences that lead to another). Add "
            'text; or give conversations in a file: sft.conversations = "chats.jsonl"; or leave out fine-tuning: '
            'stages = ["corpus", "tokenizer", "pretrain", "evals-pretrain"]'
        )
    return own
