"""The verbs that lead back to the training text: trace, index."""

import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from glasshouse.cli.talk import printable
from glasshouse.core.config import parse_config
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal

if TYPE_CHECKING:
    from glasshouse.explain import Continuations, Near, NextToken, Quotation, Trace
    from glasshouse.run.tracing import Traced

N_SHOWN = 300  # characters of an example


def trace_text(text: str, path: Path, prompt: str, settings: dict[str, Any], n_nearest: int, is_json: bool) -> None:
    """Print where `text` stands in the training text of the run at `path`, and the examples nearest to it."""
    from glasshouse.explain import TraceConfig
    from glasshouse.run.lineage import open_trace

    text = sys.stdin.read() if text == "-" else text
    config = parse_config(TraceConfig, settings)
    traced = open_trace(_run(path)).trace(text, prompt, config, n_nearest)
    if is_json:
        print(json.dumps(traced.to_json(), ensure_ascii=False, indent=2))
    else:
        _show(traced, Console(highlight=False, soft_wrap=True))


def show_next(text: str, path: Path, n: int, is_json: bool) -> None:
    """Print what followed the longest end of `text` that stands in training, beside what the model expects."""
    from glasshouse.core.environment import start_torch
    from glasshouse.run.tracing import RunTrace

    start_torch()
    from glasshouse.infer import Engine

    text = sys.stdin.read() if text == "-" else text
    run = RunTrace(_run(path))
    engine = Engine.load(path / "pretrain", max_running=1)  # what learned the training text, before it was taught more
    p_model = {id: math.exp(logp) for id, logp in engine.next_token(engine.prompt_ids(text), min(n, 20))}
    found, rows = run.next_tokens(text, p_model, n)
    if is_json:
        shown = {"context_tokens": found.context, "count": found.count}
        print(json.dumps({**shown, "next": [asdict(row) for row in rows]}, ensure_ascii=False, indent=2))
    else:
        _show_next(found, rows)


def index(path: Path) -> None:
    """Make the indexes that the run at `path` lacks."""
    from glasshouse.run.resolve import read_resolved
    from glasshouse.run.tracing import index_run

    run = _run(path)
    index_run(run, read_resolved(run), Terminal())


def _run(path: Path) -> RunDirectory:
    from glasshouse.run.find import open_run

    return open_run(path)


def _show(traced: "Traced", console: Console) -> None:
    trace = traced.trace
    console.print(_underlined(trace))
    share = f"{100 * trace.p_covered:.0f} % of its {trace.n_tokens:,} tokens"
    if trace.quotations:
        console.print(
            f"\n{share} stand in the training text, the longest run {trace.longest_tokens:,} tokens", style="dim"
        )
    else:
        console.print(
            f"\nno passage stands in the training text (longest run {trace.longest_tokens} tokens)", style="dim"
        )
    for quotation in trace.quotations:
        _show_quotation(quotation, console)
    for stage, near in traced.nearest.items():
        _show_examples(stage, near, console)


def _underlined(trace: "Trace") -> Text:
    """The text with what was found underlined.  Styled before control characters are replaced one for one."""
    shown = Text(printable(trace.text))
    for start, stop in trace.covered:
        shown.stylize("bold underline", start, stop)
    return shown


def _show_quotation(quotation: "Quotation", console: Console) -> None:
    n_tokens, times = quotation.last - quotation.first, _times(quotation.count)
    console.print()
    console.print(Text.assemble(
        (f"“{_one_line(quotation.text)}”", "bold"), (f"  {n_tokens} tokens, {times}, {quotation.bits:.0f} bits", "dim")
    ))  # fmt: skip
    for place in quotation.places:
        console.print(Text.assemble(
            ("  ", ""), (f"{place.source}:{place.offset}", "green"), ("  …", "dim"), (_one_line(place.before), "dim"),
            (_one_line(place.text), "bold"), (_one_line(place.after), "dim"), ("…", "dim"),
        ))  # fmt: skip


def _show_examples(stage: str, near: "list[Near] | Any", console: Console) -> None:
    if near:
        console.print(f"\nnearest examples of {stage}", style="bold green")
    for found in near:
        example = found.example
        console.print(Text.assemble(
            ("  ", ""), (f"{example.source} {example.id}", "green"), (f"  {found.score:.1f}", "dim"), ("\n  › ", "dim"),
            _one_line(example.prompt)[:N_SHOWN], ("\n  + ", "dim"), _one_line(example.answer)[:N_SHOWN],
            *([("\n  - ", "dim"), (_one_line(example.rejected)[:N_SHOWN], "red")] if example.rejected else []),
        ))  # fmt: skip


def _show_next(found: "Continuations", rows: "list[NextToken]") -> None:
    console = Console(highlight=False)
    console.print(f"the last {found.context} tokens stand {_times(found.count)} in the training text", style="dim")
    table = Table(box=None, header_style="bold green")
    for column, side in (("next", "left"), ("in training", "right"), ("times", "right"), ("model", "right")):
        table.add_column(column, justify=side)  # type: ignore[arg-type]
    for row in rows:
        model = "" if row.p_model is None else f"{100 * row.p_model:.1f} %"
        table.add_row(Text(printable(repr(row.text)[1:-1])), f"{100 * row.p_training:.1f} %", f"{row.count:,}", model)
    console.print(table)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _one_line(text: str) -> str:
    return printable(text).replace("\n", "⏎").replace("\t", " ")
