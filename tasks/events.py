"""The events that REDO sends to Prefect: their names, and the one function that sends them.

A person sees them in the Prefect UI's event feed, each with the resource that it is about. Automations react to them;
`tasks.automations` has those that REDO brings along. An event is a notice, never a part of the work: where it cannot be
sent, the work goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from tasks.settings import prefect_api_url

_PREFIX: Final = "redo"
_LOGGER: Final = logging.getLogger(__name__)


class EventName(StrEnum):
    """What can be told. The names are what automations match, so none is ever renamed."""

    BREAKER_OPENED = "redo.breaker.opened"
    BREAKER_CLOSED = "redo.breaker.closed"
    FLAGS_CHANGED = "redo.flags.changed"
    DRILL_ENDED = "redo.drill.ended"
    LEDGER_FAILED = "redo.ledger.failed"
    LEDGER_REFUSED = "redo.ledger.refused"
    LEDGER_QUARANTINED = "redo.ledger.quarantined"
    GATE_PASSED = "redo.gate.passed"
    GATE_FAILED = "redo.gate.failed"
    ROLLOUT_STARTED = "redo.rollout.started"
    ROLLOUT_PROMOTED = "redo.rollout.promoted"
    ROLLOUT_HELD = "redo.rollout.held"
    ROLLOUT_APPROVAL_WANTED = "redo.rollout.approval-wanted"
    ROLLOUT_APPROVED = "redo.rollout.approved"
    ROLLOUT_PAUSED = "redo.rollout.paused"
    ROLLOUT_RESUMED = "redo.rollout.resumed"
    ROLLOUT_ROLLED_BACK = "redo.rollout.rolled-back"
    ROLLOUT_COMPLETED = "redo.rollout.completed"


def resource_id(resource: str) -> str:
    """How Prefect names a resource of REDO: `breaker/orchestrator` is `redo.breaker.orchestrator`."""
    return ".".join((_PREFIX, *resource.split("/")))


def emit(name: EventName, resource: str, payload: Mapping[str, Any] | None = None) -> bool:
    """Send an event. Never raises.

    A flow's event names the flow run, its deployment and its tags as related resources: Prefect adds them.

    Args:
        name: what happened.
        resource: what it happened to, as a path: `breaker/orchestrator`, `flags`, `rollout`, `gate/error-rate`.
        payload: what else is worth knowing, as JSON values.

    Returns:
        Whether Prefect took it. False where no Prefect API is configured and no flow is running: there is nobody to
        tell, and Prefect would start a server for it.
    """
    try:
        from prefect.context import FlowRunContext  # noqa: PLC0415 - Prefect takes seconds to import
        from prefect.events import emit_event  # noqa: PLC0415

        if prefect_api_url() is None and FlowRunContext.get() is None:
            return False
        about = {"prefect.resource.id": resource_id(resource), "prefect.resource.name": resource}
        return emit_event(event=name.value, resource=about, payload=dict(payload or {})) is not None
    except Exception as error:  # noqa: BLE001 - a notice costs no work, whatever became of it
        _LOGGER.warning("event %s was not sent: %s: %s", name.value, type(error).__name__, error)
        return False
