"""Traces of answers: queued at once, written in groups, and never in the way."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.adapters.manual_clock import ManualClock
from core.fallbacks.flag_reader import FlagView
from core.flags import Flags
from core.metrics import Metrics, merge
from deployments.service.traces import _QUEUE_MAX, Sender, ServiceIdentity, ServiceTraces
from ledger.delivery import Delivered, Round
from ledger.policy import TracePolicy
from ledger.spool import Kind, Spool
from tests.ledger_samples import STARTED_AT, a_result
from tests.spool_samples import LEDGER, PLENTY

VERSIONS = {"retriever": "bm25s 0.3"}
ON = Flags(redo_enabled=True, ledger_enabled=True)


class Stand:
    """The traces of one service, and what surrounds them."""

    def __init__(self, folder: Path, *, max_bytes: int = PLENTY) -> None:
        self.clock = ManualClock(datetime(2026, 3, 1, 12, tzinfo=UTC))
        self.view = FlagView(ON)
        self.breaker = "closed"
        self.lost = Metrics()
        self.spool = Spool(folder / "spool", max_bytes=max_bytes, clock=self.clock)
        self.traces = ServiceTraces(
            self.spool,
            ledger=LEDGER,
            policy=TracePolicy(),
            identity=ServiceIdentity(
                writer="0123456789abcdef", started_at=STARTED_AT, config={"top_k": 20}, code_version="1", hash_key=b"k"
            ),
            flags=lambda: self.view,
            breaker=lambda: self.breaker,
            count=self.count,
            clock=self.clock,
        )

    def count(self, delta: Metrics) -> None:
        """Add to what was lost."""
        self.lost = merge(self.lost, delta)

    def entries(self) -> list[tuple[str, int]]:
        """Key and rows of what waits."""
        found = (self.spool.read(waiting) for waiting in self.spool.waiting())
        return [(entry.object.key, entry.object.rows) for entry in found if entry is not None]


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """A service whose ledger is on."""
    return Stand(tmp_path)


def test_what_is_queued_becomes_one_entry(stand: Stand) -> None:
    """It may be merged with others, and has the batch of the day and a number of its own."""
    for number in range(3):
        stand.traces.note(a_result(number), VERSIONS)
    assert stand.entries() == []
    assert stand.traces.commit() == 3
    assert stand.traces.commit() == 0
    stand.traces.note(a_result(3), VERSIONS)
    stand.traces.commit()
    entries = stand.entries()
    assert sorted(rows for _, rows in entries) == [1, 3]
    names = sorted(key.rpartition("-")[0] for key, _ in entries)
    assert names == [f"traces/dt=2026-03-01/service-01234567-20260301-{43_200_000 + number}" for number in range(2)]
    assert {waiting.kind for waiting in stand.spool.waiting()} == {Kind.PART}


def test_a_day_begins_its_own_batch(stand: Stand) -> None:
    """At midnight in UTC, with the numbers from the beginning."""
    stand.clock.set_utc(datetime(2026, 3, 2, 0, 0, 0, 5_000, tzinfo=UTC))
    stand.traces.note(a_result(0), VERSIONS)
    stand.traces.commit()
    ((key, _),) = stand.entries()
    assert key.startswith("traces/dt=2026-03-02/service-01234567-20260302-00005-")


def test_the_flag_decides_for_each_key(stand: Stand) -> None:
    """Where the ledger is off there is no trace, but for a key that an override turns it on for."""
    stand.view = FlagView(Flags(), by_key={"session-7": ON})
    stand.traces.note(a_result(0), VERSIONS)
    assert stand.traces.commit() == 1
    stand.view = FlagView(ON, by_key={"session-7": Flags()})
    stand.traces.note(a_result(1), VERSIONS)
    assert stand.traces.commit() == 0


def test_what_differs_is_written_apart(stand: Stand) -> None:
    """A file has one configuration: flags, versions and breaker that changed in between make another."""
    stand.traces.note(a_result(0), VERSIONS)
    stand.breaker = "open"
    stand.traces.note(a_result(1), VERSIONS)
    stand.traces.note(a_result(2), {"retriever": "bm25s 0.4"})
    assert stand.traces.commit() == 3
    assert [rows for _, rows in stand.entries()] == [1, 1, 1]


def test_a_full_spool_loses_traces_and_counts_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once, until it works again; no answer notices."""
    stand = Stand(tmp_path, max_bytes=1)
    for number in range(3):
        stand.traces.note(a_result(number), VERSIONS)
        assert stand.traces.commit() == 0
    assert stand.lost.ledger_refused == 3
    assert len([found for found in caplog.records if "traces are lost" in found.message]) == 1


def test_a_queue_that_nobody_empties_is_bounded(stand: Stand) -> None:
    """What is too much is lost, and counted."""
    result = a_result(0)
    for _ in range(_QUEUE_MAX + 2):
        stand.traces.note(result, VERSIONS)
    assert stand.lost.ledger_refused == 2


def test_a_flag_that_cannot_be_read_costs_no_answer(stand: Stand, caplog: pytest.LogCaptureFixture) -> None:
    """Nor anything else that goes wrong with the trace."""
    stand.view = None  # type: ignore[assignment]
    stand.traces.note(a_result(0), VERSIONS)
    assert "a trace was not kept" in caplog.text


def test_the_log_says_once_that_the_ledger_fails(caplog: pytest.LogCaptureFixture) -> None:
    """And once that it works again."""
    done = Delivered(ledger=LEDGER, key="k", rows=1, created=True)
    failed = Round(delivered=(), set_aside=(), errors=("no answer",))
    rounds = [failed, failed, Round(delivered=(done,), set_aside=(), errors=()), failed]
    given = iter(rounds)
    send = Sender(lambda _limit_s: next(given))
    with caplog.at_level(logging.WARNING):
        for _ in rounds:
            send(5.0)
    waits = "traces wait in the spool: no answer"
    assert caplog.messages == [waits, "the ledger takes traces again", waits]
