"""The clock that stands still until it is told otherwise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from core.adapters.manual_clock import ManualClock


def test_time_stands_still_and_passes_on_both_clocks() -> None:
    """Advancing moves both by the same time; looking moves neither."""
    began_at = datetime(2031, 5, 1, tzinfo=UTC)
    clock = ManualClock(began_at, now_s=10.0)
    assert (clock.now(), clock.utc_now()) == (clock.now(), clock.utc_now()) == (10.0, began_at)
    clock.advance(1.5)
    assert (clock.now(), clock.utc_now()) == (11.5, began_at + timedelta(seconds=1.5))


def test_wall_clock_can_be_set_back_alone() -> None:
    """Setting the wall clock leaves the other one as it is."""
    clock = ManualClock(now_s=10.0)
    past = datetime(1999, 1, 1, tzinfo=UTC)
    clock.set_utc(past)
    assert (clock.now(), clock.utc_now()) == (10.0, past)


def test_time_does_not_pass_backwards() -> None:
    """The clock that never goes back is not moved back."""
    with pytest.raises(ValueError, match=r"seconds: -1\.0 is negative"):
        ManualClock().advance(-1.0)
