"""The life as a picture: a glasshouse with one pane a stage, rooted in the time it took.

Drawn twice, wide and tall; the page shows the one that fits.  Units: SVG user units, about one CSS pixel.
All text in it is escaped: it comes from records.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from glasshouse.report.records import Record, RunRecords, StageRecord, mapping
from glasshouse.report.story.preferences import evaluations_around
from glasshouse.report.story.whole import is_chat, n_parameters
from glasshouse.report.units import (
    format_bytes,
    format_count,
    format_energy,
    format_number,
    format_score,
    format_seconds,
    plural,
)


@dataclass(frozen=True)
class Pane:
    """`key` is the one number of the stage, `caption` what it counts, `notes` two short lines."""

    name: str
    key: str
    caption: str
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    joules: float = 0.0
    is_done: bool = True

    @property
    def spent(self) -> list[str]:
        """Time and energy, what there was of them."""
        parts = [format_seconds(self.seconds)] if self.seconds else []
        return parts + ([format_energy(self.joules)] if self.joules else [])

    @property
    def took(self) -> str:
        return " · ".join(self.spent)


def panes(records: RunRecords) -> list[Pane]:
    made = [_text(records)]
    for stage in records.stages:
        key, caption, notes = _describe(stage, records)
        seconds = float(stage.seconds or 0)
        made.append(
            Pane(stage.name, key, caption, notes, seconds, float(stage.cost.get("joules", 0)), stage.is_finished)
        )
    made.append(_assistant(records))
    return [pane for pane in made if pane.key or pane.name in {stage.name for stage in records.stages}]


def _text(records: RunRecords) -> Pane:
    corpus = records.stage("corpus")
    summary: Record = corpus.summary if corpus else {}
    n_bytes, n_documents = summary.get("n_read_bytes", 0), summary.get("n_read_documents", 0)
    return Pane("text", format_bytes(n_bytes) if n_bytes else "", "read", (plural(n_documents, "document"),))


def _describe(stage: StageRecord, records: RunRecords) -> tuple[str, str, tuple[str, ...]]:
    summary = stage.summary
    if stage.name == "corpus" and summary:
        n_removed = sum(step.get("n_removed", 0) for step in summary.get("steps", []))
        n_changed = sum(step.get("n_changed", 0) for step in summary.get("steps", []))
        return format_bytes(summary.get("n_bytes", 0)), "kept", (f"{n_removed:,} removed", f"{n_changed:,} changed")
    if stage.name == "tokenizer" and summary:
        per_token = summary.get("bytes_per_token")
        note = (f"{per_token:.2f} bytes each",) if per_token else ()
        return f"{summary.get('vocab_size', 0):,}", "tokens", note
    if stage.name == "evals":
        return _verdict(records)
    if stage.result:
        return _judged(stage, records)
    if stage.is_training:
        return _training(stage)
    return "", "", ()


def _training(stage: StageRecord) -> tuple[str, str, tuple[str, ...]]:
    summary = stage.summary
    notes = (f"{format_count(summary['n_tokens'])} tokens", f"{plural(summary['steps'], 'step')}")
    bits = summary.get("bits_per_byte")
    if stage.name != "pretrain" or not bits:  # answers are scored by their loss: their bytes are few
        return f"{summary.get('loss') or 0:.3g}", "loss on answers", notes
    return f"{bits:.3g}", "bits a byte", notes


def _judged(stage: StageRecord, records: RunRecords) -> tuple[str, str, tuple[str, ...]]:
    """Learning from people: what it was for, in one number."""
    result = stage.result
    steps = (plural(stage.summary["steps"], "step"),) if "steps" in stage.summary else ()
    if accuracy := mapping(mapping(result.get("quality")).get("accuracy")):
        notes = (plural(result.get("n_trained", 0), "comparison"), *steps)
        return format_score(accuracy["value"], "share"), "agrees with people", notes
    if around := evaluations_around(records):
        before, after = ({s["name"]: s["value"] for s in result["scores"]}.get("wrong") for result in around)
        if before is not None and after is not None:
            return format_score(after, "share"), "wrong answers", (f"{format_score(before, 'share')} before", *steps)
    if (ranked := mapping(result.get("held_out")).get("eval/accuracy")) is not None:
        return format_score(ranked, "share"), "ranked as judged", (f"{result.get('n_learned', 0):,} judged", *steps)
    if None not in (result.get("reward_before"), result.get("reward_after")):
        before = f"{format_number(result['reward_before'])} before"
        return format_number(result["reward_after"]), "mean reward", (before, *steps)
    return _training(stage) if stage.is_training else ("", "", ())


def _verdict(records: RunRecords) -> tuple[str, str, tuple[str, ...]]:
    if not records.evaluations:
        return "", "", ()
    scores = {score["name"]: score for score in records.evaluations[-1]["scores"]}
    if "exact" in scores:
        honest = scores.get("honest_refusal")
        note = (f"{format_score(honest['value'], 'share')} honest on", "made-up names") if honest else ()
        return format_score(scores["exact"]["value"], "share"), "right answers", note
    first = records.evaluations[-1]["scores"][0]
    return format_score(first["value"], first.get("unit", "")), first["name"].replace("_", " "), ()


def _assistant(records: RunRecords) -> Pane:
    parameters = n_parameters(records)
    talks, judges = is_chat(records), records.stage_with("quality") is not None  # a reward model stays in its stage
    return Pane(
        "assistant" if talks else "reward model" if judges else "model",
        format_count(parameters) if parameters else "",
        "parameters",
        ("ready to talk",) if records.has_model and talks else (),
        is_done=records.has_model or (judges and not talks),
    )


# Wide: the roof falls from its ridge to the eaves; panes stand between them; roots lead down to the soil of time.
WIDTH, RIDGE, EAVES, FLOOR, SOIL = 1160, 10, 74, 262, 322
NARROW = 160  # a pane below this has no room for time and energy on one line
CHARACTER = 6.6  # width of a note's, on average


def draw_wide(shown: Sequence[Pane]) -> str:
    width = WIDTH / len(shown)
    parts = [_wide_pane(pane, i * width, width) for i, pane in enumerate(shown)]
    parts += [_arrow(i * width, 168) for i in range(1, len(shown))]
    parts.append(f'<path class="roof" d="M0 {EAVES} L{WIDTH / 2} {RIDGE} L{WIDTH} {EAVES}"/>')
    parts.append(_soil_wide(shown, width))
    return _svg("wide", -4, 0, WIDTH + 8, SOIL + 52, shown, "".join(parts))


def _roof(x: float) -> float:
    return RIDGE + (EAVES - RIDGE) * abs(x - WIDTH / 2) / (WIDTH / 2)


def _wide_pane(pane: Pane, x: float, width: float) -> str:
    left, right = f"{x:.1f} {_roof(x):.1f}", f"{x + width:.1f} {_roof(x + width):.1f}"
    ridge = f" L{WIDTH / 2} {RIDGE}" if x < WIDTH / 2 < x + width else ""
    shape = f"M{left}{ridge} L{right} L{x + width:.1f} {FLOOR} L{x:.1f} {FLOOR} Z"
    is_narrow = width < NARROW
    at = x + (15 if is_narrow else 20)
    spent = pane.spent if is_narrow else [pane.took]
    lines = [
        f'<path class="pane{"" if pane.is_done else " open"}" d="{shape}"/>',
        _label("stage", at, 112, pane.name),
        _label("key", at, 152, pane.key or "…"),
        _label("caption", at, 172, pane.caption),
        *(_label("note", at, 196 + 16 * i, note) for i, note in enumerate(pane.notes[:2])),
        *(_label("took", at, (251 if is_narrow else 246) - 16 * i, text) for i, text in enumerate(reversed(spent))),
    ]
    return "".join(lines)


def _arrow(x: float, y: float) -> str:
    """What flows from pane to pane: a small pointer on the glazing bar."""
    return f'<path class="arrow" d="M{x - 3.5:.1f} {y - 5.5} L{x + 4:.1f} {y} L{x - 3.5:.1f} {y + 5.5}"/>'


def _soil_wide(shown: Sequence[Pane], width: float) -> str:
    total = sum(pane.seconds for pane in shown)
    if not total:
        return ""
    parts, at = [f'<line class="floor" x1="0" y1="{FLOOR}" x2="{WIDTH}" y2="{FLOOR}"/>'], 0.0
    for i, pane in enumerate(shown):
        span = WIDTH * pane.seconds / total
        if span == 0:
            continue
        middle, top = at + span / 2, (i + 0.5) * width
        bend, tone = (FLOOR + SOIL) / 2, f"tone-{i % 6}"
        root = f"M{top:.1f} {FLOOR} C{top:.1f} {bend} {middle:.1f} {bend} {middle:.1f} {SOIL}"
        parts.append(f'<path class="root {tone}" d="{root}"/>')
        parts.append(
            f'<rect class="soil {tone}" x="{at:.1f}" y="{SOIL}" width="{max(span - 1.5, 1):.1f}" height="16" rx="2"/>'
        )
        if span > 120:
            label = f"{pane.name} {format_seconds(pane.seconds)} · {100 * pane.seconds / total:.0f} %"
            room = CHARACTER * len(label) / 2
            parts.append(_label("note", min(max(middle, room), WIDTH - room), SOIL + 36, label, "middle"))
        at += span
    return "".join(parts)


ROW, TALL_WIDTH, TALL_RIDGE, TALL_EAVES = 96, 360, 6, 40


def draw_tall(shown: Sequence[Pane]) -> str:
    bottom = TALL_EAVES + ROW * len(shown)
    total = sum(pane.seconds for pane in shown)
    left = 46 if total else 0
    parts, at = [], float(TALL_EAVES)
    for i, pane in enumerate(shown):
        y = TALL_EAVES + ROW * i
        parts.append(_tall_pane(pane, y, left))
        if i:
            x = (left + TALL_WIDTH) / 2
            parts.append(f'<path class="arrow" d="M{x - 5.5} {y - 3.5} L{x} {y + 4} L{x + 5.5} {y - 3.5}"/>')
        if pane.seconds:
            span, tone = (bottom - TALL_EAVES) * pane.seconds / total, f"tone-{i % 6}"
            middle, row = at + span / 2, y + ROW / 2
            parts.append(
                f'<path class="root {tone}" d="M{left} {row} C{left - 16} {row} 30 {middle:.1f} 14 {middle:.1f}"/>'
            )
            parts.append(
                f'<rect class="soil {tone}" x="0" y="{at:.1f}" width="14" height="{max(span - 1.5, 1):.1f}" rx="2"/>'
            )
            at += span
    ridge = (left + TALL_WIDTH) / 2
    parts.append(f'<path class="roof" d="M{left} {TALL_EAVES} L{ridge} {TALL_RIDGE} L{TALL_WIDTH} {TALL_EAVES}"/>')
    return _svg("tall", -1, 0, TALL_WIDTH + 2, bottom + 4, shown, "".join(parts))


def _tall_pane(pane: Pane, y: float, left: float) -> str:
    at, end = left + 16, TALL_WIDTH - 16
    state = "" if pane.is_done else " open"
    return "".join([
        f'<rect class="pane{state}" x="{left}" y="{y}" width="{TALL_WIDTH - left}" height="{ROW}"/>',
        _label("stage", at, y + 26, pane.name),
        *(_label("note", at, y + 46 + 16 * i, note) for i, note in enumerate(pane.notes[:2])),
        _label("took", at, y + 83, pane.took),
        _label("key", end, y + 44, pane.key or "…", "end"),
        _label("caption", end, y + 65, pane.caption, "end"),
    ])  # fmt: skip


def _label(kind: str, x: float, y: float, text: str, anchor: str = "start") -> str:
    if not text:
        return ""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(form: str, x: float, y: float, width: float, height: float, shown: Sequence[Pane], body: str) -> str:
    told = "; ".join(f"{pane.name}: {pane.key} {pane.caption} {pane.took}".strip() for pane in shown)
    return (
        f'<svg class="life {form}" viewBox="{x} {y} {width} {height}" role="img" aria-labelledby="life-{form}">'
        f'<title id="life-{form}">{escape(f"The stages of this run, in order. {told}")}</title>{body}</svg>'
    )
