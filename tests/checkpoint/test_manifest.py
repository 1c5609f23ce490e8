"""Damage is found and named; torn checkpoints are passed over."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from glasshouse.checkpoint import latest_checkpoint, load_model, load_training_state, step_folder, verify
from glasshouse.checkpoint.manifest import MANIFEST
from glasshouse.core.errors import CheckpointError

Save = Callable[..., Path]
LISTED = [
    "config.json",
    "model.safetensors",
    "generation_config.json",
    "glasshouse/recipe.json",
    "glasshouse/cost.json",
]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", LISTED)
def test_one_flipped_bit_is_found_and_named(save: Save, name: str) -> None:
    folder = save()
    flip(folder / name)
    with pytest.raises(CheckpointError, match=f"{name}.*changed"):
        load_model(folder)
    assert verify(folder, checks_hashes=False).files[name]  # sizes alone cannot tell


@pytest.mark.parametrize("name", LISTED)
def test_a_missing_file_is_named(save: Save, name: str) -> None:
    folder = save()
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}: missing"):
        verify(folder)


def test_a_cut_file_is_named_even_without_hashing(save: Save) -> None:
    folder = save()
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: 1,000 bytes, should be"):
        verify(folder, checks_hashes=False)


def test_all_faults_are_named_at_once(save: Save) -> None:
    folder = save()
    flip(folder / "config.json")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"(?s)config\.json.*model\.safetensors"):
        verify(folder)


def test_files_added_later_are_no_fault(save: Save) -> None:
    folder = save()
    (folder / "README.md").write_text("a card")
    verify(folder)


def test_no_manifest_no_checkpoint(save: Save) -> None:
    folder = save()
    (folder / MANIFEST).unlink()
    with pytest.raises(CheckpointError, match="interrupted"):
        load_model(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format_version": 1, "files": 3}'])
def test_a_damaged_manifest_is_named(save: Save, text: str) -> None:
    folder = save()
    (folder / MANIFEST).write_text(text)
    with pytest.raises(CheckpointError, match=r"manifest\.json: damaged"):
        verify(folder)


def test_a_later_format_is_refused(save: Save) -> None:
    folder = save()
    record = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**record, "format_version": 2}))
    with pytest.raises(CheckpointError, match=r"format 2.*reads format 1"):
        verify(folder)


def test_a_manifest_that_leads_out_of_the_folder_is_refused(save: Save) -> None:
    folder = save()
    record = json.loads((folder / MANIFEST).read_text())
    record["files"]["../secret"] = {"bytes": 1, "sha256": "0"}
    (folder / MANIFEST).write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="not inside the checkpoint"):
        verify(folder)


def test_the_latest_whole_checkpoint_is_found(save: Save, tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None and latest_checkpoint(tmp_path / "nowhere") is None
    for step in (2, 10, 30):
        save(step_folder(step))
    (tmp_path / "step-latest").mkdir()
    (tmp_path / "step-99999999").write_text("a file, not a folder")
    assert latest_checkpoint(tmp_path) == tmp_path / "step-00000030"
    flip(tmp_path / "step-00000030" / "model.safetensors")
    (tmp_path / "step-00000010" / MANIFEST).unlink()
    skipped: list[str] = []
    assert latest_checkpoint(tmp_path, skipped.append) == tmp_path / "step-00000002"
    assert len(skipped) == 2 and "step-00000030" in skipped[0] and "step-00000010" in skipped[1]


def test_a_checkpoint_without_training_state_says_so(save: Save) -> None:
    with pytest.raises(CheckpointError, match="no training state"):
        load_training_state(save())
