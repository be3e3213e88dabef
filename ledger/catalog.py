"""Which objects of a ledger count, found by listing names: no manifest is opened for it.

`load_catalog` may run while others commit, compact, forget and collect. What it returns is then what counted at one
moment of the time that it took:

1. The newest checkpoint is looked up before and after the rest, and all of it is done again where the number has
   changed. So one checkpoint held the whole time, and whatever was deleted meanwhile is named in its `replaced`.
2. Manifests are listed before objects. An object is written before its manifest, so the listing of objects has every
   object of the manifests that were seen.

This holds page by page, so a listing of several requests needs to be no snapshot. It relies on the store's promise that
a listing shows what was written before it began, as S3's does, and on the collector's promise to delete only what the
newest checkpoint has replaced, and to take a key off `replaced` only when nothing is left of it.

The objects of a catalog stay readable for as long as the collector spares what was replaced; a reader that takes longer
loads another.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from core.digest import bytes_digest
from core.errors import StoreError, TransientStoreError
from core.ports import LedgerStore, ObjectInfo
from ledger.manifest import (
    CHECKPOINTS,
    MANIFESTS,
    TRACES,
    Checkpoint,
    Link,
    checkpoint_key,
    committed_key,
    manifest_key,
)

_ATTEMPTS: Final = 10
_CHECKPOINT: Final = re.compile(re.escape(CHECKPOINTS) + r"(\d{8,})\.json")
_OBJECT: Final = re.compile(re.escape(TRACES) + r"dt=([^/]*)/(?:(.+)-(\d{5,})-[0-9a-f]{16}|(.+))\.parquet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """What counts in a ledger, and what lies there besides.

    Attributes:
        live: keys of the objects that count, sorted: committed by a manifest or named by the checkpoint, and there.
        missing: keys that should count and whose objects are not there, sorted. Any is lost data.
        orphans: objects that neither a manifest nor the checkpoint names. One is what a writer has not committed yet,
            or never will; only its age tells.
        replaced_present: keys that count no more, whose object or manifest is still there, sorted.
        manifests: the manifests, by key.
        checkpoint: the newest one; `None` where nothing was ever rewritten.
        checkpoint_link: its key and the digest of its bytes, for the `previous` of the next.
        sizes: what the listing tells of the live objects, by key.
    """

    live: tuple[str, ...]
    missing: tuple[str, ...]
    orphans: tuple[ObjectInfo, ...]
    replaced_present: tuple[str, ...]
    manifests: tuple[ObjectInfo, ...]
    checkpoint: Checkpoint | None
    checkpoint_link: Link | None
    sizes: Mapping[str, ObjectInfo]


def load_catalog(store: LedgerStore) -> Catalog:
    """Find out what counts: four listings and one read, where nobody writes a checkpoint meanwhile.

    Raises:
        TransientStoreError: new checkpoints kept coming in between, or a later attempt may succeed for another reason.
        StoreError: the store cannot be read, or a checkpoint is none.
    """
    for _ in range(_ATTEMPTS):
        number = newest_checkpoint(store)
        manifests = _ending(store.objects(MANIFESTS), ".json")
        objects = _ending(store.objects(TRACES), ".parquet")
        if newest_checkpoint(store) != number:
            continue
        try:
            checkpoint, link = (None, None) if number == 0 else read_checkpoint(store, number)
        except StoreError:
            if newest_checkpoint(store) == number:
                raise
            continue
        return _catalog(manifests, objects, checkpoint, link)
    raise TransientStoreError(f"{store.uri}: checkpoints are written faster than the ledger can be listed: try again")


def newest_checkpoint(store: LedgerStore) -> int:
    """The highest number of a checkpoint; 0 where there is none. Raises StoreError as the store does."""
    found = (_CHECKPOINT.fullmatch(entry.key) for entry in store.objects(CHECKPOINTS))
    return max((int(match[1]) for match in found if match is not None), default=0)


def read_checkpoint(store: LedgerStore, number: int) -> tuple[Checkpoint, Link]:
    """Read a checkpoint by its number, with what the next one says of it.

    Raises:
        StoreError: there is no such checkpoint, it is none, or it holds another number than its name.
    """
    key = checkpoint_key(number)
    payload = store.read(key)
    name = f"{store.uri}/{key}"
    checkpoint = Checkpoint.decode(payload, name=name)
    if checkpoint.number != number:
        raise StoreError(f"{name}: it says that it is checkpoint {checkpoint.number}")
    return checkpoint, Link(key=key, sha256=bytes_digest(payload))


def doubtful_keys(catalog: Catalog) -> tuple[str, ...]:
    """The live objects of which a row may stand in another live object too; all other objects hold each row once.

    It is told from names alone. A batch is in doubt where it stands in objects of several days (it was dated anew), has
    one chunk number twice (it was cut anew), or stands in a rewritten object and in one that was not (its rows were
    delivered again). Rewritten objects of one day never hold a row twice: whoever rewrites sees to it.

    Returns:
        The keys of all objects that hold a batch in doubt, sorted.
    """
    rewritten = {} if catalog.checkpoint is None else {entry.key: entry for entry in catalog.checkpoint.objects}
    holders: dict[str, list[tuple[str, str, str | None]]] = defaultdict(list)
    for key in catalog.live:
        day, batch, chunk = object_name(key)
        if key in rewritten:
            for batch_id in rewritten[key].batch_ids:
                holders[batch_id].append((key, day, None))
        else:
            holders[batch].append((key, day, chunk))
    return tuple(sorted({key for held in holders.values() if _in_doubt(held) for key, _, _ in held}))


def object_name(key: str) -> tuple[str, str, str]:
    """What the key of an object tells: day, batch id and number of the chunk.

    A name that is not made so is the batch id as it stands, with no number.

    Raises:
        ValueError: it is no key of an object.
    """
    match = _OBJECT.fullmatch(key)
    if match is None:
        raise ValueError(f"{key!r}: expected traces/dt=<day>/<name>.parquet")
    day, batch, chunk, other = match.groups()
    return day, batch or other, chunk or ""


def _in_doubt(held: list[tuple[str, str, str | None]]) -> bool:
    chunks = [chunk for _, _, chunk in held if chunk is not None]
    several_days = len({day for _, day, _ in held}) > 1
    return several_days or len(set(chunks)) < len(chunks) or 0 < len(chunks) < len(held)


def _ending(entries: Iterable[ObjectInfo], suffix: str) -> dict[str, ObjectInfo]:
    return {entry.key: entry for entry in entries if entry.key.endswith(suffix)}


def _catalog(
    manifests: Mapping[str, ObjectInfo],
    objects: Mapping[str, ObjectInfo],
    checkpoint: Checkpoint | None,
    link: Link | None,
) -> Catalog:
    committed = {committed_key(key) for key in manifests}
    replaced = frozenset[str]() if checkpoint is None else checkpoint.replaced
    rewritten = frozenset[str]() if checkpoint is None else frozenset(entry.key for entry in checkpoint.objects)
    counting = (committed - replaced) | rewritten
    known = counting | replaced
    live = tuple(sorted(counting & objects.keys()))
    return Catalog(
        live=live,
        missing=tuple(sorted(counting - objects.keys())),
        orphans=tuple(entry for key, entry in objects.items() if key not in known),
        replaced_present=tuple(
            key for key in sorted(replaced - rewritten) if key in objects or manifest_key(key) in manifests
        ),
        manifests=tuple(manifests.values()),
        checkpoint=checkpoint,
        checkpoint_link=link,
        sizes={key: objects[key] for key in live},
    )
