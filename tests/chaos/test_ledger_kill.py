"""Whoever writes to the ledger is killed with SIGKILL at any step; the next one loses no trace and doubles none.

Between the process and S3 the server kills: it knows which request it has got, and whether that was done. So the
moments are exact: the object on its way, the object there and no answer, the manifest on its way, the manifest there
and no answer. On the local disk the process kills itself right before its n-th change of a folder, as Python's audit
hooks tell it: every file of a chunk and of the spool appears by such a change, so every state that a crash can leave is
met.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.adapters.manual_clock import ManualClock
from core.clock import SystemClock
from ledger.compact import compact
from ledger.garbage import collect
from ledger.objects import open_store
from ledger.query import run_query
from ledger.spool import SetAside
from ledger.verify import verify
from tasks.chunks import work_on_chunk
from tasks.delivery import deliver_waiting
from tasks.loading import load_batch
from tasks.run_folder import RunFolder
from tasks.run_spec import RunRequest
from tasks.settings import load_settings
from tasks.wiring import trace_spool
from tests.batch_samples import passage_rows, query_rows, read_jsonl, write_jsonl
from tests.child_programs import started
from tests.faulty_s3 import FaultyS3, faulty_s3

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("patience", "only_rules")]

CLOCK = SystemClock()
REDO = str(Path(sys.executable).with_name("redo"))
QUERIES, CHUNKS = 9, 3
LIMIT_S = 60
CHANGES = 12
"""Output, conflicts, decisions, entry, report; the head three times, object, manifest, receipt; the entry goes."""
EXPECTED = [str(row["query_id"]) for row in query_rows(QUERIES)]
WORK = """
import json, os, signal, sys
from core.clock import SystemClock
from tasks.chunks import work_on_chunk
from tasks.delivery import deliver_waiting
from tasks.loading import load_batch
from tasks.run_folder import RunFolder
from tasks.run_spec import RunRequest
from tasks.settings import load_settings

request = RunRequest(**json.loads(sys.argv[1]))

def work(left):
    def before(event, arguments):
        nonlocal left
        removed = event == "os.remove" and not str(arguments[0]).endswith(".redo-tmp")
        changed = removed or event in ("os.rename", "os.link")
        if changed and str(arguments[0]).startswith(os.environ["REDO_HOME"]):  # Python moves what it compiles, too
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    spec = load_batch(request, load_settings(), clock=SystemClock())
    folder = RunFolder.of(load_settings().home_folder, request.batch_id)
    sys.addaudithook(before)
    for number in range(spec.chunks):
        work_on_chunk(folder, number, load_settings(), clock=SystemClock(), flow_run_id=None, attempt=1)
        deliver_waiting(probe=True)

print("ready", flush=True)
for line in sys.stdin:  # imported once; who dies is a copy
    home, change = line.split()
    child = os.fork()
    if child == 0:
        os.environ["REDO_HOME"], os.environ["LEDGER_URI"] = home, os.environ.get("LEDGER_URI") or home + "/ledger"
        work(int(change))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture
def s3() -> Iterator[FaultyS3]:
    """An S3 server of this test's own."""
    with faulty_s3() as server:
        yield server


def a_batch(folder: Path, ledger: str | None, *, queries: int = QUERIES) -> RunRequest:
    """A batch in chunks of three whose queries bring their candidates, with REDO and the ledger on."""
    candidates = [{**row, "score": 1.0} for row in passage_rows()]
    rows = [{**row, "candidates": candidates[:6]} for row in query_rows(queries)]
    return RunRequest(
        batch_id="batch",
        queries=str(write_jsonl(folder / "queries.jsonl", rows)),
        ledger=ledger,
        chunk_size=QUERIES // CHUNKS,
        flags={"orchestrator.redo_enabled": True, "ledger.enabled": True},
    )


def loaded(request: RunRequest) -> RunFolder:
    """The folder of the batch, laid out."""
    load_batch(request, load_settings(), clock=CLOCK)
    return RunFolder.of(load_settings().home_folder, request.batch_id)


def finish(folder: RunFolder, *, chunks: int = CHUNKS) -> None:
    """What the next run does: the chunks that are not done, and all that waits."""
    for number in range(chunks):
        report = work_on_chunk(folder, number, load_settings(), clock=CLOCK, flow_run_id=None, attempt=2)
        assert report["refused"] is None
        assert report["decisions"] == {"redo": report["queries"]}
    assert deliver_waiting(probe=True).errors == ()
    assert trace_spool(load_settings()).usage().entries == 0


def assert_whole(folder: RunFolder, ledger: str, *, expected: list[str] = EXPECTED, chunks: int = CHUNKS) -> None:
    """Each query has one answer and one row, each chunk its receipt, and no chain is broken."""
    answered = [row["query_id"] for number in range(chunks) for row in read_jsonl(folder.chunk(number).output)]
    assert answered == expected
    assert all(folder.chunk(number).stored.exists() for number in range(chunks))
    assert_ledger(ledger, expected)


def assert_ledger(ledger: str, expected: list[str] = EXPECTED) -> None:
    """Each query has one row, and `verify` finds nothing."""
    rows = run_query(ledger, "select query_id from traces order by query_id").rows
    assert [query_id for (query_id,) in rows] == expected
    report = verify(open_store(ledger), clock=CLOCK)
    assert report.findings == ()
    assert report.rows == len(expected)


