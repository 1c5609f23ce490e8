"""Shapes that cannot work are refused; importing shapes needs no torch."""

import subprocess
import sys

import pytest

from glasshouse.core.config import parse_config
from glasshouse.core.errors import CheckpointError, ConfigError
from glasshouse.model import PRESETS, ModelConfig


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_kv_heads": 3}, "n_heads .4. must be a multiple of n_kv_heads .3."),
        ({"d_head": 7}, "must be even"),
        ({"n_layers": 0}, "greater than 0"),
        ({"n_layer": 2}, 'unknown key "n_layer".*Did you mean "n_layers"'),
    ],
)  # fmt: skip
def test_impossible_shapes_are_refused(config: ModelConfig, changes: dict[str, int], words: str) -> None:
    values = {**config.model_copy(update={"n_heads": 4}).model_dump(), **changes}
    with pytest.raises(ConfigError, match=words):
        parse_config(ModelConfig, values)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_hugging_face_s_names(name: str) -> None:
    assert ModelConfig.from_hf(PRESETS[name].to_hf()) == PRESETS[name]


def test_old_spellings_are_read() -> None:
    """config.json of SmolLM2-135M as published: rope_theta at the top, no head_dim."""
    values = {
        "architectures": ["LlamaForCausalLM"], "attention_bias": False, "hidden_act": "silu", "hidden_size": 576,
        "intermediate_size": 1536, "max_position_embeddings": 8192, "model_type": "llama", "num_attention_heads": 9,
        "num_hidden_layers": 30, "num_key_value_heads": 3, "rms_norm_eps": 1e-05, "rope_scaling": None,
        "rope_theta": 100000, "tie_word_embeddings": True, "vocab_size": 49152,
    }  # fmt: skip
    assert ModelConfig.from_hf(values) == PRESETS["smollm2-135m"]


def test_a_family_we_cannot_run_is_refused_with_those_we_can() -> None:
    with pytest.raises(CheckpointError, match=r"'Qwen2ForCausalLM' is not one.*Qwen3ForCausalLM, LlamaForCausalLM"):
        ModelConfig.from_hf({"architectures": ["Qwen2ForCausalLM"]})


@pytest.mark.parametrize("module", ["glasshouse.model", "glasshouse.checkpoint"])
def test_importing_is_light(module: str) -> None:
    code = (
        f"import sys, {module} as m; m.{'PRESETS' if 'model' in module else 'verify'}; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
