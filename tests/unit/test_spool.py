"""The folder in which traces wait: whole entries, in the order of their age, and no more of them than there is room."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.adapters.manual_clock import ManualClock
from core.errors import StoreError, TransientStoreError
from ledger.described import describe, described_chunk
from ledger.encode import encode_traces, object_key
from ledger.spool import DamagedEntryError, Entry, Kind, SetAside, Spool, SpoolFullError, Waiting, ledger_id
from tests.ledger_samples import RECORDED_AT, a_result, a_run, trace_ids
from tests.spool_samples import DAY, LEDGER, PLENTY, key_of, rows


@pytest.fixture
def clock() -> ManualClock:
    """One that stands still."""
    return ManualClock()


@pytest.fixture
def spool(tmp_path: Path, clock: ManualClock) -> Spool:
    """An empty one with plenty of room."""
    return Spool(tmp_path / "spool", max_bytes=PLENTY, clock=clock, pause=clock.advance)


def added(spool: Spool, *ids: str, mergeable: bool = False, attempt: int = 1, ledger: str = LEDGER) -> Waiting:
    """Traces with these ids, spooled."""
    return spool.add(rows(*ids, attempt=attempt), ledger=ledger, key=key_of(*ids), mergeable=mergeable)


class TestAdding:
    """What is added waits, whole."""

    def test_an_entry_is_read_back(self, spool: Spool) -> None:
        """With where it goes, what it is there, and its bytes."""
        payload = rows("a", "b")
        waiting = spool.add(payload, ledger=LEDGER, key=key_of("a", "b"), receipt="runs/x/stored.json")
        entry = spool.read(waiting)
        assert entry is not None
        assert (entry.ledger, entry.receipt, entry.payload, entry.parts) == (LEDGER, "runs/x/stored.json", payload, ())
        assert (entry.object.key, entry.object.rows, entry.object.batch_ids) == (key_of("a", "b"), 2, ("batch-1",))
        assert entry.object.bytes == len(payload)
        assert entry.object.first_recorded_at == entry.object.last_recorded_at == "2026-03-01T08:05:00.123456+00:00"

    def test_the_oldest_comes_first(self, spool: Spool, clock: ManualClock) -> None:
        """By the time at which they were added, whatever they are called."""
        names = []
        for trace_id in ("c", "a", "b"):
            names.append(added(spool, trace_id).name)
            clock.advance(1)
        assert [waiting.name for waiting in spool.waiting()] == names == sorted(names)

    def test_an_entry_is_found_by_its_key(self, spool: Spool) -> None:
        """The key of the ledger that it is for, and of no other."""
        waiting = added(spool, "a")
        assert spool.find(ledger=LEDGER, key=key_of("a")) == waiting
        assert spool.find(ledger="other", key=key_of("a")) is None
        assert spool.find(ledger=LEDGER, key=key_of("b")) is None

    def test_an_empty_spool_has_no_folder(self, spool: Spool) -> None:
        """Nothing waits, and looking makes nothing."""
        assert (spool.waiting(), spool.quarantined()) == ((), ())
        assert spool.usage().entries == 0
        assert not spool.folder.exists()

    def test_what_is_no_file_of_traces_is_refused(self, spool: Spool) -> None:
        """It could never be delivered."""
        with pytest.raises(StoreError, match="no file of traces"):
            spool.add(b"x", ledger=LEDGER, key=key_of("a"))
        assert spool.waiting() == ()

    def test_what_the_encoder_knows_is_what_the_file_says(self, spool: Spool) -> None:
        """An entry is the same whether its file was described or read."""
        results, run = [a_result(1), a_result(2)], a_run()
        key = object_key(run.batch_id, 0, trace_ids(results, run=run), DAY)
        payload = encode_traces(results, run=run, recorded_at=RECORDED_AT)
        described = described_chunk(payload, key=key, rows=2, run=run, recorded_at=RECORDED_AT)
        assert described == describe(payload, key=key).object
        entry = spool.read(spool.add(payload, ledger=LEDGER, key=key, described=described))
        assert entry is not None
        assert (entry.object, entry.payload) == (described, payload)

    def test_a_description_of_another_file_is_refused(self, spool: Spool) -> None:
        """Of another key, of other bytes, or of no row."""
        payload, key = rows("a"), key_of("a")
        described = describe(payload, key=key).object
        for wrong in (replace(described, key=key_of("b")), replace(described, bytes=1)):
            with pytest.raises(StoreError, match="described"):
                spool.add(payload, ledger=LEDGER, key=key, described=wrong)
        with pytest.raises(StoreError, match="without rows"):
            described_chunk(payload, key=key, rows=0, run=a_run(), recorded_at=RECORDED_AT)
        assert spool.waiting() == ()

    def test_other_files_are_no_entries(self, spool: Spool) -> None:
        """Names of another form, and what a killed writer leaves, are passed over."""
        waiting = added(spool, "a")
        for name in ("notes.txt", f".{'0' * 16}.redo-tmp", f"{waiting.name}.bak", "1-2-3.entry"):
            (spool.folder / name).write_bytes(b"x")
        assert spool.waiting() == (waiting,)


class TestRoom:
    """A spool that is full."""

    def test_the_oldest_are_kept(self, tmp_path: Path, clock: ManualClock) -> None:
        """What is too much is refused, with the setting's name; what waits stays, and makes room when it is gone."""
        probe = Spool(tmp_path / "probe", max_bytes=PLENTY, clock=clock)
        size = added(probe, "a").path.stat().st_size
        spool = Spool(tmp_path / "spool", max_bytes=2 * size, clock=clock)
        kept = [added(spool, "a"), added(spool, "b")]
        with pytest.raises(SpoolFullError, match="LEDGER_SPOOL_MAX_BYTES"):
            added(spool, "c")
        assert sorted(spool.waiting(), key=lambda item: item.name) == sorted(kept, key=lambda item: item.name)
        spool.remove(kept[:1])
        added(spool, "c")
        assert spool.usage().entries == 2
        assert spool.usage().bytes == 2 * size

    def test_a_folder_that_cannot_be_made_is_an_error_of_ours(self, tmp_path: Path, clock: ManualClock) -> None:
        """Whatever the disk does wrong is a StoreError, which callers count."""
        (tmp_path / "file").write_text("x")
        with pytest.raises(StoreError, match="file"):
            added(Spool(tmp_path / "file" / "spool", max_bytes=PLENTY, clock=clock), "a")


