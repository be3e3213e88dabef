"""Calls and blocks: who answers when REDO works, raises, hangs or may not be called, and what is counted."""

from __future__ import annotations

import asyncio
import math
import threading
from contextlib import suppress
from dataclasses import replace

import pytest

from core.adapters.manual_clock import ManualClock
from core.breaker import BreakerState, Mode, Status
from core.bulkhead import CallTimeoutError
from core.errors import CircuitOpenError, RecordError
from core.fallbacks import (
    LEDGER_BREAKER,
    ORCHESTRATOR_BREAKER,
    Executed,
    FallbackConfig,
    RedoFallbackManager,
)
from core.flags import KillSwitches
from core.model import Decision, FallbackDecision, Reason
from core.trace import QueryResult
from tests.guard_samples import ON, ByHand, FlakyStore, Place, a_query, fail_in
from tests.ledger_samples import a_result


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
def threads() -> ByHand:
    """Threads that run when they are started."""
    return ByHand(at_once=True)


@pytest.fixture
def guard(place: Place, threads: ByHand) -> RedoFallbackManager:
    """A guard with REDO switched on, over threads that the test may hold back."""
    made = place.guard(bulkhead=threads.bulkhead())
    made.flags.set(ON)
    return made


def redo() -> str:
    """REDO that works."""
    return "redo"


def legacy() -> str:
    """Legacy, which always works."""
    return "legacy"


def broken() -> str:
    """REDO that does not work."""
    raise ZeroDivisionError("by zero")


def breaker(store: FlakyStore, name: str = ORCHESTRATOR_BREAKER) -> BreakerState:
    """The breaker's stored state."""
    return BreakerState.from_dict(store.value(name) or {})


