"""A retriever of REDO's own beside the one that legacy has: who chooses from what, and what its failure costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.adapters.doubles import FailingRetriever, FixedDetector, FixedRetriever, RankOrderer, SlowRetriever
from core.adapters.manual_clock import ManualClock
from core.clock import Clock
from core.errors import RetrieverError
from core.model import Decision, FallbackDecision, Passage, Query, Ranking, Reason, ScoredPassage
from core.pipeline import Pipeline, PipelineConfig
from core.ports import Retriever
from core.trace import Arm, QueryResult

REDO = FallbackDecision(Decision.REDO, Reason.ENABLED, 7)
LEGACY = FallbackDecision(Decision.LEGACY, Reason.FLAG_OFF, 7)
SHADOW = FallbackDecision(Decision.LEGACY, Reason.SHADOW, 7, shadow=True)
QUERY = Query("one", "What about one?")
PASSAGES = tuple(Passage(f"p{number}", f"word{number} " * 4) for number in range(6))


def ranking(*places: int, complete: bool = True) -> Ranking:
    """Some of the passages, best first."""
    items = tuple(ScoredPassage(PASSAGES[place], 5.0 - number) for number, place in enumerate(places))
    return Ranking(items, complete)


COMMON, OWN = ranking(0, 1, 2), ranking(4, 0, 3, 5)
BM25 = FixedRetriever({"one": COMMON}, version="common-1")
HYBRID = FixedRetriever({"one": OWN}, version="own-1")


def run(
    guard: FallbackDecision,
    *,
    own: Retriever | None = HYBRID,
    query: Query = QUERY,
    clock: Clock | None = None,
    common: Retriever = BM25,
) -> QueryResult:
    """The result of one query, with a budget that holds two passages."""
    pipeline = Pipeline(
        retriever=common,
        redo_retriever=own,
        detector=FixedDetector(),
        orderer=RankOrderer(),
        config=PipelineConfig(token_budget=8),
        clock=clock or ManualClock(),
    )
    (result,) = pipeline.run([query], [guard])
    return result


def stages(result: QueryResult) -> list[tuple[str, Arm, int, int]]:
    """What ran, for whom, with how many."""
    return [(stage.name, stage.arm, stage.items_in, stage.items_out) for stage in result.trace.stages]


def test_redo_chooses_from_its_own() -> None:
    """The trace has the ranking that was chosen from, and both retrievals."""
    result = run(REDO)
    assert result.selection.passage_ids == ("p4", "p0")
    assert result.trace.ranking == OWN
    assert stages(result) == [
        ("retrieve", Arm.LEGACY, 0, 3),
        ("retrieve", Arm.REDO, 0, 4),
        ("detect", Arm.REDO, 4, 0),
        ("order", Arm.REDO, 4, 4),
        ("select", Arm.REDO, 4, 2),
    ]


def test_legacy_never_sees_it() -> None:
    """Where REDO does not run, its retriever is not asked."""
    result = run(LEGACY, own=FailingRetriever(AssertionError("asked"), poison=None, otherwise=HYBRID))
    assert result.selection.passage_ids == ("p0", "p1")
    assert result.trace.ranking == COMMON
    assert stages(result) == [("retrieve", Arm.LEGACY, 0, 3), ("select", Arm.LEGACY, 3, 2)]


def test_shadow_compares_both() -> None:
    """Legacy chooses from the common ranking, REDO from its own; legacy is served."""
    result = run(SHADOW)
    trace = result.trace
    assert trace.legacy is not None
    assert trace.redo is not None
    assert (trace.legacy.passage_ids, trace.redo.passage_ids) == (("p0", "p1"), ("p4", "p0"))
    assert result.selection is trace.legacy
    assert trace.ranking == OWN


@pytest.mark.parametrize("guard", [REDO, SHADOW])
def test_its_failure_costs_no_answer(guard: FallbackDecision) -> None:
    """Legacy answers from the common ranking, and the reason says that REDO failed."""
    broken = FailingRetriever(RetrieverError("no vectors"), poison=None, otherwise=HYBRID)
    result = run(guard, own=broken)
    assert result.selection.passage_ids == ("p0", "p1")
    assert result.trace.ranking == COMMON
    assert result.trace.error == "RetrieverError: no vectors"
    assert result.trace.redo is None
    if guard is REDO:
        assert (result.decision, result.reason) == (Decision.FALLBACK, Reason.ORCHESTRATOR_ERROR)


def test_it_takes_too_long() -> None:
    """A query whose time it has used up gets the legacy selection."""
    clock = ManualClock()
    result = run(REDO, own=SlowRetriever(1.0, clock=clock, otherwise=HYBRID), clock=clock)
    assert (result.decision, result.reason) == (Decision.FALLBACK, Reason.DEADLINE_EXCEEDED)
    assert result.selection.passage_ids == ("p0", "p1")
    assert result.trace.ranking == COMMON


def test_incomplete_shows() -> None:
    """A ranking that stopped for want of time is used, and the trace says so."""
    result = run(REDO, own=FixedRetriever({"one": ranking(5, 4, complete=False)}))
    assert result.selection.passage_ids == ("p5", "p4")
    assert result.trace.deadline_hit
    assert [stage.complete for stage in result.trace.stages] == [True, False, True, True, True]


def test_candidates_are_kept() -> None:
    """A query that brings its candidates is not retrieved for again: both arms choose from them."""
    result = run(SHADOW, query=replace(QUERY, candidates=COMMON.items))
    assert result.trace.redo is not None
    assert result.trace.redo.passage_ids == ("p0", "p1")
    assert [stage for stage in stages(result) if stage[0] == "retrieve"] == [("retrieve", Arm.REDO, 0, 3)]


def test_it_is_not_asked_after_the_common_one_failed() -> None:
    """Without a ranking for legacy there is no answer; REDO does not go on alone."""
    broken = FailingRetriever(RetrieverError("no index"), poison=None, otherwise=BM25)
    never = FailingRetriever(AssertionError("asked"), poison=None, otherwise=HYBRID)
    result = run(REDO, common=broken, own=never)
    assert (result.decision, result.reason) == (Decision.FALLBACK, Reason.RETRIEVER_ERROR)


def test_version_is_in_the_trace() -> None:
    """Both retrievers are named; without one of its own nothing is."""
    parts = {"detector": FixedDetector(), "orderer": RankOrderer()}
    both = Pipeline(retriever=BM25, redo_retriever=HYBRID, config=PipelineConfig(), clock=ManualClock(), **parts)  # type: ignore[arg-type]
    assert both.versions["retriever"] == "common-1"
    assert both.versions["redo_retriever"] == "own-1"
    assert "redo_retriever" not in replace(both, redo_retriever=None).versions
