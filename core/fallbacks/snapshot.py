"""What decisions are made from: one value, kept fresh from the shared state, whatever becomes of its store."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from core.fallbacks.config import FallbackConfig
from core.fallbacks.flag_reader import FlagReader, FlagView
from core.fallbacks.health import Component, HealthState, failing, stop_reason
from core.fallbacks.health_reader import HealthReader
from core.fallbacks.surroundings import Surroundings
from core.model import Reason

_STORE_PAUSE_S: Final = 5.0
"""How long a store that did not answer is left alone: not every second's first query shall wait for it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What decisions are made from. Replaced as a whole, so that a decision never sees half a change.

    Attributes:
        view: the flags in force.
        halt: why nothing of REDO may run, whatever else is said: a kill switch, or a state that is not known.
        stop: why REDO cannot work, by its health.
    """

    view: FlagView
    halt: Reason | None
    stop: Reason | None


class SnapshotKeeper:
    """Keeps the snapshot. Thread-safe.

    Whoever finds it older than `refresh_s` looks at the shared state again, while others go on with the old one. Kill
    switches of the environment and the file, the ends of overrides and simulations, and findings that lapse are seen
    then too, also while the store does not answer; that is asked again after a pause.

    Args:
        surroundings: the store, the clock, and what the environment says.
        config: what of health is obeyed, and for how long.
        refresh_more: is called whenever the store has answered, to read what else is in it.

    Attributes:
        snapshot: what is known; read it once and go on with what was read.
        due_at: when it is to be refreshed, on the clock that never goes back.
    """

    def __init__(self, surroundings: Surroundings, config: FallbackConfig, *, refresh_more: Callable[[], None]) -> None:
        self._refresh_more = refresh_more
        self._clock = surroundings.clock
        self._config = config
        self._refresh_s = surroundings.refresh_s
        self._flags = FlagReader(
            surroundings.store,
            clock=surroundings.clock,
            environment_flags=surroundings.environment_flags,
            kill_switches=surroundings.kill_switches,
        )
        self._health = HealthReader(surroundings.store, clock=surroundings.clock, owner=surroundings.owner)
        self._lock = threading.Lock()
        self._store_due_at = -math.inf
        self.due_at = -math.inf
        self.snapshot = Snapshot(self._flags.view, self._flags.view.halt, None)

    @property
    def health(self) -> HealthState:
        """What is known of the components."""
        return self._health.state

    @property
    def failing(self) -> tuple[Component, ...]:
        """The components that do not work, by findings that count."""
        if not self._config.enable_health_checks:
            return ()
        interval_s = self._config.health_check_interval_seconds
        return failing(self._health.state, now=self._clock.utc_now(), interval_s=interval_s)

    @property
    def error(self) -> str | None:
        """Why what is known may be old; `None` where it is not."""
        return self._flags.error or self._health.error

    def refresh(self) -> None:
        """Look now. Never raises for a store that fails or holds what cannot be used."""
        with self._lock:
            self._look(ask_store=True)

    def refresh_if_due(self) -> None:
        """Look if it is time and nobody else is at it. Where nothing is known yet, wait for whoever is at it."""
        if self._clock.now() < self.due_at:
            return
        nothing_known = self.due_at == -math.inf
        if not self._lock.acquire(blocking=nothing_known):
            return
        try:
            now = self._clock.now()
            if now >= self.due_at:
                self._look(ask_store=now >= self._store_due_at)
        finally:
            self._lock.release()

    def view_for(self, run: Mapping[str, object]) -> FlagView:
        """The flags in force with some set for one run. Raises FlagError where those cannot be used."""
        return self._flags.for_run(run)

    def note_findings(self, errors: Mapping[Component, str | None]) -> None:
        """Share what a round of checks found, and go by it at once. Never raises for a store that fails."""
        with self._lock:
            self._health.note_findings(errors, interval_s=self._config.health_check_interval_seconds)
            self._show()

    def note_error(self, component: Component, error: str) -> None:
        """Share the error that opened a breaker. Never raises for a store that fails."""
        with self._lock:
            self._health.note_error(component, error)

    def order(self, change: Callable[[HealthState], HealthState], *, actor: str, reason: str) -> None:
        """Change the shared health on somebody's order, and go by it at once. Raises StoreError where that fails."""
        with self._lock:
            self._health.order(change, actor=actor, reason=reason)
            self._show()

    def _look(self, *, ask_store: bool) -> None:
        answered = self._flags.refresh(ask_store=ask_store)
        if ask_store and answered:
            self._health.refresh()
            self._refresh_more()
        self._show()
        now = self._clock.now()
        self.due_at = now + self._refresh_s
        if not answered:
            self._store_due_at = now + _STORE_PAUSE_S

    def _show(self) -> None:
        stop = stop_reason(
            self._health.state,
            now=self._clock.utc_now(),
            interval_s=self._config.health_check_interval_seconds,
            obey_findings=self._config.enable_health_checks,
        )
        view = self._flags.view
        self.snapshot = Snapshot(view, view.halt, stop)
