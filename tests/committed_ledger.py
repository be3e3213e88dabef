"""Ledgers with committed objects, for the tests of those who read them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date

from core.trace import QueryResult
from ledger.encode import encode_traces, object_key
from ledger.manifest import Checkpoint, Manifest, StoredObject, checkpoint_key, manifest_key
from ledger.objects import open_store
from ledger.schema import SCHEMA_VERSION
from tests.ledger_samples import RECORDED_AT, a_run, trace_ids

DAY = date(2026, 3, 1)
NEXT_DAY = date(2026, 3, 2)


def commit(uri: str, key: str, payload: bytes, *, rows: int = 1, manifested: bool = True) -> str:
    """Write an object and its manifest; returns its key."""
    store = open_store(uri)
    assert store.append(key, payload)
    if manifested:
        assert store.append(manifest_key(key), a_manifest(key, payload, rows=rows).encode())
    return key


def a_manifest(key: str, payload: bytes, *, rows: int) -> Manifest:
    """A manifest as the deliverer writes it."""
    return Manifest(
        writer="0123456789abcdef",
        sequence=1,
        object=stored_object(key, payload, rows=rows),
        spooled=False,
        committed_at="2026-03-01T08:05:01+00:00",
        previous=None,
    )


def stored_object(key: str, payload: bytes, *, rows: int, batches: Sequence[str] = ("batch-1",)) -> StoredObject:
    """What a manifest says of an object."""
    return StoredObject(
        key=key,
        rows=rows,
        bytes=len(payload),
        sha256=hashlib.sha256(payload).hexdigest(),
        schema_version=SCHEMA_VERSION,
        batch_ids=tuple(batches),
        first_recorded_at=RECORDED_AT.isoformat(),
        last_recorded_at=RECORDED_AT.isoformat(),
    )


def write(uri: str, results: list[QueryResult], *, batch_id: str = "batch-1", chunk: int = 0, day: date = DAY) -> str:
    """Write one chunk as the pipeline does; returns its key."""
    run = a_run(batch_id)
    key = object_key(batch_id, chunk, trace_ids(results, run=run), day)
    return commit(uri, key, encode_traces(results, run=run, recorded_at=RECORDED_AT), rows=len(results))


def write_checkpoint(uri: str, number: int, *, objects: Sequence[StoredObject], replaced: Sequence[str]) -> None:
    """Write a checkpoint that puts objects for others."""
    checkpoint = Checkpoint(
        number=number,
        reason="compact",
        written_at="2026-03-03T00:00:00+00:00",
        objects=tuple(objects),
        replaced=frozenset(replaced),
        heads={},
        forgotten={},
        previous=None,
    )
    assert open_store(uri).append(checkpoint_key(number), checkpoint.encode())
