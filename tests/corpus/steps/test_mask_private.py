from hypothesis import given
from hypothesis import strategies as st

from glasshouse.core.records import Document
from glasshouse.corpus.steps.mask_private import mask_private, mask_text, mask_window


def test_each_kind_is_replaced_by_its_name_and_counted() -> None:
    text, counts = mask_text("Mail ada@lovelace.org, eva@lovelace.org or call 541-714-1388 from 86.121.97.248.")
    assert text == "Mail [EMAIL], [EMAIL] or call [PHONE] from [IP]."
    assert counts == {"email": 2, "ip": 1, "phone": 1}


def test_a_masked_document_keeps_its_place_and_shows_where_it_changed() -> None:
    [outcome] = mask_private([Document("a", "x " * 500 + "write to ada@lovelace.org, 541-714-1388", "s", 12)])
    assert outcome.document is not None and outcome.document.offset == 12
    assert outcome.document.text[outcome.position :] == "[EMAIL], [PHONE]"


def test_a_window_is_masked_also_at_its_edges() -> None:
    text = "Write to ada@lovelace.org or call 541-714-1388 today"
    for start in range(len(text)):
        for end in range(start + 1, len(text)):
            window = mask_window(text, start, end)
            assert "lovelace" not in window and "714" not in window
    assert mask_window(text, 0, 12) == "Write to [EMAIL]"


@given(st.text(alphabet="ab1234567890@.:+-() \n[]EMAIL", max_size=200))
def test_masked_text_holds_nothing_more_to_mask(text: str) -> None:
    masked, _ = mask_text(text)
    again, counts = mask_text(masked)
    assert (again, counts) == (masked, {}) or (len(counts) > 0 and mask_text(again)[1] == {})
