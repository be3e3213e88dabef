"""Who answers a query: the order of the reasons, what a snapshot shows and for how long, what a bad store changes."""

from __future__ import annotations

import threading

import pytest

from core.adapters.manual_clock import ManualClock
from core.breaker import Mode
from core.errors import ConfigError, FlagError
from core.fallbacks import (
    LEDGER_BREAKER,
    ORCHESTRATOR_BREAKER,
    Component,
    FallbackConfig,
    FlagView,
    RedoFallbackManager,
    decide,
)
from core.flags import Flags, KillSwitches, rollout_bucket
from core.model import Decision, FallbackDecision, Reason
from tests.guard_samples import ON, FlakyStore, Place, a_query, fail_in


@pytest.fixture
def place() -> Place:
    """Where the guards live."""
    return Place()


@pytest.fixture
def clock(place: Place) -> ManualClock:
    """Their clock."""
    return place.clock


@pytest.fixture
def store(place: Place) -> FlakyStore:
    """Their store."""
    return place.store


@pytest.fixture
def guard(place: Place) -> RedoFallbackManager:
    """A guard with REDO switched on."""
    made = place.guard()
    made.flags.set(ON)
    return made


def fail(guard: RedoFallbackManager, times: int = 3) -> None:
    """Let REDO fail on queries."""
    for _ in range(times):
        with pytest.raises(ZeroDivisionError):
            fail_in(guard.safe_orchestrator_execution(), ZeroDivisionError())


class TestFlagsAlone:
    """The pure decision."""

    @pytest.mark.parametrize(
        ("flags", "shadow", "expected"),
        [
            (Flags(), False, (Decision.LEGACY, Reason.FLAG_OFF)),
            (Flags(redo_enabled=True), False, (Decision.REDO, Reason.ENABLED)),
            (Flags(redo_enabled=True, rollout_percentage=0), False, (Decision.LEGACY, Reason.NOT_IN_ROLLOUT)),
            (Flags(), True, (Decision.LEGACY, Reason.SHADOW)),
        ],
    )
    def test_reason(self, flags: Flags, shadow: bool, expected: tuple[Decision, Reason]) -> None:  # noqa: FBT001
        """Each decision says why, and in which bucket the query is."""
        decision = decide(a_query(), flags, shadow=shadow)
        assert (decision.decision, decision.reason) == expected
        assert decision.bucket == rollout_bucket("s-1")
        assert decision.runs_redo is (expected[0] is Decision.REDO or shadow)

    def test_query_without_a_key_is_not_in_the_rollout(self) -> None:
        """What has no session, user or id is legacy even at 100 %."""
        decision = decide(a_query(session_id=None, query_id=""), Flags(redo_enabled=True))
        assert decision == FallbackDecision(Decision.LEGACY, Reason.NOT_IN_ROLLOUT, None)


