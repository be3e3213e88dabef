"""One chunk through the pipeline: who answers, why, and that no failure costs another query its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from core.adapters.doubles import (
    FailingDetector,
    FailingOrderer,
    FailingRetriever,
    FixedDetector,
    FixedRetriever,
    RankOrderer,
    SlowDetector,
    SlowRetriever,
)
from core.adapters.manual_clock import ManualClock
from core.clock import Clock, Deadline
from core.errors import RetrieverError
from core.model import (
    Claim,
    Contradiction,
    ContradictionKind,
    Decision,
    Detection,
    Evidence,
    FallbackDecision,
    Passage,
    Query,
    Ranking,
    Reason,
    ScoredPassage,
    Span,
)
from core.ordering import SupportOrderer
from core.pipeline import Pipeline, PipelineConfig
from core.ports import ContradictionDetector, EvidenceOrderer, Retriever
from core.trace import Arm, QueryResult

REDO = FallbackDecision(Decision.REDO, Reason.ENABLED, 7)
LEGACY = FallbackDecision(Decision.LEGACY, Reason.FLAG_OFF, 7)
SHADOW = FallbackDecision(Decision.LEGACY, Reason.SHADOW, 7, shadow=True)

QUERIES = tuple(Query(name, f"What about {name}?") for name in ("one", "two", "three"))
PASSAGES = tuple(Passage(f"p{number}", f"word{number} " * 4) for number in range(5))
RANKING = Ranking(tuple(ScoredPassage(passage, 5.0 - place) for place, passage in enumerate(PASSAGES)))


def claim(passage_id: str) -> Claim:
    """Something that the passage says."""
    return Claim(passage_id, "w", Span(0, 1), "w", Span(0, 1))


def contradiction(left: str, right: str) -> Contradiction:
    """Two passages against each other."""
    return Contradiction(ContradictionKind.NUMERIC, 0.9, "test", claim(left), claim(right))


DISPUTE = Detection((contradiction("p0", "p3"),))
RETRIEVER = FixedRetriever({query.query_id: RANKING for query in QUERIES})
DETECTOR = FixedDetector({query.query_id: DISPUTE for query in QUERIES})

LEGACY_IDS = ("p0", "p1", "p2")
REDO_IDS = ("p0", "p3", "p1")


def pipeline(
    retriever: Retriever = RETRIEVER,
    detector: ContradictionDetector = DETECTOR,
    orderer: EvidenceOrderer | None = None,
    *,
    clock: Clock | None = None,
) -> Pipeline:
    """A pipeline whose budget holds three of the passages."""
    return Pipeline(
        retriever=retriever,
        detector=detector,
        orderer=orderer or SupportOrderer(),
        config=PipelineConfig(token_budget=12),
        clock=clock or ManualClock(),
    )


def run(tested: Pipeline, guard: FallbackDecision = REDO) -> list[QueryResult]:
    """The results of the three queries."""
    results = tested.run(QUERIES, [guard] * 3)
    assert [result.query for result in results] == list(QUERIES)
    for result in results:
        trace = result.trace
        assert (trace.query, trace.guard) == (result.query, guard)
        assert (trace.decision, trace.reason) == (result.decision, result.reason)
        assert trace.budget_ms == 400.0
    return results


def outcome(result: QueryResult) -> tuple[Decision, Reason, tuple[str, ...]]:
    """Who answered, why, and with what."""
    return result.decision, result.reason, result.selection.passage_ids


ANSWERED = (Decision.REDO, Reason.ENABLED, REDO_IDS)


def fallback(reason: Reason, ids: tuple[str, ...] = LEGACY_IDS) -> tuple[Decision, Reason, tuple[str, ...]]:
    """What a query gets that REDO could not answer."""
    return Decision.FALLBACK, reason, ids


def test_redo() -> None:
    """REDO answers: the dispute stands together, and every stage is in the trace."""
    for result in run(pipeline()):
        assert outcome(result) == ANSWERED
        trace = result.trace
        assert trace.redo is result.selection
        assert trace.legacy is None
        assert trace.error is None
        assert trace.ranking == RANKING
        assert not trace.deadline_hit
        assert [(stage.name, stage.arm, stage.items_in, stage.items_out) for stage in trace.stages] == [
            ("retrieve", Arm.REDO, 0, 5),
            ("detect", Arm.REDO, 5, 1),
            ("order", Arm.REDO, 5, 5),
            ("select", Arm.REDO, 5, 3),
        ]
        assert result.selection.contradictions == DISPUTE.contradictions
        assert len(result.selection.exclusions) == 2


def test_versions() -> None:
    """The versions of the parts are named for the trace."""
    assert pipeline().versions == {"retriever": "fixed-1", "detector": "fixed-1", "orderer": "support-2"}


def test_no_queries() -> None:
    """An empty chunk gives no results."""
    assert pipeline().run([], []) == []


def test_guards_that_do_not_match() -> None:
    """A chunk without its guards is a programming error."""
    with pytest.raises(ValueError, match="shorter"):
        pipeline().run(QUERIES, [REDO])


def test_no_candidates() -> None:
    """A query that matches nothing is answered with nothing, by REDO."""
    for result in run(pipeline(FixedRetriever({}))):
        assert outcome(result) == (Decision.REDO, Reason.ENABLED, ())


def test_legacy_by_flag() -> None:
    """Where the flags say legacy, no stage of REDO runs."""
    never = FailingDetector(AssertionError("called"), poison=None, otherwise=DETECTOR)
    for result in run(pipeline(detector=never), LEGACY):
        assert outcome(result) == (Decision.LEGACY, Reason.FLAG_OFF, LEGACY_IDS)
        assert result.trace.redo is None
        assert result.trace.error is None
        assert [(stage.name, stage.arm) for stage in result.trace.stages] == [
            ("retrieve", Arm.LEGACY),
            ("select", Arm.LEGACY),
        ]


def test_shadow() -> None:
    """In shadow both selections are computed and recorded, and legacy is served."""
    for result in run(pipeline(), SHADOW):
        assert outcome(result) == (Decision.LEGACY, Reason.SHADOW, LEGACY_IDS)
        assert result.trace.redo is not None
        assert result.trace.redo.passage_ids == REDO_IDS
        assert result.trace.legacy is result.selection
        assert [(stage.name, stage.arm) for stage in result.trace.stages][-2:] == [
            ("select", Arm.REDO),
            ("select", Arm.LEGACY),
        ]


def test_shadow_that_fails() -> None:
    """A failure in shadow changes nothing of what is served; the trace has it."""
    tested = pipeline(detector=FailingDetector(OSError("gone"), poison={"two"}, otherwise=DETECTOR))
    results = run(tested, SHADOW)
    assert {outcome(result) for result in results} == {(Decision.LEGACY, Reason.SHADOW, LEGACY_IDS)}
    assert [result.trace.error for result in results] == [None, "OSError: gone", None]
    assert [result.trace.redo is None for result in results] == [False, True, False]


def test_mixed_guards() -> None:
    """One chunk can hold queries of every guard's decision."""
    results = pipeline().run(QUERIES, [REDO, LEGACY, SHADOW])
    assert [outcome(result)[:2] for result in results] == [
        (Decision.REDO, Reason.ENABLED),
        (Decision.LEGACY, Reason.FLAG_OFF),
        (Decision.LEGACY, Reason.SHADOW),
    ]


