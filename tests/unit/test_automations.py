"""Automations: as Prefect has them, without a server."""

from __future__ import annotations

from uuid import UUID

from prefect.automations import DoNothing, EventTrigger, RunDeployment, SendNotification

from tasks.automations import RULES, automation_of
from tasks.events import EventName

HEALTH, BLOCK = UUID(int=1), UUID(int=2)


def test_the_names_are_distinct() -> None:
    """An automation is found by its name."""
    assert len({rule.name for rule in RULES}) == len(RULES) == 3


def test_what_they_wait_for() -> None:
    """A breaker that opens, a gate that fails, runs that are late."""
    expected = {"redo.breaker.opened", "redo.gate.failed", "prefect.flow-run.Late"}
    assert {rule.expects for rule in RULES} == expected
    assert {EventName.BREAKER_OPENED.value, EventName.GATE_FAILED.value} < expected


def test_a_breaker_has_the_components_checked() -> None:
    """By the deployment, where there is one."""
    rule = next(rule for rule in RULES if rule.checks_health)
    (action,) = automation_of(rule, check_health=HEALTH, notify=None).actions
    assert isinstance(action, RunDeployment)
    assert action.deployment_id == HEALTH
    (action,) = automation_of(rule, check_health=None, notify=None).actions
    assert isinstance(action, DoNothing)


def test_with_a_block_each_sends_a_message() -> None:
    """Through it, beside what it does anyway."""
    for rule in RULES:
        actions = automation_of(rule, check_health=HEALTH, notify=BLOCK).actions
        (message,) = [action for action in actions if isinstance(action, SendNotification)]
        assert (message.block_document_id, message.subject) == (BLOCK, rule.subject)


def test_only_our_late_runs_count() -> None:
    """Three within ten minutes, of flows that bear the tag."""
    rule = next(rule for rule in RULES if rule.expects == "prefect.flow-run.Late")
    trigger = automation_of(rule, check_health=None, notify=None).trigger
    assert isinstance(trigger, EventTrigger)
    assert (trigger.threshold, trigger.within.total_seconds()) == (3, 600)
    assert trigger.match_related.model_dump() == {"prefect.resource.id": "prefect.tag.redo"}  # type: ignore[union-attr]
