"""The time of a query: what adds up, and what every stage does when it runs out."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from core.adapters.doubles import TickingClock
from core.adapters.given_candidates import GivenCandidates
from core.adapters.manual_clock import ManualClock
from core.clock import Deadline
from core.contradictions.cascade import CascadeDetector
from core.contradictions.lexical import LexicalDetector
from core.contradictions.slot_stage import SlotStage
from core.contradictions.stage import Asked
from core.model import Decision, FallbackDecision, Passage, Query, Ranking, Reason, ScoredPassage
from core.ordering import SupportOrderer
from core.pipeline import Pipeline, PipelineConfig

SECONDS = st.integers(0, 1000).map(lambda count: count / 8)
STEPS = st.lists(st.tuples(st.sampled_from(["pass", "run", "charge", "nest", "fail"]), SECONDS), max_size=12)


def work(kind: str, seconds: float, deadline: Deadline, clock: ManualClock) -> None:
    """Let time pass for the query: straight on, in a block inside a block, or up to an error."""
    with suppress(ZeroDivisionError), deadline.running():
        clock.advance(seconds / 2)
        if kind == "nest":
            with deadline.running():
                clock.advance(seconds / 4)
            clock.advance(seconds / 4)
        else:
            clock.advance(seconds / 2)
        if kind == "fail":
            _ = 1 / 0


@given(SECONDS, STEPS)
def test_time_adds_up(budget_s: float, steps: list[tuple[str, float]]) -> None:
    """What is spent is what ran and what was charged, never shrinks, and with what is left makes the budget."""
    clock = ManualClock()
    deadline = Deadline(budget_s, clock=clock)
    expected = 0.0
    for kind, seconds in steps:
        if kind == "pass":
            clock.advance(seconds)
        elif kind == "charge":
            deadline.charge(seconds)
        else:
            work(kind, seconds, deadline, clock)
        expected += 0.0 if kind == "pass" else seconds
        assert deadline.spent_s == expected
        assert deadline.remaining_s == budget_s - expected
        assert deadline.expired == (expected >= budget_s)
        assert deadline.leaves(0.0) == (not deadline.expired)


@given(SECONDS, st.floats(max_value=0.0) | st.just(math.nan))
def test_charges_never_give_time_back(budget_s: float, seconds: float) -> None:
    """A charge below zero, or of no number, changes nothing."""
    deadline = Deadline(budget_s, clock=ManualClock())
    deadline.charge(1.0)
    deadline.charge(seconds)
    assert deadline.spent_s == 1.0


SENTENCES = st.sampled_from(
    [
        "Broken Bow had a population of 3,559 people. ",
        "The population of Broken Bow is 4,120 people. ",
        "Custer County in Nebraska keeps the records of Broken Bow. ",
        "Broken Bow was founded in 1884. ",
        "In 1882 Broken Bow was established. ",
        "Whales swim. ",
    ]
)
TEXTS = st.lists(SENTENCES, min_size=1, max_size=4).map("".join)
QUERY = "What is the population of Broken Bow?"


def ranked(texts: list[str]) -> tuple[ScoredPassage, ...]:
    """A ranking of the texts."""
    return tuple(ScoredPassage(Passage(f"p{place}", text), 20.0 - place) for place, text in enumerate(texts))


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=8), st.integers(0, 60), st.integers(0, 10))
def test_detector_stops_in_time(texts: list[str], looks: int, reserve: int) -> None:
    """Whatever the time, the detector looks at the clock no more than twice after its time is up, and says so."""
    clock = TickingClock(1.0)
    ranking = Ranking(ranked(texts))
    detector = LexicalDetector(reserve_s=float(reserve))
    (found,) = detector.detect([Query("q", QUERY)], [ranking], [Deadline(float(looks), clock=clock)])
    assert clock.looks <= max(0, looks - reserve) + 4
    (whole,) = detector.detect([Query("q", QUERY)], [ranking], [Deadline(1e9, clock=ManualClock())])
    assert whole.complete
    if found.complete:
        assert found == whole
    pairs = {(item.left.passage_id, item.right.passage_id) for item in found.contradictions}
    assert len(pairs) == len(found.contradictions)


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=8), st.integers(0, 80))
def test_a_late_cascade_keeps_what_the_rules_found(texts: list[str], looks: int) -> None:
    """Whatever the time, a stage adds to what was known or leaves it as it was, and says that it did."""
    ranking, query = Ranking(ranked(texts)), Query("q", QUERY)
    rules, stage = LexicalDetector(reserve_s=0.0), SlotStage(reserve_s=0.0)
    (known,) = rules.detect([query], [ranking], [Deadline(1e9, clock=ManualClock())])
    whole = stage.refine(Asked(query, ranking, Deadline(1e9, clock=ManualClock()), known))
    found = stage.refine(Asked(query, ranking, Deadline(looks, clock=TickingClock(1.0)), known))
    assert found in (whole, replace(known, complete=False))
    assert whole.contradictions[: len(known.contradictions)] == known.contradictions
    if len(texts) > 1:
        assert [standing.passage_id for standing in whole.standings] == [f"p{place}" for place in range(len(texts))]


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=8), st.integers(0, 80))
def test_pipeline_answers_in_any_time(texts: list[str], looks: int) -> None:
    """Whatever the time, the query is answered with all its passages accounted for, and late answers are marked."""
    pipeline = Pipeline(
        retriever=GivenCandidates(None),
        detector=CascadeDetector(LexicalDetector(reserve_s=0.01), [SlotStage(reserve_s=0.01)]),
        orderer=SupportOrderer(),
        config=PipelineConfig(token_budget=60, budget_s=looks / 100),
        clock=TickingClock(0.01),
    )
    guard = FallbackDecision(Decision.REDO, Reason.ENABLED)
    (result,) = pipeline.run([Query("q", QUERY, candidates=ranked(texts))], [guard])
    selection = result.selection
    named = [*selection.passage_ids, *(item.passage_id for item in selection.exclusions)]
    assert sorted(named) == [f"p{place}" for place in range(len(texts))]
    assert bool(selection.evidence) == bool(texts)
    assert result.trace.deadline_hit or result.trace.latency_ms < result.trace.budget_ms
    if looks == 0:
        assert (result.decision, result.reason) == (Decision.FALLBACK, Reason.DEADLINE_EXCEEDED)
