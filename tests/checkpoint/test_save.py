"""A checkpoint is whole or absent, replaces an older one in one step, and survives a full disk."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from glasshouse.checkpoint import TrainingState, load_model, verify
from glasshouse.checkpoint.weights import INDEX, WEIGHTS
from glasshouse.core.errors import CheckpointError
from glasshouse.model import ModelConfig, Transformer
from glasshouse.tokenizer import Tokenizer

Save = Callable[..., Path]


def tree(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_the_layout_is_a_hugging_face_directory_with_a_manifest(save: Save, tokenizer: Tokenizer) -> None:
    folder = save(training_state=TrainingState({"m": torch.ones(2)}, {"step": 3}))
    assert tree(folder) == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        "glasshouse/recipe.json", "glasshouse/cost.json", "glasshouse/provenance.json", "glasshouse/manifest.json",
        "glasshouse/training_state.json", "glasshouse/training_state.safetensors",
    }  # fmt: skip
    manifest = verify(folder)
    assert set(manifest.files) == tree(folder) - {"glasshouse/manifest.json"}
    assert manifest.tokenizer_hash == tokenizer.hash


def test_generation_ends_at_the_chat_and_the_document_end(save: Save, tokenizer: Tokenizer) -> None:
    values = json.loads((save() / "generation_config.json").read_text())
    assert values["eos_token_id"] == [tokenizer.im_end_id, tokenizer.end_of_text_id]
    assert values["pad_token_id"] == tokenizer.end_of_text_id


def test_the_parent_is_named_by_its_id(save: Save) -> None:
    parent = verify(save("a"))
    child = verify(save("b", parent=parent.id))
    assert child.parent == parent.id and child.id != parent.id and len(child.id) == 64


def test_tied_embeddings_are_stored_once(save: Save, config: ModelConfig) -> None:
    from safetensors import safe_open

    for ties in (True, False):
        model = Transformer(config.model_copy(update={"ties_embeddings": ties}))
        with safe_open(save(f"ties-{ties}", model=model) / WEIGHTS, "pt") as file:
            assert ("lm_head.weight" in file.keys()) is not ties  # noqa: SIM118


def test_a_newer_checkpoint_replaces_the_older_one(save: Save, config: ModelConfig, tmp_path: Path) -> None:
    before = verify(save()).id
    (tmp_path / "step-00000001" / "MODEL_CARD.md").write_text("old")
    after = verify(save(model=Transformer(config, seed=2)))
    assert after.id != before
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]
    assert not (tmp_path / "step-00000001" / "MODEL_CARD.md").exists()


def test_replacing_works_where_the_system_has_no_exchange(
    save: Save, config: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glasshouse.checkpoint.replace._exchange", lambda one, other: False)
    before = verify(save()).id
    assert verify(save(model=Transformer(config, seed=2))).id != before
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]


def test_saving_through_the_run_s_link_replaces_the_folder_behind_it(save: Save, tmp_path: Path) -> None:
    real = save("real")
    (tmp_path / "model").symlink_to("real", target_is_directory=True)
    save("model", recipe={"changed": True})
    assert (tmp_path / "model").is_symlink()
    assert json.loads((real / "glasshouse/recipe.json").read_text()) == {"changed": True}


def test_a_folder_that_is_no_checkpoint_is_not_overwritten(save: Save, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("mother")
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        save("letters")
    assert (tmp_path / "letters" / "dear.txt").read_text() == "mother"


def test_a_tokenizer_with_more_ids_than_rows_is_refused(save: Save, config: ModelConfig, tmp_path: Path) -> None:
    small = Transformer(config.model_copy(update={"vocab_size": config.vocab_size - 1}))
    with pytest.raises(CheckpointError, match="does not belong to these weights"):
        save(model=small)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("victim", ["config.json", "manifest.json", "tokenizer.json"])
def test_a_full_disk_keeps_the_last_good_checkpoint(
    save: Save, config: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    good = verify(save()).id
    real = os.fsync

    def full(descriptor: int) -> None:
        if victim in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"(?s)disk is full.*untouched.*Make room"):
        save(model=Transformer(config, seed=2))
    monkeypatch.undo()
    assert verify(tmp_path / "step-00000001").id == good
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]


FULL_DISK = """
import resource, sys
from pathlib import Path
from glasshouse.checkpoint import load_model, save_checkpoint
from glasshouse.core.errors import CheckpointError

folder = Path(sys.argv[1])
model, tokenizer = load_model(folder)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
model.init_weights(9)
try:
    save_checkpoint(folder, model, tokenizer, recipe={}, cost=None, provenance={})
except CheckpointError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_weights_that_no_longer_fit_leave_the_last_good_checkpoint(save: Save, tmp_path: Path) -> None:
    """A real refusal by the system, in the middle of the weights file."""
    folder = save()
    good = verify(folder).id
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(folder)], capture_output=True, text=True)
    assert done.returncode == CheckpointError.exit_code, done.stderr
    assert "disk is full" in done.stdout and "untouched" in done.stdout
    assert verify(folder).id == good
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]


KILLED = """
import os, signal, sys
from pathlib import Path
import glasshouse.checkpoint.save as save
from glasshouse.checkpoint import load_model

folder = Path(sys.argv[1])
model, tokenizer = load_model(folder)
save.record_files = lambda new: os.kill(os.getpid(), signal.SIGKILL)
save.save_checkpoint(folder, model, tokenizer, recipe={}, cost=None, provenance={})
"""


def test_kill_while_saving_keeps_the_old_one_and_the_next_save_clears_up(save: Save, tmp_path: Path) -> None:
    folder = save()
    good = verify(folder).id
    subprocess.run([sys.executable, "-c", KILLED, str(folder)], capture_output=True)
    assert len(list(tmp_path.iterdir())) == 2  # the torn neighbour is there
    assert verify(folder).id == good
    save("step-00000002")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000001", "step-00000002"]


def test_large_weights_are_sharded_with_an_index(save: Save, model: Transformer) -> None:
    folder = save(max_shard_bytes=20_000)
    index = json.loads((folder / INDEX).read_text())
    parts = sorted(set(index["weight_map"].values()))
    assert len(parts) > 2 and parts[0] == f"model-00001-of-{len(parts):05d}.safetensors"
    assert not (folder / WEIGHTS).exists()
    assert index["metadata"]["total_size"] == sum(p.nbytes for p in model.parameters())
    sizes = [(folder / p).stat().st_size for p in parts]
    biggest = max(p.nbytes for p in model.parameters())
    assert all(size <= max(20_000, biggest) + 4_000 for size in sizes)
    loaded, _ = load_model(folder)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True))
