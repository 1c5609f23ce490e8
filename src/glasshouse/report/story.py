"""What the page says, worked out from the records: plain values and plain text, no markup.

Each section is one frozen dataclass, or None (or an empty list) where the run has no records for it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from glasshouse.report.life import n_parameters
from glasshouse.report.records import Record, RunRecords, StageRecord
from glasshouse.report.units import (
    NO_VALUE,
    format_bytes,
    format_co2,
    format_count,
    format_energy,
    format_flops,
    format_interval,
    format_money,
    format_score,
    format_seconds,
    format_share,
    is_share,
    plural,
)

EXAMPLES_SHOWN = 5
REMOVED_EXAMPLES_SHOWN = 6
SAMPLE_CHARS = 600

# name of a score -> (in words, whether more of it is better)
SCORES: dict[str, tuple[str, bool]] = {
    "exact": ("Right answers, word for word", True),
    "normalised": ("Right answers, case and punctuation aside", True),
    "wrong": ("Wrong answers, said as if they were true", False),
    "refused_known": ("Known names, wrongly refused", False),
    "honest_refusal": ("Made-up names, honestly refused", True),
    "exact_refusal": ("Made-up names, refused in the taught words", True),
    "bits_per_byte": ("Bits a byte of text held back", False),
}
FINER_SCORES = ("normalised", "exact_refusal")  # shown on demand


@dataclass(frozen=True)
class Figure:
    """One of the few numbers at the top.  `range` is a 95 % interval where there is one."""

    value: str
    label: str
    range: str = ""


@dataclass(frozen=True)
class Headline:
    title: str
    status: str  # "" when the run is whole
    lead: str
    figures: list[Figure]
    command: str


def headline(records: RunRecords) -> Headline:
    stages = {stage.name for stage in records.stages}
    command = f"glass chat {records.path}" if "sft" in stages else f"glass generate {records.path}"
    return Headline(
        records.name, _status(records), _lead(records), _figures(records), command if records.has_model else ""
    )


def _status(records: RunRecords) -> str:
    if records.is_finished:
        return ""
    if records.interruption is not None:
        stage = records.interruption.get("stage") or "a stage"
        return f"This run was interrupted during {stage}. Go on with: glass resume {records.path}"
    open_stages = [stage.name for stage in records.stages if not stage.is_finished]
    if open_stages:
        return f"This run is not finished: {', '.join(open_stages)} began and has no result yet."
    return "This run holds some of the stages of a whole life; the others are left out below."


def _lead(records: RunRecords) -> str:
    parameters = n_parameters(records)
    thing = "assistant" if records.stage("sft") else "language model" if records.training_stages else "corpus"
    size = f" of {format_count(parameters)} parameters" if parameters else ""
    text = f"{'An' if thing == 'assistant' else 'A'} {thing}{size}"
    if origin := text_in_words(records):
        text += f", grown from {origin}"
    if seconds := total_seconds(records):
        text += f" in {format_seconds(seconds)}"
    if cores := _mapping(records.plan.get("device")).get("n_cores"):
        text += f" on {plural(cores, 'core')}"
    return text + "."


def text_in_words(records: RunRecords) -> str:
    corpus = records.stage("corpus")
    names = list(_mapping(corpus.summary.get("sources")) if corpus else {})
    if not names:
        return ""
    if is_builtin(records):
        version = ".".join(str(_mapping(records.actual.get("versions")).get("python", "")).split(".")[:2])
        return f"the Python {version + ' ' if version else ''}standard library"
    shown = [name.rstrip("/").rsplit("/", 1)[-1] or name for name in names[:3]]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def is_builtin(records: RunRecords) -> bool:
    """Grown from the built-in text alone, whose questions are held out by construction."""
    corpus = records.stage("corpus")
    names = list(_mapping(corpus.summary.get("sources")) if corpus else {})
    return bool(names) and all(name.startswith("stdlib") for name in names)


def total_seconds(records: RunRecords) -> float:
    return float(records.actual.get("seconds") or sum(stage.seconds or 0 for stage in records.stages))


def _figures(records: RunRecords) -> list[Figure]:
    figures = []
    scores = latest_scores(records)
    for name, label in (
        (
            "exact",
            "right answers"
            + (" to questions worded in new ways" if is_builtin(records) else " to the questions asked"),
        ),
        ("honest_refusal", "of made-up names honestly refused"),
        ("wrong", "answered wrongly, as if it were true"),
    ):
        if name in scores:
            figures.append(_score_figure(scores[name], label))
    bits = bits_per_byte(records)
    if len(figures) < 3 and bits:
        figures.append(Figure(f"{bits:.3g}", "bits a byte: how well it foresees text held back"))
    if seconds := total_seconds(records):
        predicted = _mapping(records.plan.get("predicted")).get("seconds")
        label = "from text to model" + (f", predicted {format_seconds(predicted)}" if predicted else "")
        figures.append(Figure(format_seconds(seconds), label))
    joules = total_cost(records).get("joules", 0)
    if joules and len(figures) < 5:
        usd = total_cost(records).get("usd", 0)
        word = "estimated" if total_cost(records).get("is_estimated", True) else "measured"
        figures.append(Figure(format_energy(joules), f"of electricity, {format_money(usd)} ({word})"))
    return figures


def _score_figure(score: Record, label: str) -> Figure:
    unit = score.get("unit", "")
    return Figure(format_score(score["value"], unit), label, format_interval(score["low"], score["high"], unit))


def latest_scores(records: RunRecords) -> dict[str, Record]:
    return {score["name"]: score for score in records.evaluations[-1]["scores"]} if records.evaluations else {}


def bits_per_byte(records: RunRecords) -> float | None:
    """Of held-out text after pretraining; fine-tuning is for answers and may lose a little of it."""
    for result in records.evaluations:
        if result["after"] == "pretrain":
            for score in result["scores"]:
                if score["name"] == "bits_per_byte":
                    return float(score["value"])
    stage = records.stage("pretrain")
    value = stage.summary.get("bits_per_byte") if stage else None
    return float(value) if value else None


def total_cost(records: RunRecords) -> Record:
    own = _mapping(records.actual.get("cost"))
    if own:
        return own
    costs = [stage.cost for stage in records.stages if stage.cost]
    keys = ("flops", "seconds", "joules", "usd", "co2_g")
    total: dict[str, Any] = {key: sum(cost.get(key, 0) for cost in costs) for key in keys}
    total["is_estimated"] = any(cost.get("is_estimated", True) for cost in costs)
    return total if costs else {}


@dataclass(frozen=True)
class SampleRow:
    when: str
    quality: str
    text: str


@dataclass(frozen=True)
class SampleGroup:
    stage: str
    prompt: str
    rows: list[SampleRow]
    is_chat: bool
    is_first: bool  # of its stage; the others are shown on demand


def samples(records: RunRecords) -> list[SampleGroup]:
    groups: dict[tuple[str, str], list[Record]] = {}
    for event in records.samples:
        groups.setdefault((str(event.get("stage", "")), str(event.get("prompt", ""))), []).append(event)
    firsts = dict(reversed(groups))  # the first prompt of each stage
    return [
        SampleGroup(stage, prompt, [_sample_row(e, records) for e in events], stage == "sft", firsts[stage] == prompt)
        for (stage, prompt), events in groups.items()
    ]


def _sample_row(event: Record, records: RunRecords) -> SampleRow:
    step, fraction = event.get("step", 0), event.get("fraction")
    when = format_share(fraction) if isinstance(fraction, int | float) else f"step {step:,}"
    near = [r["metrics"] for r in records.curves.get(str(event.get("stage")), []) if r.get("step", 0) <= step]
    metrics: Record = near[-1] if near else {}
    if event.get("stage") == "sft" and "loss" in metrics:
        quality = f"loss {metrics['loss']:.2g}"
    else:
        quality = f"{metrics['bits_per_byte']:.3g} bits/byte" if "bits_per_byte" in metrics else ""
    text = str(event.get("text", ""))
    return SampleRow(when, quality, text[:SAMPLE_CHARS] + ("…" if len(text) > SAMPLE_CHARS else ""))


@dataclass(frozen=True)
class DotRow:
    """`at`, `low`, `high` in percent of the track's width."""

    label: str
    value: str
    range: str
    at: float
    low: float
    high: float
    is_last: bool = False


