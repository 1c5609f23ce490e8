"""What was saved comes back to the bit; what does not fit together is refused by name."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from glasshouse.checkpoint import load_config, load_details, load_model
from glasshouse.checkpoint.weights import INDEX, WEIGHTS
from glasshouse.core.errors import CheckpointError
from glasshouse.core.files import read_json, write_json
from glasshouse.meter import Cost
from glasshouse.model import ModelConfig, Transformer
from glasshouse.tokenizer import Tokenizer, TokenizerConfig, train_tokenizer

Save = Callable[..., Path]


@pytest.fixture
def foreign(save: Save) -> Path:
    """A Hugging Face directory as others write it: no glasshouse/ in it."""
    folder = save("foreign")
    for path in (folder / "glasshouse").iterdir():
        path.unlink()
    (folder / "glasshouse").rmdir()
    return folder


def change(path: Path, **values: object) -> None:
    write_json(path, {**read_json(path), **values})


def test_weights_and_tokenizer_come_back_to_the_bit(save: Save, model: Transformer, tokenizer: Tokenizer) -> None:
    loaded, loaded_tokenizer = load_model(save())
    assert loaded.config == model.config and not loaded.training
    assert {k: v.tolist() for k, v in loaded.state_dict().items()} == {
        k: v.tolist() for k, v in model.state_dict().items()
    }
    assert loaded_tokenizer.hash == tokenizer.hash
    ids_BT = torch.tensor([tokenizer.encode("the model reads")])
    assert torch.equal(loaded(ids_BT), model(ids_BT))


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16])
def test_half_precision_is_loaded_as_asked(save: Save, model: Transformer, stored: torch.dtype) -> None:
    folder = save(model=model.to(stored))
    assert read_json(folder / "config.json")["dtype"] == str(stored).removeprefix("torch.")
    assert load_model(folder)[0].dtype == torch.float32  # the default on a CPU
    kept, _ = load_model(folder, dtype=stored)
    assert kept.dtype == stored
    assert kept.rotary.cos_TH.dtype == torch.float32
    assert torch.equal(kept.head_weight_VD, model.head_weight_VD)


def test_details_tell_the_origin(save: Save) -> None:
    details = load_details(save())
    assert details.recipe == {"train": {"steps": 3}} and details.provenance == {"corpus": "abc"}
    assert details.cost == Cost(flops=2.0, seconds=1.5)
    assert load_details(save("free", cost=None)).cost is None


def test_a_foreign_directory_opens(foreign: Path, model: Transformer) -> None:
    assert torch.equal(load_model(foreign)[0].head_weight_VD, model.head_weight_VD)


def test_a_tied_head_stored_twice_opens_only_if_it_is_the_same(foreign: Path) -> None:
    weights = load_file(foreign / WEIGHTS)
    save_file({**weights, "lm_head.weight": weights["model.embed_tokens.weight"].clone()}, foreign / WEIGHTS)
    load_model(foreign)
    save_file({**weights, "lm_head.weight": weights["model.embed_tokens.weight"] + 1}, foreign / WEIGHTS)
    with pytest.raises(CheckpointError, match="tie_word_embeddings"):
        load_model(foreign)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"architectures": ["MambaForCausalLM"]}, "MambaForCausalLM.*Qwen3ForCausalLM, LlamaForCausalLM"),
        ({"attention_bias": True}, "attention_bias"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "yarn"),
        ({"layer_types": ["chunked_attention"]}, "chunked_attention"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"quantization_config": {"bits": 4}}, "quantized"),
        ({"hidden_size": 48}, r"model.embed_tokens.weight is \(300, 32\).*\(300, 48\)"),
        ({"num_hidden_layers": 3}, r"lack model.layers.2.*and \d+ more"),
        ({"num_hidden_layers": 1}, "layers.1.*does not call for"),
        ({"vocab_size": 200}, "tokenizer has 300 ids.*200 rows.*does not belong"),
        ({"num_key_value_heads": 3}, "multiple of n_kv_heads"),
    ],
)  # fmt: skip
def test_what_would_be_computed_wrongly_is_refused(foreign: Path, values: dict[str, object], words: str) -> None:
    change(foreign / "config.json", **values)
    with pytest.raises(CheckpointError, match=words):
        load_model(foreign)


def test_an_incomplete_or_unreadable_config_is_refused(foreign: Path) -> None:
    path = foreign / "config.json"
    values = read_json(path)
    write_json(path, {k: v for k, v in values.items() if k != "hidden_size"})
    with pytest.raises(CheckpointError, match="missing hidden_size"):
        load_config(foreign)
    path.write_text('{"architec')
    with pytest.raises(CheckpointError, match=r"config\.json: damaged"):
        load_config(foreign)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load_config(foreign)
    with pytest.raises(CheckpointError, match="no such"):
        load_config(foreign / "nowhere")


def test_a_tokenizer_swapped_for_another_is_refused(save: Save) -> None:
    """It fits the weights by size; only its hash can tell."""
    folder = save()
    other = train_tokenizer(["zebras graze", "quick brown foxes jump over it"] * 9, TokenizerConfig(vocab_size=290))
    other.save(folder)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json.*does not belong to them"):
        load_model(folder)


def test_a_missing_tokenizer_is_named(foreign: Path) -> None:
    (foreign / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"no tokenizer\.json"):
        load_model(foreign)


def test_truncated_weights_are_named(foreign: Path) -> None:
    path = foreign / WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: damaged"):
        load_model(foreign)


def test_a_pickle_is_never_loaded(foreign: Path) -> None:
    (foreign / WEIGHTS).rename(foreign / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin, a pickle, which is never loaded"):
        load_model(foreign)


def test_a_missing_shard_is_named(save: Save) -> None:
    folder = save(max_shard_bytes=20_000)
    victim = sorted(folder.glob("model-00002*"))[0]
    victim.unlink()
    with pytest.raises(CheckpointError, match=victim.name):
        load_model(folder)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/passwd", "a/../../b", "..\\b", ""])
def test_an_index_that_leads_out_of_the_folder_is_refused(foreign: Path, name: str) -> None:
    (foreign / WEIGHTS).rename(foreign.parent / "outside.safetensors")
    (foreign / INDEX).write_text(json.dumps({"weight_map": {"model.norm.weight": name}}))
    with pytest.raises(CheckpointError, match="not inside the checkpoint"):
        load_model(foreign)


def test_an_index_without_a_map_is_damaged(foreign: Path) -> None:
    (foreign / WEIGHTS).unlink()
    (foreign / INDEX).write_text("[]")
    with pytest.raises(CheckpointError, match="weight_map"):
        load_model(foreign)


def test_integer_weights_are_refused(foreign: Path) -> None:
    weights = {k: v.to(torch.int8) for k, v in load_file(foreign / WEIGHTS).items()}
    save_file(weights, foreign / WEIGHTS)
    with pytest.raises(CheckpointError, match=r"int8.*not supported"):
        load_model(foreign)


def test_config_round_trips_through_hugging_face_s_names(config: ModelConfig) -> None:
    for changes in ({}, {"has_qk_norm": False, "ties_embeddings": False}):
        own = config.model_copy(update=changes)
        assert ModelConfig.from_hf(own.to_hf()) == own
