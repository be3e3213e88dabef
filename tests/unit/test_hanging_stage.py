"""A stage that hangs costs only the query that it hangs on."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from core.adapters.doubles import FixedRetriever, RankOrderer
from core.adapters.manual_clock import ManualClock
from core.bulkhead import Bulkhead
from core.clock import Deadline, SystemClock
from core.model import Decision, Detection, FallbackDecision, Passage, Query, Ranking, Reason, ScoredPassage
from core.pipeline import Pipeline, PipelineConfig
from core.trace import QueryResult
from core.work import CallLimit

GUARD = FallbackDecision(Decision.REDO, Reason.ENABLED)
QUERIES = [Query(f"q{number}", "What is asked?") for number in range(4)]
RANKING = Ranking((ScoredPassage(Passage("p", "What is asked is answered here."), 1.0),))


class HangingDetector:
    """Hangs on one query until it is let go, and says whether it was."""

    version = "hanging"

    def __init__(self, on: str) -> None:
        self.let_go = threading.Event()
        self.has_gone = threading.Event()
        self._on = on

    def detect(
        self, queries: Sequence[Query], rankings: Sequence[Ranking], deadlines: Sequence[Deadline]
    ) -> Sequence[Detection]:
        """Detect nothing, one query after the other."""
        for query, deadline in zip(queries, deadlines, strict=True):
            with deadline.running():
                if query.query_id == self._on:
                    self.let_go.wait()
                    self.has_gone.set()
        return [Detection() for _ in rankings]


def run(detector: HangingDetector, bulkhead: Bulkhead) -> list[QueryResult]:
    """Four queries through a pipeline that gives a stage of REDO a twentieth of a second for a query."""
    pipeline = Pipeline(
        retriever=FixedRetriever({query.query_id: RANKING for query in QUERIES}),
        detector=detector,
        orderer=RankOrderer(),
        config=PipelineConfig(),
        clock=SystemClock(),
        limit=CallLimit(bulkhead, 0.05),
    )
    return pipeline.run(QUERIES, [GUARD] * len(QUERIES))


def test_the_query_it_hangs_on_falls_back_and_the_others_keep_their_selection() -> None:
    """The hung query is answered by legacy for TIMEOUT; the others by REDO."""
    detector, bulkhead = HangingDetector("q2"), Bulkhead()
    try:
        results = run(detector, bulkhead)
    finally:
        detector.let_go.set()
    decisions = {result.query.query_id: (result.decision, result.reason) for result in results}
    redo = (Decision.REDO, Reason.ENABLED)
    assert decisions == {"q0": redo, "q1": redo, "q2": (Decision.FALLBACK, Reason.TIMEOUT), "q3": redo}
    assert all(result.selection.passage_ids == ("p",) for result in results)


def test_the_late_result_is_dropped() -> None:
    """What the abandoned stage does afterwards changes neither a result nor a time."""
    detector, bulkhead = HangingDetector("q0"), Bulkhead()
    results = run(detector, bulkhead)
    before = [(result.decision, result.trace.latency_ms) for result in results]
    detector.let_go.set()
    assert detector.has_gone.wait(10)
    assert [(result.decision, result.trace.latency_ms) for result in results] == before


def test_while_too_many_calls_hang_none_is_begun() -> None:
    """With the bulkhead full, every query is answered by legacy at once, for BULKHEAD_FULL."""
    detector, bulkhead = HangingDetector("q1"), Bulkhead(abandoned_max=1)
    try:
        run(detector, bulkhead)
        results = run(HangingDetector("nobody"), bulkhead)
    finally:
        detector.let_go.set()
    assert {(result.decision, result.reason) for result in results} == {(Decision.FALLBACK, Reason.BULKHEAD_FULL)}
    assert all(result.selection.passage_ids == ("p",) for result in results)


class SpoilsTheChunk:
    """Takes 0.15 s of the clock for each query, and then raises if it was given more than one."""

    version = "spoils"

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    def detect(
        self, queries: Sequence[Query], rankings: Sequence[Ranking], deadlines: Sequence[Deadline]
    ) -> Sequence[Detection]:
        """Detect nothing, slowly."""
        for deadline in deadlines:
            with deadline.running():
                self._clock.advance(0.15)
        if len(queries) > 1:
            raise RuntimeError
        return [Detection() for _ in rankings]


def test_a_spoiled_attempt_costs_nobody_time() -> None:
    """A query that is run again alone has used only what that run took."""
    clock = ManualClock()
    pipeline = Pipeline(
        retriever=FixedRetriever({query.query_id: RANKING for query in QUERIES}),
        detector=SpoilsTheChunk(clock),
        orderer=RankOrderer(),
        config=PipelineConfig(),
        clock=clock,
    )
    results = pipeline.run(QUERIES, [GUARD] * len(QUERIES))
    assert [result.trace.latency_ms for result in results] == pytest.approx([150.0] * len(QUERIES))
