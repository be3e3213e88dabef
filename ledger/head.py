"""How far a spool folder's chains of manifests are: who writes them, and which was the last.

A chain is good for nothing where a number in it stands twice. So a manifest is written down here, whole and synced,
before it is sent; whoever comes after a crash, or after an answer that was lost, sends that very one again before any
other. Where the file is lost the folder becomes another writer, with chains that begin at 1.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import orjson

from ledger.local import reported, sync, temporary_beside
from ledger.manifest import Link

_HEAD_VERSION: Final = 1
_WRITER_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A manifest that was sent, or was about to be, and of which nobody knows whether it arrived.

    Attributes:
        key: where it goes.
        body: its bytes, as text.
    """

    key: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The chain in one ledger.

    Attributes:
        sequence: number of the last manifest that the ledger has; 0 where there is none.
        last: that manifest.
        unanswered: the one after it, while it is on its way.
        failed_us: when the ledger last took nothing, in microseconds since 1970.
    """

    sequence: int = 0
    last: Link | None = None
    unanswered: Unanswered | None = None
    failed_us: int | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """What `head.json` holds.

    Attributes:
        writer: the id that this folder has as a writer of manifests.
        chains: its chain in each ledger, by URI.
    """

    writer: str
    chains: Mapping[str, Chain] = field(default_factory=dict)

    def chain(self, ledger: str) -> Chain:
        """The chain in a ledger, which may not have begun."""
        return self.chains.get(ledger, Chain())

    def with_chain(self, ledger: str, chain: Chain) -> Head:
        """The same with one chain changed."""
        return replace(self, chains={**self.chains, ledger: chain})


class HeadFile:
    """`head.json` of a spool folder. Only whoever holds the folder's lock may use it.

    Args:
        folder: the spool's.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "head.json"

    def load(self) -> Head:
        """Read it; a new writer where there is none, or none that can be read: that one is kept beside it.

        Raises:
            StoreError: the disk does not let it be read or written.
        """
        with reported(self._path):
            try:
                return _decoded(self._path.read_bytes())
            except FileNotFoundError:
                pass
            except (ValueError, KeyError, TypeError):
                self._path.replace(self._path.with_suffix(".unreadable"))
        head = Head(secrets.token_hex(_WRITER_BYTES))
        self.save(head, durably=True)
        return head

    def save(self, head: Head, *, durably: bool) -> None:
        """Write it. What is not written durably may be lost with the machine's power, and is found out again then.

        Raises:
            StoreError: the disk does not take it.
        """
        with reported(self._path), temporary_beside(self._path) as temporary:
            temporary.write_bytes(orjson.dumps({"head_version": _HEAD_VERSION, **asdict(head)}))
            if durably:
                sync(temporary)
            temporary.replace(self._path)
            if durably:
                sync(self._path.parent)


def _decoded(content: bytes) -> Head:
    record: dict[str, Any] = orjson.loads(content)
    if record["head_version"] != _HEAD_VERSION or not isinstance(record["writer"], str):
        raise ValueError("another version")
    return Head(record["writer"], {uri: _chain(stored) for uri, stored in record["chains"].items()})


def _chain(stored: Mapping[str, Any]) -> Chain:
    last, unanswered = stored["last"], stored["unanswered"]
    return Chain(
        sequence=int(stored["sequence"]),
        last=None if last is None else Link(**last),
        unanswered=None if unanswered is None else Unanswered(**unanswered),
        failed_us=stored["failed_us"],
    )
