"""Tell Prefect what became of a run's traces, where they are not in the ledger: one event for each kind and run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tasks.events import EventName, emit
from tasks.summary import Summary

_KINDS = (
    (EventName.LEDGER_FAILED, "pending"),
    (EventName.LEDGER_REFUSED, "refused"),
    (EventName.LEDGER_QUARANTINED, "quarantined"),
)
"""The events, and what of the summary each one is about."""


def tell_ledger(
    summary: Summary, *, send: Callable[[EventName, str, Mapping[str, Any]], object] = emit
) -> tuple[EventName, ...]:
    """Send the events that a finished run gives cause for; returns which.

    Args:
        summary: of the run.
        send: sends an event.
    """
    ledger = summary.ledger
    if ledger is None:
        return ()
    told = tuple(name for name, count in _KINDS if ledger[count])
    for name in told:
        send(name, "ledger", {**ledger, "batch_id": summary.batch_id})
    return told
