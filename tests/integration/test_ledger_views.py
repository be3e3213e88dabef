"""What the views show of what is committed, replaced, doubled and of another version; and the macros beside them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import closing
from datetime import date
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ledger.schema
from core.model import Decision
from ledger.encode import encode_traces, object_key
from ledger.manifest import manifest_key
from ledger.objects import open_store
from ledger.query import run_query
from ledger.view_sql import VIEWS
from ledger.views import connect
from tests.committed_ledger import DAY, NEXT_DAY, commit, stored_object, write, write_checkpoint
from tests.ledger_samples import RECORDED_AT, a_result, a_run, trace_ids

BACKENDS = pytest.mark.parametrize("extension", [True, False], ids=["duckdb", "pyarrow"])


@pytest.fixture(params=["local", "s3"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty ledger on each kind of store."""
    if request.param == "local":
        return str(tmp_path / "it's a [ledger]*")
    return f"s3://{request.getfixturevalue('s3_bucket')}/it's a/ledger"


def asked(uri: str, sql: str, *, extension: bool = True, uncommitted: bool = False) -> list[tuple[object, ...]]:
    """The rows of a query of ours."""
    with closing(connect(uri, extension=extension, uncommitted=uncommitted)) as connection:
        return connection.execute(sql).fetchall()


def a_payload(*numbers: int, batch_id: str = "batch-1") -> bytes:
    """The file of some queries."""
    return encode_traces([a_result(n) for n in numbers], run=a_run(batch_id), recorded_at=RECORDED_AT)


def a_key(name: str, chunk: int, day: date = DAY) -> str:
    """A key; the digest is of no matter."""
    return f"traces/dt={day}/{name}-{chunk:05d}-{'0' * 16}.parquet"


