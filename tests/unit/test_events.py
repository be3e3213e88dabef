"""Events: what they are called, and that a breaker is told once for each outage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from core.adapters.manual_clock import ManualClock
from core.adapters.memory_state import MemoryStateStore
from core.errors import TransientStoreError
from core.state import Versioned
from tasks.breaker_events import NOTICES, tell_breakers
from tasks.events import EventName, emit, resource_id

Sent = list[tuple[EventName, str]]


def report(orchestrator: str = "closed", ledger: str = "closed", mode: str = "automatic") -> dict[str, Any]:
    """The part of a health report that says how the breakers are."""
    return {
        "circuit_breaker": {"state": orchestrator, "mode": mode, "cause": "failures"},
        "ledger_circuit_breaker": {"state": ledger, "mode": "automatic", "cause": None},
    }


class Told:
    """Keeps what is sent, and looks at reports on behalf of one process after the other."""

    def __init__(self, store: MemoryStateStore) -> None:
        self.sent: Sent = []
        self._store = store

    def look(self, seen: Mapping[str, Any]) -> Sent:
        """What one more look tells."""
        self.sent = []
        tell_breakers(seen, self._store, actor="test", send=lambda name, about, _: self.sent.append((name, about)))
        return self.sent


@pytest.fixture
def store() -> MemoryStateStore:
    """The shared state."""
    return MemoryStateStore(clock=ManualClock())


class TestBreakers:
    """Who looks tells what is new, and only that."""

    def test_nothing_is_written_while_all_is_well(self, store: MemoryStateStore) -> None:
        """A look every 30 s leaves no trace."""
        assert Told(store).look(report()) == []
        assert store.load(NOTICES) is None

    def test_an_outage_is_told_once(self, store: MemoryStateStore) -> None:
        """By whoever looks first; a probe under way and the next opening belong to the same outage."""
        opened = [(EventName.BREAKER_OPENED, "breaker/orchestrator")]
        assert Told(store).look(report(orchestrator="open")) == opened
        assert Told(store).look(report(orchestrator="half_open")) == []
        assert Told(store).look(report(orchestrator="open")) == []
        assert Told(store).look(report()) == [(EventName.BREAKER_CLOSED, "breaker/orchestrator")]
        assert Told(store).look(report(orchestrator="open")) == opened

    def test_both_breakers(self, store: MemoryStateStore) -> None:
        """Each is told by its own resource."""
        told = Told(store)
        assert told.look(report(orchestrator="open", ledger="open")) == [
            (EventName.BREAKER_OPENED, "breaker/orchestrator"),
            (EventName.BREAKER_OPENED, "breaker/ledger"),
        ]
        assert told.look(report(orchestrator="open")) == [(EventName.BREAKER_CLOSED, "breaker/ledger")]

    def test_forced_open_is_told(self, store: MemoryStateStore) -> None:
        """An emergency counts as an opening, though the breaker's own state is closed."""
        assert Told(store).look(report(mode="forced_open")) == [(EventName.BREAKER_OPENED, "breaker/orchestrator")]

    def test_who_comes_second_tells_nothing(self) -> None:
        """Two look at the same moment: the one whose note is written tells it."""

        class Raced(MemoryStateStore):
            """Lets another process come in between the look and the note."""

            def load(self, name: str) -> Versioned | None:
                """What was there before the other one came."""
                found = super().load(name)
                if found is None:
                    self.swap(
                        name, expected_version=0, value={"breaker/orchestrator": "open"}, actor="other", reason=""
                    )
                return found

        assert Told(Raced(clock=ManualClock())).look(report(orchestrator="open")) == []

    def test_a_store_that_is_down(self) -> None:
        """Nothing is told that could not be noted."""

        class Down(MemoryStateStore):
            """Does not answer."""

            def load(self, name: str) -> Versioned | None:
                """Fail."""
                raise TransientStoreError(f"{name}: down")

        told = Told(Down(clock=ManualClock()))
        with pytest.raises(TransientStoreError):
            told.look(report(orchestrator="open"))
        assert told.sent == []


def test_names_of_resources() -> None:
    """A path becomes Prefect's dotted name."""
    assert resource_id("breaker/orchestrator") == "redo.breaker.orchestrator"
    assert resource_id("flags") == "redo.flags"


def test_without_a_server_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server is started for an event, and nothing is raised."""
    monkeypatch.setenv("PREFECT_API_URL", "")
    assert emit(EventName.FLAGS_CHANGED, "flags", {"changed": True}) is False
