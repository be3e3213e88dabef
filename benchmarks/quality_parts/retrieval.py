"""Part D: does REDO's order harm retrieval? SciFact claims, before and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.quality_parts.arms import FULL, Arm, detect, redo_order
from benchmarks.quality_parts.metrics import Numbers, mean_estimate, ndcg, recall
from benchmarks.quality_parts.tables import Cell, Table
from benchmarks.retrieval import Task, scifact
from core.adapters.bm25 import Bm25Retriever, ensure_index
from core.adapters.embedder import Embedder
from core.adapters.hybrid import HybridRetriever
from core.adapters.passage_vectors import ensure_vectors
from core.clock import Deadline, SystemClock
from core.contradictions.entailment_stage import EntailmentModel
from core.contradictions.slots.reader import shipped_reader
from core.model import Query, Ranking
from core.ordering import SupportOrderer
from core.placement import PlacementPolicy
from core.ports import Retriever
from core.selection import legacy_selection, select

DEEP = 100
TOP_K = 20
"""What REDO looks at; the passages behind keep the retriever's order."""
_TOKEN_BUDGET = 1024
_COLUMNS = ("nDCG@10", "R@100", "loss of nDCG@10 through REDO", "claims with a dispute")
_RULES = Arm("REDO's order, rules alone", rules=True)


def scifact_table(
    folder: Path, kept: Path, *, model: EntailmentModel | str, embedder: Embedder | str, every: int
) -> Table:
    """The table of both retrievers.

    Args:
        folder: has `scifact/`.
        kept: where the index and its vectors lie, or are made.
        model: the entailment model, or why there is none.
        embedder: makes the vectors, or why there are none.
        every: with 5, every fifth claim is asked.
    """
    title = "SciFact, retrieval before and after REDO"
    try:
        task = scifact(folder / "scifact", "test")
    except FileNotFoundError as error:
        return Table(title, _COLUMNS, (("missing", (f"{error.filename}: no such file",)),))
    task = Task(task.passages, task.queries[::every], task.relevant)
    index = ensure_index(kept, "scifact", lambda _: task.passages)
    bm25 = Bm25Retriever(index)
    rows = _rows("BM25", bm25, task, model)
    if isinstance(embedder, str):
        rows.append(("hybrid", (embedder,)))
    else:
        ensure_vectors(index, embedder)
        rows += _rows("hybrid", HybridRetriever(index, bm25, embedder), task, model)
    return Table(
        title,
        _COLUMNS,
        tuple(rows),
        (
            (
                f"{len(task.queries)} claims, {len(task.passages):,} abstracts; REDO orders the first {TOP_K}, the "
                f"passages behind keep their places, so R@100 cannot change"
            ),
            f"`selected` is what fits {_TOKEN_BUDGET:,} tokens, some four abstracts",
        ),
    )


def _rows(
    name: str, retriever: Retriever, task: Task, model: EntailmentModel | str
) -> list[tuple[str, tuple[Cell, ...]]]:
    rankings = [_retrieve(retriever, query) for query in task.queries]
    before = _figures(task, [_ids(ranking) for ranking in rankings])
    rows: list[tuple[str, tuple[Cell, ...]]] = [(name, _cells(before))]
    for arm in (_RULES, FULL):
        title = f"{name}, {arm.name}"
        if arm.entailment and isinstance(model, str):
            rows.append((title, (model,)))
            continue
        detector = arm.detector(shipped_reader(), None if isinstance(model, str) else model)
        after, chosen, disputes = [], [], 0
        for query, ranking in zip(task.queries, rankings, strict=True):
            head = Ranking(ranking.items[:TOP_K])
            detection = detect(detector, query, head)
            disputes += bool(detection.contradictions)
            after.append([*redo_order(query, head, detection), *_ids(ranking)[TOP_K:]])
            evidence = SupportOrderer().order(query, head, detection)
            placement = PlacementPolicy.BEST_FIRST
            chosen.append(select(evidence, detection, token_budget=_TOKEN_BUDGET, placement=placement).passage_ids)
        figures = _figures(task, after)
        loss = mean_estimate(before[0] - figures[0])
        rows.append((title, (*_cells(figures), loss, disputes)))
    cut = [legacy_selection(Ranking(ranking.items[:TOP_K]), token_budget=_TOKEN_BUDGET) for ranking in rankings]
    rows.append((f"{name}, selected by legacy", _cells(_figures(task, [one.passage_ids for one in cut]))))
    if not isinstance(model, str):
        rows.append((f"{name}, selected by REDO", _cells(_figures(task, chosen))))
    return rows


def _retrieve(retriever: Retriever, query: Query) -> Ranking:
    (ranking,) = retriever.retrieve([query], DEEP, [Deadline(60.0, clock=SystemClock())])
    return ranking


def _ids(ranking: Ranking) -> list[str]:
    return [item.passage.passage_id for item in ranking.items]


def _figures(task: Task, orders: Sequence[Sequence[str]]) -> tuple[Numbers, Numbers]:
    """nDCG@10 and R@100 of each claim."""

    def each(measure: Callable[[list[bool], int], float]) -> Numbers:
        values = []
        for query, order in zip(task.queries, orders, strict=True):
            relevant = task.relevant[query.query_id]
            values.append(measure([name in relevant for name in order], len(relevant)))
        return np.array(values, float)

    return (
        each(lambda found, total: ndcg(found, total, k=10)),
        each(lambda found, total: recall(found, total, k=DEEP)),
    )


def _cells(figures: tuple[Numbers, Numbers]) -> tuple[Cell, ...]:
    return tuple(mean_estimate(values) for values in figures)