class TestCommitted:
    """What counts is shown, and nothing else."""

    @BACKENDS
    def test_rows_count_with_their_manifest(self, uri: str, *, extension: bool) -> None:
        """An object that nobody has committed is seen only by who asks for it."""
        write(uri, [a_result(0)])
        commit(uri, a_key("batch-1", 1), a_payload(1), manifested=False)
        assert asked(uri, "select query_id from traces", extension=extension) == [("q-0000",)]
        everything = asked(uri, "select query_id from traces order by all", extension=extension, uncommitted=True)
        assert everything == [("q-0000",), ("q-0001",)]
        assert run_query(uri, "select count(*) from traces", uncommitted=True).rows == ((2,),)

    @BACKENDS
    def test_a_rewritten_object_is_shown_for_those_it_replaces(self, uri: str, *, extension: bool) -> None:
        """After compaction each row is seen once: from the new object, while the old ones still lie there."""
        old = [write(uri, [a_result(n)], chunk=n) for n in range(3)]
        new, payload = a_key("day", 0), a_payload(0, 1)
        commit(uri, new, payload, manifested=False)
        write_checkpoint(uri, 1, objects=[stored_object(new, payload, rows=2)], replaced=old[:2])
        rows = asked(uri, "select query_id from traces order by all", extension=extension)
        assert rows == [("q-0000",), ("q-0001",), ("q-0002",)]
        sql = "select object_key, state, rewritten, rows, writer is null from manifests order by rewritten"
        assert asked(uri, sql, extension=extension) == [
            (old[2], "live", False, 1, False),
            (new, "live", True, 2, True),
        ]

    @BACKENDS
    def test_the_rewritten_row_goes_before_the_one_that_came_back(self, uri: str, *, extension: bool) -> None:
        """Where a chunk is delivered again after it was rewritten, what was removed from it stays removed."""
        key = write(uri, [a_result(0)])
        table = pq.read_table(io.BytesIO(a_payload(0)))
        blank = pa.array([None], table.schema.field("query_text").type)
        sink = io.BytesIO()
        pq.write_table(table.set_column(table.schema.get_field_index("query_text"), "query_text", blank), sink)
        new = a_key("zz", 0)  # behind the other by name
        commit(uri, new, sink.getvalue(), manifested=False)
        write_checkpoint(uri, 1, objects=[stored_object(new, sink.getvalue(), rows=1)], replaced=[])
        assert open_store(uri).read(key)
        assert asked(uri, "select query_id, query_text from traces", extension=extension) == [("q-0000", None)]

    @BACKENDS
    def test_a_missing_object_is_told(self, uri: str, *, extension: bool) -> None:
        """The rest is shown; the answer names what is gone, and so does the view of manifests."""
        key = write(uri, [a_result(0)])
        write(uri, [a_result(1)], chunk=1)
        open_store(uri).delete(key)
        assert asked(uri, "select query_id from traces", extension=extension) == [("q-0001",)]
        states = asked(uri, "select state, rows from manifests order by state", extension=extension)
        assert states == [("live", 1), ("missing", 1)]
        assert run_query(uri, "select 1").missing == (key,)

    def test_all_gone_is_an_empty_ledger_with_manifests(self, uri: str) -> None:
        """Every view can be read though no object is left."""
        key = write(uri, [a_result(0)])
        open_store(uri).delete(key)
        assert [len(run_query(uri, f"from {view}").rows) for view in VIEWS] == [0, 0, 0, 0, 0, 0, 1]

    def test_only_later_days_are_opened(self, uri: str) -> None:
        """`since` leaves out objects by their names: one of an earlier day may be broken."""
        commit(uri, "traces/dt=2026-02-28/broken.parquet", b"no Parquet")
        write(uri, [a_result(0)])
        write(uri, [a_result(1)], chunk=1, day=NEXT_DAY)
        assert run_query(uri, "select query_id from traces order by 1", since=DAY).rows == (("q-0000",), ("q-0001",))
        assert run_query(uri, "select query_id from traces", since=NEXT_DAY).rows == (("q-0001",),)
        assert run_query(uri, "select count(*) from manifests", since=NEXT_DAY).rows == ((1,),)

    def test_a_manifest_says_what_was_written(self, uri: str) -> None:
        """The view has the chain's links and the times as times."""
        key = write(uri, [a_result(0), a_result(1)])
        (row,) = run_query(uri, "select * from manifests").records()
        payload = open_store(uri).read(key)
        assert open_store(uri).read(manifest_key(key))
        told = stored_object(key, payload, rows=2)
        assert {name: row[name] for name in ("object_key", "rows", "bytes", "sha256", "batch_ids", "dt")} == {
            "object_key": key,
            "rows": 2,
            "bytes": len(payload),
            "sha256": told.sha256,
            "batch_ids": ["batch-1"],
            "dt": "2026-03-01",
        }
        assert (row["writer"], row["sequence"], row["spooled"]) == ("0123456789abcdef", 1, False)
        assert (row["committed_at"], row["previous_key"]) == ("2026-03-01T08:05:01+00:00", None)


class TestDoubles:
    """A trace id in two objects."""

    @BACKENDS
    def test_a_batch_that_was_cut_anew_is_shown_once(self, uri: str, *, extension: bool) -> None:
        """Other chunks of the same queries: every view counts each query once, and other batches stay whole."""
        write(uri, [a_result(n) for n in range(4)])
        write(uri, [a_result(n) for n in range(2)])
        write(uri, [a_result(n) for n in range(2, 4)], chunk=1)
        write(uri, [a_result(n) for n in range(3)], batch_id="batch-2")
        counts = asked(uri, "select batch_id, count(*) from traces group by 1 order by 1", extension=extension)
        assert counts == [("batch-1", 4), ("batch-2", 3)]
        assert asked(uri, "select count(*) from documents", extension=extension) == [(28,)]

    def test_without_doubt_no_id_is_looked_at(self, uri: str) -> None:
        """In an ordinary ledger counting reads no column."""
        write(uri, [a_result(0)])
        with closing(connect(uri)) as connection:
            tables = connection.execute(
                "select table_name from duckdb_tables() where schema_name = 'stored'"
            ).fetchall()
        assert ("doubles",) not in tables