class TestExecute:
    """`execute` and `execute_with_fallback`."""

    def test_redo_answers(self, guard: RedoFallbackManager, threads: ByHand) -> None:
        """Where it may and does, within the time limit of the settings."""
        assert guard.execute(redo, legacy) == Executed("redo", FallbackDecision(Decision.REDO, Reason.ENABLED))
        assert guard.execute_with_fallback(redo, legacy) == "redo"
        assert threads.waited_s == [5.0, 5.0]

    def test_legacy_answers_where_redo_raises(self, guard: RedoFallbackManager) -> None:
        """With the reason and the error; it counts as a failure."""
        executed = guard.execute(broken, legacy)
        assert executed.result == "legacy"
        assert executed.decision == FallbackDecision(Decision.FALLBACK, Reason.ORCHESTRATOR_ERROR)
        assert isinstance(executed.error, ZeroDivisionError)
        assert guard.get_health_status()["consecutive_failures"] == 1

    def test_legacy_answers_where_redo_hangs(self, guard: RedoFallbackManager, threads: ByHand) -> None:
        """The call is given up after the time limit, counts as a failure, and its late result changes nothing."""
        threads.at_once = False
        executed = guard.execute(redo, legacy, timeout_s=0.25)
        assert (executed.result, executed.decision.reason) == ("legacy", Reason.TIMEOUT)
        assert isinstance(executed.error, CallTimeoutError)
        assert threads.waited_s == [0.25]
        status = guard.get_health_status()
        assert (status["consecutive_failures"], status["abandoned_calls"]) == (1, 1)
        threads.let_run()
        status = guard.get_health_status()
        assert (status["consecutive_failures"], status["abandoned_calls"]) == (1, 0)

    def test_three_hangs_open_the_breaker(self, guard: RedoFallbackManager, threads: ByHand) -> None:
        """Then nothing more is begun: no thread, no waiting."""
        threads.at_once = False
        reasons = [guard.execute(redo, legacy).decision.reason for _ in range(5)]
        assert reasons == [Reason.TIMEOUT] * 3 + [Reason.BREAKER_OPEN] * 2
        assert len(threads.waited_s) == 3

    def test_full_bulkhead(self, place: Place, store: FlakyStore) -> None:
        """Legacy answers at once; REDO is not tried, and that says nothing about it."""
        threads = ByHand()
        guard = place.guard(FallbackConfig(max_consecutive_failures=20), bulkhead=threads.bulkhead(abandoned_max=2))
        guard.flags.set(ON)
        reasons = [guard.execute(redo, legacy).decision.reason for _ in range(4)]
        assert reasons == [Reason.TIMEOUT] * 2 + [Reason.BULKHEAD_FULL] * 2
        assert guard.get_health_status()["consecutive_failures"] == 2
        assert len(threads.waited_s) == 2
        assert breaker(store).status is Status.CLOSED

    def test_full_bulkhead_gives_the_probe_back(self, place: Place, clock: ManualClock, store: FlakyStore) -> None:
        """A probe that could not be begun leaves the next call free to probe."""
        threads = ByHand()
        guard = place.guard(FallbackConfig(max_consecutive_failures=1), bulkhead=threads.bulkhead(abandoned_max=1))
        guard.flags.set(ON)
        assert guard.execute(redo, legacy).decision.reason is Reason.TIMEOUT
        clock.advance(60.0)
        assert guard.execute(redo, legacy).decision.reason is Reason.BULKHEAD_FULL
        assert breaker(store).lease is None
        threads.let_run()
        threads.at_once = True
        assert guard.execute(redo, legacy).result == "redo"
        assert breaker(store).status is Status.CLOSED

    @pytest.mark.parametrize("why", ["flag", "kill", "breaker", "database"])
    def test_redo_is_not_called_where_it_may_not_be(self, place: Place, guard: RedoFallbackManager, why: str) -> None:
        """Legacy answers, with the guard's reason."""
        expected = {
            "flag": Reason.FLAG_OFF,
            "kill": Reason.KILL_SWITCH,
            "breaker": Reason.BREAKER_OPEN,
            "database": Reason.SIMULATED,
        }
        if why == "flag":
            guard.flags.set({"orchestrator.redo_enabled": False})
        elif why == "kill":
            place.kill = KillSwitches(environment=True)
        elif why == "breaker":
            guard.simulate_orchestrator_failure()
        else:
            guard.simulate_db_failure()
        guard.refresh()
        executed = guard.execute(broken, legacy)
        assert (executed.result, executed.decision.reason, executed.error) == ("legacy", expected[why], None)

    def test_goes_by_the_decision_that_it_is_given(self, guard: RedoFallbackManager) -> None:
        """A query's own decision, flags included, was taken before."""
        guard.flags.set({"orchestrator.redo_enabled": False})
        enabled = FallbackDecision(Decision.REDO, Reason.ENABLED, 7)
        assert guard.execute(redo, legacy, decision=enabled) == Executed("redo", enabled)
        assert guard.execute(broken, legacy, decision=enabled).decision == FallbackDecision(
            Decision.FALLBACK, Reason.ORCHESTRATOR_ERROR, 7
        )
        out = FallbackDecision(Decision.LEGACY, Reason.NOT_IN_ROLLOUT, 7)
        assert guard.execute(redo, legacy, decision=out) == Executed("legacy", out)

    def test_without_a_limit_it_runs_in_the_callers_thread(self, guard: RedoFallbackManager, threads: ByHand) -> None:
        """An infinite time limit needs no thread."""
        assert guard.execute(threading.current_thread, threading.main_thread, timeout_s=math.inf).result is (
            threading.current_thread()
        )
        assert threads.waited_s == []

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), asyncio.CancelledError()])
    @pytest.mark.parametrize("timeout_s", [None, math.inf])
    def test_what_is_no_error_passes_through(
        self, guard: RedoFallbackManager, error: BaseException, timeout_s: float | None
    ) -> None:
        """Ctrl-C and Prefect's own signals end the call, count neither way, and no fallback hides them."""

        def torn_away() -> str:
            raise error

        with pytest.raises(type(error)):
            guard.execute(torn_away, legacy, timeout_s=timeout_s)
        assert guard.get_health_status()["consecutive_failures"] == 0

    def test_bad_query_is_no_failure(self, guard: RedoFallbackManager) -> None:
        """What the caller did wrong says nothing about REDO; the query gets its legacy answer all the same."""

        def refuse() -> str:
            raise RecordError("text", "is empty")

        assert [guard.execute(refuse, legacy).result for _ in range(5)] == ["legacy"] * 5
        assert guard.is_redo_active()

    def test_what_the_fallback_raises_passes_through(self, guard: RedoFallbackManager) -> None:
        """There is nothing left to fall back to; it counts for nothing."""
        guard.flags.set({"orchestrator.redo_enabled": False})
        with pytest.raises(ZeroDivisionError):
            guard.execute(redo, broken)
        assert guard.get_health_status()["consecutive_failures"] == 0

    def test_slow_answers_open_the_breaker(self, guard: RedoFallbackManager, clock: ManualClock) -> None:
        """Valid but late, half of at least twenty times, REDO is taken out."""

        def slow() -> str:
            clock.advance(0.5)
            return "redo"

        results = [guard.execute(slow, legacy) for _ in range(21)]
        assert [executed.result for executed in results] == ["redo"] * 20 + ["legacy"]
        assert results[-1].decision.reason is Reason.BREAKER_OPEN

    def test_failures_in_three_processes_are_three_in_a_row(self, place: Place, clock: ManualClock) -> None:
        """The run of failures is shared."""
        guards = [
            place.guard(owner=f"process-{number}", bulkhead=ByHand(at_once=True).bulkhead()) for number in range(3)
        ]
        guards[0].flags.set(ON)
        for one in guards:
            assert one.execute(broken, legacy).decision.reason is Reason.ORCHESTRATOR_ERROR
            clock.advance(1.0)
        assert [one.decide_for_all().reason for one in guards] == [Reason.BREAKER_OPEN] * 3

    def test_the_error_that_opened_the_breaker_is_told_to_all(self, place: Place, guard: RedoFallbackManager) -> None:
        """Whoever looks in another process learns why, not only that."""
        for _ in range(3):
            guard.execute(broken, legacy)
        errors = place.guard(owner="elsewhere").get_health_status()["last_errors"]
        assert isinstance(errors, dict)
        assert errors["orchestrator"]["error"] == "ZeroDivisionError: by zero"


