"""What REDO asks of the parts that can be replaced. Each port has one conformance suite in tests/contracts/.

Retrieval and detection get all queries of a chunk in one call, so that an implementation can work in big batches. Each
query brings its own `Deadline`: an implementation counts its work on a query inside `deadline.running()`, or charges it
the query's share, and stops with what it has when the time is up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from core.clock import Deadline
from core.model import Detection, Evidence, Query, Ranking
from core.state import Change, Versioned


class Retriever(Protocol):
    """Finds passages for queries."""

    @property
    def version(self) -> str:
        """Name and version, for the trace. The same version gives the same rankings."""
        ...

    def retrieve(self, queries: Sequence[Query], k: int, deadlines: Sequence[Deadline]) -> Sequence[Ranking]:
        """Return one ranking a query, in the order of the queries, each of at most `k` passages, best first.

        Equal scores stand in the order of the corpus. A query that matches nothing gets an empty ranking.

        Raises:
            RetrieverError: the index cannot be used.
        """
        ...


class ContradictionDetector(Protocol):
    """Finds passages that contradict each other."""

    @property
    def version(self) -> str:
        """Name and version, for the trace. The same version gives the same findings."""
        ...

    def detect(
        self, queries: Sequence[Query], rankings: Sequence[Ranking], deadlines: Sequence[Deadline]
    ) -> Sequence[Detection]:
        """Return one detection a query, in the order of the queries. Findings name passages of that ranking only."""
        ...


class EvidenceOrderer(Protocol):
    """Puts the passages of a ranking in order."""

    @property
    def version(self) -> str:
        """Name and version, for the trace."""
        ...

    def order(self, query: Query, ranking: Ranking, detection: Detection) -> tuple[Evidence, ...]:
        """Return every passage of the ranking once, best first."""
        ...


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object of a store, as a listing tells of it.

    Attributes:
        key: where it is.
        bytes: its size.
        modified_at: when it was written, by the store's clock, in UTC.
    """

    key: str
    bytes: int
    modified_at: datetime


class LedgerStore(Protocol):
    """Keeps objects that are written once and never changed; only upkeep removes any."""

    @property
    def uri(self) -> str:
        """Where it is: `s3://bucket/prefix`, or an absolute path."""
        ...

    def append(self, key: str, payload: bytes) -> bool:
        """Create the object; false where the key exists already, whose object is then left as it is.

        Raises:
            TransientStoreError: a later attempt may succeed; nothing visible was written.
            StoreError: it will not.
        """
        ...

    def read(self, key: str) -> bytes:
        """Return the object's bytes. Raises StoreError where there is none."""
        ...

    def objects(self, prefix: str = "") -> Sequence[ObjectInfo]:
        """All objects whose keys begin with `prefix`, sorted by key. Raises StoreError where the store is none."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object; one that is not there is no error. Raises StoreError where it cannot be removed."""
        ...


class StateStore(Protocol):
    """Keeps small versioned values that several processes share. A value is a mapping that JSON can hold.

    A name is lower-case letters, digits and single hyphens (`core.state.check_name`), so that every store can use it.
    """

    def load(self, name: str) -> Versioned | None:
        """Return the newest version, `None` where there is none. The caller owns the value.

        Raises:
            TransientStoreError: a later attempt may succeed.
            StoreError: it will not.
        """
        ...

    def swap(
        self, name: str, *, expected_version: int, value: Mapping[str, object], actor: str, reason: str
    ) -> Versioned:
        """Write the next version if `expected_version` is still the newest (0: there is none), and record the change.

        The value and its history entry are written together or not at all.

        Raises:
            StateConflict: another version is the newest; nothing was written.
            TransientStoreError, StoreError: as for `load`; nothing visible was written, as far as the store can tell.
            TypeError: JSON cannot hold the value.
        """
        ...

    def history(self, name: str, limit: int) -> Sequence[Change]:
        """Return the newest `limit` changes, newest first. Raises as `load` does."""
        ...
