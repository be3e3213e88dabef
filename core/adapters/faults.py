"""A detector that fails on purpose, for drills: what the guard does about a fault is best seen before there is one."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Literal

from core.clock import Deadline
from core.model import Detection, Query, Ranking
from core.ports import ContradictionDetector

Fault = Literal["raise", "hang", "garbage", "slow"]
"""The ways to fail: raise an error, never answer, answer nonsense, answer rightly but too late."""


class DrillError(Exception):
    """Raised by the fault `raise`. It is nothing that REDO knows, as the errors of a real fault are not."""


class FaultyDetector:
    """Fails on every query, and names its fault in its version, so that nobody takes a drill for an outage.

    Args:
        inner: the detector that it stands in for.
        fault: how it fails. `hang` waits in the calling thread until `release` is called or the process ends; a thread
            that is no daemon keeps the process alive. `slow` waits for nothing: it charges each query's deadline.
    """

    def __init__(self, inner: ContradictionDetector, fault: Fault) -> None:
        self._inner = inner
        self._fault = fault
        self._released = threading.Event()

    @property
    def version(self) -> str:
        """Name and version of the inner detector, and the fault."""
        return f"{self._inner.version} with fault {self._fault}"

    def release(self) -> None:
        """Let the calls that hang go on, to what the inner detector says. From now on none hangs."""
        self._released.set()

    def detect(
        self, queries: Sequence[Query], rankings: Sequence[Ranking], deadlines: Sequence[Deadline]
    ) -> Sequence[Detection]:
        """Fail; see `ContradictionDetector` for what it should have done.

        Raises:
            DrillError: that is its fault.
        """
        if self._fault == "raise":
            raise DrillError("a drill: REDO_FAULT says that the detector raises")
        if self._fault == "garbage":
            return ["a drill: no detection"] * len(queries)  # type: ignore[list-item]  # that is the fault
        if self._fault == "hang":
            for deadline in deadlines[:1]:  # on the first query: the rest of the chunk is then tried without it
                with deadline.running():
                    self._released.wait()
        found = self._inner.detect(queries, rankings, deadlines)
        if self._fault == "slow":
            for deadline in deadlines:  # afterwards: the answer is complete, and late
                deadline.charge(2 * deadline.budget_s)
        return found
