"""The health report: what `get_health_status` returns, as plain values that JSON can hold."""

from __future__ import annotations

from datetime import UTC, datetime

from core.breaker import BreakerState, Status
from core.fallbacks.flag_reader import FlagView
from core.fallbacks.guarded_component import GuardedComponent
from core.fallbacks.health import DATABASE, Component, HealthState, is_simulated
from core.model import FallbackDecision


def health_report(  # noqa: PLR0913 - each argument is a part of the report
    *,
    decision: FallbackDecision,
    view: FlagView,
    health: HealthState,
    failing: tuple[Component, ...],
    orchestrator: GuardedComponent,
    ledger: GuardedComponent,
    stale_because: str | None,
    abandoned_calls: int,
    now: datetime,
) -> dict[str, object]:
    """Put the report together.

    The orchestrator is healthy where its self-test passes and its breaker is closed. The database is where index and
    state are. The ledger is where its store answers and its breaker is closed; it takes nobody else out.

    Args:
        decision: what the guard says to a query that is in the rollout.
        view: the flags in force.
        health: what is known of the components.
        failing: those that do not work, by findings that count.
        orchestrator: with its breaker, and the last error that this process has seen.
        ledger: the same.
        stale_because: why what is known of the shared state may be old; `None` where it is not.
        abandoned_calls: calls that were given up and are still running.
        now: the date and time.
    """
    notes = dict(health.last_errors)
    for guarded in (orchestrator, ledger):
        known, note = notes.get(guarded.component), guarded.last_error
        if note is not None and (known is None or known.time <= note.time):
            notes[guarded.component] = note
    simulated = is_simulated(health, now)
    breaker, ledger_breaker = orchestrator.breaker.state, ledger.breaker.state
    return {
        "redo_active": decision.runs_redo,
        "reason": decision.reason.value,
        "orchestrator_healthy": Component.ORCHESTRATOR not in failing and orchestrator.is_let_through,
        "ledger_healthy": Component.LEDGER not in failing and ledger.is_let_through,
        "database_healthy": not (simulated or view.is_unknown or any(part in DATABASE for part in failing)),
        "consecutive_failures": breaker.failures,
        "ledger_consecutive_failures": ledger_breaker.failures,
        "circuit_breaker": _breaker(breaker, now),
        "ledger_circuit_breaker": _breaker(ledger_breaker, now),
        "components": {
            component.value: {
                "healthy": finding.error is None,
                "error": finding.error,
                "since": finding.since.isoformat(),
                "checked_at": finding.checked_at.isoformat(),
                "counts": finding.error is None or component in failing,
            }
            for component, finding in health.findings.items()
        },
        "simulated_database_failure_until": health.simulated_until.isoformat()
        if simulated and health.simulated_until is not None
        else None,
        "last_errors": {
            component.value: {"error": note.error, "time": note.time.isoformat()} for component, note in notes.items()
        },
        "last_check": None if health.last_check is None else health.last_check.isoformat(),
        "flags": view.flags.as_dict(),
        "flag_sources": {flag.name: flag.source.value for flag in view.resolved},
        "kill_switches": list(view.killed),
        "stale": stale_because is not None,
        "stale_because": stale_because,
        "abandoned_calls": abandoned_calls,
    }


def _breaker(state: BreakerState, now: datetime) -> dict[str, object]:
    until = state.lease.until if state.lease is not None else state.open_until
    is_waiting = state.status is not Status.CLOSED
    return {
        "state": state.status.value,
        "mode": state.mode.value,
        "mode_actor": state.mode_actor or None,
        "mode_reason": state.mode_reason or None,
        "cause": None if state.cause is None else state.cause.value,
        "trips": state.trips,
        "opened_at": _moment(state.opened_at),
        "open_until": _moment(state.open_until),
        "probed_by": None if state.lease is None else state.lease.holder,
        "retry_after_s": round(max(0.0, until - now.timestamp()), 3) if is_waiting else 0.0,
    }


def _moment(seconds: float) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds else None
    except (OverflowError, ValueError, OSError):  # edited by hand to a year that no calendar has
        return None
