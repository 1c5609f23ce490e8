"""The native runner: weights packed once, then a whole step in one call of C++.

Shapes: T tokens, R sequences, P pages of a sequence, V vocab; L layers, K kv heads, H head.  Units: bytes.
C++ checks nothing, so everything that reaches it is checked here: types, sizes, order in memory, and that every id,
position, block and row lies inside what it indexes.
"""

import ctypes
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from glasshouse.checkpoint.weights import EMBEDDING, HEAD
from glasshouse.core.errors import ConfigError
from glasshouse.infer.native.checks import within
from glasshouse.infer.native.decode import CheckedDecoding
from glasshouse.infer.native.kernels import library
from glasshouse.infer.native.memory import Arena
from glasshouse.infer.native.packing import (
    LANES,
    PackedMatrix,
    arranged,
    gates_beside_values,
    heads_in_rows,
    pack,
    packed_bytes,
    padded,
)
from glasshouse.infer.quantize import GROUP, QuantizedMatrix, Weights, quantize_tensors
from glasshouse.infer.runner import BLOCK_SIZE, Decoding, StepBatch
from glasshouse.model import ModelConfig, Transformer
from glasshouse.model.rope import Rotary

Source = Mapping[str, Tensor | QuantizedMatrix]  # by published name


class _Matrix(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("scale", ctypes.c_void_p),
                ("format", ctypes.c_int32), ("n", ctypes.c_int32), ("k", ctypes.c_int32)]  # fmt: skip


class _Layer(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("input_norm", "q_norm", "k_norm", "post_norm")] + [
        (name, _Matrix) for name in ("qkv", "o", "gate_up", "down")
    ]


class _Model(ctypes.Structure):
    _fields_ = [
        *[(name, ctypes.c_int32) for name in ("n_layers", "n_heads", "n_kv_heads", "d_head", "head_stride", "d_model",
                                              "model_stride", "row_stride", "page", "n_blocks")],
        ("norm_eps", ctypes.c_float),
        *[(name, ctypes.c_void_p) for name in ("final_norm", "cos", "sin", "layers")],
        ("embedding", _Matrix), ("head", _Matrix),
        ("keys", ctypes.c_void_p), ("values", ctypes.c_void_p),
    ]  # fmt: skip


class _Batch(ctypes.Structure):
    _fields_ = [
        *[(name, ctypes.c_int64) for name in ("n_tokens", "n_rows", "n_logits", "max_length")],
        *[(name, ctypes.c_void_p) for name in ("id", "position", "sequence", "logit_row", "table")],
        ("table_stride", ctypes.c_int64),
    ]


