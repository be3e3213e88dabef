"""The guide's fallback scenarios through the real flow: whatever fails, every query is answered, and it recovers."""

from __future__ import annotations

import http.server
import io
import logging
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pyarrow.parquet as pq
import pytest

from core.adapters.faults import FaultyDetector
from core.fallbacks import get_fallback_manager, is_redo_active
from flows.run_batch import run_batch
from ledger.query import run_query
from tasks.batch import load
from tasks.run_folder import RunFolder
from tasks.run_spec import RunSpec
from tasks.wiring import build_pipeline
from tests.batch_samples import query_rows, read_jsonl, write_batch

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("prefect_server", "patience")]

REDO = {"orchestrator.redo_enabled": True}
WITH_LEDGER = REDO | {"ledger.enabled": True}
CHUNK = 10


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The flow over so many queries, in chunks of ten, with REDO on. It has to complete and to answer all of them."""

    def completed(batch_id: str, queries: int, **asked: Any) -> dict[str, Any]:
        files = write_batch(tmp_path / f"input-{queries}", queries=queries)
        given = {"queries": str(files.queries), "passages": str(files.passages), "chunk_size": CHUNK, "flags": REDO}
        state = run_batch(batch_id=batch_id, return_state=True, **given | asked)
        assert state.is_completed(), state
        summary = state.result()
        records = read_jsonl(Path(summary["output"]))
        assert [record["query_id"] for record in records] == [row["query_id"] for row in query_rows(queries)]
        assert summary["answered"] == queries
        return summary

    return completed


def until(holds: Callable[[], bool]) -> None:
    """Look again and again, for ten seconds at most."""
    pause = threading.Event()
    for _ in range(1_000):
        if holds():
            return
        pause.wait(0.01)
    pytest.fail("it did not come to hold")


def redo_is_active() -> bool:
    """Whether the next query gets REDO, as a probe where the breaker is open."""
    return is_redo_active(REDO)


def breaker() -> dict[str, Any]:
    """The orchestrator's breaker, as the shared state has it."""
    manager = get_fallback_manager()
    manager.refresh()
    return manager._orchestrator.breaker.state.to_dict()


