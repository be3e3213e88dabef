"""Whether the ledger is what was written: every object, every manifest, both kinds of chain.

A manifest names the object that it commits by size and SHA-256, and the manifest of its writer before it by SHA-256; a
checkpoint names rewritten objects and the checkpoint before it in the same way. So whoever changes, removes or adds an
object or a manifest later leaves a trace here. What no chain can tell: the newest link of each was removed together
with what it commits.

An error is what must not be; a note is worth knowing: a young orphan (a writer is between object and manifest, or was
killed there), or a trace that stands in two objects (readers see it once, `compact` leaves one of them).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import pyarrow.compute as pc

from core.clock import Clock
from core.digest import bytes_digest
from core.errors import StoreError, TransientStoreError
from core.ports import LedgerStore
from ledger.catalog import Catalog, doubtful_keys, load_catalog
from ledger.checkpoints import forgotten_in, rewritten_in
from ledger.garbage import GRACE
from ledger.manifest import (
    CHECKPOINTS,
    MANIFESTS,
    TRACES,
    Checkpoint,
    Link,
    Manifest,
    StoredObject,
    committed_key,
)
from ledger.probes import PROBES
from ledger.rewrite import DamagedObject, read_object, row_slices
from ledger.schema import SCHEMA_VERSION
from ledger.scrub import SCAN_COLUMNS, to_forget
from ledger.seen import SeenIds

_DAY: Final = r"dt=\d{4}-\d{2}-\d{2}"
_NAMES: Final = re.compile(rf"{TRACES}{_DAY}/[^/]+\.parquet|{MANIFESTS}{_DAY}/[^/]+\.json|{CHECKPOINTS}\d{{8,}}\.json")


class Problem(StrEnum):
    """What is wrong, or worth knowing."""

    MISSING = "missing"
    TAMPERED = "tampered"
    UNEXPECTED = "unexpected"
    CHAIN = "chain"
    FORGOTTEN = "forgotten"
    DOUBLE = "double"
    NEWER = "newer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found.

    Attributes:
        problem: what kind it is.
        key: of the object, manifest or checkpoint that it is about.
        text: what is wrong, and what was expected.
        is_error: whether it must not be; false for a note.
    """

    problem: Problem
    key: str
    text: str
    is_error: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What was looked at, and what was found.

    Attributes:
        objects, rows: live objects that were looked at, and the rows that they have by what was committed.
        manifests, checkpoints, writers: how many links and chains were walked.
        deep: whether the objects were read, or only looked for.
        findings: errors first, each by key.
    """

    objects: int
    rows: int
    manifests: int
    checkpoints: int
    writers: int
    deep: bool
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What must not be."""
        return tuple(found for found in self.findings if found.is_error)

    @property
    def is_clean(self) -> bool:
        """Whether there is no error."""
        return not self.errors


def verify(store: LedgerStore, *, clock: Clock, deep: bool = True, grace: timedelta = GRACE) -> VerifyReport:
    """Look at everything.

    Args:
        store: the ledger.
        clock: tells how old an orphan is.
        deep: read every object and check its digest, its rows and its trace ids; else only that it is there, with its
            size, and that the chains hold.
        grace: an orphan of this age is an error: `gc` should have removed it.

    Raises:
        StoreError: the store cannot be read.
    """
    catalog = load_catalog(store)
    manifests, findings = _read_manifests(store, catalog)
    committed = {key: manifest.object for key, (manifest, _) in manifests.items()} | rewritten_in(catalog)
    live = [committed[key] for key in catalog.live if key in committed]
    findings += _missing(catalog)
    findings += _misplaced(store)
    findings += _orphans(catalog, clock.utc_now() - grace)
    findings += _writer_chains(catalog, manifests)
    count, chain = _checkpoint_chain(store)
    findings += chain
    findings += _objects(store, catalog, live) if deep else _sizes(catalog, live)
    return VerifyReport(
        objects=len(live),
        rows=sum(entry.rows for entry in live),
        manifests=len(manifests),
        checkpoints=count,
        writers=len({manifest.writer for manifest, _ in manifests.values()}),
        deep=deep,
        findings=tuple(sorted(set(findings), key=lambda found: (not found.is_error, found.key, found.text))),
    )


_Manifests = dict[str, tuple[Manifest, Link]]


def _read_manifests(store: LedgerStore, catalog: Catalog) -> tuple[_Manifests, list[Finding]]:
    """The manifests by the key of what they commit."""
    read: _Manifests = {}
    findings = []
    for entry in catalog.manifests:
        try:
            payload = store.read(entry.key)
            manifest = Manifest.decode(payload, name=entry.key)
        except TransientStoreError:
            raise
        except StoreError as error:
            findings.append(Finding(problem=Problem.TAMPERED, key=entry.key, text=str(error)))
            continue
        key = committed_key(entry.key)
        if manifest.object.key != key:
            text = f"it commits {manifest.object.key}, expected {key}"
            findings.append(Finding(problem=Problem.TAMPERED, key=entry.key, text=text))
            continue
        read[key] = (manifest, Link(key=entry.key, sha256=bytes_digest(payload)))
    return read, findings


def _missing(catalog: Catalog) -> Iterator[Finding]:
    for key in catalog.missing:
        yield Finding(problem=Problem.MISSING, key=key, text="it was committed, and is not there")


def _misplaced(store: LedgerStore) -> Iterator[Finding]:
    for entry in store.objects():
        if entry.key.startswith(PROBES):
            text = "a probe of the store: `redo ledger doctor` is at it, or was killed; gc removes it"
            yield Finding(problem=Problem.UNEXPECTED, key=entry.key, text=text, is_error=False)
        elif not _NAMES.fullmatch(entry.key):
            yield Finding(problem=Problem.UNEXPECTED, key=entry.key, text="nothing of a ledger has such a name")


