"""Many sampled answers at once, in lockstep: nobody joins, and whoever has ended leaves.

Shapes: P prompts or blocks, G answers to each, B = P x G answers, T tokens, V vocab.  Units: nats.
The same tokens and log-probabilities as the engine's, to the bit (tested): the same runner, the same draw, the same
randomness.  Left out is what serving needs and sampling for training does not: a queue, streams, stop strings,
penalties, grammars.  A prompt is read once for all its answers; then one loop says all of them, natively where it can.
"""

from collections.abc import Collection
from collections.abc import Sequence as SequenceOf

import numpy as np
import torch
from torch import Tensor

from glasshouse.core.errors import CheckpointError, ConfigError
from glasshouse.infer.decoding import decode
from glasshouse.infer.native.runner import NativeRunner
from glasshouse.infer.runner import Decoding, Runner, StepBatch
from glasshouse.infer.sampling import uniforms
from glasshouse.infer.sequence import Completion
from glasshouse.tokenizer import Tokenizer

MAX_PREFILL_TOKENS = 2048  # of prompts read in one step


def blocks_needed(prompts: SequenceOf[SequenceOf[int]], n_answers: int, max_tokens: int, block_size: int) -> int:
    """Blocks of memory for `sample_together`."""
    return sum(
        -(-len(ids) // block_size) + n_answers * _own_blocks(len(ids), max_tokens, block_size) for ids in prompts
    )


def sample_together(
    runner: Runner, tokenizer: Tokenizer, prompts: SequenceOf[SequenceOf[int]], seeds: SequenceOf[int], *,
    max_tokens: int, temperature: float, max_seq_len: int, end_ids: Collection[int],
) -> list[Completion]:  # fmt: skip
    """`len(seeds) / len(prompts)` answers to each prompt, group by group; `logps` are at the temperature."""
    n_answers, rest = divmod(len(seeds), len(prompts))
    needed = blocks_needed(prompts, n_answers, max_tokens, runner.block_size)
    if rest or not n_answers or needed > runner.n_blocks:
        raise ConfigError(
            f"{len(prompts)} prompts need as many seeds for each (got {len(seeds)}) and {needed} blocks of memory (the "
            f"runner has {runner.n_blocks})"
        )
    tables_PT = _prompt_tables(prompts, runner.block_size)
    logits_BV = _read(runner, prompts, tables_PT).repeat_interleave(n_answers, dim=0)
    length_B = np.repeat(np.array([len(ids) for ids in prompts]), n_answers)
    table_BP = _answer_tables(runner, prompts, tables_PT, n_answers, max_tokens)
    limit_B = np.minimum(max_tokens, max_seq_len - length_B + 1)
    shape = (len(seeds), max_tokens)
    said = Decoding(
        tokenizer.vocab_size, temperature, end_ids, uniforms(seeds, max_tokens), length_B, limit_B, table_BP,
        ids_BT=np.zeros(shape, np.int64), logp_BT=np.zeros(shape, np.float32),
        n_tokens_B=np.zeros(len(seeds), np.int64), is_ended_B=np.zeros(len(seeds), np.bool_),
    )  # fmt: skip
    runner.decode(logits_BV, said) if isinstance(runner, NativeRunner) else decode(runner, logits_BV, said)
    if not np.isfinite(said.logp_BT).all():
        raise CheckpointError(
            "the model's output is not a number: its weights are damaged or its training diverged. "
            "Go back to an earlier checkpoint."
        )
    return [_completion(tokenizer, said, b) for b in range(len(seeds))]


# ---- prompts and memory ----------------------------------------------------------------------------------------------


def _own_blocks(n_prompt: int, max_tokens: int, block_size: int) -> int:
    """Blocks of one answer beside the prompt's full ones; its last token is never fed back."""
    return -(-(n_prompt + max_tokens - 1) // block_size) - n_prompt // block_size


def _prompt_tables(prompts: SequenceOf[SequenceOf[int]], block_size: int) -> list[list[int]]:
    tables, at = [], 0
    for ids in prompts:
        n_blocks = -(-len(ids) // block_size)
        tables.append(list(range(at, at + n_blocks)))
        at += n_blocks
    return tables


def _answer_tables(
    runner: Runner, prompts: SequenceOf[SequenceOf[int]], tables_PT: list[list[int]], n_answers: int,
    max_tokens: int,
) -> np.ndarray:  # fmt: skip
    """Full blocks of a prompt are shared by its answers; each has a copy of the one that it goes on in."""
    rows, at = [], sum(map(len, tables_PT))
    for ids, table in zip(prompts, tables_PT):
        n_shared = len(ids) // runner.block_size
        n_own = _own_blocks(len(ids), max_tokens, runner.block_size)
        for _ in range(n_answers):
            rows.append([*table[:n_shared], *range(at, at + n_own)])
            if len(table) > n_shared and n_own:
                runner.copy_block(table[n_shared], at)
            at += n_own
    return _table(rows)


def _read(runner: Runner, prompts: SequenceOf[SequenceOf[int]], tables_PT: list[list[int]]) -> Tensor:
    """(P, V): logits behind each prompt."""
    parts: list[Tensor] = []
    start, n_tokens = 0, 0
    for stop, ids in enumerate(prompts, 1):
        n_tokens += len(ids)
        if stop == len(prompts) or n_tokens + len(prompts[stop]) > MAX_PREFILL_TOKENS:
            parts.append(runner.run(_prompt_step(prompts[start:stop], tables_PT[start:stop])))
            start, n_tokens = stop, 0
    return torch.cat(parts)


def _prompt_step(prompts: SequenceOf[SequenceOf[int]], tables: list[list[int]]) -> StepBatch:
    lengths = np.array([len(ids) for ids in prompts])
    return StepBatch(
        torch.tensor([id for ids in prompts for id in ids]),
        torch.from_numpy(np.concatenate([np.arange(n) for n in lengths])),
        torch.from_numpy(np.repeat(np.arange(len(prompts)), lengths)),
        torch.from_numpy(_table(tables)),
        torch.from_numpy(lengths),
        torch.from_numpy(np.cumsum(lengths) - 1),
    )


def _table(rows: list[list[int]]) -> np.ndarray:
    table_RT = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for r, row in enumerate(rows):
        table_RT[r, : len(row)] = row
    return table_RT


def _completion(tokenizer: Tokenizer, said: Decoding, b: int) -> Completion:
    n_tokens, is_ended = int(said.n_tokens_B[b]), bool(said.is_ended_B[b])
    ids, logps = said.ids_BT[b, :n_tokens].tolist(), said.logp_BT[b, :n_tokens].tolist()
    text = tokenizer.decode(ids[:-1] if is_ended else ids)
    return Completion(tuple(ids), text, "stop" if is_ended else "length", tuple(logps), (), int(said.start_B[b]))