def check_poison(tested: Pipeline, reason: Reason, error: str, ids: tuple[str, ...] = LEGACY_IDS) -> None:
    """Query `two` falls back for that reason; the others are answered as if it were not there."""
    first, second, third = run(tested)
    assert outcome(first) == outcome(third) == ANSWERED
    assert outcome(second) == fallback(reason, ids)
    assert second.trace.error == error
    assert second.trace.redo is None
    assert first.trace.error is third.trace.error is None


def test_retriever_fails_on_one_query() -> None:
    """A query that breaks retrieval gets an empty answer with the reason; the others are not harmed."""
    failing = FailingRetriever(RetrieverError("no index"), poison={"two"}, otherwise=RETRIEVER)
    check_poison(pipeline(failing), Reason.RETRIEVER_ERROR, "RetrieverError: no index", ())
    (result,) = pipeline(failing).run([QUERIES[1]], [LEGACY])
    assert outcome(result) == fallback(Reason.RETRIEVER_ERROR, ())


def test_retriever_fails_altogether() -> None:
    """Without a retriever there is no answer for anybody, and no exception either."""
    failing = FailingRetriever(RetrieverError("no index"), poison=None, otherwise=RETRIEVER)
    for guard in (REDO, LEGACY, SHADOW):
        assert {outcome(result) for result in run(pipeline(failing), guard)} == {fallback(Reason.RETRIEVER_ERROR, ())}


