"""Shared values in one SQLite file: the local default, for all processes of one machine.

The file keeps SQLite's rollback journal, not its write-ahead log: one small file with no companions that a reader must
be able to write, and readers wait only while a writer commits. Every call opens the file anew and closes it, so a store
can be shared by threads and survives a fork, and a process that dies leaves no lock: the operating system lifts it, and
the next one to open the file takes back what was not committed.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

import orjson

from core.clock import Clock
from core.digest import canonical_json
from core.errors import StateConflict, StoreError, TransientStoreError
from core.state import Change, Versioned, check_name

_FORMAT: Final = 1

# The triggers keep the history append-only for everybody who has the file, not only for this module.
_SCHEMA: Final = (
    """CREATE TABLE state (
        name TEXT PRIMARY KEY, version INTEGER NOT NULL, value TEXT NOT NULL, changed_at TEXT NOT NULL,
        actor TEXT NOT NULL, reason TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE history (
        name TEXT NOT NULL, version INTEGER NOT NULL, actor TEXT NOT NULL, reason TEXT NOT NULL,
        before TEXT, after TEXT NOT NULL, time TEXT NOT NULL, PRIMARY KEY (name, version)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TRIGGER history_is_not_changed BEFORE UPDATE ON history
        BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END""",
    """CREATE TRIGGER history_is_not_deleted BEFORE DELETE ON history
        BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END""",
    f"PRAGMA user_version = {_FORMAT}",
)


class SqliteStateStore:
    """The `StateStore` port on a local file. Processes and threads may share one file.

    Nothing is created before the first `swap`, which makes the folder (mode 0700) and the file (mode 0600).

    Args:
        path: the file.
        clock: tells the time of each change.
        busy_timeout_s: how long a call waits for another process before it raises TransientStoreError, in seconds.
            The default leaves the query path well below the 5 s after which a call counts as hung.
    """

    def __init__(self, path: Path, *, clock: Clock, busy_timeout_s: float = 2.0) -> None:
        self._path = path
        self._clock = clock
        self._busy_timeout_s = busy_timeout_s

    def load(self, name: str) -> Versioned | None:
        """See `core.ports.StateStore.load`."""
        check_name(name)
        with self._reading() as connection:
            if connection is None:
                return None
            return _newest(connection, name)

    def swap(
        self, name: str, *, expected_version: int, value: Mapping[str, object], actor: str, reason: str
    ) -> Versioned:
        """See `core.ports.StateStore.swap`."""
        check_name(name)
        payload = canonical_json(dict(value)).decode()
        with self._writing() as connection:
            present = _newest(connection, name)
            if (0 if present is None else present.version) != expected_version:
                raise StateConflict(name, expected_version)
            version = expected_version + 1
            now = self._clock.utc_now()
            connection.execute(
                "INSERT OR REPLACE INTO state (name, version, value, changed_at, actor, reason)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (name, version, payload, now.isoformat(), actor, reason),
            )
            connection.execute(
                "INSERT INTO history (name, version, actor, reason, before, after, time) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    name,
                    version,
                    actor,
                    reason,
                    None if present is None else canonical_json(present.value).decode(),
                    payload,
                    now.isoformat(),
                ),
            )
        return Versioned(version, orjson.loads(payload), now, actor, reason)

    def history(self, name: str, limit: int) -> Sequence[Change]:
        """See `core.ports.StateStore.history`."""
        check_name(name)
        with self._reading() as connection:
            if connection is None:
                return ()
            rows = connection.execute(
                "SELECT version, actor, reason, before, after, time FROM history WHERE name = ?"
                " ORDER BY version DESC LIMIT ?",
                (name, max(0, limit)),
            )
            return tuple(
                Change(
                    version=version,
                    actor=actor,
                    reason=reason,
                    before=None if before is None else orjson.loads(before),
                    after=orjson.loads(after),
                    time=datetime.fromisoformat(time),
                )
                for version, actor, reason, before, after, time in rows
            )

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """Open the file as it is; `None` where nothing has been written yet."""
        with self._opened() as connection:
            yield connection if connection is not None and self._has_tables(connection) else None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Open the file, made if need be, inside the one write transaction; commit if the block ends well."""
        with self._translated():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite alone would follow the umask
        with self._opened() as connection:
            if connection is None:
                raise TransientStoreError(f"state file {self._path}: it vanished while it was being opened")
            connection.execute("BEGIN IMMEDIATE")
            if not self._has_tables(connection):
                for statement in _SCHEMA:
                    connection.execute(statement)
            yield connection
            connection.execute("COMMIT")  # where this is not reached, closing the connection takes everything back

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection | None]:
        with self._translated():
            if not self._path.exists():
                yield None
                return
            # Mode rw, not ro, for readers too: one of them may have to take back what a dead writer left.
            connection = sqlite3.connect(
                f"{self._path.absolute().as_uri()}?mode=rw",
                uri=True,
                timeout=self._busy_timeout_s,
                isolation_level=None,  # no transactions but our own
            )
            try:
                yield connection
            finally:
                connection.close()

    def _has_tables(self, connection: sqlite3.Connection) -> bool:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found not in {0, _FORMAT}:
            raise StoreError(f"state file {self._path}: format {found} is unknown, expected {_FORMAT}")
        return bool(found)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what SQLite and the operating system raise into the errors of the port."""
        try:
            yield
        except (sqlite3.Error, OSError, ValueError) as error:  # ValueError: a value or time that was edited by hand
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code
            kind = TransientStoreError if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} else StoreError
            raise kind(f"state file {self._path}: {error}") from error


def _newest(connection: sqlite3.Connection, name: str) -> Versioned | None:
    row = connection.execute(
        "SELECT version, value, changed_at, actor, reason FROM state WHERE name = ?", (name,)
    ).fetchone()
    if row is None:
        return None
    version, payload, changed_at, actor, reason = row
    return Versioned(version, orjson.loads(payload), datetime.fromisoformat(changed_at), actor, reason)
