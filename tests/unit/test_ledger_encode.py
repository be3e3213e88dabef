"""Traces as Parquet: what each row says, that bytes and keys repeat, and that no person is named."""

from __future__ import annotations

import hashlib
import hmac
import io
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.digest import text_digest
from core.errors import BatchError
from core.model import (
    Claim,
    Contradiction,
    ContradictionKind,
    Decision,
    FallbackDecision,
    Passage,
    Query,
    Ranking,
    Reason,
    ScoredPassage,
    Selection,
    Span,
)
from core.trace import QueryResult, Trace, identify, input_digest
from ledger.encode import Evaluation, RunIdentity, encode_traces, object_key
from ledger.schema import FILE_SCHEMA, SCHEMA_VERSION
from tests.ledger_samples import RECORDED_AT, STARTED_AT, a_result, a_run, trace_ids


def rows_of(results: Sequence[QueryResult], run: RunIdentity | None = None) -> list[dict[str, object]]:
    """Encode and read back, maps as dicts."""
    payload = encode_traces(results, run=run or a_run(), recorded_at=RECORDED_AT)
    rows: list[dict[str, object]] = pq.read_table(io.BytesIO(payload)).to_pylist(maps_as_pydicts="strict")
    return rows


def a_failed_result() -> QueryResult:
    """A query whose REDO failed before it had a selection, with nobody known and nothing retrieved."""
    query = Query("q-bare", "Who?")
    trace = Trace(
        query=query,
        guard=FallbackDecision(Decision.REDO, Reason.ENABLED),
        decision=Decision.FALLBACK,
        reason=Reason.ORCHESTRATOR_ERROR,
        ranking=Ranking(()),
        legacy=Selection(),
        redo=None,
        budget_ms=400.0,
        latency_ms=1.0,
        deadline_hit=True,
        stages=(),
        error="UnicodeError: lone \udc80",
    )
    return QueryResult(query, trace.decision, trace.reason, Selection(), trace)


