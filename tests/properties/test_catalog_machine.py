"""A reader beside a writer, a compactor and a collector sees every row once, whatever comes between its requests."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date

import pytest

from core.ports import ObjectInfo
from ledger.catalog import Catalog, doubtful_keys, load_catalog, object_name
from ledger.encode import object_key
from ledger.manifest import Checkpoint, StoredObject, checkpoint_key, manifest_key
from tests.memory_ledger import MemoryLedgerStore

_BATCHES, _DAYS, _PAGE = "ab", (date(2026, 3, 1), date(2026, 3, 2)), 2
_CASES = 100

Deed = Iterator[None]
"""What somebody does, one request at a time."""


class PagedView(MemoryLedgerStore):
    """A reader's view of a store: every listing comes in pages, and before each request others may do something.

    A page holds the next keys as they are at that moment, as S3's `start-after` has it: no listing is a snapshot.
    """

    def __init__(self, store: MemoryLedgerStore, meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self._objects = store._objects
        self._meanwhile = meanwhile

    def objects(self, prefix: str = "") -> list[ObjectInfo]:
        """List page by page."""
        found: list[ObjectInfo] = []
        while True:
            self._meanwhile()
            behind = found[-1].key if found else ""
            page = [entry for entry in super().objects(prefix) if entry.key > behind][:_PAGE]
            found += page
            if len(page) < _PAGE:
                return found

    def read(self, key: str) -> bytes:
        """Read, after others did something."""
        self._meanwhile()
        return super().read(key)


class World:
    """A ledger whose objects hold row names as JSON, and those who write to it, each with a list of things to do."""

    def __init__(self) -> None:
        self.store = MemoryLedgerStore()
        self.rows: dict[str, tuple[str, ...]] = {}
        self.committed: set[str] = set()
        self.kept: list[tuple[str, tuple[str, ...]]] = []
        self.number = 0
        self.compactions = 0

    def put(self, key: str, rows: tuple[str, ...]) -> None:
        """Write an object; what a key once held it holds for good."""
        self.rows[key] = rows
        self.store.append(key, json.dumps(rows).encode())

    def commit(self, batch: str, day: date) -> Deed:
        """A chunk of two new rows: object, then manifest."""
        rows = (f"{batch}{self.number}", f"{batch}{self.number + 1}")
        key = object_key(batch, self.number, rows, day)
        self.number += 2
        self.kept.append((key, rows))
        yield from self._commit(key, rows)

    def again(self, key: str, rows: tuple[str, ...]) -> Deed:
        """The same chunk delivered once more, from a spool that was not emptied."""
        yield from self._commit(key, rows)

    def _commit(self, key: str, rows: tuple[str, ...]) -> Deed:
        self.put(key, rows)
        yield
        self.store.append(manifest_key(key), b"{}")
        self.committed.update(rows)
        yield

    def compact(self, day: date) -> Deed:
        """All objects of a day become one; the checkpoint loses against one that was written first."""
        catalog = load_catalog(self.store)
        yield
        old = [key for key in catalog.live if object_name(key)[0] == day.isoformat()]
        rows = tuple(sorted({row for key in old for row in self.rows[key]}))
        self.compactions += 1
        new = object_key(f"day-{self.compactions}", 0, rows, day)
        self.put(new, rows)
        yield
        batches = tuple(sorted({row[0] for row in rows}))
        before = () if catalog.checkpoint is None else catalog.checkpoint.objects
        objects = (*(entry for entry in before if entry.key not in old), _stored(new, batches))
        self._write(catalog, objects=objects, replaced=_replaced(catalog) | set(old))
        yield

    def collect(self) -> Deed:
        """Delete what is replaced, manifest first; then say that it is no more."""
        catalog = load_catalog(self.store)
        yield
        for key in catalog.replaced_present:
            self.store.delete(manifest_key(key))
            yield
            self.store.delete(key)
            yield
        if catalog.checkpoint is not None:
            self._write(catalog, objects=catalog.checkpoint.objects, replaced=frozenset())
        yield

    def _write(self, catalog: Catalog, *, objects: tuple[StoredObject, ...], replaced: frozenset[str]) -> None:
        number = 1 if catalog.checkpoint is None else catalog.checkpoint.number + 1
        checkpoint = Checkpoint(
            number=number,
            reason="compact",
            written_at="",
            objects=objects,
            replaced=replaced,
            heads={},
            forgotten={},
            previous=catalog.checkpoint_link,
        )
        self.store.append(checkpoint_key(number), checkpoint.encode())


def _replaced(catalog: Catalog) -> frozenset[str]:
    return frozenset() if catalog.checkpoint is None else catalog.checkpoint.replaced


def _stored(key: str, batches: tuple[str, ...]) -> StoredObject:
    return StoredObject(
        key=key,
        rows=0,
        bytes=0,
        sha256="",
        schema_version=1,
        batch_ids=batches,
        first_recorded_at="",
        last_recorded_at="",
    )


class Others:
    """Those who write: two writers and two keepers, each a series of deeds; `some` lets them take their next steps.

    Args:
        world: what they write to.
        chance: decides who goes next and what they do.
        again: whether writers also deliver chunks once more.
    """

    def __init__(self, world: World, chance: random.Random, *, again: bool) -> None:
        self._world, self._chance, self._again = world, chance, again
        self._actors = [self._writing(), self._writing(), self._keeping(), self._keeping()]

    def some(self) -> None:
        """A few steps of a few of them."""
        for _ in range(self._chance.choice((0, 0, 1, 2, 5))):
            next(self._chance.choice(self._actors))

    def _writing(self) -> Deed:
        while True:
            kept = self._world.kept
            if self._again and kept and self._chance.random() < 0.5:
                yield from self._world.again(*self._chance.choice(kept))
            else:
                yield from self._world.commit(self._chance.choice(_BATCHES), self._chance.choice(_DAYS))

    def _keeping(self) -> Deed:
        while True:
            if self._chance.random() < 0.5:
                yield from self._world.compact(self._chance.choice(_DAYS))
            else:
                yield from self._world.collect()


def _seen(world: World, catalog: Catalog) -> Counter[str]:
    return Counter(row for key in catalog.live for row in world.rows[key])


def _read_beside(world: World, chance: random.Random, *, again: bool) -> tuple[set[str], Catalog]:
    """What was committed before the reader began, and what it found while the others went on."""
    others = Others(world, chance, again=again)
    for _ in range(chance.randrange(20)):
        others.some()
    return set(world.committed), load_catalog(PagedView(world.store, others.some))


@pytest.mark.parametrize("seed", range(_CASES))
def test_every_committed_row_is_seen_once(seed: int) -> None:
    """Rows that were committed before the reader began are there, no row is there twice, and nothing is missing."""
    world = World()
    before, catalog = _read_beside(world, random.Random(seed), again=False)  # noqa: S311
    seen = _seen(world, catalog)
    assert max(seen.values(), default=1) == 1
    assert before <= seen.keys() <= world.committed
    assert catalog.missing == ()


@pytest.mark.parametrize("seed", range(_CASES))
def test_a_row_that_is_there_twice_is_in_doubt(seed: int) -> None:
    """Where chunks are delivered again, also after they were collected, both objects of a row are told as doubtful."""
    world = World()
    before, catalog = _read_beside(world, random.Random(seed), again=True)  # noqa: S311
    seen = _seen(world, catalog)
    assert before <= seen.keys()
    doubtful = set(doubtful_keys(catalog))
    for key in catalog.live:
        if any(seen[row] > 1 for row in world.rows[key]):
            assert key in doubtful
