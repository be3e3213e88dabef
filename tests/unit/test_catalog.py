"""Which objects of a ledger count."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import pytest

from core.errors import StoreError, TransientStoreError
from core.ports import ObjectInfo
from ledger.catalog import doubtful_keys, load_catalog, newest_checkpoint, object_name
from ledger.manifest import Checkpoint, Link, StoredObject, checkpoint_key, manifest_key
from tests.memory_ledger import MemoryLedgerStore

DAY, NEXT_DAY = "2026-03-01", "2026-03-02"


def a_key(batch: str, chunk: int = 0, *, day: str = DAY, digit: str = "0") -> str:
    """The key of a chunk's object."""
    return f"traces/dt={day}/{batch}-{chunk:05d}-{digit * 16}.parquet"


def stored(key: str, *batches: str) -> StoredObject:
    """An object as a checkpoint names it."""
    return StoredObject(
        key=key,
        rows=1,
        bytes=1,
        sha256="0" * 64,
        schema_version=1,
        batch_ids=batches,
        first_recorded_at="",
        last_recorded_at="",
    )


def a_checkpoint(number: int, objects: Sequence[StoredObject] = (), replaced: Sequence[str] = ()) -> Checkpoint:
    """A checkpoint that says what counts instead of what."""
    return Checkpoint(
        number=number,
        reason="compact",
        written_at="2026-03-02T00:00:00+00:00",
        objects=tuple(objects),
        replaced=frozenset(replaced),
        heads={},
        forgotten={},
        previous=None,
    )


@pytest.fixture
def store() -> MemoryLedgerStore:
    """An empty ledger."""
    return MemoryLedgerStore()


def commit(store: MemoryLedgerStore, *keys: str) -> None:
    """Write objects with their manifests."""
    for key in keys:
        store.append(key, b"rows")
        store.append(manifest_key(key), b"{}")


def write_checkpoint(store: MemoryLedgerStore, checkpoint: Checkpoint) -> None:
    """Write a checkpoint at its number."""
    assert store.append(checkpoint_key(checkpoint.number), checkpoint.encode())


class TestWhatCounts:
    """Manifests, objects and the newest checkpoint together say it."""

    def test_an_empty_ledger_has_nothing(self, store: MemoryLedgerStore) -> None:
        """Before the first write there is an empty catalog, and no error."""
        catalog = load_catalog(store)
        assert (catalog.live, catalog.missing, catalog.orphans, catalog.manifests) == ((), (), (), ())
        assert (catalog.checkpoint, catalog.checkpoint_link, catalog.sizes) == (None, None, {})

    def test_an_object_counts_with_its_manifest(self, store: MemoryLedgerStore) -> None:
        """An object without a manifest is an orphan, a manifest without its object is missing one."""
        commit(store, a_key("b"), a_key("a"))
        store.append(a_key("c"), b"half")
        store.append(manifest_key(a_key("d")), b"{}")
        catalog = load_catalog(store)
        assert catalog.live == (a_key("a"), a_key("b"))
        assert catalog.missing == (a_key("d"),)
        assert [entry.key for entry in catalog.orphans] == [a_key("c")]
        assert [entry.key for entry in catalog.manifests] == [manifest_key(a_key(name)) for name in "abd"]
        assert {key: entry.bytes for key, entry in catalog.sizes.items()} == {a_key("a"): 4, a_key("b"): 4}

    def test_a_checkpoint_puts_one_object_for_others(self, store: MemoryLedgerStore) -> None:
        """Replaced objects count no more, though object and manifest are there; the new one needs no manifest."""
        commit(store, a_key("a"), a_key("b"), a_key("c"))
        new, lost = a_key("compact"), a_key("lost")
        store.append(new, b"rows")
        write_checkpoint(store, a_checkpoint(1, [stored(new, "a", "b"), stored(lost, "x")], [a_key("a"), a_key("b")]))
        catalog = load_catalog(store)
        assert catalog.live == (a_key("c"), new)
        assert catalog.missing == (lost,)
        assert catalog.orphans == ()
        assert catalog.replaced_present == (a_key("a"), a_key("b"))

    def test_what_is_left_of_the_replaced_is_told(self, store: MemoryLedgerStore) -> None:
        """A replaced key stands there as long as its manifest or its object does."""
        keys = [a_key(name) for name in "abcd"]
        commit(store, *keys)
        store.delete(keys[0])
        store.delete(manifest_key(keys[1]))
        store.delete(keys[2])
        store.delete(manifest_key(keys[2]))
        write_checkpoint(store, a_checkpoint(1, [], keys))
        catalog = load_catalog(store)
        assert catalog.replaced_present == (keys[0], keys[1], keys[3])
        assert (catalog.live, catalog.missing, catalog.orphans) == ((), (), ())

    def test_the_highest_number_holds_alone(self, store: MemoryLedgerStore) -> None:
        """An older checkpoint says nothing any more; the link is for the next one's `previous`."""
        commit(store, a_key("a"), a_key("b"))
        write_checkpoint(store, a_checkpoint(1, [], [a_key("a")]))
        newest = a_checkpoint(12, [], [a_key("b")])
        write_checkpoint(store, newest)
        catalog = load_catalog(store)
        assert catalog.live == (a_key("a"),)
        assert catalog.checkpoint == newest
        digest = hashlib.sha256(newest.encode()).hexdigest()
        assert catalog.checkpoint_link == Link(key="checkpoints/00000012.json", sha256=digest)

    def test_other_files_are_let_be(self, store: MemoryLedgerStore) -> None:
        """What is neither Parquet, manifest nor checkpoint by its name is not looked at."""
        commit(store, a_key("a"))
        for key in ("traces/README.txt", "manifests/notes.txt", "checkpoints/x.json", "checkpoints/1.json"):
            store.append(key, b"x")
        catalog = load_catalog(store)
        assert (catalog.live, catalog.orphans, catalog.checkpoint) == ((a_key("a"),), (), None)


