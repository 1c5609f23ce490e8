from glasshouse.core.seeds import derive_seed, numpy_generator
from glasshouse.core.terminal import format_bytes, format_count, format_seconds


def test_seeds_are_named_stable_and_distinct() -> None:
    assert derive_seed(1, "shuffle", 3) == derive_seed(1, "shuffle", 3)
    assert len({derive_seed(1, "a"), derive_seed(1, "b"), derive_seed(2, "a"), derive_seed(1, "a", 0)}) == 4
    assert derive_seed(0, "golden") == 7167510998549452654
    assert numpy_generator(1, "x").integers(1 << 30) == numpy_generator(1, "x").integers(1 << 30)


def test_figures_read_well() -> None:
    assert [format_seconds(s) for s in (3.14, 42, 200, 7500)] == ["3.1 s", "42 s", "3 min 20 s", "2 h 05 min"]
    assert [format_count(c) for c in (12, 2_600_000, 1e15)] == ["12", "2.6 M", "1 P"]
    assert [format_bytes(b) for b in (12, 1_900_000_000)] == ["12 B", "1.9 GB"]
