"""The verbs of `glass`.  Each is thin: it states its arguments and calls the folder that does the work.

Nothing heavy is imported until a verb is called: the help of any verb needs no torch.
"""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from glasshouse import __version__
from glasshouse.cli.explain_verbs import explain_app
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
    Host,
    ModelName,
    Port,
    RecipeName,
    RunPath,
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
moderation_app = App(name="moderation", help="Train a classifier that guards the server.")
tokenizer_app = App(name="tokenizer", help="Look at a tokenizer at work.")


@app.command
def quickstart(
    *, data: Texts = (), dial: Dial = RECIPES_DIAL, out: RunPath = RUNS / "quickstart", set_: Settings = ()
) -> None:
    """Grow an assistant from the text on this machine, from first byte to report.

    Parameters
    ----------
    data
        Your own text: a file, folder or glob. Without it, the Python standard library of this machine is read.
    """
    from glasshouse.cli.life import grow

    recipe = "own-text" if data else "quickstart"
    settings = [f"corpus.sources=[{', '.join(_toml_text(source) for source in data)}]"] if data else []
    grow(recipe, out, [*settings, *set_], dial.turned())


@app.command
def run(recipe: RecipeName, *, dial: Dial = RECIPES_DIAL, out: Path | None = None, set_: Settings = ()) -> None:
    """Run a recipe: every stage that is not up to date, then the report.

    Parameters
    ----------
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
def report(path: RunPath) -> None:
    """Write report.html and MODEL_CARD.md of a run again, from its records."""
    from glasshouse.cli.life import write_report

    write_report(path)


@app.command
def chat(
    model: ModelName = RUNS / "quickstart",
    *,
    system: str | None = None,
    history: bool | None = None,
    doubt: bool = True,
    sampling: Sampling = LIKELIEST,
    holding: Holding = AS_IT_IS,
) -> None:
    """Talk to a model in the terminal.

    Parameters
    ----------
    system
        Instructions that stand before the conversation.
    history
        Whether earlier questions and answers are part of the prompt; by default as the model was taught.
    doubt
        Whether a model that knows which of its answers it may believe holds the others back.
    """
    from glasshouse.cli.talk import chat_loop

    chat_loop(model, system, sampling.to_json(), history, doubt, holding.to_json())


@app.command
def generate(
    model: ModelName, prompt: str, *, n: int = 1, sampling: VariedSampling = VARIED, holding: Holding = AS_IT_IS
) -> None:
    """Continue a text.

    Parameters
    ----------
    prompt
        The text to continue; - reads it from standard input.
    n
        How many continuations.
    """
    from glasshouse.cli.talk import print_continuations

    text = sys.stdin.read() if prompt == "-" else prompt
    print_continuations(model, text, sampling.to_json(), n, holding.to_json())


@app.command
def serve(
    *models: str, port: Port = None, host: Host = None, moderation: Path | None = None, holding: Holding = AS_IT_IS,
) -> None:  # fmt: skip
    """Answer the API of OpenAI with models on this machine, on 127.0.0.1 unless told otherwise.

    Parameters
    ----------
    models
        Runs, checkpoint folders or Hugging Face Hub names; without one, runs/quickstart.
    moderation
        A moderator (glass moderation train): what it blocks is neither read nor said.
    """
    from glasshouse.serve.commands import serve_models

    guard = {"moderation": None if moderation is None else str(moderation)}
    serve_models(models or (str(RUNS / "quickstart"),), {"port": port, "host": host, **guard, **holding.to_json()})


@app.command
def studio(*paths: str, port: Port = None, host: Host = None, holding: Holding = AS_IT_IS) -> None:
    """Open the studio, pages in the browser: chat, complete, explain, runs, label, compare.

    Parameters
    ----------
    paths
        Runs, checkpoint folders, or a folder of runs; without one, runs.
    """
    from glasshouse.serve.opening import open_studio

    open_studio(paths or (str(RUNS),), {"port": port, "host": host, **holding.to_json()})


@app.command(name="eval")
def eval_(
    model: Path,
    *tasks: str,
    data: Path | None = None,
    limit: int | None = None,
    out: Path | None = None,
    lm_eval: Texts = (),
    lm_eval_folder: Path | None = None,
    holding: Holding = AS_IT_IS,
) -> None:
    """Put tasks to a model: scores with intervals, controls beside them; given again, it goes on where it stopped.

    Parameters
    ----------
    model
        A run (runs/quickstart), a checkpoint folder, or a model of the Hugging Face Hub.
    tasks
        Task files (TOML), files of questions (JSONL), or suites: language, knowledge, sentiment, translation,
        summaries, code.
    data
        The folder that the tasks' data lies below; by default that of the task file.
    limit
        At most so many items of each task.
    out
        Where results are kept: by default evals/tasks in the run, else evals/ and the model's name.
    lm_eval
        A task of lm-evaluation-harness, run on this model in process; may be repeated.
    lm_eval_folder
        Its task files of your own (YAML); with it the harness's own tasks are not read.
    """
    from glasshouse.cli.evaluating import evaluate_model

    evaluate_model(
        model, tasks, data=data, out=out, limit=limit, lm_eval=lm_eval, lm_eval_folder=lm_eval_folder,
        holding=holding.to_json(),
    )  # fmt: skip


@app.command
def compare(
    a: Path,
    b: Path,
    *tasks: str,
    data: Path | None = None,
    limit: int | None = None,
    out: Path | None = None,
    holding: Holding = AS_IT_IS,
) -> None:
    """Say whether two models differ: paired differences on the same items, with intervals and significance.

    Parameters
    ----------
    a
        A model, or a folder of results.
    b
        The other one.
    tasks
        Tasks to put to both; by default what both have results of is compared.
    data
        The folder that the tasks' data lies below.
    limit
        At most so many items of each task.
    out
        Where results are kept.
    """
    from glasshouse.cli.evaluating import compare_models

    compare_models(a, b, tasks, data=data, out=out, limit=limit, holding=holding.to_json())


@app.command
def align(
    model: Path,
    *,
    method: str = "dpo",
    preferences: Path | None = None,
    questions: Path | None = None,
    reward: Texts = (),
    out: RunPath = RUNS / "aligned",
    set_: Settings = (),
) -> None:
    """Teach a model what people, or rules, find better; glass resume goes on where it stopped.

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
    """
    from glasshouse.cli.aligning import align as align_model

    align_model(model, method, preferences, questions, reward, out, set_)


@app.command
def reward(model: Path, *, preferences: Path, out: RunPath = RUNS / "reward", set_: Settings = ()) -> None:
    """Train a reward model, which scores answers as people would, and say how often it agrees with them.

    Parameters
    ----------
    model
        A run (runs/quickstart) or a checkpoint folder: what the reward model grows from.
    preferences
        A JSON or JSONL file of preferences or rankings; a tenth of it is held out.
    """
    from glasshouse.cli.aligning import train_reward

    train_reward(model, preferences, out, set_)


app.command(explain_app)


@app.command
def trace(
    text: str,
    *,
    run: Path = RUNS / "quickstart",
    prompt: str = "",
    next_: Annotated[bool, Parameter(name="--next", negative="")] = False,
    n: int = 10,
    n_nearest: int = 3,
    min_tokens: int = 4,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Lead a text back to what a run learned from: passages that stand in its training text, examples nearest to it.

    Parameters
    ----------
    text
        What a model said, or any other text; - reads it from standard input.
    run
        The run directory.
    prompt
        The question that was answered: with it the nearest examples are found.
    next_
        Instead: what followed the text's end in training, beside what the pretrained model expects.
    n
        How many passages, or next tokens.
    n_nearest
        How many examples of each stage.
    min_tokens
        Shorter passages are left out.
    json
        Print JSON.
    """
    from glasshouse.cli.tracing import show_next, trace_text

    if next_:
        show_next(text, run, n, json)
    else:
        trace_text(text, run, prompt, {"max_quotations": n, "min_tokens": min_tokens}, n_nearest, json)


