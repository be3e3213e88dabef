"""The measures of the quality benchmark, and their intervals. ir-measures and definitions by brute force check them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

RESAMPLES = 1_000
LABELS = ("e", "n", "c")
"""Entailment, neutral, contradiction: the labels of a pair of sentences."""

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]
Places = NDArray[np.intp]
Measure = Callable[[Numbers, Flags], float]
"""A figure of pairs with these scores, of which these are positive."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval; NaN where it is not defined."""

    value: float
    low: float
    high: float


def estimate(count: int, measure: Callable[[Places], float], *, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """A figure on all questions, and its interval by a percentile bootstrap over them (Efron and Tibshirani 1993).

    Args:
        count: how many questions (or other things that were drawn independently) there are.
        measure: the figure on the questions with these numbers; a number may stand there more than once.
        resamples: how often questions are drawn with replacement.
        seed: of the draws. The same seed draws the same questions for every row of a table.
    """
    value = measure(np.arange(count))
    if not count or np.isnan(value):
        return Estimate(float("nan"), float("nan"), float("nan"))
    draw = np.random.default_rng(seed)
    found = np.array([measure(draw.integers(0, count, count)) for _ in range(resamples)])
    found = found[~np.isnan(found)]
    low, high = np.percentile(found, [2.5, 97.5]) if len(found) else (value, value)
    return Estimate(float(value), float(low), float(high))


def mean_estimate(values: Sequence[float] | Numbers, *, resamples: int = RESAMPLES) -> Estimate:
    """The mean of one figure a question. Questions for which it is not defined are NaN and left out."""
    given = np.asarray(values, float)
    given = given[~np.isnan(given)]
    return estimate(len(given), lambda chosen: float(given[chosen].mean()), resamples=resamples)


# --- rankings ------------------------------------------------------------------------------------------------------


def average_precision(relevant: Sequence[bool], total: int) -> float:
    """Mean, over all `total` relevant passages, of the precision at the place of each; 0 for those not found.

    Args:
        relevant: whether the passage in each place is relevant, best place first.
        total: how many relevant passages there are, found or not; at least 1.
    """
    found = 0
    precision = 0.0
    for place, is_relevant in enumerate(relevant, start=1):
        if is_relevant:
            found += 1
            precision += found / place
    return precision / total


def ndcg(relevant: Sequence[bool], total: int, *, k: int) -> float:
    """Discounted gain of the first `k`, by that of the best order (Järvelin, Kekäläinen 2002); grades are 0 and 1."""
    gains = [1 / np.log2(place + 1) for place in range(1, k + 1)]
    gained = sum(gain for gain, is_relevant in zip(gains, relevant, strict=False) if is_relevant)
    return float(gained / sum(gains[:total]))


def recall(relevant: Sequence[bool], total: int, *, k: int) -> float:
    """Share of the `total` relevant passages that are among the first `k`."""
    return sum(relevant[:k]) / total


def reciprocal_rank(relevant: Sequence[bool], *, k: int) -> float:
    """One by the place of the first relevant passage; 0 where none is among the first `k`."""
    return next((1 / place for place, is_relevant in enumerate(relevant[:k], start=1) if is_relevant), 0.0)


@dataclass(frozen=True, slots=True)
class Ranked:
    """The passages found for one question, best first, with what the labels say of them.

    Attributes:
        types: `correct`, `misinfo`, `noise`, or `other` for a passage of another question.
        answers: what each answers; empty where nothing.
        correct: how many correct passages the question has, found or not.
        gold: the answers of its correct passages.
        known: the types that the question's passages have at all.
    """

    types: tuple[str, ...]
    answers: tuple[str, ...]
    correct: int
    gold: frozenset[str]
    known: frozenset[str]


SELECTION = ("MAP", "P@1", "misinfo in first n", "noise in first n", "answers covered by first n")
"""Names of the figures of `selection_figures`; n is the question's number of correct passages."""


def selection_figures(ranked: Ranked) -> tuple[float, ...]:
    """The figures named in `SELECTION`; NaN where the question has no passage of that kind."""
    relevant = [kind == "correct" for kind in ranked.types]
    first = list(zip(ranked.types, ranked.answers, strict=True))[: ranked.correct]
    kinds = {kind for kind, _ in first}
    covered = {answer for kind, answer in first if kind == "correct"} & ranked.gold
    return (
        average_precision(relevant, ranked.correct),
        float(bool(relevant) and relevant[0]),
        float("misinfo" in kinds) if "misinfo" in ranked.known else float("nan"),
        float(bool(kinds & {"noise", "other"})) if ranked.known & {"noise", "other"} else float("nan"),
        len(covered) / len(ranked.gold),
    )


# --- pairs ---------------------------------------------------------------------------------------------------------


def auc(score: Numbers, positive: Flags) -> float:
    """Share of (positive, negative) pairs in the right order; equal scores count half. NaN without both."""
    count = int(positive.sum())
    others = len(positive) - count
    if not count or not others:
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * others))


