"""Tokens a second with and without prompt lookup, where text is copied and where it is not; in turns, in one process.

    python benchmarks/speculation.py            about five minutes on two cores, with nothing beside it

Random weights in SmolLM2-135M's shape cannot copy, so copying is asked of a model that does: its head is turned towards
a fixed successor of each token, which makes greedy text run in a circle.  The work of a step is that of any model of
this shape; what prompt lookup guesses is right as often as in text that repeats itself.  Random weights, sampled, stand
for text that repeats nothing: what looking for a guess costs where there is none.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from engine import SHAPE, make_checkpoint
from record import Figure, write_result

from glasshouse.checkpoint import load_model, save_checkpoint
from glasshouse.infer import Engine, SamplingConfig
from glasshouse.infer.quantize import Weights

N_NEW, CIRCLE = 128, 24  # tokens; the circle's length
COPIED = SamplingConfig(max_tokens=N_NEW, ignores_end=True)
RANDOM = SamplingConfig(max_tokens=N_NEW, ignores_end=True, temperature=1.0, seed=0)
KINDS: tuple[Weights, ...] = ("int8", "int4")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dry", action="store_true", help="print, write nothing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plain = make_checkpoint(Path(folder))
        texts = (
            ("copied text", make_circular(plain, Path(folder) / "circular"), COPIED, 1.0),
            ("random text", plain, RANDOM, 0.9),
        )
        figures = [
            figure
            for text, model, sampling, least in texts
            for weights in KINDS
            for figure in compare(f"{text}, {weights}, batch 1", model, weights, sampling, least, arguments.rounds)
        ]
    if arguments.dry:
        print(*figures, sep="\n")
    else:
        write_result("speculation", figures)


def make_circular(source: Path, folder: Path) -> Path:
    """Attention and MLPs add nothing but their work, and the head (a matrix of its own) sees the token's successor."""
    model, tokenizer = load_model(source)
    shape = SHAPE.model_copy(update={"ties_embeddings": False})
    circular = type(model)(shape, seed=0)
    with torch.no_grad():
        for name, weight in circular.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.zero_()
        embedding = circular.model.embed_tokens.weight
        first = 1000
        following = torch.roll(torch.arange(first, first + CIRCLE), -1)
        head = circular.head_weight_VD
        head.zero_()
        head[following] = embedding[first : first + CIRCLE]
    return save_checkpoint(folder, circular, tokenizer, recipe={}, cost=None, provenance={})


def compare(
    what: str, model: Path, weights: Weights, sampling: SamplingConfig, least: float, rounds: int
) -> list[Figure]:
    engines = {guess: Engine.load(model, "cpu", weights=weights, speculate=guess) for guess in (None, "prompt-lookup")}
    prompt = [1000 + n % CIRCLE for n in range(3 * CIRCLE)]
    said = {guess: rate(engine, prompt, sampling)[1] for guess, engine in engines.items()}  # warm, and the same tokens
    if len(set(said.values())) != 1:
        raise SystemExit(f"{what}: guessing changed the tokens")
    pairs = [tuple(rate(engine, prompt, sampling)[0] for engine in engines.values()) for _ in range(rounds)]
    ratio = statistics.median(guessed / plain for plain, guessed in pairs)
    plain, guessed = (round(statistics.median(pair[side] for pair in pairs), 1) for side in (0, 1))
    share = engines["prompt-lookup"].stats().accepted_share
    return [
        Figure(f"{what}: with prompt lookup, against without", f"{ratio:.2f}x ({guessed})", "tok/s",
               f">= {least:g}x", ratio >= least, plain),
        Figure(f"{what}: accepted share of the guesses", None if share is None else round(share, 3), ""),
    ]  # fmt: skip


def rate(engine: Engine, prompt: list[int], sampling: SamplingConfig) -> tuple[float, tuple[int, ...]]:
    """(tokens a second after the first, the tokens)."""
    times, ids = [], []
    for delta in engine.stream(prompt, sampling):
        times.append(time.perf_counter())
        ids.append(delta.id)
    return (len(ids) - 1) / (times[-1] - times[0]), tuple(ids)


if __name__ == "__main__":
    main()
