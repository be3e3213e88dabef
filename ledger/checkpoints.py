"""The next checkpoint: what it says, and the race for its number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from core.errors import TransientStoreError
from core.ports import LedgerStore
from ledger.catalog import Catalog
from ledger.manifest import Checkpoint, Link, StoredObject, checkpoint_key

ATTEMPTS: Final = 10
"""How often upkeep decides anew when others keep writing checkpoints in between."""

_TRIES: Final = 3


def next_checkpoint(
    catalog: Catalog,
    *,
    reason: str,
    written_at: datetime,
    add: Iterable[StoredObject] = (),
    replace: Iterable[str] = (),
    trim: Iterable[str] = (),
    heads: Mapping[str, Link] | None = None,
    forgotten: Mapping[str, str] | None = None,
) -> Checkpoint:
    """The checkpoint after the catalog's, with a change.

    Args:
        catalog: what holds now.
        reason: what is done: `compact`, `gc` or `forget`.
        written_at: when, in UTC.
        add: rewritten objects that count from now on.
        replace: keys that count no more.
        trim: replaced keys of which nothing is left.
        heads: where writers' chains begin from now on; others stay.
        forgotten: keyed hashes to forget, with their times; others stay.
    """
    held, gone = catalog.checkpoint, frozenset(replace)
    objects = () if held is None else held.objects
    replaced: frozenset[str] = frozenset() if held is None else held.replaced
    kept = [entry for entry in objects if entry.key not in gone]
    return Checkpoint(
        number=1 if held is None else held.number + 1,
        reason=reason,
        written_at=written_at.isoformat(),
        objects=tuple(sorted([*kept, *add], key=lambda entry: entry.key)),
        replaced=(replaced | gone) - frozenset(trim),
        heads={**({} if held is None else held.heads), **(heads or {})},
        forgotten={**forgotten_in(catalog), **(forgotten or {})},
        previous=catalog.checkpoint_link,
    )


def forgotten_in(catalog: Catalog) -> dict[str, str]:
    """Who was forgotten so far, by keyed hash, with the time."""
    return {} if catalog.checkpoint is None else dict(catalog.checkpoint.forgotten)


def rewritten_in(catalog: Catalog) -> dict[str, StoredObject]:
    """The rewritten objects that count, by key."""
    return {} if catalog.checkpoint is None else {entry.key: entry for entry in catalog.checkpoint.objects}


def commit(store: LedgerStore, checkpoint: Checkpoint) -> bool:
    """Write a checkpoint; false where somebody else has written that number first.

    An answer that was lost is no loss: the next try finds the number taken, and by these bytes.

    Raises:
        TransientStoreError: nobody knows whether it was written; load the catalog to find out.
        StoreError: it was not.
    """
    key, payload = checkpoint_key(checkpoint.number), checkpoint.encode()
    for _ in range(_TRIES - 1):
        try:
            return store.append(key, payload) or store.read(key) == payload
        except TransientStoreError:
            continue
    return store.append(key, payload) or store.read(key) == payload
