from glasshouse.core.records import Document
from glasshouse.corpus.steps.dedup_exact import text_key


def test_same_text_same_key() -> None:
    texts = ["one", " one\n", "One", "one two", "one  two", "half \ud83d"]
    keys = text_key([Document(str(number), text, "s") for number, text in enumerate(texts)])
    assert keys[0] == keys[1]
    assert len(set(keys)) == 5 and {len(key) for key in keys} == {16}
