"""The parts of `glass explain`: their arguments.  What they do is in `explaining`."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

explain_app = App(name="explain", help="Look inside: the layers, heads and tokens behind an answer.")
Flag = Annotated[bool, Parameter(negative=())]
Some = Annotated[Path | None, Parameter(name="--text", show_default=False)]


@explain_app.default
def explain_(
    model: Path,
    prompt: str,
    *,
    said: str = "",
    chat: Flag = False,
    token: str | None = None,
    other_token: str | None = None,
    lens: Flag = False,
    attention: Flag = False,
    head: str | None = None,
    attribution: Flag = False,
    patch: str | None = None,
    neurons: Flag = False,
    neighbours: Flag = False,
    sae: int | None = None,
    text: Some = None,
    json: Flag = False,
) -> None:
    """Explain the next token after a prompt; without a choice: its alternatives, lens and attribution.

    Parameters
    ----------
    model
        A run (runs/quickstart) or a checkpoint folder.
    prompt
        What the model reads.
    said
        What it has answered so far, if not its first token is to be explained.
    chat
        Ask the prompt as a question, in the model's chat form.
    token
        The token to explain; by default the likeliest one.
    other_token
        A token to compare it with.
    lens
        What each layer would say next (with trained translators where there are some: train-lens).
    attention
        What each head does, and where it looks from the last token.
    head
        Show one head's whole pattern: LAYER.HEAD, such as 1.0.
    attribution
        How much each token of the prompt counts, and which heads and MLPs wrote the answer.
    patch
        Another prompt of as many tokens: at which layer and position the difference in the answer sits.
    neurons
        The neurons that wrote most of the answer, and the passages on which they are strongest.
    neighbours
        Tokens whose embeddings are nearest to the last one's.
    sae
        A layer with a trained dictionary (train-sae): the features that the last token is made of.
    text
        Text for the neurons' passages: a file; by default what the run was trained on.
    json
        Print everything as one JSON object.
    """
    from glasshouse.cli.explaining import Choice, explain

    chosen = Choice(
        lens=lens, attention=attention, head=head, attribution=attribution, patch=patch, neurons=neurons,
        neighbours=neighbours, sae=sae,
    )  # fmt: skip
    explain(model, prompt, said, chat, (token, other_token), chosen, text, json)


@explain_app.command(name="train-lens")
def train_lens(model: Path, *, text: Some = None, steps: int = 300, seed: int = 0) -> None:
    """Train translators for the lens, kept beside the checkpoint: each layer in the last one's language.

    Parameters
    ----------
    model
        A run (runs/quickstart) or a checkpoint folder.
    text
        Text to learn from: a file; by default what the run was trained on.
    steps
        Steps of training, each on 1,024 tokens.
    seed
        Seed of the order of the text.
    """
    from glasshouse.cli.explaining import train_lens as train

    train(model, text, steps, seed)


@explain_app.command(name="train-sae")
def train_sae(
    model: Path, *, layer: int, text: Some = None, features: int | None = None, k: int = 16, steps: int = 1000,
    seed: int = 0,
) -> None:  # fmt: skip
    """Train a dictionary of features for one layer (a sparse autoencoder), kept beside the checkpoint.

    Parameters
    ----------
    model
        A run (runs/quickstart) or a checkpoint folder.
    layer
        The layer after which the residual stream is read, from 0.
    text
        Text to learn from: a file; by default what the run was trained on.
    features
        Features in the dictionary; by default 8 for each dimension of the model.
    k
        Features that a token may use.
    steps
        Steps of training, each on 2,048 tokens.
    seed
        Seed of the start and of the order of the text.
    """
    from glasshouse.cli.explaining import train_sae as train

    train(model, text, {"layer": layer, "n_features": features, "k": k, "steps": steps, "seed": seed})
