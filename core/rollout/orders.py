"""Carrying orders out in the shared state: compare-and-swap, races, breakers, and the last resort.

Flags and rollout are one stored value and change in one step. The breakers are values of their own, so an order that
needs both writes them in the order in which a crash between leaves REDO off: rollbacks write the flags first, and the
emergency one turns the stored kill switch on with them; `resume` opens the flags first and lets the breakers go last.
Whoever repeats the order completes it, and `advance` forces a breaker open again that an order did not get to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from core.breaker import BreakerState, Mode, Status
from core.breaker.algebra import set_mode
from core.clock import Clock
from core.errors import StateConflict, StoreError
from core.fallbacks.manager import LEDGER_BREAKER, ORCHESTRATOR_BREAKER
from core.fallbacks.stored_flags import FLAGS, Stored
from core.ports import StateStore
from core.rollout import rollbacks, transitions
from core.rollout.decision import Decision, Order, Transition
from core.rollout.event import Event, Part
from core.rollout.gates import GateReport
from core.rollout.plan import Plan
from core.rollout.reasons import Hold, HoldCode, HoldReason, explain
from core.rollout.state import ROLLOUT, RolloutState, events_of, rollout_of
from core.state import update

_ATTEMPTS: Final = 100  # races lost in a row; each means that somebody else's change was written
_BREAKER_OF: Final[Mapping[Part, str]] = {Part.ORCHESTRATOR: ORCHESTRATOR_BREAKER, Part.LEDGER: LEDGER_BREAKER}
_NO_REASON: Final = "no reason given"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an order.

    Attributes:
        decision: the change that was made, or the reasons why nothing changed.
        version: the version of the stored flags that holds now; 0 where there is none.
        state: the rollout as it is now; `decision` has what a dry run would make of it.
        is_written: whether the change is in the shared state; false for a hold, and in a dry run.
        breakers: the breakers whose mode it changed: forced open by a rollback, let go by `resume`.
    """

    decision: Decision
    version: int
    state: RolloutState | None
    is_written: bool
    breakers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EmergencyOutcome:
    """How far an emergency rollback got. It never raises for a store: what was not reached is in `errors`.

    Attributes:
        outcome: what became of the flags; `None` where they were not reached.
        forced_open: the breakers that are forced open now.
        kill_switch: whether the kill switch of this machine was turned on, as the shared state was not reached.
        errors: why a place was not reached, by its name: `flags`, the breakers', `kill_switch`.
    """

    outcome: Outcome | None
    forced_open: tuple[str, ...]
    kill_switch: bool
    errors: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_off_everywhere(self) -> bool:
        """Whether everything is off for all processes, as soon as each has refreshed what it knows."""
        return self.outcome is not None

    @property
    def is_off_here(self) -> bool:
        """Whether everything is off for the processes of this machine."""
        return self.is_off_everywhere or self.kill_switch

    @property
    def is_complete(self) -> bool:
        """Whether every place was reached; else repeat the order when the shared state answers again."""
        return not self.errors


