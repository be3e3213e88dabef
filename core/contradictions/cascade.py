"""The cascade: rules first, then each stage on what is left to decide, cheapest and surest first."""

from __future__ import annotations

from collections.abc import Sequence

from core.clock import Deadline
from core.contradictions.stage import Asked, DetectionStage
from core.model import Detection, Query, Ranking
from core.ports import ContradictionDetector


class CascadeDetector:
    """Finds contradictions in stages. The rules always run; the time that is left decides how far a query gets.

    Each stage sees all queries of the chunk, with what the stages before it found. A query that a stage had no time for
    is `complete=False`, and so stays.

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
        found = self._rules.detect(queries, rankings, deadlines)
        for stage in self._stages:
            found = stage.refine([Asked(*one) for one in zip(queries, rankings, deadlines, found, strict=True)])
        return found
