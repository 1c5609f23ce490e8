"""The decoder in C++ as a loaded library, and what it is told.

C++ checks nothing, so everything that reaches it is checked in `function`.
"""

import ctypes
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from torch import Tensor

from glasshouse.core.native import NativeError
from glasshouse.core.native import library as build
from glasshouse.model.config import ModelConfig

# of a layer, in C++'s order; published names
LAYER_WEIGHTS = ("input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.q_norm",
                 "self_attn.k_norm", "self_attn.o_proj", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj",
                 "mlp.down_proj")  # fmt: skip


class Layer(ctypes.Structure):
    _fields_ = [(name.replace(".", "_"), ctypes.c_void_p) for name in LAYER_WEIGHTS]


class Decoder(ctypes.Structure):
    _fields_ = [
        *[
            (n, ctypes.c_int64)
            for n in ("n_layers", "d_model", "n_heads", "n_kv_heads", "d_head", "d_ff", "n_vocab", "is_bf16")
        ],
        *[(n, ctypes.c_void_p) for n in ("embedding", "final_norm", "layers", "cos", "sin")],
        ("eps", ctypes.c_float),
    ]


class Rows(ctypes.Structure):
    _fields_ = [
        ("n_rows", ctypes.c_int64), ("n_time", ctypes.c_int64), ("id", ctypes.c_void_p), ("start", ctypes.c_void_p),
    ]  # fmt: skip


def names_of(config: ModelConfig) -> list[str]:
    """The decoder's parameters, embedding and last norm first, then layer by layer in `LAYER_WEIGHTS`' order."""
    own = [name for name in LAYER_WEIGHTS if config.has_qk_norm or name[-6:] not in ("q_norm", "k_norm")]
    layers = [f"layers.{number}.{name}.weight" for number in range(config.n_layers) for name in own]
    return ["embed_tokens.weight", "norm.weight", *layers]


def described(
    config: ModelConfig, tensors: Sequence[Tensor], cos_TH: Tensor, sin_TH: Tensor, is_bf16: bool
) -> tuple[Decoder, object]:
    """`tensors` in the order of `names_of`: weights or their gradients.  The second is memory the first points into."""
    pointers = iter([tensor.data_ptr() for tensor in tensors])
    embedding, final_norm = next(pointers), next(pointers)
    layers = (Layer * config.n_layers)(*[
        Layer(*[
            None if name[-6:] in ("q_norm", "k_norm") and not config.has_qk_norm else next(pointers)
            for name in LAYER_WEIGHTS
        ])
        for _ in range(config.n_layers)
    ])  # fmt: skip
    decoder = Decoder(
        config.n_layers, config.d_model, config.n_heads, config.n_kv_heads, config.d_head, config.d_ff,
        config.vocab_size, is_bf16, embedding, final_norm, ctypes.addressof(layers), cos_TH.data_ptr(),
        sin_TH.data_ptr(), config.norm_eps,
    )  # fmt: skip
    return decoder, layers


@cache
def library() -> ctypes.CDLL:
    loaded = build(Path(__file__).with_name("decoder.cpp"))
    model, rows, memory, number = ctypes.POINTER(Decoder), ctypes.POINTER(Rows), ctypes.c_void_p, ctypes.c_int32
    loaded.kept_size.argtypes = [model, rows]
    loaded.forward_room.argtypes = loaded.backward_room.argtypes = [model, rows, number]
    loaded.kept_size.restype = loaded.forward_room.restype = loaded.backward_room.restype = ctypes.c_int64
    loaded.forward.argtypes = [model, rows, memory, memory, memory, number]
    loaded.backward.argtypes = [model, model, rows, memory, memory, memory, number]
    loaded.forward.restype = loaded.backward.restype = None
    loaded.multiplies_pairs.restype = number
    return loaded


@cache
def why_unavailable() -> str | None:
    """None where the compiled training kernels can be had, else one line that says why not."""
    try:
        library()
    except NativeError as error:
        return str(error)
    return None


@cache
def why_no_bf16() -> str | None:
    """None where the compiled kernels compute products in bf16, and are the faster for it, else why they do not."""
    if why_unavailable() is not None or library().multiplies_pairs():
        return why_unavailable()
    return "the compiled kernels compute in bf16 where the processor multiplies it (avx512_bf16), and this one does not"
