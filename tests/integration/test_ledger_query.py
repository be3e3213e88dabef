"""The ledger read through DuckDB, from a folder and from S3, with httpfs and without it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import ConfigError, InputError, StoreError, TransientStoreError
from ledger.encode import encode_traces
from ledger.query import QueryTable, find_trace, run_query
from ledger.schema import FILE_SCHEMA
from ledger.view_sql import VIEWS
from ledger.views import connect
from tests.committed_ledger import NEXT_DAY, commit, write
from tests.ledger_samples import RECORDED_AT, a_result, a_run, trace_ids


@pytest.fixture(params=["local", "s3"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty ledger; the path needs quoting and escaping wherever it goes into SQL or a pattern."""
    if request.param == "local":
        return str(tmp_path / "it's a [ledger]*")
    return f"s3://{request.getfixturevalue('s3_bucket')}/it's a/ledger"


@pytest.fixture
def ledger(empty: str) -> str:
    """Seven queries in two chunks of two days; query 3 stands in both."""
    write(empty, [a_result(n) for n in range(4)])
    write(empty, [a_result(3), *(a_result(n, redo=False) for n in range(4, 7))], chunk=1, day=NEXT_DAY)
    return empty


class TestViews:
    """What the views show."""

    def test_every_query_is_one_row(self, ledger: str) -> None:
        """An id that stands in two objects is shown once."""
        assert run_query(ledger, "select decision, count(*) as n from traces group by 1 order by 1") == QueryTable(
            ("decision", "n"), (("legacy", 3), ("redo", 4))
        )
        assert run_query(ledger, "select count(distinct trace_id), count(*) from traces").rows == ((7, 7),)

    def test_lists_are_unnested_with_the_ids_of_their_trace(self, ledger: str) -> None:
        """Each element is one row that says whose it is."""
        assert run_query(ledger, "select count(*) from documents").rows == ((28,),)
        table = run_query(
            ledger,
            "select batch_id, query_id, dt, id, rank_in, selected, exclusion_reason from documents "
            "where query_id = 'q-0001' order by rank_in desc limit 2",
        )
        assert table.records() == [
            {
                "batch_id": "batch-1",
                "query_id": "q-0001",
                "dt": "2026-03-01",
                "id": "p-0001-3",
                "rank_in": 4,
                "selected": False,
                "exclusion_reason": "near_duplicate",
            },
            {
                "batch_id": "batch-1",
                "query_id": "q-0001",
                "dt": "2026-03-01",
                "id": "p-0001-2",
                "rank_in": 3,
                "selected": True,
                "exclusion_reason": None,
            },
        ]
        kinds = run_query(
            ledger, "select kind, count(*) from conflicts where query_id = 'q-0001' group by 1 order by 1"
        )
        assert kinds.rows == (("ambiguity", 1), ("numeric", 1))
        assert run_query(ledger, "select name, count(*) from stages group by 1 order by 1").rows == (
            ("detect", 7),
            ("retrieve", 7),
        )

    def test_decisions_hold_the_decision_without_the_lists(self, ledger: str) -> None:
        """The narrow view answers who decided what, and under which flags."""
        rows = run_query(
            ledger,
            "select query_id, decision, reason, flags['orchestrator.redo_enabled'] from decisions "
            "where latency_ms >= 15.5 order by query_id limit 2",
        ).rows
        assert rows == (("q-0003", "redo", "ENABLED", "true"), ("q-0004", "legacy", "FLAG_OFF", "true"))

    def test_a_day_is_a_date(self, ledger: str) -> None:
        """The partition is compared as a date."""
        assert run_query(ledger, "select count(*) from traces where dt >= date '2026-03-02'").rows == ((3,),)

    def test_an_empty_ledger_has_all_columns(self, empty: str) -> None:
        """Before the first write the views are there, with the columns and without rows."""
        for view in VIEWS:
            assert run_query(empty, f"from {view}").rows == ()
        assert run_query(empty, "select * from traces").columns == (*FILE_SCHEMA.names, "dt")
        assert run_query(empty, "select id, content from documents").columns == ("id", "content")

    def test_columns_stay_in_their_order_when_there_are_rows(self, ledger: str) -> None:
        """The columns are those of the schema, then the day; nothing of how rows are found is shown."""
        assert run_query(ledger, "select * from traces limit 1").columns == (*FILE_SCHEMA.names, "dt")

    def test_views_without_the_extension_are_the_same(self, ledger: str) -> None:
        """Where httpfs cannot be loaded, every view shows the same rows."""
        with closing(connect(ledger)) as ours, closing(connect(ledger, extension=False)) as other:
            for view in VIEWS:
                assert (
                    other.sql(f"from {view} order by all").fetchall()
                    == ours.sql(f"from {view} order by all").fetchall()
                )

    @pytest.mark.parametrize("extension", [True, False])
    def test_httpfs_comes_from_its_package(
        self, s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, extension: bool
    ) -> None:
        """On S3 the extension is loaded unless it is not wanted, and the home folder stays empty."""
        monkeypatch.setenv("HOME", str(tmp_path))
        with closing(connect(f"s3://{s3_bucket}/x", extension=extension)) as connection:
            loaded = connection.execute("select loaded from duckdb_extensions() where extension_name = 'httpfs'")
            assert (loaded.fetchall() == [(True,)]) is extension
        assert list(tmp_path.iterdir()) == []

    def test_an_empty_ledger_without_the_extension(self, empty: str) -> None:
        """It has all columns, too."""
        with closing(connect(empty, extension=False)) as connection:
            assert connection.execute("select * from documents").fetchall() == []

    def test_a_connection_is_a_snapshot(self, ledger: str) -> None:
        """The views read what was committed when they were made; a new connection sees more."""
        with closing(connect(ledger)) as connection:
            write(ledger, [a_result(50)], batch_id="batch-2")
            assert connection.execute("select count(*) from traces").fetchall() == [(7,)]
        assert run_query(ledger, "select count(*) from traces").rows == ((8,),)

    def test_files_of_other_versions_are_read_together(self, ledger: str) -> None:
        """Columns and struct fields that a file has not are null in its rows; those it has in addition are left out."""
        results = [a_result(60)]
        table = pq.read_table(io.BytesIO(encode_traces(results, run=a_run("batch-0"), recorded_at=RECORDED_AT)))
        without = {"content", "disputed_by"}
        documents = [
            [{name: value for name, value in item.items() if name not in without} | {"later": 1} for item in row]
            for row in table["documents"].to_pylist()
        ]
        other = table.drop_columns(["documents", "spooled", "phase"])
        other = other.append_column("documents", pa.array(documents)).append_column("later", pa.array(["x"]))
        sink = io.BytesIO()
        pq.write_table(other, sink)
        for key in ("a", "z"):
            changed = other.set_column(other.schema.get_field_index("trace_id"), "trace_id", pa.array([key * 32]))
            sink = io.BytesIO()
            pq.write_table(changed, sink)
            commit(ledger, f"traces/dt=2026-02-28/{key}.parquet", sink.getvalue())
        assert run_query(ledger, "select count(*), count(phase), count(query_text) from traces").rows == ((9, 0, 9),)
        assert run_query(ledger, "select count(*), count(content), count(tokens) from documents").rows == (
            (36, 28, 27),
        )


