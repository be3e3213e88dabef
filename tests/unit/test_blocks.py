"""The fields of the blocks that people edit, and what an edit comes to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.blocks.core import Block
from pydantic import ValidationError

from core.flags import LEDGER_ENABLED, REDO_ENABLED, ROLLOUT_PERCENTAGE
from tasks.block_edits import alike, edited, refusal
from tasks.block_types import KILLED, RedoChange, RedoFlags, RedoState, StateBlock, state_block

_KINDS = [RedoFlags, RedoState]
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, width=32)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_FLAGS = st.fixed_dictionaries(
    {},
    optional={
        KILLED: st.booleans() | st.text(max_size=3),
        REDO_ENABLED: st.booleans() | st.none(),
        LEDGER_ENABLED: st.booleans() | st.integers(0, 1),
        ROLLOUT_PERCENTAGE: st.integers(-1, 101) | st.integers(0, 100_000).map(lambda number: number / 1000),
    },
)
_VALUES = st.builds(lambda flags, more: more | flags, _FLAGS, st.dictionaries(st.text(max_size=5), _JSON, max_size=3))


def _shown(kind: type[StateBlock], value: dict[str, object]) -> dict[str, object]:
    """Turn a value into fields and back."""
    return kind.model_validate(kind.fields_of(value)).shown_value()


@pytest.mark.parametrize("kind", [RedoFlags, RedoState, RedoChange])
def test_every_field_is_typed_and_described(kind: type[Block]) -> None:
    """The edit form says of each field what it is."""
    for name, field in kind.model_json_schema()["properties"].items():
        assert field.get("description"), name
        assert field.keys() & {"type", "anyOf", "enum"}, name


def test_flags_have_a_block_of_their_own() -> None:
    """`flags` is shown field by field, any other value as JSON."""
    assert state_block("flags") is RedoFlags
    assert state_block("breaker-orchestrator") is RedoState


def test_a_flag_that_is_not_set_stays_so() -> None:
    """The environment or the default decides it, and no edit of another field changes that."""
    fields = RedoFlags.fields_of({ROLLOUT_PERCENTAGE: 10})
    assert (fields["redo_enabled"], fields["ledger_enabled"]) == ("not set", "not set")
    after = edited(RedoFlags, fields | {"rollout_percentage": 20}, base={ROLLOUT_PERCENTAGE: 10}, newest={})
    assert after == {ROLLOUT_PERCENTAGE: 20}


def test_emptying_a_field_unsets_the_flag() -> None:
    """A null percentage, and a switch back at `not set`."""
    stored = {REDO_ENABLED: True, ROLLOUT_PERCENTAGE: 10, "more": 1}
    fields = RedoFlags.fields_of(stored) | {"rollout_percentage": None, "redo_enabled": "not set"}
    assert edited(RedoFlags, fields, base=stored, newest=stored) == {"more": 1}


def test_value_that_a_flag_cannot_take_is_shown_as_it_is() -> None:
    """A wrong type stands under `other`, where a person can see and correct it."""
    fields = RedoFlags.fields_of({ROLLOUT_PERCENTAGE: "half", REDO_ENABLED: 1})
    assert fields["other"] == {ROLLOUT_PERCENTAGE: "half", REDO_ENABLED: 1}


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("rollout_percentage", 100.5, "less than or equal to 100, not 100.5"),
        ("rollout_percentage", -1, "greater than or equal to 0, not -1"),
        ("rollout_percentage", 12.3456, "at most three decimals"),
        ("redo_enabled", "maybe", "redo_enabled: Input should be 'not set', 'off' or 'on', not 'maybe'"),
        ("killed", "perhaps", "killed: Input should be a valid boolean"),
        ("other", [1], "other: Input should be a valid dictionary"),
        ("other", {"n": 2**64}, "other: Value error, Integer exceeds 64-bit range"),
    ],
)
def test_edit_that_makes_no_sense_is_refused(field: str, value: object, told: str) -> None:
    """The notice names the field, what is wrong with it and what was expected."""
    with pytest.raises(ValidationError) as caught:
        edited(RedoFlags, RedoFlags.fields_of({}) | {field: value}, base={}, newest={})
    assert told in refusal(caught.value)


def test_notice_is_short() -> None:
    """However long what the person wrote is."""
    with pytest.raises(ValidationError) as caught:
        edited(RedoFlags, {"redo_enabled": "x" * 10_000}, base={}, newest={})
    assert len(refusal(caught.value)) == 500


@pytest.mark.parametrize("kind", _KINDS)
@given(value=_VALUES)
def test_block_shows_all_that_is_stored(kind: type[StateBlock], value: dict[str, Any]) -> None:
    """Fields made from a value show that value; the flags' block shows `killed` where it is not set, too."""
    assumed = {KILLED: False} | value if kind is RedoFlags else value
    assert alike(_shown(kind, value), assumed)


@pytest.mark.parametrize("kind", _KINDS)
@given(base=_VALUES, newest=_VALUES)
def test_saving_a_page_unchanged_changes_nothing(
    kind: type[StateBlock], base: dict[str, Any], newest: dict[str, Any]
) -> None:
    """However much has changed since the page was opened."""
    assert edited(kind, kind.fields_of(base), base=base, newest=newest) is None


@pytest.mark.parametrize("kind", _KINDS)
@given(base=_VALUES, wanted=_VALUES, newest=_VALUES)
def test_edit_changes_what_the_person_changed_and_nothing_else(
    kind: type[StateBlock], base: dict[str, Any], wanted: dict[str, Any], newest: dict[str, Any]
) -> None:
    """Keys that the person changed are as wanted, all others as they were; once recorded there is nothing left."""
    fields = kind.fields_of(wanted)
    joined = edited(kind, fields, base=base, newest=newest)
    after = newest if joined is None else joined
    shown, before = _shown(kind, wanted), _shown(kind, base)
    for key in shown.keys() | before.keys() | newest.keys() | after.keys():
        is_touched = (key in shown) != (key in before) or not alike(shown.get(key), before.get(key))
        source = shown if is_touched else newest
        assert (key in after) == (key in source), key
        assert alike(after.get(key), source.get(key)), key
    assert edited(kind, fields, base=base, newest=after) is None
