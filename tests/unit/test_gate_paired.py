"""The paired bootstrap: its error is the known one, its answer repeatable, its edges defined."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.gates.paired import paired_difference


def test_the_error_is_that_of_a_mean() -> None:
    """For a mean the bootstrap's error is known: the standard deviation over the root of the number."""
    differences = np.random.default_rng(1).choice([-1.0, 0.0, 0.5, 1.0], 800)
    found = paired_difference(differences, seed=7)
    assert found.mean == pytest.approx(differences.mean())
    assert found.error == pytest.approx(differences.std() / np.sqrt(800), rel=0.06)
    assert found.n == 800


def test_the_same_data_give_the_same_answer() -> None:
    """The seed is given."""
    differences = [0.0, 1.0, -1.0, 0.5]
    assert paired_difference(differences, seed=7) == paired_difference(differences, seed=7)


def test_p_values_point_the_right_way() -> None:
    """A mean two errors below a bound is below it at 2.3 %, and surely not above."""
    found = paired_difference([0.0, 1.0] * 200, seed=7)
    bound = found.mean + 2 * found.error
    assert found.p_below(bound) == pytest.approx(0.02275, abs=1e-5)
    assert found.p_above(bound) == pytest.approx(0.97725, abs=1e-5)


def test_equal_arms_without_any_spread() -> None:
    """No difference on any query: above any lower bound for sure, and not below 0."""
    found = paired_difference([0.0] * 20, seed=7)
    assert (found.error, found.p_above(-0.05), found.p_below(0.0)) == (0.0, 0.0, 1.0)


def test_no_pair_is_refused() -> None:
    """The mean of nothing is not 0."""
    with pytest.raises(ValueError, match="no pair"):
        paired_difference([], seed=7)
