"""Marks recognise what was masked, whatever its spelling, and little else."""

from glasshouse.core.records import Document
from glasshouse.corpus.private.fingerprint import fingerprint, p_by_chance
from glasshouse.corpus.steps.mask_private import mask_private


def test_spelling_does_not_count_and_kind_does() -> None:
    assert fingerprint("phone", "+44 20 7946-0000") == fingerprint("phone", "+442079460000")
    assert fingerprint("email", "Ada@Lovelace.org") == fingerprint("email", "ada@lovelace.org")
    assert fingerprint("email", "ada@lovelace.org") != fingerprint("email", "adalovelace@org")
    assert fingerprint("phone", "123456789") != fingerprint("card", "123456789")


def test_a_mark_is_too_short_to_find_out_what_it_stands_for() -> None:
    kind, _, digits = fingerprint("phone", "+442079460000").partition(":")
    assert kind == "phone" and len(digits) * 4 == 24


def test_chance() -> None:
    assert p_by_chance(0) == 0
    assert abs(p_by_chance(1678) - 1e-4) < 1e-6


def test_masking_leaves_the_marks_of_what_it_took() -> None:
    [outcome] = mask_private([Document("a", "Write to ada@lovelace.org, or to ADA@lovelace.org.", "a.txt")])
    assert outcome.marks == (fingerprint("email", "ada@lovelace.org"),)
    assert outcome.reasons == {"email": 2}
