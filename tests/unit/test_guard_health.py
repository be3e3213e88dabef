"""Health: what checks take REDO out and let it back in, what is written and when, and the report about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from core.adapters.manual_clock import ManualClock
from core.breaker import BreakerState, Mode, Status
from core.errors import StoreError
from core.fallbacks import (
    LEDGER_BREAKER,
    ORCHESTRATOR_BREAKER,
    Component,
    FallbackConfig,
    RedoFallbackManager,
    Surroundings,
)
from core.fallbacks.health import ErrorNote, Finding, HealthState, described
from core.model import Reason
from tests.guard_samples import ON, ByHand, FlakyStore, Place, a_query

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def fine() -> None:
    """A probe of a component that works."""


def broken() -> None:
    """A probe of a component that does not."""
    raise OSError("disk on fire")


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


class TestChecks:
    """What a round of checks does."""

    @pytest.mark.parametrize(
        ("component", "reason"),
        [
            (Component.INDEX, Reason.DATABASE_UNAVAILABLE),
            (Component.STATE, Reason.DATABASE_UNAVAILABLE),
            (Component.ORCHESTRATOR, Reason.UNHEALTHY),
            (Component.LEDGER, Reason.ENABLED),
        ],
    )
    @pytest.mark.parametrize("probe", [broken, lambda: False])
    def test_takes_redo_out_and_lets_it_back_in(
        self, guard: RedoFallbackManager, component: Component, reason: Reason, probe: Callable[[], object]
    ) -> None:
        """A component that fails its check takes REDO out at once, but the ledger; the next good check ends that."""
        guard.run_health_checks({component: probe})
        assert guard.decide(a_query()).reason is reason
        guard.run_health_checks({component: fine})
        assert guard.decide(a_query()).reason is Reason.ENABLED

    def test_returns_what_it_found(self, guard: RedoFallbackManager) -> None:
        """Each component that was checked, with its error or none; names may be plain texts."""
        found = guard.run_health_checks({"index": broken, "ledger": fine})  # type: ignore[dict-item]
        assert found == {Component.INDEX: "OSError: disk on fire", Component.LEDGER: None}

    def test_other_processes_obey(self, place: Place, guard: RedoFallbackManager, clock: ManualClock) -> None:
        """What one process finds holds for all within a second."""
        assert guard.is_redo_active()
        place.guard(owner="elsewhere").run_health_checks({Component.INDEX: broken})
        clock.advance(1.0)
        assert guard.decide(a_query()).reason is Reason.DATABASE_UNAVAILABLE

    def test_component_that_was_not_checked_keeps_its_finding(self, guard: RedoFallbackManager) -> None:
        """A process that cannot check the index says nothing about it."""
        guard.run_health_checks({Component.INDEX: broken})
        guard.run_health_checks({Component.LEDGER: fine})
        assert guard.decide(a_query()).reason is Reason.DATABASE_UNAVAILABLE

    def test_a_check_closes_no_breaker(self, guard: RedoFallbackManager) -> None:
        """Only a real probe of the breaker's own does."""
        guard.simulate_orchestrator_failure()
        guard.run_health_checks({Component.ORCHESTRATOR: fine})
        assert guard.decide(a_query()).reason is Reason.BREAKER_OPEN

    def test_probes_come_from_the_surroundings(self, place: Place) -> None:
        """Without an argument all checks that this process can make are made."""
        around = Surroundings(
            store=place.store,
            clock=place.clock,
            random=lambda: 0.0,
            actor="a",
            owner="o",
            probes=lambda: {Component.STATE: fine, Component.INDEX: broken},
        )
        found = RedoFallbackManager(surroundings=around).run_health_checks()
        assert found == {Component.STATE: None, Component.INDEX: "OSError: disk on fire"}

    def test_unknown_component_is_refused(self, guard: RedoFallbackManager) -> None:
        """A typo must not pass for a check that was made."""
        with pytest.raises(ValueError, match="indx"):
            guard.run_health_checks({"indx": fine})  # type: ignore[dict-item]

    def test_probe_that_hangs_has_failed(self, place: Place) -> None:
        """It is given up after the time limit, and the round goes on; later rounds find too many of them hanging."""
        threads = ByHand()
        guard = place.guard(probe_bulkhead=threads.bulkhead(abandoned_max=3))
        probes = {Component.INDEX: fine, Component.LEDGER: fine}
        assert set(guard.run_health_checks(probes).values()) == {
            "CallTimeoutError: no answer within 5 s; the call was given up"
        }
        errors = guard.run_health_checks(probes)
        assert "3 of them have been given up" in str(errors[Component.LEDGER])
        assert threads.waited_s == [5.0] * 3
        threads.let_run()
        threads.at_once = True
        assert guard.run_health_checks(probes) == {Component.INDEX: None, Component.LEDGER: None}

    def test_switched_off_checks_do_nothing(self, place: Place, store: FlakyStore, guard: RedoFallbackManager) -> None:
        """With `enable_health_checks` off nothing is checked, and what others found is not obeyed."""
        guard.run_health_checks({Component.INDEX: broken})
        version = store.version("health")
        blind = place.guard(FallbackConfig(enable_health_checks=False))
        assert blind.run_health_checks({Component.ORCHESTRATOR: broken}) == {}
        assert store.version("health") == version
        assert blind.decide(a_query()).reason is Reason.ENABLED
        assert blind.get_health_status()["database_healthy"] is True