class TestOrderOfReasons:
    """Where several things speak against REDO, the first of the order is told."""

    def test_each_reason_hides_those_behind_it(self, place: Place, guard: RedoFallbackManager) -> None:
        """Kill switch, flag, rollout, database, health, breaker: one after the other is put right."""
        fail(guard)
        guard.run_health_checks({Component.INDEX: lambda: False, Component.ORCHESTRATOR: lambda: False})
        guard.flags.set({"orchestrator.redo_enabled": False, "rollout_percentage": 0})
        place.kill = KillSwitches(file=True)
        reasons = []
        for put_right in (
            lambda: None,
            lambda: setattr(place, "kill", KillSwitches()),
            lambda: guard.flags.set(ON),
            lambda: guard.flags.set({"rollout_percentage": 100}),
            lambda: guard.run_health_checks({Component.INDEX: lambda: None}),
            lambda: guard.run_health_checks({Component.ORCHESTRATOR: lambda: None}),
            guard.reset,
        ):
            put_right()
            guard.refresh()
            reasons.append(guard.decide(a_query()).reason)
        assert reasons == [
            Reason.KILL_SWITCH,
            Reason.FLAG_OFF,
            Reason.NOT_IN_ROLLOUT,
            Reason.DATABASE_UNAVAILABLE,
            Reason.UNHEALTHY,
            Reason.BREAKER_OPEN,
            Reason.ENABLED,
        ]

    def test_what_cannot_be_is_a_fallback_and_what_shall_not_be_is_legacy(
        self, place: Place, guard: RedoFallbackManager
    ) -> None:
        """A breaker costs REDO's answer, a kill switch is a choice."""
        fail(guard)
        assert guard.decide(a_query()).decision is Decision.FALLBACK
        place.kill = KillSwitches(environment=True)
        guard.refresh()
        assert guard.decide(a_query()).decision is Decision.LEGACY

    @pytest.mark.parametrize("why", ["breaker", "health", "database", "kill"])
    def test_a_shadow_run_keeps_out_too(self, place: Place, guard: RedoFallbackManager, why: str) -> None:
        """In shadow the flags do not matter, but REDO does not run where it must not; legacy is served by choice."""
        guard.flags.set({"orchestrator.redo_enabled": False})
        assert guard.decide(a_query(), shadow=True).reason is Reason.SHADOW
        if why == "breaker":
            guard.simulate_orchestrator_failure()
        elif why == "health":
            guard.run_health_checks({Component.ORCHESTRATOR: lambda: False})
        elif why == "database":
            guard.simulate_db_failure()
        else:
            place.kill = KillSwitches(file=True)
        guard.refresh()
        decision = guard.decide(a_query(), shadow=True)
        assert (decision.decision, decision.runs_redo, decision.shadow) == (Decision.LEGACY, False, False)
        assert decision.bucket == rollout_bucket("s-1")


class TestForAll:
    """`is_redo_active`, and the decision behind it."""

    def test_given_flags_hold_for_the_question(self, place: Place) -> None:
        """They are stronger than what is stored, and change nothing."""
        guard = place.guard()
        assert not guard.is_redo_active()
        assert guard.is_redo_active({"orchestrator.redo_enabled": True, "ledger.enabled": True})
        assert not guard.is_redo_active()

    @pytest.mark.parametrize(
        "flags", [{}, {"orchestrator.redo_enabled": False}, {"ledger.enabled": True}, ON | {"rollout_percentage": 0}]
    )
    def test_not_active(self, place: Place, flags: dict[str, object]) -> None:
        """Off, not named, or for nobody: REDO is not active."""
        assert not place.guard().is_redo_active(flags)

    def test_active_for_some_is_active(self, place: Place) -> None:
        """At 10 % REDO answers some queries: whoever is in the rollout gets it."""
        assert place.guard().is_redo_active(ON | {"rollout_percentage": 10})

    @pytest.mark.parametrize(
        "flags", [{"redo": True}, {"orchestrator.redo_enabled": "true"}, {"rollout_percentage": 101}]
    )
    @pytest.mark.parametrize("killed", [False, True])
    def test_flags_that_do_not_exist_are_refused(self, place: Place, flags: dict[str, object], *, killed: bool) -> None:
        """A typo is an error, not an answer, whatever else is the matter."""
        place.kill = KillSwitches(file=killed)
        with pytest.raises(FlagError):
            place.guard().is_redo_active(flags)

    @pytest.mark.parametrize("kill", [KillSwitches(environment=True), KillSwitches(file=True)])
    def test_kill_switch_is_stronger_than_given_flags(self, place: Place, kill: KillSwitches) -> None:
        """Off wins."""
        place.kill = kill
        assert place.guard().decide_for_all(ON).reason is Reason.KILL_SWITCH

    def test_asking_takes_no_probe(self, place: Place, guard: RedoFallbackManager) -> None:
        """When the breaker may be probed REDO counts as active, and asking does not use the probe up."""
        fail(guard)
        place.clock.advance(60.0)
        version = place.store.version(ORCHESTRATOR_BREAKER)
        assert guard.is_redo_active()
        assert guard.is_redo_active()
        assert place.store.version(ORCHESTRATOR_BREAKER) == version


