"""A mark by which private data that was masked can be recognised, but not found out.

24 bits of a hash: whoever holds the mark of a telephone number is left with some six hundred numbers to choose from,
and a text that was never masked has the mark of one of n masked ones with probability n / 2^24.
"""

from hashlib import sha256

N_BITS = 24


def fingerprint(kind: str, text: str) -> str:
    """`fingerprint("phone", "+44 20 7946 0000")` is that of `+442079460000`: spaces, marks and case do not count."""
    plain = "".join(c for c in text.casefold() if c.isalnum() or (kind in ("email", "secret") and not c.isspace()))
    return f"{kind}:{sha256(f'{kind}:{plain}'.encode('utf-8', 'surrogatepass')).hexdigest()[: N_BITS // 4]}"


def p_by_chance(n_masked: int) -> float:
    """How likely a text that was never masked is to have the mark of one that was."""
    return 1 - (1 - 2.0**-N_BITS) ** n_masked