@dataclass(frozen=True)
class DotPanel:
    title: str
    hint: str
    rows: list[DotRow]
    is_main: bool = True


def score_panels(records: RunRecords) -> list[DotPanel]:
    """One panel a score, one row a stage: what each stage changed."""
    present = {score["name"] for result in records.evaluations for score in result["scores"]}
    names = [n for n in SCORES if n in present] + sorted(present - set(SCORES))
    by_stage = [(r["after"], {s["name"]: s for s in r["scores"]}) for r in records.evaluations]
    return [_panel(name, [(after, scores[name]) for after, scores in by_stage if name in scores]) for name in names]


def _panel(name: str, rows: Sequence[tuple[str, Record]]) -> DotPanel:
    title, is_more_better = SCORES.get(name, (name.replace("_", " ").capitalize(), True))
    count = rows[-1][1].get("count", 0)
    better = "more is better" if is_more_better else "less is better"
    things = "texts" if name == "bits_per_byte" else "questions"
    return DotPanel(title, f"{better} · {count:,} {things}", _dot_rows(rows), is_main=name not in FINER_SCORES)


def _dot_rows(rows: Sequence[tuple[str, Record]]) -> list[DotRow]:
    is_percent = all(is_share(score.get("unit", "")) for _, score in rows)
    end = 1.0 if is_percent else 1.05 * max([score["high"] for _, score in rows] or [1.0]) or 1.0
    made = []
    for number, (label, score) in enumerate(rows, 1):
        unit = score.get("unit", "")
        at, low, high = (min(100.0, max(0.0, 100 * score[k] / end)) for k in ("value", "low", "high"))
        shown = format_score(score["value"], unit), format_interval(score["low"], score["high"], unit)
        made.append(DotRow(label, *shown, at, low, high, is_last=number == len(rows)))
    return made