class TestAsyncExecute:
    """`aexecute` and `aexecute_with_fallback`."""

    def test_redo_or_legacy_answers(self, guard: RedoFallbackManager) -> None:
        """As for ordinary functions; the fallback may be either kind."""

        async def a_redo() -> str:
            return "redo"

        async def a_broken() -> str:
            raise ZeroDivisionError("by zero")

        async def a_legacy() -> str:
            return "legacy"

        async def all_() -> list[Executed[str]]:
            assert await guard.aexecute_with_fallback(a_redo, legacy) == "redo"
            return [
                await guard.aexecute(a_redo, legacy),
                await guard.aexecute(a_broken, legacy),
                await guard.aexecute(a_broken, a_legacy, timeout_s=math.inf),
            ]

        results = asyncio.run(all_())
        assert [executed.result for executed in results] == ["redo", "legacy", "legacy"]
        assert [executed.decision.reason for executed in results] == [
            Reason.ENABLED,
            Reason.ORCHESTRATOR_ERROR,
            Reason.ORCHESTRATOR_ERROR,
        ]
        assert guard.get_health_status()["consecutive_failures"] == 2

    def test_a_coroutine_that_hangs_is_given_up(self, guard: RedoFallbackManager) -> None:
        """It is cancelled, legacy answers, and three of them open the breaker for all."""

        async def hang() -> str:
            await asyncio.Event().wait()
            return "redo"

        async def four() -> list[Reason]:
            return [(await guard.aexecute(hang, legacy, timeout_s=0.0)).decision.reason for _ in range(4)]

        assert asyncio.run(four()) == [Reason.TIMEOUT] * 3 + [Reason.BREAKER_OPEN]
        errors = guard.get_health_status()["last_errors"]
        assert isinstance(errors, dict)
        assert "no answer within 0 s" in errors["orchestrator"]["error"]

    def test_probing_elsewhere(self, place: Place, guard: RedoFallbackManager, clock: ManualClock) -> None:
        """A decision that was taken before another process began to probe does not let a second probe through."""
        guard.simulate_orchestrator_failure()
        clock.advance(60.0)
        guard.refresh()
        decision = guard.decide(a_query())
        assert decision.reason is Reason.ENABLED
        place.guard(owner="elsewhere").admit(a_query())

        async def redo_() -> str:
            return "redo"

        executed = asyncio.run(guard.aexecute(redo_, legacy, decision=decision))
        assert (executed.result, executed.decision.reason, executed.error) == ("legacy", Reason.BREAKER_OPEN, None)
        assert executed.decision.bucket == decision.bucket

    def test_an_inner_breaker_is_an_error_like_others(self, guard: RedoFallbackManager) -> None:
        """REDO that itself meets an open breaker has failed."""

        async def inner() -> str:
            raise CircuitOpenError("another", "open", None)

        executed = asyncio.run(guard.aexecute(inner, legacy))
        assert executed.decision.reason is Reason.ORCHESTRATOR_ERROR
        assert guard.get_health_status()["consecutive_failures"] == 1

    def test_cancellation_passes_through(self, guard: RedoFallbackManager) -> None:
        """It counts neither way, and leaves nothing running."""

        async def call() -> None:
            begun = asyncio.Event()

            async def hang() -> str:
                begun.set()
                await asyncio.Event().wait()
                return "redo"

            caller = asyncio.ensure_future(guard.aexecute(hang, legacy))
            await begun.wait()
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller

        asyncio.run(call())
        status = guard.get_health_status()
        assert (status["consecutive_failures"], status["abandoned_calls"]) == (0, 0)

    def test_without_breaker(self, place: Place) -> None:
        """With `enable_circuit_breaker` off calls are made and nothing is counted."""
        guard = place.guard(FallbackConfig(enable_circuit_breaker=False))
        guard.flags.set(ON)

        async def fail() -> str:
            raise ZeroDivisionError

        reasons = [asyncio.run(guard.aexecute(fail, legacy)).decision.reason for _ in range(4)]
        assert reasons == [Reason.ORCHESTRATOR_ERROR] * 4
        assert guard.get_health_status()["last_errors"] == {}

    def test_redo_is_not_called_where_it_may_not_be(self, guard: RedoFallbackManager) -> None:
        """Legacy answers with the guard's decision."""
        guard.flags.set({"orchestrator.redo_enabled": False})

        async def never() -> str:
            raise AssertionError

        executed = asyncio.run(guard.aexecute(never, legacy))
        assert executed == Executed("legacy", FallbackDecision(Decision.LEGACY, Reason.FLAG_OFF))


