"""A `LedgerStore` in memory, for tests that need none that outlives them."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

from core.clock import Clock, SystemClock
from core.errors import StoreError
from core.ports import ObjectInfo


class MemoryLedgerStore:
    """A `LedgerStore` in a dict.

    Args:
        clock: tells when objects are written.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._objects: dict[str, tuple[bytes, datetime]] = {}
        self._lock = threading.Lock()

    @property
    def uri(self) -> str:
        """Where it is."""
        return "memory"

    def append(self, key: str, payload: bytes) -> bool:
        """Create the object once."""
        entry = (payload, self._clock.utc_now().astimezone(UTC))
        with self._lock:
            return self._objects.setdefault(key, entry) is entry

    def read(self, key: str) -> bytes:
        """Return the object."""
        if key not in self._objects:
            raise StoreError(f"memory: {key}: there is no such object")
        return self._objects[key][0]

    def objects(self, prefix: str = "") -> list[ObjectInfo]:
        """The objects whose keys have the prefix, sorted."""
        found = sorted(self._objects.items())
        return [ObjectInfo(key, len(body), at) for key, (body, at) in found if key.startswith(prefix)]

    def delete(self, key: str) -> None:
        """Remove the object."""
        self._objects.pop(key, None)
