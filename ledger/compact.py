"""Closed days as few large objects, without a reader ever seeing a row twice or not at all.

A day is closed when it is over. Its committed objects, and what earlier compactions left small or of an older schema,
are written anew; one checkpoint then puts the new objects in their place, so a reader sees either the old ones or the
new ones. Each day is committed by itself: a compaction that is killed has lost one day's work and no row. An object
that comes late is taken in by the next compaction. A day where nothing came is left alone, and so are objects that a
newer version of REDO wrote.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import date

from core.clock import Clock
from core.errors import TransientStoreError
from core.ports import LedgerStore
from ledger.catalog import Catalog, load_catalog, object_name
from ledger.checkpoints import ATTEMPTS, commit, forgotten_in, next_checkpoint, rewritten_in
from ledger.manifest import StoredObject
from ledger.rewrite import DamagedObject, Rewritten, Sizes, check_arrived, discard, rewrite, stored_objects
from ledger.schema import SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactedDay:
    """What was done to one day, or what would be.

    Attributes:
        day: the partition, as `2026-11-25`.
        objects_before, bytes_before: what is put in another place.
        objects_after, bytes_after: what stands there now; `None` where nothing was done yet.
        rows: rows of the new objects; `None` likewise.
        doubles: rows left out because their trace was there twice.
        scrubbed: rows that lost their content because their person is forgotten.
        damaged: objects that were left alone, with what is wrong with them.
    """

    day: str
    objects_before: int
    bytes_before: int
    objects_after: int | None = None
    bytes_after: int | None = None
    rows: int | None = None
    doubles: int = 0
    scrubbed: int = 0
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactReport:
    """What a compaction did.

    Attributes:
        before: days before this one are closed.
        days: the days that were compacted, or would be.
        dry_run: whether nothing was done.
    """

    before: str
    days: tuple[CompactedDay, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """Which objects of a day are written anew, and which rewritten ones stay beside them.

    `small` are the inputs that only become fewer: one of them alone is not worth the work.
    """

    day: str
    inputs: tuple[str, ...]
    small: frozenset[str]
    beside: tuple[StoredObject, ...]

    def is_worth(self, made: Rewritten) -> bool:
        """Whether anything is gained, though inputs may have been damaged or of a newer version."""
        return len(made.used) > 1 or not self.small.issuperset(made.used)


def compact(
    store: LedgerStore, *, clock: Clock, before: date | None = None, dry_run: bool = False, sizes: Sizes | None = None
) -> CompactReport:
    """Compact every closed day that needs it, the oldest first.

    Args:
        store: the ledger.
        clock: tells what day it is.
        before: only days before this one; today by default, in UTC. A later date is taken for today.
        dry_run: only say what would be done.
        sizes: how large the new objects get.

    Raises:
        TransientStoreError: the store did not answer, or others wrote checkpoints all the time.
        StoreError: the store cannot be read or written.
    """
    today = clock.utc_now().date()
    closed_before = min(before or today, today).isoformat()
    sizes = sizes or Sizes()
    catalog = load_catalog(store)
    done = []
    for day in sorted({object_name(key)[0] for key in catalog.live}):
        if day >= closed_before:
            break
        if dry_run:
            plan = _plan(catalog, day, sizes)
            compacted = None if plan is None else _before(catalog, plan)
        else:
            catalog, compacted = _compact_day(store, catalog, day, clock=clock, sizes=sizes)
        if compacted is not None:
            done.append(compacted)
    return CompactReport(before=closed_before, days=tuple(done), dry_run=dry_run)


def _compact_day(
    store: LedgerStore, catalog: Catalog, day: str, *, clock: Clock, sizes: Sizes
) -> tuple[Catalog, CompactedDay | None]:
    for _ in range(ATTEMPTS):
        plan = _plan(catalog, day, sizes)
        if plan is None:
            return catalog, None
        made = _rewrite(store, catalog, plan, sizes)
        if not plan.is_worth(made):
            discard(store, made.objects)
            nothing = CompactedDay(day=day, objects_before=0, bytes_before=0, damaged=made.damaged)
            return catalog, nothing if made.damaged else None
        check_arrived(store, made.objects)
        if _commit(store, catalog, made, clock):
            size = sum(entry.bytes for entry in made.objects)
            return load_catalog(store), CompactedDay(
                day=day,
                objects_before=len(made.used),
                bytes_before=sum(catalog.sizes[key].bytes for key in made.used),
                objects_after=len(made.objects),
                bytes_after=size,
                rows=made.rows_out,
                doubles=made.doubles,
                scrubbed=made.scrubbed,
                damaged=made.damaged,
            )
        discard(store, made.objects)
        catalog = load_catalog(store)
    raise TransientStoreError(f"{store.uri}: day {day}: others kept writing checkpoints: run it again")


def _plan(catalog: Catalog, day: str, sizes: Sizes) -> _Plan | None:
    """What to do about a day; `None` where nothing has come since it was compacted."""
    rewritten = rewritten_in(catalog)
    of_day = [key for key in catalog.live if object_name(key)[0] == day]
    committed = [key for key in of_day if key not in rewritten]
    known = [rewritten[key] for key in of_day if key in rewritten and rewritten[key].schema_version <= SCHEMA_VERSION]
    old = [entry for entry in known if entry.schema_version < SCHEMA_VERSION]
    small = [entry for entry in known if entry not in old and entry.bytes < sizes.object_bytes // 2]
    if not committed and not old and len(small) < 2:  # noqa: PLR2004 - one is not made fewer
        return None
    chosen = {entry.key for entry in (*old, *small)}
    return _Plan(
        day=day,
        inputs=(*committed, *sorted(chosen)),
        small=frozenset(entry.key for entry in small),
        beside=tuple(entry for entry in known if entry.key not in chosen),
    )


def _before(catalog: Catalog, plan: _Plan) -> CompactedDay:
    size = sum(catalog.sizes[key].bytes for key in plan.inputs)
    return CompactedDay(day=plan.day, objects_before=len(plan.inputs), bytes_before=size)


def _rewrite(store: LedgerStore, catalog: Catalog, plan: _Plan, sizes: Sizes) -> Rewritten:
    described = list(stored_objects(store, catalog, plan.inputs))
    good = [
        entry for entry in described if not isinstance(entry, DamagedObject) and entry.schema_version <= SCHEMA_VERSION
    ]
    batches = {batch_id for entry in good for batch_id in entry.batch_ids}
    return rewrite(
        store,
        plan.day,
        [
            *(entry for entry in described if isinstance(entry, DamagedObject)),
            # Batch by batch, so that a reader finds one in few row groups; of equal traces the oldest comes first.
            *sorted(good, key=lambda entry: (entry.batch_ids, entry.first_recorded_at, entry.key)),
        ],
        beside=[entry for entry in plan.beside if batches.intersection(entry.batch_ids)],
        forgotten=forgotten_in(catalog),
        salt=secrets.token_hex(8),
        sizes=sizes,
    )


def _commit(store: LedgerStore, catalog: Catalog, made: Rewritten, clock: Clock) -> bool:
    checkpoint = next_checkpoint(
        catalog, reason="compact", written_at=clock.utc_now(), add=made.objects, replace=made.used
    )
    return commit(store, checkpoint)
