"""Rows that are too long: what goes first, how it is marked, and that the sizes are true."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from core.digest import canonical_json
from core.trace import QueryResult
from ledger.encode import Evaluation, RunIdentity, TracePolicy, encode_traces, trace_rows
from ledger.level import MIN_TRACE_BYTES
from ledger.rows import SIZES
from ledger.truncation import shorten
from tests.ledger_samples import RECORDED_AT, a_result, a_run

RUN = replace(a_run(), pipeline={"top_k": 20, "token_budget": 1024})


def without_nulls(value: object) -> object:
    """What canonical JSON of a row holds."""
    if isinstance(value, dict):
        return {name: without_nulls(part) for name, part in value.items() if part is not None}
    if isinstance(value, list):
        return [without_nulls(part) for part in value]
    return value


def row_of(result: QueryResult, limit: int, *, run: RunIdentity = RUN, evaluations: bool = False) -> dict[str, Any]:
    """Encode with a limit and read back."""
    scores = {result.query.query_id: [Evaluation(name="recall", score=0.5, explanation="half of it. " * 50)]}
    payload = encode_traces(
        [result],
        run=run,
        recorded_at=RECORDED_AT,
        policy=TracePolicy(max_trace_bytes=limit),
        evaluations=scores if evaluations else None,
    )
    (row,) = pq.read_table(io.BytesIO(payload)).to_pylist(maps_as_pydicts="strict")
    return dict(row)


def bytes_of(row: dict[str, Any]) -> int:
    """Bytes of a row that was read, counted by building its JSON."""
    return len(canonical_json(without_nulls({name: value for name, value in row.items() if name not in SIZES})))


def long_result(documents: int = 20) -> QueryResult:
    """A result with long texts everywhere."""
    result = a_result(documents=documents)
    query = replace(result.query, text="Why? " * 700)
    return replace(result, query=query, trace=replace(result.trace, query=query, error="RuntimeError: " + "x" * 3_000))


def test_a_row_that_fits_says_its_size() -> None:
    """Both sizes are those of the row's canonical JSON without nulls, and nothing is marked."""
    row = row_of(a_result(), 100_000)
    assert row["payload_bytes"] == row["original_bytes"] == bytes_of(row)
    assert row["truncated_fields"] is None


def test_texts_of_passages_that_were_left_out_go_first() -> None:
    """A little too long: the last passage's text goes, that of the chosen ones stays."""
    whole = row_of(a_result(documents=6), 100_000)
    row = row_of(a_result(documents=6), whole["payload_bytes"] - 1)
    assert [item["content"] is None for item in row["documents"]] == [False] * 5 + [True]
    assert row["truncated_fields"] == ["documents.content"]
    assert (row["payload_bytes"], row["original_bytes"]) == (bytes_of(row), whole["payload_bytes"])


def test_then_texts_of_the_chosen_passages_the_last_placed_first() -> None:
    """The passage at the first place keeps its text longest."""
    whole = row_of(a_result(documents=6), 100_000)
    row = row_of(a_result(documents=6), whole["payload_bytes"] - 1_500)
    kept = [item["rank_out"] for item in row["documents"] if item["content"] is not None]
    assert 0 < len(kept) < 5
    assert sorted(kept) == list(range(1, len(kept) + 1))


def test_the_order_is_fixed() -> None:
    """The smaller the limit, the more goes, always in the same order."""
    marks = [row_of(long_result(), limit, evaluations=True)["truncated_fields"] for limit in range(30_000, 2_999, -250)]
    longest = marks[-1]
    assert longest[:8] == [
        "documents.content",
        "conflicts.sentence",
        "evaluations.explanation",
        "error",
        "query_text",
        "documents.detail",
        "conflicts",
        "documents",
    ]
    for mark in marks:
        assert (mark or []) == longest[: len(mark or [])]


def test_ids_scores_and_decisions_outlast_all_texts() -> None:
    """With no room for texts or detail the passages still stand there, with their scores and places."""
    whole, row = row_of(long_result(), 100_000), row_of(long_result(), 5_500)
    assert row["truncated_fields"][-1] == "documents.detail"
    for name in ("id", "score", "rank_in", "rank_out", "selected", "exclusion_reason", "order_score"):
        assert [item[name] for item in row["documents"]] == [item[name] for item in whole["documents"]]
    for name in (
        "trace_id",
        "query_id",
        "decision",
        "reason",
        "guard_reason",
        "input_digest",
        "session_hash",
        "bucket",
    ):
        assert row[name] == whole[name]
    assert len(row["query_text"]) == 200
    assert [item["left_sentence_end"] for item in row["conflicts"]] == [
        item["left_sentence_end"] for item in whole["conflicts"]
    ]


def test_what_does_not_fit_at_all_is_counted() -> None:
    """With the smallest limit passages are left out, the best of them last, and the row says how many."""
    row = row_of(long_result(100), MIN_TRACE_BYTES)
    left_out = orjson.loads(row["extra_json"])["left_out"]
    assert left_out["documents"] == 100 - len(row["documents"])
    assert bytes_of(row) <= MIN_TRACE_BYTES


def test_the_smallest_limit_holds_the_longest_ids() -> None:
    """Identity and decision fit with ids as long as records may have them, whatever else the run brings."""
    query = replace(long_result().query, query_id="𝄞" * 256, session_id="s" * 256, user_id="u" * 256)
    result = replace(long_result(), query=query)
    result = replace(result, trace=replace(result.trace, query=query))
    run = replace(
        RUN,
        batch_id="b" * 100,
        flow_run_id="f" * 36,
        model_versions={f"part-{n}": "v" * 100 for n in range(20)},
        flags={f"flag-{n}": "on" for n in range(50)},
        pipeline={"note": "n" * 5_000},
        phase="infrastructure",
        phase_attempt=2**31 - 1,
        breaker_state="half_open",
    )
    row = row_of(result, MIN_TRACE_BYTES, run=run, evaluations=True)
    assert bytes_of(row) <= MIN_TRACE_BYTES
    assert row["query_id"] == "𝄞" * 256
    assert row["truncated_fields"][-1] == "model_versions"


def test_shortening_changes_only_its_own_row() -> None:
    """What rows share stays whole in the others."""
    run = replace(RUN, flags={f"flag-{n}": "on" for n in range(200)})
    ids = [replace(a_result(number, calm=True)) for number in (1, 2)]
    rows = trace_rows(ids, run=run, recorded_at=RECORDED_AT)
    short = shorten(rows[0], MIN_TRACE_BYTES)
    assert short.get("flags") == {}
    assert len(rows[0].get("flags")) == len(rows[1].get("flags")) == 200


def test_an_error_that_is_no_utf_8_is_stored_as_escapes() -> None:
    """Whatever text an exception, a stage or a finding carries, the row can be written."""
    result = a_result()
    contradiction = result.selection.contradictions[0]
    broken = replace(contradiction, left=replace(contradiction.left, value="\ud800"))
    redo = replace(result.selection, contradictions=(broken,))
    row = row_of(replace(result, trace=replace(result.trace, redo=redo, error="lone \udc80")), 100_000)
    assert row["error"] == "lone \\udc80"
    assert row["conflicts"][0]["left_value"] == "\\ud800"


@pytest.mark.parametrize("limit", [100_000, 12_000, 6_000, 4_000, 3_000])
def test_a_limit_holds_with_everything_in(limit: int) -> None:
    """Stored rows are no longer than the limit, both sizes included."""
    row = row_of(long_result(60), limit, evaluations=True)
    assert len(canonical_json(without_nulls(row))) <= limit
    assert row["payload_bytes"] == bytes_of(row)
