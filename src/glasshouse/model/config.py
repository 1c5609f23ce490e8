"""The shape of a transformer, and its translation to and from the `config.json` of Hugging Face model directories.

Legend of the whole folder: B batch, T query time, S key time, D model, N heads, K kv heads, H head, F ffn, V vocab,
L layers.  Imports no torch, so that planning and reporting stay light.
Left out: biases, mixtures of experts, RoPE scalings other than Llama 3's.
"""

from collections.abc import Mapping
from typing import Any, Self

import pydantic

from glasshouse.core.config import Config
from glasshouse.core.errors import CheckpointError, suggest

QWEN3, LLAMA = "Qwen3ForCausalLM", "LlamaForCausalLM"
ARCHITECTURES: dict[str, str] = {QWEN3: "qwen3", LLAMA: "llama"}

# the same with one score instead of the next token: a reward model
SCORING_OF: dict[str, str] = {name: name.replace("CausalLM", "SequenceClassification") for name in ARCHITECTURES}

# config.json key -> ours; `tie_word_embeddings`, `head_dim` and RoPE have their own rules below
HF_NAMES: dict[str, str] = {
    "vocab_size": "vocab_size",
    "hidden_size": "d_model",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "num_key_value_heads": "n_kv_heads",
    "intermediate_size": "d_ff",
    "max_position_embeddings": "max_seq_len",
    "rms_norm_eps": "norm_eps",
}


class RopeScaling(Config):
    """Llama 3's stretching of low frequencies, by which a model trained on short text reads long text."""

    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_seq_len: int = 8192