class TestWriting:
    """The shared health is written when it changes, and otherwise once an interval."""

    def test_what_is_the_same_is_written_once_an_interval(
        self, place: Place, guard: RedoFallbackManager, store: FlakyStore, clock: ManualClock
    ) -> None:
        """However many processes check, and however often."""
        others = [place.guard(owner=f"process-{number}") for number in range(3)]
        for _ in range(6):
            for one in (guard, *others):
                one.run_health_checks({Component.INDEX: fine})
            clock.advance(10.0)
        assert store.version("health") == 2

    def test_a_change_is_written_at_once(self, guard: RedoFallbackManager, store: FlakyStore) -> None:
        """From well to ill, to another error, and back: three more versions, with who and why."""
        for probe in (fine, broken, lambda: False, fine):
            guard.run_health_checks({Component.INDEX: probe})
        assert store.version("health") == 4
        reasons = [change.reason for change in store.history("health", 4)]
        assert reasons == [
            "health check: all well",
            "health check: index: the probe said no",
            "health check: index: OSError: disk on fire",
            "health check: all well",
        ]
        assert {change.actor for change in store.history("health", 4)} == {"here"}

    def test_since_when_it_has_been_so(self, guard: RedoFallbackManager, clock: ManualClock) -> None:
        """Neither renewing a finding nor another error of the same component changes since when it is ill."""
        guard.run_health_checks({Component.INDEX: broken})
        clock.advance(60.0)
        guard.run_health_checks({Component.INDEX: lambda: False})
        index = guard.get_health_status()["components"]["index"]  # type: ignore[index]
        assert index["since"] == NOW.isoformat()
        assert index["checked_at"] == (NOW + timedelta(seconds=60)).isoformat()

    def test_finding_that_nobody_renews_lapses(self, guard: RedoFallbackManager, clock: ManualClock) -> None:
        """Ten intervals after the last check REDO comes back: whoever found it broken no longer looks."""
        guard.run_health_checks({Component.INDEX: broken})
        clock.advance(299.0)
        assert guard.decide(a_query()).reason is Reason.DATABASE_UNAVAILABLE
        assert guard.get_health_status()["database_healthy"] is False
        clock.advance(1.0)
        assert guard.decide(a_query()).reason is Reason.ENABLED
        assert guard.get_health_status()["database_healthy"] is True

    def test_finding_that_cannot_be_shared_is_obeyed_here(
        self, guard: RedoFallbackManager, store: FlakyStore, clock: ManualClock
    ) -> None:
        """While the store is down this process goes by what it found itself, until the store is back."""
        assert guard.is_redo_active()
        store.is_down = True
        found = guard.run_health_checks({Component.STATE: lambda: store.load("flags")})
        assert found == {Component.STATE: "TransientStoreError: the store is down"}
        assert guard.decide(a_query()).reason is Reason.DATABASE_UNAVAILABLE
        store.is_down = False
        clock.advance(5.0)
        assert guard.decide(a_query()).reason is Reason.ENABLED

    def test_nonsense_in_the_store_is_told_and_replaced(
        self, guard: RedoFallbackManager, store: FlakyStore, clock: ManualClock
    ) -> None:
        """A stored health that cannot be read changes nothing, and the next finding takes its place."""
        store.put("health", {"components": 3})
        clock.advance(1.0)
        assert guard.is_redo_active()
        assert "stored health" in str(guard.get_health_status()["stale_because"])
        guard.run_health_checks({Component.INDEX: broken})
        assert guard.get_health_status()["stale"] is False
        assert not guard.is_redo_active()