class TestOrchestrator:
    """It fails: legacy answers, and after the breaker's time a probe brings REDO back."""

    @pytest.mark.parametrize("fault", ["raise", "garbage"])
    def test_every_query_is_answered(
        self, fault: str, run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first chunk was decided before; its failures open the breaker, and the others are not tried."""
        monkeypatch.setenv("REDO_FAULT", fault)
        summary = run("drill", 30)
        assert summary["decisions"] == {"redo": 0, "legacy": 0, "fallback": 30}
        assert summary["reasons"] == {"BREAKER_OPEN": 20, "ORCHESTRATOR_ERROR": 10}
        assert summary["without_evidence"] == 0
        assert [sum(summary["errors"].values()), breaker()["cause"]] == [10, "failures"]

    @pytest.mark.parametrize("fault", ["raise", "garbage"])
    def test_it_recovers(self, fault: str, run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
        """One query of the first chunk is the probe, its nine companions wait for it; all others have REDO again."""
        monkeypatch.setenv("REDO_CIRCUIT_BREAKER_RESET", "0.2")
        monkeypatch.setenv("REDO_FAULT", fault)
        assert run("drill", 10)["reasons"] == {"ORCHESTRATOR_ERROR": 10}
        monkeypatch.delenv("REDO_FAULT")
        until(redo_is_active)
        summary = run("afterwards", 30)
        assert summary["reasons"] == {"ENABLED": 21, "BREAKER_OPEN": 9}
        assert summary["without_evidence"] == 0
        assert breaker()["status"] == "closed"

    def test_the_probe_fails(self, run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
        """While the fault lasts one query in each period pays for it, and the period doubles."""
        monkeypatch.setenv("REDO_CIRCUIT_BREAKER_RESET", "0.2")
        monkeypatch.setenv("REDO_FAULT", "raise")
        run("drill", 10)
        until(redo_is_active)
        assert run("second", 10)["reasons"] == {"BREAKER_OPEN": 9, "ORCHESTRATOR_ERROR": 1}
        state = breaker()
        assert (state["trips"], state["status"]) == (2, "open")
        assert 0.35 < state["open_until"] - state["opened_at"] <= 0.4

    def test_it_hangs(self, run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
        """Eight queries are given up, then no thread is spent on the others; runs that follow are answered too."""
        monkeypatch.setenv("REDO_FALLBACK_TIMEOUT", "0.3")
        monkeypatch.setenv("REDO_CIRCUIT_BREAKER_RESET", "30")
        monkeypatch.setenv("REDO_FAULT", "hang")
        summary = run("drill", 20)
        index = RunSpec.load(RunFolder(Path(summary["run_folder"])).spec).index
        pipeline = build_pipeline(Path(str(index)), _pipeline_config(summary))
        try:
            assert summary["reasons"] == {"BREAKER_OPEN": 10, "TIMEOUT": 8, "BULKHEAD_FULL": 2}
            assert summary["without_evidence"] == 0
            meanwhile = run("meanwhile", 10)
            assert (meanwhile["reasons"], meanwhile["without_evidence"]) == ({"BREAKER_OPEN": 10}, 0)
        finally:
            assert isinstance(pipeline.detector, FaultyDetector)
            pipeline.detector.release()
        assert pipeline.limit is not None
        bulkhead = pipeline.limit.bulkhead
        until(lambda: bulkhead.abandoned == 0)
        monkeypatch.delenv("REDO_FAULT")
        monkeypatch.delenv("REDO_FALLBACK_TIMEOUT")
        get_fallback_manager().reset()
        assert run("afterwards", 10)["reasons"] == {"ENABLED": 10}

    def test_it_is_slow(self, run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
        """Late selections are valid; after twenty of them the breaker opens, and legacy answers the rest in time."""
        monkeypatch.setenv("REDO_FAULT", "slow")
        summary = run("drill", 40)
        assert summary["reasons"] == {"BREAKER_OPEN": 20, "ENABLED": 20}
        assert (summary["deadline_hits"], summary["without_evidence"]) == (20, 0)
        assert breaker()["cause"] == "slow_calls"

    def test_it_recovers_from_being_slow(
        self, run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nineteen slow calls open nothing, the twentieth does; a fast probe closes the breaker."""
        monkeypatch.setenv("REDO_CIRCUIT_BREAKER_RESET", "0.2")
        monkeypatch.setenv("REDO_FAULT", "slow")
        assert run("nineteen", 19)["reasons"] == {"ENABLED": 19}
        assert breaker()["status"] == "closed"
        assert run("twentieth", 1)["reasons"] == {"ENABLED": 1}
        assert breaker()["cause"] == "slow_calls"
        monkeypatch.delenv("REDO_FAULT")
        until(redo_is_active)
        assert run("afterwards", 20)["reasons"] == {"ENABLED": 11, "BREAKER_OPEN": 9}
        assert breaker()["status"] == "closed"

    def test_a_drill_says_that_it_is_one(
        self, run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, redo_home: Path
    ) -> None:
        """In the run's log, and in every trace."""
        said: list[str] = []

        class Listener(logging.Handler):
            """Keeps the warnings."""

            def emit(self, record: logging.LogRecord) -> None:
                """Keep one."""
                said.append(record.getMessage())

        listener, logger = Listener(logging.WARNING), logging.getLogger("prefect.task_runs")
        monkeypatch.setenv("REDO_FAULT", "raise")
        logger.addHandler(listener)
        try:
            run("drill", 10, flags=WITH_LEDGER)
        finally:
            logger.removeHandler(listener)
        assert said == ["a drill, no outage: REDO_FAULT makes the orchestrator fail: raise"]
        rows = run_query(str(redo_home / "ledger"), "select model_versions from traces").records()
        assert len(rows) == 10
        assert all(" with fault raise" in str(row["model_versions"]) for row in rows)


def _pipeline_config(summary: dict[str, Any]) -> Any:
    return RunSpec.load(RunFolder(Path(summary["run_folder"])).spec).pipeline_config


class Bucket(http.server.BaseHTTPRequestHandler):
    """An S3 that takes objects, once its server is well."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        """Take the object, refuse it, or say nothing for as long as the outage lasts."""
        outage = cast("Outage", self.server.outage)  # type: ignore[attr-defined]
        outage.requests += 1
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if outage.kind == "silence":
            outage.is_over.wait()
        failing = not outage.is_over.is_set()
        if not failing:
            outage.objects[self.path] = body
        self.send_response(503 if failing else 200)
        self.send_header("Content-Length", "0")
        self.send_header("ETag", '"1"')
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Outage:
    """An S3 endpoint that fails in one way until it is over.

    Args:
        kind: `refused` connections, `503`, or `silence`.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.requests = 0
        self.objects: dict[str, bytes] = {}
        self.is_over = threading.Event()
        self._server: http.server.ThreadingHTTPServer | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        if kind != "refused":
            self._serve()

    def _serve(self) -> None:
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Bucket)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._server.outage = self  # type: ignore[attr-defined]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def end(self) -> None:
        """From now on the endpoint is well."""
        if not self.is_over.is_set() and self._server is None:
            self._serve()
        self.is_over.set()

    def close(self) -> None:
        """Stop the server."""
        self.is_over.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    @property
    def rows(self) -> int:
        """How many traces it has taken and committed."""
        taken = (body for path, body in self.objects.items() if path.endswith(".parquet"))
        manifests = (path for path in self.objects if path.endswith(".json"))
        assert {path.replace("/manifests/", "/traces/")[:-5] for path in manifests} == {
            path[:-8] for path in self.objects if path.endswith(".parquet")
        }
        return sum(pq.read_table(io.BytesIO(body)).num_rows for body in taken)


