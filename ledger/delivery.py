"""Sending what waits in the spool, so that each trace is in the ledger once, whenever whoever sends it is killed.

For each entry, under the spool's lock: write the object, unless its key is taken; write its manifest, which is the
commit, unless that is taken; note how far the chain is; write the receipt; remove the entry. Every step may be done
again. What a taken key means:

- the same bytes: an earlier attempt got this far, and this one goes on from there;
- the same traces from another attempt, as when a chunk was computed twice: those of the ledger stand. They are
  committed if nobody has done so yet, and ours are set aside;
- anything else: ours is set aside and reported, and the ledger is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Final

import orjson

from core.digest import bytes_digest
from core.errors import ConfigError, StoreError
from core.ports import LedgerStore
from ledger.catalog import object_name
from ledger.described import describe, merged
from ledger.head import Head, HeadFile, Unanswered
from ledger.local import reported, sync, temporary_beside
from ledger.manifest import Link, Manifest, StoredObject, committed_key, manifest_key
from ledger.spool import DamagedEntryError, Entry, Kind, Quarantined, SetAside, Spool, Waiting

_MERGED_ROWS: Final = 500  # as many as the largest chunk has
_LOCK_WAIT_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """An entry that the ledger has acknowledged.

    Attributes:
        ledger, key: where its rows are.
        rows: how many it has.
        created: whether this attempt wrote the object; false where it was there.
    """

    ledger: str
    key: str
    rows: int
    created: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What became of all that waited.

    Attributes:
        delivered: what the ledgers have now.
        set_aside: what went to the quarantine.
        errors: why a ledger did not take what waits for it; one for each ledger that failed.
    """

    delivered: tuple[Delivered, ...]
    set_aside: tuple[Quarantined, ...]
    errors: tuple[str, ...]

    @property
    def rows(self) -> int:
        """How many traces were delivered."""
        return sum(item.rows for item in self.delivered)


@dataclass(frozen=True, slots=True)
class _Sent:
    """How the ledger answered: what is committed there, or why ours cannot be."""

    object: StoredObject
    created: bool = False
    set_aside: SetAside | None = None
    reason: str = ""


