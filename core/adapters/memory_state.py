"""Shared values in the memory of one process: for tests, and for programs that want no file."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson

from core.clock import Clock
from core.digest import canonical_json
from core.errors import StateConflict
from core.state import Change, Versioned, check_name


@dataclass(frozen=True, slots=True)
class _Entry:
    """One version, its value as JSON: what a caller does to a mapping later changes nothing here."""

    version: int
    payload: bytes
    time: datetime
    actor: str
    reason: str

    def value(self) -> dict[str, object]:
        decoded: dict[str, object] = orjson.loads(self.payload)
        return decoded


class MemoryStateStore:
    """The `StateStore` port in memory. Threads may share one.

    Args:
        clock: tells the time of each change.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[str, list[_Entry]] = {}

    def load(self, name: str) -> Versioned | None:
        """See `core.ports.StateStore.load`."""
        entries = self._entries.get(check_name(name))
        return _versioned(entries[-1]) if entries else None

    def swap(
        self, name: str, *, expected_version: int, value: Mapping[str, object], actor: str, reason: str
    ) -> Versioned:
        """See `core.ports.StateStore.swap`."""
        check_name(name)
        payload = canonical_json(dict(value))
        with self._lock:
            entries = self._entries.setdefault(name, [])
            if len(entries) != expected_version:
                raise StateConflict(name, expected_version)
            entry = _Entry(expected_version + 1, payload, self._clock.utc_now(), actor, reason)
            entries.append(entry)
        return _versioned(entry)

    def history(self, name: str, limit: int) -> Sequence[Change]:
        """See `core.ports.StateStore.history`."""
        entries = tuple(self._entries.get(check_name(name), ()))
        changes = [
            Change(
                version=entry.version,
                actor=entry.actor,
                reason=entry.reason,
                before=before.value() if before else None,
                after=entry.value(),
                time=entry.time,
            )
            for before, entry in zip((None, *entries), entries, strict=False)
        ]
        return tuple(reversed(changes))[: max(0, limit)]


def _versioned(entry: _Entry) -> Versioned:
    return Versioned(entry.version, entry.value(), entry.time, entry.actor, entry.reason)