def kind_panel(records: RunRecords) -> DotPanel | None:
    """The last evaluation by kind of question: the share that was right, or honestly refused."""
    kinds = _mapping(_mapping(records.evaluations[-1].get("groups")).get("kind")) if records.evaluations else {}
    rows = []
    for kind, scores in kinds.items():
        by_name = {score["name"]: score for score in scores}
        score = by_name.get("exact") or by_name.get("honest_refusal")
        if score:
            rows.append((kind.replace("_", " "), score))
    if not rows:
        return None
    equals = [replace(row, is_last=True) for row in _dot_rows(rows)]
    return DotPanel("Good answers by kind of question", "right, or for made-up names refused", equals, is_main=False)


@dataclass(frozen=True)
class Part:
    """A part of a bar, in percent."""

    label: str
    at: float
    share: float
    tone: str

    @property
    def shown(self) -> str:
        return format_share(self.share / 100)


@dataclass(frozen=True)
class Example:
    prompt: str
    said: str
    truth: str


@dataclass(frozen=True)
class ExampleGroup:
    title: str
    count: int
    examples: list[Example]


@dataclass(frozen=True)
class Trust:
    basis: str
    bars: list[tuple[str, list[Part]]]
    verdict: str
    groups: list[ExampleGroup]


def trust(records: RunRecords) -> Trust | None:
    """How far it can be trusted, from the last evaluation's outcomes and its surest faults."""
    scores = latest_scores(records)
    bars = []
    if {"wrong", "refused_known"} <= set(scores):
        wrong, refused = scores["wrong"]["value"], scores["refused_known"]["value"]
        parts = [("right", 1 - wrong - refused, "good"), ("refused", refused, "plain"), ("wrong", wrong, "bad")]
        bars.append((f"Asked about {scores['wrong']['count']:,} things that exist", _parts(parts)))
    if "honest_refusal" in scores:
        honest = scores["honest_refusal"]["value"]
        parts = [("refused, rightly", honest, "good"), ("invented an answer", 1 - honest, "bad")]
        bars.append((f"Asked about {scores['honest_refusal']['count']:,} names that do not exist", _parts(parts)))
    never_taught = _mapping(records.evaluations[-1].get("never_taught")) if records.evaluations else {}
    for score in never_taught.get("scores", []):
        if score["name"] == "honest_refusal":
            parts = [("said it does not know", score["value"], "plain"), ("guessed", 1 - score["value"], "bad")]
            bars.append((f"Asked about {score['count']:,} real names it was never taught", _parts(parts)))
    if not bars:
        return None
    basis = "Measured on questions worded in ways it was never trained on." if is_builtin(records) else ""
    return Trust(basis, bars, _verdict(scores), _faults(records.evaluations[-1]))


def _parts(parts: Iterable[tuple[str, float, str]]) -> list[Part]:
    made, at = [], 0.0
    for label, share, tone in parts:
        percent = max(0.0, 100 * share)
        made.append(Part(label, at, percent, tone))
        at += percent
    return made


