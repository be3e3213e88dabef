"""One query's way: retrieve, detect contradictions, order, select. A chunk goes through stage by stage.

REDO's failure never costs an answer. A query whose REDO stage raises, returns nonsense or has no time left gets the
legacy selection of the same ranking, with the reason. A query that breaks its chunk is run alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.clock import Clock, Deadline
from core.model import Detection, FallbackDecision, Query, Ranking, Reason
from core.placement import PlacementPolicy
from core.ports import ContradictionDetector, EvidenceOrderer, Retriever
from core.selection import legacy_selection, select
from core.trace import Arm, QueryResult
from core.work import Work, check_selection, run_isolated


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineConfig:
    """What the pipeline can be told.

    Attributes:
        top_k: passages that are retrieved for a query.
        token_budget: the most tokens of a selection.
        budget_s: seconds that one query may take.
        placement: where the chosen passages stand.
    """

    top_k: int = 20
    token_budget: int = 1024
    budget_s: float = 0.4
    placement: PlacementPolicy = PlacementPolicy.BEST_FIRST


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Chooses evidence for the queries of a chunk."""

    retriever: Retriever
    detector: ContradictionDetector
    orderer: EvidenceOrderer
    config: PipelineConfig
    clock: Clock

    @property
    def versions(self) -> dict[str, str]:
        """Name and version of each replaceable part, for the trace."""
        return {
            "retriever": self.retriever.version,
            "detector": self.detector.version,
            "orderer": self.orderer.version,
        }

    def run(self, queries: Sequence[Query], guards: Sequence[FallbackDecision]) -> list[QueryResult]:
        """Return one result a query, in the order of the queries. Raises for nothing that a query or a stage does."""
        chunk = [
            Work(query, guard, Deadline(self.config.budget_s, clock=self.clock))
            for query, guard in zip(queries, guards, strict=True)
        ]
        self._retrieve(chunk)
        self._detect_order_select([work for work in chunk if work.wants_redo])
        for work in chunk:
            if work.guard.shadow or work.redo is None:
                self._select_legacy(work)
        return [work.result() for work in chunk]

    def _retrieve(self, chunk: Sequence[Work]) -> None:
        def retrieve(part: Sequence[Work]) -> Sequence[Ranking]:
            queries, deadlines = [work.query for work in part], [work.deadline for work in part]
            return self.retriever.retrieve(queries, self.config.top_k, deadlines)

        for work, (ranking, spent_s) in zip(chunk, run_isolated(retrieve, chunk), strict=True):
            if isinstance(ranking, Exception):
                work.fail(Reason.RETRIEVER_ERROR, ranking)
                ranking = Ranking(())  # noqa: PLW2901 - nothing was found
            elif work.deadline.expired and work.wants_redo:
                work.fail(Reason.DEADLINE_EXCEEDED)
            work.ranking = ranking
            arm = Arm.REDO if work.guard.runs_redo else Arm.LEGACY
            work.record("retrieve", arm, spent_s, 0, len(ranking.items), complete=ranking.complete)

    def _detect_order_select(self, chunk: Sequence[Work]) -> None:
        def detect(part: Sequence[Work]) -> Sequence[Detection]:
            queries, rankings = [work.query for work in part], [work.ranking for work in part]
            return self.detector.detect(queries, rankings, [work.deadline for work in part])

        for work, (detection, spent_s) in zip(chunk, run_isolated(detect, chunk), strict=True):
            if isinstance(detection, Exception):
                work.fail(Reason.ORCHESTRATOR_ERROR, detection)
                continue
            found = len(detection.contradictions) + len(detection.ambiguities)
            passages = len(work.ranking.items)
            work.record("detect", Arm.REDO, spent_s, passages, found, complete=detection.complete)
            try:
                with work.deadline.running():
                    self._order_and_select(work, detection)
            except Exception as error:  # noqa: BLE001 - whatever REDO does wrong must not cost the answer
                work.fail(Reason.ORCHESTRATOR_ERROR, error)

    def _order_and_select(self, work: Work, detection: Detection) -> None:
        config, passages = self.config, len(work.ranking.items)
        begun_s = work.deadline.spent_s
        evidence = self.orderer.order(work.query, work.ranking, detection)
        ordered_s = work.deadline.spent_s
        selection = select(evidence, detection, token_budget=config.token_budget, placement=config.placement)
        check_selection(selection, work.ranking)
        work.redo = selection
        work.record("order", Arm.REDO, ordered_s - begun_s, passages, len(evidence))
        work.record("select", Arm.REDO, work.deadline.spent_s - ordered_s, passages, len(selection.evidence))

    def _select_legacy(self, work: Work) -> None:
        begun_s = work.deadline.spent_s
        with work.deadline.running():
            work.legacy = legacy_selection(work.ranking, token_budget=self.config.token_budget)
        passages, taken = len(work.ranking.items), len(work.legacy.evidence)
        work.record("select", Arm.LEGACY, work.deadline.spent_s - begun_s, passages, taken)