class TestFailures:
    """What cannot be read says so."""

    def test_a_wrong_bucket_is_a_store_error(self, s3_server: str) -> None:
        """The message names the ledger; it is no fault of the SQL."""
        assert s3_server
        with pytest.raises(StoreError, match="s3://no-such-bucket/x: there is no such bucket"):
            run_query("s3://no-such-bucket/x", "select 1")

    def test_a_server_that_is_down_is_transient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A store that does not answer may answer later."""
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        with pytest.raises(TransientStoreError, match="no answer"):
            run_query("s3://bucket/x", "select 1")

    def test_an_object_that_is_no_parquet_is_named(self, ledger: str) -> None:
        """A foreign file among the objects is an error that names it."""
        commit(ledger, "traces/dt=2026-03-01/broken.parquet", b"nothing of the kind")
        with pytest.raises(StoreError, match=r"broken\.parquet"):
            run_query(ledger, "select count(*) from traces")

    def test_patterns_in_an_s3_prefix_are_refused(self, s3_bucket: str) -> None:
        """A prefix that DuckDB would take for a pattern cannot be read as a ledger."""
        with pytest.raises(ConfigError, match="prefix"):
            run_query(f"s3://{s3_bucket}/a*", "select 1")


REFUSED = {
    "a file": "select * from read_csv('/etc/passwd')",
    "a file as a table": "select * from '/etc/passwd'",
    "a file of a known kind": "from 'x.parquet'",
    "a file in a subquery": "select (select count(*) from read_text('/etc/passwd')) from traces",
    "a file in an expression list": "select [x for x in (select content from read_text('/etc/passwd'))]",
    "a file below a common table expression": "with t as (from read_blob('/etc/passwd')) select * from t",
    "a path that a common table expression is called": 'with "x.parquet" as (select 1) select * from "x.parquet"',
    "a web address": "select * from read_parquet('http://127.0.0.1:9/x.parquet')",
    "names of files": "select * from glob('/etc/*')",
    "a file named in a string": "select * from query_table('x.parquet')",
    "SQL in a string": "select * from query('select 1')",
    "a description of a file": "describe select * from read_csv('/etc/passwd')",
    "a summary of a file": "summarize 'x.parquet'",
    "settings": "select * from duckdb_settings()",
    "secrets": "select * from duckdb_secrets()",
    "logging": "select * from enable_logging(storage = 'file')",
    "our own tables": "select * from stored.rows",
    "another catalog": "select * from system.main.duckdb_tables",
    "copy to a file": "copy (select 1) to 'out.csv'",
    "copy from a file": "copy traces from 'x.csv'",
    "attach": "attach 'other.db'",
    "install": "install httpfs",
    "load": "load httpfs",
    "set": "set memory_limit = '100GB'",
    "reset": "reset memory_limit",
    "pragma": "pragma database_list",
    "call": "call pragma_version()",
    "create": "create table t as select 1",
    "create view": "create or replace view traces as select 1",
    "insert": "insert into traces select * from traces",
    "delete": "delete from traces",
    "drop": "drop view traces",
    "export": "export database 'x'",
    "explain analyze": "explain analyze copy (select 1) to 'out.csv'",
    "prepare": "prepare p as select 1",
    "two statements": "select 1; select 2",
    "a second statement that writes": "select 1; copy (select 1) to 'out.csv'",
    "nothing": "  -- nothing",
}


class TestSandbox:
    """A user's SQL reads the views and nothing else."""

    @pytest.mark.parametrize("sql", REFUSED.values(), ids=REFUSED.keys())
    def test_everything_but_reading_the_views_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sql: str
    ) -> None:
        """One line says that it is not allowed, and nothing is read or written."""
        uri = str(tmp_path / "ledger")
        write(uri, [a_result()])
        pq.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InputError) as raised:
            run_query(uri, sql)
        message = str(raised.value)
        assert message.startswith("SQL: ")
        assert any(part in message for part in ("not allowed here", "there is no table", "expected one statement"))
        assert "\n" not in message
        assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger", "x.parquet"]

    @pytest.mark.parametrize(
        "sql",
        [
            "select count(*) from traces",
            "from traces select count(*)",
            "with t as (select trace_id from traces) select count(*) from t",
            "with recursive t(n) as (select 1 union all select n + 1 from t where n < 3) select max(n) from t",
            "values (1), (2)",
            "describe documents",
            "summarize select latency_ms from traces",
            "show tables",
            "select * from range(3)",
            "select unnest(documents).id from traces",
            "select d.id from traces, unnest(documents) as u(d)",
            "select t.trace_id from traces t join conflicts c using (trace_id) where exists (from stages)",
            "select T.TRACE_ID from Main.TRACES as T;",
        ],
    )
    def test_reading_is_allowed_in_every_form(self, tmp_path: Path, sql: str) -> None:
        """All the forms of a SELECT over the views run."""
        uri = str(tmp_path)
        write(uri, [a_result()])
        assert run_query(uri, sql).rows

    def test_the_second_wall_stands_alone(self, ledger: str, tmp_path: Path) -> None:
        """With the check of the statement passed by, DuckDB itself refuses files, network and settings."""
        from ledger.sandbox import shut_off  # noqa: PLC0415  only this test looks behind the first wall

        outside = tmp_path / "outside.csv"
        outside.write_text("a\n1\n")
        with closing(connect(ledger)) as connection:
            shut_off(connection, ledger)
            assert connection.execute("select count(*) from traces").fetchall() == [(7,)]
            for sql in (
                f"from read_csv('{outside}')",
                f"copy (select 1) to '{tmp_path / 'out.csv'}'",
                f"attach '{tmp_path / 'other.db'}'",
                "select * from read_parquet('http://127.0.0.1:9/x.parquet')",
                "select * from read_parquet('s3://another-bucket/x.parquet')",
                "set memory_limit = '100GB'",
                "set enable_external_access = true",
                "install httpfs",
            ):
                with pytest.raises(duckdb.Error):
                    connection.execute(sql)

    def test_no_setting_shows_the_secret(self, ledger: str) -> None:
        """The key with which the objects are read cannot be asked for."""
        for name in ("s3_secret_access_key", "s3_access_key_id", "s3_session_token"):
            if ledger.startswith("s3://"):
                assert run_query(ledger, f"select current_setting('{name}')").rows == (("",),)

    def test_a_query_is_stopped_when_its_time_is_up(self, tmp_path: Path) -> None:
        """Both counting without end and returning without end are stopped, with the limit in the message."""
        for sql in ("select count(*) from range(1000000000000)", "select * from range(1000000000000)"):
            with pytest.raises(InputError, match=r"stopped after 0\.2 s"):
                run_query(str(tmp_path), sql, timeout_s=0.2, max_rows=10**12)

    def test_a_query_has_a_limit_of_memory(self, tmp_path: Path) -> None:
        """What does not fit is an error that says so, and nothing is spilled to the disk."""
        with pytest.raises(InputError, match="memory"):
            run_query(str(tmp_path), "select list(range) from range(100000000)", memory_limit="50MB")

    def test_more_rows_than_asked_for_are_marked(self, tmp_path: Path) -> None:
        """The table says when it is not all."""
        table = run_query(str(tmp_path), "select * from range(10)", max_rows=3)
        assert (table.rows, table.truncated) == (((0,), (1,), (2,)), True)
        assert not run_query(str(tmp_path), "select * from range(3)", max_rows=3).truncated


