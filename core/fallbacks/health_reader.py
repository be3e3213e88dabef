"""Health as one process knows it: the shared state, and what this process found while that could not be written."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from core.clock import Clock
from core.errors import StateConflict, StoreError
from core.fallbacks.health import HEALTH, Component, HealthState, with_error, with_findings
from core.ports import StateStore
from core.state import update


class HealthReader:
    """Keeps the last known state of health, and writes what this process finds.

    Where the store does not answer, the last good state goes on to count, and this process's own findings do. The
    manager decides when it looks again. Not thread-safe but for reading.

    Args:
        store: where the shared state is.
        clock: tells the time of findings and errors.
        owner: names this process in the history.

    Attributes:
        state: the last known state.
        error: why the last look at the store failed; `None` where it did not.
    """

    def __init__(self, store: StateStore, *, clock: Clock, owner: str) -> None:
        self._store = store
        self._clock = clock
        self._owner = owner
        self.state = HealthState()
        self.error: str | None = None

    def refresh(self) -> None:
        """Look again. Never raises for a store that fails or holds what cannot be used."""
        try:
            loaded = self._store.load(HEALTH)
            self.state = HealthState.from_dict(None if loaded is None else loaded.value)
            self.error = None
        except StoreError as error:
            self.error = str(error)

    def note_findings(self, errors: Mapping[Component, str | None], *, interval_s: float) -> None:
        """Share what a round of checks found; where that fails, this process goes by it alone."""
        now = self._clock.utc_now()

        def found(state: HealthState) -> HealthState:
            return with_findings(state, errors, now=now, interval_s=interval_s)

        bad = [f"{component}: {error}" for component, error in errors.items() if error is not None]
        self._share(found, reason=f"health check: {'; '.join(bad) or 'all well'}")

    def note_error(self, component: Component, error: str) -> None:
        """Share the error that opened a breaker; where that fails, this process keeps it."""
        now = self._clock.utc_now()
        self._share(lambda state: with_error(state, component, error, now=now), reason=f"{component}: {error}")

    def order(self, change: Callable[[HealthState], HealthState], *, actor: str, reason: str) -> None:
        """Change the shared state on somebody's order. A stored state that cannot be read is replaced.

        Raises:
            StoreError: the store does not answer. Whoever gives an order must know that it did not arrive.
            StateConflict: others kept being faster.
        """

        def changed(stored: Mapping[str, object] | None) -> dict[str, object]:
            try:
                state = HealthState.from_dict(stored)
            except StoreError:
                state = HealthState()
            return change(state).to_dict()

        self.state = HealthState.from_dict(update(self._store, HEALTH, changed, actor=actor, reason=reason).value)
        self.error = None

    def _share(self, change: Callable[[HealthState], HealthState], *, reason: str) -> None:
        try:
            self.order(change, actor=self._owner, reason=reason)
        except (StoreError, StateConflict) as error:
            self.error = str(error)
            self.state = change(self.state)
