"""The flow over a small batch, on one Prefect server: what it answers, records and leaves, and how it is taken up."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq
import pytest
from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact

from core.breaker import Status
from core.errors import BatchError
from core.fallbacks import get_fallback_manager
from core.flags import rollout_bucket
from flows.run_batch import ChunksFailedError, run_batch
from ledger.objects import download, upload
from ledger.query import run_query
from tasks.run_folder import RunFolder
from tests.batch_samples import BatchFiles, query_rows, read_jsonl, write_batch, write_jsonl

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("prefect_server", "patience")]

REDO = {"orchestrator.redo_enabled": True}
WITH_LEDGER = REDO | {"ledger.enabled": True}
DELIVERED = {"pending": 0, "refused": 0, "quarantined": 0, "error": None}


@pytest.fixture
def files(tmp_path: Path) -> BatchFiles:
    """Five queries over passages that dispute each answer."""
    return write_batch(tmp_path / "input")


def run(files: BatchFiles, **asked: Any) -> dict[str, Any]:
    """The flow, in chunks of two."""
    known: dict[str, Any] = {"queries": str(files.queries), "passages": str(files.passages), "chunk_size": 2}
    summary: dict[str, Any] = run_batch(**known | asked)
    return summary


def rows_of(uri: str) -> list[dict[str, object]]:
    """All rows of a ledger, by query."""
    return run_query(uri, "select * from traces order by batch_id, query_id").records()


def column(uri: str, name: str) -> list[object]:
    """One column of a ledger, by query."""
    return [row[name] for row in rows_of(uri)]


@dataclass(frozen=True, slots=True)
class ShadowRun:
    """A run in shadow, which several tests look at."""

    home: Path
    summary: dict[str, Any]


@pytest.fixture(scope="module")
def shadow(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> ShadowRun:
    """Ten queries in shadow, with labels, each a chunk of its own."""
    del prefect_server
    folder = tmp_path_factory.mktemp("shadow")
    files = write_batch(folder, queries=10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDO_HOME", str(folder / "home"))
        summary = run(files, batch_id="shadow", labels=str(files.labels), shadow=True, chunk_size=1)
    return ShadowRun(folder / "home", summary)


class TestShadow:
    """Both selections are computed, legacy is served, both are recorded."""

    def test_the_summary(self, shadow: ShadowRun) -> None:
        """Every query is answered by legacy, and what REDO found is counted."""
        summary = shadow.summary
        assert summary["batch_id"] == "shadow"
        assert (summary["queries"], summary["answered"], summary["quarantined"]) == (10, 10, 0)
        assert summary["decisions"] == {"redo": 0, "legacy": 10, "fallback": 0}
        assert summary["reasons"] == {"SHADOW": 10}
        assert summary["contradictions"] == {"numeric": 10}
        assert summary["ledger"] == {"uri": str(shadow.home / "ledger"), "rows": 10, **DELIVERED}
        assert (summary["resumed"], summary["chunks"]) == (0, 10)

    def test_the_quality_of_both_arms(self, shadow: ShadowRun) -> None:
        """Legacy flags nothing; REDO flags each dispute between the council and the guide."""
        quality = shadow.summary["quality"]
        assert quality["legacy"]["recall_correct"]["value"] == quality["redo"]["recall_correct"]["value"] == 1.0
        assert quality["legacy"]["conflict_recall"]["value"] == 0.0
        assert quality["redo"]["conflict_recall"] == {"value": 1.0, "low": 1.0, "high": 1.0, "n": 10}

    def test_the_output_is_in_input_order(self, shadow: ShadowRun) -> None:
        """One record a query, with the legacy selection and no dispute in it."""
        records = read_jsonl(Path(shadow.summary["output"]))
        assert [record["query_id"] for record in records] == [row["query_id"] for row in query_rows(10)]
        assert [record["query"] for record in records] == [row["text"] for row in query_rows(10)]
        assert all(record["evidence"] and not record["contradictions"] for record in records)

    def test_the_ledger_has_both(self, shadow: ShadowRun) -> None:
        """One row a query, which describes REDO's selection and names the legacy one."""
        rows = rows_of(str(shadow.home / "ledger"))
        assert [row["query_id"] for row in rows] == [f"q-{number:04d}" for number in range(10)]
        assert {(row["decision"], row["reason"], row["shadow"], row["selection_arm"]) for row in rows} == {
            ("legacy", "SHADOW", True, "redo")
        }
        assert all(row["legacy_selection"] and row["documents"] and row["conflicts"] for row in rows)

    def test_the_artifacts(self, shadow: ShadowRun) -> None:
        """The Prefect UI shows the run's numbers, a chart of latency, and the conflicts with both sentences."""
        found = artifacts_of(UUID(str(column(str(shadow.home / "ledger"), "flow_run_id")[0])))
        assert set(found) == {"redo-batch", "redo-latency", "redo-conflicts"}
        assert '"answered by legacy", "value": "10"' in str(found["redo-batch"].data)
        assert "<= 400 ms" in str(found["redo-latency"].data)
        conflicts = str(found["redo-conflicts"].data)
        assert "The bridge of Arden is **400** metres long." in conflicts
        assert "The bridge of Arden is **500** metres long." in conflicts

    def test_the_traces_are_stored_while_chunks_are_computed(self, shadow: ShadowRun) -> None:
        """A run that dies late has its early decisions in the ledger: at most two chunks' are still on their way."""
        chunks = [RunFolder.of(shadow.home, "shadow").chunk(number) for number in range(10)]
        last_done = max(chunk.done.stat().st_mtime_ns for chunk in chunks)
        assert sum(chunk.stored.stat().st_mtime_ns < last_done for chunk in chunks) >= 8


