"""A batch whose ledger is down, or fails and is slow, answers every query, and loses and doubles no trace.

The batch goes through `redo run`, what is left through `redo ledger drain`, each a process of its own, with an S3
server that the test lets fail. Whatever happens, in the end the ledger has each query once and `verify` finds nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL

from core.clock import SystemClock
from ledger.objects import open_store
from ledger.query import run_query
from ledger.verify import verify
from tests.batch_samples import BatchFiles, query_rows, read_jsonl, write_batch
from tests.faulty_s3 import FaultyS3, faulty_s3

pytestmark = [
    pytest.mark.process,
    pytest.mark.server,
    pytest.mark.usefixtures("prefect_server", "patience", "only_rules"),
]

REDO = str(Path(sys.executable).with_name("redo"))
QUERIES = 60
LIMIT_S = 120
DRAINS = 6


@pytest.fixture
def s3() -> Iterator[FaultyS3]:
    """An S3 server of this test's own."""
    with faulty_s3() as server:
        yield server


@pytest.fixture
def files(tmp_path: Path) -> BatchFiles:
    """Some queries over passages that dispute each answer."""
    return write_batch(tmp_path / "input", queries=QUERIES)


def redo(*words: str, **variables: str) -> tuple[int, dict[str, Any]]:
    """Run a command; its exit code, and the object that it prints."""
    environment = os.environ | {"PREFECT_API_URL": str(PREFECT_API_URL.value())} | variables
    done = subprocess.run(
        [REDO, *words, "--json"], env=environment, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def run_batch(files: BatchFiles, ledger: str, *, chunks: int, **variables: str) -> dict[str, Any]:
    """Run the batch; it is Completed, and answers every query without falling back."""
    words = ["--queries", str(files.queries), "--passages", str(files.passages), "--ledger", ledger]
    words += ["--batch-id", "batch", "--chunk-size", str(QUERIES // chunks)]
    words += ["--flag", "orchestrator.redo_enabled=true", "--flag", "ledger.enabled=true"]
    code, summary = redo("run", *words, **variables)
    assert code == 0
    assert (summary["queries"], summary["answered"], summary["errors"]) == (QUERIES, QUERIES, {})
    assert summary["decisions"] == {"redo": QUERIES, "legacy": 0, "fallback": 0}
    assert [row["query_id"] for row in read_jsonl(Path(summary["output"]))] == expected()
    return summary


def expected() -> list[str]:
    """The queries of the batch."""
    return [str(row["query_id"]) for row in query_rows(QUERIES)]


def assert_whole(ledger: str, *, chunks: int) -> None:
    """Each query has one row, all committed, and no chain is broken."""
    rows = run_query(ledger, "select query_id from traces order by query_id").rows
    assert [query_id for (query_id,) in rows] == expected()
    report = verify(open_store(ledger), clock=SystemClock())
    assert report.findings == ()
    assert (report.rows, report.objects) == (QUERIES, chunks)


def test_down_for_a_whole_batch(s3: FaultyS3, files: BatchFiles) -> None:
    """Nothing can be stored, every query is answered, the run says what waits; when S3 is back, drain delivers it."""
    ledger = f"s3://{s3.bucket}/ledger"
    s3.go_down()
    summary = run_batch(files, ledger, chunks=4, REDO_STORE_RETRIES="0")
    told = summary["ledger"]
    assert (told["rows"], told["pending"], told["refused"], told["quarantined"]) == (0, QUERIES, 0, 0)
    assert "s3://" in told["error"]
    code, drained = redo("ledger", "drain")
    assert (code, drained["waiting"]["entries"]) == (1, 4)

    s3.go_up()
    code, drained = redo("ledger", "drain")
    assert code == 0
    assert (drained["delivered"]["rows"], drained["waiting"]["entries"], drained["quarantined"]) == (QUERIES, 0, [])
    assert_whole(ledger, chunks=4)
    assert {row for (row,) in run_query(ledger, "select spooled from manifests").rows} == {True}


def test_failing_and_slow(s3: FaultyS3, files: BatchFiles) -> None:
    """Of 100 requests 30 fail, half of them after they were done, and each takes 50 ms: retries and drains do it."""
    ledger = f"s3://{s3.bucket}/ledger"
    s3.share, s3.delay_s, s3.seed = 0.3, 0.05, 4
    summary = run_batch(files, ledger, chunks=12, REDO_STORE_RETRIES="1")
    assert summary["ledger"]["rows"] + summary["ledger"]["pending"] == QUERIES
    for _ in range(DRAINS):
        code, drained = redo("ledger", "drain")
        assert drained["quarantined"] == []
        if code == 0:
            break
    assert code == 0
    assert s3.failed["PUT"] >= 5, "too few failures to say anything"
    assert 0.15 < s3.failed.total() / s3.requests.total() < 0.45

    s3.share = s3.delay_s = 0.0
    assert_whole(ledger, chunks=12)