class TestVersions:
    """Files of schema version 1 and of today's together."""

    @BACKENDS
    @pytest.mark.parametrize("first", [True, False], ids=["older first", "newer first"])
    def test_both_are_read_in_either_order(self, uri: str, *, extension: bool, first: bool) -> None:
        """Columns that version 1 had not are null in its rows; nothing else differs."""
        golden = orjson.loads((Path(ledger.schema.__file__).parent / "schema_v1.json").read_bytes())
        commit(uri, a_key("a" if first else "c", 0), as_version(golden, a_payload(1, batch_id="old")))
        write(uri, [a_result(2)], batch_id="b")
        rows = asked(uri, "select query_id, query_text is null from traces order by 1", extension=extension)
        assert rows == [("q-0001", False), ("q-0002", False)]
        documents = asked(uri, "select count(*), count(content) from documents", extension=extension)
        assert documents == [(8, 8)]
        new = set(ledger.schema.FILE_SCHEMA.names) - {field["name"] for field in golden["fields"]}
        with closing(connect(uri, extension=extension)) as connection:
            old = connection.execute("from traces where batch_id = 'old'").to_arrow_table()
        assert {name: old.column(name).null_count for name in new} == dict.fromkeys(new, 1)


def as_version(golden: Mapping[str, list[Mapping[str, object]]], payload: bytes) -> bytes:
    """The file as a writer of an older version would have made it: without the columns that came later."""
    table = pq.read_table(io.BytesIO(payload))
    kept = [str(field["name"]) for field in golden["fields"]]
    sink = io.BytesIO()
    pq.write_table(table.select(kept), sink)
    return sink.getvalue()


class TestLatest:
    """`latest_traces`."""

    def test_the_newest_of_each_query(self, uri: str) -> None:
        """A query that ran in two batches is shown as it was recorded last."""
        write(uri, [a_result(0), a_result(1)])
        run = a_run("batch-2", attempt=2)
        later = [a_result(1)]
        payload = encode_traces(later, run=run, recorded_at=RECORDED_AT.replace(hour=9))
        commit(uri, object_key("batch-2", 0, trace_ids(later, run=run), NEXT_DAY), payload)
        rows = run_query(uri, "select query_id, batch_id from latest_traces order by 1").rows
        assert rows == (("q-0000", "batch-1"), ("q-0001", "batch-2"))


