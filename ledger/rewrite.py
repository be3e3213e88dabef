"""Objects of one day as few large ones: what `compact` and `forget` share.

Inputs are read one at a time and their digest is checked, so that a damaged object is never taken for a good one. Rows
go through in row groups: what is held at any time is one input, one row group that is filled, and one output. Nothing
counts before a checkpoint names it; what a killed rewrite leaves are orphans, which `gc` removes.

Rewritten objects of one day never hold a trace twice: the first one stays.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.digest import bytes_digest, content_digest
from core.errors import StoreError, TransientStoreError
from core.ports import LedgerStore
from ledger.catalog import Catalog
from ledger.checkpoints import rewritten_in
from ledger.conform import conform
from ledger.encode import WRITE_OPTIONS
from ledger.manifest import Manifest, StoredObject, manifest_key
from ledger.schema import FILE_SCHEMA, SCHEMA_VERSION
from ledger.scrub import scrub
from ledger.seen import SeenIds

REWRITTEN: Final = "rewritten-"
"""How the name of a rewritten object begins. Writers' names end with a chunk's number and a digest; these do not."""

_SLICE_ROWS: Final = 4096
_TRIES: Final = 3


class DamagedObject(StoreError):  # noqa: N818 - a finding about the store, and no failure of the call
    """An object, or its manifest, is not what was committed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How large rewritten objects and their row groups get.

    A row group is what a reader skips or reads, and what the rewriter holds in memory: it ends at the first limit that
    it reaches. DuckDB itself puts 122,880 rows into one; a text is read in one piece, so bytes are limited too.
    A reader makes requests by the group: with 64, 256 and 640 MB a summary of 1,000,000 rows at min makes 278, 118
    and 58 requests, and the compactor's peak is 301, 531 and 620 MB.

    Attributes:
        object_bytes: an object ends with the row group that brings it to this size.
        group_rows: most rows of a row group.
        group_bytes: a row group ends when its rows take so many bytes in memory.
    """

    object_bytes: int = 64 * 1024 * 1024
    group_rows: int = 122_880
    group_bytes: int = 640 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """What a rewrite made of its inputs.

    Attributes:
        used: keys of the inputs whose rows are in `objects` now.
        objects: the new objects; they are in the store, and count once a checkpoint names them.
        rows_in, rows_out: rows of the inputs that were used, and of the new objects.
        doubles: rows that were left out because their trace stood there already.
        scrubbed: rows that lost their content because their person is forgotten.
        damaged: what is wrong with each input that was left alone.
    """

    used: tuple[str, ...]
    objects: tuple[StoredObject, ...]
    rows_in: int
    rows_out: int
    doubles: int
    scrubbed: int
    damaged: tuple[str, ...]


def stored_objects(store: LedgerStore, catalog: Catalog, keys: Iterable[str]) -> Iterator[StoredObject | DamagedObject]:
    """What was committed of each live object: from the checkpoint, or from its manifest.

    Raises:
        TransientStoreError: the store does not answer.
    """
    rewritten = rewritten_in(catalog)
    for key in keys:
        if key in rewritten:
            yield rewritten[key]
            continue
        try:
            yield read_manifest(store, key).object
        except TransientStoreError:
            raise
        except StoreError as error:
            yield DamagedObject(str(error))


def read_manifest(store: LedgerStore, key: str) -> Manifest:
    """The manifest of an object. Raises StoreError where it is none, or that of another object."""
    place = manifest_key(key)
    manifest = Manifest.decode(store.read(place), name=f"{store.uri}/{place}")
    if manifest.object.key != key:
        raise StoreError(f"{store.uri}/{place}: it commits {manifest.object.key}, expected {key}")
    return manifest


def read_object(store: LedgerStore, described: StoredObject) -> pq.ParquetFile:
    """Read an object whole, and check that it is the one that was committed.

    Raises:
        DamagedObject: it is not.
        StoreError: it cannot be read.
    """
    name, payload = f"{store.uri}/{described.key}", store.read(described.key)
    if len(payload) != described.bytes:
        raise DamagedObject(f"{name}: {len(payload):,} bytes, expected {described.bytes:,}")
    if bytes_digest(payload) != described.sha256:
        raise DamagedObject(f"{name}: its SHA-256 is not the one that was committed")
    file = open_parquet(payload, name=name)
    if file.metadata.num_rows != described.rows:
        raise DamagedObject(f"{name}: {file.metadata.num_rows:,} rows, expected {described.rows:,}")
    return file


def open_parquet(payload: bytes, *, name: str) -> pq.ParquetFile:
    """Open a Parquet file in memory. Raises DamagedObject, with the name, where the bytes are none."""
    try:
        return pq.ParquetFile(pa.BufferReader(payload))
    except (pa.ArrowException, OSError) as error:
        raise DamagedObject(f"{name}: no Parquet file: {error}") from None


def row_slices(file: pq.ParquetFile, *, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The rows of a file in tables of at most some thousand; columns that it does not have are left out."""
    wanted = None if columns is None else [name for name in columns if name in file.schema_arrow.names]
    for batch in file.iter_batches(batch_size=_SLICE_ROWS, columns=wanted):
        yield pa.Table.from_batches([batch])


