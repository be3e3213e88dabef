"""Changing a shared value: the loop around compare-and-swap."""

from __future__ import annotations

import pickle
from collections.abc import Mapping

import pytest

from core.adapters.manual_clock import ManualClock
from core.adapters.memory_state import MemoryStateStore
from core.errors import CircuitOpenError, RedoError, StateConflict
from core.state import Versioned, check_name, update


class OvertakenStore(MemoryStateStore):
    """A store in which somebody else is faster, a number of times."""

    def __init__(self, times: int) -> None:
        super().__init__(clock=ManualClock())
        self.times = times

    def swap(
        self, name: str, *, expected_version: int, value: Mapping[str, object], actor: str, reason: str
    ) -> Versioned:
        """Let the other one write first."""
        if self.times:
            self.times -= 1
            other = {"n": expected_version * 10}
            super().swap(name, expected_version=expected_version, value=other, actor="other", reason="faster")
        return super().swap(name, expected_version=expected_version, value=value, actor=actor, reason=reason)


def one_more(value: Mapping[str, object] | None) -> dict[str, object]:
    """Count up."""
    number = value["n"] if value else 0
    assert isinstance(number, int)
    return {"n": number + 1}


def test_update_begins_with_nothing() -> None:
    """The first change gets `None` and makes version 1, with actor and reason."""
    store = OvertakenStore(0)
    written = update(store, "count", one_more, actor="ann", reason="to begin")
    assert (written.version, written.value, written.actor, written.reason) == (1, {"n": 1}, "ann", "to begin")


def test_update_starts_over_from_what_the_faster_one_wrote() -> None:
    """After a conflict the change is computed from the newest value, so nothing is lost."""
    store = OvertakenStore(2)
    written = update(store, "count", one_more, actor="ann", reason="to count")
    assert (written.version, written.value) == (3, {"n": 11})
    assert [change.actor for change in store.history("count", 9)] == ["ann", "other", "other"]


def test_update_gives_up_after_its_attempts() -> None:
    """A store that conflicts for ever ends in the conflict, after exactly the attempts allowed."""
    store = OvertakenStore(99)
    with pytest.raises(StateConflict):
        update(store, "count", one_more, actor="ann", reason="to count", attempts=3)
    assert store.times == 96


def test_update_wants_at_least_one_attempt() -> None:
    """No attempt at all is an error of the program."""
    with pytest.raises(ValueError, match="attempts: 0"):
        update(OvertakenStore(0), "count", one_more, actor="ann", reason="to count", attempts=0)


def test_update_that_changes_nothing_writes_nothing() -> None:
    """A value that stays as it is makes no version and no history entry."""
    store = OvertakenStore(0)
    first = update(store, "count", one_more, actor="ann", reason="to begin")
    assert update(store, "count", lambda value: dict(value or {}), actor="bob", reason="to look") == first
    assert len(store.history("count", 9)) == 1


def test_change_that_raises_writes_nothing() -> None:
    """What the change raises comes out unchanged."""
    store = OvertakenStore(0)

    def refuse(_value: Mapping[str, object] | None) -> dict[str, object]:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        update(store, "count", refuse, actor="ann", reason="to try")
    assert store.load("count") is None


def test_name_is_returned_where_it_is_good() -> None:
    """A good name passes."""
    assert check_name("breaker-orchestrator-2") == "breaker-orchestrator-2"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (StateConflict("flags", 3), "state 'flags': version 3 is no longer the newest; load it and try again"),
        (CircuitOpenError("ledger", "open", 12.34), "breaker 'ledger': open, next attempt in 12.3 s"),
        (CircuitOpenError("ledger", "forced_open", None), "breaker 'ledger': forced_open"),
    ],
)
def test_errors_cross_process_borders(error: RedoError, message: str) -> None:
    """An error is the same after pickle, with its attributes and its message."""
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert str(copy) == str(error) == message