class TestMessages:
    """Errors in the SQL are told in one line, in DuckDB's words."""

    @pytest.mark.parametrize(
        ("sql", "said"),
        [
            ("selec 1", 'syntax error at or near "selec"'),
            ("select nothing from traces", 'Referenced column "nothing" not found'),
            ("select * from trace", "there is no table 'trace' in the ledger: it has traces, latest_traces"),
            ("select 'x'::int", "Could not convert string 'x' to INT32"),
            ("select nofunction(1)", "nofunction does not exist"),
            ("select * from traces where trace_id = ?", "parameter"),
        ],
    )
    def test_a_mistake_is_explained_in_one_line(self, tmp_path: Path, sql: str, said: str) -> None:
        """The message has the reason and no picture of the statement."""
        with pytest.raises(InputError) as raised:
            run_query(str(tmp_path), sql)
        assert said in str(raised.value)
        assert "\n" not in str(raised.value)
        assert "LINE 1" not in str(raised.value)


def test_every_kind_of_value_goes_into_json(tmp_path: Path) -> None:
    """Times are ISO 8601, decimals and big integers numbers, structs dicts; names that repeat are told apart."""
    table = run_query(
        str(tmp_path),
        "select 1.50::decimal(9,2) as n, sum(1) as n, timestamptz '2026-03-01 09:00:00+01' as at, "
        "date '2026-03-01' as d, time '10:00' as t, interval 1 day as i, "
        "{'a': [1.5, null], 'at': date '2026-03-01'} as s, map {'k': 2} as m, '\\xAA'::blob as b, 'nan'::double as x, "
        "null as z, uuid '00000000-0000-0000-0000-000000000001' as u, true as y",
    )
    assert table.columns == ("n", "n_1", "at", "d", "t", "i", "s", "m", "b", "x", "z", "u", "y")
    assert json.loads(json.dumps(table.records(), allow_nan=False)) == [
        {
            "n": 1.5,
            "n_1": 1,
            "at": "2026-03-01T08:00:00+00:00",
            "d": "2026-03-01",
            "t": "10:00:00",
            "i": "1 day, 0:00:00",
            "s": {"a": [1.5, None], "at": "2026-03-01"},
            "m": {"k": 2},
            "b": "aa",
            "x": None,
            "z": None,
            "u": "00000000-0000-0000-0000-000000000001",
            "y": True,
        }
    ]


