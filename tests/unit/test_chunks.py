"""The work on one chunk, and its traces: done once, sent once, whatever happens in between."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.adapters.manual_clock import ManualClock
from core.errors import StoreError
from core.flags import rollout_bucket
from ledger.encode import keyed_hash
from ledger.query import run_query
from ledger.spool import SetAside
from tasks.chunks import Report, work_on_chunk
from tasks.delivery import anything_waits, deliver_waiting, store_traces
from tasks.loading import load_batch
from tasks.run_folder import ChunkFolder, RunFolder, read_json
from tasks.run_spec import RunRequest
from tasks.settings import load_settings
from tasks.wiring import hash_key, ledger_store, metrics_recorder, state_store, trace_spool
from tests.batch_samples import read_jsonl, write_batch
from tests.rollout_samples import Rollout

pytestmark = pytest.mark.usefixtures("patience")

CLOCK = ManualClock()


@pytest.fixture
def asked(tmp_path: Path) -> RunRequest:
    """Five queries in chunks of two, with REDO and the ledger on."""
    files = write_batch(tmp_path)
    return RunRequest(
        batch_id="batch-1",
        queries=str(files.queries),
        passages=str(files.passages),
        ledger=str(tmp_path / "ledger"),
        chunk_size=2,
        flags={"orchestrator.redo_enabled": True, "ledger.enabled": True},
    )


def loaded(request: RunRequest) -> RunFolder:
    """The folder of the batch, laid out."""
    load_batch(request, load_settings(), clock=CLOCK)
    return RunFolder.of(load_settings().home_folder, request.batch_id)


def work(folder: RunFolder, number: int, *, attempt: int = 1) -> Report:
    """Work on one chunk."""
    return work_on_chunk(folder, number, load_settings(), clock=CLOCK, flow_run_id="flow-1", attempt=attempt)


def contents(chunk: ChunkFolder) -> dict[str, tuple[bytes, int]]:
    """What stands in each file, and since when."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in chunk.path.iterdir()}