class ModelConfig(Config):
    """One transformer.  `has_qk_norm` tells the two published families apart: Qwen3 has it, Llama has not.

    window: how many tokens a short-sighted layer reads, the token itself included; None: every layer reads all of them.
    window_pattern: which layers those are, S short and L long, repeated to the last layer.
    """

    vocab_size: int = pydantic.Field(gt=0)
    d_model: int = pydantic.Field(gt=0)
    n_layers: int = pydantic.Field(gt=0)
    n_heads: int = pydantic.Field(gt=0)
    n_kv_heads: int = pydantic.Field(gt=0)
    d_head: int = pydantic.Field(gt=0)
    d_ff: int = pydantic.Field(gt=0)
    max_seq_len: int = pydantic.Field(gt=0)
    rope_theta: float = 10000.0
    rope_scaling: RopeScaling | None = None
    norm_eps: float = 1e-6
    ties_embeddings: bool = True
    has_qk_norm: bool = True
    window: int | None = pydantic.Field(default=None, gt=0)
    window_pattern: str = pydantic.Field(default="SSSL", pattern="^[SL]+$")

    @pydantic.model_validator(mode="after")
    def _check(self) -> Self:
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"n_heads ({self.n_heads}) must be a multiple of n_kv_heads ({self.n_kv_heads})")
        if self.d_head % 2:
            raise ValueError(f"d_head ({self.d_head}) must be even: RoPE turns pairs")
        if self.window is not None and not self.has_qk_norm:
            raise ValueError("window needs has_qk_norm: the other published family (Llama) has no windows")
        return self

    @property
    def windows(self) -> tuple[int | None, ...]:
        """How far each layer reads: `window`, or None for everything."""
        pattern = self.window_pattern * self.n_layers
        return tuple(self.window if sight == "S" else None for sight in pattern[: self.n_layers])

    @property
    def architecture(self) -> str:
        return QWEN3 if self.has_qk_norm else LLAMA

    def to_hf(self) -> dict[str, Any]:
        """The `config.json` that transformers, vLLM and llama.cpp's converter read."""
        theta, scaling = self.rope_theta, _scaling_to_hf(self.rope_scaling)
        return {
            "architectures": [self.architecture],
            "model_type": ARCHITECTURES[self.architecture],
            **{theirs: getattr(self, ours) for theirs, ours in HF_NAMES.items()},
            "head_dim": self.d_head,
            "tie_word_embeddings": self.ties_embeddings,
            "hidden_act": "silu",
            "attention_bias": False,
            "attention_dropout": 0.0,
            **({} if self.has_qk_norm else {"mlp_bias": False}),
            **({} if self.window is None else self._windows_to_hf(self.window)),
            # both spellings: transformers 5 writes rope_parameters, older readers want rope_theta and rope_scaling
            "rope_theta": theta,
            "rope_scaling": scaling,
            "rope_parameters": {"rope_theta": theta, **(scaling or {"rope_type": "default"})},
        }

    def _windows_to_hf(self, window: int) -> dict[str, Any]:
        kinds = ["full_attention" if w is None else "sliding_attention" for w in self.windows]
        return {"use_sliding_window": True, "sliding_window": window, "layer_types": kinds}

    @staticmethod
    def from_hf(values: Mapping[str, Any], source: str = "config.json", *, is_scorer: bool = False) -> "ModelConfig":
        """Inverse of `to_hf`, also for configs others wrote; refuses whatever this model would compute wrongly.

        is_scorer: the config of a reward model (`scoring`), which is refused otherwise.
        """
        architecture = _architecture(values, source, is_scorer)
        _refuse_unsupported(values, source)
        missing = [k for k in HF_NAMES if k not in values and k not in ("num_key_value_heads", "rms_norm_eps")]
        if missing:
            raise CheckpointError(f"{source}: missing {', '.join(missing)}; the file is incomplete.")
        own = {ours: values[theirs] for theirs, ours in HF_NAMES.items() if theirs in values}
        own.setdefault("n_kv_heads", own["n_heads"])
        theta, scaling = _rope_from_hf(values, source)
        try:
            return ModelConfig(
                **own,
                d_head=values.get("head_dim") or (own["d_model"] // own["n_heads"]),
                rope_theta=theta,
                rope_scaling=scaling,
                ties_embeddings=bool(values.get("tie_word_embeddings", False)),
                has_qk_norm=architecture == QWEN3,
                **_windows_from_hf(values, own["n_layers"]),
            )
        except pydantic.ValidationError as error:
            raise CheckpointError(f"{source}: {error.errors()[0]['msg']}") from None


def _architecture(values: Mapping[str, Any], source: str, is_scorer: bool) -> str:
    by_type = {model_type: name for name, model_type in ARCHITECTURES.items()}
    given = (values.get("architectures") or [by_type.get(str(values.get("model_type")), values.get("model_type"))])[0]
    scores = {theirs: ours for ours, theirs in SCORING_OF.items()}
    if is_scorer:
        return _scored_architecture(values, source, str(given), scores)
    if given in scores:
        raise CheckpointError(
            f"{source}: this is a reward model: it scores answers and writes none. Give a language model here, and "
            "this one where a reward is asked for."
        )
    if given not in ARCHITECTURES:
        raise CheckpointError(
            f"{source}: architecture {given!r} is not one Glasshouse can run. Known: {', '.join(ARCHITECTURES)} "
            f"(SmolLM2 and Llama 3 are of the second kind).{suggest(str(given), ARCHITECTURES)}"
        )
    return str(given)


def _scored_architecture(values: Mapping[str, Any], source: str, given: str, scores: Mapping[str, str]) -> str:
    if given not in scores:
        raise CheckpointError(
            f"{source}: architecture {given!r} is not a reward model's. Known: {', '.join(scores)}. "
            "Train one with: glass reward"
        )
    n_labels = len(values.get("id2label") or range(2))  # transformers' default is two
    if n_labels != 1:
        raise CheckpointError(f"{source}: gives {n_labels} numbers for a text; a reward model gives one.")
    return scores[given]


def _refuse_unsupported(values: Mapping[str, Any], source: str) -> None:
    """An option that changes the result and that we do not compute is an error, never ignored."""
    problems = [f"{key} is true" for key in ("attention_bias", "mlp_bias") if values.get(key)]
    if values.get("hidden_act", "silu") not in ("silu", "swish"):
        problems.append(f"hidden_act is {values['hidden_act']!r}, not 'silu'")
    if odd := sorted(set(values.get("layer_types") or ()) - {"full_attention", "sliding_attention"}):
        problems.append(f"layer_types contains {', '.join(odd)}")
    if values.get("quantization_config"):
        problems.append("the weights are quantized (quantization_config)")
    if problems:
        raise CheckpointError(f"{source}: not supported: {'; '.join(problems)}. Glasshouse would compute it wrongly.")


def _windows_from_hf(values: Mapping[str, Any], n_layers: int) -> dict[str, Any]:
    """As Qwen3's: `layer_types` says it layer by layer; without, the layers from `max_window_layers` on are short."""
    if not values.get("use_sliding_window") or values.get("sliding_window", 4096) is None:
        return {}
    n_long = int(values.get("max_window_layers", 28))
    kinds = values.get("layer_types") or ["full_attention"] * n_long + ["sliding_attention"] * n_layers
    pattern = "".join("S" if kind == "sliding_attention" else "L" for kind in kinds[:n_layers])
    return {"window": values.get("sliding_window", 4096), "window_pattern": pattern} if "S" in pattern else {}


def _rope_from_hf(values: Mapping[str, Any], source: str) -> tuple[float, RopeScaling | None]:
    rope = dict(values.get("rope_parameters") or values.get("rope_scaling") or {})
    theta = float(rope.get("rope_theta") or values.get("rope_theta") or 10000.0)
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "default":
        return theta, None
    if kind != "llama3":
        raise CheckpointError(f"{source}: RoPE scaling {kind!r} is not supported. Known: default, llama3.")
    return theta, RopeScaling(
        factor=rope["factor"],
        low_freq_factor=rope["low_freq_factor"],
        high_freq_factor=rope["high_freq_factor"],
        original_max_seq_len=rope["original_max_position_embeddings"],
    )


def _scaling_to_hf(scaling: RopeScaling | None) -> dict[str, Any] | None:
    if scaling is None:
        return None
    return {
        "rope_type": "llama3",
        "factor": scaling.factor,
        "low_freq_factor": scaling.low_freq_factor,
        "high_freq_factor": scaling.high_freq_factor,
        "original_max_position_embeddings": scaling.original_max_seq_len,
    }