def artifacts_of(flow_run_id: UUID) -> dict[str, Artifact]:
    """The artifacts of a flow run, by key."""
    with get_client(sync_client=True) as client:
        of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
        return {str(artifact.key): artifact for artifact in client.read_artifacts(artifact_filter=of_run)}


class TestFlags:
    """Outside of shadow the flags decide."""

    def test_off_is_the_default(self, files: BatchFiles, redo_home: Path) -> None:
        """Legacy answers, nothing is written to the ledger, and the run names itself."""
        summary = run(files)
        assert summary["decisions"] == {"redo": 0, "legacy": 5, "fallback": 0}
        assert summary["reasons"] == {"FLAG_OFF": 5}
        assert summary["ledger"] is None
        assert not (redo_home / "ledger").exists()
        assert (redo_home / "runs" / summary["batch_id"] / "summary.json").exists()

    def test_part_of_the_traffic(self, files: BatchFiles, tmp_path: Path) -> None:
        """At a percentage between the two sessions' buckets one gets REDO, the other legacy, and the traces say so."""
        buckets = {session: rollout_bucket(session) for session in ("s-0", "s-1")}
        chosen = min(buckets, key=lambda session: buckets[session])
        flags = WITH_LEDGER | {"rollout_percentage": buckets[chosen]}
        summary = run(files, flags=flags, ledger=str(tmp_path / "led"), output=str(tmp_path / "out.parquet"))
        expected = [
            ("redo", "ENABLED") if row["session_id"] == chosen else ("legacy", "NOT_IN_ROLLOUT")
            for row in query_rows(5)
        ]
        output = pq.read_table(summary["output"]).to_pylist()
        assert [(record["decision"], record["reason"]) for record in output] == expected
        rows = rows_of(str(tmp_path / "led"))
        assert [(row["decision"], row["reason"]) for row in rows] == expected
        assert {row["rollout_percentage"] for row in rows} == {buckets[chosen]}
        disputes = [[found["left"]["passage_id"] for found in record["contradictions"]] for record in output]
        assert disputes[0 if chosen == "s-0" else 1] != []
        assert disputes[1 if chosen == "s-0" else 0] == []

    def test_a_ledger_that_is_not_used_is_named(self, files: BatchFiles, tmp_path: Path) -> None:
        """A place for traces, and a ledger that is off: the summary says so in a sentence."""
        place = str(tmp_path / "unused")
        (note,) = run(files, ledger=place)["notes"]
        assert note.startswith(f"--ledger {place} is not used: the ledger is off")
        assert run(files, ledger=place, flags=WITH_LEDGER)["notes"] == []

    def test_a_level_of_off_is_a_ledger_that_is_off(self, files: BatchFiles, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever the flags say."""
        monkeypatch.setenv("LEDGER_LEVEL", "off")
        assert run(files, flags=WITH_LEDGER)["ledger"] is None


class TestTakenUp:
    """A run with the id of a batch that was begun."""

    def test_what_is_done_is_not_done_again(self, files: BatchFiles, redo_home: Path) -> None:
        """No file of a chunk and no object of the ledger changes, and the answer is the same."""
        first = run(files, batch_id="again", flags=WITH_LEDGER)

        def kept() -> dict[Path, int]:
            folders = (redo_home / "runs" / "again" / "chunks", redo_home / "ledger")
            return {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*.*")}

        before = kept()
        output = Path(first["output"]).read_bytes()
        second = run(files, batch_id="again", flags=WITH_LEDGER)
        assert second == first | {"resumed": 3}
        assert kept() == before
        assert Path(second["output"]).read_bytes() == output
        assert len(rows_of(str(redo_home / "ledger"))) == 5

    def test_what_is_missing_is_done(self, files: BatchFiles, redo_home: Path) -> None:
        """A chunk that cannot be worked on fails the run, costs the others nothing, and is taken up once it can."""
        run(files, batch_id="part", flags=WITH_LEDGER)
        folder = RunFolder.of(redo_home, "part")
        output = folder.output.read_bytes()
        lost = folder.chunk(1)
        queries = lost.queries.read_bytes()
        for path in lost.path.iterdir():
            path.unlink()
        done = folder.chunk(2).done.stat().st_mtime_ns
        with pytest.raises(ChunksFailedError, match=r"1 of 3 chunks failed, the first is 1: .*same batch id takes up"):
            run(files, batch_id="part", flags=WITH_LEDGER)
        lost.queries.write_bytes(queries)
        summary = run(files, batch_id="part", flags=WITH_LEDGER)
        assert (summary["resumed"], summary["answered"]) == (2, 5)
        assert folder.output.read_bytes() == output
        assert folder.chunk(2).done.stat().st_mtime_ns == done
        assert column(str(redo_home / "ledger"), "query_id") == [f"q-{number:04d}" for number in range(5)]

    def test_another_batch_is_refused(self, files: BatchFiles, redo_home: Path) -> None:
        """Other input under the same id is an error, and so is a second run at the same time; nothing is changed."""
        run(files, batch_id="mine")
        folder = RunFolder.of(redo_home, "mine")
        before = folder.output.read_bytes()
        with folder.held(), pytest.raises(BatchError, match="'mine' is being run at this moment"):
            run(files, batch_id="mine")
        write_jsonl(files.queries, query_rows(3))
        with pytest.raises(BatchError, match="batch id 'mine' was begun with other queries"):
            run(files, batch_id="mine")
        assert folder.output.read_bytes() == before


class StumblingStore(http.server.BaseHTTPRequestHandler):
    """An S3 that takes an object only after it has answered 503 to as many requests as `stumbles` says."""

    protocol_version = "HTTP/1.1"
    stumbles = 0
    puts = 0

    def do_PUT(self) -> None:
        """Take the object, or stumble."""
        cls = type(self)
        cls.puts += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(503 if cls.puts <= cls.stumbles else 200)
        self.send_header("Content-Length", "0")
        self.send_header("ETag", '"1"')
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def stumbling_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[StumblingStore]]:
    """The handler of a server that the AWS_* variables point to."""

    class Handler(StumblingStore):
        """Counts for one test."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
        yield Handler
        server.shutdown()


class TestLedgerThatFails:
    """It costs no answer."""

    def test_its_traces_are_delivered_by_the_next_run(self, files: BatchFiles, tmp_path: Path) -> None:
        """The run completes with every answer and says what is pending; the same run again delivers it at once."""
        blocked = tmp_path / "blocked"
        blocked.write_text("a file where the ledger should be")
        place = str(blocked / "ledger")
        asked = {"batch_id": "pending", "flags": WITH_LEDGER, "ledger": place}
        summary = run(files, **asked)
        assert summary["decisions"] == {"redo": 5, "legacy": 0, "fallback": 0}
        assert len(read_jsonl(Path(summary["output"]))) == 5
        assert (summary["ledger"]["rows"], summary["ledger"]["pending"]) == (0, 5)
        assert "Not a directory" in summary["ledger"]["error"]
        assert get_fallback_manager()._ledger.breaker.state.status is Status.OPEN
        blocked.unlink()
        again = run(files, **asked)  # after three failures the ledger is left alone for a minute, but for who asks
        assert get_fallback_manager()._ledger.breaker.state.status is Status.CLOSED
        assert again["resumed"] == 3
        assert again["ledger"] == {"uri": place, "rows": 5, **DELIVERED}
        assert column(place, "query_id") == [f"q-{number:04d}" for number in range(5)]

    def test_the_next_run_delivers_what_others_left(self, files: BatchFiles, tmp_path: Path) -> None:
        """Another batch does, once its own traces are taken."""
        blocked = tmp_path / "blocked"
        blocked.write_text("a file where the ledger should be")
        run(files, batch_id="left", flags=WITH_LEDGER, ledger=str(blocked / "ledger"), chunk_size=5)
        blocked.unlink()
        run(files, batch_id="next", flags=WITH_LEDGER, chunk_size=5)
        assert column(str(blocked / "ledger"), "batch_id") == ["left"] * 5

    def test_what_may_pass_is_tried_again(self, files: BatchFiles, stumbling_store: type[StumblingStore]) -> None:
        """The store's own client tries three times, then the task does; nothing is pending in the end."""
        stumbling_store.stumbles = 3
        summary = run(files, chunk_size=5, flags=WITH_LEDGER, ledger="s3://bucket/ledger")
        assert summary["ledger"] == {"uri": "s3://bucket/ledger", "rows": 5, **DELIVERED}
        assert stumbling_store.puts == 5  # of the object, of its manifest


OF_THE_RUN = {"flow_run_id", "recorded_at", "started_at", "latency_ms", "payload_bytes", "original_bytes", "dt"}


def test_the_same_batch_gives_the_same_bytes(
    files: BatchFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In two homes, in other chunks: equal outputs, and rows that differ in times and ids of the run only."""
    monkeypatch.setenv("LEDGER_HASH_KEY", "one key for both installations")
    outputs, ledgers = [], []
    for name, chunk_size in (("one", 2), ("two", 3)):
        monkeypatch.setenv("REDO_HOME", str(tmp_path / name))
        summary = run(files, batch_id="same", flags=WITH_LEDGER, chunk_size=chunk_size)
        outputs.append(Path(summary["output"]).read_bytes())
        ledgers.append([comparable(row) for row in rows_of(summary["ledger"]["uri"])])
    assert outputs[0] == outputs[1]
    assert ledgers[0] == ledgers[1]


def comparable(row: dict[str, Any]) -> dict[str, Any]:
    """The row without times and ids of the run."""
    stages = [{name: value for name, value in stage.items() if name != "latency_ms"} for stage in row["stages"]]
    return {name: value for name, value in row.items() if name not in OF_THE_RUN} | {"stages": stages}


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_everything_may_lie_in_s3(ending: str, files: BatchFiles, s3_bucket: str, tmp_path: Path) -> None:
    """Queries, passages, output and ledger; the output is the one that a run on the disk writes."""
    places: dict[str, Any] = {}
    for what, path in (("queries", files.queries), ("passages", files.passages)):
        places[what] = f"s3://{s3_bucket}/in/{what}.jsonl"
        upload(path, places[what])
    output, ledger = f"s3://{s3_bucket}/out/answers.{ending}", f"s3://{s3_bucket}/ledger"
    summary = run(files, **places, batch_id="s3", output=output, ledger=ledger, flags=WITH_LEDGER)
    assert (summary["output"], summary["ledger"]) == (output, {"uri": ledger, "rows": 5, **DELIVERED})
    assert column(ledger, "query_id") == [f"q-{number:04d}" for number in range(5)]
    copy = tmp_path / f"copy.{ending}"
    download(output, copy)
    local = run(files, batch_id="local", output=str(tmp_path / f"local.{ending}"), flags=REDO)
    assert copy.read_bytes() == Path(local["output"]).read_bytes()
