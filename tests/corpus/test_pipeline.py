import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse.core.errors import ConfigError
from glasshouse.core.records import Document
from glasshouse.corpus import pipeline
from glasshouse.corpus.pipeline import STEPS, Pipeline, batches, find_steps
from glasshouse.corpus.step import MapStep

TEXTS = st.lists(
    st.sampled_from(["a", "b", "a ", "", "mail x@lovelace.org", "mail y@lovelace.org", "c\r\nd", "cafe\u0301"])
)


def clean(texts: list[str]) -> tuple[list[Document], list[Any], Pipeline]:
    records: list[Any] = []
    worker = Pipeline(find_steps(list(STEPS)), records.append)
    documents = [Document(str(number), text, f"file{number}", number) for number, text in enumerate(texts)]
    return list(worker.run(documents)), records, worker


@given(TEXTS, st.integers(1, 5))
def test_result_does_not_depend_on_the_batches(texts: list[str], size: int) -> None:
    whole = clean(texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "BATCH_DOCUMENTS", size)
        parts = clean(texts)
    assert parts[0] == whole[0]
    assert [vars_of(tally) for tally in parts[2].tallies] == [vars_of(tally) for tally in whole[2].tallies]
    assert sorted(map(str, parts[1])) == sorted(map(str, whole[1]))


def vars_of(tally: pipeline.StepTally) -> tuple[object, ...]:
    return tally.name, tally.n_in, tally.n_removed, tally.n_changed, sorted(tally.reasons.items())


@given(TEXTS)
def test_every_document_is_kept_or_recorded_as_removed(texts: list[str]) -> None:
    kept, records, _ = clean(texts)
    removed = [record["id"] for record in records if record["action"] == "removed"]
    assert sorted([document.id for document in kept] + removed) == sorted(str(number) for number in range(len(texts)))
    changed = {record["id"] for record in records if record["action"] == "changed"}
    for document in kept:
        assert (document.text != texts[int(document.id)]) == (document.id in changed)
        assert document.offset == int(document.id)


def test_the_first_of_duplicates_is_kept_and_named_across_streams() -> None:
    kept, records, worker = clean(["mail x@lovelace.org", "other", "mail y@lovelace.org"])
    assert [document.id for document in kept] == ["0", "1"]
    assert records[-1] == {
        "id": "2", "source": "file2", "offset": 2, "step": "dedup_exact", "action": "removed", "reason": "duplicate: 0",
        "excerpt": "mail [EMAIL]",
    }  # fmt: skip
    assert list(worker.run([Document("9", "other", "f")])) == []
    assert worker.tallies[-1].reasons == {"duplicate": 2}


def test_steps_pickle_as_an_engine_needs_them() -> None:
    for name, step in STEPS.items():
        assert step.name == name
        function = step.apply if isinstance(step, MapStep) else step.key
        assert pickle.loads(pickle.dumps(function)) is function


def test_unknown_step_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match='Did you mean "mask_private"'):
        find_steps(["mask_privat"])


def test_batches_bound_what_is_held() -> None:
    def documents() -> Iterator[Document]:
        for number in range(1000):
            yield Document(str(number), "x" * 100_000, "s")

    sizes = [len(batch) for batch in batches(documents())]
    assert sum(sizes) == 1000 and max(sizes) == 20
