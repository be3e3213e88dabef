"""Time as a parameter: the clock, and the budget of one query.

Only this module reads the system's time. A `Deadline` counts the time that is spent on one query. A chunk works on many
queries in turn, so the time of a query runs only while its own work runs (`running`), and a call that serves several
queries at once charges each its share (`charge`). For a chunk of one query that is the wall time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> float:
        """Seconds on a clock that never goes back; only differences mean anything."""
        ...

    def utc_now(self) -> datetime:
        """The date and time in UTC."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        """Seconds of the monotonic clock."""
        return time.perf_counter()

    def utc_now(self) -> datetime:
        """The date and time in UTC."""
        return datetime.now(UTC)


class Deadline:
    """The time that one query may still use.

    Invariant: `spent_s` never shrinks. A stage asks `expired` between its steps and stops with what it has.

    Args:
        budget_s: seconds that the query may take in all; 0 or less is expired from the start.
        clock: where time comes from.
    """

    __slots__ = ("_clock", "_spent_s", "_started_at", "budget_s")

    def __init__(self, budget_s: float, *, clock: Clock) -> None:
        self.budget_s = budget_s
        self._clock = clock
        self._spent_s = 0.0
        self._started_at: float | None = None

    @property
    def spent_s(self) -> float:
        """Seconds used so far, the running stretch included."""
        if self._started_at is None:
            return self._spent_s
        return self._spent_s + max(0.0, self._clock.now() - self._started_at)

    @property
    def stretch_s(self) -> float:
        """Seconds of the stretch that is running now; 0 where none is."""
        started_at = self._started_at
        return 0.0 if started_at is None else max(0.0, self._clock.now() - started_at)

    @property
    def remaining_s(self) -> float:
        """Seconds left; negative when overdrawn."""
        return self.budget_s - self.spent_s

    @property
    def expired(self) -> bool:
        """Whether nothing is left."""
        return self.remaining_s <= 0.0

    def leaves(self, reserve_s: float) -> bool:
        """Whether more than `reserve_s` seconds are left: a stage stops early enough for those behind it."""
        return self.remaining_s > reserve_s

    @contextmanager
    def running(self) -> Iterator[Deadline]:
        """Count the time inside the block. A nested block counts once."""
        if self._started_at is not None:
            yield self
            return
        self._started_at = self._clock.now()
        try:
            yield self
        finally:
            self._spent_s = self.spent_s
            self._started_at = None

    def after(self, spent_s: float) -> Deadline:
        """A new deadline with the same budget, of which `spent_s` seconds are used. What counts on this one is lost."""
        other = Deadline(self.budget_s, clock=self._clock)
        other.charge(spent_s)
        return other

    def charge(self, seconds: float) -> None:
        """Add this query's share of a call that worked on several queries at once."""
        self._spent_s += max(0.0, seconds)
