"""The verbs of `glass`.  Each is thin: it states its arguments and calls the folder that does the work.

Nothing heavy is imported until a verb is called: the help of any verb needs no torch.
"""

import sys
from pathlib import Path

from cyclopts import App, Parameter

from glasshouse import __version__
from glasshouse.cli.options import (
    LIKELIEST,
    RECIPES_DIAL,
    RUNS,
    VARIED,
    Dial,
    Sampling,
    Settings,
    Texts,
    VariedSampling,
)  # fmt: skip

app = App(
    name="glass",
    help="Grow your own language model, and see inside it.",
    version=f"Glasshouse {__version__}",
    help_format="plaintext",  # markdown would take half the time of a help page
    default_parameter=Parameter(negative_iterable=()),  # no --empty-set
    result_action="return_value",
)
tokenizer_app = App(name="tokenizer", help="Look at a tokenizer at work.")


@app.command
def quickstart(
    *, data: Texts = (), dial: Dial = RECIPES_DIAL, out: Path = RUNS / "quickstart", set_: Settings = ()
) -> None:
    """Grow an assistant from the text on this machine, from first byte to report.

    Parameters
    ----------
    data
        Your own text: a file, folder or glob. Without it, the Python standard library of this machine is read.
    out
        The run directory.
    """
    from glasshouse.cli.life import grow

    recipe = "own-text" if data else "quickstart"
    settings = [f"corpus.sources=[{', '.join(_toml_text(source) for source in data)}]"] if data else []
    grow(recipe, out, [*settings, *set_], dial.turned())


@app.command
def run(recipe: str, *, dial: Dial = RECIPES_DIAL, out: Path | None = None, set_: Settings = ()) -> None:
    """Run a recipe: every stage that is not up to date, then the report.

    Parameters
    ----------
    recipe
        A TOML file, or the name of a recipe that comes with Glasshouse.
    out
        The run directory; by default runs/ and the recipe's name.
    """
    from glasshouse.cli.life import grow

    grow(recipe, out, set_, dial.turned())


@app.command
def resume(path: Path) -> None:
    """Go on with a run that was interrupted, to the same result as if it had not been.

    Parameters
    ----------
    path
        The run directory, such as runs/quickstart.
    """
    from glasshouse.cli.life import go_on

    go_on(path)


@app.command
def runs(root: Path = RUNS) -> None:
    """List the runs below a folder: what they are, how far they came, what they cost.

    Parameters
    ----------
    root
        The folder.
    """
    from glasshouse.cli.life import show_runs

    show_runs(root)


@app.command
def plan(recipe: str = "quickstart", *, dial: Dial = RECIPES_DIAL, set_: Settings = ()) -> None:
    """Say what a recipe would build here, how long it would take and what it would cost; runs nothing.

    Parameters
    ----------
    recipe
        A TOML file, or the name of a recipe that comes with Glasshouse.
    """
    from glasshouse.cli.life import show_plan

    show_plan(recipe, set_, dial.turned())


@app.command
def report(path: Path) -> None:
    """Write report.html and MODEL_CARD.md of a run again, from its records.

    Parameters
    ----------
    path
        The run directory.
    """
    from glasshouse.cli.life import write_report

    write_report(path)


@app.command
def chat(
    model: Path = RUNS / "quickstart",
    *,
    system: str | None = None,
    history: bool | None = None,
    sampling: Sampling = LIKELIEST,
) -> None:
    """Talk to a model in the terminal.

    Parameters
    ----------
    model
        A run (runs/quickstart) or a checkpoint folder.
    system
        Instructions that stand before the conversation.
    history
        Whether earlier questions and answers are part of the prompt; by default as the model was taught.
    """
    from glasshouse.cli.talk import chat_loop

    chat_loop(model, system, sampling.to_json(), history)


@app.command
def generate(model: Path, prompt: str, *, n: int = 1, sampling: VariedSampling = VARIED) -> None:
    """Continue a text.

    Parameters
    ----------
    model
        A run (runs/quickstart) or a checkpoint folder.
    prompt
        The text to continue; - reads it from standard input.
    n
        How many continuations.
    """
    from glasshouse.cli.talk import print_continuations

    print_continuations(model, sys.stdin.read() if prompt == "-" else prompt, sampling.to_json(), n)


app.command(tokenizer_app)


@tokenizer_app.command
def show(text: str, *, model: Path = RUNS / "quickstart") -> None:
    """Show how a tokenizer cuts a text: coloured tokens and their ids.

    Parameters
    ----------
    text
        The text to cut.
    model
        A run, a checkpoint folder or a tokenizer folder.
    """
    from glasshouse.cli.talk import print_tokens

    print_tokens(model, text)


@app.command
def doctor() -> None:
    """Look at this machine: versions, devices, threads, compiler, numerics, speed; what to do about each problem."""
    from glasshouse.cli.doctor import print_diagnosis

    print_diagnosis()


def _toml_text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
