"""What the model read, and what was removed or changed with which reason."""

from dataclasses import dataclass

from glasshouse.report.records import Record, RunRecords, mapping
from glasshouse.report.units import format_bytes, plural

REMOVED_EXAMPLES_SHOWN = 6


REASONS = {
    "email": "e-mail addresses", "phone": "telephone numbers", "ip": "IP addresses", "card": "card numbers",
    "iban": "bank accounts", "secret": "secrets", "duplicate": "the same text as another document",
}  # fmt: skip


@dataclass(frozen=True)
class RemovedGroup:
    title: str
    action: str
    count: int
    examples: list[Record]


@dataclass(frozen=True)
class Corpus:
    summary: Record
    sources: list[tuple[str, str, str, float]]  # name, documents, bytes, percent of all bytes
    groups: list[RemovedGroup]
    sentence: str


def corpus(records: RunRecords) -> Corpus | None:
    stage = records.stage("corpus")
    if stage is None or not stage.summary:
        return None
    summary = stage.summary
    total = sum(s.get("n_bytes", 0) for s in mapping(summary.get("sources")).values()) or 1
    sources = [
        (name, f"{s.get('n_documents', 0):,}", format_bytes(s.get("n_bytes", 0)), 100 * s.get("n_bytes", 0) / total)
        for name, s in sorted(mapping(summary.get("sources")).items(), key=lambda pair: -pair[1].get("n_bytes", 0))
    ]
    groups = [
        _removed_group(step, reason, count, records)
        for step in summary.get("steps", [])
        for reason, count in sorted(mapping(step.get("reasons")).items(), key=lambda pair: -pair[1])
    ]
    return Corpus(summary, sources, groups, _corpus_sentence(summary))


def _removed_group(step: Record, reason: str, count: int, records: RunRecords) -> RemovedGroup:
    examples = records.removed.get((step.get("name", ""), reason), [])
    action = str(examples[0].get("action")) if examples else "removed" if step.get("n_removed") else "changed"
    return RemovedGroup(REASONS.get(reason, reason), action, count, examples[:REMOVED_EXAMPLES_SHOWN])


def _corpus_sentence(summary: Record) -> str:
    read, kept = (plural(summary.get(key, 0), "document") for key in ("n_read_documents", "n_documents"))
    text = f"{format_bytes(summary.get('n_read_bytes', 0))} were read in {read}; "
    text += f"{format_bytes(summary.get('n_bytes', 0))} in {kept} were kept."
    if held := summary.get("n_holdout_documents"):
        text += f" {plural(held, 'document')} of these were held back from training, to measure with."
    if planted := mapping(summary.get("canaries")).get("n_planted"):
        text += f" {plural(planted, 'sentence')} with invented secrets were planted among them, to measure with."
    if problems := summary.get("n_problems"):
        things = "1 file or line" if problems == 1 else f"{problems:,} files or lines"
        text += f" {things} could not be read: see corpus/problems.jsonl."
    return text