class Beside(MemoryLedgerStore):
    """A store in which somebody else does something at the n-th request, counted from 1."""

    def __init__(self, deeds: dict[int, Callable[[Beside], object]]) -> None:
        super().__init__()
        self._deeds = deeds
        self.requests = 0

    def _count(self) -> None:
        self.requests += 1
        deed = self._deeds.get(self.requests)
        if deed is not None:
            deed(self)

    def objects(self, prefix: str = "") -> list[ObjectInfo]:
        """Count, then list."""
        self._count()
        return super().objects(prefix)

    def read(self, key: str) -> bytes:
        """Count, then read."""
        self._count()
        return super().read(key)


class TestBesideOthers:
    """What happens in between. tests/properties/test_catalog_machine.py tries every interleaving."""

    def test_four_listings_and_a_read(self) -> None:
        """With nobody else about, that is all a catalog costs."""
        store = Beside({})
        load_catalog(store)
        assert store.requests == 4
        write_checkpoint(store, a_checkpoint(1))
        load_catalog(store)
        assert store.requests == 9

    def test_a_checkpoint_in_between_is_taken_up(self) -> None:
        """Compacted between two listings, the rows are seen once: in the new object."""

        def compact(store: Beside) -> None:
            store.append(a_key("compact"), b"rows")
            write_checkpoint(store, a_checkpoint(1, [stored(a_key("compact"), "a")], [a_key("a")]))
            store.delete(manifest_key(a_key("a")))
            store.delete(a_key("a"))

        store = Beside({3: compact})
        commit(store, a_key("a"))
        catalog = load_catalog(store)
        assert (catalog.live, catalog.missing) == ((a_key("compact"),), ())

    def test_a_checkpoint_that_went_away_is_no_error(self) -> None:
        """A collector may remove the checkpoint that was just listed, once there is a newer one."""

        def renew(store: Beside) -> None:
            write_checkpoint(store, a_checkpoint(2))
            store.delete(checkpoint_key(1))

        store = Beside({5: renew})
        write_checkpoint(store, a_checkpoint(1))
        catalog = load_catalog(store)
        assert catalog.checkpoint is not None
        assert catalog.checkpoint.number == 2

    def test_checkpoints_without_end_are_transient(self) -> None:
        """The reader gives up after some attempts and says why."""

        def another(store: Beside) -> None:
            write_checkpoint(store, a_checkpoint(newest_checkpoint(MemoryLedgerView(store)) + 1))

        store = Beside(dict.fromkeys(range(3, 1000), another))
        with pytest.raises(TransientStoreError, match="faster than the ledger can be listed"):
            load_catalog(store)

    @pytest.mark.parametrize(("payload", "said"), [(b"[]", "JSON object"), (b"x", "no JSON")])
    def test_a_broken_checkpoint_is_named(self, store: MemoryLedgerStore, payload: bytes, said: str) -> None:
        """Nothing is guessed: the ledger cannot be read."""
        store.append(checkpoint_key(7), payload)
        with pytest.raises(StoreError, match=rf"memory/checkpoints/00000007\.json.*{said}"):
            load_catalog(store)

    def test_a_checkpoint_under_a_wrong_number_is_refused(self, store: MemoryLedgerStore) -> None:
        """A copy of an older one must not hold."""
        store.append(checkpoint_key(7), a_checkpoint(3).encode())
        with pytest.raises(StoreError, match="it says that it is checkpoint 3"):
            load_catalog(store)


