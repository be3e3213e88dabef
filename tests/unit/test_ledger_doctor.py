"""The doctor says what a store does wrong, in words, and leaves nothing behind."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from core.clock import SystemClock
from core.errors import StoreError, TransientStoreError
from core.ports import LedgerStore, ObjectInfo
from ledger.doctor import Diagnosis, examine
from ledger.objects import open_store
from tests.memory_ledger import MemoryLedgerStore

CLOCK = SystemClock()


def wrong_in(diagnosis: Diagnosis) -> dict[str, str]:
    """What is not kept, with what the doctor says of it."""
    return {check.name: check.detail for check in diagnosis.checks if check.ok is False}


@pytest.fixture(params=["memory", "local", "s3"])
def good(request: pytest.FixtureRequest, tmp_path: Path) -> LedgerStore:
    """A store that keeps its promises."""
    if request.param == "memory":
        return MemoryLedgerStore()
    if request.param == "local":
        return open_store(str(tmp_path / "ledger"))
    return open_store(f"s3://{request.getfixturevalue('s3_bucket')}/ledger")


def test_a_good_store_is_well(good: LedgerStore) -> None:
    """Every promise is kept, and nothing is left behind."""
    diagnosis = examine(good, clock=CLOCK)
    assert wrong_in(diagnosis) == {}
    assert diagnosis.is_well
    assert len(diagnosis.checks) == 9
    assert list(good.objects()) == []


class Overwriting(MemoryLedgerStore):
    """Ignores the condition, as PyArrow's S3 client and older MinIO servers do."""

    def append(self, key: str, payload: bytes) -> bool:
        """Write over what is there."""
        self.delete(key)
        return super().append(key, payload)


class Lying(MemoryLedgerStore):
    """Says that a taken name was free."""

    def append(self, key: str, payload: bytes) -> bool:
        """Keep the first object, and say yes."""
        super().append(key, payload)
        return True


class Refusing(MemoryLedgerStore):
    """Takes nothing, as where the name were always taken."""

    def append(self, key: str, payload: bytes) -> bool:
        """Say no."""
        del key, payload
        return False


class Lagging(MemoryLedgerStore):
    """Does not list new objects yet."""

    def objects(self, prefix: str = "") -> list[ObjectInfo]:
        """Nothing."""
        del prefix
        return []


class Keeping(MemoryLedgerStore):
    """Has a policy that forbids to delete."""

    def delete(self, key: str) -> None:
        """Refuse."""
        raise StoreError(f"memory: {key}: access denied")


class Pretending(MemoryLedgerStore):
    """Says nothing, and deletes nothing."""

    def delete(self, key: str) -> None:
        """Keep it."""


class Caching(MemoryLedgerStore):
    """A deleted object is listed no more, and can still be read."""

    def __init__(self) -> None:
        super().__init__()
        self.cache: dict[str, bytes] = {}

    def append(self, key: str, payload: bytes) -> bool:
        """Create the object, and remember it."""
        self.cache.setdefault(key, payload)
        return super().append(key, payload)

    def read(self, key: str) -> bytes:
        """Return what is remembered."""
        return self.cache[key]


class Mangling(MemoryLedgerStore):
    """Gives other bytes back."""

    def read(self, key: str) -> bytes:
        """Return the object with something before it."""
        return b"?" + super().read(key)


class Racing(MemoryLedgerStore):
    """Honours the condition only where nobody else is at it: it looks, and then writes."""

    def __init__(self) -> None:
        super().__init__()
        self.together = threading.Barrier(8)

    def append(self, key: str, payload: bytes) -> bool:
        """Look first; all writers of a race look before any writes."""
        if not key.endswith("raced"):
            return super().append(key, payload)
        is_free = not super().objects(key)
        self.together.wait(timeout=30)
        if is_free:
            self.delete(key)
            super().append(key, payload)
        return is_free


class Busy(MemoryLedgerStore):
    """Answers a race with errors."""

    def append(self, key: str, payload: bytes) -> bool:
        """Fail where several write."""
        if key.endswith("raced"):
            raise TransientStoreError("memory: the store answered 503 SlowDown")
        return super().append(key, payload)


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        (Overwriting(), {"create only": "If-None-Match", "one writer wins": "8 of 8 writers"}),
        (Lying(), {"create only": "was said to be free", "one writer wins": "8 of 8 writers"}),
        (Refusing(), {"writes": "nothing could ever be written"}),
        (Lagging(), {"list after write": "readers would miss", "clocks agree": "not listed"}),
        (Keeping(), {"deletes": "access denied", "cleaned up": "could not be removed: probes/"}),
        (Pretending(), {"deletes": "still listed", "cleaned up": "could not be removed: probes/"}),
        (Caching(), {"deletes": "can still be read"}),
        (Mangling(), {"read after write": "other bytes", "create only": "", "one writer wins": ""}),
        (Racing(), {"one writer wins": "8 of 8 writers"}),
        (Busy(), {"one writer wins": "503 SlowDown"}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, MemoryLedgerStore) else "",
)
def test_a_promise_that_is_not_kept_is_named(store: LedgerStore, expected: dict[str, str]) -> None:
    """Each kind of bad store is found out by the checks that it fails, and the text says what it does."""
    wrong = wrong_in(examine(store, clock=CLOCK))
    assert {name for name in wrong if name in expected} == set(expected)
    assert all(text in wrong[name] for name, text in expected.items())


@pytest.mark.parametrize(("skew_s", "side"), [(90, "ahead"), (-90, "behind")])
def test_clocks_that_differ(skew_s: float, side: str) -> None:
    """A store whose clock is a minute and a half off is named with how far, and in which direction."""

    class Skewed(SystemClock):
        def utc_now(self) -> datetime:
            return super().utc_now() + timedelta(seconds=skew_s)

    wrong = wrong_in(examine(MemoryLedgerStore(Skewed()), clock=CLOCK))
    assert list(wrong) == ["clocks agree"]
    assert f"s {side} of this machine's" in wrong["clocks agree"]
    assert wrong_in(examine(MemoryLedgerStore(Skewed()), clock=Skewed())) == {}


def test_a_store_that_is_not_there() -> None:
    """Where nothing answers, the rest is not tried, and nothing raises."""

    class Down(MemoryLedgerStore):
        def objects(self, prefix: str = "") -> list[ObjectInfo]:
            raise StoreError(f"memory: {prefix}: no answer")

    diagnosis = examine(Down(), clock=CLOCK)
    assert not diagnosis.is_well
    assert wrong_in(diagnosis) == {"reachable": "memory: checkpoints/: no answer"}
    assert [check.ok for check in diagnosis.checks] == [False] + [None] * 7 + [True]