def _orphans(catalog: Catalog, older_than: datetime) -> Iterator[Finding]:
    for entry in catalog.orphans:
        old = entry.modified_at <= older_than
        text = "nobody committed it" if old else "not committed yet: its writer is at it, or was killed; gc removes it"
        yield Finding(problem=Problem.UNEXPECTED, key=entry.key, text=text, is_error=old)


def _writer_chains(catalog: Catalog, manifests: _Manifests) -> Iterator[Finding]:
    heads = {} if catalog.checkpoint is None else catalog.checkpoint.heads
    chains: dict[str, list[tuple[Manifest, Link]]] = defaultdict(list)
    for manifest, link in manifests.values():
        chains[manifest.writer].append((manifest, link))
    for writer, chain in sorted(chains.items()):
        chain.sort(key=lambda item: (item[0].sequence, item[1].key))
        head = heads.get(writer)
        done = next((place for place, (_, link) in enumerate(chain, start=1) if link == head), 0)
        yield from _chain(writer, chain[done:], head)


def _chain(writer: str, chain: Sequence[tuple[Manifest, Link]], head: Link | None) -> Iterator[Finding]:
    """Walk the manifests of one writer, the oldest first; `head` is the last one that was collected."""
    before, sequence = head, None
    for manifest, link in chain:
        if sequence is not None and manifest.sequence == sequence:
            text = f"writer {writer} has two manifests with number {sequence}"
            yield Finding(problem=Problem.CHAIN, key=link.key, text=text)
        elif manifest.previous != before:
            yield _broken(writer, manifest, link, before)
        before, sequence = link, manifest.sequence


def _broken(writer: str, manifest: Manifest, link: Link, before: Link | None) -> Finding:
    named = manifest.previous
    if named is None:
        text = f"it begins a chain of writer {writer} that has {before.key if before else 'nothing'} before it"
        return Finding(problem=Problem.CHAIN, key=link.key, text=text)
    if before is not None and named.key == before.key:
        text = f"it was changed after it was written: {link.key} knows it with another SHA-256"
        return Finding(problem=Problem.TAMPERED, key=named.key, text=text)
    return Finding(
        problem=Problem.MISSING,
        key=named.key,
        text=f"number {manifest.sequence - 1} of writer {writer}: {link.key} names it as the one before it",
    )


def _checkpoint_chain(store: LedgerStore) -> tuple[int, list[Finding]]:
    """Walk the checkpoints that are there; `gc` removes from the oldest on, never between two."""
    findings: list[Finding] = []
    keys = [entry.key for entry in store.objects(CHECKPOINTS) if _NAMES.fullmatch(entry.key)]
    before: Link | None = None
    for place, key in enumerate(keys):
        try:
            payload = store.read(key)
            checkpoint = Checkpoint.decode(payload, name=key)
        except TransientStoreError:
            raise
        except StoreError as error:
            findings.append(Finding(problem=Problem.TAMPERED, key=key, text=str(error)))
            before = None
            continue
        if place and before is not None and checkpoint.previous != before:
            named = checkpoint.previous
            changed = named is not None and named.key == before.key
            text = f"{key} knows it with another SHA-256" if changed else f"{key} names it as the one before it"
            problem = Problem.TAMPERED if changed else Problem.MISSING
            findings.append(Finding(problem=problem, key=named.key if named else key, text=text))
        before = Link(key=key, sha256=bytes_digest(payload))
    return len(keys), findings


def _sizes(catalog: Catalog, live: Sequence[StoredObject]) -> Iterator[Finding]:
    for entry in live:
        size = catalog.sizes[entry.key].bytes
        if size != entry.bytes:
            text = f"{size:,} bytes, expected {entry.bytes:,}"
            yield Finding(problem=Problem.TAMPERED, key=entry.key, text=text)


def _objects(store: LedgerStore, catalog: Catalog, live: Sequence[StoredObject]) -> Iterator[Finding]:
    """Read each object. Only ids of batches that can stand in two objects are kept, 16 bytes each."""
    forgotten, doubtful, seen = forgotten_in(catalog), frozenset(doubtful_keys(catalog)), SeenIds()
    for entry in live:
        try:
            file = read_object(store, entry)
        except DamagedObject as error:
            yield Finding(problem=Problem.TAMPERED, key=entry.key, text=str(error).removeprefix(f"{store.uri}/"))
            continue
        except TransientStoreError:
            raise
        except StoreError as error:
            yield Finding(problem=Problem.MISSING, key=entry.key, text=str(error))
            continue
        if entry.schema_version > SCHEMA_VERSION:
            text = f"schema version {entry.schema_version}: a newer version of REDO wrote it"
            yield Finding(problem=Problem.NEWER, key=entry.key, text=text, is_error=False)
        ids = seen if entry.key in doubtful else SeenIds()
        doubles = remembered = 0
        for table in row_slices(file, columns=["trace_id", *SCAN_COLUMNS]):
            doubles += int((~ids.add(table.column("trace_id").to_pylist())).sum())
            remembered += int(pc.sum(to_forget(table, forgotten)).as_py() or 0) if forgotten else 0
        if doubles:
            text = f"{doubles:,} rows stand in it or in another object too; readers see each once"
            yield Finding(problem=Problem.DOUBLE, key=entry.key, text=text, is_error=False)
        if remembered:
            text = f"{remembered:,} rows of forgotten people have their content: `redo ledger forget` removes it"
            yield Finding(problem=Problem.FORGOTTEN, key=entry.key, text=text)