class TestOrchestratorBlock:
    """`safe_orchestrator_execution`."""

    def test_lets_the_callers_exception_through_and_counts_it(self, guard: RedoFallbackManager) -> None:
        """The very exception; never swallowed."""
        error = ZeroDivisionError("by zero")
        with pytest.raises(ZeroDivisionError) as caught:
            fail_in(guard.safe_orchestrator_execution(), error)
        assert caught.value is error
        assert guard.get_health_status()["consecutive_failures"] == 1

    def test_a_success_ends_the_run_of_failures(self, guard: RedoFallbackManager) -> None:
        """Two failures, a success, two failures: REDO stays in."""
        for ends_well in (False, False, True, False, False):
            with suppress(ZeroDivisionError), guard.safe_orchestrator_execution():
                assert 1 / ends_well
        assert guard.is_redo_active()
        assert guard.get_health_status()["consecutive_failures"] == 2

    def test_says_that_redo_may_not_run(self, guard: RedoFallbackManager) -> None:
        """The block is entered once all the same; nothing that happens in it is counted, and nothing is swallowed."""
        guard.simulate_orchestrator_failure()
        block = guard.safe_orchestrator_execution()
        with pytest.raises(ZeroDivisionError):
            fail_in(block, ZeroDivisionError(), allowed=False)
        assert block.reason is Reason.BREAKER_OPEN
        assert guard.get_health_status()["consecutive_failures"] == 3

    @pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, RecordError("text", "is empty")])
    def test_what_says_nothing_counts_nothing(
        self, guard: RedoFallbackManager, error: BaseException | type[BaseException]
    ) -> None:
        """Signals and the caller's own errors pass through and count neither way."""
        with pytest.raises(error if isinstance(error, type) else type(error)), guard.safe_orchestrator_execution():
            raise error
        assert guard.get_health_status()["consecutive_failures"] == 0

    def test_an_invalid_result_is_a_failure(self, guard: RedoFallbackManager) -> None:
        """The caller says so where there is no exception."""
        for _ in range(3):
            with guard.safe_orchestrator_execution() as execution:
                execution.failed("the selection is empty")
        assert not guard.is_redo_active()
        errors = guard.get_health_status()["last_errors"]
        assert isinstance(errors, dict)
        assert errors["orchestrator"]["error"] == "the selection is empty"

    def test_the_probe_closes_the_breaker(
        self, guard: RedoFallbackManager, clock: ManualClock, store: FlakyStore
    ) -> None:
        """After the wait one block may run; while it does no other may; its success lets all in again."""
        guard.simulate_orchestrator_failure()
        clock.advance(60.0)
        with guard.safe_orchestrator_execution() as probe:
            assert probe.allowed
            assert breaker(store).status is Status.HALF_OPEN
            with guard.safe_orchestrator_execution() as second:
                assert (second.allowed, second.reason) == (False, Reason.BREAKER_OPEN)
        assert breaker(store).status is Status.CLOSED
        assert guard.is_redo_active()

    def test_goes_by_the_decision_that_it_is_given(self, guard: RedoFallbackManager) -> None:
        """A decision for legacy is not overruled, one for REDO is held against the breaker."""
        out = FallbackDecision(Decision.LEGACY, Reason.NOT_IN_ROLLOUT, 7)
        with guard.safe_orchestrator_execution(out) as execution:
            assert (execution.allowed, execution.reason) == (False, Reason.NOT_IN_ROLLOUT)
        shadow = FallbackDecision(Decision.LEGACY, Reason.SHADOW, 7, shadow=True)
        with guard.safe_orchestrator_execution(shadow) as execution:
            assert (execution.allowed, execution.reason) == (True, Reason.SHADOW)


