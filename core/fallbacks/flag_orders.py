"""Changing the flags for everybody: who, why, all or nothing, and the history of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from core.clock import Clock
from core.fallbacks.stored_flags import FLAGS, Stored, with_killed, with_override, with_values, without_override
from core.flags import Override
from core.ports import StateStore
from core.state import Change, update

_NO_REASON: Final = "no reason given"


class FlagOrders:
    """Changes the stored flags. Each verb raises StoreError where the store does not answer: nothing was changed then.

    Args:
        store: where the shared state is.
        clock: tells when overrides have expired.
        actor: who is recorded where nobody is named.
        changed: is called after each change, so that this process sees it at once.
    """

    def __init__(self, store: StateStore, *, clock: Clock, actor: str, changed: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        self._actor = actor
        self._changed = changed

    def set(self, values: Mapping[str, object], *, actor: str | None = None, reason: str | None = None) -> None:
        """Set flags by name, in one step that others see whole.

        Raises:
            FlagError: a flag does not exist or cannot take its value; none was set.
        """
        self._update(lambda stored: with_values(stored, values), actor=actor, reason=reason)

    def override(self, override: Override) -> None:
        """Set a flag for a while, for one key or for everybody, in the place of the same flag's and key's override.

        Raises:
            FlagError: its flag does not exist or cannot take its value, or its end is not a time to come.
        """
        now = self._clock.utc_now()
        self._update(
            lambda stored: with_override(stored, override, now=now), actor=override.actor, reason=override.reason
        )

    def end_override(
        self, flag: str, key: str | None = None, *, actor: str | None = None, reason: str | None = None
    ) -> None:
        """Drop the override of a flag for a key, or the one for everybody."""
        now = self._clock.utc_now()
        self._update(lambda stored: without_override(stored, flag=flag, key=key, now=now), actor=actor, reason=reason)

    def kill(self, *, actor: str | None = None, reason: str | None = None) -> None:
        """Turn the stored kill switch on: everything is off until it is lifted, whatever else is set."""
        self._update(lambda stored: with_killed(stored, killed=True), actor=actor, reason=reason)

    def lift_kill(self, *, actor: str | None = None, reason: str | None = None) -> None:
        """Turn the stored kill switch off. Those of the environment and the file stay as they are."""
        self._update(lambda stored: with_killed(stored, killed=False), actor=actor, reason=reason)

    def history(self, limit: int = 50) -> Sequence[Change]:
        """The newest changes, newest first."""
        return self._store.history(FLAGS, limit)

    def _update(
        self, change: Callable[[Stored | None], dict[str, object]], *, actor: str | None, reason: str | None
    ) -> None:
        update(self._store, FLAGS, change, actor=actor or self._actor, reason=reason or _NO_REASON)
        self._changed()
