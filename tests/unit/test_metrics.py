"""Counting the results of a chunk, and reading counts that were stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from core.adapters.doubles import (
    FailingDetector,
    FailingRetriever,
    FixedDetector,
    FixedRetriever,
    RankOrderer,
    SlowRetriever,
)
from core.adapters.manual_clock import ManualClock
from core.clock import Clock
from core.errors import RetrieverError, StoreError
from core.fallbacks.decision import decide, stopped
from core.flags import Flags
from core.metrics import (
    KNOWN_DECISIONS,
    KNOWN_FALLBACKS,
    KNOWN_STAGES,
    LATENCY_BOUNDS_S,
    Histogram,
    Metrics,
    add_results,
    is_failure,
)
from core.model import (
    Claim,
    Contradiction,
    ContradictionKind,
    Decision,
    Detection,
    FallbackDecision,
    Passage,
    Query,
    Ranking,
    Reason,
    ScoredPassage,
    Span,
)
from core.pipeline import Pipeline, PipelineConfig
from core.ports import ContradictionDetector, Retriever
from core.trace import QueryResult

ENABLED = FallbackDecision(Decision.REDO, Reason.ENABLED, 7)
LEGACY = FallbackDecision(Decision.LEGACY, Reason.FLAG_OFF, 7)
SHADOW = FallbackDecision(Decision.LEGACY, Reason.SHADOW, 7, shadow=True)

QUERIES = tuple(Query(name, f"What about {name}?") for name in ("one", "two", "three"))
RANKING = Ranking(tuple(ScoredPassage(Passage(f"p{n}", f"word{n} " * 4), 5.0 - n) for n in range(3)))
CLAIM = Claim("p0", "w", Span(0, 1), "w", Span(0, 1))
DISPUTE = Detection((Contradiction(ContradictionKind.DATE, 0.9, "test", CLAIM, replace(CLAIM, passage_id="p1")),))
RETRIEVER = FixedRetriever({query.query_id: RANKING for query in QUERIES})
DETECTOR = FixedDetector({query.query_id: DISPUTE for query in QUERIES})
BROKEN = FailingDetector(ValueError("it broke"), poison={"two"}, otherwise=DETECTOR)


def results_of(
    guard: FallbackDecision,
    *,
    retriever: Retriever = RETRIEVER,
    detector: ContradictionDetector = DETECTOR,
    clock: Clock | None = None,
) -> list[QueryResult]:
    """The three queries through a real pipeline, all with the same guard's decision."""
    pipeline = Pipeline(
        retriever=retriever,
        detector=detector,
        orderer=RankOrderer(),
        config=PipelineConfig(budget_s=0.4),
        clock=clock or ManualClock(),
    )
    return pipeline.run(QUERIES, [guard] * len(QUERIES))


def ended(result: QueryResult, *, decision: Decision, reason: Reason, error: str | None) -> QueryResult:
    """The same query, ended otherwise: as the guard ends a call that it gave up or did not make."""
    trace = replace(result.trace, decision=decision, reason=reason, error=error, redo=None)
    return replace(result, decision=decision, reason=reason, trace=trace)


