"""Prefect automations as code: what shall happen when something goes wrong and nobody is looking.

Each has a name of its own and is found by it, so that a second deployment changes what differs and creates nothing
twice. Whether somebody has switched one off in the UI is kept.

Without a notification block an automation has nobody to tell: it marks the event in the UI's feed, and that of the
breaker has the components checked. With one, Slack or e-mail say, each sends a message too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from prefect.automations import DoNothing, EventTrigger, Posture, RunDeployment, SendNotification
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.schemas.automations import Automation, AutomationCore
from prefect.exceptions import ObjectNotFound

from core.errors import ConfigError
from tasks.events import EventName, resource_id

_CHECK_HEALTH: Final = "check-health/check-health"
_TAG: Final = "prefect.tag.redo"
_LATE: Final = "prefect.flow-run.Late"
_LATE_AT_ONCE: Final = 3  # one late run is a worker that was busy for a moment
_LATE_WITHIN: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One automation, free of ids.

    Attributes:
        name: its name, which finds it again.
        description: what it does, for people.
        expects: the event that it waits for.
        resource: the resource that the event is about; `*` at the end stands for anything.
        related: the resource that the event must be related to, where that tells ours from others.
        threshold, within: so many events within this time; one at any time by default.
        subject, body: the message, in Prefect's templates.
        checks_health: whether it has the components checked.
    """

    name: str
    description: str
    expects: str
    subject: str
    body: str
    resource: str = "*"
    related: str | None = None
    threshold: int = 1
    within: timedelta = timedelta(0)
    checks_health: bool = False


RULES: Final = (
    Rule(
        name="REDO: a breaker opened",
        description="REDO or the ledger failed too often and is kept out of the way. Has the components checked.",
        expects=EventName.BREAKER_OPENED.value,
        resource=resource_id("breaker/*"),
        checks_health=True,
        subject="REDO: {{ event.resource.name }} opened",
        body="Cause: {{ event.payload.cause }}, until {{ event.payload.open_until }}. Queries get their legacy answer."
        " `redo status` says more.",
    ),
    Rule(
        name="REDO: a gate failed",
        description="The rollout's data say that REDO is not fit for its step. The controller steps back or pauses.",
        expects=EventName.GATE_FAILED.value,
        resource=resource_id("*"),
        subject="REDO: {{ event.resource.name }} failed",
        body="{{ event.payload }}. `redo rollout why` says more.",
    ),
    Rule(
        name="REDO: runs are late",
        description=f"{_LATE_AT_ONCE} runs of REDO were late within {_LATE_WITHIN.total_seconds() / 60:.0f} minutes:"
        " the workers are gone, or too few.",
        expects=_LATE,
        resource="prefect.flow-run.*",
        related=_TAG,
        threshold=_LATE_AT_ONCE,
        within=_LATE_WITHIN,
        subject="REDO: runs are late",
        body="{{ event.resource.name }} and others did not start in time. Look at the work pool: is a worker online?",
    ),
)
"""What REDO brings along."""


def automation_of(rule: Rule, *, check_health: UUID | None, notify: UUID | None) -> AutomationCore:
    """The automation as Prefect has it.

    Args:
        rule: what it shall do.
        check_health: id of the deployment that checks the components, where it is deployed.
        notify: id of the notification block, where there is one.
    """
    actions: list[Any] = []
    if rule.checks_health and check_health is not None:
        actions.append(
            RunDeployment(source="selected", deployment_id=check_health, parameters=None, job_variables=None)
        )
    if notify is not None:
        actions.append(SendNotification(block_document_id=notify, subject=rule.subject, body=rule.body))
    return AutomationCore(
        name=rule.name,
        description=rule.description,
        enabled=True,
        trigger=EventTrigger(
            expect={rule.expects},
            match={"prefect.resource.id": rule.resource},
            match_related={} if rule.related is None else {"prefect.resource.id": rule.related},
            for_each=set() if rule.threshold > 1 else {"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=rule.threshold,
            within=rule.within,
        ),
        actions=actions or [DoNothing()],
        tags=["redo"],
    )


def apply_automations(client: SyncPrefectClient, *, notify: str | None = None) -> dict[str, str]:
    """Create the automations that are missing, and change those that differ.

    Args:
        client: speaks to the Prefect API.
        notify: the notification block to send messages through, as `slack-webhook/redo`; without one the block of an
            automation that has one stays.

    Returns:
        For each automation what became of it: `created`, `changed` or `unchanged`.

    Raises:
        ConfigError: the block does not exist.
    """
    block, health = _block(client, notify), _deployment(client, _CHECK_HEALTH)
    done: dict[str, str] = {}
    for rule in RULES:
        found = client.read_automations_by_name(rule.name)
        known = found[0] if found else None
        wanted = automation_of(rule, check_health=health, notify=block or _notified(known))
        if known is None:
            client.create_automation(wanted)
            done[rule.name] = "created"
        elif _content(known) == _content(wanted):
            done[rule.name] = "unchanged"
        else:
            client.update_automation(known.id, wanted.model_copy(update={"enabled": known.enabled}))
            done[rule.name] = "changed"
    return done


def _content(automation: AutomationCore) -> dict[str, Any]:
    """What makes two automations the same: all but ids and whether it is switched on."""
    content = automation.model_dump(mode="json", include={"name", "description", "trigger", "actions", "tags"})
    content["trigger"].pop("id", None)
    for names in ("expect", "after", "for_each"):
        content["trigger"][names] = sorted(content["trigger"].get(names) or [])
    return content


def _notified(known: Automation | None) -> UUID | None:
    """The block through which an automation sends messages now."""
    actions = [] if known is None else known.actions
    return next((action.block_document_id for action in actions if isinstance(action, SendNotification)), None)


def _deployment(client: SyncPrefectClient, name: str) -> UUID | None:
    try:
        return client.read_deployment_by_name(name).id
    except ObjectNotFound:
        return None


def _block(client: SyncPrefectClient, notify: str | None) -> UUID | None:
    if notify is None:
        return None
    kind, separator, name = notify.partition("/")
    if not separator:
        raise ConfigError(f"notification block {notify!r}: expected TYPE/NAME, such as slack-webhook/redo")
    try:
        return client.read_block_document_by_name(name, kind).id
    except ObjectNotFound:
        raise ConfigError(f"notification block {notify!r}: there is none; make it in the Prefect UI, Blocks") from None
