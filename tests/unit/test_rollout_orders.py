"""Orders in the shared state: breakers, crashes between two writes, stores that do not answer, races, other changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from core.adapters.manual_clock import ManualClock
from core.adapters.sqlite_state import SqliteStateStore
from core.breaker import Mode
from core.errors import StateConflict, StoreError, TransientStoreError
from core.fallbacks.manager import LEDGER_BREAKER, ORCHESTRATOR_BREAKER
from core.fallbacks.stored_flags import FLAGS
from core.flags import Override
from core.model import Reason
from core.ports import StateStore
from core.rollout.decision import Transition
from core.rollout.description import describe, headline, headline_of_stored
from core.rollout.event import EventKind, Part
from core.rollout.orders import EmergencyOutcome, Outcome, RolloutOrders
from core.rollout.reasons import Hold, HoldCode
from core.rollout.state import RolloutState, Status, rebuild, rollout_of
from core.state import Versioned
from tests.guard_samples import FlakyStore, Place, a_query
from tests.rollout_samples import PLAN, Rollout, a_report

BREAKERS = (ORCHESTRATOR_BREAKER, LEDGER_BREAKER)


class FailingStore(FlakyStore):
    """A store in which writing some values fails, as it does where a process dies between two writes."""

    def __init__(self, clock: ManualClock, *broken: str) -> None:
        super().__init__(clock)
        self.broken = set(broken)

    def swap(
        self, name: str, *, expected_version: int, value: Mapping[str, object], actor: str, reason: str
    ) -> Versioned:
        """Write what is not broken."""
        if name in self.broken:
            raise TransientStoreError(f"{name}: broken")
        return super().swap(name, expected_version=expected_version, value=value, actor=actor, reason=reason)


class OvertakenStore(FlakyStore):
    """A store in which somebody else is faster, as often as it is told."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.faster: list[Callable[[], object]] = []

    def swap(
        self, name: str, *, expected_version: int, value: Mapping[str, object], actor: str, reason: str
    ) -> Versioned:
        """Let the next one go first."""
        if self.faster:
            self.faster.pop(0)()
        return super().swap(name, expected_version=expected_version, value=value, actor=actor, reason=reason)


def failing(*broken: str, step: int = 2) -> tuple[Rollout, FailingStore]:
    """A rollout at a step, in a store that then begins to fail."""
    clock = ManualClock()
    store = FailingStore(clock)
    rollout = Rollout(store, clock)
    rollout.climb(step)
    store.broken = set(broken)
    return rollout, store


def code(outcome: Outcome) -> HoldCode:
    """Why nothing changed."""
    assert isinstance(outcome.decision, Hold)
    return outcome.decision.reasons[0].code