class NativeRunner:
    """One model with its key/value memory.  Not for use by two threads at once.

    The memory is fp32 and zeroed lazily: pages never used cost no memory.
    """

    def __init__(self, config: ModelConfig, weights: Source, *, n_blocks: int, block_size: int = BLOCK_SIZE) -> None:
        if block_size < 1 or block_size % LANES:
            raise ConfigError(f"block_size must be a multiple of {LANES} for the native runner; got {block_size}")
        if n_blocks < 1:
            raise ConfigError(f"n_blocks must be at least 1; got {n_blocks}")
        self.config, self.n_blocks, self.block_size = config, n_blocks, block_size
        self._library = library()
        self._arena = Arena()
        self._kept: list[object] = []  # memory that C++ points into
        self.n_weight_bytes = 0
        self._head_stride = padded(config.d_head, 2 * LANES)
        shape = (config.n_layers, n_blocks, config.n_kv_heads)
        self._keys = np.zeros((*shape, self._head_stride, block_size), dtype=np.float32)
        self._values = np.zeros((*shape, block_size, self._head_stride), dtype=np.float32)
        self._model = self._describe(weights)
        self._memory = ctypes.c_void_p(self._library.new_memory())

    @classmethod
    def of_model(
        cls, model: Transformer, *, n_blocks: int, block_size: int = BLOCK_SIZE, weights: Weights = "fp32"
    ) -> "NativeRunner":
        """The runner of a loaded model, its weights converted here; `quantize` keeps them on disk instead."""
        return cls(model.config, converted(model, weights), n_blocks=n_blocks, block_size=block_size)

    @staticmethod
    def block_bytes(config: ModelConfig, block_size: int = BLOCK_SIZE) -> int:
        """Memory of one block, all layers."""
        return 2 * 4 * config.n_layers * config.n_kv_heads * padded(config.d_head, 2 * LANES) * block_size

    @staticmethod
    def weight_bytes(config: ModelConfig, weights: Weights) -> int:
        """Memory that the packed weights will take, norms and RoPE's tables included."""
        return packed_bytes(config, weights)

    def __del__(self) -> None:
        if hasattr(self, "_memory"):
            self._library.free_memory(self._memory)

    def copy_block(self, source: int, target: int) -> None:
        """The keys and values of one block into another (copy on write)."""
        if not (0 <= source < self.n_blocks and 0 <= target < self.n_blocks):
            raise ConfigError(f"blocks go from 0 to {self.n_blocks - 1}; got {source} and {target}")
        self._keys[:, target] = self._keys[:, source]
        self._values[:, target] = self._values[:, source]

    def run(self, batch: StepBatch) -> Tensor:
        """Logits (R, V), one row for every entry of `batch.logit_rows`; keys and values of all T tokens are kept."""
        logits_RV = torch.empty(len(batch.logit_rows), self.config.vocab_size)
        self._forward(batch, logits_RV.data_ptr(), None)
        return logits_RV

    def hidden(self, batch: StepBatch) -> Tensor:
        """What the head would read, (R, D), instead of logits."""
        hidden_RD = torch.empty(len(batch.logit_rows), self.config.d_model)
        self._forward(batch, None, hidden_RD.data_ptr())
        return hidden_RD

    def decode(self, logits_BV: Tensor, decoding: Decoding) -> None:
        """The loop of `infer.decoding`, the whole of it in one call: the same tokens and log-probabilities."""
        checked = CheckedDecoding(decoding, logits_BV, self.config, self.n_blocks, self.block_size)
        self._library.decode(ctypes.byref(self._model), ctypes.byref(checked.c), torch.get_num_threads(), self._memory)

    def _forward(self, batch: StepBatch, logits: int | None, hidden: int | None) -> None:
        checked = _Checked(batch, self.config, self.n_blocks, self.block_size)
        self._library.forward(
            ctypes.byref(self._model), ctypes.byref(checked.c), logits, hidden, torch.get_num_threads(), self._memory
        )

    def _describe(self, source: Source) -> _Model:
        config = self.config
        widest = max(config.d_model, config.n_heads * config.d_head, config.d_ff)
        rotary = Rotary(config)
        layers = (_Layer * config.n_layers)(*[self._layer(source, number) for number in range(config.n_layers)])
        self._kept.append(layers)
        embedding = self._matrix(pack(source[EMBEDDING], config.vocab_size))
        head = embedding if config.ties_embeddings else self._matrix(pack(source[HEAD], config.vocab_size))
        return _Model(
            config.n_layers, config.n_heads, config.n_kv_heads, config.d_head, self._head_stride, config.d_model,
            padded(config.d_model, GROUP), padded(widest, GROUP), self.block_size, self.n_blocks, config.norm_eps,
            self._vector(source["model.norm.weight"], GROUP), self._pointer(rotary.cos_TH),
            self._pointer(rotary.sin_TH), ctypes.addressof(layers), embedding, head, self._keys.ctypes.data,
            self._values.ctypes.data,
        )  # fmt: skip

    def _layer(self, source: Source, number: int) -> _Layer:
        def named(name: str) -> Tensor | QuantizedMatrix:
            return source[f"model.layers.{number}.{name}.weight"]

        attention, has_qk_norm = "self_attn.", self.config.has_qk_norm
        qkv = arranged(
            [named(attention + p) for p in ("q_proj", "k_proj", "v_proj")],
            heads_in_rows(self.config.d_head, self._head_stride),
        )
        gate_up = arranged([named("mlp.gate_proj"), named("mlp.up_proj")], gates_beside_values)
        return _Layer(
            self._vector(named("input_layernorm"), GROUP),
            self._vector(named(attention + "q_norm"), 2 * LANES) if has_qk_norm else None,
            self._vector(named(attention + "k_norm"), 2 * LANES) if has_qk_norm else None,
            self._vector(named("post_attention_layernorm"), GROUP),
            self._matrix(pack(qkv)),
            self._matrix(pack(named(attention + "o_proj"))),
            self._matrix(pack(gate_up)),
            self._matrix(pack(named("mlp.down_proj"))),
        )

    def _matrix(self, packed: PackedMatrix) -> _Matrix:
        scale = None if packed.scale is None else self._pointer(packed.scale)
        return _Matrix(self._pointer(packed.data), scale, packed.format, packed.n_outputs, packed.n_inputs)

    def _vector(self, weight: Tensor | QuantizedMatrix, unit: int) -> int:
        assert isinstance(weight, Tensor)
        return self._pointer(torch.nn.functional.pad(weight.float(), (0, -len(weight) % unit)))

    def _pointer(self, tensor: Tensor) -> int:
        kept = self._arena.keep(tensor.detach().contiguous())
        self.n_weight_bytes += kept.nbytes
        self._kept.append(kept)
        return kept.data_ptr()


