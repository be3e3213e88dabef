"""Whatever a trace holds comes back from the ledger as it went in."""

from __future__ import annotations

import re
import string
from contextlib import closing
from datetime import UTC, date
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

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
from ledger.encode import encode_traces, object_key, trace_ids
from ledger.location import is_inside
from ledger.objects import open_store
from ledger.views import connect
from tests.ledger_samples import RECORDED_AT, a_run

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
some_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
reals = st.floats(allow_nan=False)
counts = st.integers(0, 2**31 - 1)
spans = st.builds(Span, counts, counts)
passages = st.builds(
    Passage, some_text, some_text, st.none() | texts, st.none() | st.datetimes(timezones=st.just(UTC)), st.just({})
)


@st.composite
def selections(draw: st.DrawFn, found: list[Passage]) -> Selection:
    """Some of the passages in any order, the others left out, with findings about any of them."""
    order = draw(st.permutations(found))
    kept = draw(st.integers(0, len(order)))
    parts = st.builds(ScoreParts, reals, reals, reals, reals)
    disputants = st.lists(texts, max_size=2).map(tuple)
    evidence = [
        Evidence(
            passage=item,
            score=draw(reals),
            score_parts=draw(parts),
            rank_in=rank,
            tokens=draw(counts),
            support=draw(counts),
            conflict_group=draw(st.none() | counts),
            disputed_by=draw(disputants),
        )
        for rank, item in enumerate(order[:kept], start=1)
    ]
    left_out = [
        Exclusion(item.passage_id, draw(st.sampled_from(ExclusionReason)), draw(st.none() | texts))
        for item in order[kept:]
    ]
    claims = st.builds(Claim, texts, texts, spans, texts, spans)
    contradictions = st.builds(Contradiction, st.sampled_from(ContradictionKind), reals, texts, claims, claims)
    ambiguities = st.builds(Ambiguity, texts, reals, texts, claims, claims)
    return Selection(
        tuple(evidence),
        tuple(left_out),
        tuple(draw(st.lists(contradictions, max_size=2))),
        tuple(draw(st.lists(ambiguities, max_size=2))),
    )


@st.composite
def results(draw: st.DrawFn, query_id: str) -> QueryResult:
    """One query with anything in it."""
    query = Query(query_id, draw(some_text), draw(st.none() | texts), draw(st.none() | texts))
    found = draw(st.lists(passages, max_size=4, unique_by=lambda passage: passage.passage_id))
    stages = st.builds(StageRecord, texts, st.sampled_from(Arm), reals, counts, counts, st.booleans())
    guard = st.builds(
        FallbackDecision, st.sampled_from(Decision), st.sampled_from(Reason), st.none() | counts, st.booleans()
    )
    selection = draw(selections(found))
    trace = Trace(
        query=query,
        guard=draw(guard),
        decision=draw(st.sampled_from(Decision)),
        reason=draw(st.sampled_from(Reason)),
        ranking=Ranking(tuple(ScoredPassage(passage, draw(reals)) for passage in found)),
        legacy=draw(st.none() | st.just(selection)),
        redo=draw(st.none() | st.just(selection)),
        budget_ms=draw(reals),
        latency_ms=draw(reals),
        deadline_hit=draw(st.booleans()),
        stages=tuple(draw(st.lists(stages, max_size=3))),
        error=draw(st.none() | texts),
    )
    return QueryResult(query, trace.decision, trace.reason, selection, trace)


@st.composite
def chunks(draw: st.DrawFn) -> list[QueryResult]:
    """Up to three queries with different ids."""
    ids = draw(st.lists(some_text, min_size=1, max_size=3, unique=True))
    return [draw(results(query_id)) for query_id in ids]


def expected_documents(result: QueryResult) -> list[dict[str, object]]:
    """What the ledger shall say of the passages."""
    selection = result.selection
    ranks = {item.passage.passage_id: rank for rank, item in enumerate(selection.evidence, start=1)}
    evidence = {item.passage.passage_id: item for item in selection.evidence}
    reasons = {item.passage_id: (str(item.reason), item.because_of) for item in selection.exclusions}
    documents: list[dict[str, object]] = []
    for scored in result.trace.ranking.items:
        passage = scored.passage
        name = passage.passage_id
        chosen = evidence.get(name)
        documents.append(
            {
                "id": name,
                "content": passage.text,
                "score": scored.score,
                "source": passage.source,
                "published_at": passage.published_at,
                "rank_out": ranks.get(name),
                "selected": chosen is not None,
                "exclusion": reasons.get(name, (None, None)),
                "order_score": chosen and chosen.score,
                "recency": chosen and chosen.score_parts.recency,
                "disputed_by": chosen and list(chosen.disputed_by),
                "conflict_group": chosen and chosen.conflict_group,
            }
        )
    return documents