class TestSimulations:
    """The guide's two, and the reset."""

    def test_database_failure_ends_by_itself(
        self, place: Place, guard: RedoFallbackManager, clock: ManualClock
    ) -> None:
        """All processes behave as if the database were gone, for as long as a breaker's first wait."""
        guard.simulate_db_failure(actor="eve")
        other = place.guard(owner="elsewhere")
        for one in (guard, other):
            assert not one.is_redo_active(ON)
            assert one.decide(a_query()).reason is Reason.SIMULATED
            assert one.get_health_status()["database_healthy"] is False
        assert place.store.history("health", 1)[0].actor == "eve"
        clock.advance(60.0)
        assert guard.is_redo_active()
        assert other.is_redo_active()

    def test_a_real_failure_hides_a_simulated_one(self, guard: RedoFallbackManager) -> None:
        """What is really broken is told as such."""
        guard.simulate_db_failure()
        guard.run_health_checks({Component.INDEX: broken})
        assert guard.decide(a_query()).reason is Reason.DATABASE_UNAVAILABLE

    def test_a_simulation_is_obeyed_without_health_checks(self, place: Place, guard: RedoFallbackManager) -> None:
        """It is somebody's order, not a finding."""
        guard.simulate_db_failure()
        blind = place.guard(FallbackConfig(enable_health_checks=False))
        assert blind.decide(a_query()).reason is Reason.SIMULATED

    @pytest.mark.parametrize("failures", [1, 3, 5])
    def test_orchestrator_failure_opens_the_breaker_for_all(self, place: Place, failures: int) -> None:
        """As many failures as it takes are counted, as if calls had failed."""
        guard = place.guard(FallbackConfig(max_consecutive_failures=failures))
        guard.simulate_orchestrator_failure()
        other = place.guard(owner="elsewhere").get_health_status()
        assert not guard.is_redo_active(ON)
        assert other["consecutive_failures"] == failures
        assert other["orchestrator_healthy"] is False
        assert other["last_errors"]["orchestrator"]["error"] == "a failure, simulated by ann@here"  # type: ignore[index]

    def test_orchestrator_failure_twice(self, place: Place, guard: RedoFallbackManager, clock: ManualClock) -> None:
        """On an open breaker it changes nothing; when a probe is due, it is the probe that fails."""
        guard.simulate_orchestrator_failure()
        before = place.store.value(ORCHESTRATOR_BREAKER)
        guard.simulate_orchestrator_failure()
        assert place.store.value(ORCHESTRATOR_BREAKER) == before
        clock.advance(60.0)
        guard.simulate_orchestrator_failure()
        assert place.store.value(ORCHESTRATOR_BREAKER)["trips"] == 2

    def test_order_that_did_not_arrive_is_an_error(self, guard: RedoFallbackManager, store: FlakyStore) -> None:
        """With the store down the others were not told."""
        store.is_down = True
        for order in (guard.simulate_db_failure, guard.simulate_orchestrator_failure, guard.reset):
            with pytest.raises(StoreError):
                order()

    def test_reset_forgets_everything_for_all(
        self, place: Place, guard: RedoFallbackManager, store: FlakyStore
    ) -> None:
        """Breakers, failures, findings, simulations and errors, ordered from another process."""
        guard.simulate_orchestrator_failure()
        guard.simulate_db_failure()
        guard.run_health_checks({Component.INDEX: broken, Component.LEDGER: broken})
        for _ in range(3):
            with pytest.raises(OSError, match="no"), guard.safe_ledger_execution(enabled=True):
                raise OSError("no")
        place.guard(owner="elsewhere").reset(actor="eve", reason="all is well")
        assert guard.get_health_status()["redo_active"] is True
        for name in (ORCHESTRATOR_BREAKER, LEDGER_BREAKER):
            state = BreakerState.from_dict(store.value(name))
            assert (state.status, state.failures) == (Status.CLOSED, 0)
            assert (store.history(name, 1)[0].actor, store.history(name, 1)[0].reason) == ("eve", "all is well")
        assert HealthState.from_dict(store.value("health")) == HealthState()
        assert guard.get_health_status()["ledger_healthy"] is True

    def test_reset_lifts_no_emergency(self, guard: RedoFallbackManager) -> None:
        """Neither flags, nor the kill switch, nor a breaker that was forced open."""
        guard.set_breaker_mode(Mode.FORCED_OPEN, reason="it burns")
        guard.flags.kill()
        guard.reset()
        assert guard.decide(a_query()).reason is Reason.KILL_SWITCH
        guard.flags.lift_kill()
        assert guard.decide(a_query()).reason is Reason.BREAKER_OPEN
        assert guard.get_health_status()["flags"] == {
            "orchestrator.redo_enabled": True,
            "ledger.enabled": False,
            "rollout_percentage": 100,
        }