class TestRows:
    """One row a query."""

    def test_identity_time_and_run(self) -> None:
        """A row says which query of which batch it is, when it was written, and with what."""
        result = a_result(3)
        row = rows_of([result])[0]
        assert row["schema_version"] == SCHEMA_VERSION
        assert row["trace_id"] == identify("batch-1", result.query, config_digest="c" * 64).trace_id
        assert (row["batch_id"], row["query_id"], row["flow_run_id"]) == ("batch-1", "q-0003", "flow-run-1")
        assert row["input_digest"] == input_digest(result.query)
        assert (row["recorded_at"], row["started_at"]) == (RECORDED_AT, STARTED_AT)
        assert (row["latency_ms"], row["budget_ms"], row["deadline_hit"]) == (15.5, 400.0, False)
        assert row["model_versions"] == {"detector": "lexical 1", "retriever": "bm25s 0.3"}
        assert row["flags"] == {"orchestrator.redo_enabled": "true", "rollout_percentage": "25"}
        assert (row["rollout_percentage"], row["bucket"]) == (25, 41)

    def test_the_query_and_the_decision(self) -> None:
        """A row holds the question, its digest, who answered and what the guard had decided."""
        row = rows_of([a_result(3)])[0]
        assert row["query_text"] == "How long is bridge 3?"
        assert row["query_sha256"] == text_digest("How long is bridge 3?")
        assert (row["decision"], row["reason"]) == ("redo", "ENABLED")
        assert (row["guard_decision"], row["guard_reason"], row["shadow"]) == ("redo", "ENABLED", False)

    def test_documents_list_every_passage_in_the_order_of_retrieval(self) -> None:
        """Selected passages have their place and score parts; those left out have the reason instead."""
        result = a_result(0, documents=4)
        documents = rows_of([result])[0]["documents"]
        assert isinstance(documents, list)
        assert [item["id"] for item in documents] == ["p-0000-0", "p-0000-1", "p-0000-2", "p-0000-3"]
        first, last = documents[0], documents[3]
        passage = result.trace.ranking.items[0].passage
        assert first == {
            "id": "p-0000-0",
            "score": 9.0,
            "source": "site-p-0000-0",
            "published_at": STARTED_AT - timedelta(days=30),
            "rank_in": 1,
            "rank_out": 3,
            "selected": True,
            "exclusion_reason": None,
            "excluded_because_of": None,
            "support": 2,
            "conflict_group": 1,
            "disputed": True,
            "disputed_by": ["p-0000-1"],
            "tokens": 41,
            "content_digest": hashlib.sha256(passage.text.encode()).hexdigest(),
            "content": passage.text,
            "order_score": 1.5,
            "score_relevance": 1.0,
            "score_support": 1.5,
            "score_contradiction": 1.0,
            "score_recency": 1.0,
        }
        assert (last["selected"], last["rank_in"], last["rank_out"]) == (False, 4, None)
        assert (last["exclusion_reason"], last["excluded_because_of"]) == ("near_duplicate", "p-0000-0")
        assert [last[name] for name in ("support", "disputed", "tokens", "order_score", "score_recency")] == [None] * 5
        assert last["content"] is not None

    def test_conflicts_show_both_sentences_and_tell_ambiguity_apart(self) -> None:
        """A contradiction has its kind and no name; two things of one name are of kind ambiguity, with the name."""
        result = a_result()
        conflicts = rows_of([result])[0]["conflicts"]
        assert isinstance(conflicts, list)
        assert [(item["kind"], item["name"], item["score"], item["stage"]) for item in conflicts] == [
            ("numeric", None, 0.9, "numbers"),
            ("ambiguity", "bridge", 0.6, "slots"),
        ]
        texts = {item.passage.passage_id: item.passage.text for item in result.trace.ranking.items}
        for conflict in conflicts:
            for side in ("left", "right"):
                text = texts[conflict[f"{side}_passage_id"]]
                for part in ("sentence", "value"):
                    start, end = conflict[f"{side}_{part}_start"], conflict[f"{side}_{part}_end"]
                    assert text[start:end] == conflict[f"{side}_{part}"]

    def test_stages_stand_in_their_order(self) -> None:
        """Each stage has its arm, its time, its counts and whether it was complete."""
        assert rows_of([a_result()])[0]["stages"] == [
            {"name": "retrieve", "arm": "redo", "latency_ms": 2.5, "items_in": 0, "items_out": 4, "complete": True},
            {"name": "detect", "arm": "redo", "latency_ms": 4.0, "items_in": 4, "items_out": 2, "complete": False},
        ]

    def test_redo_is_described_where_it_ran_and_legacy_beside_it(self) -> None:
        """With both selections the documents are REDO's, and the legacy selection stands in its own column."""
        row = rows_of([a_result()])[0]
        assert row["selection_arm"] == "redo"
        assert row["legacy_selection"] == ["p-0000-0", "p-0000-1", "p-0000-2"]

    def test_legacy_is_described_where_redo_did_not_run(self) -> None:
        """Without a REDO selection the documents are the legacy one's, and no conflict is claimed."""
        row = rows_of([a_result(redo=False)])[0]
        assert row["selection_arm"] == "legacy"
        assert row["conflicts"] == []
        assert isinstance(row["documents"], list)
        assert [item["rank_out"] for item in row["documents"]] == [1, 2, 3, None]

    def test_a_legacy_selection_that_was_not_computed_is_null(self) -> None:
        """Null is not the same as an empty selection."""
        assert rows_of([a_result(legacy=False)])[0]["legacy_selection"] is None
        assert rows_of([a_failed_result()])[0]["legacy_selection"] == []

    def test_a_query_without_anything_is_a_row(self) -> None:
        """No passages, no stages, no ids: lists are empty, the rest is null, and any error text can be stored."""
        row = rows_of([a_failed_result()])[0]
        assert (row["documents"], row["conflicts"], row["stages"]) == ([], [], [])
        assert (row["session_hash"], row["user_hash"], row["bucket"]) == (None, None, None)
        assert (row["decision"], row["error"]) == ("fallback", "UnicodeError: lone \\udc80")

    def test_rows_do_not_borrow_from_each_other(self) -> None:
        """In a chunk of unlike queries each row has its own lists, in the order of the results."""
        results = [a_result(1, documents=3), a_failed_result(), a_result(2, documents=5, redo=False)]
        together = rows_of(results)
        assert together == [rows_of([result])[0] for result in results]
        assert [len(row["documents"]) for row in together if isinstance(row["documents"], list)] == [3, 0, 5]

    def test_the_state_of_rollout_and_breaker_stands_in_the_row(self) -> None:
        """Phase, attempt and breaker are those of the run, null where nobody says; the pipeline is in extra_json."""
        row = rows_of([a_result()])[0]
        assert [row[name] for name in ("phase", "phase_attempt", "breaker_state", "extra_json")] == [None] * 4
        run = replace(
            a_run(),
            phase="gradual",
            phase_attempt=2,
            breaker_state="half_open",
            pipeline={"top_k": 20, "budget_s": 0.4},
        )
        row = rows_of([a_result()], run)[0]
        assert [row[name] for name in ("phase", "phase_attempt", "breaker_state")] == ["gradual", 2, "half_open"]
        assert row["extra_json"] == '{"pipeline":{"budget_s":0.4,"top_k":20}}'

    def test_scores_of_an_answer_stand_in_its_row(self) -> None:
        """Evaluations go by query id; a query without any has null, not an empty list."""
        scores = {
            "q-0002": (Evaluation(name="recall", score=0.5), Evaluation(name="tone", label="calm", explanation="."))
        }
        results = [a_result(number) for number in (1, 2, 3)]
        payload = encode_traces(results, run=a_run(), recorded_at=RECORDED_AT, evaluations=scores)
        column = pq.read_table(io.BytesIO(payload))["evaluations"].to_pylist()
        assert column[0] is column[2] is None
        assert column[1] == [
            {"name": "recall", "score": 0.5, "label": None, "explanation": None},
            {"name": "tone", "score": None, "label": "calm", "explanation": "."},
        ]

    def test_a_chunk_without_queries_is_a_file_without_rows(self) -> None:
        """No results give a valid file with all columns."""
        payload = encode_traces([], run=a_run(), recorded_at=RECORDED_AT)
        assert pq.read_table(io.BytesIO(payload)).schema.names == FILE_SCHEMA.names

    def test_times_of_other_zones_are_kept_as_instants(self) -> None:
        """A time with an offset is the same instant when it is read back."""
        east = timezone(timedelta(hours=5, minutes=30))
        published = datetime(2026, 1, 1, 2, 30, tzinfo=east)
        result = a_result()
        scored = ScoredPassage(Passage("p", "text", published_at=published), 1.0)
        result = replace(result, trace=replace(result.trace, ranking=Ranking((scored,))))
        documents = rows_of([result])[0]["documents"]
        assert isinstance(documents, list)
        assert documents[0]["published_at"] == datetime(2025, 12, 31, 21, 0, tzinfo=UTC)