def _verdict(scores: Mapping[str, Record]) -> str:
    """What follows for somebody who reads one answer."""
    sentences = []
    if {"wrong", "refused_known"} <= set(scores):
        wrong, asserted = scores["wrong"]["value"], 1 - scores["refused_known"]["value"]
        if asserted > 0:
            sentences.append(f"When it answers about something that exists, {_one_in(wrong / asserted)} wrong.")
    if "honest_refusal" in scores:
        believed = 1 - scores["honest_refusal"]["value"]
        sentences.append(f"Asked about something that does not exist, it makes something up {_times(believed)}.")
    return " ".join([*sentences, "Outside what it was asked here, nothing has been measured: check what it says."])


def _one_in(share: float) -> str:
    if share <= 0:
        return "no answer in this test was"
    return (
        f"about one answer in {round(1 / share):,} is" if share < 0.4 else f"{format_share(share)} of the answers are"
    )


def _times(share: float) -> str:
    if share <= 0:
        return "never in this test"
    return f"about one time in {round(1 / share):,}" if share < 0.4 else f"{format_share(share)} of the time"


FAULTS = {
    "wrong": "Wrong, said as if it were true",
    "invented": "Invented for a name that does not exist",
    "refused": "Refused although it was taught",
}


def _faults(result: Record) -> list[ExampleGroup]:
    """The surest faults first: those are the ones that mislead."""
    items, counts = result.get("items") or [], _mapping(result.get("outcomes"))
    groups = []
    for outcome, title in FAULTS.items():
        found = sorted((i for i in items if i.get("outcome") == outcome), key=lambda i: -(i.get("logp_sum") or 0))
        distinct = list({item.get("text", ""): item for item in reversed(found)}.values())[::-1]
        shown = [_example(item) for item in (distinct if len(distinct) >= 3 else found)[:EXAMPLES_SHOWN]]
        if shown:
            groups.append(ExampleGroup(title, int(counts.get(outcome, len(found))), shown))
    return groups