def converted(model: Transformer, weights: Weights) -> Source:
    """A model's weights in another format; norms stay fp32."""
    tensors = {name: tensor.detach() for name, tensor in model.named_parameters()}
    if weights == "int8" or weights == "int4":
        return quantize_tensors(tensors.items(), weights)
    if weights not in ("fp32", "bf16"):
        raise ConfigError(f"weights can be fp32, bf16, int8 or int4; got {weights!r}")
    dtype = torch.bfloat16 if weights == "bf16" else torch.float32
    return {name: t.to(dtype) if t.ndim == 2 else t for name, t in tensors.items()}


class _Checked:
    """A batch whose every index has been looked at, as C++ wants it.  Holds the arrays it points into."""

    def __init__(self, batch: StepBatch, config: ModelConfig, n_blocks: int, block_size: int) -> None:
        ids, position, sequence = (_array(batch, name, np.int64, 1) for name in ("ids_T", "position_T", "sequence_T"))
        length, logit_row = (_array(batch, name, np.int64, 1) for name in ("length_R", "logit_rows"))
        table = _array(batch, "block_table_RP", np.int32, 2)
        if not len(ids) or not len(ids) == len(position) == len(sequence) or len(table) != len(length):
            raise ConfigError(
                f"a step needs tokens, as many positions and sequence numbers, and a length for every block table; got "
                f"{len(ids)}, {len(position)}, {len(sequence)} and {len(length)} for {len(table)}"
            )
        within("ids_T", ids, config.vocab_size)
        within("sequence_T", sequence, len(table))
        within("length_R", length, min(config.max_seq_len, table.shape[1] * block_size) + 1)
        within("logit_rows", logit_row, len(ids))
        within("position_T", position, length[sequence])
        n_pages = -(-length // block_size)
        within("block_table_RP", table[np.arange(table.shape[1]) < n_pages[:, None]], n_blocks)
        self._arrays = (ids, position, sequence, logit_row, table)
        self.c = _Batch(
            len(ids), len(table), len(logit_row), int(length.max()), *(a.ctypes.data for a in self._arrays),
            table.shape[1],
        )  # fmt: skip


def _array(batch: StepBatch, name: str, dtype: type, n_dims: int) -> np.ndarray:
    tensor = getattr(batch, name)
    array: np.ndarray = tensor.numpy()
    if array.dtype != dtype or array.ndim != n_dims:
        raise ConfigError(f"{name} must be {dtype.__name__} with {n_dims} dimensions; got {array.dtype}, {array.ndim}")
    return np.ascontiguousarray(array)
