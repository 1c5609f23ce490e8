"""Named places inside the model where values can be read, or replaced, while it runs.  No taps, no cost.

Names and shapes (i counts layers from 0):
  embed                   (B, T, D)  token embeddings
  layers.i.resid_pre      (B, T, D)  residual stream before the block
  layers.i.q / k / v      (B, T, N or K, H)  after norm and RoPE
  layers.i.attn_weights   (B, N, T, S)  the attention pattern (makes this layer use explicit attention)
  layers.i.head_out       (B, T, N, H)  what each head returns, before o_proj
  layers.i.attn_out       (B, T, D)  what attention adds
  layers.i.resid_mid      (B, T, D)  residual stream between attention and MLP
  layers.i.mlp_act        (B, T, F)  activations inside the MLP
  layers.i.mlp_out        (B, T, D)  what the MLP adds
  layers.i.resid_post     (B, T, D)  residual stream after the block
  final_norm              (B, T, D)  what the head reads

>>> taps = Taps(["layers.*.attn_weights"])
>>> model(ids_BT, taps=taps)
>>> taps.values["layers.0.attn_weights"].shape
"""

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase

from torch import Tensor

from glasshouse.core.errors import ConfigError, suggest
from glasshouse.model.config import ModelConfig

LAYER_TAPS = (
    "resid_pre", "q", "k", "v", "attn_weights", "head_out", "attn_out", "resid_mid", "mlp_act", "mlp_out", "resid_post",
)  # fmt: skip


def tap_names(config: ModelConfig) -> list[str]:
    layers = [f"layers.{i}.{name}" for i in range(config.n_layers) for name in LAYER_TAPS]
    return ["embed", *layers, "final_norm"]


class Taps:
    """Keeps the values of the names asked for (`*` matches any text) and applies `edits` to the places they name."""

    def __init__(
        self, names: Iterable[str] = (), edits: Mapping[str, Callable[[Tensor], Tensor]] | None = None
    ) -> None:
        self.names = tuple(names)
        self.edits = dict(edits or {})
        self.values: dict[str, Tensor] = {}
        self._wanted: frozenset[str] = frozenset()

    def begin(self, config: ModelConfig) -> None:
        """Called by the model at each forward pass: forget old values, refuse names that exist nowhere."""
        known = tap_names(config)
        for name in (*self.names, *self.edits):
            if not any(fnmatchcase(k, name) for k in known):
                raise ConfigError(f"no tap {name!r} in this model.{suggest(name, known)}")
        self._wanted = frozenset(k for k in known if any(fnmatchcase(k, n) for n in self.names))
        self.values = {}

    def wants(self, name: str) -> bool:
        return name in self._wanted or name in self.edits

    def __call__(self, name: str, value: Tensor) -> Tensor:
        if name in self.edits:
            value = self.edits[name](value)
        if name in self._wanted:
            self.values[name] = value
        return value
