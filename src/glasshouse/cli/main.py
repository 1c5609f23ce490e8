"""The command `glass`: its front page, and what becomes of errors.

The verbs are in `commands`.  Left out: parsing, which is cyclopts'.
"""

import os
import signal
import sys
from collections.abc import Sequence

from glasshouse.core.environment import world
from glasshouse.core.errors import GlasshouseError

VERBS = {
    "quickstart": "Grow an assistant from the text on this machine.",
    "run": "Run a recipe: every stage that is not up to date, then the report.",
    "resume": "Go on with a run that was interrupted.",
    "runs": "List runs: how far they came, what they cost.",
    "plan": "Say what a recipe would build here, and what it would cost.",
    "ladder": "Train small models, and predict a larger one from them.",
    "report": "Write report.html and MODEL_CARD.md of a run again.",
    "chat": "Talk to a model in the terminal.",
    "generate": "Continue a text.",
    "serve": "Answer the API of OpenAI with models on this machine.",
    "studio": "Open the studio in the browser: chat, look inside, compare, label.",
    "eval": "Put tasks to a model: scores with intervals, every answer kept.",
    "compare": "Say whether two models differ, item by item.",
    "align": "Teach a model what people, or rules, find better.",
    "reward": "Train a reward model from what people preferred.",
    "explain": "Look inside: the layers, heads and tokens behind an answer.",
    "trace": "Lead a text back to the training text.",
    "index": "Make what trace reads, for a run without it.",
    "trust": "Measure how far a model can be trusted.",
    "label": "Have people judge answers: write, rank, rate, edit.",
    "key": "Make, list and revoke the keys of the server.",
    "moderation": "Train a classifier that guards the server.",
    "export": "Write a model as two files that people can read in one sitting.",
    "tokenizer": "Look at a tokenizer at work.",
    "doctor": "Look at this machine, and say what to do about each problem.",
}


def front_page() -> str:
    lines = [f"  {verb:<12}{summary}" for verb, summary in VERBS.items()]
    return "\n".join([
        "Usage: glass VERB", "", "Grow your own language model, and see inside it.", "",
        *lines, "", "glass VERB --help explains one; glass --version tells the version.",
    ])  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: a user's error is one red line and an exit code, Ctrl-C says how to go on."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if set(arguments) <= {"--help", "-h"}:  # 0.05 s; cyclopts alone takes 0.2 s to import, its pages 0.15 s more
            print(front_page())
        else:
            _obey(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # `glass ... | head`: nobody reads on.  Not by the signal: a server outlives its clients
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered goes nowhere
        sys.exit(128 + signal.SIGPIPE)


def _obey(arguments: Sequence[str]) -> None:
    from cyclopts import CycloptsError

    from glasshouse.cli.commands import app

    try:
        app(arguments, exit_on_error=False, print_error=True)
    except CycloptsError:
        sys.exit(2)
    except GlasshouseError as error:
        rank, world_size = world()
        who = f" of rank {rank}" if world_size > 1 else ""
        _print_in_colour("error" + who, ": " + str(error), style="bold red")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _print_in_colour("\ninterrupted", "", style="bold yellow")
        sys.exit(130)


def _print_in_colour(head: str, text: str, style: str) -> None:
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(head, style=style, end="")
    console.print(text, markup=False)


if __name__ == "__main__":
    main()
