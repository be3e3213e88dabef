"""Compaction, collection, forgetting and verification on every kind of store: the rows stay, and nothing is left."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from core.clock import SystemClock
from core.errors import StoreError
from core.ports import LedgerStore, ObjectInfo
from ledger.catalog import load_catalog
from ledger.checkpoints import commit, next_checkpoint
from ledger.compact import compact
from ledger.encode import encode_traces, keyed_hash, object_key
from ledger.forget import forget, reapply
from ledger.garbage import GcReport, collect
from ledger.manifest import checkpoint_key, manifest_key
from ledger.objects import open_store
from ledger.rewrite import Sizes
from ledger.schema import SCHEMA_VERSION
from ledger.verify import Finding, Problem, verify
from tests.ledger_samples import RECORDED_AT, a_run, trace_ids
from tests.memory_ledger import MemoryLedgerStore
from tests.upkeep_samples import DAY, Writer, as_version_1, live_ids, live_rows, results

NOW = timedelta()
CLOCK = SystemClock()
HASH = keyed_hash("ada", key=a_run().hash_key)
SMALL = Sizes(object_bytes=1, group_rows=7)


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> LedgerStore:
    """Each store, empty."""
    if request.param == "local":
        return open_store(str(tmp_path / "ledger"))
    return open_store(f"s3://{request.getfixturevalue('s3_bucket')}/ledger")


@pytest.fixture
def writer(store: LedgerStore) -> Writer:
    """A writer that has committed four chunks of two batches, ten rows each."""
    writer = Writer(store)
    for chunk in range(3):
        writer.write(results(10 * chunk, 10), chunk=chunk)
    writer.write(results(30, 10, user="ada", session=None), batch_id="batch-2")
    return writer


def errors_of(store: LedgerStore) -> list[Finding]:
    """What `verify` says must not be."""
    return list(verify(store, clock=CLOCK).errors)


def keys_of(store: LedgerStore, prefix: str = "") -> list[str]:
    """Keys of the objects that are there."""
    return [entry.key for entry in store.objects(prefix)]


class Interrupting:
    """A store that calls something once, before a key with a given beginning is written."""

    def __init__(self, store: LedgerStore, prefix: str, then: Callable[[], object]) -> None:
        self._store, self._prefix, self._then = store, prefix, [then]

    @property
    def uri(self) -> str:
        """Where the store is."""
        return self._store.uri

    def read(self, key: str) -> bytes:
        """Return the object."""
        return self._store.read(key)

    def objects(self, prefix: str = "") -> Sequence[ObjectInfo]:
        """The objects with the prefix."""
        return self._store.objects(prefix)

    def delete(self, key: str) -> None:
        """Remove the object."""
        self._store.delete(key)

    def append(self, key: str, payload: bytes) -> bool:
        """Create the object, after what was to happen before it."""
        if key.startswith(self._prefix) and self._then:
            self._then.pop()()
        return self._store.append(key, payload)


class TestCompact:
    """Few large objects."""

    def test_a_day_becomes_one_object_with_the_same_rows(self, store: LedgerStore, writer: Writer) -> None:
        """Four objects become one that holds each row as it was; a second compaction has nothing to do."""
        before = sorted(live_rows(store), key=lambda row: str(row["trace_id"]))
        (day,) = compact(store, clock=CLOCK).days
        assert (day.day, day.objects_before, day.objects_after, day.rows) == ("2026-03-01", 4, 1, 40)
        (key,) = load_catalog(store).live
        assert sorted(live_rows(store), key=lambda row: str(row["trace_id"])) == before
        assert errors_of(store) == []
        assert set(load_catalog(store).replaced_present) == set(writer.keys)
        assert compact(store, clock=CLOCK).days == ()
        assert load_catalog(store).live == (key,)

    def test_days_that_are_not_closed_are_left_alone(self, store: LedgerStore) -> None:
        """Today is not touched, nor is a day that is not before the date given, whatever that date is."""
        writer, today = Writer(store), CLOCK.utc_now().date()
        writer.write(results(0, 2), dt=today)
        writer.write(results(2, 2), dt=today - timedelta(days=1))
        assert compact(store, clock=CLOCK, before=today - timedelta(days=1)).days == ()
        assert [day.day for day in compact(store, clock=CLOCK, before=today + timedelta(days=9)).days] == [
            (today - timedelta(days=1)).isoformat()
        ]
        assert live_ids(store) == ["q-0000", "q-0001", "q-0002", "q-0003"]

    def test_a_dry_run_changes_nothing(self, store: LedgerStore, writer: Writer) -> None:
        """It says what would be done, and writes no object."""
        before = keys_of(store)
        report = compact(store, clock=CLOCK, dry_run=True)
        assert [(day.objects_before, day.objects_after) for day in report.days] == [(len(writer.keys), None)]
        assert keys_of(store) == before

    def test_a_late_object_is_taken_in_by_the_next_compaction(self, store: LedgerStore, writer: Writer) -> None:
        """It counts at once, and the next compaction puts it together with what is there."""
        compact(store, clock=CLOCK)
        writer.write(results(40, 5), chunk=4)
        assert len(live_ids(store)) == 45
        (day,) = compact(store, clock=CLOCK).days
        assert (day.objects_before, day.objects_after, day.rows) == (2, 1, 45)
        assert len(set(live_ids(store))) == 45
        assert errors_of(store) == []

    def test_a_large_object_is_not_written_again_for_a_late_one(self, store: LedgerStore, writer: Writer) -> None:
        """Objects of their full size stay; rows of a late object that they hold already are left out."""
        sizes = Sizes(object_bytes=2, group_rows=7)
        compact(store, clock=CLOCK, sizes=sizes)
        before = set(load_catalog(store).live)
        assert len(before) == 6
        writer.write(results(28, 5), chunk=4, attempt=2)  # two of them are of the first batch already
        (day,) = compact(store, clock=CLOCK, sizes=sizes).days
        assert (day.objects_before, day.rows, day.doubles) == (1, 3, 2)
        assert before < set(load_catalog(store).live)
        assert len(live_ids(store)) == 43

    def test_a_trace_that_stands_twice_is_kept_once(self, store: LedgerStore) -> None:
        """Of a batch that was cut anew each trace stays once, as it was recorded first."""
        writer = Writer(store)
        writer.write(results(0, 6), chunk=0)
        later = RECORDED_AT + timedelta(hours=1)
        writer.write(results(3, 9), chunk=0, recorded_at=later)
        (day,) = compact(store, clock=CLOCK).days
        assert (day.rows, day.doubles) == (12, 3)
        rows = live_rows(store)
        assert len({row["trace_id"] for row in rows}) == 12
        assert sum(row["recorded_at"] == later for row in rows) == 6

    def test_older_rows_get_the_current_schema(self, store: LedgerStore) -> None:
        """Objects of version 1 and of the current one become one object of the current version, in either order."""
        writer = Writer(store)
        for chunk, old in enumerate((True, False, True)):
            run, made = a_run(), results(10 * chunk, 10)
            payload = encode_traces(made, run=run, recorded_at=RECORDED_AT)
            key = object_key("batch-1", chunk, trace_ids(made, run=run), DAY)
            writer.put(key, as_version_1(payload) if old else payload)
        compact(store, clock=CLOCK)
        (entry,) = load_catalog(store).checkpoint.objects  # type: ignore[union-attr]
        assert entry.schema_version == SCHEMA_VERSION
        assert sorted(row["schema_version"] for row in live_rows(store)) == [1] * 20 + [SCHEMA_VERSION] * 10
        assert errors_of(store) == []

    def test_row_groups_and_objects_end_at_their_limits(self, store: LedgerStore, writer: Writer) -> None:
        """Many objects of one row group each, where the limits are low; nothing is lost at the seams."""
        assert writer.keys
        compact(store, clock=CLOCK, sizes=SMALL)
        live = load_catalog(store).live
        files = [pq.ParquetFile(io.BytesIO(store.read(key))).metadata for key in live]
        assert sorted(file.num_rows for file in files) == [5, 7, 7, 7, 7, 7]
        assert {file.num_row_groups for file in files} == {1}
        assert len(set(live_ids(store))) == 40

    def test_a_damaged_object_is_not_laundered(self, store: LedgerStore, writer: Writer) -> None:
        """An object that is not what was committed stays where it is, and is named; the others are compacted."""
        bad = writer.keys[1]
        store.delete(bad)
        store.append(bad, b"something else")
        (day,) = compact(store, clock=CLOCK).days
        assert (day.objects_before, day.rows) == (3, 30)
        assert len(day.damaged) == 1
        assert bad in day.damaged[0]
        assert bad in load_catalog(store).live
        before = keys_of(store)
        (day,) = compact(store, clock=CLOCK).days  # nothing new came: the others are not written again
        assert (day.objects_before, len(day.damaged)) == (0, 1)
        assert keys_of(store) == before

    def test_who_loses_the_race_decides_anew(self, store: LedgerStore, writer: Writer) -> None:
        """A compaction that finds the number taken by another one drops its objects and counts nothing twice."""
        assert writer.keys
        racing = Interrupting(store, "checkpoints/", lambda: compact(store, clock=CLOCK))
        assert compact(racing, clock=CLOCK).days == ()
        assert load_catalog(store).checkpoint.number == 1  # type: ignore[union-attr]
        assert load_catalog(store).orphans == ()
        assert len(live_ids(store)) == 40

    def test_a_lost_race_with_another_day_is_run_again(self, store: LedgerStore, writer: Writer) -> None:
        """Somebody forgets meanwhile: the compaction takes the new objects in, without the content."""
        assert writer.keys
        racing = Interrupting(store, "checkpoints/", lambda: forget(store, [HASH], clock=CLOCK))
        (day,) = compact(racing, clock=CLOCK).days
        assert day.rows == 40
        assert sum(row["query_text"] is None for row in live_rows(store)) == 10
        assert errors_of(store) == []

    def test_an_object_that_does_not_arrive_replaces_nothing(self, writer: Writer, store: LedgerStore) -> None:
        """Where the new object is not in the listing, no checkpoint is written."""

        class Forgetful(Interrupting):
            def append(self, key: str, payload: bytes) -> bool:
                return True if "rewritten-" in key else super().append(key, payload)

        with pytest.raises(StoreError, match="nothing was committed"):
            compact(Forgetful(store, "none", int), clock=CLOCK)
        assert load_catalog(store).checkpoint is None
        assert load_catalog(store).live == tuple(sorted(writer.keys))


class TestCollect:
    """What counts no more goes, after the grace."""

    def test_what_was_replaced_goes_after_the_grace(self, store: LedgerStore, writer: Writer) -> None:
        """Within the grace nothing goes; after it objects and manifests do, the rows stay, and the chain holds."""
        compact(store, clock=CLOCK)
        report = collect(store, clock=CLOCK, grace=timedelta(hours=1))
        assert (report.objects, report.manifests, report.waiting) == ((), (), 4)
        report = collect(store, clock=CLOCK, grace=NOW)
        assert report.objects == tuple(sorted(writer.keys))
        assert sorted(report.manifests) == sorted(map(manifest_key, writer.keys))
        assert report.bytes > 0
        assert keys_of(store, "manifests/") == []
        assert len(keys_of(store, "traces/")) == 1
        assert load_catalog(store).checkpoint.heads == {"writer-1": writer.last}  # type: ignore[union-attr]
        assert len(live_ids(store)) == 40
        assert errors_of(store) == []

    def test_the_next_collection_forgets_the_keys(self, store: LedgerStore, writer: Writer) -> None:
        """A key stays in `replaced` until nothing is left of it; after that no collection has anything to do."""
        compact(store, clock=CLOCK)
        collect(store, clock=CLOCK, grace=NOW)
        assert len(load_catalog(store).checkpoint.replaced) == len(writer.keys)  # type: ignore[union-attr]
        collect(store, clock=CLOCK, grace=NOW)
        assert load_catalog(store).checkpoint.replaced == frozenset()  # type: ignore[union-attr]
        collect(store, clock=CLOCK, grace=NOW)
        before = keys_of(store)
        assert collect(store, clock=CLOCK, grace=NOW) == GcReport()
        assert keys_of(store) == before
        assert keys_of(store, "checkpoints/") == [checkpoint_key(3)]
        assert errors_of(store) == []

    def test_the_chain_goes_on_after_its_beginning_is_gone(self, store: LedgerStore, writer: Writer) -> None:
        """What the writer commits next follows what was collected, and is collected in its turn."""
        compact(store, clock=CLOCK)
        collect(store, clock=CLOCK, grace=NOW)
        writer.write(results(40, 5), chunk=4)
        assert errors_of(store) == []
        compact(store, clock=CLOCK)
        collect(store, clock=CLOCK, grace=NOW)
        assert errors_of(store) == []
        assert keys_of(store, "manifests/") == []
        assert len(live_ids(store)) == 45

    def test_a_manifest_waits_for_those_before_it(self, store: LedgerStore) -> None:
        """A manifest behind one that still counts stays, though its object goes; so the chain has no hole."""
        writer = Writer(store)
        today = CLOCK.utc_now().date()
        keys = [writer.write(results(n, 1), chunk=n, dt=today if n == 1 else DAY) for n in range(3)]
        compact(store, clock=CLOCK)
        report = collect(store, clock=CLOCK, grace=NOW)
        assert sorted(report.objects) == sorted([keys[0], keys[2]])
        assert report.manifests == (manifest_key(keys[0]),)
        assert errors_of(store) == []
        assert live_ids(store) == ["q-0000", "q-0001", "q-0002"]

    def test_a_collection_that_was_killed_is_taken_up(self, store: LedgerStore, writer: Writer) -> None:
        """Killed at any removal, the ledger is whole, and the next collection removes the rest."""
        compact(store, clock=CLOCK)
        removals = 0

        class Killed(BaseException):
            """As a signal ends it."""

        class Mortal(Interrupting):
            def __init__(self, lives: int) -> None:
                super().__init__(store, "none", int)
                self.lives = lives

            def delete(self, key: str) -> None:
                if not key.startswith("probes/"):
                    if self.lives == 0:
                        raise Killed
                    self.lives -= 1
                store.delete(key)

        while True:
            try:
                collect(Mortal(2), clock=CLOCK, grace=NOW)
            except Killed:
                removals += 1
                assert errors_of(store) == []
                assert len(live_ids(store)) == 40
            else:
                break
        assert removals >= len(writer.keys)
        assert len(keys_of(store, "traces/")) == 1
        assert keys_of(store, "manifests/") == []

    def test_orphans_go_after_the_grace(self, store: LedgerStore, writer: Writer) -> None:
        """An object that nobody committed stays for the grace, since its writer may be at it, and then goes."""
        assert writer.keys
        orphan = "traces/dt=2026-03-01/batch-9-00000-0123456789abcdef.parquet"
        store.append(orphan, b"half of a writer's work")
        store.append("probes/left", b"")
        assert collect(store, clock=CLOCK, grace=timedelta(hours=1)).waiting == 1
        report = collect(store, clock=CLOCK, grace=NOW, dry_run=True)
        assert (report.orphans, report.probes) == ((orphan,), ("probes/left",))
        assert collect(store, clock=CLOCK, grace=NOW).orphans == (orphan,)
        assert keys_of(store, "probes/") == []
        assert len(live_ids(store)) == 40

    def test_ages_are_told_by_the_stores_clock(self) -> None:
        """A machine whose clock is a week ahead removes nothing too early."""

        class Ahead:
            def now(self) -> float:
                return CLOCK.now()

            def utc_now(self) -> datetime:
                return CLOCK.utc_now() + timedelta(days=7)

        store = MemoryLedgerStore()
        writer = Writer(store)
        writer.write(results(0, 2))
        store.append("traces/dt=2026-03-01/batch-9-00000-0123456789abcdef.parquet", b"")
        compact(store, clock=Ahead())
        assert collect(store, clock=Ahead()) == GcReport(waiting=2)

    def test_who_loses_the_race_decides_anew(self, store: LedgerStore, writer: Writer) -> None:
        """A collection beside a compaction collects what that one has not touched, and both hold."""
        compact(store, clock=CLOCK)

        def late() -> None:
            writer.write(results(40, 5), chunk=4)
            compact(store, clock=CLOCK)

        racing = Interrupting(store, "checkpoints/", late)
        collect(racing, clock=CLOCK, grace=NOW)
        assert len(live_ids(store)) == 45
        assert errors_of(store) == []


class TestForget:
    """A person's content."""

    def test_the_content_is_nowhere_and_the_audit_stays(self, store: LedgerStore, writer: Writer) -> None:
        """No object holds a text of the person, the old object is gone at once, and the rows are all there."""
        report = forget(store, [HASH], clock=CLOCK)
        assert (report.rows, report.objects, report.removed) == (10, (writer.keys[3],), (writer.keys[3],))
        rows = [row for row in live_rows(store) if row["user_hash"] == HASH]
        assert len(rows) == 10
        assert all(row["query_text"] is None and row["forgotten_at"] is not None for row in rows)
        assert len(live_ids(store)) == 40
        assert not any(b"How long is bridge 31?" in store.read(key) for key in keys_of(store))
        assert writer.keys[3] not in keys_of(store)
        assert errors_of(store) == []

    def test_a_second_time_finds_nothing(self, store: LedgerStore, writer: Writer) -> None:
        """What is forgotten is not rewritten again."""
        assert writer.keys
        forget(store, [HASH], clock=CLOCK)
        live = load_catalog(store).live
        report = forget(store, [HASH], clock=CLOCK)
        assert (report.rows, report.objects, report.removed) == (0, (), ())
        assert load_catalog(store).live == live

    def test_a_dry_run_changes_nothing(self, store: LedgerStore, writer: Writer) -> None:
        """It counts, and writes nothing."""
        before = keys_of(store)
        report = forget(store, [HASH], clock=CLOCK, dry_run=True)
        assert (report.rows, report.removed) == (10, (writer.keys[3],))
        assert keys_of(store) == before

    def test_replaced_objects_are_no_hiding_place(self, store: LedgerStore, writer: Writer) -> None:
        """After a compaction both the new object and the replaced one that waits for the collector lose the content."""
        compact(store, clock=CLOCK)
        (compacted,) = load_catalog(store).live
        report = forget(store, [HASH], clock=CLOCK)
        assert report.removed == tuple(sorted([compacted, writer.keys[3]]))
        assert len(live_ids(store)) == 40
        assert errors_of(store) == []
        collect(store, clock=CLOCK, grace=NOW)
        assert len(live_ids(store)) == 40
        assert errors_of(store) == []

    def test_what_comes_later_is_found(self, store: LedgerStore, writer: Writer) -> None:
        """Rows recorded before and delivered after are an error of `verify` until they are scrubbed again."""
        forget(store, [HASH], clock=CLOCK)
        writer.write(results(50, 5, user="ada"), batch_id="batch-3")
        assert [found.problem for found in errors_of(store)] == [Problem.FORGOTTEN]
        assert reapply(store, clock=CLOCK).rows == 5
        assert errors_of(store) == []
        assert sum(row["query_text"] is None for row in live_rows(store)) == 15
        assert reapply(store, clock=CLOCK).rows == 0

    def test_compaction_scrubs_what_comes_later(self, store: LedgerStore, writer: Writer) -> None:
        """A compaction that meets such rows takes their content out as well."""
        forget(store, [HASH], clock=CLOCK)
        writer.write(results(50, 5, user="ada"), batch_id="batch-3")
        (day,) = compact(store, clock=CLOCK).days
        assert day.scrubbed == 5
        assert sum(row["query_text"] is None for row in live_rows(store)) == 15
        assert errors_of(store) == []

    def test_an_object_that_is_delivered_again_goes_again(self, store: LedgerStore, writer: Writer) -> None:
        """A writer that was killed before it removed its spool entry puts the object back; it does not count."""
        payload = store.read(writer.keys[3])
        forget(store, [HASH], clock=CLOCK)
        assert store.append(writer.keys[3], payload)
        assert len(live_ids(store)) == 40
        assert reapply(store, clock=CLOCK).removed == (writer.keys[3],)
        assert writer.keys[3] not in keys_of(store)

    def test_who_comes_back_is_recorded(self, store: LedgerStore, writer: Writer) -> None:
        """Rows recorded after the request keep their content."""
        forget(store, [HASH], clock=CLOCK)
        later = datetime.now(UTC) + timedelta(hours=1)
        writer.write(results(60, 2, user="ada"), batch_id="batch-4", recorded_at=later)
        assert reapply(store, clock=CLOCK).rows == 0
        assert sum(row["query_text"] is None for row in live_rows(store)) == 10

    def test_doubles_do_not_survive_in_two_new_objects(self, store: LedgerStore) -> None:
        """Two objects that hold a trace of theirs become rewritten ones that hold it once."""
        writer = Writer(store)
        writer.write(results(0, 4, user="ada"), chunk=0)
        compact(store, clock=CLOCK)
        writer.write(results(2, 4, user="ada"), chunk=0, recorded_at=RECORDED_AT + timedelta(hours=1))
        forget(store, [HASH], clock=CLOCK)
        assert live_ids(store) == [f"q-{number:04d}" for number in range(6)]

    def test_a_damaged_object_is_named(self, store: LedgerStore, writer: Writer) -> None:
        """What cannot be looked into may hold content: the report says so."""
        store.delete(writer.keys[0])
        store.append(writer.keys[0], b"something else")
        report = forget(store, [HASH], clock=CLOCK)
        assert report.rows == 10
        assert [writer.keys[0] in text for text in report.damaged] == [True]

    def test_a_forgetting_that_lost_the_race_is_run_again(self, store: LedgerStore, writer: Writer) -> None:
        """A compaction comes between: its object is scrubbed, not the one that it replaced."""
        assert writer.keys
        racing = Interrupting(store, "checkpoints/", lambda: compact(store, clock=CLOCK))
        assert forget(racing, [HASH], clock=CLOCK).rows == 10
        assert sum(row["query_text"] is None for row in live_rows(store)) == 10
        assert len(live_ids(store)) == 40
        assert errors_of(store) == []