class Delivery:
    """Sends entries of a spool.

    Args:
        spool: where they wait.
        store_of: gives the store of a ledger's URI.
        guard: makes the block in which the store is asked; it may raise StoreError, which leaves the entry waiting.
        lock_wait_s: seconds to wait for another sender.
    """

    def __init__(
        self,
        spool: Spool,
        store_of: Callable[[str], LedgerStore],
        *,
        guard: Callable[[], AbstractContextManager[object]] = nullcontext,
        lock_wait_s: float = _LOCK_WAIT_S,
    ) -> None:
        self._spool = spool
        self._store_of = store_of
        self._guard = guard
        self._lock_wait_s = lock_wait_s
        self._heads = HeadFile(spool.folder)

    def writer(self) -> str:
        """The id that the folder has as a writer of manifests. Raises StoreError as the disk does."""
        with self._spool.held(wait_s=self._lock_wait_s):
            return self._heads.load().writer

    def deliver(self, waiting: Waiting) -> Delivered | Quarantined | None:
        """Send one entry; of several with its key the newest, which stands for all.

        Returns:
            What the ledger has now, or why it never will have it; `None` where the entry was gone: somebody else has
            sent it.

        Raises:
            TransientStoreError: a later attempt may succeed. The entry waits.
            StoreError: the ledger did not take it. The entry waits.
        """
        with self._spool.held(wait_s=self._lock_wait_s):
            return self._deliver([item for item in self._spool.waiting() if _key(item) == _key(waiting)])

    def deliver_all(self, *, ledger_id: str | None = None, out_of_time: Callable[[], bool] = lambda: False) -> Round:
        """Send all that waits, oldest first; small entries are merged on the way. Never raises for a ledger that fails.

        A ledger that does not take an entry is left alone for the rest of the round; parts for it are not merged
        either, so that they can be merged with those to come.

        Args:
            ledger_id: send what waits for this ledger only; see `ledger.spool.ledger_id`.
            out_of_time: asked before each entry; what is left then waits for the next round.
        """
        delivered: list[Delivered] = []
        set_aside: list[Quarantined] = []
        errors: dict[str, str] = {}
        try:
            with self._spool.held(wait_s=self._lock_wait_s):
                self._spool.settle()
            while True:
                chosen = [item for item in self._spool.waiting() if ledger_id in {None, item.ledger_id}]
                for same in _by_key(item for item in chosen if item.kind is not Kind.PART):
                    ledger = same[0].ledger_id
                    if out_of_time():
                        return _round(delivered, set_aside, errors)
                    if ledger in errors:
                        continue
                    try:
                        with self._spool.held(wait_s=self._lock_wait_s):
                            outcome = self._deliver(same)
                    except (StoreError, ConfigError) as error:
                        errors[ledger] = str(error)
                        continue
                    if isinstance(outcome, Delivered):
                        delivered.append(outcome)
                    elif outcome is not None:
                        set_aside.append(outcome)
                parts = [item for item in chosen if item.kind is Kind.PART and item.ledger_id not in errors]
                with self._spool.held(wait_s=self._lock_wait_s):
                    if not self._seal_oldest(parts, set_aside):
                        return _round(delivered, set_aside, errors)
        except StoreError as error:  # of the spool's own disk, or another process has the lock all the time
            return _round(delivered, set_aside, {**errors, "": str(error)})

    # --- one entry, under the lock

    def _deliver(self, same: Sequence[Waiting]) -> Delivered | Quarantined | None:
        """Send the last of the entries that have one key, and remove all of them."""
        there = [item for item in same if item.kind is not Kind.PART]
        if not there:
            return None
        newest = there[-1]
        try:
            entry = self._spool.read(newest)
        except DamagedEntryError as error:
            return self._spool.quarantine(newest, SetAside.DAMAGED, str(error), None)
        if entry is None:
            return None
        try:
            with self._guard():
                sent = self._send(entry, newest)
        except StoreError:
            with suppress(StoreError):
                self._note_failure(entry.ledger)
            raise
        if sent.set_aside is SetAside.OTHER_CONTENT:
            return self._spool.quarantine(newest, sent.set_aside, sent.reason, entry)
        done = Delivered(ledger=entry.ledger, key=sent.object.key, rows=sent.object.rows, created=sent.created)
        self._write_receipt(entry, done)
        if sent.set_aside is not None:
            self._spool.quarantine(newest, sent.set_aside, sent.reason, entry)
        self._spool.remove(there)
        return done

    def _send(self, entry: Entry, waiting: Waiting) -> _Sent:
        store, ours = self._store_of(entry.ledger), entry.object
        self._resolve(entry.ledger, store)
        sent, content = _Sent(ours, created=store.append(ours.key, entry.payload)), entry.payload
        if not sent.created:
            content = store.read(ours.key)
            sent = _compared(content, entry)
            if sent.set_aside is SetAside.OTHER_CONTENT:
                return sent
        other = self._commit(entry.ledger, store, sent.object, waiting)
        if other not in {None, sent.object.sha256}:
            reason = f"{entry.ledger}/{manifest_key(ours.key)} names other content than its object has"
            return replace(sent, set_aside=SetAside.OTHER_CONTENT, reason=reason)
        if not sent.created and not _is_there(store, ours.key):
            # Collected since it was read, for its rows stand in another object too. Two are one to whoever reads.
            store.append(ours.key, content)
        return sent

    def _commit(self, ledger: str, store: LedgerStore, stored: StoredObject, waiting: Waiting) -> str | None:
        """Write the manifest of an object; where its key is taken, return the digest that the other one names."""
        head = self._heads.load()
        chain = head.chain(ledger)
        manifest = Manifest(
            writer=head.writer,
            sequence=chain.sequence + 1,
            object=stored,
            spooled=chain.failed_us is not None and waiting.spooled_us <= chain.failed_us,
            committed_at=self._spool.clock.utc_now().isoformat(),
            previous=chain.last,
        )
        unanswered = Unanswered(manifest_key(stored.key), manifest.encode().decode())
        head = head.with_chain(ledger, replace(chain, unanswered=unanswered))
        self._heads.save(head, durably=True)
        return self._answered(ledger, store, head, unanswered)[1]

    def _resolve(self, ledger: str, store: LedgerStore) -> None:
        """Send a manifest whose answer was lost again, before any other: its number is taken until that is known."""
        head = self._heads.load()
        unanswered = head.chain(ledger).unanswered
        if unanswered is None:
            return
        created, _ = self._answered(ledger, store, head, unanswered)
        key = committed_key(unanswered.key)
        if created and not _is_there(store, key) and not self._waits(ledger, key):
            store.delete(unanswered.key)  # it was there before, and was collected together with its object

    def _answered(self, ledger: str, store: LedgerStore, head: Head, unanswered: Unanswered) -> tuple[bool, str | None]:
        """Send a manifest, and note what came of it; where another is there, return the digest that it names."""
        body, other = unanswered.body.encode(), None
        created = store.append(unanswered.key, body)
        chain = replace(head.chain(ledger), unanswered=None)
        found = body if created else store.read(unanswered.key)
        if found == body:
            chain = replace(
                chain, sequence=chain.sequence + 1, last=Link(key=unanswered.key, sha256=bytes_digest(body))
            )
        else:  # whoever was first has committed it; our number is free again, because this key is not
            other = _named(found, unanswered.key)
        self._heads.save(head.with_chain(ledger, chain), durably=False)
        return created, other

    def _waits(self, ledger: str, key: str) -> bool:
        waiting = self._spool.find(ledger=ledger, key=key)
        with suppress(DamagedEntryError):
            return waiting is not None and self._spool.read(waiting) is not None
        return False

    def _note_failure(self, ledger: str) -> None:
        head = self._heads.load()
        now_us = int(self._spool.clock.utc_now().timestamp() * 1e6)
        self._heads.save(head.with_chain(ledger, replace(head.chain(ledger), failed_us=now_us)), durably=False)

    def _write_receipt(self, entry: Entry, done: Delivered) -> None:
        """Say in the place that the entry names that the ledger has it. A run's folder may be gone by now."""
        if entry.receipt is None:
            return
        home = self._spool.folder.parent
        path = (home / entry.receipt).resolve()
        if not path.is_relative_to(home) or not path.parent.is_dir():
            return
        with reported(path), temporary_beside(path) as temporary:
            record = {"key": done.key, "rows": done.rows, "created": done.created}
            temporary.write_bytes(orjson.dumps(record, option=orjson.OPT_INDENT_2))
            sync(temporary)
            temporary.replace(path)

    # --- small entries

    def _seal_oldest(self, parts: Sequence[Waiting], set_aside: list[Quarantined]) -> bool:
        """Make one entry of the oldest parts that belong together; false where there are none."""
        together: list[tuple[Waiting, Entry]] = []
        rows = 0
        for waiting in parts:
            try:
                entry = self._spool.read(waiting)
            except DamagedEntryError as error:
                set_aside.append(self._spool.quarantine(waiting, SetAside.DAMAGED, str(error), None))
                continue
            if entry is None or (together and _batch(entry) != _batch(together[0][1])):
                continue
            if together and rows + entry.object.rows > _MERGED_ROWS:
                break
            together.append((waiting, entry))
            rows += entry.object.rows
        if not together:
            return False
        if len(together) == 1 or not self._merge(together):
            self._spool.seal(together[0][0])
        return True

    def _merge(self, together: Sequence[tuple[Waiting, Entry]]) -> bool:
        """Put one entry for several; false where their contents do not go together."""
        try:
            key, payload = merged([(entry.object.key, entry.payload) for _, entry in together])
            stored = describe(payload, key=key).object
        except StoreError:
            return False
        first = together[0][1]
        names = tuple(waiting.name for waiting, _ in together)
        self._spool.merge(Entry(ledger=first.ledger, object=stored, receipt=None, parts=names, payload=payload))
        return True


