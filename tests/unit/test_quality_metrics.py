"""The measures of the quality benchmark, against ir-measures, other code and their definitions."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.quality_parts.metrics import (
    Estimate,
    Ranked,
    auc,
    average_precision,
    confusion,
    estimate,
    mean_estimate,
    ndcg,
    precision_at_recall,
    recall,
    selection_figures,
    stance_estimates,
    stance_figures,
)
from training.nli.scores import LABELS, scores_of

FOUND = {
    "one": (True, False, True, False, False, False, True),
    "two": (False, False, True, True, False, True, False, False, False, False, False, True),
    "none": (False, False, False),
    "all": (True, True),
}
TOTAL = {"one": 5, "two": 4, "none": 2, "all": 2}
"""How many relevant passages each made-up query has, found or not."""

RECORDED = {
    "one": {"AP": 0.419047619047619, "nDCG@10": 0.6217937096682962, "R@5": 0.4},
    "two": {"AP": 0.4166666666666667, "nDCG@10": 0.502373740777944, "R@5": 0.5},
    "none": {"AP": 0.0, "nDCG@10": 0.0, "R@5": 0.0},
    "all": {"AP": 1.0, "nDCG@10": 1.0, "R@5": 1.0},
}
"""What ir-measures 0.4.3 says of them."""


def ours(found: Sequence[bool], total: int) -> dict[str, float]:
    """Our figures under the names of ir-measures."""
    return {
        "AP": average_precision(found, total),
        "nDCG@10": ndcg(found, total, k=10),
        "R@5": recall(found, total, k=5),
    }


@pytest.mark.parametrize("query", FOUND)
def test_ranking_measures_are_those_that_ir_measures_gave(query: str) -> None:
    """Average precision, nDCG and recall of the made-up rankings are the recorded ones."""
    assert ours(FOUND[query], TOTAL[query]) == pytest.approx(RECORDED[query], abs=1e-12)


def test_ranking_measures_are_those_of_ir_measures() -> None:
    """Where ir-measures is installed: 50 random rankings, each query and measure."""
    oracle = pytest.importorskip("ir_measures")
    chance = random.Random(7)  # noqa: S311 - made-up rankings
    rankings = {f"q{number}": [chance.random() < 0.3 for _ in range(chance.randint(1, 30))] for number in range(50)}
    rankings |= {name: list(found) for name, found in FOUND.items()}
    missed = {name: TOTAL[name] - sum(found) if name in TOTAL else 1 for name, found in rankings.items()}
    judged = [
        oracle.Qrel(query, f"{query}-{place}", 1)
        for query, found in rankings.items()
        for place, relevant in enumerate([*found, *[True] * missed[query]])
        if relevant
    ]
    run = [
        oracle.ScoredDoc(query, f"{query}-{place}", -float(place))
        for query, found in rankings.items()
        for place in range(len(found))
    ]
    measures = [oracle.parse_measure(name) for name in ("AP", "nDCG@10", "R@5")]
    theirs = {(item.query_id, str(item.measure)): item.value for item in oracle.iter_calc(measures, judged, run)}
    for query, found in rankings.items():
        for name, value in ours(found, sum(found) + missed[query]).items():
            assert value == pytest.approx(theirs[query, name], abs=1e-9), (query, name)


@pytest.fixture(name="scored")
def _scored() -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(3)
    score = chance.integers(0, 6, 80) / 5  # many equal ones, some of them 0
    return score, chance.random(80) < 0.3 + 0.4 * score


def test_auc_is_the_share_of_pairs_in_order(scored: tuple[np.ndarray, np.ndarray]) -> None:
    """By its definition: equal scores count half."""
    score, positive = scored
    wins = [
        1.0 if one > other else 0.5 if one == other else 0.0 for one in score[positive] for other in score[~positive]
    ]
    assert auc(score, positive) == pytest.approx(np.mean(wins))
    assert math.isnan(auc(score, np.ones(80, bool)))


@pytest.mark.parametrize("wanted", [0.1, 0.25, 0.5, 0.8])
def test_precision_at_recall_is_that_of_the_highest_threshold(
    scored: tuple[np.ndarray, np.ndarray], wanted: float
) -> None:
    """By trying all thresholds; equal scores are taken together."""
    score, positive = scored
    for threshold in sorted(set(score), reverse=True):
        taken = score >= threshold
        if (taken & positive).sum() >= wanted * positive.sum():
            expected = (taken & positive).sum() / taken.sum() if threshold > 0 else math.nan
            break
    assert precision_at_recall(score, positive, wanted) == pytest.approx(expected, nan_ok=True)


def test_a_recall_that_needs_unflagged_pairs_is_not_reached() -> None:
    """Pairs with score 0 were not flagged: no precision is made of them."""
    score, positive = np.array([0.9, 0.0, 0.0]), np.array([True, True, False])
    assert precision_at_recall(score, positive, 0.5) == 1.0
    assert math.isnan(precision_at_recall(score, positive, 0.6))


def test_stance_figures_are_those_of_the_training_scores() -> None:
    """Accuracy, precision, recall and F1 are what `training.nli.scores` says of the same labels."""
    chance = np.random.default_rng(5)
    labels, given = chance.integers(0, 3, 200), chance.random((200, 3))
    said = [LABELS[place] for place in given.argmax(axis=1)]
    counts = confusion([LABELS[label] for label in labels], said, [str(row % 70) for row in range(200)])
    other = scores_of(given, labels)
    assert counts.shape == (70, 9)
    assert stance_figures(counts.sum(axis=0)) == pytest.approx(
        (other.accuracy, other.precision, other.recall, other.f1)
    )


def test_stance_intervals_are_wider_for_clusters() -> None:
    """Four pairs of one premise that are all right or all wrong tell no more than one."""
    right = [row % 2 == 0 for row in range(40)]
    said = ["c" if one else "n" for one in right]
    alone = stance_estimates(confusion(["c"] * 40, said, list(map(str, range(40)))))[0]
    four = [one for one in said for _ in range(4)]
    together = stance_estimates(confusion(["c"] * 160, four, [str(row // 4) for row in range(160)]))[0]
    assert (together.low, together.high) == (alone.low, alone.high)
    assert together.low < 0.5 < together.high


def test_selection_figures_by_hand() -> None:
    """Two of three correct passages among the first three, with misinformation; one answer of two covered."""
    ranked = Ranked(
        types=("correct", "misinfo", "correct", "noise", "correct"),
        answers=("1801", "1901", "1801", "", "1802"),
        correct=3,
        gold=frozenset({"1801", "1802"}),
        known=frozenset({"correct", "misinfo", "noise"}),
    )
    assert selection_figures(ranked) == pytest.approx(((1 + 2 / 3 + 3 / 5) / 3, 1.0, 1.0, 0.0, 0.5))


def test_selection_figures_leave_out_what_a_question_does_not_have() -> None:
    """Without misinformation and noise their shares are not defined."""
    ranked = Ranked(("correct",), ("1801",), 1, frozenset({"1801"}), frozenset({"correct"}))
    figures = selection_figures(ranked)
    assert figures[:2] == (1.0, 1.0)
    assert all(map(math.isnan, figures[2:4]))
    assert mean_estimate([math.nan, 1.0, math.nan]) == Estimate(1.0, 1.0, 1.0)


def test_an_interval_holds_the_mean_as_often_as_it_says() -> None:
    """Over 200 samples of 60 normal numbers about 95 % of the intervals hold the true mean."""
    chance = np.random.default_rng(11)
    held = 0
    for _ in range(200):
        found = mean_estimate(chance.normal(3.0, 1.0, 60), resamples=200)
        held += found.low <= 3.0 <= found.high
    assert 180 <= held <= 199


def test_the_same_seed_gives_the_same_interval() -> None:
    """Draws are fixed by the seed, so a table can be made again."""
    values = np.arange(30.0)

    def measure(chosen: np.ndarray) -> float:
        return float(values[chosen].mean())

    assert estimate(30, measure, seed=1) == estimate(30, measure, seed=1)
    assert estimate(30, measure, seed=1) != estimate(30, measure, seed=2)
