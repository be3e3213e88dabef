"""A `LedgerStore` in a local folder: a file is complete and on the disk before its name appears."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from core.errors import StoreError, TransientStoreError
from core.ports import ObjectInfo
from ledger.location import is_inside

_TEMPORARY = ".redo-tmp"
_MAY_PASS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ESTALE, errno.ETIMEDOUT}
)


class LocalLedgerStore:
    """A `LedgerStore` below a folder, which is made when the first object is.

    `append` writes a temporary file, syncs it, and links it to its name: the link fails where the name is taken, and
    there is never half a file. Needs a file system with hard links.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def uri(self) -> str:
        """The folder's absolute path."""
        return str(self._folder)

    def append(self, key: str, payload: bytes) -> bool:
        """Create the object; false where the key exists already, whose object is then left as it is.

        Raises:
            TransientStoreError: a later attempt may succeed, as when the disk is full; nothing visible was written.
            StoreError: it will not.
        """
        target = self._path(key)
        with reported(target):
            if target.exists():
                return False
            target.parent.mkdir(parents=True, exist_ok=True)
            with temporary_beside(target) as temporary:
                temporary.write_bytes(payload)
                sync(temporary)
                try:
                    target.hardlink_to(temporary)
                except FileExistsError:
                    return False
            sync(target.parent)
        return True

    def read(self, key: str) -> bytes:
        """Return the object's bytes. Raises StoreError where there is none."""
        path = self._path(key)
        with reported(path):
            return path.read_bytes()

    def objects(self, prefix: str = "") -> Sequence[ObjectInfo]:
        """All objects whose keys begin with `prefix`, sorted; none where the folder does not exist yet."""
        top = self._folder / prefix.rpartition("/")[0]
        with reported(top):
            return sorted(
                (found for path in top.rglob("*") if (found := self._object(path, prefix)) is not None),
                key=lambda found: found.key,
            )

    def _object(self, path: Path, prefix: str) -> ObjectInfo | None:
        key = path.relative_to(self._folder).as_posix()
        if not key.startswith(prefix) or path.name.endswith(_TEMPORARY) or not path.is_file():
            return None
        try:
            found = path.stat()
        except FileNotFoundError:  # deleted since it was listed
            return None
        return ObjectInfo(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    def delete(self, key: str) -> None:
        """Remove the object; one that is not there is no error. Raises StoreError where it cannot be removed."""
        path = self._path(key)
        with reported(path):
            path.unlink(missing_ok=True)

    def ping(self) -> None:
        """Raise StoreError where the folder is none; one that does not exist yet is an empty store."""
        if self._folder.exists() and not self._folder.is_dir():
            raise StoreError(f"{self.uri}: expected a folder")

    def _path(self, key: str) -> Path:
        if not is_inside(key):
            raise StoreError(f"{self.uri}: {key!r} is no key: expected parts between single slashes, without '..'")
        return self._folder / key


@contextmanager
def temporary_beside(target: Path) -> Iterator[Path]:
    """A new name in the target's folder, for a file that is linked or moved to the target; removed at the end."""
    temporary = target.with_name(f".{secrets.token_hex(8)}{_TEMPORARY}")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Make the kernel write a file, or the names of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """Turn what the file system raises inside the block into a StoreError that names the path."""
    try:
        yield
    except FileNotFoundError:
        raise StoreError(f"{path}: there is no such object") from None
    except OSError as error:
        kind = TransientStoreError if error.errno in _MAY_PASS else StoreError
        raise kind(f"{path}: {error.strerror or error}") from error