class TestFile:
    """The bytes as a whole."""

    def test_the_schema_is_the_written_one(self) -> None:
        """The file has exactly the columns, types and nullability of the schema."""
        payload = encode_traces([a_result()], run=a_run(), recorded_at=RECORDED_AT)
        assert pq.read_schema(pa.BufferReader(payload)).equals(FILE_SCHEMA)

    def test_the_same_input_gives_the_same_bytes(self) -> None:
        """Two encodings of equal values, flags and models in another order, are equal byte by byte."""
        run = a_run()
        turned = replace(
            run,
            flags=dict(list(run.flags.items())[::-1]),
            model_versions=dict(list(run.model_versions.items())[::-1]),
        )
        first = encode_traces([a_result(n) for n in range(20)], run=run, recorded_at=RECORDED_AT)
        second = encode_traces([a_result(n) for n in range(20)], run=turned, recorded_at=RECORDED_AT)
        assert first == second

    def test_repeated_passages_cost_little(self) -> None:
        """A text that many queries retrieve is stored once a chunk, however much text the chunk has."""
        texts = [" ".join(hashlib.sha256(b"%d-%d" % (n, word)).hexdigest() for word in range(60)) for n in range(400)]
        found = [ScoredPassage(Passage(f"p-{n}", text), 1.0) for n, text in enumerate(texts)]
        results = [
            replace(a_result(n), trace=replace(a_result(n).trace, ranking=Ranking(tuple(found[n % 20 :: 20]))))
            for n in range(100)
        ]
        payload = encode_traces(results, run=a_run(), recorded_at=RECORDED_AT)
        assert sum(map(len, texts)) > 1024 * 1024
        assert len(payload) < sum(map(len, texts))


class TestPersons:
    """Who asked stays out."""

    def test_ids_of_persons_are_hashed_with_the_key(self) -> None:
        """Session and user are HMAC-SHA256 under the run's key: another key gives other hashes."""
        row = rows_of([a_result()])[0]
        assert row["user_hash"] == hmac.new(b"key of the tests", b"user-9", hashlib.sha256).hexdigest()
        assert row["session_hash"] == hmac.new(b"key of the tests", b"session-7", hashlib.sha256).hexdigest()
        other = rows_of([a_result()], replace(a_run(), hash_key=b"other"))[0]
        assert other["user_hash"] != row["user_hash"]

    def test_plain_ids_and_the_key_are_nowhere(self) -> None:
        """Neither the ids nor the key are in any value of the row, nor in what a run shows of itself."""
        row = rows_of([a_result()])[0]
        shown = f"{row!r} {a_run()!r}"
        assert not any(secret in shown for secret in ("session-7", "user-9", "key of the tests"))