class RolloutOrders:
    """Gives orders to the rollout. Thread-safe; any number of processes may give orders at once.

    Two that decide from the same version: one is written. The other looks again: a rollback, a pause and `advance`
    decide anew from what is there now, while `start`, `approve` and `resume` are answered with OVERTAKEN where the
    rollout has changed, for whoever gave them has not seen that.

    Args:
        store: where the shared state is.
        clock: tells the time.
        actor: who is recorded where nobody is named.
        changed: is called after each change, so that this process sees it at once: the guard's `refresh`, say.
        kill_switch: turns the kill switch of this machine on, with a text to leave there; it raises OSError where it
            cannot. The last resort of an emergency; where there is none the outcome says so.

    Every verb but `rollback_emergency` raises StoreError where the store does not answer, or holds a rollout that
    cannot be read. The flags are changed then as a whole or not at all; repeating the order completes it. StateConflict
    says that others kept being faster.
    """

    def __init__(
        self,
        store: StateStore,
        *,
        clock: Clock,
        actor: str,
        changed: Callable[[], object] = lambda: None,
        kill_switch: Callable[[str], object] | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._actor = actor
        self._changed = changed
        self._kill_switch = kill_switch

    # --- looking

    def state(self) -> RolloutState | None:
        """Where the rollout stands; `None` where none was started."""
        return rollout_of(self._flags()[0])

    def why(self, report: GateReport | None) -> tuple[HoldReason, ...]:
        """Every reason why the rollout does not rise; see `core.rollout.reasons.explain`."""
        stored, _ = self._flags()
        now = self._clock.utc_now()
        return explain(rollout_of(stored), stored, report, now, open_breakers=self.open_breakers())

    def open_breakers(self) -> tuple[str, ...]:
        """Names of the breakers that are not closed, or not obeyed."""
        return tuple(name for name in _BREAKER_OF.values() if not self._is_well(name))

    def events(self, limit: int = 50) -> tuple[Event, ...]:
        """What happened, the oldest first, among the newest `limit` changes of the flags."""
        return events_of(self._store.history(FLAGS, limit))

    # --- up, or not

    def start(
        self, plan: Plan, *, actor: str | None = None, reason: str, over_old: bool = False, dry_run: bool = False
    ) -> Outcome:
        """See `core.rollout.transitions.start`."""
        order = self._order(actor, reason)
        return self._once(
            lambda stored: transitions.start(stored, plan, order, over_old=over_old), order, dry_run=dry_run
        )

    def advance(
        self, report: GateReport | None, *, actor: str | None = None, reason: str = "", dry_run: bool = False
    ) -> Outcome:
        """Look once, and go one step up, down, or none; see `core.rollout.transitions.advance`.

        It also completes what a rollback that broke off has left: a breaker that is to be forced open, and is not.
        """
        order = self._order(actor, reason)
        open_breakers = self.open_breakers()
        outcome = self._again(
            lambda stored: transitions.advance(stored, report, order, open_breakers=open_breakers),
            order,
            dry_run=dry_run,
        )
        if dry_run or outcome.state is None:
            return outcome
        return replace(outcome, breakers=self._force_all(outcome.state, order))

    def approve(
        self, *, attempt: int, step: int, actor: str | None = None, reason: str, dry_run: bool = False
    ) -> Outcome:
        """See `core.rollout.transitions.approve`."""
        order = self._order(actor, reason)
        return self._once(
            lambda stored: transitions.approve(stored, order, attempt=attempt, step=step), order, dry_run=dry_run
        )

    def pause(self, *, actor: str | None = None, reason: str, dry_run: bool = False) -> Outcome:
        """See `core.rollout.transitions.pause`."""
        order = self._order(actor, reason)
        return self._again(lambda stored: transitions.pause(stored, order), order, dry_run=dry_run)

    def resume(
        self, *, step: int | None = None, actor: str | None = None, reason: str, dry_run: bool = False
    ) -> Outcome:
        """Go on; see `core.rollout.transitions.resume`. Breakers that are forced open are let go."""
        order = self._order(actor, reason)
        outcome = self._once(lambda stored: transitions.resume(stored, order, step=step), order, dry_run=dry_run)
        went_on = outcome.is_written or (isinstance(outcome.decision, Hold) and outcome.decision.is_already_so)
        if dry_run or not went_on:
            return outcome
        return replace(outcome, breakers=self._let_go(order))

    # --- down

    def rollback_gradual(self, *, actor: str | None = None, reason: str, dry_run: bool = False) -> Outcome:
        """See `core.rollout.rollbacks.rollback_gradual`."""
        order = self._order(actor, reason)
        return self._again(lambda stored: rollbacks.rollback_gradual(stored, order), order, dry_run=dry_run)

    def rollback_part(self, part: Part, *, actor: str | None = None, reason: str, dry_run: bool = False) -> Outcome:
        """Take one component out: its flag goes off, and its breaker is forced open, which reaches running batches."""
        order = self._order(actor, reason)
        outcome = self._again(lambda stored: rollbacks.rollback_part(stored, part, order), order, dry_run=dry_run)
        if dry_run or outcome.state is None:
            return outcome
        return replace(outcome, breakers=self._force_all(outcome.state, order))

    def rollback_emergency(self, *, actor: str | None = None, reason: str) -> EmergencyOutcome:
        """Everything off at once, for all processes; where the shared state does not answer, for this machine's.

        It needs the state store and nothing else, and does not give up halfway: each place is tried on its own.
        """
        order = self._order(actor, reason)
        errors: dict[str, str] = {}
        outcome = None
        try:
            outcome = self._again(lambda stored: rollbacks.rollback_emergency(stored, order), order, dry_run=False)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next place is tried
            errors[FLAGS] = str(error)
        forced = []
        for name in _BREAKER_OF.values():
            try:
                self._force(name, order)
                forced.append(name)
            except Exception as error:  # noqa: BLE001 - as above
                errors[name] = str(error)
        is_killed = False
        if outcome is None:
            is_killed = self._kill_here(order, errors)
        self._changed()
        return EmergencyOutcome(outcome=outcome, forced_open=tuple(forced), kill_switch=is_killed, errors=errors)

    def _kill_here(self, order: Order, errors: dict[str, str]) -> bool:
        if self._kill_switch is None:
            errors["kill_switch"] = "this process has no kill switch to turn on"
            return False
        try:
            self._kill_switch(f"emergency rollback at {order.now.isoformat()}, by {order.actor}: {order.reason}\n")
        except OSError as error:
            errors["kill_switch"] = str(error)
            return False
        return True

    # --- flags

    def _order(self, actor: str | None, reason: str) -> Order:
        return Order(actor=actor or self._actor, reason=reason, now=self._clock.utc_now())

    def _flags(self) -> tuple[Stored | None, int]:
        loaded = self._store.load(FLAGS)
        return (None, 0) if loaded is None else (loaded.value, loaded.version)

    def _again(self, decide: Callable[[Stored | None], Decision], order: Order, *, dry_run: bool) -> Outcome:
        """Decide and write; where somebody was faster, decide anew."""
        return self._changed_by(decide, order, dry_run=dry_run, decides_anew=True)

    def _once(self, decide: Callable[[Stored | None], Decision], order: Order, *, dry_run: bool) -> Outcome:
        """Decide and write; where somebody changed the rollout meanwhile, say so."""
        return self._changed_by(decide, order, dry_run=dry_run, decides_anew=False)

    def _changed_by(
        self, decide: Callable[[Stored | None], Decision], order: Order, *, dry_run: bool, decides_anew: bool
    ) -> Outcome:
        seen: object = None
        for tries in range(_ATTEMPTS):
            stored, version = self._flags()
            rollout = (stored or {}).get(ROLLOUT)
            if tries and not decides_anew and rollout != seen:
                overtaken = Hold.because(HoldCode.OVERTAKEN, "the rollout was changed at the same moment: look again")
                return Outcome(decision=overtaken, version=version, state=rollout_of(stored), is_written=False)
            seen = rollout
            decision = decide(stored)
            if isinstance(decision, Hold):
                return Outcome(decision=decision, version=version, state=rollout_of(stored), is_written=False)
            if dry_run:
                return Outcome(decision=decision, version=version, state=decision.before, is_written=False)
            written = self._written(decision, version, order)
            if written is not None:
                self._changed()
                return Outcome(decision=decision, version=written, state=decision.after, is_written=True)
        raise StateConflict(FLAGS, version)

    def _written(self, decision: Transition, version: int, order: Order) -> int | None:
        event = decision.event
        reason = f"rollout {event.kind.value}: {event.reason or _NO_REASON}"
        try:
            return self._store.swap(
                FLAGS, expected_version=version, value=decision.value, actor=order.actor, reason=reason
            ).version
        except StateConflict:
            return None

    # --- the breakers

    def _is_well(self, name: str) -> bool:
        """Whether a breaker is closed and obeyed. One that cannot be read is not."""
        loaded = self._store.load(name)
        try:
            state = BreakerState() if loaded is None else BreakerState.from_dict(loaded.value)
        except StoreError:
            return False
        return state.status is Status.CLOSED and state.mode is Mode.AUTOMATIC

    def _force_all(self, state: RolloutState, order: Order) -> tuple[str, ...]:
        """Force open what the rollout wants so. Returns the breakers that were not."""
        wanted = [name for part, name in _BREAKER_OF.items() if state.emergency or part in state.parts_off]
        forced = tuple(name for name in wanted if self._force(name, order))
        if forced:
            self._changed()
        return forced

    def _force(self, name: str, order: Order) -> bool:
        """Force a breaker open. False where it is."""
        return self._set_mode(name, Mode.FORCED_OPEN, order, only_from=None)

    def _let_go(self, order: Order) -> tuple[str, ...]:
        """Let forced breakers go, unless the rollout has been rolled back again since. Returns those that were."""
        state = self.state()
        if state is not None and (state.emergency or state.parts_off):
            return ()
        freed = tuple(
            name
            for name in _BREAKER_OF.values()
            if self._set_mode(name, Mode.AUTOMATIC, order, only_from=Mode.FORCED_OPEN)
        )
        state = self.state()
        if state is not None:
            self._force_all(state, order)  # somebody may have rolled back between the two looks: off wins
        if freed:
            self._changed()
        return freed

    def _set_mode(self, name: str, mode: Mode, order: Order, *, only_from: Mode | None) -> bool:
        """Set a breaker's mode, as `CircuitBreaker.set_mode` does. A stored state that cannot be read is replaced."""
        was_other = False

        def changed(value: Mapping[str, object] | None) -> Mapping[str, object]:
            nonlocal was_other
            try:
                present = BreakerState() if value is None else BreakerState.from_dict(value)
            except StoreError:
                present = BreakerState()
                value = None
            was_other = present.mode is not mode and (only_from is None or present.mode is only_from)
            if not was_other:
                return present.to_dict() if value is None else value
            return set_mode(present, mode, actor=order.actor, reason=order.reason or _NO_REASON).to_dict()

        update(self._store, name, changed, actor=order.actor, reason=f"{mode.value}: {order.reason or _NO_REASON}")
        return was_other
