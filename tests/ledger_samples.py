"""Results and runs for the tests of the ledger: ordinary values, each number a different query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from core.model import (
    Ambiguity,
    Claim,
    Contradiction,
    ContradictionKind,
    Decision,
    Evidence,
    Exclusion,
    ExclusionReason,
    FallbackDecision,
    Passage,
    Query,
    Ranking,
    Reason,
    ScoredPassage,
    ScoreParts,
    Selection,
    Span,
)
from core.trace import Arm, QueryResult, StageRecord, Trace
from ledger.encode import RunIdentity, identities

STARTED_AT = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
RECORDED_AT = datetime(2026, 3, 1, 8, 5, 0, 123456, tzinfo=UTC)


def a_run(batch_id: str = "batch-1", *, attempt: int = 1) -> RunIdentity:
    """A run with two flags, two models and a rollout at 25 %."""
    return RunIdentity(
        batch_id=batch_id,
        flow_run_id="flow-run-1",
        attempt=attempt,
        started_at=STARTED_AT,
        config_digest="c" * 64,
        code_version="0.1.0",
        model_versions={"retriever": "bm25s 0.3", "detector": "lexical 1"},
        flags={"orchestrator.redo_enabled": True, "rollout_percentage": 25},
        rollout_percentage=25,
        hash_key=b"key of the tests",
    )


def trace_ids(results: Sequence[QueryResult], *, run: RunIdentity) -> tuple[str, ...]:
    """Ids of the traces, in the order of the results."""
    return tuple(identity.trace_id for identity in identities(results, run=run))


def a_passage(passage_id: str, text: str | None = None) -> Passage:
    """A dated passage with a source."""
    words = text or f"The bridge {passage_id} was opened in 1932 and is 1149 m long. " * 8
    return Passage(passage_id, words, source=f"site-{passage_id}", published_at=STARTED_AT - timedelta(days=30))


def a_claim(passage: Passage, value: str) -> Claim:
    """The passage's first sentence, with the value in it."""
    sentence = passage.text.split(". ")[0]
    start = sentence.index(value)
    return Claim(passage.passage_id, sentence, Span(0, len(sentence)), value, Span(start, start + len(value)))


def a_selection(passages: Sequence[Passage], *, left_out: int = 1) -> Selection:
    """The passages in reverse order, the last ones left out, the first two in dispute."""
    kept = passages[: len(passages) - left_out]
    evidence = tuple(
        Evidence(
            passage,
            score=1.5 / rank,
            score_parts=ScoreParts(1.0 / rank, 1.5),
            rank_in=rank,
            tokens=40 + rank,
            support=2,
            conflict_group=1 if rank < 3 else None,
            disputed_by=(passages[2 - rank].passage_id,) if rank < 3 else (),
        )
        for rank, passage in reversed(list(enumerate(kept, start=1)))
    )
    exclusions = tuple(
        Exclusion(passage.passage_id, ExclusionReason.NEAR_DUPLICATE, passages[0].passage_id)
        for passage in passages[len(kept) :]
    )
    left, right = a_claim(passages[0], "1149 m"), a_claim(passages[1], "1932")
    return Selection(
        evidence,
        exclusions,
        (Contradiction(ContradictionKind.NUMERIC, 0.9, "numbers", left, right),),
        (Ambiguity("bridge", 0.6, "slots", left, right),),
    )


def a_result(
    number: int = 0, *, documents: int = 4, redo: bool = True, legacy: bool = True, calm: bool = False
) -> QueryResult:
    """The result of query `q-<number>`, whose REDO and legacy selections were computed or not.

    Where it is calm nobody contradicts anybody, so that nothing asks for all of it to be kept.
    """
    query = Query(f"q-{number:04d}", f"How long is bridge {number}?", session_id="session-7", user_id="user-9")
    passages = [a_passage(f"p-{number:04d}-{place}") for place in range(documents)]
    selection = a_selection(passages)
    if calm:
        undisputed = tuple(replace(item, conflict_group=None, disputed_by=()) for item in selection.evidence)
        selection = Selection(undisputed, selection.exclusions)
    plain = Selection(tuple(reversed(selection.evidence)), selection.exclusions)
    decision, reason = (Decision.REDO, Reason.ENABLED) if redo else (Decision.LEGACY, Reason.FLAG_OFF)
    trace = Trace(
        query=query,
        guard=FallbackDecision(decision, reason, bucket=41),
        decision=decision,
        reason=reason,
        ranking=Ranking(tuple(ScoredPassage(passage, 9.0 - place) for place, passage in enumerate(passages))),
        legacy=plain if legacy else None,
        redo=selection if redo else None,
        budget_ms=400.0,
        latency_ms=12.5 + number,
        deadline_hit=False,
        stages=(
            StageRecord("retrieve", Arm.REDO, 2.5, 0, documents),
            StageRecord("detect", Arm.REDO, 4.0, documents, 2, complete=False),
        ),
    )
    return QueryResult(query, decision, reason, selection if redo else plain, trace)
