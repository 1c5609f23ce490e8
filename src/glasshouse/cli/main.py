"""The command `glass`.  Every verb is thin: it reads its arguments and calls the folder that does the work.

Nothing heavy is imported until a verb needs it: `glass --help` answers in a fifth of a second.
"""

import signal
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console

from glasshouse import __version__
from glasshouse.core.errors import GlasshouseError

app = App(
    name="glass",
    help="Grow your own language model, and see inside it.",
    version=f"Glasshouse {__version__}",
    help_format="plaintext",  # markdown would take half the time of --help
    result_action="return_value",
)
tokenizer_app = App(name="tokenizer", help="Look at a tokenizer at work.")
app.command(tokenizer_app)

RUNS = Path("runs")
Settings = Annotated[
    tuple[str, ...],
    Parameter(name=("--set",), negative=(), help="Override one recipe key: --set pretrain.steps=10. May be repeated."),
]


@app.command
def quickstart(
    *,
    data: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    time: str | None = None,
    params: str | None = None,
    flops: str | None = None,
    out: Path = RUNS / "quickstart",
    set_: Settings = (),
) -> None:
    """Grow an assistant from the text on this machine, from first byte to report.

    Parameters
    ----------
    data
        Your own text: a file, folder or glob. Without it, the Python standard library of this machine is read.
    time
        Time for the whole life, such as 5m or 1h. (One of time, params and flops.)
    params
        Size of the model, such as 5M.
    flops
        Floating-point operations of training, such as 1e14.
    out
        The run directory.
    set_
        Override one recipe key.
    """
    from glasshouse.cli.life import grow

    recipe = "own-text" if data else "quickstart"
    settings = [f"corpus.sources=[{', '.join(_toml_text(source) for source in data)}]"] if data else []
    grow(recipe, out, [*settings, *set_], _dial(time, params, flops))


@app.command
def run(
    recipe: str,
    *,
    out: Path | None = None,
    time: str | None = None,
    params: str | None = None,
    flops: str | None = None,
    set_: Settings = (),
) -> None:
    """Run a recipe: every stage that is not up to date, then the report.

    Parameters
    ----------
    recipe
        A TOML file, or the name of a recipe that comes with Glasshouse.
    out
        The run directory; by default runs/ and the recipe's name.
    time, params, flops
        Turn the recipe's dial.
    set_
        Override one recipe key.
    """
    from glasshouse.cli.life import grow

    grow(recipe, out, set_, _dial(time, params, flops))


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
    """List the runs below a folder: what they are, how far they came, what they cost."""
    from glasshouse.cli.life import show_runs

    show_runs(root)


@app.command
def plan(
    recipe: str = "quickstart",
    *,
    time: str | None = None,
    params: str | None = None,
    flops: str | None = None,
    set_: Settings = (),
) -> None:
    """Say what a recipe would build here, how long it would take and what it would cost; runs nothing.

    Parameters
    ----------
    recipe
        A TOML file, or the name of a recipe that comes with Glasshouse.
    time, params, flops
        Turn the dial: --time 10m, --params 5M or --flops 1e15.
    set_
        Override one recipe key.
    """
    from glasshouse.cli.life import show_plan

    show_plan(recipe, set_, _dial(time, params, flops))


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
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    max_tokens: int = 200,
    seed: int = 0,
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
    temperature
        0 always takes the likeliest token; higher is more varied.
    top_k, top_p, min_p
        Keep only the likeliest tokens: so many, so much probability, or above a share of the best one's.
    repetition_penalty
        Above 1 makes tokens that have occurred less likely.
    max_tokens
        The longest answer.
    seed
        Seed of the sampling.
    """
    from glasshouse.cli.talk import chat_loop

    sampling = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p,
                    "repetition_penalty": repetition_penalty, "max_tokens": max_tokens, "seed": seed}  # fmt: skip
    chat_loop(model, system, sampling, history)


@app.command
def generate(
    model: Path,
    prompt: str,
    *,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float | None = 0.95,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    max_tokens: int = 200,
    stop: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    seed: int = 0,
    n: int = 1,
) -> None:
    """Continue a text.

    Parameters
    ----------
    model
        A run (runs/quickstart) or a checkpoint folder.
    prompt
        The text to continue; - reads it from standard input.
    temperature
        0 always takes the likeliest token; higher is more varied.
    top_k, top_p, min_p
        Keep only the likeliest tokens: so many, so much probability, or above a share of the best one's.
    repetition_penalty
        Above 1 makes tokens that have occurred less likely.
    max_tokens
        The longest continuation.
    stop
        Text at which to stop; may be repeated.
    seed
        Seed of the sampling.
    n
        How many continuations.
    """
    from glasshouse.cli.talk import print_continuations

    sampling = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p, "stop": stop,
                    "repetition_penalty": repetition_penalty, "max_tokens": max_tokens, "seed": seed}  # fmt: skip
    print_continuations(model, sys.stdin.read() if prompt == "-" else prompt, sampling, n)


@app.command
def doctor() -> None:
    """Look at this machine: versions, devices, threads, compiler, numerics, speed; what to do about each problem."""
    from glasshouse.cli.doctor import print_diagnosis

    print_diagnosis()


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


def _dial(time: str | None, params: str | None, flops: str | None) -> dict[str, str]:
    """The knobs that were turned; they replace the recipe's own."""
    return {name: value for name, value in (("time", time), ("params", params), ("flops", flops)) if value is not None}


def _toml_text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def main(arguments: list[str] | None = None) -> Any:
    """Entry point: a user's error is one red line and an exit code, Ctrl-C says how to go on."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        app(arguments, exit_on_error=False, print_error=True)
    except CycloptsError:
        sys.exit(2)
    except GlasshouseError as error:
        console.print("error", style="bold red", end=": ")
        console.print(str(error), markup=False)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        console.print("\ninterrupted", style="bold yellow")
        sys.exit(130)


if __name__ == "__main__":
    main()