@app.command
def index(run: Path) -> None:
    """Make the indexes that `glass trace` reads, where a run has none: each stage makes its own when it ends.

    Parameters
    ----------
    run
        The run directory.
    """
    from glasshouse.cli.tracing import index as index_run

    index_run(run)


@app.command
def trust(
    model: Path, *, whole: bool = False, data: Path | None = None, policy: Path | None = None, probes: Texts = ()
) -> None:
    """Measure how far a model can be trusted: what it invents, whom it judges, what it knows by heart, what it refuses.

    Parameters
    ----------
    model
        A run (runs/quickstart), whose records tell most, or a checkpoint folder.
    whole
        Ask more, for narrower intervals: minutes instead of seconds.
    data
        A folder with crows-pairs*.csv, winobias/, bbq/, or some of them, for the probe of bias.
    policy
        A JSON lines file of your own policy: {"harmful": ..., "harmless": ...}.
    probes
        Some of the probes; may be repeated. All without.
    """
    from glasshouse.cli.trusting import trust as trust_model

    trust_model(model, whole, data, policy, probes)


app.command(label_app)
app.command(key_app)
app.command(moderation_app)


@moderation_app.command
def train(model: Path, *, data: Path, out: Path = RUNS / "moderation", set_: Settings = ()) -> None:
    """Train a moderator, which says of a text whether it should be blocked: glass serve --moderation runs/moderation

    Parameters
    ----------
    model
        A run (runs/quickstart) or a checkpoint folder: what the moderator grows from.
    data
        A JSON lines file of {"text": ..., "is_blocked": true}; a tenth of each kind is held out.
    out
        The run directory.
    """
    from glasshouse.cli.trusting import train_moderation

    train_moderation(model, data, out, set_)


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
