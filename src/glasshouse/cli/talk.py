"""The verbs that use a model: chat, generate, tokenizer show.

Model output is untrusted: control characters are replaced before they reach the terminal, so that no answer can move
the cursor, change the title or hide text.
"""

import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from glasshouse.core.environment import start_torch

if TYPE_CHECKING:
    from glasshouse.infer import Engine

HELP = "/reset forgets the conversation, /history shows it, /quit (or Ctrl-D) leaves."


def open_engine(model: Path, holding: Mapping[str, Any]) -> "Engine":
    """One person's engine.  What is to be known of how it is held goes to standard error: the rest may be piped."""
    from glasshouse.infer import Engine
    from glasshouse.infer.quality import measured_loss

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    engine = Engine.load(model, max_running=1, **holding)
    for note in (engine.why_slower, measured_loss(model, holding["weights"])):
        if note is not None:
            console.print(Text(str(note), style="dim"))
    return engine


def chat_loop(
    model: Path, system: str | None, sampling: Mapping[str, Any], has_history: bool | None, doubts: bool,
    holding: Mapping[str, Any],
) -> None:  # fmt: skip
    """Read questions from the terminal (or a pipe) and stream the answers until the input ends."""
    start_torch()
    from glasshouse.core.config import parse_config
    from glasshouse.infer import ChatSession, SamplingConfig

    settings = parse_config(SamplingConfig, _given(sampling))
    session = ChatSession(open_engine(model, holding), settings, system, doubts=doubts)
    console = Console(highlight=False)
    is_typed = console.is_terminal
    if has_history is None and (has_history := not _knows_single_questions(model)) is False:
        console.print(Text("taught single questions, so each is asked afresh; --history changes that", style="dim"))
    if is_typed:
        _remember_lines()
        console.print(Text(f"{model}. {HELP}", style="dim"))
    while True:
        try:
            line = input("\n› " if is_typed else "").strip()
        except (EOFError, KeyboardInterrupt):
            return
        if line in ("/quit", "/exit", "/q"):
            return
        if line == "/reset":
            session.reset()
        elif line in ("/help", "/?"):
            console.print(HELP)
        elif line == "/history":
            for message in session.messages:
                console.print(Text.assemble((f"{message.role}: ", "bold"), printable(message.content)))
        elif line:
            if not has_history:
                session.reset()
            _answer(console, session, line)


def _knows_single_questions(model: Path) -> bool:
    """Whether the checkpoint was fine-tuned on made questions alone, one a conversation: earlier turns confuse it."""
    from glasshouse.checkpoint import load_details
    from glasshouse.core.errors import CheckpointError
    from glasshouse.infer import model_folder

    try:
        recipe = load_details(model_folder(model)).recipe
    except CheckpointError:  # a foreign checkpoint has no recipe
        return False
    return "sft" in recipe.get("stages", ()) and recipe.get("sft", {}).get("conversations") in ("stdlib:", "text:")


def _answer(console: Console, session: Any, line: str) -> None:
    turn = session.send(line)
    if turn.notice:
        console.print(Text(turn.notice, style="yellow"))
    try:
        for delta in turn:
            console.print(Text(printable(delta.text)), end="", soft_wrap=True)
    except KeyboardInterrupt:
        console.print(Text(" (stopped)", style="yellow"), end="")
    console.print()


def print_continuations(
    model: Path, prompt: str, sampling: Mapping[str, Any], n: int, holding: Mapping[str, Any]
) -> None:
    """Stream `n` continuations of `prompt`; with several, each has its own seed and a line between."""
    start_torch()
    from glasshouse.core.config import parse_config
    from glasshouse.infer import SamplingConfig

    settings = parse_config(SamplingConfig, _given(sampling))
    engine = open_engine(model, holding)
    console = Console(highlight=False, soft_wrap=True)
    for number in range(n):
        seed = None if settings.seed is None else settings.seed + number
        console.print(Text(printable(prompt), style="bold"), end="")
        for delta in engine.stream(engine.prompt_ids(prompt), settings.model_copy(update={"seed": seed})):
            console.print(Text(printable(delta.text)), end="")
        console.print("\n" + "─" * 40 if number + 1 < n else "")


def print_tokens(model: Path, text: str) -> None:
    from glasshouse.infer.location import model_folder
    from glasshouse.tokenizer import Tokenizer, show_tokens

    folder = model if (model / "tokenizer.json").is_file() else _tokenizer_folder(model, model_folder)
    Console(highlight=False).print(show_tokens(Tokenizer.load(folder), text))


def _tokenizer_folder(model: Path, model_folder: Any) -> Path:
    """The tokenizer of an unfinished run is already there; else that of the checkpoint."""
    own = model / "tokenizer"
    return own if (own / "tokenizer.json").is_file() else model_folder(model)


def printable(text: str) -> str:
    """`text` with control characters (other than newline and tab) shown as U+FFFD."""
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf") else "�" for c in text)


def _given(sampling: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in sampling.items() if value is not None}


def _remember_lines() -> None:
    """Arrow keys recall earlier lines, where readline exists."""
    try:
        import readline  # noqa: F401
    except ImportError:
        return
