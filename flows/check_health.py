"""Check the components that REDO needs, and share what is found with every process."""

from __future__ import annotations

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.logging import get_run_logger

from core.fallbacks import get_fallback_manager
from tasks.breaker_events import tell_breaker_changes


@flow(name="check-health", persist_result=False)
def check_health() -> dict[str, str | None]:
    """Probe orchestrator, ledger and shared state. A failure takes REDO out; a recovery lets it back in.

    A breaker that has opened or closed since the last look is told as an event.

    Returns:
        For each component its error, or nothing where it is well.
    """
    manager = get_fallback_manager()
    findings = {component.value: error for component, error in manager.run_health_checks().items()}
    for component, error in findings.items():
        if error is not None:
            get_run_logger().warning("%s: %s", component, error)
    tell_breaker_changes()
    table = [{"component": component, "state": error or "healthy"} for component, error in findings.items()]
    create_table_artifact(key="redo-health", table=table, description="What the last health check found.")
    return findings