class TestPinnedRun:
    """A run goes by the view that it began with."""

    def test_flags_of_the_run_hold_to_its_end(self, guard: RedoFallbackManager) -> None:
        """What is set meanwhile does not change who answers in this run."""
        view = guard.flag_view()
        guard.flags.set({"orchestrator.redo_enabled": False})
        assert guard.decide(a_query(), view=view).reason is Reason.ENABLED
        assert guard.decide(a_query()).reason is Reason.FLAG_OFF

    def test_view_of_a_key(self) -> None:
        """A key has its own flags, or those of everybody; a query without a key has those too."""
        view = FlagView(Flags(), {"s-1": Flags(redo_enabled=True)})
        assert [view.of(key).redo_enabled for key in ("s-1", "s-2", None)] == [True, False, False]
        assert FlagView(Flags()).of("s-1") == Flags()

    def test_kill_switch_ends_it_at_once(self, guard: RedoFallbackManager) -> None:
        """A kill switch is obeyed by runs that have begun."""
        view = FlagView(Flags(redo_enabled=True))
        assert guard.decide(a_query(), view=view).reason is Reason.ENABLED
        guard.flags.kill(reason="it burns")
        assert guard.decide(a_query(), view=view).reason is Reason.KILL_SWITCH

    def test_a_run_that_began_killed_stays_off(self, guard: RedoFallbackManager) -> None:
        """Lifting the switch does not change a run that has begun, and the reason is still told."""
        guard.flags.kill()
        view = guard.flag_view(ON)
        guard.flags.lift_kill()
        assert guard.decide(a_query()).reason is Reason.ENABLED
        assert guard.decide(a_query(), view=view).reason is Reason.KILL_SWITCH


class TestSnapshot:
    """What is known of the shared state, and how old it may be."""

    def test_state_is_not_read_for_every_query(self, guard: RedoFallbackManager, store: FlakyStore) -> None:
        """Within a second any number of decisions costs no look at the store."""
        guard.decide(a_query())
        loads = store.loads
        for _ in range(100):
            guard.decide(a_query())
        assert store.loads == loads

    def test_decisions_write_nothing(self, guard: RedoFallbackManager, store: FlakyStore, clock: ManualClock) -> None:
        """Neither decisions nor successes are written, however much time passes."""
        for _ in range(10):
            clock.advance(1.0)
            with guard.safe_orchestrator_execution() as execution:
                assert execution.allowed
        assert [store.version(name) for name in (ORCHESTRATOR_BREAKER, LEDGER_BREAKER, "health")] == [0, 0, 0]

    def test_change_of_another_process_is_seen_after_a_second(
        self, place: Place, guard: RedoFallbackManager, clock: ManualClock
    ) -> None:
        """The snapshot is good for one second, not longer."""
        assert guard.decide(a_query()).reason is Reason.ENABLED
        place.guard(owner="elsewhere").flags.set({"orchestrator.redo_enabled": False})
        clock.advance(0.999)
        assert guard.decide(a_query()).reason is Reason.ENABLED
        clock.advance(0.001)
        assert guard.decide(a_query()).reason is Reason.FLAG_OFF

    def test_breaker_of_another_process_is_seen_after_a_second(
        self, place: Place, guard: RedoFallbackManager, clock: ManualClock
    ) -> None:
        """REDO that fails elsewhere is taken out here too."""
        assert guard.is_redo_active()
        fail(place.guard(owner="elsewhere"))
        clock.advance(1.0)
        assert guard.decide(a_query()).reason is Reason.BREAKER_OPEN

    def test_refresh_reads_at_once(self, place: Place, guard: RedoFallbackManager) -> None:
        """A batch that refreshes between two chunks sees what has changed."""
        place.guard(owner="elsewhere").flags.kill()
        guard.refresh()
        assert guard.decide(a_query()).reason is Reason.KILL_SWITCH