class TestDamage:
    """A file that is not what was written."""

    @pytest.mark.parametrize("place", [0, 5, 40, 300, -1, -300])
    def test_one_changed_byte_is_noticed(self, spool: Spool, place: int) -> None:
        """In the first line or in the payload."""
        waiting = added(spool, "a")
        content = bytearray(waiting.path.read_bytes())
        content[place] ^= 1
        waiting.path.write_bytes(content)
        with pytest.raises(DamagedEntryError):
            spool.read(waiting)

    @pytest.mark.parametrize("kept", [0, 10, 700])
    def test_a_file_that_was_cut_short_is_noticed(self, spool: Spool, kept: int) -> None:
        """Wherever it ends."""
        waiting = added(spool, "a")
        waiting.path.write_bytes(waiting.path.read_bytes()[:kept])
        with pytest.raises(DamagedEntryError):
            spool.read(waiting)

    def test_an_entry_under_another_name_is_noticed(self, spool: Spool) -> None:
        """The name stands for the key."""
        one, other = added(spool, "a"), added(spool, "b")
        one.path.replace(other.path)
        with pytest.raises(DamagedEntryError):
            spool.read(other)

    def test_one_that_is_gone_is_no_damage(self, spool: Spool) -> None:
        """Somebody else has sent it."""
        waiting = added(spool, "a")
        spool.remove([waiting, waiting])
        assert spool.read(waiting) is None

    def test_the_quarantine_says_why(self, spool: Spool) -> None:
        """The entry is out of the way, as it was, with the reason beside it."""
        waiting = added(spool, "a", "b")
        content = waiting.path.read_bytes()
        spool.quarantine(waiting, SetAside.OTHER_CONTENT, "something else is there", spool.read(waiting))
        assert spool.waiting() == ()
        (found,) = spool.quarantined()
        assert (found.kind, found.reason, found.rows) == (SetAside.OTHER_CONTENT, "something else is there", 2)
        assert (found.ledger, found.key) == (LEDGER, key_of("a", "b"))
        assert (spool.folder / "quarantine" / found.name).read_bytes() == content


