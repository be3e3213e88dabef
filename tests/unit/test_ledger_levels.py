"""How much of a trace is kept: levels, the sample, and what is always kept whole."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from core.errors import ConfigError
from core.model import Decision, Reason, Selection
from core.trace import QueryResult
from ledger.encode import TracePolicy, encode_traces
from ledger.level import Level
from ledger.schema import dropped_at_min
from tests.ledger_samples import RECORDED_AT, a_result, a_run, trace_ids

MIN = TracePolicy(level=Level.MIN)


def rows_of(results: Sequence[QueryResult], policy: TracePolicy) -> list[dict[str, object]]:
    """Encode and read back."""
    payload = encode_traces(results, run=a_run(), recorded_at=RECORDED_AT, policy=policy)
    rows: list[dict[str, object]] = pq.read_table(io.BytesIO(payload)).to_pylist()
    return rows


def changed(result: QueryResult, **changes: object) -> QueryResult:
    """The result with another trace."""
    return replace(result, trace=replace(result.trace, **changes))  # type: ignore[arg-type]  # names are the test's


def test_min_keeps_decisions_ids_scores_and_ranks() -> None:
    """At min a row says who answered, and of each passage what became of it, but not what it says."""
    row = rows_of([a_result(1, calm=True)], MIN)[0]
    assert (row["level"], row["query_text"], row["decision"]) == ("min", "How long is bridge 1?", "redo")
    assert isinstance(row["documents"], list)
    first, last = row["documents"][0], row["documents"][-1]
    assert (first["id"], first["score"], first["rank_in"], first["rank_out"]) == ("p-0001-0", 9.0, 1, 3)
    assert (first["selected"], first["tokens"]) == (True, 41)
    assert (last["exclusion_reason"], last["excluded_because_of"]) == ("near_duplicate", "p-0001-0")
    assert row["legacy_selection"] == ["p-0001-0", "p-0001-1", "p-0001-2"]
    assert isinstance(row["stages"], list)
    assert [stage["name"] for stage in row["stages"]] == ["retrieve", "detect"]


def test_min_leaves_null_what_the_schema_says() -> None:
    """Exactly the fields that the schema marks are null in every passage of a row at min, and none is at full."""
    fields = [name.removeprefix("documents.") for name in dropped_at_min()]
    (least,), (most,) = rows_of([a_result(calm=True)], MIN), rows_of([a_result()], TracePolicy())
    assert isinstance(least["documents"], list)
    assert isinstance(most["documents"], list)
    for field in most["documents"][0]:
        if field not in ("exclusion_reason", "excluded_because_of"):  # the first passage is chosen
            assert most["documents"][0][field] is not None
            assert (least["documents"][0][field] is None) == (field in fields), field


@pytest.mark.parametrize(
    "result",
    [
        changed(a_result(calm=True), error="RuntimeError: x"),
        changed(a_result(calm=True), decision=Decision.FALLBACK, reason=Reason.TIMEOUT),
        changed(a_result(calm=True), deadline_hit=True),
        changed(a_result(), redo=replace(a_result().selection, ambiguities=())),
        changed(a_result(), redo=replace(a_result().selection, contradictions=())),
    ],
    ids=["error", "fallback", "deadline", "contradiction", "ambiguity"],
)
def test_what_somebody_will_look_into_is_kept_whole(result: QueryResult) -> None:
    """An error, a fallback, a late answer, a contradiction and an ambiguity are kept in full at min, unsampled."""
    for policy in (MIN, TracePolicy(sample_rate=0.0)):
        (row,) = rows_of([result], policy)
        assert row["level"] == "full"
        assert isinstance(row["documents"], list)
        assert all(item["content"] for item in row["documents"])


def test_every_query_has_its_row_whatever_the_sample() -> None:
    """The sample decides about detail: nobody's row is missing."""
    results = [a_result(number, calm=True) for number in range(200)]
    for rate in (0.0, 0.3, 1.0):
        rows = rows_of(results, TracePolicy(sample_rate=rate))
        assert [row["query_id"] for row in rows] == [result.query.query_id for result in results]
        full = sum(row["level"] == "full" for row in rows)
        assert rate * 200 - 30 <= full <= rate * 200 + 30


def test_the_sample_is_drawn_by_the_trace_id() -> None:
    """The same traces are in it every time, and a greater rate keeps all that a smaller one kept."""
    results = [a_result(number, calm=True) for number in range(200)]
    ids = trace_ids(results, run=a_run())

    def sampled(rate: float) -> set[str]:
        rows = rows_of(results, TracePolicy(sample_rate=rate))
        return {identity for identity, row in zip(ids, rows, strict=True) if row["level"] == "full"}

    assert sampled(0.2) == sampled(0.2)
    assert set() < sampled(0.2) < sampled(0.6) < set(ids)


def test_at_off_there_is_nothing_to_encode() -> None:
    """Who is told to keep nothing asks for no file."""
    with pytest.raises(ValueError, match="level off"):
        rows_of([a_result()], TracePolicy(level=Level.OFF))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"sample_rate": 1.5}, "LEDGER_SAMPLE_RATE: expected 0 to 1, not 1.5"),
        ({"sample_rate": float("nan")}, "LEDGER_SAMPLE_RATE: expected 0 to 1, not nan"),
        ({"max_trace_bytes": 2_999}, "LEDGER_MAX_TRACE_BYTES: expected at least 3000"),
    ],
)
def test_a_policy_that_cannot_be_kept_is_refused(values: dict[str, float], told: str) -> None:
    """The message names the setting and what was expected."""
    with pytest.raises(ConfigError, match=told):
        TracePolicy(**values)  # type: ignore[arg-type]  # the wrong values are the test


def test_an_answer_without_evidence_is_no_conflict() -> None:
    """A query that found nothing is kept as any other."""
    (row,) = rows_of([changed(a_result(calm=True), redo=Selection())], MIN)
    assert row["level"] == "min"