class TestEmergency:
    """Everything off at once."""

    def test_flags_go_off_and_breakers_open(self) -> None:
        """In one order: kill switch, flags, share, overrides, both breakers; who and why stand in the history."""
        rollout = Rollout()
        rollout.climb(3)
        mine = {"flag": "ledger.enabled", "value": True, "expires_at": "2031-01-01T00:00:00+00:00", "key": "s-1"}
        rollout.edit(overrides=[mine])
        done = rollout.orders.rollback_emergency(reason="fire", actor="bob")
        assert (done.is_complete, done.is_off_everywhere, done.is_off_here) == (True, True, True)
        assert (done.forced_open, done.kill_switch) == (BREAKERS, False)
        flags = rollout.flags
        assert (flags["killed"], flags["overrides"], flags["rollout_percentage"]) == (True, [], 0)
        assert (flags["orchestrator.redo_enabled"], flags["ledger.enabled"]) == (False, False)
        assert [rollout.mode(name) for name in BREAKERS] == [Mode.FORCED_OPEN] * 2
        newest = rollout.store.history(FLAGS, 1)[0]
        assert (newest.actor, newest.reason) == ("bob", "rollout emergency: fire")

    def test_a_guard_elsewhere_obeys_after_one_refresh(self) -> None:
        """Also a run that goes by flags of its own."""
        place = Place()
        place.store.put(FLAGS, {"orchestrator.redo_enabled": True})
        guard = place.guard()
        view = guard.flag_view({"orchestrator.redo_enabled": True, "ledger.enabled": True})
        assert guard.decide(a_query(), view=view).runs_redo
        RolloutOrders(place.store, clock=place.clock, actor="ann").rollback_emergency(reason="fire")
        guard.refresh()
        assert guard.decide(a_query(), view=view).reason is Reason.KILL_SWITCH
        assert guard.decide(a_query(), view=view, shadow=True).reason is Reason.KILL_SWITCH
        with guard.safe_ledger_execution(enabled=True) as execution:
            assert not execution.allowed

    def test_it_stays_off_where_somebody_lifts_the_kill_switch_by_hand(self) -> None:
        """And where somebody sets the flags too, for the breaker is forced open: only `resume` ends it."""
        place = Place()
        orders = RolloutOrders(place.store, clock=place.clock, actor="ann")
        orders.rollback_emergency(reason="fire")
        guard = place.guard()
        guard.flags.lift_kill()
        guard.flags.set({"orchestrator.redo_enabled": True, "rollout_percentage": 100})
        assert guard.decide(a_query()).reason is Reason.BREAKER_OPEN
        guard.reset()
        assert guard.decide(a_query()).reason is Reason.BREAKER_OPEN

    def test_repeating_it_changes_nothing(self) -> None:
        """Neither the flags nor the breakers nor the attempt."""
        rollout = Rollout()
        rollout.climb(1)
        rollout.orders.rollback_emergency(reason="fire")
        versions = [rollout.store.version(name) for name in (FLAGS, *BREAKERS)]
        again = rollout.orders.rollback_emergency(reason="fire", actor="bob")
        assert [rollout.store.version(name) for name in (FLAGS, *BREAKERS)] == versions
        assert again.outcome is not None
        assert code(again.outcome) is HoldCode.ALREADY
        assert (again.is_complete, rollout.state.attempt) == (True, 2)

    def test_it_works_where_there_is_no_rollout(self) -> None:
        """Then only `resume` goes on from here, at the first step."""
        rollout = Rollout()
        rollout.edit(redo=True, percentage=100)
        assert rollout.orders.rollback_emergency(reason="fire").is_complete
        assert (rollout.exposed, rollout.state.emergency, rollout.state.status) == (0, True, Status.ROLLED_BACK)
        rollout.orders.resume(reason="out")
        assert (rollout.exposed, rollout.state.step, rollout.flags["killed"]) == (0, 0, False)

    @pytest.mark.parametrize(
        ("junk", "attempt", "number"),
        [
            (7, 1, 1),
            ("x", 1, 1),
            ([], 1, 1),
            ({"attempt": 4}, 5, 1),
            ({"attempt": True, "event": {"number": 9}}, 1, 10),
        ],
    )
    def test_it_works_on_a_rollout_that_cannot_be_read(self, junk: object, attempt: int, number: int) -> None:
        """What is left of its counts goes on; the other orders say what is wrong."""
        rollout = Rollout()
        rollout.edit(redo=True, percentage=100, rollout=junk)
        others: list[Callable[[], object]] = [
            lambda: rollout.orders.rollback_gradual(reason="back"),
            lambda: rollout.orders.rollback_part(Part.LEDGER, reason="off"),
            lambda: rollout.orders.advance(None),
            lambda: rollout.orders.resume(reason="on"),
        ]
        for order in others:
            with pytest.raises(StoreError, match="stored flags, rollout"):
                order()
        assert rollout.orders.rollback_emergency(reason="fire").is_complete
        assert (rollout.state.attempt, rollout.state.event.number) == (attempt, number)
        assert (rollout.exposed, rollout.flags["killed"]) == (0, True)

    def test_it_works_on_a_breaker_that_cannot_be_read(self) -> None:
        """The breaker's stored state is replaced."""
        rollout = Rollout()
        rollout.store.put(ORCHESTRATOR_BREAKER, {"mode": "sideways"})
        assert rollout.orders.rollback_emergency(reason="fire").is_complete
        assert rollout.mode() is Mode.FORCED_OPEN

    @pytest.mark.parametrize("broken", BREAKERS)
    def test_a_crash_between_two_writes_leaves_everything_off(self, broken: str) -> None:
        """The flags come first. Whoever repeats the order completes it, and so does the next look."""
        for completes in ("rollback_emergency", "advance"):
            rollout, store = failing(broken)
            done = rollout.orders.rollback_emergency(reason="fire")
            assert (done.is_complete, done.is_off_everywhere, done.kill_switch) == (False, True, False)
            assert list(done.errors) == [broken]
            assert (rollout.exposed, rollout.flags["killed"], rollout.mode(broken)) == (0, True, Mode.AUTOMATIC)
            store.broken.clear()
            if completes == "advance":
                assert rollout.orders.advance(None).breakers == (broken,)
            else:
                assert rollout.orders.rollback_emergency(reason="fire").is_complete
            assert rollout.mode(broken) is Mode.FORCED_OPEN

    def test_without_the_flags_it_forces_the_breakers_and_the_kill_switch_here(self) -> None:
        """Each place is tried on its own; the outcome says which were reached."""
        rollout, _ = failing(FLAGS)
        done = rollout.orders.rollback_emergency(reason="fire")
        assert (done.outcome, done.forced_open, done.kill_switch) == (None, BREAKERS, True)
        assert (done.is_off_everywhere, done.is_off_here, done.is_complete) == (False, True, False)
        assert rollout.kill_switch == ["emergency rollback at 2030-01-01T00:02:00+00:00, by ann: fire\n"]

    def test_without_any_store_the_kill_switch_here_is_the_last_resort(self) -> None:
        """Nothing is raised: what was not reached is told."""
        rollout = Rollout()
        rollout.climb(2)
        rollout.store.is_down = True
        done = rollout.orders.rollback_emergency(reason="fire")
        assert done.is_off_here
        assert not done.is_off_everywhere
        assert list(done.errors) == [FLAGS, *BREAKERS]
        assert rollout.kill_switch

    @pytest.mark.parametrize("has_one", [True, False])
    def test_it_says_where_nothing_was_reached(self, *, has_one: bool) -> None:
        """No store, and no kill switch that could be turned on."""

        def refuse(_: str) -> None:
            raise OSError("read-only file system")

        rollout = Rollout()
        rollout.store.is_down = True
        orders = RolloutOrders(rollout.store, clock=rollout.clock, actor="ann", kill_switch=refuse if has_one else None)
        done = orders.rollback_emergency(reason="fire")
        assert not done.is_off_here
        assert ("read-only" in done.errors["kill_switch"]) is has_one

    @pytest.mark.parametrize("step", range(5))
    @pytest.mark.parametrize(
        "before", ["nothing", "pause", "rollback_gradual", "part", "approval", "complete", "clock"]
    )
    def test_it_works_from_every_state(self, before: str, step: int) -> None:
        """Also while an approval is waited for, and with a clock that was set back."""
        rollout = Rollout()
        rollout.climb(step)
        if before in {"pause", "rollback_gradual"}:
            getattr(rollout.orders, before)(reason="first")
        elif before == "part":
            rollout.orders.rollback_part(Part.LEDGER, reason="first")
        elif before in {"approval", "complete"}:
            rollout.advance()
        elif before == "clock":
            rollout.sleep(timedelta(days=-1))
        assert rollout.orders.rollback_emergency(reason="fire").is_complete
        assert (rollout.exposed, rollout.state.emergency, rollout.mode()) == (0, True, Mode.FORCED_OPEN)


