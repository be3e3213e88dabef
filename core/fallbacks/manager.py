"""The guard itself: decides who answers, counts how it went, and takes REDO out of the way when it fails."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Final, TypeVar

from core.breaker import CircuitBreaker, Mode, Outcome, Permit, Status
from core.breaker.circuit import CALLER_ERRORS
from core.bulkhead import Bulkhead, BulkheadFullError
from core.errors import TransientStoreError
from core.fallbacks.calls import GuardedCalls
from core.fallbacks.config import FallbackConfig
from core.fallbacks.decision import decide, decide_for_all, stopped
from core.fallbacks.execution import Executed, GuardedQuery, SafeExecution
from core.fallbacks.flag_orders import FlagOrders
from core.fallbacks.flag_reader import FlagView
from core.fallbacks.guarded_component import GuardedComponent
from core.fallbacks.health import Component, HealthState, Probe, described, with_simulation
from core.fallbacks.report import health_report
from core.fallbacks.snapshot import SnapshotKeeper
from core.fallbacks.surroundings import Surroundings, configured
from core.flags import bucket_key
from core.model import FallbackDecision, Query, Reason

_Result = TypeVar("_Result")

ORCHESTRATOR_BREAKER: Final = "breaker-orchestrator"
LEDGER_BREAKER: Final = "breaker-ledger"
"""Names of the stored values."""


class RedoFallbackManager:
    """Decides whether REDO may answer, and counts how it does. Threads share one; processes share its state.

    Decisions are made from a snapshot of the shared state, at most `refresh_s` old; a process that calls `refresh` more
    often, in the background or between two chunks, keeps that off its queries' way. A store that does not answer costs
    no decision: the last good snapshot goes on to count, and the report says that it is stale. Before there is one,
    everything is off.

    Args:
        config: the settings; those of the environment by default.
        surroundings: where state, time and names come from; as the process is configured by default.
        bulkhead: runs the calls that have a time limit.
        probe_bulkhead: runs the health checks, so that neither kind that hangs is in the other's way.

    Attributes:
        config: the settings.
        flags: changes the flags for everybody.

    Raises:
        ConfigError, FlagError: the environment has a setting or a flag that cannot be used.
    """

    def __init__(
        self,
        config: FallbackConfig | None = None,
        *,
        surroundings: Surroundings | None = None,
        bulkhead: Bulkhead | None = None,
        probe_bulkhead: Bulkhead | None = None,
    ) -> None:
        around = surroundings or configured()
        self.config: Final = config or around.config
        self._around = around
        self._clock = around.clock
        self._keeper = SnapshotKeeper(around, self.config, refresh_more=self._refresh_breakers)
        self._orchestrator = self._guarded(Component.ORCHESTRATOR, ORCHESTRATOR_BREAKER, around.slow_call_s)
        self._ledger = self._guarded(Component.LEDGER, LEDGER_BREAKER, self.config.fallback_timeout_seconds)
        self._bulkhead = bulkhead or Bulkhead()
        self._calls = GuardedCalls(self._orchestrator, bulkhead=self._bulkhead, decide=self.decide_for_all)
        self._probes = probe_bulkhead or Bulkhead(name="redo-probe")
        self.flags: Final = FlagOrders(
            around.store, clock=around.clock, actor=around.actor, changed=self._keeper.refresh
        )

    def _guarded(self, component: Component, name: str, slow_call_s: float) -> GuardedComponent:
        around = self._around
        breaker = CircuitBreaker(
            name,
            store=around.store,
            clock=around.clock,
            random=around.random,
            owner=around.owner,
            config=self.config.breaker(slow_call_s=slow_call_s),
            refresh_s=math.inf,  # refreshed with the rest
            exclude=(*CALLER_ERRORS, BulkheadFullError),
        )
        return GuardedComponent(
            component,
            breaker,
            obeyed=self.config.enable_circuit_breaker,
            clock=around.clock,
            freshen=self._keeper.refresh_if_due,
            share=self._keeper.note_error,
        )

    def refresh(self) -> None:
        """Read the shared state now: flags, kill switches, health, breakers. Never raises for a store that fails."""
        self._keeper.refresh()

    def _refresh_breakers(self) -> None:
        self._orchestrator.breaker.refresh()
        self._ledger.breaker.refresh()

    def flag_view(self, run: Mapping[str, object] | None = None) -> FlagView:
        """The flags in force, with some set for one run, to be kept for the length of that run.

        Raises:
            FlagError: a flag of the run does not exist or cannot take its value.
        """
        self._keeper.refresh_if_due()
        return self._keeper.view_for(run) if run else self._keeper.snapshot.view

    # --- decisions

    def decide(self, query: Query, *, shadow: bool = False, view: FlagView | None = None) -> FallbackDecision:
        """Decide who answers a query.

        The first that applies decides: kill switch, flag, rollout, database, health, breaker.

        Args:
            query: the question.
            shadow: compute both selections and serve legacy, whatever the flags say. Kill switch, health and breaker
                keep REDO out all the same.
            view: the flags that a run has begun with, `FlagView(flags)` at its simplest; those in force by default.
                A kill switch counts at once in any case.
        """
        self._keeper.refresh_if_due()
        snapshot = self._keeper.snapshot
        stop = snapshot.halt
        if view is None:
            view = snapshot.view
        elif stop is None:
            stop = view.halt
        decision = decide(query, view.of(bucket_key(query)) if view.by_key else view.flags, shadow=shadow)
        if stop is None and decision.runs_redo:
            stop = snapshot.stop or (Reason.BREAKER_OPEN if self._orchestrator.rejects() else None)
        return decision if stop is None else stopped(stop, decision.bucket, shadow=shadow)

    def decide_for_all(self, feature_flags: Mapping[str, object] | None = None) -> FallbackDecision:
        """Decide as for a query that is in the rollout.

        Args:
            feature_flags: flags by name that hold for this question; those in force where it does not name them.

        Raises:
            FlagError: `feature_flags` names a flag that does not exist, or a value that it cannot take.
        """
        view = self.flag_view(feature_flags)
        snapshot = self._keeper.snapshot
        decision = decide_for_all(view.flags)
        stop = snapshot.halt or view.halt
        if stop is None and decision.runs_redo:
            stop = snapshot.stop or (Reason.BREAKER_OPEN if self._orchestrator.rejects() else None)
        return decision if stop is None else stopped(stop, None)

    def is_redo_active(self, feature_flags: Mapping[str, object] | None = None) -> bool:
        """Whether REDO answers the queries that are in the rollout; see `decide_for_all`."""
        return self.decide_for_all(feature_flags).runs_redo

    def admit(self, query: Query, *, shadow: bool = False, view: FlagView | None = None) -> GuardedQuery:
        """Decide who answers a query as `decide` does, and take the breaker's permit where REDO is to work.

        While the breaker is half-open one query alone gets it, the probe. Report its result, or ignore it.
        """
        decision = self.decide(query, shadow=shadow, view=view)
        permit = None
        if decision.runs_redo:
            allowed, permit = self._orchestrator.enter()
            if not allowed:
                decision = stopped(Reason.BREAKER_OPEN, decision.bucket, shadow=shadow)
        return GuardedQuery(decision, permit, slow_call_s=self._around.slow_call_s, leave=self._orchestrator.settle)

    # --- calls

    def safe_orchestrator_execution(self, decision: FallbackDecision | None = None) -> SafeExecution:
        """Guard a block in which REDO works: `with manager.safe_orchestrator_execution() as execution:`.

        Args:
            decision: what was decided for the query; by default `decide_for_all` is asked when the block begins.
        """
        return self._calls.block(decision)

    def safe_ledger_execution(self, *, enabled: bool | None = None) -> SafeExecution:
        """Guard a block that writes to the ledger. Where it may not, the trace belongs in the spool.

        Args:
            enabled: whether the run has the ledger on; by default the flag in force when the block begins.
        """

        def enter() -> tuple[bool, Reason, Permit | None]:
            view = self.flag_view()
            if view.killed:
                return False, Reason.KILL_SWITCH, None
            if not (view.flags.ledger_enabled if enabled is None else enabled):
                return False, Reason.FLAG_OFF, None
            allowed, permit = self._ledger.enter()
            return allowed, Reason.ENABLED if allowed else Reason.BREAKER_OPEN, permit

        return SafeExecution(enter, self._ledger.leave)

    def execute(
        self,
        primary: Callable[[], _Result],
        fallback: Callable[[], _Result],
        *,
        timeout_s: float | None = None,
        decision: FallbackDecision | None = None,
    ) -> Executed[_Result]:
        """Call REDO, and legacy where REDO may not be called, raises, or hangs; say who answered, and why.

        Args:
            primary: REDO. It runs in a thread of its own, which is abandoned when the time is up: the fallback answers
                then, and what it returns later is dropped.
            fallback: legacy. What it raises passes through.
            timeout_s: seconds that the primary may take; `fallback_timeout_seconds` by default, `math.inf` for no limit
                and no thread.
            decision: what was decided for the query; by default `decide_for_all` is asked.

        Raises:
            BaseException: what the primary raises that is no Exception; it counts neither way.
        """
        return self._calls.call(primary, fallback, timeout_s=self._limit(timeout_s), decision=decision)

    async def aexecute(
        self,
        primary: Callable[[], Awaitable[_Result]],
        fallback: Callable[[], _Result | Awaitable[_Result]],
        *,
        timeout_s: float | None = None,
        decision: FallbackDecision | None = None,
    ) -> Executed[_Result]:
        """As `execute`, for a coroutine function, which is cancelled if it hangs; the fallback may be either kind."""
        return await self._calls.acall(primary, fallback, timeout_s=self._limit(timeout_s), decision=decision)

    def execute_with_fallback(
        self,
        primary: Callable[[], _Result],
        fallback: Callable[[], _Result],
        *,
        timeout_s: float | None = None,
        decision: FallbackDecision | None = None,
    ) -> _Result:
        """As `execute`, for callers who want the result alone."""
        return self.execute(primary, fallback, timeout_s=timeout_s, decision=decision).result

    async def aexecute_with_fallback(
        self,
        primary: Callable[[], Awaitable[_Result]],
        fallback: Callable[[], _Result | Awaitable[_Result]],
        *,
        timeout_s: float | None = None,
        decision: FallbackDecision | None = None,
    ) -> _Result:
        """As `aexecute`, for callers who want the result alone."""
        return (await self.aexecute(primary, fallback, timeout_s=timeout_s, decision=decision)).result

    def _limit(self, timeout_s: float | None) -> float:
        return self.config.fallback_timeout_seconds if timeout_s is None else timeout_s

    # --- health

    def run_health_checks(self, probes: Mapping[Component, Probe] | None = None) -> dict[Component, str | None]:
        """Check the components, share what is found, and go by it at once.

        A probe that raises, returns False, or takes longer than `fallback_timeout_seconds` has failed. A check takes
        REDO out, or lets it back in where a check took it out; it closes no breaker.

        Args:
            probes: the checks to make; all that this process can make by default.

        Returns:
            For each component its error, or `None`; nothing where health checks are off.
        """
        if not self.config.enable_health_checks:
            return {}
        chosen = self._around.probes() if probes is None else probes
        errors = {Component(component): self._checked(probe) for component, probe in chosen.items()}
        self._keeper.note_findings(errors)
        return errors

    def _checked(self, probe: Probe) -> str | None:
        try:
            answer = self._probes.call(probe, timeout_s=self.config.fallback_timeout_seconds)
        except Exception as error:  # noqa: BLE001 - a probe that raises, whatever it is, has failed
            return described(error)
        return "the probe said no" if answer is False else None

    def get_health_status(self) -> dict[str, object]:
        """The state of everything, read now, as plain values that JSON can hold; see `core.fallbacks.report`."""
        self.refresh()
        keeper = self._keeper
        return health_report(
            decision=self.decide_for_all(),
            view=keeper.snapshot.view,
            health=keeper.health,
            failing=keeper.failing,
            orchestrator=self._orchestrator,
            ledger=self._ledger,
            stale_because=keeper.error or self._stale_breaker(),
            abandoned_calls=self._bulkhead.abandoned,
            now=self._clock.utc_now(),
        )

    def _stale_breaker(self) -> str | None:
        stale = [part.breaker.name for part in (self._orchestrator, self._ledger) if part.breaker.is_stale]
        return f"{', '.join(stale)}: the shared state did not answer" if stale else None

    @property
    def orchestrator_status(self) -> Status:
        """The state of the orchestrator's breaker as this process knows it, without asking the store."""
        return self._orchestrator.breaker.state.status

    # --- orders

    def close_ledger_breaker(self, *, actor: str | None = None, reason: str | None = None) -> None:
        """Close the ledger's breaker for all processes: somebody has tried the ledger, and it works.

        Raises:
            StoreError: the shared state does not answer.
        """
        who, why = actor or self._around.actor, reason or "the ledger has taken traces"
        self._ledger.breaker.reset(actor=who, reason=why)
        self._ledger.last_error = None

    def set_breaker_mode(self, mode: Mode, *, actor: str | None = None, reason: str | None = None) -> None:
        """Set the mode of the orchestrator's breaker for all processes. Raises StoreError where that fails."""
        self._orchestrator.breaker.set_mode(
            mode, actor=actor or self._around.actor, reason=reason or f"mode {mode.value}"
        )

    def reset(self, *, actor: str | None = None, reason: str | None = None) -> None:
        """Close the breakers, forget failures, findings and simulations, for all processes.

        Flags, kill switches and the breakers' modes stay as they are: an emergency is not over because of this.

        Raises:
            StoreError: the shared state does not answer.
        """
        who, why = actor or self._around.actor, reason or "fallback state reset"
        for guarded in (self._orchestrator, self._ledger):
            guarded.breaker.reset(actor=who, reason=why)
            guarded.last_error = None
        self._keeper.order(lambda _: HealthState(), actor=who, reason=why)

    def simulate_db_failure(self, *, actor: str | None = None) -> None:
        """Behave in all processes as if the database were gone, until `reset` or `circuit_breaker_reset_seconds`.

        Raises:
            StoreError: the shared state does not answer.
        """
        until = self._clock.utc_now() + timedelta(seconds=self.config.circuit_breaker_reset_seconds)
        self._keeper.order(
            lambda state: with_simulation(state, until),
            actor=actor or self._around.actor,
            reason="a failure of the database is simulated",
        )

    def simulate_orchestrator_failure(self, *, actor: str | None = None) -> None:
        """Count as many failures as open the orchestrator's breaker, as if calls had failed.

        Raises:
            StoreError: the shared state does not answer; the breaker is open in this process only.
        """
        breaker = self._orchestrator.breaker
        breaker.refresh()
        for _ in range(self.config.max_consecutive_failures):
            permit = breaker.acquire()
            if isinstance(permit, Permit):
                why = f"a failure, simulated by {actor or self._around.actor}"
                self._orchestrator.settle(permit, Outcome.FAILURE, why)
        if breaker.is_stale:
            raise TransientStoreError(f"{breaker.name}: the shared state did not answer; other processes do not know")