class TestCounting:
    """What a chunk's results count as."""

    def test_no_results_count_nothing(self) -> None:
        """An empty chunk adds nothing."""
        assert add_results([]) == Metrics()

    def test_every_query_counts_once_by_decision_and_reason(self) -> None:
        """Queries, decisions and the latency of queries agree."""
        counted = add_results([*results_of(ENABLED), *results_of(LEGACY)])
        assert counted.decisions == {("redo", "ENABLED"): 3, ("legacy", "FLAG_OFF"): 3}
        assert counted.queries == counted.query_latency.count == 6
        assert counted.fallbacks == {}

    def test_a_failure_is_counted_with_its_fallback(self) -> None:
        """The query on which REDO broke is a failure and a fallback; the others of its chunk are neither."""
        counted = add_results(results_of(ENABLED, detector=BROKEN))
        assert counted.orchestrator_failures == 1
        assert counted.fallbacks == {"ORCHESTRATOR_ERROR": 1}

    def test_a_failure_in_shadow_is_no_fallback(self) -> None:
        """Legacy was to answer anyhow, but REDO failed all the same."""
        counted = add_results(results_of(SHADOW, detector=BROKEN))
        assert counted.orchestrator_failures == 1
        assert counted.decisions == {("legacy", "SHADOW"): 3}

    @pytest.mark.parametrize("guard", [ENABLED, SHADOW])
    def test_out_of_time_is_no_failure(self, guard: FallbackDecision) -> None:
        """It is slow, has its own counter, and where REDO was to answer it is a fallback."""
        clock = ManualClock()
        slow = SlowRetriever(0.4, clock=clock, otherwise=RETRIEVER)
        results = results_of(guard, retriever=slow, clock=clock)
        counted = add_results(results)
        assert {result.trace.error for result in results} == {"DEADLINE_EXCEEDED"}
        assert (counted.deadline_hits, counted.orchestrator_failures) == (3, 0)
        assert counted.fallbacks == ({"DEADLINE_EXCEEDED": 3} if guard is ENABLED else {})

    @pytest.mark.parametrize("guard", [ENABLED, SHADOW, LEGACY])
    def test_a_broken_index_is_no_failure_of_redo(self, guard: FallbackDecision) -> None:
        """Legacy has no ranking either; it is a fallback whoever was to answer."""
        broken = FailingRetriever(RetrieverError("gone"), poison=None, otherwise=RETRIEVER)
        counted = add_results(results_of(guard, retriever=broken))
        assert counted.orchestrator_failures == 0
        assert counted.fallbacks == {"RETRIEVER_ERROR": 3}

    @pytest.mark.parametrize(
        ("decision", "reason", "error", "expected"),
        [
            (Decision.FALLBACK, Reason.TIMEOUT, "CallTimeoutError: no answer within 5 s", True),
            (Decision.LEGACY, Reason.TIMEOUT, "CallTimeoutError: no answer within 5 s", True),
            (Decision.LEGACY, Reason.ORCHESTRATOR_ERROR, "ValueError: it broke", True),
            (Decision.LEGACY, Reason.SHADOW, "ORCHESTRATOR_ERROR", True),
            (Decision.LEGACY, Reason.SHADOW, "BREAKER_OPEN", False),
            (Decision.FALLBACK, Reason.BULKHEAD_FULL, "BulkheadFullError: no other call is begun", False),
            (Decision.LEGACY, Reason.BULKHEAD_FULL, "BulkheadFullError: no other call is begun", False),
            (Decision.FALLBACK, Reason.BREAKER_OPEN, None, False),
        ],
    )
    def test_what_the_guard_ends_is_a_failure_where_a_call_was_made(
        self, decision: Decision, reason: Reason, error: str | None, *, expected: bool
    ) -> None:
        """A call that was given up or raised is one, in shadow too; a call that was not made is none."""
        result = results_of(SHADOW if decision is Decision.LEGACY else ENABLED)[0]
        assert is_failure(ended(result, decision=decision, reason=reason, error=error)) is expected

    @pytest.mark.parametrize(("guard", "found"), [(ENABLED, {"date": 3}), (SHADOW, {"date": 3}), (LEGACY, {})])
    def test_contradictions_are_those_that_redo_found(self, guard: FallbackDecision, found: Mapping[str, int]) -> None:
        """Served or not, by kind."""
        assert add_results(results_of(guard)).contradictions == found

    def test_stages_are_timed_by_arm(self) -> None:
        """Each stage that ran counts once a query, with its own time."""
        clock = ManualClock()
        slow = SlowRetriever(0.02, clock=clock, otherwise=RETRIEVER)
        counted = add_results(results_of(SHADOW, retriever=slow, clock=clock))
        assert {stage: histogram.count for stage, histogram in counted.stage_latency.items()} == {
            ("retrieve", "redo"): 3,
            ("detect", "redo"): 3,
            ("order", "redo"): 3,
            ("select", "redo"): 3,
            ("select", "legacy"): 3,
        }
        assert counted.stage_latency["retrieve", "redo"] == Histogram.of_ms([20.0] * 3)
        assert counted.stage_latency["detect", "redo"].sum_us == 0


class TestHistogram:
    """Counting times."""

    def test_a_bound_belongs_to_its_bucket(self) -> None:
        """A query that took exactly its 400 ms took at most 0.4 s; a little more is in the next bucket."""
        at = LATENCY_BOUNDS_S.index(0.4)
        assert Histogram.of_ms([400.0]).buckets[at] == 1
        assert Histogram.of_ms([400.001]).buckets[at + 1] == 1

    def test_the_longest_times_count_too(self) -> None:
        """What is over all bounds is in the last bucket, and in the sum."""
        assert Histogram.of_ms([60_000.0]) == Histogram((*[0] * len(LATENCY_BOUNDS_S), 1), sum_us=60_000_000)

    def test_bounds_rise(self) -> None:
        """Prometheus wants them so."""
        assert list(LATENCY_BOUNDS_S) == sorted(set(LATENCY_BOUNDS_S))


