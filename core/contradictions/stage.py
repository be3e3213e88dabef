"""What a stage of the cascade is: it gets what the stages before it found, and adds what it sees.

A stage decides pairs of passages. What an earlier stage decided stays: stages stand in the order of their precision.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from core.clock import Deadline
from core.model import Ambiguity, Contradiction, Detection, Query, Ranking


class Asked(NamedTuple):
    """One query on its way through the cascade: its passages, its time, and what is known of them so far."""

    query: Query
    ranking: Ranking
    deadline: Deadline
    detection: Detection


class DetectionStage(Protocol):
    """One stage of the cascade."""

    @property
    def version(self) -> str:
        """Name and version, for the trace. The same version gives the same findings."""
        ...

    def refine(self, asked: Asked) -> Detection:
        """Return what was known of a query, and what this stage adds; its work counts inside `deadline.running()`.

        A query without the time for this stage gets its detection back, with `complete` false.
        """
        ...


def decided_pairs(detection: Detection) -> frozenset[frozenset[str]]:
    """The pairs of passages that contradict each other, are about different things, or agree, by their ids."""
    found: tuple[Contradiction | Ambiguity, ...] = (*detection.contradictions, *detection.ambiguities)
    disputed = {frozenset((item.left.passage_id, item.right.passage_id)) for item in found}
    return frozenset(disputed | {frozenset((item.left_id, item.right_id)) for item in detection.agreements})