class TestFindTrace:
    """One trace, by what people have at hand."""

    @pytest.fixture
    def known(self, ledger: str) -> tuple[str, str]:
        """The ledger and the id of a trace in it."""
        return ledger, trace_ids([a_result(2)], run=a_run())[0]

    @pytest.mark.parametrize("shorten", [lambda id_: id_, lambda id_: id_[:12], lambda _: "q-0002"])
    def test_a_trace_is_found(self, known: tuple[str, str], shorten: Callable[[str], str]) -> None:
        """By its id, the beginning of it, or its query; both sentences of a conflict are there, ready for JSON."""
        uri, trace = known
        found = find_trace(uri, shorten(trace))
        assert found["trace_id"] == trace
        assert found["recorded_at"] == RECORDED_AT.isoformat()
        assert found["flags"] == {"orchestrator.redo_enabled": "true", "rollout_percentage": "25"}
        conflicts = json.loads(json.dumps(found))["conflicts"]
        assert conflicts[0]["left_sentence"].startswith("The bridge p-0002-0 was opened")
        assert conflicts[0]["right_sentence"].startswith("The bridge p-0002-1 was opened")

    def test_a_query_of_two_batches_is_ambiguous(self, ledger: str) -> None:
        """The message lists the candidates with their batches."""
        write(ledger, [a_result(2)], batch_id="batch-2")
        with pytest.raises(InputError) as raised:
            find_trace(ledger, "q-0002")
        for batch in ("batch-1", "batch-2"):
            assert f"{trace_ids([a_result(2)], run=a_run(batch))[0]} (query q-0002, batch {batch})" in str(raised.value)

    def test_a_beginning_that_many_share_lists_five(self, tmp_path: Path) -> None:
        """At most five candidates are listed."""
        results = [replace(r, query=r.query) for r in (a_result(n, documents=2) for n in range(200))]
        write(str(tmp_path), results)
        first = [trace[0] for trace in trace_ids(results, run=a_run())]
        common = max(set(first), key=first.count)
        with pytest.raises(InputError) as raised:
            find_trace(str(tmp_path), common)
        assert str(raised.value).count("(query ") == 5

    def test_a_whole_id_goes_before_a_beginning(self, tmp_path: Path) -> None:
        """A query whose id happens to begin other traces' ids is found."""
        results = [a_result(n, documents=2) for n in range(40)]
        digit = trace_ids(results, run=a_run())[0][0]
        named = a_result(99)
        query = replace(named.query, query_id=digit)
        named = replace(named, query=query, trace=replace(named.trace, query=query))
        write(str(tmp_path), [*results, named])
        assert find_trace(str(tmp_path), digit)["query_id"] == digit

    def test_a_missing_trace_names_the_nearest(self, ledger: str) -> None:
        """What is not there is said, with up to five near ones; an empty ledger says that it is."""
        with pytest.raises(InputError, match=r"no trace or query 'q-002' .* \(query q-0002, batch batch-1\)"):
            find_trace(ledger, "q-002")

    def test_an_empty_ledger_says_that_it_is_empty(self, empty: str) -> None:
        """Nothing can be near where nothing is."""
        with pytest.raises(InputError, match="which is empty"):
            find_trace(empty, "x")
