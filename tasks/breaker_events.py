"""Tell Prefect that a breaker has opened or closed: once for each outage, whoever notices it.

A breaker opens in the middle of a query, where no event is sent. A flow that looks afterwards notices the change. What
has been told is kept in the shared state, so that of all flows that notice it one tells it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from prefect.logging import get_run_logger

from core.errors import StoreError
from core.fallbacks import get_fallback_manager
from core.ports import StateStore
from core.state import update
from tasks.events import EventName, emit
from tasks.wiring import surroundings

NOTICES: Final = "notices"
"""Name of the stored value: the breakers that were told to be open, `open` or `forced`."""

_BREAKERS: Final = (("breaker/orchestrator", "circuit_breaker"), ("breaker/ledger", "ledger_circuit_breaker"))
"""The resource of each breaker, and its place in the health report."""


class BreakerChange(NamedTuple):
    """One thing to tell: the event, the breaker's resource, and the breaker as the health report has it."""

    name: EventName
    resource: str
    breaker: Mapping[str, Any]


def breaker_changes(report: Mapping[str, Any], told: Mapping[str, object]) -> tuple[BreakerChange, ...]:
    """What a health report says that has not been told yet.

    Args:
        report: what `RedoFallbackManager.get_health_status` returns.
        told: the breakers that were told to be open.
    """
    changes = []
    for resource, field in _BREAKERS:
        is_now = _as_told(report[field])
        if is_now == told.get(resource):
            continue
        name = EventName.BREAKER_CLOSED if is_now is None else EventName.BREAKER_OPENED
        changes.append(BreakerChange(name, resource, report[field]))
    return tuple(changes)


def tell_breakers(
    report: Mapping[str, Any],
    store: StateStore,
    *,
    actor: str,
    send: Callable[[EventName, str, Mapping[str, Any]], object] = emit,
) -> tuple[BreakerChange, ...]:
    """Send an event for each breaker that has opened or closed since it was last told.

    A process that dies between the note and the event loses the event; none is sent twice.

    Args:
        report: what `RedoFallbackManager.get_health_status` returns.
        store: the shared state.
        actor: who notices, for the history.
        send: sends an event.

    Returns:
        What was told now, by this process.

    Raises:
        StoreError: the shared state does not answer. Nothing was told.
    """
    known = store.load(NOTICES)
    if not breaker_changes(report, {} if known is None else known.value):
        return ()
    ours: tuple[BreakerChange, ...] = ()

    def noted(told: Mapping[str, object] | None) -> dict[str, object]:
        nonlocal ours
        ours = breaker_changes(report, told or {})
        return {resource: is_now for resource, field in _BREAKERS if (is_now := _as_told(report[field])) is not None}

    update(store, NOTICES, noted, actor=actor, reason="a breaker has changed")
    for change in ours:
        send(change.name, change.resource, change.breaker)
    return ours


def tell_breaker_changes() -> None:
    """Tell, from inside a flow, what the breakers did since anybody last looked. A store that fails costs nothing."""
    around, log = surroundings(), get_run_logger()
    try:
        changes = tell_breakers(get_fallback_manager().get_health_status(), around.store, actor=around.owner)
    except StoreError as error:  # it is the component `state`, and the health check says so
        log.info("no breaker was looked at: %s", error)
        return
    for change in changes:
        log.warning("%s: %s", change.name.value, change.resource)


def _as_told(breaker: Mapping[str, Any]) -> str | None:
    """What is kept of a breaker: `forced` or `open`; `None` where it is closed. A probe under way changes nothing."""
    if breaker["mode"] == "forced_open":
        return "forced"
    return None if breaker["state"] == "closed" else "open"