def _example(item: Record) -> Example:
    return Example(str(item.get("prompt", "")), str(item.get("text", "")), str((item.get("expected") or [""])[0]))


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
    total = sum(s.get("n_bytes", 0) for s in _mapping(summary.get("sources")).values()) or 1
    sources = [
        (name, f"{s.get('n_documents', 0):,}", format_bytes(s.get("n_bytes", 0)), 100 * s.get("n_bytes", 0) / total)
        for name, s in sorted(_mapping(summary.get("sources")).items(), key=lambda pair: -pair[1].get("n_bytes", 0))
    ]
    groups = [
        _removed_group(step, reason, count, records)
        for step in summary.get("steps", [])
        for reason, count in sorted(_mapping(step.get("reasons")).items(), key=lambda pair: -pair[1])
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
    if problems := summary.get("n_problems"):
        things = "1 file or line" if problems == 1 else f"{problems:,} files or lines"
        text += f" {things} could not be read: see corpus/problems.jsonl."
    return text


@dataclass(frozen=True)
class CostRow:
    stage: str
    seconds: float
    share: float  # percent of the longest
    time: str
    flops: str
    energy: str
    money: str
    co2: str
    is_total: bool = False


def costs(records: RunRecords) -> list[CostRow]:
    spent = [stage for stage in records.stages if stage.cost or stage.seconds]
    if not spent:
        return []
    longest = max(stage.seconds or 0 for stage in spent) or 1.0
    rows = [_cost_row(stage.name, stage.cost, stage.seconds or 0, longest) for stage in spent]
    other_s = total_seconds(records) - sum(stage.seconds or 0 for stage in spent)
    if other_s > 0.5:
        rows.append(_cost_row("everything else", {}, other_s, longest))
    total = _cost_row("together", total_cost(records), total_seconds(records), longest)
    return [*rows, CostRow(**{**total.__dict__, "is_total": True, "share": 0.0})]


def _cost_row(name: str, cost: Record, seconds: float, longest: float) -> CostRow:
    def shown(key: str, form: Any) -> str:
        return form(cost[key]) if cost.get(key) else NO_VALUE

    return CostRow(
        name, seconds, 100 * seconds / longest, format_seconds(seconds), shown("flops", format_flops),
        shown("joules", format_energy), shown("usd", format_money), shown("co2_g", format_co2),
    )  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """`at` in percent of a track from -50 % to +50 %."""

    what: str
    predicted: str
    actual: str
    difference: str
    at: float
    is_near: bool  # within 20 %


def comparisons(records: RunRecords) -> list[Comparison]:
    predicted = _mapping(records.plan.get("predicted"))
    stages = _mapping(predicted.get("stages"))
    cost = total_cost(records)
    trained = [s for s in records.training_stages if s.summary.get("n_tokens") and s.is_finished]
    tokens = sum(s.summary["n_tokens"] for s in trained) if len(trained) == len(records.training_stages) else None
    found: list[tuple[str, Any, Any, Any]] = [
        ("whole time", predicted.get("seconds"), records.actual.get("seconds"), format_seconds),
        *((f"· {s.name}", _predicted_seconds(stages, s.name), s.seconds, format_seconds) for s in records.stages),
        ("peak memory", predicted.get("memory_bytes"), records.actual.get("peak_memory_bytes"), format_bytes),
        ("bits a byte", predicted.get("bits_per_byte"), bits_per_byte(records), lambda value: f"{value:.3g}"),
        ("energy", predicted.get("joules"), cost.get("joules") if records.actual else None, format_energy),
        ("parameters", predicted.get("parameters"), n_parameters(records), format_count),
        ("tokens trained on", predicted.get("tokens"), tokens, format_count),
    ]
    return [_comparison(what, p, a, form) for what, p, a, form in found if p and a]


def _predicted_seconds(stages: Record, name: str) -> float:
    """Evaluations are planned one by one and told as one."""
    parts = [part for planned, part in stages.items() if planned == name or planned.startswith(f"{name}-")]
    return sum(_mapping(part).get("seconds") or 0 for part in parts)


def _comparison(what: str, predicted: float, actual: float, form: Any) -> Comparison:
    off = actual / predicted - 1
    shown = "as predicted" if abs(off) < 0.005 else f"{100 * off:+.0f} %".replace("-", "−")
    return Comparison(what, form(predicted), form(actual), shown, min(100.0, max(0.0, 50 + 100 * off)), abs(off) <= 0.2)


@dataclass(frozen=True)
class Provenance:
    rows: list[tuple[str, str, bool]]  # what, value, whether it is a hash or path to be set in a fixed width
    recipe: list[tuple[str, str]] = field(default_factory=list)  # line, where its value came from


def provenance(records: RunRecords) -> Provenance:
    device = _mapping(records.plan.get("device"))
    rows: list[tuple[str, str, bool]] = []
    if device:
        size = format_bytes(device.get("memory_bytes", 0))
        rows.append(("machine", f"{device.get('name', '')}, {plural(device.get('n_cores', 0), 'core')}, {size}", False))
        speed = f"{format_count(device.get('flops_per_s', 0))}FLOP/s, {format_bytes(device.get('bytes_per_s', 0))}/s"
        rows.append(("measured speed", speed, False))
    rows += [(name, str(version), False) for name, version in _mapping(records.actual.get("versions")).items()]
    for stage, key, label in (("corpus", "sha256", "corpus sha256"), ("tokenizer", "hash", "tokenizer sha256")):
        record = records.stage(stage)
        if record and record.summary.get(key):
            rows.append((label, str(record.summary[key]), True))
    return Provenance(rows, [_recipe_line(line) for line in records.recipe.strip().splitlines()])


def _recipe_line(line: str) -> tuple[str, str]:
    """Split the note on where a value came from off its line (`dump_toml` writes it behind two spaces and a #)."""
    value, mark, note = line.rpartition("  # ")
    return (value, note) if mark else (line, "")


def model_rows(records: RunRecords) -> list[tuple[str, str]]:
    """The shape of the network in words."""
    stage = next((s for s in reversed(records.stages) if s.summary.get("model")), None)
    return _shape_rows(stage) if stage else []


def _shape_rows(stage: StageRecord) -> list[tuple[str, str]]:
    model = _mapping(stage.summary.get("model"))
    labels = {
        "n_layers": "layers", "d_model": "width", "n_heads": "attention heads", "n_kv_heads": "key and value heads",
        "d_ff": "feed-forward width", "max_seq_len": "context, tokens", "vocab_size": "vocabulary",
    }  # fmt: skip
    return [(label, f"{model[key]:,}") for key, label in labels.items() if isinstance(model.get(key), int)]


def _mapping(value: Any) -> Record:
    return value if isinstance(value, Mapping) else {}
