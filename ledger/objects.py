"""Object stores by URI: the ledger's, and single objects that a run reads or writes.

`s3://bucket/prefix` and local paths (or `file:///path`) work everywhere; anything else is a ConfigError.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from core.errors import ConfigError
from ledger.local import LocalLedgerStore, reported, sync, temporary_beside
from ledger.location import S3Location, parse_location
from ledger.s3 import S3LedgerStore, open_bucket, store_error

_PART_BYTES = 8 * 1024 * 1024
_PARTS_AT_ONCE = 4
_MOST_PARTS = 10_000  # what S3 allows in one upload


def open_store(uri: str, *, timeout_s: float = 5.0, retries: int = 2) -> S3LedgerStore | LocalLedgerStore:
    """Return the `LedgerStore` at a URI. Nothing is read or written yet.

    Args:
        uri: `s3://bucket/prefix`, a local path, or `file:///path`.
        timeout_s: seconds that one request to S3 may take.
        retries: how often a request to S3 is sent again after a server error or a lost connection.

    Raises:
        ConfigError: the scheme is unknown, or the AWS_* variables make no sense.
    """
    location = parse_location(uri)
    if isinstance(location, S3Location):
        return S3LedgerStore(location, timeout_s=timeout_s, retries=retries)
    return LocalLedgerStore(location)


def download(uri: str, to: Path, *, timeout_s: float = 30.0, retries: int = 3) -> None:
    """Copy the object at `uri` to a local file, piece by piece. The file appears whole or not at all.

    Args:
        uri: `s3://bucket/key`, a local path, or `file:///path`.
        to: the local file; one that exists is replaced.
        timeout_s: the longest silence of the store in seconds.
        retries: how often a request is sent again.

    Raises:
        TransientStoreError: a later attempt may succeed.
        StoreError: it will not, as when there is no such object.
    """
    location = parse_location(uri)
    with reported(to):
        to.parent.mkdir(parents=True, exist_ok=True)
    with temporary_beside(to) as temporary:
        if isinstance(location, S3Location):
            _fetch(location, temporary, timeout_s=timeout_s, retries=retries)
        else:
            _copy(location, temporary)
        with reported(to):
            temporary.replace(to)


def upload(path: Path, uri: str, *, timeout_s: float = 30.0, retries: int = 3) -> None:
    """Copy a local file to `uri`, piece by piece. What stands there is replaced at once when all of it has arrived.

    Args:
        path: the local file.
        uri: `s3://bucket/key`, a local path, or `file:///path`.
        timeout_s: the longest silence of the store in seconds.
        retries: how often a request is sent again.

    Raises:
        TransientStoreError: a later attempt may succeed.
        StoreError: it will not, as when there is no such bucket.
    """
    location = parse_location(uri)
    if isinstance(location, S3Location):
        _send(path, location, timeout_s=timeout_s, retries=retries)
        return
    with reported(location):
        location.parent.mkdir(parents=True, exist_ok=True)
    with temporary_beside(location) as temporary:
        _copy(path, temporary)
        with reported(location):
            sync(temporary)
            temporary.replace(location)
            sync(location.parent)


def _copy(source: Path, target: Path) -> None:
    with reported(source):
        shutil.copyfile(source, target)


def _fetch(location: S3Location, target: Path, *, timeout_s: float, retries: int) -> None:
    bucket = open_bucket(_bucket_of(location), timeout_s=timeout_s, retries=retries, transfer=True)
    with reported(target), target.open("wb") as file:
        for piece in _pieces(bucket, location):
            file.write(piece)


def _pieces(bucket: S3Store, location: S3Location) -> Iterator[bytes]:
    """The object's bytes as they come, with the store's errors turned into ours."""
    try:
        yield from obstore.get(bucket, location.path).stream(min_chunk_size=_PART_BYTES)
    except (BaseError, OSError) as error:
        raise store_error(error, str(location)) from None


def _send(path: Path, location: S3Location, *, timeout_s: float, retries: int) -> None:
    bucket = open_bucket(_bucket_of(location), timeout_s=timeout_s, retries=retries, transfer=True)
    with reported(path):
        size = path.stat().st_size
    part = max(_PART_BYTES, size // _MOST_PARTS + 1)
    try:
        obstore.put(bucket, location.path, path, chunk_size=part, max_concurrency=_PARTS_AT_ONCE)
    except (BaseError, OSError) as error:
        raise store_error(error, str(location)) from None


def _bucket_of(location: S3Location) -> S3Location:
    if not location.path:
        raise ConfigError(f"{location}: expected the key of an object behind the bucket")
    return S3Location(location.bucket, "")
