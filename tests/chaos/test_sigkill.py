"""A run that is killed, at any time and in any way, is taken up by the same command: nothing is lost or doubled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL

from core.clock import SystemClock
from ledger.query import run_query
from tasks.loading import load_batch
from tasks.run_folder import RunFolder
from tasks.run_spec import RunRequest
from tasks.settings import load_settings
from tests.batch_samples import BatchFiles, query_rows, read_jsonl, write_batch

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("only_rules")]

REDO = str(Path(sys.executable).with_name("redo"))
QUERIES = 2_000
CHUNKS = 20
LIMIT_S = 240.0
POLL_S = 0.02


@contextmanager
def started(words: list[str], log: Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that leads a session of its own; nothing of it is left at the end, its Prefect server neither."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            words, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True, env=os.environ | variables
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until(reached: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait while the process works towards something, and fail where it ends before, or never gets there."""
    give_up_at = time.monotonic() + LIMIT_S
    while not reached():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < give_up_at, log.read_text()
        time.sleep(POLL_S)


def is_gone(group: int) -> bool:
    """Whether no process of the session is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.fixture
def files(tmp_path: Path) -> BatchFiles:
    """Some thousand queries."""
    return write_batch(tmp_path, queries=QUERIES)


def test_killed_while_loading(files: BatchFiles, redo_home: Path, tmp_path: Path) -> None:
    """Half of the chunks are laid out, nobody sees them, and the next run lays out all of them."""
    request = RunRequest(batch_id="b", queries=str(files.queries), passages=str(files.passages), chunk_size=1)
    program = (
        "from core.clock import SystemClock; from tasks.loading import load_batch\n"
        "from tasks.run_spec import RunRequest; from tasks.settings import load_settings\n"
        f"load_batch({request!r}, load_settings(), clock=SystemClock())"
    )
    folder = RunFolder.of(redo_home, "b")
    with started([sys.executable, "-c", program], tmp_path / "log") as process:
        wait_until(lambda: any(folder.path.glob(".chunks-*/chunks/00050")), process, tmp_path / "log")
        process.kill()
    assert not folder.spec.exists()
    assert not (folder.path / "chunks").exists()

    spec = load_batch(request, load_settings(), clock=SystemClock())
    assert (spec.queries, spec.chunks) == (QUERIES, QUERIES)
    laid_out = [row["query_id"] for n in range(QUERIES) for row in read_jsonl(folder.chunk(n).queries)]
    assert laid_out == [row["query_id"] for row in query_rows(QUERIES)]
    assert sorted(path.name for path in folder.path.iterdir()) == ["chunks", "run.json"]


@pytest.mark.server
def test_interrupted_and_killed_in_the_middle(
    files: BatchFiles, redo_home: Path, tmp_path: Path, prefect_server: None
) -> None:
    """Ctrl-C, then SIGKILL, then to the end: one row and one record a query, the records in order.

    Ctrl-C reaches every process of the terminal. The command ends at once all the same, with exit code 130, and leaves
    no process behind. The other two runs use a server that is there already.
    """
    del prefect_server
    server = {"PREFECT_API_URL": str(PREFECT_API_URL.value())}
    command = [REDO, "run", "--queries", str(files.queries), "--passages", str(files.passages), "--batch-id", "b"]
    command += ["--chunk-size", str(QUERIES // CHUNKS), "--shadow", "--json"]
    folder = RunFolder.of(redo_home, "b")

    def done() -> int:
        return len(list(folder.path.glob("chunks/*/done.json")))

    log = tmp_path / "interrupted"
    with started(command, log) as process:
        wait_until(lambda: done() >= 3, process, log)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=30) == 130
        wait_until_gone(process.pid)
    assert "interrupted; what is done is kept, and the same command takes it up (--batch-id b)" in log.read_text()
    before = done()
    assert 3 <= before < CHUNKS

    log = tmp_path / "killed"
    with started(command, log, **server) as process:
        wait_until(lambda: done() >= before + 3, process, log)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    before = done()
    assert before < CHUNKS

    log = tmp_path / "completed"
    with started(command, log, **server) as process:
        assert process.wait(timeout=LIMIT_S) == 0, log.read_text()
    summary: dict[str, Any] = json.loads(log.read_text())
    assert (summary["answered"], summary["chunks"], summary["resumed"]) == (QUERIES, CHUNKS, before)
    assert summary["ledger"]["pending"] == 0
    expected = [row["query_id"] for row in query_rows(QUERIES)]
    assert [record["query_id"] for record in read_jsonl(Path(summary["output"]))] == expected
    stored = run_query(str(redo_home / "ledger"), "select query_id from traces order by query_id").rows
    assert [query_id for (query_id,) in stored] == expected
    objects = list((redo_home / "ledger").rglob("*.parquet"))
    assert len(objects) == CHUNKS


def wait_until_gone(group: int) -> None:
    """Wait for the last process of a session that was told to end."""
    give_up_at = time.monotonic() + 30
    while not is_gone(group):
        assert time.monotonic() < give_up_at, "a process is left"
        time.sleep(POLL_S)
