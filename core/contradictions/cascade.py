"""The cascade: rules first, then each stage on what is left to decide, cheapest and surest first."""

from __future__ import annotations

from collections.abc import Sequence

from core.clock import Deadline
from core.contradictions.stage import Asked, DetectionStage
from core.model import Detection, Query, Ranking
from core.ports import ContradictionDetector


class CascadeDetector:
    """Finds contradictions in stages. The rules always run; the time that is left decides how far a query gets.

    A query goes through all stages before the next one begins: what they all need of its passages is then still kept,
    and no stage gains by seeing several queries at once (docs/decisions/007). A query that a stage had no time for is
    `complete=False`, and so stays.

    Args:
        rules: what runs first.
        stages: what runs then, in order.
    """

    def __init__(self, rules: ContradictionDetector, stages: Sequence[DetectionStage]) -> None:
        self._rules = rules
        self._stages = tuple(stages)

    @property
    def version(self) -> str:
        """Names and versions of all stages, joined by `+`."""
        return "+".join((self._rules.version, *(stage.version for stage in self._stages)))

    def detect(
        self, queries: Sequence[Query], rankings: Sequence[Ranking], deadlines: Sequence[Deadline]
    ) -> Sequence[Detection]:
        """Return one detection a query; see `ContradictionDetector`."""
        return [self._detect_one(*one) for one in zip(queries, rankings, deadlines, strict=True)]

    def _detect_one(self, query: Query, ranking: Ranking, deadline: Deadline) -> Detection:
        (found,) = self._rules.detect([query], [ranking], [deadline])
        for stage in self._stages:
            found = stage.refine(Asked(query, ranking, deadline, found))
        return found
