"""One process's replica of a breaker that several processes share.

What is shared, and when it is written:

- Status, epoch, wait, lease and mode: at once, when they change. The process obeys its own change before it is written.
- The run of failures: with the first failure, or the first success after one, since the last refresh; what follows goes
  with the next refresh, as one change. So a component that fails now and then costs at most two writes a refresh, and
  three failures in three processes still count as three in a row. Between processes "in a row" is as exact as the
  refresh: a success ends the run of failures that its process knew of.
- Successes in a healthy breaker: never. The window of slow calls belongs to the process.

Where the store does not answer, the replica goes on with the last state that it knew and its own changes, says that it
is stale, and asks again later, each time after a longer pause. A probe needs the store: without it nobody can tell
whether another process is probing.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from core.breaker.algebra import (
    Admission,
    BreakerConfig,
    BreakerState,
    Cause,
    Outcome,
    Status,
    admit,
    record,
    take_lease,
    with_failures,
)
from core.breaker.window import SlowCallWindow
from core.clock import Clock
from core.errors import StateConflict, StoreError
from core.ports import StateStore
from core.state import update

_ATTEMPTS: Final = 10  # races lost in a row before a change waits for the next refresh
# Between two attempts to reach a store that does not answer.
_SHORTEST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Streak:
    """What this process adds to the run of failures: whether it ended it, and how many came since."""

    ended: bool = False
    failures: int = 0

    def and_then(self, outcome: Outcome) -> Streak:
        """Add one call."""
        return Streak(self.ended, self.failures + 1) if outcome is Outcome.FAILURE else Streak(ended=True)

    def followed_by(self, later: Streak) -> Streak:
        """Add what came later."""
        return later if later.ended else Streak(self.ended, self.failures + later.failures)

    def on(self, failures: int) -> int:
        """The run of failures, where it was `failures` long before."""
        return self.failures if self.ended else failures + self.failures


def reconcile(
    base: BreakerState,
    local: BreakerState,
    stored: BreakerState,
    streak: Streak,
    config: BreakerConfig,
    *,
    now: float,
    random: float,
) -> BreakerState:
    """Join what this process did with what the others did.

    Where the others changed more than the run of failures, theirs holds: calls that began before it count no more.
    Otherwise a change of this process's own holds. Otherwise the runs of failures are joined, which may open it.

    Args:
        base: the stored state that this process started from.
        local: what this process has made of it.
        stored: what is stored now.
        streak: what this process adds to the run of failures.
        config: the settings.
        now: seconds since 1970.
        random: a number from 0 to 1 for the jitter.
    """
    if not _alike(stored, base):
        return stored
    if not _alike(local, base):
        return local
    if streak == Streak():
        return stored
    return with_failures(stored, config, streak.on(stored.failures), now=now, random=random)


def _alike(one: BreakerState, other: BreakerState) -> bool:
    """Whether two states differ in the run of failures at most."""
    return replace(one, failures=other.failures) == other


class Need(StrEnum):
    """Whether a change has to reach the store."""

    NOTHING = "nothing"
    SOON = "soon"  # where no other thread is at it
    NOW = "now"


class Replica:
    """The state as this process sees it. Thread-safe; no lock is held while a guarded call runs.

    Two locks: one for the values, held for microseconds, and one for the exchange with the store, held while it
    answers. Calls that only pass or succeed never wait for the second.

    Args:
        name: name of the stored value.
        store: where the shared state is.
        config: the settings.
        clock: both clocks are used: the wall clock for what is shared, the other one for what is not.
        random: returns a number from 0 to 1 for the jitter.
        owner: names this process in leases and in the history.
        refresh_s: after how many seconds the state is read again; `math.inf` leaves it to `sync`.

    Attributes:
        view: the state as this process sees it. Read it once and go on with what was read: it is replaced, not changed.
        due_at: when the state is to be read again, on the clock that never goes back.
    """

    def __init__(
        self,
        name: str,
        *,
        store: StateStore,
        config: BreakerConfig,
        clock: Clock,
        random: Callable[[], float],
        owner: str,
        refresh_s: float,
    ) -> None:
        self._name = name
        self._store = store
        self._config = config
        self._clock = clock
        self._random = random
        self._owner = owner
        self._refresh_s = refresh_s
        self._lock = threading.Lock()
        self._exchange_lock = threading.Lock()
        self._base = BreakerState()
        self._version = 0
        self._streak = Streak()
        self._window = SlowCallWindow(config)
        self.due_at = -math.inf
        self._store_failures = 0
        self._may_write_soon = True
        self.view = BreakerState()

    @property
    def is_stale(self) -> bool:
        """Whether the store did not answer last time."""
        return self._store_failures > 0

    def wall_time(self) -> float:
        """Seconds since 1970."""
        return self._clock.utc_now().timestamp()

    def record(self, *, epoch: int, probe: bool, outcome: Outcome) -> Need:
        """Let a call's result change the view, and say whether the store has to know."""
        with self._lock:
            view = self.view
            if epoch != view.epoch:
                return Need.NOTHING
            too_many_slow = False
            if view.status is Status.CLOSED and outcome is not Outcome.IGNORE:
                too_many_slow = self._window.add(self._clock.now(), slow=outcome is Outcome.SLOW)
                if outcome is not Outcome.FAILURE and not view.failures and not too_many_slow:
                    return Need.NOTHING  # what nearly every call comes to
            after = record(
                view,
                self._config,
                epoch=epoch,
                probe=probe,
                outcome=outcome,
                too_many_slow=too_many_slow,
                now=self.wall_time(),
                random=self._random(),
            )
            if after == view:
                return Need.NOTHING
            self._show(after)
            if not _alike(after, view):
                return Need.NOW
            self._streak = self._streak.and_then(outcome)
            may_write, self._may_write_soon = self._may_write_soon, False
            return Need.SOON if may_write else Need.NOTHING

    def sync(self, *, wait: bool = True) -> None:
        """Write what this process changed, read what the others did. Never raises for a store that fails.

        Args:
            wait: whether to wait for another thread that is at it.
        """
        if not self._exchange_lock.acquire(blocking=wait):
            return
        try:
            self._exchange()
        except StoreError:
            self._note_failure()
        finally:
            self._exchange_lock.release()

    def refresh(self, *, wait: bool = True) -> None:
        """As `sync`, and let the next change of the run of failures be written at once again."""
        self._may_write_soon = True
        self.sync(wait=wait)

    def take_lease(self) -> BreakerState | None:
        """Become the one probe of all processes. Returns the state with the lease, `None` where it cannot be had."""
        if self.is_stale and self._clock.now() < self.due_at:
            return None  # the store did not answer just now; not every call shall wait for it
        if not self._exchange_lock.acquire(blocking=False):
            return None  # another thread is at the store: it may be taking the lease
        try:
            for _ in range(_ATTEMPTS):
                self._exchange()
                now = self.wall_time()
                if admit(self.view, self._config, now) is not Admission.PROBE:
                    return None
                leased = take_lease(self._base, self._config, holder=self._owner, now=now)
                try:
                    version = self._write(self._version, self._base, leased)
                except StateConflict:
                    continue
                with self._lock:
                    self._base, self._version = leased, version
                    self._show(leased)
                return leased
        except StoreError:
            self._note_failure()
        finally:
            self._exchange_lock.release()
        return None

    def change(self, change: Callable[[BreakerState], BreakerState], *, actor: str, reason: str) -> BreakerState:
        """Change the stored state on somebody's order, and obey it. A stored state that cannot be read is replaced.

        Raises:
            StoreError: the store does not answer. Whoever gives an order must know that it did not arrive.
            StateConflict: others kept being faster.
        """

        def changed(value: Mapping[str, object] | None) -> dict[str, object]:
            try:
                present = _decoded(value)
            except StoreError:
                present = BreakerState()
            return change(present).to_dict()

        with self._exchange_lock:
            written = update(self._store, self._name, changed, actor=actor, reason=reason)
            state = _decoded(written.value)
            with self._lock:
                self._base, self._version, self._streak = state, written.version, Streak()
                self._show(state)
        return state

    def _show(self, state: BreakerState) -> None:
        if state.epoch != self.view.epoch:
            self._window.clear()
            self._streak = Streak()
        self.view = state

    def _exchange(self) -> None:
        for _ in range(_ATTEMPTS):
            with self._lock:
                base, local = self._base, self.view
                taken, self._streak = self._streak, Streak()
            adopted = False
            try:
                loaded = self._store.load(self._name)
                stored, version = (BreakerState(), 0) if loaded is None else (_decoded(loaded.value), loaded.version)
                joined = reconcile(
                    base, local, stored, taken, self._config, now=self.wall_time(), random=self._random()
                )
                if joined != stored:
                    version = self._write(version, stored, joined)
                adopted = True
            except StateConflict:
                continue
            finally:
                if not adopted:
                    with self._lock:
                        self._streak = taken.followed_by(self._streak)
            self._adopt(local, joined, version)
            break
        self._store_failures = 0
        is_written = _alike(self.view, self._base)  # not so if it moved on meanwhile: then the next call syncs
        self.due_at = self._clock.now() + self._refresh_s if is_written else -math.inf

    def _adopt(self, local: BreakerState, joined: BreakerState, version: int) -> None:
        """Go on from what is stored now. Other threads may have changed the view while the store was asked."""
        with self._lock:
            self._base, self._version = joined, version
            if not _alike(joined, local):
                self._show(joined)
            elif _alike(self.view, local):
                failures = self._streak.on(joined.failures)
                self._show(
                    with_failures(joined, self._config, failures, now=self.wall_time(), random=self._random())
                    if self._streak != Streak()
                    else joined
                )
            # else: the view has moved on from what was just stored, and the thread that moved it is about to sync.

    def _write(self, version: int, before: BreakerState, after: BreakerState) -> int:
        reason = _described(before, after)
        return self._store.swap(
            self._name, expected_version=version, value=after.to_dict(), actor=self._owner, reason=reason
        ).version

    def _note_failure(self) -> None:
        self._store_failures += 1
        pause_s = min(max(self._refresh_s, _SHORTEST_PAUSE_S) * 2.0 ** min(self._store_failures, 30), _LONGEST_PAUSE_S)
        self.due_at = self._clock.now() + pause_s


def _decoded(value: Mapping[str, object] | None) -> BreakerState:
    return BreakerState() if value is None else BreakerState.from_dict(value)


def _described(before: BreakerState, after: BreakerState) -> str:
    """Say for the history what a change was."""
    if after.status is Status.OPEN and after.epoch != before.epoch:
        why = "too many slow calls" if after.cause is Cause.SLOW_CALLS else f"{after.failures} failures in a row"
        if before.status is Status.HALF_OPEN:
            why = "the probe was slow" if after.cause is Cause.SLOW_CALLS else "the probe failed"
        return f"opened for {after.open_until - after.opened_at:.1f} s: {why}"
    if after.lease is not None and after.lease != before.lease:
        return "half-open: a probe is under way"
    if before.lease is not None and after.status is Status.HALF_OPEN:
        return "the probe's lease was given back"
    if after.status is Status.CLOSED and before.status is not Status.CLOSED:
        return "closed: the probe succeeded"
    return f"{after.failures} failures in a row" if after.failures else "a success ended the run of failures"