def test_detector_fails_on_one_query() -> None:
    """A query that breaks detection gets its legacy selection; the others are not harmed."""
    failing = FailingDetector(ZeroDivisionError("by zero"), poison={"two"}, otherwise=DETECTOR)
    check_poison(pipeline(detector=failing), Reason.ORCHESTRATOR_ERROR, "ZeroDivisionError: by zero")


def test_detector_fails_altogether() -> None:
    """Without a detector everybody gets the legacy selection."""
    failing = FailingDetector(MemoryError(), poison=None, otherwise=DETECTOR)
    results = run(pipeline(detector=failing))
    assert {outcome(result) for result in results} == {fallback(Reason.ORCHESTRATOR_ERROR)}
    assert {result.trace.error for result in results} == {"MemoryError: "}


def test_orderer_fails_on_one_query() -> None:
    """A query that breaks the ordering gets its legacy selection; the others are not harmed."""
    failing = FailingOrderer(KeyError("p9"), poison={"two"}, otherwise=SupportOrderer())
    check_poison(pipeline(orderer=failing), Reason.ORCHESTRATOR_ERROR, "KeyError: 'p9'")


class Spoiler:
    """A retriever, detector and orderer in one, whose answers are spoilt by a function before they are returned."""

    version = "spoilt-1"

    def __init__(
        self,
        *,
        rankings: Callable[[list[Ranking]], object] | None = None,
        detections: Callable[[list[Detection]], object] | None = None,
        evidence: Callable[[tuple[Evidence, ...]], tuple[Evidence, ...]] | None = None,
    ) -> None:
        self._rankings = rankings
        self._detections = detections
        self._evidence = evidence
        self.calls: list[int] = []

    def retrieve(self, queries: Sequence[Query], k: int, deadlines: Sequence[Deadline]) -> Any:
        """Rankings, spoilt."""
        self.calls.append(len(queries))
        rankings = list(RETRIEVER.retrieve(queries, k, deadlines))
        return rankings if self._rankings is None else self._rankings(rankings)

    def detect(self, queries: Sequence[Query], rankings: Sequence[Ranking], deadlines: Sequence[Deadline]) -> Any:
        """Detections, spoilt."""
        self.calls.append(len(queries))
        detections = list(DETECTOR.detect(queries, rankings, deadlines))
        return detections if self._detections is None else self._detections(detections)

    def order(self, query: Query, ranking: Ranking, detection: Detection) -> tuple[Evidence, ...]:
        """Evidence, spoilt for query `two`."""
        evidence = SupportOrderer().order(query, ranking, detection)
        return evidence if self._evidence is None or query.query_id != "two" else self._evidence(evidence)


@pytest.mark.parametrize("spoil", [lambda found: found[:-1], lambda found: [*found, found[0]], lambda _: None])
def test_wrong_number_of_results(spoil: Callable[[list[Any]], object]) -> None:
    """A stage that returns too few results, too many or none at all is a stage that failed, for every query."""
    results = run(pipeline(Spoiler(rankings=spoil)))
    assert {outcome(result) for result in results} == {fallback(Reason.RETRIEVER_ERROR, ())}
    results = run(pipeline(detector=Spoiler(detections=spoil)))
    assert {outcome(result) for result in results} == {fallback(Reason.ORCHESTRATOR_ERROR)}