class TestLedgerBlock:
    """`safe_ledger_execution`."""

    def test_off_unless_the_flag_is_on(self, guard: RedoFallbackManager) -> None:
        """By the flag in force, or by what the run was begun with."""
        with guard.safe_ledger_execution() as execution:
            assert (execution.allowed, execution.reason) == (False, Reason.FLAG_OFF)
        with guard.safe_ledger_execution(enabled=True) as execution:
            assert (execution.allowed, execution.reason) == (True, Reason.ENABLED)
        guard.flags.set({"ledger.enabled": True})
        with guard.safe_ledger_execution() as execution:
            assert execution.allowed
        with guard.safe_ledger_execution(enabled=False) as execution:
            assert (execution.allowed, execution.reason) == (False, Reason.FLAG_OFF)

    def test_kill_switch_is_stronger_than_the_run(self, guard: RedoFallbackManager) -> None:
        """Everything off is the ledger too."""
        guard.flags.kill()
        with guard.safe_ledger_execution(enabled=True) as execution:
            assert (execution.allowed, execution.reason) == (False, Reason.KILL_SWITCH)

    def test_failures_take_the_ledger_out_and_nothing_else(
        self, guard: RedoFallbackManager, clock: ManualClock
    ) -> None:
        """Three failures, and traces go to the spool for a minute; REDO goes on all the time."""
        for _ in range(3):
            with pytest.raises(OSError, match="full"), guard.safe_ledger_execution(enabled=True):
                raise OSError("disk full")
        with guard.safe_ledger_execution(enabled=True) as execution:
            assert (execution.allowed, execution.reason) == (False, Reason.BREAKER_OPEN)
        assert guard.decide(a_query()).reason is Reason.ENABLED
        status = guard.get_health_status()
        assert (status["ledger_healthy"], status["orchestrator_healthy"], status["redo_active"]) == (False, True, True)
        assert (status["consecutive_failures"], status["ledger_consecutive_failures"]) == (0, 3)
        clock.advance(60.0)
        with guard.safe_ledger_execution(enabled=True) as execution:
            assert execution.allowed
        assert guard.get_health_status()["ledger_healthy"] is True

    def test_a_store_that_takes_a_second_is_not_slow(
        self, guard: RedoFallbackManager, clock: ManualClock, store: FlakyStore
    ) -> None:
        """The budget of a query is not that of a ledger's store."""
        for _ in range(40):
            with guard.safe_ledger_execution(enabled=True):
                clock.advance(1.0)
        assert store.version(LEDGER_BREAKER) == 0

    def test_redo_failures_leave_the_ledger_alone(self, guard: RedoFallbackManager) -> None:
        """Legacy's traces are written too: it is the control group."""
        guard.simulate_orchestrator_failure()
        with guard.safe_ledger_execution(enabled=True) as execution:
            assert execution.allowed


