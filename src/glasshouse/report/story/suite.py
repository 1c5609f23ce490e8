"""The trust suite as a chapter: what each probe found after each stage, told in words, panels, tables and examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from glasshouse.report.records import Record, RunRecords, mapping
from glasshouse.report.story.marks import DotPanel, dot_rows
from glasshouse.report.units import (
    NO_VALUE,
    format_co2,
    format_energy,
    format_interval,
    format_money,
    format_score,
    format_share,
    is_share,
)

EXAMPLES_SHOWN = 4


@dataclass(frozen=True)
class Measure:
    """How a score is called, and whether more of it is better; None where neither is."""

    title: str
    is_more_better: bool | None
    is_main: bool = True


MEASURES: Mapping[str, Measure] = {
    "confidently_wrong": Measure("Wrong, and sure of it", False),
    "abstains_made_up": Measure("Made-up names: says it does not know", True),
    "accuracy": Measure("Right, of all that was asked", True, is_main=False),
    "accuracy_of_surest_half": Measure("Right, of the half it was surest of", True),
    "answers_ece": Measure("Calibration error of its answers", False),
    "answers_brier": Measure("Brier score of its answers", False, is_main=False),
    "choice_ece": Measure("Calibration error, one of four choices", False),
    "choice_brier": Measure("Brier score, one of four choices", False, is_main=False),
    "choice_accuracy": Measure("Right choice of four", True, is_main=False),
    "crows_pairs": Measure("CrowS-Pairs: the stereotype is likelier (half: no bias)", None),
    "winobias": Measure("WinoBias: the stereotype is likelier (half: no bias)", None),
    "bbq_accuracy": Measure("BBQ: right answers", True, is_main=False),
    "bbq_bias_ambiguous": Measure("BBQ: bias where the text does not tell (0: none)", None, is_main=False),
    "bbq_bias_clear": Measure("BBQ: bias where the text tells (0: none)", None, is_main=False),
    "mask said": Measure("Led to an identifier: says the mask", None),
    "identifier said": Measure("Led to an identifier: says one", False),
    "identifier returned": Measure("Says one that was taken out of its text", False),
    "refused_harmful": Measure("Refuses what the policy forbids", True),
    "refused_harmless": Measure("Refuses the harmless twin", False),
}
# What each probe asks, for a reader who has never heard of it.
PROBES: Mapping[str, tuple[str, str]] = {
    "hallucination": ("Does it invent?", "Questions with known answers, and questions about names that do not exist."),
    "calibration": ("Is it right as often as it is sure?", "Its probabilities beside how often it was right."),
    "bias": ("Does it judge people by their group?", "The same sentence about two groups; 0 or one half is no "
             "difference."),
    "memorisation": ("What does it know by heart?", "Invented secrets planted in its text, beginnings of its text, "
                     "and what it writes freely; controls were never in its text."),
    "privacy": ("Do private details come out?", "It is led to identifiers, and what it says is searched for them."),
    "robustness": ("Does the wording decide?", "The same questions with typos, in other letters, put otherwise, and "
                   "with their options in another order."),
    "misuse": ("Does it refuse what it should?", "Forbidden requests, each beside a harmless twin."),
    "spending": ("What does an answer cost?", "Energy, money and CO₂ of a thousand tokens."),
}  # fmt: skip


@dataclass(frozen=True)
class Told:
    prompt: str
    said: str
    note: str


@dataclass(frozen=True)
class Table:
    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class Part:
    """One probe: panels of the last finding or of all stages; scores, tables and examples of the last."""

    probe: str
    title: str
    asks: str
    panels: list[DotPanel]
    scores: list[tuple[str, str, str, str]] = field(default_factory=list)  # title, value, interval, items
    tables: list[Table] = field(default_factory=list)
    examples: list[Told] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # how its numbers were found, where that is not plain


@dataclass(frozen=True)
class Suite:
    """`basis` says after which stage, how large and how long."""

    basis: str
    parts: list[Part]


def suite(records: RunRecords) -> Suite | None:
    if not records.trust:
        return None
    last = records.trust[-1]
    stages = ", ".join(str(record["after"]) for record in records.trust)
    basis = f"The {last.get('size', 'short')} form of the trust suite, after {stages}. Examples are of the last."
    parts = [_part(name, records.trust) for name in mapping(last.get("probes"))]
    return Suite(basis, [part for part in parts if part.panels or part.tables or part.missing])


def _part(name: str, trust: Sequence[Record]) -> Part:
    title, asks = PROBES.get(name, (name.capitalize(), ""))
    last = mapping(mapping(trust[-1].get("probes")).get(name))
    data = mapping(last.get("data"))
    examples = [Told(str(e.get("prompt", "")), str(e.get("said", "")), str(e.get("note", "")))
                for e in map(mapping, last.get("examples") or [])]  # fmt: skip
    return Part(
        name, title, asks, _panels(name, trust, last), [_row(s) for s in last.get("scores") or []], _tables(data),
        examples[:EXAMPLES_SHOWN],
        [str(text) for text in last.get("missing") or []], _notes(data),
    )  # fmt: skip


def _notes(data: Record) -> list[str]:
    notes = []
    if rows := [mapping(row) for row in data.get("exposure") or []]:
        n_beyond, n = (sum(int(row.get(key, 0)) for row in rows) for key in ("n_extrapolated", "n"))
        drawn = f"Ranks are among {data.get('n_drawn', 0):,} drawn secrets"
        beyond = (
            f"{n_beyond:,} of {n:,} planted or control ones were likelier than all of them: theirs are extrapolated"
        )
        notes.append(f"{drawn}; {beyond}.")
    if any(mapping(cost).get("is_estimated") for cost in mapping(data.get("per_1000_tokens")).values()):
        notes.append("Energy is estimated from processor time, not measured.")
    return notes


def _panels(probe: str, trust: Sequence[Record], last: Record) -> list[DotPanel]:
    """A score a panel and a stage a row; those that belong together are the rows of one panel, of the last stage."""
    panels: list[DotPanel] = []
    grouped: dict[str, list[tuple[str, Record]]] = {}
    for score in last.get("scores") or []:
        what, colon, which = str(score["name"]).partition(": ")
        if colon or what not in MEASURES:
            grouped.setdefault(_group_of(probe, what, which), []).append((_label_of(probe, what, which), score))
            continue
        rows = [(str(r["after"]), s) for r in trust for s in scores_of(r, probe) if s["name"] == what]
        measure = MEASURES[what]
        hint = {True: "more is better", False: "less is better", None: ""}[measure.is_more_better]
        shown = f"{hint} · {score['count']:,} items" if hint else f"{score['count']:,} items"
        panels.append(DotPanel(measure.title, shown, dot_rows(rows), is_main=measure.is_main))
    for title, rows in grouped.items():
        equals = [replace(row, is_last=True) for row in dot_rows(rows)]
        panels.append(DotPanel(title, f"after {trust[-1]['after']} · {rows[0][1].get('unit', '')}", equals))
    return panels


def _row(score: Record) -> tuple[str, str, str, str]:
    unit = str(score.get("unit", ""))
    known = MEASURES.get(str(score["name"]))
    title = known.title if known else sentence(str(score["name"])) + ("" if is_share(unit) else f" ({unit})")
    shown = format_score(score["value"], unit), format_interval(score["low"], score["high"], unit)
    return title, *shown, f"{score['count']:,}"


def sentence(name: str) -> str:
    """`association: men, women` -> `Association: men, women`; names of groups keep their capitals."""
    return name[:1].upper() + name[1:]


def _label_of(probe: str, what: str, which: str) -> str:
    """`typos` of `typos: answers changed`; `32 tokens, control` of `continues 32 tokens: control`."""
    if probe == "robustness":
        return what
    if what.startswith(("continues ", "verbatim ")):
        return what.partition(" ")[2] + (f", {which}" if which else "")
    return which or what


def _group_of(probe: str, what: str, which: str) -> str:
    if what == "association":
        return "Expects better of the first group (right) or of the second (left)"
    if what == "exposure":
        return "Exposure of planted secrets, by how often they were planted"
    if probe == "memorisation":
        return "Goes on word for word" if what.startswith("continues") else "Holds text of its training word for word"
    if probe == "robustness":
        return "Answers that changed" if which == "answers changed" else "Change of accuracy"
    return "Energy" if probe == "spending" else what.capitalize()


def scores_of(record: Record, probe: str | None = None) -> list[Record]:
    """Of one probe, or of all."""
    probes = mapping(record.get("probes"))
    chosen = [found for name, found in probes.items() if probe in (None, name)]
    return [score for found in chosen for score in mapping(found).get("scores") or []]


def _tables(data: Record) -> list[Table]:
    tables: list[Table] = []
    for key, title in (("crows_pairs", "CrowS-Pairs"), ("winobias", "WinoBias")):
        if pairs := [
            (str(r["kind"]), f"{r['n']:,}", format_share(r["share"])) for r in map(mapping, data.get(key) or [])
        ]:
            tables.append(Table(title, ("about", "pairs", "stereotype likelier"), pairs))
    topics = [(str(r["topic"]), f"{r['refused_harmful']} of {r['n']}", f"{r['refused_harmless']} of {r['n']}")
              for r in map(mapping, data.get("topics") or [])]  # fmt: skip
    if topics:
        tables.append(Table("By topic", ("topic", "forbidden, refused", "harmless, refused"), topics))
    costs = [(str(name), *_spent(mapping(cost))) for name, cost in mapping(data.get("per_1000_tokens")).items()]
    if costs:
        tables.append(Table("Of a thousand tokens", ("", "energy", "money", "CO₂"), costs))
    return tables


def _spent(cost: Record) -> tuple[str, str, str]:
    energy = format_energy(cost["joules"]) if cost.get("joules") else NO_VALUE
    return energy, format_money(cost.get("usd", 0)), format_co2(cost.get("co2_g", 0))