class TestResume:
    """Letting go."""

    def test_breakers_are_let_go_with_the_flags(self) -> None:
        """Kill switch, flags and modes are as the step wants them."""
        rollout = Rollout()
        rollout.climb(2)
        rollout.orders.rollback_emergency(reason="fire")
        outcome = rollout.orders.resume(reason="out")
        assert outcome.breakers == BREAKERS
        assert (rollout.exposed, rollout.flags["killed"], rollout.mode()) == (10, False, Mode.AUTOMATIC)

    def test_a_crash_between_leaves_the_breakers_open(self) -> None:
        """The flags come first; until the order is repeated REDO stays off, and nothing rises."""
        rollout, store = failing()
        rollout.orders.rollback_emergency(reason="fire")
        store.broken = {ORCHESTRATOR_BREAKER}
        with pytest.raises(TransientStoreError):
            rollout.orders.resume(reason="out")
        store.broken.clear()
        assert (rollout.exposed, rollout.mode()) == (10, Mode.FORCED_OPEN)
        assert code(rollout.advance()) is HoldCode.BREAKER
        outcome = rollout.orders.resume(reason="out")
        assert code(outcome) is HoldCode.ALREADY
        assert (rollout.mode(), rollout.state.attempt) == (Mode.AUTOMATIC, 3)

    def test_only_forced_breakers_are_let_go(self) -> None:
        """One that somebody disabled stays disabled."""
        rollout = Rollout()
        rollout.climb(1)
        rollout.store.put(LEDGER_BREAKER, {"mode": "disabled"})
        rollout.orders.pause(reason="wait")
        assert rollout.orders.resume(reason="on").breakers == ()
        assert rollout.mode(LEDGER_BREAKER) is Mode.DISABLED

    def test_a_refused_resume_lets_nothing_go(self) -> None:
        """It names a step that has not passed."""
        rollout = Rollout()
        rollout.climb(2)
        rollout.orders.rollback_emergency(reason="fire")
        outcome = rollout.orders.resume(reason="out", step=4)
        assert code(outcome) is HoldCode.REFUSED
        assert isinstance(outcome.decision, Hold)
        assert (outcome.decision.is_refusal, outcome.decision.is_already_so) == (True, False)
        assert rollout.mode() is Mode.FORCED_OPEN


