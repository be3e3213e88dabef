"""What counts no more, removed after a grace: replaced objects, their manifests, orphans, old checkpoints.

Everything is aged by the store's own clock, which a probe object tells; the clock of this machine may be wrong. Nothing
is removed while a reader, or a writer between an object and its manifest, may still need it: the grace is longer than
either takes.

Order matters, since the collector may be killed at any point:

1. A checkpoint says where each writer's chain of manifests begins now (`heads`), and forgets replaced keys of which
   nothing is left.
2. Objects, then manifests, are removed. Their keys stay in `replaced` until the next collection, so a half removed one
   never counts again.

A manifest goes only together with all that its writer has committed before, so that `verify` tells a chain that was
cut short from one with a link missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from core.clock import Clock
from core.digest import bytes_digest
from core.errors import StoreError, TransientStoreError
from core.ports import LedgerStore, ObjectInfo
from ledger.catalog import Catalog, load_catalog, read_checkpoint
from ledger.checkpoints import ATTEMPTS, commit, next_checkpoint
from ledger.manifest import CHECKPOINTS, TRACES, Link, Manifest, committed_key, manifest_key
from ledger.probes import PROBES, store_time

GRACE: Final = timedelta(hours=24)
"""Longer than any reader reads, and any writer needs from an object to its manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GcReport:
    """What was removed, or would be.

    Attributes:
        objects, manifests, orphans, checkpoints, probes: keys, by what they were.
        bytes: what the objects and orphans took.
        waiting: replaced objects and orphans that are younger than the grace.
        dry_run: whether nothing was done.
    """

    objects: tuple[str, ...] = ()
    manifests: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()
    bytes: int = 0
    waiting: int = 0
    dry_run: bool = False


@dataclass(slots=True, kw_only=True)
class _Garbage:
    """What may go, and the checkpoint's share in it."""

    objects: list[ObjectInfo] = field(default_factory=list)
    orphans: list[ObjectInfo] = field(default_factory=list)
    manifests: list[str] = field(default_factory=list)
    checkpoints: list[str] = field(default_factory=list)
    probes: list[str] = field(default_factory=list)
    heads: dict[str, Link] = field(default_factory=dict)
    trimmed: frozenset[str] = frozenset()
    waiting: int = 0


def collect(store: LedgerStore, *, clock: Clock, grace: timedelta = GRACE, dry_run: bool = False) -> GcReport:
    """Remove what counts no more.

    Args:
        store: the ledger.
        clock: dates the checkpoint; in a dry run, which writes nothing, it also tells ages.
        grace: how long something must have been out of use.
        dry_run: only say what would be removed.

    Raises:
        TransientStoreError: the store did not answer, or others wrote checkpoints all the time.
        StoreError: the store cannot be read or written. What is left is removed by the next collection.
    """
    now = clock.utc_now() if dry_run else store_time(store)
    for _ in range(ATTEMPTS):
        catalog = load_catalog(store)
        found = _find(store, catalog, older_than=now - grace)
        if dry_run or not (found.heads or found.trimmed):
            break
        checkpoint = next_checkpoint(
            catalog, reason="gc", written_at=clock.utc_now(), trim=found.trimmed, heads=found.heads
        )
        if commit(store, checkpoint):
            break
    else:
        raise TransientStoreError(f"{store.uri}: others kept writing checkpoints: run it again")
    if not dry_run:
        _remove(store, found)
    return GcReport(
        objects=tuple(entry.key for entry in found.objects),
        manifests=tuple(found.manifests),
        orphans=tuple(entry.key for entry in found.orphans),
        checkpoints=tuple(found.checkpoints),
        probes=tuple(found.probes),
        bytes=sum(entry.bytes for entry in (*found.objects, *found.orphans)),
        waiting=found.waiting,
        dry_run=dry_run,
    )


def _find(store: LedgerStore, catalog: Catalog, *, older_than: datetime) -> _Garbage:
    present = {entry.key: entry for entry in store.objects(TRACES)}
    checkpoints, settled = _old_checkpoints(store, older_than)
    out_of_use = _replaced(catalog) & settled
    probes = [entry.key for entry in store.objects(PROBES) if entry.modified_at <= older_than]
    found = _Garbage(checkpoints=checkpoints, probes=probes)
    found.objects = [present[key] for key in sorted(out_of_use) if key in present]
    found.orphans = [entry for entry in catalog.orphans if entry.modified_at <= older_than]
    found.waiting = (
        sum(key in present for key in catalog.replaced_present)
        + len(catalog.orphans)
        - len(found.objects)
        - len(found.orphans)
    )
    found.manifests, found.heads = _chain_beginnings(store, catalog, out_of_use)
    found.trimmed = _replaced(catalog) - frozenset(catalog.replaced_present)
    return found


def _old_checkpoints(store: LedgerStore, older_than: datetime) -> tuple[list[str], frozenset[str]]:
    """Checkpoints that nobody needs, and the keys that were out of use already at `older_than`.

    The newest checkpoint of that time is kept: it is what tells those keys, until a newer one is old enough.
    """
    entries = [entry for entry in store.objects(CHECKPOINTS) if entry.modified_at <= older_than]
    if not entries:
        return [], frozenset()
    number = int(entries[-1].key.removeprefix(CHECKPOINTS).removesuffix(".json"))
    checkpoint, _ = read_checkpoint(store, number)
    return [entry.key for entry in entries[:-1]], checkpoint.replaced


def _replaced(catalog: Catalog) -> frozenset[str]:
    return frozenset() if catalog.checkpoint is None else catalog.checkpoint.replaced


def _chain_beginnings(
    store: LedgerStore, catalog: Catalog, out_of_use: frozenset[str]
) -> tuple[list[str], dict[str, Link]]:
    """Manifests that may go, and the last of each writer: from where its chain begins, as far as all is out of use."""
    heads: Mapping[str, Link] = {} if catalog.checkpoint is None else catalog.checkpoint.heads
    chains: dict[str, list[tuple[Manifest, Link]]] = defaultdict(list)
    for key in sorted(committed_key(entry.key) for entry in catalog.manifests):
        if key not in out_of_use:
            continue
        place = manifest_key(key)
        payload = store.read(place)
        try:
            manifest = Manifest.decode(payload, name=place)
        except StoreError:  # `verify` names it; its writer's chain stays where it is
            continue
        chains[manifest.writer].append((manifest, Link(key=place, sha256=bytes_digest(payload))))
    going: list[str] = []
    moved: dict[str, Link] = {}
    for writer, chain in chains.items():
        chain.sort(key=lambda item: item[0].sequence)
        head = heads.get(writer)
        done = next((place for place, (_, link) in enumerate(chain, start=1) if link == head), 0)
        going += [link.key for _, link in chain[:done]]  # an earlier collection was killed before it had removed them
        for manifest, link in chain[done:]:
            if manifest.previous != head:
                break
            head = moved[writer] = link
            going.append(link.key)
    return going, moved


def _remove(store: LedgerStore, found: _Garbage) -> None:
    for entry in found.objects:
        store.delete(entry.key)
    for key in found.manifests:  # of each writer the oldest first: what a killed collection leaves ends with the head
        store.delete(key)
    for entry in found.orphans:
        if not store.objects(manifest_key(entry.key)):  # committed meanwhile, after a very long time
            store.delete(entry.key)
    for key in (*found.checkpoints, *found.probes):
        store.delete(key)
