"""One query's way: retrieve, detect contradictions, order, select. A chunk goes through stage by stage.

REDO's failure never costs an answer. A query whose REDO stage raises, returns nonsense or has no time left gets the
legacy selection of the same ranking, with the reason. A query that breaks its chunk is run alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeVar

from core.clock import Clock, Deadline
from core.fallbacks.execution import reason_of
from core.model import Detection, FallbackDecision, Query, Ranking, Reason, Selection
from core.placement import PlacementPolicy
from core.ports import ContradictionDetector, EvidenceOrderer, Retriever
from core.selection import legacy_selection, select
from core.trace import Arm, QueryResult
from core.work import CallLimit, Work, check_selection, run_isolated

Result = TypeVar("Result")


class RetrieverKind(StrEnum):
    """What REDO chooses from. Legacy chooses from BM25's ranking, whatever this is."""

    BM25 = "bm25"
    HYBRID = "hybrid"  # BM25 and the nearness of meaning, fused


class DetectorKind(StrEnum):
    """How far the detection of contradictions goes, time allowing."""

    RULES = "rules"  # rules on sentence pairs
    SLOTS = "slots"  # and the answers that passages give to the question
    CASCADE = "cascade"  # and the embedded entailment model


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineConfig:
    """What the pipeline can be told.

    Attributes:
        top_k: passages that are retrieved for a query.
        token_budget: the most tokens of a selection.
        budget_s: seconds that one query may take.
        placement: where the chosen passages stand.
        retriever: what REDO chooses from; whoever wires the pipeline goes by it.
        detector: how contradictions are found; as above.
    """

    top_k: int = 20
    token_budget: int = 1024
    budget_s: float = 0.4
    placement: PlacementPolicy = PlacementPolicy.BEST_FIRST
    retriever: RetrieverKind = RetrieverKind.BM25
    detector: DetectorKind = DetectorKind.CASCADE


