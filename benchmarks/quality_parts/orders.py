"""Part C: which passages of RAMDocs come first, with REDO, with parts of it, and with others' orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from benchmarks.quality_parts.arms import ABLATIONS, FULL, VARIANTS, detect, redo_order
from benchmarks.quality_parts.metrics import SELECTION, mean_estimate, selection_figures
from benchmarks.quality_parts.peers import Peers
from benchmarks.quality_parts.ramdocs import Case
from benchmarks.quality_parts.tables import Cell, Table
from core.contradictions.entailment_stage import EntailmentModel
from core.model import Detection, Ranking
from core.ordering import SupportOrderer
from core.placement import PlacementPolicy
from core.selection import legacy_selection, select

TOKEN_BUDGET = 1024
Orders = Sequence[Sequence[str]]
"""For each question, ids of passages, best first."""


def selection_table(
    title: str,
    cases: Sequence[Case],
    rankings: Sequence[Ranking],
    *,
    model: EntailmentModel | str,
    peers: Peers,
    pooled: bool,
) -> Table:
    """One table: every order of these rankings.

    Args:
        title: what the rankings are.
        cases: the questions.
        rankings: what there is to choose from, one a question.
        model: the entailment model, or why there is none.
        peers: the orders of other libraries.
        pooled: whether passages of other questions are among them.
    """
    chosen = [number for number, case in enumerate(cases) if case.has_correct]
    cases, rankings = [cases[number] for number in chosen], [rankings[number] for number in chosen]
    cells = partial(_cells, cases, pooled=pooled)
    rows: list[tuple[str, tuple[Cell, ...]]] = [("BM25 (legacy)", cells(_retrieved(rankings)))]
    for name, orders in peers.orders(cases, rankings):
        rows.append((name, (orders,) if isinstance(orders, str) else cells(orders)))
    found: list[Detection] | None = None
    for arm in ABLATIONS:
        if arm.entailment and isinstance(model, str):
            rows.append((arm.name, (model,)))
            continue
        known = None if isinstance(model, str) else model
        detections = [
            detect(arm.detector(case.reader, known), case.query, ranking)
            for case, ranking in zip(cases, rankings, strict=True)
        ]
        found = detections if arm is FULL else found
        rows.append((arm.name, cells(_ordered(cases, rankings, detections))))
    if found is not None:
        for name, change in VARIANTS:
            rows.append((name, cells(_ordered(cases, rankings, list(map(change, found))))))
        rows += [
            (f"legacy, selected: {TOKEN_BUDGET:,} tokens", cells(_legacy_selected(rankings))),
            (f"REDO, selected and placed: {TOKEN_BUDGET:,} tokens", cells(_selected(cases, rankings, found))),
        ]
    rows.append(("ceiling: passages an answer, from the labels", cells(_ceiling(cases, rankings))))
    return Table(
        title,
        SELECTION,
        tuple(rows),
        (
            f"{len(cases)} questions; n is a question's number of correct passages",
            "noise counts passages of other questions too" if pooled else "passages were shuffled before BM25",
        ),
    )


def _cells(cases: Sequence[Case], orders: Orders, *, pooled: bool) -> tuple[Cell, ...]:
    figures = np.array(
        [selection_figures(case.ranked(order, pooled=pooled)) for case, order in zip(cases, orders, strict=True)]
    )
    return tuple(mean_estimate(column) for column in figures.T)


def _retrieved(rankings: Sequence[Ranking]) -> Orders:
    return [[item.passage.passage_id for item in ranking.items] for ranking in rankings]


def _ordered(cases: Sequence[Case], rankings: Sequence[Ranking], detections: Sequence[Detection]) -> Orders:
    return [
        redo_order(case.query, ranking, detection)
        for case, ranking, detection in zip(cases, rankings, detections, strict=True)
    ]


def _legacy_selected(rankings: Sequence[Ranking]) -> Orders:
    return [legacy_selection(ranking, token_budget=TOKEN_BUDGET).passage_ids for ranking in rankings]


def _selected(cases: Sequence[Case], rankings: Sequence[Ranking], detections: Sequence[Detection]) -> Orders:
    orders = []
    for case, ranking, detection in zip(cases, rankings, detections, strict=True):
        evidence = SupportOrderer().order(case.query, ranking, detection)
        chosen = select(evidence, detection, token_budget=TOKEN_BUDGET, placement=PlacementPolicy.BEST_FIRST)
        orders.append(chosen.passage_ids)
    return orders


def _ceiling(cases: Sequence[Case], rankings: Sequence[Ranking]) -> Orders:
    """Passages for each answer, counted from the labels; equal counts by BM25, what answers nothing last."""
    orders = []
    for case, ranking in zip(cases, rankings, strict=True):
        names = [item.passage.passage_id for item in ranking.items]
        answers = {name: case.labels.get(name, ("other", ""))[1] for name in names}
        orders.append(sorted(names, key=partial(_rank_of_answer, answers)))
    return orders


def _rank_of_answer(answers: Mapping[str, str], name: str) -> int:
    answer = answers[name]
    return -list(answers.values()).count(answer) if answer else 1
