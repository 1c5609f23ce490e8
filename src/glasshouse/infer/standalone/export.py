"""A checkpoint as a folder that needs nothing but Python and NumPy: `run.py` beside the model's files.

`run.py` knows Qwen3's and Llama's shapes and our tokenizers (and others that cut text in the same ways).  A model it
would run differently is refused: its tokenizer is tried on difficult texts before the folder takes its place.
Left out: SentencePiece, chat templates other than ours (such a model continues text), weights of other types than
float32, float16 and bfloat16.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from glasshouse.checkpoint import load_config, load_tokenizer, verify
from glasshouse.checkpoint.manifest import is_own
from glasshouse.checkpoint.replace import replaced_folder
from glasshouse.checkpoint.weights import WEIGHTS, iterate_tensors, weight_files, write_tensors
from glasshouse.core.errors import ConfigError
from glasshouse.core.files import write_json
from glasshouse.infer.location import model_folder
from glasshouse.infer.standalone import run
from glasshouse.tokenizer import ChatTemplate, Tokenizer

PROGRAM = "run.py"
TRIALS = (
    "It's 12,345.67 €; they'LL say: \"naïve\"…\r\n\n\tdef f(x):  return x\x1c\u3000\u180e ",
    "Größe 日本語 한국어 Ελληνικά हिन्दी ①Ⅻ½ 🎉👩‍👧 ſ'ſ K",
    " " * 9 + "\u10d4a\U00010d4a\U0002ebf0" + "<|endoftext|><|im_start|>" + "a" * 40,
)


@dataclass(frozen=True, slots=True)
class Export:
    """What was written.  `can_chat`: whether it answers questions, or only continues text."""

    folder: Path
    n_bytes: int
    can_chat: bool


def export_standalone(model: Path | str, folder: Path) -> Export:
    """Write the standalone form of `model` into `folder`, which is new, empty, or an earlier export."""
    if folder.exists() and not (folder.is_dir() and (not any(folder.iterdir()) or (folder / PROGRAM).is_file())):
        raise ConfigError(f"{folder}: exists and is not an earlier export; it is not overwritten. Name another folder.")
    source = model_folder(model)
    manifest = verify(source) if is_own(source) else None
    config = load_config(source)
    if config.window is not None:
        raise ConfigError(f"{source}: its layers read in windows, which the standalone program does not compute.")
    tokenizer = load_tokenizer(source, config, manifest)
    with replaced_folder(folder) as new:
        shutil.copyfile(run.__file__, new / PROGRAM)
        write_json(new / "config.json", json.loads((source / "config.json").read_text(encoding="utf-8")))
        tokenizer.save(new)
        _check_tokenizer(tokenizer, new)
        _copy_weights(source, new)
    n_bytes = sum(path.stat().st_size for path in folder.iterdir())
    return Export(folder, n_bytes, isinstance(tokenizer.template, ChatTemplate))


def _check_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    try:
        alone = run.Tokenizer(folder)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"this model cannot be exported as {PROGRAM}: {error}") from None
    if alone.begin != list(tokenizer.begin_ids):
        raise ConfigError(f"this model cannot be exported as {PROGRAM}: what it puts before a text is not known there")
    for text in TRIALS:
        if alone.encode(text) != tokenizer.encode(text):
            raise ConfigError(f"this model cannot be exported as {PROGRAM}: its tokenizer reads {text!r} differently")


def _copy_weights(source: Path, folder: Path) -> None:
    """One file, whatever the source has; types as they are stored."""
    files = weight_files(source)
    _check_types(source, files)
    if files == [WEIGHTS]:
        shutil.copyfile(source / WEIGHTS, folder / WEIGHTS)
    else:
        write_tensors(folder / WEIGHTS, dict(pair for file in files for pair in iterate_tensors(source / file)))


def _check_types(source: Path, files: list[str]) -> None:
    """Read from the headers alone."""
    for file in files:
        with (source / file).open("rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        types = {entry["dtype"] for name, entry in header.items() if name != "__metadata__"}
        if unknown := sorted(types - set(run.FLOAT_TYPES)):
            raise ConfigError(f"{source / file}: {', '.join(unknown)} cannot be exported; only {run.FLOAT_TYPES} can.")