class TestVerify:
    """What was done to the ledger behind its back."""

    def test_an_untouched_ledger_is_clean(self, store: LedgerStore, writer: Writer) -> None:
        """Everything is counted, and nothing is found."""
        other = Writer(store, "writer-2")
        other.write(results(70, 3), batch_id="batch-7")
        report = verify(store, clock=CLOCK)
        assert (report.objects, report.rows, report.manifests, report.writers) == (len(writer.keys) + 1, 43, 5, 2)
        assert report.findings == ()

    @pytest.mark.parametrize("deep", [True, False])
    def test_a_missing_object_is_named(self, store: LedgerStore, writer: Writer, *, deep: bool) -> None:
        """A committed object that is gone is an error, in a quick look too."""
        store.delete(writer.keys[2])
        (found,) = verify(store, clock=CLOCK, deep=deep).errors
        assert (found.problem, found.key) == (Problem.MISSING, writer.keys[2])

    def test_an_object_of_the_same_size_is_found_out(self, store: LedgerStore, writer: Writer) -> None:
        """One changed byte changes the digest; only a deep look sees it."""
        payload = bytearray(store.read(writer.keys[1]))
        payload[100] ^= 1
        store.delete(writer.keys[1])
        store.append(writer.keys[1], bytes(payload))
        (found,) = errors_of(store)
        assert (found.problem, found.key) == (Problem.TAMPERED, writer.keys[1])
        assert verify(store, clock=CLOCK, deep=False).is_clean

    def test_a_changed_size_is_seen_at_a_glance(self, store: LedgerStore, writer: Writer) -> None:
        """A listing is enough for that."""
        store.delete(writer.keys[1])
        store.append(writer.keys[1], b"short")
        (found,) = verify(store, clock=CLOCK, deep=False).errors
        assert (found.problem, found.key) == (Problem.TAMPERED, writer.keys[1])

    def test_a_missing_manifest_is_named_by_the_next(self, store: LedgerStore, writer: Writer) -> None:
        """The manifest behind it knows it; its object is an orphan that is too old."""
        gone = manifest_key(writer.keys[1])
        store.delete(gone)
        found = verify(store, clock=CLOCK, grace=NOW).errors
        assert {(item.problem, item.key) for item in found} == {
            (Problem.MISSING, gone),
            (Problem.UNEXPECTED, writer.keys[1]),
        }

    def test_a_changed_manifest_is_named_by_the_next(self, store: LedgerStore, writer: Writer) -> None:
        """The manifest behind it knows its digest."""
        changed = manifest_key(writer.keys[1])
        payload = store.read(changed).replace(b'"spooled":false', b'"spooled":true')
        store.delete(changed)
        store.append(changed, payload)
        (found,) = errors_of(store)
        assert (found.problem, found.key) == (Problem.TAMPERED, changed)

    def test_a_manifest_that_is_none_is_named(self, store: LedgerStore, writer: Writer) -> None:
        """Bytes that are no manifest, and one that commits another object, are errors."""
        first, last = manifest_key(writer.keys[0]), manifest_key(writer.keys[3])
        other = store.read(first)
        store.delete(last)
        store.append(last, other)
        found = errors_of(store)
        assert [(item.problem, item.key) for item in found] == [(Problem.TAMPERED, last)]
        store.delete(last)
        store.append(last, b"{}")
        assert [item.key for item in errors_of(store)] == [last]

    def test_two_manifests_of_one_number(self, store: LedgerStore, writer: Writer) -> None:
        """A writer that counts twice, as one whose folder was copied, is an error of its chain."""
        twin = Writer(store, writer.name, sequence=writer.sequence - 1, last=None)
        twin.write(results(80, 2), batch_id="batch-8")
        assert Problem.CHAIN in {found.problem for found in errors_of(store)}

    def test_a_beginning_that_should_not_be(self, store: LedgerStore, writer: Writer) -> None:
        """A manifest in the middle of a chain that names nothing before it is an error of the chain."""
        twin = Writer(store, writer.name, sequence=writer.sequence, last=None)
        twin.write(results(80, 2), batch_id="batch-8")
        (found,) = errors_of(store)
        assert (found.problem, found.key) == (Problem.CHAIN, manifest_key(twin.keys[0]))

    def test_objects_that_are_nobodys(self, store: LedgerStore, writer: Writer) -> None:
        """A young orphan is a note, an old one an error, and a name that nothing of a ledger has is an error."""
        assert writer.keys
        orphan = "traces/dt=2026-03-01/batch-9-00000-0123456789abcdef.parquet"
        store.append(orphan, b"x")
        store.append("traces/dt=2026-03-01/notes.txt", b"x")
        store.append("probes/x", b"x")
        report = verify(store, clock=CLOCK)
        assert [found.key for found in report.errors] == ["traces/dt=2026-03-01/notes.txt"]
        assert {found.key for found in report.findings if not found.is_error} == {orphan, "probes/x"}
        assert orphan in {found.key for found in verify(store, clock=CLOCK, grace=NOW).errors}

    def test_a_double_is_a_note(self, store: LedgerStore, writer: Writer) -> None:
        """A trace in two objects is no damage: readers see it once."""
        assert writer.keys
        Writer(store, "writer-2").write(results(0, 4), dt=date(2026, 3, 2))
        report = verify(store, clock=CLOCK)
        assert report.is_clean
        assert [(found.problem, found.text.split()[0]) for found in report.findings] == [(Problem.DOUBLE, "4")]

    def test_the_chain_of_checkpoints(self, store: LedgerStore, writer: Writer) -> None:
        """A changed checkpoint and a missing one are named by the one behind; a removed beginning is no error."""
        for _ in range(4):
            catalog = load_catalog(store)
            assert commit(store, next_checkpoint(catalog, reason="gc", written_at=CLOCK.utc_now()))
        second, third = checkpoint_key(2), checkpoint_key(3)
        store.delete(checkpoint_key(1))
        assert errors_of(store) == []
        payload = store.read(second)
        store.delete(second)
        store.append(second, payload.replace(b'"gc"', b'"hm"'))
        assert [(found.problem, found.key) for found in errors_of(store)] == [(Problem.TAMPERED, second)]
        store.delete(third)
        assert [(found.problem, found.key) for found in errors_of(store)] == [(Problem.MISSING, third)]
        store.append(third, b"[]")
        assert (Problem.TAMPERED, third) in {(found.problem, found.key) for found in errors_of(store)}
        assert writer.keys


def test_a_listing_that_lags_stops_the_probe() -> None:
    """Where the store does not list the probe, nothing can be aged, and nothing is removed."""

    class Lagging(MemoryLedgerStore):
        def objects(self, prefix: str = "") -> list[ObjectInfo]:
            return [] if prefix.startswith("probes/") else super().objects(prefix)

    with pytest.raises(StoreError, match="redo ledger doctor"):
        collect(Lagging(), clock=CLOCK)
