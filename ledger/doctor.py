"""Whether a store keeps the promises that the ledger is built on, found by trying.

Everything happens below one new folder of `probes/`, which is removed at the end.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from core.clock import Clock
from core.errors import StoreError
from core.ports import LedgerStore
from ledger.probes import PROBES

_WRITERS: Final = 8
_WAIT_S: Final = 60
_MOST_SKEW: Final = timedelta(seconds=60)
_RESOLUTION: Final = timedelta(seconds=1)  # S3 tells times in seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One promise.

    Attributes:
        name: what was tried.
        ok: whether the store keeps it; `None` where an earlier failure left nothing to try.
        detail: what was seen, and what it means where it is wrong.
    """

    name: str
    ok: bool | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What was found about a store.

    Attributes:
        uri: the store.
        checks: the promises, in the order they were tried.
    """

    uri: str
    checks: tuple[Check, ...]

    @property
    def is_well(self) -> bool:
        """Whether every promise is kept."""
        return all(check.ok for check in self.checks)


def examine(store: LedgerStore, *, clock: Clock) -> Diagnosis:
    """Try each promise of the `LedgerStore` port, and compare the clocks. Raises for nothing that the store does.

    Args:
        store: the ledger.
        clock: this machine's time, compared with the store's.
    """
    probe = _Probe(store, clock)
    try:
        checks = list(probe.checks())
    finally:
        left = probe.clean()
    clean = f"could not be removed: {', '.join(left)}" if left else "nothing is left behind"
    return Diagnosis(uri=store.uri, checks=(*checks, Check(name="cleaned up", ok=not left, detail=clean)))


class _Probe:
    """One examination of one store."""

    def __init__(self, store: LedgerStore, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._folder = f"{PROBES}{secrets.token_hex(8)}/"
        self._key = f"{self._folder}object"
        self._raced = f"{self._folder}raced"

    def checks(self) -> Iterator[Check]:
        """Try the promises in turn; what cannot be tried any more is said so."""
        tries: tuple[tuple[str, Callable[[], str]], ...] = (
            ("reachable", self._reachable),
            ("writes", self._writes),
            ("read after write", self._reads_back),
            ("list after write", self._lists),
            ("clocks agree", self._clocks),
            ("create only", self._creates_only),
            ("one writer wins", self._one_wins),
            ("deletes", self._deletes),
        )
        reached = True
        for name, check in tries:
            if not reached:
                yield Check(name=name, ok=None, detail="not tried")
                continue
            try:
                yield Check(name=name, ok=True, detail=check())
            except (_Broken, StoreError) as wrong:
                yield Check(name=name, ok=False, detail=str(wrong))
                reached = name not in {"reachable", "writes"}

    def clean(self) -> list[str]:
        """Remove all probes; returns the keys that are left."""
        for key in (self._key, self._raced):
            with suppress(StoreError):
                self._store.delete(key)
        try:
            return [found.key for found in self._store.objects(self._folder)]
        except StoreError:
            return []

    def _reachable(self) -> str:
        return f"{len(self._store.objects('checkpoints/')):,} checkpoints are there"

    def _writes(self) -> str:
        self._before = self._clock.utc_now()
        if not self._store.append(self._key, b"first"):
            raise _Broken("a new name is said to be taken: nothing could ever be written")
        self._after = self._clock.utc_now()
        return "an object was created"

    def _reads_back(self) -> str:
        found = self._store.read(self._key)
        if found != b"first":
            raise _Broken(f"other bytes come back than were written ({len(found)} instead of 5)")
        return "an object is read as it was written"

    def _lists(self) -> str:
        found = [(entry.key, entry.bytes) for entry in self._store.objects(self._folder)]
        if found != [(self._key, len(b"first"))]:
            raise _Broken(f"a new object is listed as {found or 'nothing'}: readers would miss what was committed")
        return "an object is listed at once, with its size"

    def _clocks(self) -> str:
        found = next(iter(self._store.objects(self._key)), None)
        if found is None:
            raise _Broken("not known: the object is not listed, and only a listing tells the store's time")
        early = self._before - _RESOLUTION - found.modified_at
        late = found.modified_at - self._after
        skew = max(early, late, timedelta())
        if skew > _MOST_SKEW:
            side = "behind" if early > late else "ahead"
            raise _Broken(
                f"the store's clock is {skew.total_seconds():,.0f} s {side} of this machine's, of which at most "
                f"{_MOST_SKEW.total_seconds():.0f} s are fine: set this machine's clock; S3 refuses requests at 900 s"
            )
        return f"within {skew.total_seconds() + 1:.0f} s"

    def _creates_only(self) -> str:
        created = self._store.append(self._key, b"second")
        found = self._store.read(self._key)
        if found != b"first":
            raise _Broken(
                "an object was written over: the store does not honour `If-None-Match: *`, so that two writers would "
                "lose each other's rows; use one that does (Amazon S3, MinIO from 2024-11)"
            )
        if created:
            raise _Broken("a name that is taken was said to be free, though the object stayed: a writer could not know")
        return "a name that is taken stays as it is, and the second writer is told"

    def _one_wins(self) -> str:
        together = threading.Barrier(_WRITERS)

        def write(number: int) -> bool:
            together.wait(timeout=_WAIT_S)
            return self._store.append(self._raced, _payload(number))

        with ThreadPoolExecutor(_WRITERS) as pool:
            outcomes = [_outcome(future.result) for future in [pool.submit(write, n) for n in range(_WRITERS)]]
        errors = [outcome for outcome in outcomes if isinstance(outcome, StoreError)]
        winners = [number for number, outcome in enumerate(outcomes) if outcome is True]
        if len(winners) != 1:
            because = f"; one error: {errors[0]}" if errors else ""
            raise _Broken(f"{len(winners)} of {_WRITERS} writers at one name were told that they won, not 1{because}")
        if self._store.read(self._raced) != _payload(winners[0]):
            raise _Broken("of several writers at one name, another's object stayed than of the one that was told so")
        return f"of {_WRITERS} writers at one name one won, and its object stayed"

    def _deletes(self) -> str:
        self._store.delete(self._key)
        self._store.delete(self._key)
        if any(found.key == self._key for found in self._store.objects(self._folder)):
            raise _Broken("an object that was removed is still listed: gc would not end, and forget would not forget")
        with suppress(StoreError):
            self._store.read(self._key)
            raise _Broken("an object that was removed can still be read: forget would not forget")
        return "an object that was removed is gone"


class _Broken(Exception):  # noqa: N818 - a finding
    """A promise that is not kept; the text says what that means."""


def _payload(number: int) -> bytes:
    return b"%02d" % number * 4096


def _outcome(call: Callable[[], bool]) -> bool | StoreError:
    try:
        return call()
    except StoreError as error:
        return error