class _Ordered(NamedTuple):
    """A selection, and the seconds that ordering and selecting took."""

    selection: Selection
    order_s: float
    select_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Chooses evidence for the queries of a chunk.

    With a `limit`, a stage of REDO that hangs is given up; with a `retrieval_limit`, retrieval is. Each brings its own
    bulkhead: what hangs in REDO must not take the threads of retrieval, which legacy needs too.

    With a `redo_retriever`, REDO chooses from its rankings and legacy still from those of `retriever`. It is a stage of
    REDO like any other: where it fails, legacy answers. A query that brings its candidates has no need of it.
    """

    retriever: Retriever
    detector: ContradictionDetector
    orderer: EvidenceOrderer
    config: PipelineConfig
    clock: Clock
    redo_retriever: Retriever | None = None
    limit: CallLimit | None = None
    retrieval_limit: CallLimit | None = None

    @property
    def versions(self) -> dict[str, str]:
        """Name and version of each replaceable part, for the trace."""
        own = {} if self.redo_retriever is None else {"redo_retriever": self.redo_retriever.version}
        return {
            "retriever": self.retriever.version,
            **own,
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
        self._retrieve_for_redo([work for work in chunk if work.wants_redo and self._has_own_ranking(work)])
        self._detect_order_select([work for work in chunk if work.wants_redo])
        for work in chunk:
            if work.guard.shadow or work.redo is None:
                self._select_legacy(work)
        return [work.result() for work in chunk]

    def _retrieve(self, chunk: Sequence[Work]) -> None:
        def retrieve(part: Sequence[Work]) -> Sequence[Ranking]:
            queries, deadlines = [work.query for work in part], [work.deadline for work in part]
            return self.retriever.retrieve(queries, self.config.top_k, deadlines)

        for work, (ranking, spent_s) in self._run(retrieve, chunk, Ranking, self.retrieval_limit):
            if isinstance(ranking, Exception):
                work.fail(Reason.RETRIEVER_ERROR, ranking)
                ranking = Ranking(())  # noqa: PLW2901 - nothing was found
            elif work.deadline.expired and work.wants_redo:
                work.fail(Reason.DEADLINE_EXCEEDED)
            work.ranking = ranking
            arm = Arm.REDO if work.guard.runs_redo and not self._has_own_ranking(work) else Arm.LEGACY
            work.record("retrieve", arm, spent_s, 0, len(ranking.items), complete=ranking.complete)

    def _has_own_ranking(self, work: Work) -> bool:
        """Whether REDO, where it runs, is to choose from another ranking than legacy."""
        return self.redo_retriever is not None and work.guard.runs_redo and work.query.candidates is None

    def _retrieve_for_redo(self, chunk: Sequence[Work]) -> None:
        def retrieve(part: Sequence[Work]) -> Sequence[Ranking]:
            queries, deadlines = [work.query for work in part], [work.deadline for work in part]
            return [] if self.redo_retriever is None else self.redo_retriever.retrieve(queries, top_k, deadlines)

        top_k = self.config.top_k
        for work, (ranking, spent_s) in self._run(retrieve, chunk, Ranking, self.limit):
            if isinstance(ranking, Exception):
                work.fail(reason_of(ranking), ranking)
                continue
            if work.deadline.expired:
                work.fail(Reason.DEADLINE_EXCEEDED)
            work.redo_ranking = ranking
            work.record("retrieve", Arm.REDO, spent_s, 0, len(ranking.items), complete=ranking.complete)

    def _detect_order_select(self, chunk: Sequence[Work]) -> None:
        def detect(part: Sequence[Work]) -> Sequence[Detection]:
            queries, rankings = [work.query for work in part], [work.chosen_from for work in part]
            return self.detector.detect(queries, rankings, [work.deadline for work in part])

        def order(part: Sequence[Work]) -> Sequence[_Ordered]:
            return [self._order_and_select(work) for work in part]

        detected = []
        for work, (detection, spent_s) in self._run(detect, chunk, Detection, self.limit):
            if isinstance(detection, Exception):
                work.fail(reason_of(detection), detection)
                continue
            work.detection = detection
            found = len(detection.contradictions) + len(detection.ambiguities)
            work.record("detect", Arm.REDO, spent_s, len(work.chosen_from.items), found, complete=detection.complete)
            detected.append(work)
        for work, (ordered, _) in self._run(order, detected, _Ordered, self.limit):
            if isinstance(ordered, Exception):
                work.fail(reason_of(ordered), ordered)
                continue
            work.redo = ordered.selection
            passages, taken = len(work.chosen_from.items), len(ordered.selection.evidence)
            work.record("order", Arm.REDO, ordered.order_s, passages, passages)
            work.record("select", Arm.REDO, ordered.select_s, passages, taken)

    def _order_and_select(self, work: Work) -> _Ordered:
        config, deadline = self.config, work.deadline
        with deadline.running():
            begun_s = deadline.spent_s
            evidence = self.orderer.order(work.query, work.chosen_from, work.detection)
            ordered_s = deadline.spent_s
            selection = select(evidence, work.detection, token_budget=config.token_budget, placement=config.placement)
            check_selection(selection, work.chosen_from)
            return _Ordered(selection, ordered_s - begun_s, deadline.spent_s - ordered_s)

    @staticmethod
    def _run(
        stage: Callable[[Sequence[Work]], Sequence[Result]],
        chunk: Sequence[Work],
        gives: type[Result],
        limit: CallLimit | None,
    ) -> list[tuple[Work, tuple[Result | Exception, float]]]:
        return list(zip(chunk, run_isolated(stage, chunk, gives=gives, limit=limit), strict=True))

    def _select_legacy(self, work: Work) -> None:
        begun_s = work.deadline.spent_s
        with work.deadline.running():
            work.legacy = legacy_selection(work.ranking, token_budget=self.config.token_budget)
        passages, taken = len(work.ranking.items), len(work.legacy.evidence)
        work.record("select", Arm.LEGACY, work.deadline.spent_s - begun_s, passages, taken)