def _compared(content: bytes, entry: Entry) -> _Sent:
    """What it means that the ledger has this content at the entry's key."""
    ours = entry.object
    if bytes_digest(content) == ours.sha256:
        return _Sent(ours)
    place = f"{entry.ledger}/{ours.key}"
    try:
        found = describe(content, key=ours.key)
    except StoreError as error:
        return _Sent(ours, set_aside=SetAside.OTHER_CONTENT, reason=f"the ledger has something else: {error}")
    if found.trace_ids != describe(entry.payload, key=ours.key).trace_ids:
        return _Sent(ours, set_aside=SetAside.OTHER_CONTENT, reason=f"{place} has other traces")
    reason = f"{place} has the same traces from another attempt, which stand"
    return _Sent(found.object, set_aside=SetAside.ANOTHER_ATTEMPT, reason=reason)


def _named(manifest: bytes, key: str) -> str:
    """Digest of the object that a manifest names; of nothing where it is no manifest."""
    try:
        return Manifest.decode(manifest, name=key).object.sha256
    except StoreError:
        return ""


def _is_there(store: LedgerStore, key: str) -> bool:
    return any(found.key == key for found in store.objects(key))


def _key(waiting: Waiting) -> tuple[str, str]:
    return waiting.ledger_id, waiting.key_id


def _by_key(entries: Iterable[Waiting]) -> list[list[Waiting]]:
    """Entries of one key together, oldest first; those of the oldest key first."""
    found: dict[tuple[str, str], list[Waiting]] = {}
    for waiting in entries:
        found.setdefault(_key(waiting), []).append(waiting)
    return list(found.values())


def _round(delivered: Iterable[Delivered], set_aside: Iterable[Quarantined], errors: Mapping[str, str]) -> Round:
    return Round(delivered=tuple(delivered), set_aside=tuple(set_aside), errors=tuple(errors.values()))


def _batch(entry: Entry) -> tuple[str, str, str, int]:
    """What parts must have in common to be merged."""
    day, batch_id, _ = object_name(entry.object.key)
    return entry.ledger, day, batch_id, entry.object.schema_version
