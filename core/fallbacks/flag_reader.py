"""The flags in force, as one process knows them: from the shared state, the environment and the kill switches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from core.clock import Clock
from core.errors import FlagError, StoreError
from core.fallbacks.stored_flags import FLAGS, StoredFlags
from core.flags import Flags, FlagValue, KillSwitches, Resolution, ResolvedFlag, parse_flag, resolve
from core.model import Reason
from core.ports import StateStore


@dataclass(frozen=True, slots=True)
class FlagView:
    """The flags in force at a moment. It can be kept: a run works by the view that it began with.

    Attributes:
        flags: for every key that has no override of its own.
        by_key: for those that have one.
        resolved: the flags for everybody, with where each value comes from.
        killed: names of the kill switches that are on; then everything is off.
        is_unknown: the shared state has never answered; then everything is off too, for it may say so.
    """

    flags: Flags
    by_key: Mapping[str, Flags] = field(default_factory=dict)
    resolved: tuple[ResolvedFlag, ...] = field(default=(), repr=False)
    killed: tuple[str, ...] = ()
    is_unknown: bool = False

    @property
    def halt(self) -> Reason | None:
        """Why nothing of REDO may run, whatever else is said; `None` where it may."""
        if self.killed:
            return Reason.KILL_SWITCH
        return Reason.DATABASE_UNAVAILABLE if self.is_unknown else None

    def of(self, key: str | None) -> Flags:
        """The flags for a bucket key."""
        if not self.by_key or key is None:
            return self.flags
        return self.by_key.get(key, self.flags)


_ALL_OFF: Final = Flags(redo_enabled=False, ledger_enabled=False, rollout_percentage=0)
_STORED_OFF: Final = StoredFlags(dict(_ALL_OFF.as_dict()))
_UNKNOWN: Final = FlagView(_ALL_OFF, is_unknown=True)


class FlagReader:
    """Keeps the view of the flags, and what it was made from. The manager decides when it looks again.

    Where the store does not answer, or holds what cannot be used, the last good state goes on to count: its overrides
    still expire, and the kill switches of the environment and the file still work. Not thread-safe but for reading.

    Args:
        store: where the shared state is.
        clock: tells when overrides have expired.
        environment_flags: reads the flags that environment variables set; may raise FlagError.
        kill_switches: looks at the kill switches of the environment and the file.

    Attributes:
        view: the flags in force.
        error: why the last look at the store failed; `None` where it did not.
    """

    def __init__(
        self,
        store: StateStore,
        *,
        clock: Clock,
        environment_flags: Callable[[], Mapping[str, FlagValue]],
        kill_switches: Callable[[], KillSwitches],
    ) -> None:
        self._store = store
        self._clock = clock
        self._environment_flags = environment_flags
        self._kill_switches = kill_switches
        self._environment = environment_flags()
        self._stored: StoredFlags | None = None
        self.view = _UNKNOWN
        self.error: str | None = None

    def refresh(self, *, ask_store: bool = True) -> bool:
        """Look again. False where the store was asked and did not answer; what it holds may still be nonsense."""
        answered = not ask_store or self._load()
        self.view = self._viewed({})
        return answered

    def for_run(self, run: Mapping[str, object]) -> FlagView:
        """The flags in force with some set for one run: they are stronger than all but a kill switch.

        Raises:
            FlagError: a flag of the run does not exist or cannot take its value.
        """
        for name, value in run.items():
            parse_flag(name, value)  # also where a kill switch keeps everything else from being read
        return self._viewed(run)

    def _load(self) -> bool:
        try:
            loaded = self._store.load(FLAGS)
        except StoreError as error:
            self.error = str(error)
            return False
        try:
            stored = StoredFlags.from_dict(None if loaded is None else loaded.value)
            environment = self._environment_flags()
            _view(stored, environment=environment, run={}, kill=KillSwitches(), now=self._clock.utc_now())
        except (StoreError, FlagError) as error:
            self.error = str(error)
        else:
            self._stored, self._environment, self.error = stored, environment, None
        return True

    def _viewed(self, run: Mapping[str, object]) -> FlagView:
        kill, stored, now = self._kill_switches(), self._stored, self._clock.utc_now()
        if stored is None:
            if not kill.on:  # what a run asks for is kept, to hold once the shared state is known; all else is off
                return replace(_UNKNOWN, flags=_view(_STORED_OFF, environment={}, run=run, kill=kill, now=now).flags)
            stored = StoredFlags()
        kill = replace(kill, store=stored.killed)
        return _view(stored, environment=self._environment, run=run, kill=kill, now=now)


def _view(
    stored: StoredFlags,
    *,
    environment: Mapping[str, FlagValue],
    run: Mapping[str, object],
    kill: KillSwitches,
    now: datetime,
) -> FlagView:
    """Resolve the flags for everybody and for each key that has an override. Raises FlagError as `resolve` does."""

    def resolved(key: str | None) -> Resolution:
        return resolve(
            kill=kill,
            run=run,
            overrides=stored.overrides,
            stored=stored.values,
            environment=environment,
            now=now,
            key=key,
        )

    everybody = resolved(None)
    live = () if kill.on else (override.key for override in stored.overrides if override.expires_at > now)
    by_key = {key: resolved(key).flags for key in set(live) if key is not None}
    return FlagView(everybody.flags, by_key, everybody.resolved, kill.on)
