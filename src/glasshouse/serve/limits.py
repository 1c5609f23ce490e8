"""How often one client may ask: a bucket of permissions that fills evenly.

A minute's worth may be used at once; after that they come back one by one.
"""

import time
from collections import OrderedDict

MAX_CLIENTS = 10_000  # buckets kept; the longest unused is forgotten (it would be full again anyway)


class RateLimiter:
    """`take(client)` is 0, or the seconds to wait until it would be."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # permissions left, and when that was

    def take(self, client: str, now: float | None = None) -> float:
        now = time.monotonic() if now is None else now
        left, at = self._buckets.pop(client, (float(self._per_minute), now))
        left = min(self._per_minute, left + (now - at) * self._per_minute / 60)
        is_allowed = left >= 1
        self._buckets[client] = (left - 1 if is_allowed else left, now)
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if is_allowed else (1 - left) * 60 / self._per_minute
