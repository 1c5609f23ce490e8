"""What a user names, as something that answers: where it lies, how it is kept in memory, and what computes it.

Weights are held once.  Where the native runner has packed them, the torch ones are given back to the system, and read
again only when somebody looks inside (`Engine.model`).
Units: bytes.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from glasshouse.checkpoint import load_config, load_model, load_tokenizer, verify
from glasshouse.checkpoint.manifest import is_own
from glasshouse.core.environment import default_device, give_back_memory, start_torch
from glasshouse.core.errors import ConfigError
from glasshouse.infer.location import Location, locate
from glasshouse.infer.memory import Footprint, block_count, free_bytes, step_bytes, weight_bytes
from glasshouse.infer.native import NativeRunner, torch_model, why_torch
from glasshouse.infer.native.runner import converted
from glasshouse.infer.quantize import QuantizedMatrix, Weights, check_fits, load_quantized, quantize
from glasshouse.infer.runner import BLOCK_SIZE, Runner, TorchRunner
from glasshouse.infer.speculate import MAX_SEQUENCES, PROMPT_LOOKUP, Drafter, DraftModel, PromptLookup
from glasshouse.model import ModelConfig, PagedCache, Transformer
from glasshouse.tokenizer import Tokenizer

__all__ = ["Loaded", "Room", "StoredModel", "load", "torch_runner"]


class StoredModel:
    """A model whose weights the runner alone holds: its shape, and where it can be read again."""

    device = torch.device("cpu")

    def __init__(self, folder: Path, config: ModelConfig) -> None:
        self.folder, self.config = folder, config

    def read(self) -> Transformer:
        return load_model(self.folder, self.device, checks_hashes=False)[0]


@dataclass(frozen=True, slots=True)
class Loaded:
    """`weights` None: as they are stored.  `slower` says, in one line, why the compiled kernels are not used."""

    model: Transformer | StoredModel
    tokenizer: Tokenizer
    runner: Runner
    footprint: Footprint
    location: Location
    weights: Weights | None
    slower: str | None = None
    drafter: Drafter | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """How much memory there is, and what has to find place in it."""

    memory_bytes: int | None  # for all of it; None: half of what is free
    max_running: int
    max_step_tokens: int

    def n_blocks(self, footprint: Footprint, config: ModelConfig, free: int) -> int:
        return block_count(footprint, config, BLOCK_SIZE, self.max_running, self.memory_bytes, free)

    def step_bytes(self, config: ModelConfig) -> int:
        return step_bytes(config, self.max_step_tokens, self.max_running)

    def without(self, n_bytes: int) -> "Room":
        left = None if self.memory_bytes is None else self.memory_bytes - n_bytes
        return Room(left, self.max_running, self.max_step_tokens)


def load(
    path: Path | str, device: torch.device | str | None, weights: Weights | None, room: Room, speculate: str | None
) -> Loaded:
    start_torch()
    location, device = locate(path), torch.device(device or default_device())
    if speculate is None:
        return _load(location, device, weights, room)
    if speculate == PROMPT_LOOKUP:
        return replace(_load(location, device, weights, room), drafter=PromptLookup())
    draft = _load_draft(speculate, device, weights)
    held = draft.footprint.weights + draft.footprint.step + draft.runner.n_blocks * draft.footprint.block
    loaded = _load(location, device, weights, room.without(held))
    check_same_vocabulary(loaded.tokenizer, draft.tokenizer, speculate)
    limit = draft.model.config.max_seq_len
    return replace(loaded, drafter=DraftModel(draft.runner, loaded.tokenizer.vocab_size, max_seq_len=limit))


def _load_draft(path: str, device: torch.device, weights: Weights | None) -> Loaded:
    """In the form of the model it guesses for, with room for as many sequences as are guessed for."""
    location = locate(path)
    config = load_config(location.folder)
    n_blocks = MAX_SEQUENCES * -(-config.max_seq_len // BLOCK_SIZE)
    return _load(location, device, weights, Room(None, MAX_SEQUENCES, MAX_SEQUENCES), n_blocks)


def check_same_vocabulary(tokenizer: Tokenizer, other: Tokenizer, name: str) -> None:
    """A draft model guesses ids: they must mean the same."""
    if tokenizer.hash == other.hash:
        return
    if tokenizer.ids != other.ids or any(tokenizer.token_bytes(id) != other.token_bytes(id) for id in tokenizer.ids):
        raise ConfigError(
            f"{name} cannot guess for this model: its tokenizer is another one. Name a smaller model that was made "
            f"with the same tokenizer, or use --speculate {PROMPT_LOOKUP}, which needs no model."
        )


def _load(
    location: Location, device: torch.device, weights: Weights | None, room: Room, n_blocks: int | None = None
) -> Loaded:
    if device.type != "cpu":
        return _on_device(location, device, weights, room, n_blocks)
    slower = why_torch(load_config(location.folder))
    if slower is not None:
        return _on_torch(location, weights or "fp32", room, n_blocks, slower)
    folder, kind = location.folder, weights or "fp32"
    config = load_config(folder)
    footprint = Footprint(
        NativeRunner.weight_bytes(config, kind), room.step_bytes(config), NativeRunner.block_bytes(config, BLOCK_SIZE)
    )
    n_blocks = n_blocks or room.n_blocks(footprint, config, free_bytes(device) - footprint.weights)
    tokenizer, source = _read(folder, config, kind)
    runner = NativeRunner(config, source, n_blocks=n_blocks, block_size=BLOCK_SIZE)
    del source
    give_back_memory()
    return Loaded(StoredModel(folder, config), tokenizer, runner, footprint, location, kind)


def _read(folder: Path, config: ModelConfig, weights: Weights) -> tuple[Tokenizer, dict[str, Tensor | QuantizedMatrix]]:
    """The tokenizer, and the weights in the asked form.  Where they are quantized the others are not read at all."""
    if weights == "fp32" or weights == "bf16":
        model, tokenizer = load_model(folder, "cpu")
        return tokenizer, dict(converted(model, weights))
    manifest = verify(folder) if is_own(folder) else None
    tokenizer = load_tokenizer(folder, config, manifest)
    quantize(folder, weights)
    tensors = load_quantized(folder, weights)
    check_fits(config, tensors, folder)
    return tokenizer, tensors


def _on_torch(location: Location, weights: Weights, room: Room, n_blocks: int | None, slower: str) -> Loaded:
    model, tokenizer = load_model(location.folder, "cpu")
    config, held, quantized = model.config, model, None
    if weights == "int8" or weights == "int4":
        quantize(location.folder, weights)
        quantized = load_quantized(location.folder, weights)
    kept = torch_model(model, weights, quantized)
    footprint = _torch_footprint(kept, room)
    n_blocks = n_blocks or room.n_blocks(footprint, config, free_bytes(kept.device))
    runner = TorchRunner(kept, n_blocks, BLOCK_SIZE)
    held_model = held if kept is held and weights == "fp32" else StoredModel(location.folder, config)
    return Loaded(held_model, tokenizer, runner, footprint, location, weights, slower)


def _on_device(
    location: Location, device: torch.device, weights: Weights | None, room: Room, n_blocks: int | None
) -> Loaded:
    if weights in ("int8", "int4"):
        raise ConfigError(f"weights={weights!r} runs on the CPU only; this model is on {device}. Use bf16.")
    dtype = {None: None, "fp32": torch.float32, "bf16": torch.bfloat16}[weights]
    model, tokenizer = load_model(location.folder, device, dtype)
    footprint = _torch_footprint(model, room)
    runner = TorchRunner(model, n_blocks or room.n_blocks(footprint, model.config, free_bytes(device)), BLOCK_SIZE)
    return Loaded(model, tokenizer, runner, footprint, location, weights)


def torch_runner(model: Transformer, room: Room, *, is_deterministic: bool = True) -> TorchRunner:
    """The runner of a model that is in memory."""
    footprint = _torch_footprint(model, room)
    n_blocks = room.n_blocks(footprint, model.config, free_bytes(model.device))
    return TorchRunner(model, n_blocks, BLOCK_SIZE, is_deterministic=is_deterministic)


def _torch_footprint(model: Transformer, room: Room) -> Footprint:
    """Attention gathers one layer of what it reads, with lengths padded by up to two."""
    block = PagedCache.block_bytes(model.config, BLOCK_SIZE, model.dtype)
    return Footprint(weight_bytes(model), room.step_bytes(model.config), block + 2 * block // model.config.n_layers)
