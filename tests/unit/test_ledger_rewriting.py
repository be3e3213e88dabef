"""The parts of a rewrite: rows of older files, ids that were seen, content that goes."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import StoreError
from ledger.conform import conform
from ledger.encode import encode_traces, keyed_hash
from ledger.schema import FILE_SCHEMA
from ledger.scrub import scrub, to_forget
from ledger.seen import SeenIds
from tests.ledger_samples import RECORDED_AT, a_run
from tests.upkeep_samples import as_version_1, results

KEY = a_run().hash_key
AFTER = (RECORDED_AT + timedelta(days=1)).isoformat()


def table_of(payload: bytes) -> pa.Table:
    """The rows of a file."""
    return pq.read_table(io.BytesIO(payload))


def rows_of_two_people() -> pa.Table:
    """Two rows of ada, then two of bob, as stored."""
    both = [*results(0, 2, user="ada", session="s-a"), *results(2, 2, user="bob", session="s-b")]
    return table_of(encode_traces(both, run=a_run(), recorded_at=RECORDED_AT))


class TestConform:
    """Older rows in the current schema."""

    def test_rows_of_version_1_get_what_was_added_as_null(self) -> None:
        """All columns of version 1 keep their values; newer ones are null."""
        old = table_of(as_version_1(encode_traces(results(0, 3), run=a_run(), recorded_at=RECORDED_AT)))
        new = conform(old)
        assert new.schema.equals(FILE_SCHEMA)
        assert new.select(old.column_names).to_pylist() == old.to_pylist()
        added = [name for name in new.column_names if name not in old.column_names]
        assert added
        assert all(new.column(name).null_count == 3 for name in added)

    def test_a_field_inside_a_list_is_added(self) -> None:
        """A struct's missing field is null in every element; empty and null lists stay what they are."""
        old = pa.table({"x": pa.array([[{"a": 1}, {"a": 2}], [], None], pa.list_(pa.struct([("a", pa.int32())])))})
        kind = pa.list_(pa.struct([("b", pa.string()), ("a", pa.int64())]))
        new = conform(old.slice(0), schema=pa.schema([("x", kind)]))
        assert new.column("x").to_pylist() == [[{"b": None, "a": 1}, {"b": None, "a": 2}], [], None]
        assert conform(old.slice(1), schema=pa.schema([("x", kind)])).column("x").to_pylist() == [[], None]

    def test_what_every_row_must_have_cannot_be_made_up(self) -> None:
        """A missing column that is not nullable is an error that names it."""
        with pytest.raises(StoreError, match="'schema_version' is missing"):
            conform(pa.table({"query_id": ["q"]}))


class TestSeenIds:
    """The set of ids."""

    @given(st.lists(st.lists(st.integers(0, 30), max_size=12), max_size=12))
    def test_it_says_what_a_set_says(self, rounds: list[list[int]]) -> None:
        """The first of equal ids is new, in its round and in all; every later one is not."""
        seen, known = SeenIds(), set[str]()
        for numbers in rounds:
            ids = [f"{number << 120:032x}" for number in numbers]
            expected = []
            for trace_id in ids:
                expected.append(trace_id not in known)
                known.add(trace_id)
            assert seen.add(ids).tolist() == expected
            assert len(seen) == len(known)

    @pytest.mark.parametrize("wrong", ["", "abc", "g" * 32, "0" * 33])
    def test_other_texts_are_refused(self, wrong: str) -> None:
        """Only 32 hexadecimal digits are an id."""
        with pytest.raises(StoreError, match="expected 32 hexadecimal digits"):
            SeenIds().add([wrong])


class TestScrub:
    """Content that goes, and what stays."""

    def test_one_persons_content_goes_and_the_audit_stays(self) -> None:
        """Texts of ada's rows are gone, their ids, scores and decisions are not, and bob's rows are as they were."""
        before = conform(rows_of_two_people())
        after, changed = scrub(before, {keyed_hash("ada", key=KEY): AFTER})
        assert changed == 2
        assert after.schema.equals(FILE_SCHEMA)
        assert after.slice(2).to_pylist() == before.slice(2).to_pylist()
        for old, new in zip(before.slice(0, 2).to_pylist(), after.slice(0, 2).to_pylist(), strict=True):
            assert new["query_text"] is None
            assert new["forgotten_at"].isoformat() == AFTER
            assert {document["content"] for document in new["documents"]} == {None}
            for conflict in new["conflicts"]:
                assert (conflict["left_sentence"], conflict["right_value"], conflict["name"]) == ("", "", None)
            kept = ("trace_id", "query_id", "query_sha256", "decision", "reason", "user_hash", "stages", "latency_ms")
            assert [old[name] for name in kept] == [new[name] for name in kept]
            for name in ("id", "score", "rank_out", "selected", "content_digest"):
                assert [d[name] for d in old["documents"]] == [d[name] for d in new["documents"]]
            for name in ("kind", "score", "left_passage_id", "right_passage_id", "left_value_start"):
                assert [c[name] for c in old["conflicts"]] == [c[name] for c in new["conflicts"]]
        text = str(after.slice(0, 2).to_pylist())
        assert "bridge" not in text
        assert "1149" not in text

    def test_of_extras_only_the_pipeline_stays(self) -> None:
        """`extra_json` may hold anything; what a replay needs is no content."""
        table = conform(rows_of_two_people())
        place = table.column_names.index("extra_json")
        extras = ['{"note": "ada", "pipeline": {"top_k": 3}}', '{"note": "ada"}', '{"note": "bob"}', None]
        table = table.set_column(place, table.schema.field(place), pa.array(extras, type=pa.string()))
        after, _ = scrub(table, {keyed_hash("s-a", key=KEY): AFTER})
        assert after.column("extra_json").to_pylist() == ['{"pipeline":{"top_k":3}}', None, '{"note": "bob"}', None]

    def test_a_second_time_changes_nothing(self) -> None:
        """Rows that are marked are done."""
        forgotten = {keyed_hash("ada", key=KEY): AFTER}
        once, _ = scrub(conform(rows_of_two_people()), forgotten)
        assert scrub(once, forgotten) == (once, 0)

    def test_who_comes_back_later_is_recorded(self) -> None:
        """Rows recorded after the time of the request keep their content."""
        earlier = (RECORDED_AT - timedelta(microseconds=1)).astimezone(UTC).isoformat()
        table = conform(rows_of_two_people())
        assert scrub(table, {keyed_hash("ada", key=KEY): earlier}) == (table, 0)

    def test_each_person_has_a_time(self) -> None:
        """Of two people who were forgotten at different times, each row is judged by its own."""
        forgotten = {
            keyed_hash("ada", key=KEY): datetime(2020, 1, 1, tzinfo=UTC).isoformat(),
            keyed_hash("s-b", key=KEY): AFTER,
        }
        assert to_forget(rows_of_two_people(), forgotten).to_pylist() == [False, False, True, True]