class TestMacros:
    """What people ask again and again; a user's SQL may call them."""

    @pytest.fixture
    def two(self, tmp_path: Path) -> str:
        """Batch A has queries 0 to 3, B has 2 to 5; of query 3 B has another selection, of query 5 legacy answered."""
        uri = str(tmp_path)
        write(uri, [a_result(n) for n in range(4)], batch_id="A")
        others = [a_result(2), a_result(3, documents=5), a_result(4), a_result(5, redo=False)]
        write(uri, others, batch_id="B")
        return uri

    def test_latency_by_version(self, two: str) -> None:
        """One row a version, configuration and decision, with percentiles as DuckDB interpolates them."""
        (legacy, redo) = run_query(two, "from latency_by_version()").records()
        assert (legacy["decision"], legacy["n"], legacy["p50"]) == (Decision.LEGACY, 1, 17.5)
        assert (redo["decision"], redo["n"], redo["p50"], redo["max"]) == (Decision.REDO, 7, 14.5, 16.5)
        assert redo["config"] == "c" * 12

    def test_percentiles_of_anything(self, two: str) -> None:
        """The macro stands where an aggregate does."""
        sql = "select batch_id, percentiles(latency_ms).p50 from traces group by 1 order by 1"
        assert run_query(two, sql).rows == (("A", 14.0), ("B", 16.0))

    def test_two_versions_compared(self, two: str) -> None:
        """Every measure of both, and the change; a version that is not there has none."""
        rows = {row[0]: row[1:] for row in run_query(two, "from compare_versions('A', 'B')").rows}
        assert rows["traces"] == (4.0, 4.0, 0.0)
        assert rows["redo_share"] == (1.0, 0.75, -0.25)
        assert rows["latency_p50_ms"] == (14.0, 16.0, 2.0)
        nobody = {row[0]: row[1:] for row in run_query(two, "from compare_versions('A', 'nobody')").rows}
        assert nobody["traces"] == (4.0, None, None)

    def test_churn_query_by_query(self, two: str) -> None:
        """Only queries of both are compared: what came, what went, and whether the first passage is another."""
        sql = "select query_id, churn, added, removed, first_changed, jaccard from churn('A', 'B') order by query_id"
        assert run_query(two, sql).rows == (
            ("q-0002", "same", [], [], False, 1.0),
            ("q-0003", "changed", ["p-0003-3"], [], True, 0.75),
        )

    def test_the_order_alone_is_churn_too(self, tmp_path: Path) -> None:
        """REDO's selection and the legacy one of the same passages differ in order."""
        write(str(tmp_path), [a_result(0)], batch_id="A")
        write(str(tmp_path), [a_result(0, redo=False)], batch_id="B")
        rows = run_query(str(tmp_path), "select churn, decision_a, decision_b, jaccard from churn('A', 'B')").rows
        assert rows == (("reordered", "redo", "legacy", 1.0),)

    def test_a_version_is_a_code_version_a_batch_or_a_configuration(self, two: str) -> None:
        """Six digits of the digest are enough, five are not."""
        for wanted, traces in (("0.1.0", 8), ("A", 4), ("c" * 6, 8), ("c" * 5, None), ("", None)):
            rows = run_query(two, f"select a from compare_versions('{wanted}', 'A') where measure = 'traces'").rows  # noqa: S608
            assert rows == ((traces,),)


class TestConflicts:
    """Who loses."""

    def test_sides_have_their_sources(self, uri: str) -> None:
        """Both passages of a finding are looked up among the documents; equal support has no loser."""
        write(uri, [a_result(1)])
        sql = "select left_source, right_source, loser from conflicts where kind = 'numeric'"
        assert run_query(uri, sql).rows == (("site-p-0001-0", "site-p-0001-1", None),)

    @pytest.mark.parametrize(
        ("left", "right", "loser"),
        [
            ({"support": 3}, {"support": 1}, "right"),
            ({"support": 1}, {"support": 2}, "left"),
            ({"support": 2}, {"support": 2}, None),
            ({"support": 1}, {"selected": False, "support": None}, "right"),
            ({"selected": False, "support": None}, {"support": 1}, "left"),
            ({"selected": False, "support": None}, {"selected": False, "support": None}, None),
        ],
    )
    def test_the_loser_has_less_support_or_is_left_out(
        self, tmp_path: Path, left: Mapping[str, object], right: Mapping[str, object], loser: str | None
    ) -> None:
        """An ambiguity has no loser, whatever the documents say."""
        table = pq.read_table(io.BytesIO(a_payload(0)))
        (documents,) = table["documents"].to_pylist()
        for passage_id, changes in (("p-0000-0", left), ("p-0000-1", right)):
            next(found for found in documents if found["id"] == passage_id).update(changes)
        place = table.schema.get_field_index("documents")
        changed = table.set_column(place, "documents", pa.array([documents], table.schema.field(place).type))
        sink = io.BytesIO()
        pq.write_table(changed, sink)
        commit(str(tmp_path), a_key("batch-1", 0), sink.getvalue())
        rows = run_query(str(tmp_path), "select kind, loser from conflicts order by kind").rows
        assert rows == (("ambiguity", None), ("numeric", loser))