class TestSecrets:
    """What is masked before anything is written."""

    ADDRESS = "bob@example.org"

    def a_leaky_result(self) -> QueryResult:
        """A result with an address in every text that has one."""
        text = f"Ask {self.ADDRESS} about it. He says 1932."
        result = a_result()
        query = replace(result.query, text=f"Who is {self.ADDRESS}?")
        ranking = Ranking(
            tuple(
                replace(item, passage=replace(item.passage, text=text, source=self.ADDRESS))
                for item in result.trace.ranking.items
            )
        )
        quoted = Claim("p-0000-0", text[:24], Span(0, 24), "bob", Span(4, 7))
        elsewhere = Claim("unknown", self.ADDRESS, Span(0, 15), self.ADDRESS, Span(0, 15))
        found = Contradiction(ContradictionKind.NUMERIC, 0.9, "numbers", quoted, elsewhere)
        redo = replace(result.selection, contradictions=(found,), ambiguities=())
        trace = replace(result.trace, query=query, ranking=ranking, redo=redo, error=f"no {self.ADDRESS}")
        return replace(result, query=query, trace=trace)

    def test_a_secret_is_in_no_text_of_the_row(self) -> None:
        """Query, passages, sources, sentences, values, error, evaluations and extras are all masked."""
        run = replace(a_run(), pipeline={"note": [self.ADDRESS]})
        scores = {"q-0000": [Evaluation(name="x", label=self.ADDRESS, explanation=self.ADDRESS)]}
        payload = encode_traces([self.a_leaky_result()], run=run, recorded_at=RECORDED_AT, evaluations=scores)
        row = pq.read_table(io.BytesIO(payload)).to_pylist()[0]
        assert "bob" not in repr(row)
        assert row["query_text"] == "Who is ***************?"
        assert row["extra_json"] == '{"pipeline":{"note":["***************"]}}'

    def test_what_a_finding_quotes_is_masked_as_the_passage_is(self) -> None:
        """A value that shows nothing of what it is part of is masked with it, and the spans still point at it."""
        row = rows_of([self.a_leaky_result()])[0]
        assert isinstance(row["conflicts"], list)
        assert isinstance(row["documents"], list)
        finding, content = row["conflicts"][0], row["documents"][0]["content"]
        assert finding["left_value"] == "***"
        assert finding["left_sentence"] == content[finding["left_sentence_start"] : finding["left_sentence_end"]]
        assert finding["right_value"] == "*" * 15

    def test_the_row_says_how_much_was_masked(self) -> None:
        """By pattern: four passages and sources, query, error, and what is quoted from elsewhere; null without any."""
        assert rows_of([self.a_leaky_result()])[0]["redactions"] == {"email": 12}
        assert rows_of([a_result()])[0]["redactions"] is None

    def test_digests_are_those_of_the_texts_as_they_came(self) -> None:
        """Whoever has the text can tell that it is the one; the mask does not change what it is."""
        result = self.a_leaky_result()
        row = rows_of([result])[0]
        assert row["query_sha256"] == text_digest(result.query.text)
        assert isinstance(row["documents"], list)
        assert row["documents"][0]["content_digest"] == text_digest(result.trace.ranking.items[0].passage.text)


class TestObjectKey:
    """The key of a chunk's object."""

    def test_the_key_says_day_batch_chunk_and_content(self) -> None:
        """The key is made of the day, the batch, the chunk's number and a digest of the trace ids."""
        ids = trace_ids([a_result(1), a_result(2)], run=a_run())
        key = object_key("batch-1", 7, ids, date(2026, 3, 1))
        digest = hashlib.sha256(f'["{ids[0]}","{ids[1]}"]'.encode()).hexdigest()[:16]
        assert key == f"traces/dt=2026-03-01/batch-1-00007-{digest}.parquet"

    def test_a_retried_task_gets_the_same_key(self) -> None:
        """Attempt and time change nothing; other traces, chunks, batches and days do."""
        ids = trace_ids([a_result(1)], run=a_run())
        day = date(2026, 3, 1)
        assert trace_ids([a_result(1)], run=a_run(attempt=2)) == ids
        keys = {
            object_key("b", 0, ids, day),
            object_key("b", 1, ids, day),
            object_key("c", 0, ids, day),
            object_key("b", 0, ids, date(2026, 3, 2)),
            object_key("b", 0, [*ids, "x"], day),
        }
        assert len(keys) == 5

    @pytest.mark.parametrize("batch_id", ["../x", "a/b", "", "a" * 101, "a b", "a\n", "é"])
    def test_no_batch_id_leads_out_of_the_folder(self, batch_id: str) -> None:
        """A batch id with other characters is refused."""
        with pytest.raises(BatchError, match="batch id"):
            object_key(batch_id, 0, ["x"], date(2026, 3, 1))