class TestThreads:
    """Threads share a guard."""

    def test_nobody_waits_for_the_one_who_looks(
        self, guard: RedoFallbackManager, store: FlakyStore, clock: ManualClock
    ) -> None:
        """While one thread asks a store that takes its time, others go on with what is known."""
        assert guard.is_redo_active()
        reached, release = threading.Event(), threading.Event()

        def wait() -> None:
            reached.set()
            assert release.wait(60.0)

        store.while_loading = wait
        clock.advance(1.0)
        looking = threading.Thread(target=guard.decide, args=(a_query(),))
        looking.start()
        assert reached.wait(60.0)
        loads = store.loads
        assert guard.decide(a_query()).reason is Reason.ENABLED
        assert store.loads == loads
        release.set()
        looking.join()

    def test_the_first_ones_wait_for_what_is_known(self, place: Place, store: FlakyStore) -> None:
        """Before anything is known there is nothing to go on with: both threads get the answer of one look."""
        place.guard(owner="elsewhere").flags.set(ON)
        guard = place.guard()
        reached, release = threading.Event(), threading.Event()

        def wait() -> None:
            store.while_loading = lambda: None
            reached.set()
            assert release.wait(60.0)

        store.while_loading = wait
        reasons: list[Reason] = []
        first = threading.Thread(target=lambda: reasons.append(guard.decide(a_query()).reason))
        first.start()
        assert reached.wait(60.0)
        second = threading.Thread(target=lambda: reasons.append(guard.decide(a_query()).reason))
        second.start()
        assert reasons == []
        release.set()
        first.join()
        second.join()
        assert reasons == [Reason.ENABLED] * 2


class TestStoreDown:
    """The store does not answer: the last good snapshot counts, and nothing is raised on a query's way."""

    def test_last_good_snapshot_counts(self, guard: RedoFallbackManager, store: FlakyStore, clock: ManualClock) -> None:
        """REDO goes on as it was, for as long as it takes; the report says that it is stale."""
        assert guard.is_redo_active()
        store.is_down = True
        for _ in range(3):
            clock.advance(100.0)
            assert guard.decide(a_query()).reason is Reason.ENABLED
        status = guard.get_health_status()
        assert (status["stale"], status["stale_because"]) == (True, "the store is down")

    def test_before_anything_is_known_everything_is_off(self, place: Place, store: FlakyStore) -> None:
        """A process that has never seen the state does not guess, also where flags are given: they may be killed."""
        store.is_down = True
        guard = place.guard()
        assert not guard.is_redo_active()
        assert not guard.is_redo_active(ON)
        assert guard.decide(a_query(), shadow=True).reason is Reason.DATABASE_UNAVAILABLE
        assert guard.flag_view().flags == Flags(rollout_percentage=0)

    def test_recovers_by_itself(self, place: Place, store: FlakyStore, clock: ManualClock) -> None:
        """When the store is back, the next look finds it."""
        place.guard(owner="elsewhere").flags.set(ON)
        store.is_down = True
        guard = place.guard()
        assert not guard.is_redo_active()
        store.is_down = False
        clock.advance(5.0)
        assert guard.is_redo_active()
        assert guard.get_health_status()["stale"] is False

    def test_is_not_asked_by_every_query(
        self, guard: RedoFallbackManager, store: FlakyStore, clock: ManualClock
    ) -> None:
        """A store that hangs delays one query every five seconds, not one every second."""
        store.is_down = True
        clock.advance(1.0)
        guard.decide(a_query())
        loads = store.loads
        for _ in range(4):
            clock.advance(1.0)
            guard.decide(a_query())
        assert store.loads == loads
        clock.advance(1.0)
        guard.decide(a_query())
        assert store.loads == loads + 1

    @pytest.mark.parametrize("kill", [KillSwitches(environment=True), KillSwitches(file=True)])
    def test_local_kill_switches_work(
        self, place: Place, guard: RedoFallbackManager, store: FlakyStore, clock: ManualClock, kill: KillSwitches
    ) -> None:
        """The switches of the environment and the file need no store, and work within a second."""
        assert guard.is_redo_active()
        store.is_down = True
        clock.advance(1.0)
        assert guard.is_redo_active()
        place.kill = kill
        clock.advance(1.0)
        assert guard.decide(a_query()).reason is Reason.KILL_SWITCH

    def test_kill_switch_is_told_though_nothing_is_known(self, place: Place, store: FlakyStore) -> None:
        """A process that has never seen the state still says which switch is on."""
        store.is_down = True
        place.kill = KillSwitches(file=True)
        assert place.guard().decide(a_query()).reason is Reason.KILL_SWITCH

    def test_breaker_goes_on_alone(self, guard: RedoFallbackManager, store: FlakyStore) -> None:
        """Three failures take REDO out of this process though nobody can be told."""
        assert guard.is_redo_active()
        store.is_down = True
        fail(guard)
        assert guard.decide(a_query()).reason is Reason.BREAKER_OPEN
        assert guard.get_health_status()["last_errors"]


