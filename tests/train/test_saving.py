"""Checkpoints of a stage: when they are made, what refuses to go on from them, and a disk that is full."""

import errno
import resource
import signal
import time

import pytest
from safetensors.torch import load_file
from tiny import config_of, trainer_of, weights

from glasshouse.core.errors import CheckpointError, ConfigError, TrainingError
from glasshouse.train import saving
from glasshouse.train.checks import check_identity


def test_resume_with_other_settings_is_refused(tmp_path):
    made = trainer_of(tmp_path, config_of(steps=30))
    made._begin()
    for _ in range(3):
        made._step()
    made._save()
    with pytest.raises(ConfigError, match=r"train\.steps was 30, now 31"):
        trainer_of(tmp_path, config_of(steps=31)).fit()
    assert trainer_of(tmp_path, config_of(steps=30, eval_every=5, checkpoint_every=9)).fit().steps == 30


def test_checkpoints_by_time_are_held_to_a_share_of_the_run(tmp_path, monkeypatch):
    made = trainer_of(tmp_path, config_of(checkpoint_every=None, checkpoint_every_s=10.0))
    now = made.saver._saved_at
    for passed, save_s, expected in ((9.9, 0.0, False), (10.1, 0.0, True), (10.1, 1.0, False), (20.1, 1.0, True)):
        made.saver._took_s = save_s
        monkeypatch.setattr(saving.time, "perf_counter", lambda: now + passed)  # noqa: B023
        assert made.saver.is_due(7) is expected
    made.saver.config = config_of(checkpoint_every=None, checkpoint_every_s=None)
    assert made.saver.is_due(7) is False


def test_training_goes_on_while_a_slow_disk_writes(tmp_path, monkeypatch):
    """By the clock: not one step waits, and no second checkpoint is begun meanwhile."""
    made = trainer_of(tmp_path, config_of(steps=40, checkpoint_every=None, checkpoint_every_s=0.0))
    real, steps_at = saving.save_checkpoint, []

    def slow(path, *args, **kwargs):
        if "training_state" in kwargs and kwargs["training_state"] is not None and len(steps_at) < 2:
            steps_at.append(made.state.step)
            while made.state.step < steps_at[0] + 20:
                time.sleep(0.005)
            steps_at.append(made.state.step)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(saving, "save_checkpoint", slow)
    made.fit()
    begun, ended = steps_at
    assert ended - begun >= 20
    trainer_of(tmp_path / "whole", config_of(steps=40)).fit()
    assert all(weights(tmp_path)[k].equal(v) for k, v in weights(tmp_path / "whole").items())


def test_what_is_written_beside_training_is_the_state_of_its_own_step(tmp_path):
    made = trainer_of(tmp_path, config_of(steps=30))
    made._begin()
    for _ in range(3):
        made._step()
    expected = {name: p.detach().clone() for name, p in made.model.named_parameters()}
    made._save(is_beside=True)
    for _ in range(3):
        made._step()
    made.saver.finish()
    stored = load_file(made.saver.newest() / "model.safetensors")
    assert made.saver.newest().name == "step-00000003"
    assert all(stored[name].equal(value) for name, value in expected.items())


# ---- a full disk -----------------------------------------------------------------------------------------------------


def full(*args, **kwargs):
    raise CheckpointError("not saved") from OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path, monkeypatch):
    made = trainer_of(tmp_path, config_of(steps=30))
    real, n_saves = saving.save_checkpoint, 0

    def save(*args, **kwargs):
        nonlocal n_saves
        n_saves += 1
        return real(*args, **kwargs) if n_saves <= 1 else full()

    monkeypatch.setattr(saving, "save_checkpoint", save)
    with pytest.raises(TrainingError, match=r"disk is full .*step 14(?s:.*)last good checkpoint is .*step-00000007"):
        made.fit()
    monkeypatch.setattr(saving, "save_checkpoint", real)  # room was made
    trainer_of(tmp_path, config_of(steps=30)).fit()
    trainer_of(tmp_path / "whole", config_of(steps=30)).fit()
    assert all(weights(tmp_path)[k].equal(v) for k, v in weights(tmp_path / "whole").items())


def test_the_older_of_two_checkpoints_makes_room(tmp_path, monkeypatch):
    made = trainer_of(tmp_path, config_of(steps=30))
    real = saving.save_checkpoint

    def save(path, *args, **kwargs):
        return full() if len(list(made.saver.checkpoints.glob("step-*"))) >= 2 else real(path, *args, **kwargs)

    monkeypatch.setattr(saving, "save_checkpoint", save)
    assert made.fit().steps == 30


def test_a_real_file_size_limit_is_explained(tmp_path):
    """The operating system refuses the write itself, half-way through a file."""
    made = trainer_of(tmp_path, config_of(steps=30))
    made._begin()
    made._step()
    made._save()
    before = sorted(p.name for p in made.saver.checkpoints.rglob("*"))
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(TrainingError, match=r"disk is full(?s:.*)step-00000001"):
            trainer_of(tmp_path, config_of(steps=30)).fit()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert sorted(p.name for p in made.saver.checkpoints.rglob("*")) == before
    assert trainer_of(tmp_path, config_of(steps=30)).fit().steps == 30


def test_a_setting_younger_than_a_checkpoint_had_what_is_now_its_default(tmp_path):
    saver = trainer_of(tmp_path, config_of()).saver
    identity = saver._identity()
    del identity["train"]["optim"]["muon_iterations"]
    assert saver._as_now(identity) == saver._identity()
    other = trainer_of(tmp_path / "other", config_of(optim={"muon_iterations": 3})).saver
    with pytest.raises(ConfigError, match=r"train\.optim\.muon_iterations was 5, now 3"):
        check_identity(other._as_now(identity), other._identity(), tmp_path)
