"""Reciprocal rank fusion, and vectors as whole numbers, for any ranking and any vector."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.adapters.hybrid import RANK_OFFSET, Scored, fuse
from core.adapters.passage_vectors import rounded

Pairs = list[tuple[int, float]]

RANKINGS = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from([0.25, 0.5, 1.0, 2.0])), unique_by=lambda pair: pair[0], max_size=20
)
VECTORS = arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 12)), elements=st.floats(-4, 4, width=16))


def scored(pairs: Pairs) -> Scored:
    """A ranking as arrays."""
    return np.array([row for row, _ in pairs], dtype=np.int64), np.array([score for _, score in pairs], np.float32)


def ranks(pairs: Pairs) -> dict[int, int]:
    """The rank of each row, by score and then by row."""
    ordered = sorted(pairs, key=lambda pair: (-pair[1], pair[0]))
    return {row: rank for rank, (row, _) in enumerate(ordered, start=1)}


@given(RANKINGS, RANKINGS, st.randoms(use_true_random=False))
def test_the_order_in_which_rows_are_listed_does_not_matter(words: Pairs, vectors: Pairs, random: Random) -> None:
    """Ties included: however a ranking lists its rows, and whichever ranking comes first, the fusion is the same."""
    expected = fuse([scored(words), scored(vectors)])
    for pairs in (words, vectors):
        random.shuffle(pairs)
    assert fuse([scored(words), scored(vectors)]) == expected
    assert fuse([scored(vectors), scored(words)]) == expected


@given(RANKINGS, RANKINGS)
def test_sums_of_reciprocal_ranks(words: Pairs, vectors: Pairs) -> None:
    """Each row of either ranking is there once, with its sum, best first, equal ones in the order of the corpus."""
    found = fuse([scored(words), scored(vectors)])
    known = [ranks(words), ranks(vectors)]
    expected = {
        row: sum(1 / (RANK_OFFSET + one[row]) for one in known if row in one) for row in {**known[0], **known[1]}
    }
    assert dict(found) == expected
    assert [row for row, _ in found] == sorted(expected, key=lambda row: (-expected[row], row))
    assert all(0 < score <= 2 / 61 for _, score in found)


@given(RANKINGS)
def test_one_ranking_keeps_its_order(pairs: Pairs) -> None:
    """Fused with nothing, or with itself, a ranking stays as it is."""
    order = list(ranks(pairs))
    assert [row for row, _ in fuse([scored(pairs)])] == order
    assert [row for row, _ in fuse([scored(pairs), scored([])])] == order
    assert [row for row, _ in fuse([scored(pairs), scored(pairs)])] == order


@given(VECTORS)
def test_rounding_keeps_the_direction(vectors: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> None:
    """No number is further off than half a step of 1/127 of the largest, and the lengths are those of the numbers."""
    numbers, lengths = rounded(vectors)
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    assert numbers.dtype == np.int8
    np.testing.assert_allclose(numbers * largest / 127, vectors, atol=float(largest.max()) / 127 * 0.501)
    np.testing.assert_allclose(lengths, np.linalg.norm(numbers.astype(np.float64), axis=1), rtol=1e-6)