def stored_document(item: dict[str, object]) -> dict[str, object]:
    """The same facts of a stored passage."""
    same = ("id", "content", "score", "source", "published_at", "rank_out", "selected", "order_score", "disputed_by")
    return {name: item[name] for name in same} | {
        "exclusion": (item["exclusion_reason"], item["excluded_because_of"]),
        "recency": item["score_recency"],
        "conflict_group": item["conflict_group"],
    }


def expected_conflicts(selection: Selection) -> list[tuple[object, ...]]:
    """What the ledger shall say of the findings."""
    contradictions = [
        (str(item.kind), item.score, item.stage, None, *said(item.left), *said(item.right))
        for item in selection.contradictions
    ]
    ambiguities = [
        ("ambiguity", item.score, item.stage, item.name, *said(item.left), *said(item.right))
        for item in selection.ambiguities
    ]
    return contradictions + ambiguities


def said(claim: Claim) -> tuple[object, ...]:
    """One side of a finding."""
    sentence, value = claim.sentence_span, claim.value_span
    return (claim.passage_id, claim.sentence, sentence.start, sentence.end, claim.value, value.start, value.end)


@settings(max_examples=40, deadline=None)
@given(chunk=chunks())
def test_what_is_written_is_read_back(chunk: list[QueryResult]) -> None:
    """Any text, number and time survives Parquet and DuckDB, in its place."""
    run = a_run()
    ids = trace_ids(chunk, run=run)
    with TemporaryDirectory() as folder:
        payload = encode_traces(chunk, run=run, recorded_at=RECORDED_AT)
        assert payload == encode_traces(chunk, run=run, recorded_at=RECORDED_AT)
        open_store(folder).append(object_key(run.batch_id, 0, ids, date(2026, 3, 1)), payload)
        with closing(connect(folder)) as connection:
            names = [column[0] for column in connection.execute("from traces").description]
            rows = {
                row["trace_id"]: row for row in (dict(zip(names, row, strict=True)) for row in connection.fetchall())
            }
    assert rows.keys() == set(ids)
    for trace_id, result in zip(ids, chunk, strict=True):
        row, trace = rows[trace_id], result.trace
        assert (row["query_id"], row["query_text"]) == (trace.query.query_id, trace.query.text)
        assert (row["decision"], row["reason"], row["error"]) == (trace.decision, trace.reason, trace.error)
        assert (row["guard_decision"], row["guard_reason"]) == (trace.guard.decision, trace.guard.reason)
        assert (row["bucket"], row["shadow"]) == (trace.guard.bucket, trace.guard.shadow)
        assert (row["latency_ms"], row["budget_ms"]) == (trace.latency_ms, trace.budget_ms)
        assert row["legacy_selection"] == (None if trace.legacy is None else list(trace.legacy.passage_ids))
        assert [stored_document(item) for item in row["documents"]] == expected_documents(result)
        assert [tuple(item.values()) for item in row["conflicts"]] == expected_conflicts(result.selection)
        assert [tuple(item.values()) for item in row["stages"]] == [
            (s.name, s.arm, s.latency_ms, s.items_in, s.items_out, s.complete) for s in trace.stages
        ]


@given(
    batch_id=st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=100),
    chunk_index=st.integers(0, 10**7),
    ids=st.lists(st.text("0123456789abcdef", min_size=32, max_size=32), max_size=5),
    dt=st.dates(),
)
def test_a_key_is_one_file_in_its_day(batch_id: str, chunk_index: int, ids: list[str], dt: date) -> None:
    """Every batch id that is allowed gives a key inside the day's folder, which ends in .parquet."""
    key = object_key(batch_id, chunk_index, ids, dt)
    assert re.fullmatch(r"traces/dt=\d{4}-\d\d-\d\d/[^/]+-\d{5,}-[0-9a-f]{16}\.parquet", key)
    assert is_inside(key)
    assert Path(key).parent.name == f"dt={dt.isoformat()}"
