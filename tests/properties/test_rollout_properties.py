"""The rollout: cohorts nest, whole percentages follow the formula, shares come out right."""

from __future__ import annotations

import math

import mmh3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import FlagError
from core.flags import ROLLOUT_PERCENTAGE, in_rollout, parse_flag, parse_flag_text, rollout_bucket

# Thousandths of a percent, the finest that a flag can take.
percentages = st.integers(0, 100_000).map(lambda thousandths: thousandths / 1000)
keys = st.text()


@given(key=keys, one=percentages, other=percentages)
def test_raising_the_percentage_takes_nobody_out(key: str, one: float, other: float) -> None:
    """Whoever is in at a percentage is in at every higher one."""
    low, high = sorted((one, other))
    assert in_rollout(key, low) <= in_rollout(key, high)


@given(key=keys, percentage=st.integers(0, 100))
def test_whole_percentage_follows_the_formula(key: str, percentage: int) -> None:
    """A whole percentage, as int or float, gives Unleash's answer: bucket at most percentage."""
    digest = mmh3.mmh3_32_uintdigest(f"redo:{key}".encode(), 0)
    expected = digest % 100 + 1 <= percentage
    assert in_rollout(key, percentage) == in_rollout(key, float(percentage)) == expected


@given(key=keys, percentage=percentages)
def test_fraction_lies_between_its_whole_neighbours(key: str, percentage: float) -> None:
    """Buckets up to the whole part are in, those above the next one are out; only the one between is divided."""
    bucket = rollout_bucket(key)
    if bucket <= math.floor(percentage):
        assert in_rollout(key, percentage)
    if bucket > math.ceil(percentage):
        assert not in_rollout(key, percentage)


@given(key=keys)
def test_nobody_at_0_and_everybody_at_100(key: str) -> None:
    """The two ends leave no doubt."""
    assert not in_rollout(key, 0)
    assert in_rollout(key, 100)


@given(key=keys)
def test_key_enters_once_and_one_thousandth_decides(key: str) -> None:
    """Each key has one place among the 100,000 thousandths: out below it, in from it on."""
    low, high = 0, 100_000
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if in_rollout(key, middle / 1000) else (middle, high)
    assert math.ceil(high / 1000) == rollout_bucket(key)


@given(key=keys, group=st.text())
def test_bucket_is_between_1_and_100(key: str, group: str) -> None:
    """Whatever the key and the group are."""
    assert 1 <= rollout_bucket(key, group) <= 100


@pytest.mark.parametrize("percentage", [0.5, 1, 10, 12.5, 33.333, 50, 90])
def test_share_of_many_keys_is_the_percentage(percentage: float) -> None:
    """Of 20,000 keys the share that is in lies within five standard deviations of the percentage."""
    count = 20_000
    inside = sum(in_rollout(f"session-{number}", percentage) for number in range(count))
    share = percentage / 100
    assert abs(inside - count * share) <= 5 * math.sqrt(count * share * (1 - share))


def test_groups_draw_different_cohorts() -> None:
    """Two groups at 50 % share about half of their members, not all or none."""
    members = [
        {number for number in range(2_000) if in_rollout(f"session-{number}", 50, group)} for group in ("redo", "other")
    ]
    assert 400 <= len(members[0] & members[1]) <= 600


@given(thousandths=st.integers(0, 100_000))
def test_percentage_survives_being_written_and_read(thousandths: int) -> None:
    """Every percentage that a flag can take is read back from its text."""
    value = parse_flag(ROLLOUT_PERCENTAGE, thousandths / 1000)
    assert parse_flag_text(ROLLOUT_PERCENTAGE, str(value)) == value


@given(value=st.floats() | st.integers())
def test_number_is_taken_or_refused(value: float) -> None:
    """Any number is either refused with a FlagError, or is in range, has three decimals and comes back unchanged."""
    try:
        taken = parse_flag(ROLLOUT_PERCENTAGE, value)
    except FlagError:
        return
    assert taken == value
    assert 0 <= value <= 100
    assert round(value, 3) == value
