"""What benchmarks/retrieval.py counts by: the measures of a ranking, and how the published corpus is read."""

from __future__ import annotations

from math import log2

import pytest

from benchmarks.retrieval import _sentences, figures_of

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
    figures = figures_of(FOUND, frozenset(relevant))
    assert (figures["nDCG@10"], figures["RR@10"]) == pytest.approx((ndcg, reciprocal_rank))


def test_more_relevant_than_places() -> None:
    """Ten good places are all that can be had of ten."""
    assert figures_of(FOUND, frozenset(FOUND))["nDCG@10"] == pytest.approx(1.0)


def test_recall() -> None:
    """The share that is among the first hundred."""
    found = [str(number) for number in range(150)]
    assert figures_of(found, frozenset({"0", "99", "100", "never"}))["R@100"] == 0.5


def test_lists_as_numpy_prints_them() -> None:
    """Without commas, in either kind of quotes, with quotes inside."""
    assert _sentences("['One. '\n \"It's two.\" 'Three \\'and\\' four.']") == ["One.", "It's two.", "Three 'and' four."]
