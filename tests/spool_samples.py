"""Traces that wait, for the tests of the spool: files of four columns, and stores that fail when they are told to."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq

from core.adapters.manual_clock import ManualClock
from core.errors import TransientStoreError
from core.ports import ObjectInfo
from ledger.encode import object_key
from ledger.head import HeadFile
from ledger.manifest import MANIFESTS, Manifest
from ledger.spool import Spool
from tests.ledger_samples import RECORDED_AT
from tests.memory_ledger import MemoryLedgerStore

DAY = date(2026, 3, 1)
LEDGER = "memory"
PLENTY = 1_000_000_000


def rows(*ids: str, batch_id: str = "batch-1", attempt: int = 1) -> bytes:
    """A file of traces with these ids. Another attempt gives other bytes."""
    columns = {
        "trace_id": pa.array(ids, pa.string()),
        "batch_id": pa.array([batch_id] * len(ids), pa.string()),
        "recorded_at": pa.array([RECORDED_AT] * len(ids), pa.timestamp("us", tz="UTC")),
        "schema_version": pa.array([1] * len(ids), pa.int32()),
        "attempt": pa.array([attempt] * len(ids), pa.int32()),
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue())


def key_of(*ids: str, batch_id: str = "batch-1", number: int = 0) -> str:
    """The key that these traces get."""
    return object_key(batch_id, number, ids, DAY)


def ids_in(payload: bytes) -> list[str]:
    """The ids of the traces in a file."""
    found: list[str] = pq.ParquetFile(io.BytesIO(payload)).read(columns=["trace_id"]).column(0).to_pylist()
    return found


def committed_ids(store: MemoryLedgerStore) -> list[str]:
    """The ids of all traces that count, sorted; one that counts twice is there twice."""
    committed = [
        Manifest.decode(store.read(entry.key), name=entry.key).object.key for entry in store.objects(MANIFESTS)
    ]
    return sorted(trace_id for key in committed for trace_id in ids_in(store.read(key)))


def chain_of(store: MemoryLedgerStore, writer: str) -> list[Manifest]:
    """A writer's manifests by their number."""
    found = (Manifest.decode(store.read(entry.key), name=entry.key) for entry in store.objects(MANIFESTS))
    return sorted((item for item in found if item.writer == writer), key=lambda item: item.sequence)


def writer_of(spool: Spool) -> str:
    """The id of the spool's folder."""
    return HeadFile(spool.folder).load().writer


class KilledError(BaseException):
    """What ends a process in these tests: no `except Exception` sees it."""


class TroubledLedger(MemoryLedgerStore):
    """A store that lets something happen at a call, before it is done or after.

    Attributes:
        before, after: called with the verb and the key, before and after the call has its effect.
        calls: what was asked: verb and key.
    """

    def __init__(self, clock: ManualClock | None = None) -> None:
        super().__init__(clock)
        self.before: Callable[[str, str], object] = lambda _verb, _key: None
        self.after: Callable[[str, str], object] = lambda _verb, _key: None
        self.calls: list[tuple[str, str]] = []

    def append(self, key: str, payload: bytes) -> bool:
        """Create the object once."""
        self._begin("append", key)
        created = super().append(key, payload)
        self.after("append", key)
        return created

    def read(self, key: str) -> bytes:
        """Return the object."""
        self._begin("read", key)
        return super().read(key)

    def objects(self, prefix: str = "") -> list[ObjectInfo]:
        """The objects whose keys have the prefix, sorted."""
        self._begin("objects", prefix)
        return super().objects(prefix)

    def delete(self, key: str) -> None:
        """Remove the object."""
        self._begin("delete", key)
        super().delete(key)
        self.after("delete", key)

    def _begin(self, verb: str, key: str) -> None:
        self.calls.append((verb, key))
        self.before(verb, key)

    def fail(self, *verbs: str) -> None:
        """From now on these verbs fail, before anything is done; none of them where none is named."""

        def refuse(verb: str, _key: str) -> None:
            if verb in verbs:
                raise TransientStoreError("memory: 503 SlowDown")

        self.before = refuse


def raising(error: BaseException, *, at: Sequence[str], where: str = "") -> Callable[[str, str], None]:
    """What raises at these verbs, where the key begins so."""

    def raise_it(verb: str, key: str) -> None:
        if verb in at and key.startswith(where):
            raise error

    return raise_it
