"""One transformer by configuration: RMSNorm, RoPE, grouped-query attention, optional QK-norm, SwiGLU.

Shapes: B batch, T query time, S key time, D model, N heads, K kv heads, H head, F ffn, V vocab.
Sources: arXiv:2505.09388 (Qwen3), arXiv:2407.21783 (Llama 3).  Module names are the published weight names, so that a
state dict is a Hugging Face file as it stands.  Single-device code: sharding is applied from outside.
Left out: dropout (not used at these scales), biases.
"""

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glasshouse.core.errors import ConfigError
from glasshouse.model.attention import Mask, attend, attend_explicitly, cache_mask, document_blocks, document_mask
from glasshouse.model.cache import KVCache
from glasshouse.model.config import ModelConfig
from glasshouse.model.init import InitConfig, Put, initialise
from glasshouse.model.native import Kernels, hidden_states, is_native
from glasshouse.model.norm import rms_norm
from glasshouse.model.paged import PagedAttention
from glasshouse.model.rope import Rotary, rotate
from glasshouse.model.taps import Taps


class Linear(nn.Linear):
    """A bias-free linear layer whose memory is not filled: `initialise` or a file does that, once.

    `product`: how training multiplies; `float8` has another.  Outside of training it is always `F.linear`.
    """

    product: Callable[[Tensor, Tensor], Tensor] = staticmethod(F.linear)

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__(d_in, d_out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.multiply(x, self.weight)

    def multiply(self, x: Tensor, weight: Tensor) -> Tensor:
        """`weight`: of this layer, or the piece of it that lies here."""
        return self.product(x, weight) if self.training else F.linear(x, weight)

    def reset_parameters(self) -> None:
        pass


class Embedding(nn.Embedding):
    """An embedding whose memory is not filled, as in `Linear`."""

    def reset_parameters(self) -> None:
        pass


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


class Attention(nn.Module):
    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer, self.window = layer, config.windows[layer]
        self.n_heads, self.n_kv_heads, self.d_head = config.n_heads, config.n_kv_heads, config.d_head
        self.q_proj = Linear(config.d_model, config.n_heads * config.d_head)
        self.k_proj = Linear(config.d_model, config.n_kv_heads * config.d_head)
        self.v_proj = Linear(config.d_model, config.n_kv_heads * config.d_head)
        self.o_proj = Linear(config.n_heads * config.d_head, config.d_model)
        if config.has_qk_norm:
            self.q_norm = RMSNorm(config.d_head, config.norm_eps)
            self.k_norm = RMSNorm(config.d_head, config.norm_eps)
        self.has_qk_norm = config.has_qk_norm

    def forward(self, x_BTD: Tensor, context: "Context") -> Tensor:
        q_BTNH = self.q_proj(x_BTD).unflatten(-1, (self.n_heads, self.d_head))
        k_BTKH = self.k_proj(x_BTD).unflatten(-1, (self.n_kv_heads, self.d_head))
        v_BTKH = self.v_proj(x_BTD).unflatten(-1, (self.n_kv_heads, self.d_head))
        if self.has_qk_norm:
            q_BTNH, k_BTKH = self.q_norm(q_BTNH), self.k_norm(k_BTKH)
        q_BTNH, k_BTKH = rotate(q_BTNH, *context.rope), rotate(k_BTKH, *context.rope)
        if (taps := context.taps) is not None:
            name = f"layers.{self.layer}."
            q_BTNH, k_BTKH, v_BTKH = taps(name + "q", q_BTNH), taps(name + "k", k_BTKH), taps(name + "v", v_BTKH)
        if context.pages is not None:
            heads_BTNH = context.pages.attend(self.layer, q_BTNH, k_BTKH, v_BTKH, self.window)
            paged_BTD: Tensor = self.o_proj(heads_BTNH.flatten(-2))
            return paged_BTD
        k_BKSH, v_BKSH = k_BTKH.transpose(1, 2), v_BTKH.transpose(1, 2)
        if context.cache is not None:
            k_BKSH, v_BKSH = context.cache.write(self.layer, k_BTKH, v_BTKH, context.position_BT)
        q_BNTH = q_BTNH.transpose(1, 2)
        mask = context.mask if self.window is None else context.window_mask
        if taps is not None and taps.wants(pattern := f"layers.{self.layer}.attn_weights"):
            heads_BNTH = attend_explicitly(q_BNTH, k_BKSH, v_BKSH, mask, taps, pattern)
        else:
            heads_BNTH = attend(q_BNTH, k_BKSH, v_BKSH, mask)
        heads_BTNH = heads_BNTH.transpose(1, 2)
        if taps is not None:
            heads_BTNH = taps(f"layers.{self.layer}.head_out", heads_BTNH)
        out_BTD: Tensor = self.o_proj(heads_BTNH.flatten(-2))
        return out_BTD


class MLP(nn.Module):
    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.gate_proj = Linear(config.d_model, config.d_ff)
        self.up_proj = Linear(config.d_model, config.d_ff)
        self.down_proj = Linear(config.d_ff, config.d_model)

    def forward(self, x_BTD: Tensor, context: "Context") -> Tensor:
        act_BTF = F.silu(self.gate_proj(x_BTD)) * self.up_proj(x_BTD)
        if context.taps is not None:
            act_BTF = context.taps(f"layers.{self.layer}.mlp_act", act_BTF)
        out_BTD: Tensor = self.down_proj(act_BTF)
        return out_BTD


class Block(nn.Module):
    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.self_attn = Attention(config, layer)
        self.mlp = MLP(config, layer)
        self.input_layernorm = RMSNorm(config.d_model, config.norm_eps)
        self.post_attention_layernorm = RMSNorm(config.d_model, config.norm_eps)

    def forward(self, x_BTD: Tensor, context: "Context") -> Tensor:
        if context.taps is not None:
            return self._forward_tapped(x_BTD, context, context.taps)
        x_BTD = x_BTD + self.self_attn(self.input_layernorm(x_BTD), context)
        return x_BTD + self.mlp(self.post_attention_layernorm(x_BTD), context)

    def _forward_tapped(self, x_BTD: Tensor, context: "Context", taps: Taps) -> Tensor:
        name = f"layers.{self.layer}."
        x_BTD = taps(name + "resid_pre", x_BTD)
        x_BTD = x_BTD + taps(name + "attn_out", self.self_attn(self.input_layernorm(x_BTD), context))
        x_BTD = taps(name + "resid_mid", x_BTD)
        x_BTD = x_BTD + taps(name + "mlp_out", self.mlp(self.post_attention_layernorm(x_BTD), context))
        return taps(name + "resid_post", x_BTD)


class Context:
    """What every layer of one forward pass shares."""

    __slots__ = ("cache", "mask", "pages", "position_BT", "rope", "taps", "window_mask")

    def __init__(
        self,
        rope: tuple[Tensor, Tensor],
        mask: Mask,
        position_BT: Tensor | None,
        cache: KVCache | None,
        taps: Taps | None,
        pages: PagedAttention | None = None,
        window_mask: Mask = None,
    ) -> None:
        self.rope = rope  # cos and signed sin, broadcastable to (B, T, N, H)
        self.mask = mask  # None: plain causal, T == S
        self.window_mask = window_mask  # the same for layers with a window
        self.position_BT = position_BT  # None with a cache: all rows continue together
        self.cache, self.taps = cache, taps
        self.pages = pages  # instead of a cache: B is 1, T the new tokens of many sequences


BlockFunction = Callable[[Tensor, Context], Tensor]


class Decoder(nn.Module):
    """The published name prefix `model.`: embeddings, blocks, final norm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed_tokens = Embedding(config.vocab_size, config.d_model)
        self.layers = nn.ModuleList(Block(config, layer) for layer in range(config.n_layers))
        self.norm = RMSNorm(config.d_model, config.norm_eps)


class Transformer(nn.Module):
    """`Transformer(config)` holds fresh weights from `seed`; `seed=None` leaves them unset, for a loader to fill.

    `kernels`: training on CPU runs the compiled decoder (`native`) unless this says "torch".
    """

    kernels: Kernels | Literal["compiled"] = "auto"
    _blocks: Sequence[BlockFunction] | None = None  # None: the layers themselves

    def __init__(self, config: ModelConfig, init: InitConfig | None = None, seed: int | None = 0) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        self.lm_head = None if config.ties_embeddings else Linear(config.d_model, config.vocab_size)
        self.rotary = Rotary(config)
        if seed is not None:
            self.init_weights(seed, init)

    @classmethod
    def blank(cls, config: ModelConfig) -> Self:
        """Without memory (on the meta device), to be divided or moved first; `to_empty` gives it some."""
        with torch.device("meta"):
            return cls(config, seed=None)

    def init_weights(self, seed: int, init: InitConfig | None = None, put: Put = nn.Parameter.copy_) -> None:
        """Fill every weight; the same seed gives the same weights whatever the order of creation, device or shape of
        the other layers, or how they are divided: `put` then keeps what belongs here."""
        initialise(self, seed, init or InitConfig(), put)

    def to_hf(self) -> dict[str, Any]:
        """The `config.json` of this model."""
        return self.config.to_hf()

    @property
    def blocks(self) -> Sequence[BlockFunction]:
        """What computes the layers, in order."""
        return self._blocks or tuple(self.model.layers)

    def compute_by(self, blocks: Sequence[BlockFunction], kernels: Kernels | Literal["compiled"]) -> None:
        """From now on the layers are computed by `blocks`: compiled, say, or in another way."""
        self._blocks, self.kernels = tuple(blocks), kernels

    def computed_by(self, blocks: Sequence[BlockFunction], kernels: Kernels | Literal["compiled"]) -> "Transformer":
        """A second view of the same weights whose layers are computed by `blocks`."""
        twin = copy.copy(self)
        twin.compute_by(blocks, kernels)
        return twin

    @property
    def head_weight_VD(self) -> Tensor:
        return self.model.embed_tokens.weight if self.lm_head is None else self.lm_head.weight

    @property
    def device(self) -> torch.device:
        return self.model.embed_tokens.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.embed_tokens.weight.dtype

    def new_cache(self, n_rows: int, n_slots: int = 128) -> KVCache:
        return KVCache(self.config, n_rows, n_slots, self.device, self.dtype)

    def hidden(
        self,
        ids_BT: Tensor,
        *,
        document_BT: Tensor | None = None,
        position_BT: Tensor | None = None,
        cache: KVCache | None = None,
        taps: Taps | None = None,
        pages: PagedAttention | None = None,
    ) -> Tensor:
        """Residual stream after the final norm, (B, T, D).

        document_BT: numbers; attention stays inside one document.  Not together with a cache.
        position_BT: positions for RoPE (default 0..T-1); with a cache also the slots that are written.
        cache: without `position_BT` all rows continue where the longest ended, which is right only for rows of one
        length; rows of different lengths pass their positions.
        pages: the serving engine's memory; B is 1, with a position for every token.
        """
        is_plain = position_BT is None and cache is None and taps is None and pages is None and self._blocks is None
        if is_plain and is_native(self, document_BT):
            self._check_length(ids_BT.shape[1])
            return hidden_states(self, ids_BT, document_BT)
        context = self._context(ids_BT, document_BT, position_BT, cache, taps, pages)
        x_BTD = self.model.embed_tokens(ids_BT)
        if torch.is_autocast_enabled(x_BTD.device.type):  # the residual stream too: half the memory traffic
            x_BTD = x_BTD.to(torch.get_autocast_dtype(x_BTD.device.type))
        if taps is not None:
            x_BTD = taps("embed", x_BTD)
        for block in self.blocks:
            x_BTD = block(x_BTD, context)
        x_BTD = self.model.norm(x_BTD)
        return x_BTD if taps is None else taps("final_norm", x_BTD)

    def forward(
        self,
        ids_BT: Tensor,
        *,
        document_BT: Tensor | None = None,
        position_BT: Tensor | None = None,
        cache: KVCache | None = None,
        taps: Taps | None = None,
    ) -> Tensor:
        """Logits (B, T, V)."""
        hidden_BTD = self.hidden(ids_BT, document_BT=document_BT, position_BT=position_BT, cache=cache, taps=taps)
        return F.linear(hidden_BTD, self.head_weight_VD)

    def _context(
        self,
        ids_BT: Tensor,
        document_BT: Tensor | None,
        position_BT: Tensor | None,
        cache: KVCache | None,
        taps: Taps | None,
        pages: PagedAttention | None,
    ) -> Context:
        n_time = ids_BT.shape[1]
        if taps is not None:
            taps.begin(self.config)
        if pages is not None:
            return Context(self.rotary(0, n_time, position_BT, self.dtype), None, position_BT, None, taps, pages)
        if cache is None:
            self._check_length(n_time)
            mask = self._mask(ids_BT, document_BT, None, taps)
            window = self._window(n_time)
            window_mask = mask if window is None else self._mask(ids_BT, document_BT, window, taps)
            return Context(
                self.rotary(0, n_time, position_BT, self.dtype), mask, None, None, taps, window_mask=window_mask
            )
        if document_BT is not None:
            raise ConfigError("document_BT and cache cannot be used together: a cached row is one document.")
        start = cache.n_filled if position_BT is None else 0
        end = start + n_time if position_BT is None else int(position_BT.max()) + 1
        cache.reserve(end)
        cache.n_filled = max(end, cache.n_filled)
        where = (start, n_time, position_BT, cache.n_filled, ids_BT.device)
        mask = None if start == 0 and position_BT is None else cache_mask(*where)
        window = self._window(end)
        window_mask = mask if window is None else cache_mask(*where, window)
        rope = self.rotary(start, n_time, position_BT, self.dtype)
        return Context(rope, mask, position_BT, cache, taps, window_mask=window_mask)

    def _window(self, n_time: int) -> int | None:
        """How far short-sighted layers read; None where that is everything anyhow."""
        window = self.config.window
        return None if window is None or window >= n_time else window

    def _mask(self, ids_BT: Tensor, document_BT: Tensor | None, window: int | None, taps: Taps | None) -> Mask:
        """On a GPU that learns, blocks: a mask of T x T for every row takes more memory than the model."""
        if document_BT is None and window is None:
            return None
        document_BT = torch.zeros_like(ids_BT[:1]) if document_BT is None else document_BT
        is_learning = torch.is_grad_enabled() and taps is None
        make = document_blocks if is_learning and document_BT.is_cuda else document_mask
        return make(document_BT, window)

    def _check_length(self, n_time: int) -> None:
        if n_time > self.config.max_seq_len:
            raise ConfigError(f"{n_time} tokens in a row; this model reads at most {self.config.max_seq_len}.")

    if TYPE_CHECKING:

        def __call__(
            self,
            ids_BT: Tensor,
            *,
            document_BT: Tensor | None = None,
            position_BT: Tensor | None = None,
            cache: KVCache | None = None,
            taps: Taps | None = None,
        ) -> Tensor: ...
