"""Part B: which passages of a RAMDocs question conflict with each other?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from benchmarks.quality_parts.arms import FULL, Arm, detect
from benchmarks.quality_parts.metrics import Estimate, Measure, Places, auc, estimate, pooled, precision_at_recall
from benchmarks.quality_parts.ramdocs import Case
from benchmarks.quality_parts.tables import Cell, Table
from core.contradictions.entailment_stage import EntailmentModel
from core.model import Detection

RECALLS = (0.1, 0.25, 0.5)
_COLUMNS = ("AUC", *(f"P at R {recall}" for recall in RECALLS), "flagged", "of these true", "found of the true")

_RAW, _ASKED = "slots, the probability itself", "entailment, every pair asked about"

PairScores = Mapping[frozenset[str], float]
"""How sure a detector is that two passages, by their ids, conflict. A pair that is not there has 0."""
Scorer = Callable[[Case], PairScores]


def flagged(detection: Detection) -> PairScores:
    """The scores of the contradictions; of a pair that several stages found, the highest."""
    found: dict[frozenset[str], float] = {}
    for one in detection.contradictions:
        pair = frozenset((one.left.passage_id, one.right.passage_id))
        found[pair] = max(one.score, found.get(pair, 0.0))
    return found


def by_arm(arm: Arm, model: EntailmentModel | None) -> Scorer:
    """What the detector with these stages says of the question's own passages."""

    def score(case: Case) -> PairScores:
        return flagged(detect(arm.detector(case.reader, model), case.query, case.own))

    return score


def raw_slots(case: Case) -> PairScores:
    """How likely two passages answer differently, whatever that means for their subject."""
    different = case.table.different
    return {
        frozenset((case.ids[left], case.ids[right])): float(different[left, right])
        for left in range(len(case.ids))
        for right in range(left)
    }


def _highest(one: Scorer, other: Scorer) -> Scorer:
    def score(case: Case) -> PairScores:
        first, second = one(case), other(case)
        return {pair: max(first.get(pair, 0.0), second.get(pair, 0.0)) for pair in first.keys() | second.keys()}

    return score


def conflict_table(cases: Sequence[Case], model: EntailmentModel | str) -> Table:
    """The table of all detectors."""
    known = None if isinstance(model, str) else model
    rules = Arm("rules", rules=True)
    slots = Arm("slots", slots=True)
    entailment = Arm("entailment", entailment=True)
    both = "cascade or slots' probability, the higher"
    unflagged = {_RAW, _ASKED, both}
    scorers: list[tuple[str, Scorer | None]] = [
        ("lexical rules", by_arm(rules, known)),
        ("slots, as flagged", by_arm(slots, known)),
        (_RAW, raw_slots),
        ("entailment alone", by_arm(entailment, known) if known else None),
        (_ASKED, by_arm(Arm("all", entailment=True, all_scores=True), known) if known else None),
        ("rules and slots", by_arm(Arm("two", rules=True, slots=True), known)),
        ("cascade, as flagged", by_arm(FULL, known) if known else None),
        (both, _highest(by_arm(FULL, known), raw_slots) if known else None),
    ]
    pairs = sum(len(case.conflict_pairs()) for case in cases)
    conflicts = sum(one for case in cases for *_, one in case.conflict_pairs())
    return Table(
        "RAMDocs, conflicting pairs of passages",
        _COLUMNS,
        tuple(
            (name, _cells(cases, scorer, flags=name not in unflagged) if scorer else (str(model),))
            for name, scorer in scorers
        ),
        (
            (
                f"{len(cases)} questions with their own passages; {pairs:,} pairs, {conflicts:,} of them conflicts: a "
                "correct and a misinformation passage with different answers; the others: two correct ones with one"
            ),
            "a pair that is not flagged has score 0; a recall is not reached where it would take such pairs",
            (
                "`of these true` counts every flagged pair of the question's passages, with noise too; true are "
                "conflicts as above"
            ),
        ),
    )


def _cells(cases: Sequence[Case], scorer: Scorer, *, flags: bool) -> tuple[Cell, ...]:
    """The cells of a row; without `flags` it only ranks pairs, and there is nothing to count."""
    scores, labels, hits, said, there = [], [], [], [], []
    for case in cases:
        known = scorer(case)
        pairs = case.conflict_pairs()
        found = [known.get(frozenset((case.ids[left], case.ids[right])), 0.0) for left, right, _ in pairs]
        scores.append(np.array(found, float))
        labels.append(np.array([conflict for *_, conflict in pairs], bool))
        hits.append(float(sum(score > 0 and one for score, one in zip(found, labels[-1], strict=True))))
        said.append(float(sum(score > 0 for score in known.values())))
        there.append(float(labels[-1].sum()))
    measures: list[Measure] = [auc, *(partial(precision_at_recall, wanted=recall) for recall in RECALLS)]
    cells: list[Cell] = [estimate(len(cases), partial(pooled, measure, scores, labels)) for measure in measures]
    return (*cells, int(sum(said)), ratio(hits, said), ratio(hits, there)) if flags else tuple(cells)


def ratio(above: Sequence[float], below: Sequence[float]) -> Estimate:
    """The ratio of two sums over questions."""
    over, under = np.array(above), np.array(below)

    def measure(chosen: Places) -> float:
        total = under[chosen].sum()
        return float(over[chosen].sum() / total) if total else float("nan")

    return estimate(len(over), measure)
