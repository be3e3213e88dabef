"""Traces that wait in a local folder until the ledger has them.

    spool/
        00001764036000000000-1f2e3d4c-0123456789abcdef.entry    one file an entry, named by age, ledger and key
        ....part                                                a small one, to be merged with others before it is sent
        ....merged                                              several parts in one; it names them
        quarantine/....entry, ....entry.json                    what cannot be sent, and why
        head.json                                               how far this folder's chain of manifests is
        .lock                                                   held while one entry is sent

An entry is written whole: beside its place, synced, moved there, and the folder synced. It is never changed, and
is removed when the ledger has acknowledged it. So there is no torn entry and no log of acknowledgements, and any number
of processes may add while one sends. docs/decisions/005 says why it is not one file that grows.

A new entry for the same key of the same ledger stands for the older one: a chunk that was computed again before its
traces were sent. Names tell that much without a file being opened.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import orjson

from core.clock import Clock
from core.digest import bytes_digest, canonical_json, content_digest
from core.errors import StoreError, TransientStoreError
from ledger.described import describe
from ledger.local import reported, sync, temporary_beside
from ledger.manifest import StoredObject

_SPOOL_VERSION: Final = 1
_AGE_DIGITS: Final = 20
_LEDGER_DIGITS: Final = 8
_KEY_DIGITS: Final = 16
_QUARANTINE: Final = "quarantine"
_OLD_TEMPORARY_S: Final = 3_600.0
_LOCK_POLL_S: Final = 0.02


class Kind(StrEnum):
    """What becomes of an entry; the ending of its name."""

    ENTRY = "entry"
    PART = "part"
    MERGED = "merged"


class SetAside(StrEnum):
    """Why an entry lies in quarantine."""

    DAMAGED = "damaged"  # its file is not what was written
    OTHER_CONTENT = "other_content"  # the ledger has something else at its key
    ANOTHER_ATTEMPT = "another_attempt"  # the ledger has the same traces from another attempt: nothing is missing


@dataclass(frozen=True, slots=True)
class Waiting:
    """An entry, as its name tells of it.

    Attributes:
        path: its file.
        kind: what becomes of it.
        spooled_us: when it was written, in microseconds since 1970, by the clock of the writer.
        ledger_id: stands for the ledger that it is for.
        key_id: stands for its key in that ledger.
    """

    path: Path
    kind: Kind
    spooled_us: int
    ledger_id: str
    key_id: str

    @property
    def name(self) -> str:
        """The file's name: a later one is greater."""
        return self.path.name

    @classmethod
    def of(cls, path: Path) -> Waiting | None:
        """Read a name; `None` where it is not that of an entry."""
        stem, _, kind = path.name.partition(".")
        parts = stem.split("-")
        sizes = [len(part) for part in parts]
        if kind not in set(Kind) or sizes != [_AGE_DIGITS, _LEDGER_DIGITS, _KEY_DIGITS] or not parts[0].isdigit():
            return None
        return cls(path, Kind(kind), int(parts[0]), parts[1], parts[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What an entry's file holds.

    Attributes:
        ledger: where it goes.
        object: what it will be there.
        receipt: a file that says that the ledger has it, below the spool's parent folder; `None` where nobody wants it.
        parts: names of the entries that were merged into it.
        payload: the bytes of the Parquet file.
    """

    ledger: str
    object: StoredObject
    receipt: str | None
    parts: tuple[str, ...]
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """An entry that cannot be sent.

    Attributes:
        name: its file's name in the quarantine.
        kind: why, in one word.
        reason: why, in a sentence.
        ledger, key: where it was to go, as far as that is known.
        rows: how many traces it has; 0 where that is not known.
        at: when it was set aside, ISO 8601 in UTC.
    """

    name: str
    kind: SetAside
    reason: str
    ledger: str | None
    key: str | None
    rows: int
    at: str


@dataclass(frozen=True, slots=True)
class Usage:
    """How much waits.

    Attributes:
        entries: files that wait.
        bytes: their sizes, added up.
        oldest_us: when the oldest was written, in microseconds since 1970; `None` where none waits.
    """

    entries: int
    bytes: int
    oldest_us: int | None


class DamagedEntryError(StoreError):
    """An entry's file is not what was written."""


class SpoolFullError(StoreError):
    """There is no room for one more entry: those that wait are kept, the new one is refused."""


class Spool:
    """The folder. Processes and threads may share one; nothing is kept in memory.

    Args:
        folder: where it is; made with the first entry.
        max_bytes: how much may wait. Parts that are being merged count twice for that moment.
        clock: tells when entries are written.
        pause: waits so many seconds between two looks at a lock that is taken.
    """

    def __init__(
        self, folder: Path, *, max_bytes: int, clock: Clock, pause: Callable[[float], object] = time.sleep
    ) -> None:
        self.folder: Final = folder
        self.clock: Final = clock
        self._max_bytes = max_bytes
        self._pause = pause

    # --- adding

    def add(
        self,
        payload: bytes,
        *,
        ledger: str,
        key: str,
        receipt: str | None = None,
        mergeable: bool = False,
        described: StoredObject | None = None,
    ) -> Waiting:
        """Keep traces until the ledger has them; when this returns they survive a crash of the machine.

        Args:
            payload: the bytes of a Parquet file of traces.
            ledger: URI of the ledger that they are for.
            key: where they go in it.
            receipt: a file below the spool's parent folder that is written once the ledger has them.
            mergeable: whether they may be sent together with others of their batch and day, under another key.
            described: what the file holds, where the caller knows it; without it the file is read.

        Raises:
            SpoolFullError: too much waits already.
            StoreError: the disk does not take it, or the payload is no file of traces, or is not what is described.
                Nothing was kept.
        """
        stored = describe(payload, key=key).object if described is None else described
        if (stored.key, stored.bytes) != (key, len(payload)):
            raise StoreError(
                f"{key}: its {len(payload):,} bytes are not the {stored.bytes:,} described of {stored.key}"
            )
        return self._write(
            Entry(ledger=ledger, object=stored, receipt=receipt, parts=(), payload=payload),
            Kind.PART if mergeable else Kind.ENTRY,
            limited=True,
        )

    def merge(self, entry: Entry) -> Waiting:
        """Put an entry for its parts, which it names. Only whoever holds the lock may.

        A crash in between leaves both; `settle` then removes the parts before anything is sent.
        """
        waiting = self._write(entry, Kind.MERGED, limited=False)
        self._remove_parts(entry.parts)
        return waiting

    def seal(self, part: Waiting) -> Waiting:
        """Say that a part is sent as it is, and merged no more. Only whoever holds the lock may."""
        path = part.path.with_suffix(f".{Kind.ENTRY}")
        with reported(path):
            part.path.replace(path)
            sync(self.folder)
        return Waiting(path, Kind.ENTRY, part.spooled_us, part.ledger_id, part.key_id)

    def _write(self, entry: Entry, kind: Kind, *, limited: bool) -> Waiting:
        content = _encoded(entry)
        with reported(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        if limited:
            used = self.usage().bytes
            if used + len(content) > self._max_bytes:
                raise SpoolFullError(
                    f"{self.folder}: {used:,} bytes of traces wait for the ledger, and {len(content):,} more are over "
                    f"LEDGER_SPOOL_MAX_BYTES, {self._max_bytes:,}; `redo ledger drain` sends them"
                )
        age = max(0, int(self.clock.utc_now().timestamp() * 1e6))
        path = self.folder / f"{age:0{_AGE_DIGITS}d}-{ledger_id(entry.ledger)}-{_key_id(entry)}.{kind}"
        with reported(path), temporary_beside(path) as temporary:
            temporary.write_bytes(content)
            sync(temporary)
            temporary.replace(path)
            sync(self.folder)
        found = Waiting.of(path)
        if found is None:
            raise StoreError(f"{path}: no name of an entry")
        return found

    # --- looking

    def waiting(self) -> tuple[Waiting, ...]:
        """The entries, oldest first; none where there is no folder. Raises StoreError where it cannot be read."""
        with reported(self.folder):
            try:
                names = sorted(path.name for path in self.folder.iterdir())
            except FileNotFoundError:
                return ()
        found = (Waiting.of(self.folder / name) for name in names)
        return tuple(entry for entry in found if entry is not None)

    def find(self, *, ledger: str, key: str) -> Waiting | None:
        """The entry that is for this key of this ledger; `None` where none waits. Raises StoreError as `waiting`."""
        ids = ledger_id(ledger), _digest(ledger, key)
        return next((item for item in reversed(self.waiting()) if (item.ledger_id, item.key_id) == ids), None)

    def usage(self) -> Usage:
        """How much waits. Raises StoreError where the folder cannot be read."""
        entries, used, oldest = 0, 0, None
        for waiting in self.waiting():
            with suppress(FileNotFoundError):
                used += waiting.path.stat().st_size
                entries += 1
                oldest = waiting.spooled_us if oldest is None else oldest
        return Usage(entries, used, oldest)

    def read(self, waiting: Waiting) -> Entry | None:
        """What an entry holds; `None` where it is gone.

        Raises:
            DamagedEntryError: its file is not what was written.
            StoreError: it cannot be read.
        """
        with reported(waiting.path):
            try:
                content = waiting.path.read_bytes()
            except FileNotFoundError:
                return None
        return _decoded(content, waiting)

    def quarantined(self) -> tuple[Quarantined, ...]:
        """What lies in quarantine, oldest first."""
        folder = self.folder / _QUARANTINE
        found = []
        for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
            with suppress(OSError, ValueError, KeyError, TypeError):
                record = orjson.loads(path.read_bytes())
                found.append(Quarantined(**record | {"kind": SetAside(record["kind"])}))
        return tuple(found)

    # --- what only the sender does

    @contextmanager
    def held(self, *, wait_s: float) -> Iterator[None]:
        """Keep other senders out of the folder; the system lets go of it when the process ends, however it ends.

        Args:
            wait_s: seconds to wait for another one to finish with its entry.

        Raises:
            TransientStoreError: another one holds it all the time.
            StoreError: the folder cannot be used.
        """
        with reported(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            stream = (self.folder / ".lock").open("w")
        with stream:
            give_up_at = self.clock.now() + wait_s
            while not _locked(stream.fileno()):
                if self.clock.now() >= give_up_at:
                    raise TransientStoreError(f"{self.folder}: another process has been sending traces for {wait_s} s")
                self._pause(_LOCK_POLL_S)
            yield

    def settle(self) -> None:
        """Put in order what a sender that was killed has left. Only whoever holds the lock may.

        Parts that stand in a merged entry too are removed, and temporary files that are an hour old.
        """
        for waiting in self.waiting():
            if waiting.kind is Kind.MERGED:
                with suppress(DamagedEntryError):
                    entry = self.read(waiting)
                    self._remove_parts(() if entry is None else entry.parts)
        now = self.clock.utc_now().timestamp()
        for path in self.folder.glob(".*.redo-tmp"):
            with suppress(OSError):
                if now - path.stat().st_mtime > _OLD_TEMPORARY_S:
                    path.unlink()

    def remove(self, entries: Sequence[Waiting]) -> None:
        """Forget entries that the ledger has acknowledged."""
        for waiting in entries:
            with reported(waiting.path):
                waiting.path.unlink(missing_ok=True)

    def quarantine(self, waiting: Waiting, kind: SetAside, reason: str, entry: Entry | None) -> Quarantined:
        """Take an entry out of the way, with the reason beside it; it is never sent again."""
        folder = self.folder / _QUARANTINE
        noted = Quarantined(
            name=waiting.name,
            kind=kind,
            reason=reason,
            ledger=None if entry is None else entry.ledger,
            key=None if entry is None else entry.object.key,
            rows=0 if entry is None else entry.object.rows,
            at=self.clock.utc_now().isoformat(),
        )
        with reported(waiting.path):
            folder.mkdir(exist_ok=True)
            note = folder / f"{waiting.name}.json"
            with temporary_beside(note) as temporary:
                temporary.write_bytes(orjson.dumps(asdict(noted), option=orjson.OPT_INDENT_2))
                sync(temporary)
                temporary.replace(note)
            waiting.path.replace(folder / waiting.name)
            sync(folder)
            sync(self.folder)
        return noted

    def _remove_parts(self, names: Sequence[str]) -> None:
        with reported(self.folder):
            for name in names:
                (self.folder / Path(name).name).unlink(missing_ok=True)
            if names:
                sync(self.folder)


def ledger_id(uri: str) -> str:
    """What stands for a ledger in the names of entries."""
    return content_digest(uri)[:_LEDGER_DIGITS]


def _key_id(entry: Entry) -> str:
    return _digest(entry.ledger, entry.object.key)


def _digest(ledger: str, key: str) -> str:
    return content_digest([ledger, key])[:_KEY_DIGITS]


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _encoded(entry: Entry) -> bytes:
    """One line about the entry, with its own digest, then the payload."""
    about = {
        "ledger": entry.ledger,
        "object": asdict(entry.object),
        "receipt": entry.receipt,
        "parts": entry.parts,
    }
    head = {"spool_version": _SPOOL_VERSION, "sha256": content_digest(about), "entry": about}
    return canonical_json(head) + b"\n" + entry.payload


def _decoded(content: bytes, waiting: Waiting) -> Entry:
    line, _, payload = content.partition(b"\n")
    try:
        head: dict[str, Any] = orjson.loads(line)
        if head["spool_version"] != _SPOOL_VERSION:
            raise DamagedEntryError(f"{waiting.name}: spool_version {head['spool_version']!r}, not {_SPOOL_VERSION}")
        about = head["entry"]
        intact = content_digest(about) == head["sha256"]
        found = StoredObject(**about["object"] | {"batch_ids": tuple(about["object"]["batch_ids"])})
        entry = Entry(
            ledger=about["ledger"],
            object=found,
            receipt=about["receipt"],
            parts=tuple(about["parts"]),
            payload=payload,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedEntryError(f"{waiting.name}: its first line is not what was written: {error!r}") from None
    if not intact or _key_id(entry) != waiting.key_id:
        raise DamagedEntryError(f"{waiting.name}: its first line is not what was written")
    if bytes_digest(payload) != found.sha256:
        raise DamagedEntryError(f"{waiting.name}: its {len(payload):,} bytes are not the {found.bytes:,} written")
    return entry