class TestReport:
    """What `get_health_status` says."""

    def test_all_well(self, guard: RedoFallbackManager) -> None:
        """The guide's keys, and those beside them, of a guard to which nothing has happened."""
        assert guard.get_health_status() == {
            "redo_active": True,
            "reason": "ENABLED",
            "orchestrator_healthy": True,
            "ledger_healthy": True,
            "database_healthy": True,
            "consecutive_failures": 0,
            "ledger_consecutive_failures": 0,
            "circuit_breaker": _CLOSED,
            "ledger_circuit_breaker": _CLOSED,
            "components": {},
            "simulated_database_failure_until": None,
            "last_errors": {},
            "last_check": None,
            "flags": {"orchestrator.redo_enabled": True, "ledger.enabled": False, "rollout_percentage": 100},
            "flag_sources": {
                "orchestrator.redo_enabled": "stored",
                "ledger.enabled": "default",
                "rollout_percentage": "default",
            },
            "kill_switches": [],
            "stale": False,
            "stale_because": None,
            "abandoned_calls": 0,
        }

    def test_breaker_open(self, guard: RedoFallbackManager, clock: ManualClock) -> None:
        """Since when, until when, why, and what went wrong."""
        guard.simulate_orchestrator_failure()
        clock.advance(20.0)
        status = guard.get_health_status()
        assert (status["redo_active"], status["reason"]) == (False, "BREAKER_OPEN")
        assert (status["orchestrator_healthy"], status["ledger_healthy"]) == (False, True)
        assert status["consecutive_failures"] == 3
        assert status["circuit_breaker"] == _CLOSED | {
            "state": "open",
            "cause": "failures",
            "trips": 1,
            "opened_at": NOW.isoformat(),
            "open_until": (NOW + timedelta(seconds=60)).isoformat(),
            "retry_after_s": 40.0,
        }

    def test_probe_under_way(self, place: Place, guard: RedoFallbackManager, clock: ManualClock) -> None:
        """Who probes, and that REDO is not healthy until the probe has succeeded."""
        guard.simulate_orchestrator_failure()
        clock.advance(60.0)
        probe = place.guard(owner="elsewhere").admit(a_query())
        status = guard.get_health_status()
        assert (status["orchestrator_healthy"], status["redo_active"]) == (False, False)
        breaker = status["circuit_breaker"]
        assert isinstance(breaker, dict)
        assert (breaker["state"], breaker["probed_by"], breaker["retry_after_s"]) == ("half_open", "elsewhere", 10.0)
        probe.ignore()

    def test_findings(self, guard: RedoFallbackManager) -> None:
        """What was checked, what was found, the last error of each, and when the last check was."""
        guard.run_health_checks({Component.LEDGER: broken, Component.STATE: fine})
        status = guard.get_health_status()
        assert (status["ledger_healthy"], status["database_healthy"]) == (False, True)
        assert status["last_check"] == NOW.isoformat()
        assert status["last_errors"] == {"ledger": {"error": "OSError: disk on fire", "time": NOW.isoformat()}}
        components = status["components"]
        assert isinstance(components, dict)
        assert components["ledger"]["healthy"] is False
        assert components["state"] == {
            "healthy": True,
            "error": None,
            "since": NOW.isoformat(),
            "checked_at": NOW.isoformat(),
            "counts": True,
        }

    def test_last_error_that_did_not_open_the_breaker(self, place: Place, guard: RedoFallbackManager) -> None:
        """This process tells it; nothing is written for one failure's text."""
        with pytest.raises(ZeroDivisionError), guard.safe_orchestrator_execution():
            raise ZeroDivisionError
        errors = guard.get_health_status()["last_errors"]
        assert errors == {"orchestrator": {"error": "ZeroDivisionError", "time": NOW.isoformat()}}
        assert place.guard(owner="elsewhere").get_health_status()["last_errors"] == {}
        assert place.store.version("health") == 0

    def test_is_json(self, guard: RedoFallbackManager) -> None:
        """An endpoint can send it as it is."""
        guard.simulate_orchestrator_failure()
        guard.run_health_checks({Component.LEDGER: broken})
        status = guard.get_health_status()
        assert json.loads(json.dumps(status)) == status

    def test_survives_a_breaker_edited_to_nonsense(self, guard: RedoFallbackManager, store: FlakyStore) -> None:
        """A date that no calendar has is left out."""
        store.put(ORCHESTRATOR_BREAKER, {"status": "open", "opened_at": 1e300, "open_until": 1e300})
        breaker = guard.get_health_status()["circuit_breaker"]
        assert isinstance(breaker, dict)
        assert (breaker["state"], breaker["open_until"]) == ("open", None)

    def test_stale_breaker_is_told(self, guard: RedoFallbackManager, store: FlakyStore) -> None:
        """A breaker that cannot be read is named, though flags and health can."""
        store.put(LEDGER_BREAKER, {"status": "ajar"})
        assert guard.get_health_status()["stale_because"] == f"{LEDGER_BREAKER}: the shared state did not answer"