def precision_at_recall(score: Numbers, positive: Flags, wanted: float) -> float:
    """Precision at the highest threshold that finds this share of the positives; equal scores stand or fall together.

    NaN where it takes the pairs with score 0, about which nothing was said.
    """
    needed = wanted * int(positive.sum())
    levels, place = np.unique(-score, return_inverse=True)
    right = np.cumsum(np.bincount(place, weights=positive))
    taken = np.cumsum(np.bincount(place))
    at = int(np.searchsorted(right, needed - 1e-9))
    if not needed or at == len(levels) or levels[at] == 0:
        return float("nan")
    return float(right[at] / taken[at])


def pooled(measure: Measure, scores: Sequence[Numbers], labels: Sequence[Flags], chosen: Places) -> float:
    """A measure on the pairs of the chosen questions together; NaN unless some are positive and some are not."""
    score, positive = (np.concatenate([part[number] for number in chosen]) for part in (scores, labels))
    return measure(score, positive) if positive.any() and not positive.all() else float("nan")


def confusion(labels: Sequence[str], said: Sequence[str], clusters: Sequence[str]) -> Numbers:
    """Counts of (label, said) for each cluster: shape (clusters, 9), columns `label * 3 + said`."""
    numbers: dict[str, int] = {}
    rows = np.array([numbers.setdefault(cluster, len(numbers)) for cluster in clusters], int)
    columns = np.array(
        [3 * LABELS.index(label) + LABELS.index(one) for label, one in zip(labels, said, strict=True)], int
    )
    counts = np.zeros((len(numbers), 9))
    np.add.at(counts, (rows, columns), 1)
    return counts


STANCE = ("accuracy", "C precision", "C recall", "C F1")
"""Names of the figures of `stance_figures`; C is contradiction."""


def stance_figures(counts: Numbers) -> tuple[float, float, float, float]:
    """The figures named in `STANCE` from nine counts; a precision of nothing is 0."""
    table = counts.reshape(3, 3)
    contradiction = LABELS.index("c")
    hits, said, there = table[contradiction, contradiction], table[:, contradiction].sum(), table[contradiction].sum()
    precision, found = hits / max(said, 1.0), hits / max(there, 1.0)
    f1 = 2 * hits / max(said + there, 1.0)
    return float(np.trace(table) / max(table.sum(), 1.0)), float(precision), float(found), float(f1)


def stance_estimates(counts: Numbers, *, resamples: int = RESAMPLES) -> tuple[Estimate, ...]:
    """Each figure of `stance_figures` with its interval; clusters are drawn, since pairs of one premise are alike."""

    def figure(column: int, chosen: Places) -> float:
        return stance_figures(counts[chosen].sum(axis=0))[column]

    return tuple(estimate(len(counts), partial(figure, column), resamples=resamples) for column in range(len(STANCE)))
