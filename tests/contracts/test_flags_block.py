"""The guard and the Prefect UI's block agree on what the stored flags look like."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from core.fallbacks.stored_flags import StoredFlags, with_killed, with_override, with_values
from core.flags import Override
from tasks.block_edits import edited
from tasks.block_types import RedoFlags

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
