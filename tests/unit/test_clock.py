"""The time of one query: counted while its own work runs, never backwards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from core.adapters.doubles import TickingClock
from core.adapters.manual_clock import ManualClock
from core.clock import Deadline, SystemClock


def test_system_clock() -> None:
    """The machine's clocks go forwards, and the date carries UTC."""
    clock = SystemClock()
    assert clock.now() <= clock.now()
    assert clock.utc_now().utcoffset() == timedelta(0)


def test_ticking_clock() -> None:
    """Each look at the time costs one step; the date follows and costs nothing."""
    clock = TickingClock(0.5, utc=datetime(2026, 1, 1, tzinfo=UTC))
    assert [clock.now(), clock.now(), clock.now()] == [0.0, 0.5, 1.0]
    assert clock.utc_now() == clock.utc_now() == datetime(2026, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)
    assert clock.looks == 3


def test_time_counts_only_while_the_query_runs() -> None:
    """Time between two stretches of work on a query is not the query's."""
    clock = ManualClock()
    deadline = Deadline(1.0, clock=clock)
    clock.advance(5.0)
    with deadline.running():
        clock.advance(0.25)
    clock.advance(5.0)
    with deadline.running():
        clock.advance(0.25)
    assert deadline.spent_s == 0.5
    assert deadline.remaining_s == 0.5


def test_running_time_is_seen_at_once() -> None:
    """A stage sees the time of its own stretch while it works."""
    clock = ManualClock()
    deadline = Deadline(1.0, clock=clock)
    with deadline.running() as same:
        assert same is deadline
        clock.advance(0.75)
        assert deadline.spent_s == 0.75
        assert not deadline.expired
        clock.advance(0.25)
        assert deadline.expired


def test_nested_work_counts_once() -> None:
    """A block inside a block of the same deadline adds nothing, and does not stop the outer one."""
    clock = ManualClock()
    deadline = Deadline(1.0, clock=clock)
    with deadline.running():
        clock.advance(0.1)
        with deadline.running():
            clock.advance(0.2)
        clock.advance(0.4)
    assert deadline.spent_s == pytest.approx(0.7)


def test_time_of_failed_work_counts() -> None:
    """An exception ends the stretch, whose time stays counted."""
    clock = ManualClock()
    deadline = Deadline(1.0, clock=clock)

    def fail() -> None:
        with deadline.running():
            clock.advance(0.5)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    clock.advance(10.0)
    assert deadline.spent_s == 0.5


def test_charge() -> None:
    """A share of a common call is added, inside and outside of a running stretch; a negative one is not."""
    clock = ManualClock()
    deadline = Deadline(1.0, clock=clock)
    deadline.charge(0.25)
    with deadline.running():
        clock.advance(0.25)
        deadline.charge(0.125)
        assert deadline.spent_s == 0.625
    deadline.charge(-1.0)
    assert deadline.spent_s == 0.625


@pytest.mark.parametrize("budget_s", [0.0, -1.0])
def test_no_budget_is_expired_from_the_start(budget_s: float) -> None:
    """A budget of nothing, or of less, leaves nothing."""
    deadline = Deadline(budget_s, clock=ManualClock())
    assert deadline.expired
    assert not deadline.leaves(0.0)


def test_overdrawn() -> None:
    """What is left turns negative, so that a trace can say by how much."""
    deadline = Deadline(1.0, clock=ManualClock())
    deadline.charge(1.5)
    assert deadline.remaining_s == -0.5


def test_reserve() -> None:
    """A stage stops where exactly the reserve is left."""
    deadline = Deadline(1.0, clock=ManualClock())
    deadline.charge(0.5)
    assert deadline.leaves(0.25)
    assert not deadline.leaves(0.5)


def test_clock_that_goes_back_costs_nothing() -> None:
    """Should a clock break its promise, no time is given back."""
    times = iter([10.0, 3.0, 3.0])

    class Broken(ManualClock):
        def now(self) -> float:
            return next(times)

    deadline = Deadline(1.0, clock=Broken())
    with deadline.running():
        assert deadline.spent_s == 0.0
    assert deadline.spent_s == 0.0


def test_stretch() -> None:
    """The stretch is the time since the work that runs now began; without any it is nothing."""
    clock = ManualClock()
    deadline = Deadline(1.0, clock=clock)
    deadline.charge(0.5)
    assert deadline.stretch_s == 0.0
    with deadline.running():
        clock.advance(0.25)
        assert deadline.stretch_s == 0.25
    assert deadline.stretch_s == 0.0


def test_after() -> None:
    """A deadline that takes over begins with what was spent, and is not moved by work that was given up."""
    clock = ManualClock()
    deadline = Deadline(1.0, clock=clock)
    with deadline.running():
        clock.advance(0.25)
        other = deadline.after(deadline.spent_s)
        clock.advance(0.5)
    assert (deadline.spent_s, other.spent_s, other.budget_s) == (0.75, 0.25, 1.0)
