"""What benchmarks/retrieval.py counts by: the measures of a ranking, and how the published corpus is read."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest

from benchmarks.retrieval import _sentences, interval, ndcg_at_10, recall_at_100, reciprocal_rank_at_10

FOUND = tuple("abcdefghijklmnop")


@pytest.mark.parametrize(
    ("relevant", "ndcg", "reciprocal_rank"),
    [
        ("a", 1.0, 1.0),
        ("b", 1 / log2(3), 0.5),
        ("j", 1 / log2(11), 0.1),
        ("k", 0.0, 0.0),
        ("z", 0.0, 0.0),
        ("ac", (1 + 1 / log2(4)) / (1 + 1 / log2(3)), 1.0),
        ("bz", (1 / log2(3)) / (1 + 1 / log2(3)), 0.5),
    ],
)
def test_measures_of_the_first_ten(relevant: str, ndcg: float, reciprocal_rank: float) -> None:
    """Discounted gain by the best there could be, and one by the place of the first that is relevant."""
    assert ndcg_at_10(FOUND, frozenset(relevant)) == pytest.approx(ndcg)
    assert reciprocal_rank_at_10(FOUND, frozenset(relevant)) == pytest.approx(reciprocal_rank)


def test_more_relevant_than_places() -> None:
    """Ten good places are all that can be had of ten."""
    assert ndcg_at_10(FOUND, frozenset(FOUND)) == pytest.approx(1.0)


def test_recall() -> None:
    """The share that is among the first hundred."""
    found = [str(number) for number in range(150)]
    assert recall_at_100(found, frozenset({"0", "99", "100", "never"})) == 0.5


def test_interval_holds_the_mean() -> None:
    """95 % of resampled means; of equal values there is but one."""
    low, high = interval(np.array([0.0, 1.0] * 50))
    assert 0.38 < low < 0.5 < high < 0.62
    assert interval(np.full(9, 0.25)) == (0.25, 0.25)


def test_lists_as_numpy_prints_them() -> None:
    """Without commas, in either kind of quotes, with quotes inside."""
    assert _sentences("['One. '\n \"It's two.\" 'Three \\'and\\' four.']") == ["One.", "It's two.", "Three 'and' four."]
