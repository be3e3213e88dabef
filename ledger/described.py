"""What a Parquet file of rows says about itself, without anybody having to be asked."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.digest import bytes_digest
from core.errors import StoreError
from ledger.catalog import object_name
from ledger.encode import CHUNK_OPTIONS, RunIdentity, object_key
from ledger.manifest import StoredObject
from ledger.schema import SCHEMA_VERSION

_COLUMNS = ("trace_id", "batch_id", "recorded_at", "schema_version")


@dataclass(frozen=True, slots=True)
class Described:
    """What a file holds.

    Attributes:
        object: as a manifest names it.
        trace_ids: the ids of its rows, in their order.
    """

    object: StoredObject
    trace_ids: tuple[str, ...]


def describe(payload: bytes, *, key: str) -> Described:
    """Read what a manifest says of a file: four small columns of it.

    Args:
        payload: the file's bytes.
        key: where it is, or will be.

    Raises:
        StoreError: these are not the bytes of a file of traces, or it has no row.
    """
    try:
        rows = pq.ParquetFile(io.BytesIO(payload)).read(columns=list(_COLUMNS))
        columns = {name: rows.column(name) for name in _COLUMNS}
    except (pa.ArrowException, KeyError, OSError) as error:
        raise StoreError(f"{key}: no file of traces: {_first_line(error)}") from None
    if not rows.num_rows:
        raise StoreError(f"{key}: a file without rows")
    times = pc.min_max(columns["recorded_at"])
    return Described(
        StoredObject(
            key=key,
            rows=rows.num_rows,
            bytes=len(payload),
            sha256=bytes_digest(payload),
            schema_version=pc.max(columns["schema_version"]).as_py(),
            batch_ids=tuple(sorted(pc.unique(columns["batch_id"]).to_pylist())),
            first_recorded_at=_moment(times["min"].as_py()),
            last_recorded_at=_moment(times["max"].as_py()),
        ),
        tuple(columns["trace_id"].to_pylist()),
    )


def described_chunk(payload: bytes, *, key: str, rows: int, run: RunIdentity, recorded_at: datetime) -> StoredObject:
    """What `describe` says of a chunk's file, by whoever has just encoded it: nothing is read again.

    Args:
        payload: the file's bytes.
        key: where it will be.
        rows: how many traces it has.
        run: what they share.
        recorded_at: when they were recorded.

    Raises:
        StoreError: it has no row.
    """
    if not rows:
        raise StoreError(f"{key}: a file without rows")
    return StoredObject(
        key=key,
        rows=rows,
        bytes=len(payload),
        sha256=bytes_digest(payload),
        schema_version=SCHEMA_VERSION,
        batch_ids=(run.batch_id,),
        first_recorded_at=_moment(recorded_at),
        last_recorded_at=_moment(recorded_at),
    )


def merged(parts: Sequence[tuple[str, bytes]]) -> tuple[str, bytes]:
    """Put small files of one batch and one day into one, their rows in the files' order.

    Args:
        parts: key and bytes of each; at least one.

    Returns:
        The key of the whole, which has the day, the batch and the number of its first part, and its bytes. The same
        parts give the same whole.

    Raises:
        StoreError: a part is no file of traces.
    """
    try:
        tables = [pq.ParquetFile(io.BytesIO(payload)).read() for _, payload in parts]
        whole = pa.concat_tables(tables, promote_options="default")
        ids: list[str] = whole.column("trace_id").to_pylist()
    except (pa.ArrowException, KeyError, OSError) as error:
        raise StoreError(f"{parts[0][0]} and {len(parts) - 1} more: cannot be merged: {_first_line(error)}") from None
    day, batch_id, number = object_name(parts[0][0])
    sink = pa.BufferOutputStream()
    pq.write_table(whole, sink, **CHUNK_OPTIONS)
    return object_key(batch_id, int(number), ids, date.fromisoformat(day)), bytes(sink.getvalue())


def _moment(time: datetime) -> str:
    return time.astimezone(UTC).isoformat()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