def rewrite(
    store: LedgerStore,
    day: str,
    inputs: Sequence[StoredObject | DamagedObject],
    *,
    beside: Sequence[StoredObject],
    forgotten: Mapping[str, str],
    salt: str,
    sizes: Sizes,
) -> Rewritten:
    """Write the rows of the inputs into new objects of that day.

    Args:
        store: the ledger.
        day: the partition, as `2026-11-25`.
        inputs: what is read, in this order; those that are damaged are left alone.
        beside: rewritten objects of the day that stay: a trace that one of them holds is left out.
        forgotten: people whose rows lose their content, by keyed hash, with the time.
        salt: something that no other rewrite has. It is part of the new objects' names, so that these are always new:
            the collector may be about to remove what an earlier one has left.
        sizes: how large the new objects get.

    Raises:
        StoreError: the store cannot be read or written; nothing counts that did not count before.
    """
    damaged = [str(entry) for entry in inputs if isinstance(entry, DamagedObject)]
    seen, used, rows_in, scrubbed = SeenIds(), [], 0, 0
    for stays in beside:
        for table in row_slices(read_object(store, stays), columns=["trace_id"]):
            seen.add(table.column("trace_id").to_pylist())
    output = _Output(store, day, salt, sizes)
    for entry in inputs:
        if isinstance(entry, DamagedObject):
            continue
        try:
            file = read_object(store, entry)
        except DamagedObject as error:
            damaged.append(str(error))
            continue
        for table in row_slices(file):
            fresh = table.filter(pa.array(seen.add(table.column("trace_id").to_pylist())))
            rows, changed = scrub(conform(fresh), forgotten)
            output.add(rows)
            scrubbed += changed
        rows_in += entry.rows
        used.append(entry.key)
    objects = output.close()
    rows_out = sum(entry.rows for entry in objects)
    return Rewritten(
        used=tuple(used),
        objects=objects,
        rows_in=rows_in,
        rows_out=rows_out,
        doubles=rows_in - rows_out,
        scrubbed=scrubbed,
        damaged=tuple(damaged),
    )


def check_arrived(store: LedgerStore, objects: Iterable[StoredObject]) -> None:
    """Make sure by a listing that the new objects are there, before anything is said to be replaced by them.

    Raises:
        StoreError: one is missing or has another size.
    """
    wanted = {entry.key: entry.bytes for entry in objects}
    folders = {key.rpartition("/")[0] for key in wanted}
    listed = {found.key: found.bytes for folder in folders for found in store.objects(f"{folder}/")}
    for key, size in wanted.items():
        if listed.get(key) != size:
            found = f"{listed.get(key)} bytes in the listing, expected {size}"
            raise StoreError(f"{store.uri}/{key}: {found}; nothing was committed")


def discard(store: LedgerStore, objects: Iterable[StoredObject]) -> None:
    """Remove new objects that no checkpoint will name. Where the store does not let us, `gc` will, later."""
    for entry in objects:
        with suppress(StoreError):
            store.delete(entry.key)


def _create(store: LedgerStore, key: str, payload: bytes) -> None:
    for tries_left in reversed(range(_TRIES)):
        try:
            if not store.append(key, payload) and store.read(key) != payload:
                raise StoreError(f"{store.uri}/{key}: another object has this name")
        except TransientStoreError:
            if not tries_left:
                raise
        else:
            return


class _Output:
    """Rows on their way into objects of one day."""

    def __init__(self, store: LedgerStore, day: str, salt: str, sizes: Sizes) -> None:
        self._store, self._day, self._salt, self._sizes = store, day, salt, sizes
        self._objects: list[StoredObject] = []
        self._group: list[pa.Table] = []
        self._group_rows = self._group_bytes = 0
        self._begin()

    def _begin(self) -> None:
        self._sink = io.BytesIO()
        self._writer: pq.ParquetWriter | None = None
        self._rows = 0
        self._batches: set[str] = set()
        self._times: list[datetime] = []

    def add(self, rows: pa.Table) -> None:
        """Take rows; full row groups, and full objects, are written."""
        start = 0
        while start < len(rows):
            part = rows.slice(start, min(_SLICE_ROWS, self._sizes.group_rows - self._group_rows))
            start += len(part)
            self._group.append(part)
            self._group_rows += len(part)
            self._group_bytes += part.nbytes
            if self._group_rows >= self._sizes.group_rows or self._group_bytes >= self._sizes.group_bytes:
                self._end_group()
                if self._sink.tell() >= self._sizes.object_bytes:
                    self._end_object()

    def close(self) -> tuple[StoredObject, ...]:
        """Write what is left; returns all objects."""
        self._end_group()
        self._end_object()
        return tuple(self._objects)

    def _end_group(self) -> None:
        if not self._group_rows:
            return
        table = pa.concat_tables(self._group)
        self._group, self._group_rows, self._group_bytes = [], 0, 0
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._sink, FILE_SCHEMA, **WRITE_OPTIONS)
        self._writer.write_table(table, row_group_size=len(table))
        self._rows += len(table)
        self._batches.update(pc.unique(table.column("batch_id")).to_pylist())
        bounds = pc.min_max(table.column("recorded_at"))
        self._times += [bounds["min"].as_py(), bounds["max"].as_py()]

    def _end_object(self) -> None:
        if self._writer is None:
            return
        self._writer.close()
        payload = self._sink.getvalue()
        sha256 = bytes_digest(payload)
        key = f"traces/dt={self._day}/{REWRITTEN}{content_digest([self._salt, sha256])[:32]}.parquet"
        _create(self._store, key, payload)
        self._objects.append(
            StoredObject(
                key=key,
                rows=self._rows,
                bytes=len(payload),
                sha256=sha256,
                schema_version=SCHEMA_VERSION,
                batch_ids=tuple(sorted(self._batches)),
                first_recorded_at=min(self._times).isoformat(),
                last_recorded_at=max(self._times).isoformat(),
            )
        )
        self._begin()