class TestParts:
    """A component's flag and its breaker."""

    @pytest.mark.parametrize(("part", "name"), [(Part.ORCHESTRATOR, BREAKERS[0]), (Part.LEDGER, BREAKERS[1])])
    def test_a_part_that_is_taken_out_reaches_running_batches(self, part: Part, name: str) -> None:
        """They keep their flags and obey the breaker; the other component's stays as it is."""
        rollout = Rollout()
        rollout.climb(2)
        assert rollout.orders.rollback_part(part, reason="off").breakers == (name,)
        assert [rollout.mode(breaker) is Mode.FORCED_OPEN for breaker in BREAKERS] == [
            breaker == name for breaker in BREAKERS
        ]
        assert rollout.orders.resume(reason="on").breakers == (name,)

    def test_a_crash_between_is_completed_by_whoever_comes_next(self) -> None:
        """The flag is off already."""
        rollout, store = failing(LEDGER_BREAKER)
        with pytest.raises(TransientStoreError):
            rollout.orders.rollback_part(Part.LEDGER, reason="off")
        assert rollout.flags["ledger.enabled"] is False
        store.broken.clear()
        again = rollout.orders.rollback_part(Part.LEDGER, reason="off")
        assert (code(again), again.breakers) == (HoldCode.ALREADY, (LEDGER_BREAKER,))