DRAIN_DIES = {
    "the first object is on its way": ("traces/", 1, False),
    "the first object is there": ("traces/", 1, True),
    "the first manifest is on its way": ("manifests/", 1, False),
    "the first manifest is there": ("manifests/", 1, True),
    "the second object is on its way": ("traces/", 2, False),
    "the second manifest is there": ("manifests/", 2, True),
}


@pytest.mark.parametrize("moment", DRAIN_DIES)
def test_killed_at_a_request(s3: FaultyS3, tmp_path: Path, moment: str) -> None:
    """Three chunks wait, `redo ledger drain` is killed, and the next one goes on where it was."""
    ledger = f"s3://{s3.bucket}/ledger"
    folder = loaded(a_batch(tmp_path, ledger))
    for number in range(CHUNKS):
        work_on_chunk(folder, number, load_settings(), clock=CLOCK, flow_run_id=None, attempt=1)
    place, nth, after = DRAIN_DIES[moment]
    seen: list[str] = []

    def kill(verb: str, key: str, done: bool) -> bool:  # noqa: FBT001 - as the server asks
        if verb == "PUT" and key.startswith(f"ledger/{place}") and done == after:
            seen.append(key)
        return len(seen) == nth

    s3.kill = kill
    with subprocess.Popen([REDO, "ledger", "drain"], env=os.environ, stdout=subprocess.DEVNULL) as drain:
        s3.client = drain.pid
        assert drain.wait(timeout=LIMIT_S) == -signal.SIGKILL
    s3.client = None
    assert trace_spool(load_settings()).usage().entries == CHUNKS - nth + 1
    finish(folder)
    assert_whole(folder, ledger)
    assert trace_spool(load_settings()).quarantined() == ()


def ask(process: subprocess.Popen[str], home: Path, *, change: int) -> None:
    """Let a copy of the process work on its batch in this home, and die right before so many changes of a folder."""
    assert process.stdin is not None
    process.stdin.write(f"{home} {change}\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> int:
    """How that copy ended."""
    assert process.stdout is not None
    return int(process.stdout.readline())


def test_killed_at_each_change_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    """One chunk, from its first file to its receipt: after each kill the next run ends with all of it, once."""
    request = a_batch(tmp_path, None, queries=3)
    change, code = 0, -signal.SIGKILL
    with started(WORK, json.dumps(asdict(request))) as process:
        while code == -signal.SIGKILL:
            change += 1
            with subtests.test(change=change):
                home = tmp_path / f"home-{change}"
                ask(process, home, change=change)
                code = answer(process)
                monkeypatch.setenv("REDO_HOME", str(home))
                folder = loaded(request)
                finish(folder, chunks=1)
                assert_whole(folder, str(home / "ledger"), expected=EXPECTED[:3], chunks=1)
    assert code == 0
    assert change == CHANGES + 1


def test_two_writers_of_one_batch(s3: FaultyS3, tmp_path: Path) -> None:
    """Two homes, one bucket, the same batch at the same time: each chunk is committed once, and neither has a loss."""
    ledger = f"s3://{s3.bucket}/ledger"
    s3.delay_s = 0.02
    request, homes = json.dumps(asdict(a_batch(tmp_path, ledger))), [tmp_path / "home-1", tmp_path / "home-2"]
    with started(WORK, request) as first, started(WORK, request) as second:
        for process, home in zip((first, second), homes, strict=True):
            ask(process, home, change=0)
        assert [answer(process) for process in (first, second)] == [0, 0]
    s3.delay_s = 0.0
    assert_ledger(ledger)
    for home in homes:
        folder = RunFolder.of(home, "batch")
        assert all(folder.chunk(number).stored.exists() for number in range(CHUNKS))
        aside = list((home / "spool" / "quarantine").glob("*.json"))
        assert {json.loads(path.read_bytes())["kind"] for path in aside} <= {SetAside.ANOTHER_ATTEMPT}
        assert not list((home / "spool").glob("*.entry"))


def test_a_clock_that_goes_back(s3: FaultyS3, tmp_path: Path) -> None:
    """Each chunk is spooled a day before the one before it, one of them twice, and upkeep has yesterday's clock too."""
    ledger, clock = f"s3://{s3.bucket}/ledger", ManualClock(datetime.now(UTC))
    request = a_batch(tmp_path, ledger)
    load_batch(request, load_settings(), clock=clock)
    folder = RunFolder.of(load_settings().home_folder, request.batch_id)
    for number in (0, 1, 1, 2):
        folder.chunk(number).done.unlink(missing_ok=True)  # a chunk that was killed before its end is computed again
        work_on_chunk(folder, number, load_settings(), clock=clock, flow_run_id=None, attempt=1)
        clock.set_utc(clock.utc_now() - timedelta(days=1))
        if number == 0:
            assert deliver_waiting(probe=True).rows == QUERIES // CHUNKS
    finish(folder)
    assert_whole(folder, ledger)
    store = open_store(ledger)
    for wrong in (clock, CLOCK):
        compact(store, clock=wrong)
        collect(store, clock=wrong, grace=timedelta())
        assert_ledger(ledger)