_CLOSED = {
    "state": "closed",
    "mode": "automatic",
    "mode_actor": None,
    "mode_reason": None,
    "cause": None,
    "trips": 0,
    "opened_at": None,
    "open_until": None,
    "probed_by": None,
    "retry_after_s": 0.0,
}


class TestStoredForm:
    """Reading and writing the stored value."""

    def test_what_is_written_is_read(self) -> None:
        """Findings, errors and a simulation come back as they were, through JSON."""
        later = NOW + timedelta(seconds=5)
        state = HealthState(
            findings={
                Component.INDEX: Finding("OSError: gone", NOW, later),
                Component.STATE: Finding(None, NOW, later),
            },
            last_errors={Component.LEDGER: ErrorNote("StoreError: full", NOW)},
            simulated_until=later,
        )
        assert HealthState.from_dict(json.loads(json.dumps(state.to_dict()))) == state
        assert HealthState.from_dict(None) == HealthState.from_dict({}) == HealthState()

    def test_component_of_a_newer_version_is_passed_over(self) -> None:
        """Its finding cannot be judged here."""
        assert HealthState.from_dict({"components": {"warp-drive": {"healthy": False}}}) == HealthState()

    def test_healthy_decides(self) -> None:
        """Who edits it by hand need not know of the error's text."""
        times = {"since": NOW.isoformat(), "checked_at": NOW.isoformat()}
        stored = {"components": {"index": times | {"healthy": False}, "state": times | {"error": "old"}}}
        state = HealthState.from_dict(stored)
        assert state.findings[Component.INDEX].error == "not healthy"
        assert state.findings[Component.STATE].error is None

    @pytest.mark.parametrize(
        ("stored", "field"),
        [
            ({"components": 3}, "components"),
            ({"components": {"index": 3}}, "components.index"),
            ({"components": {"index": {"healthy": "no"}}}, "components.index.healthy"),
            ({"components": {"index": {"healthy": True}}}, "components.index.since"),
            ({"components": {"index": {"since": "2030-01-01T00:00:00"}}}, "components.index.since"),
            ({"last_errors": {"index": {"error": "x", "time": 3}}}, "last_errors.index.time"),
            ({"simulated_until": "tomorrow"}, "simulated_until"),
        ],
    )
    def test_what_cannot_be_read_is_named(self, stored: dict[str, object], field: str) -> None:
        """The message names the field, what is there, and what was expected."""
        with pytest.raises(StoreError, match=f"stored health, field '{field}': .* is not"):
            HealthState.from_dict(stored)

    def test_errors_are_short_single_lines(self) -> None:
        """A stored error has a bound, whatever the exception says."""
        assert described(ValueError("a\n  b")) == "ValueError: a b"
        assert len(described("x" * 9_000)) == 500
