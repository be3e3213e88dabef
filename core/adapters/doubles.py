"""The official test doubles of the pipeline's ports: small, ordinary classes, shipped so that users can test with them.

`Fixed...` answers what it was told, `Failing...` raises for the queries that it was told, `Slow...` lets time pass on a
`ManualClock`. They pass the same conformance suites as the real implementations, in tests/contracts/. The double of
`Clock` that stands still is `core.adapters.manual_clock.ManualClock`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from core.adapters.manual_clock import ManualClock
from core.clock import Deadline
from core.model import Detection, Evidence, Query, Ranking, ScoreParts
from core.ports import ContradictionDetector, EvidenceOrderer, Retriever
from core.text import count_tokens


class TickingClock:
    """A clock that moves on by the same step whenever somebody asks for the time.

    It makes work cost time: a stage that asks its deadline between its steps runs out of it after a known number of
    them, without anybody waiting.

    Args:
        step_s: seconds from one look at the clock to the next.
        utc: the date and time to begin at, with a time zone.

    >>> clock = TickingClock(0.5)
    >>> clock.now(), clock.now()
    (0.0, 0.5)
    """

    def __init__(self, step_s: float, *, utc: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        self.step_s = step_s
        self.looks = 0
        self._utc = utc

    def now(self) -> float:
        """Seconds on the clock that never goes back."""
        self.looks += 1
        return (self.looks - 1) * self.step_s

    def utc_now(self) -> datetime:
        """The date and time in UTC; asking costs nothing."""
        return self._utc + timedelta(seconds=self.looks * self.step_s)


class FixedRetriever:
    """Returns the rankings that it was given, cut to `k`; a query that it does not know matches nothing.

    Args:
        rankings: the ranking of each query, by its id.
        version: what it says that it is.
    """

    def __init__(self, rankings: Mapping[str, Ranking], *, version: str = "fixed-1") -> None:
        self._rankings = dict(rankings)
        self._version = version

    @property
    def version(self) -> str:
        """Name and version."""
        return self._version

    def retrieve(self, queries: Sequence[Query], k: int, deadlines: Sequence[Deadline]) -> Sequence[Ranking]:
        """Return one ranking a query; see `Retriever`."""
        known = [self._rankings.get(query.query_id, Ranking(())) for query, _ in zip(queries, deadlines, strict=True)]
        return [Ranking(ranking.items[:k], ranking.complete) for ranking in known]


class FixedDetector:
    """Returns the detections that it was given; for a query that it does not know it finds nothing.

    Args:
        detections: the detection of each query, by its id.
        version: what it says that it is.
    """

    def __init__(self, detections: Mapping[str, Detection] | None = None, *, version: str = "fixed-1") -> None:
        self._detections = dict(detections or {})
        self._version = version

    @property
    def version(self) -> str:
        """Name and version."""
        return self._version

    def detect(
        self, queries: Sequence[Query], rankings: Sequence[Ranking], deadlines: Sequence[Deadline]
    ) -> Sequence[Detection]:
        """Return one detection a query; see `ContradictionDetector`."""
        given = zip(queries, rankings, deadlines, strict=True)
        return [self._detections.get(query.query_id, Detection()) for query, _, _ in given]


class RankOrderer:
    """Keeps the retriever's order and scores; disputes are marked by nothing."""

    @property
    def version(self) -> str:
        """Name and version."""
        return "rank-1"

    def order(self, query: Query, ranking: Ranking, detection: Detection) -> tuple[Evidence, ...]:
        """Return every passage of the ranking once; see `EvidenceOrderer`."""
        del query, detection
        return tuple(
            Evidence(item.passage, item.score, ScoreParts(item.score), place, count_tokens(item.passage.text))
            for place, item in enumerate(ranking.items, start=1)
        )


class _Poison:
    """Which queries raise what."""

    def __init__(self, error: BaseException, poison: Collection[str] | None) -> None:
        self._error = error
        self._poison = None if poison is None else frozenset(poison)

    def check(self, queries: Sequence[Query]) -> None:
        if self._poison is None or any(query.query_id in self._poison for query in queries):
            raise self._error


