"""The verbs of `glass`.  Each is thin: it states its arguments and calls the folder that does the work.

Nothing heavy is imported until a verb is called: the help of any verb needs no torch.
"""

import sys
from pathlib import Path

from cyclopts import App, Parameter

from glasshouse import __version__
from glasshouse.cli.label_verbs import label_app
from glasshouse.cli.options import (
    AS_IT_IS,
    LIKELIEST,
    NO_CLUSTER,
    RECIPES_DIAL,
    RUNS,
    VARIED,
    Cluster,
    Dial,
    Holding,
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
key_app = App(name="key", help="Make, list and revoke the keys of the server.")
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
def plan(
    recipe: str | None = None,
    *,
    dial: Dial = RECIPES_DIAL,
    cluster: Cluster = NO_CLUSTER,
    device: str | None = None,
    ladder: Path | None = None,
    published: bool = False,
    dry_run: bool = False,
    world_size: int | None = None,
    set_: Settings = (),
) -> None:
    """Say what a budget buys, here or on a cluster: model, time, memory, money, energy, loss; runs nothing.

    Parameters
    ----------
    recipe
        A TOML file, or the name of a recipe that comes with Glasshouse; here, without one, the quickstart's.
    device
        Plan for these devices, not for this machine: a100-80, h100, h200, b200, l4, rtx-4090, ...; here, measured.
    ladder
        A folder of `glass ladder`: predict the loss by its law.
    published
        Show what others' runs took beside what the planner says of them.
    dry_run
        Trace one training step of the recipe on a fake world, and show memory and collectives of a rank.
    world_size
        How many processes the dry run pretends.
    """
    from glasshouse.cli import planning

    if published:
        planning.show_published()
    elif dry_run:
        planning.show_dry_run(recipe, set_, world_size, device)
    elif device is not None:
        planning.show_cluster_plan(recipe, set_, device, {**cluster.given(), **dial.turned()}, cluster.model, ladder)
    else:
        planning.show_plan_here(recipe, set_, dial.turned(), cluster.given(), cluster.model, world_size, ladder)


@app.command
def ladder(*, data: Texts = (), time: str | None = None, out: Path = RUNS / "ladder", set_: Settings = ()) -> None:
    """Train small models of several sizes, fit the law of their losses, and test it on a size it has not seen.

    Given again, the command goes on where it stopped.

    Parameters
    ----------
    data
        Your own text: a file, folder or glob. Without it, the Python standard library of this machine is read.
    time
        Of all trainings together, by default 20m.
    out
        The folder; `glass plan --ladder` reads it.
    """
    from glasshouse.cli.planning import climb

    climb(data, time, out, set_)


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
    holding: Holding = AS_IT_IS,
) -> None:
    """Talk to a model in the terminal.

    Parameters
    ----------
    model
        A run (runs/quickstart), a checkpoint folder, or a model of the Hugging Face Hub.
    system
        Instructions that stand before the conversation.
    history
        Whether earlier questions and answers are part of the prompt; by default as the model was taught.
    """
    from glasshouse.cli.talk import chat_loop

    chat_loop(model, system, sampling.to_json(), history, holding.to_json())


@app.command
def generate(
    model: Path, prompt: str, *, n: int = 1, sampling: VariedSampling = VARIED, holding: Holding = AS_IT_IS
) -> None:
    """Continue a text.

    Parameters
    ----------
    model
        A run (runs/quickstart), a checkpoint folder, or a model of the Hugging Face Hub.
    prompt
        The text to continue; - reads it from standard input.
    n
        How many continuations.
    """
    from glasshouse.cli.talk import print_continuations

    text = sys.stdin.read() if prompt == "-" else prompt
    print_continuations(model, text, sampling.to_json(), n, holding.to_json())


@app.command
def serve(*models: str, port: int | None = None, host: str | None = None, holding: Holding = AS_IT_IS) -> None:
    """Answer the API of OpenAI with models on this machine, on 127.0.0.1 unless told otherwise.

    Parameters
    ----------
    models
        Runs, checkpoint folders or Hugging Face Hub names; without one, runs/quickstart.
    port
        The port, by default 8000; 0 takes a free one.
    host
        The address to listen on. Any but this machine's own asks every request for a key (glass key create).
    """
    from glasshouse.serve.commands import serve_models

    serve_models(models or (str(RUNS / "quickstart"),), {"port": port, "host": host, **holding.to_json()})


@app.command
def studio(*paths: str, port: int | None = None, host: str | None = None, holding: Holding = AS_IT_IS) -> None:
    """Open the studio, pages in the browser: chat, complete, runs.

    Parameters
    ----------
    paths
        Runs, checkpoint folders, or a folder of runs; without one, runs.
    port
        The port, by default 8000; 0 takes a free one.
    host
        The address to listen on. Any but this machine's own asks every request for a key (glass key create).
    """
    from glasshouse.serve.opening import open_studio

    open_studio(paths or (str(RUNS),), {"port": port, "host": host, **holding.to_json()})


@app.command
def align(
    model: Path,
    *,
    method: str = "dpo",
    preferences: Path | None = None,
    questions: Path | None = None,
    reward: Texts = (),
    out: Path = RUNS / "aligned",
    set_: Settings = (),
) -> None:
    """Teach a model what people, or rules, find better; given again, the command goes on where it stopped.

    Parameters
    ----------
    model
        A run (runs/quickstart) or a checkpoint folder.
    method
        How: dpo (from pairs of answers), kto (from thumbs), grpo or ppo (from rewards, while answering), rejection
        (fine-tuning on the best of its own answers), or best_of_n (no training: what choosing alone would give).
    preferences
        For dpo and kto: a JSON or JSONL file of judged answers.
    questions
        For grpo, ppo, rejection and best_of_n: a file of questions with answers.
    reward
        For the same: exact, numeric, json, python, model:FOLDER, 0.1*length:200-400 and others; may be repeated.
    out
        The run directory.
    """
    from glasshouse.cli.aligning import align as align_model

    align_model(model, method, preferences, questions, reward, out, set_)


@app.command
def reward(model: Path, *, preferences: Path, out: Path = RUNS / "reward", set_: Settings = ()) -> None:
    """Train a reward model, which scores answers as people would, and say how often it agrees with them.

    Parameters
    ----------
    model
        A run (runs/quickstart) or a checkpoint folder: what the reward model grows from.
    preferences
        A JSON or JSONL file of preferences or rankings; a tenth of it is held out.
    out
        The run directory.
    """
    from glasshouse.cli.aligning import train_reward

    train_reward(model, preferences, out, set_)


app.command(label_app)
app.command(key_app)


@key_app.command
def create(name: str) -> None:
    """Make a key for a person or a program; it is shown once.

    Parameters
    ----------
    name
        Whom it is for.
    """
    from glasshouse.serve.commands import create_key

    create_key(name)


@key_app.command(name="list")
def list_() -> None:
    """Show the keys: whom they are for, and whether they still open."""
    from glasshouse.serve.commands import list_keys

    list_keys()


@key_app.command
def revoke(id: str) -> None:
    """Let a key open nothing from now on.

    Parameters
    ----------
    id
        The key's id, as `glass key list` shows it.
    """
    from glasshouse.serve.commands import revoke_key

    revoke_key(id)


@app.command
def export(model: Path, *, standalone: Path) -> None:
    """Write a model as two files that people can read in one sitting: parameters, and run.py on NumPy alone.

    Parameters
    ----------
    model
        A run (runs/quickstart) or a checkpoint folder.
    standalone
        The folder to write.
    """
    from glasshouse.cli.serving import export as write_standalone

    write_standalone(model, standalone)


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
