"""Part E: what REDO makes of little time, and how much time it takes, by the pipeline's own clock."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import _lru_cache_wrapper

import numpy as np

from benchmarks.quality_parts.arms import FULL, PLENTY_S, READING
from benchmarks.quality_parts.metrics import SELECTION, mean_estimate, selection_figures
from benchmarks.quality_parts.ramdocs import Case, filled
from benchmarks.quality_parts.tables import Cell, Table
from core.adapters.given_candidates import GivenCandidates
from core.clock import SystemClock
from core.contradictions.entailment_stage import EntailmentModel
from core.model import Decision, Detection, Evidence, FallbackDecision, Query, Ranking, Reason
from core.ordering import SupportOrderer
from core.pipeline import Pipeline, PipelineConfig
from core.trace import QueryResult

BUDGETS_MS = (50, 100, 200, 400)
SIZES = (10, 20)
_REDO = FallbackDecision(Decision.REDO, Reason.ENABLED)
_BUDGET_S = 0.4


class RecordingOrderer:
    """Orders as REDO does, and keeps the last order."""

    def __init__(self) -> None:
        self.last: tuple[str, ...] | None = None

    @property
    def version(self) -> str:
        """That of the orderer."""
        return SupportOrderer().version

    def order(self, query: Query, ranking: Ranking, detection: Detection) -> tuple[Evidence, ...]:
        """Return the passages in order."""
        evidence = SupportOrderer().order(query, ranking, detection)
        self.last = tuple(item.passage.passage_id for item in evidence)
        return evidence


class Asking:
    """Asks the pipeline one query at a time.

    Args:
        model: the entailment model; without one, that stage is left out.
        budget_s: seconds a query may take.
    """

    def __init__(self, model: EntailmentModel | None, *, budget_s: float) -> None:
        self._model = model
        self._budget_s = budget_s

    def ask(self, case: Case, ranking: Ranking) -> tuple[tuple[str, ...], QueryResult]:
        """The order of all passages and the result; legacy's order where REDO gave none."""
        orderer = RecordingOrderer()
        pipeline = Pipeline(
            retriever=GivenCandidates(None),
            detector=(READING if self._model is None else FULL).detector(case.reader, self._model),
            orderer=orderer,
            config=PipelineConfig(budget_s=self._budget_s),
            clock=SystemClock(),
        )
        query = Query(case.query.query_id, case.query.text, candidates=ranking.items)
        (result,) = pipeline.run([query], [_REDO])
        retrieved = tuple(item.passage.passage_id for item in ranking.items)
        return (orderer.last or retrieved) if result.decision is Decision.REDO else retrieved, result


def read_before(cases: Sequence[Case], mixes: Sequence[Ranking]) -> None:
    """Let rules and slots read every passage: what an index would have done."""
    reading = Asking(None, budget_s=PLENTY_S)
    for case, ranking in zip(cases, mixes, strict=True):
        reading.ask(case, ranking)


def budget_tables(cases: Sequence[Case], pooled: Sequence[Ranking], model: EntailmentModel | str) -> list[Table]:
    """Quality at each budget with a question's own passages and with 20, and the times."""
    title = "RAMDocs, quality by budget"
    if isinstance(model, str):
        return [Table(title, SELECTION, (("all", (model,)),))]
    tables = []
    for name, mixed, mixes in (
        ("own passages", False, [case.own for case in cases]),
        ("20 candidates", True, [filled(case, ranking, 20) for case, ranking in zip(cases, pooled, strict=True)]),
    ):
        read_before(cases, mixes)
        rows = [
            (f"{budget_ms} ms", _at_budget(cases, mixes, Asking(model, budget_s=budget_ms / 1e3), mixed=mixed))
            for budget_ms in BUDGETS_MS
        ]
        columns = (*SELECTION, "all stages in time", "ms p50", "ms p95", "ms p99")
        notes = ["passages were read before; one query at a time"]
        if mixed:
            notes.append("passages of other questions, which fill up the 20, count as noise")
        tables.append(Table(f"{title}, {name}", columns, tuple(rows), tuple(notes)))
    return [*tables, _times(cases, pooled, model)]


def _at_budget(cases: Sequence[Case], mixes: Sequence[Ranking], asking: Asking, *, mixed: bool) -> tuple[Cell, ...]:
    figures, in_time, took = [], [], []
    for case, ranking in zip(cases, mixes, strict=True):
        order, result = asking.ask(case, ranking)
        took.append(result.trace.latency_ms)
        in_time.append(float(_whole(result)))
        if case.has_correct:
            figures.append(selection_figures(case.ranked(order, pooled=mixed)))
    return (*(mean_estimate(column) for column in np.array(figures).T), mean_estimate(in_time), *_quantiles(took))


def _whole(result: QueryResult) -> bool:
    return result.decision is Decision.REDO and all(stage.complete for stage in result.trace.stages)


def _quantiles(took: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in np.percentile(took, [50, 95, 99]))


def _times(cases: Sequence[Case], pooled: Sequence[Ranking], model: EntailmentModel) -> Table:
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for size in SIZES:
        mixes = [filled(case, ranking, size) for case, ranking in zip(cases, pooled, strict=True)]
        rows.append((f"{size} candidates, read before", _timed(cases, mixes, model, before=_nothing)))
        rows.append((f"{size} candidates, never read", _timed(cases, mixes, model, before=forget_passages)))
    return Table(
        "Time a query, whole pipeline, budget 400 ms",
        ("ms p50", "ms p95", "ms p99", "ms longest", "within 400 ms", "all stages in time"),
        tuple(rows),
        ("from candidates to selection, one query at a time; `never read` empties all caches before each query",),
    )


def _nothing() -> None:
    pass


def _timed(
    cases: Sequence[Case], mixes: Sequence[Ranking], model: EntailmentModel, *, before: Callable[[], None]
) -> tuple[Cell, ...]:
    asking = Asking(model, budget_s=_BUDGET_S)
    if before is _nothing:
        read_before(cases, mixes)
    took, in_time = [], []
    for case, ranking in zip(cases, mixes, strict=True):
        before()
        _, result = asking.ask(case, ranking)
        took.append(result.trace.latency_ms)
        in_time.append(float(_whole(result)))
    return (
        *_quantiles(took),
        float(max(took)),
        mean_estimate([float(one <= _BUDGET_S * 1e3) for one in took]),
        mean_estimate(in_time),
    )


_KEPT = frozenset({"shipped_reader", "shipped_content"})
"""What every process loads once, before any query."""


def forget_passages() -> None:
    """Empty the caches of `core`'s functions, so that no passage has been read. What is loaded once stays.

    They are looked up in the modules: the garbage collector lists no objects that a pipeline froze when it was built.
    """
    modules = [module for name, module in sys.modules.items() if name.startswith("core.")]
    for one in {id(found): found for module in modules for found in vars(module).values()}.values():
        if isinstance(one, _lru_cache_wrapper) and one.__module__.startswith("core.") and one.__name__ not in _KEPT:
            one.cache_clear()