def test_wrong_number_of_results_names_both() -> None:
    """The error says how many results there were and how many were expected."""
    (result, *_) = run(pipeline(detector=Spoiler(detections=lambda found: found[:-1])))
    assert result.trace.error == "InvalidResultError: the stage returned 0 results for 1 queries"


def test_stage_that_fails_on_chunks_only() -> None:
    """A stage that breaks on a chunk and works on each query alone costs nobody the answer."""
    spoiler = Spoiler(detections=lambda found: found if len(found) == 1 else [])
    assert {outcome(result) for result in run(pipeline(detector=spoiler))} == {ANSWERED}
    assert spoiler.calls == [3, 1, 1, 1]


@pytest.mark.parametrize("nonsense", [None, "nonsense", ()])
def test_result_of_another_type(nonsense: object) -> None:
    """A stage that returns something else for one query fails that query, without an exception."""
    spoil = Spoiler(rankings=lambda found: [found[0], nonsense, found[-1]])
    first, second, third = run(pipeline(spoil))
    assert outcome(first) == outcome(third) == ANSWERED
    assert outcome(second) == fallback(Reason.RETRIEVER_ERROR, ())
    spoil = Spoiler(detections=lambda found: [found[0], nonsense, found[-1]])
    first, second, third = run(pipeline(detector=spoil))
    assert outcome(first) == outcome(third) == ANSWERED
    assert outcome(second) == fallback(Reason.ORCHESTRATOR_ERROR)
    name = type(nonsense).__name__
    assert second.trace.error == f"InvalidResultError: the stage returned {name}, expected Detection"


def double(evidence: tuple[Evidence, ...]) -> tuple[Evidence, ...]:
    """The first passage once more, in the place of the last."""
    return (*evidence[:-1], evidence[0])


def rename(evidence: tuple[Evidence, ...]) -> tuple[Evidence, ...]:
    """A passage that was never retrieved."""
    return (*evidence[:-1], replace(evidence[-1], passage=Passage("p9", "other words here")))


@pytest.mark.parametrize("spoil", [lambda found: found[1:], lambda _: (), double, rename])
def test_evidence_that_does_not_add_up(spoil: Callable[[tuple[Evidence, ...]], tuple[Evidence, ...]]) -> None:
    """An orderer that loses, doubles or invents a passage is not believed; the others are not harmed."""
    tested = Pipeline(
        retriever=RETRIEVER,
        detector=FixedDetector(),
        orderer=Spoiler(evidence=spoil),
        config=PipelineConfig(token_budget=12),
        clock=ManualClock(),
    )
    first, second, third = run(tested)
    assert outcome(first) == outcome(third) == (Decision.REDO, Reason.ENABLED, LEGACY_IDS)
    assert outcome(second) == fallback(Reason.ORCHESTRATOR_ERROR)
    expected = "InvalidResultError: the selection does not account for each passage of the ranking exactly once"
    assert second.trace.error == expected


def test_lost_opponent() -> None:
    """An orderer that loses a side of a dispute makes its query fall back."""
    losing = Spoiler(evidence=lambda found: tuple(item for item in found if item.passage.passage_id != "p3"))
    check_poison(pipeline(orderer=losing), Reason.ORCHESTRATOR_ERROR, "KeyError: 'p3'")


def test_ranking_with_a_passage_twice() -> None:
    """A retriever that returns a passage twice does not make REDO exceed the budget."""
    twice = Ranking((*RANKING.items[:2], RANKING.items[0]))
    results = run(pipeline(FixedRetriever({query.query_id: twice for query in QUERIES}), FixedDetector()))
    for result in results:
        assert result.reason is Reason.ORCHESTRATOR_ERROR
        assert sum(item.tokens for item in result.selection.evidence) <= 12