@pytest.fixture(params=["refused", "503", "silence"])
def outage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outage]:
    """The endpoint that the AWS_* variables point to."""
    found = Outage(request.param)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{found.port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    yield found
    found.close()


def test_a_ledger_that_fails_changes_no_selection(
    outage: Outage, run: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output is that of a run with a healthy ledger, byte for byte; the same run again delivers the traces."""
    healthy = run("healthy", 20, flags=WITH_LEDGER, ledger=str(tmp_path / "ledger"))
    assert healthy["ledger"]["rows"] == 20
    monkeypatch.setenv("REDO_STORE_RETRIES", "0")
    monkeypatch.setenv("REDO_FALLBACK_TIMEOUT", "0.5")
    asked = {"flags": WITH_LEDGER, "ledger": "s3://bucket/ledger"}
    summary = run("outage", 20, **asked)
    assert summary["reasons"] == {"ENABLED": 20}
    assert (summary["ledger"]["rows"], summary["ledger"]["pending"]) == (0, 20)
    assert summary["ledger"]["error"] is not None
    assert Path(summary["output"]).read_bytes() == Path(healthy["output"]).read_bytes()
    assert redo_is_active()
    assert outage.rows == 0
    assert outage.requests == {"refused": 0, "503": 6, "silence": 2}[outage.kind]  # two chunks; a 503 is asked again
    outage.end()
    monkeypatch.delenv("REDO_FALLBACK_TIMEOUT")
    again = run("outage", 20, **asked)
    assert again["resumed"] == 2
    assert again["ledger"] == {
        "uri": "s3://bucket/ledger",
        "rows": 20,
        "pending": 0,
        "refused": 0,
        "quarantined": 0,
        "error": None,
    }
    assert outage.rows == 20
    assert Path(again["output"]).read_bytes() == Path(healthy["output"]).read_bytes()


def _only_index(home: Path) -> Path:
    (index,) = (home / "indexes").iterdir()
    return index


def _cut_short(index: Path) -> None:
    with (index / "passages.arrow").open("r+b") as file:
        file.truncate(100)


def _lost(index: Path) -> None:
    (index / "bm25" / "data.csc.index.npy").unlink()


def _gone(index: Path) -> None:
    shutil.rmtree(index)


def _overwritten(index: Path) -> None:
    """Other bytes in the same files, of the same length, in place: also whoever has them open reads them."""
    for path in index.rglob("*"):
        if path.suffix in {".arrow", ".npy"}:
            size = path.stat().st_size
            with path.open("r+b") as file:
                file.write(b"\xff" * size)


class TestIndex:
    """It is a cache: whatever happens to it, the next run has it again."""

    @pytest.mark.parametrize("damage", [_cut_short, _lost, _gone, _overwritten])
    def test_damage_between_two_runs(
        self, damage: Callable[[Path], None], run: Callable[..., dict[str, Any]], redo_home: Path
    ) -> None:
        """The next run builds it anew and answers as the first one did."""
        first = run("first", 20)
        damage(_only_index(redo_home))
        second = run("second", 20)
        assert second["reasons"] == {"ENABLED": 20}
        assert Path(second["output"]).read_bytes() == Path(first["output"]).read_bytes()

    def test_damage_during_a_run(self, run: Callable[..., dict[str, Any]], redo_home: Path) -> None:
        """Every query has a record with the reason; the breaker is not to blame, and the next run answers."""

        def damage(*_: Any) -> None:
            path = _only_index(redo_home) / "passages.arrow"
            size = path.stat().st_size
            with path.open("r+b") as file:
                file.write(b"\xff" * size)

        load.on_completion(damage)
        try:
            summary = run("during", 20)
        finally:
            load.on_completion_hooks.remove(damage)
        assert summary["reasons"] == {"RETRIEVER_ERROR": 20}
        assert summary["without_evidence"] == 20
        assert redo_is_active()
        afterwards = run("afterwards", 20)
        assert (afterwards["reasons"], afterwards["without_evidence"]) == ({"ENABLED": 20}, 0)


def _folder(state: Path) -> None:
    state.unlink(missing_ok=True)
    state.mkdir(parents=True)


def _nonsense(state: Path) -> None:
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_bytes(b"this is no database" * 100)


def _repaired(state: Path) -> None:
    if state.is_dir():
        state.rmdir()
    else:
        state.unlink()


@pytest.mark.parametrize("damage", [_folder, _nonsense])
class TestSharedState:
    """It is down: nothing is raised."""

    def test_from_the_start(
        self, damage: Callable[[Path], None], run: Callable[..., dict[str, Any]], redo_home: Path
    ) -> None:
        """Legacy answers, and what the run asked for is not forgotten: it may be taken up. The next one has REDO."""
        state = redo_home / "state.sqlite"
        damage(state)
        summary = run("down", 20, flags=WITH_LEDGER)
        assert summary["decisions"] == {"redo": 0, "legacy": 0, "fallback": 20}
        assert summary["reasons"] == {"DATABASE_UNAVAILABLE": 20}
        assert (summary["without_evidence"], summary["ledger"]["rows"]) == (0, 20)
        _repaired(state)
        assert run("afterwards", 20)["reasons"] == {"ENABLED": 20}
        assert run("down", 20, flags=WITH_LEDGER)["resumed"] == 2

    def test_while_runs_go_on(
        self, damage: Callable[[Path], None], run: Callable[..., dict[str, Any]], redo_home: Path
    ) -> None:
        """The last that was known goes on to count, and the report says that it is old."""
        assert run("before", 10)["reasons"] == {"ENABLED": 10}
        damage(redo_home / "state.sqlite")
        assert run("down", 10)["reasons"] == {"ENABLED": 10}
        assert "state.sqlite" in str(get_fallback_manager().get_health_status())
