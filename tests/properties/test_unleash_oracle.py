"""Whole percentages against Unleash's own engine: who is in here is in there."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yggdrasil_engine.engine import UnleashEngine

from core.flags import in_rollout

GROUPS = ("redo", "other", "", "zwölf", "a:b")
keys = st.text(min_size=1)
"""Unleash has no answer for an empty key: it draws lots."""


def _toggle(group: str, percentage: int) -> Mapping[str, object]:
    """A feature of Unleash that is on for a percentage of the sessions."""
    parameters = {"rollout": str(percentage), "stickiness": "sessionId", "groupId": group}
    strategies = [{"name": "flexibleRollout", "parameters": parameters}]
    return {"name": f"{group}/{percentage}", "enabled": True, "strategies": strategies}


@pytest.fixture(scope="module")
def unleash() -> UnleashEngine:
    """The engine with a feature for each group and whole percentage."""
    engine = UnleashEngine()
    features = [_toggle(group, percentage) for group in GROUPS for percentage in range(101)]
    engine.take_state(json.dumps({"version": 2, "features": features}))
    return engine


def is_in(unleash: UnleashEngine, key: str, percentage: int, group: str) -> bool:
    """What Unleash says."""
    answer = unleash.check_enabled(f"{group}/{percentage}", {"sessionId": key})
    assert answer.is_found
    return bool(answer.is_enabled)


@given(key=keys, percentage=st.integers(0, 100), group=st.sampled_from(GROUPS))
def test_whole_percentage_is_unleashs(unleash: UnleashEngine, key: str, percentage: int, group: str) -> None:
    """Any key, any group, any whole percentage."""
    assert in_rollout(key, percentage, group) == is_in(unleash, key, percentage, group)


def test_every_percentage_of_some_keys(unleash: UnleashEngine) -> None:
    """At each of the 101 percentages the same sessions are in, and it is never the same set twice."""
    sessions = [f"session-{number}" for number in range(300)]
    ours, theirs = (
        [frozenset(key for key in sessions if says(key, percentage)) for percentage in range(101)]
        for says in (in_rollout, lambda key, percentage: is_in(unleash, key, percentage, "redo"))
    )
    assert ours == theirs
    assert len(set(ours)) > 80