class TestConfig:
    """The guide's settings."""

    def test_defaults_are_those_of_the_guide(self) -> None:
        """Health checks every 30 s, three failures, 5 s, 60 s."""
        assert FallbackConfig() == FallbackConfig(
            enable_health_checks=True,
            health_check_interval_seconds=30.0,
            max_consecutive_failures=3,
            fallback_timeout_seconds=5.0,
            enable_circuit_breaker=True,
            circuit_breaker_reset_seconds=60.0,
        )

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("enable_health_checks", 1),
            ("enable_circuit_breaker", "true"),
            ("max_consecutive_failures", 0),
            ("max_consecutive_failures", 2.5),
            ("max_consecutive_failures", True),
            ("health_check_interval_seconds", 0.0),
            ("fallback_timeout_seconds", float("inf")),
            ("circuit_breaker_reset_seconds", float("nan")),
            ("circuit_breaker_reset_seconds", "60"),
        ],
    )
    def test_nonsense_is_refused_by_name(self, name: str, value: object) -> None:
        """The message names the setting and what was expected."""
        with pytest.raises(ConfigError, match=f"fallback setting {name}: .* is not"):
            FallbackConfig(**{name: value})  # type: ignore[arg-type]  # that it is refused is the point

    def test_reset_longer_than_ten_minutes_is_possible(self) -> None:
        """The longest wait is then that one."""
        breaker = FallbackConfig(circuit_breaker_reset_seconds=3600.0).breaker(slow_call_s=0.4)
        assert (breaker.reset_timeout_s, breaker.reset_timeout_max_s) == (3600.0, 3600.0)

    def test_a_probe_has_time_for_its_call(self) -> None:
        """A lease is longer than a call can take."""
        assert FallbackConfig(fallback_timeout_seconds=30.0).breaker(slow_call_s=0.4).lease_s == 60.0

    def test_failures_and_reset_are_obeyed(self, place: Place) -> None:
        """One failure, ten seconds: as configured."""
        guard = place.guard(FallbackConfig(max_consecutive_failures=1, circuit_breaker_reset_seconds=10.0))
        guard.flags.set(ON)
        fail(guard, times=1)
        assert not guard.is_redo_active()
        place.clock.advance(10.0)
        assert guard.is_redo_active()

    def test_without_breaker_failures_change_nothing(self, place: Place) -> None:
        """With `enable_circuit_breaker` off REDO stays in, and nothing is counted."""
        guard = place.guard(FallbackConfig(enable_circuit_breaker=False))
        guard.flags.set(ON)
        fail(guard, times=10)
        assert guard.is_redo_active()
        assert guard.admit(a_query()).decision.reason is Reason.ENABLED
        assert place.store.version(ORCHESTRATOR_BREAKER) == 0

    def test_forced_open_and_back(self, place: Place, guard: RedoFallbackManager) -> None:
        """A breaker that somebody has forced open keeps REDO out everywhere, with who and why, until it is put back."""
        guard.set_breaker_mode(Mode.FORCED_OPEN, actor="eve", reason="drill")
        other = place.guard(owner="elsewhere")
        assert other.decide(a_query()).reason is Reason.BREAKER_OPEN
        breaker = other.get_health_status()["circuit_breaker"]
        assert isinstance(breaker, dict)
        assert (breaker["mode"], breaker["mode_actor"], breaker["mode_reason"]) == ("forced_open", "eve", "drill")
        guard.set_breaker_mode(Mode.AUTOMATIC)
        assert guard.is_redo_active()
