"""A person's content out of the ledger, and kept out: what was asked, read and said goes, the audit stays.

    live objects with the person's rows    written anew without the content (`ledger.scrub`), the old ones removed
    replaced objects that are still there  removed at once: the grace is no reason to keep content
    rows that come later                   a checkpoint keeps the keyed hash with the time. `reapply` finds what was
                                           recorded before it and delivered after it; `compact` scrubs what it writes.

The plain id is nowhere stored; whoever asks must know it, and the key. Runs' folders in REDO_HOME hold the batches'
inputs and outputs and are not the ledger's to clean.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.clock import Clock
from core.errors import StoreError, TransientStoreError
from core.ports import LedgerStore
from ledger.catalog import Catalog, load_catalog, object_name
from ledger.checkpoints import ATTEMPTS, commit, forgotten_in, next_checkpoint, rewritten_in
from ledger.manifest import StoredObject
from ledger.rewrite import (
    REWRITTEN,
    DamagedObject,
    Rewritten,
    Sizes,
    check_arrived,
    discard,
    open_parquet,
    read_object,
    rewrite,
    row_slices,
    stored_objects,
)
from ledger.schema import SCHEMA_VERSION
from ledger.scrub import SCAN_COLUMNS, to_forget


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetReport:
    """What was forgotten, or would be.

    Attributes:
        rows: rows that lost their content.
        objects: keys of the live objects that were written anew.
        removed: keys of the objects that were removed, the replaced ones that were still there among them.
        damaged: what is wrong with each object that could not be looked into: content may be left in it.
        dry_run: whether nothing was done.
    """

    rows: int = 0
    objects: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    dry_run: bool = False


@dataclass(slots=True, kw_only=True)
class _Found:
    """Where a person's content is: live objects by day, with how many rows; and objects that count no more."""

    live: dict[str, list[StoredObject]] = field(default_factory=lambda: defaultdict(list))
    rows: int = 0
    dead: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    @property
    def keys(self) -> list[str]:
        """Keys of the live ones."""
        return [entry.key for entries in self.live.values() for entry in entries]


def forget(
    store: LedgerStore, hashes: Iterable[str], *, clock: Clock, dry_run: bool = False, sizes: Sizes | None = None
) -> ForgetReport:
    """Remove the content of all rows of these people that were recorded up to now.

    A hash matches the session and the user of a row alike. Every object of the ledger is read. Asked again, it finishes
    what a killed one has left.

    Args:
        store: the ledger.
        hashes: keyed hashes of user and session ids (`ledger.encode.keyed_hash`).
        clock: says up to when.
        dry_run: only say what would be done.
        sizes: how large new objects get.

    Raises:
        TransientStoreError: the store did not answer, or others wrote checkpoints all the time.
        StoreError: the store cannot be read or written, or a newer version of REDO wrote an object of theirs.
    """
    now = clock.utc_now().isoformat()
    return _forget(store, dict.fromkeys(hashes, now), clock=clock, dry_run=dry_run, sizes=sizes or Sizes())


def reapply(store: LedgerStore, *, clock: Clock, sizes: Sizes | None = None) -> ForgetReport:
    """Remove what came back: rows of forgotten people that were delivered after they were forgotten.

    Only objects that were never rewritten are read, and replaced ones: whatever was written anew is scrubbed already.

    Raises:
        StoreError: as for `forget`.
    """
    return _forget(store, {}, clock=clock, dry_run=False, sizes=sizes or Sizes())


def _forget(store: LedgerStore, new: Mapping[str, str], *, clock: Clock, dry_run: bool, sizes: Sizes) -> ForgetReport:
    for _ in range(ATTEMPTS):
        catalog = load_catalog(store)
        forgotten = {**forgotten_in(catalog), **new}
        if not forgotten:
            return ForgetReport()
        found = _find(store, catalog, forgotten, everything=bool(new))
        if dry_run:
            return _report(found, removed=[*found.keys, *found.dead], dry_run=True)
        if not new and not found.live:
            break
        made = list(_rewrite(store, catalog, found, forgotten, sizes))
        objects = [entry for day in made for entry in day.objects]
        check_arrived(store, objects)
        checkpoint = next_checkpoint(
            catalog, reason="forget", written_at=clock.utc_now(), add=objects, replace=found.keys, forgotten=forgotten
        )
        if commit(store, checkpoint):
            break
        discard(store, objects)
    else:
        raise TransientStoreError(f"{store.uri}: others kept writing checkpoints: run it again")
    removed = [*found.keys, *found.dead]
    for key in removed:
        store.delete(key)
    return _report(found, removed=removed)


def _report(found: _Found, *, removed: list[str], dry_run: bool = False) -> ForgetReport:
    return ForgetReport(
        rows=found.rows,
        objects=tuple(sorted(found.keys)),
        removed=tuple(sorted(removed)),
        damaged=tuple(found.damaged),
        dry_run=dry_run,
    )


def _find(store: LedgerStore, catalog: Catalog, forgotten: Mapping[str, str], *, everything: bool) -> _Found:
    rewritten = rewritten_in(catalog)
    found = _Found()
    for described in stored_objects(
        store, catalog, (key for key in catalog.live if everything or key not in rewritten)
    ):
        try:
            if isinstance(described, DamagedObject):
                raise described
            rows = _count(read_object(store, described), forgotten)
        except DamagedObject as error:
            found.damaged.append(str(error))
            continue
        if rows and described.schema_version > SCHEMA_VERSION:
            raise StoreError(f"{store.uri}/{described.key}: a newer version of REDO wrote it, and must forget in it")
        if rows:
            found.live[object_name(described.key)[0]].append(described)
            found.rows += rows
    found.dead = [key for key in _dead(catalog) if _holds(store, key, forgotten)]
    return found


def _dead(catalog: Catalog) -> Iterator[str]:
    """Objects that count no more: replaced ones, and what killed rewrites have left."""
    yield from catalog.replaced_present
    for entry in catalog.orphans:
        if entry.key.rpartition("/")[2].startswith(REWRITTEN):
            yield entry.key


def _holds(store: LedgerStore, key: str, forgotten: Mapping[str, str]) -> bool:
    """Whether an object that counts no more has the content; one that cannot be read is taken to have it."""
    try:
        payload = store.read(key)
    except TransientStoreError:
        raise
    except StoreError:  # only its manifest is left
        return False
    try:
        return _count(open_parquet(payload, name=key), forgotten) > 0
    except DamagedObject:
        return True


def _count(file: pq.ParquetFile, forgotten: Mapping[str, str]) -> int:
    return sum(
        int(pc.sum(to_forget(table, forgotten)).as_py() or 0) for table in row_slices(file, columns=SCAN_COLUMNS)
    )


def _rewrite(
    store: LedgerStore, catalog: Catalog, found: _Found, forgotten: Mapping[str, str], sizes: Sizes
) -> Iterator[Rewritten]:
    rewritten = rewritten_in(catalog)
    for day, entries in found.live.items():
        going = {entry.key for entry in entries}
        batches = {batch_id for entry in entries for batch_id in entry.batch_ids}
        beside = [
            entry
            for key, entry in rewritten.items()
            if key not in going and object_name(key)[0] == day and batches.intersection(entry.batch_ids)
        ]
        made = rewrite(store, day, entries, beside=beside, forgotten=forgotten, salt=secrets.token_hex(8), sizes=sizes)
        if made.damaged:  # it was good a moment ago
            raise StoreError(made.damaged[0])
        yield made
