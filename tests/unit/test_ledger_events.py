"""What a run tells Prefect of traces that are not in the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tasks.events import EventName
from tasks.ledger_events import tell_ledger
from tasks.summary import Summary

SUMMARY = Summary(
    batch_id="batch-1",
    queries=10,
    answered=10,
    without_evidence=0,
    quarantined={},
    decisions={},
    reasons={},
    latency_ms={},
    budget_ms=400.0,
    deadline_hits=0,
    contradictions={},
    ambiguities=0,
    disputed=(),
    errors={},
    output="/out",
    ledger=None,
    quality=None,
    resumed=0,
    chunks=1,
    run_folder="/run",
)
DELIVERED = {"uri": "/l", "rows": 10, "pending": 0, "refused": 0, "quarantined": 0, "error": None}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ()),
        ({"pending": 3}, (EventName.LEDGER_FAILED,)),
        ({"refused": 3, "quarantined": 2}, (EventName.LEDGER_REFUSED, EventName.LEDGER_QUARANTINED)),
    ],
)
def test_each_kind_is_told_once(change: dict[str, object], expected: tuple[EventName, ...]) -> None:
    """With the numbers and the batch; a ledger that has all of it, or is off, is no news."""
    sent: list[tuple[EventName, str, Mapping[str, Any]]] = []
    summary = replace(SUMMARY, ledger=DELIVERED | change)
    assert tell_ledger(summary, send=lambda *event: sent.append(event)) == expected
    assert [name for name, _, _ in sent] == list(expected)
    assert all(payload == {**DELIVERED, **change, "batch_id": "batch-1"} for _, _, payload in sent)
    assert tell_ledger(SUMMARY, send=lambda *event: sent.append(event)) == ()
