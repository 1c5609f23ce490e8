from pathlib import Path

import pytest

from glasshouse.core.errors import MissingExtraError
from glasshouse.core.records import Document
from glasshouse.corpus.pipeline import Pipeline, find_steps
from glasshouse.corpus.steps import repair_unicode as step

pytest.importorskip("ftfy")


def repair(text: str) -> str:
    [outcome] = step.repair_unicode([Document("a", text, "s")])
    assert outcome.document is not None
    return outcome.document.text


@pytest.mark.parametrize("text", ["Das Café schließt um “zehn” – jeden Tag…", "naïve façade, ‘quoted’", "Größe: 5 €"])
@pytest.mark.parametrize("wrong", ["latin-1", "cp1252"])
def test_text_decoded_wrongly_is_restored_line_by_line(text: str, wrong: str) -> None:
    broken = text.encode().decode(wrong, "ignore" if wrong == "cp1252" else "strict")
    if broken.encode(wrong).decode("utf-8", "replace") == text:
        assert repair(f"ok\n{broken}\nok ü") == f"ok\n{text}\nok ü"


@pytest.mark.parametrize(
    "text", ["plain", "Größe “zitiert” ﬁne ｆｕｌｌ", "Ünïcödé Ñandú Ærø Â à", "日本語 текст ελληνικά"]
)
def test_sound_text_is_left_as_it_is(text: str) -> None:
    assert repair(text) == text


def test_the_gate_lets_sound_novels_past(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sorted((shared_data / "text/novels").glob("*.txt"))[0]
    monkeypatch.setattr(step, "_ftfy", lambda: pytest.fail("sound text was given to ftfy"))
    lines = [line for line in path.read_text(encoding="utf-8", errors="ignore").split("\n")[:2000] if "â€" not in line]
    repair("\n".join(lines) + "é")


def test_without_ftfy_the_step_refuses_to_start_and_the_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ftfy", None)
    step._ftfy.cache_clear()
    with pytest.raises(MissingExtraError, match=r"pip install 'glasshouse\[corpus\]'"):
        Pipeline(find_steps(["repair_unicode"]), lambda record: None)
    Pipeline(find_steps(["normalize", "drop_empty", "mask_private", "dedup_exact"]), lambda record: None)
    step._ftfy.cache_clear()
