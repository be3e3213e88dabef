"""A clock that stands still until it is told otherwise: the official test double of `Clock`, shipped for users too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class ManualClock:
    """Time as the caller sets it.

    `advance` moves both clocks, as passing time does. `set_utc` moves the wall clock alone, as an administrator or a
    time server does, backwards too.

    Args:
        utc: the date and time to begin at, with a time zone.
        now_s: where the clock that never goes back begins, in seconds.

    >>> clock = ManualClock()
    >>> clock.advance(60.0)
    >>> clock.now()
    60.0
    """

    __slots__ = ("_now_s", "_utc")

    def __init__(self, utc: datetime = datetime(2030, 1, 1, tzinfo=UTC), *, now_s: float = 0.0) -> None:
        self._utc = utc
        self._now_s = now_s

    def now(self) -> float:
        """Seconds on the clock that never goes back."""
        return self._now_s

    def utc_now(self) -> datetime:
        """The date and time in UTC."""
        return self._utc

    def advance(self, seconds: float) -> None:
        """Let time pass. Raises ValueError for less than 0 seconds: only `set_utc` can go back."""
        if seconds < 0:
            raise ValueError(f"seconds: {seconds} is negative; time passes forwards, use set_utc to set a clock back")
        self._now_s += seconds
        self._utc += timedelta(seconds=seconds)

    def set_utc(self, utc: datetime) -> None:
        """Set the wall clock and leave the other one alone."""
        self._utc = utc
