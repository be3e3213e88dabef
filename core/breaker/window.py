"""The rate of slow calls in the last seconds, in constant memory."""

from __future__ import annotations

from collections import deque
from typing import Final

from core.breaker.algebra import BreakerConfig

_BUCKETS: Final = 60


class SlowCallWindow:
    """Counts calls, and slow ones among them, in 60 buckets that together are as long as the window.

    A call is forgotten with its bucket, so the window looks back over 59 to 60 sixtieths of its length, never further.
    It belongs to one process: sharing every call would mean a write a query. Not thread-safe; the breaker guards it.

    Args:
        config: length of the window, limit of the rate, and how many calls make it meaningful.
    """

    __slots__ = ("_bucket_s", "_buckets", "_calls", "_min_calls", "_rate", "_slow")

    def __init__(self, config: BreakerConfig) -> None:
        self._bucket_s = config.slow_window_s / _BUCKETS
        self._rate = config.slow_call_rate
        self._min_calls = config.slow_min_calls
        self._buckets: deque[list[int]] = deque()  # [number of the bucket, calls, slow calls], oldest first
        self._calls = 0
        self._slow = 0

    def add(self, now: float, *, slow: bool) -> bool:
        """Count a call and return whether too many are slow: at least the minimum of calls, the rate at its limit.

        Args:
            now: seconds on the clock that never goes back.
            slow: whether the call was slow.
        """
        number = int(now / self._bucket_s)
        buckets = self._buckets
        while buckets and buckets[0][0] <= number - _BUCKETS:
            _, calls, slow_calls = buckets.popleft()
            self._calls -= calls
            self._slow -= slow_calls
        if not buckets or buckets[-1][0] < number:  # a thread that comes late counts in the newest bucket
            buckets.append([number, 0, 0])
        buckets[-1][1] += 1
        buckets[-1][2] += slow
        self._calls += 1
        self._slow += slow
        return self._calls >= self._min_calls and self._slow >= self._rate * self._calls

    def clear(self) -> None:
        """Forget everything."""
        self._buckets.clear()
        self._calls = self._slow = 0
