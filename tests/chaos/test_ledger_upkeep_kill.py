"""Upkeep that is killed at any point loses no row and doubles none, and the next one finishes the work.

A child process compacts, collects or forgets through a store that kills the process with SIGKILL right after its n-th
change, so each point is met each time. Between two changes nothing of the ledger differs, so these are all points.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from core.clock import SystemClock
from core.ports import LedgerStore
from ledger.catalog import load_catalog
from ledger.compact import compact
from ledger.encode import keyed_hash
from ledger.forget import forget
from ledger.garbage import collect
from ledger.objects import open_store
from ledger.query import run_query
from ledger.verify import verify
from tests.ledger_samples import a_run
from tests.upkeep_samples import Writer, live_ids, live_rows, results

pytestmark = pytest.mark.process

CLOCK = SystemClock()
NOW = timedelta()
HASH = keyed_hash("ada", key=a_run().hash_key)
LIMIT_S = 60
CHILD = """
import os, signal, sys
from datetime import timedelta
from core.clock import SystemClock
from ledger.compact import compact
from ledger.forget import forget
from ledger.garbage import collect
from ledger.objects import open_store
from ledger.rewrite import Sizes

work, uri, changes, person = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]

class Mortal:
    def __init__(self, store):
        self.store, self.uri, self.left = store, store.uri, changes
        self.read, self.objects = store.read, store.objects
    def append(self, key, payload):
        return self.changed(self.store.append(key, payload))
    def delete(self, key):
        return self.changed(self.store.delete(key))
    def changed(self, answer):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

store, sizes = Mortal(open_store(uri)), Sizes(object_bytes=1, group_rows=25)
if work == "compact":
    compact(store, clock=SystemClock(), sizes=sizes)
elif work == "gc":
    collect(store, clock=SystemClock(), grace=timedelta())
else:
    forget(store, [person], clock=SystemClock(), sizes=sizes)
"""


def killed(work: str, uri: str, changes: int) -> bool:
    """Do the work in a child that dies after so many changes; false where it ended before it had made as many."""
    words = [sys.executable, "-c", CHILD, work, uri, str(changes), HASH]
    process = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
        env=os.environ,
        cwd=Path(__file__).parents[2],
    )
    assert process.returncode in {0, -signal.SIGKILL}, process.stderr
    return process.returncode != 0


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> LedgerStore:
    """A ledger of five chunks, ten rows each, one of them of ada."""
    if request.param == "local":
        store: LedgerStore = open_store(str(tmp_path / "ledger"))
    else:
        store = open_store(f"s3://{request.getfixturevalue('s3_bucket')}/ledger")
    writer = Writer(store)
    for chunk in range(4):
        writer.write(results(10 * chunk, 10), chunk=chunk)
    writer.write(results(40, 10, user="ada", session=None), batch_id="batch-2")
    return store


EXPECTED = [f"q-{number:04d}" for number in range(50)]


def assert_whole(store: LedgerStore) -> None:
    """Every row is there once, for our own reader and for DuckDB, and no chain is broken."""
    assert live_ids(store) == EXPECTED
    assert run_query(store.uri, "select query_id from traces order by 1").rows == tuple((name,) for name in EXPECTED)
    assert verify(store, clock=CLOCK).errors == ()


@pytest.mark.parametrize("changes", [1, 2, 3])
def test_killed_while_compacting(store: LedgerStore, changes: int) -> None:
    """After the first new object, after the second, and after the checkpoint: two objects and one checkpoint."""
    assert killed("compact", store.uri, changes)
    assert_whole(store)
    assert (load_catalog(store).checkpoint is None) == (changes < 3)
    compact(store, clock=CLOCK)
    collect(store, clock=CLOCK, grace=NOW)
    assert_whole(store)
    catalog = load_catalog(store)
    assert verify(store, clock=CLOCK, grace=NOW).findings == ()
    assert {entry.key for entry in store.objects("traces/")} == set(catalog.live)
    assert store.objects("manifests/") == []


@pytest.mark.parametrize("changes", [3, 5, 9, 12])
def test_killed_while_collecting(store: LedgerStore, changes: int) -> None:
    """After its checkpoint (two changes are the probe's), between objects, and between manifests."""
    compact(store, clock=CLOCK)
    assert killed("gc", store.uri, changes)
    assert_whole(store)
    collect(store, clock=CLOCK, grace=NOW)
    assert_whole(store)
    assert len(store.objects("traces/")) == 1
    assert store.objects("manifests/") == []


@pytest.mark.parametrize("changes", [1, 2, 3])
def test_killed_while_forgetting(store: LedgerStore, changes: int) -> None:
    """After the new object, after the checkpoint, after the removal: asked again, all content is gone."""
    assert killed("forget", store.uri, changes)
    assert_whole(store)
    forget(store, [HASH], clock=CLOCK)
    assert_whole(store)
    assert sum(row["query_text"] is None for row in live_rows(store)) == 10
    assert not any(b"How long is bridge 41?" in store.read(entry.key) for entry in store.objects("traces/"))


def test_a_child_that_is_not_killed_does_the_work(store: LedgerStore) -> None:
    """The points above are all there are: with one change more, the compaction ends by itself."""
    assert not killed("compact", store.uri, 4)
    assert_whole(store)
    assert len(load_catalog(store).live) == 2