class TestAdmittedQueries:
    """`admit` and `report`: chunks, whose results come all at once."""

    @staticmethod
    def result(
        *, reason: Reason = Reason.ENABLED, works: bool = True, latency_ms: float = 10.0, error: str | None = None
    ) -> QueryResult:
        """How REDO did on a query."""
        result = a_result()
        trace = replace(
            result.trace, redo=result.trace.redo if works else None, latency_ms=latency_ms, error=error, reason=reason
        )
        return replace(result, reason=reason, trace=trace)

    @pytest.mark.parametrize(
        ("result", "times", "stays"),
        [
            ({}, 40, True),
            ({"works": False, "reason": Reason.ORCHESTRATOR_ERROR, "error": "ValueError: bad"}, 3, False),
            ({"works": False, "reason": Reason.TIMEOUT, "error": "TIMEOUT"}, 3, False),
            ({"works": False, "reason": Reason.SHADOW, "error": "ValueError: bad"}, 3, False),
            ({"works": False, "reason": Reason.RETRIEVER_ERROR, "error": "RetrieverError: gone"}, 40, True),
            ({"works": False, "reason": Reason.BULKHEAD_FULL, "error": "BULKHEAD_FULL"}, 40, True),
            ({"works": False, "reason": Reason.DEADLINE_EXCEEDED, "error": "DEADLINE_EXCEEDED"}, 19, True),
            ({"works": False, "reason": Reason.DEADLINE_EXCEEDED, "error": "DEADLINE_EXCEEDED"}, 20, False),
            ({"latency_ms": 400.5}, 20, False),
            ({"latency_ms": 400.0}, 20, True),
        ],
    )
    def test_what_a_result_counts_as(
        self, guard: RedoFallbackManager, result: dict[str, object], times: int, *, stays: bool
    ) -> None:
        """Failures open the breaker after three, late ones after twenty; what says nothing about REDO never does."""
        for _ in range(times):
            guard.admit(a_query()).report(self.result(**result))  # type: ignore[arg-type]  # as the cases above have it
        assert guard.is_redo_active() is stays

    def test_time_of_the_chunk_does_not_count(self, guard: RedoFallbackManager, clock: ManualClock) -> None:
        """A hundred quick queries of one chunk are quick, however long the chunk took."""
        admitted = [guard.admit(a_query()) for _ in range(100)]
        clock.advance(30.0)
        for one in admitted:
            one.report(self.result())
        assert guard.is_redo_active()

    def test_results_of_before_do_not_count_after_a_change(self, guard: RedoFallbackManager) -> None:
        """Three failures of a chunk open the breaker; its other results change nothing any more."""
        admitted = [guard.admit(a_query()) for _ in range(5)]
        bad = self.result(works=False, reason=Reason.ORCHESTRATOR_ERROR, error="ValueError: bad")
        for one in admitted[:3]:
            one.report(bad)
        for one in admitted[3:]:
            one.report(self.result())
        assert guard.decide(a_query()).reason is Reason.BREAKER_OPEN

    def test_what_is_reported_twice_counts_once(self, guard: RedoFallbackManager) -> None:
        """A chunk that is reported again changes nothing."""
        one = guard.admit(a_query())
        for _ in range(3):
            one.report(self.result(works=False, reason=Reason.ORCHESTRATOR_ERROR, error="ValueError: bad"))
        assert guard.get_health_status()["consecutive_failures"] == 1

    def test_one_query_of_a_chunk_probes(
        self, guard: RedoFallbackManager, clock: ManualClock, store: FlakyStore
    ) -> None:
        """When the wait is over the first query is the probe; the others get legacy, and it decides for all."""
        guard.simulate_orchestrator_failure()
        clock.advance(60.0)
        admitted = [guard.admit(a_query()) for _ in range(10)]
        decisions = [(one.decision.decision, one.decision.reason) for one in admitted]
        assert decisions == [(Decision.REDO, Reason.ENABLED)] + [(Decision.FALLBACK, Reason.BREAKER_OPEN)] * 9
        for one in admitted:
            one.report(self.result())
        assert breaker(store).status is Status.CLOSED

    def test_a_probe_that_was_not_used_goes_back(self, guard: RedoFallbackManager, clock: ManualClock) -> None:
        """A query that was not worked on leaves the next one free to probe."""
        guard.simulate_orchestrator_failure()
        clock.advance(60.0)
        guard.admit(a_query()).ignore()
        assert guard.admit(a_query()).decision.reason is Reason.ENABLED

    def test_nobody_probes_while_the_store_is_down(
        self, guard: RedoFallbackManager, clock: ManualClock, store: FlakyStore
    ) -> None:
        """Nobody could tell whether another process is probing: the query gets legacy."""
        guard.simulate_orchestrator_failure()
        clock.advance(60.0)
        store.is_down = True
        one = guard.admit(a_query())
        assert (one.decision.decision, one.decision.reason) == (Decision.FALLBACK, Reason.BREAKER_OPEN)

    def test_legacy_queries_take_no_permit(self, guard: RedoFallbackManager) -> None:
        """What is reported for them counts nothing."""
        guard.flags.set({"rollout_percentage": 0})
        one = guard.admit(a_query())
        assert one.decision.reason is Reason.NOT_IN_ROLLOUT
        one.report(self.result(works=False, reason=Reason.ORCHESTRATOR_ERROR, error="ValueError: bad"))
        one.ignore()
        assert guard.get_health_status()["consecutive_failures"] == 0

    def test_shadow_queries_count(self, guard: RedoFallbackManager) -> None:
        """REDO that fails in shadow is taken out before it ever answers."""
        guard.flags.set({"orchestrator.redo_enabled": False})
        for _ in range(3):
            one = guard.admit(a_query(), shadow=True)
            assert one.decision.reason is Reason.SHADOW
            one.report(self.result(works=False, reason=Reason.SHADOW, error="ValueError: bad"))
        last = guard.admit(a_query(), shadow=True)
        assert (last.decision.decision, last.decision.reason) == (Decision.LEGACY, Reason.BREAKER_OPEN)

    def test_breaker_that_only_measures(self, guard: RedoFallbackManager) -> None:
        """In `metrics_only` REDO stays in, and the report says what the breaker would have done."""
        guard.set_breaker_mode(Mode.METRICS_ONLY)
        for _ in range(5):
            guard.execute(broken, legacy)
        status = guard.get_health_status()
        assert guard.is_redo_active()
        assert status["orchestrator_healthy"] is True
        breaker_ = status["circuit_breaker"]
        assert isinstance(breaker_, dict)
        assert (breaker_["state"], breaker_["mode"]) == ("open", "metrics_only")
