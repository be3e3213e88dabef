"""The guard and the Prefect UI's block agree on what the stored flags look like."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from core.fallbacks.stored_flags import StoredFlags, with_killed, with_override, with_values
from core.flags import Override
from core.rollout.decision import Transition
from core.rollout.plan import Plan
from core.rollout.transitions import start
from tasks.block_edits import edited
from tasks.block_types import RedoFlags
from tests.rollout_samples import an_order

NOW = datetime(2030, 1, 1, tzinfo=UTC)
OVERRIDE = Override(
    flag="ledger.enabled",
    value=True,
    key="s-1",
    expires_at=datetime(2030, 1, 2, tzinfo=UTC),
    actor="bob",
    reason="a try",
)


def test_what_the_guard_stores_is_what_the_block_shows() -> None:
    """Each flag and the kill switch is a field of its own; overrides are shown beside them."""
    stored = with_override(
        with_values(None, {"orchestrator.redo_enabled": True, "rollout_percentage": 10}), OVERRIDE, now=NOW
    )
    fields = RedoFlags.fields_of(with_killed(stored, killed=True))
    assert (fields["killed"], fields["redo_enabled"], fields["ledger_enabled"]) == (True, "on", "not set")
    assert fields["rollout_percentage"] == 10
    assert fields["other"] == {"overrides": stored["overrides"]}


@pytest.mark.parametrize(
    ("edit", "values", "killed"),
    [
        ({"redo_enabled": "off"}, {"orchestrator.redo_enabled": False, "rollout_percentage": 10}, False),
        ({"redo_enabled": "not set"}, {"rollout_percentage": 10}, False),
        ({"rollout_percentage": 25.0}, {"orchestrator.redo_enabled": True, "rollout_percentage": 25}, False),
        ({"killed": True}, {}, True),
    ],
)
def test_what_a_person_edits_is_what_the_guard_obeys(
    edit: dict[str, object], values: dict[str, object], *, killed: bool
) -> None:
    """An edit of one field changes that flag and leaves the others and the overrides as they were."""
    stored = with_override(
        with_values(None, {"orchestrator.redo_enabled": True, "rollout_percentage": 10}), OVERRIDE, now=NOW
    )
    after = edited(RedoFlags, RedoFlags.fields_of(stored) | edit, base=stored, newest=stored)
    read = StoredFlags.from_dict(after)
    assert (read.values, read.killed) == (values, killed)
    assert read.overrides == (() if killed else (OVERRIDE,))


def _with_rollout(stored: dict[str, object]) -> dict[str, object]:
    """The same with a rollout that has begun."""
    begun = start(stored, Plan(), an_order())
    assert isinstance(begun, Transition)
    return begun.value


def test_a_rollout_is_shown_in_one_line() -> None:
    """Its phase, step, status and attempt, for reading; not its whole state, and nothing where there is none."""
    fields = RedoFlags.fields_of(_with_rollout({}))
    assert fields["rollout"] == "infrastructure 0 % (step 0 of 4), running, attempt 1"
    assert fields["other"] == {}
    assert RedoFlags.fields_of({})["rollout"] == ""
    assert RedoFlags.fields_of({"rollout": 7})["rollout"].startswith("cannot be read: ")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "edit",
    [
        {"rollout": "full 100 % (step 4 of 4), complete, attempt 1"},
        {"rollout": ""},
        {"other": {"rollout": {"step": 4}}},
        {"other": {"rollout": None}},
    ],
)
def test_no_edit_changes_a_rollout(edit: dict[str, object]) -> None:
    """Neither in its own field nor under `other`: it would change without an event."""
    stored = _with_rollout({})
    assert edited(RedoFlags, RedoFlags.fields_of(stored) | edit, base=stored, newest=stored) is None
    both = edited(RedoFlags, RedoFlags.fields_of(stored) | edit | {"killed": True}, base=stored, newest=stored)
    assert both == stored | {"killed": True}


@pytest.mark.parametrize("stored", [{}, {"rollout": 7}, {"rollout": None}])
def test_an_edit_of_a_flag_leaves_the_rollout_as_it_is(stored: dict[str, object]) -> None:
    """Also one that was begun, broken or ended while the page was open."""
    newest = _with_rollout({})
    for base, now in ((stored, newest), (newest, stored)):
        fields = RedoFlags.fields_of(base) | {"rollout_percentage": 5}
        assert edited(RedoFlags, fields, base=base, newest=now) == now | {"rollout_percentage": 5}