def test_detection_of_an_unknown_passage() -> None:
    """A detector that names a passage of no ranking makes its query fall back."""
    strange = FixedDetector({"two": Detection((contradiction("p0", "p9"),)), "one": DISPUTE, "three": DISPUTE})
    check_poison(pipeline(detector=strange), Reason.ORCHESTRATOR_ERROR, "KeyError: 'p9'")


def test_late_retrieval() -> None:
    """Where nothing is left of the time after retrieval, the legacy selection is served, marked."""
    clock = ManualClock()
    slow = SlowRetriever(0.4, clock=clock, otherwise=RETRIEVER)
    for result in run(pipeline(slow, clock=clock)):
        assert outcome(result) == fallback(Reason.DEADLINE_EXCEEDED)
        assert result.trace.deadline_hit
        assert result.trace.latency_ms == pytest.approx(400.0)
        assert result.trace.error == "DEADLINE_EXCEEDED"
        assert [stage.name for stage in result.trace.stages] == ["retrieve", "select"]


def test_late_retrieval_where_the_flags_say_legacy() -> None:
    """Time that runs out does not turn a legacy answer into a fallback."""
    clock = ManualClock()
    slow = SlowRetriever(0.5, clock=clock, otherwise=RETRIEVER)
    for result in run(pipeline(slow, clock=clock), LEGACY):
        assert outcome(result) == (Decision.LEGACY, Reason.FLAG_OFF, LEGACY_IDS)
        assert result.trace.deadline_hit
    for result in run(pipeline(slow, clock=clock), SHADOW):
        assert outcome(result) == (Decision.LEGACY, Reason.SHADOW, LEGACY_IDS)
        assert (result.trace.redo, result.trace.error) == (None, "DEADLINE_EXCEEDED")


def test_late_detection() -> None:
    """Time that runs out in detection still gives the best selection so far, marked; the time is the stage's."""
    clock = ManualClock()
    slow = SlowDetector(0.5, clock=clock, otherwise=DETECTOR)
    for result in run(pipeline(detector=slow, clock=clock)):
        assert outcome(result) == ANSWERED
        assert result.trace.deadline_hit
        assert result.trace.latency_ms == pytest.approx(500.0)
        assert {stage.name: stage.latency_ms for stage in result.trace.stages} == pytest.approx(
            {"retrieve": 0.0, "detect": 500.0, "order": 0.0, "select": 0.0}
        )


def test_incomplete_stages() -> None:
    """A stage that stopped for lack of time is marked in its record and in the trace."""
    partly = FixedDetector({query.query_id: replace(DISPUTE, complete=False) for query in QUERIES})
    for result in run(pipeline(detector=partly)):
        assert outcome(result) == ANSWERED
        assert result.trace.deadline_hit
        assert [stage.complete for stage in result.trace.stages] == [True, False, True, True]
    partly_found = FixedRetriever({query.query_id: replace(RANKING, complete=False) for query in QUERIES})
    for result in run(pipeline(partly_found)):
        assert result.trace.deadline_hit


class Interrupt(BaseException):
    """What Prefect raises to end a task, for instance."""


@pytest.mark.parametrize("stage", ["retriever", "detector", "orderer"])
def test_signals_pass_through(stage: str) -> None:
    """What is no Exception is nobody's to swallow: it passes through, and no other query is tried."""
    error = Interrupt()
    parts: dict[str, Any] = {
        "retriever": FailingRetriever(error, poison={"two"}, otherwise=RETRIEVER),
        "detector": FailingDetector(error, poison={"two"}, otherwise=DETECTOR),
        "orderer": FailingOrderer(error, poison={"two"}, otherwise=RankOrderer()),
    }
    with pytest.raises(Interrupt):
        run(pipeline(**{stage: parts[stage]}))


def test_chunk_gives_what_single_queries_give() -> None:
    """A query gets the same answer alone and in a chunk."""
    alone = [pipeline().run([query], [REDO])[0] for query in QUERIES]
    assert run(pipeline()) == alone
