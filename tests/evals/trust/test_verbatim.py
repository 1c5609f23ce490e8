"""Search in a shard against the naive loop."""

import numpy as np
import pytest

from glasshouse.batch import EncodedDocument, TokenShard, write_shard
from glasshouse.evals.trust import verbatim
from glasshouse.evals.trust.verbatim import ShardSearch
from glasshouse.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def shard(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> TokenShard:
    rng = np.random.Generator(np.random.PCG64(0))
    documents = [EncodedDocument(str(n), rng.integers(0, 30, 700).tolist(), "x") for n in range(6)]
    return write_shard(tmp_path_factory.mktemp("s") / "a.tokens", documents, tokenizer)


def naive(ids: list[int], asked: list[int]) -> bool:
    return any(ids[at : at + len(asked)] == asked for at in range(len(ids) - len(asked) + 1))


@pytest.mark.parametrize("piece", [100, verbatim.PIECE])
def test_as_the_naive_loop_finds(shard: TokenShard, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verbatim, "PIECE", piece)
    ids = shard.ids.tolist()
    rng = np.random.Generator(np.random.PCG64(1))
    asked = [rng.integers(0, 30, n).tolist() for n in (1, 2, 2, 3, 3, 3, 4)]
    asked += [ids[at : at + n] for at, n in ((0, 5), (98, 20), (len(ids) - 3, 3), (50, 64), (98, 20))]
    asked += [[*ids[200:219], 31], [], [*ids, 1]]
    found = ShardSearch(shard)(asked)
    assert found == [naive(ids, sequence) for sequence in asked]
    assert True in found and False in found
