"""What the C++ loop over tokens is given (`decode.h`), every size and index looked at.

Shapes: B answers, T tokens at most of each, P blocks, V vocab.
"""

import ctypes

import numpy as np
from torch import Tensor

from glasshouse.core.errors import ConfigError
from glasshouse.infer.native.checks import array_of, within
from glasshouse.infer.runner import Decoding
from glasshouse.model import ModelConfig


class _Decoding(ctypes.Structure):
    _fields_ = [
        *[(name, ctypes.c_int64) for name in ("n_answers", "max_tokens", "n_ids", "n_ends", "table_stride")],
        ("temperature", ctypes.c_float),
        *[(name, ctypes.c_void_p) for name in ("uniform", "start", "limit", "end", "table", "logits", "id", "logp",
                                               "n_tokens", "is_ended")],
    ]  # fmt: skip


class CheckedDecoding:
    """Holds the arrays that `c` points into."""

    def __init__(
        self, decoding: Decoding, logits_BV: Tensor, config: ModelConfig, n_blocks: int, block_size: int
    ) -> None:
        d = decoding
        self._logits = np.array(logits_BV.numpy())  # written over, step by step
        self._end = np.array(sorted(d.end_ids), np.int64)
        n_answers, max_tokens = d.ids_BT.shape
        arrays = [
            array_of("uniform_BT", d.uniform_BT, np.float64, d.ids_BT.shape),
            array_of("start_B", d.start_B, np.int64, (n_answers,)),
            array_of("limit_B", d.limit_B, np.int64, (n_answers,)),
            self._end,
            array_of("table_BP", d.table_BP, np.int32, (n_answers, d.table_BP.shape[-1])),
            array_of("logits_BV", self._logits, np.float32, (n_answers, config.vocab_size)),
            array_of("ids_BT", d.ids_BT, np.int64, d.ids_BT.shape),
            array_of("logp_BT", d.logp_BT, np.float32, d.ids_BT.shape),
            array_of("n_tokens_B", d.n_tokens_B, np.int64, (n_answers,)),
            array_of("is_ended_B", d.is_ended_B, np.bool_, (n_answers,)),
        ]
        if not 0 < d.n_ids <= config.vocab_size or not d.temperature > 0:
            raise ConfigError(
                f"n_ids goes from 1 to {config.vocab_size} and the temperature is above 0; got {d.n_ids} and "
                f"{d.temperature:g}"
            )
        within("limit_B", d.limit_B - 1, max_tokens)
        n_read = d.start_B + d.limit_B - 1  # the last token is never fed back
        within("start_B", d.start_B, n_read + 1)
        within("start_B + limit_B - 1", n_read, min(config.max_seq_len, d.table_BP.shape[1] * block_size) + 1)
        n_pages = -(-n_read // block_size)
        within("table_BP", d.table_BP[np.arange(d.table_BP.shape[1]) < n_pages[:, None]], n_blocks)
        self.c = _Decoding(
            n_answers, max_tokens, d.n_ids, len(self._end), d.table_BP.shape[1], d.temperature,
            *(array.ctypes.data for array in arrays),
        )  # fmt: skip
