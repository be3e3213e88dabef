"""A ledger as writers leave it, for the tests of its upkeep: objects, manifests, and the chains of their writers."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.ports import LedgerStore
from core.trace import QueryResult
from ledger.catalog import load_catalog
from ledger.described import describe
from ledger.encode import encode_traces, object_key
from ledger.manifest import Link, Manifest, manifest_key
from tests.ledger_samples import RECORDED_AT, a_result, a_run, trace_ids

DAY = date(2026, 3, 1)


@dataclass
class Writer:
    """Commits chunks as a spool's delivery does."""

    store: LedgerStore
    name: str = "writer-1"
    sequence: int = 0
    last: Link | None = None
    keys: list[str] = field(default_factory=list)

    def write(
        self,
        results: Sequence[QueryResult],
        *,
        batch_id: str = "batch-1",
        chunk: int = 0,
        dt: date = DAY,
        recorded_at: datetime = RECORDED_AT,
        attempt: int = 1,
    ) -> str:
        """Commit a chunk; returns the key of its object."""
        run = a_run(batch_id, attempt=attempt)
        key = object_key(batch_id, chunk, trace_ids(results, run=run), dt)
        self.put(key, encode_traces(results, run=run, recorded_at=recorded_at))
        return key

    def put(self, key: str, payload: bytes) -> None:
        """Commit these bytes at that key."""
        assert self.store.append(key, payload)
        self.commit(key, payload)

    def commit(self, key: str, payload: bytes) -> None:
        """Write the manifest of an object."""
        self.sequence += 1
        manifest = Manifest(
            writer=self.name,
            sequence=self.sequence,
            object=describe(payload, key=key).object,
            spooled=False,
            committed_at=RECORDED_AT.isoformat(),
            previous=self.last,
        )
        body = manifest.encode()
        assert self.store.append(manifest_key(key), body)
        self.last = Link(key=manifest_key(key), sha256=hashlib.sha256(body).hexdigest())
        self.keys.append(key)


def results(
    first: int, count: int, *, user: str | None = "user-9", session: str | None = "session-7"
) -> list[QueryResult]:
    """As many results as asked for, from number `first` on, of one person."""
    made = []
    for number in range(first, first + count):
        result = a_result(number)
        query = replace(result.query, user_id=user, session_id=session)
        made.append(replace(result, query=query, trace=replace(result.trace, query=query)))
    return made


def live_rows(store: LedgerStore) -> list[dict[str, Any]]:
    """All rows that count, by object and place, maps as dicts."""
    tables = [pq.read_table(io.BytesIO(store.read(key))) for key in load_catalog(store).live]
    return [row for table in tables for row in table.to_pylist(maps_as_pydicts="strict")]


def live_ids(store: LedgerStore) -> list[str]:
    """The query ids of all rows that count, sorted."""
    return sorted(row["query_id"] for row in live_rows(store))


def as_version_1(payload: bytes) -> bytes:
    """The file as REDO 0.1 with version 1 of the schema wrote it: without what was added since."""
    table = pq.read_table(io.BytesIO(payload))
    newer = {"level", "phase_attempt", "forgotten_at"}
    table = table.select([name for name in table.column_names if name not in newer])
    place = table.column_names.index("schema_version")
    old = pa.array([1] * len(table), type=pa.int32())
    table = table.set_column(place, table.schema.field(place), old)
    sink = io.BytesIO()
    pq.write_table(table, sink, store_schema=False)
    return sink.getvalue()
