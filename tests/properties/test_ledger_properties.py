"""Whatever a trace holds comes back from the ledger as it went in."""

from __future__ import annotations

import io
import re
import string
from dataclasses import replace
from datetime import UTC, date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from core.digest import canonical_json
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
from ledger.encode import TracePolicy, encode_traces, object_key, trace_rows
from ledger.level import MIN_TRACE_BYTES, Level
from ledger.location import is_inside
from ledger.redaction import DEFAULT_PATTERNS, Redaction
from ledger.rows import as_json_value, row_bytes
from ledger.truncation import shorten
from tests.ledger_samples import RECORDED_AT, a_run, trace_ids

UNMASKED = TracePolicy(redaction=Redaction())

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


def rows_of(payload: bytes) -> list[dict[str, Any]]:
    """The rows as DuckDB reads them."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "chunk.parquet"
        path.write_bytes(payload)
        found = duckdb.connect().read_parquet(str(path))
        return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


@settings(max_examples=40, deadline=None)
@given(chunk=chunks())
def test_what_is_written_is_read_back(chunk: list[QueryResult]) -> None:
    """Any text, number and time survives Parquet and DuckDB, in its place, where nothing is masked."""
    run = a_run()
    payload = encode_traces(chunk, run=run, recorded_at=RECORDED_AT, policy=UNMASKED)
    assert payload == encode_traces(chunk, run=run, recorded_at=RECORDED_AT, policy=UNMASKED)
    rows = rows_of(payload)
    assert [row["trace_id"] for row in rows] == list(trace_ids(chunk, run=run))
    for row, result in zip(rows, chunk, strict=True):
        trace = result.trace
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


def without_nulls(value: object) -> object:
    """What canonical JSON of a row holds."""
    if isinstance(value, dict):
        return {name: without_nulls(part) for name, part in value.items() if part is not None}
    if isinstance(value, list):
        return [without_nulls(part) for part in value]
    return value


levels = st.sampled_from([Level.MIN, Level.FULL])


@settings(max_examples=40, deadline=None)
@given(chunk=chunks(), level=levels)
def test_a_row_says_its_size(chunk: list[QueryResult], level: Level) -> None:
    """The size that is counted field by field is that of the canonical JSON that a reader builds of the row."""
    policy = TracePolicy(level=level, redaction=Redaction())
    payload = encode_traces(chunk, run=a_run(), recorded_at=RECORDED_AT, policy=policy)
    for row in pq.read_table(io.BytesIO(payload)).to_pylist(maps_as_pydicts="strict"):
        sizes = {row.pop("payload_bytes"), row.pop("original_bytes")}
        assert sizes == {len(canonical_json(without_nulls(row)))}


@st.composite
def long_results(draw: st.DrawFn) -> QueryResult:
    """One query with anything in it, its texts blown up, and its passages there many times."""
    result = draw(results("q"))
    times = draw(st.sampled_from([1, 30, 3_000]))
    copies = draw(st.sampled_from([1, 10, 50]))
    query = replace(result.query, text=result.query.text * times)
    items = [
        replace(
            item,
            passage=replace(
                item.passage, passage_id=f"{item.passage.passage_id}{copy}", text=item.passage.text * times
            ),
        )
        for copy in range(copies)
        for item in result.trace.ranking.items
    ]
    evidence = tuple(
        replace(item, passage=items[place].passage) for place, item in enumerate(result.selection.evidence)
    )
    contradictions = tuple(
        replace(item, left=replace(item.left, sentence=item.left.sentence * times, value=item.left.value * times))
        for item in result.selection.contradictions
    )
    redo = replace(result.selection, evidence=evidence, contradictions=contradictions * copies)
    error = result.trace.error and result.trace.error * times
    trace = replace(result.trace, query=query, ranking=Ranking(tuple(items)), redo=redo, error=error)
    return replace(result, query=query, trace=trace)


@settings(max_examples=50, deadline=None)
@given(result=long_results(), limit=st.integers(MIN_TRACE_BYTES, 40_000))
def test_any_row_ends_at_the_limit(result: QueryResult, limit: int) -> None:
    """At or under the limit, in valid UTF-8, twice is as once, and ids and decisions are there."""
    policy = TracePolicy(max_trace_bytes=limit)
    run = replace(a_run(), pipeline={"top_k": 20})
    (row,) = trace_rows([result], run=run, recorded_at=RECORDED_AT, policy=policy)
    whole = {**as_json_value(row), "payload_bytes": row.payload_bytes, "original_bytes": row.original_bytes}
    text = canonical_json(whole)  # raises where a text is no valid UTF-8
    assert len(text) <= limit
    assert row.payload_bytes == row_bytes(row)
    assert shorten(row, limit) == row
    (id_,) = trace_ids([result], run=run)
    assert (row.get("trace_id"), row.get("query_id")) == (id_, "q")
    assert (row.get("decision"), row.get("reason")) == (result.trace.decision, result.trace.reason)
    documents, ranking = row.tables["documents"], result.trace.ranking.items
    if "documents" not in (row.get("truncated_fields") or ()):
        assert documents["id"] == [item.passage.passage_id for item in ranking]
        assert documents["score"] == [item.score for item in ranking]
    assert (row.get("truncated_fields") is None) == (row.payload_bytes == row.original_bytes)


secrets = st.sampled_from(
    [
        "bob@example.org",
        "4111 1111 1111 1111",
        "password=hunter22",
        "AKIAABCDEFGHIJKLMNOP",
        "Bearer abcdefgh12345678",
        "@",
        "*",
        "=",
    ]
)


@settings(max_examples=200, deadline=None)
@given(
    parts=st.lists(secrets | st.text(string.ascii_letters + string.digits + " -.:;@*='\"é卡", max_size=12), max_size=8)
)
def test_masking_keeps_the_length_and_is_done_at_once(parts: list[str]) -> None:
    """A masked text is as long as it was, differs in masks only, and stays as it is when it is masked again."""
    text = "".join(parts)
    redaction = Redaction.of(DEFAULT_PATTERNS)
    masked, counts = redaction.masked(text)
    assert len(masked) == len(text)
    assert all(new in (old, "*") for old, new in zip(text, masked, strict=True))
    assert redaction.masked(masked) == (masked, {})
    assert bool(counts) == (masked != text)


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