class TestWork:
    """Choosing evidence for a chunk."""

    def test_every_query_has_one_record_in_each_file(self, asked: RunRequest) -> None:
        """In the order of the queries, and counted in the report."""
        folder = loaded(asked)
        report = work(folder, 0)
        chunk = folder.chunk(0)
        for path in (chunk.output, chunk.decisions, chunk.conflicts):
            assert [row["query_id"] for row in read_jsonl(path)] == ["q-0000", "q-0001"]
        assert (report["chunk"], report["queries"], report["decisions"]) == (0, 2, {"redo": 2})
        assert report["resumed"] is False

    def test_a_dispute_is_served_as_one(self, asked: RunRequest) -> None:
        """Both sides stand side by side in the output, each marked with the other."""
        folder = loaded(asked)
        work(folder, 0)
        first = read_jsonl(folder.chunk(0).output)[0]
        evidence = first["evidence"]
        assert isinstance(evidence, list)
        assert [item["passage_id"] for item in evidence[:2]] == ["Arden-council", "Arden-guide"]
        assert [item["disputed_by"] for item in evidence[:2]] == [["Arden-guide"], ["Arden-council"]]

    def test_conflicts_are_kept_in_shadow_too(self, asked: RunRequest) -> None:
        """Legacy is served and shows no dispute; what REDO found is beside it."""
        folder = loaded(replace(asked, shadow=True))
        work(folder, 0)
        chunk = folder.chunk(0)
        assert {str(row["decision"]) for row in read_jsonl(chunk.output)} == {"legacy"}
        assert [row["contradictions"] for row in read_jsonl(chunk.output)] == [[], []]
        assert all(len(list(row["contradictions"])) == 1 for row in read_jsonl(chunk.conflicts))  # type: ignore[call-overload]

    def test_a_chunk_that_is_done_is_not_touched(self, asked: RunRequest) -> None:
        """Called again it gives the same counts and says that they are from before."""
        folder = loaded(asked)
        first = work(folder, 0)
        before = contents(folder.chunk(0))
        again = work(folder, 0, attempt=2)
        assert again == first | {"resumed": True}
        assert contents(folder.chunk(0)) == before

    def test_a_chunk_that_was_broken_off_is_done_again(self, asked: RunRequest) -> None:
        """Without the mark of the end everything is computed anew, to the same results."""
        folder = loaded(asked)
        work(folder, 0)
        chunk = folder.chunk(0)
        before = {path: path.read_bytes() for path in (chunk.output, chunk.conflicts)}
        chunk.done.unlink()
        chunk.output.unlink()
        chunk.decisions.unlink()
        assert work(folder, 0)["resumed"] is False
        assert {path: path.read_bytes() for path in before} == before

    def test_without_a_ledger_there_are_no_traces(self, asked: RunRequest) -> None:
        """The output does not depend on the ledger."""
        with_ledger = loaded(asked)
        work(with_ledger, 0)
        without = loaded(replace(asked, batch_id="batch-2", flags=asked.flags | {"ledger.enabled": False}))  # type: ignore[operator]
        assert work(without, 0)["ledger_key"] is None
        assert trace_spool(load_settings()).find(ledger=str(asked.ledger), key=str(work(with_ledger, 0)["ledger_key"]))
        assert len(trace_spool(load_settings()).waiting()) == 1
        assert without.chunk(0).output.read_bytes() == with_ledger.chunk(0).output.read_bytes()

    def test_the_pinned_settings_count(self, asked: RunRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        """A chunk works by what the batch was begun with, not by what the environment says meanwhile."""
        folder = loaded(asked)
        monkeypatch.setenv("REDO_TOP_K", "1")
        monkeypatch.setenv("ORCHESTRATOR_REDO_ENABLED", "false")
        work(folder, 0)
        first = read_jsonl(folder.chunk(0).output)[0]
        assert first["decision"] == "redo"
        assert len(list(first["evidence"])) > 1  # type: ignore[call-overload]


class TestDecisions:
    """A short row a query, for the gates."""

    def test_a_row_says_what_the_guard_decided(self, asked: RunRequest) -> None:
        """With the bucket and a hash of what it hangs on, the same for the same session."""
        folder = loaded(replace(asked, flags=asked.flags | {"rollout_percentage": 0}, shadow=True))  # type: ignore[operator]
        for number in range(2):
            work(folder, number)
        rows = [row for number in range(2) for row in read_jsonl(folder.chunk(number).decisions)]
        assert {(row["guard_decision"], row["guard_reason"], row["shadow"]) for row in rows} == {
            ("legacy", "SHADOW", True)
        }
        assert [row["bucket"] for row in rows] == [rollout_bucket(f"s-{number % 2}") for number in range(4)]
        key = hash_key(load_settings())
        assert [row["key_hash"] for row in rows] == [keyed_hash(f"s-{number % 2}", key=key) for number in range(4)]

    def test_without_a_key_there_is_no_hash(self, asked: RunRequest, redo_home: Path) -> None:
        """A key file that is broken costs no answer where there is no ledger."""
        folder = loaded(replace(asked, flags={}))
        (redo_home / "hash-key").write_bytes(b"short")
        work(folder, 0)
        assert {row["key_hash"] for row in read_jsonl(folder.chunk(0).decisions)} == {None}


class TestTraces:
    """Handing the traces to the ledger."""

    def test_the_ledger_has_each_query_once(self, asked: RunRequest) -> None:
        """One object a chunk; then the traces leave the spool."""
        folder = loaded(asked)
        for number in range(3):
            work(folder, number)
            assert store_traces(folder, number) == (2, 2, 1)[number]
        rows = run_query(
            str(asked.ledger), "select query_id, decision, flow_run_id, attempt from traces order by all"
        ).rows
        assert rows == tuple((f"q-{number:04d}", "redo", "flow-1", 1) for number in range(5))
        assert not anything_waits()
        assert read_json(folder.chunk(0).stored)["created"] is True

    def test_who_asked_is_not_told(self, asked: RunRequest) -> None:
        """The ledger has a hash of the session, the same for the same session, and not the id."""
        folder = loaded(asked)
        for number in range(2):
            work(folder, number)
            store_traces(folder, number)
        hashes = [
            row[0] for row in run_query(str(asked.ledger), "select session_hash from traces order by query_id").rows
        ]
        assert hashes[0] == hashes[2] != hashes[1] == hashes[3]
        assert {len(str(found)) for found in hashes} == {64}

    def test_traces_that_were_sent_are_not_sent_again(self, asked: RunRequest, tmp_path: Path) -> None:
        """Called again it says how many rows the ledger has, without asking the ledger."""
        folder = loaded(asked)
        work(folder, 0)
        store_traces(folder, 0)
        (tmp_path / "ledger").rename(tmp_path / "gone")
        assert store_traces(folder, 0) == 2
        assert not (tmp_path / "ledger").exists()

    def test_whoever_sends_them_leaves_a_receipt(self, asked: RunRequest) -> None:
        """Another process may: the run finds that they were sent, and sends nothing."""
        folder = loaded(asked)
        work(folder, 0)
        assert deliver_waiting().rows == 2
        assert store_traces(folder, 0) == 2
        assert run_query(str(asked.ledger), "select count(*) from traces").rows == ((2,),)

    def test_a_chunk_that_was_killed_at_its_end_is_sent_once(self, asked: RunRequest) -> None:
        """Its traces were in the spool, and not noted: those of the attempt that was served are sent."""
        folder = loaded(asked)
        work(folder, 0)
        folder.chunk(0).done.unlink()
        work(folder, 0, attempt=2)
        assert store_traces(folder, 0) == 2
        assert not anything_waits()
        assert run_query(str(asked.ledger), "select count(*), min(attempt) from traces").rows == ((2, 2),)

    def test_a_chunk_that_is_computed_twice_is_stored_once(self, asked: RunRequest) -> None:
        """Where the first attempt's traces are in the ledger they stay, and those of the second are not kept."""
        folder = loaded(asked)
        work(folder, 0)
        store_traces(folder, 0)
        folder.chunk(0).done.unlink()
        work(folder, 0, attempt=2)
        assert not anything_waits()
        assert store_traces(folder, 0) == 2
        assert run_query(str(asked.ledger), "select count(*), max(attempt) from traces").rows == ((2, 1),)

    def test_two_homes_may_work_on_one_batch(
        self, asked: RunRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The ledger has each query once, and both runs know that it has."""
        for name in ("one", "two"):
            monkeypatch.setenv("REDO_HOME", str(tmp_path / name))
            folder = loaded(asked)
            work(folder, 0)
            assert store_traces(folder, 0) == 2
        assert run_query(str(asked.ledger), "select count(*), count(distinct trace_id) from traces").rows == ((2, 2),)
        assert [item.kind for item in trace_spool(load_settings()).quarantined()] == [SetAside.ANOTHER_ATTEMPT]

    def test_a_ledger_that_fails_keeps_the_traces_here(self, asked: RunRequest, tmp_path: Path) -> None:
        """They wait in the spool, and are delivered once the ledger takes them."""
        (tmp_path / "blocked").write_text("a file where the ledger should be")
        folder = loaded(replace(asked, ledger=str(tmp_path / "blocked" / "ledger")))
        work(folder, 0)
        with pytest.raises(StoreError, match="blocked"):
            store_traces(folder, 0)
        assert anything_waits()
        assert not folder.chunk(0).stored.exists()
        (tmp_path / "blocked").unlink()
        assert store_traces(folder, 0) == 2
        assert run_query(str(tmp_path / "blocked" / "ledger"), "select count(*) from traces").rows == ((2,),)

    def test_a_spool_that_is_full_costs_no_answer(
        self, asked: RunRequest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The traces are lost, counted and named in the log; those that wait stay."""
        monkeypatch.setenv("LEDGER_SPOOL_MAX_BYTES", "1000000")
        folder = loaded(asked)
        work(folder, 0)
        left = 1_000_000 - trace_spool(load_settings()).usage().bytes
        filler = trace_spool(load_settings()).folder / f"{'0' * 20}-{'0' * 8}-{'0' * 16}.entry"
        filler.write_bytes(b"x" * left)
        report = work(folder, 1)
        assert "LEDGER_SPOOL_MAX_BYTES" in str(report["refused"])
        assert len(read_jsonl(folder.chunk(1).output)) == 2
        assert store_traces(folder, 1) == 0
        assert metrics_recorder().pending.ledger_refused == 2
        assert "traces of chunk 1 of batch batch-1 are lost" in caplog.text
        filler.unlink()
        assert (store_traces(folder, 0), work(folder, 2)["refused"]) == (2, None)

    def test_what_lies_in_quarantine_is_named(self, asked: RunRequest) -> None:
        """The ledger has something else at the key: the run says so, and so it is each time."""
        folder = loaded(asked)
        key = str(work(folder, 0)["ledger_key"])
        ledger_store(str(asked.ledger)).append(key, b"something else")
        for _ in range(2):
            with pytest.raises(StoreError, match="its traces are in quarantine: the ledger has something else"):
                store_traces(folder, 0)
        assert metrics_recorder().pending.ledger_quarantined == 1

    def test_a_spool_that_was_cleared_is_noticed(self, asked: RunRequest) -> None:
        """Traces that nobody has are not said to be stored."""
        folder = loaded(asked)
        work(folder, 0)
        for waiting in trace_spool(load_settings()).waiting():
            waiting.path.unlink()
        with pytest.raises(StoreError, match="its traces are in no spool"):
            store_traces(folder, 0)

    def test_a_level_that_is_turned_off_loses_no_answer(
        self, asked: RunRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A run that began with a ledger goes on without, and says so."""
        folder = loaded(asked)
        monkeypatch.setenv("LEDGER_LEVEL", "off")
        assert work(folder, 0)["refused"] == "LEDGER_LEVEL is off"
        assert not anything_waits()
        assert store_traces(folder, 0) == 0

    def test_where_the_rollout_stands_is_told(self, asked: RunRequest) -> None:
        """Phase and breaker are those under which the chunk was decided."""
        rollout = Rollout()
        rollout.climb(1)
        value = {"rollout": rollout.state.to_dict()}
        state_store().swap("flags", expected_version=0, value=value, actor="ann", reason="a rollout")
        folder = loaded(asked)
        work(folder, 0)
        store_traces(folder, 0)
        rows = run_query(str(asked.ledger), "select distinct phase, breaker_state from traces").rows
        assert rows == (("gradual", "closed"),)

    def test_a_chunk_without_traces_has_none_stored(self, asked: RunRequest) -> None:
        """Where the ledger is off nothing is sent."""
        folder = loaded(replace(asked, flags={}))
        work(folder, 0)
        assert store_traces(folder, 0) == 0
