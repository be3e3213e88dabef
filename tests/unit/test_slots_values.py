"""Values in one form, and how alike two of them are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.contradictions.slots.spans import read_spans
from core.contradictions.slots.values import SlotValue, ValueType, alike


def _only(text: str, kind: ValueType) -> SlotValue:
    found = [value for value in read_spans(text).values if value.type is kind]
    assert len(found) == 1, found
    return found[0]


def _alike(left: SlotValue, right: SlotValue) -> float:
    return float(alike([left, right])[0, 1])


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("It opened on 4 March 1911.", "It opened on March 4, 1911.", True),
        ("It opened on 4 March 1911.", "It opened in March 1911.", True),
        ("It opened on 4 March 1911.", "It opened in 1911.", True),
        ("It opened on 4 March 1911.", "It opened on 1911-03-04.", True),
        ("It opened on 4 March 1911.", "It opened on 5 March 1911.", False),
        ("It opened on 4 March 1911.", "It opened in 1912.", False),
        ("It opened on 4th of March, 1911.", "It opened on 4 March 1911.", True),
    ],
)
def test_dates_agree_in_what_both_give(left: str, right: str, *, same: bool) -> None:
    """Parts that one date leaves out are no disagreement."""
    assert _alike(_only(left, ValueType.DATE), _only(right, ValueType.DATE)) == same


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("It has 3,500 looms.", "It has 3500 looms.", True),
        ("It has 3.5 million looms.", "It has 3,500,000 looms.", True),
        ("It has 3,500 looms.", "It has 3,505 looms.", True),
        ("It has 3,500 looms.", "It has 3,600 looms.", False),
        ("It has twelve looms.", "It has 12 looms.", True),
    ],
)
def test_numbers_agree_up_to_rounding(left: str, right: str, *, same: bool) -> None:
    """Commas, magnitudes, spelling and rounding are no disagreement."""
    assert _alike(_only(left, ValueType.NUMBER), _only(right, ValueType.NUMBER)) == same


def test_versions_are_compared_part_by_part() -> None:
    """3.10 is another version than 3.1, and 3.10.2 one of 3.10."""
    old, new, patch = (
        _only(f"It needs Python {version} today.", ValueType.VERSION) for version in ("3.1", "3.10", "3.10.2")
    )
    assert _alike(old, new) == 0
    assert _alike(new, patch) == 1


def test_a_part_of_a_name_is_nearly_the_name() -> None:
    """Initials and further names are a longer form of one name; another name is not."""
    short = SlotValue(ValueType.NAME, ("quill",))
    long = SlotValue(ValueType.NAME, ("ada", "m", "quill"))
    other = SlotValue(ValueType.NAME, ("ada", "reed"))
    assert _alike(short, long) == pytest.approx(0.8)
    assert _alike(long, other) < 0.5
    assert _alike(long, long) == 1


def test_values_of_different_sorts_are_not_alike() -> None:
    """A number is no year, even if it looks like one."""
    assert _alike(SlotValue(ValueType.NUMBER, (1911.0,)), SlotValue(ValueType.DATE, (1911.0, 0.0, 0.0))) == 0


_VALUES = st.one_of(
    st.builds(
        SlotValue,
        st.just(ValueType.DATE),
        st.tuples(*(st.integers(low, high).map(float) for low, high in ((1900, 1903), (0, 3), (0, 3)))),
    ),
    st.builds(SlotValue, st.just(ValueType.NUMBER), st.tuples(st.floats(0, 100))),
    st.builds(
        SlotValue,
        st.sampled_from([ValueType.NAME, ValueType.WORDS]),
        st.lists(st.sampled_from(["ada", "quill", "mill"]), min_size=1, max_size=3).map(tuple),
    ),
)


@given(st.lists(_VALUES, min_size=1, max_size=6))
def test_being_alike_is_symmetric_and_holds_for_itself(values: list[SlotValue]) -> None:
    """Likeness lies between 0 and 1, is the same both ways, and 1 for a value with itself."""
    found = alike(values)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(np.diag(found), 1)
    assert found.min() >= 0
    assert found.max() <= 1