class FailingRetriever:
    """Raises where a call holds a query that it was told to fail on, and asks another retriever otherwise.

    Args:
        error: what it raises.
        poison: ids of the queries that break a call; `None` fails every call.
        otherwise: answers the calls without such a query.
    """

    def __init__(self, error: BaseException, *, poison: Collection[str] | None, otherwise: Retriever) -> None:
        self._poison = _Poison(error, poison)
        self._otherwise = otherwise

    @property
    def version(self) -> str:
        """Name and version."""
        return f"failing-1+{self._otherwise.version}"

    def retrieve(self, queries: Sequence[Query], k: int, deadlines: Sequence[Deadline]) -> Sequence[Ranking]:
        """Return one ranking a query, or raise; see `Retriever`."""
        self._poison.check(queries)
        return self._otherwise.retrieve(queries, k, deadlines)


class FailingDetector:
    """Raises where a call holds a query that it was told to fail on, and asks another detector otherwise.

    Args:
        error: what it raises.
        poison: ids of the queries that break a call; `None` fails every call.
        otherwise: answers the calls without such a query.
    """

    def __init__(
        self, error: BaseException, *, poison: Collection[str] | None, otherwise: ContradictionDetector
    ) -> None:
        self._poison = _Poison(error, poison)
        self._otherwise = otherwise

    @property
    def version(self) -> str:
        """Name and version."""
        return f"failing-1+{self._otherwise.version}"

    def detect(
        self, queries: Sequence[Query], rankings: Sequence[Ranking], deadlines: Sequence[Deadline]
    ) -> Sequence[Detection]:
        """Return one detection a query, or raise; see `ContradictionDetector`."""
        self._poison.check(queries)
        return self._otherwise.detect(queries, rankings, deadlines)


class FailingOrderer:
    """Raises for the queries that it was told to fail on, and asks another orderer otherwise.

    Args:
        error: what it raises.
        poison: ids of the queries that it fails on; `None` fails every call.
        otherwise: orders the evidence of the other queries.
    """

    def __init__(self, error: BaseException, *, poison: Collection[str] | None, otherwise: EvidenceOrderer) -> None:
        self._poison = _Poison(error, poison)
        self._otherwise = otherwise

    @property
    def version(self) -> str:
        """Name and version."""
        return f"failing-1+{self._otherwise.version}"

    def order(self, query: Query, ranking: Ranking, detection: Detection) -> tuple[Evidence, ...]:
        """Return every passage of the ranking once, or raise; see `EvidenceOrderer`."""
        self._poison.check([query])
        return self._otherwise.order(query, ranking, detection)


class SlowRetriever:
    """Lets time pass for each query, then asks another retriever.

    Args:
        seconds: how long it takes for each query.
        clock: the clock of the deadlines.
        otherwise: finds the passages.
    """

    def __init__(self, seconds: float, *, clock: ManualClock, otherwise: Retriever) -> None:
        self._seconds = seconds
        self._clock = clock
        self._otherwise = otherwise

    @property
    def version(self) -> str:
        """Name and version."""
        return f"slow-1+{self._otherwise.version}"

    def retrieve(self, queries: Sequence[Query], k: int, deadlines: Sequence[Deadline]) -> Sequence[Ranking]:
        """Return one ranking a query, late; see `Retriever`."""
        _pass_time(self._seconds, self._clock, deadlines)
        return self._otherwise.retrieve(queries, k, deadlines)


class SlowDetector:
    """Lets time pass for each query, then asks another detector.

    Args:
        seconds: how long it takes for each query.
        clock: the clock of the deadlines.
        otherwise: finds the contradictions.
    """

    def __init__(self, seconds: float, *, clock: ManualClock, otherwise: ContradictionDetector) -> None:
        self._seconds = seconds
        self._clock = clock
        self._otherwise = otherwise

    @property
    def version(self) -> str:
        """Name and version."""
        return f"slow-1+{self._otherwise.version}"

    def detect(
        self, queries: Sequence[Query], rankings: Sequence[Ranking], deadlines: Sequence[Deadline]
    ) -> Sequence[Detection]:
        """Return one detection a query, late; see `ContradictionDetector`."""
        _pass_time(self._seconds, self._clock, deadlines)
        return self._otherwise.detect(queries, rankings, deadlines)


def _pass_time(seconds: float, clock: ManualClock, deadlines: Sequence[Deadline]) -> None:
    for deadline in deadlines:
        with deadline.running():
            clock.advance(seconds)
