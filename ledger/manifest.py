"""What says that an object of the ledger counts: its manifest, and the checkpoints that put one object for another.

    traces/dt=2026-11-25/<batch>-<chunk>-<digest>.parquet       rows; they count once the manifest is there
    manifests/dt=2026-11-25/<batch>-<chunk>-<digest>.json       the commit of that one object, at the same name
    checkpoints/00000001.json                                   what was rewritten since; the highest number holds

A reader lists manifests and traces, reads the newest checkpoint, and knows what counts: it opens no manifest. All of it
is created once (`If-None-Match: *`), so a name that is taken is an answer: the chunk is committed, or somebody else has
written that checkpoint first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

import orjson

from core.digest import canonical_json
from core.errors import StoreError

MANIFEST_VERSION: Final = 1
CHECKPOINT_VERSION: Final = 1

TRACES: Final = "traces/"
MANIFESTS: Final = "manifests/"
CHECKPOINTS: Final = "checkpoints/"


def manifest_key(object_key: str) -> str:
    """Key of the manifest that commits an object."""
    return MANIFESTS + object_key.removeprefix(TRACES).removesuffix(".parquet") + ".json"


def committed_key(key: str) -> str:
    """Key of the object that a manifest commits; the other way round of `manifest_key`."""
    return TRACES + key.removeprefix(MANIFESTS).removesuffix(".json") + ".parquet"


def checkpoint_key(number: int) -> str:
    """Key of a checkpoint, counted from 1."""
    return f"{CHECKPOINTS}{number:08d}.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One object of rows.

    Attributes:
        key: where it is in the ledger.
        rows: how many rows it has.
        bytes: its size.
        sha256: digest of its bytes, as 64 hexadecimal digits.
        schema_version: version of the schema that it was written with.
        batch_ids: the batches that its rows belong to, sorted.
        first_recorded_at, last_recorded_at: the earliest and latest `recorded_at` of its rows, ISO 8601 in UTC.
    """

    key: str
    rows: int
    bytes: int
    sha256: str
    schema_version: int
    batch_ids: tuple[str, ...]
    first_recorded_at: str
    last_recorded_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A manifest or checkpoint that went before, with the digest of its bytes: what makes a chain of them.

    Attributes:
        key: where it is in the ledger.
        sha256: digest of its bytes, as 64 hexadecimal digits.
    """

    key: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The commit of one object.

    Attributes:
        writer: who wrote it: an id that each spool folder has of its own.
        sequence: place in the writer's chain, from 1.
        object: what is committed.
        spooled: whether the rows waited because the store did not take them at first.
        committed_at: when, by the writer's clock, ISO 8601 in UTC. Clocks go backwards; `sequence` does not.
        previous: the writer's manifest before this one; `None` for its first.
    """

    writer: str
    sequence: int
    object: StoredObject
    spooled: bool
    committed_at: str
    previous: Link | None

    def encode(self) -> bytes:
        """The manifest as canonical JSON."""
        return canonical_json({"manifest_version": MANIFEST_VERSION, **asdict(self)})

    @classmethod
    def decode(cls, payload: bytes, *, name: str) -> Manifest:
        """Read a manifest.

        Args:
            payload: its bytes.
            name: what it is called in errors.

        Raises:
            StoreError: these are not the bytes of a manifest.
        """
        record = _record(payload, name, "manifest_version", MANIFEST_VERSION)
        try:
            return cls(
                writer=record["writer"],
                sequence=record["sequence"],
                object=_object(record["object"]),
                spooled=record["spooled"],
                committed_at=record["committed_at"],
                previous=_link(record["previous"]),
            )
        except (KeyError, TypeError) as error:
            raise StoreError(f"{name}: no manifest: {error!r}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What counts instead of what was written first. The one with the highest number holds, and holds alone.

    Attributes:
        number: counts from 1; the checkpoint before it has the number below.
        reason: what was done: `compact`, `gc` or `forget`.
        written_at: when, ISO 8601 in UTC.
        objects: the objects that count though they have no manifest, by key.
        replaced: keys of committed objects that count no more, and may still be there.
        heads: by writer, the last of its manifests that `gc` has taken away: where its chain begins now.
        forgotten: keyed hashes of sessions and users whose content was removed, each with the time, ISO 8601 in UTC:
            rows recorded before it must not come back with their content.
        previous: the checkpoint before it; `None` for the first.
    """

    number: int
    reason: str
    written_at: str
    objects: tuple[StoredObject, ...]
    replaced: frozenset[str]
    heads: Mapping[str, Link]
    forgotten: Mapping[str, str]
    previous: Link | None

    def encode(self) -> bytes:
        """The checkpoint as canonical JSON."""
        record = asdict(self) | {"replaced": sorted(self.replaced)}
        return canonical_json({"checkpoint_version": CHECKPOINT_VERSION, **record})

    @classmethod
    def decode(cls, payload: bytes, *, name: str) -> Checkpoint:
        """Read a checkpoint; arguments and errors as for `Manifest.decode`."""
        record = _record(payload, name, "checkpoint_version", CHECKPOINT_VERSION)
        try:
            return cls(
                number=record["number"],
                reason=record["reason"],
                written_at=record["written_at"],
                objects=tuple(map(_object, record["objects"])),
                replaced=frozenset(record["replaced"]),
                heads={writer: Link(**link) for writer, link in record["heads"].items()},
                forgotten=dict(record["forgotten"]),
                previous=_link(record["previous"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{name}: no checkpoint: {error!r}") from None


def _record(payload: bytes, name: str, version_field: str, known: int) -> dict[str, Any]:
    try:
        record = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise StoreError(f"{name}: no JSON: {error}") from None
    if not isinstance(record, dict):
        raise StoreError(f"{name}: expected a JSON object")
    version = record.get(version_field)
    if version != known:
        raise StoreError(f"{name}: {version_field} {version!r}, expected {known}: written by another version of REDO")
    return record


_OBJECT_FIELDS: Final = tuple(known.name for known in fields(StoredObject))


def _object(record: Mapping[str, Any]) -> StoredObject:
    values = {name: record[name] for name in _OBJECT_FIELDS}
    return StoredObject(**values | {"batch_ids": tuple(values["batch_ids"])})


def _link(record: Mapping[str, str] | None) -> Link | None:
    return None if record is None else Link(**record)