class MemoryLedgerView(MemoryLedgerStore):
    """The same objects, and requests that are not counted."""

    def __init__(self, other: MemoryLedgerStore) -> None:
        super().__init__()
        self._objects = other._objects


class TestDoubt:
    """Where a row may stand twice."""

    def test_plain_batches_are_in_no_doubt(self, store: MemoryLedgerStore) -> None:
        """Chunks of one batch on one day, each number once, hold each row once."""
        commit(store, a_key("a-b", 0), a_key("a-b", 1), a_key("a", 0), a_key("a", 1, digit="1"))
        assert doubtful_keys(load_catalog(store)) == ()

    def test_a_chunk_number_twice(self, store: MemoryLedgerStore) -> None:
        """A batch that was cut anew is in doubt as a whole; others are not."""
        held = [a_key("a", 0), a_key("a", 0, digit="1"), a_key("a", 1)]
        commit(store, *held, a_key("b", 0))
        assert doubtful_keys(load_catalog(store)) == tuple(sorted(held))

    def test_a_batch_of_two_days(self, store: MemoryLedgerStore) -> None:
        """A batch that was dated anew is in doubt."""
        held = [a_key("a", 0), a_key("a", 1, day=NEXT_DAY)]
        commit(store, *held, a_key("b", 0, day=NEXT_DAY))
        assert doubtful_keys(load_catalog(store)) == tuple(held)

    def test_rewritten_and_delivered_again(self, store: MemoryLedgerStore) -> None:
        """A batch in a rewritten object and in a plain one is in doubt; in rewritten ones of one day it is not."""
        rewritten = [stored(a_key("day", 0), "a", "b"), stored(a_key("day", 1), "b", "c")]
        commit(store, a_key("a", 5), a_key("d", 5))
        for entry in rewritten:
            store.append(entry.key, b"rows")
        write_checkpoint(store, a_checkpoint(1, rewritten))
        assert doubtful_keys(load_catalog(store)) == (a_key("a", 5), a_key("day", 0))

    @pytest.mark.parametrize(
        ("key", "parts"),
        [
            (a_key("x.y_z-1", 3), (DAY, "x.y_z-1", "00003")),
            (a_key("x", 123456), (DAY, "x", "123456")),
            ("traces/dt=2026-03-01/by-hand.parquet", (DAY, "by-hand", "")),
        ],
    )
    def test_a_name_tells_day_batch_and_chunk(self, key: str, parts: tuple[str, str, str]) -> None:
        """Batch ids may hold hyphens; another name is a batch of its own."""
        assert object_name(key) == parts

    def test_another_key_is_no_name(self) -> None:
        """What is no object's key is refused."""
        with pytest.raises(ValueError, match="expected traces/dt="):
            object_name("manifests/dt=2026-03-01/a.json")
