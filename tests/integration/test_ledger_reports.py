"""`redo ledger summary`, `conflicts`, `diff` and `attach`: what they report, as values, as JSON and for people."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from core.adapters.manual_clock import ManualClock
from core.errors import InputError
from deployments.cli.main import app
from ledger.manifest import manifest_key
from ledger.objects import open_store
from ledger.reports import report_conflicts, report_diff
from ledger.spool import Spool
from ledger.summary import summarize
from tests.committed_ledger import NEXT_DAY, commit, stored_object, write, write_checkpoint
from tests.ledger_samples import a_result

WIDTH = 80


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    """Batch A has queries 0 to 3, B has 2 to 5 a day later; of query 3 B has another selection."""
    uri = str(tmp_path / "ledger")
    write(uri, [a_result(n) for n in range(4)], batch_id="A")
    others = [a_result(2), a_result(3, documents=5), a_result(4), a_result(5, redo=False)]
    write(uri, others, batch_id="B", day=NEXT_DAY)
    return uri


def redo(*words: str) -> Result:
    """Run the command line in this process, at 80 columns."""
    return CliRunner(env={"COLUMNS": str(WIDTH)}).invoke(app, ["ledger", *words])


class TestSummary:
    """What is in the ledger."""

    def test_a_complete_ledger(self, ledger: str) -> None:
        """Counts of objects, rows, decisions and latencies; nothing is missing."""
        found = summarize(ledger)
        assert found.rows == {
            "traces": 8,
            "stored": 8,
            "doubles": 0,
            "committed": 8,
            "missing": 0,
            "complete": True,
        }
        assert (found.objects["live"], found.objects["orphans"], found.objects["checkpoint"]) == (2, 0, None)
        assert [(row["decision"], row["reason"], row["traces"], row["share"]) for row in found.decisions] == [
            ("redo", "ENABLED", 7, 0.875),
            ("legacy", "FLAG_OFF", 1, 0.125),
        ]
        assert [(row["decision"], row["n"]) for row in found.latency] == [("legacy", 1), ("redo", 7)]
        assert (found.kept["batches"], found.kept["full_traces"], found.kept["errors"]) == (2, 8, 0)
        assert found.spool is None

    def test_lost_rows_are_not_complete(self, ledger: str) -> None:
        """An object that is gone, with as many rows as its manifest says."""
        key = write(ledger, [a_result(n) for n in range(7, 10)], batch_id="C")
        open_store(ledger).delete(key)
        found = summarize(ledger)
        assert (found.rows["missing"], found.rows["complete"], found.objects["missing"]) == (3, False, 1)
        result = redo("summary", "--ledger", ledger)
        assert "not complete: 1 objects with 3 rows are gone" in result.output

    def test_a_manifest_that_promises_more_is_not_complete(self, ledger: str) -> None:
        """Rows are counted against what was committed, object by object in all."""
        payload = open_store(ledger).read(write(ledger, [a_result(8)], batch_id="C"))
        commit(ledger, "traces/dt=2026-03-01/D-00000-0123456789abcdef.parquet", payload, rows=2)
        found = summarize(ledger)
        assert (found.rows["committed"], found.rows["stored"], found.rows["complete"]) == (11, 10, False)

    def test_chunks_that_did_not_arrive_are_counted(self, ledger: str) -> None:
        """A batch with chunks 0 and 3 lacks two; a service numbers its objects in another way and lacks none."""
        write(ledger, [a_result(10)], batch_id="C")
        write(ledger, [a_result(11)], batch_id="C", chunk=3)
        write(ledger, [a_result(12)], batch_id="service-01234567-20260301", chunk=7)
        found = summarize(ledger)
        assert found.gaps == [{"batch_id": "C", "chunks": 4, "absent": 2}]
        assert found.rows["complete"] is False

    def test_after_compaction_nothing_is_counted_twice(self, ledger: str) -> None:
        """Doubles, orphans and what is replaced are told beside the traces."""
        old = write(ledger, [a_result(n) for n in (6, 7)], batch_id="C", chunk=2)
        payload = open_store(ledger).read(old)
        new = "traces/dt=2026-03-01/rewritten-1.parquet"
        commit(ledger, new, payload, manifested=False)
        commit(ledger, "traces/dt=2026-03-01/X-00000-0123456789abcdef.parquet", payload, manifested=False)
        write_checkpoint(ledger, 1, objects=[stored_object(new, payload, rows=2, batches=["C"])], replaced=[old])
        write(ledger, [a_result(6)], batch_id="C", chunk=2)  # delivered once more
        found = summarize(ledger)
        assert found.rows == {
            "traces": 10,
            "stored": 11,
            "doubles": 1,
            "committed": 11,
            "missing": 0,
            "complete": True,
        }
        told = {name: found.objects[name] for name in ("orphans", "replaced", "checkpoint")}
        assert told == {"orphans": 1, "replaced": 1, "checkpoint": 1}
        assert open_store(ledger).read(manifest_key(old))

    def test_what_waits_in_the_spool(self, ledger: str, tmp_path: Path) -> None:
        """How many entries, how many of them for this ledger, and how old the oldest is."""
        clock = ManualClock(utc=datetime(2026, 3, 1, 12, 0, tzinfo=UTC))
        spool = Spool(tmp_path / "spool", max_bytes=10**9, clock=clock)
        payload = open_store(ledger).read(write(ledger, [a_result(20)], batch_id="W"))
        for place in (ledger, "s3://another/ledger"):
            spool.add(payload, ledger=place, key="traces/dt=2026-03-01/W-00001-0123456789abcdef.parquet")
        clock.advance(90.0)
        found = summarize(ledger, spool=spool).spool
        assert found is not None
        assert (found["entries"], found["for_this_ledger"], found["oldest_s"]) == (2, 1, 90.0)
        assert found["quarantined"] == []

    def test_it_fits_a_narrow_terminal(self, ledger: str) -> None:
        """No line of the tables is longer than 80 columns."""
        result = redo("summary", "--ledger", ledger)
        assert result.exit_code == 0
        assert "complete: 8 traces, every committed row is there" in result.output
        assert max(len(line) for line in result.output.splitlines()[1:]) <= WIDTH

    def test_an_empty_ledger(self, tmp_path: Path) -> None:
        """Nothing is there, and that is complete."""
        result = redo("summary", "--ledger", str(tmp_path / "none"), "--json")
        found = json.loads(result.output)
        assert (found["rows"]["traces"], found["rows"]["complete"], found["decisions"]) == (0, True, [])
        assert "complete: 0 traces" in redo("summary", "--ledger", str(tmp_path / "none")).output

    def test_since_a_day(self, ledger: str) -> None:
        """Only batches of that day and later count; a text that is no day is refused."""
        found = json.loads(redo("summary", "--ledger", ledger, "--since", "2026-03-02", "--json").output)
        assert found["rows"]["traces"] == 4
        refused = redo("summary", "--ledger", ledger, "--since", "yesterday")
        assert isinstance(refused.exception, InputError)
        assert "--since 'yesterday': expected a day" in str(refused.exception)


class TestConflicts:
    """Who contradicts whom."""

    def test_kinds_sources_and_examples(self, ledger: str) -> None:
        """Findings by kind, sources by what they lost, and the surest finding with both spans."""
        report = report_conflicts(ledger, kind="numeric", sources=1, examples=1)
        assert {row["kind"]: row["traces"] for row in report.kinds} == {"numeric": 7, "ambiguity": 7}
        assert [(row["source"], row["disputes"], row["lost"]) for row in report.sources] == [("site-p-0002-0", 2, 0)]
        (example,) = report.examples
        sentence = str(example["left_sentence"])
        start = int(str(example["left_value_start"])) - int(str(example["left_sentence_start"]))
        assert sentence[start:].startswith(str(example["left_value"]))

    def test_for_people(self, ledger: str) -> None:
        """Tables, and each example with its trace."""
        result = redo("conflicts", "--ledger", ledger, "--examples", "1")
        assert result.exit_code == 0
        assert "sources, by contradictions lost" in result.output
        assert "contradiction: numeric" in result.output
        assert max(map(len, result.output.splitlines())) <= WIDTH

    def test_no_conflict_is_said(self, tmp_path: Path) -> None:
        """In a ledger without any."""
        assert redo("conflicts", "--ledger", str(tmp_path / "none")).output == "no conflict in the ledger\n"

    def test_as_json(self, ledger: str) -> None:
        """The same, for programs."""
        found = json.loads(redo("conflicts", "--ledger", ledger, "--json", "--examples", "0").output)
        assert found["examples"] == []
        assert len(found["kinds"]) == 2


class TestDiff:
    """What changed."""

    def test_two_batches(self, ledger: str) -> None:
        """Measures of all their traces; selections of the queries that both have."""
        report = report_diff(ledger, "A", "B")
        measures = {row["measure"]: (row["a"], row["b"]) for row in report.measures}
        assert measures["redo_share"] == (1.0, 0.75)
        told = {name: report.churn[name] for name in ("queries", "same", "reordered", "changed", "first_changed")}
        assert told == {"queries": 2, "same": 1, "reordered": 0, "changed": 1, "first_changed": 1}
        assert report.decisions == [{"decision_a": "redo", "decision_b": "redo", "queries": 2}]
        (changed,) = report.changed
        assert (changed["query_id"], changed["added"], changed["removed"]) == ("q-0003", ["p-0003-3"], [])

    def test_a_name_that_is_not_there(self, ledger: str) -> None:
        """The message lists what is."""
        with pytest.raises(
            InputError, match=r"no trace of a code version, batch or configuration 'C'.*it has"
        ) as raised:
            report_diff(ledger, "A", "C")
        assert "0.1.0" in str(raised.value)

    def test_nothing_in_common(self, ledger: str) -> None:
        """Two batches of other queries: measures are compared, selections cannot be."""
        write(ledger, [a_result(50)], batch_id="C")
        result = redo("diff", "A", "C", "--ledger", ledger)
        assert result.exit_code == 0
        assert "no query is in both" in result.output
        assert json.loads(redo("diff", "A", "C", "--ledger", ledger, "--json").output)["changed"] == []

    def test_for_people(self, ledger: str) -> None:
        """Each query that changed, with what came and went."""
        result = redo("diff", "A", "B", "--ledger", ledger)
        assert "q-0003  changed, overlap 0.75" in result.output
        assert "+ p-0003-3" in result.output
        assert max(map(len, result.output.splitlines())) <= WIDTH


class TestAttach:
    """The command; the file itself is in test_ledger_attach.py."""

    def test_it_says_what_it_wrote(self, ledger: str, tmp_path: Path) -> None:
        """For people, and as JSON."""
        file = tmp_path / "ledger.duckdb"
        assert "the views of 2 objects, as of now" in redo("attach", str(file), "--ledger", ledger).output
        found = json.loads(redo("attach", str(file), "--ledger", ledger, "--json").output)
        assert (found["path"], found["objects"], found["how_to_open"]) == (str(file), 2, "")

    def test_on_s3_it_says_how_to_open(self, s3_bucket: str, tmp_path: Path) -> None:
        """The statements are printed as they are typed, without a key."""
        write(f"s3://{s3_bucket}/x", [a_result(0)])
        result = redo("attach", str(tmp_path / "ledger.duckdb"), "--ledger", f"s3://{s3_bucket}/x")
        assert "load httpfs;\nset s3_region = 'us-east-1';\nset s3_endpoint = '127.0.0.1:" in result.output
        assert "secret" not in result.output


def test_a_query_says_that_objects_are_missing(ledger: str) -> None:
    """The answer is given, and the hint goes to standard error."""
    key = write(ledger, [a_result(9)], batch_id="C")
    open_store(ledger).delete(key)
    result = redo("query", "select count(*) as n from traces", "--ledger", ledger, "--json")
    assert json.loads(result.stdout) == [{"n": 8}]
    assert "1 committed object is missing" in result.stderr


def test_a_query_shows_uncommitted_rows_on_demand(ledger: str) -> None:
    """`--uncommitted` adds what nobody has committed."""
    open_store(ledger).delete(manifest_key(write(ledger, [a_result(9)], batch_id="C")))
    words = ("select count(*) as n from stages", "--ledger", ledger, "--json")
    assert json.loads(redo("query", *words).stdout) == [{"n": 16}]
    assert json.loads(redo("query", *words, "--uncommitted").stdout) == [{"n": 18}]
