"""What all processes of a run must decide alike in a step, as numbers that can be summed over them."""

import signal
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Agreed:
    """`is_time` to save by the main rank's clock; `has_failed`: some rank's last checkpoint; `signal`: sent to any."""

    n_head_tokens: int = 0
    is_time: bool = False
    has_failed: bool = False
    signal: int | None = None

    def to_flags(self) -> list[float]:
        return [
            float(self.n_head_tokens), float(self.is_time), float(self.has_failed),
            float(self.signal == signal.SIGINT), float(self.signal not in (None, signal.SIGINT)),
        ]  # fmt: skip

    @staticmethod
    def from_flags(flags: list[float]) -> "Agreed":
        n_head_tokens, is_time, has_failed, n_interrupts, n_terminations = flags
        number = signal.SIGTERM if n_terminations else signal.SIGINT if n_interrupts else None
        return Agreed(round(n_head_tokens), bool(is_time), bool(has_failed), number)


NOTHING_AGREED = Agreed()
