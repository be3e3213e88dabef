"""Accuracy and contradiction scores of a model that is already exported, without torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LABELS = ("e", "n", "c")
_CONTRADICTION = LABELS.index("c")


@dataclass(frozen=True, slots=True)
class Scores:
    """How a set of pairs was labelled; precision, recall, F1 and AUC are those of the contradiction label."""

    pairs: int
    accuracy: float
    precision: float
    recall: float
    f1: float
    auc: float


def scores_of(given: NDArray[np.floating], labels: NDArray[np.int64]) -> Scores:
    """Compare probabilities of shape (n, 3) with the labels' places in `LABELS`; the highest probability wins."""
    chosen = given.argmax(axis=1)
    is_contradiction, said = labels == _CONTRADICTION, chosen == _CONTRADICTION
    hits = int((is_contradiction & said).sum())
    precision = hits / max(1, int(said.sum()))
    recall = hits / max(1, int(is_contradiction.sum()))
    return Scores(
        pairs=len(labels),
        accuracy=float((chosen == labels).mean()),
        precision=precision,
        recall=recall,
        f1=2 * precision * recall / max(1e-12, precision + recall),
        auc=_auc(given[:, _CONTRADICTION], is_contradiction),
    )


def _auc(values: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Share of (positive, negative) pairs that stand in the right order; equal values count half."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - counts + ends + 1) / 2
    of_positive = int(positive.sum())
    of_negative = len(values) - of_positive
    if not of_positive or not of_negative:
        return float("nan")
    total = float(ranks[places][positive].sum())
    return (total - of_positive * (of_positive + 1) / 2) / (of_positive * of_negative)