class TestOrder:
    """What only the one who sends may do."""

    def test_one_holds_the_folder_at_a_time(self, spool: Spool) -> None:
        """Another one waits, and gives up after its time; then it can have it."""
        with spool.held(wait_s=0), pytest.raises(TransientStoreError, match="another process"), spool.held(wait_s=3):
            pytest.fail("two hold it")
        with spool.held(wait_s=0):
            pass

    @pytest.mark.parametrize("killed", [False, True])
    def test_parts_are_gone_once_they_are_merged(self, spool: Spool, killed: bool) -> None:  # noqa: FBT001
        """At once, or where the merger was killed in between, before anything is sent."""
        parts = [added(spool, name, mergeable=True) for name in "ab"]
        contents = [part.path.read_bytes() for part in parts]
        first = spool.read(parts[0])
        assert first is not None
        whole = replace(first, parts=tuple(part.name for part in parts))
        merged = spool.merge(whole)
        if killed:
            for part, content in zip(parts, contents, strict=True):
                part.path.write_bytes(content)
            spool.settle()
        assert spool.waiting() == (merged,)
        assert merged.kind is Kind.MERGED
        assert spool.read(merged) == whole

    def test_names_of_parts_do_not_lead_out_of_the_folder(self, spool: Spool, tmp_path: Path) -> None:
        """Whatever a header says."""
        (tmp_path / "precious").write_text("x")
        first = spool.read(added(spool, "a"))
        assert isinstance(first, Entry)
        spool.merge(replace(first, parts=("../precious",)))
        assert (tmp_path / "precious").exists()

    def test_a_part_is_sealed_once(self, spool: Spool) -> None:
        """Then it is an entry as any other, as old as before."""
        part = added(spool, "a", mergeable=True)
        sealed = spool.seal(part)
        assert spool.waiting() == (sealed,)
        assert (part.kind, sealed.kind, sealed.spooled_us) == (Kind.PART, Kind.ENTRY, part.spooled_us)

    def test_old_temporary_files_are_cleared_away(self, spool: Spool, clock: ManualClock) -> None:
        """Those of an hour ago; a younger one may be being written."""
        added(spool, "a")
        left = spool.folder / ".0123.redo-tmp"
        left.write_bytes(b"half")
        clock.set_utc(datetime.fromtimestamp(left.stat().st_mtime, UTC) + timedelta(seconds=60))
        spool.settle()
        assert left.exists()
        clock.advance(3_600)
        spool.settle()
        assert not left.exists()


def test_names_tell_ledgers_apart(spool: Spool) -> None:
    """So that those of one that fails can be passed over without being opened."""
    one, other = added(spool, "a"), added(spool, "a", ledger="s3://bucket/ledger")
    assert (one.ledger_id, other.ledger_id) == (ledger_id(LEDGER), ledger_id("s3://bucket/ledger"))
    assert one.ledger_id != other.ledger_id
    assert len({one.name, other.name}) == 2


def test_a_clock_before_1970_gives_a_name(tmp_path: Path) -> None:
    """A machine without a clock keeps its traces too."""
    clock = ManualClock(datetime(1960, 1, 1, tzinfo=UTC))
    spool = Spool(tmp_path, max_bytes=PLENTY, clock=clock)
    assert added(spool, "a").spooled_us == 0