class TestDryRun:
    """Orders that are only looked at."""

    def test_nothing_is_written(self) -> None:
        """The decision is told as it would be made."""
        rollout = Rollout()
        rollout.climb(2)
        rollout.clock.advance(60)
        versions = [rollout.store.version(name) for name in (FLAGS, *BREAKERS)]
        orders = rollout.orders
        outcomes = [
            orders.advance(a_report(rollout.state, now=rollout.now), dry_run=True),
            orders.pause(reason="x", dry_run=True),
            orders.rollback_gradual(reason="x", dry_run=True),
            orders.rollback_part(Part.LEDGER, reason="x", dry_run=True),
        ]
        kinds = [EventKind.PROMOTED, EventKind.PAUSED, EventKind.ROLLBACK_BEGUN, EventKind.PART_OFF]
        for outcome, kind in zip(outcomes, kinds, strict=True):
            assert isinstance(outcome.decision, Transition)
            assert (outcome.decision.event.kind, outcome.is_written) == (kind, False)
            assert outcome.state == rollout.state
        assert [rollout.store.version(name) for name in (FLAGS, *BREAKERS)] == versions


class TestRaces:
    """Two at once."""

    def overtaken(self, step: int) -> tuple[Rollout, OvertakenStore]:
        """A rollout in a store in which somebody can be faster."""
        clock = ManualClock()
        store = OvertakenStore(clock)
        rollout = Rollout(store, clock)
        rollout.climb(step)
        return rollout, store

    def test_the_slower_of_two_controllers_decides_anew(self) -> None:
        """Its report is of a step that the other has left: one step up, not two."""
        rollout, store = self.overtaken(1)
        rollout.clock.advance(60)
        report = a_report(rollout.state, now=rollout.now)
        store.faster.append(lambda: rollout.orders.advance(report, actor="other"))
        assert code(rollout.orders.advance(report)) is HoldCode.OTHER_STEP
        assert (rollout.exposed, rollout.state.event.actor) == (25, "other")

    def test_an_emergency_always_arrives(self) -> None:
        """However often others are faster."""
        rollout, store = self.overtaken(1)
        store.faster += [lambda: rollout.edit(percentage=5), lambda: rollout.orders.pause(reason="wait")]
        assert rollout.orders.rollback_emergency(reason="fire").is_complete
        assert rollout.exposed == 0

    def test_a_resume_does_not_undo_an_emergency_that_it_has_not_seen(self) -> None:
        """Whoever resumed looked at another state."""
        rollout, store = self.overtaken(1)
        rollout.orders.pause(reason="wait")
        store.faster.append(lambda: rollout.orders.rollback_emergency(reason="fire"))
        assert code(rollout.orders.resume(reason="on")) is HoldCode.OVERTAKEN
        assert (rollout.exposed, rollout.mode()) == (0, Mode.FORCED_OPEN)

    @pytest.mark.parametrize("before_write", [1, 2])
    def test_an_emergency_while_breakers_are_let_go_keeps_them(self, before_write: int) -> None:
        """Before the first or the second breaker: letting go looks again afterwards."""
        rollout, store = self.overtaken(1)
        rollout.orders.rollback_emergency(reason="fire")
        store.faster += [lambda: None] * before_write  # the first write is that of the flags
        store.faster.append(lambda: rollout.orders.rollback_emergency(reason="fire"))
        rollout.orders.resume(reason="out")
        assert (rollout.exposed, rollout.flags["killed"], rollout.mode()) == (0, True, Mode.FORCED_OPEN)
        assert rollout.mode(LEDGER_BREAKER) is Mode.FORCED_OPEN

    def test_an_emergency_right_after_a_resume_keeps_its_breakers(self) -> None:
        """None is let go any more."""
        rollout = Rollout()
        rollout.climb(1)
        rollout.orders.rollback_emergency(reason="fire")
        later = [lambda: rollout.orders.rollback_emergency(reason="fire")]
        orders = RolloutOrders(rollout.store, clock=rollout.clock, actor="bob", changed=lambda: later and later.pop()())
        outcome = orders.resume(reason="out")
        assert (outcome.is_written, outcome.breakers) == (True, ())
        assert (rollout.exposed, rollout.mode()) == (0, Mode.FORCED_OPEN)

    def test_another_change_of_the_flags_does_not_disturb_a_resume(self) -> None:
        """The rollout itself is as it was seen."""
        rollout, store = self.overtaken(1)
        rollout.orders.pause(reason="wait")
        store.faster.append(lambda: rollout.edit(percentage=5))
        assert rollout.orders.resume(reason="on").is_written
        assert rollout.exposed == 10

    def test_a_store_that_conflicts_for_ever_is_given_up(self) -> None:
        """With the conflict."""
        rollout, store = self.overtaken(1)
        count = iter(range(1000))
        store.faster += [lambda: rollout.edit(later=next(count))] * 100
        with pytest.raises(StateConflict):
            rollout.orders.pause(reason="wait")

    def test_of_many_controllers_one_wins(self, tmp_path: Path) -> None:
        """On a real file, with threads that write at the same moment: one step up, one event, one history entry."""
        clock = ManualClock()
        path = tmp_path / "state.db"
        RolloutOrders(SqliteStateStore(path, clock=clock), clock=clock, actor="ann").start(PLAN, reason="begin")
        clock.advance(60)
        controllers = 4
        report = a_report(_state(path, clock), now=clock.utc_now())
        barrier = threading.Barrier(controllers)
        store = _MeetingStore(SqliteStateStore(path, clock=clock, busy_timeout_s=30), barrier)
        outcomes: list[Outcome] = []

        def control(name: str) -> None:
            outcomes.append(RolloutOrders(store, clock=clock, actor=name).advance(report))

        threads = [threading.Thread(target=control, args=(f"controller-{i}",)) for i in range(controllers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        winners = [outcome for outcome in outcomes if outcome.is_written]
        assert (len(outcomes), len(winners)) == (controllers, 1)
        assert all(code(outcome) is HoldCode.OTHER_STEP for outcome in outcomes if not outcome.is_written)
        assert _state(path, clock).step == 1
        assert len(SqliteStateStore(path, clock=clock).history(FLAGS, 10)) == 2

    def test_an_emergency_beats_controllers_that_go_up(self, tmp_path: Path) -> None:
        """Whoever comes first, at the end everything is off."""
        clock = ManualClock()
        path = tmp_path / "state.db"
        RolloutOrders(SqliteStateStore(path, clock=clock), clock=clock, actor="ann").start(PLAN, reason="begin")
        clock.advance(60)
        report = a_report(_state(path, clock), now=clock.utc_now())
        store = _MeetingStore(SqliteStateStore(path, clock=clock, busy_timeout_s=30), threading.Barrier(2))
        done: list[EmergencyOutcome] = []
        orders = RolloutOrders(store, clock=clock, actor="ann")
        threads = [
            threading.Thread(target=lambda: orders.advance(report)),
            threading.Thread(target=lambda: done.append(orders.rollback_emergency(reason="fire"))),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert [outcome.is_complete for outcome in done] == [True]
        state = _state(path, clock)
        assert (state.emergency, state.percentage, state.redo_enabled) == (True, 0, False)


class _MeetingStore:
    """A store in which all writers of the flags meet before the first one of each writes."""

    def __init__(self, store: StateStore, barrier: threading.Barrier) -> None:
        self._store = store
        self._barrier = barrier
        self._met = threading.local()
        self.load = store.load
        self.history = store.history

    def swap(
        self, name: str, *, expected_version: int, value: Mapping[str, object], actor: str, reason: str
    ) -> Versioned:
        """Wait for the others the first time."""
        if name == FLAGS and not getattr(self._met, "has", False):
            self._met.has = True
            self._barrier.wait(timeout=30)
        return self._store.swap(name, expected_version=expected_version, value=value, actor=actor, reason=reason)


def _state(path: Path, clock: ManualClock) -> RolloutState:
    loaded = SqliteStateStore(path, clock=clock).load(FLAGS)
    assert loaded is not None
    state = rollout_of(loaded.value)
    assert state is not None
    return state


class TestOthers:
    """What others change beside it."""

    def test_other_changes_carry_the_rollout_along(self) -> None:
        """Flags, overrides and the kill switch leave it as it is, and the history's events stay the same."""
        place = Place()
        orders = RolloutOrders(place.store, clock=place.clock, actor="ann")
        orders.start(PLAN, reason="begin")
        before = place.store.value(FLAGS)["rollout"]
        flags = place.guard().flags
        flags.set({"rollout_percentage": 12.5, "ledger.enabled": True})
        later = place.clock.utc_now().replace(year=2031)
        flags.override(
            Override(flag="ledger.enabled", value=True, expires_at=later, key="s-1", actor="bob", reason="a try")
        )
        flags.kill()
        flags.lift_kill()
        flags.end_override("ledger.enabled", "s-1")
        assert place.store.value(FLAGS)["rollout"] == before
        assert [event.kind for event in orders.events()] == [EventKind.STARTED]

    def test_each_change_is_told(self) -> None:
        """So that this process sees it at once; looking changes nothing."""
        told: list[int] = []
        rollout = Rollout()
        orders = RolloutOrders(rollout.store, clock=rollout.clock, actor="ann", changed=lambda: told.append(1))
        orders.start(PLAN, reason="begin")
        assert len(told) == 1
        orders.advance(None)
        orders.why(None)
        assert len(told) == 1

    def test_the_history_rebuilds_the_state(self) -> None:
        """Each entry holds one event; what happened since some moment rebuilds it from there on."""
        rollout = Rollout()
        rollout.climb(2)
        middle = rollout.state
        rollout.edit(percentage=5)
        rollout.orders.rollback_emergency(reason="fire")
        rollout.orders.resume(reason="out")
        events = rollout.orders.events(100)
        assert [event.number for event in events] == [1, 2, 3, 4, 5]
        assert rebuild(events) == rollout.state
        assert rebuild([event for event in events if event.number > 3], middle) == rollout.state
        assert rollout.orders.events(2) == events[-2:]

    def test_an_entry_that_cannot_be_read_is_passed_over(self) -> None:
        """An emergency begins anew after it, and the rest still rebuilds the state."""
        rollout = Rollout()
        rollout.start()
        rollout.edit(rollout=7)
        rollout.orders.rollback_emergency(reason="fire")
        rollout.orders.resume(reason="out")
        assert rebuild(rollout.orders.events()) == rollout.state


class TestDescription:
    """The rollout in words."""

    def test_one_line_says_where_it_stands(self) -> None:
        """Step, status, attempt; an emergency and a missing component too."""
        rollout = Rollout()
        assert headline(None) == "no rollout has been started"
        rollout.climb(3)
        assert headline(rollout.state) == "gradual 50 % (step 3 of 4), running, attempt 1"
        rollout.advance()
        assert headline(rollout.state) == "gradual 50 % (step 3 of 4), waits for approval, attempt 1"
        rollout.orders.rollback_part(Part.LEDGER, reason="off")
        assert headline(rollout.state) == "gradual 50 % (step 3 of 4), rolled back, attempt 2, ledger taken out"
        rollout.orders.rollback_emergency(reason="fire")
        assert headline(rollout.state).startswith(
            "infrastructure 0 % (step 0 of 4), rolled back by an emergency, attempt"
        )

    def test_what_cannot_be_read_is_said(self) -> None:
        """For the Prefect UI, which shows whatever is stored."""
        assert headline_of_stored(None) == ""
        assert headline_of_stored(7) == "cannot be read: stored flags, rollout: 7 is not an object"

    def test_plain_values_say_the_rest(self) -> None:
        """What is next, whether it needs a yes, and what happened last."""
        rollout = Rollout()
        assert describe(None)["status"] == "not_started"
        rollout.climb(3)
        told = describe(rollout.state)
        assert (told["phase"], told["step"], told["percentage"], told["attempt"]) == ("gradual", 3, 50, 1)
        assert (told["next"], told["next_needs_approval"], told["is_approved"]) == ("full 100 %", True, False)
        event = told["event"]
        assert isinstance(event, dict)
        assert (event["kind"], event["evidence"], "plan" in event) == ("promoted", ["report-1-2"], False)