class TestKnownLabels:
    """The labels that series begin with are those that the rest of REDO makes."""

    def test_every_decision_of_the_guard_is_known(self) -> None:
        """Whatever flags, health and breaker say."""
        query = Query("q", "What?")
        chosen = [
            decide(query, Flags(redo_enabled=on, ledger_enabled=False, rollout_percentage=percentage), shadow=shadow)
            for on in (True, False)
            for percentage in (0, 100)
            for shadow in (True, False)
        ]
        stops = [
            stopped(Reason(reason), 7, shadow=shadow)
            for reason in (*KNOWN_FALLBACKS, Reason.KILL_SWITCH)
            for shadow in (True, False)
        ]
        assert {(made.decision, made.reason) for made in (*chosen, *stops)} <= set(KNOWN_DECISIONS)

    def test_a_fallback_is_known_by_its_reason(self) -> None:
        """The reasons of the decision `fallback` are the reasons of fallbacks."""
        reasons = [reason for decision, reason in KNOWN_DECISIONS if decision == Decision.FALLBACK]
        assert tuple(reasons) == KNOWN_FALLBACKS

    def test_every_stage_of_the_pipeline_is_known(self) -> None:
        """And no other one is."""
        results = [*results_of(SHADOW), *results_of(LEGACY)]
        assert set(add_results(results).stage_latency) == set(KNOWN_STAGES)


class TestStored:
    """Counts as JSON."""

    def test_equal_counts_are_equal_as_stored(self) -> None:
        """The order in which things were counted does not show."""
        results = [*results_of(ENABLED, detector=BROKEN), *results_of(LEGACY)]
        there, back = add_results(results).to_dict(), add_results(results[::-1]).to_dict()
        assert str(there) == str(back)

    def test_what_is_missing_is_0(self) -> None:
        """An older version wrote less."""
        assert Metrics.from_dict({}) == Metrics()
        assert Metrics.from_dict({"query_latency": {}}) == Metrics()

    def test_unknown_keys_are_passed_over_and_unknown_labels_kept(self) -> None:
        """A newer version counts more things, and knows more reasons."""
        stored = {"tokens": 7, "decisions": {"redo": {"BETTER": 2}}, "query_latency": {"median_us": 1}}
        assert Metrics.from_dict(stored) == Metrics(decisions={("redo", "BETTER"): 2})

    def test_buckets_of_another_version_count_for_the_next_bound(self) -> None:
        """What took at most 0.03 s took at most 0.05 s; what took at most 60 s is over all bounds."""
        stored = {"query_latency": {"buckets": {"0.03": 2, "0.05": 1, "60.0": 4, "+Inf": 1}, "sum_us": 9}}
        read = Metrics.from_dict(stored).query_latency
        at = LATENCY_BOUNDS_S.index(0.05)
        assert read.buckets == (*[0] * at, 3, *[0] * (len(LATENCY_BOUNDS_S) - at - 1), 5)

    @pytest.mark.parametrize(
        ("stored", "message"),
        [
            ({"ledger_failures": -1}, "field 'ledger_failures': -1 is not a whole number, at least 0"),
            ({"deadline_hits": True}, "field 'deadline_hits': True is not"),
            ({"decisions": {"redo": {"ENABLED": "3"}}}, "field 'decisions.redo.ENABLED': '3' is not"),
            ({"decisions": {"redo": 3}}, "field 'decisions.redo': 3 is not an object"),
            ({"contradictions": []}, r"field 'contradictions': \[\] is not an object"),
            ({"stage_latency": {"order": {"redo": 3}}}, "field 'stage_latency.order.redo': 3 is not an object"),
            (
                {"stage_latency": {"order": {"redo": {"buckets": {"0.1": 0.5}}}}},
                "field 'stage_latency.order.redo.buckets.0.1': 0.5 is not",
            ),
            ({"query_latency": {"buckets": {"fast": 1}}}, "field 'query_latency.buckets': 'fast' is not a number"),
            ({"query_latency": {"buckets": {"nan": 1}}}, "field 'query_latency.buckets': 'nan' is not a number"),
            ({"query_latency": {"sum_us": None}}, "field 'query_latency.sum_us': None is not"),
        ],
    )
    def test_what_cannot_be_read_is_named(self, stored: dict[str, Any], message: str) -> None:
        """People edit stored values; the error says where."""
        with pytest.raises(StoreError, match=f"stored metrics, {message}"):
            Metrics.from_dict(stored)
