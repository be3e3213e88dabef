"""How good the selections are, measured against labels. The pipeline never sees a label.

For each arm, over the queries that have the labels a measure needs:

recall_correct      share of the query's correct passages that are selected; mean over queries with a correct passage.
misinfo_share       share of the selected passages that are misinformation; mean over queries with a misinfo passage.
conflict_precision  share of the flagged pairs that are true conflicts.
conflict_recall     share of the true conflicts that are flagged.

A pair of passages is a true conflict when one is labelled correct and the other misinfo for the same query; a flagged
pair with an unlabelled side counts as wrong. Each value has a 95 % interval from a percentile bootstrap over queries
(Efron and Tibshirani 1993), so that it holds for other queries of the same kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.records import Label, LabelKind

_RESAMPLES = 1000
_SEED = 20_260_101


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one arm did with one query.

    Attributes:
        query_id: the query.
        selected: ids of the selected passages, in order.
        flagged: pairs of passages that were flagged as contradicting each other, each pair in any order.
    """

    query_id: str
    selected: tuple[str, ...]
    flagged: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured value with its 95 % interval; all three are `None` where nothing could be measured.

    Attributes:
        value: the measured value, 0 to 1.
        low, high: the interval.
        n: how many queries (or pairs, for a precision and a recall of pairs) it stands on.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, slots=True)
class ArmQuality:
    """The four measures of one arm; see the module."""

    recall_correct: Estimate
    misinfo_share: Estimate
    conflict_precision: Estimate
    conflict_recall: Estimate


QueryLabels = Mapping[str, LabelKind]


def labels_by_query(labels: Iterable[Label]) -> dict[str, dict[str, LabelKind]]:
    """The label of each passage, by query and passage."""
    found: dict[str, dict[str, LabelKind]] = {}
    for label in labels:
        found.setdefault(label.query_id, {})[label.passage_id] = label.label
    return found


def evaluate(outcomes: Iterable[Outcome], labels: Mapping[str, QueryLabels]) -> ArmQuality:
    """Measure one arm. Queries without labels are passed over."""
    known = [(outcome, labels[outcome.query_id]) for outcome in outcomes if outcome.query_id in labels]
    return ArmQuality(
        recall_correct=_mean(known, _recall_correct),
        misinfo_share=_mean(known, _misinfo_share),
        conflict_precision=_ratio([_flagged_true(*item) for item in known]),
        conflict_recall=_ratio([_true_flagged(*item) for item in known]),
    )


def query_quality(outcome: Outcome, labels: QueryLabels) -> tuple[float | None, float | None]:
    """Recall of correct passages and share of misinformation of one query; `None` where it has no such labels."""
    return _recall_correct(outcome, labels), _misinfo_share(outcome, labels)


def _with(labels: QueryLabels, kind: LabelKind) -> set[str]:
    return {passage_id for passage_id, label in labels.items() if label is kind}


def _recall_correct(outcome: Outcome, labels: QueryLabels) -> float | None:
    correct = _with(labels, LabelKind.CORRECT)
    return len(correct & set(outcome.selected)) / len(correct) if correct else None


def _misinfo_share(outcome: Outcome, labels: QueryLabels) -> float | None:
    misinfo = _with(labels, LabelKind.MISINFO)
    if not misinfo or not outcome.selected:
        return None
    return len(misinfo & set(outcome.selected)) / len(outcome.selected)


def _is_conflict(pair: Iterable[str], labels: QueryLabels) -> bool:
    return {labels.get(passage_id) for passage_id in pair} == {LabelKind.CORRECT, LabelKind.MISINFO}


def _flagged_true(outcome: Outcome, labels: QueryLabels) -> tuple[int, int]:
    flagged = {frozenset(pair) for pair in outcome.flagged}
    return sum(_is_conflict(pair, labels) for pair in flagged), len(flagged)


def _true_flagged(outcome: Outcome, labels: QueryLabels) -> tuple[int, int]:
    true_flagged, _ = _flagged_true(outcome, labels)
    return true_flagged, len(_with(labels, LabelKind.CORRECT)) * len(_with(labels, LabelKind.MISINFO))


def _mean(
    known: Sequence[tuple[Outcome, QueryLabels]], measure: Callable[[Outcome, QueryLabels], float | None]
) -> Estimate:
    values = [value for item in known if (value := measure(*item)) is not None]
    return _estimate(np.array(values, dtype=float), np.ones(len(values)))


def _ratio(counts: Sequence[tuple[int, int]]) -> Estimate:
    having = np.array([pair for pair in counts if pair[1]], dtype=float).reshape(-1, 2)
    return _estimate(having[:, 0], having[:, 1])


def _estimate(above: NDArray[np.float64], below: NDArray[np.float64]) -> Estimate:
    """The ratio of the sums, and its interval by drawing queries with replacement; the seed is fixed."""
    count = len(above)
    if count == 0:
        return Estimate(None, None, None, 0)
    random = np.random.default_rng(_SEED)
    drawn = np.empty(_RESAMPLES)
    for place in range(_RESAMPLES):
        rows = random.integers(0, count, size=count)
        drawn[place] = above[rows].sum() / below[rows].sum()
    low, high = np.quantile(drawn, (0.025, 0.975))
    value = above.sum() / below.sum()
    return Estimate(round(float(value), 4), round(float(low), 4), round(float(high), 4), int(below.sum()))
