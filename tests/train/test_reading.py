import pytest
import tiny
import torch

from glasshouse.batch import Cursor
from glasshouse.train.reading import Reader


class Counting:
    """Batches are the numbers of their cursors."""

    def __init__(self, fails_at=None):
        self.read, self.fails_at = [], fails_at

    def batch_at(self, cursor):
        self.read.append(cursor.index)
        if cursor.index == self.fails_at:
            raise OSError("no such batch")
        return cursor.index, Cursor(index=cursor.index + 1)


@pytest.mark.parametrize("reads_ahead", [False, True])
def test_what_is_read_is_what_is_asked_for_also_after_going_back(reads_ahead):
    reader = Reader(Counting(), lambda batch: batch * 10, reads_ahead=reads_ahead)
    for index in (0, 1, 2, 1, 2, 7, 8):
        assert reader.read(Cursor(index=index)) == (index, index * 10, Cursor(index=index + 1))


def test_each_batch_is_read_once_and_one_ahead():
    loader = Counting()
    reader = Reader(loader, lambda batch: batch, reads_ahead=True)
    cursor = Cursor()
    for _ in range(3):
        _, _, cursor = reader.read(cursor)
    reader.read(Cursor(index=9))  # waits for what is being read
    assert loader.read[:4] == [0, 1, 2, 3]


def test_an_error_reaches_whoever_wanted_the_batch():
    reader = Reader(Counting(fails_at=1), lambda batch: batch, reads_ahead=True)
    reader.read(Cursor())
    with pytest.raises(OSError, match="no such batch"):
        reader.read(Cursor(index=1))


def test_training_is_the_same_to_the_bit(tmp_path, monkeypatch):
    results = []
    for name, reads_ahead in (("plain", False), ("ahead", True)):
        trainer = tiny.trainer_of(tmp_path / name)
        trainer._reader._reads_ahead = reads_ahead
        trainer.fit()
        results.append(tiny.weights(tmp_path / name))
    assert all(torch.equal(results[0][key], results[1][key]) for key in results[0])
